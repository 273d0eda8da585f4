//! Queue models against queues that are known: five hours of Bitstamp, recorded order by order, tell who was ahead of
//! whom and who cancelled. Each model sees what a feed of levels shows, and is held to the truth.

use std::collections::{BTreeMap, HashMap};

use tidegate_feed::replay::{CaptureReader, Captured, SourceSpec};
use tidegate_tests::recorded;
use tidegate_trade::paper::{Queue, QueueModel, QueueRules, Stamps};
use tidegate_wire::{Scale, decimal};

const LOG: &str = "ob_analytics/2015-05-01.log.xz";
/// Prices in cents, quantities in hundred-millionths.
const PRICE: Scale = Scale::saturating(2);
const QTY: Scale = Scale::saturating(8);
/// The logarithmic model counts in lots: 0.01 BTC, about what the smallest orders have.
const LOT: i64 = 1_000_000;

const MODELS: [QueueModel; 6] = [
    QueueModel::RiskAverse,
    QueueModel::Power(3.0),
    QueueModel::Power(2.0),
    QueueModel::Proportional,
    QueueModel::Logarithmic,
    QueueModel::Optimistic,
];

/// A real order whose place is estimated.
struct Watched {
    queues: [Queue; 6],
    /// What was ahead when it came.
    start: i64,
    /// Sums of the models' errors, absolute and signed, each as a part of `start`, over changes of the level.
    absolute: [f64; 6],
    signed: [f64; 6],
    changes: u32,
    /// When its true place reached the front, and when each model said so, ns; 0 until then.
    front_ns: i64,
    said_ns: [i64; 6],
    came_ns: i64,
    /// Whether a cancellation came when others were ahead of it and behind it: else there is nothing to guess.
    is_doubtful: bool,
}

/// What an order lost, at which place of its level, and whether it was traded.
#[derive(Clone, Copy)]
struct Lost {
    place: usize,
    qty: i64,
    traded: bool,
}

/// Orders of a level in the order they came: id and quantity.
type Level = Vec<(u64, i64)>;

/// What the orders that are over amount to; all but the first line of those whose place had to be guessed.
#[derive(Default)]
struct Totals {
    watched: u32,
    orders: u32,
    changes: u32,
    absolute: [f64; 6],
    signed: [f64; 6],
    /// Orders that came to the front in truth, and the models' errors of the time it took, s; where a model never said
    /// so, until the order ended.
    fronts: u32,
    waits: f64,
    late: [f64; 6],
}

#[derive(Default)]
struct Books {
    levels: HashMap<(bool, i64), Level>,
    /// Side and price of every order.
    places: HashMap<u64, (bool, i64)>,
    watched: BTreeMap<u64, Watched>,
    totals: Totals,
}

impl Books {
    fn rules(model: QueueModel) -> QueueRules {
        QueueRules { model, lot: LOT, pairing_ns: 1_000_000_000, slack_ns: 0 }
    }

    fn created(&mut self, now: i64, id: u64, bid: bool, price: i64, qty: i64) {
        // An order that arrives as a taker is in the log before it trades; it is nobody's queue.
        let crosses = self.levels.iter().any(|((side, at), level)| {
            *side != bid && !level.is_empty() && if bid { *at <= price } else { *at >= price }
        });
        let level = self.levels.entry((bid, price)).or_default();
        let start: i64 = level.iter().map(|(_, qty)| qty).sum();
        level.push((id, qty));
        self.places.insert(id, (bid, price));
        let at = Stamps { event_ns: now, venue_ns: 0 };
        self.change(now, bid, price, id, None);
        if start > 0 && !crosses {
            let queues = MODELS.map(|_| Queue::join(Some(start), at, 0, Stamps::default()));
            let (zeros, never) = ([0.0; 6], [0; 6]);
            let (absolute, signed, said_ns) = (zeros, zeros, never);
            let (changes, front_ns, came_ns, is_doubtful) = (0, 0, now, false);
            let watched = Watched { queues, start, absolute, signed, changes, front_ns, said_ns, came_ns, is_doubtful };
            self.watched.insert(id, watched);
        }
    }

    /// An order has another quantity; what it lost was traded, or else cancelled.
    fn changed(&mut self, now: i64, id: u64, qty: i64, traded: bool) {
        let Some((bid, price)) = self.places.get(&id).copied() else { return };
        let level = self.levels.entry((bid, price)).or_default();
        let Some(place) = level.iter().position(|(other, _)| *other == id) else { return };
        let lost = level[place].1 - qty;
        level[place].1 = qty;
        if qty == 0 {
            level.remove(place);
            self.places.remove(&id);
            if let Some(watched) = self.watched.remove(&id) {
                self.totals.add(now, &watched);
            }
        }
        self.change(now, bid, price, id, Some(Lost { place, qty: lost, traded }));
    }

    /// Everybody in a level sees that it changed by another order, and what of that was a trade.
    fn change(&mut self, now: i64, bid: bool, price: i64, by: u64, lost: Option<Lost>) {
        let level = &self.levels[&(bid, price)];
        let whole: i64 = level.iter().map(|(_, qty)| qty).sum();
        let mut ahead = 0;
        let at = Stamps { event_ns: now, venue_ns: 0 };
        let traded = lost.filter(|lost| lost.traded).map_or(0, |lost| lost.qty);
        let cancelled = lost.filter(|lost| !lost.traded);
        for (index, (id, qty)) in level.iter().enumerate() {
            if let Some(watched) = self.watched.get_mut(id).filter(|_| *id != by) {
                for (index, queue) in watched.queues.iter_mut().enumerate() {
                    let rules = Self::rules(MODELS[index]);
                    if traded > 0 {
                        queue.trade(&rules, at, traded);
                    }
                    // A real order is in its own level; what it sees is the others.
                    queue.see(&rules, at, whole - qty);
                    let error = (queue.ahead() - ahead) as f64 / watched.start as f64;
                    watched.absolute[index] += error.abs();
                    watched.signed[index] += error;
                    if queue.ahead() == 0 && watched.said_ns[index] == 0 {
                        watched.said_ns[index] = now;
                    }
                }
                watched.changes += 1;
                if let Some(lost) = cancelled {
                    // Whoever stands at the place of the one that left, or after it, stood behind it.
                    let (front, back) = (ahead, whole - qty - ahead);
                    let is_behind = index >= lost.place;
                    watched.is_doubtful |= if is_behind { back > 0 } else { front > 0 };
                }
                if ahead == 0 && watched.front_ns == 0 {
                    watched.front_ns = now;
                }
            }
            ahead += qty;
        }
    }
}

impl Totals {
    fn add(&mut self, now: i64, watched: &Watched) {
        self.watched += u32::from(watched.changes > 0);
        if !watched.is_doubtful {
            return;
        }
        self.orders += 1;
        self.changes += watched.changes;
        let came = watched.front_ns > 0;
        self.fronts += u32::from(came);
        self.waits += if came { (watched.front_ns - watched.came_ns) as f64 * 1e-9 } else { 0.0 };
        for index in 0..MODELS.len() {
            self.absolute[index] += watched.absolute[index] / f64::from(watched.changes);
            self.signed[index] += watched.signed[index] / f64::from(watched.changes);
            let said = if watched.said_ns[index] > 0 { watched.said_ns[index] } else { now };
            self.late[index] += if came { (said - watched.front_ns).abs() as f64 * 1e-9 } else { 0.0 };
        }
    }
}

fn read(books: &mut Books, row: &[u8], now: i64) {
    let text = std::str::from_utf8(row).expect("text");
    let Some((kind, json)) = text.split_once(' ').and_then(|(_, rest)| rest.split_once(' ')) else { return };
    if !kind.starts_with("order_") || kind == "order_book" {
        return;
    }
    let order: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let number =
        |key: &str, scale| decimal::parse(order[key].as_str().expect("text").as_bytes(), scale).expect("a number");
    let (id, bid) = (order["id"].as_u64().expect("an id"), order["order_type"] == 0);
    let (price, qty) = (number("price", PRICE), number("amount", QTY));
    match kind {
        "order_created" => books.created(now, id, bid, price, qty),
        "order_changed" => books.changed(now, id, qty, true),
        // A filled order is deleted with nothing left, a cancelled one with what it had.
        _ => books.changed(now, id, 0, qty == 0),
    }
}

#[test]
fn queue_models_are_held_to_recorded_queues() {
    let Some(folder) = recorded("TIDEGATE_DATA", "../shared/data", LOG) else { return };
    let mut reader = CaptureReader::open(&SourceSpec { path: folder.join(LOG), venue: None }).expect("a log");
    let (mut books, mut captured) = (Books::default(), Captured::default());
    while reader.next(&mut captured).expect("a row") {
        read(&mut books, &captured.bytes, captured.recv_ns);
    }
    let totals = &books.totals;
    let orders = f64::from(totals.orders);
    println!(
        "{} orders behind others; {} of them with something to guess in {} changes, {} of those came to the front, \
         after {:.1} s on average",
        totals.watched,
        totals.orders,
        totals.changes,
        totals.fronts,
        totals.waits / f64::from(totals.fronts)
    );
    println!("{:<14} {:>20} {:>10} {:>20}", "model", "mean |error|/queue", "mean bias", "mean |front error| s");
    let mean = |sums: &[f64; 6], index: usize| sums[index] / orders;
    for (index, model) in MODELS.iter().enumerate() {
        let late = totals.late[index] / f64::from(totals.fronts);
        let (absolute, signed) = (mean(&totals.absolute, index), mean(&totals.signed, index));
        println!("{:<14} {absolute:>20.4} {signed:>10.4} {late:>20.2}", format!("{model:?}"));
    }
    assert!(totals.orders > 100, "enough to say anything: {}", totals.orders);
    let [first, last] = [0, MODELS.len() - 1];
    for (index, model) in MODELS.iter().enumerate() {
        let bias = mean(&totals.signed, index);
        assert!(mean(&totals.signed, first) >= bias && bias >= mean(&totals.signed, last), "the bounds are bounds");
        assert!(mean(&totals.absolute, index) < 1.0, "{model:?}: worse than knowing nothing");
    }
    assert!(mean(&totals.signed, first) >= 0.0, "the risk-averse model is never ahead of the truth");
    assert!(mean(&totals.signed, last) <= 0.0, "the optimistic one never behind it");
}
