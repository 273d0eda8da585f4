//! Finished one-minute bars of all instruments, wherever they come from.
//!
//! | a source has | its bars are |
//! |---|---|
//! | bars of its own | those |
//! | trades | built from the trades ([`BarBuilder`] with one minute); a minute without trades has none |
//! | only a book | the mid of the book while it is good: first, highest, lowest and last of the minute, no volume |
//!
//! An instrument goes up this list and never down: the first trade ends bars of mids, the first bar of the venue's own
//! ends both, and the features begin anew, because prices of another kind are no continuation.

use tidegate_wire::decimal::POW10;
use tidegate_wire::event::{Bar as VenueBar, MARK_DECIMALS, Mark, RATE_DECIMALS, Trade};
use tidegate_wire::feature::{MINUTE_SLOTS, MinuteBody};
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

use super::schema::BAR_FEATURE_COUNT;
use crate::bars::{Bar, BarBuilder, BarFeatures, BarRule, BarVector};

/// Nanoseconds of a minute.
pub const MINUTE_NS: i64 = 60_000_000_000;

/// Where bars come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Mids of the book.
    #[default]
    Mids,
    /// Trades.
    Trades,
    /// The venue.
    Venue,
}

impl Origin {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mids => "mids",
            Self::Trades => "trades",
            Self::Venue => "venue",
        }
    }
}

/// A finished bar; what its source does not tell is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinuteBar {
    /// Begin of the interval, ns since the epoch.
    pub start_ns: i64,
    /// End of the interval, ns since the epoch.
    pub end_ns: i64,
    /// First price, quote units.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Quantity traded.
    pub volume: Option<f64>,
    /// Of that, bought by aggressors.
    pub bought: Option<f64>,
    /// Value traded, quote units.
    pub value: Option<f64>,
    /// Number of trades.
    pub trades: Option<u64>,
}

impl From<&Bar> for MinuteBar {
    fn from(bar: &Bar) -> Self {
        let Bar { start_ns, end_ns, open, high, low, close, volume, bought, value, trades } = *bar;
        let (volume, bought, value) = (Some(volume), Some(bought), Some(value));
        Self { start_ns, end_ns, open, high, low, close, volume, bought, value, trades: Some(trades) }
    }
}

/// A finished bar with its features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finished {
    /// The bar.
    pub bar: MinuteBar,
    /// Where it comes from.
    pub origin: Origin,
    /// Its features; all absent for a bar that is no minute.
    pub features: BarVector,
}

impl Finished {
    /// As a record.
    pub fn body(&self) -> MinuteBody {
        let MinuteBar { start_ns, end_ns, open, high, low, close, volume, bought, value, trades } = self.bar;
        let known = [volume.is_some(), bought.is_some(), value.is_some(), trades.is_some()];
        let mut body = MinuteBody {
            start_ns,
            end_ns,
            origin: self.origin as u64,
            known: known.iter().enumerate().map(|(bit, known)| u64::from(*known) << bit).sum(),
            prices: [open, high, low, close],
            volume: volume.unwrap_or(0.0),
            bought: bought.unwrap_or(0.0),
            value: value.unwrap_or(0.0),
            trades: trades.unwrap_or(0),
            mask: 0,
            values: [0.0; MINUTE_SLOTS],
        };
        for (index, value) in body.values.iter_mut().enumerate().take(BAR_FEATURE_COUNT) {
            if let Some(known) = self.features.get(index) {
                *value = known;
                body.mask |= 1 << index;
            }
        }
        body
    }

    /// From a record.
    pub fn of_body(body: &MinuteBody) -> Self {
        let known = |bit: u32| body.known >> bit & 1 == 1;
        let [open, high, low, close] = body.prices;
        let bar = MinuteBar {
            start_ns: body.start_ns,
            end_ns: body.end_ns,
            open,
            high,
            low,
            close,
            volume: known(0).then_some(body.volume),
            bought: known(1).then_some(body.bought),
            value: known(2).then_some(body.value),
            trades: known(3).then_some(body.trades),
        };
        let origin = match body.origin {
            2 => Origin::Venue,
            1 => Origin::Trades,
            _ => Origin::Mids,
        };
        Self { bar, origin, features: BarVector::of(|index| body.get(index)) }
    }
}

/// One instrument.
#[derive(Debug)]
struct Minutes {
    origin: Origin,
    builder: BarBuilder,
    /// The bar of mids being built.
    mids: Option<MinuteBar>,
    features: BarFeatures,
    price_unit: f64,
    qty_unit: f64,
    /// The volatility index it looks at.
    index: Option<InstrumentId>,
}

impl Minutes {
    /// Moves to a better origin; gives whether bars of this origin count.
    fn rise(&mut self, origin: Origin) -> bool {
        if origin > self.origin {
            self.origin = origin;
            self.mids = None;
            self.features.restart();
        }
        origin == self.origin
    }

    fn finish(&mut self, bar: MinuteBar) -> Finished {
        Finished { bar, origin: self.origin, features: self.features.bar(&bar) }
    }

    fn advance(&mut self, now_ns: i64) -> Option<Finished> {
        match self.origin {
            Origin::Trades => self.builder.advance(now_ns).map(|bar| self.finish(MinuteBar::from(&bar))),
            Origin::Mids => self.mids.take_if(|bar| now_ns >= bar.end_ns).map(|bar| self.finish(bar)),
            Origin::Venue => None,
        }
    }

    fn mid(&mut self, now_ns: i64, mid: f64) {
        let start_ns = now_ns.div_euclid(MINUTE_NS) * MINUTE_NS;
        let bar = self.mids.get_or_insert(MinuteBar {
            start_ns,
            end_ns: start_ns + MINUTE_NS,
            open: mid,
            high: mid,
            low: mid,
            close: mid,
            volume: None,
            bought: None,
            value: None,
            trades: None,
        });
        (bar.high, bar.low, bar.close) = (bar.high.max(mid), bar.low.min(mid), mid);
    }

    fn venue_bar(&self, bar: &VenueBar) -> MinuteBar {
        let price = |price: tidegate_wire::Price| price.raw() as f64 * self.price_unit;
        let qty = |qty: tidegate_wire::Qty| qty.raw() as f64 * self.qty_unit;
        MinuteBar {
            start_ns: bar.start_ns,
            end_ns: bar.end_ns,
            open: price(bar.open),
            high: price(bar.high),
            low: price(bar.low),
            close: price(bar.close),
            volume: Some(qty(bar.volume)),
            bought: (bar.bought != VenueBar::NOT_TOLD).then(|| qty(bar.bought)),
            value: None,
            trades: (bar.trades != VenueBar::NOT_COUNTED).then_some(bar.trades),
        }
    }
}

/// The one-minute bars of all instruments of a run, with their features.
///
/// Call [`Self::advance`] with every event before anything else is said of it. Finished bars are told to `out`, with
/// the instrument they are of.
#[derive(Debug)]
pub struct BarMarkets {
    minutes: Vec<Minutes>,
}

impl BarMarkets {
    /// For all instruments of a registry.
    pub fn new(registry: &Registry) -> Self {
        let one = |(_, instrument): (InstrumentId, &Instrument)| Minutes {
            origin: Origin::default(),
            builder: BarBuilder::new(instrument, BarRule::Time(MINUTE_NS)),
            mids: None,
            features: BarFeatures::default(),
            price_unit: 1.0 / instrument.price_scale.units() as f64,
            qty_unit: 1.0 / instrument.qty_scale.units() as f64,
            index: volatility_index(registry, instrument),
        };
        Self { minutes: registry.iter().map(one).collect() }
    }

    /// Moves event time of an instrument; tells the bar that has ended.
    pub fn advance(&mut self, id: InstrumentId, now_ns: i64, out: &mut impl FnMut(InstrumentId, &Finished)) {
        if let Some(finished) = self.minutes.get_mut(id.index()).and_then(|minutes| minutes.advance(now_ns)) {
            out(id, &finished);
        }
    }

    /// A trade; `sell` when the aggressor sold.
    pub fn trade(&mut self, id: InstrumentId, now_ns: i64, trade: &Trade, sell: bool) {
        if let Some(minutes) = self.minutes.get_mut(id.index())
            && minutes.rise(Origin::Trades)
        {
            // A time bar ends by time, never by a trade.
            let _ = minutes.builder.trade(now_ns, trade, sell);
        }
    }

    /// The mid of a good book after a change, quote units.
    pub fn mid(&mut self, id: InstrumentId, now_ns: i64, mid: f64) {
        if let Some(minutes) = self.minutes.get_mut(id.index())
            && minutes.origin == Origin::Mids
        {
            minutes.mid(now_ns, mid);
        }
    }

    /// Whether the mids of an instrument's book matter: it has neither trades nor bars.
    pub fn wants_mids(&self, id: InstrumentId) -> bool {
        self.minutes.get(id.index()).is_some_and(|minutes| minutes.origin == Origin::Mids)
    }

    /// A bar of the venue's own.
    pub fn bar(&mut self, id: InstrumentId, bar: &VenueBar, out: &mut impl FnMut(InstrumentId, &Finished)) {
        if let Some(minutes) = self.minutes.get_mut(id.index())
            && minutes.rise(Origin::Venue)
        {
            let bar = minutes.venue_bar(bar);
            out(id, &minutes.finish(bar));
        }
    }

    /// A mark message: funding of its instrument, or an index for all instruments that look at it. Their bars that have
    /// ended before do not know of it.
    pub fn mark(&mut self, id: InstrumentId, now_ns: i64, mark: &Mark, out: &mut impl FnMut(InstrumentId, &Finished)) {
        let points = mark.index as f64 / POW10[MARK_DECIMALS as usize] as f64;
        for (index, minutes) in self.minutes.iter_mut().enumerate().filter(|(_, m)| m.index == Some(id)) {
            if let Some(finished) = minutes.advance(now_ns) {
                out(InstrumentId(index as u16), &finished);
            }
            minutes.features.dvol(now_ns, points);
        }
        if let Some(minutes) = self.minutes.get_mut(id.index()).filter(|_| mark.next_funding_ns != 0) {
            minutes.features.funding(now_ns, mark.funding as f64 / POW10[RATE_DECIMALS as usize] as f64);
        }
    }
}

/// The volatility index of an instrument's base asset, or bitcoin's, which the others follow.
fn volatility_index(registry: &Registry, instrument: &Instrument) -> Option<InstrumentId> {
    let of = |base: &str| registry.find(Venue::Deribit, &format!("{base}DVOL"));
    let base = if instrument.base() == "XBT" { "BTC" } else { instrument.base() };
    of(base).or_else(|| of("BTC"))
}
