//! Liquidity drop: depth near the touch has gone.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "liquidity_drop",
    unit: "fraction",
    about: "Part of the usual quantity within 10 bp that is missing, in (-inf, 1].",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 0.5,
        release: 0.35,
        hold_ms: 3_000,
        cooling_ms: 10_000,
        probation_ms: 5_000,
        warmup_ms: 15_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::DEPTH_RATIO).map(|ratio| 1.0 - ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::DEPTH_RATIO, Some(0.25));
        assert_eq!(measure(&vector), Some(0.75));
    }
}
