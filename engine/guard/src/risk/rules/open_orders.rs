//! The largest number of open orders, and the room that the gate has for them.

use tidegate_wire::order::{LimitScope, RequestKind};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "open_orders",
    unit: "orders",
    about: "The scope has as many open orders as it may have.",
    source: "RTS 6 Art. 8, 15(1)",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.decoded.kind != RequestKind::New {
        return Ok(());
    }
    for bounds in state.scopes(c.decoded.who) {
        if bounds.open_orders >= bounds.max_open_orders {
            return Err(bounds.breach(i64::from(bounds.open_orders) + 1, i64::from(bounds.max_open_orders)));
        }
    }
    // What cannot be counted is not sent, whoever says so.
    let (open, room) = (state.open.len() as i64, state.open.capacity() as i64);
    if open >= room {
        return Err(Breach { scope: LimitScope::Firm, scope_id: 0, measured: open + 1, limit: room });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope() {
        for (scope, extra) in scopes("max_open_orders = 2") {
            let mut desk = Desk::new(&extra);
            let orders = [desk.buy(PRICE, LOT), desk.buy(PRICE - TICK, LOT), desk.buy(PRICE - 2 * TICK, LOT)];
            desk.accepts(&orders[0]);
            desk.accepts(&orders[1]);
            assert_eq!(desk.refuses(&orders[2], "open_orders", 3, 2).scope, scope as u8);
            desk.fill(&orders[0], PRICE, LOT);
            desk.accepts(&orders[2]);
        }
    }

    #[test]
    fn a_full_table_refuses_even_with_an_override() {
        let mut desk = Desk::with("capacity = 1\n", "");
        let orders = [desk.buy(PRICE, LOT), desk.buy(PRICE - TICK, LOT)];
        desk.accepts(&orders[0]);
        desk.refuses(&orders[1], "open_orders", 2, 1);
        desk.overrides(&orders[1], "open_orders");
        desk.refuses(&orders[1], "open_orders", 2, 1);
    }
}
