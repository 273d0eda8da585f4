//! The largest value of one order, at the worse of its price and the reference.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "order_value",
    unit: "millionths",
    about: "The order's worst-case value is above the limit of a scope.",
    source: "RTS 6 Art. 15(1)(b); 17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    for bounds in state.scopes(c.decoded.who) {
        if c.value > bounds.max_order_value {
            return Err(bounds.breach(c.value, bounds.max_order_value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope() {
        for (scope, extra) in scopes("max_order_value = 1000") {
            let mut desk = Desk::new(&extra);
            // 10,000.0 x 0.1 = 1,000.
            for (qty, accepted) in [(100 - LOT, true), (100, true), (100 + LOT, false)] {
                let order = desk.buy(PRICE, qty);
                if accepted {
                    desk.accepts(&order);
                } else {
                    let verdict = desk.refuses(&order, "order_value", 1_050_000_000, 1_000_000_000);
                    assert_eq!(verdict.scope, scope as u8, "{extra}");
                }
            }
            let below = desk.buy(PRICE - TICK, 100 + LOT);
            desk.refuses(&below, "order_value", 1_050_000_000, 1_000_000_000);
        }
    }
}
