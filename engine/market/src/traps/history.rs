//! What the detector remembers of an instrument: looks of the last seconds, seconds of the last two minutes, and the
//! scales that everything is measured by. All windows are fixed arrays: a look costs no allocation.
//!
//! Prices are mantissas as `f64`, exact up to [`MANTISSA_MAX`](tidegate_wire::decimal::MANTISSA_MAX); so are
//! quantities.

use tidegate_wire::Level;
use tidegate_wire::look::{LookBody, LookRecord};

/// One second, ns.
pub(super) const SECOND_NS: i64 = 1_000_000_000;
/// Seconds that are remembered; a power of two.
const SECONDS: usize = 128;
/// Boiled-down looks that are remembered: 12.8 s at ten a second; a power of two.
const MOMENTS: usize = 128;
/// Whole looks that are remembered: 1.6 s at ten a second; a power of two.
const BOOKS: usize = 16;
/// Levels a side that depth is measured over.
pub(super) const DEPTH_LEVELS: usize = 10;
/// Seconds by which scales lag, so that a move is not measured by itself.
const LAG: i64 = 5;
/// Weight of a new second in the variance: a half-life of 60 s.
const DECAY: f64 = 0.011_486;

/// A look, boiled down.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Event time, ns since the Unix epoch.
    pub ns: i64,
    /// Mid price.
    pub mid: f64,
    /// Best ask less best bid.
    pub spread: f64,
    /// Highest of the mid and the trades since the look before.
    pub high: f64,
    /// Lowest of the mid and the trades since the look before.
    pub low: f64,
    /// Quantity that aggressors bought since the look before.
    pub bought: f64,
    /// Quantity that aggressors sold since the look before.
    pub sold: f64,
    /// Quantity of the best ten bids.
    pub bid_depth: f64,
    /// Quantity of the best ten asks.
    pub ask_depth: f64,
}

impl Moment {
    /// The moment of a good look; `None` where a side is empty.
    pub fn of(look: &LookRecord) -> Option<Self> {
        let body = &look.body;
        let (bid, ask) = (body.bids().first()?.price.raw() as f64, body.asks().first()?.price.raw() as f64);
        let mid = f64::midpoint(bid, ask);
        let traded = |price: f64| if body.trades == 0 { mid } else { price };
        Some(Self {
            ns: look.header.event_ns,
            mid,
            spread: ask - bid,
            high: mid.max(traded(body.high.raw() as f64)),
            low: mid.min(traded(body.low.raw() as f64)),
            bought: body.bought.raw() as f64,
            sold: body.sold.raw() as f64,
            bid_depth: depth(body.bids(), DEPTH_LEVELS),
            ask_depth: depth(body.asks(), DEPTH_LEVELS),
        })
    }

    /// The farthest price in a direction (+1 up, -1 down).
    pub(super) fn farthest(&self, direction: f64) -> f64 {
        if direction > 0.0 { self.high } else { self.low }
    }

    /// Quantities that aggressors traded in a direction, and against it.
    pub(super) fn flow(&self, direction: f64) -> (f64, f64) {
        if direction > 0.0 { (self.bought, self.sold) } else { (self.sold, self.bought) }
    }

    /// Depth that a move in a direction meets, and the depth behind it.
    pub(super) fn depths(&self, direction: f64) -> (f64, f64) {
        if direction > 0.0 { (self.ask_depth, self.bid_depth) } else { (self.bid_depth, self.ask_depth) }
    }
}

/// Quantity of the best `count` levels.
pub(super) fn depth(levels: &[Level], count: usize) -> f64 {
    levels.iter().take(count).map(|level| level.qty.raw() as f64).sum()
}

/// One second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    high: f64,
    low: f64,
    close: f64,
    traded: f64,
}

/// What is remembered of one instrument.
#[derive(Clone, Debug)]
pub struct History {
    seconds: [Second; SECONDS],
    /// Number of the running second since the Unix epoch.
    second: i64,
    /// Whole seconds before it that are remembered.
    known: i64,
    moments: [Moment; MOMENTS],
    /// Moments seen since the beginning.
    seen: usize,
    books: Box<[LookBody; BOOKS]>,
    /// Variance of the mid's change over a second, and how many seconds are in it.
    variance: f64,
    counted: f64,
    /// Mean spread.
    spread: f64,
    tick: f64,
}

impl History {
    /// Nothing yet; `tick` is the smallest price step, a mantissa.
    pub fn new(tick: f64) -> Self {
        Self {
            seconds: [Second::default(); SECONDS],
            second: 0,
            known: 0,
            moments: [Moment::default(); MOMENTS],
            seen: 0,
            books: Box::new([LookBody::EMPTY; BOOKS]),
            variance: 0.0,
            counted: 0.0,
            spread: 0.0,
            tick,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        (self.known, self.seen, self.variance, self.counted, self.spread) = (0, 0, 0.0, 0.0, 0.0);
    }

    /// Adds a moment and the look it is of.
    pub fn see(&mut self, moment: &Moment, look: &LookBody) {
        let second = moment.ns.div_euclid(SECOND_NS);
        if self.seen == 0 || second < self.second || second - self.second >= SECONDS as i64 {
            self.reset();
            self.begin(second, moment);
        }
        while self.second < second {
            let close = self.at(self.second).close;
            self.scale();
            self.known = (self.known + 1).min(SECONDS as i64 - 1);
            self.second += 1;
            *self.at_mut(self.second) = Second { high: close, low: close, close, traded: 0.0 };
        }
        let running = self.at_mut(second);
        (running.high, running.low) = (running.high.max(moment.high), running.low.min(moment.low));
        (running.close, running.traded) = (moment.mid, running.traded + moment.bought + moment.sold);
        self.spread += (moment.spread - self.spread) / (self.seen as f64 + 1.0).min(300.0);
        self.moments[self.seen % MOMENTS] = *moment;
        self.books[self.seen % BOOKS] = *look;
        self.seen += 1;
    }

    fn begin(&mut self, second: i64, moment: &Moment) {
        self.second = second;
        *self.at_mut(second) = Second { high: moment.high, low: moment.low, close: moment.mid, traded: 0.0 };
    }

    fn at(&self, second: i64) -> Second {
        self.seconds[second.rem_euclid(SECONDS as i64) as usize]
    }

    fn at_mut(&mut self, second: i64) -> &mut Second {
        &mut self.seconds[second.rem_euclid(SECONDS as i64) as usize]
    }

    /// A second has ended: the one that ended [`LAG`] seconds ago goes into the variance.
    fn scale(&mut self) {
        if self.known > LAG {
            let change = self.at(self.second - LAG).close - self.at(self.second - LAG - 1).close;
            self.counted += 1.0;
            self.variance += (change * change - self.variance) * DECAY.max(1.0 / self.counted);
        }
    }

    /// Whole seconds that are remembered, in `[0, 127]`.
    pub fn known(&self) -> i64 {
        self.known
    }

    /// The unit of moves: the standard deviation of the mid over ten seconds, scaled by the root of time from changes
    /// over one second (half-life 60 s), at least two mean spreads and three ticks. Lags by five seconds.
    pub fn unit(&self) -> f64 {
        (10.0 * self.variance).sqrt().max(2.0 * self.spread).max(3.0 * self.tick)
    }

    /// Highest and lowest price of the whole seconds whose age is in `[from, to]` seconds; `None` unless all are known.
    pub fn range(&self, from: i64, to: i64) -> Option<(f64, f64)> {
        (from >= 1 && from <= to && to <= self.known).then(|| {
            let seconds = (from..=to).map(|age| self.at(self.second - age));
            seconds.fold((f64::MIN, f64::MAX), |(high, low), s| (high.max(s.high), low.min(s.low)))
        })
    }

    /// Quantity traded a second over the last minute, without the last five seconds; 0 where nothing is known.
    pub fn rate(&self) -> f64 {
        let end = self.known.min(60);
        let traded: f64 = (LAG..=end).map(|age| self.at(self.second - age).traded).sum();
        if end < LAG { 0.0 } else { traded / (end - LAG + 1) as f64 }
    }

    /// Moments, newest first.
    pub(super) fn moments(&self) -> impl Iterator<Item = &Moment> {
        (1..=self.seen.min(MOMENTS)).map(|back| &self.moments[(self.seen - back) % MOMENTS])
    }

    /// Looks, newest first; as many as are kept whole.
    pub(super) fn books(&self) -> impl Iterator<Item = (&Moment, &LookBody)> {
        let kept = (1..=self.seen.min(BOOKS)).map(|back| self.seen - back);
        kept.map(|at| (&self.moments[at % MOMENTS], &self.books[at % BOOKS]))
    }

    /// Quantities that aggressors traded in a direction and against it in the looks of the last `window_ns`.
    pub(super) fn flow(&self, direction: f64, window_ns: i64) -> (f64, f64) {
        let now = self.moments().next().map_or(0, |moment| moment.ns);
        let within = self.moments().take_while(|moment| now - moment.ns < window_ns);
        within.map(|moment| moment.flow(direction)).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(ms: i64, mid: f64) -> Moment {
        let depths = (3.0, 4.0);
        let (ns, bought) = (ms * 1_000_000, 2.0);
        Moment {
            ns,
            mid,
            spread: 1.0,
            high: mid,
            low: mid,
            bought,
            sold: 1.0,
            bid_depth: depths.0,
            ask_depth: depths.1,
        }
    }

    #[test]
    fn seconds_hold_ranges_and_rates_and_silence_is_flat() {
        let mut history = History::new(1.0);
        for n in 0..200 {
            history.see(&moment(n * 100, 100.0 + (n / 10) as f64), &LookBody::EMPTY);
        }
        assert_eq!(history.known(), 19);
        assert_eq!(history.range(1, 19), Some((118.0, 100.0)));
        assert_eq!((history.range(5, 10), history.range(1, 20)), (Some((114.0, 108.0)), None));
        assert_eq!(history.rate(), 30.0);
        assert!((history.unit() - 10.0f64.sqrt()).abs() < 1e-9, "one a second, {}", history.unit());
        assert_eq!(history.flow(1.0, 1_000_000_000), (20.0, 10.0));
        assert_eq!(history.flow(-1.0, 1_000_000_000), (10.0, 20.0));
        // Ten silent seconds.
        history.see(&moment(30_000, 119.0), &LookBody::EMPTY);
        assert_eq!((history.known(), history.range(1, 10)), (30, Some((119.0, 119.0))));
        // A silence longer than what is remembered, and time that went back, begin anew.
        history.see(&moment(300_000, 5.0), &LookBody::EMPTY);
        assert_eq!((history.known(), history.moments().count()), (0, 1));
        history.see(&moment(100, 6.0), &LookBody::EMPTY);
        assert_eq!((history.known(), history.unit()), (0, 3.0));
    }
}
