//! Recordings of OKX, Bybit, Bitget and Deribit in both generations of cryptofeed's format: every frame is read, every
//! chain is whole, every checksum is the book's.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::any::Any;
use common::differential::differential;
use common::{Replayed, Rig, each_frame, files, meta, replay, spec};
use tidegate_feed::FeedCounters;
use tidegate_feed::discover::discover;
use tidegate_feed::venues::Decode;
use tidegate_wire::event::BookQuality;
use tidegate_wire::{InstrumentId, Registry, Venue};

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

/// Lets every reader read every frame of a recording, on the grid it has: all must agree, and no scanner may decline
/// one.
fn readers_agree(path: &Path, registry: &Registry) -> usize {
    let mut decoders: BTreeMap<Venue, Any> = BTreeMap::new();
    let mut read = 0;
    // A recording of one connection names it once: all its instruments are of that market, or Bitget's.
    let said = registry.iter().next().map(|(_, instrument)| instrument.venue).expect("an instrument");
    each_frame(path, |captured| {
        let venue = captured.venue.unwrap_or(said);
        let decoder = decoders.entry(venue).or_insert_with(|| Any::new(registry, venue));
        match differential(decoder, &captured.bytes, InstrumentId::NONE) {
            Ok(_) => read += 1,
            Err(reason) => assert!(reason.is_harmless(), "{}:{}: {reason:?}", name(path), captured.line),
        }
    });
    assert_eq!(decoders.values().map(Decode::fallbacks).sum::<u64>(), 0, "{}", name(path));
    read
}

/// What a set of recordings held together.
#[derive(Debug, Default, PartialEq)]
struct Held {
    files: usize,
    /// Frames that said something.
    read: usize,
    snapshots: u64,
    deltas: u64,
    checksums: u64,
    trades: u64,
    quotes: u64,
    marks: u64,
    options: u64,
}

fn replay_all(files: &[PathBuf]) -> Held {
    let mut held = Held { files: files.len(), ..Held::default() };
    for path in files {
        let (replayed, counters) = clean(path);
        held.read += readers_agree(path, &replayed.registry);
        held.snapshots += counters.snapshots;
        held.deltas += counters.deltas;
        held.checksums += counters.checksums_verified;
        held.trades += counters.trades;
        held.quotes += counters.quotes;
        held.marks += counters.marks;
        held.options += counters.options;
        assert_eq!(counters.snapshots as usize, replayed.registry.len(), "{}: a snapshot each", name(path));
        assert_eq!(counters.waiting_changes, counters.snapshots, "{}: good once and for all", name(path));
    }
    held
}

#[test]
fn okx_books_have_the_checksums_of_every_frame() {
    // Connections 56 to 58 are of version 3: compressed, and printed as Python prints bytes.
    let older = ["ws.56.", "ws.57.", "ws.58."];
    let Some(mut files) = recordings("OKX", &older) else { return };
    files.extend(recordings("OKEX", &older).expect("it was there"));
    let held = replay_all(&files);
    assert_eq!(held.checksums, held.snapshots + held.deltas, "each frame carries one");
    assert_eq!(
        held,
        Held {
            files: 4,
            read: 3874,
            snapshots: 26,
            deltas: 3480,
            checksums: 3506,
            trades: 220,
            quotes: 148,
            ..Held::default()
        }
    );
}

#[test]
fn bitget_books_have_the_checksums_of_every_frame() {
    let Some(files) = recordings("BITGET", &[]) else { return };
    let held = replay_all(&files);
    assert_eq!(held.checksums, held.snapshots + held.deltas, "each frame carries one");
    let expected = Held { files: 3, read: 1838, snapshots: 22, deltas: 1269, checksums: 1291, trades: 113, ..held };
    assert_eq!((&held, held.marks, held.options), (&expected, 434, 0));
}

#[test]
fn bybit_counts_every_frame_of_a_book_and_says_what_leaves_its_window() {
    // Connections 25 and 26 speak version 2; 1 and 2 hold best prices, which are no book.
    let Some(files) = recordings("BYBIT", &["ws.25.", "ws.26.", "ws.1.", "ws.2."]) else { return };
    let held = replay_all(&files);
    let expected = Held { files: 1, snapshots: 6, deltas: 2142, trades: 347, marks: 140, ..held };
    assert_eq!((&held, held.checksums, held.quotes), (&expected, 0, 0));
    let (replayed, counters) = clean(&files[0]);
    // Each book was full all the time, and nothing had to be removed that the venue had not removed itself.
    assert_eq!(counters.trimmed, 0);
    assert!(replayed.rig.sink.books.iter().all(|book| book.bids.len() == 200 && book.asks.len() == 200));
    let venues: Vec<_> = replayed.registry.iter().map(|(_, instrument)| instrument.venue).collect();
    assert_eq!(venues.iter().filter(|venue| **venue == Venue::Bybit).count(), 4);
    assert_eq!(venues.iter().filter(|venue| **venue == Venue::BybitSpot).count(), 2, "another connection of the file");
}

#[test]
fn bybit_best_prices_are_quotes() {
    let Some(files) = recordings("BYBIT", &["ws.25.", "ws.26.", "jsonl"]) else { return };
    for path in &files {
        let replayed = replay(&[spec(path)]).expect("instruments");
        let counters = replayed.rig.counters();
        assert_eq!((counters.decode_errors(), counters.scanner_fallbacks, counters.gaps), (0, 0, 0), "{}", name(path));
        assert!(counters.quotes > 100 && counters.deltas + counters.snapshots == 0, "{}: {counters:?}", name(path));
        readers_agree(path, &replayed.registry);
    }
    assert_eq!(files.len(), 2);
}

#[test]
fn deribit_changes_chain_without_a_hole() {
    let Some(files) = recordings("DERIBIT", &[]) else { return };
    let held = replay_all(&files);
    let expected = Held { files: 3, read: 730, snapshots: 30, deltas: 249, options: 451, ..Held::default() };
    assert_eq!(held, expected);
}

#[test]
fn recordings_of_older_protocols_hold_nothing_and_break_nothing() {
    let Some(files) = recordings("BYBIT", &["ws.1.", "ws.2.", "jsonl"]) else { return };
    for path in &files {
        assert!(replay(&[spec(path)]).is_none(), "{}: no instrument of version 5", name(path));
    }
    assert_eq!(files.len(), 2);
}

#[test]
fn several_venues_replay_together() {
    let Some(folder) = common::data() else { return };
    let newer = |exchange: &str| files(&folder.join("cryptofeed"), &format!("{exchange}.jsonl")).remove(0);
    let specs: Vec<_> = ["OKX", "BYBIT", "BITGET", "DERIBIT", "BINANCE"].map(|exchange| spec(&newer(exchange))).into();
    let replayed = replay(&specs).expect("instruments");
    let counters = replayed.rig.counters();
    assert_eq!((counters.gaps, counters.decode_errors(), counters.checksum_failures), (0, 0, 0));
    let verified: Vec<_> = counters.by_venue().filter(|(_, venue)| venue.checksums_verified > 0).collect();
    let of = |wanted: Venue| verified.iter().find(|(venue, _)| *venue == wanted).map(|(_, v)| v.checksums_verified);
    assert_eq!((of(Venue::Okx), of(Venue::BitgetSpot), of(Venue::BitgetUsdt)), (Some(290), Some(443), Some(194)));
    assert_eq!(verified.len(), 3);
    assert_eq!(counters.venues.iter().map(|venue| venue.checksums_verified).sum::<u64>(), counters.checksums_verified);
}

/// Frames with their markets.
type Frames = Vec<(Venue, Vec<u8>)>;

/// Frames of a recording, and the registry they need.
fn frames(exchange: &str) -> Option<(Registry, Frames)> {
    let path = files(&common::data()?.join("cryptofeed"), &format!("{exchange}.jsonl")).remove(0);
    let (mut registry, mut frames) = (Registry::new(), Vec::new());
    discover(&[spec(&path)], &mut registry).expect("a capture");
    each_frame(&path, |captured| frames.push((captured.venue.expect("a connection"), captured.bytes.clone())));
    Some((registry, frames))
}

/// Replays all frames but one.
fn without(registry: &Registry, frames: &[(Venue, Vec<u8>)], left_out: Option<usize>) -> (Rig, Vec<usize>) {
    let (mut rig, mut deltas) = (Rig::new(registry), Vec::new());
    for (index, (venue, bytes)) in frames.iter().enumerate().filter(|(index, _)| Some(*index) != left_out) {
        let before = rig.sink.books.iter().map(|book| book.applied.len()).sum::<usize>();
        rig.frame(&meta(*venue, 0, InstrumentId::NONE), bytes);
        if rig.sink.books.iter().map(|book| book.applied.len()).sum::<usize>() > before {
            deltas.push(index);
        }
    }
    (rig, deltas)
}

#[test]
fn a_lost_frame_takes_its_book_out_of_service_and_no_other() {
    for (exchange, chained) in [("BYBIT", true), ("DERIBIT", true), ("OKX", false), ("BITGET", false)] {
        let Some((registry, frames)) = frames(exchange) else { return };
        let (_, deltas) = without(&registry, &frames, None);
        let (mut noticed, mut tried) = (0, 0);
        for lost in deltas.iter().step_by(deltas.len() / 12) {
            let (rig, _) = without(&registry, &frames, Some(*lost));
            let bad: Vec<_> = rig.sink.books.iter().filter(|book| book.quality != BookQuality::Good).collect();
            let counters = rig.counters();
            // The last frame of a book is missed by nobody.
            assert!(bad.len() <= 1, "{exchange} without frame {lost}: {} books", bad.len());
            let one = bad.len() as u64;
            let expected = if chained { (one, 0) } else { (0, one) };
            assert_eq!((counters.gaps, counters.checksum_failures), expected, "{exchange} without frame {lost}");
            if let [book] = bad[..] {
                let expected = if chained { BookQuality::Gapped } else { BookQuality::Mismatched };
                assert_eq!(book.quality, expected, "{exchange} without frame {lost}");
            }
            noticed += bad.len();
            tried += 1;
        }
        // A checksum covers 25 levels: what is lost below them may be put right before it comes up.
        assert!(noticed * 2 > tried, "{exchange}: {noticed} of {tried} were noticed");
    }
}
