//! The clock of one instrument's order flow: which kind of event happens next, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::book::{Book, Level, Side};
use super::hawkes::Hawkes;
use super::{Conditions, MarketEvent};
use crate::config::FlowParams;
use crate::draw::Draw;

/// Most events that one market order can set off: a cap on the log-normal's tail.
const MAX_BURST: f64 = 3_000.0;

/// A scheduled cancellation of a fleeting order; ordered by time, then by what it is, so that ties are reproducible.
type Fleeting = Reverse<(i64, usize, i64)>;

/// Intensities at one moment, events per second. Their sum bounds the future until something happens.
struct Rates {
    buys: f64,
    sells: f64,
    touch: f64,
    deep: f64,
    refill: f64,
    reprice: f64,
}

impl Rates {
    fn total(&self) -> f64 {
        self.buys + self.sells + self.touch + self.deep + self.refill + self.reprice
    }
}

/// Order flow and book of one instrument.
pub(crate) struct Flow {
    pub(super) params: FlowParams,
    pub(super) book: Book,
    pub(super) draw: Draw,
    pub(super) conditions: Conditions,
    /// Efficient price in ticks, constant within a step.
    pub(super) efficient: f64,
    hawkes: Hawkes,
    /// Baseline of one side's market orders, 1/s.
    baseline: f64,
    /// Excited rate of events behind the touch, 1/s.
    burst: f64,
    fleeting: BinaryHeap<Fleeting>,
    now_ns: i64,
}

impl Flow {
    /// A seeded book around the efficient price.
    pub(crate) fn new(params: FlowParams, efficient: f64, now_ns: i64, draw: Draw) -> Self {
        let hawkes = Hawkes::new(params.branching, params.cross_share, params.excitation_decay);
        let baseline = 0.5 * params.order_rate * (1.0 - params.branching);
        let mut flow = Self {
            params,
            book: Book::new(4_096),
            draw,
            conditions: Conditions::default(),
            efficient,
            hawkes,
            baseline,
            burst: 0.0,
            fleeting: BinaryHeap::new(),
            now_ns,
        };
        flow.seed();
        flow
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Sets what is constant until the next call.
    pub(crate) fn set_step(&mut self, efficient: f64, conditions: Conditions) {
        self.efficient = efficient;
        self.conditions = conditions;
    }

    /// Advances to the next event before `end_ns`, appends what happened to `events` and returns its time; `None`
    /// when nothing happens any more and the clock stands at `end_ns`. An event without effect appends nothing.
    pub(crate) fn next(&mut self, end_ns: i64, events: &mut Vec<MarketEvent>) -> Option<i64> {
        loop {
            let expiry = self.fleeting.peek().map_or(i64::MAX, |Reverse((time, ..))| *time);
            let bound = self.rates().total();
            let wait_ns = (self.draw.exponential() / bound * 1e9).min(1e15) as i64;
            let candidate = self.now_ns.saturating_add(wait_ns.max(1));
            if candidate >= expiry.min(end_ns) {
                if expiry >= end_ns {
                    self.pass(end_ns);
                    return None;
                }
                self.pass(expiry.max(self.now_ns));
                self.expire(events);
                return Some(self.now_ns);
            }
            self.pass(candidate);
            let rates = self.rates();
            let mark = self.draw.uniform() * bound;
            if mark < rates.total() {
                self.happen(&rates, mark, events);
                return Some(self.now_ns);
            }
        }
    }

    /// Lets time pass: everything excited decays.
    fn pass(&mut self, to_ns: i64) {
        let seconds = (to_ns - self.now_ns) as f64 * 1e-9;
        self.hawkes.pass(seconds);
        self.burst *= libm::exp(-self.params.burst_decay * seconds);
        self.now_ns = to_ns;
    }

    fn rates(&self) -> Rates {
        let conditions = &self.conditions;
        let lean = (0.7 * self.deviation().clamp(-1.0, 1.0) + conditions.lean).clamp(-0.95, 0.95);
        let baseline = self.baseline * conditions.orders;
        let quotes = conditions.quotes;
        Rates {
            buys: baseline * (1.0 + lean) + self.hawkes.excited(Side::Buy),
            sells: baseline * (1.0 - lean) + self.hawkes.excited(Side::Sell),
            touch: self.params.touch_rate * quotes,
            deep: self.params.deep_rate * quotes + self.burst,
            refill: if self.needs_refill() { self.params.refill_rate } else { 0.0 },
            reprice: if self.needs_repricing() { self.params.reprice_rate * quotes } else { 0.0 },
        }
    }

    /// Carries out the kind of event whose share of the total contains `mark`.
    fn happen(&mut self, rates: &Rates, mark: f64, events: &mut Vec<MarketEvent>) {
        let mut left = mark;
        let mut chosen = |rate: f64| {
            left -= rate;
            left < 0.0
        };
        if chosen(rates.buys) {
            self.market_order(Side::Buy, events);
        } else if chosen(rates.sells) {
            self.market_order(Side::Sell, events);
        } else if chosen(rates.touch) {
            self.touch_order(events);
        } else if chosen(rates.deep) {
            self.deep_order(events);
        } else if chosen(rates.refill) {
            self.refill(events);
        } else {
            self.reprice(events);
        }
    }

    /// Registers a market order: it excites more of them, and quoting.
    pub(super) fn excite(&mut self, taker: Side) {
        self.hawkes.arrive(taker);
        self.start_burst();
    }

    pub(super) fn start_burst(&mut self) {
        let events = self.draw.log_normal(self.params.burst_events, self.params.burst_log_sd).min(MAX_BURST);
        self.burst += events * self.params.burst_decay;
    }

    /// Schedules the cancellation of a new level.
    pub(super) fn make_fleeting(&mut self, side: Side, tick: i64) {
        let life = self.draw.exponential() * self.params.fleeting_life_ms * 1e6;
        self.fleeting.push(Reverse((self.now_ns + life as i64 + 1, side.index(), tick)));
    }

    fn expire(&mut self, events: &mut Vec<MarketEvent>) {
        let Some(Reverse((_, side, tick))) = self.fleeting.pop() else { return };
        let side = Side::BOTH[side];
        // What has become the best level in the meantime has found other owners.
        if self.book.side(side).lots_at(tick) > 0 && self.book.side(side).rank_of(tick) > 0 {
            self.change(side, tick, 0, events);
            self.commit(events);
        }
    }

    /// Ticks in one basis point.
    pub(super) fn ticks_per_bp(&self) -> f64 {
        self.efficient * 1e-4
    }

    /// Distance at which quotes are moved, in ticks; never below one tick.
    pub(super) fn threshold(&self) -> f64 {
        (self.params.reprice_bp * self.ticks_per_bp()).max(1.0)
    }

    /// Efficient price minus mid, in thresholds.
    fn deviation(&self) -> f64 {
        self.book
            .touch()
            .map_or(0.0, |(bid, ask)| (self.efficient - 0.5 * (bid.tick + ask.tick) as f64) / self.threshold())
    }

    /// Highest tick for a bid and lowest for an ask that the efficient price and a liquidity hole leave.
    pub(super) fn quotable(&self) -> (i64, i64) {
        let half = self.conditions.hole_bp * self.ticks_per_bp();
        let bid = libm::floor(self.efficient - half) as i64;
        let ask = libm::ceil(self.efficient + half) as i64;
        (bid, ask.max(bid + 1))
    }

    fn needs_refill(&self) -> bool {
        let Some((bid, ask)) = self.book.touch() else { return false };
        if self.conditions.hole_bp == 0.0 {
            return ask.tick - bid.tick > 1;
        }
        let (highest, lowest) = self.quotable();
        let slack = self.threshold() as i64;
        bid.tick < highest - slack || ask.tick > lowest + slack
    }

    fn needs_repricing(&self) -> bool {
        let Some((bid, ask)) = self.book.touch() else { return false };
        if self.conditions.hole_bp == 0.0 {
            return self.deviation().abs() > 1.0;
        }
        let (highest, lowest) = self.quotable();
        let slack = self.threshold() as i64;
        bid.tick > highest + slack || ask.tick < lowest - slack
    }

    /// Sets a level and records it.
    pub(super) fn change(&mut self, side: Side, tick: i64, lots: i64, events: &mut Vec<MarketEvent>) {
        if self.book.side_mut(side).set(tick, lots) {
            events.push(MarketEvent::Change { side, level: Level { tick, lots } });
        }
    }

    /// Ends an operation, unless nothing has happened since the last one.
    pub(super) fn commit(&self, events: &mut Vec<MarketEvent>) {
        let open = events.last().is_some_and(|last| !matches!(last, MarketEvent::Commit { .. }));
        if let (true, Some((bid, ask))) = (open, self.book.touch()) {
            debug_assert!(bid.tick < ask.tick, "crossed: {bid:?} {ask:?}");
            events.push(MarketEvent::Commit { bid, ask });
        }
    }
}
