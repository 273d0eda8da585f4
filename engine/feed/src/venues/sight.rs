//! What frames of OKX, Bybit, Bitget and Deribit say of the instruments they are about, before any is registered.
//!
//! Only what the decoders read lies on the grid: levels, trades and best prices. Marks, turnovers and greeks do not.

use tidegate_wire::{Instrument, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::venues::survey::{Found, Surveys};
use crate::venues::tape::{Nodes, Parser, Value, pick};
use crate::venues::{bitget, deribit, okx};

/// Adds one frame of a venue; `false` where another reader must look at it.
pub(super) fn see(parser: &mut Parser, venue: Venue, frame: &mut FrameMut<'_>, surveys: &mut Surveys) -> bool {
    let read: fn(Nodes<'_>, Venue, &mut Surveys) -> Result<(), Reason> = match venue {
        Venue::Okx => of_okx,
        Venue::Bybit | Venue::BybitSpot | Venue::BybitInverse => of_bybit,
        Venue::BitgetSpot | Venue::BitgetUsdt | Venue::BitgetCoin | Venue::BitgetUsdc => of_bitget,
        Venue::Deribit => of_deribit,
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => return false,
        Venue::Coinbase | Venue::Bitstamp | Venue::Bitmex => return false,
    };
    // A frame that cannot be read is counted when it is replayed.
    let _ = parser.with_tape(frame, |nodes| read(nodes, venue, surveys));
    true
}

/// What is known of a symbol. One that no registry takes (names of option combinations are longer) is passed over.
fn found<'s>(surveys: &'s mut Surveys, venue: Venue, symbol: &str) -> Result<&'s mut Found, Reason> {
    let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'd');
    if symbol.is_empty() || symbol.len() > Instrument::SYMBOL_MAX || !symbol.bytes().all(legal) {
        return Err(Reason::UnknownSymbol);
    }
    Ok(surveys.entry(venue).or_default().found(Some(symbol)))
}

/// Shows a decimal as text, as the venue wrote it or, for a number, in the shortest form that means the same.
fn show(value: Value<'_>, see: impl FnOnce(&str)) {
    match (value.text(), value.double()) {
        (Ok(text), _) => see(text),
        (_, Some(number)) => see(&number.to_string()),
        _ => {}
    }
}

fn pair(found: &mut Found, price: Value<'_>, qty: Value<'_>) {
    show(price, |text| found.price(text));
    show(qty, |text| found.qty(text));
}

/// Best prices of a quote.
fn quote(found: &mut Found, bid: (Value<'_>, Value<'_>), ask: (Value<'_>, Value<'_>)) {
    show(bid.0, |text| found.best(text));
    pair(found, bid.0, bid.1);
    pair(found, ask.0, ask.1);
}

/// Levels of a book, with the price in column `column`. Only a whole book begins at the best price.
fn book(found: &mut Found, bids: Value<'_>, asks: Value<'_>, column: usize, whole: bool) -> Result<(), Reason> {
    for side in [bids, asks] {
        for (index, level) in side.elements()?.enumerate() {
            let mut columns = level.elements()?.skip(column);
            let (Some(price), Some(qty)) = (columns.next(), columns.next()) else { continue };
            // The best ask serves where nobody bids.
            if whole && index == 0 {
                show(price, |text| found.best(text));
            }
            pair(found, price, qty);
        }
    }
    Ok(())
}

fn of_okx(nodes: Nodes<'_>, venue: Venue, surveys: &mut Surveys) -> Result<(), Reason> {
    let [arg, action, data] = pick(Value::of(nodes), &["arg", "action", "data"])?;
    let [channel, named] = pick(arg, &["channel", "instId"])?;
    let channel = channel.text()?;
    for row in data.elements()? {
        if !row.is_object() {
            continue;
        }
        let [own, asks, bids, price, qty] = pick(row, &["instId", "asks", "bids", "px", "sz"])?;
        let symbol = own.or(named).text()?;
        match channel {
            "trades" | "trades-all" => pair(found(surveys, venue, symbol)?, price, qty),
            "tickers" => {
                let [bid, bid_qty, ask, ask_qty] = pick(row, &["bidPx", "bidSz", "askPx", "askSz"])?;
                quote(found(surveys, venue, symbol)?, (bid, bid_qty), (ask, ask_qty));
            }
            "funding-rate" | "mark-price" | "opt-summary" => _ = found(surveys, venue, symbol)?,
            _ if channel == "bbo-tbt" || okx::parse::rank(channel).is_some() => {
                let whole = action.text_or_empty() != "update";
                book(found(surveys, venue, symbol)?, bids, asks, 0, whole)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn of_bybit(nodes: Nodes<'_>, venue: Venue, surveys: &mut Surveys) -> Result<(), Reason> {
    let [topic, kind, data] = pick(Value::of(nodes), &["topic", "type", "data"])?;
    match topic.text()?.split_once('.') {
        Some(("orderbook", depth)) if depth.starts_with(|c: char| c.is_ascii_digit()) => {
            let [symbol, bids, asks] = pick(data, &["s", "b", "a"])?;
            book(found(surveys, venue, symbol.text()?)?, bids, asks, 0, kind.text_or_empty() == "snapshot")?;
        }
        Some(("publicTrade", _)) => {
            for row in data.elements()? {
                let [symbol, price, qty] = pick(row, &["s", "p", "v"])?;
                pair(found(surveys, venue, symbol.text()?)?, price, qty);
            }
        }
        Some(("tickers", _)) => {
            let [symbol] = pick(data, &["symbol"])?;
            found(surveys, venue, symbol.text()?)?;
        }
        _ => {}
    }
    Ok(())
}

fn of_bitget(nodes: Nodes<'_>, _: Venue, surveys: &mut Surveys) -> Result<(), Reason> {
    let [arg, action, data] = pick(Value::of(nodes), &["arg", "action", "data"])?;
    let [kind, channel, topic, named, named_v3] = pick(arg, &["instType", "channel", "topic", "instId", "symbol"])?;
    let symbol = named.or(named_v3).text()?;
    let venue = bitget::parse::market(kind.text()?, symbol).ok_or(Reason::UnknownSymbol)?;
    let channel = channel.or(topic).text()?;
    for row in data.elements()? {
        match channel {
            "books" | "books1" | "books5" | "books15" => {
                let [asks, bids, asks_v3, bids_v3] = pick(row, &["asks", "bids", "a", "b"])?;
                let (bids, asks) = (bids.or(bids_v3), asks.or(asks_v3));
                book(found(surveys, venue, symbol)?, bids, asks, 0, action.text_or_empty() == "snapshot")?;
            }
            "trade" | "publicTrade" if row.is_object() => {
                let [price, size, price_v3, size_v3] = pick(row, &["price", "size", "p", "v"])?;
                pair(found(surveys, venue, symbol)?, price.or(price_v3), size.or(size_v3));
            }
            "trade" => {
                let mut columns = row.elements()?.skip(1);
                if let (Some(price), Some(size)) = (columns.next(), columns.next()) {
                    pair(found(surveys, venue, symbol)?, price, size);
                }
            }
            "ticker" => _ = found(surveys, venue, symbol)?,
            _ => {}
        }
    }
    Ok(())
}

fn of_deribit(nodes: Nodes<'_>, venue: Venue, surveys: &mut Surveys) -> Result<(), Reason> {
    let [params] = pick(Value::of(nodes), &["params"])?;
    let [channel, data] = pick(params, &["channel", "data"])?;
    let channel = channel.text()?;
    let kind = channel.split('.').next().unwrap_or_default();
    if kind == "trades" {
        for row in data.elements()? {
            let [symbol, price, qty] = pick(row, &["instrument_name", "price", "amount"])?;
            if let Ok(found) = found(surveys, venue, symbol.text()?) {
                pair(found, price, qty);
            }
        }
        return Ok(());
    }
    let [symbol, name] = pick(data, &["instrument_name", "index_name"])?;
    match kind {
        "book" => {
            let [bids, asks, prev] = pick(data, &["bids", "asks", "prev_change_id"])?;
            let column = usize::from(deribit::parse::rank(channel).is_some_and(|(_, whole_only)| !whole_only));
            book(found(surveys, venue, symbol.text()?)?, bids, asks, column, !prev.says())?;
        }
        "quote" => {
            let keys = ["best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount"];
            let [bid, bid_qty, ask, ask_qty] = pick(data, &keys)?;
            quote(found(surveys, venue, symbol.text()?)?, (bid, bid_qty), (ask, ask_qty));
        }
        "ticker" => _ = found(surveys, venue, symbol.text()?)?,
        "deribit_volatility_index" => {
            let index = deribit::parse::index_symbol(name.text()?);
            let symbol = index.as_ref().and_then(|(symbol, length)| core::str::from_utf8(&symbol[..*length]).ok());
            found(surveys, venue, symbol.unwrap_or_default())?;
        }
        _ => {}
    }
    Ok(())
}
