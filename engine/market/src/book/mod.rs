//! The L2 book of one instrument: every level the venue has told, best prices at hand.

mod side;

pub use side::{NO_KEY, Side, TOP, Top};

use tidegate_wire::event::Depth;
use tidegate_wire::{Instrument, Level, Price, Qty};

/// Fewest ticks of a ladder window.
const WINDOW_MIN: usize = 1 << 12;
/// Most ticks of a ladder window: 8 MiB a side, of which only touched lines cost anything.
const WINDOW_MAX: usize = 1 << 20;

/// A level whose price is not a multiple of the instrument's tick: the definition is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffGrid;

/// The book of one instrument.
#[derive(Debug)]
pub struct Book {
    bids: Side,
    asks: Side,
    /// Price mantissa of one tick, > 0.
    tick: i64,
    /// Best levels as of the last frame.
    top_bids: Top,
    top_asks: Top,
    /// Last update id applied.
    last_id: u64,
}

impl Book {
    /// An empty book. `price` is where the instrument trades, roughly, if that is known: the window covers about a
    /// tenth of it either way.
    pub fn new(instrument: &Instrument, price: Option<Price>) -> Self {
        let ticks = price.map_or(WINDOW_MIN as i64 * 16, |price| price.raw() / instrument.tick.raw() / 4);
        Self::with_window(instrument, usize::try_from(ticks).unwrap_or(0))
    }

    /// An empty book with a window of at least `ticks` (rounded up to a power of two, within limits).
    pub fn with_window(instrument: &Instrument, ticks: usize) -> Self {
        let window = ticks.clamp(WINDOW_MIN, WINDOW_MAX).next_power_of_two();
        Self {
            bids: Side::new(window),
            asks: Side::new(window),
            tick: instrument.tick.raw(),
            top_bids: Top::default(),
            top_asks: Top::default(),
            last_id: 0,
        }
    }

    /// Key of a price on the ask side; bids use its negative.
    #[inline(always)]
    fn tick_of(&self, price: Price) -> Result<i64, OffGrid> {
        if self.tick == 1 {
            return Ok(price.raw());
        }
        if price.raw() % self.tick == 0 { Ok(price.raw() / self.tick) } else { Err(OffGrid) }
    }

    /// Applies changed levels. Gives the quantity that was taken away within the reach of the top levels before.
    ///
    /// # Errors
    /// [`OffGrid`] at the first price that is no multiple of the tick; the book must then be rebuilt.
    #[inline]
    pub fn apply(&mut self, depth: &Depth<'_>) -> Result<Qty, OffGrid> {
        let mut removed = 0;
        let reach = self.top_bids.reach();
        let mut nearest = NO_KEY;
        for level in depth.bids {
            let key = -self.tick_of(level.price)?;
            let old = self.bids.set(key, level.qty.raw());
            nearest = nearest.min(key);
            removed += if key <= reach { (old - level.qty.raw()).max(0) } else { 0 };
        }
        if nearest <= reach {
            self.top_bids = self.bids.top();
        }
        let reach = self.top_asks.reach();
        let mut nearest = NO_KEY;
        for level in depth.asks {
            let key = self.tick_of(level.price)?;
            let old = self.asks.set(key, level.qty.raw());
            nearest = nearest.min(key);
            removed += if key <= reach { (old - level.qty.raw()).max(0) } else { 0 };
        }
        if nearest <= reach {
            self.top_asks = self.asks.top();
        }
        self.last_id = depth.ids.last;
        Ok(Qty::from_raw(removed))
    }

    /// Replaces the book.
    ///
    /// # Errors
    /// As [`Book::apply`].
    pub fn load(&mut self, depth: &Depth<'_>) -> Result<(), OffGrid> {
        self.clear();
        self.apply(depth).map(|_| ())
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        (self.top_bids, self.top_asks) = (Top::default(), Top::default());
    }

    /// Best bid with its quantity.
    #[inline(always)]
    pub fn best_bid(&self) -> Option<Level> {
        (self.bids.best() != NO_KEY).then(|| self.level(-self.bids.best(), self.bids.best_qty()))
    }

    /// Best ask with its quantity.
    #[inline(always)]
    pub fn best_ask(&self) -> Option<Level> {
        (self.asks.best() != NO_KEY).then(|| self.level(self.asks.best(), self.asks.best_qty()))
    }

    #[inline(always)]
    fn level(&self, tick: i64, qty: i64) -> Level {
        Level { price: Price::from_raw(tick * self.tick), qty: Qty::from_raw(qty) }
    }

    /// Whether best bid and best ask touch or overlap: no matched market does that.
    #[inline(always)]
    pub fn is_crossed(&self) -> bool {
        let (bid, ask) = (self.bids.best(), self.asks.best());
        bid != NO_KEY && ask != NO_KEY && -bid >= ask
    }

    /// The best twenty bids; keys are negated ticks.
    #[inline(always)]
    pub const fn top_bids(&self) -> &Top {
        &self.top_bids
    }

    /// The best twenty asks; keys are ticks.
    #[inline(always)]
    pub const fn top_asks(&self) -> &Top {
        &self.top_asks
    }

    /// The bid side.
    pub const fn bids(&self) -> &Side {
        &self.bids
    }

    /// The ask side.
    pub const fn asks(&self) -> &Side {
        &self.asks
    }

    /// Quantity of all bids at `price` and above.
    #[inline]
    pub fn bid_depth(&self, price: Price) -> Qty {
        // -(price / tick) rounded towards the touch: a price between two ticks reaches the upper one.
        Qty::from_raw(self.bids.depth([(-price.raw()).div_euclid(self.tick)])[0])
    }

    /// Quantity of all asks at `price` and below.
    #[inline]
    pub fn ask_depth(&self, price: Price) -> Qty {
        Qty::from_raw(self.asks.depth([price.raw().div_euclid(self.tick)])[0])
    }

    /// Price mantissa of one tick.
    #[inline(always)]
    pub const fn tick(&self) -> i64 {
        self.tick
    }

    /// Last update id applied.
    #[inline(always)]
    pub const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// All bids, best first.
    pub fn iter_bids(&self) -> impl Iterator<Item = Level> + '_ {
        self.bids.iter().map(|(key, qty)| self.level(-key, qty))
    }

    /// All asks, best first.
    pub fn iter_asks(&self) -> impl Iterator<Item = Level> + '_ {
        self.asks.iter().map(|(key, qty)| self.level(key, qty))
    }
}
