//! How Bybit v5 is talked to. Source: Bybit v5 documentation, WebSocket connect, rate limits, instruments.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Venue};

use crate::session::budget::Rate;
use crate::session::credentials::Credentials;
use crate::session::definitions;
use crate::session::dialect::{
    Acked, Bootstrap, Channel, ClientLimits, Dialect, Heartbeat, Probe, Remedy, Reply, Route, Topic,
};
use crate::transport::rest::Request;

/// One category of Bybit.
#[derive(Debug)]
pub struct Bybit {
    venue: Venue,
    category: &'static str,
    path: &'static str,
    /// Topics in one request.
    batch: usize,
}

/// Linear contracts.
pub static LINEAR: Bybit = Bybit { venue: Venue::Bybit, category: "linear", path: "/v5/public/linear", batch: 50 };
/// Spot: at most ten topics in a request.
pub static SPOT: Bybit = Bybit { venue: Venue::BybitSpot, category: "spot", path: "/v5/public/spot", batch: 10 };
/// Inverse contracts.
pub static INVERSE: Bybit =
    Bybit { venue: Venue::BybitInverse, category: "inverse", path: "/v5/public/inverse", batch: 50 };

impl Dialect for Bybit {
    fn endpoints(&self) -> (&'static str, &'static str) {
        ("wss://stream.bybit.com", "https://api.bybit.com")
    }

    fn limits(&self) -> ClientLimits {
        ClientLimits {
            // The names of all topics of a connection may take 21,000 characters; a name takes up to 40.
            topics: 400,
            batch: self.batch,
            messages: Rate::new(20, 1),
            subscriptions: Rate::new(20, 1),
            connects: Rate::new(500, 300),
            requests: Rate::new(600, 5),
            lifetime: None,
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let (every, dead_after) = (Duration::from_secs(20), Duration::from_secs(45));
        Heartbeat { probe: Probe::Request, every, dead_after }
    }

    /// `u` is held to be contiguous along a topic, as it was in all recorded traffic, though nobody promises it: a jump
    /// costs a subscription, not a wrong book.
    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::Stream
    }

    fn path(&self, route: Route) -> &'static str {
        if route == Route::Private { "/v5/private" } else { self.path }
    }

    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic> {
        let key = match channel {
            Channel::Book => format!("orderbook.200.{symbol}"),
            Channel::Quotes => format!("orderbook.1.{symbol}"),
            Channel::Trades => format!("publicTrade.{symbol}"),
            // Spot tickers carry neither mark nor funding.
            Channel::Marks if self.venue == Venue::BybitSpot => return None,
            Channel::Marks => format!("tickers.{symbol}"),
        };
        Some(Topic { instrument, channel: Some(channel), route: Route::Public, key })
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("unsubscribe", id, topics)
    }

    fn ping(&self, id: u64) -> String {
        json!({ "req_id": id.to_string(), "op": "ping" }).to_string()
    }

    fn read(&self, text: &[u8]) -> Reply {
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Reply::Other };
        let said = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let op = said("op");
        if matches!(op, "ping" | "pong") || said("ret_msg") == "pong" {
            return Reply::Pong;
        }
        let good = value.get("success").and_then(Value::as_bool);
        let good = good.unwrap_or_else(|| value.get("retCode").and_then(Value::as_i64) == Some(0));
        let about = said("req_id").parse().ok().map(Acked::Request);
        match (op, good) {
            ("auth", true) => Reply::LoggedIn,
            ("subscribe", true) => about.map_or(Reply::Other, Reply::Acked),
            ("unsubscribe", true) => Reply::Ended,
            ("auth" | "subscribe" | "unsubscribe", false) => {
                let code = value.get("retCode").and_then(Value::as_i64).map_or(String::new(), |code| code.to_string());
                let words = if said("ret_msg").is_empty() { said("retMsg") } else { said("ret_msg") };
                let remedy = match (op, code.as_str()) {
                    ("auth", "10002" | "10004") => Remedy::Authenticate,
                    ("auth", "20001") => Remedy::Ignore,
                    ("auth", _) => Remedy::Stop,
                    (_, "10006" | "20003") => Remedy::SlowDown,
                    _ => Remedy::Drop,
                };
                Reply::Refused { code, text: words.into(), about, remedy }
            }
            _ => Reply::Other,
        }
    }

    fn login(&self, credentials: &Credentials, now_ms: i64) -> Option<String> {
        // Valid for ten seconds: the venue refuses what has expired on the way.
        let expires = now_ms + 10_000;
        let sign = credentials.sign_hex(&format!("GET/realtime{expires}"));
        Some(json!({ "op": "auth", "args": [credentials.key.expose(), expires, sign] }).to_string())
    }

    fn touch(&self, symbol: &str) -> Option<Request> {
        Some(Request::public(format!("/v5/market/orderbook?category={}&symbol={symbol}&limit=1", self.category)))
    }

    fn time(&self) -> Request {
        Request::public("/v5/market/time")
    }

    fn read_time(&self, body: &[u8]) -> Option<i64> {
        definitions::json(body).ok()?.get("result")?.get("timeNano")?.as_str()?.parse().ok()
    }

    fn instruments(&self, symbols: &[String]) -> Vec<Request> {
        let ask = |symbol: &String| {
            Request::public(format!("/v5/market/instruments-info?category={}&symbol={symbol}", self.category))
        };
        symbols.iter().map(ask).collect()
    }

    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String> {
        let answer = definitions::json(body)?;
        if answer.get("retCode").and_then(Value::as_i64) != Some(0) {
            return Err(format!("error {}", definitions::text(&answer, "retMsg").unwrap_or_default()));
        }
        let list = answer.get("result").and_then(|result| result.get("list"));
        let rows = definitions::rows(list, "symbol", symbols)?;
        rows.into_iter().map(|(symbol, row)| self.definition(symbol, row)).collect()
    }

    fn penalty(&self, status: u16) -> Option<Duration> {
        match status {
            // "access too frequent": nothing for ten minutes.
            403 => Some(Duration::from_secs(600)),
            429 => Some(Duration::from_secs(10)),
            _ => None,
        }
    }
}

impl Bybit {
    fn definition(&self, symbol: &str, row: &Value) -> Result<Instrument, String> {
        let inside = |part: &str, key: &str| {
            let part = row.get(part).ok_or_else(|| format!("{symbol}: {part} is missing"))?;
            definitions::text(part, key).map_err(|reason| format!("{symbol}: {reason}"))
        };
        let spot = self.venue == Venue::BybitSpot;
        let lot = inside("lotSizeFilter", if spot { "basePrecision" } else { "qtyStep" })?;
        // Inverse sizes are dollars.
        let inverse = self.venue == Venue::BybitInverse;
        let contract = if inverse { Contract::Inverse { quote_per_contract: 1.0 } } else { Contract::Linear };
        definitions::instrument(self.venue, symbol, &inside("priceFilter", "tickSize")?, &lot, contract)
    }
}

fn request(op: &str, id: u64, topics: &[&Topic]) -> String {
    let args: Vec<_> = topics.iter().map(|topic| topic.key.as_str()).collect();
    json!({ "req_id": id.to_string(), "op": op, "args": args }).to_string()
}
