//! The microstructure score: how much a book and its tape speak for a direction, in `[0, 12]`.
//!
//! It is a sum of eight parts. Each takes one number off a feature vector, turned towards the signal's direction where
//! it has one, maps it linearly from its range to `[0, 1]`, clamps, and weighs it. A feature that is absent gives
//! nothing and is marked as not known. Weights and ranges are a definition, not a fit: what the score is good for is
//! measured by [`crate::calibration`].

use tidegate_market::features::schema as f;
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::signal::{Action, SCORE_PARTS};

/// The highest score.
pub const SCORE_MAX: f64 = 12.0;

/// One part of the score.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Part {
    /// Its name in files and reports.
    pub name: &'static str,
    /// Most that it adds.
    pub weight: f64,
    /// Where it adds nothing.
    pub from: f64,
    /// Where it adds all of its weight; below `from` where less is better.
    pub to: f64,
    /// What it measures, and why.
    pub about: &'static str,
    #[serde(skip)]
    measure: fn(&FeatureBody, f64) -> Option<f64>,
}

/// All parts; weights add up to [`SCORE_MAX`].
pub const PARTS: [Part; SCORE_PARTS] = [
    Part {
        name: "book_imbalance",
        weight: 2.0,
        from: 0.0,
        to: 0.6,
        about: "imbalance_5 towards the direction: the heavier side of the book is where the price is pushed from.",
        measure: |body, side| Some(body.get(f::IMBALANCE_5)? * side),
    },
    Part {
        name: "trade_flow",
        weight: 2.0,
        from: 0.0,
        to: 0.8,
        about: "trade_flow_10s towards the direction: who crossed the spread lately.",
        measure: |body, side| Some(body.get(f::TRADE_FLOW_10S)? * side),
    },
    Part {
        name: "order_flow",
        weight: 2.0,
        from: 0.0,
        to: 0.5,
        about: "ofi_10s over the quantity within 10 bp, towards the direction: flow in units of what stands against it.",
        measure: order_flow,
    },
    Part {
        name: "micro_price",
        weight: 1.5,
        from: 0.0,
        to: 0.5,
        about: "Micro-price less mid, in half spreads, towards the direction.",
        measure: micro_price,
    },
    Part {
        name: "momentum",
        weight: 1.5,
        from: 0.0,
        to: 2.0,
        about: "return_60s in its own standard deviations (realised_vol_300s over a minute), towards the direction.",
        measure: momentum,
    },
    Part {
        name: "tight_spread",
        weight: 1.0,
        from: 5.0,
        to: 0.5,
        about: "spread_bp: what it costs to be wrong.",
        measure: |body, _| body.get(f::SPREAD_BP),
    },
    Part {
        name: "depth",
        weight: 1.0,
        from: 0.5,
        to: 1.5,
        about: "depth_ratio: liquidity against its own mean; a thin book moves by itself.",
        measure: |body, _| body.get(f::DEPTH_RATIO),
    },
    Part {
        name: "calm_flow",
        weight: 1.0,
        from: 0.6,
        to: 0.2,
        about: "vpin: toxic flow speaks against entering at all.",
        measure: |body, _| body.get(f::VPIN),
    },
];

fn order_flow(body: &FeatureBody, side: f64) -> Option<f64> {
    let depth = body.get(f::DEPTH_BID_10BP)? + body.get(f::DEPTH_ASK_10BP)?;
    (depth > 0.0).then_some(())?;
    Some(body.get(f::OFI_10S)? / depth * side)
}

fn micro_price(body: &FeatureBody, side: f64) -> Option<f64> {
    let half = body.get(f::SPREAD)? / 2.0;
    (half > 0.0).then_some(())?;
    Some((body.get(f::MICRO_PRICE)? - body.get(f::MID)?) / half * side)
}

fn momentum(body: &FeatureBody, side: f64) -> Option<f64> {
    // Minutes of a year of 365 days.
    let minute = body.get(f::REALISED_VOL_300S)? / libm::sqrt(525_600.0);
    (minute > 0.0).then_some(())?;
    Some(body.get(f::RETURN_60S)? / minute * side)
}

impl Part {
    /// What it adds to the score of a direction (+1 long, -1 short), in `[0, weight]`; `None` when its feature is
    /// absent.
    pub fn of(&self, body: &FeatureBody, side: f64) -> Option<f64> {
        let value = (self.measure)(body, side).filter(|value| value.is_finite())?;
        Some(((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0) * self.weight)
    }
}

/// A score and its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// The sum, in `[0, 12]`.
    pub total: f64,
    /// Its parts, in the order of [`PARTS`].
    pub parts: [f64; SCORE_PARTS],
    /// Bit `i` is set when part `i` was known.
    pub known: u32,
}

/// The score of an action on a vector; a neutral one, a candidate on its way up, is looked at as a long one.
pub fn score(body: &FeatureBody, action: Action) -> Score {
    let side = if action == Action::Short { -1.0 } else { 1.0 };
    let mut score = Score::default();
    for (index, part) in PARTS.iter().enumerate() {
        if let Some(value) = part.of(body, side) {
            score.parts[index] = value;
            score.known |= 1 << index;
            score.total += value;
        }
    }
    // Eight roundings must not carry the sum beyond its bound.
    score.total = score.total.min(SCORE_MAX);
    score
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(values: &[(usize, f64)]) -> FeatureBody {
        let mut body = FeatureBody::EMPTY;
        values.iter().for_each(|(index, value)| body.set(*index, Some(*value)));
        body
    }

    #[test]
    fn weights_add_up_and_names_differ() {
        assert!((PARTS.iter().map(|part| part.weight).sum::<f64>() - SCORE_MAX).abs() < 1e-12);
        let mut names = PARTS.map(|part| part.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn parts_at_the_ends_of_their_ranges() {
        let part = |name: &str| PARTS.iter().find(|part| part.name == name).expect(name);
        for (name, values, side, expected) in [
            ("book_imbalance", vec![(f::IMBALANCE_5, 0.6)], 1.0, Some(2.0)),
            ("book_imbalance", vec![(f::IMBALANCE_5, 0.3)], 1.0, Some(1.0)),
            ("book_imbalance", vec![(f::IMBALANCE_5, 0.6)], -1.0, Some(0.0)),
            ("book_imbalance", vec![(f::IMBALANCE_5, -0.9)], -1.0, Some(2.0)),
            ("book_imbalance", vec![], 1.0, None),
            ("tight_spread", vec![(f::SPREAD_BP, 0.5)], 1.0, Some(1.0)),
            ("tight_spread", vec![(f::SPREAD_BP, 0.1)], 1.0, Some(1.0)),
            ("tight_spread", vec![(f::SPREAD_BP, 5.0)], -1.0, Some(0.0)),
            ("tight_spread", vec![(f::SPREAD_BP, 2.75)], 1.0, Some(0.5)),
            ("depth", vec![(f::DEPTH_RATIO, 1.0)], 1.0, Some(0.5)),
            ("calm_flow", vec![(f::VPIN, 0.4)], 1.0, Some(0.5)),
            ("calm_flow", vec![(f::VPIN, 0.9)], 1.0, Some(0.0)),
            (
                "order_flow",
                vec![(f::OFI_10S, 5.0), (f::DEPTH_BID_10BP, 10.0), (f::DEPTH_ASK_10BP, 10.0)],
                1.0,
                Some(1.0),
            ),
            ("order_flow", vec![(f::OFI_10S, 5.0), (f::DEPTH_BID_10BP, 0.0), (f::DEPTH_ASK_10BP, 0.0)], 1.0, None),
            ("micro_price", vec![(f::MICRO_PRICE, 100.25), (f::MID, 100.0), (f::SPREAD, 1.0)], 1.0, Some(1.5)),
            ("micro_price", vec![(f::MICRO_PRICE, 100.25), (f::MID, 100.0), (f::SPREAD, 0.0)], 1.0, None),
        ] {
            let found = part(name).of(&body(&values), side);
            let same = match (found, expected) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            };
            assert!(same, "{name} {values:?} {side}: {found:?}, expected {expected:?}");
        }
        // 25.6 % a year are about 3.5 bp a minute: two of them are a full part.
        let values = [(f::REALISED_VOL_300S, 0.256), (f::RETURN_60S, 2.0 * 0.256 / libm::sqrt(525_600.0))];
        assert!(part("momentum").of(&body(&values), 1.0).is_some_and(|value| (value - 1.5).abs() < 1e-9));
    }

    #[test]
    fn what_is_absent_is_marked() {
        let empty = score(&FeatureBody::EMPTY, Action::Long);
        assert_eq!((empty.total, empty.known), (0.0, 0));
        let one = score(&body(&[(f::VPIN, 0.1)]), Action::Short);
        assert_eq!((one.total, one.known), (1.0, 1 << 7));
    }

    proptest! {
        #[test]
        fn a_score_stays_in_its_range(values in prop::array::uniform32(prop::num::f64::ANY), short: bool) {
            let mut body = FeatureBody::EMPTY;
            for (index, value) in values.iter().enumerate() {
                body.set(index * 2, Some(*value));
                body.set(index * 2 + 1, Some(value / 3.0));
            }
            let score = score(&body, if short { Action::Short } else { Action::Long });
            prop_assert!((0.0..=SCORE_MAX).contains(&score.total), "{score:?}");
        }
    }
}
