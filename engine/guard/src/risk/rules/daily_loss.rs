//! The loss of a day: reached, the scope is stopped (its kill switch is thrown) and only reductions pass.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "daily_loss",
    unit: "millionths",
    about: "The scope has lost its allowance since midnight UTC, open positions valued at the reference.",
    source: "FIA PTG 2010; 17 CFR 240.15c3-5(c)(1)(i); RTS 6 Art. 17",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.reduces() {
        return Ok(());
    }
    for bounds in state.scopes(c.decoded.who) {
        let loss = c.after.totals[bounds.scope as usize].daily_loss();
        if loss >= bounds.max_daily_loss {
            return Err(bounds.breach(loss, bounds.max_daily_loss));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope_that_has_a_switch() {
        for (scope, extra) in scopes("max_daily_loss = 10") {
            // 0.1 bought at 10,000.0: a fall by 100.0 loses 10.
            for (fall, accepted) in [(1_000 - 10, true), (1_000, false), (1_010, false)] {
                let mut desk = Desk::new(&extra);
                let held = desk.buy(PRICE, 100);
                desk.accepts(&held);
                desk.fill(&held, PRICE, 100);
                desk.move_to(PRICE - fall);
                let order = desk.buy(PRICE - fall, LOT);
                let verdict = desk.send(&order);
                assert_eq!(verdict.is_accepted(), accepted, "{scope:?} {fall}");
                if accepted {
                    continue;
                }
                assert_eq!(rule_of(&verdict), "daily_loss");
                assert_eq!((verdict.scope, verdict.measured), (scope as u8, fall * 10_000));
                // Latched: a better price does not help, a reduction passes, and the next day neither.
                desk.move_to(PRICE);
                let again = desk.buy(PRICE, LOT);
                let latched = scope != LimitScope::Instrument;
                assert_eq!(desk.send(&again).is_accepted(), !latched);
                let less = reduce_only(desk.sell(PRICE, LOT));
                desk.accepts(&less);
            }
        }
    }
}
