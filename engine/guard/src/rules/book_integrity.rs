//! Crossed, gapped or otherwise corrupt book: levels are known to be wrong.

use tidegate_wire::event::BookQuality;
use tidegate_wire::feature::FeatureBody;

use crate::profile::{Policy, Settings};
use crate::rules::{Direction, Rule};

pub(super) static RULE: Rule = Rule {
    name: "book_integrity",
    unit: "flag",
    about: "1 while updates are missing or the book is crossed, 0 while it is good.",
    direction: Direction::Above,
    measure,
    defaults: Settings {
        enabled: true,
        threshold: 1.0,
        release: 0.5,
        hold_ms: 0,
        cooling_ms: 2_000,
        probation_ms: 3_000,
        warmup_ms: 0,
        policy: Policy::Auto,
    },
};

fn measure(vector: &FeatureBody) -> Option<f64> {
    match vector.book_quality() {
        BookQuality::Good | BookQuality::Stale => Some(0.0),
        BookQuality::Gapped | BookQuality::Crossed | BookQuality::Mismatched => Some(1.0),
        // On its way back: neither wrong nor proven right.
        BookQuality::Building => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures() {
        let mut vector = FeatureBody::EMPTY;
        assert_eq!(measure(&vector), None);
        for (quality, value) in [
            (BookQuality::Good, 0.0),
            (BookQuality::Stale, 0.0),
            (BookQuality::Gapped, 1.0),
            (BookQuality::Crossed, 1.0),
            (BookQuality::Mismatched, 1.0),
        ] {
            vector.quality = quality as u64;
            assert_eq!(measure(&vector), Some(value));
        }
    }
}
