//! Deribit: the methods that WebSocket and REST share.

use serde_json::{Value, json};

use super::{Answer, Call, listed, with_book};
use crate::exchange::encode::deribit::{index_name, price, round, ticker, trade, volatility};
use crate::exchange::hub::Hub;
use crate::exchange::market::Instrument;
use crate::exchange::sign::{Encoding, verify};
use crate::exchange::venue::{Category, Venue};
use crate::market::book::Level;

/// An error: code and message.
type Fault = (i64, &'static str);

const VENUE: Venue = Venue::Deribit;
/// Signed requests may be this old, ms.
const RECENT_MS: u64 = 60_000;

/// An answer with times, as every answer has them.
pub(crate) fn envelope(id: &Value, result: Result<Value, Fault>, started_us: i64, hub: &Hub) -> String {
    let (now_us, clock_us) = (hub.clock.now_ns() / 1_000, hub.clock.ms(VENUE) * 1_000);
    let took = (now_us - started_us).max(0);
    let times = format!("\"usIn\":{},\"usOut\":{clock_us},\"usDiff\":{took},\"testnet\":false", clock_us - took);
    match result {
        Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result},{times}}}"),
        Err((code, message)) => format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{message}\"}},{times}}}"
        ),
    }
}

/// A REST request: `GET /api/v2/public/test?...`, or a POST of JSON-RPC.
pub(super) fn rest(hub: &Hub, call: &Call) -> Answer {
    let started_us = hub.clock.now_ns() / 1_000;
    let Some(path) = call.path.strip_prefix("/api/v2") else { return (404, "{}".into()) };
    let posted: Value = serde_json::from_str(&call.body).unwrap_or_default();
    let (method, params, id) = if call.method == "POST" {
        let named = posted["method"].as_str().unwrap_or_default();
        let method = if path.len() > 1 { path.trim_start_matches('/') } else { named };
        (method.to_owned(), posted["params"].clone(), posted["id"].clone())
    } else {
        let pairs = call.query.split('&').filter_map(|pair| pair.split_once('='));
        let params = pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
        (path.trim_start_matches('/').to_owned(), Value::Object(params), Value::Null)
    };
    let result = if method.starts_with("private/") && !authorised(hub, call) {
        hub.violation(VENUE, 0, "rest_auth", &method);
        Err((13_009, "unauthorized"))
    } else {
        answer(hub, &method, &params)
    };
    let status = match result {
        Ok(_) => 200,
        Err((13_009, _)) => 401,
        Err(_) => 400,
    };
    (status, envelope(&id, result, started_us, hub))
}

fn authorised(hub: &Hub, call: &Call) -> bool {
    let header = call.header("authorization");
    if let Some(token) = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer ")) {
        return token == "access-1";
    }
    let Some(fields) = header.strip_prefix("deri-hmac-sha256 ") else { return false };
    let value = |name: &str| {
        let mut pairs = fields.split(',').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
    };
    let (time, nonce) = (value("ts"), value("nonce"));
    let text = format!("{time}\n{nonce}\n{}\n{}\n{}\n", call.method, call.target(), call.body);
    let keys = &hub.config.keys;
    let recent = time.parse::<i64>().is_ok_and(|time| hub.clock.ms(VENUE).abs_diff(time) <= RECENT_MS);
    value("id") == keys.key && recent && verify(&keys.secret, &text, value("sig"), Encoding::Hex)
}

/// Answers a method that needs no connection.
pub(crate) fn answer(hub: &Hub, method: &str, params: &Value) -> Result<Value, Fault> {
    let now_ms = hub.clock.ms(VENUE);
    let text = |key: &str| params[key].as_str().unwrap_or_default();
    match method {
        "public/get_time" => Ok(now_ms.into()),
        "public/test" => Ok(json!({"version": "1.2.26"})),
        "public/get_instruments" => {
            let (currency, kind) = (text("currency"), text("kind"));
            let rows = listed(hub, VENUE, |instrument| {
                let ours = matches!(currency, "" | "any") || instrument.listing.config.base == currency;
                let ours = ours && (matches!(kind, "" | "any") || kind_of(instrument) == kind);
                ours.then(|| row(instrument))
            });
            Ok(json!(rows))
        }
        "public/get_instrument" => find(hub, text("instrument_name"), row),
        "public/ticker" => find(hub, text("instrument_name"), |instrument| ticker(instrument, now_ms)),
        "public/get_order_book" => {
            let depth = params["depth"].as_u64().or_else(|| text("depth").parse().ok()).unwrap_or(5);
            order_book(hub, text("instrument_name"), usize::try_from(depth).unwrap_or(5), now_ms)
        }
        "public/get_last_trades_by_instrument" => find(hub, text("instrument_name"), |instrument| {
            let trades: Vec<Value> = instrument.recent.iter().map(|print| trade(instrument, print)).collect();
            json!({"trades": trades, "has_more": false})
        }),
        "public/get_volatility_index_data" => find(hub, &format!("{}-PERPETUAL", text("currency")), |instrument| {
            let points = (0..10).rev().map(|back| {
                let ms = (now_ms / 60_000 - back) * 60_000;
                let value = round(volatility(instrument, ms), 2);
                json!([ms, value, value, value, value])
            });
            json!({"data": points.collect::<Vec<_>>(), "continuation": null})
        }),
        "private/get_positions" | "private/get_open_orders" => Ok(json!([])),
        "private/get_account_summary" => Ok(json!({"currency": text("currency"), "equity": 1.0, "balance": 1.0})),
        _ => Err((-32_601, "Method not found")),
    }
}

fn find(hub: &Hub, symbol: &str, show: impl FnOnce(&Instrument) -> Value) -> Result<Value, Fault> {
    let mut show = Some(show);
    let core = super::lock(&hub.core);
    let index = core.find(VENUE, symbol, None).ok_or((13_020, "not_found"))?;
    let shown = core.instruments.get(index).zip(show.take()).map(|(instrument, show)| show(instrument));
    shown.ok_or((13_020, "not_found"))
}

fn kind_of(instrument: &Instrument) -> &'static str {
    match instrument.listing.config.category {
        Category::Option => "option",
        Category::Spot => "spot",
        _ => "future",
    }
}

fn order_book(hub: &Hub, symbol: &str, depth: usize, now_ms: i64) -> Result<Value, Fault> {
    let shown = with_book(
        hub,
        VENUE,
        |one| *one.symbol == *symbol,
        |instrument, view| {
            let levels = |levels: &[Level]| -> Vec<Value> {
                let rows = levels.iter().take(depth.clamp(1, 10_000));
                rows.map(|level| {
                    json!([
                        price(instrument, level.tick),
                        crate::exchange::encode::deribit::amount(instrument, level.lots)
                    ])
                })
                .collect()
            };
            let mut book = ticker(instrument, now_ms);
            book["change_id"] = view.id.into();
            book["bids"] = levels(&view.bids).into();
            book["asks"] = levels(&view.asks).into();
            book["timestamp"] = view.ms.into();
            book
        },
    );
    shown.ok_or((13_020, "not_found"))
}

fn row(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    let lot = crate::exchange::encode::deribit::amount(instrument, 1);
    let kind = kind_of(instrument);
    let mut row = json!({
        "price_index": index_name(instrument),
        "kind": kind,
        "instrument_name": config.symbol,
        "instrument_type": "reversed",
        "is_active": true,
        "state": "open",
        "tick_size": price(instrument, 1),
        "tick_size_steps": [],
        "contract_size": config.contract,
        "min_trade_amount": lot,
        "instrument_id": config.symbol.bytes().map(i64::from).sum::<i64>(),
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "settlement_currency": config.base,
        "settlement_period": "perpetual",
        "base_currency": config.base,
        "counter_currency": "USD",
        "quote_currency": "USD",
        "creation_timestamp": 1_534_167_754_000_i64,
        "expiration_timestamp": 32_503_708_800_000_i64,
    });
    if let Some(terms) = &instrument.listing.option {
        row["option_type"] = if terms.call { "call" } else { "put" }.into();
        row["strike"] = terms.strike.into();
        row["expiration_timestamp"] = terms.expiry_ms.into();
        row["settlement_period"] = "month".into();
        row["quote_currency"] = config.base.as_str().into();
    }
    row
}
