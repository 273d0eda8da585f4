//! OKX v5.

use super::{FUNDING_MS, next_funding, rows, side};
use crate::exchange::market::{Channel, Instrument, Push, TopicSpec};
use crate::exchange::venue::Category;
use crate::market::book::Level;

/// `["61800.1","2.5","0","3"]`: the count of orders is made up from the size.
pub(crate) fn levels(instrument: &Instrument, levels: impl Iterator<Item = Level>) -> String {
    rows(levels, |level| {
        let orders = if level.lots == 0 { 0 } else { 1 + level.lots % 7 };
        let (price, size) = (instrument.price(level.tick), trimmed(instrument.quantity(level.lots)));
        format!("[\"{price}\",\"{size}\",\"0\",\"{orders}\"]")
    })
}

/// OKX prints no trailing zeros.
fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `SPOT` or `SWAP`.
pub(crate) fn kind(instrument: &Instrument) -> &'static str {
    if instrument.listing.config.category == Category::Spot { "SPOT" } else { "SWAP" }
}

pub(super) fn push(instrument: &Instrument, spec: &TopicSpec, push: &Push<'_>, now_ms: i64) -> Option<String> {
    let arg = format!("{{\"arg\":{{\"channel\":\"{}\",\"instId\":\"{}\"}}", spec.name, instrument.symbol);
    let book = |action: &str, bids: String, asks: String, previous: i64, id: i64| {
        format!(
            "{arg},\"action\":\"{action}\",\"data\":[{{\"asks\":{asks},\"bids\":{bids},\"ts\":\"{now_ms}\",\
             \"checksum\":0,\"prevSeqId\":{previous},\"seqId\":{id}}}]}}"
        )
    };
    Some(match push {
        Push::Snapshot { id, bids, asks } => {
            let (bids, asks) = (levels(instrument, bids.iter().copied()), levels(instrument, asks.iter().copied()));
            book("snapshot", bids, asks, -1, *id)
        }
        Push::Delta { id, previous, bids, asks, .. } => {
            let bids = levels(instrument, bids.iter().map(|change| change.level));
            let asks = levels(instrument, asks.iter().map(|change| change.level));
            book("update", bids, asks, *previous, *id)
        }
        Push::Top { id, bids, asks } => format!(
            "{arg},\"data\":[{{\"asks\":{},\"bids\":{},\"ts\":\"{now_ms}\",\"seqId\":{id}}}]}}",
            levels(instrument, asks.iter().copied()),
            levels(instrument, bids.iter().copied())
        ),
        Push::Trades { prints, .. } => {
            let data = rows(prints.iter(), |print| {
                format!(
                    "{{\"instId\":\"{}\",\"tradeId\":\"{}\",\"px\":\"{}\",\"sz\":\"{}\",\"side\":\"{}\",\"ts\":\"{}\",\
                     \"count\":\"1\",\"seqId\":{}}}",
                    instrument.symbol,
                    print.id,
                    instrument.price(print.tick),
                    trimmed(instrument.quantity(print.lots)),
                    side(print.taker, "buy", "sell"),
                    print.ms,
                    print.seq
                )
            });
            format!("{arg},\"data\":{data}}}")
        }
        Push::Ticker { .. } => format!("{arg},\"data\":[{}]}}", ticker(instrument, now_ms)?),
        Push::Value if spec.channel == Channel::Mark => format!(
            "{arg},\"data\":[{{\"instType\":\"{}\",\"instId\":\"{}\",\"markPx\":\"{}\",\"ts\":\"{now_ms}\"}}]}}",
            kind(instrument),
            instrument.symbol,
            instrument.round_price(instrument.mark)
        ),
        Push::Value => format!("{arg},\"data\":[{}]}}", funding(instrument, now_ms)),
        _ => return None,
    })
}

/// The row of `tickers`, and of the REST call of the same name.
pub(crate) fn ticker(instrument: &Instrument, now_ms: i64) -> Option<String> {
    let (bid, ask) = instrument.book.touch()?;
    let day = instrument.day;
    let (price, quantity) = (|tick| instrument.price(tick), |lots| trimmed(instrument.quantity(lots)));
    Some(format!(
        "{{\"instType\":\"{}\",\"instId\":\"{}\",\"last\":\"{}\",\"lastSz\":\"{}\",\"askPx\":\"{}\",\"askSz\":\"{}\",\
         \"bidPx\":\"{}\",\"bidSz\":\"{}\",\"open24h\":\"{}\",\"high24h\":\"{}\",\"low24h\":\"{}\",\
         \"volCcy24h\":\"{:.4}\",\"vol24h\":\"{}\",\"sodUtc0\":\"{}\",\"sodUtc8\":\"{}\",\"ts\":\"{now_ms}\"}}",
        kind(instrument),
        instrument.symbol,
        price(day.last),
        quantity(day.last_lots),
        price(ask.tick),
        quantity(ask.lots),
        price(bid.tick),
        quantity(bid.lots),
        price(day.open),
        price(day.high),
        price(day.low),
        day.turnover,
        quantity(day.volume),
        price(day.open),
        price(day.open)
    ))
}

/// The row of `funding-rate`, and of the REST call of the same name.
pub(crate) fn funding(instrument: &Instrument, now_ms: i64) -> String {
    let next = next_funding(now_ms);
    format!(
        "{{\"fundingRate\":\"{rate:.10}\",\"fundingTime\":\"{next}\",\"instId\":\"{}\",\"instType\":\"SWAP\",\
         \"method\":\"current_period\",\"maxFundingRate\":\"0.00375\",\"minFundingRate\":\"-0.00375\",\
         \"nextFundingRate\":\"\",\"nextFundingTime\":\"{}\",\"premium\":\"{:.10}\",\"settFundingRate\":\"{rate:.10}\",\
         \"settState\":\"settled\",\"ts\":\"{now_ms}\"}}",
        instrument.symbol,
        next + FUNDING_MS,
        instrument.mark / instrument.index - 1.0,
        rate = instrument.funding
    )
}
