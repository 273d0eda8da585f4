//! Bitget: `/api/v2`.

use serde_json::{Value, json};

use super::{Answer, Call, is_spot, listed, tick_text, with_book};
use crate::exchange::encode::bitget::product;
use crate::exchange::encode::{pairs, rows};
use crate::exchange::hub::{Hub, lock};
use crate::exchange::market::Instrument;
use crate::exchange::sign::{Encoding, verify};
use crate::market::book::Level;

/// Signed requests may be this old, ms.
const RECENT_MS: u64 = 30_000;

pub(super) fn answer(hub: &Hub, call: &Call) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    match call.path.as_str() {
        "/api/v2/public/time" => fine(hub, call, &format!("{{\"serverTime\":\"{now_ms}\"}}")),
        "/api/v2/mix/market/contracts" => instruments(hub, call, false),
        "/api/v2/spot/public/symbols" => instruments(hub, call, true),
        "/api/v2/mix/market/merge-depth" => merge_depth(hub, call),
        "/api/v2/spot/market/orderbook" => spot_depth(hub, call),
        "/api/v2/mix/position/all-position" => private(hub, call, |hub| lock(&hub.account).rest_positions()),
        "/api/v2/mix/account/accounts" => private(hub, call, |hub| lock(&hub.account).balances()),
        _ => (404, "{\"code\":\"40404\",\"msg\":\"Request URL NOT FOUND\",\"data\":null}".into()),
    }
}

fn fine(hub: &Hub, call: &Call, data: &str) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    (200, format!("{{\"code\":\"00000\",\"msg\":\"success\",\"requestTime\":{now_ms},\"data\":{data}}}"))
}

fn error(hub: &Hub, call: &Call, code: &str, msg: &str) -> Answer {
    let time = hub.clock.ms(call.venue);
    (400, json!({"code": code, "msg": msg, "requestTime": time, "data": null}).to_string())
}

fn private(hub: &Hub, call: &Call, data: impl FnOnce(&Hub) -> Value) -> Answer {
    let keys = &hub.config.keys;
    let (key, time) = (call.header("access-key"), call.header("access-timestamp"));
    let text = format!("{time}{}{}{}", call.method, call.target(), call.body);
    let fault = match time.parse::<i64>() {
        _ if key.is_empty() => Some(("40001", "ACCESS_KEY cannot be empty")),
        _ if key != keys.key => Some(("40006", "Invalid ACCESS_KEY")),
        Err(_) => Some(("40005", "Invalid ACCESS_TIMESTAMP")),
        Ok(ms) if hub.clock.ms(call.venue).abs_diff(ms) > RECENT_MS => Some(("40008", "Request timestamp expired")),
        _ if call.header("access-passphrase") != keys.passphrase => Some(("40012", "apikey/password is incorrect")),
        _ if !verify(&keys.secret, &text, call.header("access-sign"), Encoding::Base64) => {
            Some(("40009", "sign signature error"))
        }
        _ => None,
    };
    if let Some((code, msg)) = fault {
        hub.violation(call.venue, 0, "rest_auth", &format!("{}: {msg}", call.path));
        return error(hub, call, code, msg);
    }
    fine(hub, call, &data(hub).to_string())
}

fn depth_of(call: &Call) -> usize {
    match call.parameter("limit") {
        "" => 100,
        "max" => usize::MAX,
        text => text.parse().unwrap_or(100),
    }
}

fn unknown(hub: &Hub, call: &Call) -> Answer {
    error(hub, call, "40034", "Parameter symbol does not exist")
}

/// Futures give numbers.
fn merge_depth(hub: &Hub, call: &Call) -> Answer {
    let (symbol, kind, depth) =
        (call.parameter("symbol"), call.parameter("productType").to_uppercase(), depth_of(call));
    let found = |one: &Instrument| *one.symbol == *symbol && product(one) == kind;
    let shown = with_book(hub, call.venue, found, |instrument, view| {
        let levels = |levels: &[Level]| {
            rows(levels.iter().take(depth), |level| {
                format!("[{},{}]", instrument.price(level.tick), instrument.quantity(level.lots))
            })
        };
        format!(
            "{{\"asks\":{},\"bids\":{},\"ts\":\"{}\",\"scale\":\"{}\",\"precision\":\"scale0\",\
             \"isMaxPrecision\":\"NO\"}}",
            levels(&view.asks),
            levels(&view.bids),
            view.ms,
            tick_text(instrument)
        )
    });
    shown.map_or_else(|| unknown(hub, call), |data| fine(hub, call, &data))
}

/// Spot gives text.
fn spot_depth(hub: &Hub, call: &Call) -> Answer {
    let (symbol, depth) = (call.parameter("symbol"), depth_of(call).min(150));
    let shown = with_book(
        hub,
        call.venue,
        |one| *one.symbol == *symbol && is_spot(one),
        |instrument, view| {
            let bids = pairs(instrument, view.bids.iter().copied().take(depth));
            let asks = pairs(instrument, view.asks.iter().copied().take(depth));
            format!("{{\"asks\":{asks},\"bids\":{bids},\"ts\":\"{}\"}}", view.ms)
        },
    );
    shown.map_or_else(|| unknown(hub, call), |data| fine(hub, call, &data))
}

fn instruments(hub: &Hub, call: &Call, spot: bool) -> Answer {
    let (kind, symbol) = (call.parameter("productType").to_uppercase(), call.parameter("symbol"));
    let rows = listed(hub, call.venue, |instrument| {
        let ours = if spot { is_spot(instrument) } else { product(instrument) == kind };
        let ours = ours && (symbol.is_empty() || *instrument.symbol == *symbol);
        ours.then(|| if spot { spot_row(instrument) } else { contract_row(instrument) })
    });
    fine(hub, call, &json!(rows).to_string())
}

fn spot_row(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    json!({
        "symbol": config.symbol,
        "baseCoin": config.base,
        "quoteCoin": config.quote,
        "minTradeAmount": "0",
        "maxTradeAmount": "900000000000000000000",
        "takerFeeRate": "0.002",
        "makerFeeRate": "0.002",
        "pricePrecision": config.price_decimals.to_string(),
        "quantityPrecision": config.qty_decimals.to_string(),
        "quotePrecision": "8",
        "status": "online",
        "minTradeUSDT": "1",
        "buyLimitPriceRatio": "0.05",
        "sellLimitPriceRatio": "0.05",
        "areaSymbol": "no",
        "orderQuantity": "200",
        "openTime": "1532454360000",
        "offTime": "",
    })
}

fn contract_row(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    let lot = instrument.quantity(1);
    json!({
        "symbol": config.symbol,
        "baseCoin": config.base,
        "quoteCoin": config.quote,
        "buyLimitPriceRatio": "0.9",
        "sellLimitPriceRatio": "0.9",
        "feeRateUpRatio": "0.1",
        "makerFeeRate": "0.0004",
        "takerFeeRate": "0.0006",
        "openCostUpRatio": "0.1",
        "supportMarginCoins": [config.quote],
        "minTradeNum": lot,
        "priceEndStep": config.tick_units.to_string(),
        "volumePlace": config.qty_decimals.to_string(),
        "pricePlace": config.price_decimals.to_string(),
        "sizeMultiplier": lot,
        "symbolType": "perpetual",
        "minTradeUSDT": "5",
        "maxSymbolOrderNum": "999999",
        "maxProductOrderNum": "999999",
        "maxPositionNum": "150",
        "symbolStatus": "normal",
        "offTime": "-1",
        "limitOpenTime": "-1",
        "deliveryTime": "",
        "deliveryStartTime": "",
        "launchTime": "",
        "fundInterval": "8",
        "minLever": "1",
        "maxLever": "125",
        "posLimit": "0.05",
        "maintainTime": "",
        "maxMarketOrderQty": "220",
        "maxOrderQty": "1200",
    })
}
