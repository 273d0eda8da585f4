//! A replacement needs an order that is open and not already being replaced.

use tidegate_wire::order::{LimitScope, RequestKind};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "order_state",
    unit: "orders",
    about: "Nothing to replace, another side or instrument, less than has executed, or a change is still on its way.",
    source: "RTS 6 Art. 15(2)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let breach = |measured| Breach { scope: LimitScope::Account, scope_id: c.decoded.who.account, measured, limit: 1 };
    if c.decoded.kind == RequestKind::New {
        return Ok(());
    }
    let order = c.replaces.map(|place| state.open.get(place)).ok_or(breach(0))?;
    let same = order.who == c.decoded.who && order.side == c.decoded.side && order.reduce_only == c.reduces();
    match (same, order.pending) {
        (true, None) if c.qty > 0 => Ok(()),
        (true, Some(_)) => Err(breach(2)),
        _ => Err(breach(0)),
    }
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn only_open_orders_are_replaced_and_one_change_at_a_time() {
        let mut desk = Desk::new("");
        let order = desk.buy(PRICE, 3 * LOT);
        desk.refuses(&replace(&order, PRICE, LOT), "order_state", 0, 1);
        desk.accepts(&order);
        desk.refuses(&OrderRequest { side: Side::Sell as u8, ..replace(&order, PRICE, LOT) }, "order_state", 0, 1);
        desk.accepts(&replace(&order, PRICE + TICK, 5 * LOT));
        desk.refuses(&replace(&order, PRICE, LOT), "order_state", 2, 1);
        desk.gate.on_replaced(0, order.client_id);
        desk.fill(&order, PRICE, 2 * LOT);
        desk.refuses(&replace(&order, PRICE, 2 * LOT), "order_state", 0, 1);
        desk.accepts(&replace(&order, PRICE, 2 * LOT + LOT));
        desk.gate.on_replace_rejected(0, order.client_id);
        desk.accepts(&replace(&order, PRICE, 4 * LOT));
    }
}
