//! Bybit: `/v5`.

use serde_json::{Map, Value, json};

use super::{Answer, Call, is_spot, listed, lot_text, tick_text, with_book};
use crate::exchange::encode::bybit::{category, fields};
use crate::exchange::encode::pairs;
use crate::exchange::hub::Hub;
use crate::exchange::market::Instrument;
use crate::exchange::sign::{Encoding, verify};
use crate::exchange::venue::Category;

pub(super) fn answer(hub: &Hub, call: &Call) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    match call.path.as_str() {
        "/v5/market/time" => {
            let ns = hub.clock.now_ns() % 1_000_000;
            let nano = format!("{now_ms}{ns:06}");
            let result = format!("{{\"timeSecond\":\"{}\",\"timeNano\":\"{nano}\"}}", now_ms / 1_000);
            fine(hub, call, &result)
        }
        "/v5/market/instruments-info" => instruments(hub, call),
        "/v5/market/orderbook" => book(hub, call),
        "/v5/market/tickers" => tickers(hub, call),
        "/v5/position/list" | "/v5/account/wallet-balance" => match signed(hub, call) {
            Ok(()) => fine(hub, call, "{\"list\":[],\"nextPageCursor\":\"\"}"),
            Err(refusal) => refusal,
        },
        _ => (404, "{}".into()),
    }
}

fn fine(hub: &Hub, call: &Call, result: &str) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    (200, format!("{{\"retCode\":0,\"retMsg\":\"OK\",\"result\":{result},\"retExtInfo\":{{}},\"time\":{now_ms}}}"))
}

fn error(hub: &Hub, call: &Call, code: i32, msg: &str) -> Answer {
    let time = hub.clock.ms(call.venue);
    (200, json!({"retCode": code, "retMsg": msg, "result": {}, "retExtInfo": {}, "time": time}).to_string())
}

fn signed(hub: &Hub, call: &Call) -> Result<(), Answer> {
    let keys = &hub.config.keys;
    let (key, time) = (call.header("x-bapi-api-key"), call.header("x-bapi-timestamp"));
    let window = match call.header("x-bapi-recv-window") {
        "" => "5000",
        window => window,
    };
    let payload = if call.method == "GET" { &call.query } else { &call.body };
    let text = format!("{time}{key}{window}{payload}");
    let now_ms = hub.clock.ms(call.venue);
    let recent = time.parse::<i64>().ok().zip(window.parse::<i64>().ok());
    let recent = recent.is_some_and(|(time, window)| now_ms.saturating_sub(window) <= time && time < now_ms + 1_000);
    let fault = if key != keys.key {
        Some((10_003, "API key is invalid."))
    } else if !recent {
        Some((10_002, "invalid request, please check your server timestamp or recv_window param."))
    } else if !verify(&keys.secret, &text, call.header("x-bapi-sign"), Encoding::Hex) {
        Some((10_004, "error sign!"))
    } else {
        None
    };
    let Some((code, msg)) = fault else { return Ok(()) };
    hub.violation(call.venue, 0, "rest_auth", &format!("{}: {msg}", call.path));
    Err(error(hub, call, code, msg))
}

/// Whether an instrument is the one, or one of those, that the query names.
fn wanted(call: &Call, instrument: &Instrument) -> bool {
    let symbol = call.parameter("symbol");
    category(instrument) == call.parameter("category") && (symbol.is_empty() || *instrument.symbol == *symbol)
}

fn book(hub: &Hub, call: &Call) -> Answer {
    let spot = call.parameter("category") == "spot";
    let depth = call.number("limit").unwrap_or(if spot { 1 } else { 25 }).clamp(1, 1_000);
    let shown = with_book(
        hub,
        call.venue,
        |one| wanted(call, one) && !call.parameter("symbol").is_empty(),
        |instrument, view| {
            // The id is that of the 1000-level stream; the sequence stands for it while nobody listens to that.
            let id =
                instrument.pushed().find(|(name, _)| name.starts_with("orderbook.1000.")).map_or(view.id, |(_, id)| id);
            format!(
                "{{\"s\":\"{}\",\"b\":{},\"a\":{},\"ts\":{},\"u\":{id},\"seq\":{},\"cts\":{}}}",
                instrument.symbol,
                pairs(instrument, view.bids.iter().copied().take(depth)),
                pairs(instrument, view.asks.iter().copied().take(depth)),
                hub.clock.ms(call.venue),
                view.id,
                view.ms
            )
        },
    );
    shown.map_or_else(|| error(hub, call, 10_001, "Not supported symbols"), |result| fine(hub, call, &result))
}

fn tickers(hub: &Hub, call: &Call) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    let rows = listed(hub, call.venue, |instrument| {
        let fields = wanted(call, instrument).then(|| fields(instrument, now_ms)).flatten()?;
        let mut row: Map<String, Value> =
            fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        row.insert("symbol".to_owned(), (*instrument.symbol).into());
        Some(Value::Object(row))
    });
    fine(hub, call, &json!({"category": call.parameter("category"), "list": rows}).to_string())
}

fn instruments(hub: &Hub, call: &Call) -> Answer {
    if !matches!(call.parameter("category"), "spot" | "linear" | "inverse") {
        return error(hub, call, 10_001, "params error: category invalid");
    }
    let rows = listed(hub, call.venue, |instrument| wanted(call, instrument).then(|| row(instrument)));
    let result = json!({"category": call.parameter("category"), "list": rows, "nextPageCursor": ""});
    fine(hub, call, &result.to_string())
}

fn row(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    let (tick, lot, most) = (tick_text(instrument), lot_text(instrument), instrument.quantity(1_000_000));
    let mut row = json!({
        "symbol": config.symbol,
        "baseCoin": config.base,
        "quoteCoin": config.quote,
        "status": "Trading",
        "symbolType": "",
        "priceFilter": {"tickSize": tick, "minPrice": tick, "maxPrice": instrument.price(100_000_000)},
    });
    if is_spot(instrument) {
        row["innovation"] = "0".into();
        row["marginTrading"] = "utaOnly".into();
        row["lotSizeFilter"] = json!({
            "basePrecision": lot,
            "quotePrecision": "0.0000001",
            "minOrderQty": lot,
            "maxOrderQty": most,
            "minOrderAmt": "5",
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": most,
            "maxMarketOrderQty": most,
        });
        return row;
    }
    let inverse = config.category == Category::Inverse;
    row["contractType"] = if inverse { "InversePerpetual" } else { "LinearPerpetual" }.into();
    row["launchTime"] = "1585526400000".into();
    row["deliveryTime"] = "0".into();
    row["priceScale"] = config.price_decimals.to_string().into();
    row["fundingInterval"] = 480.into();
    row["settleCoin"] = if inverse { config.base.as_str() } else { config.quote.as_str() }.into();
    row["lotSizeFilter"] = json!({
        "maxOrderQty": most,
        "minOrderQty": lot,
        "qtyStep": lot,
        "maxMktOrderQty": most,
        "minNotionalValue": "5",
    });
    row
}
