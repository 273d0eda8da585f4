//! What the gate is told of the market when an order comes, and what it remembers of it.

use tidegate_wire::event::BookQuality;
use tidegate_wire::{Price, Scale};

/// Where a reference price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// Middle of best bid and ask.
    Mid,
    /// The venue's mark price.
    Mark,
    /// The last trade.
    Last,
}

/// A reference price with its time. A price of zero or less is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// At the instrument's scale.
    pub price: Price,
    /// When it was known, ns of event time.
    pub at_ns: i64,
    /// Where it comes from.
    pub kind: ReferenceKind,
}

impl Reference {
    /// No price.
    pub const MISSING: Self = Self { price: Price::ZERO, at_ns: i64::MIN, kind: ReferenceKind::Mid };

    /// From a feature or a model: the one place where a float meets the gate. What is not finite, not above zero or
    /// beyond 53 bits at the scale is no price.
    pub fn from_f64(value: f64, scale: Scale, at_ns: i64, kind: ReferenceKind) -> Self {
        let mantissa = value * scale.units() as f64;
        // 2^53: beyond it neighbouring integers are not told apart any more.
        if !(mantissa.is_finite() && (0.5..9_007_199_254_740_992.0).contains(&mantissa)) {
            return Self::MISSING;
        }
        Self { price: Price::from_raw(mantissa.round() as i64), at_ns, kind }
    }
}

/// Which breakers permit trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// The instrument's.
    pub instrument: bool,
    /// The venue's.
    pub venue: bool,
    /// The strategy's.
    pub strategy: bool,
    /// The engine's.
    pub engine: bool,
    /// The strategy's drawdown: without it only what makes a position smaller passes.
    pub strategy_losses: bool,
    /// The engine's drawdown, likewise.
    pub engine_losses: bool,
}

impl Permits {
    /// All of them.
    pub const ALL: Self = Self {
        instrument: true,
        venue: true,
        strategy: true,
        engine: true,
        strategy_losses: true,
        engine_losses: true,
    };
}

/// The market as an order meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketView {
    /// Price that orders are held against.
    pub reference: Reference,
    /// Quality of the book.
    pub quality: BookQuality,
    /// Which breakers permit trading.
    pub permits: Permits,
}

/// Buckets that make up a period.
const BUCKETS: usize = 8;

/// Lowest and highest reference of at least a period, at most an eighth more.
#[derive(Clone, Debug)]
pub(crate) struct Extremes {
    width_ns: i64,
    /// Number of the bucket of now.
    bucket: i64,
    low: i64,
    high: i64,
    /// Lowest and highest of the buckets before, by number modulo their count.
    past: [(i64, i64); BUCKETS + 1],
    past_low: i64,
    past_high: i64,
}

const NOTHING: (i64, i64) = (i64::MAX, i64::MIN);

impl Extremes {
    pub(crate) fn new(period_ns: i64) -> Self {
        Self {
            width_ns: (period_ns / BUCKETS as i64).max(1),
            bucket: i64::MIN,
            low: NOTHING.0,
            high: NOTHING.1,
            past: [NOTHING; BUCKETS + 1],
            past_low: NOTHING.0,
            past_high: NOTHING.1,
        }
    }

    /// A reference price at a time; times do not decrease.
    #[inline(always)]
    pub(crate) fn note(&mut self, now: i64, price: i64) {
        if now.div_euclid(self.width_ns) != self.bucket {
            self.turn(now.div_euclid(self.width_ns));
        }
        self.low = self.low.min(price);
        self.high = self.high.max(price);
    }

    #[cold]
    fn turn(&mut self, bucket: i64) {
        let slot = |bucket: i64| bucket.rem_euclid(BUCKETS as i64 + 1) as usize;
        let passed = bucket.saturating_sub(self.bucket);
        if passed > BUCKETS as i64 {
            self.past = [NOTHING; BUCKETS + 1];
        } else {
            self.past[slot(self.bucket)] = (self.low, self.high);
            (self.bucket + 1..=bucket).for_each(|empty| self.past[slot(empty)] = NOTHING);
        }
        self.past_low = self.past.iter().map(|(low, _)| *low).min().unwrap_or(NOTHING.0);
        self.past_high = self.past.iter().map(|(_, high)| *high).max().unwrap_or(NOTHING.1);
        (self.bucket, self.low, self.high) = (bucket, NOTHING.0, NOTHING.1);
    }

    /// Lowest reference; `i64::MAX` when there was none.
    #[inline(always)]
    pub(crate) fn low(&self) -> i64 {
        self.low.min(self.past_low)
    }

    /// Highest reference; `i64::MIN` when there was none.
    #[inline(always)]
    pub(crate) fn high(&self) -> i64 {
        self.high.max(self.past_high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_that_are_no_prices_are_none() {
        let scale = Scale::saturating(2);
        let price = |value: f64| Reference::from_f64(value, scale, 5, ReferenceKind::Mid).price.raw();
        assert_eq!(price(100.005), 10_001);
        for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e15, 0.001] {
            assert_eq!(price(bad), 0, "{bad}");
        }
    }

    proptest! {
        /// Nothing younger than the period is missed, nothing older than nine eighths of it counts.
        #[test]
        fn extremes_cover_the_period(steps in prop::collection::vec((0i64..300, 1i64..1_000), 1..200)) {
            let (mut extremes, mut now, mut seen) = (Extremes::new(800), 0, Vec::new());
            for (pause, price) in steps {
                now += pause;
                extremes.note(now, price);
                seen.push((now, price));
                let within = |span: i64| seen.iter().filter(move |(at, _)| *at > now - span).map(|(_, price)| *price);
                prop_assert!(extremes.low() <= within(800).min().expect("one"));
                prop_assert!(extremes.low() >= within(901).min().expect("one"));
                prop_assert!(extremes.high() >= within(800).max().expect("one"));
                prop_assert!(extremes.high() <= within(901).max().expect("one"));
            }
        }
    }
}
