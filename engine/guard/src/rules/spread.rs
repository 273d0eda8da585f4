//! Spread blow-out: crossing the book costs many times the usual.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "spread",
    unit: "ratio",
    about: "Spread over its mean of about a minute; a spread below 2 bp counts as usual at most.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 10.0,
        release: 4.0,
        hold_ms: 250,
        cooling_ms: 10_000,
        probation_ms: 5_000,
        warmup_ms: 10_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    let (ratio, spread_bp) = (vector.get(f::SPREAD_RATIO)?, vector.get(f::SPREAD_BP)?);
    // One tick of a liquid contract is a hundredth of a basis point: ten of those are no blow-out.
    Some(if spread_bp < 2.0 { ratio.min(1.0) } else { ratio })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::SPREAD_RATIO, Some(20.0));
        vector.set(f::SPREAD_BP, Some(0.1));
        assert_eq!(measure(&vector), Some(1.0));
        vector.set(f::SPREAD_BP, Some(30.0));
        assert_eq!(measure(&vector), Some(20.0));
    }
}
