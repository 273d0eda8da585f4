//! Bybit v5.

use super::{next_funding, pairs, rows, side};
use crate::exchange::market::{Channel, Instrument, Push, TopicSpec};
use crate::exchange::venue::Category;

/// The category in paths and queries.
pub(crate) fn category(instrument: &Instrument) -> &'static str {
    match instrument.listing.config.category {
        Category::Spot => "spot",
        Category::Linear | Category::Option => "linear",
        Category::Inverse => "inverse",
    }
}

pub(super) fn push(instrument: &Instrument, spec: &TopicSpec, push: &mut Push<'_>, now_ms: i64) -> Option<String> {
    let (topic, symbol) = (&spec.name, &instrument.symbol);
    let book = |kind: &str, bids: String, asks: String, id: i64| {
        // Spot and depth 1 put the time before the type, futures of more depth after it.
        let early = instrument.listing.config.category == Category::Spot || spec.channel == Channel::Top(1);
        let head = if early {
            format!("\"ts\":{now_ms},\"type\":\"{kind}\"")
        } else {
            format!("\"type\":\"{kind}\",\"ts\":{now_ms}")
        };
        format!(
            "{{\"topic\":\"{topic}\",{head},\"data\":{{\"s\":\"{symbol}\",\"b\":{bids},\"a\":{asks},\"u\":{id},\
             \"seq\":{}}},\"cts\":{}}}",
            instrument.id,
            instrument.changed_ms.min(now_ms)
        )
    };
    Some(match push {
        Push::Snapshot { id, bids, asks } | Push::Top { id, bids, asks } => {
            let (bids, asks) = (pairs(instrument, bids.iter().copied()), pairs(instrument, asks.iter().copied()));
            book("snapshot", bids, asks, *id)
        }
        Push::Delta { id, bids, asks, .. } => {
            let bids = pairs(instrument, bids.iter().map(|change| change.level));
            let asks = pairs(instrument, asks.iter().map(|change| change.level));
            book("delta", bids, asks, *id)
        }
        Push::Trades { prints, .. } => {
            let data = rows(prints.iter(), |print| {
                format!(
                    "{{\"T\":{},\"s\":\"{symbol}\",\"S\":\"{}\",\"v\":\"{}\",\"p\":\"{}\",\"L\":\"ZeroPlusTick\",\
                     \"i\":\"{}\",\"BT\":false,\"RPI\":false,\"seq\":{}}}",
                    print.ms,
                    side(print.taker, "Buy", "Sell"),
                    instrument.quantity(print.lots),
                    instrument.price(print.tick),
                    print.id,
                    print.seq
                )
            });
            format!("{{\"topic\":\"{topic}\",\"type\":\"snapshot\",\"ts\":{now_ms},\"data\":{data}}}")
        }
        Push::Ticker { known, first } => ticker(instrument, topic, known, *first, now_ms)?,
        _ => return None,
    })
}

/// A whole ticker the first time and always on spot, afterwards only what is new.
fn ticker(
    instrument: &Instrument,
    topic: &str,
    known: &mut Vec<(&'static str, String)>,
    first: bool,
    now_ms: i64,
) -> Option<String> {
    let spot = instrument.listing.config.category == Category::Spot;
    let fields = fields(instrument, now_ms)?;
    let whole = first || spot;
    let news = fields.iter().filter(|field| whole || !known.contains(field));
    let mut data = format!("\"symbol\":\"{}\"", instrument.symbol);
    let mut count = 0;
    for (key, value) in news {
        data.push_str(&format!(",\"{key}\":\"{value}\""));
        count += 1;
    }
    *known = fields;
    let kind = if whole { "snapshot" } else { "delta" };
    let seq = instrument.id;
    (count > 0).then(|| {
        if spot {
            format!("{{\"topic\":\"{topic}\",\"ts\":{now_ms},\"type\":\"{kind}\",\"cs\":{seq},\"data\":{{{data}}}}}")
        } else {
            format!("{{\"topic\":\"{topic}\",\"type\":\"{kind}\",\"data\":{{{data}}},\"cs\":{seq},\"ts\":{now_ms}}}")
        }
    })
}

/// Fields of a ticker but for the symbol, in the venue's order.
pub(crate) fn fields(instrument: &Instrument, now_ms: i64) -> Option<Vec<(&'static str, String)>> {
    let (bid, ask) = instrument.book.touch()?;
    let day = instrument.day;
    let (price, quantity) = (|tick| instrument.price(tick), |lots| instrument.quantity(lots));
    let change = if day.open == 0 { 0.0 } else { day.last as f64 / day.open as f64 - 1.0 };
    if instrument.listing.config.category == Category::Spot {
        return Some(vec![
            ("lastPrice", price(day.last)),
            ("highPrice24h", price(day.high)),
            ("lowPrice24h", price(day.low)),
            ("prevPrice24h", price(day.open)),
            ("volume24h", quantity(day.volume)),
            ("turnover24h", format!("{:.4}", day.turnover)),
            ("price24hPcnt", format!("{change:.4}")),
            ("usdIndexPrice", format!("{:.6}", instrument.index)),
        ]);
    }
    Some(vec![
        ("tickDirection", "ZeroPlusTick".to_owned()),
        ("price24hPcnt", format!("{change:.6}")),
        ("lastPrice", price(day.last)),
        ("prevPrice24h", price(day.open)),
        ("highPrice24h", price(day.high)),
        ("lowPrice24h", price(day.low)),
        ("prevPrice1h", price(day.open)),
        ("markPrice", instrument.round_price(instrument.mark)),
        ("indexPrice", instrument.round_price(instrument.index)),
        ("openInterest", quantity(1_000_000)),
        ("openInterestValue", format!("{:.2}", instrument.mark * 1_000.0)),
        ("turnover24h", format!("{:.4}", day.turnover)),
        ("volume24h", quantity(day.volume)),
        ("fundingIntervalHour", "8".to_owned()),
        ("fundingCap", "0.005".to_owned()),
        ("nextFundingTime", next_funding(now_ms).to_string()),
        ("fundingRate", format!("{:.8}", instrument.funding)),
        ("bid1Price", price(bid.tick)),
        ("bid1Size", quantity(bid.lots)),
        ("ask1Price", price(ask.tick)),
        ("ask1Size", quantity(ask.lots)),
        ("preOpenPrice", String::new()),
        ("preQty", String::new()),
        ("curPreListingPhase", String::new()),
    ])
}
