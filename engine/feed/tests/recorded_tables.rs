//! Recorded tables: figures that must hold whatever else changes.

mod common;

use std::path::PathBuf;

use common::{Replayed, files, replay, spec};
use tidegate_feed::replay::SourceSpec;
use tidegate_wire::RecordKind;
use tidegate_wire::event::BookQuality;

fn folder(name: &str) -> Option<PathBuf> {
    Some(common::data()?.join(name))
}

fn played(specs: &[SourceSpec]) -> Replayed {
    let replayed = replay(specs).expect("an instrument");
    for report in &replayed.reports {
        assert_eq!((report.bad_lines, &report.damaged), (0, &None), "{}", report.name);
    }
    assert_eq!(replayed.rig.counters().decode_errors(), 0, "{specs:?}");
    replayed
}

#[test]
fn an_hour_of_coinbase() {
    let Some(folder) = folder("gdax_orderbook_ml") else { return };
    let mut paths = files(&folder, "l2update_15min_");
    paths.extend(["snapshot_bids.csv.gz", "snapshot_asks.csv.gz"].map(|name| folder.join(name)));
    let Replayed { rig, .. } = played(&paths.iter().map(|path| spec(path)).collect::<Vec<_>>());
    let counters = rig.counters();
    assert_eq!((counters.level_changes, counters.gaps, counters.snapshots, counters.sessions), (193_848, 0, 1, 0));
    let book = rig.book();
    assert_eq!(book.quality, BookQuality::Good);
    assert!(book.bids.keys().next_back() < book.asks.keys().next(), "not crossed");
}

#[test]
fn five_hours_of_bitstamp() {
    let Some(folder) = folder("ob_analytics") else { return };
    let Replayed { rig, reports, .. } = played(&[spec(&folder.join("2015-05-01.log.xz"))]);
    let counters = rig.counters();
    assert_eq!((reports[0].frames, counters.trades, counters.gaps), (56_000, 575, 0));
    // Every recorded book but the first was compared; 97.4 % showed what the one before and the orders since add up to.
    assert_eq!((counters.books_checked, counters.snapshots + counters.snapshots_unneeded), (5_010, 5_011));
    assert!(counters.books_agreed >= 4_880, "{} agree", counters.books_agreed);
}

#[test]
fn every_kline_file_is_complete() {
    let Some(data) = common::data() else { return };
    let months = files(&data.join("isda_binance_1m"), "");
    let windows = files(&data.join("stress_windows"), "");
    assert!(months.len() >= 48 && windows.len() >= 2, "{} months, {} windows", months.len(), windows.len());
    for path in months.iter().chain(&windows) {
        let Replayed { rig, .. } = played(&[spec(path)]);
        let bars = &rig.sink.bars;
        let whole = bars.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns);
        assert!(whole && bars.iter().all(|bar| bar.end_ns - bar.start_ns == 60_000_000_000), "{}", path.display());
        let days = bars.len() / 1_440;
        let month = bars.len() % 1_440 == 0 && (28..=31).contains(&days);
        assert!(month || windows.contains(path), "{}: {} minutes", path.display(), bars.len());
    }
}

#[test]
fn two_and_a_half_years_of_bitmex() {
    let Some(folder) = folder("bitmex_xbtusd_1m") else { return };
    let Replayed { rig, .. } = played(&files(&folder, "XBTUSD").iter().map(|path| spec(path)).collect::<Vec<_>>());
    let bars = &rig.sink.bars;
    assert_eq!(bars.len(), 1_274_400);
    assert!(bars.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns), "no minute is missing");
}

#[test]
fn two_recordings_of_the_same_funding_agree() {
    let Some(data) = common::data() else { return };
    // Hour and rate: the list's stamps are some milliseconds late.
    let rates = |path: PathBuf| -> std::collections::BTreeMap<i64, i64> {
        let Replayed { rig, .. } = played(&[spec(&path)]);
        let marks = rig.sink.headers.iter().filter(|header| header.kind == RecordKind::Mark as u8);
        let hour = |ns: i64| ns / 3_600_000_000_000;
        marks.zip(&rig.sink.marks).map(|(header, mark)| (hour(header.event_ns), mark.funding)).collect()
    };
    let rows = rates(data.join("funding_supervik/BTC-USDT_binance_2020-01-01_2024-01-01_funding_history.csv.gz"));
    let list = rates(data.join("eth_dashboard/funding_rate_btc.json"));
    let both: Vec<_> = rows.iter().filter_map(|(hour, rate)| Some((hour, *rate, *list.get(hour)?))).collect();
    assert_eq!(list.len(), 3_316);
    let differing: Vec<_> = both.iter().filter(|(_, a, b)| a != b).collect();
    assert_eq!((both.len(), differing), (1_271, vec![]));
    let index = played(&[spec(&data.join("eth_dashboard/dvol_btc.json"))]);
    assert_eq!(index.rig.sink.marks.len(), 1_102);
    assert_eq!(index.rig.sink.marks.iter().map(|mark| mark.index).max(), Some(11_472_000_000));
}
