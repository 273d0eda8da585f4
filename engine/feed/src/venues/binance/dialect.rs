//! How Binance's markets are talked to. Source: Binance spot API documentation (WebSocket streams, errors), USD-M
//! WebSocket change notice of April 2026: books and quotes are on `/public`, the rest on `/market`, and a stream on the
//! wrong one is acknowledged and never comes.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Venue};

use crate::session::budget::Rate;
use crate::session::definitions;
use crate::session::dialect::{
    Acked, Bootstrap, Channel, ClientLimits, Dialect, Heartbeat, Probe, Remedy, Reply, Route, Topic,
};
use crate::transport::rest::Request;

/// One of Binance's markets.
#[derive(Debug)]
pub struct Binance {
    venue: Venue,
    endpoints: (&'static str, &'static str),
    /// Path of the REST API.
    api: &'static str,
    /// Levels a side of a snapshot, and what it weighs: the deepest, and one for when many are needed at once.
    depths: [(u32, u32); 2],
    limits: ClientLimits,
}

const fn limits(messages: u32, topics: usize, weight: u32) -> ClientLimits {
    ClientLimits {
        topics,
        batch: 50,
        messages: Rate::new(messages, 1),
        subscriptions: Rate::new(messages, 1),
        connects: Rate::new(300, 300),
        requests: Rate::new(weight, 60),
        lifetime: Some(Duration::from_secs(24 * 3600)),
    }
}

/// Spot. The venue allows a weight of 6,000 a minute.
pub static SPOT: Binance = Binance {
    venue: Venue::BinanceSpot,
    endpoints: ("wss://stream.binance.com:9443", "https://api.binance.com"),
    api: "/api/v3",
    depths: [(5000, 250), (1000, 50)],
    limits: limits(5, 1024, 5000),
};

/// Futures. The venue allows both markets together a weight of 2,400 a minute.
const fn futures(venue: Venue, endpoints: (&'static str, &'static str), api: &'static str) -> Binance {
    Binance { venue, endpoints, api, depths: [(1000, 20), (500, 10)], limits: limits(10, 200, 1100) }
}

/// USD-margined futures.
pub static USDM: Binance =
    futures(Venue::BinanceUsdm, ("wss://fstream.binance.com", "https://fapi.binance.com"), "/fapi/v1");
/// Coin-margined futures.
pub static COINM: Binance =
    futures(Venue::BinanceCoinm, ("wss://dstream.binance.com", "https://dapi.binance.com"), "/dapi/v1");

impl Dialect for Binance {
    fn endpoints(&self) -> (&'static str, &'static str) {
        self.endpoints
    }

    fn limits(&self) -> ClientLimits {
        self.limits
    }

    /// The server pings (spot every 20 s, futures every 3 min) and the transport answers; our own pings find out sooner
    /// that nobody is there.
    fn heartbeat(&self) -> Heartbeat {
        let (every, dead_after) = (Duration::from_secs(15), Duration::from_secs(45));
        Heartbeat { probe: Probe::Ping, every, dead_after }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::Rest
    }

    fn path(&self, route: Route) -> &'static str {
        match (self.venue, route) {
            (Venue::BinanceUsdm, Route::Public) => "/public/stream",
            (Venue::BinanceUsdm, Route::Market) => "/market/stream",
            _ => "/stream",
        }
    }

    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic> {
        let spot = self.venue == Venue::BinanceSpot;
        let stream = match channel {
            Channel::Book => "depth@100ms",
            Channel::Quotes => "bookTicker",
            Channel::Trades if spot => "trade",
            // The raw trade stream of the futures is not documented any more.
            Channel::Trades => "aggTrade",
            Channel::Marks if spot => return None,
            Channel::Marks => "markPrice@1s",
        };
        let split = self.venue == Venue::BinanceUsdm && matches!(channel, Channel::Trades | Channel::Marks);
        let route = if split { Route::Market } else { Route::Public };
        let key = format!("{}@{stream}", symbol.to_ascii_lowercase());
        Some(Topic { instrument, channel: Some(channel), route, key })
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("SUBSCRIBE", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("UNSUBSCRIBE", id, topics)
    }

    fn read(&self, text: &[u8]) -> Reply {
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Reply::Other };
        let said = value.get("data").unwrap_or(&value);
        if said.get("e").and_then(Value::as_str) == Some("serverShutdown") {
            return Reply::Leaving(Duration::ZERO);
        }
        let id = value.get("id").and_then(Value::as_u64);
        let error = value.get("error").unwrap_or(&value);
        if let Some(code) = error.get("code").and_then(Value::as_i64) {
            let text = error.get("msg").and_then(Value::as_str).unwrap_or_default().to_owned();
            // Too many requests; everything else is a request that will never work.
            let remedy = if code == -1003 { Remedy::SlowDown } else { Remedy::Drop };
            return Reply::Refused { code: code.to_string(), text, about: id.map(Acked::Request), remedy };
        }
        match (id, value.get("result")) {
            (Some(id), Some(Value::Null)) => Reply::Acked(Acked::Request(id)),
            _ => Reply::Other,
        }
    }

    fn snapshots(&self, symbol: &str) -> Vec<Request> {
        let of = |(levels, weight)| {
            Request::public(format!("{}/depth?symbol={symbol}&limit={levels}", self.api)).weighing(weight)
        };
        self.depths.map(of).into()
    }

    fn touch(&self, symbol: &str) -> Option<Request> {
        Some(Request::public(format!("{}/depth?symbol={symbol}&limit=5", self.api)).weighing(5))
    }

    fn time(&self) -> Request {
        Request::public(format!("{}/time", self.api))
    }

    fn read_time(&self, body: &[u8]) -> Option<i64> {
        definitions::json(body).ok()?.get("serverTime")?.as_i64()?.checked_mul(1_000_000)
    }

    fn instruments(&self, symbols: &[String]) -> Vec<Request> {
        // Spot answers for chosen symbols; the futures only know all.
        let named = symbols.iter().map(|symbol| format!("%22{symbol}%22")).collect::<Vec<_>>().join(",");
        let query = if self.venue == Venue::BinanceSpot { format!("?symbols=%5B{named}%5D") } else { String::new() };
        vec![Request::public(format!("{}/exchangeInfo{query}", self.api))]
    }

    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String> {
        let answer = definitions::json(body)?;
        let rows = definitions::rows(answer.get("symbols"), "symbol", symbols)?;
        rows.into_iter().map(|(symbol, row)| self.definition(symbol, row)).collect()
    }
}

impl Binance {
    fn definition(&self, symbol: &str, row: &Value) -> Result<Instrument, String> {
        let filter = |kind: &str, key: &str| {
            let filters = row.get("filters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let found = filters.iter().find(|filter| filter.get("filterType").and_then(Value::as_str) == Some(kind));
            let found = found.ok_or_else(|| format!("{symbol}: no filter {kind}"))?;
            definitions::text(found, key).map_err(|reason| format!("{symbol}: {reason}"))
        };
        let contract = match definitions::number(row, "contractSize") {
            Some(quote_per_contract) if self.venue == Venue::BinanceCoinm => Contract::Inverse { quote_per_contract },
            _ => Contract::Linear,
        };
        let (tick, lot) = (filter("PRICE_FILTER", "tickSize")?, filter("LOT_SIZE", "stepSize")?);
        definitions::instrument(self.venue, symbol, &tick, &lot, contract)
    }
}

fn request(method: &str, id: u64, topics: &[&Topic]) -> String {
    let params: Vec<_> = topics.iter().map(|topic| topic.key.as_str()).collect();
    json!({ "method": method, "params": params, "id": id }).to_string()
}
