//! Recorded Binance days of 2023 and 2024: every frame of every file through all readers and through the feed.

mod common;

use std::path::{Path, PathBuf};

use common::differential::differential;
use common::{each_frame, replay, spec};
use tidegate_feed::discover::discover;
use tidegate_feed::venues::Body;
use tidegate_feed::venues::Decode;
use tidegate_feed::venues::binance::Decoder;
use tidegate_wire::event::BookQuality;
use tidegate_wire::{InstrumentId, Registry, Venue};

/// Files of the three markets; the eleventh is another venue's.
fn captures() -> Option<Vec<PathBuf>> {
    let folder = common::data()?.join("hftbacktest");
    let ours = |path: &PathBuf| !path.to_string_lossy().contains("hyperliquid");
    let files: Vec<_> = common::files(&folder, "").into_iter().filter(ours).collect();
    assert_eq!(files.len(), 10, "recorded days");
    Some(files)
}

/// Market and symbol that a file's name says.
fn named(path: &Path) -> (Venue, String) {
    let name = path.file_name().expect("a name").to_string_lossy().to_uppercase();
    let venue = match name.split('_').next() {
        Some("SPOT") => Venue::BinanceSpot,
        Some("USDM") => Venue::BinanceUsdm,
        _ => Venue::BinanceCoinm,
    };
    let symbol = name.split('_').nth(1).expect("a symbol").to_owned();
    (venue, if venue == Venue::BinanceCoinm { symbol + "_PERP" } else { symbol })
}

#[test]
fn every_frame_reads_the_same_in_every_way() {
    let Some(files) = captures() else { return };
    for path in files {
        let mut registry = Registry::new();
        let found = discover(&[spec(&path)], &mut registry).expect("a capture");
        let mut decoder = Decoder::new(&registry, found.sources[0].venue);
        let (mut frames, mut scanned) = (0u64, 0u64);
        let bad = each_frame(&path, |captured| {
            let read = differential(&mut decoder, &captured.bytes, InstrumentId(0));
            let read = read.unwrap_or_else(|reason| panic!("{}:{}: {reason:?}", path.display(), captured.line));
            frames += 1;
            scanned += u64::from(!matches!(read.message.body, Body::Snapshot(_) | Body::Mark(_)));
        });
        // The oracle decodes as well as it scans and parses: none of the scanner's kinds was left to simd-json.
        assert_eq!((bad, decoder.fallbacks()), (0, 0), "{}", path.display());
        assert!(frames > 10_000 && scanned + 200 > frames, "{}: {scanned} of {frames}", path.display());
    }
}

#[test]
fn every_day_replays_without_an_error_or_a_gap() {
    let Some(files) = captures() else { return };
    for path in files {
        let replayed = replay(&[spec(&path)]).expect("an instrument");
        let (what, counters) = (path.display(), replayed.rig.counters());
        let (venue, symbol) = named(&path);
        let names: Vec<_> = replayed.registry.iter().map(|(_, i)| (i.venue, i.symbol.clone())).collect();
        assert_eq!(names, [(venue, symbol)], "{what}");
        assert_eq!(counters.reasons().collect::<Vec<_>>(), [], "{what}");
        assert_eq!((counters.gaps, counters.sessions, counters.trade_id_gaps), (0, 0, 0), "{what}");
        assert_eq!(counters.scanner_fallbacks, 0, "{what}");
        assert_eq!((replayed.reports[0].bad_lines, &replayed.reports[0].damaged), (0, &None), "{what}");
        assert_eq!(replayed.reports[0].frames, counters.frames, "{what}");
        // The spot capture of 2023 was recorded without a snapshot: its frames wait for one to the end.
        let quality = if what.to_string().contains("spot_btcusdt_20230405") {
            assert_eq!((counters.snapshots, counters.deltas), (0, 0), "{what}");
            // More wait than there is room for: the oldest 2,048 were thrown away once.
            assert_eq!((counters.held_back, counters.held_back_overflow), (3929, 2048), "{what}");
            BookQuality::Building
        } else {
            assert_eq!((counters.snapshots, counters.held_back_overflow), (1, 0), "{what}");
            BookQuality::Good
        };
        assert_eq!(replayed.rig.book().quality, quality, "{what}");
    }
}

#[test]
fn the_grid_found_is_the_venues_own() {
    let Some(files) = captures() else { return };
    for path in files {
        let mut registry = Registry::new();
        discover(&[spec(&path)], &mut registry).expect("a capture");
        let instrument = registry.get(InstrumentId(0)).expect("one");
        let grid = (instrument.price_scale.decimals(), instrument.tick.raw());
        // Tick sizes that Binance published for these contracts. Lots are not compared: the recorded spot quantities of
        // ETHUSDT happen to be multiples of 0.00002, which is no lot of the venue but the grid of the data.
        let expected = match &*instrument.name() {
            "BTCUSDT.binance-spot" => (2, 1),
            "ETHUSDT.binance-spot" => (2, 1),
            "BTCUSDT.binance-usdm" => (1, 1),
            "ETHUSDT.binance-usdm" => (2, 1),
            "BTCUSD_PERP.binance-coinm" => (1, 1),
            "ETHUSD_PERP.binance-coinm" => (2, 1),
            other => panic!("{other}"),
        };
        assert_eq!(grid, expected, "{}", path.display());
        assert!(instrument.lot.raw() > 0);
        let price = registry.price(InstrumentId(0)).expect("a price").to_f64(instrument.price_scale);
        assert!((1_000.0..100_000.0).contains(&price), "{}: about {price}", path.display());
    }
}
