//! Messages of any kind in a sliding window. Cancels count but are never held back.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "message_rate",
    unit: "messages",
    about: "As many messages as the scope may send in its window have been sent.",
    source: "RTS 6 Art. 15(1)(d)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    for bounds in state.scopes(c.decoded.who) {
        if let Some(window) = bounds.messages.as_ref().filter(|window| window.is_full(state.now)) {
            return Err(bounds.breach(window.limit() + 1, window.limit()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_in_every_scope() {
        for (scope, extra) in scopes("messages = { count = 3, window_ms = 100 }") {
            let mut desk = Desk::new(&extra);
            let begin = desk.now;
            for (at, accepted) in
                [(0, true), (50, true), (60, true), (99, false), (100, true), (149, false), (150, true)]
            {
                desk.now = begin + at * MS;
                let order = desk.buy(PRICE - at * TICK, LOT);
                if accepted {
                    desk.accepts(&order);
                } else {
                    assert_eq!(desk.refuses(&order, "message_rate", 4, 3).scope, scope as u8);
                }
            }
        }
    }

    #[test]
    fn cancels_count_and_are_never_held_back() {
        let mut desk = Desk::new("[strategies.carry]\nmessages = { count = 2, window_ms = 100 }\n");
        let order = desk.buy(PRICE, LOT);
        desk.accepts(&order);
        (0..5).for_each(|_| {
            desk.accepts(&cancel(&order));
        });
        let next = desk.buy(PRICE - TICK, LOT);
        desk.refuses(&next, "message_rate", 3, 2);
    }
}
