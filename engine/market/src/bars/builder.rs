//! Bars by time, volume and value, built from trades.
//!
//! A time bar ends when its interval does, by event time; a second without trades has no bar. Volume and dollar bars
//! end with the trade that fills them; a large trade is not split (Lopez de Prado, Advances in Financial Machine
//! Learning, 2018, chapter 2).

use tidegate_wire::Instrument;
use tidegate_wire::event::Trade;
use tidegate_wire::instrument::Contract;

/// What ends a bar.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BarRule {
    /// Every so many nanoseconds of event time, at multiples of that.
    Time(i64),
    /// When this quantity has traded.
    Volume(f64),
    /// When this value has traded, in quote units.
    Dollar(f64),
}

/// A finished bar, or one being built.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Bar {
    /// First trade (for time bars: begin of the interval), ns since the epoch.
    pub start_ns: i64,
    /// Last trade (for time bars: end of the interval), ns since the epoch.
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
    pub volume: f64,
    /// Of that, bought by aggressors.
    pub bought: f64,
    /// Value traded, quote units.
    pub value: f64,
    /// Number of trades; 0 in an empty bar.
    pub trades: u64,
}

/// Builds the bars of one instrument by one rule.
#[derive(Clone, Debug)]
pub struct BarBuilder {
    rule: BarRule,
    price_unit: f64,
    qty_unit: f64,
    contract: Contract,
    current: Bar,
}

impl BarBuilder {
    /// A builder without trades.
    pub fn new(instrument: &Instrument, rule: BarRule) -> Self {
        Self {
            rule,
            price_unit: 1.0 / instrument.price_scale.units() as f64,
            qty_unit: 1.0 / instrument.qty_scale.units() as f64,
            contract: instrument.contract,
            current: Bar::default(),
        }
    }

    /// Moves event time; gives the time bar that has ended.
    #[inline]
    pub fn advance(&mut self, now: i64) -> Option<Bar> {
        let BarRule::Time(_) = self.rule else { return None };
        let over = self.current.trades > 0 && now >= self.current.end_ns;
        over.then(|| core::mem::take(&mut self.current))
    }

    /// Adds a trade; gives the bar it has filled. Call [`Self::advance`] first.
    #[inline]
    pub fn trade(&mut self, now: i64, trade: &Trade, sell: bool) -> Option<Bar> {
        let (price, qty) = (trade.price.raw() as f64 * self.price_unit, trade.qty.raw() as f64 * self.qty_unit);
        if self.current.trades == 0 {
            self.open(now, price);
        }
        let bar = &mut self.current;
        bar.high = bar.high.max(price);
        bar.low = bar.low.min(price);
        bar.close = price;
        bar.volume += qty;
        bar.bought += if sell { 0.0 } else { qty };
        bar.value += match self.contract {
            Contract::Linear => price * qty,
            Contract::Inverse { quote_per_contract } => quote_per_contract * qty,
            Contract::Sized { base_per_contract } => base_per_contract * price * qty,
        };
        bar.trades += 1;
        let full = match self.rule {
            BarRule::Time(_) => return None,
            BarRule::Volume(volume) => bar.volume >= volume,
            BarRule::Dollar(value) => bar.value >= value,
        };
        bar.end_ns = now;
        full.then(|| core::mem::take(&mut self.current))
    }

    fn open(&mut self, now: i64, price: f64) {
        let (start_ns, end_ns) = match self.rule {
            BarRule::Time(width) => {
                let start = now.div_euclid(width) * width;
                (start, start + width)
            }
            BarRule::Volume(_) | BarRule::Dollar(_) => (now, now),
        };
        self.current = Bar { start_ns, end_ns, open: price, high: price, low: price, ..Bar::default() };
    }

    /// The bar being built; without trades before the first one.
    pub const fn current(&self) -> &Bar {
        &self.current
    }
}
