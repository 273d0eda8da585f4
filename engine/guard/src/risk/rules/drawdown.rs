//! Drawdown: the loss since the highest profit. Reached, the scope is stopped and only reductions pass.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "drawdown",
    unit: "millionths",
    about: "The scope has fallen too far below its highest profit.",
    source: "FIA PTG 2010; RTS 6 Art. 17",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.reduces() {
        return Ok(());
    }
    for bounds in state.scopes(c.decoded.who) {
        let drawdown = c.after.totals[bounds.scope as usize].drawdown();
        if drawdown >= bounds.max_drawdown {
            return Err(bounds.breach(drawdown, bounds.max_drawdown));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn counted_from_the_peak_across_days_and_forgiven_by_a_reset() {
        for (fall, accepted) in [(1_490, true), (1_500, false), (1_510, false)] {
            let mut desk = Desk::new("[strategies.carry]\nmax_drawdown = 15\n");
            let held = desk.buy(PRICE, 100);
            desk.accepts(&held);
            desk.fill(&held, PRICE, 100);
            desk.mark(PRICE + 500);
            desk.now += 86_400_000 * MS;
            desk.mark(PRICE + 500 - fall);
            desk.move_to(PRICE + 500 - fall);
            let order = desk.buy(PRICE + 500 - fall, LOT);
            let verdict = desk.send(&order);
            assert_eq!(verdict.is_accepted(), accepted, "{fall}");
            if !accepted {
                // The mark has thrown the switch already.
                assert_eq!(rule_of(&verdict), "kill_switch");
                let latch = desk.gate.kill_switch().get(LimitScope::Strategy, 0).expect("thrown");
                assert_eq!(rule_name(latch.rule), "drawdown");
                desk.gate.reset(LimitScope::Strategy, 0, desk.keys(), "hedge was late").expect("may");
                let order = desk.buy(PRICE + 500 - fall, LOT);
                desk.accepts(&order);
            }
        }
    }
}
