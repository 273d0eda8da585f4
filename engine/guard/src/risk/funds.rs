//! Money that counts in risk checks, and money that is only shown.
//!
//! [`Credit`] is what an account can lose: real, available, as the venue or the balance ledger reports it. It is the
//! only kind of money the gate takes ([`RiskGate::on_funds`](super::RiskGate::on_funds)). [`VirtualBalance`] is a
//! figure for screens (the balance ledger multiplies the total by 1.5); it never enters a risk check. That is kept by
//! the type: nothing turns one into the other, and no number can be read from a virtual balance except as text.
//!
//! ```compile_fail,E0308
//! # use tidegate_guard::risk::{RiskGate, VirtualBalance};
//! fn funds(gate: &mut RiskGate, shown: VirtualBalance) {
//!     let _ = gate.on_funds(0, shown); // expected `Credit`, found `VirtualBalance`
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use tidegate_guard::risk::{Credit, VirtualBalance};
//! fn credit(shown: VirtualBalance) -> Credit {
//!     Credit::from(shown) // no such conversion
//! }
//! ```
//!
//! ```compile_fail,E0616
//! # use tidegate_guard::risk::{Credit, VirtualBalance};
//! fn credit(shown: VirtualBalance) -> Option<Credit> {
//!     Credit::new(shown.0) // the number is private
//! }
//! ```

use std::fmt;

use tidegate_wire::Scale;
use tidegate_wire::decimal::Fixed;
use tidegate_wire::order::MONEY_DECIMALS;

const MONEY_SCALE: Scale = Scale::saturating(MONEY_DECIMALS);

/// Funds that back orders: millionths of the reporting currency, >= 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credit(i64);

impl Credit {
    /// `millionths` >= 0, else `None`: a debt backs nothing.
    pub const fn new(millionths: i64) -> Option<Self> {
        if millionths >= 0 { Some(Self(millionths)) } else { None }
    }

    /// Millionths of the reporting currency, >= 0.
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fixed::new(self.0, MONEY_SCALE).fmt(f)
    }
}

/// A balance for display: text is all that comes out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtualBalance(i64);

impl VirtualBalance {
    /// A figure for screens, millionths of the reporting currency.
    pub const fn for_display(millionths: i64) -> Self {
        Self(millionths)
    }
}

impl fmt::Display for VirtualBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fixed::new(self.0, MONEY_SCALE).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_back_nothing_and_text_is_exact() {
        assert_eq!(Credit::new(-1), None);
        assert_eq!(Credit::new(1_500_000).expect("no debt").to_string(), "1.500000");
        assert_eq!(VirtualBalance::for_display(2_250_000).to_string(), "2.250000");
    }
}
