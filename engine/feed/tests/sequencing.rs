//! The venue's documented sequence rules, case by case: which frames join a snapshot, and what is noticed when.

mod common;

use common::frames::registry;
use common::{Rig, meta};
use tidegate_feed::FrameMeta;
use tidegate_feed::sync::{Rule, SnapshotVerdict, State, Synchroniser, Verdict};
use tidegate_wire::event::{BookQuality, DepthIds, FLAG_BUFFERED, FLAG_SESSION, Level};
use tidegate_wire::{InstrumentId, Price, Qty, Venue};

const fn ids(first: u64, last: u64, prev: u64) -> DepthIds {
    DepthIds { first, last, prev }
}

/// A book in the state in which a snapshot is in place and no frame came.
fn joining(rule: Rule, snapshot: u64) -> Synchroniser {
    let mut book = Synchroniser::new(rule);
    assert_eq!(book.snapshot(snapshot), SnapshotVerdict::Load);
    assert_eq!(book.release(|_, _, _| panic!("nothing is held")), None);
    assert_eq!(book.state(), State::Joining);
    book
}

/// A book that is good up to `last`.
fn live(rule: Rule, last: u64) -> Synchroniser {
    let mut book = joining(rule, last - 1);
    assert_eq!(book.delta(&ids(last - 1, last, last - 2)), Verdict::Join);
    book
}

const fn gap(expected: u64, received: u64) -> Verdict {
    Verdict::Gap { expected, received }
}

#[test]
fn spot_frames_join_a_snapshot_as_documented() {
    // Snapshot 100. Dropped: u <= 100. Kept: U <= 101. Anything later means that updates are missing.
    for (first, last, verdict) in [
        (90, 99, Verdict::Outdated),
        (90, 100, Verdict::Outdated),
        (90, 101, Verdict::Join),
        (100, 105, Verdict::Join),
        (101, 101, Verdict::Join),
        (101, 110, Verdict::Join),
        (102, 110, gap(101, 102)),
    ] {
        let mut book = joining(Rule::Contiguous, 100);
        assert_eq!(book.delta(&ids(first, last, 0)), verdict, "{first}..{last}");
    }
}

#[test]
fn spot_frames_continue_a_book_as_documented() {
    for (first, last, verdict) in [
        (101, 104, Verdict::Apply),
        (95, 104, Verdict::Apply),
        (95, 100, Verdict::Outdated),
        (1, 1, Verdict::Outdated),
        (102, 104, gap(101, 102)),
        (u64::MAX / 2, u64::MAX / 2, gap(101, u64::MAX / 2)),
    ] {
        let mut book = live(Rule::Contiguous, 100);
        assert_eq!(book.delta(&ids(first, last, 0)), verdict, "{first}..{last}");
        let good = matches!(verdict, Verdict::Apply | Verdict::Outdated);
        assert_eq!(book.state(), if good { State::Live } else { State::Waiting });
    }
}

#[test]
fn futures_frames_join_a_snapshot_as_documented() {
    // Snapshot 100. Dropped: u < 100. Kept: U <= 100 <= u, or the snapshot ended exactly where the frame begins.
    for (first, last, prev, verdict) in [
        (90, 99, 80, Verdict::Outdated),
        (90, 100, 80, Verdict::Join),
        (90, 120, 80, Verdict::Join),
        (100, 120, 80, Verdict::Join),
        (110, 120, 100, Verdict::Join),
        (110, 120, 99, gap(100, 99)),
        (101, 120, 105, gap(100, 105)),
    ] {
        let mut book = joining(Rule::Chained, 100);
        assert_eq!(book.delta(&ids(first, last, prev)), verdict, "{first}..{last} after {prev}");
    }
}

#[test]
fn futures_frames_continue_a_book_by_pu_alone() {
    for (first, last, prev, verdict) in [
        // Ids are the exchange's: the next frame hardly ever begins at 101.
        (177, 190, 100, Verdict::Apply),
        (101, 190, 100, Verdict::Apply),
        (101, 190, 150, gap(100, 150)),
        (101, 190, 99, gap(100, 99)),
        (90, 100, 80, Verdict::Outdated),
        (90, 99, 100, Verdict::Outdated),
    ] {
        let mut book = live(Rule::Chained, 100);
        assert_eq!(book.delta(&ids(first, last, prev)), verdict, "{first}..{last} after {prev}");
    }
}

/// Holds frames of one level each; the level's price is the frame's last id.
fn hold(book: &mut Synchroniser, frames: &[DepthIds]) {
    for frame in frames {
        assert_eq!(book.delta(frame), Verdict::Held);
        let level = Level { price: Price::from_raw(frame.last as i64), qty: Qty::from_raw(1) };
        book.hold(*frame, 7, &[level], &[]);
    }
}

/// Releases; gives the last ids of what was applied and where it stopped.
fn release(book: &mut Synchroniser) -> (Vec<u64>, Option<Verdict>) {
    let mut applied = Vec::new();
    let gap = book.release(|_, venue_ns, depth| {
        assert_eq!((venue_ns, depth.asks.len()), (7, 0));
        assert_eq!(depth.bids[0].price.raw() as u64, depth.ids.last, "a frame kept its own levels");
        applied.push(depth.ids.last);
    });
    (applied, gap)
}

#[test]
fn a_snapshot_older_than_the_held_frames_is_refused_and_the_frames_stay() {
    for (rule, frames) in [
        (Rule::Contiguous, [ids(201, 210, 0), ids(211, 220, 0), ids(221, 230, 0)]),
        (Rule::Chained, [ids(203, 210, 200), ids(214, 220, 210), ids(224, 230, 220)]),
    ] {
        let mut book = Synchroniser::new(rule);
        hold(&mut book, &frames);
        for old in [1, 199] {
            assert_eq!(book.snapshot(old), SnapshotVerdict::TooOld, "{rule:?}");
            assert_eq!((book.state(), book.held()), (State::Waiting, 3));
        }
        // The fresher one meets all frames, the ones before it included.
        assert_eq!(book.snapshot(220), SnapshotVerdict::Load);
        let (applied, gap) = release(&mut book);
        // A futures frame that ends at the snapshot's id is its join; a spot frame that does is outdated.
        assert_eq!(applied, if rule == Rule::Chained { vec![220, 230] } else { vec![230] }, "{rule:?}");
        assert_eq!((gap, book.state(), book.held(), book.last()), (None, State::Live, 0, 230));
    }
}

#[test]
fn a_snapshot_at_the_edge_of_the_first_held_frame_is_taken() {
    let mut spot = Synchroniser::new(Rule::Contiguous);
    hold(&mut spot, &[ids(201, 210, 0)]);
    assert_eq!(spot.snapshot(200), SnapshotVerdict::Load);
    let mut futures = Synchroniser::new(Rule::Chained);
    hold(&mut futures, &[ids(203, 210, 200)]);
    assert_eq!(futures.snapshot(201), SnapshotVerdict::TooOld, "between two frames: neither holds it");
    assert_eq!(futures.snapshot(200), SnapshotVerdict::Load);
    // Newer than everything held: in place, and the next frame must join it.
    let mut newer = Synchroniser::new(Rule::Chained);
    hold(&mut newer, &[ids(203, 210, 200)]);
    assert_eq!(newer.snapshot(500), SnapshotVerdict::Load);
    assert_eq!(release(&mut newer), (vec![], None));
    assert_eq!((newer.state(), newer.held()), (State::Joining, 0));
    // A fresher one replaces it; one that is no fresher does not.
    assert_eq!(newer.snapshot(500), SnapshotVerdict::Unneeded);
    assert_eq!(newer.snapshot(501), SnapshotVerdict::Load);
    assert_eq!(newer.last(), 501);
}

#[test]
fn a_hole_between_held_frames_stops_the_release_and_keeps_the_rest() {
    let mut book = Synchroniser::new(Rule::Contiguous);
    hold(&mut book, &[ids(1, 5, 0), ids(6, 10, 0), ids(16, 20, 0), ids(21, 25, 0)]);
    assert_eq!(book.snapshot(3), SnapshotVerdict::Load);
    assert_eq!(release(&mut book), (vec![5, 10], Some(gap(11, 16))));
    assert_eq!((book.state(), book.held()), (State::Waiting, 2));
    assert_eq!(book.snapshot(14), SnapshotVerdict::TooOld);
    assert_eq!(book.snapshot(15), SnapshotVerdict::Load);
    assert_eq!(release(&mut book), (vec![20, 25], None));
}

#[test]
fn when_the_store_is_full_the_old_frames_go_and_the_count_tells() {
    let mut book = Synchroniser::new(Rule::Contiguous);
    let frame = |n: u64| ids(n * 10 + 1, n * 10 + 10, 0);
    let frames: Vec<_> = (0..2049).map(frame).collect();
    hold(&mut book, &frames);
    assert_eq!((book.overflows(), book.held()), (2048, 1));
    // What was thrown away cannot join any more, and a snapshot that would need it is refused.
    assert_eq!(book.snapshot(20_000), SnapshotVerdict::TooOld);
    assert_eq!(book.snapshot(20_480), SnapshotVerdict::Load);
    assert_eq!(release(&mut book), (vec![20_490], None));
}

#[test]
fn levels_fill_the_store_as_well_as_frames() {
    let mut book = Synchroniser::new(Rule::Contiguous);
    let side = vec![Level::default(); 8192];
    for n in 0..5 {
        let frame = ids(n * 10 + 1, n * 10 + 10, 0);
        assert_eq!(book.delta(&frame), Verdict::Held);
        book.hold(frame, 0, &side, &side);
    }
    assert_eq!((book.overflows(), book.held()), (4, 1), "four frames of 16,384 levels fill 65,536");
}

#[test]
fn a_restart_forgets_and_waits() {
    let mut book = live(Rule::Chained, 100);
    book.restart();
    assert_eq!((book.state(), book.held()), (State::Waiting, 0));
    assert_eq!(book.delta(&ids(101, 110, 100)), Verdict::Held);
}

/// A spot depth frame of `ABCUSDT` that sets one bid to the frame's last id.
fn spot(first: u64, last: u64) -> String {
    format!(
        r#"{{"e":"depthUpdate","E":1790000000000,"s":"ABCUSDT","U":{first},"u":{last},"b":[["1.00","{last}"]],"a":[]}}"#
    )
}

fn snapshot(id: u64) -> String {
    format!(r#"{{"lastUpdateId":{id},"bids":[["1.00","{id}"]],"asks":[]}}"#)
}

/// The quantity of the only bid, in whole units.
fn bid(rig: &Rig) -> Option<i64> {
    rig.book().bids.values().next().map(|qty| qty / 100_000)
}

#[test]
fn a_feed_says_gap_once_with_the_ids_and_comes_back_by_a_snapshot() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(9, 12), spot(13, 13)].iter().for_each(|frame| rig.only(Venue::BinanceSpot, frame));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Good, Some(13)));
    rig.only(Venue::BinanceSpot, &spot(20, 21));
    assert_eq!(rig.book().quality, BookQuality::Gapped);
    let status = *rig.book().statuses.last().expect("a status");
    assert_eq!((status.expected, status.received), (14, 20));
    // Nothing reaches the book while it waits, and the gap is not said again.
    [spot(22, 25), snapshot(5), spot(26, 30)].iter().for_each(|frame| rig.only(Venue::BinanceSpot, frame));
    assert_eq!((rig.counters().gaps, rig.counters().snapshots_too_old, bid(&rig)), (1, 1, Some(13)));
    assert_eq!(rig.feed.waiting().next(), Some(InstrumentId(0)));
    rig.only(Venue::BinanceSpot, &snapshot(24));
    assert_eq!((rig.book().quality, bid(&rig), rig.book().last), (BookQuality::Good, Some(30), 30));
    let counters = rig.counters();
    assert_eq!((counters.gaps, counters.resyncs, counters.outdated), (1, 1, 1));
    assert_eq!(rig.feed.book_counts(InstrumentId(0)), (1, 1));
}

#[test]
fn released_frames_are_flagged_and_live_ones_are_not() {
    let mut rig = Rig::new(&registry());
    rig.only(Venue::BinanceSpot, &spot(1, 5));
    let mut sink = Flags::default();
    let mut send = |rig: &mut Rig, text: &str| {
        let mut bytes = [text.as_bytes(), &[0; 64]].concat();
        let frame = tidegate_feed::FrameMut::new(&mut bytes, text.len()).expect("padding");
        rig.feed.frame(&meta(Venue::BinanceSpot, 0, InstrumentId(0)), frame, &mut sink);
    };
    send(&mut rig, &snapshot(3));
    send(&mut rig, &spot(6, 7));
    assert_eq!(sink.0, [true, false]);
}

/// Whether each depth frame was flagged as held back.
#[derive(Default)]
struct Flags(Vec<bool>);

impl tidegate_wire::event::EventSink for Flags {
    fn delta(&mut self, header: &tidegate_wire::Header, _: tidegate_wire::event::Depth<'_>) {
        self.0.push(header.flags & FLAG_BUFFERED != 0);
    }
    fn snapshot(&mut self, _: &tidegate_wire::Header, _: tidegate_wire::event::Depth<'_>) {}
    fn quote(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::Quote) {}
    fn trade(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::Trade) {}
    fn mark(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::Mark) {}
    fn option(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::OptionMark) {}
    fn bar(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::Bar) {}
    fn status(&mut self, _: &tidegate_wire::Header, _: &tidegate_wire::event::Status) {}
    fn heartbeat(&mut self, _: &tidegate_wire::Header) {}
}

#[test]
fn resync_takes_one_book_out_of_service_until_its_next_snapshot() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12)].iter().for_each(|frame| rig.only(Venue::BinanceSpot, frame));
    rig.resync(InstrumentId(0));
    assert_eq!(rig.book().quality, BookQuality::Building);
    rig.only(Venue::BinanceSpot, &spot(13, 14));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Building, Some(12)));
    rig.only(Venue::BinanceSpot, &snapshot(13));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Good, Some(14)));
    assert_eq!((rig.counters().gaps, rig.counters().resyncs), (0, 1));
    // An instrument that does not exist is nobody's book.
    rig.resync(InstrumentId(99));
    rig.resync(InstrumentId::NONE);
}

/// A frame from one of several sources.
fn from(rig: &mut Rig, source: u16, text: &str) {
    rig.frame(&meta(Venue::BinanceSpot, source, InstrumentId(0)), text.as_bytes());
}

/// The same, so many seconds after the first frame.
fn later(rig: &mut Rig, seconds: i64, source: u16, text: &str) {
    let at = FrameMeta { recv_ns: seconds * 1_000_000_000, ..meta(Venue::BinanceSpot, source, InstrumentId(0)) };
    rig.frame(&at, text.as_bytes());
}

#[test]
fn a_hole_after_a_silence_of_the_old_source_is_a_session() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12)].iter().for_each(|frame| from(&mut rig, 0, frame));
    // The second source continues the first without a hole: nothing happens.
    later(&mut rig, 10, 1, &spot(13, 14));
    assert_eq!((rig.book().quality, rig.counters().sessions), (BookQuality::Good, 0));
    later(&mut rig, 20, 2, &spot(90, 91));
    assert_eq!((rig.book().quality, rig.counters().sessions, rig.counters().gaps), (BookQuality::Building, 1, 0));
    assert_ne!(rig.book().flags & FLAG_SESSION, 0);
    later(&mut rig, 20, 2, &snapshot(90));
    assert_eq!((rig.book().quality, rig.counters().resyncs), (BookQuality::Good, 0), "a session starts anew");
    // A recording that begins with its snapshot is a session too.
    later(&mut rig, 30, 3, &snapshot(500));
    assert_eq!((rig.book().quality, rig.counters().sessions), (BookQuality::Building, 2));
    later(&mut rig, 30, 3, &spot(501, 502));
    assert_eq!(rig.book().quality, BookQuality::Good);
}

#[test]
fn a_frame_that_both_of_two_recordings_lost_is_a_gap() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12)].iter().for_each(|frame| from(&mut rig, 0, frame));
    from(&mut rig, 1, &spot(11, 12));
    from(&mut rig, 1, &spot(15, 16));
    // The other one may still have what is missing; when it has come past the hole too, nobody has.
    assert_eq!((rig.book().quality, rig.counters().gaps), (BookQuality::Good, 0));
    from(&mut rig, 0, &spot(15, 16));
    assert_eq!((rig.book().quality, rig.counters().sessions, rig.counters().gaps), (BookQuality::Gapped, 0, 1));
}

#[test]
fn a_newer_answer_recorded_apart_from_the_stream_changes_nothing_while_the_stream_goes_on() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12)].iter().for_each(|frame| later(&mut rig, 100, 0, frame));
    later(&mut rig, 101, 7, &snapshot(15));
    assert_eq!((rig.book().quality, rig.sink.spares), (BookQuality::Good, 1));
    later(&mut rig, 101, 0, &spot(13, 14));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Good, Some(14)));
    assert_eq!((rig.counters().sessions, rig.counters().gaps), (0, 0));
}

#[test]
fn a_recording_that_begins_soon_after_another_with_a_snapshot_carries_the_book_on() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12)].iter().for_each(|frame| later(&mut rig, 100, 0, frame));
    later(&mut rig, 102, 1, &snapshot(30));
    later(&mut rig, 102, 1, &spot(31, 32));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Good, Some(32)));
    assert_eq!((rig.counters().sessions, rig.counters().gaps, rig.counters().resyncs), (0, 0, 0));
    // Without a snapshot of its own the hole is a gap: two seconds are no end.
    later(&mut rig, 104, 2, &spot(90, 91));
    assert_eq!((rig.book().quality, rig.counters().gaps), (BookQuality::Gapped, 1));
}

#[test]
fn a_recording_that_begins_long_after_an_unhealed_gap_is_a_session() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12), spot(15, 16)].iter().for_each(|frame| later(&mut rig, 100, 0, frame));
    assert_eq!(rig.book().quality, BookQuality::Gapped);
    // The exchange counts anew: what was held back must not stand in the way.
    later(&mut rig, 9_000, 1, &spot(3, 4));
    assert_eq!((rig.counters().sessions, rig.book().quality), (1, BookQuality::Building));
    later(&mut rig, 9_000, 1, &snapshot(3));
    assert_eq!((rig.book().quality, bid(&rig), rig.counters().resyncs), (BookQuality::Good, Some(4), 0));
}

#[test]
fn a_snapshot_whose_stream_never_comes_is_given_up() {
    let mut rig = Rig::new(&registry());
    from(&mut rig, 0, &snapshot(1_000_000));
    (0..1_025).for_each(|id| from(&mut rig, 0, &spot(id + 1, id + 1)));
    assert_eq!((rig.book().quality, rig.counters().gaps), (BookQuality::Gapped, 1), "the venue counts anew");
    from(&mut rig, 0, &snapshot(1_025));
    from(&mut rig, 0, &spot(1_026, 1_026));
    assert_eq!(rig.book().quality, BookQuality::Good);
}

#[test]
fn an_old_answer_recorded_apart_from_the_stream_does_not_end_the_session() {
    let mut rig = Rig::new(&registry());
    from(&mut rig, 1, &spot(11, 12));
    from(&mut rig, 0, &snapshot(11));
    from(&mut rig, 1, &spot(13, 20));
    assert_eq!(rig.book().quality, BookQuality::Good);
    // A second answer, late: the stream is already past it, so it must not put the book back.
    from(&mut rig, 0, &snapshot(15));
    assert_eq!((rig.book().quality, bid(&rig), rig.counters().snapshots_unneeded), (BookQuality::Good, Some(20), 1));
    assert_eq!(rig.sink.spares, 1, "a book that is corrupt though its sequence is whole may want it");
    from(&mut rig, 1, &spot(21, 22));
    assert_eq!((rig.book().quality, bid(&rig)), (BookQuality::Good, Some(22)));
    assert_eq!((rig.counters().sessions, rig.counters().gaps), (0, 0));
}

#[test]
fn ids_that_run_backwards_are_a_bad_field() {
    let mut rig = Rig::new(&registry());
    [snapshot(10), spot(11, 12), spot(20, 13)].iter().for_each(|frame| rig.only(Venue::BinanceSpot, frame));
    assert_eq!(rig.counters().skipped[tidegate_feed::Reason::BadField as usize], 1);
    assert_eq!(rig.book().quality, BookQuality::Good);
}
