//! Fixed point against `rust_decimal`, scalar against SIMD, text round trips.

use proptest::prelude::*;
use rust_decimal::Decimal;
use tidegate_wire::decimal::{self, DecimalError, Fixed, parse, parse_signed, quoted_scalar};
use tidegate_wire::{Price, Qty, Scale};

fn scale(decimals: u8) -> Scale {
    Scale::new(decimals).expect("0 to 18")
}

/// What `rust_decimal` makes of the text; `None` where the value does not fit.
fn oracle(text: &str, decimals: u8) -> Option<i64> {
    let exact: Decimal = text.parse().ok()?;
    let scaled = exact.checked_mul(Decimal::from(10i64.pow(decimals.into())))?;
    (scaled.fract().is_zero())
        .then(|| i64::try_from(scaled.trunc().mantissa() / 10i128.pow(scaled.trunc().scale())).ok())?
}

fn number() -> impl Strategy<Value = String> {
    let digits = |range| proptest::collection::vec(0..10u8, range);
    (digits(1..12usize), proptest::option::of(digits(1..10usize)), 0..4usize).prop_map(|(whole, fraction, zeros)| {
        let text = |d: &[u8]| d.iter().map(|d| char::from(b'0' + d)).collect::<String>();
        match fraction {
            Some(fraction) => format!("{}.{}{}", text(&whole), text(&fraction), "0".repeat(zeros)),
            None => text(&whole),
        }
    })
}

proptest! {
    #[test]
    fn parsing_agrees_with_rust_decimal(text in number(), decimals in 0..=10u8) {
        match parse(text.as_bytes(), scale(decimals)) {
            Ok(value) => prop_assert_eq!(Some(value), oracle(&text, decimals)),
            Err(DecimalError::Inexact | DecimalError::Overflow) => prop_assert_eq!(None, oracle(&text, decimals)),
            Err(error) => prop_assert!(false, "{} is of the grammar: {}", text, error),
        }
    }

    #[test]
    fn printing_and_reading_back_is_exact(mantissa in 0..=i64::MAX, decimals in 0..=18u8) {
        let text = Price::from_raw(mantissa).display(scale(decimals)).to_string();
        prop_assert_eq!(Price::parse(text.as_bytes(), scale(decimals)), Ok(Price::from_raw(mantissa)));
        prop_assert_eq!(parse_signed(format!("-{text}").as_bytes(), scale(decimals)), Ok(-mantissa));
        prop_assert_eq!(Fixed::new(-mantissa, scale(decimals)).to_string() == format!("-{text}"), mantissa != 0);
    }

    #[test]
    fn vectors_agree_with_scalars(text in "[0-9.\",x-]{0,20}|[0-9]{1,9}\\.[0-9]{1,9}\"", decimals in 0..=18u8) {
        agree(text.as_bytes(), decimals);
    }

    #[test]
    fn vectors_agree_on_real_numbers(text in number(), decimals in 0..=18u8) {
        agree(format!("{text}\",").as_bytes(), decimals);
    }
}

/// Whatever the vector reader answers, the scalar one answers too; it may decline (long or wrong text) but must take
/// every well-formed number of up to 15 characters.
fn agree(text: &[u8], decimals: u8) {
    #[cfg(target_arch = "x86_64")]
    if decimal::simd::available() {
        let mut padded = text.to_vec();
        padded.resize(text.len() + 16, b'"');
        // SAFETY: 16 bytes of padding follow the text; the CPU was asked.
        let vector = unsafe { decimal::simd::quoted(padded.as_ptr(), scale(decimals)) };
        let scalar = quoted_scalar(&padded, scale(decimals));
        match vector {
            Some(found) => assert_eq!(Ok(found), scalar, "{:?}", String::from_utf8_lossy(text)),
            None => {
                if let Ok((_, length)) = scalar {
                    assert!(length > 15, "declined {:?}", String::from_utf8_lossy(text));
                }
            }
        }
    }
}

#[test]
fn wrong_text_is_refused_by_name() {
    let two = scale(2);
    for (text, error) in [
        ("", DecimalError::Malformed),
        (".5", DecimalError::Malformed),
        ("5.", DecimalError::Malformed),
        ("1.2.3", DecimalError::Malformed),
        ("-1", DecimalError::Malformed),
        ("+1", DecimalError::Malformed),
        ("1e5", DecimalError::Malformed),
        ("1 ", DecimalError::Malformed),
        ("1.234", DecimalError::Inexact),
        ("99999999999999999999", DecimalError::Overflow),
        ("92233720368547758.08", DecimalError::Overflow),
    ] {
        assert_eq!(parse(text.as_bytes(), two), Err(error), "{text:?}");
    }
    assert_eq!(parse(b"92233720368547758.07", two), Ok(i64::MAX));
    assert_eq!(parse(b"61800.20000000", scale(1)), Ok(618_002));
    assert_eq!(parse_signed(b"-0.00002754", scale(8)), Ok(-2_754));
    assert_eq!(parse_signed(b"--1", two), Err(DecimalError::Malformed));
    assert_eq!(Qty::from_raw(i64::MAX).checked_add(Qty::from_raw(1)), None);
    assert_eq!(Scale::new(19), None);
}
