//! One instrument: the book that everybody should have, its ids, and its topics.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Listing, Print, Topic, TopicSpec};
use crate::draw::Draw;
use crate::exchange::clock::Clock;
use crate::exchange::net::Outbox;
use crate::exchange::venue::Venue;
use crate::market::MarketEvent;
use crate::market::book::{Book, Level, Side};
use crate::venue::decimal::write_decimal;

/// Trades kept for those who come later.
const RECENT: usize = 50;

/// Statistics since the start, which stand for those of a day.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Day {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) last: i64,
    pub(crate) last_lots: i64,
    /// Lots traded.
    pub(crate) volume: i64,
    /// Price times quantity.
    pub(crate) turnover: f64,
}

/// A book at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct BookView {
    pub(crate) id: i64,
    pub(crate) ms: i64,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// An instrument of a venue.
pub(crate) struct Instrument {
    pub(crate) listing: Listing,
    pub(crate) symbol: Arc<str>,
    pub(crate) book: Book,
    /// Id of the last change of a level, by the venue's rule.
    pub(crate) id: i64,
    /// Venue time of the last change, ms.
    pub(crate) changed_ms: i64,
    pub(crate) recent: VecDeque<Print>,
    pub(crate) day: Day,
    /// Mark price, index price and funding rate.
    pub(crate) mark: f64,
    pub(crate) index: f64,
    pub(crate) funding: f64,
    next_trade: i64,
    touch: Option<(Level, Level)>,
    topics: Vec<Topic>,
    stale: Option<(BookView, i64)>,
}

impl Instrument {
    pub(crate) fn new(listing: Listing, position: usize) -> Self {
        let symbol = listing.config.symbol.as_str().into();
        let id = 50_093_239_189 + 1_000_003 * position as i64;
        Self {
            listing,
            symbol,
            book: Book::new(4_096),
            id,
            changed_ms: 0,
            recent: VecDeque::new(),
            day: Day::default(),
            mark: 0.0,
            index: 0.0,
            funding: 0.0,
            next_trade: 3_735_683_259 + 100_003 * position as i64,
            touch: None,
            topics: Vec::new(),
            stale: None,
        }
    }

    pub(crate) fn venue(&self) -> Venue {
        self.listing.config.venue
    }

    /// The best levels of a side, best first.
    pub(crate) fn best(&self, side: Side, depth: usize) -> Vec<Level> {
        self.book.side(side).outward().take(depth).collect()
    }

    /// A price as the venue prints it.
    pub(crate) fn price(&self, tick: i64) -> String {
        decimal(tick * self.listing.config.tick_units, self.listing.config.price_decimals)
    }

    /// A quantity as the venue prints it.
    pub(crate) fn quantity(&self, lots: i64) -> String {
        decimal(lots * self.listing.config.lot_units, self.listing.config.qty_decimals)
    }

    /// A computed price on the venue's decimals.
    pub(crate) fn round_price(&self, price: f64) -> String {
        let config = &self.listing.config;
        decimal(libm::round(price * libm::pow(10.0, f64::from(config.price_decimals))) as i64, config.price_decimals)
    }

    /// Takes the book of a source as it is at the start.
    pub(crate) fn seed(&mut self, book: &Book) {
        for side in Side::BOTH {
            for level in book.side(side).outward() {
                self.book.side_mut(side).set(level.tick, level.lots);
            }
        }
        self.touch = self.book.touch();
        let (bid, _) = self.touch.unwrap_or_default();
        self.day = Day { open: bid.tick, high: bid.tick, low: bid.tick, last: bid.tick, ..Day::default() };
    }

    /// Applies what happened; `counter` numbers the changes of venues that share ids between instruments.
    pub(crate) fn apply(&mut self, events: &[MarketEvent], counter: &mut i64, draw: &mut Draw, clock: &Clock) {
        let mut topics = std::mem::take(&mut self.topics);
        for event in events {
            match *event {
                MarketEvent::Trade { tick, lots, taker } => {
                    let print = self.print(tick, lots, taker, clock);
                    topics.iter_mut().for_each(|topic| topic.print(print, self, clock));
                }
                MarketEvent::Change { side, level } => {
                    let before = self.book.side(side).lots_at(level.tick);
                    self.book.side_mut(side).set(level.tick, level.lots);
                    self.id = self.next_id(counter, draw);
                    let id = self.id;
                    topics.iter_mut().for_each(|topic| topic.touch(side, level.tick, before, id));
                }
                MarketEvent::Commit { .. } => {
                    let touch = self.book.touch();
                    if let Some((bid, ask)) = touch
                        && touch != self.touch
                    {
                        topics.iter_mut().for_each(|topic| topic.quote(bid, ask, self, clock));
                        self.touch = touch;
                    }
                }
            }
        }
        self.changed_ms = clock.ms(self.venue());
        self.topics = topics;
    }

    fn next_id(&self, counter: &mut i64, draw: &mut Draw) -> i64 {
        match self.venue() {
            Venue::BinanceSpot => self.id + 1,
            Venue::Okx | Venue::Bitget => self.id + 1 + draw.below(3) as i64,
            Venue::BinanceUsdm | Venue::BinanceCoinm | Venue::Bybit | Venue::Deribit => {
                *counter += 2 + draw.below(30) as i64;
                *counter
            }
        }
    }

    fn print(&mut self, tick: i64, lots: i64, taker: Side, clock: &Clock) -> Print {
        let id = self.next_trade;
        self.next_trade += 1;
        let print = Print { id, first_id: id, tick, lots, taker, ms: clock.ms(self.venue()), seq: self.id };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(print);
        let day = &mut self.day;
        if day.open == 0 {
            *day = Day { open: tick, high: tick, low: tick, ..Day::default() };
        }
        (day.high, day.low) = (day.high.max(tick), day.low.min(tick));
        (day.last, day.last_lots) = (tick, lots);
        day.volume += lots;
        day.turnover += tick as f64 * self.listing.tick_size() * lots as f64 * self.listing.lot_size();
        print
    }

    /// Pushes what is due.
    pub(crate) fn advance(&mut self, now_ns: i64, interval_scale: f64, clock: &Clock) {
        let mut topics = std::mem::take(&mut self.topics);
        topics.iter_mut().for_each(|topic| topic.advance(now_ns, interval_scale, self, clock));
        self.topics = topics;
    }

    /// Pushes everything that is pending.
    pub(crate) fn flush(&mut self, clock: &Clock) {
        let mut topics = std::mem::take(&mut self.topics);
        topics.iter_mut().for_each(|topic| topic.flush(self, clock));
        self.topics = topics;
    }

    /// Adds a listener to a topic, once.
    pub(crate) fn join(&mut self, spec: TopicSpec, connection: u64, outbox: Outbox, clock: &Clock) {
        let mut topics = std::mem::take(&mut self.topics);
        let index = topics.iter().position(|topic| topic.spec.name == spec.name).unwrap_or_else(|| {
            topics.push(Topic::new(spec, self));
            topics.len() - 1
        });
        topics[index].leave(connection);
        topics[index].join(connection, outbox, self, clock);
        self.topics = topics;
    }

    /// Removes a listener from one topic, or from all.
    pub(crate) fn leave(&mut self, name: Option<&str>, connection: u64) {
        for topic in &mut self.topics {
            if name.is_none_or(|name| name == topic.spec.name) {
                topic.leave(connection);
            }
        }
        self.topics.retain(|topic| !topic.is_idle());
    }

    /// Names and last ids of the topics somebody listens to.
    pub(crate) fn pushed(&self) -> impl Iterator<Item = (&str, i64)> {
        self.topics.iter().map(|topic| (topic.spec.name.as_str(), topic.last_id))
    }

    /// The whole book now.
    pub(crate) fn view(&self) -> BookView {
        let [bids, asks] = Side::BOTH.map(|side| self.best(side, usize::MAX));
        BookView { id: self.id, ms: self.changed_ms, bids, asks }
    }

    /// The book is seen as it is now.
    fn peek(&mut self) {
        let mut topics = std::mem::take(&mut self.topics);
        topics.iter_mut().for_each(|topic| topic.peek(self));
        self.topics = topics;
    }

    /// REST shows the present book until this time.
    pub(crate) fn make_stale(&mut self, until_ns: i64) {
        self.peek();
        self.stale = Some((self.view(), until_ns));
    }

    /// The book REST shows, and whether it is a stale one.
    pub(crate) fn rest_view(&mut self, now_ns: i64) -> (BookView, bool) {
        self.peek();
        match &self.stale {
            Some((view, until_ns)) if *until_ns > now_ns => (view.clone(), true),
            _ => {
                self.stale = None;
                (self.view(), false)
            }
        }
    }
}

fn decimal(units: i64, decimals: u32) -> String {
    let mut out = Vec::with_capacity(20);
    write_decimal(&mut out, units, decimals);
    String::from_utf8(out).unwrap_or_default()
}
