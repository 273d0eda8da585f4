//! A strategy that executes again and again is stopped until a designated person lets it go on. The executions are
//! counted where they are reported; from then on the strategy's kill switch holds, and this rule says why.

use tidegate_wire::order::KillCause;

use super::{Breach, REPEATED_EXECUTION, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "repeated_execution",
    unit: "executions",
    about: "Executions in a window reached their number and nobody has let the scope go on since.",
    source: "RTS 6 Art. 15(3)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    match state.kill.stops(c.decoded.who) {
        Some((scope, scope_id, latch)) if latch.cause == KillCause::Rule && latch.rule == REPEATED_EXECUTION => {
            let bounds = state.scopes(c.decoded.who).into_iter().find(|bounds| bounds.scope == scope);
            let limit = bounds.and_then(|bounds| bounds.executions.as_ref()).map_or(0, |window| window.limit());
            if c.reduces() && state.switches.reduce_only {
                return Ok(());
            }
            Err(Breach { scope, scope_id, measured: limit, limit })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn the_last_execution_stops_the_strategy_until_a_designated_person_comes() {
        let mut desk = Desk::new("[strategies.carry]\nexecutions = { count = 3, window_ms = 1000 }\n");
        let order = desk.buy(PRICE, 10 * LOT);
        desk.accepts(&order);
        desk.fill(&order, PRICE, LOT);
        desk.now += 1_000 * MS;
        desk.fill(&order, PRICE, LOT);
        desk.fill(&order, PRICE, LOT);
        let next = desk.buy(PRICE, LOT);
        desk.accepts(&next);
        desk.fill(&order, PRICE, LOT);
        desk.now += 3_600_000 * MS;
        desk.move_to(PRICE);
        let next = desk.buy(PRICE, LOT);
        let verdict = desk.refuses(&next, "repeated_execution", 3, 3);
        assert_eq!((verdict.scope, verdict.scope_id), (LimitScope::Strategy as u8, 0));
        let nobody = Keys { designated: PersonId(2), risk: None };
        assert!(desk.gate.reset(LimitScope::Strategy, 0, nobody, "looked at it").is_err());
        assert!(desk.gate.reset(LimitScope::Strategy, 0, desk.keys(), "looked at it").is_ok());
        let next = desk.buy(PRICE, LOT);
        desk.accepts(&next);
        let other = OrderRequest { strategy: 1, ..desk.buy(PRICE, LOT) };
        desk.accepts(&other);
    }
}
