//! How Bitget v2 is talked to, public and private. Source: Bitget API documentation (WebSocket, futures and spot
//! channels, error codes).

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Venue};

use crate::session::budget::Rate;
use crate::session::credentials::Credentials;
use crate::session::definitions;
use crate::session::dialect::{
    AccountChannel, AccountData, Acked, Bootstrap, Channel, ClientLimits, Dialect, Heartbeat, Probe, Remedy, Reply,
    Route, Topic,
};
use crate::transport::rest::Request;

/// One product of Bitget.
#[derive(Debug)]
pub struct Bitget {
    venue: Venue,
    /// Its `instType`.
    product: &'static str,
}

/// Spot.
pub static SPOT: Bitget = Bitget { venue: Venue::BitgetSpot, product: "SPOT" };
/// USDT-margined futures.
pub static USDT: Bitget = Bitget { venue: Venue::BitgetUsdt, product: "USDT-FUTURES" };
/// Coin-margined futures.
pub static COIN: Bitget = Bitget { venue: Venue::BitgetCoin, product: "COIN-FUTURES" };
/// USDC-margined futures.
pub static USDC: Bitget = Bitget { venue: Venue::BitgetUsdc, product: "USDC-FUTURES" };

impl Dialect for Bitget {
    fn endpoints(&self) -> (&'static str, &'static str) {
        ("wss://ws.bitget.com", "https://api.bitget.com")
    }

    fn limits(&self) -> ClientLimits {
        ClientLimits {
            // 1,000 are allowed, fewer than 50 advised: beyond that connections drop.
            topics: 48,
            // All channels of a request fit into 4,096 bytes.
            batch: 30,
            messages: Rate::new(10, 1),
            subscriptions: Rate::new(240, 3600),
            connects: Rate::new(300, 300),
            requests: Rate::new(20, 1),
            lifetime: Some(Duration::from_secs(24 * 3600)),
        }
    }

    /// A text every 30 s; the venue closes after two minutes without.
    fn heartbeat(&self) -> Heartbeat {
        let (every, dead_after) = (Duration::from_secs(30), Duration::from_secs(65));
        Heartbeat { probe: Probe::Text("ping"), every, dead_after }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::Stream
    }

    fn path(&self, route: Route) -> &'static str {
        if route == Route::Private { "/v2/ws/private" } else { "/v2/ws/public" }
    }

    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic> {
        let name = match channel {
            Channel::Book => "books",
            Channel::Quotes => "books1",
            Channel::Trades => "trade",
            // Spot tickers carry neither mark nor funding.
            Channel::Marks if self.venue == Venue::BitgetSpot => return None,
            Channel::Marks => "ticker",
        };
        let key = format!("{}:{name}:{symbol}", self.product);
        Some(Topic { instrument, channel: Some(channel), route: Route::Public, key })
    }

    fn subscribe(&self, _id: u64, topics: &[&Topic]) -> String {
        request("subscribe", topics)
    }

    fn unsubscribe(&self, _id: u64, topics: &[&Topic]) -> String {
        request("unsubscribe", topics)
    }

    fn read(&self, text: &[u8]) -> Reply {
        if text == b"pong" {
            return Reply::Pong;
        }
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Reply::Other };
        let code = code(&value);
        let topic = topic_of(value.get("arg"));
        match value.get("event").and_then(Value::as_str) {
            Some("subscribe") => topic.map_or(Reply::Other, |key| Reply::Acked(Acked::Topic(key))),
            Some("unsubscribe") => Reply::Ended,
            Some("login") if code == "0" => Reply::LoggedIn,
            Some("login" | "error") => {
                let text = value.get("msg").and_then(Value::as_str).unwrap_or_default().to_owned();
                let remedy = remedy(&code);
                Reply::Refused { code, text, about: topic.map(Acked::Topic), remedy }
            }
            _ => account(&value).map_or(Reply::Other, Reply::Account),
        }
    }

    fn login(&self, credentials: &Credentials, now_ms: i64) -> Option<String> {
        // Seconds, as every client sends them; the documentation's text says milliseconds, its example seconds.
        let timestamp = (now_ms / 1000).to_string();
        let sign = credentials.sign_base64(&format!("{timestamp}GET/user/verify"));
        Some(credentials.login_frame(&timestamp, &sign))
    }

    fn account(&self) -> Vec<Topic> {
        if self.venue == Venue::BitgetSpot {
            return Vec::new();
        }
        let topic = |name: &str| Topic {
            instrument: InstrumentId::NONE,
            channel: None,
            route: Route::Private,
            key: format!("{}:{name}:default", self.product),
        };
        ["positions", "orders", "account"].map(topic).into()
    }

    fn touch(&self, symbol: &str) -> Option<Request> {
        Some(Request::public(match self.venue {
            Venue::BitgetSpot => format!("/api/v2/spot/market/orderbook?symbol={symbol}&limit=1"),
            _ => format!("/api/v2/mix/market/merge-depth?productType={}&symbol={symbol}&limit=1", self.product),
        }))
    }

    fn time(&self) -> Request {
        Request::public("/api/v2/public/time")
    }

    fn read_time(&self, body: &[u8]) -> Option<i64> {
        let answer = definitions::json(body).ok()?;
        answer.get("data")?.get("serverTime")?.as_str()?.parse::<i64>().ok()?.checked_mul(1_000_000)
    }

    fn instruments(&self, _symbols: &[String]) -> Vec<Request> {
        vec![Request::public(match self.venue {
            Venue::BitgetSpot => "/api/v2/spot/public/symbols".to_owned(),
            _ => format!("/api/v2/mix/market/contracts?productType={}", self.product),
        })]
    }

    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String> {
        let answer = definitions::json(body)?;
        if code(&answer) != "00000" {
            return Err(format!("error {}", code(&answer)));
        }
        let rows = definitions::rows(answer.get("data"), "symbol", symbols)?;
        rows.into_iter().map(|(symbol, row)| self.definition(symbol, row)).collect()
    }
}

impl Bitget {
    fn definition(&self, symbol: &str, row: &Value) -> Result<Instrument, String> {
        let whole = |key: &str, most: u64| {
            let text = definitions::text(row, key)?;
            text.parse::<u64>().ok().filter(|value| *value <= most).ok_or(format!("{symbol}: {key} is {text:?}"))
        };
        // A step of `units` in the last of `places` decimals.
        let step = |units: u64, places: u64| {
            let one = 10u64.pow(places as u32);
            format!("{}.{:0width$}", units / one, units % one, width = (places as usize).max(1))
        };
        if self.venue == Venue::BitgetSpot {
            let (tick, lot) = (step(1, whole("pricePrecision", 12)?), step(1, whole("quantityPrecision", 12)?));
            return definitions::instrument(self.venue, symbol, &tick, &lot, Contract::Linear);
        }
        let tick = step(whole("priceEndStep", 1_000_000)?, whole("pricePlace", 12)?);
        let lot = definitions::text(row, "sizeMultiplier")?;
        // Sizes are of the base coin, for coin-margined contracts too.
        definitions::instrument(self.venue, symbol, &tick, &lot, Contract::Linear)
    }
}

/// The code of an answer: a number or a text.
fn code(value: &Value) -> String {
    match value.get("code") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn topic_of(arg: Option<&Value>) -> Option<String> {
    let said = |key: &str| arg?.get(key)?.as_str();
    Some(format!("{}:{}:{}", said("instType")?, said("channel")?, said("instId").or_else(|| said("coin"))?))
}

/// A push of one of the account's channels.
fn account(value: &Value) -> Option<AccountData> {
    let channel = match value.get("arg")?.get("channel")?.as_str()? {
        "positions" => AccountChannel::Positions,
        "orders" => AccountChannel::Orders,
        "account" => AccountChannel::Account,
        _ => return None,
    };
    let rows = value.get("data")?.as_array()?.clone();
    let venue_ns = value.get("ts").and_then(Value::as_i64).and_then(|ms| ms.checked_mul(1_000_000)).unwrap_or(0);
    Some(AccountData { channel, rows, venue_ns })
}

fn request(op: &str, topics: &[&Topic]) -> String {
    let arg = |topic: &&Topic| {
        let mut parts = topic.key.split(':');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (product, channel, name) = (part(), part(), part());
        // Balances are by coin, everything else by instrument.
        let by = if channel == "account" { "coin" } else { "instId" };
        json!({ "instType": product, "channel": channel, by: name })
    };
    json!({ "op": op, "args": topics.iter().map(arg).collect::<Vec<_>>() }).to_string()
}

fn remedy(code: &str) -> Remedy {
    match code {
        // In error frames, not as close codes: 1001 asks for a new login, 1002 for a new connection.
        "1001" | "30004" | "30013" | "30014" | "40008" => Remedy::Authenticate,
        "1002" | "30007" => Remedy::Reconnect,
        // Keys that are wrong stay wrong.
        "30005" | "30011" | "30012" | "30015" | "40006" | "40009" => Remedy::Stop,
        "30006" | "429" => Remedy::SlowDown,
        "30001" | "30002" | "30003" | "30016" | "40017" => Remedy::Drop,
        _ => Remedy::Reconnect,
    }
}
