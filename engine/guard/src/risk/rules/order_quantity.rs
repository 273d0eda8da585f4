//! The largest quantity of one order.

use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "order_quantity",
    unit: "quantity, mantissa",
    about: "The order's quantity is above the instrument's limit.",
    source: "RTS 6 Art. 15(1)(c); 17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let id = c.decoded.who.instrument;
    let (measured, limit) = (c.request.qty.raw(), state.listed[usize::from(id)].max_order_qty);
    if measured > limit {
        return Err(Breach { scope: LimitScope::Instrument, scope_id: id, measured, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders() {
        let mut desk = Desk::new(&instrument("max_order_qty = 0.05"));
        for (qty, accepted) in [(50 - LOT, true), (50, true), (50 + LOT, false)] {
            let order = desk.buy(PRICE, qty);
            if accepted {
                desk.accepts(&order)
            } else {
                desk.refuses(&order, "order_quantity", qty, 50)
            };
        }
    }
}
