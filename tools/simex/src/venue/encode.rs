//! Binance frames, byte for byte in the key order of recorded ones, without serde and without allocation.
//!
//! Key orders were taken from captures of 2023 and 2024. Later fields (`st`, and `ps` on USD-M) are not written.

use super::decimal::{write_decimal, write_integer};
use crate::config::{InstrumentSpec, Product};
use crate::market::book::{Book, Level, Side};

/// Levels a side in a REST snapshot: the whole simulated book. The venue's futures give only 1,000; a crash that leaves
/// those behind would show levels that no receiver can know, and every comparison with the book would blame the
/// receiver.
pub(super) const SNAPSHOT_LEVELS: usize = 5_000;

/// Writes the frames of one instrument.
pub(super) struct Encoder {
    product: Product,
    symbol: String,
    /// `{"stream":"btcusdt@`
    head: String,
    pair: String,
    price_decimals: u32,
    tick_units: i64,
    qty_decimals: u32,
    lot_units: i64,
}

/// A trade, or several fills of one order at one price.
pub(super) struct Print {
    /// First trade id.
    pub(super) first_id: i64,
    /// Last trade id.
    pub(super) last_id: i64,
    /// Price.
    pub(super) tick: i64,
    /// Quantity.
    pub(super) lots: i64,
    /// Side of the market order.
    pub(super) taker: Side,
}

/// Venue times of a frame, ms since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// `E`: when the frame was sent.
    pub(super) event_ms: i64,
    /// `T`: when the matching engine acted.
    pub(super) transaction_ms: i64,
}

/// Update ids of a depth frame.
pub(super) struct DepthIds {
    /// `U`.
    pub(super) first: i64,
    /// `u`.
    pub(super) last: i64,
    /// `pu`: `u` of the frame before; not written on spot.
    pub(super) previous: i64,
}

/// Prices of a mark-price frame, in units of 1e-8.
pub(super) struct Mark {
    /// `p`.
    pub(super) mark: i64,
    /// `P`.
    pub(super) settle: i64,
    /// `i`.
    pub(super) index: i64,
    /// `r`.
    pub(super) funding: i64,
    /// `T`: next funding, ms since the epoch.
    pub(super) next_funding_ms: i64,
}

impl Encoder {
    pub(super) fn new(spec: &InstrumentSpec) -> Self {
        Self {
            product: spec.product,
            symbol: spec.symbol.clone(),
            head: format!("{{\"stream\":\"{}@", spec.symbol.to_lowercase()),
            pair: spec.pair.clone(),
            price_decimals: spec.price_decimals,
            tick_units: spec.tick_units,
            qty_decimals: spec.qty_decimals,
            lot_units: spec.lot_units,
        }
    }

    /// A depth frame; both sides come in ascending order of price.
    pub(super) fn depth(&self, out: &mut Vec<u8>, times: Times, ids: &DepthIds, bids: &[Level], asks: &[Level]) {
        let stream = if self.product == Product::Spot { "depth@100ms" } else { "depth@0ms" };
        self.open(out, stream);
        text(out, "\"e\":\"depthUpdate\"");
        number(out, ",\"E\":", times.event_ms);
        if self.product.is_future() {
            number(out, ",\"T\":", times.transaction_ms);
        }
        self.names(out);
        number(out, ",\"U\":", ids.first);
        number(out, ",\"u\":", ids.last);
        if self.product.is_future() {
            number(out, ",\"pu\":", ids.previous);
        }
        text(out, ",\"b\":[");
        if self.product == Product::Spot {
            self.levels(out, bids.iter().rev());
        } else {
            self.levels(out, bids.iter());
        }
        text(out, "],\"a\":[");
        self.levels(out, asks.iter());
        text(out, "]}}");
    }

    /// A bookTicker frame.
    pub(super) fn book_ticker(&self, out: &mut Vec<u8>, times: Times, id: i64, bid: Level, ask: Level) {
        self.open(out, "bookTicker");
        match self.product {
            Product::Spot => number(out, "\"u\":", id),
            Product::UsdM => number(out, "\"e\":\"bookTicker\",\"u\":", id),
            Product::CoinM => {
                number(out, "\"u\":", id);
                text(out, ",\"e\":\"bookTicker\"");
            }
        }
        self.names(out);
        for (price_key, quantity_key, level) in [(",\"b\":\"", "\",\"B\":\"", bid), (",\"a\":\"", "\",\"A\":\"", ask)] {
            text(out, price_key);
            self.price(out, level.tick);
            text(out, quantity_key);
            self.quantity(out, level.lots);
            text(out, "\"");
        }
        if self.product.is_future() {
            number(out, ",\"T\":", times.transaction_ms);
            number(out, ",\"E\":", times.event_ms);
        }
        text(out, "}}");
    }

    /// A trade frame.
    pub(super) fn trade(&self, out: &mut Vec<u8>, times: Times, print: &Print) {
        self.open(out, "trade");
        number(out, "\"e\":\"trade\",\"E\":", times.event_ms);
        if self.product.is_future() {
            number(out, ",\"T\":", times.transaction_ms);
        }
        self.symbol(out);
        number(out, ",\"t\":", print.first_id);
        self.priced(out, print);
        if self.product.is_future() {
            text(out, ",\"X\":\"MARKET\"");
        } else {
            number(out, ",\"T\":", times.transaction_ms);
        }
        self.maker(out, print.taker);
    }

    /// An aggTrade frame.
    pub(super) fn agg_trade(&self, out: &mut Vec<u8>, times: Times, id: i64, print: &Print) {
        self.open(out, "aggTrade");
        number(out, "\"e\":\"aggTrade\",\"E\":", times.event_ms);
        if self.product.is_future() {
            number(out, ",\"a\":", id);
            self.symbol(out);
        } else {
            self.symbol(out);
            number(out, ",\"a\":", id);
        }
        self.priced(out, print);
        number(out, ",\"f\":", print.first_id);
        number(out, ",\"l\":", print.last_id);
        number(out, ",\"T\":", times.transaction_ms);
        self.maker(out, print.taker);
    }

    /// A markPrice@1s frame; futures only.
    pub(super) fn mark_price(&self, out: &mut Vec<u8>, event_ms: i64, mark: &Mark) {
        self.open(out, "markPrice@1s");
        number(out, "\"e\":\"markPriceUpdate\",\"E\":", event_ms);
        self.symbol(out);
        let fields = [("p", mark.mark), ("P", mark.settle), ("i", mark.index), ("r", mark.funding)];
        for (key, units) in fields {
            text(out, ",\"");
            text(out, key);
            text(out, "\":\"");
            write_decimal(out, units, 8);
            text(out, "\"");
        }
        number(out, ",\"T\":", mark.next_funding_ms);
        text(out, "}}");
    }

    /// A REST snapshot, as a recorder writes it between the frames: without the wrapper of a stream.
    pub(super) fn snapshot(&self, out: &mut Vec<u8>, times: Times, last_id: i64, book: &Book) {
        number(out, "{\"lastUpdateId\":", last_id);
        if self.product.is_future() {
            number(out, ",\"E\":", times.event_ms);
            number(out, ",\"T\":", times.transaction_ms);
        }
        if self.product == Product::CoinM {
            text(out, ",\"symbol\":\"");
            text(out, &self.symbol);
            text(out, "\",\"pair\":\"");
            text(out, &self.pair);
            text(out, "\"");
        }
        for (key, side) in [(",\"bids\":[", Side::Buy), ("],\"asks\":[", Side::Sell)] {
            text(out, key);
            self.levels(out, book.side(side).outward().take(SNAPSHOT_LEVELS));
        }
        text(out, "]}");
    }

    fn open(&self, out: &mut Vec<u8>, stream: &str) {
        text(out, &self.head);
        text(out, stream);
        text(out, "\",\"data\":{");
    }

    fn symbol(&self, out: &mut Vec<u8>) {
        text(out, ",\"s\":\"");
        text(out, &self.symbol);
        text(out, "\"");
    }

    /// Symbol and, on COIN-M, pair.
    fn names(&self, out: &mut Vec<u8>) {
        self.symbol(out);
        if self.product == Product::CoinM {
            text(out, ",\"ps\":\"");
            text(out, &self.pair);
            text(out, "\"");
        }
    }

    fn priced(&self, out: &mut Vec<u8>, print: &Print) {
        text(out, ",\"p\":\"");
        self.price(out, print.tick);
        text(out, "\",\"q\":\"");
        self.quantity(out, print.lots);
        text(out, "\"");
    }

    /// `m` says that the buyer was the maker, that is, that the aggressor sold. `M` on spot means nothing any more.
    fn maker(&self, out: &mut Vec<u8>, taker: Side) {
        text(out, if taker == Side::Sell { ",\"m\":true" } else { ",\"m\":false" });
        text(out, if self.product == Product::Spot { ",\"M\":true}}" } else { "}}" });
    }

    fn levels<L: std::borrow::Borrow<Level>>(&self, out: &mut Vec<u8>, levels: impl Iterator<Item = L>) {
        for (index, level) in levels.enumerate() {
            text(out, if index == 0 { "[\"" } else { ",[\"" });
            self.price(out, level.borrow().tick);
            text(out, "\",\"");
            self.quantity(out, level.borrow().lots);
            text(out, "\"]");
        }
    }

    fn price(&self, out: &mut Vec<u8>, tick: i64) {
        write_decimal(out, tick * self.tick_units, self.price_decimals);
    }

    fn quantity(&self, out: &mut Vec<u8>, lots: i64) {
        write_decimal(out, lots * self.lot_units, self.qty_decimals);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, key: &str, value: i64) {
    text(out, key);
    write_integer(out, value);
}
