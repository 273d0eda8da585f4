//! Evidence: what the models are asked with. Each value is bounded, so that no single one can run away, and named by
//! [`TrapPattern::evidence`](tidegate_wire::trap::TrapPattern::evidence); its meaning stands in the pattern's file.

use tidegate_wire::trap::EVIDENCE_SLOTS;

use super::history::{History, Moment};
use super::labels::{Candidate, Rule};

/// Evidence by slot.
pub type Evidence = [f64; EVIDENCE_SLOTS];

/// Most that evidence of a part undone says: a fifth more than all.
const UNDONE_MAX: f64 = 1.2;

/// `x / (1 + x)`: from [0, inf) into [0, 1), a half at 1.
pub(super) fn saturated(x: f64) -> f64 {
    if x.is_finite() { x.max(0.0) / (1.0 + x.max(0.0)) } else { 1.0 }
}

/// The share of `a` over that of `b`: in [-1, 1], 0 where there is neither.
pub(super) fn balance(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { (a - b) / (a + b) } else { 0.0 }
}

/// A volume over what is usual as evidence in [0, 1]: the logarithm, `full` at 1.
pub(super) fn burst(volume: f64, usual: f64, full: f64) -> f64 {
    let times = if usual > 0.0 { volume / usual } else { 0.0 };
    (libm::log(1.0 + times) / libm::log(1.0 + full)).clamp(0.0, 1.0)
}

/// What several patterns look at.
pub(super) struct Shared {
    /// Part of the way back that the mid has come, in [0, 1.2].
    pub(super) retraced: f64,
    /// Time since the extreme over `patience`, in [0, 1].
    pub(super) stalled: f64,
    /// Aggressors in the direction of the lure less those against it over the last `window`, in [-1, 1].
    pub(super) flow: f64,
    /// Depth that the lure meets less the depth behind it, in [-1, 1].
    pub(super) book_against: f64,
    /// Depth that the lure meets over what stood there before, halved, in [0, 1].
    pub(super) refilled: f64,
}

impl Shared {
    pub(super) fn of(history: &History, moment: &Moment, rule: &Rule, goal: f64, windows_ns: [i64; 2]) -> Self {
        let candidate = rule.candidate();
        let direction = candidate.direction();
        let (met, behind) = moment.depths(direction);
        let (with, against) = history.flow(direction, windows_ns[1]);
        Self {
            retraced: rule.undone(moment.mid, goal).clamp(0.0, UNDONE_MAX),
            stalled: ((moment.ns - rule.extreme_ns) as f64 / windows_ns[0] as f64).clamp(0.0, 1.0),
            flow: balance(with, against),
            book_against: balance(met, behind),
            refilled: if candidate.depth > 0.0 { (met / candidate.depth / 2.0).min(1.0) } else { 0.5 },
        }
    }
}

/// How large a trap is, in [0, 1): the root of its excursion in units times its volume over what is usual, saturated.
/// No probability.
pub(super) fn intensity(candidate: &Candidate, rule: &Rule, moment: &Moment) -> f64 {
    let seconds = ((moment.ns - candidate.start_ns) as f64 / super::history::SECOND_NS as f64).max(1.0) + 3.0;
    let usual = candidate.rate * seconds / 2.0;
    let volume = if usual > 0.0 { (candidate.thrust + rule.with) / usual } else { 1.0 };
    let excursion = candidate.direction() * (rule.extreme - candidate.origin) / candidate.unit;
    saturated((excursion.max(0.0) * volume).sqrt() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_bounded() {
        assert_eq!((saturated(1.0), saturated(-3.0), saturated(f64::INFINITY)), (0.5, 0.0, 1.0));
        assert_eq!((balance(0.0, 0.0), balance(3.0, 1.0), balance(0.0, 2.0)), (0.0, 0.5, -1.0));
        assert_eq!((burst(9.0, 1.0, 9.0), burst(9.0, 0.0, 9.0), burst(1e9, 1.0, 9.0)), (1.0, 0.0, 1.0));
    }
}
