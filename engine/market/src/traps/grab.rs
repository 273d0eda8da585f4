//! Liquidity grabs: sweeps of several resting levels that are absorbed and undone.
//!
//! Evidence, in order: `retraced`, part of the move that is undone, [0, 1.2]; `swept`, levels taken over 20, [0, 1];
//! `consumed`, volume of the sweep over what stood there, saturated, [0, 1); `absorbed`, volume since then that did not
//! move the extreme, over what stood there, saturated, [0, 1); `refilled`, depth ahead over what it was, halved,
//! [0, 1]; `stalled`, time since the extreme over 3 s, [0, 1]; `flow`, aggressors with the sweep less those against it
//! over 1 s, [-1, 1]; `book_against`, depth ahead less depth behind, [-1, 1].

use tidegate_wire::look::LookBody;
use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use super::evidence::{Evidence, Shared, saturated};
use super::history::{History, Moment, SECOND_NS};
use super::hunt::SWING;
use super::labels::{Candidate, LAYERS, Layer, Rule, SWING_PASSED};

/// Longest sweep, ns.
const SWEEP_NS: i64 = SECOND_NS;
/// Fewest levels of a sweep.
const LEVELS: usize = 8;
/// Part of what stood there that must have been traded.
const TRADED: f64 = 0.7;
/// Shortest move, units.
const MOVE: f64 = 1.0;
/// Least volume, times what a usual second trades in its direction.
const VOLUME: f64 = 5.0;

/// A sweep that ended at this moment, if there is one.
pub(super) fn candidate(history: &History, moment: &Moment, look: &LookBody) -> Option<Candidate> {
    let (high, low) = history.range(SWING.0, SWING.1)?;
    let (unit, rate) = (history.unit(), history.rate());
    for (lure, direction, swing) in [(Side::Buy, 1.0, high), (Side::Sell, -1.0, low)] {
        let farthest = moment.farthest(direction);
        if direction * (farthest - swing) >= SWING_PASSED * unit {
            continue;
        }
        let best = if direction > 0.0 { look.asks() } else { look.bids() }.first()?.price.raw() as f64;
        let mut traded = moment.flow(direction).0;
        // Looks back one by one: what was traded since then against what stood where nothing stands now.
        for (then, book) in history.books().skip(1).take_while(|(then, _)| moment.ns - then.ns <= SWEEP_NS) {
            let levels = if direction > 0.0 { book.asks() } else { book.bids() };
            let gone = levels.iter().take_while(|level| direction * (best - level.price.raw() as f64) > 0.0);
            let (count, resting) = gone.fold((0, 0.0), |(n, sum), level| (n + 1, sum + level.qty.raw() as f64));
            let moved = direction * (farthest - then.mid) >= MOVE * unit;
            let burst = traded >= VOLUME * rate / 2.0 && traded >= TRADED * resting;
            if count >= LEVELS && burst && moved {
                return Some(Candidate {
                    pattern: TrapPattern::LiquidityGrab,
                    lure,
                    start_ns: moment.ns,
                    level: levels[0].price.raw() as f64,
                    origin: then.mid,
                    swing,
                    unit,
                    rate,
                    resting,
                    levels: count,
                    depth: then.depths(direction).0,
                    thrust: traded,
                    speed: 0.0,
                    shift: 0.0,
                    layers: [Layer::default(); LAYERS],
                });
            }
            traded += then.flow(direction).0;
        }
    }
    None
}

/// The evidence of this moment.
pub(super) fn evidence(history: &History, moment: &Moment, rule: &Rule) -> Evidence {
    let candidate = rule.candidate();
    let windows = [3 * SECOND_NS, SECOND_NS];
    let shared = Shared::of(history, moment, rule, candidate.origin, windows);
    let resting = candidate.resting.max(f64::MIN_POSITIVE);
    [
        shared.retraced,
        (candidate.levels as f64 / 20.0).min(1.0),
        saturated(candidate.thrust / resting),
        saturated(rule.absorbed / resting),
        shared.refilled,
        shared.stalled,
        shared.flow,
        shared.book_against,
    ]
}
