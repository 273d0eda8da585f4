//! What faults do to the text of a message. The text is the exchange's own, so keys are looked for as text.

/// Adds `by` to the numbers behind `keys`; false if there is none.
pub(crate) fn bump(text: &mut Vec<u8>, keys: &[&str], by: i64) -> bool {
    let mut found = false;
    for key in keys {
        found |= replace(text, key, |number| Some(number.saturating_add(by)));
    }
    found
}

/// Makes the checksum a wrong one.
pub(crate) fn spoil_checksum(text: &mut Vec<u8>) -> bool {
    replace(text, "checksum", |number| Some(if number == 1 { 2 } else { number ^ 1 }))
}

/// The number behind a key.
#[cfg(test)]
pub(crate) fn number(text: &[u8], key: &str) -> Option<i64> {
    let mut value = None;
    replace(&mut text.to_vec(), key, |number| {
        value = Some(number);
        None
    });
    value
}

fn replace(text: &mut Vec<u8>, key: &str, change: impl FnOnce(i64) -> Option<i64>) -> bool {
    let pattern = format!("\"{key}\":");
    let Some(at) = text.windows(pattern.len()).position(|window| window == pattern.as_bytes()) else { return false };
    let start = at + pattern.len();
    let length = text[start..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let number = std::str::from_utf8(&text[start..start + length]).ok().and_then(|digits| digits.parse().ok());
    let Some(changed) = number.and_then(change) else { return false };
    text.splice(start..start + length, changed.to_string().into_bytes());
    true
}

/// Flips one bit of the message.
pub(crate) fn flip(text: &mut [u8], at: usize) -> usize {
    if text.is_empty() {
        return 0;
    }
    let index = at % text.len();
    text[index] ^= 1 << (at / 7 % 7);
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_change_and_the_rest_stays() {
        let mut text = br#"{"U":7,"u":-9,"checksum":-12}"#.to_vec();
        assert!(bump(&mut text, &["U", "u", "absent"], 10));
        assert_eq!(text, br#"{"U":17,"u":1,"checksum":-12}"#);
        assert!(spoil_checksum(&mut text));
        assert_ne!(number(&text, "checksum"), Some(-12));
        assert!(!bump(&mut text, &["pu"], 1));
        assert!(!bump(&mut br#"{"prev":null}"#.to_vec(), &["prev"], 1));
    }

    #[test]
    fn one_bit_is_flipped() {
        let original = b"{\"a\":1}".to_vec();
        for at in 0..100 {
            let mut text = original.clone();
            flip(&mut text, at);
            let bits: u32 = text.iter().zip(&original).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!(bits, 1);
        }
        assert_eq!(flip(&mut [], 3), 0);
    }
}
