//! A tiny exchange that knows the true book at every update id, a wire that loses, repeats and reorders its frames, and
//! a model that knows which frames a correct book may take. Whatever the wire does: a book that the feed calls good is
//! the exchange's book.

mod common;

use std::collections::BTreeMap;

use common::random::Random;
use common::{Book, Rig, Side, frames, meta};
use proptest::prelude::*;
use tidegate_wire::event::BookQuality;
use tidegate_wire::{InstrumentId, Venue};

/// The instruments under test in `frames::registry`: two of each sequence rule.
const BOOKS: [(Venue, &str, u16); 4] = [
    (Venue::BinanceSpot, "ABCUSDT", 0),
    (Venue::BinanceSpot, "XYZBTC", 1),
    (Venue::BinanceUsdm, "ABCUSDT", 2),
    (Venue::BinanceCoinm, "ABCUSD_PERP", 4),
];

/// A depth frame as the exchange sent it.
#[derive(Clone, Debug)]
struct Sent {
    first: u64,
    last: u64,
    prev: u64,
    /// Final quantities of what changed: `(bid, price, qty)`.
    changes: BTreeMap<(bool, i64), i64>,
}

/// One instrument at the exchange.
struct Exchange {
    venue: Venue,
    symbol: &'static str,
    instrument: InstrumentId,
    /// The true book at every update id of this instrument.
    truth: BTreeMap<u64, (Side, Side)>,
    last: u64,
    sent: Vec<Sent>,
}

impl Exchange {
    fn new((venue, symbol, index): (Venue, &'static str, u16)) -> Self {
        let truth = BTreeMap::from([(1000, (Side::new(), Side::new()))]);
        Self { venue, symbol, instrument: InstrumentId(index), truth, last: 1000, sent: Vec::new() }
    }

    fn chained(&self) -> bool {
        self.venue != Venue::BinanceSpot
    }

    /// A few updates of the book, published as one frame.
    fn trade_on(&mut self, random: &mut Random) -> Sent {
        let prev = self.last;
        let mut frame = Sent { first: 0, last: 0, prev, changes: BTreeMap::new() };
        for _ in 0..=random.below(3) {
            // Futures count the updates of the whole exchange: other instruments take most ids.
            self.last += if self.chained() { 1 + random.below(9) as u64 } else { 1 };
            frame.first = if frame.first == 0 { self.last } else { frame.first };
            let (mut bids, mut asks) = self.truth[&self.previous(self.last)].clone();
            let (bid, price, qty) = (random.below(2) == 0, 1 + random.below(8) as i64, random.below(4) as i64);
            let side = if bid { &mut bids } else { &mut asks };
            if qty == 0 {
                side.remove(&price)
            } else {
                side.insert(price, qty)
            };
            frame.changes.insert((bid, price), qty);
            self.truth.insert(self.last, (bids, asks));
        }
        frame.last = self.last;
        self.sent.push(frame.clone());
        frame
    }

    /// The last update id of this book before `id`.
    fn previous(&self, id: u64) -> u64 {
        self.truth.range(..id).next_back().map_or(0, |(id, _)| *id)
    }

    /// Whether a book at `last` misses nothing when it takes a frame that begins at `first`.
    fn complete(&self, last: u64, first: u64) -> bool {
        self.truth.range(last + 1..).next().is_none_or(|(next, _)| first <= *next)
    }

    /// An update id up to `back` updates ago: where a REST answer may stand.
    fn some_id(&self, random: &mut Random, back: usize) -> u64 {
        self.truth.keys().rev().nth(random.below(back.min(self.truth.len()))).copied().unwrap_or(self.last)
    }

    fn frame_text(&self, frame: &Sent) -> String {
        let side = |bid| {
            let levels = frame.changes.iter().filter(|((b, _), _)| *b == bid);
            levels.map(|((_, price), qty)| format!(r#"["{price}","{qty}"]"#)).collect::<Vec<_>>().join(",")
        };
        let Sent { first, last, prev, .. } = frame;
        let chain = if self.chained() { format!(r#""pu":{prev},"#) } else { String::new() };
        let (bids, asks, symbol) = (side(true), side(false), self.symbol);
        format!(r#"{{"e":"depthUpdate","E":1,"s":"{symbol}","U":{first},"u":{last},{chain}"b":[{bids}],"a":[{asks}]}}"#)
    }

    fn snapshot_text(&self, id: u64) -> String {
        let side = |side: &Side| side.iter().map(|(p, q)| format!(r#"["{p}","{q}"]"#)).collect::<Vec<_>>().join(",");
        let (bids, asks) = &self.truth[&id];
        format!(r#"{{"lastUpdateId":{id},"bids":[{}],"asks":[{}]}}"#, side(bids), side(asks))
    }
}

/// What a correct feed does with one instrument, said as simply as possible.
#[derive(Default)]
struct Model {
    /// Update id the book is at; `None` while it waits for a snapshot.
    at: Option<u64>,
    /// A frame has joined the snapshot.
    good: bool,
    was_good: bool,
    held: Vec<Sent>,
    applied: Vec<u64>,
    gaps: u64,
    resyncs: u64,
}

impl Model {
    /// A frame the book already has. The one a futures snapshot ends in still counts as its join.
    fn has(&self, exchange: &Exchange, at: u64, frame: &Sent) -> bool {
        if exchange.chained() && !self.good { frame.last < at } else { frame.last <= at }
    }

    /// Takes a frame; `false` where updates are missing before it.
    fn take(&mut self, exchange: &Exchange, at: u64, frame: &Sent) -> bool {
        if self.has(exchange, at, frame) {
            return true;
        }
        if !exchange.complete(at, frame.first) {
            (self.at, self.good) = (None, false);
            self.gaps += 1;
            return false;
        }
        if !self.good {
            self.resyncs += u64::from(self.was_good);
            (self.good, self.was_good) = (true, true);
        }
        self.at = Some(frame.last);
        self.applied.push(frame.last);
        true
    }

    fn frame(&mut self, exchange: &Exchange, frame: &Sent) {
        let taken = self.at.is_some_and(|at| self.take(exchange, at, frame));
        if !taken {
            self.held.push(frame.clone());
        }
    }

    fn snapshot(&mut self, exchange: &Exchange, id: u64) {
        let first = self.held.iter().find(|frame| !self.has(exchange, id, frame));
        let joins = first.is_none_or(|frame| exchange.complete(id, frame.first));
        if self.good || self.at.is_some_and(|at| id <= at) || !joins {
            return;
        }
        self.at = Some(id);
        while let Some(at) = self.at.filter(|_| !self.held.is_empty()) {
            let frame = self.held.remove(0);
            if !self.take(exchange, at, &frame) {
                self.held.insert(0, frame);
            }
        }
    }
}

/// What the wire does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Deliver,
    Lose,
    /// Sends one of the last frames again.
    Repeat,
    /// Swaps with the frame after it.
    Swap,
    /// A REST answer from some updates ago.
    Snapshot {
        back: usize,
    },
    /// Somebody knows the book to be wrong.
    Resync,
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        20 => Just(Act::Deliver),
        2 => Just(Act::Lose),
        2 => Just(Act::Repeat),
        1 => Just(Act::Swap),
        4 => (1usize..12).prop_map(|back| Act::Snapshot { back }),
        1 => Just(Act::Resync),
    ];
    (0..BOOKS.len(), act)
}

/// Exchange, model and feed side by side.
struct World {
    random: Random,
    exchanges: Vec<Exchange>,
    models: Vec<Model>,
    rig: Rig,
}

impl World {
    fn new(seed: u64) -> Self {
        let exchanges: Vec<_> = BOOKS.into_iter().map(Exchange::new).collect();
        let models = exchanges.iter().map(|_| Model::default()).collect();
        Self { random: Random(seed), exchanges, models, rig: Rig::new(&frames::registry()) }
    }

    fn send(&mut self, which: usize, frame: &Sent) {
        let exchange = &self.exchanges[which];
        self.models[which].frame(exchange, frame);
        self.rig.frame(&meta(exchange.venue, 0, exchange.instrument), exchange.frame_text(frame).as_bytes());
        self.check(which);
    }

    fn act(&mut self, which: usize, act: Act) {
        match act {
            Act::Deliver => {
                let frame = self.exchanges[which].trade_on(&mut self.random);
                self.send(which, &frame);
            }
            Act::Lose => drop(self.exchanges[which].trade_on(&mut self.random)),
            Act::Repeat => {
                let recent = &self.exchanges[which].sent[self.exchanges[which].sent.len().saturating_sub(6)..];
                if !recent.is_empty() {
                    let frame = self.random.of(recent).clone();
                    self.send(which, &frame);
                }
            }
            Act::Swap => {
                let frames = [(); 2].map(|()| self.exchanges[which].trade_on(&mut self.random));
                frames.iter().rev().for_each(|frame| self.send(which, frame));
            }
            Act::Snapshot { back } => {
                let exchange = &self.exchanges[which];
                let id = exchange.some_id(&mut self.random, back);
                self.models[which].snapshot(exchange, id);
                let text = exchange.snapshot_text(id);
                self.rig.frame(&meta(exchange.venue, 0, exchange.instrument), text.as_bytes());
                self.check(which);
            }
            Act::Resync => {
                let model = &mut self.models[which];
                (model.at, model.good) = (None, false);
                model.held.clear();
                self.rig.resync(self.exchanges[which].instrument);
                self.check(which);
            }
        }
    }

    /// The feed did what the model did, to this book and to no other.
    fn check(&self, which: usize) {
        let exchange = &self.exchanges[which];
        let model = &self.models[which];
        let book = self.book(which);
        assert_eq!(book.applied, model.applied, "{}: frames applied", exchange.symbol);
        assert_eq!(book.quality == BookQuality::Good, model.good, "{}: {:?}", exchange.symbol, book.quality);
        let counts = self.rig.feed.book_counts(exchange.instrument);
        assert_eq!(counts, (model.gaps, model.resyncs), "{}: gaps and resyncs", exchange.symbol);
        for (which, exchange) in self.exchanges.iter().enumerate() {
            self.check_truth(self.book(which), exchange, &self.models[which]);
        }
    }

    /// The one promise: a good book is the true one, quantity for quantity.
    fn check_truth(&self, book: &Book, exchange: &Exchange, model: &Model) {
        if book.quality == BookQuality::Good {
            assert_eq!(Some(book.last), model.at, "{}: last update", exchange.symbol);
            let (bids, asks) = &exchange.truth[&book.last];
            let units = frames::registry().get(exchange.instrument).map(|i| (i.price_scale, i.qty_scale));
            let (price, qty) = units.map(|(p, q)| (p.units(), q.units())).expect("registered");
            let scaled = |side: &Side| side.iter().map(|(p, q)| (p * price, q * qty)).collect::<Side>();
            assert_eq!((&book.bids, &book.asks), (&scaled(bids), &scaled(asks)), "{}", exchange.symbol);
        }
    }

    fn book(&self, which: usize) -> &Book {
        &self.rig.sink.books[self.exchanges[which].instrument.index()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_book_called_good_is_the_true_book(seed: u64, acts in prop::collection::vec(act(), 1..160)) {
        let mut world = World::new(seed);
        for (which, act) in acts {
            world.act(which, act);
        }
    }
}

#[test]
fn the_wire_is_rough_enough() {
    // The property above would hold of a feed that never called a book good: this one counts what it saw.
    let mut world = World::new(7);
    let mut random = Random(8);
    for _ in 0..20_000 {
        let act = match random.below(30) {
            0 => Act::Lose,
            1 => Act::Repeat,
            2 => Act::Swap,
            3..6 => Act::Snapshot { back: 1 + random.below(12) },
            _ => Act::Deliver,
        };
        // Truth and frames of the past are only looked at a little way back.
        let which = random.below(BOOKS.len());
        world.act(which, act);
        if world.exchanges[which].truth.len() > 400 {
            let exchange = &mut world.exchanges[which];
            let keep = exchange.truth.keys().rev().nth(200).copied().expect("many");
            exchange.truth = exchange.truth.split_off(&keep);
        }
    }
    let counters = world.rig.counters();
    assert!(counters.gaps > 500 && counters.resyncs > 400, "{counters:?}");
    assert!(counters.snapshots_too_old > 50 && counters.snapshots_unneeded > 50, "{counters:?}");
    assert!(counters.deltas > 8_000 && counters.outdated > 100, "{counters:?}");
}
