//! OKX books whose stream begins without a snapshot: what comes is held back until an answer of REST joins it.

mod common;

use std::collections::BTreeMap;

use common::random::Random;
use common::{Rig, Side, meta};
use tidegate_feed::{FrameMeta, Reason};
use tidegate_wire::event::BookQuality;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

const ABC: InstrumentId = InstrumentId(0);
const MS: i64 = 1_000_000;

fn rig() -> Rig {
    let mut registry = Registry::new();
    registry.add(Instrument::linear(Venue::Okx, "ABC", 0, 0)).expect("a good instrument");
    Rig::new(&registry)
}

/// A change of one bid from one number to the next, at a time of the venue.
fn frame(price: i64, qty: i64, (previous, last): (u64, u64), ms: i64) -> String {
    let bids = if price == 0 { String::new() } else { format!(r#"["{price}","{qty}","0","1"]"#) };
    format!(
        r#"{{"arg":{{"channel":"books","instId":"ABC"}},"action":"update","data":[{{"asks":[],"bids":[{bids}],"ts":"{ms}","checksum":0,"seqId":{last},"prevSeqId":{previous}}}]}}"#
    )
}

fn change(rig: &mut Rig, price: i64, ids: (u64, u64)) {
    rig.only(Venue::Okx, &frame(price, 5, ids, 100));
}

/// An answer of REST: one bid and one ask.
fn answer(bid: i64, id: u64, ms: i64) -> String {
    format!(
        r#"{{"code":"0","msg":"","data":[{{"asks":[["99","1","0","1"]],"bids":[["{bid}","1","0","1"]],"ts":"{ms}","seqId":{id}}}]}}"#
    )
}

fn rest(rig: &mut Rig, text: &str) {
    rig.frame(&meta(Venue::Okx, u16::MAX, ABC), text.as_bytes());
}

/// Quality of the book, and its bids.
fn bids(rig: &Rig) -> (BookQuality, Vec<i64>) {
    (rig.book().quality, rig.book().bids.keys().copied().collect())
}

/// A book that is good after 20, begun by REST at 15.
fn begun() -> Rig {
    let mut rig = rig();
    change(&mut rig, 10, (8, 10));
    change(&mut rig, 11, (10, 14));
    change(&mut rig, 12, (14, 20));
    rest(&mut rig, &answer(50, 15, 100));
    rig
}

#[test]
fn held_frames_join_the_answer() {
    let mut rig = rig();
    change(&mut rig, 10, (8, 10));
    change(&mut rig, 11, (10, 14));
    // Nothing changed, and a copy.
    change(&mut rig, 0, (14, 14));
    change(&mut rig, 11, (10, 14));
    change(&mut rig, 12, (14, 20));
    assert_eq!((bids(&rig).0, rig.feed.waiting().count()), (BookQuality::Building, 1));
    let counters = rig.counters();
    assert_eq!((counters.held_back, counters.outdated, counters.dropped), (2, 1, 2));
    // The answer has 11 already, and not yet 12; the first frame is not used.
    rest(&mut rig, &answer(50, 15, 100));
    assert_eq!((bids(&rig), rig.book().last), ((BookQuality::Good, vec![12, 50]), 20));
    assert_eq!((rig.feed.waiting().count(), rig.counters().outdated, rig.counters().deltas), (0, 2, 1));
    change(&mut rig, 13, (20, 21));
    assert_eq!((bids(&rig), rig.book().last), ((BookQuality::Good, vec![12, 13, 50]), 21));
    assert_eq!((rig.counters().gaps, rig.counters().snapshots), (0, 1));
}

#[test]
fn an_answer_at_the_streams_place_or_ahead_of_it() {
    // Where the stream stands: nothing more has to come.
    let mut level = rig();
    change(&mut level, 10, (8, 10));
    rest(&mut level, &answer(50, 10, 100));
    assert_eq!(bids(&level), (BookQuality::Good, vec![50]));
    // Ahead: the stream must reach it first.
    let mut ahead = rig();
    change(&mut ahead, 10, (8, 10));
    rest(&mut ahead, &answer(50, 15, 100));
    assert_eq!((bids(&ahead).0, ahead.feed.waiting().count()), (BookQuality::Building, 0));
    change(&mut ahead, 11, (10, 14));
    assert_eq!((bids(&ahead), ahead.counters().outdated), ((BookQuality::Building, vec![50]), 1));
    change(&mut ahead, 12, (14, 20));
    assert_eq!(bids(&ahead), (BookQuality::Good, vec![12, 50]));
    // A quiet stream says that it stands there.
    let mut quiet = rig();
    change(&mut quiet, 10, (8, 10));
    rest(&mut quiet, &answer(50, 14, 100));
    change(&mut quiet, 11, (10, 14));
    assert_eq!(bids(&quiet).0, BookQuality::Building);
    change(&mut quiet, 0, (14, 14));
    assert_eq!(bids(&quiet), (BookQuality::Good, vec![50]));
}

#[test]
fn an_answer_older_than_the_stream_is_refused_and_what_is_held_stays() {
    let mut rig = rig();
    rest(&mut rig, &answer(50, 9, 100));
    assert_eq!((rig.counters().snapshots_too_old, rig.feed.waiting().count()), (1, 1), "no stream yet");
    change(&mut rig, 10, (8, 10));
    change(&mut rig, 11, (10, 14));
    rest(&mut rig, &answer(50, 9, 100));
    assert_eq!((rig.counters().snapshots_too_old, rig.feed.waiting().count()), (2, 1));
    rest(&mut rig, &answer(50, 10, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![11, 50]));
    rest(&mut rig, &answer(51, 14, 100));
    assert_eq!((bids(&rig).1, rig.counters().snapshots_unneeded), (vec![11, 50], 1));
}

#[test]
fn a_gap_is_healed_from_the_frame_that_showed_it() {
    let mut rig = begun();
    change(&mut rig, 14, (25, 30));
    assert_eq!((bids(&rig).0, rig.counters().gaps), (BookQuality::Gapped, 1));
    change(&mut rig, 15, (30, 31));
    rest(&mut rig, &answer(51, 24, 100));
    assert_eq!(
        (bids(&rig).0, rig.counters().snapshots_too_old),
        (BookQuality::Gapped, 1),
        "from before the hole's end"
    );
    rest(&mut rig, &answer(51, 25, 100));
    assert_eq!((bids(&rig), rig.counters().resyncs), ((BookQuality::Good, vec![14, 15, 51]), 1));
    // A hole in what is held: what came before it is of no use.
    change(&mut rig, 16, (40, 41));
    change(&mut rig, 17, (45, 46));
    rest(&mut rig, &answer(52, 44, 100));
    assert_eq!(bids(&rig).0, BookQuality::Gapped);
    rest(&mut rig, &answer(52, 45, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![17, 52]));
    // Out of service by order: the next frame may be a new connection's first.
    rig.resync(ABC);
    change(&mut rig, 18, (46, 50));
    rest(&mut rig, &answer(53, 49, 100));
    assert_eq!(bids(&rig).0, BookQuality::Building);
    rest(&mut rig, &answer(53, 50, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![53]));
}

#[test]
fn a_snapshot_of_the_stream_goes_before_everything() {
    let mut rig = rig();
    change(&mut rig, 10, (8, 10));
    change(&mut rig, 11, (10, 14));
    let snapshot =
        frame(60, 5, (0, 20), 100).replace("update", "snapshot").replace("\"prevSeqId\":0", "\"prevSeqId\":-1");
    rig.only(Venue::Okx, &snapshot);
    assert_eq!((bids(&rig), rig.counters().dropped), ((BookQuality::Good, vec![60]), 2));
    // One that waits for its stream is replaced too.
    let mut ahead = begun();
    ahead.resync(ABC);
    change(&mut ahead, 10, (20, 21));
    rest(&mut ahead, &answer(50, 30, 100));
    assert_eq!(bids(&ahead).0, BookQuality::Building);
    ahead.only(Venue::Okx, &snapshot);
    assert_eq!(bids(&ahead), (BookQuality::Good, vec![60]));
}

#[test]
fn numbers_that_begin_anew_belong_to_answers_from_behind_that() {
    let mut rig = rig();
    change(&mut rig, 10, (4990, 5000));
    rig.only(Venue::Okx, &frame(11, 5, (5000, 3), 200));
    rig.only(Venue::Okx, &frame(12, 5, (3, 7), 300));
    // 5001 would wait for a stream that comes there some day.
    rest(&mut rig, &answer(50, 5001, 190));
    assert_eq!((rig.counters().snapshots_too_old, rig.feed.waiting().count()), (1, 1));
    rest(&mut rig, &answer(50, 5, 250));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![12, 50]));
    // Soon after an answer nobody can say which numbering it was of.
    rig.only(Venue::Okx, &frame(13, 5, (7, 2), 400));
    assert_eq!((bids(&rig).0, rig.counters().gaps), (BookQuality::Gapped, 1));
    rest(&mut rig, &answer(51, 2, 450));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![51]));
    // Long after it the chain goes on.
    (2..80).for_each(|id| change(&mut rig, 20, (id, id + 1)));
    change(&mut rig, 21, (80, 1));
    assert_eq!((bids(&rig), rig.counters().gaps), ((BookQuality::Good, vec![20, 21, 51]), 1));
}

/// Numbers that fell without the frame that says so: what comes looks old, but not for ever.
#[test]
fn a_stream_that_counts_anew_unseen_is_taken_up() {
    let mut rig = rig();
    change(&mut rig, 10, (4990, 5000));
    change(&mut rig, 11, (1, 2));
    rest(&mut rig, &answer(50, 2, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![50]), "one connection keeps its order");
    rig.resync(ABC);
    change(&mut rig, 10, (4990, 5000));
    for id in 2..80 {
        rig.frame(&meta(Venue::Okx, 7, ABC), frame(11, 5, (id, id + 1), 100).as_bytes());
    }
    rest(&mut rig, &answer(50, 80, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![50]), "another one may lag, but not so far");
    // The same while an answer waits for its stream.
    rig.resync(ABC);
    change(&mut rig, 10, (80, 81));
    rest(&mut rig, &answer(50, 9000, 100));
    assert_eq!(rig.feed.waiting().count(), 0);
    (81..160).for_each(|id| change(&mut rig, 12, (id, id + 1)));
    assert_eq!(rig.feed.waiting().count(), 1, "the answer was of another numbering");
    rest(&mut rig, &answer(50, 160, 100));
    assert_eq!(bids(&rig), (BookQuality::Good, vec![50]));
}

#[test]
fn more_than_can_be_held_leaves_the_newest() {
    let mut rig = rig();
    (1..2000).for_each(|id| change(&mut rig, 10, (id, id + 1)));
    assert!(rig.counters().held_back_overflow >= 1000);
    rest(&mut rig, &answer(50, 900, 100));
    assert_eq!(rig.counters().snapshots_too_old, 1);
    rest(&mut rig, &answer(50, 1990, 100));
    assert_eq!((bids(&rig), rig.book().last), ((BookQuality::Good, vec![10, 50]), 2000));
}

#[test]
fn other_answers_and_other_streams_begin_no_book() {
    let mut rig = rig();
    change(&mut rig, 10, (8, 10));
    for text in [
        r#"{"code":"51001","msg":"Instrument ID doesn't exist.","data":[]}"#,
        r#"{"code":"0","msg":"","data":[]}"#,
        r#"{"code":"0","msg":"","data":[{"ts":"100"}]}"#,
        r#"{"code":"0","msg":"","data":[{"asks":[],"bids":[],"ts":"100"}]}"#,
    ] {
        rest(&mut rig, text);
    }
    assert_eq!(rig.counters().skipped[Reason::Control as usize], 4);
    rig.frame(&meta(Venue::Okx, 0, InstrumentId::NONE), answer(50, 10, 100).as_bytes());
    assert_eq!(rig.counters().skipped[Reason::UnnamedSnapshot as usize], 1);
    // Numbers of another depth are not those of REST.
    let mut other = common_rank("books50-l2-tbt");
    rest(&mut other, &answer(50, 10, 100));
    assert_eq!((other.counters().held_back, other.counters().snapshots_too_old), (0, 1));
}

fn common_rank(channel: &str) -> Rig {
    let mut rig = rig();
    for ids in [(8, 10), (10, 12)] {
        rig.only(Venue::Okx, &frame(10, 5, ids, 100).replace("\"books\"", &format!("\"{channel}\"")));
    }
    rig
}

/// The exchange's book, every book it ever was, and the frames under way on two connections.
struct Exchange {
    bids: Side,
    id: u64,
    ms: i64,
    history: BTreeMap<i64, Side>,
}

impl Exchange {
    /// Some bids change; now and then the numbers begin anew.
    fn step(&mut self, random: &mut Random) -> String {
        let (before, price, qty) = (self.id, 1 + random.below(8) as i64, random.below(4) as i64);
        if qty == 0 {
            self.bids.remove(&price)
        } else {
            self.bids.insert(price, qty)
        };
        self.id =
            if random.below(150) == 0 { 1 + random.below(2000) as u64 } else { before + 1 + random.below(5) as u64 };
        self.ms += 1;
        self.history.insert(self.ms, self.bids.clone());
        frame(price, qty, (before, self.id), self.ms)
    }

    fn answer(&self) -> String {
        let level = |(price, qty): (&i64, &i64)| format!(r#"["{price}","{qty}","0","1"]"#);
        let bids = self.bids.iter().map(level).collect::<Vec<_>>().join(",");
        let (ms, id) = (self.ms, self.id);
        format!(r#"{{"code":"0","msg":"","data":[{{"asks":[],"bids":[{bids}],"ts":"{ms}","seqId":{id}}}]}}"#)
    }
}

/// One or two connections that lose frames and lag, and answers that come late: a good book is one that the exchange
/// had, and once nothing is lost any more it is the exchange's.
#[test]
fn a_good_book_is_the_exchanges_whatever_happens() {
    let (mut good, mut healed) = (0, 0);
    for seed in 0..60 {
        let (mut rig, mut random, connections) = (rig(), Random(seed), 1 + seed as usize % 2);
        let mut exchange = Exchange { bids: Side::new(), id: 1000, ms: 1000, history: BTreeMap::new() };
        let mut queues: [Vec<String>; 2] = Default::default();
        let mut answers: Vec<String> = Vec::new();
        let feed = |rig: &mut Rig, source: usize, hint, text: &str, ms: i64| {
            let source = if source == 9 { u16::MAX } else { source as u16 };
            let recv_ns = ms * 20 * MS;
            let meta = FrameMeta { recv_ns, arrive_ticks: 0, venue: Venue::Okx, source, hint };
            rig.frame(&meta, text.as_bytes());
        };
        for round in 0..600 {
            let before = exchange.id;
            let text = exchange.step(&mut random);
            let lossy = round < 500;
            for queue in &mut queues[..connections] {
                if !lossy || random.below(25) != 0 {
                    queue.push(text.clone());
                }
            }
            // No answer of a new numbering comes before the stream has told of it.
            let fell = exchange.id < before;
            for (source, queue) in queues[..connections].iter_mut().enumerate() {
                let count = if fell || !lossy { queue.len() } else { queue.len().min(random.below(4)) };
                for text in queue.drain(..count) {
                    feed(&mut rig, 1 + source, InstrumentId::NONE, &text, exchange.ms);
                }
            }
            if rig.feed.waiting().next().is_some() && random.below(4) == 0 {
                answers.push(exchange.answer());
            }
            if !answers.is_empty() && random.below(3) == 0 {
                let text = answers.remove(0);
                feed(&mut rig, 9, ABC, &text, exchange.ms);
            }
            if rig.book().quality == BookQuality::Good {
                good += 1;
                let known = exchange.history.values().rev().take(100).any(|bids| *bids == rig.book().bids);
                assert!(known, "seed {seed}, round {round}: {:?}", rig.book());
            }
        }
        healed += rig.counters().resyncs;
        assert_eq!(bids(&rig).0, BookQuality::Good, "seed {seed}: {:?}", rig.counters());
        assert_eq!(rig.book().bids, exchange.bids, "seed {seed}");
    }
    assert!(good > 60 * 600 / 3 && healed > 300, "good {good} times, healed {healed}");
}
