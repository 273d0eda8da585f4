//! Deribit: JSON-RPC notifications, numbers instead of text.

use serde_json::{Value, json};

use super::{rows, side};
use crate::exchange::market::{Change, Channel, Instrument, Push, TopicSpec, option_value};
use crate::exchange::venue::Category;
use crate::market::book::Side;

/// A notification.
pub(crate) fn notification(channel: &str, data: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{{\"channel\":\"{channel}\",\"data\":{data}}}}}"
    )
}

/// A price as a number of the instrument's decimals.
pub(crate) fn price(instrument: &Instrument, tick: i64) -> f64 {
    instrument.price(tick).parse().unwrap_or(0.0)
}

/// An amount: USD of inverse futures, base currency of options.
pub(crate) fn amount(instrument: &Instrument, lots: i64) -> f64 {
    instrument.quantity(lots).parse().unwrap_or(0.0)
}

/// The index of its underlying: `btc_usd`.
pub(crate) fn index_name(instrument: &Instrument) -> String {
    format!("{}_usd", instrument.listing.config.base.to_lowercase())
}

pub(super) fn push(instrument: &Instrument, spec: &TopicSpec, push: &Push<'_>, now_ms: i64) -> Option<String> {
    let symbol = &instrument.symbol;
    let book = |kind: &str, ids: String, bids: String, asks: String| {
        format!(
            "{{\"type\":\"{kind}\",\"timestamp\":{},\"instrument_name\":\"{symbol}\",{ids},\"bids\":{bids},\
             \"asks\":{asks}}}",
            instrument.changed_ms.min(now_ms)
        )
    };
    let data = match push {
        Push::Snapshot { id, bids, asks } => {
            let new = |levels: &[crate::market::book::Level]| {
                rows(levels.iter(), |level| entry(instrument, "new", level.tick, level.lots))
            };
            book("snapshot", format!("\"change_id\":{id}"), new(bids), new(asks))
        }
        Push::Delta { id, previous, bids, asks, .. } => {
            let ids = format!("\"prev_change_id\":{previous},\"change_id\":{id}");
            let changed = |changes: &[Change]| {
                rows(changes.iter(), |change| {
                    let action = match (change.before, change.level.lots) {
                        (_, 0) => "delete",
                        (0, _) => "new",
                        _ => "change",
                    };
                    entry(instrument, action, change.level.tick, change.level.lots)
                })
            };
            book("change", ids, changed(bids), changed(asks))
        }
        Push::Top { id, bids, asks } => {
            let plain = |levels: &[crate::market::book::Level]| {
                rows(levels.iter(), |level| {
                    format!("[{},{}]", instrument.price(level.tick), instrument.quantity(level.lots))
                })
            };
            format!(
                "{{\"timestamp\":{now_ms},\"instrument_name\":\"{symbol}\",\"change_id\":{id},\"bids\":{},\
                 \"asks\":{}}}",
                plain(bids),
                plain(asks)
            )
        }
        Push::Quote { bid, ask, .. } => format!(
            "{{\"timestamp\":{now_ms},\"instrument_name\":\"{symbol}\",\"best_ask_price\":{},\"best_bid_price\":{},\
             \"best_ask_amount\":{},\"best_bid_amount\":{}}}",
            instrument.price(ask.tick),
            instrument.price(bid.tick),
            instrument.quantity(ask.lots),
            instrument.quantity(bid.lots)
        ),
        Push::Trades { prints, .. } => rows(prints.iter(), |print| trade(instrument, print).to_string()),
        Push::Ticker { .. } => ticker(instrument, now_ms).to_string(),
        Push::Value if spec.channel == Channel::Volatility => format!(
            "{{\"timestamp\":{now_ms},\"volatility\":{:.2},\"index_name\":\"{}\"}}",
            volatility(instrument, now_ms),
            index_name(instrument)
        ),
        Push::Value => format!(
            "{{\"timestamp\":{now_ms},\"price\":{:.2},\"index_name\":\"{}\"}}",
            instrument.index,
            index_name(instrument)
        ),
        Push::Aggregate { .. } => return None,
    };
    Some(notification(&spec.name, &data))
}

/// `["change",61800.5,1000.0]`
fn entry(instrument: &Instrument, action: &str, tick: i64, lots: i64) -> String {
    format!("[\"{action}\",{},{}]", instrument.price(tick), instrument.quantity(lots))
}

/// The volatility index in points: a slow wave, so that it changes.
pub(crate) fn volatility(instrument: &Instrument, now_ms: i64) -> f64 {
    let level = if instrument.listing.config.base == "BTC" { 52.0 } else { 66.0 };
    level + 3.0 * libm::sin(now_ms as f64 / 60_000.0)
}

/// A trade, in notifications and in REST answers.
pub(crate) fn trade(instrument: &Instrument, print: &crate::exchange::market::Print) -> Value {
    let quantity = amount(instrument, print.lots);
    let mut row = json!({
        "timestamp": print.ms,
        "price": price(instrument, print.tick),
        "amount": quantity,
        "direction": side(print.taker, "buy", "sell"),
        "index_price": round(instrument.index, 2),
        "instrument_name": &*instrument.symbol,
        "trade_seq": print.id % 1_000_000_000,
        "mark_price": mark(instrument, print.ms),
        "tick_direction": if print.taker == Side::Buy { 0 } else { 2 },
        "contracts": quantity / instrument.listing.config.contract,
        "trade_id": print.id.to_string(),
    });
    if let Some(greeks) = option_value(instrument, print.ms) {
        row["iv"] = round(greeks.iv, 2).into();
    }
    row
}

fn mark(instrument: &Instrument, now_ms: i64) -> f64 {
    option_value(instrument, now_ms).map_or(round(instrument.mark, 2), |greeks| round(greeks.price, 6))
}

/// The data of a ticker, in notifications and in REST answers.
pub(crate) fn ticker(instrument: &Instrument, now_ms: i64) -> Value {
    let day = instrument.day;
    let touch = instrument.book.touch();
    let best = |side: Side| {
        let level = instrument.book.side(side).best();
        level.map_or((0.0, 0.0), |level| (price(instrument, level.tick), amount(instrument, level.lots)))
    };
    let ((bid_price, bid_amount), (ask_price, ask_amount)) = (best(Side::Buy), best(Side::Sell));
    let index = round(instrument.index, 2);
    let mut row = json!({
        "timestamp": now_ms,
        "state": "open",
        "stats": {
            "high": price(instrument, day.high),
            "low": price(instrument, day.low),
            "price_change": 0.0,
            "volume": amount(instrument, day.volume),
        },
        "index_price": index,
        "instrument_name": &*instrument.symbol,
        "last_price": price(instrument, day.last),
        "settlement_price": price(instrument, day.open),
        "min_price": price(instrument, touch.map_or(1, |(bid, _)| (bid.tick - bid.tick / 50).max(1))),
        "max_price": price(instrument, touch.map_or(1, |(_, ask)| ask.tick + ask.tick / 50)),
        "open_interest": amount(instrument, 1_000_000),
        "mark_price": mark(instrument, now_ms),
        "best_ask_price": ask_price,
        "best_bid_price": bid_price,
        "estimated_delivery_price": index,
        "best_ask_amount": ask_amount,
        "best_bid_amount": bid_amount,
    });
    match option_value(instrument, now_ms) {
        Some(greeks) => {
            row["greeks"] = json!({
                "delta": round(greeks.delta, 5),
                "gamma": round(greeks.gamma, 7),
                "vega": round(greeks.vega, 5),
                "theta": round(greeks.theta, 5),
                "rho": round(greeks.rho, 5),
            });
            row["mark_iv"] = round(greeks.iv, 2).into();
            row["bid_iv"] = round(greeks.iv - 1.5, 2).into();
            row["ask_iv"] = round(greeks.iv + 1.5, 2).into();
            row["underlying_price"] = index.into();
            row["underlying_index"] = "index_price".into();
            row["interest_rate"] = 0.0.into();
        }
        None if instrument.listing.config.category != Category::Option => {
            row["interest_value"] = 0.003.into();
            row["current_funding"] = 0.0.into();
            row["funding_8h"] = round(instrument.funding, 8).into();
            row["stats"]["volume_usd"] = round(day.turnover, 2).into();
            row["stats"]["volume_notional"] = round(day.turnover, 2).into();
        }
        None => {}
    }
    row
}

/// Rounds to decimals.
pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    let scale = libm::pow(10.0, f64::from(decimals));
    libm::round(value * scale) / scale
}
