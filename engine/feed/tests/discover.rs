//! What `discover` finds in captures: market, instruments, grids, and whose an unnamed snapshot is.

mod common;

use std::path::PathBuf;

use common::replay;
use tidegate_feed::discover::{DiscoverError, Discovery, discover};
use tidegate_feed::replay::SourceSpec;
use tidegate_wire::event::BookQuality;
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Scale, Venue};

/// Captures in a directory of their own.
struct Captures(tempfile::TempDir);

impl Captures {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// Writes frames a nanosecond apart.
    fn write(&self, name: &str, frames: &[&str]) -> SourceSpec {
        let stamp = |(n, frame): (usize, &&str)| format!("{} {frame}\n", 1_790_000_000_000_000_000 + n as i64);
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, frames.iter().enumerate().map(stamp).collect::<String>()).expect("a file");
        SourceSpec { path, venue: None }
    }
}

fn found(specs: &[SourceSpec]) -> (Registry, Discovery) {
    let mut registry = Registry::new();
    let discovery = discover(specs, &mut registry).expect("captures");
    (registry, discovery)
}

/// Decimals and step of prices, then of quantities.
fn grid(instrument: &Instrument) -> (u8, i64, u8, i64) {
    let (tick, lot) = (instrument.tick.raw(), instrument.lot.raw());
    (instrument.price_scale.decimals(), tick, instrument.qty_scale.decimals(), lot)
}

fn quote(symbol: &str, bid: &str, qty: &str, ask: &str) -> String {
    format!(r#"{{"u":1,"s":"{symbol}","b":"{bid}","B":"{qty}","a":"{ask}","A":"{qty}"}}"#)
}

fn depth(symbol: &str, first: u64, last: u64, bid: &str) -> String {
    format!(r#"{{"e":"depthUpdate","E":1,"s":"{symbol}","U":{first},"u":{last},"b":[["{bid}","1.00000000"]],"a":[]}}"#)
}

#[test]
fn the_grid_is_the_coarsest_that_holds_every_number() {
    for (bid, ask, qty, expected) in [
        ("100.00000000", "100.50000000", "1.00000000", (1, 5, 0, 1)),
        ("100", "105", "3", (0, 5, 0, 3)),
        ("0.00000637", "0.00000638", "6500.00000000", (8, 1, 0, 65)),
        ("61837.63", "61837.64", "0.00001", (2, 1, 5, 1)),
        ("1000", "2000", "10", (0, 1, 0, 1)),
        ("0.25", "0.75", "0.5", (2, 25, 1, 5)),
    ] {
        let captures = Captures::new();
        let (registry, _) = found(&[captures.write("a", &[&quote("ABCUSDT", bid, qty, ask)])]);
        let instrument = registry.get(InstrumentId(0)).expect("one");
        let (price_scale, tick, qty_scale, lot) = grid(instrument);
        assert_eq!((price_scale, qty_scale), (expected.0, expected.2), "{bid} {ask} {qty}");
        // The step divides all that was seen; a whole number keeps its factors of ten in the step or loses them, so
        // what is asked is exactness, and the expected tick where it is below ten.
        let parse = |text: &str, scale| Price::parse(text.as_bytes(), scale).expect("on the grid").raw();
        assert_eq!(parse(bid, instrument.price_scale) % tick, 0);
        assert_eq!(parse(ask, instrument.price_scale) % tick, 0);
        assert_eq!(parse(qty, instrument.qty_scale) % lot, 0);
        if tick < 100 && expected.1 != 1 {
            assert_eq!(tick, expected.1, "{bid} {ask}");
        }
    }
}

#[test]
fn what_is_no_price_on_the_book_does_not_make_the_grid_finer() {
    let captures = Captures::new();
    let frames = [
        r#"{"e":"bookTicker","u":1,"E":1,"T":1,"s":"ABCUSDT","b":"100.5","B":"2","a":"101.0","A":"4"}"#,
        r#"{"e":"markPriceUpdate","E":1,"s":"ABCUSDT","p":"100.51234567","i":"100.5","r":"0.0001","T":1}"#,
        r#"{"e":"24hrTicker","E":1,"s":"ABCUSDT","p":"-0.001","c":"100.5","Q":"2","q":"2036102085.69746400"}"#,
        r#"{"e":"trade","E":1,"T":1,"s":"ABCUSDT","t":1,"p":"100.123","q":"0.777","X":"INSURANCE_FUND","m":true}"#,
        r#"{"e":"kline","E":1,"s":"ABCUSDT","k":{"o":"0.00000001"}}"#,
    ];
    let (registry, _) = found(&[captures.write("a", &frames)]);
    assert_eq!(registry.get(InstrumentId(0)).map(grid), Some((1, 5, 0, 2)));
}

#[test]
fn the_market_is_told_by_the_shape_of_the_frames() {
    let spot = quote("ABCUSDT", "1", "1", "2");
    let usdm = r#"{"e":"depthUpdate","E":1,"s":"ABCUSDT","U":1,"u":2,"pu":0,"b":[["1","1"]],"a":[]}"#;
    let dated = usdm.replace("ABCUSDT", "ABCUSDT_270625");
    let coinm = usdm.replace("ABCUSDT", "BTCUSD_PERP");
    let mark = r#"{"e":"markPriceUpdate","E":1,"s":"ABCUSD_PERP","p":"1","r":"","T":0}"#;
    for (frame, venue) in [
        (&*spot, Venue::BinanceSpot),
        (&depth("ABCUSDT", 1, 2, "1"), Venue::BinanceSpot),
        (usdm, Venue::BinanceUsdm),
        (&dated, Venue::BinanceUsdm),
        (&coinm, Venue::BinanceCoinm),
        (mark, Venue::BinanceCoinm),
    ] {
        let captures = Captures::new();
        let (registry, discovery) = found(&[captures.write("a", &[frame])]);
        assert_eq!(discovery.sources[0].venue, venue, "{frame}");
        let contract = registry.get(InstrumentId(0)).expect("one").contract;
        let size = |quote_per_contract| Contract::Inverse { quote_per_contract };
        let expected = match venue {
            Venue::BinanceCoinm => size(if frame.contains("BTC") { 100.0 } else { 10.0 }),
            _ => Contract::Linear,
        };
        assert_eq!(contract, expected, "{frame}");
    }
}

#[test]
fn without_a_telling_frame_the_user_must_say_which_market_it_is() {
    let captures = Captures::new();
    let trade = r#"{"e":"aggTrade","E":1,"s":"ABCUSDT","a":1,"p":"1.5","q":"1","f":1,"l":1,"T":1,"m":true}"#;
    let spec = captures.write("trades", &[trade]);
    let error = discover(std::slice::from_ref(&spec), &mut Registry::new()).expect_err("spot or futures");
    assert!(matches!(error, DiscoverError::NoVenue(_)));
    assert!(error.to_string().contains("trades") && error.to_string().contains("binance-usdm"), "{error}");
    let told = SourceSpec { venue: Some(Venue::BinanceUsdm), ..spec };
    let (registry, discovery) = found(&[told]);
    assert_eq!(discovery.sources[0].venue, Venue::BinanceUsdm);
    assert!(registry.find(Venue::BinanceUsdm, "ABCUSDT").is_some());
    // What the user says wins over what the frames look like.
    let spot = captures.write("spot", &[&quote("ABCUSDT", "1", "1", "2")]);
    let (_, discovery) = found(&[SourceSpec { venue: Some(Venue::BinanceCoinm), ..spot }]);
    assert_eq!(discovery.sources[0].venue, Venue::BinanceCoinm);
}

#[test]
fn two_files_of_one_instrument_share_the_finer_grid_and_the_id() {
    let captures = Captures::new();
    let coarse = captures.write("day1", &[&quote("ABCUSDT", "100.5", "1", "101.0")]);
    let fine = captures.write("day2", &[&quote("ABCUSDT", "100.25", "0.001", "101.00")]);
    for specs in [[coarse.clone(), fine.clone()], [fine, coarse]] {
        let (registry, discovery) = found(&specs);
        assert_eq!((registry.len(), registry.get(InstrumentId(0)).map(grid)), (1, Some((2, 25, 3, 1))));
        assert!(discovery.sources.iter().all(|source| source.only == InstrumentId(0)));
        let price = registry.price(InstrumentId(0)).expect("a price");
        assert!([10_050, 10_025].contains(&price.raw()), "{price:?}");
    }
}

#[test]
fn an_instrument_that_is_registered_keeps_its_definition() {
    let captures = Captures::new();
    let spec = captures.write("a", &[&quote("ABCUSDT", "100.5", "1", "101.0")]);
    let ours = Instrument { tick: Price::from_raw(100), ..Instrument::linear(Venue::BinanceSpot, "ABCUSDT", 4, 2) };
    let mut registry = Registry::new();
    registry.add(ours.clone()).expect("a good instrument");
    discover(&[spec], &mut registry).expect("a capture");
    assert_eq!((registry.len(), registry.get(InstrumentId(0))), (1, Some(&ours)));
    assert_eq!(registry.price(InstrumentId(0)), Some(Price::from_raw(1_005_000)));
}

#[test]
fn an_unnamed_snapshot_belongs_to_the_only_instrument_and_shapes_its_grid() {
    let captures = Captures::new();
    let snapshot = r#"{"lastUpdateId":1,"bids":[["100.25","1.5"]],"asks":[["100.75","1"]]}"#;
    let spec = captures.write("a", &[snapshot, &depth("ABCUSDT", 2, 3, "100.5")]);
    let (registry, _) = found(std::slice::from_ref(&spec));
    assert_eq!(registry.get(InstrumentId(0)).map(grid), Some((2, 25, 1, 5)));
    assert_eq!(registry.price(InstrumentId(0)), Some(Price::from_raw(10_025)));
    let replayed = replay(&[spec]).expect("an instrument");
    assert_eq!(replayed.rig.counters().decode_errors(), 0);
    assert_eq!(replayed.rig.book().quality, BookQuality::Good);
}

#[test]
fn an_unnamed_snapshot_among_several_instruments_is_nobodys() {
    let captures = Captures::new();
    let snapshot = r#"{"lastUpdateId":1,"bids":[["0.00000001","1"]],"asks":[]}"#;
    let (a, b) = (depth("ABCUSDT", 2, 3, "100.5"), depth("XYZUSDT", 2, 3, "7"));
    let spec = captures.write("a", &[snapshot, &a, &b]);
    let (registry, discovery) = found(std::slice::from_ref(&spec));
    assert_eq!(registry.get(InstrumentId(0)).map(grid), Some((1, 1005, 0, 1)), "the stranger's prices do not count");
    assert_eq!((registry.len(), discovery.sources[0].only), (2, InstrumentId::NONE));
    let replayed = replay(&[spec]).expect("instruments");
    assert_eq!(replayed.rig.counters().skipped[tidegate_feed::Reason::UnnamedSnapshot as usize], 1);
    assert_eq!((replayed.rig.counters().gaps, replayed.rig.counters().held_back), (0, 2));
}

#[test]
fn a_snapshot_asked_for_by_name_is_its_symbols_whatever_file_it_is_in() {
    let captures = Captures::new();
    let url = "https://api.binance.com/api/v3/depth?symbol=";
    let text = format!(
        "{url}ABCUSDT -> 1790000000.1: {{\"lastUpdateId\":2,\"bids\":[[\"100.5\",\"1\"]],\"asks\":[]}}\n\
         {url}XYZUSDT -> 1790000000.2: {{\"lastUpdateId\":2,\"bids\":[[\"7.0\",\"1\"]],\"asks\":[]}}\n"
    );
    let path = captures.0.path().join("http");
    std::fs::write(&path, text).expect("a file");
    let stream = captures.write("ws", &[&depth("ABCUSDT", 2, 3, "100.5"), &depth("XYZUSDT", 2, 3, "7")]);
    let replayed = replay(&[stream, SourceSpec { path, venue: None }]).expect("instruments");
    assert_eq!(replayed.rig.counters().decode_errors(), 0);
    assert!(replayed.rig.sink.books.iter().all(|book| book.quality == BookQuality::Good));
}

#[test]
fn a_damaged_file_gives_what_can_be_read_and_a_strange_symbol_is_an_error() {
    let captures = Captures::new();
    let whole = captures.write("whole", &[&*quote("ABCUSDT", "100.5", "1", "101.0"); 4000]);
    let mut encoder =
        flate2::read::GzEncoder::new(std::fs::File::open(&whole.path).expect("a file"), flate2::Compression::fast());
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut encoder, &mut packed).expect("memory");
    let path = captures.0.path().join("cut.gz");
    std::fs::write(&path, &packed[..packed.len() - 20]).expect("a file");
    assert_eq!(found(&[SourceSpec { path, venue: None }]).0.len(), 1);
    let strange = captures.write("strange", &[&quote("abc-usdt", "100.5", "1", "101.0")]);
    let error = discover(&[strange], &mut Registry::new()).expect_err("no symbol");
    assert!(matches!(error, DiscoverError::Instrument { .. }), "{error}");
    let missing = SourceSpec { path: captures.0.path().join("missing"), venue: None };
    assert!(matches!(discover(&[missing], &mut Registry::new()), Err(DiscoverError::Replay(_))));
}

#[test]
fn a_configured_tick_may_be_finer_than_what_the_venue_prints() {
    let captures = Captures::new();
    let (small, large) =
        (quote("ABCUSDT", "0.00012345", "1", "0.00012346"), quote("ABCUSDT", "61837.63", "1", "61838"));
    let (small, large) = (captures.write("small", &[&small]), captures.write("large", &[&large]));
    for (spec, decimals, expected) in [
        (&small, 4, Some(1)),
        (&small, 8, Some(12_345)),
        (&small, 9, Some(123_450)),
        (&small, 18, Some(123_450_000_000_000)),
        (&large, 9, Some(61_837_630_000_000)),
        // Beyond the largest mantissa, and beyond the integer: no price rather than a wrong one.
        (&large, 12, None),
        (&large, 18, None),
    ] {
        let mut registry = Registry::new();
        let (price_scale, qty_scale) = (Scale::saturating(decimals), Scale::saturating(0));
        let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Contract::Linear);
        let (venue, symbol) = (Venue::BinanceSpot, "ABCUSDT".into());
        let instrument = Instrument { venue, symbol, price_scale, qty_scale, tick, lot, contract };
        let id = registry.add(instrument).expect("a tick of one unit");
        discover(std::slice::from_ref(spec), &mut registry).expect("a capture");
        assert_eq!(registry.price(id), expected.map(Price::from_raw), "{decimals} decimals");
    }
}

const BYBIT_BOOK: &str = r#"{"topic":"orderbook.50.ABCUSDT","type":"snapshot","ts":1,"data":{"s":"ABCUSDT","b":[["PRICE","0.25"]],"a":[],"u":1}}"#;

#[test]
fn a_recording_of_several_connections_is_of_the_market_that_each_one_names() {
    let captures = Captures::new();
    let path = captures.0.path().join("BYBIT.jsonl");
    let connect = |name: &str, market: &str| {
        format!(r#"{{"t":"connect","conn":"{name}","ts":1,"addr":"wss://stream.bybit.com/v5/public/{market}"}}"#)
    };
    let frame = |name: &str, price: &str| {
        let text = serde_json::Value::from(BYBIT_BOOK.replace("PRICE", price));
        format!(r#"{{"t":"recv","conn":"{name}","ts":1.5,"data":{text}}}"#)
    };
    let lines = [
        r#"{"t":"http","conn":"h","ts":1,"url":"https://api.bybit.com/v5/x","data":"{}"}"#.into(),
        connect("a", "linear"),
        connect("b", "spot"),
        frame("a", "10.5"),
        frame("b", "10.125"),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).expect("a file");
    let replayed = replay(&[SourceSpec { path, venue: None }]).expect("instruments");
    let found: Vec<_> =
        replayed.registry.iter().map(|(_, i)| (i.venue, i.tick.raw(), i.price_scale.decimals())).collect();
    assert_eq!(found, [(Venue::Bybit, 105, 1), (Venue::BybitSpot, 10_125, 3)]);
    assert!(replayed.rig.sink.books.iter().all(|book| book.quality == BookQuality::Good));
    assert_eq!((replayed.rig.counters().frames, replayed.rig.counters().decode_errors()), (2, 0));
}

#[test]
fn a_stamped_capture_is_of_the_venue_that_the_user_names() {
    let captures = Captures::new();
    let okx = r#"{"arg":{"channel":"books","instId":"ABC-USD-SWAP"},"action":"snapshot","data":[{"asks":[],"bids":[["0.000000454","3","0","1"]],"ts":"1"}]}"#;
    let spec = captures.write("frames", &[okx]);
    let mut registry = Registry::new();
    assert!(matches!(discover(std::slice::from_ref(&spec), &mut registry), Err(DiscoverError::NoVenue(_))));
    let replayed = replay(&[SourceSpec { venue: Some(Venue::Okx), ..spec }]).expect("instruments");
    let instrument = replayed.registry.get(InstrumentId(0)).expect("one");
    // Finer than the eight decimals that most venues print.
    assert_eq!((instrument.venue, instrument.tick.raw(), instrument.price_scale.decimals()), (Venue::Okx, 454, 9));
    assert_eq!(instrument.contract, Contract::Inverse { quote_per_contract: 10.0 });
    assert_eq!(replayed.rig.book().bids.get(&454), Some(&3));
}
