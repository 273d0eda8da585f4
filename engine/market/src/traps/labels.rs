//! The labelling rule of each pattern: what *was* a trap, told with hindsight.
//!
//! A rule begins at a [`Candidate`], which the past alone gives, and looks at what comes after it until it knows. The
//! detector never sees further than the present; whoever evaluates it (or fits its models) lets the rule run to its
//! end. Directions are +1 for a lure upwards, -1 downwards; the text below is for upwards. `u` is the candidate's unit
//! of moves (the deviation of the mid over ten seconds, see [`History::unit`](super::History::unit)).
//!
//! | pattern | candidate (past) | is a trap if (future) |
//! |---|---|---|
//! | bull trap, bear trap | the mid is `1 u` above the high of the seconds 5 to 60 ago | the mid stays above `high - 0.5 u` for at least 8 s, comes back to it within 45 s, and since the extreme aggressors sold at least as much as they bought |
//! | stop hunt | a trade or mid is `0.5 u` above the high of the seconds 4 to 60 ago, `2 u` above the mid of at most 3 s ago, on at least 3 times the usual aggressive volume | 60 % of the spike are undone within 8 s of the candidate; the extreme came within 3 s |
//! | liquidity grab | within 1 s buyers took at least 70 % of what stood on the eight or more best levels that are gone, on at least 5 times the usual aggressive volume, the move is `1 u`, and no swing level (the high of the seconds 4 to 60 ago) was passed by `0.5 u` | within 10 s 60 % of the move are undone, at least a tenth of the swept quantity more was bought within a tenth of the move of the extreme, and the swept side stands at 70 % of its old depth |
//! | layering | within 1.6 s at least three levels behind the touch of one side grew to thrice the mean level from under 30 % of that, together at least the depth of the best ten, at least three and 60 % of them between two looks, with half as many on the other side at most, and the imbalance moved by 0.1 | between 1 and 30 s after that at least 80 % of them are gone and at most 20 % were traded |
//!
//! Bull traps and stop hunts share their beginning and exclude each other by time (8 s), hunts and grabs by whether a
//! swing level was passed. What leaves the view, or is interrupted by a book that is not good, is censored: it is no
//! evidence either way.

use tidegate_wire::look::{LOOK_LEVELS, LookBody};
use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use super::history::{Moment, SECOND_NS};

/// How long a break must hold to be a bull or bear trap, ns.
pub const BREAK_HOLD_NS: i64 = 8 * SECOND_NS;
/// Until when a break must have failed, ns.
pub const BREAK_HORIZON_NS: i64 = 45 * SECOND_NS;
/// How far behind the level a break has failed, units.
pub const BREAK_FAILED: f64 = 0.5;
/// Until when a spike must be undone to be a stop hunt, ns.
pub const HUNT_HORIZON_NS: i64 = 8 * SECOND_NS;
/// Until when a spike must have reached its extreme, ns.
pub const HUNT_SPIKE_NS: i64 = 3 * SECOND_NS;
/// Part of a spike or sweep that must be undone.
pub const UNDONE: f64 = 0.6;
/// Until when a sweep must be undone, ns.
pub const GRAB_HORIZON_NS: i64 = 10 * SECOND_NS;
/// Part of the swept quantity that must be traded at the extreme.
pub const GRAB_ABSORBED: f64 = 0.1;
/// Part of the swept side's depth that must be back.
pub const GRAB_REFILLED: f64 = 0.7;
/// Beyond a swing level by this many units a sweep is a stop hunt.
pub const SWING_PASSED: f64 = 0.5;
/// From when layers may vanish, ns.
pub const LAYER_LIFE_NS: i64 = SECOND_NS;
/// Until when layers must have vanished, ns.
pub const LAYER_HORIZON_NS: i64 = 30 * SECOND_NS;
/// Part of the layers that must be gone.
pub const LAYER_VANISHED: f64 = 0.8;
/// Part of the layers that may be traded.
pub const LAYER_TRADED: f64 = 0.2;
/// Most levels of a layering that are followed.
pub const LAYERS: usize = 16;

/// One layer: a level that appeared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Layer {
    /// Price mantissa.
    pub price: f64,
    /// Quantity when it was seen.
    pub qty: f64,
}

/// Where a pattern may have begun. Prices and quantities are mantissas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// One of [`TRAP_PATTERNS`](tidegate_wire::trap::TRAP_PATTERNS).
    pub pattern: TrapPattern,
    /// Which way it lures.
    pub lure: Side,
    /// When it was seen, ns since the Unix epoch.
    pub start_ns: i64,
    /// The broken, passed or swept level; the nearest layer.
    pub level: f64,
    /// Price before the move: the broken level itself for breaks, else the mid before a spike, a sweep or layers.
    pub origin: f64,
    /// The nearest swing level in the direction of the lure.
    pub swing: f64,
    /// Unit of moves.
    pub unit: f64,
    /// Usual aggressive volume a second.
    pub rate: f64,
    /// What was swept, or stands in layers, >= 0.
    pub resting: f64,
    /// Number of levels that were swept, or of layers.
    pub levels: usize,
    /// Depth of the side in question before.
    pub depth: f64,
    /// Aggressive volume in the direction of the lure that led to it.
    pub thrust: f64,
    /// How suddenly it came, see the pattern's evidence.
    pub speed: f64,
    /// How far the imbalance moved.
    pub shift: f64,
    /// The layers; the first `levels` count.
    pub layers: [Layer; LAYERS],
}

impl Candidate {
    /// +1 for a lure upwards, -1 downwards.
    pub fn direction(&self) -> f64 {
        if self.lure == Side::Buy { 1.0 } else { -1.0 }
    }
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Cannot be told yet.
    Open,
    /// It was a trap.
    Trap,
    /// It was none.
    NoTrap,
    /// Will never be told.
    Censored,
}

/// A candidate with what has been seen since.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    candidate: Candidate,
    verdict: Verdict,
    /// The farthest price in the direction of the lure, and when it was reached.
    pub(super) extreme: f64,
    pub(super) extreme_ns: i64,
    /// Aggressive volume since the beginning, in the direction of the lure and against it.
    pub(super) with: f64,
    pub(super) against: f64,
    /// The same since the extreme.
    pub(super) with_after: f64,
    pub(super) against_after: f64,
    /// Volume in the direction of the lure that did not move the extreme by a tenth of the move.
    pub(super) absorbed: f64,
    /// Layers: what is left, quantity.
    pub(super) left: [f64; LAYERS],
    /// Layers: what was traded, quantity.
    pub(super) traded: f64,
    /// Layers out of view.
    hidden: usize,
}

impl Rule {
    /// Begins at a candidate. Its own moment belongs to the past: the next one is the first to be [seen](Self::see).
    pub fn new(candidate: Candidate, moment: &Moment) -> Self {
        let left = candidate.layers.map(|layer| layer.qty);
        Self {
            candidate,
            verdict: Verdict::Open,
            extreme: moment.farthest(candidate.direction()),
            extreme_ns: moment.ns,
            with: 0.0,
            against: 0.0,
            with_after: 0.0,
            against_after: 0.0,
            absorbed: 0.0,
            left,
            traded: 0.0,
            hidden: 0,
        }
    }

    /// The candidate.
    pub const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// What it says so far.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Looks are missing: what has not been told by now never will.
    pub fn interrupt(&mut self) {
        if self.verdict == Verdict::Open {
            self.verdict = Verdict::Censored;
        }
    }

    /// Sees the next moment with its look; gives the verdict, which stays once it is told.
    pub fn see(&mut self, moment: &Moment, look: &LookBody) -> Verdict {
        self.follow(moment);
        if self.candidate.pattern == TrapPattern::Layering {
            self.follow_layers(look);
        }
        if self.verdict == Verdict::Open {
            let age = moment.ns - self.candidate.start_ns;
            self.verdict = match self.candidate.pattern {
                TrapPattern::BullTrap | TrapPattern::BearTrap => self.broke(moment, age),
                TrapPattern::StopHunt => self.hunted(moment, age),
                TrapPattern::LiquidityGrab => self.grabbed(moment, age),
                TrapPattern::Layering => self.layered(age),
                TrapPattern::None | TrapPattern::Unknown => Verdict::NoTrap,
            };
        }
        self.verdict
    }

    fn follow(&mut self, moment: &Moment) {
        let direction = self.candidate.direction();
        let (farthest, (with, against)) = (moment.farthest(direction), moment.flow(direction));
        (self.with, self.against) = (self.with + with, self.against + against);
        let beyond = direction * (farthest - self.extreme);
        if beyond <= 0.1 * direction * (self.extreme - self.candidate.origin) {
            self.absorbed += with;
        }
        if beyond > 0.0 {
            (self.extreme, self.extreme_ns) = (farthest, moment.ns);
            (self.with_after, self.against_after) = (0.0, 0.0);
        } else {
            (self.with_after, self.against_after) = (self.with_after + with, self.against_after + against);
        }
    }

    /// Part of the way from the extreme back to `goal` that a price has come, 1 at the goal.
    pub(super) fn undone(&self, price: f64, goal: f64) -> f64 {
        let whole = self.candidate.direction() * (self.extreme - goal);
        if whole > 0.0 { self.candidate.direction() * (self.extreme - price) / whole } else { 0.0 }
    }

    /// The price at which a break has failed.
    pub(super) fn failed_at(&self) -> f64 {
        self.candidate.level - self.candidate.direction() * BREAK_FAILED * self.candidate.unit
    }

    fn broke(&self, moment: &Moment, age: i64) -> Verdict {
        if self.undone(moment.mid, self.failed_at()) >= 1.0 {
            let held = (BREAK_HOLD_NS..=BREAK_HORIZON_NS).contains(&age);
            return if held && self.with_after <= self.against_after { Verdict::Trap } else { Verdict::NoTrap };
        }
        if age > BREAK_HORIZON_NS { Verdict::NoTrap } else { Verdict::Open }
    }

    fn hunted(&self, moment: &Moment, age: i64) -> Verdict {
        if age > HUNT_HORIZON_NS || self.extreme_ns - self.candidate.start_ns > HUNT_SPIKE_NS {
            return Verdict::NoTrap;
        }
        let undone = self.undone(moment.mid, self.candidate.origin) >= UNDONE;
        if undone { Verdict::Trap } else { Verdict::Open }
    }

    fn grabbed(&self, moment: &Moment, age: i64) -> Verdict {
        let Candidate { swing, unit, origin, resting, depth, .. } = self.candidate;
        let passed = self.candidate.direction() * (self.extreme - swing) >= SWING_PASSED * unit;
        if age > GRAB_HORIZON_NS || passed {
            return Verdict::NoTrap;
        }
        let refilled = moment.depths(self.candidate.direction()).0 >= GRAB_REFILLED * depth;
        let undone = self.undone(moment.mid, origin) >= UNDONE;
        if undone && refilled && self.absorbed >= GRAB_ABSORBED * resting { Verdict::Trap } else { Verdict::Open }
    }

    /// Looks where the layers are; what is gone was traded as far as the tape reached its price.
    fn follow_layers(&mut self, look: &LookBody) {
        let bids = self.candidate.lure == Side::Buy;
        let (levels, direction) = (if bids { look.bids() } else { look.asks() }, self.candidate.direction());
        let reached = |price: f64| {
            let touched = if bids { look.low.raw() as f64 <= price } else { look.high.raw() as f64 >= price };
            look.trades > 0 && touched
        };
        let mut tape = if bids { look.sold.raw() } else { look.bought.raw() } as f64;
        // Behind the last level that is shown nothing can be told.
        let end = levels.last().filter(|_| levels.len() == LOOK_LEVELS).map(|level| level.price.raw() as f64);
        self.hidden = 0;
        for (layer, left) in self.candidate.layers[..self.candidate.levels].iter().zip(&mut self.left) {
            if end.is_some_and(|end| direction * (layer.price - end) < 0.0) {
                self.hidden += 1;
                continue;
            }
            let now = quantity_at(levels, layer.price, bids).min(layer.qty);
            if reached(layer.price) {
                let taken = (*left - now).clamp(0.0, tape);
                (tape, self.traded) = (tape - taken, self.traded + taken);
            }
            *left = now;
        }
    }

    /// Part of the layers that is gone, and part that was traded.
    pub(super) fn gone(&self) -> (f64, f64) {
        let resting = self.candidate.resting.max(f64::MIN_POSITIVE);
        let left: f64 = self.left[..self.candidate.levels].iter().sum();
        (1.0 - left / resting, self.traded / resting)
    }

    fn layered(&self, age: i64) -> Verdict {
        let (vanished, traded) = self.gone();
        if traded > LAYER_TRADED || age > LAYER_HORIZON_NS {
            Verdict::NoTrap
        } else if 2 * self.hidden > self.candidate.levels {
            Verdict::Censored
        } else if vanished >= LAYER_VANISHED {
            if age >= LAYER_LIFE_NS { Verdict::Trap } else { Verdict::NoTrap }
        } else {
            Verdict::Open
        }
    }
}

/// Quantity of a price; 0 where there is no level. Bids descend, asks ascend.
pub(super) fn quantity_at(levels: &[tidegate_wire::Level], price: f64, bids: bool) -> f64 {
    let sign = if bids { -1.0 } else { 1.0 };
    let found = levels.binary_search_by(|level| (sign * level.price.raw() as f64).total_cmp(&(sign * price)));
    found.map_or(0.0, |at| levels[at].qty.raw() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A candidate at 100 with a unit of 10 whose move came from 85, swing level 100.
    fn candidate(pattern: TrapPattern, lure: Side) -> Candidate {
        let direction = if lure == Side::Buy { 1.0 } else { -1.0 };
        Candidate {
            pattern,
            lure,
            start_ns: 0,
            level: 100.0,
            origin: 100.0 - 15.0 * direction,
            swing: 100.0,
            unit: 10.0,
            rate: 10.0,
            resting: 50.0,
            levels: 0,
            depth: 100.0,
            thrust: 100.0,
            speed: 1.0,
            shift: 0.0,
            layers: [Layer::default(); LAYERS],
        }
    }

    /// A moment: seconds, mid, bought, sold, and depth on both sides.
    fn moment(seconds: f64, mid: f64, flow: (f64, f64), depth: f64) -> Moment {
        let (ns, (bought, sold)) = ((seconds * SECOND_NS as f64) as i64, flow);
        Moment { ns, mid, spread: 1.0, high: mid, low: mid, bought, sold, bid_depth: depth, ask_depth: depth }
    }

    /// What the rule says after a path of moments.
    fn judged(candidate: Candidate, path: &[(f64, f64, (f64, f64), f64)]) -> Verdict {
        let mut rule = Rule::new(candidate, &moment(0.0, 110.0, (0.0, 0.0), 100.0));
        path.iter().fold(Verdict::Open, |_, (at, mid, flow, depth)| {
            rule.see(&moment(*at, *mid, *flow, *depth), &LookBody::EMPTY)
        })
    }

    #[test]
    fn a_bull_trap_holds_for_eight_seconds_and_fails_within_forty_five_on_spent_buying() {
        let of = |path: &[_]| judged(candidate(TrapPattern::BullTrap, Side::Buy), path);
        let (calm, sold, bought) = ((1.0, 1.0), (1.0, 5.0), (5.0, 1.0));
        assert_eq!(of(&[(4.0, 112.0, calm, 1.0), (9.0, 96.0, sold, 1.0)]), Verdict::Open);
        assert_eq!(of(&[(4.0, 112.0, calm, 1.0), (9.0, 95.0, sold, 1.0)]), Verdict::Trap);
        assert_eq!(of(&[(4.0, 112.0, calm, 1.0), (9.0, 95.0, bought, 1.0)]), Verdict::NoTrap, "buying is sustained");
        assert_eq!(of(&[(4.0, 112.0, calm, 1.0), (7.9, 95.0, sold, 1.0)]), Verdict::NoTrap, "a spike undone");
        assert_eq!(of(&[(45.0, 112.0, calm, 1.0)]), Verdict::Open);
        assert_eq!(of(&[(45.1, 112.0, calm, 1.0)]), Verdict::NoTrap);
        let mirrored = |path: &[_]| {
            let mut rule = Rule::new(candidate(TrapPattern::BearTrap, Side::Sell), &moment(0.0, 90.0, calm, 1.0));
            path.iter().fold(Verdict::Open, |_, (at, mid)| rule.see(&moment(*at, *mid, bought, 1.0), &LookBody::EMPTY))
        };
        assert_eq!(mirrored(&[(9.0, 105.0)]), Verdict::Trap);
    }

    #[test]
    fn a_stop_hunt_is_undone_within_eight_seconds_of_its_beginning() {
        let of = |path: &[_]| judged(candidate(TrapPattern::StopHunt, Side::Buy), path);
        let calm = (1.0, 1.0);
        // From 85 to 115: sixty per cent back is 97.
        assert_eq!(of(&[(1.0, 115.0, calm, 1.0), (8.0, 97.5, calm, 1.0)]), Verdict::Open);
        assert_eq!(of(&[(1.0, 115.0, calm, 1.0), (8.0, 97.0, calm, 1.0)]), Verdict::Trap);
        assert_eq!(of(&[(1.0, 115.0, calm, 1.0), (8.1, 97.0, calm, 1.0)]), Verdict::NoTrap);
        assert_eq!(of(&[(3.1, 115.0, calm, 1.0), (4.0, 90.0, calm, 1.0)]), Verdict::NoTrap, "it took too long");
    }

    #[test]
    fn a_liquidity_grab_is_absorbed_refilled_and_undone_short_of_a_swing_level() {
        let of =
            |path: &[_]| judged(Candidate { swing: 106.0, ..candidate(TrapPattern::LiquidityGrab, Side::Buy) }, path);
        let (calm, absorbed) = ((1.0, 1.0), (5.0, 1.0));
        assert_eq!(of(&[(1.0, 110.0, absorbed, 50.0), (3.0, 95.0, calm, 70.0)]), Verdict::Trap);
        assert_eq!(of(&[(1.0, 110.0, calm, 50.0), (3.0, 95.0, calm, 70.0)]), Verdict::Open, "nothing was absorbed");
        assert_eq!(of(&[(1.0, 110.0, absorbed, 50.0), (3.0, 95.0, calm, 69.0)]), Verdict::Open, "not refilled");
        assert_eq!(of(&[(1.0, 110.0, absorbed, 50.0), (10.1, 95.0, calm, 70.0)]), Verdict::NoTrap);
        assert_eq!(of(&[(1.0, 111.0, absorbed, 50.0)]), Verdict::NoTrap, "beyond the swing level it is a hunt");
    }

    /// A look with bids of ten at 99, 98, ... but for the layers at 95, 94 and 93.
    fn layered(layers: [i64; 3], low: i64, sold: i64) -> LookBody {
        use tidegate_wire::{Level, Price, Qty};
        let mut look = LookBody::EMPTY;
        let quantities = [10, 10, 10, 10, layers[0], layers[1], layers[2], 10].into_iter().zip(0..);
        for (qty, n) in quantities.filter(|(qty, _)| *qty > 0) {
            look.bids[look.bid_count as usize] = Level { price: Price::from_raw(99 - n), qty: Qty::from_raw(qty) };
            look.bid_count += 1;
        }
        if sold > 0 {
            look.trade(Price::from_raw(low), Qty::from_raw(sold), true);
        }
        look
    }

    #[test]
    fn layers_vanish_together_and_what_is_traded_is_none() {
        let mut layers = [Layer::default(); LAYERS];
        (0..3).for_each(|n| layers[n] = Layer { price: 95.0 - n as f64, qty: 100.0 });
        let of = |looks: &[(f64, LookBody)]| {
            let spoof = candidate(TrapPattern::Layering, Side::Buy);
            let spoof = Candidate { resting: 300.0, levels: 3, layers, ..spoof };
            let mut rule = Rule::new(spoof, &moment(0.0, 100.0, (0.0, 0.0), 1.0));
            let see = |_, (at, look): &(f64, LookBody)| rule.see(&moment(*at, 100.0, (0.0, 0.0), 1.0), look);
            looks.iter().fold(Verdict::Open, see)
        };
        let (stands, gone) = (layered([100; 3], 0, 0), layered([10, 0, 20], 0, 0));
        assert_eq!(of(&[(1.0, stands), (5.0, gone)]), Verdict::Trap);
        assert_eq!(of(&[(0.5, gone)]), Verdict::NoTrap, "a flicker");
        assert_eq!(of(&[(30.0, stands)]), Verdict::Open);
        assert_eq!(of(&[(30.1, stands)]), Verdict::NoTrap, "it stays");
        assert_eq!(of(&[(1.0, stands), (5.0, layered([0, 100, 100], 95, 100))]), Verdict::NoTrap, "it is traded");
        assert_eq!(
            of(&[(1.0, stands), (5.0, layered([0, 100, 100], 96, 100))]),
            Verdict::Open,
            "the tape was not there"
        );
        // A full look that ends before the layers says nothing about them.
        let mut short = LookBody { bid_count: LOOK_LEVELS as u32, ..LookBody::EMPTY };
        for (n, level) in short.bids.iter_mut().enumerate() {
            level.price = tidegate_wire::Price::from_raw(200 - n as i64);
        }
        assert_eq!(of(&[(1.0, stands), (5.0, short)]), Verdict::Censored);
        let mut rule = Rule::new(candidate(TrapPattern::StopHunt, Side::Buy), &moment(0.0, 110.0, (0.0, 0.0), 1.0));
        rule.interrupt();
        assert_eq!(rule.see(&moment(1.0, 80.0, (0.0, 0.0), 1.0), &stands), Verdict::Censored);
    }
}
