//! Order-book imbalance: one side has all but gone.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "imbalance",
    unit: "ratio",
    about: "Absolute imbalance of the best ten levels, in [0, 1].",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 0.98,
        release: 0.9,
        hold_ms: 1_000,
        cooling_ms: 5_000,
        probation_ms: 5_000,
        warmup_ms: 5_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::IMBALANCE_10).map(f64::abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::IMBALANCE_10, Some(-0.99));
        assert_eq!(measure(&vector), Some(0.99));
    }
}
