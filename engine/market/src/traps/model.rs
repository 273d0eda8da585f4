//! A logistic model a pattern: the probability that a candidate is labelled a trap, given the evidence so far.
//!
//! `p = 1 / (1 + exp(-(a (b + w x) + c)))` over the evidence `x`. Weights `w` and bias `b` are fitted by the
//! regularised likelihood on the training half, slope `a` and offset `c` (Platt 1999) on the other half.

use tidegate_wire::trap::{EVIDENCE_SLOTS, TRAP_COUNT, TrapPattern};

use super::evidence::Evidence;

/// The model of one pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// Log-odds without evidence.
    pub bias: f64,
    /// Log-odds a unit of evidence.
    pub weights: [f64; EVIDENCE_SLOTS],
    /// Slope of the calibration.
    pub slope: f64,
    /// Offset of the calibration, log-odds.
    pub offset: f64,
}

/// The models in force, by place in [`TRAP_PATTERNS`](tidegate_wire::trap::TRAP_PATTERNS).
///
/// Printed by `cargo run --example traps_fit -p tidegate-market`: 120 hours of the training generator
/// (`tests/traps/scripted.rs`), minutes of Binance USD-M of 2023-04-04 and 2024-07-18 and the first half of five
/// hours of Bitstamp. The recordings give a handful of candidates: in substance these are models of simulated traps.
pub const MODELS: [Logistic; TRAP_COUNT] = [BREAK, BREAK, HUNT, GRAB, LAYERING];

/// Bull and bear traps are mirror images: 3,808 candidates, 1,032 traps.
const BREAK: Logistic = Logistic {
    bias: -0.018,
    weights: [-4.525, -4.964, 1.295, -2.016, 5.983, -1.439, 2.900, -0.272],
    slope: 1.077,
    offset: 0.252,
};
/// 2,538 candidates, 928 traps.
const HUNT: Logistic = Logistic {
    bias: -1.368,
    weights: [10.268, 2.142, 1.001, -2.142, -4.555, -0.379, 0.780, 0.550],
    slope: 1.189,
    offset: 0.129,
};
/// 1,326 candidates, 460 traps.
const GRAB: Logistic = Logistic {
    bias: -4.967,
    weights: [6.317, 2.064, -0.579, 3.972, 2.067, -1.305, 0.344, 1.890],
    slope: 1.086,
    offset: -0.129,
};
/// 1,580 candidates, 967 traps.
const LAYERING: Logistic = Logistic {
    bias: -0.062,
    weights: [0.094, 0.219, 0.894, 0.462, 0.579, -5.320, -0.478, -2.355],
    slope: 1.338,
    offset: -0.151,
};

impl Logistic {
    /// Log-odds before the calibration.
    pub fn score(&self, evidence: &Evidence) -> f64 {
        self.bias + self.weights.iter().zip(evidence).map(|(weight, value)| weight * value).sum::<f64>()
    }

    /// The probability, in [0, 1].
    pub fn probability(&self, evidence: &Evidence) -> f64 {
        1.0 / (1.0 + libm::exp(-(self.slope * self.score(evidence) + self.offset)))
    }
}

/// The model of a pattern; `None` for those without one.
pub fn of(pattern: TrapPattern) -> Option<&'static Logistic> {
    MODELS.get(pattern.index()?)
}
