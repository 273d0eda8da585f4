//! Every Binance message by simd-json.

use simd_json::{Node, StaticNode};
use tidegate_wire::decimal::parse_signed;
use tidegate_wire::event::{DepthIds, MARK_DECIMALS, Mark, Quote, RATE_DECIMALS, Trade};
use tidegate_wire::{InstrumentId, Level, Price, Qty, Scale};

use crate::counters::Reason;
use crate::symbols::{Entry, SymbolTable};
use crate::venues::binance::stamp_ns;
use crate::venues::tape::{Nodes, members, number};
use crate::venues::{Body, Levels, Message};

/// The fields a message may have.
#[derive(Default)]
pub(super) struct Fields<'t> {
    found: Slots<'t>,
}

/// Number of keys of interest.
const KEYS: usize = 26;

type Slots<'t> = [Option<Nodes<'t>>; KEYS];

/// Slot of a key of interest. A match, because the compiler turns it into a switch on length and bytes.
#[inline]
fn slot(key: &str) -> Option<usize> {
    Some(match key {
        "e" => 0,
        "E" => 1,
        "T" => 2,
        "s" => 3,
        "U" => 4,
        "u" => 5,
        "pu" => 6,
        "b" => 7,
        "a" => 8,
        "B" => 9,
        "A" => 10,
        "p" => 11,
        "q" => 12,
        "t" => 13,
        "m" => 14,
        "X" => 15,
        "i" => 16,
        "r" => 17,
        "lastUpdateId" => 18,
        "bids" => 19,
        "asks" => 20,
        "symbol" => 21,
        "result" => 22,
        "id" => 23,
        "code" => 24,
        "error" => 25,
        _ => return None,
    })
}

impl<'t> Fields<'t> {
    fn of(object: Nodes<'t>) -> Result<Self, Reason> {
        let mut fields = Self::default();
        for (key, value) in members(object).ok_or(Reason::UnknownMessage)? {
            if let Some(slot) = slot(key) {
                // A key that comes twice holds nothing of any type: whoever needs it answers `BadField`, and whoever
                // does not need it does not mind, as the scanner.
                let twice = fields.found[slot].is_some();
                fields.found[slot] = Some(if twice { &[] } else { value });
            }
        }
        Ok(fields)
    }

    pub(super) fn get(&self, key: &str) -> Option<Nodes<'t>> {
        slot(key).and_then(|slot| self.found[slot])
    }

    pub(super) fn text(&self, key: &str) -> Result<&'t str, Reason> {
        match self.get(key) {
            Some([Node::String(text)]) => Ok(text),
            _ => Err(Reason::BadField),
        }
    }

    fn integer(&self, key: &str) -> Result<u64, Reason> {
        match self.get(key) {
            Some([Node::Static(StaticNode::U64(value))]) if *value <= i64::MAX as u64 => Ok(*value),
            Some([Node::Static(StaticNode::I64(value))]) => u64::try_from(*value).map_err(|_| Reason::BadField),
            _ => Err(Reason::BadField),
        }
    }

    fn stamp(&self, key: &str) -> Result<i64, Reason> {
        stamp_ns(self.integer(key)?).ok_or(Reason::Overflow)
    }

    fn stamp_or_none(&self, key: &str) -> Result<i64, Reason> {
        if self.get(key).is_some() { self.stamp(key) } else { Ok(0) }
    }

    fn price(&self, key: &str, entry: &Entry) -> Result<Price, Reason> {
        number(self.text(key)?, entry.price_scale).map(Price::from_raw)
    }

    fn qty(&self, key: &str, entry: &Entry) -> Result<Qty, Reason> {
        number(self.text(key)?, entry.qty_scale).map(Qty::from_raw)
    }

    fn entry<'s>(&self, symbols: &'s SymbolTable) -> Result<&'s Entry, Reason> {
        symbols.find(self.text("s")?.as_bytes()).ok_or(Reason::UnknownSymbol)
    }
}

/// Events of streams the engine does not use.
const UNUSED: [&str; 20] = [
    "kline",
    "continuous_kline",
    "indexPrice_kline",
    "markPrice_kline",
    "24hrTicker",
    "24hrMiniTicker",
    "1hTicker",
    "4hTicker",
    "1dTicker",
    "avgPrice",
    "referencePrice",
    "blockTrade",
    "forceOrder",
    "contractInfo",
    "compositeIndex",
    "assetIndexUpdate",
    "indexPriceUpdate",
    "tradingSession",
    "EquityUpdate",
    "rpiDepthUpdate",
];

/// The message inside the combined-stream wrapper, or the whole where there is none.
pub(super) fn payload<'t>(nodes: Nodes<'t>) -> Result<Fields<'t>, Reason> {
    let is_payload =
        |(key, value): &(&str, Nodes<'t>)| *key == "data" && matches!(value.first(), Some(Node::Object { .. }));
    let wrapped = members(nodes).ok_or(Reason::UnknownMessage)?.find(is_payload);
    Fields::of(wrapped.map_or(nodes, |(_, data)| data))
}

pub(super) fn read(
    nodes: Nodes<'_>,
    symbols: &SymbolTable,
    hint: InstrumentId,
    levels: &mut Levels,
) -> Result<Message, Reason> {
    let fields = payload(nodes)?;
    if fields.get("e").is_some() {
        return match fields.text("e")? {
            "depthUpdate" => delta(&fields, symbols, levels),
            "bookTicker" => quote(&fields, symbols),
            "trade" => trade(&fields, symbols, "t"),
            "aggTrade" => trade(&fields, symbols, "a"),
            "markPriceUpdate" => mark(&fields, symbols),
            // The session is to replace the connection.
            "serverShutdown" => Err(Reason::Control),
            other if UNUSED.contains(&other) => Err(Reason::UnusedStream),
            _ => Err(Reason::UnknownMessage),
        };
    }
    if fields.get("u").is_some() && fields.get("s").is_some() {
        return quote(&fields, symbols);
    }
    if fields.get("lastUpdateId").is_some() {
        return snapshot(&fields, symbols, hint, levels);
    }
    let control = ["result", "id", "code", "error"].iter().any(|key| fields.get(key).is_some());
    Err(if control { Reason::Control } else { Reason::UnknownMessage })
}

/// `[["price","qty"],...]` into `levels`; gives their number.
fn side(nodes: Option<Nodes<'_>>, entry: &Entry, levels: &mut [Level]) -> Result<usize, Reason> {
    let Some([Node::Array { len, .. }, rest @ ..]) = nodes else { return Err(Reason::BadField) };
    if *len > levels.len() {
        return Err(Reason::TooManyLevels);
    }
    let mut at = 0;
    for level in &mut levels[..*len] {
        let Some([Node::Array { len: 2, count: 2 }, Node::String(price), Node::String(qty)]) = rest.get(at..at + 3)
        else {
            return Err(Reason::BadField);
        };
        level.price = Price::from_raw(number(price, entry.price_scale)?);
        level.qty = Qty::from_raw(number(qty, entry.qty_scale)?);
        at += 3;
    }
    Ok(*len)
}

fn delta(fields: &Fields<'_>, symbols: &SymbolTable, levels: &mut Levels) -> Result<Message, Reason> {
    let entry = fields.entry(symbols)?;
    let prev = if fields.get("pu").is_some() { fields.integer("pu")? } else { 0 };
    let ids = DepthIds { first: fields.integer("U")?, last: fields.integer("u")?, prev };
    levels.bid_count = side(fields.get("b"), entry, &mut levels.bids)?;
    levels.ask_count = side(fields.get("a"), entry, &mut levels.asks)?;
    Ok(Message { instrument: entry.id, venue_ns: fields.stamp("E")?, body: Body::Delta(ids) })
}

fn snapshot(
    fields: &Fields<'_>,
    symbols: &SymbolTable,
    hint: InstrumentId,
    levels: &mut Levels,
) -> Result<Message, Reason> {
    let entry = if fields.get("symbol").is_some() {
        symbols.find(fields.text("symbol")?.as_bytes()).ok_or(Reason::UnknownSymbol)?
    } else {
        symbols.entry(hint).ok_or(Reason::UnnamedSnapshot)?
    };
    let id = fields.integer("lastUpdateId")?;
    levels.bid_count = side(fields.get("bids"), entry, &mut levels.bids)?;
    levels.ask_count = side(fields.get("asks"), entry, &mut levels.asks)?;
    let body = Body::Snapshot(DepthIds { first: id, last: id, prev: 0 });
    Ok(Message { instrument: entry.id, venue_ns: fields.stamp_or_none("E")?, body })
}

fn quote(fields: &Fields<'_>, symbols: &SymbolTable) -> Result<Message, Reason> {
    let entry = fields.entry(symbols)?;
    let quote = Quote {
        update_id: fields.integer("u")?,
        bid: Level { price: fields.price("b", entry)?, qty: fields.qty("B", entry)? },
        ask: Level { price: fields.price("a", entry)?, qty: fields.qty("A", entry)? },
    };
    let body = Body::Quote { quote, order: quote.update_id };
    Ok(Message { instrument: entry.id, venue_ns: fields.stamp_or_none("E")?, body })
}

fn trade(fields: &Fields<'_>, symbols: &SymbolTable, id: &str) -> Result<Message, Reason> {
    let entry = fields.entry(symbols)?;
    // Matches outside the book (insurance fund, auto-deleveraging) share the stream on futures.
    if fields.get("X").is_some() && fields.text("X")? != "MARKET" {
        return Err(Reason::UnusedStream);
    }
    let sell = match fields.get("m") {
        Some([Node::Static(StaticNode::Bool(maker))]) => *maker,
        _ => return Err(Reason::BadField),
    };
    let trade = Trade {
        price: fields.price("p", entry)?,
        qty: fields.qty("q", entry)?,
        trade_id: fields.integer(id)?,
        transact_ns: fields.stamp("T")?,
    };
    if trade.qty <= Qty::ZERO {
        return Err(Reason::BadField);
    }
    let body = Body::Trade { trade, sell, raw: id == "t" };
    Ok(Message { instrument: entry.id, venue_ns: fields.stamp("E")?, body })
}

fn mark(fields: &Fields<'_>, symbols: &SymbolTable) -> Result<Message, Reason> {
    let entry = fields.entry(symbols)?;
    let decimal = |key: &str| -> Result<i64, Reason> {
        Ok(Price::parse(fields.text(key)?.as_bytes(), Scale::saturating(MARK_DECIMALS))?.raw())
    };
    let index = if fields.get("i").is_some() { decimal("i")? } else { 0 };
    // Delivery contracts have no funding: an empty rate and no time, or neither key.
    let funding = match fields.get("r") {
        None | Some([Node::String("")]) => 0,
        Some(_) => parse_signed(fields.text("r")?.as_bytes(), Scale::saturating(RATE_DECIMALS))?,
    };
    let mark = Mark { mark: decimal("p")?, index, funding, next_funding_ns: fields.stamp_or_none("T")? };
    Ok(Message { instrument: entry.id, venue_ns: fields.stamp("E")?, body: Body::Mark(mark) })
}
