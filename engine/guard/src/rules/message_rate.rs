//! Message rate: a flood that no consumer behind us may keep up with.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "message_rate",
    unit: "1/s",
    about: "Messages of the instrument within a second.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 5_000.0,
        release: 2_000.0,
        hold_ms: 0,
        cooling_ms: 5_000,
        probation_ms: 5_000,
        warmup_ms: 1_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::MESSAGE_RATE_1S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::MESSAGE_RATE_1S, Some(7e3));
        assert_eq!(measure(&vector), Some(7e3));
    }
}
