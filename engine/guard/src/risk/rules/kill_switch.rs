//! A thrown kill switch: nothing new, except what only makes a position smaller where that is configured.

use tidegate_wire::order::KillCause;

use super::{Breach, REPEATED_EXECUTION, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "kill_switch",
    unit: "switches",
    about: "A kill switch of the engine, venue, account or strategy is thrown.",
    source: "RTS 6 Art. 12; 17 CFR 240.15c3-5(c)(1)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    match state.kill.stops(c.decoded.who) {
        // The rule of that name says so itself.
        Some((_, _, latch)) if latch.cause == KillCause::Rule && latch.rule == REPEATED_EXECUTION => Ok(()),
        Some((scope, scope_id, _)) if !(c.reduces() && state.switches.reduce_only) => {
            Err(Breach { scope, scope_id, measured: 1, limit: 0 })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn every_scope_stops_its_own_and_cancels_go_through() {
        for (scope, id) in
            [(LimitScope::Firm, 0), (LimitScope::Venue, 1), (LimitScope::Account, 0), (LimitScope::Strategy, 0)]
        {
            let mut desk = Desk::new("");
            let open = desk.buy(PRICE, LOT);
            desk.accepts(&open);
            desk.fill(&open, PRICE, LOT);
            let resting = desk.buy(PRICE, LOT);
            desk.accepts(&resting);
            assert_eq!(desk.gate.kill(scope, id, KillCause::Operator, PersonId(2), desk.now), Ok(true));
            let more = desk.buy(PRICE, LOT);
            let breach = desk.refuses(&more, "kill_switch", 1, 0);
            assert_eq!((breach.scope, breach.scope_id), (scope as u8, id));
            desk.accepts(&cancel(&resting));
            let less = reduce_only(desk.sell(PRICE + TICK, LOT));
            desk.accepts(&less);
            let switched = desk.gate.reset(scope, id, desk.keys(), "tested");
            assert!(switched.is_ok_and(|latch| latch.is_some()));
            let more = desk.buy(PRICE, LOT);
            desk.accepts(&more);
        }
        let mut desk = Desk::new("[switches]\nreduce_only = false\n");
        let open = desk.buy(PRICE, LOT);
        desk.accepts(&open);
        desk.fill(&open, PRICE, LOT);
        assert_eq!(desk.gate.kill(LimitScope::Firm, 0, KillCause::Signal, PersonId::NONE, desk.now), Ok(true));
        let less = reduce_only(desk.sell(PRICE, LOT));
        desk.refuses(&less, "kill_switch", 1, 0);
    }
}
