//! The real market as the exchange is shown it, and what paper orders took from it.

use tidegate_wire::event::{BookQuality, Level};
use tidegate_wire::order::Side;

use super::queue::Stamps;

/// Most levels a side that are looked at: as many as the market room keeps at hand.
pub const LEVELS: usize = 20;

/// Trades remembered between two books; more at other prices are not matched with the change that reports them.
const TRADES: usize = 64;

/// The best levels of a book after a change. Levels beyond are not known.
#[derive(Clone, Copy, Debug)]
pub struct BookTop<'a> {
    /// How far it can be trusted.
    pub quality: BookQuality,
    /// The venue's own stamp of the change, ns since the Unix epoch, at most
    /// [`PaperConfig::slack_ms`](super::PaperConfig::slack_ms) late; 0 where it sends none. Trades are matched by it
    /// with the changes that report them.
    pub venue_ns: i64,
    /// Bids, best first; of each the price and the quantity, which is above zero.
    pub bids: &'a [Level],
    /// Asks, best first.
    pub asks: &'a [Level],
}

/// Whether an order on `side` at `price` trades with one at `other`.
#[inline(always)]
pub(super) const fn reaches(side: Side, price: i64, other: i64) -> bool {
    match side {
        Side::Buy => price >= other,
        Side::Sell => price <= other,
    }
}

/// Whether `price` is better than `other` for who rests on `side`.
#[inline(always)]
pub(super) const fn is_better(side: Side, price: i64, other: i64) -> bool {
    match side {
        Side::Buy => price > other,
        Side::Sell => price < other,
    }
}

/// One side of it.
#[derive(Clone, Debug)]
pub(super) struct SideView {
    side: Side,
    levels: [Level; LEVELS],
    /// Of each level, what paper orders took and its own trading has not replaced.
    taken: [i64; LEVELS],
    len: usize,
    /// Whether it has no more levels than these.
    is_whole: bool,
    /// Whether anything is taken.
    is_taken: bool,
}

impl SideView {
    fn new(side: Side) -> Self {
        Self { side, levels: [Level::default(); LEVELS], taken: [0; LEVELS], len: 0, is_whole: false, is_taken: false }
    }

    /// Takes in the levels; `false` when they make no book.
    fn show(&mut self, levels: &[Level], depth: usize) -> bool {
        let is_whole = levels.len() < depth;
        let levels = &levels[..levels.len().min(depth)];
        let sorted = levels.windows(2).all(|pair| is_better(self.side, pair[0].price.raw(), pair[1].price.raw()));
        if !sorted || levels.iter().any(|level| level.qty.raw() <= 0 || level.price.raw() <= 0) {
            return false;
        }
        let mut taken = [0; LEVELS];
        if self.is_taken {
            for (level, taken) in levels.iter().zip(&mut taken) {
                let Some(old) = self.index_of(level.price.raw()) else { continue };
                // What leaves a level leaves its front, and that is what the paper order took.
                let left = (self.levels[old].qty.raw() - level.qty.raw()).max(0);
                *taken = (self.taken[old] - left).max(0);
            }
        }
        self.is_taken = taken.iter().any(|taken| *taken > 0);
        self.taken = taken;
        self.levels[..levels.len()].copy_from_slice(levels);
        (self.len, self.is_whole) = (levels.len(), is_whole);
        true
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels[..self.len]
    }

    /// What is taken of a level.
    pub(super) fn taken(&self, index: usize) -> i64 {
        self.taken[index]
    }

    /// Takes from a level.
    pub(super) fn take(&mut self, index: usize, qty: i64) {
        self.taken[index] += qty;
        self.is_taken = true;
    }

    pub(super) fn best(&self) -> Option<i64> {
        self.levels().first().map(|level| level.price.raw())
    }

    /// Quantity at a price; `None` beyond the levels that are known.
    pub(super) fn qty_at(&self, price: i64) -> Option<i64> {
        match self.index_of(price) {
            Some(index) => Some(self.levels[index].qty.raw()),
            None if self.is_whole => Some(0),
            None => {
                let last = self.levels().last()?.price.raw();
                is_better(self.side, price, last).then_some(0)
            }
        }
    }

    fn index_of(&self, price: i64) -> Option<usize> {
        self.levels().iter().position(|level| level.price.raw() == price)
    }
}

/// Quantity traded at a price since the book was shown last.
#[derive(Clone, Copy, Debug, Default)]
struct Traded {
    price: i64,
    qty: i64,
    at: Stamps,
}

/// What is known of one instrument's market.
#[derive(Clone, Debug)]
pub(super) struct Market {
    bids: SideView,
    asks: SideView,
    /// Whether a book ever came.
    pub(super) is_known: bool,
    /// Whether orders may execute against it.
    pub(super) is_good: bool,
    /// When it was shown last.
    pub(super) at: Stamps,
    trades: [Traded; TRADES],
    traded: usize,
}

impl Market {
    pub(super) fn new() -> Self {
        Self {
            bids: SideView::new(Side::Buy),
            asks: SideView::new(Side::Sell),
            is_known: false,
            is_good: false,
            at: Stamps::default(),
            trades: [Traded::default(); TRADES],
            traded: 0,
        }
    }

    /// The side on which orders of `side` rest.
    pub(super) const fn side(&self, side: Side) -> &SideView {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    pub(super) const fn side_mut(&mut self, side: Side) -> &mut SideView {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Takes in a book. One that is out of order or crossed is not good, whatever it says of itself.
    pub(super) fn show(&mut self, event_ns: i64, top: &BookTop<'_>, depth: usize) {
        let shown = self.bids.show(top.bids, depth) & self.asks.show(top.asks, depth);
        let crossed = self.bids.best().zip(self.asks.best()).is_some_and(|(bid, ask)| bid >= ask);
        self.is_known = true;
        self.is_good = top.quality == BookQuality::Good && shown && !crossed;
        self.at = Stamps { event_ns, venue_ns: top.venue_ns };
        // Those that are stamped after the book are not in it yet; those without a stamp are taken to be.
        let mut kept = 0;
        for index in 0..self.traded {
            if self.is_good && top.venue_ns > 0 && self.trades[index].at.venue_ns > top.venue_ns {
                self.trades[kept] = self.trades[index];
                kept += 1;
            }
        }
        self.traded = kept;
    }

    /// Remembers a trade that the book does not show yet.
    pub(super) fn remember(&mut self, price: i64, qty: i64, at: Stamps) {
        // Stamped no later than the book, it may be in it: who comes now is then told of more ahead than there is.
        if at.venue_ns > 0 && at.venue_ns <= self.at.venue_ns {
            return;
        }
        let known = self.trades[..self.traded].iter_mut().find(|traded| traded.price == price);
        if let Some(traded) = known {
            (traded.qty, traded.at) = (traded.qty.saturating_add(qty), at);
        } else if self.traded < TRADES {
            self.trades[self.traded] = Traded { price, qty, at };
            self.traded += 1;
        }
    }

    /// Traded at a price and not yet in the book, and when last.
    pub(super) fn traded_at(&self, price: i64) -> (i64, Stamps) {
        let known = self.trades[..self.traded].iter().find(|traded| traded.price == price);
        known.map_or((0, Stamps::default()), |traded| (traded.qty, traded.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_wire::{Price, Qty};

    fn levels(rows: &[(i64, i64)]) -> Vec<Level> {
        rows.iter().map(|(price, qty)| Level { price: Price::from_raw(*price), qty: Qty::from_raw(*qty) }).collect()
    }

    #[test]
    fn what_is_taken_comes_back_as_the_level_trades() {
        let mut asks = SideView::new(Side::Sell);
        assert!(asks.show(&levels(&[(10, 8), (11, 4)]), 3));
        asks.take(0, 6);
        asks.take(1, 1);
        assert!(asks.show(&levels(&[(9, 1), (10, 8), (11, 9)]), 3));
        assert_eq!([0, 1, 2].map(|index| asks.taken(index)), [0, 6, 1], "nothing left, something came");
        assert!(asks.show(&levels(&[(10, 5), (11, 3)]), 3));
        assert_eq!([0, 1].map(|index| asks.taken(index)), [3, 0], "three left the front of one, six of the other");
        assert!(asks.show(&levels(&[(11, 3)]), 3) && asks.show(&levels(&[(10, 5)]), 3));
        assert_eq!(asks.taken(0), 0, "a level that was gone is another one");
    }

    #[test]
    fn what_is_known_ends_with_the_last_level() {
        let mut bids = SideView::new(Side::Buy);
        assert_eq!(bids.qty_at(10), None);
        assert!(bids.show(&levels(&[(10, 8), (8, 4)]), 2));
        assert_eq!([11, 10, 9, 8, 7].map(|price| bids.qty_at(price)), [Some(0), Some(8), Some(0), Some(4), None]);
        assert!(bids.show(&levels(&[(10, 8)]), 2));
        assert_eq!(bids.qty_at(7), Some(0), "fewer than there is room for are all there are");
        assert!(bids.show(&levels(&[(10, 8), (9, 1), (8, 4)]), 2));
        assert_eq!((bids.levels().len(), bids.qty_at(8)), (2, None), "more than it is to look at");
    }

    #[test]
    fn what_makes_no_book_is_not_good() {
        let mut market = Market::new();
        let mut show = |quality, bids: &[(i64, i64)], asks: &[(i64, i64)]| {
            let (bids, asks) = (levels(bids), levels(asks));
            market.show(1, &BookTop { quality, venue_ns: 0, bids: &bids, asks: &asks }, LEVELS);
            market.is_good
        };
        assert!(show(BookQuality::Good, &[(10, 1)], &[(11, 1)]));
        assert!(!show(BookQuality::Stale, &[(10, 1)], &[(11, 1)]));
        assert!(!show(BookQuality::Good, &[(11, 1)], &[(11, 1)]), "crossed");
        assert!(!show(BookQuality::Good, &[(9, 1), (10, 1)], &[(11, 1)]), "out of order");
        assert!(!show(BookQuality::Good, &[(10, 0)], &[(11, 1)]), "an empty level");
        assert!(show(BookQuality::Good, &[], &[(11, 1)]), "one side alone");
    }

    #[test]
    fn trades_are_remembered_until_the_book_has_them() {
        let mut market = Market::new();
        let (bids, asks) = (levels(&[(10, 5)]), levels(&[(11, 5)]));
        let show = |market: &mut Market, venue_ns| {
            market.show(1, &BookTop { quality: BookQuality::Good, venue_ns, bids: &bids, asks: &asks }, LEVELS);
        };
        let at = |venue_ns| Stamps { event_ns: 1, venue_ns };
        show(&mut market, 100);
        market.remember(10, 1, at(99));
        assert_eq!(market.traded_at(10).0, 0, "it is in the book already");
        market.remember(10, 2, at(100));
        market.remember(10, 3, at(102));
        assert_eq!((market.traded_at(10), market.traded_at(11).0), ((3, at(102)), 0));
        show(&mut market, 101);
        assert_eq!(market.traded_at(10).0, 3);
        show(&mut market, 102);
        assert_eq!(market.traded_at(10).0, 0);
    }
}
