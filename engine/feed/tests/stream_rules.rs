//! The sequence rules of venues whose stream brings its snapshots, case by case: through the whole feed, with frames of
//! our own.

mod common;

use common::{Rig, meta};
use tidegate_feed::sync::{Previous, StreamIds, StreamRule, StreamSync, StreamVerdict};
use tidegate_feed::{FeedCounters, Outcome, Reason};
use tidegate_wire::event::BookQuality;
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Scale, Venue};

const SECOND: i64 = 1_000_000_000;

/// One instrument, with prices and quantities of one decimal.
fn rig(venue: Venue, symbol: &str) -> Rig {
    let (scale, tick, lot) = (Scale::saturating(1), Price::from_raw(1), Qty::from_raw(1));
    let (symbol, contract) = (symbol.into(), Contract::Linear);
    let mut registry = Registry::new();
    let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
    registry.add(instrument).expect("a good instrument");
    Rig::new(&registry)
}

/// Quality and levels of the book, best first, as `bids | asks`.
fn book(rig: &Rig) -> (BookQuality, String) {
    let level = |(price, qty): (&i64, &i64)| format!("{price}:{qty}");
    let bids: Vec<_> = rig.book().bids.iter().rev().map(level).collect();
    let asks: Vec<_> = rig.book().asks.iter().map(level).collect();
    (rig.book().quality, format!("{} | {}", bids.join(" "), asks.join(" ")))
}

fn good(levels: &str) -> (BookQuality, String) {
    (BookQuality::Good, levels.into())
}

/// What matters of the counters here: deltas, snapshots, gaps, resyncs, outdated and dropped frames.
fn counts(rig: &Rig) -> [u64; 6] {
    let FeedCounters { deltas, snapshots, gaps, resyncs, outdated, dropped, .. } = rig.counters();
    [deltas, snapshots, gaps, resyncs, outdated, dropped]
}

fn okx(rig: &mut Rig, action: &str, levels: (&str, &str), ids: &str) {
    let (bids, asks) = levels;
    rig.only(
        Venue::Okx,
        &format!(
            r#"{{"arg":{{"channel":"books","instId":"ABC-USDT"}},"action":"{action}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1790000000000"{ids}}}]}}"#
        ),
    );
}

const BID: &str = r#"["10.1","5","0","1"]"#;
const ASK: &str = r#"["10.3","2","0","1"]"#;
const BID_LOW: &str = r#"["10","7","0","1"]"#;
const BID_GONE: &str = r#"["10.1","0","0","0"]"#;

#[test]
fn okx_chains_by_the_number_before() {
    let mut rig = rig(Venue::Okx, "ABC-USDT");
    okx(&mut rig, "update", (BID_LOW, ""), r#","seqId":9,"prevSeqId":8"#);
    assert_eq!((book(&rig).0, counts(&rig)), (BookQuality::Building, [0, 0, 0, 0, 0, 1]), "nothing to join yet");
    okx(&mut rig, "snapshot", (BID, ASK), r#","seqId":100,"prevSeqId":-1,"checksum":0"#);
    assert_eq!(book(&rig), good("101:50 | 103:20"));
    okx(&mut rig, "update", (BID_LOW, ""), r#","seqId":117,"prevSeqId":100"#);
    okx(&mut rig, "update", ("", ""), r#","seqId":117,"prevSeqId":117"#);
    assert_eq!((book(&rig), rig.counters().keep_alives), (good("101:50 100:70 | 103:20"), 1));
    // The same frame again, as a second connection would bring it.
    okx(&mut rig, "update", (BID_LOW, ""), r#","seqId":117,"prevSeqId":100"#);
    assert_eq!(counts(&rig), [2, 1, 0, 0, 1, 1]);
    // 130 never came.
    okx(&mut rig, "update", (BID_GONE, ""), r#","seqId":140,"prevSeqId":130"#);
    assert_eq!(book(&rig).0, BookQuality::Gapped);
    let status = rig.book().statuses.last().copied().expect("a status");
    assert_eq!((status.expected, status.received), (117, 130));
    assert_eq!(rig.feed.waiting().collect::<Vec<_>>(), [InstrumentId(0)]);
    okx(&mut rig, "update", (BID_GONE, ""), r#","seqId":141,"prevSeqId":140"#);
    okx(&mut rig, "snapshot", (BID_LOW, ASK), r#","seqId":150,"prevSeqId":-1"#);
    assert_eq!((book(&rig), counts(&rig)), (good("100:70 | 103:20"), [2, 2, 1, 1, 1, 3]));
    assert_eq!(rig.feed.waiting().count(), 0);
}

#[test]
fn okx_numbers_its_frames_anew_after_maintenance_and_the_chain_goes_on() {
    let mut rig = rig(Venue::Okx, "ABC-USDT");
    okx(&mut rig, "snapshot", (BID, ASK), r#","seqId":5000,"prevSeqId":-1"#);
    okx(&mut rig, "update", (BID_LOW, ""), r#","seqId":3,"prevSeqId":5000"#);
    let emitted = rig.book().last;
    assert_eq!((book(&rig), counts(&rig)), (good("101:50 100:70 | 103:20"), [1, 1, 0, 0, 0, 0]));
    okx(&mut rig, "update", (BID_GONE, ""), r#","seqId":7,"prevSeqId":3"#);
    assert_eq!(book(&rig), good("100:70 | 103:20"));
    assert!(emitted > 5000 && rig.book().last > emitted, "ids of events never fall");
}

#[test]
fn okx_keeps_absent_and_nothing_and_zero_apart() {
    let last = |last, previous| StreamIds { last: Some(last), previous, rank: 400 };
    let live = || {
        let mut sync = StreamSync::new(StreamRule::Okx);
        sync.snapshot(&last(100, Previous::Nothing));
        sync
    };
    let verdict = |ids| live().delta(&ids, false);
    assert!(matches!(verdict(last(101, Previous::Absent)), StreamVerdict::Apply(_)));
    assert_eq!(verdict(last(100, Previous::Absent)), StreamVerdict::Outdated);
    assert_eq!(verdict(last(101, Previous::Nothing)), StreamVerdict::Gap { expected: 100, received: 101 });
    assert_eq!(verdict(last(101, Previous::Id(0))), StreamVerdict::Gap { expected: 100, received: 0 });
    assert_eq!(verdict(last(50, Previous::Id(0))), StreamVerdict::Outdated);
    // A lost frame across a new numbering is a gap, not an old frame.
    assert_eq!(verdict(last(4, Previous::Id(120))), StreamVerdict::Gap { expected: 100, received: 120 });
    // Zero is a number like any other.
    let mut sync = StreamSync::new(StreamRule::Okx);
    sync.snapshot(&last(0, Previous::Nothing));
    assert!(matches!(sync.delta(&last(8, Previous::Id(0)), false), StreamVerdict::Apply(_)));
}

fn bybit(rig: &mut Rig, depth: u16, kind: &str, levels: (&str, &str), id: u64) {
    let (bids, asks) = levels;
    rig.only(
        Venue::Bybit,
        &format!(
            r#"{{"topic":"orderbook.{depth}.ABCUSDT","type":"{kind}","ts":1790000000009,"data":{{"s":"ABCUSDT","b":[{bids}],"a":[{asks}],"u":{id},"seq":7}},"cts":1790000000001}}"#
        ),
    );
}

/// `count` levels from a price of whole units upwards.
fn ladder(from: u64, count: u64) -> String {
    (0..count).map(|n| format!(r#"["{}","1"]"#, from + n)).collect::<Vec<_>>().join(",")
}

#[test]
fn bybit_counts_frames_and_any_snapshot_replaces_the_book() {
    let mut rig = rig(Venue::Bybit, "ABCUSDT");
    bybit(&mut rig, 50, "snapshot", (r#"["10","1"]"#, r#"["12","1"]"#), 700);
    bybit(&mut rig, 50, "delta", (r#"["11","2"]"#, ""), 701);
    assert_eq!(book(&rig), good("110:20 100:10 | 120:10"));
    bybit(&mut rig, 50, "delta", (r#"["11","0"]"#, ""), 701);
    bybit(&mut rig, 50, "snapshot", (r#"["9","4"]"#, r#"["12","1"]"#), 703);
    assert_eq!((book(&rig), counts(&rig)), (good("90:40 | 120:10"), [1, 2, 0, 0, 1, 0]), "not asked for, and loaded");
    // The service restarts: `u` is 1, and a lower number is no old frame.
    bybit(&mut rig, 50, "snapshot", (r#"["8","4"]"#, r#"["12","1"]"#), 1);
    bybit(&mut rig, 50, "delta", (r#"["7","1"]"#, ""), 2);
    assert_eq!(book(&rig), good("80:40 70:10 | 120:10"));
    bybit(&mut rig, 50, "delta", ("", ""), 4);
    assert_eq!((book(&rig).0, rig.counters().gaps), (BookQuality::Gapped, 1));
    bybit(&mut rig, 50, "delta", ("", ""), 5);
    bybit(&mut rig, 50, "snapshot", (r#"["8","4"]"#, r#"["12","1"]"#), 9);
    assert_eq!((book(&rig), counts(&rig)), (good("80:40 | 120:10"), [2, 4, 1, 1, 1, 2]));
    // A restart whose snapshot was lost.
    bybit(&mut rig, 50, "delta", ("", ""), 1);
    assert_eq!((book(&rig).0, rig.counters().gaps), (BookQuality::Gapped, 2));
}

#[test]
fn bybit_levels_that_fall_out_of_the_window_are_removed() {
    let mut rig = rig(Venue::Bybit, "ABCUSDT");
    bybit(&mut rig, 50, "snapshot", (&ladder(100, 50), &ladder(200, 50)), 10);
    // Two better bids push the two worst out; the venue says nothing of them.
    bybit(&mut rig, 50, "delta", (&ladder(150, 2), r#"["250","1"]"#), 11);
    assert_eq!((rig.book().bids.len(), rig.book().asks.len(), rig.counters().trimmed), (50, 50, 3));
    assert_eq!(rig.book().bids.keys().next(), Some(&1020), "100 and 101 are gone");
    assert_eq!(rig.book().asks.keys().next_back(), Some(&2490), "and the new worst ask never was within");
    // One leaves the window on purpose: nothing else goes.
    bybit(&mut rig, 50, "delta", (r#"["151","0"]"#, ""), 12);
    assert_eq!((rig.book().bids.len(), rig.counters().trimmed), (49, 3));
}

#[test]
fn a_book_follows_the_stream_that_knows_most() {
    let mut rig = rig(Venue::Bybit, "ABCUSDT");
    let at = |rig: &mut Rig, seconds: i64, text: &str| {
        let at = tidegate_feed::FrameMeta { recv_ns: seconds * SECOND, ..meta(Venue::Bybit, 0, InstrumentId::NONE) };
        rig.frame(&at, text.as_bytes());
    };
    bybit(&mut rig, 50, "snapshot", (r#"["10","1"]"#, ""), 700);
    bybit(&mut rig, 200, "delta", (r#"["9","1"]"#, ""), 31);
    bybit(&mut rig, 200, "snapshot", (r#"["9","1"]"#, r#"["12","1"]"#), 30);
    bybit(&mut rig, 50, "delta", (r#"["8","1"]"#, ""), 701);
    bybit(&mut rig, 50, "snapshot", (r#"["8","1"]"#, ""), 702);
    bybit(&mut rig, 200, "delta", (r#"["9","2"]"#, ""), 31);
    assert_eq!((book(&rig), rig.counters().shadowed), (good("90:20 | 120:10"), 3));
    assert_eq!((rig.counters().gaps, rig.counters().outdated), (0, 0));
    // The deeper stream has fallen silent: the other one takes over with its next snapshot.
    let text =
        r#"{"topic":"orderbook.50.ABCUSDT","type":"snapshot","ts":1,"data":{"s":"ABCUSDT","b":[],"a":[],"u":9}}"#;
    at(&mut rig, 2, text);
    assert_eq!(rig.counters().shadowed, 4);
    at(&mut rig, 9, text);
    assert_eq!(book(&rig), good(" | "));
}

fn bitget(rig: &mut Rig, action: &str, levels: (&str, &str), more: &str) {
    let (bids, asks) = levels;
    rig.only(
        Venue::BitgetUsdt,
        &format!(
            r#"{{"action":"{action}","arg":{{"instType":"USDT-FUTURES","channel":"books","instId":"ABCUSDT"}},"data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1790000000000"{more}}}],"ts":1790000000002}}"#
        ),
    );
}

#[test]
fn bitget_names_the_push_before_where_it_does() {
    let mut rig = rig(Venue::BitgetUsdt, "ABCUSDT");
    bitget(&mut rig, "snapshot", (r#"["10","1"]"#, r#"["12","1"]"#), r#","seq":100,"pseq":0"#);
    // Older than the snapshot, then the first that reaches over it.
    bitget(&mut rig, "update", (r#"["9","1"]"#, ""), r#","seq":90,"pseq":80"#);
    bitget(&mut rig, "update", (r#"["11","1"]"#, ""), r#","seq":110,"pseq":95"#);
    assert_eq!((book(&rig), counts(&rig)), (good("110:10 100:10 | 120:10"), [1, 1, 0, 0, 1, 0]));
    // Texts count as numbers; a repeated push is dropped.
    bitget(&mut rig, "update", (r#"["11","0"]"#, ""), r#","seq":"120","pseq":"110""#);
    bitget(&mut rig, "update", (r#"["11","5"]"#, ""), r#","seq":120,"pseq":110"#);
    assert_eq!((book(&rig), counts(&rig)), (good("100:10 | 120:10"), [2, 1, 0, 0, 2, 0]));
    bitget(&mut rig, "update", (r#"["11","1"]"#, ""), r#","seq":140,"pseq":130"#);
    assert_eq!((book(&rig).0, rig.counters().gaps), (BookQuality::Gapped, 1));
    for (restart, what) in [(r#","seq":300,"pseq":0"#, "nothing before it"), (r#","seq":7,"pseq":5"#, "backwards")] {
        bitget(&mut rig, "snapshot", (r#"["10","1"]"#, r#"["12","1"]"#), r#","seq":200"#);
        bitget(&mut rig, "update", ("", ""), r#","seq":201,"pseq":200"#);
        assert_eq!(book(&rig).0, BookQuality::Good);
        bitget(&mut rig, "update", ("", ""), restart);
        assert_eq!(book(&rig).0, BookQuality::Gapped, "{what}");
    }
}

#[test]
fn bitget_without_the_push_before_must_rise() {
    let mut rig = rig(Venue::BitgetUsdt, "ABCUSDT");
    bitget(&mut rig, "snapshot", (r#"["10","1"]"#, r#"["12","1"]"#), r#","seq":100"#);
    bitget(&mut rig, "update", (r#"["11","1"]"#, ""), r#","seq":107"#);
    bitget(&mut rig, "update", (r#"["11","2"]"#, ""), r#","seq":107"#);
    assert_eq!((book(&rig), counts(&rig)), (good("110:10 100:10 | 120:10"), [1, 1, 0, 0, 1, 0]));
    bitget(&mut rig, "update", ("", ""), r#","seq":3"#);
    assert_eq!(book(&rig).0, BookQuality::Gapped);
}

#[test]
fn a_wrong_checksum_takes_the_book_out_of_service_until_a_snapshot() {
    let mut rig = rig(Venue::BitgetUsdt, "ABCUSDT");
    let (bids, asks) = (r#"["43231.1","4"],["43231","6"]"#, r#"["43232.8","9"],["43232.9","8"]"#);
    bitget(&mut rig, "snapshot", (bids, asks), r#","checksum":-1504501796"#);
    assert_eq!(book(&rig).0, BookQuality::Good);
    // Without a checksum nothing is compared; with one, the change is part of what is.
    bitget(&mut rig, "update", (r#"["43231","7"]"#, ""), r#","checksum":0"#);
    bitget(&mut rig, "update", (r#"["43231","6"]"#, ""), r#","checksum":"-1504501796""#);
    assert_eq!((rig.counters().checksums_verified, counts(&rig)[0]), (2, 2));
    let before = book(&rig).1;
    bitget(&mut rig, "update", (r#"["43231","5"]"#, ""), r#","checksum":-1504501796"#);
    assert_eq!(book(&rig), (BookQuality::Mismatched, before), "the frame is not passed on");
    assert_eq!(rig.feed.waiting().count(), 1);
    bitget(&mut rig, "update", (r#"["43231","6"]"#, ""), r#","checksum":-1504501796"#);
    assert_eq!(book(&rig).0, BookQuality::Mismatched, "nor is any until a snapshot");
    bitget(&mut rig, "snapshot", (bids, asks), r#","checksum":1"#);
    assert_eq!(book(&rig).0, BookQuality::Mismatched, "a snapshot is held to its checksum as well");
    bitget(&mut rig, "snapshot", (bids, asks), r#","checksum":-1504501796"#);
    let counters = rig.counters();
    assert_eq!((book(&rig).0, counters.resyncs, counters.gaps), (BookQuality::Good, 1, 0));
    assert_eq!((counters.checksums_verified, counters.checksum_failures), (5, 2));
    let venue = counters.venues[Venue::BitgetUsdt as usize];
    assert_eq!((venue.checksums_verified, venue.checksum_failures, venue.resyncs), (5, 2, 1));
}

fn deribit(rig: &mut Rig, kind: &str, levels: (&str, &str), ids: &str) {
    let (bids, asks) = levels;
    rig.only(
        Venue::Deribit,
        &format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.ABC-PERPETUAL.100ms","data":{{"type":"{kind}","timestamp":1790000000000,"instrument_name":"ABC-PERPETUAL",{ids},"bids":[{bids}],"asks":[{asks}]}}}}}}"#
        ),
    );
}

#[test]
fn deribit_chains_by_the_change_before() {
    let mut rig = rig(Venue::Deribit, "ABC-PERPETUAL");
    deribit(&mut rig, "change", (r#"["new",9.5,1.0]"#, ""), r#""change_id":5,"prev_change_id":4"#);
    deribit(
        &mut rig,
        "snapshot",
        (r#"["new",10.0,4]"#, r#"["new",11.5,2e0]"#),
        r#""change_id":20,"prev_change_id":null"#,
    );
    assert_eq!((book(&rig), counts(&rig)), (good("100:40 | 115:20"), [0, 1, 0, 0, 0, 1]));
    // Numbers jump; a change of an absent level sets it, the removal of one does nothing.
    let change = (r#"["change",9.5,1.0],["delete",3.0,0.0]"#, r#"["delete",11.5,0.0]"#);
    deribit(&mut rig, "change", change, r#""change_id":90,"prev_change_id":20"#);
    deribit(&mut rig, "change", change, r#""change_id":90,"prev_change_id":20"#);
    assert_eq!((book(&rig), counts(&rig)), (good("100:40 95:10 | "), [1, 1, 0, 0, 1, 1]));
    deribit(&mut rig, "change", ("", ""), r#""change_id":99,"prev_change_id":95"#);
    assert_eq!(book(&rig).0, BookQuality::Gapped);
    deribit(&mut rig, "snapshot", ("", ""), r#""change_id":120"#);
    assert_eq!((book(&rig), rig.counters().resyncs), (good(" | "), 1), "an empty book of an option is a book");
    deribit(&mut rig, "change", ("", ""), r#""change_id":130"#);
    assert_eq!(book(&rig).0, BookQuality::Gapped, "a change of nothing before it");
}

#[test]
fn old_frames_in_a_row_mean_that_the_venue_counts_anew() {
    for rule in [StreamRule::Okx, StreamRule::Bybit, StreamRule::Deribit] {
        let ids = |last, before| StreamIds { last: Some(last), previous: Previous::Id(before), rank: 1 };
        let mut sync = StreamSync::new(rule);
        sync.snapshot(&ids(10_000, 0));
        let verdicts: Vec<_> = (100..200).map(|n| sync.delta(&ids(n, n - 1), false)).collect();
        let outdated = verdicts.iter().take_while(|verdict| **verdict == StreamVerdict::Outdated).count();
        assert_eq!(outdated, 64, "{rule:?}");
        assert!(
            matches!(verdicts[64], StreamVerdict::Gap { .. }) && verdicts[65] == StreamVerdict::Waiting,
            "{rule:?}"
        );
    }
}

#[test]
fn frames_without_numbers_are_counted() {
    let mut sync = StreamSync::new(StreamRule::Bitget);
    let ids = StreamIds { rank: 1, ..StreamIds::default() };
    assert_eq!(sync.delta(&ids, false), StreamVerdict::Waiting);
    assert_eq!(sync.snapshot(&ids).last, 0);
    for n in 1..4 {
        assert!(matches!(sync.delta(&ids, false), StreamVerdict::Apply(ids) if ids.last == n && ids.prev == n - 1));
    }
}

#[test]
fn a_stream_that_goes_on_elsewhere_is_a_session() {
    let mut rig = rig(Venue::Bybit, "ABCUSDT");
    let at = |rig: &mut Rig, source: u16, seconds: i64, kind: &str, id: u64| {
        let at =
            tidegate_feed::FrameMeta { recv_ns: seconds * SECOND, ..meta(Venue::Bybit, source, InstrumentId::NONE) };
        let text = format!(
            r#"{{"topic":"orderbook.50.ABCUSDT","type":"{kind}","ts":1,"data":{{"s":"ABCUSDT","b":[["10","1"]],"a":[],"u":{id}}}}}"#
        );
        rig.frame(&at, text.as_bytes());
    };
    at(&mut rig, 1, 1, "snapshot", 5);
    at(&mut rig, 2, 20, "snapshot", 900);
    let counters = rig.counters();
    assert_eq!((counters.sessions, counters.gaps, counters.resyncs, book(&rig).0), (1, 0, 0, BookQuality::Good));
    at(&mut rig, 3, 40, "delta", 1000);
    let counters = rig.counters();
    assert_eq!((counters.sessions, counters.gaps, book(&rig).0), (2, 0, BookQuality::Building));
}

#[test]
fn the_session_layer_learns_what_a_frame_was_and_which_books_wait() {
    let mut rig = rig(Venue::Okx, "ABC-USDT");
    let ask = |rig: &mut Rig, text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(text.len() + tidegate_feed::PADDING, 0);
        let frame = tidegate_feed::FrameMut::new(&mut bytes, text.len()).expect("padding");
        rig.feed.frame(&meta(Venue::Okx, 0, InstrumentId::NONE), frame, &mut rig.sink)
    };
    assert_eq!(ask(&mut rig, "pong"), Outcome::Control);
    assert_eq!(ask(&mut rig, r#"{"event":"subscribe","arg":{"channel":"books"}}"#), Outcome::Control);
    assert_eq!(ask(&mut rig, "{"), Outcome::Skipped(Reason::NotJson));
    let candle = r#"{"arg":{"channel":"candle1m","instId":"ABC-USDT"},"data":[]}"#;
    assert_eq!(ask(&mut rig, candle), Outcome::Skipped(Reason::UnusedStream));
    let trade = r#"{"arg":{"channel":"trades","instId":"ABC-USDT"},"data":[{"instId":"ABC-USDT","tradeId":"1","px":"1","sz":"1","side":"buy","ts":"1"}]}"#;
    assert_eq!(ask(&mut rig, trade), Outcome::Market(InstrumentId(0)));
    assert_eq!((rig.feed.waiting().count(), rig.feed.waiting_changes()), (1, 0));
    okx(&mut rig, "snapshot", (BID, ASK), r#","seqId":100,"prevSeqId":-1"#);
    assert_eq!((rig.feed.waiting().count(), rig.feed.waiting_changes()), (0, 1));
    okx(&mut rig, "update", ("", ""), r#","seqId":101,"prevSeqId":100"#);
    assert_eq!(rig.feed.waiting_changes(), 1);
    okx(&mut rig, "update", ("", ""), r#","seqId":109,"prevSeqId":107"#);
    assert_eq!((rig.feed.waiting().count(), rig.feed.waiting_changes()), (1, 2));
    okx(&mut rig, "snapshot", (BID, ASK), r#","seqId":110,"prevSeqId":-1"#);
    rig.resync(InstrumentId(0));
    rig.resync(InstrumentId(0));
    assert_eq!((rig.feed.waiting().count(), rig.feed.waiting_changes()), (1, 4));
    assert_eq!(rig.counters().venues[Venue::Okx as usize].decode_errors, 1);
}
