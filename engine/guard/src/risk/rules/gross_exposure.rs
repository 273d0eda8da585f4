//! Gross exposure: what positions and open orders could come to, summed without netting.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "gross_exposure",
    unit: "millionths",
    about: "The scope's exposure would pass its limit, or grow although it has passed it.",
    source: "17 CFR 240.15c3-5(c)(1)(i); RTS 6 Art. 17",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    for bounds in state.scopes(c.decoded.who) {
        let after = c.after.totals[bounds.scope as usize].exposure;
        // An order that adds nothing is not held back by what prices did to the rest; reductions never add.
        if after > bounds.max_gross_exposure && c.after.raises(bounds.scope) {
            return Err(bounds.breach(after, bounds.max_gross_exposure));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope_with_open_orders() {
        for (scope, extra) in scopes("max_gross_exposure = 1000") {
            let mut desk = Desk::new(&extra);
            let first = desk.buy(PRICE, 60);
            desk.accepts(&first);
            let second = desk.buy(PRICE, 40 + LOT);
            let verdict = desk.refuses(&second, "gross_exposure", 1_050_000_000, 1_000_000_000);
            assert_eq!(verdict.scope, scope as u8, "{extra}");
            let second = desk.buy(PRICE, 40 - LOT);
            desk.accepts(&second);
            let third = desk.buy(PRICE, LOT);
            desk.accepts(&third);
            // The other side adds nothing: not all of it can be held at once.
            let sell = desk.sell(PRICE, 100);
            desk.accepts(&sell);
            desk.gate.on_cancelled(0, first.client_id);
            desk.gate.on_rejected(0, third.client_id);
            let again = desk.buy(PRICE - TICK, 60 + LOT);
            desk.accepts(&again);
            desk.fill(&again, PRICE - TICK, 30);
            let more = desk.buy(PRICE, LOT);
            desk.refuses(&more, "gross_exposure", 1_050_000_000, 1_000_000_000);
        }
    }
}
