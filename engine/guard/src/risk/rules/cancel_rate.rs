//! Cancels in a sliding window. A cancel is never refused: it makes risk smaller. Beyond the limit an alert is raised
//! instead, and the rate of messages holds back what comes after.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "cancel_rate",
    unit: "cancels",
    about: "More cancels than the scope should send in its window.",
    source: "RTS 6 Art. 15(1)(d); FIA PTG 2010",
    overridable: false,
};

#[inline(always)]
pub(super) const fn check(_: &State, _: &Candidate<'_>) -> Result<(), Breach> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn more_than_the_limit_raises_an_alert_and_passes() {
        let mut desk = Desk::new("[strategies.carry]\ncancels = { count = 2, window_ms = 100 }\n");
        let order = desk.buy(PRICE, LOT);
        desk.accepts(&order);
        for n in 0..4 {
            desk.accepts(&cancel(&order));
            let alert = desk.gate.take_alert();
            assert_eq!(alert.is_some(), n >= 2, "cancel {n}");
            if let Some(alert) = alert {
                assert_eq!((alert.kind, alert.measured, alert.limit), (AlertKind::CancelRate as u8, 3, 2));
                assert_eq!((alert.event_ns, rule_name(alert.rule)), (desk.now, "cancel_rate"));
            }
        }
    }
}
