//! Looks: when they are taken, what they show, and that they cost nobody an allocation.

#[path = "../../feed/tests/common/counting.rs"]
mod counting;

use std::sync::Arc;

use tidegate_market::{LOOK_EVERY_NS, MarketConfig, MarketStage};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{BookQuality, Depth, DepthIds, EventSink, FLAG_SELL, Header, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::look::{LOOK_LEVELS, LookRecord};
use tidegate_wire::ring::{RecordBuf, Region, RegionKind, overwrite};
use tidegate_wire::{Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

const MS: i64 = 1_000_000;
const START: i64 = 1_723_161_600_000 * MS;

/// Counts vectors.
#[derive(Default)]
struct Count(u64);

impl FeatureSink for Count {
    fn features(&mut self, _: &Header, _: &FeatureBody) {
        self.0 += 1;
    }
    fn heartbeat(&mut self, _: &Header) {}
}

/// A stage of two instruments, and the end of the ring that shows them.
struct Rig {
    stage: MarketStage<Count>,
    reader: overwrite::Reader,
    buf: RecordBuf,
}

impl Rig {
    fn new() -> Self {
        let region = Arc::new(Region::anonymous(RegionKind::Overwrite, 1 << 14).expect("memory"));
        let stage = stage().watched_by(overwrite::Writer::resume(Arc::clone(&region)), LOOK_EVERY_NS);
        Self { stage, reader: overwrite::Reader::newest(region), buf: RecordBuf::default() }
    }

    fn looks(&mut self) -> Vec<LookRecord> {
        let mut looks = Vec::new();
        while let Some(words) = self.reader.pop(&mut self.buf) {
            looks.push(*LookRecord::of_words(words).expect("only looks"));
        }
        assert_eq!(self.reader.laps(), 0);
        looks
    }
}

fn stage() -> MarketStage<Count> {
    let mut registry = Registry::new();
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        registry.add(Instrument::linear(Venue::BinanceUsdm, symbol, 1, 3)).expect("an instrument");
    }
    MarketStage::new(&registry, MarketConfig::default(), Clock::monotonic(), Count::default())
}

fn header(id: u16, at_ms: i64) -> Header {
    Header { event_ns: START + at_ms * MS, ..Header::new(RecordKind::Delta, InstrumentId(id)) }
}

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) }
}

fn status(stage: &mut MarketStage<Count>, id: u16, at_ms: i64, quality: BookQuality) {
    stage.status(&header(id, at_ms), &Status { quality: quality as u64, expected: 0, received: 0 });
}

/// A book of a hundred levels a side.
fn good(stage: &mut MarketStage<Count>, id: u16, at_ms: i64) {
    let ids = DepthIds { first: 1, last: 1, prev: 0 };
    let bids: Vec<Level> = (0..100).map(|n| level(9_999 - n, 5 + n)).collect();
    let asks: Vec<Level> = (0..100).map(|n| level(10_001 + n, 7 + n)).collect();
    stage.snapshot(&header(id, at_ms), Depth { ids, bids: &bids, asks: &asks });
    status(stage, id, at_ms, BookQuality::Good);
}

fn delta(stage: &mut MarketStage<Count>, id: u16, at_ms: i64, update: u64, bids: &[Level], asks: &[Level]) {
    let ids = DepthIds { first: update, last: update, prev: update - 1 };
    stage.delta(&header(id, at_ms), Depth { ids, bids, asks });
}

fn trade(stage: &mut MarketStage<Count>, id: u16, at_ms: i64, price: i64, qty: i64, sell: bool) {
    let header = Header { flags: if sell { FLAG_SELL } else { 0 }, ..header(id, at_ms) };
    stage.trade(&header, &Trade { price: Price::from_raw(price), qty: Qty::from_raw(qty), ..Trade::default() });
}

/// Milliseconds of a look's moment and of its interval's beginning.
fn times(look: &LookRecord) -> (i64, i64) {
    ((look.header.event_ns - START) / MS, (look.body.start_ns - START) / MS)
}

#[test]
fn looks_are_taken_on_a_grid_of_event_time_an_instrument_each() {
    let mut rig = Rig::new();
    good(&mut rig.stage, 0, 30);
    good(&mut rig.stage, 1, 40);
    for (update, at) in (2..).zip([60, 99, 100, 150, 420, 499, 500]) {
        delta(&mut rig.stage, 0, at, update, &[level(9_999, at)], &[]);
    }
    let looks = rig.looks();
    let of = |id| looks.iter().filter(move |look| look.header.instrument == InstrumentId(id)).map(times);
    // The first shows that there is an instrument; a silence has no looks, and the grid stays where it is.
    assert_eq!(of(0).collect::<Vec<_>>(), [(30, 30), (100, 30), (420, 100), (500, 420)]);
    assert_eq!(of(1).collect::<Vec<_>>(), [(40, 40)]);
    assert!(looks.iter().all(|look| look.header.kind == RecordKind::Look as u8));
}

#[test]
fn a_look_shows_the_best_levels_and_the_tape_since_the_one_before() {
    let mut rig = Rig::new();
    good(&mut rig.stage, 0, 10);
    trade(&mut rig.stage, 0, 20, 10_001, 3, false);
    trade(&mut rig.stage, 1, 20, 77, 77, false);
    trade(&mut rig.stage, 0, 100, 9_999, 8, true);
    trade(&mut rig.stage, 0, 150, 10_002, 1, false);
    delta(&mut rig.stage, 0, 200, 2, &[level(9_999, 0), level(9_998, 4)], &[]);
    delta(&mut rig.stage, 0, 300, 3, &[], &[]);
    let looks: Vec<_> = rig.looks().into_iter().filter(|look| look.header.instrument == InstrumentId(0)).collect();
    let tape: Vec<_> = looks
        .iter()
        .map(|look| look.body)
        .map(|b| [b.bought.raw(), b.sold.raw(), b.largest.raw(), b.high.raw(), b.low.raw(), b.last.raw()])
        .collect();
    assert_eq!(tape, [[0; 6], [3, 8, 8, 10_001, 9_999, 9_999], [1, 0, 1, 10_002, 10_002, 10_002], [0; 6]]);
    assert_eq!(looks.iter().map(|look| look.body.trades).collect::<Vec<_>>(), [0, 2, 1, 0]);
    let body = looks[2].body;
    assert_eq!((body.bids().len(), body.asks().len(), body.update_id), (LOOK_LEVELS, LOOK_LEVELS, 2));
    assert_eq!((body.bids()[..2].to_vec(), body.asks()[0]), (vec![level(9_998, 4), level(9_997, 7)], level(10_001, 7)));
    assert_eq!(body.asks()[LOOK_LEVELS - 1], level(10_064, 70));
    assert_eq!(looks[0].body.book_quality(), BookQuality::Building, "the snapshot came before its good word");
}

#[test]
fn a_book_that_is_not_good_is_shown_without_levels() {
    let mut rig = Rig::new();
    good(&mut rig.stage, 0, 0);
    status(&mut rig.stage, 0, 100, BookQuality::Gapped);
    trade(&mut rig.stage, 0, 200, 10_001, 3, false);
    status(&mut rig.stage, 0, 300, BookQuality::Good);
    // A book that is corrupt by itself is not good either, whatever the feed says.
    delta(&mut rig.stage, 0, 400, 2, &[level(10_050, 3)], &[]);
    let looks = rig.looks();
    let shown = looks.iter().skip(1).map(|look| (look.body.book_quality(), look.body.bids().len()));
    let expected =
        [(BookQuality::Gapped, 0), (BookQuality::Gapped, 0), (BookQuality::Good, 64), (BookQuality::Crossed, 0)];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let gapped = looks[2].body;
    assert_eq!((gapped.bought.raw(), gapped.update_id, gapped.bids[0]), (3, 0, level(0, 0)), "the tape goes on");
    // Silence shows as well: by a timer of its own, in event time.
    rig.stage.heartbeat(&header(u16::MAX, 60_000));
    assert!(rig.looks().is_empty(), "a corrupt book is not told stale");
    good(&mut rig.stage, 0, 61_000);
    rig.stage.heartbeat(&header(u16::MAX, 90_000));
    let last = rig.looks().pop().expect("a look");
    assert_eq!((last.body.book_quality(), last.body.ask_count), (BookQuality::Stale, 0));
}

#[test]
fn nobody_who_does_not_watch_sees_anything_and_vectors_are_the_same() {
    let mut rig = Rig::new();
    let mut alone = stage();
    for stage in [&mut rig.stage, &mut alone] {
        good(stage, 0, 0);
        (1..500).for_each(|n| delta(stage, 0, n * 7, 1 + n as u64, &[level(9_990 - n % 9, n)], &[]));
        (1..50).for_each(|n| trade(stage, 0, 3_500 + n * 7, 10_001, n, n % 3 == 0));
    }
    assert_eq!((rig.stage.digest(), rig.stage.sink().0), (alone.digest(), alone.sink().0));
}

#[test]
fn looking_allocates_nothing() {
    let mut rig = Rig::new();
    good(&mut rig.stage, 0, 0);
    good(&mut rig.stage, 1, 0);
    let churn = |stage: &mut MarketStage<Count>, n: i64| {
        let id = (n % 2) as u16;
        delta(stage, id, n * 31, 1 + n as u64, &[level(9_990 - n % 9, n)], &[level(10_010 + n % 9, n)]);
        trade(stage, id, n * 31, 10_001, 1 + n, n % 3 == 0);
    };
    (1..100).for_each(|n| churn(&mut rig.stage, n));
    rig.looks();
    let before = counting::calls();
    (100..400).for_each(|n| churn(&mut rig.stage, n));
    assert_eq!(counting::calls() - before, 0);
    let looks = rig.looks().len();
    assert!((180..=190).contains(&looks), "{looks} looks in 9.3 s at two instruments");
}
