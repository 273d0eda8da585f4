//! The same order again within a moment is a mistake until somebody says otherwise.

use tidegate_wire::order::{LimitScope, OrderRequest, RequestKind};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;
use crate::risk::window::mixed;

pub(super) static RULE: Rule = Rule {
    name: "duplicate_content",
    unit: "orders",
    about: "Account, strategy, instrument, side, type, price and quantity are those of an order a moment ago.",
    source: "17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: true,
};

/// Key of an order's content.
#[inline(always)]
pub(crate) const fn key(request: &OrderRequest) -> u64 {
    let owner = (request.account as u64) << 48 | (request.strategy as u64) << 32 | (request.instrument.0 as u64) << 16;
    let codes = (request.side as u64) << 8 | request.order_type as u64;
    mixed([owner | codes, request.price.raw() as u64, request.qty.raw() as u64])
}

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.decoded.kind != RequestKind::New {
        return Ok(());
    }
    let (scope, scope_id) = (LimitScope::Strategy, c.decoded.who.strategy);
    if state.contents.contains(key(c.request)) {
        return Err(Breach { scope, scope_id, measured: 2, limit: 1 });
    }
    // What could not be remembered could not be recognised.
    if state.contents.is_full() {
        let room = state.contents.capacity();
        return Err(Breach { scope, scope_id, measured: room + 1, limit: room });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn the_same_order_within_a_moment_is_refused() {
        let mut desk = Desk::new("[duplicates]\ncontent_ms = 500\n");
        let order = desk.buy(PRICE, LOT);
        desk.accepts(&order);
        let different: [fn(&mut OrderRequest); 4] = [
            |r| r.price = Price::from_raw(r.price.raw() - TICK),
            |r| r.qty = Qty::from_raw(r.qty.raw() + LOT),
            |r| r.strategy = 1,
            |r| r.account = 1,
        ];
        for change in different {
            let mut other = desk.buy(PRICE, LOT);
            change(&mut other);
            desk.accepts(&other);
        }
        for (later, accepted) in [(499, false), (500, true)] {
            let mut again = desk.buy(PRICE, LOT);
            again.event_ns = order.event_ns + later * MS;
            if accepted {
                desk.accepts(&again)
            } else {
                desk.refuses(&again, "duplicate_content", 2, 1)
            };
        }
    }

    #[test]
    fn an_override_lets_it_through_once() {
        let mut desk = Desk::new("[duplicates]\ncontent_ms = 500\n");
        let (first, second, third) = (desk.buy(PRICE, LOT), desk.buy(PRICE, LOT), desk.buy(PRICE, LOT));
        desk.accepts(&first);
        desk.overrides(&second, "duplicate_content");
        let verdict = desk.accepts(&second);
        assert_eq!(rule_name(verdict.overridden), "duplicate_content");
        desk.refuses(&third, "duplicate_content", 2, 1);
    }

    #[test]
    fn what_cannot_be_remembered_is_refused() {
        let mut desk = Desk::new("[duplicates]\ncontents = 2\nclient_id_ms = 0\ncontent_ms = 500\n");
        for n in 0..3 {
            let order = desk.buy(PRICE - n * TICK, LOT);
            if n < 2 {
                desk.accepts(&order)
            } else {
                desk.refuses(&order, "duplicate_content", 3, 2)
            };
        }
    }
}
