//! Layering: large quantities on several levels of one side that appear together and vanish.
//!
//! Evidence, in order: `size`, what appeared over the depth of the best ten before, saturated, [0, 1); `levels`,
//! their number over 16, [0, 1]; `together`, part of them that came within one look, [0, 1]; `imbalance_shift`, how
//! far the imbalance of the shown levels moved, [0, 1]; `vanished`, part that is gone, [0, 1]; `traded`, part that
//! was traded, [0, 1]; `opposite_flow`, aggressors against the lure less those with it since then, [-1, 1]; `age`
//! over 30 s, [0, 1].

use tidegate_wire::Level;
use tidegate_wire::look::LookBody;
use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use super::evidence::{Evidence, balance, saturated};
use super::history::{History, Moment, SECOND_NS, depth};
use super::labels::{Candidate, LAYER_HORIZON_NS, LAYERS, Layer, Rule, quantity_at};

/// Within what time layers appear, ns.
const TOGETHER_NS: i64 = 1_600_000_000;
/// Fewest layers.
const LEVELS: usize = 3;
/// Size of a layer, mean levels.
const LARGE: f64 = 3.0;
/// Part of a layer that may have stood there before.
const BEFORE: f64 = 0.3;
/// Layers together, over the depth of the best ten before.
const SIZE: f64 = 1.0;
/// Part of the layers that must have come between two looks.
const TOGETHER: f64 = 0.6;
/// Least shift of the imbalance.
const SHIFT: f64 = 0.1;
/// Levels a side that the imbalance is taken over.
const SHOWN: usize = 32;

/// Layers of a side, nearest first.
struct Layers {
    layers: [Layer; LAYERS],
    count: usize,
    total: f64,
}

/// Large levels of `now` behind the touch that were not there `then`.
fn appeared(now: &[Level], then: &[Level], mean: f64, bids: bool) -> Layers {
    let mut found = Layers { layers: [Layer::default(); LAYERS], count: 0, total: 0.0 };
    // What the older look did not show may have stood there.
    let end = then.last().map_or(0, |level| level.price.raw());
    let shown = |level: &&Level| if bids { level.price.raw() >= end } else { level.price.raw() <= end };
    for level in now.iter().skip(1).filter(shown) {
        let (price, qty) = (level.price.raw() as f64, level.qty.raw() as f64);
        if qty >= LARGE * mean && quantity_at(then, price, bids) <= BEFORE * qty && found.count < LAYERS {
            found.layers[found.count] = Layer { price, qty };
            (found.count, found.total) = (found.count + 1, found.total + qty);
        }
    }
    found
}

/// Imbalance of the shown levels in favour of bids, in [-1, 1].
fn imbalance(look: &LookBody) -> f64 {
    balance(depth(look.bids(), SHOWN), depth(look.asks(), SHOWN))
}

/// Layers that have appeared at this moment, if there are any.
pub(super) fn candidate(history: &History, moment: &Moment, look: &LookBody) -> Option<Candidate> {
    let (high, low) = history.range(4, 60)?;
    let within = history.books().skip(1).take_while(|(then, _)| moment.ns - then.ns <= TOGETHER_NS);
    let (then_moment, then) = within.last()?;
    let sides = [then.bids(), then.asks()];
    let count: usize = sides.iter().map(|side| side.len()).sum();
    let mean = sides.iter().map(|side| depth(side, side.len())).sum::<f64>() / count.max(1) as f64;
    let bids = appeared(look.bids(), then.bids(), mean, true);
    let asks = appeared(look.asks(), then.asks(), mean, false);
    let (lure, layers, other) =
        if bids.total >= asks.total { (Side::Buy, bids, asks) } else { (Side::Sell, asks, bids) };
    let direction = if lure == Side::Buy { 1.0 } else { -1.0 };
    let (_, before) = then_moment.depths(direction);
    let shift = direction * (imbalance(look) - imbalance(then));
    let one_sided = 2 * other.count <= layers.count;
    if layers.count < LEVELS || !one_sided || layers.total < SIZE * before || shift < SHIFT {
        return None;
    }
    let together = together(history, &layers, lure == Side::Buy);
    let part = together as f64 / layers.count as f64;
    (together >= LEVELS && part >= TOGETHER).then(|| Candidate {
        pattern: TrapPattern::Layering,
        lure,
        start_ns: moment.ns,
        level: layers.layers[0].price,
        origin: moment.mid,
        swing: if direction > 0.0 { high } else { low },
        unit: history.unit(),
        rate: history.rate(),
        resting: layers.total,
        levels: layers.count,
        depth: before,
        thrust: 0.0,
        speed: part,
        shift,
        layers: layers.layers,
    })
}

/// The most layers that came between two looks.
fn together(history: &History, layers: &Layers, bids: bool) -> usize {
    let found = &layers.layers[..layers.count];
    let stands = |book: &LookBody, layer: &Layer| {
        let levels = if bids { book.bids() } else { book.asks() };
        quantity_at(levels, layer.price, bids) > 0.5 * layer.qty
    };
    let (mut most, mut later) = (0, [true; LAYERS]);
    for (_, book) in history.books().skip(1) {
        let mut came = 0;
        for (layer, later) in found.iter().zip(&mut later) {
            let before = stands(book, layer);
            came += usize::from(*later && !before);
            *later = before;
        }
        most = most.max(came);
    }
    most
}

/// The evidence of this moment.
pub(super) fn evidence(moment: &Moment, rule: &Rule) -> Evidence {
    let candidate = rule.candidate();
    let (vanished, traded) = rule.gone();
    [
        saturated(candidate.resting / candidate.depth.max(f64::MIN_POSITIVE)),
        candidate.levels as f64 / LAYERS as f64,
        candidate.speed,
        candidate.shift.min(1.0),
        vanished.clamp(0.0, 1.0),
        traded.clamp(0.0, 1.0),
        balance(rule.against, rule.with),
        ((moment.ns - candidate.start_ns) as f64 / LAYER_HORIZON_NS as f64).clamp(0.0, 1.0),
    ]
}

const _: () = assert!(TOGETHER_NS < 2 * SECOND_NS, "as many looks as are kept whole");
