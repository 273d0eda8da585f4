//! A scope that is refused again and again is out of control: its kill switch is thrown. Counted where refusals are
//! written.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "repeated_violation",
    unit: "refusals",
    about: "As many refusals in a window as the scope may have.",
    source: "RTS 6 Art. 12, 16; FIA PTG 2010",
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
    fn refusals_add_up_to_a_kill() {
        let mut desk = Desk::new("[strategies.carry]\nrefusals = { count = 3, window_ms = 1000 }\n");
        for n in 0..3 {
            assert!(desk.gate.kill_switch().get(LimitScope::Strategy, 0).is_none(), "{n} refusals");
            let off_grid = desk.buy(PRICE + 1, LOT);
            desk.refuses(&off_grid, "tick_lot", 1, TICK);
        }
        let latch = desk.gate.kill_switch().get(LimitScope::Strategy, 0).copied().expect("thrown");
        assert_eq!((latch.cause, rule_name(latch.rule)), (KillCause::Rule, "repeated_violation"));
        let alerts: Vec<_> = core::iter::from_fn(|| desk.gate.take_alert()).collect();
        let kinds: Vec<u8> = alerts.iter().map(|alert| alert.kind).collect();
        let refusal = AlertKind::Refusal as u8;
        assert_eq!(kinds, [refusal, refusal, refusal, AlertKind::Kill as u8]);
        let good = desk.buy(PRICE, LOT);
        desk.refuses(&good, "kill_switch", 1, 0);
    }
}
