//! Recordings of several instruments at once, in both generations of cryptofeed's format.
//!
//! The older one writes a file a connection: `BINANCE.ws.1.0.<hash>` is a stream and `BINANCE.http.0.0.<hash>` holds
//! the snapshots that the recorder asked for just then, numbered one lower; `BINANCE.0.<hash>` is the list of
//! instruments. Where the name has no `ws` or `http`, and in the newer format, one file holds everything.

mod common;

use std::path::{Path, PathBuf};

use common::{Replayed, each_frame, files, replay, spec};
use tidegate_feed::Reason;
use tidegate_feed::replay::{CaptureReader, Format};
use tidegate_wire::Venue;
use tidegate_wire::event::BookQuality;

fn recordings() -> Option<Vec<PathBuf>> {
    let folder = common::data()?.join("cryptofeed");
    let files = files(&folder, "BINANCE");
    assert!(files.len() >= 40, "{} recordings", files.len());
    Some(files)
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// The market that a recording's name says.
fn market(name: &str) -> Venue {
    match name {
        _ if name.starts_with("BINANCE_FUTURES") => Venue::BinanceUsdm,
        _ if name.starts_with("BINANCE_DELIVERY") => Venue::BinanceCoinm,
        _ => Venue::BinanceSpot,
    }
}

/// Exchange and connection number of a file of one connection: `("BINANCE", 7)` of `BINANCE.ws.7.0.<hash>.gz`.
fn connection(path: &Path, kind: &str) -> Option<(String, u32)> {
    let name = name(path);
    let (exchange, rest) = name.split_once(&format!(".{kind}."))?;
    Some((exchange.into(), rest.split('.').next()?.parse().ok()?))
}

/// Receive time of a recording's first frame; 0 where it has none.
fn begins_s(path: &Path) -> i64 {
    let mut first = 0;
    each_frame(path, |captured| first = if first == 0 { captured.recv_ns } else { first });
    first / 1_000_000_000
}

/// What must hold of every replay: nothing unreadable, nothing off its grid, no update missed.
fn assert_clean(replayed: &Replayed, what: &str) {
    let counters = replayed.rig.counters();
    let others: Vec<_> = counters.reasons().filter(|(reason, _)| *reason != Reason::UnusedStream).collect();
    assert_eq!(others, [], "{what}");
    assert_eq!((counters.gaps, counters.sessions, counters.snapshots_too_old), (0, 0, 0), "{what}");
    assert_eq!((counters.scanner_fallbacks, counters.trade_id_gaps), (0, 0), "{what}");
    for report in &replayed.reports {
        assert_eq!((report.bad_lines, &report.damaged), (0, &None), "{what}");
        assert_eq!(report.venue, market(&report.name), "{what}");
    }
}

fn assert_all_good(replayed: &Replayed, what: &str) {
    for ((_, instrument), book) in replayed.registry.iter().zip(&replayed.rig.sink.books) {
        assert_eq!(book.quality, BookQuality::Good, "{what}: {}", instrument.name());
        // A recording of thin markets may have an empty side, never a crossed one.
        let (bid, ask) = (book.bids.last_key_value(), book.asks.first_key_value());
        assert!(bid.zip(ask).is_none_or(|(bid, ask)| bid.0 < ask.0), "{what}: {} is crossed", instrument.name());
    }
    assert_eq!(replayed.rig.counters().snapshots as usize, replayed.registry.len(), "{what}: a snapshot each");
}

#[test]
fn every_line_of_every_recording_is_understood() {
    let Some(files) = recordings() else { return };
    for path in files {
        let name = name(&path);
        let mut reader = CaptureReader::open(&spec(&path)).expect("a capture");
        let newer = name.contains(".jsonl.");
        assert_eq!(reader.format() == Format::CryptofeedJson, newer, "{name}");
        assert_eq!(reader.format() == Format::CryptofeedText, !newer, "{name}");
        let mut captured = Default::default();
        let mut frames = 0;
        while reader.next(&mut captured).expect("undamaged") {
            assert!(captured.bytes.starts_with(b"{") && captured.bytes.ends_with(b"}"), "{name}:{}", captured.line);
            // Years 2021 to 2026: a stamp in another unit would be far outside.
            assert!((1_600_000_000..1_800_000_000).contains(&(captured.recv_ns / 1_000_000_000)), "{name}");
            frames += 1;
        }
        assert_eq!(reader.bad_lines(), 0, "{name}");
        assert_eq!(reader.venue(), Some(market(&name)), "{name}: the host tells the market");
        // `BINANCE.0.<hash>` holds the list of instruments and nothing to replay.
        let list = name.split('.').nth(1) == Some("0") && !name.contains('-');
        assert_eq!(frames == 0, list, "{name}: {frames} frames");
    }
}

#[test]
fn recordings_in_one_file_give_good_books() {
    let Some(files) = recordings() else { return };
    let whole = files.iter().filter(|path| name(path).contains('-') || name(path).contains(".jsonl."));
    let mut seen = 0;
    for path in whole {
        let replayed = replay(&[spec(path)]).expect("instruments");
        assert_clean(&replayed, &name(path));
        assert_all_good(&replayed, &name(path));
        seen += 1;
    }
    assert_eq!(seen, 8, "four of each generation");
}

#[test]
fn streams_and_the_snapshots_recorded_beside_them_give_good_books() {
    let Some(files) = recordings() else { return };
    let snapshots: Vec<_> =
        files.iter().filter_map(|path| Some((connection(path, "http")?, begins_s(path), path))).collect();
    let mut pairs = 0;
    for stream in &files {
        let Some((exchange, number)) = connection(stream, "ws") else { continue };
        let begins = begins_s(stream);
        // The same minute and the number below; two files that differ only in the host they name belong to one stream.
        let belongs = |((other, http), begin, _): &&((String, u32), i64, &PathBuf)| {
            *other == exchange && http + 1 == number && (begin - begins).abs() < 60
        };
        let partners: Vec<_> = snapshots.iter().filter(belongs).collect();
        assert!(!partners.is_empty(), "{}: no snapshots beside it", name(stream));
        for (_, _, partner) in partners {
            let what = format!("{} with {}", name(stream), name(partner));
            let replayed = replay(&[spec(stream), spec(partner)]).expect("instruments");
            assert_clean(&replayed, &what);
            assert_all_good(&replayed, &what);
            pairs += 1;
        }
    }
    assert!(pairs >= 10, "{pairs} pairs");
}

#[test]
fn a_stream_without_its_snapshots_never_becomes_good_and_never_gaps() {
    let Some(files) = recordings() else { return };
    for path in files.iter().filter(|path| connection(path, "ws").is_some() || connection(path, "http").is_some()) {
        let replayed = replay(&[spec(path)]).expect("instruments");
        assert_clean(&replayed, &name(path));
        assert!(replayed.rig.sink.books.iter().all(|book| book.quality == BookQuality::Building), "{}", name(path));
        assert!(replayed.rig.sink.books.iter().all(|book| book.applied.is_empty()), "{}", name(path));
    }
}
