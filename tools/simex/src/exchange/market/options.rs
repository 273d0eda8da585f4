//! Options: Black-Scholes values and a small book around them.

use std::f64::consts::{PI, SQRT_2};

use super::OptionTerms;
use crate::draw::Draw;
use crate::market::MarketEvent;
use crate::market::book::{Book, Level, Side};

/// A year of 365 days, ms.
const YEAR_MS: f64 = 365.0 * 86_400_000.0;
/// The book is quoted anew this often, ns.
const REQUOTE_NS: i64 = 500_000_000;
/// Levels a side.
const LEVELS: i64 = 5;

/// Value and sensitivities of an option; volatilities are percentages, the price is in the base currency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Greeks {
    pub(crate) price: f64,
    pub(crate) iv: f64,
    pub(crate) delta: f64,
    pub(crate) gamma: f64,
    /// For one point of volatility.
    pub(crate) vega: f64,
    /// For one day.
    pub(crate) theta: f64,
    /// For one point of interest.
    pub(crate) rho: f64,
}

/// Values an option without interest.
pub(crate) fn value(terms: &OptionTerms, spot: f64, now_ms: i64) -> Greeks {
    let years = ((terms.expiry_ms - now_ms) as f64 / YEAR_MS).max(1e-6);
    let moneyness = libm::log(terms.strike / spot);
    // A smile: dearer away from the money.
    let iv = 0.55 + 0.4 * moneyness * moneyness / years.max(0.01);
    let deviation = iv * libm::sqrt(years);
    let d1 = (-moneyness + 0.5 * deviation * deviation) / deviation;
    let d2 = d1 - deviation;
    let density = libm::exp(-0.5 * d1 * d1) / libm::sqrt(2.0 * PI);
    let sign = if terms.call { 1.0 } else { -1.0 };
    let value = sign * (spot * cumulative(sign * d1) - terms.strike * cumulative(sign * d2));
    Greeks {
        price: value.max(0.0) / spot,
        iv: iv * 100.0,
        delta: sign * cumulative(sign * d1),
        gamma: density / (spot * deviation),
        vega: spot * density * libm::sqrt(years) / 100.0,
        theta: -spot * density * iv / (2.0 * libm::sqrt(years)) / 365.0,
        rho: sign * terms.strike * years * cumulative(sign * d2) / 100.0,
    }
}

fn cumulative(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// Quotes an option.
pub(crate) struct Quoter {
    terms: OptionTerms,
    book: Book,
    next_ns: i64,
    draw: Draw,
}

impl Quoter {
    pub(crate) fn new(terms: OptionTerms, draw: Draw) -> Self {
        Self { terms, book: Book::new(16), next_ns: 0, draw }
    }

    /// Quotes anew if it is time to, around the value at this price of the underlying.
    pub(crate) fn next(
        &mut self,
        to_ns: i64,
        now_ms: i64,
        spot: f64,
        tick: f64,
        events: &mut Vec<MarketEvent>,
    ) -> bool {
        if to_ns < self.next_ns {
            return false;
        }
        self.next_ns = to_ns + REQUOTE_NS;
        let middle = (value(&self.terms, spot, now_ms).price / tick).max(2.0);
        let bid = libm::floor(middle) as i64 - 1;
        let ask = libm::ceil(middle) as i64 + 1;
        for (side, start) in [(Side::Buy, bid), (Side::Sell, ask)] {
            let wanted: Vec<i64> = (0..LEVELS).map(|step| start - side.sign() * step).filter(|&t| t > 0).collect();
            let old: Vec<Level> = self.book.side(side).outward().collect();
            for level in old.iter().filter(|level| !wanted.contains(&level.tick)) {
                self.change(side, level.tick, 0, events);
            }
            for tick in wanted {
                if self.book.side(side).lots_at(tick) == 0 || self.draw.chance(0.3) {
                    let lots = self.draw.lots(200.0, 1.0, 0.5);
                    self.change(side, tick, lots, events);
                }
            }
        }
        if self.draw.chance(0.05)
            && let Some((_, ask)) = self.book.touch()
        {
            let lots = (1 + self.draw.below(10) as i64).min(ask.lots);
            events.push(MarketEvent::Trade { tick: ask.tick, lots, taker: Side::Buy });
            self.change(Side::Sell, ask.tick, ask.lots - lots, events);
        }
        if let Some((bid, ask)) = self.book.touch() {
            events.push(MarketEvent::Commit { bid, ask });
        }
        true
    }

    fn change(&mut self, side: Side, tick: i64, lots: i64, events: &mut Vec<MarketEvent>) {
        if self.book.side_mut(side).set(tick, lots) {
            events.push(MarketEvent::Change { side, level: Level { tick, lots } });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_puts_are_in_parity() {
        let terms = OptionTerms { strike: 61_000.0, call: true, expiry_ms: 30 * 86_400_000 };
        let call = value(&terms, 62_000.0, 0);
        let put = value(&OptionTerms { call: false, ..terms }, 62_000.0, 0);
        let forward = (62_000.0 - 61_000.0) / 62_000.0;
        assert!((call.price - put.price - forward).abs() < 1e-9);
        assert!((call.delta - put.delta - 1.0).abs() < 1e-9);
        assert!(call.gamma > 0.0 && call.vega > 0.0 && call.theta < 0.0);
    }
}
