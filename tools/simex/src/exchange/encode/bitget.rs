//! Bitget v2.

use super::{next_funding, pairs, rows, side};
use crate::exchange::market::{Instrument, Print, Push, TopicSpec};
use crate::exchange::venue::Category;
use crate::market::book::Side;

/// Levels a side in the checksum.
const CHECKSUM_LEVELS: usize = 25;

/// `instType`, which is also the product type.
pub(crate) fn product(instrument: &Instrument) -> &'static str {
    let config = &instrument.listing.config;
    match config.category {
        Category::Spot => "SPOT",
        Category::Inverse => "COIN-FUTURES",
        _ if config.quote == "USDC" => "USDC-FUTURES",
        _ => "USDT-FUTURES",
    }
}

/// CRC-32 over the best 25 levels of both sides in turn, as a signed number.
pub(crate) fn checksum(instrument: &Instrument) -> i32 {
    let sides = Side::BOTH.map(|side| instrument.best(side, CHECKSUM_LEVELS));
    let mut text = String::new();
    for rank in 0..CHECKSUM_LEVELS {
        for level in sides.iter().filter_map(|side| side.get(rank)) {
            if !text.is_empty() {
                text.push(':');
            }
            text.push_str(&instrument.price(level.tick));
            text.push(':');
            text.push_str(&instrument.quantity(level.lots));
        }
    }
    crc32fast::hash(text.as_bytes()).cast_signed()
}

pub(super) fn push(instrument: &Instrument, spec: &TopicSpec, push: &Push<'_>, now_ms: i64) -> Option<String> {
    let book = |bids: String, asks: String, checksum: i32, ids: String| {
        let acted = instrument.changed_ms.min(now_ms);
        format!("{{\"asks\":{asks},\"bids\":{bids},\"checksum\":{checksum},{ids},\"ts\":\"{acted}\"}}")
    };
    let mut action = "snapshot";
    let data = match push {
        Push::Snapshot { id, bids, asks } => {
            let (bids, asks) = (pairs(instrument, bids.iter().copied()), pairs(instrument, asks.iter().copied()));
            book(bids, asks, checksum(instrument), format!("\"seq\":{id}"))
        }
        Push::Delta { id, previous, bids, asks, .. } => {
            action = "update";
            let bids = rows(bids.iter(), |change| level(instrument, change.level.tick, change.level.lots));
            let asks = rows(asks.iter(), |change| level(instrument, change.level.tick, change.level.lots));
            book(bids, asks, checksum(instrument), format!("\"seq\":{id},\"pseq\":{previous}"))
        }
        Push::Top { id, bids, asks } => {
            let (bids, asks) = (pairs(instrument, bids.iter().copied()), pairs(instrument, asks.iter().copied()));
            book(bids, asks, 0, format!("\"seq\":{id}"))
        }
        Push::Trades { prints, first } => {
            action = if *first { "snapshot" } else { "update" };
            trades(instrument, prints)
        }
        Push::Ticker { .. } => ticker(instrument, now_ms)?,
        _ => return None,
    };
    let (product, symbol, channel) = (product(instrument), &instrument.symbol, &spec.name);
    Some(format!(
        "{{\"action\":\"{action}\",\"arg\":{{\"instType\":\"{product}\",\"channel\":\"{channel}\",\
         \"instId\":\"{symbol}\"}},\"data\":[{data}],\"ts\":{now_ms}}}"
    ))
}

/// A removed level is a plain `"0"`.
fn level(instrument: &Instrument, tick: i64, lots: i64) -> String {
    let quantity = if lots == 0 { "0".to_owned() } else { instrument.quantity(lots) };
    format!("[\"{}\",\"{quantity}\"]", instrument.price(tick))
}

/// Rows of trades, the newest first.
fn trades(instrument: &Instrument, prints: &[Print]) -> String {
    let list = rows(prints.iter().rev(), |print| {
        format!(
            "{{\"ts\":\"{}\",\"price\":\"{}\",\"size\":\"{}\",\"side\":\"{}\",\"tradeId\":\"{}\"}}",
            print.ms,
            instrument.price(print.tick),
            instrument.quantity(print.lots),
            side(print.taker, "buy", "sell"),
            print.id
        )
    });
    list[1..list.len() - 1].to_owned()
}

fn ticker(instrument: &Instrument, now_ms: i64) -> Option<String> {
    let (bid, ask) = instrument.book.touch()?;
    let day = instrument.day;
    let (price, quantity, symbol) =
        (|tick| instrument.price(tick), |lots| instrument.quantity(lots), &instrument.symbol);
    let change = if day.open == 0 { 0.0 } else { day.last as f64 / day.open as f64 - 1.0 };
    let quotes = format!(
        "\"bidPr\":\"{}\",\"askPr\":\"{}\",\"bidSz\":\"{}\",\"askSz\":\"{}\"",
        price(bid.tick),
        price(ask.tick),
        quantity(bid.lots),
        quantity(ask.lots)
    );
    let range = format!(
        "\"open24h\":\"{}\",\"high24h\":\"{}\",\"low24h\":\"{}\",\"change24h\":\"{change:.5}\"",
        price(day.open),
        price(day.high),
        price(day.low)
    );
    let volumes = format!(
        "\"baseVolume\":\"{}\",\"quoteVolume\":\"{:.4}\",\"openUtc\":\"{}\"",
        quantity(day.volume),
        day.turnover,
        price(day.open)
    );
    let head = format!("{{\"instId\":\"{symbol}\",\"lastPr\":\"{}\"", price(day.last));
    if instrument.listing.config.category == Category::Spot {
        return Some(format!(
            "{head},{range},{quotes},{volumes},\"changeUtc24h\":\"{change:.5}\",\"ts\":\"{now_ms}\"}}"
        ));
    }
    Some(format!(
        "{head},{quotes},{range},\"fundingRate\":\"{:.6}\",\"nextFundingTime\":\"{}\",\"markPrice\":\"{}\",\
         \"indexPrice\":\"{}\",\"holdingAmount\":\"{}\",{volumes},\"symbolType\":1,\"symbol\":\"{symbol}\",\
         \"deliveryPrice\":\"0\",\"ts\":\"{now_ms}\"}}",
        instrument.funding,
        next_funding(now_ms),
        instrument.round_price(instrument.mark),
        instrument.round_price(instrument.index),
        quantity(1_000_000)
    ))
}
