//! Exact decimals from integers, without floating point and without allocation.

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Appends a plain integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends `units` * 10^-`decimals` with exactly `decimals` places, 0 to 8.
pub(crate) fn write_decimal(out: &mut Vec<u8>, units: i64, decimals: u32) {
    if units < 0 {
        out.push(b'-');
    }
    let (value, power) = (units.unsigned_abs(), POWERS[decimals as usize]);
    write_unsigned(out, value / power);
    if decimals > 0 {
        out.push(b'.');
        let mut fraction = value % power;
        let start = out.len();
        out.resize(start + decimals as usize, b'0');
        for digit in out[start..].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
    }
}

fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(units: i64, decimals: u32) -> String {
        let mut out = Vec::new();
        write_decimal(&mut out, units, decimals);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_the_venue_prints_them() {
        assert_eq!(decimal(6_183_763_000_000, 8), "61837.63000000");
        assert_eq!(decimal(6_180_020, 2), "61800.20");
        assert_eq!(decimal(14, 3), "0.014");
        assert_eq!(decimal(35, 0), "35");
        assert_eq!(decimal(-2_754, 8), "-0.00002754");
        assert_eq!(decimal(0, 8), "0.00000000");
    }

    proptest! {
        #[test]
        fn reads_back_exactly(units in -(1i64 << 52)..(1i64 << 52), decimals in 0u32..9) {
            let text = decimal(units, decimals);
            let digits: String = text.chars().filter(|&c| c != '.').collect();
            prop_assert_eq!(digits.parse::<i64>().unwrap(), units);
            prop_assert_eq!(text.split('.').nth(1).map_or(0, str::len), decimals as usize);
        }
    }
}
