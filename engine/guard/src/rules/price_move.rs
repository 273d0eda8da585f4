//! Price move in a window: the mid went further within a minute than the limit, up or down.

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "price_move",
    unit: "fraction",
    about: "Highest over lowest mid of the last minute, less 1.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 0.05,
        release: 0.03,
        hold_ms: 0,
        cooling_ms: 60_000,
        probation_ms: 30_000,
        warmup_ms: 0,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    vector.get(f::RANGE_60S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        vector.set(f::RANGE_60S, Some(0.06));
        assert_eq!(measure(&vector), Some(0.06));
    }
}
