//! Several connections that carry the same book: the first copy of an update wins, and what one connection lost the
//! other may still bring.
//!
//! A frame that does not continue the book is no gap as long as another connection that lives has not come past the
//! hole: it is passed over, the book stays as it was, whole and a little late, and the other connection's copy of the
//! missing frame carries it on. Only when every connection has come past the hole, or none fills it within
//! [`PATIENCE_NS`], is it a gap.

use tidegate_wire::event::{Level, Quote};

/// Connections of one book that are told apart: two, and their successors while connections rotate.
const LANES: usize = 4;
/// A connection that brought nothing for this long does not count, ns of event time: books in use push more often.
const ALIVE_NS: i64 = 2_000_000_000;
/// How long a book waits for another connection, ns of event time: several push intervals.
const PATIENCE_NS: i64 = 500_000_000;

/// What one connection brought.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    source: u16,
    /// When it brought a frame last, ns of event time; 0 for a lane that is free.
    seen_ns: i64,
    /// Highest update id it brought.
    last: u64,
}

/// The connections of one book.
#[derive(Debug, Default)]
pub(crate) struct Arbiter {
    lanes: [Lane; LANES],
    used: usize,
    /// Since when a hole waits for another connection, ns of event time; 0 when none does.
    waiting_ns: i64,
}

impl Arbiter {
    /// A connection brought a frame that ends at this id.
    #[inline(always)]
    pub(crate) fn note(&mut self, source: u16, now_ns: i64, last: u64) {
        let lane = match self.lanes[..self.used].iter().position(|lane| lane.source == source) {
            Some(index) => &mut self.lanes[index],
            None => self.begin(source),
        };
        (lane.seen_ns, lane.last) = (now_ns, lane.last.max(last));
    }

    /// Whether a connection has brought a frame lately.
    #[inline(always)]
    pub(crate) fn lives(&self, source: u16, now_ns: i64) -> bool {
        self.lanes[..self.used].iter().any(|lane| lane.source == source && now_ns - lane.seen_ns < ALIVE_NS)
    }

    /// A new connection takes a free lane, or that of whoever was silent longest.
    #[cold]
    fn begin(&mut self, source: u16) -> &mut Lane {
        let index = if self.used < LANES {
            self.used += 1;
            self.used - 1
        } else {
            let oldest = self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.seen_ns);
            oldest.map_or(0, |(index, _)| index)
        };
        self.lanes[index] = Lane { source, ..Lane::default() };
        &mut self.lanes[index]
    }

    /// Whether another connection may still bring what follows `have`.
    #[inline(always)]
    pub(crate) fn may_heal(&self, source: u16, now_ns: i64, have: u64) -> bool {
        self.used > 1 && self.look(source, now_ns, have)
    }

    fn look(&self, source: u16, now_ns: i64, have: u64) -> bool {
        let patient = self.waiting_ns == 0 || now_ns - self.waiting_ns < PATIENCE_NS;
        let may = |lane: &Lane| lane.source != source && now_ns - lane.seen_ns < ALIVE_NS && lane.last <= have;
        patient && self.lanes[..self.used].iter().any(may)
    }

    /// A frame was passed over: the hole before it waits for another connection.
    #[cold]
    pub(crate) fn wait(&mut self, now_ns: i64) {
        if self.waiting_ns == 0 {
            self.waiting_ns = now_ns;
        }
    }

    /// The book goes on; true when that filled a hole.
    #[inline(always)]
    pub(crate) fn goes_on(&mut self) -> bool {
        core::mem::take(&mut self.waiting_ns) != 0
    }

    /// The venue counts anew: what was brought before says nothing.
    pub(crate) fn forget(&mut self) {
        (self.used, self.waiting_ns) = (0, 0);
    }
}

/// Trades that came lately, by which a second copy is known: sets of four, newest first, by the low bits of their ids.
/// A venue packs up to 1,024 trades into a frame, and a connection may be some frames behind.
const SETS: usize = 1024;
const WAYS: usize = 4;

/// What tells a second copy of anything but a depth frame.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Id and connection of each.
    trades: Box<[[(u64, u16); WAYS]]>,
    /// The connection that brought the last trade; none before the first.
    trader: Option<u16>,
    /// Whether trades of several connections came.
    several: bool,
    quotes: Quotes,
    mark: (i64, u16),
}

impl Default for Copies {
    fn default() -> Self {
        let trades = vec![[(0, 0); WAYS]; SETS].into_boxed_slice();
        Self { trades, trader: None, several: false, quotes: Quotes::default(), mark: (0, 0) }
    }
}

impl Copies {
    /// Whether this trade came over another connection before. A trade without an id is never a copy.
    #[inline(always)]
    pub(crate) fn is_trade(&mut self, id: u64, source: u16) -> bool {
        if id == 0 {
            return false;
        }
        self.several |= self.trader.replace(source).is_some_and(|trader| trader != source);
        let set = &mut self.trades[id as usize % SETS];
        if self.several && set.iter().any(|(known, of)| *known == id && *of != source) {
            return true;
        }
        set.rotate_right(1);
        set[0] = (id, source);
        false
    }

    /// Whether another connection has brought this quote or a newer one. A quote without a place is never a copy.
    #[inline(always)]
    pub(crate) fn is_quote(&mut self, order: u64, quote: &Quote, source: u16, now_ns: i64) -> bool {
        order != 0 && self.quotes.is_copy(order, quote, source, now_ns)
    }

    /// Whether another connection has brought the mark of this venue time or a newer one.
    #[inline(always)]
    pub(crate) fn is_mark(&mut self, venue_ns: i64, source: u16) -> bool {
        let (newest, of) = self.mark;
        if venue_ns != 0 && venue_ns <= newest && of != source {
            return true;
        }
        self.mark = (venue_ns, source);
        false
    }
}

/// Quotes of one place among the others that are told apart: where only the time orders them, several have the same.
const PEERS: usize = 4;

/// The newest quote, and the connection that leads: the one that brought it.
///
/// What the leader brings is news, lower numbers too: within one connection order is kept, so the venue counts anew.
/// What others bring is news only behind that. A leader that falls silent leads no longer, or a venue that began to
/// count anew just then would be muted for as long as its numbers take to come back.
#[derive(Debug, Default)]
struct Quotes {
    order: u64,
    leader: u16,
    /// When the leader brought its last one, ns of event time; 0 before the first.
    seen_ns: i64,
    /// Best levels of the quotes at `order`, the first few.
    peers: [(Level, Level); PEERS],
    count: usize,
    /// Where the venue's numbers were when they fell last, and when that was: a connection that is late still brings
    /// quotes of before.
    fell_from: u64,
    fell_ns: i64,
}

impl Quotes {
    #[inline(always)]
    fn is_copy(&mut self, order: u64, quote: &Quote, source: u16, now_ns: i64) -> bool {
        let levels = (quote.bid, quote.ask);
        if source != self.leader && self.seen_ns != 0 && now_ns - self.seen_ns < ALIVE_NS {
            let late = order <= self.fell_from && now_ns - self.fell_ns < ALIVE_NS;
            if order < self.order || late || order == self.order && self.has(&levels) {
                return true;
            }
        } else if order < self.order {
            (self.fell_from, self.fell_ns) = (self.order, now_ns);
        }
        if order != self.order {
            self.count = 0;
        }
        if self.count < PEERS {
            self.peers[self.count] = levels;
            self.count += 1;
        }
        (self.order, self.leader, self.seen_ns) = (order, source, now_ns);
        false
    }

    /// Whether a quote was among those of the newest place; where there were too many to know, it was.
    fn has(&self, levels: &(Level, Level)) -> bool {
        self.count == PEERS || self.peers[..self.count].contains(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_wire::{Price, Qty};

    const MS: i64 = 1_000_000;

    #[test]
    fn a_hole_waits_for_whoever_has_not_come_past_it() {
        let mut arbiter = Arbiter::default();
        arbiter.note(1, 1, 10);
        assert!(!arbiter.may_heal(1, 1, 10), "there is only one connection");
        arbiter.note(2, 2, 10);
        assert!(arbiter.may_heal(1, 3, 10));
        arbiter.note(2, 4, 12);
        assert!(!arbiter.may_heal(1, 5, 10), "the other one is past it too");
        arbiter.note(3, 6, 9);
        assert!(arbiter.may_heal(1, 7, 10), "a third one is not");
        assert!(!arbiter.may_heal(1, 7 + ALIVE_NS, 10), "but it is silent");
    }

    #[test]
    fn patience_ends() {
        let mut arbiter = Arbiter::default();
        arbiter.note(1, MS, 10);
        arbiter.note(2, MS, 10);
        arbiter.wait(2 * MS);
        assert!(arbiter.may_heal(1, 400 * MS, 10));
        assert!(!arbiter.may_heal(1, 600 * MS, 10));
        assert!(arbiter.goes_on() && !arbiter.goes_on());
        assert!(arbiter.may_heal(1, 600 * MS, 10));
    }

    #[test]
    fn more_connections_than_lanes() {
        let mut arbiter = Arbiter::default();
        for source in 0..20 {
            arbiter.note(source, i64::from(source) + 1, 100 + u64::from(source));
        }
        assert!(arbiter.may_heal(19, 30, 118) && !arbiter.may_heal(19, 30, 115));
    }

    #[test]
    fn copies_are_known_and_nothing_else() {
        let mut copies = Copies::default();
        assert!(
            !copies.is_trade(5, 1) && !copies.is_trade(5, 1),
            "one connection may repeat itself: that is its fault"
        );
        assert!(copies.is_trade(5, 2) && !copies.is_trade(6, 2) && copies.is_trade(6, 1));
        assert!(!copies.is_trade(0, 1) && !copies.is_trade(0, 2));
        // A cascade: the other connection is thousands of trades behind.
        assert!((1000..5000).all(|id| !copies.is_trade(id, 1)) && (1000..5000).all(|id| copies.is_trade(id, 2)));
        assert!(!copies.is_mark(7, 1) && copies.is_mark(7, 2) && !copies.is_mark(8, 2));
    }

    /// A quote whose bid is at this price.
    fn at(price: i64) -> Quote {
        let level = |price| Level { price: Price::from_raw(price), qty: Qty::from_raw(1) };
        Quote { update_id: 0, bid: level(price), ask: level(price + 1) }
    }

    /// Which of these quotes (ms, source, order, price) are news.
    fn news(quotes: &[(i64, u16, u64, i64)]) -> Vec<bool> {
        let mut copies = Copies::default();
        quotes
            .iter()
            .map(|(ms, source, order, price)| !copies.is_quote(*order, &at(*price), *source, ms * MS))
            .collect()
    }

    #[test]
    fn the_first_copy_of_a_quote_wins() {
        assert_eq!(
            news(&[(1, 1, 7, 5), (2, 2, 7, 5), (3, 2, 6, 4), (4, 2, 8, 6), (5, 1, 8, 6)]),
            [true, false, false, true, false]
        );
        assert_eq!(news(&[(1, 1, 7, 5), (2, 1, 7, 5)]), [true; 2], "a venue repeats what stands still");
        assert_eq!(
            news(&[(1, 1, 0, 5), (2, 2, 0, 5), (3, 1, 7, 5), (4, 2, 0, 5), (5, 2, 7, 5)]),
            [true, true, true, true, false]
        );
    }

    #[test]
    fn quotes_of_one_millisecond_are_told_apart() {
        let quotes = [(1, 1, 7, 5), (2, 2, 7, 5), (3, 2, 7, 6), (4, 1, 7, 6), (5, 1, 7, 8), (6, 2, 7, 8)];
        // The last but one comes from the connection that does not lead, and is new all the same.
        assert_eq!(news(&quotes), [true, false, true, false, true, false]);
        let many: Vec<_> = (0..9).map(|n| (n, 1, 7, n)).chain((0..9).map(|n| (10 + n, 2, 7, n))).collect();
        assert_eq!(news(&many).iter().filter(|new| **new).count(), 9, "too many to tell apart: the leader has them");
    }

    #[test]
    fn a_venue_that_counts_anew_is_not_muted() {
        // Connection 1 leads across the restart; connection 2 is late, then level, then ahead.
        let quotes = [(1, 1, 900, 1), (2, 1, 1, 2), (3, 2, 900, 1), (4, 2, 1, 2), (5, 1, 2, 3), (6, 2, 2, 3)];
        assert_eq!(news(&quotes), [true, true, false, false, true, false]);
        // Connection 2 comes past the restart first: the leader decides.
        let quotes = [(1, 1, 900, 1), (2, 2, 1, 2), (3, 1, 1, 2), (4, 2, 1, 2)];
        assert_eq!(news(&quotes), [true, false, true, false]);
        // Both connections were cut, and others come back with new numbers.
        let back = |ms| news(&[(1, 1, 900, 1), (2, 2, 900, 1), (ms, 3, 1, 2), (ms + 1, 4, 1, 2), (ms + 2, 4, 2, 3)]);
        assert_eq!(back(1500), [true, false, false, false, false], "who led a second ago may only be quiet");
        assert_eq!(back(2001), [true, false, true, false, false], "numbers of before the fall are late");
        assert!(*news(&[(1, 1, 900, 1), (2001, 3, 1, 2), (4001, 4, 2, 3)]).last().expect("three"));
    }
}
