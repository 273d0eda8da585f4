//! Volume spike: far more trades than usual, often the first sign of a cascade.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "volume_spike",
    unit: "ratio",
    about: "Traded quantity of the last ten seconds over the usual of five minutes.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 10.0,
        release: 4.0,
        hold_ms: 0,
        cooling_ms: 15_000,
        probation_ms: 10_000,
        warmup_ms: 60_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::VOLUME_RATIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::VOLUME_RATIO, Some(12.0));
        assert_eq!(measure(&vector), Some(12.0));
    }
}
