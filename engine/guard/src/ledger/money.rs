//! Minor units as text, as credit, and as what is only shown.

use std::fmt;

use tidegate_wire::Scale;
use tidegate_wire::order::MONEY_DECIMALS;

use crate::risk::{Credit, VirtualBalance};

/// Minor units as decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown(pub i128, pub Scale);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, decimals) = (self.1.units().unsigned_abs(), usize::from(self.1.decimals()));
        let (sign, amount) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, rest) = (amount / u128::from(units), amount % u128::from(units));
        if decimals == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{rest:0decimals$}") }
    }
}

/// Minor units as millionths, rounded down; `None` when they do not fit.
fn millionths(amount: u128, scale: Scale) -> Option<i64> {
    let scaled = amount.checked_mul(u128::from(Scale::saturating(MONEY_DECIMALS).units().unsigned_abs()))?;
    i64::try_from(scaled / u128::from(scale.units().unsigned_abs())).ok()
}

/// A real balance as funds for a risk gate, where the asset is the reporting currency; `None` when it does not fit.
pub fn credit(amount: u128, scale: Scale) -> Option<Credit> {
    Credit::new(millionths(amount, scale)?)
}

/// The total times `thousandths / 1000`, for screens; `None` when it does not fit.
pub fn shown(total: u128, scale: Scale, thousandths: u32) -> Option<VirtualBalance> {
    let times = total.checked_mul(u128::from(thousandths))? / 1_000;
    millionths(times, scale).map(VirtualBalance::for_display)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_exact_and_display_is_one_and_a_half_times() {
        let scale = Scale::saturating(6);
        assert_eq!(Shown(1_500_000, scale).to_string(), "1.500000");
        assert_eq!(Shown(-5, scale).to_string(), "-0.000005");
        assert_eq!(Shown(7, Scale::saturating(0)).to_string(), "7");
        assert_eq!(shown(2_000_000, scale, 1_500).map(|shown| shown.to_string()), Some("3.000000".into()));
        assert_eq!(shown(3, Scale::saturating(2), 1_500).map(|shown| shown.to_string()), Some("0.040000".into()));
        assert_eq!(credit(150, Scale::saturating(8)), Credit::new(1));
        assert_eq!(credit(u128::MAX, scale), None);
        assert_eq!(shown(u128::MAX, scale, 1_500), None);
    }
}
