//! Stale feed: the book has been silent for too long.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "stale_feed",
    unit: "ms",
    about: "Event time since the last depth frame.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 3_000.0,
        release: 1_000.0,
        hold_ms: 0,
        cooling_ms: 5_000,
        probation_ms: 5_000,
        warmup_ms: 0,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::DEPTH_AGE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::DEPTH_AGE_MS, Some(3_500.0));
        assert_eq!(measure(&vector), Some(3_500.0));
    }
}
