//! Latency spike: what the engine sees is older than usual. By recorded stamps only, so that a replay decides alike.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "latency_spike",
    unit: "us",
    about: "Mean feed latency less the smallest of the last minute: free of any offset between the clocks.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 250_000.0,
        release: 100_000.0,
        hold_ms: 250,
        cooling_ms: 10_000,
        probation_ms: 5_000,
        warmup_ms: 5_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::FEED_LATENCY_EXCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::FEED_LATENCY_EXCESS, Some(3.0e5));
        assert_eq!(measure(&vector), Some(3.0e5));
    }
}
