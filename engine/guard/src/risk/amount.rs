//! Numbers of limits: exact decimals in configuration, integers in the gate.
//!
//! Values of orders are `price x quantity x contract x conversion`, computed in 128 bits and rounded against the firm;
//! what does not fit 64 bits of millionths has no value, and an order without a value is refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use tidegate_wire::instrument::Contract;
use tidegate_wire::order::MONEY_DECIMALS;
use tidegate_wire::{Instrument, Scale};

/// Decimals a [`Decimal`] keeps.
const DECIMALS: u32 = 12;
const ONE: i128 = 10i128.pow(DECIMALS);

/// An exact decimal of a configuration: at most 12 decimals, at most 18 digits before them. Written as text or as a
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// A whole number.
    pub const fn whole(value: i64) -> Self {
        Self(value as i128 * ONE)
    }

    /// Reads `-12.5`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no decimal, expected at most 18 digits, a point and at most 12 digits");
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').map_or((digits, "0"), |parts| parts);
        let legal = |part: &str, most: usize| {
            !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !legal(whole, 18) || !legal(fraction, DECIMALS as usize) {
            return Err(wrong());
        }
        let whole: i128 = whole.parse().map_err(|_| wrong())?;
        let padded: i128 = format!("{fraction:0<12}").parse().map_err(|_| wrong())?;
        let value = whole * ONE + padded;
        Ok(Self(if negative { -value } else { value }))
    }

    /// As a mantissa with so many decimals.
    ///
    /// # Errors
    /// It has more decimals, or does not fit 64 bits.
    pub fn at_scale(self, decimals: u8) -> Result<i64, String> {
        let scaled = match u32::from(decimals) {
            finer @ 13.. => self.0.checked_mul(10i128.pow(finer - DECIMALS)),
            coarser => {
                let step = 10i128.pow(DECIMALS - coarser);
                if self.0 % step != 0 {
                    return Err(format!("is {self}, expected at most {decimals} decimals"));
                }
                Some(self.0 / step)
            }
        };
        scaled.and_then(|value| i64::try_from(value).ok()).ok_or_else(|| format!("is {self}, too large"))
    }

    /// In millionths.
    ///
    /// # Errors
    /// As [`Self::at_scale`].
    pub fn money(self) -> Result<i64, String> {
        self.at_scale(MONEY_DECIMALS)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0.unsigned_abs() / ONE as u128, self.0.unsigned_abs() % ONE as u128);
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal, such as 250000 or \"0.001\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
                Decimal::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Decimal, E> {
                Decimal::parse(&value.to_string()).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Decimal, E> {
                Decimal::parse(&value.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Decimal, E> {
                // The shortest text that reads back as the same number is the one that was written.
                Decimal::parse(&value.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl schemars::JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["number", "string"], "pattern": r"^-?\d{1,18}(\.\d{1,12})?$" })
    }
}

/// On which side of the exact value a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero: what may be lost.
    Up,
    /// Towards zero: what may be won.
    Down,
}

/// Turns prices and quantities of one instrument into millionths of the reporting currency. Whoever values an order or
/// an execution does it with this, so that the gate, the paper exchange and reports agree to the last digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valuer {
    numerator: i64,
    denominator: i64,
    /// Inverse contracts: a quantity has its value whatever the price.
    inverse: bool,
    /// For inverse contracts: coins (times 10^9) of a contract at a price are `value / price`.
    price_units: i64,
}

impl Valuer {
    /// `conversion` is the reporting currency's units in one unit of the quote currency, > 0.
    ///
    /// # Errors
    /// A conversion or contract that is not positive or cannot be held exactly in 64 bits.
    pub fn new(instrument: &Instrument, conversion: Decimal) -> Result<Self, String> {
        let (factor, inverse) = match instrument.contract {
            Contract::Linear => (1.0, false),
            Contract::Inverse { quote_per_contract } => (quote_per_contract, true),
            Contract::Sized { base_per_contract } => (base_per_contract, false),
        };
        let factor = Decimal::parse(&factor.to_string())?;
        if factor.0 <= 0 || conversion.0 <= 0 {
            return Err(format!("contract {factor} and conversion {conversion} must be above zero"));
        }
        let scale = |scale: Scale| i32::from(scale.decimals());
        let decimals = scale(instrument.qty_scale) + if inverse { 0 } else { scale(instrument.price_scale) };
        let (factor, factor_exponent) = stripped(factor.0);
        let (conversion, conversion_exponent) = stripped(conversion.0);
        let exponent =
            factor_exponent + conversion_exponent - 2 * DECIMALS as i32 - decimals + i32::from(MONEY_DECIMALS);
        let power = |exponent: i32| u32::try_from(exponent).ok().and_then(|e| 10i64.checked_pow(e));
        let mantissa = factor.checked_mul(conversion).and_then(|value| i64::try_from(value).ok());
        let (numerator, denominator) = if exponent >= 0 {
            (mantissa.and_then(|m| m.checked_mul(power(exponent)?)), Some(1))
        } else {
            (mantissa, power(-exponent))
        };
        let price_units = instrument.price_scale.units();
        match (numerator, denominator) {
            (Some(numerator), Some(denominator)) => Ok(Self { numerator, denominator, inverse, price_units }),
            _ => Err(format!("{}: contract, conversion and scales do not fit 64 bits together", instrument.name())),
        }
    }

    /// Value of a quantity at a price, with the quantity's sign; `None` when it does not fit.
    #[inline(always)]
    pub fn value(&self, price: i64, qty: i64, rounding: Rounding) -> Option<i64> {
        let price = if self.inverse { 1 } else { price };
        // Nearly always everything fits 64 bits, and a 64-bit division is several times as fast as a wide one.
        let narrow = price.checked_mul(qty).and_then(|product| product.checked_mul(self.numerator));
        match narrow {
            Some(product) if self.denominator == 1 => Some(product),
            Some(product) => {
                let rest = product % self.denominator;
                let whole = product / self.denominator;
                let away = if rounding == Rounding::Up { rest.signum() } else { 0 };
                whole.checked_add(away)
            }
            None => self.wide(price, qty, rounding),
        }
    }

    #[cold]
    #[inline(never)]
    fn wide(&self, price: i64, qty: i64, rounding: Rounding) -> Option<i64> {
        let product = (i128::from(price) * i128::from(qty)).checked_mul(i128::from(self.numerator))?;
        let denominator = i128::from(self.denominator);
        let away = if rounding == Rounding::Up { (product % denominator).signum() } else { 0 };
        i64::try_from(product / denominator + away).ok()
    }

    /// Whether profit is made in coin: the contract's value in quote units is fixed.
    #[inline(always)]
    pub(crate) const fn is_inverse(&self) -> bool {
        self.inverse
    }

    /// For inverse contracts: `value` (millionths) at one price in millionths at another, `value x to / from`. What a
    /// contract bought at `from` is worth at `to`.
    #[inline(always)]
    pub(crate) fn coins(&self, value: i64, price: i64) -> Option<i64> {
        if price <= 0 {
            return None;
        }
        // Millionths of a quote unit over quote units a coin: coins times 10^9 keep three digits more than money.
        let coins = i128::from(value) * 1_000 * i128::from(self.price_units) / i128::from(price);
        i64::try_from(coins).ok()
    }

    /// What coins (as [`Self::coins`] gives them) are worth at a price, millionths.
    #[inline(always)]
    pub(crate) fn of_coins(&self, coins: i64, price: i64) -> Option<i64> {
        let value = i128::from(coins) * i128::from(price) / (1_000 * i128::from(self.price_units));
        i64::try_from(value).ok()
    }
}

/// A positive number without its trailing zeros, and how many there were.
fn stripped(mut value: i128) -> (i128, i32) {
    let mut exponent = 0;
    while value != 0 && value % 10 == 0 {
        value /= 10;
        exponent += 1;
    }
    (value, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_wire::Venue;

    fn valuer(contract: Contract, conversion: &str) -> Valuer {
        let instrument = Instrument { contract, ..Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 2, 3) };
        Valuer::new(&instrument, Decimal::parse(conversion).expect("a decimal")).expect("fits")
    }

    #[test]
    fn values_are_exact_and_rounded_against_the_firm() {
        let linear = valuer(Contract::Linear, "1");
        // 60,000.01 x 0.002 = 120.00002
        assert_eq!(linear.value(6_000_001, 2, Rounding::Up), Some(120_000_020));
        let sized = valuer(Contract::Sized { base_per_contract: 0.01 }, "0.999");
        // 60,000.01 x 0.001 x 0.01 x 0.999 = 0.5994000999
        assert_eq!(sized.value(6_000_001, 1, Rounding::Up), Some(599_401));
        assert_eq!(sized.value(6_000_001, 1, Rounding::Down), Some(599_400));
        assert_eq!(sized.value(6_000_001, -1, Rounding::Up), Some(-599_401));
        let inverse = valuer(Contract::Inverse { quote_per_contract: 100.0 }, "1");
        assert_eq!(inverse.value(1, 2_000, Rounding::Up), Some(200_000_000), "two contracts of 100");
        assert_eq!(linear.value(i64::MAX, i64::MAX, Rounding::Up), None);
    }

    #[test]
    fn coins_go_round() {
        let inverse = valuer(Contract::Inverse { quote_per_contract: 100.0 }, "1");
        // 100 USD at 50,000.00 are 0.002 coins, at 60,000.00 worth 120 USD.
        let coins = inverse.coins(100_000_000, 5_000_000).expect("fits");
        assert_eq!(coins, 2_000_000);
        assert_eq!(inverse.of_coins(coins, 6_000_000), Some(120_000_000));
        assert_eq!(inverse.coins(1, 0), None);
    }

    #[test]
    fn decimals_say_what_they_cannot_hold() {
        for (text, scale, value) in [("1.5", 3, 1_500), ("-0.000001", 6, -1), ("12", 0, 12)] {
            assert_eq!(Decimal::parse(text).expect(text).at_scale(scale), Ok(value), "{text}");
        }
        assert!(Decimal::parse("0.0001").expect("fits").at_scale(3).is_err_and(|e| e.contains("at most 3 decimals")));
        for text in ["", ".", "1.", ".5", "1e5", "NaN", "inf", "1.0000000000001", "1234567890123456789", "--1"] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
        assert!(Decimal::whole(i64::MAX).at_scale(6).is_err());
    }

    proptest! {
        #[test]
        fn text_goes_round(raw in -ONE * 1_000_000..ONE * 1_000_000) {
            let decimal = Decimal(raw);
            prop_assert_eq!(Decimal::parse(&decimal.to_string()), Ok(decimal));
        }

        /// Narrow and wide arithmetic agree, and rounding is on the named side.
        #[test]
        fn both_ways_agree(price in 1i64..1 << 40, qty in -(1i64 << 40)..1 << 40) {
            let sized = valuer(Contract::Sized { base_per_contract: 0.01 }, "0.999");
            for rounding in [Rounding::Up, Rounding::Down] {
                prop_assert_eq!(sized.value(price, qty, rounding), sized.wide(price, qty, rounding));
            }
            if let (Some(up), Some(down)) =
                (sized.value(price, qty, Rounding::Up), sized.value(price, qty, Rounding::Down))
            {
                prop_assert!(up.abs() >= down.abs() && up.abs() - down.abs() <= 1);
            }
        }
    }
}
