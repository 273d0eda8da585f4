//! The venue's own frames: every recorded or documented line is an event or refused for the reason given here.

mod common;

use std::collections::BTreeMap;

use common::differential::differential;
use common::{Rig, meta};
use tidegate_feed::Reason;
use tidegate_feed::discover::discover;
use tidegate_feed::replay::SourceSpec;
use tidegate_feed::venues::Decode;
use tidegate_feed::venues::binance::Decoder;
use tidegate_feed::venues::survey::{Survey, Surveyor};
use tidegate_feed::{FrameMut, PADDING};
use tidegate_wire::event::BookQuality;
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Scale, Venue};

/// The lines of the venue's files, by file; bootstraps are tested on their own.
fn fixtures(market: &str) -> Option<Vec<(String, Vec<String>)>> {
    let folder = common::venues()?.join("frames");
    let files = common::files(&folder, market).into_iter().filter(|path| !path.to_string_lossy().contains("bootstrap"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        (name, text.lines().map(str::to_owned).collect())
    };
    Some(files.map(read).collect())
}

/// All instruments of some frames, on the grid the frames themselves have.
fn survey(lines: &[String], venue: Venue) -> Registry {
    let (mut surveyor, mut survey) = (Surveyor::default(), Survey::default());
    for line in lines {
        let mut bytes = line.clone().into_bytes();
        bytes.resize(line.len() + PADDING, 0);
        let mut frame = FrameMut::new(&mut bytes, line.len()).expect("padding");
        surveyor.see(&mut frame, None, &mut survey);
    }
    let mut registry = Registry::new();
    for instrument in survey.instruments(venue) {
        registry.add(instrument).expect("a good instrument");
    }
    if registry.is_empty() {
        // Frames without a symbol: an instrument with every decimal Binance prints takes them.
        let (scale, one) = (Scale::saturating(8), 1);
        let (tick, lot) = (Price::from_raw(one), Qty::from_raw(one));
        let (symbol, contract) = ("UNNAMED".into(), Contract::Linear);
        let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
        registry.add(instrument).expect("a good instrument");
    }
    registry
}

/// Lines that are no market data, with the reason each must be refused for and why that is right.
fn refused(name: &str) -> &'static [Reason] {
    use Reason::{Control, UnknownMessage, UnusedStream};
    match name {
        // Request and answer, both with an id; errors carry a code.
        "binance_spot_control" | "binance_spot_errors" | "binance_spot_serverShutdown" => &[Control],
        // Streams the engine has no use for.
        "binance_spot_24hrTicker" | "binance_usdm_24hrTicker" | "binance_spot_avgPrice" => &[UnusedStream],
        "binance_spot_blockTrade" | "binance_spot_referencePrice" | "binance_spot_kline" => &[UnusedStream],
        "binance_usdm_forceOrder" | "binance_usdm_kline" => &[UnusedStream],
        "binance_spot_combined_capture" | "binance_usdm_combined_capture" => &[UnusedStream],
        // Orders and accounts of a user: another connection, which the feed does not open.
        "binance_spot_user_data" | "binance_usdm_user_data" => &[UnknownMessage],
        // Answers to requests other than depth: the feed asks none of them.
        "binance_spot_rest" | "binance_usdm_rest" => &[UnknownMessage],
        _ => &[],
    }
}

/// Decodes every line of a market; counts events and refusals by file.
fn decode_all(market: &str, venue: Venue) -> Option<BTreeMap<String, (usize, usize)>> {
    let mut counts = BTreeMap::new();
    for (name, lines) in fixtures(market)? {
        let registry = survey(&lines, venue);
        let only = registry.iter().find(|(_, i)| i.venue == venue).map_or(InstrumentId::NONE, |(id, _)| id);
        let mut decoder = Decoder::new(&registry, venue);
        let (events, others) = counts.entry(name.clone()).or_insert((0, 0));
        for line in lines {
            match differential(&mut decoder, line.as_bytes(), only) {
                Ok(_) => *events += 1,
                Err(reason) if refused(&name).contains(&reason) => *others += 1,
                Err(reason) => panic!("{name}: {reason:?}: {line}"),
            }
        }
        assert_eq!(decoder.fallbacks(), 0, "{name}");
    }
    Some(counts)
}

#[test]
fn every_spot_fixture_is_read_or_refused_by_name() {
    let Some(counts) = decode_all("binance_spot_", Venue::BinanceSpot) else { return };
    for name in ["depth", "bookTicker", "trade", "aggTrade", "partial_depth"] {
        assert_eq!(counts[&format!("binance_spot_{name}")], (1, 0), "{name}");
    }
    // Ten market frames and two klines; one depth answer among five others.
    assert_eq!(counts["binance_spot_combined_capture"], (10, 2));
    assert_eq!(counts["binance_spot_rest"], (1, 5));
}

#[test]
fn every_usdm_fixture_is_read_or_refused_by_name() {
    let Some(counts) = decode_all("binance_usdm_", Venue::BinanceUsdm) else { return };
    for name in ["depth", "bookTicker", "aggTrade", "markPrice"] {
        assert_eq!(counts[&format!("binance_usdm_{name}")], (1, 0), "{name}");
    }
    assert_eq!(counts["binance_usdm_combined_capture"], (12, 4));
    assert_eq!(counts["binance_usdm_rest"], (1, 5));
}

/// A golden bootstrap: the REST answer first, then the stream, a line each. Gives the symbol and the frames.
fn bootstrap(path: &std::path::Path) -> (String, Vec<String>) {
    let name = path.file_stem().expect("a name").to_string_lossy();
    let symbol = name.rsplit('_').next().expect("a symbol").to_owned();
    let text = std::fs::read_to_string(path).expect("text");
    (symbol, text.lines().map(str::to_owned).collect())
}

/// Writes frames as a capture, so that `discover` finds instrument and grid.
fn discovered(symbol: &str, lines: &[String]) -> Registry {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("bootstrap");
    let stamped = |(index, line): (usize, &String)| format!("{} {line}\n", 1_700_000_000_000_000_000 + index as i64);
    std::fs::write(&path, lines.iter().enumerate().map(stamped).collect::<String>()).expect("a file");
    let mut registry = Registry::new();
    let found = discover(&[SourceSpec { path, venue: None }], &mut registry).expect("a capture");
    assert_eq!(found.sources[0].instruments.keys().collect::<Vec<_>>(), [symbol]);
    registry
}

fn bootstraps(market: &str, venue: Venue) {
    let Some(folder) = common::venues() else { return };
    let files = common::files(&folder.join("frames"), &format!("{market}_bootstrap_"));
    assert_eq!(files.len(), 2, "recorded bootstraps of {market}");
    for path in files {
        let (symbol, lines) = bootstrap(&path);
        let registry = discovered(&symbol, &lines);
        // The snapshot may come at any point of the stream up to the first frame it does not know: in front (as
        // recorded), or behind frames that are then held back.
        for held in 0..4 {
            let mut rig = Rig::new(&registry);
            let order = lines[1..=held].iter().chain([&lines[0]]).chain(&lines[held + 1..]);
            order.for_each(|line| rig.frame(&meta(venue, 0, InstrumentId(0)), line.as_bytes()));
            let counters = rig.counters();
            assert_eq!((counters.gaps, counters.decode_errors(), counters.snapshots), (0, 0, 1), "{symbol} {held}");
            assert_eq!(counters.deltas + counters.outdated, lines.len() as u64 - 1, "{symbol} {held}");
            assert_eq!(rig.book().quality, BookQuality::Good, "{symbol} {held}");
            let (bid, ask) = (rig.book().bids.last_key_value(), rig.book().asks.first_key_value());
            assert!(bid.zip(ask).is_some_and(|(bid, ask)| bid.0 < ask.0), "{symbol}: crossed");
        }
    }
}

#[test]
fn recorded_spot_bootstraps_become_good_without_a_gap() {
    bootstraps("binance_spot", Venue::BinanceSpot);
}

#[test]
fn recorded_usdm_bootstraps_become_good_without_a_gap() {
    bootstraps("binance_usdm", Venue::BinanceUsdm);
}
