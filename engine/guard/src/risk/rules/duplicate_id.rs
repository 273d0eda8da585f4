//! A client order id is used once: while its order is open, and for a while afterwards.

use tidegate_wire::order::{LimitScope, OrderRequest, RequestKind};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;
use crate::risk::window::mixed;

pub(super) static RULE: Rule = Rule {
    name: "duplicate_id",
    unit: "orders",
    about: "The account has used the client order id before.",
    source: "17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: false,
};

/// Key of a client order id.
#[inline(always)]
pub(crate) const fn key(request: &OrderRequest) -> u64 {
    mixed([request.account as u64, request.client_id, 1])
}

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.decoded.kind != RequestKind::New {
        return Ok(());
    }
    let breach =
        |measured, limit| Breach { scope: LimitScope::Account, scope_id: c.decoded.who.account, measured, limit };
    let open = state.open.find(c.request.account, c.request.client_id).is_some();
    if open || state.ids.contains(key(c.request)) {
        return Err(breach(2, 1));
    }
    // What could not be remembered could not be recognised.
    if state.ids.is_full() {
        return Err(breach(state.ids.capacity() + 1, state.ids.capacity()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn an_id_is_used_once() {
        let mut desk = Desk::new("[duplicates]\nclient_id_ms = 1000\ncontent_ms = 0\n");
        let order = desk.buy(PRICE, LOT);
        desk.accepts(&order);
        let same = OrderRequest { price: Price::from_raw(PRICE - TICK), ..order };
        desk.now += 5_000 * MS;
        desk.move_to(PRICE);
        desk.refuses(&OrderRequest { event_ns: desk.now, ..same }, "duplicate_id", 2, 1);
        let theirs = OrderRequest { account: 1, event_ns: desk.now, ..same };
        desk.accepts(&theirs);
        desk.gate.on_cancelled(0, order.client_id);
        let again = OrderRequest { event_ns: desk.now, ..order };
        desk.accepts(&again);
        desk.gate.on_cancelled(0, order.client_id);
        for (later, accepted) in [(999, false), (1_000, true)] {
            let at = again.event_ns + later * MS;
            desk.now = at;
            desk.move_to(PRICE);
            assert_eq!(desk.send(&OrderRequest { event_ns: at, ..order }).is_accepted(), accepted, "{later} ms");
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_refused() {
        let mut desk = Desk::new("[duplicates]\nremembered = 2\n");
        for n in 0..3 {
            let order = desk.buy(PRICE - n * TICK, LOT);
            if n < 2 {
                desk.accepts(&order)
            } else {
                desk.refuses(&order, "duplicate_id", 3, 2)
            };
        }
    }
}
