//! How Deribit is talked to: JSON-RPC 2.0 over one WebSocket. Source: Deribit API documentation (public/subscribe,
//! public/set_heartbeat, public/auth, rate limits, errors).

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Scale, Venue};

use crate::session::budget::Rate;
use crate::session::credentials::Credentials;
use crate::session::definitions;
use crate::session::dialect::{
    Acked, Bootstrap, Channel, ClientLimits, Dialect, Heartbeat, Probe, Remedy, Reply, Route, Topic,
};
use crate::transport::rest::Request;

/// Deribit.
#[derive(Debug)]
pub struct Deribit;

/// The only one.
pub static DERIBIT: Deribit = Deribit;

/// Seconds between the venue's heartbeats; 10 is the least it allows.
const INTERVAL_S: u64 = 10;
/// Ids of requests that are not subscriptions; those count from 1.
const HEARTBEAT_ID: u64 = 1 << 40;
const TEST_ID: u64 = HEARTBEAT_ID + 1;
const LOGIN_ID: u64 = HEARTBEAT_ID + 2;

impl Dialect for Deribit {
    fn endpoints(&self) -> (&'static str, &'static str) {
        ("wss://www.deribit.com", "https://www.deribit.com")
    }

    fn limits(&self) -> ClientLimits {
        ClientLimits {
            topics: 200,
            batch: 50,
            messages: Rate::new(20, 1),
            // A subscription costs 3,000 of 30,000 credits, of which 10,000 come back a second.
            subscriptions: Rate::new(6, 2),
            connects: Rate::new(16, 10),
            // 500 of 50,000 credits each, of which 10,000 come back a second: half of what that allows.
            requests: Rate::new(10, 1),
            lifetime: None,
        }
    }

    /// The venue asks (`test_request`) and must be answered; what it sends at every interval shows that it lives.
    fn heartbeat(&self) -> Heartbeat {
        let (every, dead_after) = (Duration::from_secs(20), Duration::from_secs(35));
        Heartbeat { probe: Probe::Request, every, dead_after }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::Stream
    }

    fn path(&self, _route: Route) -> &'static str {
        "/ws/api/v2"
    }

    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic> {
        let index = symbol.strip_suffix("DVOL");
        let key = match (channel, index) {
            (Channel::Marks, Some(coin)) => format!("deribit_volatility_index.{}_usd", coin.to_ascii_lowercase()),
            (_, Some(_)) => return None,
            (Channel::Book, None) => format!("book.{symbol}.100ms"),
            (Channel::Quotes, None) => format!("quote.{symbol}"),
            (Channel::Trades, None) => format!("trades.{symbol}.100ms"),
            (Channel::Marks, None) => format!("ticker.{symbol}.100ms"),
        };
        Some(Topic { instrument, channel: Some(channel), route: Route::Public, key })
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("public/subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("public/unsubscribe", id, topics)
    }

    fn greeting(&self) -> Option<String> {
        Some(rpc("public/set_heartbeat", HEARTBEAT_ID, json!({ "interval": INTERVAL_S })))
    }

    fn ping(&self, _id: u64) -> String {
        rpc("public/test", TEST_ID, json!({}))
    }

    fn read(&self, text: &[u8]) -> Reply {
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Reply::Other };
        if value.get("method").and_then(Value::as_str) == Some("heartbeat") {
            let kind = value.get("params").and_then(|params| params.get("type")).and_then(Value::as_str);
            return if kind == Some("test_request") { Reply::Answer(self.ping(TEST_ID)) } else { Reply::Pong };
        }
        let id = value.get("id").and_then(Value::as_u64);
        if let Some(error) = value.get("error") {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or(0).to_string();
            let text = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
            let remedy = remedy(&code, &text, id);
            return Reply::Refused { code, text, about: id.map(Acked::Request), remedy };
        }
        match (id, value.get("result")) {
            (Some(TEST_ID | HEARTBEAT_ID), Some(_)) => Reply::Pong,
            (Some(LOGIN_ID), Some(_)) => Reply::LoggedIn,
            (Some(id), Some(Value::Array(topics))) => {
                let accepted = topics.iter().filter_map(|topic| topic.as_str().map(str::to_owned)).collect();
                Reply::Acked(Acked::Topics(id, accepted))
            }
            _ => Reply::Other,
        }
    }

    fn login(&self, credentials: &Credentials, now_ms: i64) -> Option<String> {
        let nonce = format!("{:016x}", now_ms.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let signature = credentials.sign_hex(&format!("{now_ms}\n{nonce}\n"));
        let params = json!({
            "grant_type": "client_signature",
            "client_id": credentials.key.expose(),
            "timestamp": now_ms,
            "nonce": nonce,
            "data": "",
            "signature": signature,
        });
        Some(rpc("public/auth", LOGIN_ID, params))
    }

    fn touch(&self, symbol: &str) -> Option<Request> {
        let path = format!("/api/v2/public/get_order_book?instrument_name={symbol}&depth=1");
        (!symbol.ends_with("DVOL")).then(|| Request::public(path))
    }

    fn time(&self) -> Request {
        Request::public("/api/v2/public/get_time")
    }

    fn read_time(&self, body: &[u8]) -> Option<i64> {
        definitions::json(body).ok()?.get("result")?.as_i64()?.checked_mul(1_000_000)
    }

    fn instruments(&self, symbols: &[String]) -> Vec<Request> {
        let listed = symbols.iter().filter(|symbol| !symbol.ends_with("DVOL"));
        let ask = |symbol: &String| Request::public(format!("/api/v2/public/get_instrument?instrument_name={symbol}"));
        // An index has no definition to ask for: the time stands in, so that there is an answer to read it from.
        let indices = symbols.iter().any(|symbol| symbol.ends_with("DVOL")).then(|| self.time());
        listed.map(ask).chain(indices).collect()
    }

    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String> {
        let answer = definitions::json(body)?;
        if let Some(error) = answer.get("error") {
            return Err(definitions::text(error, "message").unwrap_or_else(|_| error.to_string()));
        }
        let result = answer.get("result").ok_or("the answer has no result")?;
        if result.is_number() {
            return Ok(symbols.iter().filter(|symbol| symbol.ends_with("DVOL")).map(|symbol| index(symbol)).collect());
        }
        let symbol = definitions::text(result, "instrument_name")?;
        if !symbols.contains(&symbol) {
            return Ok(Vec::new());
        }
        // Steps may be larger above some price: the book's grid is the finest.
        let (tick, lot) = (definitions::text(result, "tick_size")?, definitions::text(result, "min_trade_amount")?);
        let reversed = result.get("instrument_type").and_then(Value::as_str) == Some("reversed");
        let option = result.get("kind").and_then(Value::as_str) == Some("option");
        // Amounts of inverse futures are dollars, those of options and linear contracts coins.
        let inverse = reversed && !option;
        let contract = if inverse { Contract::Inverse { quote_per_contract: 1.0 } } else { Contract::Linear };
        Ok(vec![definitions::instrument(Venue::Deribit, &symbol, &tick, &lot, contract)?])
    }
}

/// A volatility index: percentage points with two decimals; it is not traded.
fn index(symbol: &str) -> Instrument {
    let (price_scale, qty_scale) = (Scale::saturating(2), Scale::saturating(0));
    let (tick, lot) = (Price::from_raw(1), Qty::from_raw(1));
    let symbol = symbol.to_owned();
    Instrument { venue: Venue::Deribit, symbol, price_scale, qty_scale, tick, lot, contract: Contract::Linear }
}

fn rpc(method: &str, id: u64, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn request(method: &str, id: u64, topics: &[&Topic]) -> String {
    let channels: Vec<_> = topics.iter().map(|topic| topic.key.as_str()).collect();
    rpc(method, id, json!({ "channels": channels }))
}

/// Two tables of codes are about: the message decides, then the code.
fn remedy(code: &str, text: &str, id: Option<u64>) -> Remedy {
    match (text, code) {
        ("too_many_requests", _) | (_, "10028") => Remedy::Reconnect,
        ("invalid_credentials" | "unauthorized", _) if id == Some(LOGIN_ID) => Remedy::Stop,
        ("invalid_token", _) => Remedy::Authenticate,
        ("raw_subscriptions_not_available_for_unauthorized", _) | (_, "13778") => Remedy::Drop,
        (_, "10040" | "10041" | "10047" | "10066" | "11051" | "11094" | "13028" | "13888") => Remedy::SlowDown,
        _ => Remedy::Drop,
    }
}
