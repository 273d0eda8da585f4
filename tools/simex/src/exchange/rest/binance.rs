//! Binance: `/api/v3`, `/fapi/v1` and `/dapi/v1`.

use serde_json::{Value, json};

use super::{Answer, Call, is_spot, listed, lot_text, tick_text, with_book};
use crate::exchange::encode::binance::pair;
use crate::exchange::encode::{next_funding, pairs};
use crate::exchange::hub::Hub;
use crate::exchange::market::Instrument;
use crate::exchange::sign::{Encoding, verify};
use crate::exchange::venue::Venue;

/// The last part of a path, and whether the venue has its root.
fn name(call: &Call) -> Option<&str> {
    let roots: &[&str] = match call.venue {
        Venue::BinanceSpot => &["/api/v3/"],
        Venue::BinanceUsdm => &["/fapi/v1/", "/fapi/v2/", "/fapi/v3/"],
        _ => &["/dapi/v1/", "/dapi/v2/"],
    };
    roots.iter().find_map(|root| call.path.strip_prefix(root))
}

/// Weight of a request.
pub(super) fn weight(call: &Call) -> u32 {
    let spot = call.venue == Venue::BinanceSpot;
    let limit = call.number("limit").unwrap_or(if spot { 100 } else { 500 });
    match name(call) {
        Some("depth") if spot => match limit {
            0..=100 => 5,
            101..=500 => 25,
            501..=1_000 => 50,
            _ => 250,
        },
        Some("depth") => match limit {
            0..=50 => 2,
            51..=100 => 5,
            101..=500 => 10,
            _ => 20,
        },
        Some("exchangeInfo" | "account") if spot => 20,
        Some("account" | "balance" | "positionRisk") => 5,
        _ => 1,
    }
}

pub(super) fn answer(hub: &Hub, call: &Call) -> Answer {
    let Some(name) = name(call) else { return missing() };
    match name {
        "ping" => (200, "{}".into()),
        "time" => (200, format!("{{\"serverTime\":{}}}", hub.clock.ms(call.venue))),
        "exchangeInfo" => (200, exchange_info(hub, call.venue)),
        "depth" => depth(hub, call),
        "premiumIndex" if call.venue != Venue::BinanceSpot => premium(hub, call),
        "account" | "balance" | "positionRisk" => match signed(hub, call) {
            Ok(()) if name == "account" => (200, "{\"assets\":[],\"balances\":[],\"positions\":[]}".into()),
            Ok(()) => (200, "[]".into()),
            Err(refusal) => refusal,
        },
        _ => missing(),
    }
}

fn missing() -> Answer {
    (404, "{\"code\":-5000,\"msg\":\"Path is invalid\"}".into())
}

fn error(status: u16, code: i32, msg: &str) -> Answer {
    (status, json!({"code": code, "msg": msg}).to_string())
}

/// Checks key, time and signature.
fn signed(hub: &Hub, call: &Call) -> Result<(), Answer> {
    let keys = &hub.config.keys;
    let refuse = |status, code, msg: &str| {
        hub.violation(call.venue, 0, "rest_auth", &format!("{}: {msg}", call.path));
        Err(error(status, code, msg))
    };
    let key = call.header("x-mbx-apikey");
    if key.is_empty() {
        return refuse(401, -2014, "API-key format invalid.");
    }
    if key != keys.key {
        return refuse(401, -2015, "Invalid API-key, IP, or permissions for action.");
    }
    let whole = format!("{}{}", call.query, call.body);
    let Some((text, signature)) = whole.rsplit_once("&signature=") else {
        return refuse(400, -1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.");
    };
    if !verify(&keys.secret, text, signature, Encoding::Hex) {
        return refuse(400, -1022, "Signature for this request is not valid.");
    }
    let value = |name: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<i64>().ok())
    };
    let (now_ms, window) = (hub.clock.ms(call.venue), value("recvWindow").unwrap_or(5_000).min(60_000));
    match value("timestamp") {
        Some(time) if time < now_ms + 1_000 && now_ms.saturating_sub(time) <= window => Ok(()),
        _ => refuse(400, -1021, "Timestamp for this request is outside of the recvWindow."),
    }
}

fn depth(hub: &Hub, call: &Call) -> Answer {
    let spot = call.venue == Venue::BinanceSpot;
    let limit = call.number("limit").unwrap_or(if spot { 100 } else { 500 });
    let allowed = if spot { (1..=5_000).contains(&limit) } else { [5, 10, 20, 50, 100, 500, 1_000].contains(&limit) };
    if !allowed {
        return error(400, -4021, "Depth limit is not valid.");
    }
    let symbol = call.parameter("symbol");
    let now_ms = hub.clock.ms(call.venue);
    let shown = with_book(
        hub,
        call.venue,
        |one| *one.symbol == *symbol,
        |instrument, view| {
            let bids = pairs(instrument, view.bids.iter().copied().take(limit));
            let asks = pairs(instrument, view.asks.iter().copied().take(limit));
            let times = if spot { String::new() } else { format!("\"E\":{now_ms},\"T\":{},", view.ms) };
            let names = if call.venue == Venue::BinanceCoinm {
                format!("\"symbol\":\"{symbol}\",\"pair\":\"{}\",", pair(instrument))
            } else {
                String::new()
            };
            format!("{{\"lastUpdateId\":{},{times}{names}\"bids\":{bids},\"asks\":{asks}}}", view.id)
        },
    );
    shown.map_or_else(|| error(400, -1121, "Invalid symbol."), |body| (200, body))
}

fn premium(hub: &Hub, call: &Call) -> Answer {
    let (wanted, now_ms) = (call.parameter("symbol"), hub.clock.ms(call.venue));
    let rows = listed(hub, call.venue, |instrument| {
        (wanted.is_empty() || *instrument.symbol == *wanted).then(|| {
            json!({
                "symbol": &*instrument.symbol,
                "pair": pair(instrument),
                "markPrice": format!("{:.8}", instrument.mark),
                "indexPrice": format!("{:.8}", instrument.index),
                "estimatedSettlePrice": format!("{:.8}", instrument.index),
                "lastFundingRate": format!("{:.8}", instrument.funding),
                "interestRate": "0.00010000",
                "nextFundingTime": next_funding(now_ms),
                "time": now_ms,
            })
        })
    });
    match (wanted.is_empty(), rows.first()) {
        (false, None) => error(400, -1121, "Invalid symbol."),
        (false, Some(row)) if call.venue == Venue::BinanceUsdm => (200, row.to_string()),
        _ => (200, json!(rows).to_string()),
    }
}

fn exchange_info(hub: &Hub, venue: Venue) -> String {
    let limit = hub.limits(venue).rest_weight;
    json!({
        "timezone": "UTC",
        "serverTime": hub.clock.ms(venue),
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit},
        ],
        "exchangeFilters": [],
        "symbols": listed(hub, venue, |instrument| Some(symbol(instrument))),
    })
    .to_string()
}

fn symbol(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    let (tick, lot) = (tick_text(instrument), lot_text(instrument));
    let highest = instrument.price(100_000_000);
    let notional = if is_spot(instrument) {
        json!({"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": true})
    } else {
        json!({"filterType": "MIN_NOTIONAL", "notional": "100"})
    };
    let most = instrument.quantity(1_000_000);
    let mut row = json!({
        "symbol": config.symbol,
        "status": "TRADING",
        "baseAsset": config.base,
        "quoteAsset": config.quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": highest, "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": most, "stepSize": lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": most, "stepSize": lot},
            notional,
        ],
    });
    if is_spot(instrument) {
        row["isSpotTradingAllowed"] = true.into();
        row["orderTypes"] = json!(["LIMIT", "LIMIT_MAKER", "MARKET"]);
    } else {
        row["pair"] = pair(instrument).into();
        row["contractType"] = "PERPETUAL".into();
        row["deliveryDate"] = 4_133_404_802_000_i64.into();
        row["onboardDate"] = 1_569_398_400_000_i64.into();
        row["pricePrecision"] = config.price_decimals.into();
        row["quantityPrecision"] = config.qty_decimals.into();
        row["marginAsset"] = config.quote.as_str().into();
        row["underlyingType"] = "COIN".into();
    }
    if instrument.venue() == Venue::BinanceCoinm {
        row["contractSize"] = config.contract.into();
        row["contractStatus"] = "TRADING".into();
        row["marginAsset"] = config.base.as_str().into();
    }
    row
}
