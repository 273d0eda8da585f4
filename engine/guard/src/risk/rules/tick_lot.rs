//! Prices on the tick, quantities in lots.

use tidegate_wire::order::{LimitScope, OrderType};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "tick_lot",
    unit: "units off the grid",
    about: "The price is no multiple of the tick, or the quantity none of the lot.",
    source: "17 CFR 240.15c3-5(c)(1)(ii); (c)(2)(i)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let (id, request) = (c.decoded.who.instrument, c.request);
    let listed = &state.listed[usize::from(id)];
    // Most grids are one in the last place: the division is not needed then.
    let off = |value: i64, step: i64| if step == 1 { 0 } else { value % step };
    let price = if c.decoded.order_type == OrderType::Market { 0 } else { off(request.price.raw(), listed.tick) };
    for (rest, step) in [(price, listed.tick), (off(request.qty.raw(), listed.lot), listed.lot)] {
        if rest != 0 {
            return Err(Breach { scope: LimitScope::Instrument, scope_id: id, measured: rest, limit: step });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn grids_are_exact() {
        let mut desk = Desk::new("");
        for (price, qty, rest, step) in [
            (PRICE + 1, LOT, 1, TICK),
            (PRICE - 1, LOT, TICK - 1, TICK),
            (PRICE, LOT + 1, 1, LOT),
            (PRICE, LOT - 1, LOT - 1, LOT),
        ] {
            let order = desk.buy(price, qty);
            desk.refuses(&order, "tick_lot", rest, step);
        }
        let order = desk.buy(PRICE + TICK, 2 * LOT);
        desk.accepts(&order);
    }
}
