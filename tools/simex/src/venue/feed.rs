//! One instrument's connection: update ids, timers, and the frames in the order they arrive.
//!
//! # Sequence rules kept
//! * Spot ids count level changes of the symbol, so `U` of a frame is `u` of the frame before plus 1.
//! * Futures ids belong to the whole venue and race ahead with time; frames are chained by `pu`.
//! * A depth frame ends at the id of the last operation in it. A bookTicker carries the id of the operation that
//!   changed the touch; where the two ids meet, the book of the frame is the book of the bookTicker.
//! * The recorder asks for a snapshot after it has seen frames, and the snapshot's id is that of the last operation
//!   at that moment: inside the frame that is being collected, or the end of the one before.

use std::collections::VecDeque;

use super::batch::Batch;
use super::encode::{DepthIds, Encoder, Mark, Print, Times};
use super::line::Line;
use crate::config::{InstrumentSpec, MAX_INSTRUMENTS, NetworkParams, Product};
use crate::draw::Draw;
use crate::frame::FrameKind;
use crate::market::MarketEvent;
use crate::market::book::{Book, Level, Side};
use crate::script::RegimeSpan;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
/// Perpetuals settle funding every eight hours.
const FUNDING_MS: i64 = 8 * 3_600 * 1_000;
/// The recorder waits this long after connecting before it asks for a snapshot.
const SNAPSHOT_WAIT: i64 = 90 * MS;
/// Fewest and most depth frames that arrive before a snapshot.
const SNAPSHOT_DIFFS: (u32, u32) = (2, 24);

/// A frame on its way.
pub(crate) struct Sent {
    /// Receive time, ns since the epoch; monotone within a feed.
    pub(crate) recv_ns: i64,
    pub(crate) kind: FrameKind,
    pub(crate) bytes: Vec<u8>,
}

/// Where the recorder's snapshot is.
enum Snapshot {
    /// Not asked for: connected at this time.
    Waiting { since_ns: i64 },
    /// Asked for; taken after the first operation at or after this time.
    Requested { at_ns: i64 },
    /// Taken; arrives at this time.
    UnderWay { due_ns: i64, bytes: Vec<u8> },
    /// Delivered.
    Done,
}

/// One instrument's connection.
pub(crate) struct Feed {
    product: Product,
    ids_per_second: f64,
    index: i64,
    encoder: Encoder,
    line: Line,
    draw: Draw,
    start_ns: i64,
    first_id: i64,
    last_id: i64,
    batch: Batch,
    flush_ns: i64,
    previous_u: i64,
    touch: Option<(Level, Level)>,
    trade_id: i64,
    /// Present when aggregate trades are sent: next id and the print that is being aggregated.
    aggregate: Option<(i64, Option<Print>)>,
    mark_ns: i64,
    prices: (f64, f64),
    /// Smoothed premium of the mark over the index.
    premium: f64,
    snapshot: Snapshot,
    diffs: u32,
    reconnect_ns: Option<i64>,
    last_sent_ns: i64,
    queue: VecDeque<Sent>,
    pool: Vec<Vec<u8>>,
}

impl Feed {
    pub(crate) fn new(
        spec: &InstrumentSpec,
        index: usize,
        start_ns: i64,
        agg_trades: bool,
        network: &NetworkParams,
        truth: &[RegimeSpan],
        mut draws: impl FnMut() -> Draw,
    ) -> Self {
        let line = Line::new(network.clone(), truth, index, draws());
        Self {
            product: spec.product,
            ids_per_second: spec.ids_per_second,
            index: index as i64,
            encoder: Encoder::new(spec),
            reconnect_ns: line.next_reconnect(start_ns),
            line,
            draw: draws(),
            start_ns,
            first_id: spec.first_update_id,
            last_id: spec.first_update_id - 1,
            batch: Batch::default(),
            flush_ns: start_ns + 20 * MS,
            previous_u: spec.first_update_id - 1,
            touch: None,
            trade_id: spec.first_trade_id,
            aggregate: agg_trades.then_some((spec.first_trade_id / 2, None)),
            mark_ns: (start_ns / SECOND + 1) * SECOND,
            prices: (0.0, 0.0),
            premium: 0.0,
            snapshot: Snapshot::Waiting { since_ns: start_ns },
            diffs: 0,
            last_sent_ns: 0,
            queue: VecDeque::new(),
            pool: Vec::new(),
        }
    }

    /// Receive time of the next frame.
    pub(crate) fn next_recv_ns(&self) -> Option<i64> {
        self.queue.front().map(|sent| sent.recv_ns)
    }

    /// Takes the next frame and gives back a buffer for a later one.
    pub(crate) fn pop(&mut self, buffer: Vec<u8>) -> Option<Sent> {
        let sent = self.queue.pop_front();
        self.pool.push(buffer);
        sent
    }

    /// Sets the mark and index prices, quote currency, that the next mark-price frame prints.
    pub(crate) fn set_prices(&mut self, mark: f64, index: f64) {
        self.prices = (mark, index);
    }

    /// Handles every timer before `to_ns`. The market must not have moved past the last operation applied.
    pub(crate) fn advance(&mut self, to_ns: i64) {
        loop {
            let arrival = match self.snapshot {
                Snapshot::UnderWay { due_ns, .. } => due_ns,
                _ => i64::MAX,
            };
            let mark = if self.product.is_future() { self.mark_ns } else { i64::MAX };
            let reconnect = self.reconnect_ns.unwrap_or(i64::MAX);
            let due = self.flush_ns.min(arrival).min(mark).min(reconnect);
            if due >= to_ns {
                return;
            }
            if due == reconnect {
                self.reconnect(due);
            } else if due == mark {
                self.send_mark(due);
            } else if due == arrival {
                self.send_snapshot(due);
            } else {
                self.flush(due);
            }
        }
    }

    /// Applies what happened in the market at `time_ns`; `book` is the state after all of it.
    pub(crate) fn apply(&mut self, time_ns: i64, events: &[MarketEvent], book: &Book) {
        for event in events {
            match *event {
                MarketEvent::Trade { tick, lots, taker } => self.send_trade(time_ns, tick, lots, taker),
                MarketEvent::Change { side, level } => {
                    let id = self.next_id(time_ns);
                    if self.batch.is_empty() {
                        self.batch.first_id = id;
                    }
                    self.batch.push(side, level);
                    self.batch.last_ns = time_ns;
                }
                MarketEvent::Commit { bid, ask } => {
                    self.close_aggregate(time_ns);
                    self.send_touch(time_ns, bid, ask);
                }
            }
        }
        if let Snapshot::Requested { at_ns } = self.snapshot
            && time_ns >= at_ns
            && !events.is_empty()
        {
            self.take_snapshot(time_ns, book);
        }
    }

    /// The next update id. Futures share a counter: it runs with time, and each instrument uses ids of its own
    /// residue class, so that no two instruments ever have the same one.
    fn next_id(&mut self, time_ns: i64) -> i64 {
        self.last_id = if self.product == Product::Spot {
            self.last_id + 1
        } else {
            let classes = MAX_INSTRUMENTS as i64;
            let elapsed = (time_ns - self.start_ns) as f64 * 1e-9 * self.ids_per_second;
            let clock = self.first_id + elapsed as i64;
            let at_least = clock.max(self.last_id + 2);
            at_least + (self.index - at_least).rem_euclid(classes)
        };
        self.last_id
    }

    /// Sends what has been collected and sets the timer of the next batch.
    fn flush(&mut self, now_ns: i64) {
        let interval = match self.product {
            Product::Spot => 100 * MS,
            Product::UsdM => 51 * MS + self.draw.below(3 * MS as usize) as i64,
            Product::CoinM => 8 * MS + self.draw.below(7 * MS as usize) as i64,
        };
        self.flush_ns = now_ns + interval;
        if self.batch.is_empty() {
            return;
        }
        let times = self.times(now_ns, self.batch.last_ns);
        let ids = DepthIds { first: self.batch.first_id, last: self.last_id, previous: self.previous_u };
        let mut bytes = self.buffer();
        let [bids, asks] = self.batch.settle();
        self.encoder.depth(&mut bytes, times, &ids, bids, asks);
        self.previous_u = self.last_id;
        self.batch.clear();
        if self.send(FrameKind::Depth, bytes) {
            self.diffs += 1;
        }
        self.pursue_snapshot(now_ns, interval);
    }

    /// The recorder's side of a resync, driven by the depth frames it gets.
    fn pursue_snapshot(&mut self, now_ns: i64, interval: i64) {
        match self.snapshot {
            Snapshot::Waiting { since_ns } if self.diffs >= SNAPSHOT_DIFFS.0 && now_ns >= since_ns + SNAPSHOT_WAIT => {
                let at_ns = now_ns + (self.draw.uniform() * interval as f64) as i64;
                self.snapshot = Snapshot::Requested { at_ns };
            }
            Snapshot::UnderWay { .. } if self.diffs >= SNAPSHOT_DIFFS.1 => self.send_snapshot(now_ns),
            _ => {}
        }
    }

    fn take_snapshot(&mut self, now_ns: i64, book: &Book) {
        let times = Times { event_ms: now_ns / MS + 1, transaction_ms: now_ns / MS };
        let mut bytes = self.buffer();
        self.encoder.snapshot(&mut bytes, times, self.last_id, book);
        let travel = self.draw.log_normal(80.0, 0.3).clamp(40.0, 160.0) * MS as f64;
        self.snapshot = Snapshot::UnderWay { due_ns: now_ns + travel as i64, bytes };
    }

    fn send_snapshot(&mut self, now_ns: i64) {
        if let Snapshot::UnderWay { bytes, .. } = std::mem::replace(&mut self.snapshot, Snapshot::Done) {
            self.times(now_ns, now_ns);
            self.send(FrameKind::Snapshot, bytes);
        }
    }

    /// The recorder is back after an outage and starts as at the beginning.
    fn reconnect(&mut self, now_ns: i64) {
        self.snapshot = Snapshot::Waiting { since_ns: now_ns };
        self.diffs = 0;
        self.reconnect_ns = self.line.next_reconnect(now_ns);
    }

    fn send_trade(&mut self, time_ns: i64, tick: i64, lots: i64, taker: Side) {
        let print = Print { first_id: self.trade_id, last_id: self.trade_id, tick, lots, taker };
        self.trade_id += 1;
        let times = self.times(time_ns, time_ns);
        let mut bytes = self.buffer();
        self.encoder.trade(&mut bytes, times, &print);
        self.send(FrameKind::Trade, bytes);
        if let Some((_, open)) = &mut self.aggregate {
            match open {
                Some(whole) if whole.tick == tick && whole.taker == taker => {
                    whole.last_id = print.last_id;
                    whole.lots += lots;
                }
                _ => {
                    let finished = open.replace(print);
                    self.send_aggregate(time_ns, finished);
                }
            }
        }
    }

    fn close_aggregate(&mut self, time_ns: i64) {
        if let Some((_, open)) = &mut self.aggregate {
            let finished = open.take();
            self.send_aggregate(time_ns, finished);
        }
    }

    fn send_aggregate(&mut self, time_ns: i64, finished: Option<Print>) {
        let Some(print) = finished else { return };
        let times = self.times(time_ns, time_ns);
        let mut bytes = self.buffer();
        if let Some((id, _)) = &mut self.aggregate {
            self.encoder.agg_trade(&mut bytes, times, *id, &print);
            *id += 1;
            self.send(FrameKind::AggTrade, bytes);
        }
    }

    fn send_touch(&mut self, time_ns: i64, bid: Level, ask: Level) {
        if self.touch == Some((bid, ask)) {
            return;
        }
        self.touch = Some((bid, ask));
        let times = self.times(time_ns, time_ns);
        let mut bytes = self.buffer();
        self.encoder.book_ticker(&mut bytes, times, self.last_id, bid, ask);
        self.send(FrameKind::BookTicker, bytes);
    }

    fn send_mark(&mut self, due_ns: i64) {
        self.mark_ns += SECOND;
        let units = |price: f64| libm::round(price * 1e8) as i64;
        let (mark, index) = self.prices;
        self.premium += 0.02 * (mark / index - 1.0 - self.premium);
        let event_ms = due_ns / MS + self.draw.below(6) as i64;
        let message = Mark {
            mark: units(mark),
            settle: units(index * (1.0 - 0.2 * self.premium)),
            index: units(index),
            // Binance: premium plus interest (0.01 % in eight hours) within 0.05 % of the premium.
            funding: units(self.premium + (0.0001 - self.premium).clamp(-0.0005, 0.0005)),
            next_funding_ms: (due_ns / MS / FUNDING_MS + 1) * FUNDING_MS,
        };
        self.times(event_ms * MS, due_ns);
        let mut bytes = self.buffer();
        self.encoder.mark_price(&mut bytes, event_ms, &message);
        self.send(FrameKind::MarkPrice, bytes);
    }

    /// Times of a frame about something at `acted_ns`, sent now or shortly after; never before an earlier frame.
    fn times(&mut self, now_ns: i64, acted_ns: i64) -> Times {
        let delay_us = match self.product {
            Product::Spot => self.draw.below(900),
            Product::UsdM => self.draw.below(1_200),
            Product::CoinM => 5_000 + self.draw.below(4_000),
        };
        self.last_sent_ns = self.last_sent_ns.max(now_ns + delay_us as i64 * 1_000);
        Times { event_ms: self.last_sent_ns / MS, transaction_ms: acted_ns / MS }
    }

    /// An empty buffer, used before if there is one.
    fn buffer(&mut self) -> Vec<u8> {
        let mut bytes = self.pool.pop().unwrap_or_default();
        bytes.clear();
        bytes
    }

    /// Sends a frame at the time the last call of `times` settled; false when the network loses it.
    fn send(&mut self, kind: FrameKind, bytes: Vec<u8>) -> bool {
        match self.line.deliver(self.last_sent_ns) {
            Some(recv_ns) => {
                self.queue.push_back(Sent { recv_ns, kind, bytes });
                true
            }
            None => {
                self.pool.push(bytes);
                false
            }
        }
    }
}
