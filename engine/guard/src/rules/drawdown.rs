//! Drawdown: a strategy, or everything together, has lost too much since its highest equity.
//!
//! No feature vector shows it: whoever keeps the positions measures it and tells the guard
//! ([`Command::Drawdown`](crate::Command::Drawdown)); in a running engine that is the risk desk. It trips the breaker
//! of the strategy or of the engine; what is done about open positions is for [emergency protocols](crate::emergency).

use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

/// The rule of strategies and the engine; its index in records is [`DRAWDOWN`](super::DRAWDOWN).
pub static RULE: Rule = Rule {
    name: "drawdown",
    unit: "fraction",
    about: "Loss since the highest equity, over that equity.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 0.05,
        release: 0.03,
        hold_ms: 0,
        cooling_ms: 600_000,
        probation_ms: 60_000,
        warmup_ms: 0,
        policy: Policy::Latched,
    },
};

/// It is told, not measured on vectors.
const fn measure(_: &FeatureBody) -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_vector_shows_it() {
        assert_eq!(measure(&FeatureBody::EMPTY), None);
        assert_eq!(RULE.defaults.check(&RULE), Ok(()));
    }
}
