//! One channel of one instrument: what has changed since the last push, and who listens.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Change, Channel, Instrument, Print, Push, TopicSpec};
use crate::exchange::clock::Clock;
use crate::exchange::encode;
use crate::exchange::net::{Out, Outbox};
use crate::exchange::venue::Venue;
use crate::market::book::{Level, Side};

/// OKX sends an empty update after this much silence, s.
const OKX_KEEPALIVE: f64 = 60.0;
/// Bybit repeats its best levels after this much silence, s.
const BYBIT_REPEAT: f64 = 3.0;

/// A message of a channel, the same for everybody who listens.
pub(crate) struct Frame {
    pub(crate) text: Vec<u8>,
    pub(crate) venue: Venue,
    pub(crate) symbol: Arc<str>,
    /// Kind of channel.
    pub(crate) channel: &'static str,
    /// The venue's name of it; Binance's wrapper shows it.
    pub(crate) name: Arc<str>,
    /// First and last id of the changes in it.
    pub(crate) ids: Option<(i64, i64)>,
}

struct Listener {
    connection: u64,
    outbox: Outbox,
}

/// A channel with its listeners.
pub(crate) struct Topic {
    pub(crate) spec: TopicSpec,
    name: Arc<str>,
    listeners: Vec<Listener>,
    due_ns: i64,
    /// Id of the last push, or of the moment the topic began.
    pub(crate) last_id: i64,
    last_push_ns: i64,
    /// Touched levels and what receivers know of them.
    dirty: [BTreeMap<i64, i64>; 2],
    first_id: i64,
    /// Levels that receivers see, for windows.
    shown: [Vec<Level>; 2],
    /// Levels that somebody saw beside the channel since the last push.
    peeks: Vec<[Vec<Level>; 2]>,
    prints: Vec<Print>,
    aggregate: Option<Print>,
    aggregates: i64,
    known: Vec<(&'static str, String)>,
}

impl Topic {
    /// A topic nobody listens to yet, as of now.
    pub(crate) fn new(spec: TopicSpec, instrument: &Instrument) -> Self {
        let mut topic = Self {
            name: spec.name.as_str().into(),
            spec,
            listeners: Vec::new(),
            due_ns: 0,
            last_id: if instrument.venue() == Venue::Bybit { 100_000 } else { instrument.id },
            last_push_ns: 0,
            dirty: Default::default(),
            first_id: 0,
            shown: Default::default(),
            peeks: Vec::new(),
            prints: Vec::new(),
            aggregate: None,
            aggregates: instrument.id / 7,
            known: Vec::new(),
        };
        if let Channel::Window(depth) | Channel::Top(depth) = topic.spec.channel {
            topic.shown = Side::BOTH.map(|side| instrument.best(side, depth));
        }
        topic
    }

    /// Notes that a level changes from what it was.
    pub(crate) fn touch(&mut self, side: Side, tick: i64, before: i64, id: i64) {
        if self.spec.channel == Channel::Diff {
            if self.dirty.iter().all(BTreeMap::is_empty) {
                self.first_id = id;
            }
            self.dirty[side.index()].entry(tick).or_insert(before);
        }
    }

    /// Somebody sees the book beside the channel. Who joins the stream there must get to where everybody else gets: the
    /// next push tells what he saw that has gone again, too.
    pub(crate) fn peek(&mut self, instrument: &Instrument) {
        if let (Channel::Window(depth), true) = (self.spec.channel, self.spec.bare) {
            self.peeks.push(Side::BOTH.map(|side| instrument.best(side, depth)));
        }
    }

    /// Notes a trade.
    pub(crate) fn print(&mut self, print: Print, instrument: &Instrument, clock: &Clock) {
        match self.spec.channel {
            Channel::Trade => self.prints.push(print),
            Channel::AggTrade => {
                if let Some(open) = &mut self.aggregate
                    && (open.tick, open.taker) == (print.tick, print.taker)
                {
                    open.id = print.id;
                    open.lots += print.lots;
                    return;
                }
                self.close_aggregate(instrument, clock);
                self.aggregate = Some(print);
            }
            _ => {}
        }
    }

    fn close_aggregate(&mut self, instrument: &Instrument, clock: &Clock) {
        if let Some(print) = self.aggregate.take() {
            self.aggregates += 1;
            let push = Push::Aggregate { id: self.aggregates, print };
            self.send(instrument, push, None, clock, None);
        }
    }

    /// Adds a listener: what is pending goes to the others first, then the newcomer gets what the venue begins with.
    pub(crate) fn join(&mut self, connection: u64, outbox: Outbox, instrument: &Instrument, clock: &Clock) {
        self.flush(instrument, clock);
        if self.spec.channel == Channel::Ticker && !self.is_idle() {
            self.push_ticker(instrument, clock);
        }
        self.listeners.push(Listener { connection, outbox });
        let venue = instrument.venue();
        let only = Some(connection);
        match self.spec.channel {
            Channel::Diff if !venue.is_binance() => {
                let [bids, asks] = Side::BOTH.map(|side| instrument.best(side, usize::MAX));
                let push = Push::Snapshot { id: self.last_id, bids: &bids, asks: &asks };
                self.send(instrument, push, None, clock, only);
            }
            Channel::Window(_) if !self.spec.bare => {
                let [bids, asks] = self.shown.clone();
                let push = Push::Snapshot { id: self.last_id, bids: &bids, asks: &asks };
                self.send(instrument, push, None, clock, only);
            }
            Channel::Top(_) if !venue.is_binance() => {
                let [bids, asks] = self.shown.clone();
                let push = Push::Top { id: self.last_id, bids: &bids, asks: &asks };
                self.send(instrument, push, None, clock, only);
            }
            Channel::Trade if venue == Venue::Bitget => {
                let prints: Vec<Print> = instrument.recent.iter().copied().collect();
                self.send(instrument, Push::Trades { prints: &prints, first: true }, None, clock, only);
            }
            Channel::Ticker => {
                let mut known = Vec::new();
                self.send(instrument, Push::Ticker { known: &mut known, first: true }, None, clock, only);
                self.known = known;
            }
            Channel::Funding | Channel::Volatility => self.send(instrument, Push::Value, None, clock, only),
            _ => {}
        }
    }

    /// Removes a listener; false if it was none.
    pub(crate) fn leave(&mut self, connection: u64) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|listener| listener.connection != connection);
        self.listeners.len() < before
    }

    /// Whether nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Pushes what is pending if it is time to.
    pub(crate) fn advance(&mut self, now_ns: i64, interval_scale: f64, instrument: &Instrument, clock: &Clock) {
        if now_ns < self.due_ns {
            return;
        }
        let interval_ns = (self.spec.interval_ms as f64 * 1e6 * interval_scale) as i64;
        // Fixed beats while in time, a new beginning after a pause.
        self.due_ns = if now_ns - self.due_ns > interval_ns { now_ns } else { self.due_ns } + interval_ns;
        match self.spec.channel {
            Channel::Ticker => self.push_ticker(instrument, clock),
            Channel::Mark | Channel::Funding | Channel::Volatility => {
                self.send(instrument, Push::Value, None, clock, None);
            }
            _ => self.flush(instrument, clock),
        }
    }

    /// Pushes what is pending in books and trades.
    pub(crate) fn flush(&mut self, instrument: &Instrument, clock: &Clock) {
        match self.spec.channel {
            Channel::Diff => self.flush_diff(instrument, clock),
            Channel::Window(depth) => self.flush_window(depth, instrument, clock),
            Channel::Top(depth) => self.flush_top(depth, instrument, clock),
            Channel::Trade if !self.prints.is_empty() => {
                let prints = std::mem::take(&mut self.prints);
                // Binance sends a frame for each trade, the others one for all.
                let group = if instrument.venue().is_binance() { 1 } else { prints.len() };
                for prints in prints.chunks(group) {
                    self.send(instrument, Push::Trades { prints, first: false }, None, clock, None);
                }
            }
            Channel::AggTrade => self.close_aggregate(instrument, clock),
            _ => {}
        }
    }

    /// The best levels have changed.
    pub(crate) fn quote(&mut self, bid: Level, ask: Level, instrument: &Instrument, clock: &Clock) {
        if self.spec.channel == Channel::Quote {
            let push = Push::Quote { id: instrument.id, bid, ask };
            self.send(instrument, push, None, clock, None);
        }
    }

    fn push_ticker(&mut self, instrument: &Instrument, clock: &Clock) {
        let mut known = std::mem::take(&mut self.known);
        self.send(instrument, Push::Ticker { known: &mut known, first: false }, None, clock, None);
        self.known = known;
    }

    fn next_id(&self, instrument: &Instrument) -> i64 {
        if instrument.venue() == Venue::Bybit { self.last_id + 1 } else { instrument.id }
    }

    fn flush_diff(&mut self, instrument: &Instrument, clock: &Clock) {
        if self.dirty.iter().all(BTreeMap::is_empty) {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let venue = instrument.venue();
        // Binance reports levels that came and went; the others only what is different in the end.
        let whole = venue.is_binance();
        let mut sides = Side::BOTH.map(|side| {
            let touched = dirty[side.index()].iter();
            let changes = touched.map(|(&tick, &before)| {
                let lots = instrument.book.side(side).lots_at(tick);
                Change { level: Level { tick, lots }, before }
            });
            changes.filter(|change| whole || change.level.lots != change.before).collect::<Vec<_>>()
        });
        // Binance futures give bids in ascending order, everybody else from the best outward.
        if !matches!(venue, Venue::BinanceUsdm | Venue::BinanceCoinm) {
            sides[0].reverse();
        }
        let [bids, asks] = sides;
        if bids.is_empty() && asks.is_empty() {
            return;
        }
        self.push_delta(instrument, &bids, &asks, clock);
    }

    fn push_delta(&mut self, instrument: &Instrument, bids: &[Change], asks: &[Change], clock: &Clock) {
        let (previous, id) = (self.last_id, self.next_id(instrument));
        self.last_id = id;
        let first = if self.first_id > 0 { self.first_id } else { id };
        let push = Push::Delta { first, id, previous, bids, asks };
        self.send(instrument, push, Some((first, id)), clock, None);
    }

    fn flush_window(&mut self, depth: usize, instrument: &Instrument, clock: &Clock) {
        let now = Side::BOTH.map(|side| instrument.best(side, depth));
        let peeks = std::mem::take(&mut self.peeks);
        let [bids, asks] = Side::BOTH.map(|side| {
            let to = &now[side.index()];
            let mut changes = differences(side, &self.shown[side.index()], to);
            for seen in &peeks {
                let more = differences(side, &seen[side.index()], to);
                let new = |change: &Change| changes.iter().all(|known| known.level.tick != change.level.tick);
                let more: Vec<Change> = more.into_iter().filter(new).collect();
                changes.extend(more);
            }
            changes.sort_by_key(|change| -change.level.tick * side.sign());
            changes
        });
        if bids.is_empty() && asks.is_empty() {
            let silent_ns = clock.now_ns() - self.last_push_ns;
            if instrument.venue() == Venue::Okx && silent_ns > clock.limit_ns(OKX_KEEPALIVE) {
                let push =
                    Push::Delta { first: self.last_id, id: self.last_id, previous: self.last_id, bids: &[], asks: &[] };
                self.send(instrument, push, Some((self.last_id, self.last_id)), clock, None);
            }
            return;
        }
        self.shown = now;
        self.push_delta(instrument, &bids, &asks, clock);
    }

    fn flush_top(&mut self, depth: usize, instrument: &Instrument, clock: &Clock) {
        let now = Side::BOTH.map(|side| instrument.best(side, depth));
        if now == self.shown {
            let silent_ns = clock.now_ns() - self.last_push_ns;
            let repeats = instrument.venue() == Venue::Bybit && silent_ns > clock.limit_ns(BYBIT_REPEAT);
            if !repeats {
                return;
            }
        } else {
            self.last_id = self.next_id(instrument);
        }
        let push = Push::Top { id: self.last_id, bids: &now[0], asks: &now[1] };
        self.send(instrument, push, None, clock, None);
        self.shown = now;
    }

    /// Encodes a push once and hands it to every listener, or to one.
    fn send(
        &mut self,
        instrument: &Instrument,
        mut push: Push<'_>,
        ids: Option<(i64, i64)>,
        clock: &Clock,
        only: Option<u64>,
    ) {
        let text = encode::push(instrument, &self.spec, &mut push, clock);
        self.last_push_ns = clock.now_ns();
        if text.is_empty() {
            return;
        }
        // A snapshot belongs to the book as well, but only differences are numbered.
        let channel = if matches!(push, Push::Snapshot { .. }) { "snapshot" } else { self.spec.channel.kind() };
        let frame = Arc::new(Frame {
            text,
            venue: instrument.venue(),
            symbol: Arc::clone(&instrument.symbol),
            channel,
            name: Arc::clone(&self.name),
            ids,
        });
        for listener in &self.listeners {
            if only.is_none_or(|connection| connection == listener.connection) {
                listener.outbox.send(Out::Data(Arc::clone(&frame)));
            }
        }
    }
}

/// Changes from one list of levels, best first, to another.
fn differences(side: Side, old: &[Level], new: &[Level]) -> Vec<Change> {
    let (mut changes, mut left, mut right) = (Vec::new(), 0, 0);
    let rank = |level: &Level| -level.tick * side.sign();
    while left < old.len() || right < new.len() {
        let order = match (old.get(left), new.get(right)) {
            (Some(a), Some(b)) => rank(a).cmp(&rank(b)),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        if order.is_lt() {
            changes.push(Change { level: Level { lots: 0, ..old[left] }, before: old[left].lots });
            left += 1;
        } else if order.is_gt() {
            changes.push(Change { level: new[right], before: 0 });
            right += 1;
        } else {
            if old[left].lots != new[right].lots {
                changes.push(Change { level: new[right], before: old[left].lots });
            }
            (left, right) = (left + 1, right + 1);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_lead_from_the_old_levels_to_the_new_ones() {
        let level = |(tick, lots)| Level { tick, lots };
        let old = [(9, 1), (8, 2), (6, 3)].map(level);
        let new = [(10, 5), (8, 2), (7, 1), (6, 4)].map(level);
        let found: Vec<_> = differences(Side::Buy, &old, &new)
            .iter()
            .map(|change| (change.level.tick, change.level.lots, change.before))
            .collect();
        assert_eq!(found, [(10, 5, 0), (9, 0, 1), (7, 1, 0), (6, 4, 3)]);
        assert!(differences(Side::Buy, &new, &new).is_empty());
        let asks = [(1, 1), (2, 1)].map(level);
        assert_eq!(differences(Side::Sell, &asks, &asks[1..])[0].level, level((1, 0)));
    }
}
