//! Bull and bear traps: breaks of a range that fail.
//!
//! Evidence, in order: `retraced`, part of the way from the extreme back to where the break has failed, [0, 1.2];
//! `held`, age over the horizon, [0, 1]; `stalled`, time since the extreme over 10 s, [0, 1]; `flow`, aggressors with
//! the break less those against it over 5 s, [-1, 1]; `fading`, what the last 5 s lack of the volume a second that led
//! to the break, [0, 1]; `absorption`, volume spent since the break over what ten usual seconds trade, a unit of
//! progress, saturated, [0, 1); `book_against`, depth ahead less depth behind, [-1, 1]; `thrust`, volume of the 3 s
//! that led to the break over what is usual, logarithmic, 20 times is 1, [0, 1].

use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use super::evidence::{Evidence, Shared, balance, burst, saturated};
use super::history::{History, Moment, SECOND_NS};
use super::labels::{BREAK_HOLD_NS, BREAK_HORIZON_NS, Candidate, LAYERS, Layer, Rule};

/// Seconds, by age, of the range that is broken.
const RANGE: (i64, i64) = (5, 60);
/// How far beyond the range the mid must be, units.
const BREAK: f64 = 1.0;

/// A break at this moment, if there is one.
pub(super) fn candidate(history: &History, moment: &Moment) -> Option<Candidate> {
    let (high, low) = history.range(RANGE.0, RANGE.1)?;
    let unit = history.unit();
    let sides = [(Side::Buy, TrapPattern::BullTrap, high, 1.0), (Side::Sell, TrapPattern::BearTrap, low, -1.0)];
    let broken =
        |(_, _, level, direction): &(Side, TrapPattern, f64, f64)| direction * (moment.mid - level) >= BREAK * unit;
    let (lure, pattern, level, direction) = sides.into_iter().find(broken)?;
    let (with, against) = history.flow(direction, 3 * SECOND_NS);
    Some(Candidate {
        pattern,
        lure,
        start_ns: moment.ns,
        level,
        origin: level,
        swing: level,
        unit,
        rate: history.rate(),
        resting: 0.0,
        levels: 0,
        depth: moment.depths(direction).0,
        thrust: with,
        speed: 0.0,
        shift: balance(with, against),
        layers: [Layer::default(); LAYERS],
    })
}

/// The evidence of this moment.
pub(super) fn evidence(history: &History, moment: &Moment, rule: &Rule) -> Evidence {
    let candidate = rule.candidate();
    let windows = [10 * SECOND_NS, 5 * SECOND_NS];
    let shared = Shared::of(history, moment, rule, rule.failed_at(), windows);
    let age = moment.ns - candidate.start_ns;
    let progress = (candidate.direction() * (rule.extreme - candidate.level) / candidate.unit).max(0.25);
    let usual = candidate.rate * 10.0 * progress;
    [
        shared.retraced,
        (age as f64 / BREAK_HORIZON_NS as f64).clamp(0.0, 1.0),
        shared.stalled,
        shared.flow,
        shared.retraced * (age as f64 / BREAK_HOLD_NS as f64).clamp(0.0, 1.0),
        if usual > 0.0 { saturated(rule.with / usual) } else { 0.0 },
        shared.book_against,
        burst(candidate.thrust, candidate.rate * 1.5, 20.0),
    ]
}
