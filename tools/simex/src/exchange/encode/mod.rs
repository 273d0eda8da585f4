//! Pushes as text, in each venue's shape and key order.

pub(crate) mod binance;
pub(crate) mod bitget;
pub(crate) mod bybit;
pub(crate) mod deribit;
pub(crate) mod okx;

use super::clock::Clock;
use super::market::{Instrument, Push, TopicSpec};
use super::venue::Venue;
use crate::market::book::{Level, Side};

/// Milliseconds between two funding settlements.
pub(crate) const FUNDING_MS: i64 = 8 * 3_600_000;

/// The message of a push; empty when this venue has none for it.
pub(crate) fn push(instrument: &Instrument, spec: &TopicSpec, push: &mut Push<'_>, clock: &Clock) -> Vec<u8> {
    let now_ms = clock.ms(instrument.venue());
    let text = match instrument.venue() {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => binance::push(instrument, spec, push, now_ms),
        Venue::Bybit => bybit::push(instrument, spec, push, now_ms),
        Venue::Okx => okx::push(instrument, spec, push, now_ms),
        Venue::Bitget => bitget::push(instrument, spec, push, now_ms),
        Venue::Deribit => deribit::push(instrument, spec, push, now_ms),
    };
    text.unwrap_or_default().into_bytes()
}

/// `[["61800.1","2.5"],...]`
pub(crate) fn pairs(instrument: &Instrument, levels: impl Iterator<Item = Level>) -> String {
    rows(levels, |level| format!("[\"{}\",\"{}\"]", instrument.price(level.tick), instrument.quantity(level.lots)))
}

/// A JSON array of what `row` makes of each item.
pub(crate) fn rows<T>(items: impl Iterator<Item = T>, row: impl Fn(T) -> String) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&row(item));
    }
    out.push(']');
    out
}

/// Name of a taker's side.
pub(crate) fn side<'a>(taker: Side, buy: &'a str, sell: &'a str) -> &'a str {
    match taker {
        Side::Buy => buy,
        Side::Sell => sell,
    }
}

/// Time of the next funding settlement, ms.
pub(crate) fn next_funding(now_ms: i64) -> i64 {
    (now_ms / FUNDING_MS + 1) * FUNDING_MS
}

#[cfg(test)]
mod tests;
