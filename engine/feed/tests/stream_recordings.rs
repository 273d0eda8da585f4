//! Recordings of OKX, Bybit, Bitget and Deribit in both generations of cryptofeed's format: every frame is read, every
//! chain is whole, every checksum is the book's.

mod common;

use std::path::{Path, PathBuf};

use common::{Replayed, files, replay, spec};
use tidegate_feed::{FeedCounters, Reason};
use tidegate_wire::Venue;
use tidegate_wire::event::BookQuality;

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Recordings of an exchange that hold frames of the protocol in use today: the files that name no stream are lists of
/// instruments, and those of older protocols are named in `older`.
fn recordings(exchange: &str, older: &[&str]) -> Option<Vec<PathBuf>> {
    let folder = common::data()?.join("cryptofeed");
    let mut files = files(&folder, exchange);
    files.retain(|path| {
        let name = name(path);
        let list = name.split('.').nth(1) == Some("0") && !name.contains('-');
        let other = !name[exchange.len()..].starts_with(['.', '-']);
        !list && !other && !older.iter().any(|old| name.contains(old))
    });
    Some(files)
}

/// What must hold of every replay: nothing unreadable, nothing off its grid, no update missed, every book good and none
/// crossed.
fn clean(path: &Path) -> (Replayed, FeedCounters) {
    let what = name(path);
    let replayed = replay(&[spec(path)]).expect("instruments");
    let counters = replayed.rig.counters();
    let harmful: Vec<_> = counters.reasons().filter(|(reason, _)| !reason.is_harmless()).collect();
    assert_eq!((harmful, counters.decode_errors()), (vec![], 0), "{what}");
    assert_eq!((counters.gaps, counters.sessions, counters.checksum_failures), (0, 0, 0), "{what}");
    assert_eq!((counters.dropped, counters.outdated, counters.trade_id_gaps), (0, 0, 0), "{what}");
    assert_eq!(counters.scanner_fallbacks, 0, "{what}");
    for report in &replayed.reports {
        assert_eq!((report.bad_lines, &report.damaged), (0, &None), "{what}");
    }
    for ((_, instrument), book) in replayed.registry.iter().zip(&replayed.rig.sink.books) {
        assert_eq!(book.quality, BookQuality::Good, "{what}: {}", instrument.name());
        let (bid, ask) = (book.bids.last_key_value(), book.asks.first_key_value());
        assert!(bid.zip(ask).is_none_or(|(bid, ask)| bid.0 < ask.0), "{what}: {} is crossed", instrument.name());
    }
    assert_eq!(replayed.rig.feed.waiting().count(), 0, "{what}");
    (replayed, counters)
}

/// How many frames were skipped for a reason.
fn skipped(counters: &FeedCounters, reason: Reason) -> u64 {
    counters.skipped[reason as usize]
}

#[test]
fn okx_checksums_are_those_of_the_books() {
    // Connections 56 to 58 are of version 3: compressed, and printed as Python prints bytes.
    let Some(files) = recordings("OK", &["OKCOIN", "ws.56.", "ws.57.", "ws.58."]) else { return };
    let files: Vec<_> = files.into_iter().chain(recordings("OKX", &[]).expect("OKX")).collect();
    let files: Vec<_> =
        files.into_iter().chain(recordings("OKEX", &["ws.56.", "ws.57.", "ws.58."]).expect("OKEX")).collect();
    let mut verified = 0;
    for path in &files {
        let (_, counters) = clean(path);
        println!("{}: {counters:?}", name(path));
        assert_eq!(counters.checksums_verified, counters.deltas + counters.snapshots, "{}", name(path));
        verified += counters.checksums_verified;
    }
    println!("{} files, {verified} checksums", files.len());
}

#[test]
fn bitget_checksums_are_those_of_the_books() {
    let Some(files) = recordings("BITGET", &[]) else { return };
    let mut verified = 0;
    for path in &files {
        let (_, counters) = clean(path);
        println!("{}: {counters:?}", name(path));
        verified += counters.checksums_verified;
    }
    println!("{} files, {verified} checksums", files.len());
}

#[test]
fn bybit_chains_are_whole() {
    let Some(files) = recordings("BYBIT", &["ws.25.", "ws.26.", "ws.1.", "ws.2."]) else { return };
    for path in &files {
        let (replayed, counters) = clean(path);
        println!("{}: {counters:?}", name(path));
        for (_, i) in replayed.registry.iter() {
            println!("{i:?}");
        }
    }
}

#[test]
fn deribit_chains_are_whole() {
    let Some(files) = recordings("DERIBIT", &[]) else { return };
    for path in &files {
        let (replayed, counters) = clean(path);
        println!("{}: {counters:?}", name(path));
        for (_, i) in replayed.registry.iter() {
            println!("{i:?}");
        }
    }
    let _ = (skipped, Venue::Okx);
}
