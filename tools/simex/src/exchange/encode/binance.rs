//! Binance: spot, USD-M and COIN-M.

use super::{next_funding, pairs};
use crate::exchange::market::{Instrument, Print, Push, TopicSpec};
use crate::exchange::venue::Venue;
use crate::market::book::Side;

/// Pair of a COIN-M symbol (`BTCUSD` of `BTCUSD_PERP`); elsewhere the symbol.
pub(crate) fn pair(instrument: &Instrument) -> &str {
    instrument.symbol.split('_').next().unwrap_or_default()
}

/// `st`: 1 for USD-M, 2 for COIN-M.
fn stack(instrument: &Instrument) -> i32 {
    if instrument.venue() == Venue::BinanceCoinm { 2 } else { 1 }
}

pub(super) fn push(instrument: &Instrument, _: &TopicSpec, push: &Push<'_>, now_ms: i64) -> Option<String> {
    let symbol = &instrument.symbol;
    let spot = instrument.venue() == Venue::BinanceSpot;
    let (st, ps) = (stack(instrument), pair(instrument));
    let acted_ms = instrument.changed_ms.min(now_ms);
    Some(match push {
        Push::Delta { first, id, previous, bids, asks } => {
            let bids = pairs(instrument, bids.iter().map(|change| change.level));
            let asks = pairs(instrument, asks.iter().map(|change| change.level));
            let head = format!("{{\"e\":\"depthUpdate\",\"E\":{now_ms},");
            if spot {
                format!("{head}\"s\":\"{symbol}\",\"U\":{first},\"u\":{id},\"b\":{bids},\"a\":{asks}}}")
            } else {
                format!(
                    "{head}\"T\":{acted_ms},\"s\":\"{symbol}\",\"ps\":\"{ps}\",\"st\":{st},\"U\":{first},\"u\":{id},\
                     \"pu\":{previous},\"b\":{bids},\"a\":{asks}}}"
                )
            }
        }
        Push::Top { id, bids, asks } => {
            let bids = pairs(instrument, bids.iter().copied());
            let asks = pairs(instrument, asks.iter().copied());
            if spot {
                format!("{{\"lastUpdateId\":{id},\"bids\":{bids},\"asks\":{asks}}}")
            } else {
                format!(
                    "{{\"e\":\"depthUpdate\",\"E\":{now_ms},\"T\":{acted_ms},\"s\":\"{symbol}\",\"ps\":\"{ps}\",\
                     \"st\":{st},\"U\":{id},\"u\":{id},\"pu\":{id},\"b\":{bids},\"a\":{asks}}}"
                )
            }
        }
        Push::Quote { id, bid, ask } => {
            let levels = format!(
                "\"s\":\"{symbol}\",\"b\":\"{}\",\"B\":\"{}\",\"a\":\"{}\",\"A\":\"{}\"",
                instrument.price(bid.tick),
                instrument.quantity(bid.lots),
                instrument.price(ask.tick),
                instrument.quantity(ask.lots)
            );
            if spot {
                format!("{{\"u\":{id},{levels}}}")
            } else {
                format!(
                    "{{\"e\":\"bookTicker\",\"u\":{id},\"E\":{now_ms},\"T\":{now_ms},{levels},\"st\":{st},\
                     \"ps\":\"{ps}\"}}"
                )
            }
        }
        Push::Trades { prints, .. } => trade(instrument, prints.first()?, spot),
        Push::Aggregate { id, print } => aggregate(instrument, *id, print, spot, now_ms),
        Push::Value if !spot => mark(instrument, now_ms),
        _ => return None,
    })
}

fn trade(instrument: &Instrument, print: &Print, spot: bool) -> String {
    let (symbol, ms) = (&instrument.symbol, print.ms);
    let (price, quantity) = (instrument.price(print.tick), instrument.quantity(print.lots));
    let maker = print.taker == Side::Sell;
    let tail = if spot {
        format!("\"T\":{ms},\"m\":{maker},\"M\":true")
    } else {
        format!("\"T\":{ms},\"X\":\"MARKET\",\"m\":{maker},\"st\":{}", stack(instrument))
    };
    format!(
        "{{\"e\":\"trade\",\"E\":{ms},\"s\":\"{symbol}\",\"t\":{},\"p\":\"{price}\",\"q\":\"{quantity}\",{tail}}}",
        print.id
    )
}

fn aggregate(instrument: &Instrument, id: i64, print: &Print, spot: bool, now_ms: i64) -> String {
    let symbol = &instrument.symbol;
    let (price, quantity) = (instrument.price(print.tick), instrument.quantity(print.lots));
    let fills = format!(
        "\"p\":\"{price}\",\"q\":\"{quantity}\",\"f\":{},\"l\":{},\"T\":{},\"m\":{}",
        print.first_id,
        print.id,
        print.ms,
        print.taker == Side::Sell
    );
    if spot {
        format!("{{\"e\":\"aggTrade\",\"E\":{now_ms},\"s\":\"{symbol}\",\"a\":{id},{fills},\"M\":true}}")
    } else {
        let st = stack(instrument);
        format!("{{\"e\":\"aggTrade\",\"E\":{now_ms},\"a\":{id},\"s\":\"{symbol}\",{fills},\"st\":{st}}}")
    }
}

fn mark(instrument: &Instrument, now_ms: i64) -> String {
    format!(
        "{{\"e\":\"markPriceUpdate\",\"E\":{now_ms},\"s\":\"{}\",\"p\":\"{:.8}\",\"i\":\"{:.8}\",\"P\":\"{:.8}\",\
         \"r\":\"{:.8}\",\"T\":{},\"st\":{}}}",
        instrument.symbol,
        instrument.mark,
        instrument.index,
        instrument.index,
        instrument.funding,
        next_funding(now_ms),
        stack(instrument)
    )
}
