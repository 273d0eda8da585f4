//! The market stage: qualities, timers, sessions, masks, correlation, the cross-check.

use tidegate_market::bars::{BarBuilder, BarRule};
use tidegate_market::features::schema as f;
use tidegate_market::{MarketConfig, MarketStage};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{
    BookQuality, Depth, DepthIds, EventSink, FLAG_SESSION, FLAG_SPARE, Header, Mark, Quote, Status, Trade,
};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

#[derive(Default)]
struct Log(Vec<(Header, FeatureBody)>);

impl FeatureSink for Log {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.0.push((*header, *body));
    }
    fn heartbeat(&mut self, _: &Header) {}
}

const MS: i64 = 1_000_000;
const START: i64 = 1_723_161_600_000 * MS;

fn instrument(symbol: &str) -> Instrument {
    Instrument::linear(Venue::BinanceUsdm, symbol, 1, 3)
}

fn stage(symbols: &[&str]) -> MarketStage<Log> {
    let mut registry = Registry::new();
    symbols.iter().for_each(|symbol| assert!(registry.add(instrument(symbol)).is_ok()));
    let config = MarketConfig { stale_after_ns: [3_000 * MS; Venue::ALL.len()], check_bbo: true };
    MarketStage::new(&registry, config, Clock::monotonic(), Log::default())
}

fn header(id: u16, at_ms: i64) -> Header {
    Header { event_ns: START + at_ms * MS, ..Header::new(RecordKind::Delta, InstrumentId(id)) }
}

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) }
}

fn delta(stage: &mut MarketStage<Log>, id: u16, at_ms: i64, update: u64, bids: &[Level], asks: &[Level]) {
    let ids = DepthIds { first: update, last: update, prev: update - 1 };
    stage.delta(&header(id, at_ms), Depth { ids, bids, asks });
}

fn good(stage: &mut MarketStage<Log>, id: u16, at_ms: i64) {
    let ids = DepthIds { first: 1, last: 1, prev: 0 };
    let (bids, asks) = ([level(999, 5), level(998, 7)], [level(1001, 5), level(1002, 7)]);
    stage.snapshot(&header(id, at_ms), Depth { ids, bids: &bids, asks: &asks });
    status(stage, id, at_ms, BookQuality::Good, 0);
}

fn status(stage: &mut MarketStage<Log>, id: u16, at_ms: i64, quality: BookQuality, flags: u8) {
    let header = Header { flags, ..header(id, at_ms) };
    stage.status(&header, &Status { quality: quality as u64, expected: 0, received: 0 });
}

fn last(stage: &MarketStage<Log>) -> (Header, FeatureBody) {
    *stage.sink().0.last().expect("a vector")
}

#[test]
fn quality_masks_what_depends_on_the_book() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    assert_eq!(last(&market).1.get(f::MID), Some(100.0));
    for (quality, masked) in [(BookQuality::Gapped, true), (BookQuality::Good, false), (BookQuality::Building, true)] {
        status(&mut market, 0, 10, quality, 0);
        let body = last(&market).1;
        assert_eq!(body.book_quality(), quality);
        assert_eq!(body.get(f::MID).is_none(), masked, "{quality:?}");
        assert!(body.get(f::MESSAGE_RATE_1S).is_none(), "a tenth of a second has not passed");
        assert_eq!(body.mask & f::NEEDS_BOOK == 0, masked);
        let unmasked = (0..64).filter(|i| body.mask >> i & 1 == 0).map(|i| body.values[i]);
        assert!(!masked || unmasked.sum::<f64>() == 0.0, "absent values are zero in the bytes");
    }
}

#[test]
fn silence_makes_a_book_stale_at_its_own_deadline_and_a_frame_heals_it() {
    let mut market = stage(&["BTCUSDT", "ETHUSDT"]);
    good(&mut market, 0, 0);
    good(&mut market, 1, 0);
    delta(&mut market, 1, 2_900, 2, &[level(999, 6)], &[]);
    // The other instrument's event brings the time; the vector of the stale one comes first and bears its deadline.
    delta(&mut market, 1, 5_000, 3, &[level(999, 5)], &[]);
    let of_first =
        |(header, _): &&(Header, FeatureBody)| header.instrument == InstrumentId(0) && header.arrive_ticks == 0;
    let silence: Vec<_> = market.sink().0.iter().filter(of_first).skip(2).copied().collect();
    let times: Vec<i64> = silence.iter().map(|(header, _)| (header.event_ns - START) / MS).collect();
    assert_eq!(times, [3_000, 4_000, 5_000], "measured again each second, before the event that brings the time");
    let body = silence[0].1;
    assert_eq!(body.book_quality(), BookQuality::Stale);
    assert_eq!((body.get(f::DEPTH_AGE_MS), body.get(f::MID)), (Some(3_000.0), None));
    assert_eq!(market.counters().stale, 1, "one silence, however often it is measured");
    delta(&mut market, 0, 5_001, 2, &[level(999, 6)], &[]);
    assert_eq!(last(&market).1.book_quality(), BookQuality::Good);
    let tick = Header { event_ns: START + 60_000 * MS, ..Header::new(RecordKind::Heartbeat, InstrumentId::NONE) };
    EventSink::heartbeat(&mut market, &tick);
    assert_eq!(market.counters().stale, 3, "a heartbeat brings the time too");
}

#[test]
fn a_crossed_book_is_out_of_service_until_a_snapshot() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    delta(&mut market, 0, 10, 2, &[level(1001, 3)], &[]);
    assert_eq!((last(&market).1.book_quality(), market.counters().crossed), (BookQuality::Crossed, 1));
    delta(&mut market, 0, 20, 3, &[level(1001, 0)], &[]);
    assert_eq!(last(&market).1.book_quality(), BookQuality::Crossed, "uncrossing by itself proves nothing");
    good(&mut market, 0, 30);
    assert_eq!(last(&market).1.book_quality(), BookQuality::Good);
    assert_eq!(market.counters().crossed, 1);
}

/// A snapshot that the sequence does not need.
fn spare(stage: &mut MarketStage<Log>, at_ms: i64, update: u64, bids: &[Level], asks: &[Level]) {
    let header = Header { flags: FLAG_SPARE, ..header(0, at_ms) };
    stage.snapshot(&header, Depth { ids: DepthIds { first: update, last: update, prev: 0 }, bids, asks });
}

#[test]
fn a_corrupt_book_is_healed_by_a_snapshot_older_than_the_stream() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    let (bids, asks) = ([level(999, 5), level(998, 9)], [level(1001, 5), level(1002, 7)]);
    // While the book is good nobody needs it.
    spare(&mut market, 5, 1, &bids, &asks);
    assert_eq!(market.counters().vectors, 2);
    delta(&mut market, 0, 10, 2, &[level(1001, 3)], &[]);
    assert_eq!(market.quality(InstrumentId(0)), BookQuality::Crossed);
    delta(&mut market, 0, 20, 3, &[level(1001, 0), level(998, 9)], &[]);
    delta(&mut market, 0, 30, 4, &[level(997, 4)], &[level(1002, 0)]);
    // One from before the damage would miss a frame that was never applied.
    spare(&mut market, 35, 0, &bids, &asks);
    assert_eq!(market.quality(InstrumentId(0)), BookQuality::Crossed);
    // This one holds updates 1 to 3; the fourth was held back for it.
    spare(&mut market, 40, 3, &bids, &asks);
    assert_eq!(market.quality(InstrumentId(0)), BookQuality::Good);
    let book = market.book(InstrumentId(0)).expect("a book");
    let prices = |levels: Vec<Level>| levels.iter().map(|level| level.price.raw()).collect::<Vec<_>>();
    assert_eq!(prices(book.iter_bids().collect()), [999, 998, 997]);
    assert_eq!((prices(book.iter_asks().collect()), book.last_id()), (vec![1001], 4));
    delta(&mut market, 0, 50, 5, &[level(999, 6)], &[]);
    assert_eq!((last(&market).1.get(f::MID), market.counters().crossed), (Some(100.0), 1));
    // A snapshot that is itself crossed heals nothing, and the next one does.
    delta(&mut market, 0, 60, 6, &[level(1001, 3)], &[]);
    spare(&mut market, 70, 6, &[level(1003, 1)], &asks);
    assert_eq!((market.quality(InstrumentId(0)), market.counters().crossed), (BookQuality::Crossed, 3));
    // Nor does one that is ahead of the stream get undone by the frames it holds already.
    spare(&mut market, 80, 8, &bids, &asks);
    assert_eq!((market.quality(InstrumentId(0)), market.counters().healed), (BookQuality::Good, 2));
    delta(&mut market, 0, 90, 7, &[level(1001, 3)], &[]);
    assert_eq!(market.quality(InstrumentId(0)), BookQuality::Good);
    delta(&mut market, 0, 100, 9, &[level(999, 1)], &[]);
    let book = market.book(InstrumentId(0)).expect("a book");
    assert_eq!((book.last_id(), book.best_bid().map(|level| level.qty.raw())), (9, Some(1)));
    // Frames came all the while: only their content was not used.
    assert_eq!(last(&market).1.get(f::DEPTH_AGE_MS), Some(0.0));
}

#[test]
fn frames_that_a_corrupt_book_does_not_use_still_show_that_its_stream_is_alive() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    delta(&mut market, 0, 10, 2, &[level(1001, 3)], &[]);
    (1..50).for_each(|n| delta(&mut market, 0, 10 + n * 100, 2 + n as u64, &[level(900, n)], &[]));
    let body = last(&market).1;
    assert_eq!((body.book_quality(), body.get(f::DEPTH_AGE_MS)), (BookQuality::Crossed, Some(0.0)));
}

#[test]
fn a_quote_from_before_a_side_was_swept_does_not_bring_it_back() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    delta(&mut market, 0, 10, 500, &[level(999, 0), level(998, 0)], &[]);
    let quote = |update_id| Quote { update_id, bid: level(999, 5), ask: level(1001, 5) };
    market.quote(&header(0, 20), &quote(499));
    assert_eq!(last(&market).1.get(f::MID), None);
    market.quote(&header(0, 30), &quote(501));
    assert_eq!(last(&market).1.get(f::MID), Some(100.0));
}

#[test]
fn a_side_that_is_swept_empty_shows_and_where_the_price_was_stays_known() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    (1..15).for_each(|s| delta(&mut market, 0, s * 1_000, 1 + s as u64, &[level(999, 5)], &[]));
    assert_eq!(last(&market).1.get(f::DEPTH_RATIO), Some(1.0));
    delta(&mut market, 0, 15_000, 16, &[level(999, 0), level(998, 0)], &[]);
    let swept = last(&market).1;
    assert_eq!(swept.quality, BookQuality::Good as u64);
    assert_eq!((swept.get(f::MID), swept.get(f::DEPTH_BID_10BP), swept.get(f::SLOPE_BID)), (None, None, None));
    assert_eq!((swept.get(f::IMBALANCE_10), swept.get(f::DEPTH_RATIO)), (Some(-1.0), Some(0.0)));
    // The bids come back a tenth lower, and with them the asks: the move shows although there was no price meanwhile.
    let asks = [level(1001, 0), level(1002, 0), level(901, 5)];
    delta(&mut market, 0, 15_100, 17, &[level(899, 5)], &asks);
    let range = last(&market).1.get(f::RANGE_60S).expect("a range");
    assert!((range - (100.0 / 90.0 - 1.0)).abs() < 1e-12, "{range}");
    // So it does over a gap that a snapshot heals.
    status(&mut market, 0, 15_200, BookQuality::Gapped, 0);
    good(&mut market, 0, 17_000);
    assert_eq!(last(&market).1.get(f::RANGE_60S), Some(range));
}

#[test]
fn silence_is_measured_by_the_patience_of_the_venue() {
    let mut registry = Registry::new();
    for venue in [Venue::BinanceSpot, Venue::BinanceUsdm] {
        assert!(registry.add(Instrument { venue, ..instrument("BTCUSDT") }).is_ok());
    }
    let mut stale_after_ns = [0; Venue::ALL.len()];
    stale_after_ns[Venue::BinanceSpot as usize] = 10_000 * MS;
    stale_after_ns[Venue::BinanceUsdm as usize] = 3_000 * MS;
    let config = MarketConfig { stale_after_ns, check_bbo: false };
    let mut market = MarketStage::new(&registry, config, Clock::monotonic(), Log::default());
    good(&mut market, 0, 0);
    good(&mut market, 1, 0);
    market.heartbeat(&header(u16::MAX, 9_999));
    assert_eq!(
        (market.quality(InstrumentId(0)), market.quality(InstrumentId(1))),
        (BookQuality::Good, BookQuality::Stale)
    );
    market.heartbeat(&header(u16::MAX, 10_000));
    assert_eq!(market.quality(InstrumentId(0)), BookQuality::Stale);
}

#[test]
fn unrelated_instruments_are_correlated_only_by_order() {
    let mut market = stage(&["BTCUSDT", "ETHUSDT"]);
    let walk = |market: &mut MarketStage<Log>| {
        let mut update = 2;
        (0..40).for_each(|s| {
            let up = s % 3;
            for id in [0, 1] {
                let bids: Vec<Level> = (997..1001).map(|p| level(p, i64::from(p <= 998 + up) * 5)).collect();
                delta(market, id, s * 1_000 + i64::from(id), update, &bids, &[]);
            }
            update += 1;
        });
    };
    [0, 1].into_iter().for_each(|id| good(&mut market, id, 0));
    walk(&mut market);
    assert_eq!(last(&market).1.get(f::CORRELATION), None);
    let mut market = stage(&["BTCUSDT", "ETHUSDT"]);
    market.correlate_with(InstrumentId(1), InstrumentId(0));
    [0, 1].into_iter().for_each(|id| good(&mut market, id, 0));
    walk(&mut market);
    let correlation = last(&market).1.get(f::CORRELATION).expect("a named reference");
    assert!((correlation - 1.0).abs() < 1e-9, "{correlation}");
}

#[test]
fn a_session_forgets_everything() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    for second in 1..40 {
        delta(&mut market, 0, second * 1_000, 1 + second as u64, &[level(999, 5 + second)], &[]);
    }
    assert!(last(&market).1.get(f::REALISED_VOL_10S).is_some());
    status(&mut market, 0, 41_000, BookQuality::Building, FLAG_SESSION);
    assert_eq!(last(&market).0.flags & FLAG_SESSION, FLAG_SESSION, "the guard is told");
    good(&mut market, 0, 41_500);
    let body = last(&market).1;
    assert_eq!((body.get(f::REALISED_VOL_10S), body.get(f::RETURN_10S)), (None, None));
    assert_eq!(body.get(f::MID), Some(100.0));
}

#[test]
fn the_cross_check_compares_equal_update_ids_in_either_order() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    let quote = |id, bid, bid_qty| Quote { update_id: id, bid: level(bid, bid_qty), ask: level(1001, 5) };
    market.quote(&header(0, 1), &quote(2, 999, 6));
    delta(&mut market, 0, 2, 2, &[level(999, 6)], &[]);
    assert_eq!((market.counters().bbo_checked, market.counters().bbo_mismatch), (1, 0));
    delta(&mut market, 0, 3, 3, &[level(999, 8)], &[]);
    market.quote(&header(0, 4), &quote(3, 999, 8));
    market.quote(&header(0, 5), &quote(4, 999, 9));
    assert_eq!((market.counters().bbo_checked, market.counters().bbo_mismatch), (2, 0));
    delta(&mut market, 0, 6, 4, &[level(999, 1)], &[]);
    assert_eq!((market.counters().bbo_checked, market.counters().bbo_mismatch), (3, 1));
}

#[test]
fn instruments_of_one_base_are_correlated() {
    let mut market = stage(&["BTCUSDT", "ETHUSDT", "BTCUSDC"]);
    (0..3).for_each(|id| good(&mut market, id, 0));
    let mut seed = 7u64;
    for second in 1..80i64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let step = (seed >> 33) as i64 % 9;
        for id in 0..3u16 {
            let bid = 900 + step;
            let clear: Vec<Level> = (895..1_000).map(|p| level(p, 0)).collect();
            let bids: Vec<Level> = clear.into_iter().chain([level(bid, 5)]).collect();
            delta(&mut market, id, second * 1_000 + i64::from(id), 1 + second as u64, &bids, &[]);
        }
    }
    let correlation = |id: u16| market.features(InstrumentId(id)).and_then(|body| body.get(f::CORRELATION));
    assert!(correlation(0) > Some(0.99) && correlation(2) > Some(0.99), "{:?} {:?}", correlation(0), correlation(2));
    assert_eq!(correlation(1), None, "ether has no other market here");
}

#[test]
fn marks_give_basis_and_funding() {
    let mut market = stage(&["BTCUSDT"]);
    good(&mut market, 0, 0);
    let unit = 100_000_000;
    let mark = Mark { mark: 99 * unit, index: 101 * unit, funding: 100_000_000, next_funding_ns: START + 1 };
    market.mark(&header(0, 1), &mark);
    let body = last(&market).1;
    let near =
        |feature, expected: f64| assert!(body.get(feature).is_some_and(|v| (v - expected).abs() < 1e-9), "{body:?}");
    near(f::MARK_BASIS_BP, (100.0 / 99.0 - 1.0) * 1e4);
    near(f::INDEX_BASIS_BP, (100.0 / 101.0 - 1.0) * 1e4);
    near(f::FUNDING_RATE, 0.0001);
    market.mark(&header(0, 2), &Mark { next_funding_ns: 0, index: 0, ..mark });
    let body = last(&market).1;
    assert_eq!((body.get(f::FUNDING_RATE), body.get(f::INDEX_BASIS_BP)), (None, None), "absent, not zero");
}

#[test]
fn bars_end_by_time_volume_and_value() {
    let trade =
        |price: i64, qty: i64| Trade { price: Price::from_raw(price), qty: Qty::from_raw(qty), ..Trade::default() };
    let definition = instrument("BTCUSDT");
    let mut time = BarBuilder::new(&definition, BarRule::Time(1_000 * MS));
    for (at, price) in [(START + 100 * MS, 1_000), (START + 900 * MS, 1_010)] {
        assert_eq!(time.advance(at), None);
        assert_eq!(time.trade(at, &trade(price, 2_000), price == 1_000), None);
    }
    let bar = time.advance(START + 1_000 * MS).expect("the second is over");
    assert_eq!((bar.open, bar.high, bar.low, bar.close), (100.0, 101.0, 100.0, 101.0));
    assert_eq!((bar.volume, bar.bought, bar.trades, bar.start_ns), (4.0, 2.0, 2, START));
    assert_eq!(time.advance(START + 9_000 * MS), None, "a second without trades has no bar");
    let mut volume = BarBuilder::new(&definition, BarRule::Volume(5.0));
    assert_eq!(volume.trade(START, &trade(1_000, 4_999), false), None);
    assert_eq!(volume.trade(START + 1, &trade(1_000, 1), false).map(|bar| bar.trades), Some(2));
    let inverse = Instrument { contract: Contract::Inverse { quote_per_contract: 100.0 }, ..definition };
    let mut dollar = BarBuilder::new(&inverse, BarRule::Dollar(1_000.0));
    assert_eq!(dollar.trade(START, &trade(1_000, 9_000), true), None);
    assert_eq!(dollar.trade(START, &trade(1_000, 1_000), true).map(|bar| bar.value), Some(1_000.0));
}
