//! Two connections that carry the same streams, over a model exchange: whatever single connections lose, repeat or
//! bring late, a book is never wrong, and a hole of one is filled by the other without a gap.

mod common;

use std::collections::BTreeMap;

use common::random::Random;
use common::{Rig, Side};
use tidegate_feed::FrameMeta;
use tidegate_wire::event::BookQuality;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

const MS: i64 = 1_000_000;

fn rig(venue: Venue, symbol: &str) -> Rig {
    let mut registry = Registry::new();
    registry.add(Instrument::linear(venue, symbol, 0, 0)).expect("a good instrument");
    Rig::new(&registry)
}

/// The exchange's own book, and its history by id.
struct Exchange {
    venue: Venue,
    bids: Side,
    asks: Side,
    id: u64,
    /// Books by id: what a receiver that is at that id must have.
    history: BTreeMap<u64, (Side, Side)>,
}

type Change = (bool, i64, i64);

impl Exchange {
    fn new(venue: Venue) -> Self {
        let (bids, asks) = ((90..100).map(|p| (p, 5)).collect(), (101..111).map(|p| (p, 5)).collect());
        let mut exchange = Self { venue, bids, asks, id: 1000, history: BTreeMap::new() };
        exchange.remember();
        exchange
    }

    fn remember(&mut self) {
        self.history.insert(self.id, (self.bids.clone(), self.asks.clone()));
    }

    /// Some levels change; gives the changes, and the ids before and after.
    fn step(&mut self, random: &mut Random) -> (Vec<Change>, u64, u64) {
        let before = self.id;
        let count = 1 + random.below(4);
        let changes: Vec<Change> = (0..count)
            .map(|_| {
                let bid = random.below(2) == 0;
                let price = if bid { 90 + random.below(10) } else { 101 + random.below(10) } as i64;
                (bid, price, random.below(6) as i64)
            })
            .collect();
        for (bid, price, qty) in &changes {
            let side = if *bid { &mut self.bids } else { &mut self.asks };
            if *qty == 0 {
                side.remove(price)
            } else {
                side.insert(*price, *qty)
            };
        }
        // Contiguous where the venue counts frames, jumping where it names the one before.
        self.id += if self.venue == Venue::Bybit { 1 } else { count as u64 };
        self.remember();
        (changes, before, self.id)
    }

    /// A step, and the frame that tells it.
    fn next(&mut self, random: &mut Random) -> String {
        let step = self.step(random);
        self.delta(&step)
    }

    fn delta(&self, (changes, before, after): &(Vec<Change>, u64, u64)) -> String {
        let side = |bid: bool| {
            let levels = changes.iter().filter(|(b, ..)| *b == bid);
            // The last change of a level counts: frames hold each level once.
            let last: BTreeMap<i64, i64> = levels.map(|(_, price, qty)| (*price, *qty)).collect();
            levels_text(self.venue, &last)
        };
        let (bids, asks) = (side(true), side(false));
        let first = before + 1;
        match self.venue {
            Venue::BinanceUsdm => format!(
                r#"{{"e":"depthUpdate","E":1,"T":1,"s":"ABC","U":{first},"u":{after},"pu":{before},"b":[{bids}],"a":[{asks}]}}"#
            ),
            Venue::BinanceSpot => {
                format!(r#"{{"e":"depthUpdate","E":1,"s":"ABC","U":{first},"u":{after},"b":[{bids}],"a":[{asks}]}}"#)
            }
            _ => self.stream(false, (&bids, &asks), (*before, *after)),
        }
    }

    fn snapshot(&self) -> String {
        let (bids, asks) = (levels_text(self.venue, &self.bids), levels_text(self.venue, &self.asks));
        match self.venue {
            Venue::BinanceUsdm | Venue::BinanceSpot => {
                format!(r#"{{"lastUpdateId":{},"bids":[{bids}],"asks":[{asks}]}}"#, self.id)
            }
            _ => self.stream(true, (&bids, &asks), (0, self.id)),
        }
    }

    fn stream(&self, whole: bool, (bids, asks): (&str, &str), (before, after): (u64, u64)) -> String {
        let action = if whole { "snapshot" } else { "update" };
        match self.venue {
            Venue::Okx => {
                let before = if whole { "-1".to_owned() } else { before.to_string() };
                format!(
                    r#"{{"arg":{{"channel":"books","instId":"ABC"}},"action":"{action}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1","checksum":0,"seqId":{after},"prevSeqId":{before}}}]}}"#
                )
            }
            Venue::Bybit => {
                let kind = if whole { "snapshot" } else { "delta" };
                format!(
                    r#"{{"topic":"orderbook.200.ABC","type":"{kind}","ts":1,"data":{{"s":"ABC","b":[{bids}],"a":[{asks}],"u":{after},"seq":{after}}},"cts":1}}"#
                )
            }
            Venue::BitgetUsdt => format!(
                r#"{{"action":"{action}","arg":{{"instType":"USDT-FUTURES","channel":"books","instId":"ABC"}},"data":[{{"asks":[{asks}],"bids":[{bids}],"checksum":0,"seq":{after},"pseq":{before},"ts":"1"}}],"ts":1}}"#
            ),
            _ => {
                let kind = if whole { "snapshot" } else { "change" };
                let prev = if whole { "null".to_owned() } else { before.to_string() };
                format!(
                    r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.ABC.100ms","data":{{"type":"{kind}","instrument_name":"ABC","timestamp":1,"change_id":{after},"prev_change_id":{prev},"bids":[{bids}],"asks":[{asks}]}}}}}}"#
                )
            }
        }
    }
}

fn levels_text(venue: Venue, side: &Side) -> String {
    let level = |(price, qty): (&i64, &i64)| match venue {
        Venue::Okx => format!(r#"["{price}","{qty}","0","1"]"#),
        Venue::Deribit => {
            let action = if *qty == 0 { "delete" } else { "change" };
            format!(r#"["{action}",{price}.0,{qty}.0]"#)
        }
        _ => format!(r#"["{price}","{qty}"]"#),
    };
    side.iter().map(level).collect::<Vec<_>>().join(",")
}

const VENUES: [Venue; 6] =
    [Venue::BinanceSpot, Venue::BinanceUsdm, Venue::Okx, Venue::Bybit, Venue::BitgetUsdt, Venue::Deribit];

/// Frames on their way over two connections.
struct Wire {
    rig: Rig,
    venue: Venue,
    now_ns: i64,
}

impl Wire {
    fn new(venue: Venue) -> Self {
        Self { rig: rig(venue, "ABC"), venue, now_ns: 1_000_000 * MS }
    }

    fn frame(&mut self, source: u16, text: &str) {
        self.now_ns += MS;
        let (venue, hint, recv_ns) = (self.venue, InstrumentId(0), self.now_ns);
        let meta = FrameMeta { recv_ns, arrive_ticks: 0, venue, source, hint };
        self.rig.frame(&meta, text.as_bytes());
    }

    /// A good book must be the exchange's at that id.
    fn check(&self, exchange: &Exchange, what: &str) {
        let book = self.rig.book();
        if book.quality != BookQuality::Good {
            return;
        }
        // Emitted ids are the venue's as long as it does not count anew.
        let (bids, asks) =
            exchange.history.get(&book.last).unwrap_or_else(|| panic!("{what}: no book at {}", book.last));
        assert_eq!((&book.bids, &book.asks), (bids, asks), "{what}: at {}", book.last);
    }
}

/// Both connections subscribed and up to date; Binance's snapshot comes by REST and joins.
fn joined(venue: Venue, seed: u64) -> (Wire, Exchange, Random) {
    let (mut wire, mut exchange, mut random) = (Wire::new(venue), Exchange::new(venue), Random(seed));
    wire.frame(1, &exchange.snapshot());
    let text = exchange.next(&mut random);
    wire.frame(1, &text);
    wire.frame(2, &text);
    (wire, exchange, random)
}

#[test]
fn a_hole_of_one_connection_is_filled_by_the_other() {
    for venue in VENUES {
        let (mut wire, mut exchange, mut random) = joined(venue, 7);
        assert_eq!(wire.rig.book().quality, BookQuality::Good, "{venue}");
        for lost in 0..20 {
            let steps: Vec<_> = (0..4).map(|_| exchange.next(&mut random)).collect();
            // Connection 1 loses the second of four and runs ahead; connection 2 is whole and late.
            let loser = 1 + lost % 2;
            for (index, text) in steps.iter().enumerate() {
                if index != 1 {
                    wire.frame(loser, text);
                    wire.check(&exchange, &format!("{venue} ahead"));
                }
            }
            for text in &steps {
                wire.frame(3 - loser, text);
                wire.check(&exchange, &format!("{venue} filled"));
            }
            assert_eq!(wire.rig.book().last, exchange.id, "{venue}");
        }
        let counters = wire.rig.counters();
        assert_eq!((counters.gaps, counters.healed, counters.resyncs), (0, 20, 0), "{venue}");
    }
}

#[test]
fn a_hole_of_both_is_a_gap_at_once() {
    for venue in VENUES {
        let (mut wire, mut exchange, mut random) = joined(venue, 9);
        exchange.step(&mut random);
        let text = exchange.next(&mut random);
        wire.frame(1, &text);
        assert_eq!(wire.rig.book().quality, BookQuality::Good, "{venue}: whole as far as it goes");
        wire.frame(2, &text);
        assert_eq!(wire.rig.book().quality, BookQuality::Gapped, "{venue}");
        assert_eq!(wire.rig.counters().gaps, 1, "{venue}");
    }
}

/// A connection that stood still for seconds brings everything at once, when all of it is old.
#[test]
fn a_connection_far_behind_harms_nothing() {
    for venue in VENUES {
        let (mut wire, mut exchange, mut random) = joined(venue, 13);
        let missed: Vec<_> = (0..300).map(|_| exchange.next(&mut random)).collect();
        for text in &missed {
            wire.frame(1, text);
        }
        for text in &missed {
            wire.frame(2, text);
            wire.check(&exchange, &format!("{venue}"));
        }
        let next = exchange.next(&mut random);
        wire.frame(1, &next);
        assert_eq!((wire.rig.book().quality, wire.rig.book().last), (BookQuality::Good, exchange.id), "{venue}");
        assert_eq!((wire.rig.counters().gaps, wire.rig.counters().resyncs), (0, 0), "{venue}");
    }
}

/// A book that comes back over another connection is the same book, however long that took.
#[test]
fn a_long_outage_is_a_resync_and_no_other_recording() {
    for (venue, live) in VENUES.iter().flat_map(|venue| [(*venue, true), (*venue, false)]) {
        let (mut wire, mut exchange) = (Wire::new(venue), Exchange::new(venue));
        let mut random = Random(17);
        wire.rig.feed = wire.rig.feed.of_live_frames(live);
        wire.frame(1, &exchange.snapshot());
        let text = exchange.next(&mut random);
        wire.frame(1, &text);
        wire.rig.resync(InstrumentId(0));
        wire.now_ns += 20_000 * MS;
        wire.frame(2, &exchange.snapshot());
        let text = exchange.next(&mut random);
        wire.frame(2, &text);
        assert_eq!(wire.rig.book().quality, BookQuality::Good, "{venue}");
        let counters = wire.rig.counters();
        let expected = if live { (0, 1) } else { (1, 0) };
        assert_eq!((counters.sessions, counters.resyncs), expected, "{venue} {live}");
    }
}

#[test]
fn who_waits_in_vain_waits_half_a_second() {
    for venue in VENUES {
        let (mut wire, mut exchange, mut random) = joined(venue, 11);
        // Connection 2 falls silent, connection 1 loses a frame.
        exchange.step(&mut random);
        let begun = wire.now_ns;
        while wire.rig.book().quality == BookQuality::Good {
            wire.now_ns += 50 * MS;
            let text = exchange.next(&mut random);
            wire.frame(1, &text);
            wire.check(&exchange, &format!("{venue}"));
            assert!(wire.now_ns - begun < 1_000 * MS, "{venue}: it waits for ever");
        }
        assert!(wire.now_ns - begun >= 500 * MS, "{venue}");
    }
}

/// Random loss, repetition and lateness on two connections, with snapshots whenever the book asks for one.
#[test]
fn a_good_book_is_the_exchanges_whatever_two_connections_do() {
    for venue in VENUES {
        let (mut gaps, mut healed, mut good) = (0, 0, 0u64);
        for seed in 0..40 {
            let (mut wire, mut exchange, mut random) = (Wire::new(venue), Exchange::new(venue), Random(seed));
            let mut queues: [Vec<String>; 2] = Default::default();
            wire.frame(1, &exchange.snapshot());
            for _ in 0..300 {
                let text = exchange.next(&mut random);
                for queue in &mut queues {
                    match random.below(20) {
                        0 => {}
                        1 => queue.extend([text.clone(), text.clone()]),
                        _ => queue.push(text.clone()),
                    }
                }
                for source in [1, 2] {
                    // Late by up to a few frames, never out of order: TCP keeps that.
                    let queue = &mut queues[usize::from(source) - 1];
                    for text in queue.drain(..queue.len().min(random.below(4))) {
                        wire.frame(source, &text);
                        wire.check(&exchange, &format!("{venue}, seed {seed}"));
                    }
                }
                if wire.rig.feed.waiting().next().is_some() && random.below(3) == 0 {
                    wire.frame(1 + random.below(2) as u16, &exchange.snapshot());
                    wire.check(&exchange, &format!("{venue}, seed {seed}, after a snapshot"));
                }
                good += u64::from(wire.rig.book().quality == BookQuality::Good);
            }
            let counters = wire.rig.counters();
            (gaps, healed) = (gaps + counters.gaps, healed + counters.healed);
        }
        assert!(healed > 300, "{venue}: {healed} healed, {gaps} gaps");
        assert!(good > 40 * 300 / 2, "{venue}: good {good} times of {}", 40 * 300);
    }
}
