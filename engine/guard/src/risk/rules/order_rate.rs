//! New orders and replacements in a sliding window.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "order_rate",
    unit: "orders",
    about: "As many orders as the scope may send in its window have been sent.",
    source: "17 CFR 240.15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(d)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    for bounds in state.scopes(c.decoded.who) {
        if let Some(window) = bounds.orders.as_ref().filter(|window| window.is_full(state.now)) {
            return Err(bounds.breach(window.limit() + 1, window.limit()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope() {
        for (scope, extra) in scopes("orders = { count = 3, window_ms = 100 }") {
            let mut desk = Desk::new(&extra);
            let begin = desk.now;
            for (at, accepted) in
                [(0, true), (50, true), (60, true), (99, false), (100, true), (149, false), (150, true)]
            {
                desk.now = begin + at * MS;
                let order = desk.buy(PRICE - at * TICK, LOT);
                if accepted {
                    desk.accepts(&order);
                } else {
                    assert_eq!(desk.refuses(&order, "order_rate", 4, 3).scope, scope as u8);
                }
            }
        }
    }
}
