//! Numbers as venues and recorders write them.

use crate::counters::Reason;

/// A decimal, with an exponent or without, rounded half away from zero to `decimals`.
///
/// Scripts print binary fractions with all their noise (`0.11244000000000001`): what lies behind the decimals a venue
/// quotes is no information.
pub(crate) fn rounded(text: &[u8], decimals: u8) -> Result<i64, Reason> {
    i64::try_from(rounded_wide(text, decimals)?).map_err(|_| Reason::Overflow)
}

/// The same, wider.
pub(crate) fn rounded_wide(text: &[u8], decimals: u8) -> Result<i128, Reason> {
    let (negative, unsigned) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let split = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let exponent = match unsigned.get(split + 1..) {
        Some(exponent) => core::str::from_utf8(exponent).ok().and_then(|e| e.parse::<i16>().ok()),
        None => Some(0),
    };
    let (mut value, mut digits, mut fraction) = (0i128, 0u32, None::<i32>);
    for byte in &unsigned[..split] {
        match byte {
            b'0'..=b'9' => {
                let next = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(byte - b'0')));
                value = next.ok_or(Reason::Overflow)?;
                digits += 1;
                fraction = fraction.map(|n| n + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return Err(Reason::BadDecimal),
        }
    }
    let exponent = exponent.filter(|_| digits > 0).ok_or(Reason::BadDecimal)?;
    let power = i32::from(exponent) + i32::from(decimals) - fraction.unwrap_or(0);
    let scaled = match power {
        _ if value == 0 => 0,
        0.. => 10i128.checked_pow(power.unsigned_abs()).and_then(|p| value.checked_mul(p)).ok_or(Reason::Overflow)?,
        -38..0 => {
            let divisor = 10i128.pow(power.unsigned_abs());
            value / divisor + i128::from(value % divisor >= divisor / 2)
        }
        _ => 0,
    };
    Ok(if negative { -scaled } else { scaled })
}

/// Milliseconds since the Unix epoch in ns.
pub(crate) fn ms_ns(ms: i64) -> Result<i64, Reason> {
    ms.checked_mul(1_000_000).filter(|ns| *ns >= 0).ok_or(Reason::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_binary_fractions_is_rounded_away() {
        for (text, decimals, value) in [
            ("0.11244000000000001", 8, 11_244_000),
            ("0.006940000000000001", 10, 69_400_000),
            ("2.6e-05", 12, 26_000_000),
            ("-0.00012359", 12, -123_590_000),
            ("1.4999", 0, 1),
            ("-2.5", 0, -3),
            ("1e3", 2, 100_000),
            ("9e-99", 8, 0),
            ("0e300", 8, 0),
            ("283971.0", 0, 283_971),
            ("9999999999", 2, 999_999_999_900),
        ] {
            assert_eq!(rounded(text.as_bytes(), decimals), Ok(value), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "1,2", "nan", "1e", "1ee5", "e5", "--1", "+1", " 1"] {
            assert_eq!(rounded(text.as_bytes(), 8), Err(Reason::BadDecimal), "{text}");
        }
        for text in ["1e30", "99999999999999999999", "1e300", &"9".repeat(60)] {
            assert_eq!(rounded(text.as_bytes(), 8), Err(Reason::Overflow), "{text}");
        }
    }
}
