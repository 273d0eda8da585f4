//! Realised volatility: the market moves more than the strategies were built for.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "volatility",
    unit: "fraction/year",
    about: "Annualised volatility of the last ten seconds.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 4.0,
        release: 2.0,
        hold_ms: 0,
        cooling_ms: 30_000,
        probation_ms: 10_000,
        warmup_ms: 15_000,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::REALISED_VOL_10S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::REALISED_VOL_10S, Some(1.5));
        assert_eq!(measure(&vector), Some(1.5));
    }
}
