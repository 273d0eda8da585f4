//! Stop hunts: fast spikes through a swing level.
//!
//! Evidence, in order: `retraced`, part of the spike that is undone, [0, 1.2]; `speed`, units a second of the spike,
//! saturated, [0, 1); `burst`, aggressive volume of the 3 s that led to it over what is usual, logarithmic, 50 times is
//! 1, [0, 1]; `beyond`, units beyond the swing level, saturated, [0, 1); `stalled`, time since the extreme over 3 s,
//! [0, 1]; `flow`, aggressors with the spike less those against it over 1 s, [-1, 1]; `refilled`, depth ahead over what
//! it was before the spike, halved, [0, 1]; `book_against`, depth ahead less depth behind, [-1, 1].

use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use super::evidence::{Evidence, Shared, burst, saturated};
use super::history::{History, Moment, SECOND_NS};
use super::labels::{Candidate, LAYERS, Layer, Rule, SWING_PASSED};

/// Seconds, by age, in which swing levels lie.
pub(super) const SWING: (i64, i64) = (4, 60);
/// Longest spike, ns.
const SPIKE_NS: i64 = 3 * SECOND_NS;
/// Shortest spike, units.
const SPIKE: f64 = 2.0;
/// Least volume of the spike, times what is usual for its direction.
const VOLUME: f64 = 3.0;

/// A spike at this moment, if there is one.
pub(super) fn candidate(history: &History, moment: &Moment) -> Option<Candidate> {
    let (high, low) = history.range(SWING.0, SWING.1)?;
    let (unit, rate) = (history.unit(), history.rate());
    let usual = rate / 2.0 * (SPIKE_NS / SECOND_NS) as f64;
    for (lure, direction, swing) in [(Side::Buy, 1.0, high), (Side::Sell, -1.0, low)] {
        let farthest = moment.farthest(direction);
        if direction * (farthest - swing) < SWING_PASSED * unit {
            continue;
        }
        // The spike began where the mid was farthest back.
        let within = history.moments().take_while(|past| moment.ns - past.ns <= SPIKE_NS);
        let start = within.min_by(|a, b| (direction * a.mid).total_cmp(&(direction * b.mid)))?;
        let spike = direction * (farthest - start.mid) / unit;
        let (with, _) = history.flow(direction, SPIKE_NS);
        if spike < SPIKE || usual <= 0.0 || with < VOLUME * usual {
            continue;
        }
        let seconds = ((moment.ns - start.ns) as f64 / SECOND_NS as f64).max(0.1);
        return Some(Candidate {
            pattern: TrapPattern::StopHunt,
            lure,
            start_ns: moment.ns,
            level: swing,
            origin: start.mid,
            swing,
            unit,
            rate,
            resting: 0.0,
            levels: 0,
            depth: start.depths(direction).0,
            thrust: with,
            speed: spike / seconds,
            shift: 0.0,
            layers: [Layer::default(); LAYERS],
        });
    }
    None
}

/// The evidence of this moment.
pub(super) fn evidence(history: &History, moment: &Moment, rule: &Rule) -> Evidence {
    let candidate = rule.candidate();
    let windows = [3 * SECOND_NS, SECOND_NS];
    let shared = Shared::of(history, moment, rule, candidate.origin, windows);
    let beyond = candidate.direction() * (rule.extreme - candidate.swing) / candidate.unit;
    [
        shared.retraced,
        saturated(candidate.speed),
        burst(candidate.thrust, candidate.rate * 1.5, 50.0),
        saturated(beyond),
        shared.stalled,
        shared.flow,
        shared.refilled,
        shared.book_against,
    ]
}
