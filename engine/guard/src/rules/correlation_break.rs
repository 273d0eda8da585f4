//! Correlation break: an instrument parts from the one it is hedged or priced by.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "correlation_break",
    unit: "ratio",
    about: "Correlation of one-second returns with the reference instrument over a minute.",
    direction: Direction::Below,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 0.3,
        release: 0.45,
        hold_ms: 5_000,
        cooling_ms: 30_000,
        probation_ms: 10_000,
        warmup_ms: 45_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::CORRELATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::CORRELATION, Some(-0.2));
        assert_eq!(measure(&vector), Some(-0.2));
    }
}
