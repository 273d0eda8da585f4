//! Signatures as the venues check them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Hexadecimal, case does not matter.
    Hex,
    /// Base64.
    Base64,
}

/// Whether `signature` is the HMAC-SHA256 of `text`. The comparison takes the same time for any wrong one.
pub(crate) fn verify(secret: &str, text: &str, signature: &str, encoding: Encoding) -> bool {
    let decoded = match encoding {
        Encoding::Hex => hex::decode(signature).ok(),
        Encoding::Base64 => STANDARD.decode(signature).ok(),
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(text.as_bytes());
    decoded.is_some_and(|decoded| mac.verify_slice(&decoded).is_ok())
}

/// Milliseconds since the epoch of an ISO 8601 time in UTC: `2020-12-08T09:08:57.715Z`.
pub(crate) fn iso_ms(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let second: f64 = time.next()?.parse().ok()?;
    let plausible = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..61.0).contains(&second);
    if !plausible {
        return None;
    }
    // Days from the civil calendar, with years that begin in March so that the leap day is the last one.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + libm::round(second * 1_000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_the_documents_are_right_and_others_are_not() {
        let (secret, text) = ("test", "GET/realtime1700000000000");
        let hex = "0bdc095fac2402c71453e2a5c22897043cf74e0fc10335c3bb9b534b799d16a6";
        assert!(verify(secret, text, hex, Encoding::Hex));
        assert!(verify(secret, text, &hex.to_uppercase(), Encoding::Hex));
        assert!(!verify("other", text, hex, Encoding::Hex) && !verify(secret, text, "zz", Encoding::Hex));
        let base64 = "gQcmFOO1x8QQwW4YI9SQxCJtPSDaZeUlpQhO8Ru9SdI=";
        assert!(verify(secret, "1700000000GET/user/verify", base64, Encoding::Base64));
        assert!(!verify(secret, "1700000001GET/user/verify", base64, Encoding::Base64));
    }

    #[test]
    fn times_are_read() {
        assert_eq!(iso_ms("2023-11-14T22:13:20.000Z"), Some(1_700_000_000_000));
        assert_eq!(iso_ms("2020-12-08T09:08:57.715Z"), Some(1_607_418_537_715));
        assert_eq!(iso_ms("1970-01-01T00:00:00Z"), Some(0));
        assert!(
            ["", "x", "2020-13-01T00:00:00Z", "2020-12-08T09:08", "1700000000"]
                .iter()
                .all(|text| iso_ms(text).is_none())
        );
    }
}
