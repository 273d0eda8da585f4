//! What rows are made of: columns, decimals as scripts print them, and times.

use tidegate_wire::Scale;
use tidegate_wire::decimal::MANTISSA_MAX;

use crate::counters::Reason;
use crate::numbers::rounded_wide;

/// Decimals at which recorded numbers are read: venues of these files quote at most eight.
pub(super) const DECIMALS: u8 = 8;

/// Exactly `N` comma-separated columns; these files quote nothing.
pub(crate) fn columns<const N: usize>(row: &[u8]) -> Option<[&[u8]; N]> {
    let mut found = [&row[..0]; N];
    let mut parts = row.split(|byte| *byte == b',');
    for column in &mut found {
        *column = parts.next()?;
    }
    parts.next().is_none().then_some(found)
}

/// A price or quantity >= 0 at an instrument's scale: read at [`DECIMALS`], then exact or [`Reason::OffGrid`].
pub(super) fn mantissa(text: &[u8], scale: Scale) -> Result<i64, Reason> {
    let finer = DECIMALS.saturating_sub(scale.decimals());
    let (unit, fine) = (10i128.pow(u32::from(finer)), rounded_wide(text, scale.decimals() + finer)?);
    if fine % unit != 0 {
        return Err(Reason::OffGrid);
    }
    let value = i64::try_from(fine / unit).map_err(|_| Reason::Overflow)?;
    match value {
        _ if value < 0 => Err(Reason::BadField),
        _ if value >= MANTISSA_MAX => Err(Reason::Overflow),
        _ => Ok(value),
    }
}

/// A whole number >= 0.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok())
}

/// A stamp of `digits` digits in units of `unit_ns`, as ns since the Unix epoch.
pub(crate) fn stamp_ns(text: &[u8], digits: usize, unit_ns: i64) -> Option<i64> {
    integer(text).filter(|_| text.len() == digits)?.checked_mul(unit_ns)
}

/// `2018-04-24T03:52:17.202Z` or `2020-01-01 03:00:00[.000]` as ns since the Unix epoch, read as UTC; none before it.
pub(crate) fn time_ns(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let (whole, fraction) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let shaped = separators.iter().all(|(at, byte)| whole[*at] == *byte) && matches!(whole[10], b'T' | b' ');
    let number = |range: core::ops::Range<usize>| integer(&whole[range]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let ranged = (1970..=2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !shaped || !ranged || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => integer(digits)? * 10i64.pow(9 - digits.len() as u32),
        _ => return None,
    };
    let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000_000 + nanos)
}

/// Days since 1970-01-01 in the Gregorian calendar: H. Hinnant, chrono-compatible low-level date algorithms (2014).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted() {
        assert_eq!(columns::<3>(b"a,,c"), Some([&b"a"[..], b"", b"c"]));
        assert_eq!((columns::<3>(b"a,b"), columns::<3>(b"a,b,c,d")), (None, None));
    }

    #[test]
    fn numbers_lie_on_the_instruments_grid_or_are_refused() {
        let scale = Scale::saturating;
        assert_eq!(mantissa(b"9170.51", scale(2)), Ok(917_051));
        assert_eq!(mantissa(b"9170.510000000001", scale(2)), Ok(917_051));
        assert_eq!(mantissa(b"9170.515", scale(2)), Err(Reason::OffGrid));
        assert_eq!(mantissa(b"9999999999", scale(2)), Ok(999_999_999_900));
        assert_eq!(mantissa(b"123456789012345", scale(0)), Ok(123_456_789_012_345));
        assert_eq!(mantissa(b"123456789012345.5", scale(0)), Err(Reason::OffGrid));
        assert_eq!(mantissa(b"0.5", scale(12)), Ok(500_000_000_000));
        assert_eq!(mantissa(b"-1", scale(2)), Err(Reason::BadField));
        assert_eq!(mantissa(b"10000000000000000", scale(2)), Err(Reason::Overflow));
    }

    #[test]
    fn times_become_nanoseconds() {
        assert_eq!(time_ns(b"2018-04-24T03:52:17.202Z"), Some(1_524_541_937_202_000_000));
        assert_eq!(time_ns(b"2020-01-01 03:00:00.000"), Some(1_577_847_600_000_000_000));
        assert_eq!(time_ns(b"2021-01-01 03:00:00"), Some(1_609_470_000_000_000_000));
        assert_eq!(time_ns(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time_ns(b"2000-02-29 00:00:00"), Some(951_782_400_000_000_000));
        for wrong in ["", "2018-04-24", "2018-13-24T03:52:17Z", "2018-04-24T03:52:17.Z", "2018/04/24 03:52:17"] {
            assert_eq!(time_ns(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
