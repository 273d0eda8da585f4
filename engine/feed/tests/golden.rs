//! Frames of our own, as Binance documents them: each must become exactly the message written beside it.

mod common;

use common::differential::{Reading, differential};
use common::frames::{golden, registry};
use tidegate_feed::Reason;
use tidegate_feed::venues::binance::Decoder;
use tidegate_feed::venues::{Batch, Body, Decode, Message};
use tidegate_wire::event::{DepthIds, Level, Mark, Quote, Trade};
use tidegate_wire::{InstrumentId, Price, Qty, Venue};

/// Ids of the instruments in `frames::registry`.
const SPOT: InstrumentId = InstrumentId(0);
const SPOT_SMALL: InstrumentId = InstrumentId(1);
const USDM: InstrumentId = InstrumentId(2);
const USDM_DATED: InstrumentId = InstrumentId(3);
const COINM: InstrumentId = InstrumentId(4);
const COINM_DATED: InstrumentId = InstrumentId(5);

const MS: i64 = 1_000_000;

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) }
}

fn levels(pairs: &[(i64, i64)]) -> Vec<Level> {
    pairs.iter().map(|(price, qty)| level(*price, *qty)).collect()
}

/// A message with its levels.
fn reading(instrument: InstrumentId, venue_ns: i64, body: Body) -> Reading {
    let message = Message { instrument, venue_ns, body };
    Reading { message, bids: Vec::new(), asks: Vec::new(), batch: Batch::default() }
}

fn depth(id: InstrumentId, venue_ns: i64, body: Body, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Reading {
    Reading { bids: levels(bids), asks: levels(asks), ..reading(id, venue_ns, body) }
}

fn delta(first: u64, last: u64, prev: u64) -> Body {
    Body::Delta(DepthIds { first, last, prev })
}

fn snapshot(id: u64) -> Body {
    Body::Snapshot(DepthIds { first: id, last: id, prev: 0 })
}

fn quote(update_id: u64, bid: (i64, i64), ask: (i64, i64)) -> Body {
    let quote = Quote { update_id, bid: level(bid.0, bid.1), ask: level(ask.0, ask.1) };
    Body::Quote { quote, order: update_id }
}

fn trade(trade_id: u64, price: i64, qty: i64, transact_ms: i64, sell: bool, raw: bool) -> Body {
    let (price, qty) = (Price::from_raw(price), Qty::from_raw(qty));
    Body::Trade { trade: Trade { price, qty, trade_id, transact_ns: transact_ms * MS }, sell, raw }
}

fn mark(mark: i64, index: i64, funding: i64, next_ms: i64) -> Body {
    Body::Mark(Mark { mark, index, funding, next_funding_ns: next_ms * MS })
}

/// What the golden frame of that name says, written out by hand.
fn expected(name: &str) -> Reading {
    const T: i64 = 1_790_000_000_000;
    match name {
        "spot depth" => {
            depth(SPOT, (T + 123) * MS, delta(7001, 7004, 0), &[(10_125, 350_000), (10_124, 0)], &[(10_130, 700)])
        }
        "spot depth, microseconds, one side" => {
            depth(SPOT_SMALL, T * MS + 123_456_000, delta(12, 12, 0), &[], &[(637, 6500)])
        }
        "spot quote" => reading(SPOT, 0, quote(7010, (10_125, 350_000), (10_126, 1_200_001))),
        "spot trade" => reading(SPOT, (T + 200) * MS, trade(555, 10_126, 25_000, T + 199, true, true)),
        "spot aggTrade" => reading(SPOT, (T + 300) * MS, trade(99, 10_127, 100_000, T + 298, false, false)),
        "spot snapshot" => {
            depth(SPOT, 0, snapshot(7000), &[(10_125, 300_000), (10_120, 150_000)], &[(10_130, 200_000)])
        }
        "usdm depth" => {
            let ids = delta(9_000_000_000_100, 9_000_000_000_190, 9_000_000_000_042);
            depth(USDM, (T + 1000) * MS, ids, &[(1012, 500), (1013, 0)], &[(1014, 12_345)])
        }
        "usdm depth before 2026" => {
            let ids = delta(9_000_000_000_191, 9_000_000_000_200, 9_000_000_000_190);
            depth(USDM, (T + 1001) * MS, ids, &[], &[])
        }
        "usdm quote" => reading(USDM, (T + 1010) * MS, quote(9_000_000_000_201, (1012, 500), (1014, 12_345))),
        "usdm trade" => reading(USDM, (T + 1020) * MS, trade(8001, 1014, 6, T + 1019, false, true)),
        "usdm aggTrade" => reading(USDM, (T + 1030) * MS, trade(4321, 1014, 1250, T + 1025, true, false)),
        "usdm mark" => {
            let body = mark(10_131_250_000, 10_129_876_543, -123_450_000, 1_790_006_400_000);
            reading(USDM, (T + 2000) * MS, body)
        }
        "usdm mark of a delivery contract" => {
            reading(USDM_DATED, (T + 2001) * MS, mark(10_250_000_000, 10_129_876_543, 0, 0))
        }
        "usdm snapshot" => {
            let asks = [(1014, 1000), (1015, 2000)];
            depth(USDM, (T + 900) * MS, snapshot(9_000_000_000_042), &[(1012, 500)], &asks)
        }
        "coinm depth" => depth(COINM, (T + 3000) * MS, delta(310, 355, 300), &[(1012, 17)], &[(1013, 0), (1014, 4)]),
        "coinm quote" => reading(COINM, (T + 3010) * MS, quote(356, (1012, 17), (1014, 4))),
        "coinm trade" => reading(COINM, (T + 3020) * MS, trade(77, 1014, 2, T + 3015, true, true)),
        "coinm aggTrade" => reading(COINM_DATED, (T + 3030) * MS, trade(66, 10_225, 3, T + 3025, false, false)),
        "coinm mark" => {
            let body = mark(10_130_000_001, 10_125_000_000, 100_000_000, 1_790_006_400_000);
            reading(COINM, (T + 4000) * MS, body)
        }
        "coinm snapshot" => depth(COINM, (T + 2900) * MS, snapshot(300), &[(1012, 20)], &[(1014, 5)]),
        other => panic!("no expectation for {other:?}"),
    }
}

/// The instrument that a REST answer belongs to where it does not say so.
fn hint(venue: Venue) -> InstrumentId {
    match venue {
        Venue::BinanceSpot => SPOT,
        Venue::BinanceUsdm => USDM,
        // Coin-margined answers name their symbol: a wrong hint must not matter.
        _ => InstrumentId::NONE,
    }
}

#[test]
fn every_golden_frame_says_exactly_what_it_should() {
    let registry = registry();
    for golden in golden() {
        let mut decoder = Decoder::new(&registry, golden.venue);
        for form in golden.forms() {
            let read = differential(&mut decoder, form.as_bytes(), hint(golden.venue));
            assert_eq!(read, Ok(expected(golden.name)), "{}", golden.name);
        }
        // Venues own the key order of what the scanner reads, yet none of it is left to the slow reader today.
        assert_eq!(decoder.fallbacks(), 0, "{}", golden.name);
    }
}

#[test]
fn the_scanner_reads_what_it_is_made_for() {
    let registry = registry();
    for golden in golden() {
        let kind = golden.stream.split_once('@').map_or("", |(_, channel)| channel);
        let scanned = kind.starts_with("depth") || kind == "bookTicker" || kind == "trade" || kind == "aggTrade";
        let mut decoder = Decoder::new(&registry, golden.venue);
        for form in golden.forms() {
            let mut buffer = form.clone().into_bytes();
            buffer.resize(form.len() + tidegate_feed::PADDING, 0);
            let frame = tidegate_feed::FrameMut::new(&mut buffer, form.len()).expect("padding");
            assert_eq!(decoder.scan(&frame, true).is_some(), scanned, "{}", golden.name);
        }
    }
}

#[test]
fn keys_in_any_order_and_new_ones_change_nothing() {
    let registry = registry();
    for golden in golden() {
        let mut decoder = Decoder::new(&registry, golden.venue);
        let Ok(serde_json::Value::Object(members)) = serde_json::from_str(golden.bare) else { panic!("an object") };
        let mut texts: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        texts.push(r#""new":"2027""#.into());
        texts.push(r#""nw":null"#.into());
        texts.push(r#""z":true"#.into());
        // Rotations put every key first once; a symbol behind its numbers is for simd-json alone.
        for _ in 0..texts.len() {
            texts.rotate_left(1);
            let bare = format!("{{{}}}", texts.join(","));
            let wrapped = format!(r#"{{"stream":"{}","data":{bare}}}"#, golden.stream);
            for form in [bare, wrapped] {
                let read = differential(&mut decoder, form.as_bytes(), hint(golden.venue));
                assert_eq!(read, Ok(expected(golden.name)), "{}: {form}", golden.name);
            }
        }
    }
}

#[test]
fn white_space_and_escapes_are_left_to_the_slow_reader_and_mean_the_same() {
    let registry = registry();
    for golden in golden() {
        let mut decoder = Decoder::new(&registry, golden.venue);
        let spaced = golden.bare.replace("\":", "\" : ").replace(",\"", " ,\n\"");
        let escaped = golden.bare.replace("ABCUS", "\\u0041BCUS");
        for form in [spaced, escaped, format!(" {} \r\n", golden.bare)] {
            let read = differential(&mut decoder, form.as_bytes(), hint(golden.venue));
            assert_eq!(read, Ok(expected(golden.name)), "{}: {form}", golden.name);
        }
    }
}

#[test]
fn a_snapshot_without_a_name_needs_a_hint_and_one_with_a_name_ignores_it() {
    let registry = registry();
    for golden in golden().iter().filter(|golden| golden.name.ends_with("snapshot")) {
        let mut decoder = Decoder::new(&registry, golden.venue);
        let read = differential(&mut decoder, golden.bare.as_bytes(), InstrumentId::NONE);
        let named = golden.venue == Venue::BinanceCoinm;
        assert_eq!(read.err(), (!named).then_some(Reason::UnnamedSnapshot), "{}", golden.name);
        // A hint of another market is no hint.
        let foreign = if golden.venue == Venue::BinanceSpot { USDM } else { SPOT };
        let read = differential(&mut decoder, golden.bare.as_bytes(), foreign);
        assert_eq!(read.err(), (!named).then_some(Reason::UnnamedSnapshot), "{}", golden.name);
    }
}
