//! A simulated market's way to the detector: real events through a real stage, its looks, and what was true.

// Tests and examples share it: none of them uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_market::{LOOK_EVERY_NS, MarketConfig, MarketStage};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{BookQuality, Depth, DepthIds, EventSink, FLAG_SELL, Header, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::look::LookRecord;
use tidegate_wire::order::Side;
use tidegate_wire::ring::{RecordBuf, Region, RegionKind, overwrite};
use tidegate_wire::trap::TrapPattern;
use tidegate_wire::{Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

/// One second, ns.
pub(crate) const SECOND: i64 = 1_000_000_000;
/// When a simulated market opens unless it follows another, ns since the Unix epoch.
pub(crate) const OPEN: i64 = 1_700_000_000 * SECOND;

/// A trap that a generator set, and that went as it was meant to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) pattern: TrapPattern,
    pub(crate) lure: Side,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
}

/// Nobody needs the vectors here.
#[derive(Debug, Default)]
pub(crate) struct Nothing;

impl FeatureSink for Nothing {
    fn features(&mut self, _: &Header, _: &FeatureBody) {}
    fn heartbeat(&mut self, _: &Header) {}
}

/// A stage that is looked at.
pub(crate) struct Looks {
    pub(crate) stage: MarketStage<Nothing>,
    reader: overwrite::Reader,
    buf: RecordBuf,
}

impl Looks {
    pub(crate) fn new(registry: &Registry) -> Self {
        let region = Arc::new(Region::anonymous(RegionKind::Overwrite, 1 << 14).expect("memory"));
        let stage = MarketStage::new(registry, MarketConfig::default(), Clock::monotonic(), Nothing);
        let stage = stage.watched_by(overwrite::Writer::resume(Arc::clone(&region)), LOOK_EVERY_NS);
        Self { stage, reader: overwrite::Reader::newest(region), buf: RecordBuf::default() }
    }

    /// Shows the looks that were taken meanwhile.
    pub(crate) fn each(&mut self, see: &mut dyn FnMut(&LookRecord)) {
        while let Some(words) = self.reader.pop(&mut self.buf) {
            see(LookRecord::of_words(words).expect("only looks"));
        }
        assert_eq!(self.reader.laps(), 0, "every look is seen");
    }
}

/// A side of a simulated book: quantity by price.
pub(crate) type Levels = BTreeMap<i64, i64>;

/// A simulated market of one instrument.
pub(crate) struct Simulated {
    pub(crate) registry: Registry,
    pub(crate) looks: Looks,
    pub(crate) bids: Levels,
    pub(crate) asks: Levels,
    changed: [Vec<Level>; 2],
    pub(crate) now_ns: i64,
    update: u64,
}

impl Simulated {
    pub(crate) fn new(open_ns: i64) -> Self {
        let mut registry = Registry::new();
        registry.add(Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3)).expect("an instrument");
        registry.set_price(InstrumentId(0), Price::from_raw(500_000));
        let looks = Looks::new(&registry);
        let (bids, asks, changed) = (Levels::new(), Levels::new(), [Vec::new(), Vec::new()]);
        Self { registry, looks, bids, asks, changed, now_ns: open_ns, update: 1 }
    }

    fn header(&self, kind: RecordKind, flags: u8) -> Header {
        Header { event_ns: self.now_ns, flags, ..Header::new(kind, InstrumentId(0)) }
    }

    /// Opens with the book as it stands.
    pub(crate) fn open(&mut self) {
        let level = |(price, qty): (&i64, &i64)| Level { price: Price::from_raw(*price), qty: Qty::from_raw(*qty) };
        let bids: Vec<Level> = self.bids.iter().rev().map(level).collect();
        let asks: Vec<Level> = self.asks.iter().map(level).collect();
        let ids = DepthIds { first: 1, last: 1, prev: 0 };
        let header = self.header(RecordKind::Snapshot, 0);
        self.looks.stage.snapshot(&header, Depth { ids, bids: &bids, asks: &asks });
        let status = Status { quality: BookQuality::Good as u64, expected: 0, received: 0 };
        self.looks.stage.status(&self.header(RecordKind::Status, 0), &status);
        self.changed.iter_mut().for_each(Vec::clear);
    }

    /// Sets a level to a quantity; it is told with the next [`Self::flush`].
    pub(crate) fn set(&mut self, side: Side, price: i64, qty: i64) {
        let levels = if side == Side::Buy { &mut self.bids } else { &mut self.asks };
        if qty > 0 {
            levels.insert(price, qty);
        } else {
            levels.remove(&price);
        }
        let level = Level { price: Price::from_raw(price), qty: Qty::from_raw(qty.max(0)) };
        self.changed[side as usize].push(level);
    }

    /// Quantity of a level.
    pub(crate) fn get(&self, side: Side, price: i64) -> i64 {
        let levels = if side == Side::Buy { &self.bids } else { &self.asks };
        levels.get(&price).copied().unwrap_or(0)
    }

    /// Best price of a side.
    pub(crate) fn best(&self, side: Side) -> i64 {
        let best = if side == Side::Buy { self.bids.keys().next_back() } else { self.asks.keys().next() };
        *best.expect("simulated books have two sides")
    }

    pub(crate) fn mid(&self) -> f64 {
        (self.best(Side::Buy) + self.best(Side::Sell)) as f64 / 2.0
    }

    /// Tells the levels that changed.
    pub(crate) fn flush(&mut self) {
        if self.changed.iter().all(Vec::is_empty) {
            return;
        }
        assert!(self.best(Side::Buy) < self.best(Side::Sell), "a generator's book is never crossed");
        let ids = DepthIds { first: self.update + 1, last: self.update + 1, prev: self.update };
        self.update += 1;
        let header = self.header(RecordKind::Delta, 0);
        let [bids, asks] = &self.changed;
        self.looks.stage.delta(&header, Depth { ids, bids, asks });
        self.changed.iter_mut().for_each(Vec::clear);
    }

    /// Tells a trade; the aggressor is of `side`.
    pub(crate) fn print(&mut self, side: Side, price: i64, qty: i64) {
        let header = self.header(RecordKind::Trade, if side == Side::Sell { FLAG_SELL } else { 0 });
        let trade = Trade { price: Price::from_raw(price), qty: Qty::from_raw(qty), ..Trade::default() };
        self.looks.stage.trade(&header, &trade);
    }

    /// A market order through the book; gives what it got. At most all but the last levels are taken.
    pub(crate) fn take(&mut self, side: Side, mut qty: i64) -> i64 {
        let wanted = qty;
        while qty > 0 {
            let levels = if side == Side::Buy { &self.asks } else { &self.bids };
            if levels.len() <= 5 {
                break;
            }
            let price = self.best(side.opposite());
            let there = self.get(side.opposite(), price);
            let taken = there.min(qty);
            self.print(side, price, taken);
            self.set(side.opposite(), price, there - taken);
            qty -= taken;
        }
        self.flush();
        wanted - qty
    }
}

/// A seeded stream of draws.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [from, to).
    pub(crate) fn within(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.uniform()
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (core::f64::consts::TAU * self.uniform()).cos()
    }

    /// Either side.
    pub(crate) fn side(&mut self) -> Side {
        if self.chance(0.5) { Side::Buy } else { Side::Sell }
    }
}

/// +1 for a buyer, -1 for a seller.
pub(crate) fn sign(side: Side) -> f64 {
    if side == Side::Buy { 1.0 } else { -1.0 }
}

/// What the participants of a simulated market know of its past: mids by second.
#[derive(Debug, Default)]
pub(crate) struct Past(Vec<f64>);

impl Past {
    /// A second has ended with this mid.
    pub(crate) fn second(&mut self, mid: f64) {
        self.0.push(mid);
    }

    /// The extreme mid of the last minute in a direction, without the last four seconds.
    pub(crate) fn swing(&self, direction: f64) -> f64 {
        let end = self.0.len().saturating_sub(4);
        let from = end.saturating_sub(56);
        direction * self.0[from..end].iter().map(|mid| direction * mid).fold(f64::MIN, f64::max)
    }

    /// Deviation of changes over ten seconds in the last three minutes.
    pub(crate) fn deviation(&self) -> f64 {
        let last = &self.0[self.0.len().saturating_sub(180)..];
        let squares = last.windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0]));
        (10.0 * squares.sum::<f64>() / (last.len() as f64 - 1.0).max(1.0)).sqrt()
    }

    /// Usual change over ten seconds in the last ten minutes: 1.48 times the median, a deviation were it normal.
    pub(crate) fn usual(&self) -> f64 {
        let last = &self.0[self.0.len().saturating_sub(600)..];
        let mut changes: Vec<f64> = last.windows(11).map(|window| (window[10] - window[0]).abs()).collect();
        changes.sort_by(f64::total_cmp);
        1.48 * changes.get(changes.len() / 2).copied().unwrap_or(0.0)
    }
}
