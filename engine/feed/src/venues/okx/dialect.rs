//! How OKX v5 is talked to. Source: OKX API guide, WebSocket and public data sections.

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

/// OKX: all products over one connection.
#[derive(Debug)]
pub struct Okx;

/// The only one.
pub static OKX: Okx = Okx;

/// Notice of an upgrade comes a minute before it.
const NOTICE: Duration = Duration::from_secs(60);

impl Dialect for Okx {
    fn endpoints(&self) -> (&'static str, &'static str) {
        ("wss://ws.okx.com:8443", "https://www.okx.com")
    }

    fn limits(&self) -> ClientLimits {
        ClientLimits {
            // Fewer than 30 channels of 400 levels are advised; a symbol has one of them in four.
            topics: 100,
            batch: 50,
            messages: Rate::new(20, 1),
            subscriptions: Rate::new(480, 3600),
            connects: Rate::new(3, 1),
            requests: Rate::new(10, 2),
            lifetime: None,
        }
    }

    /// The venue cuts what was silent for 30 s.
    fn heartbeat(&self) -> Heartbeat {
        let (every, dead_after) = (Duration::from_secs(15), Duration::from_secs(30));
        Heartbeat { probe: Probe::Text("ping"), every, dead_after }
    }

    /// The end of initial snapshots was announced in February 2026 and not repeated in May; they were still there in
    /// August. A subscription that begins without one gets its book from REST, as the announcement says.
    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::StreamElseRest
    }

    fn path(&self, route: Route) -> &'static str {
        if route == Route::Private { "/ws/v5/private" } else { "/ws/v5/public" }
    }

    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic> {
        let name = match channel {
            Channel::Book => "books",
            Channel::Quotes => "bbo-tbt",
            Channel::Trades => "trades",
            // Funding is of swaps only; an option's volatilities come by family.
            Channel::Marks if symbol.ends_with("-SWAP") => "funding-rate",
            Channel::Marks => return None,
        };
        let key = format!("{name}:{symbol}");
        Some(Topic { instrument, channel: Some(channel), route: Route::Public, key })
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        request("unsubscribe", id, topics)
    }

    fn read(&self, text: &[u8]) -> Reply {
        if text == b"pong" {
            return Reply::Pong;
        }
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Reply::Other };
        let said = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        match said("event") {
            "subscribe" => topic_of(value.get("arg")).map_or(Reply::Other, |key| Reply::Acked(Acked::Topic(key))),
            "unsubscribe" => Reply::Ended,
            "login" if said("code") == "0" => Reply::LoggedIn,
            "notice" if said("code") == "64008" => Reply::Leaving(NOTICE),
            "login" | "error" | "channel-conn-count-error" => {
                let about = said("id").parse().ok().map(Acked::Request);
                let about = about.or_else(|| topic_of(value.get("arg")).map(Acked::Topic));
                Reply::Refused {
                    code: said("code").into(),
                    text: said("msg").into(),
                    about,
                    remedy: remedy(said("code")),
                }
            }
            _ => Reply::Other,
        }
    }

    fn login(&self, credentials: &Credentials, now_ms: i64) -> Option<String> {
        let timestamp = (now_ms / 1000).to_string();
        let sign = credentials.sign_base64(&format!("{timestamp}GET/users/self/verify"));
        Some(credentials.login_frame(&timestamp, &sign))
    }

    /// Only with `source=0` the answer says at which `seqId` of `books` it was taken; that it does so is announced, and
    /// has not been seen yet. An answer that does not is refused below. Its place may lie inside of a push: levels that
    /// came and went in one must be told in it, and recorded pushes do remove levels that none before them had.
    fn snapshots(&self, symbol: &str) -> Vec<Request> {
        vec![Request::public(format!("/api/v5/market/books?instId={symbol}&source=0&sz=400"))]
    }

    /// Errors come with status 200, and so does a book that says nothing of its place in the stream.
    fn refused(&self, body: &[u8]) -> Option<(String, Option<Duration>)> {
        let Ok(answer) = definitions::json(body) else { return Some(("the answer is no JSON".into(), None)) };
        let code = answer.get("code").and_then(Value::as_str).unwrap_or_default();
        if code != "0" {
            let text = answer.get("msg").and_then(Value::as_str).unwrap_or_default();
            let penalty = if code == "50011" { self.penalty(429) } else { None };
            return Some((format!("error {code}: {text}"), penalty));
        }
        let row = answer.get("data").and_then(|data| data.get(0))?;
        let unplaced = row.get("bids").is_some() && row.get("seqId").is_none();
        unplaced.then(|| ("the book has no seqId".into(), None))
    }

    fn touch(&self, symbol: &str) -> Option<Request> {
        Some(Request::public(format!("/api/v5/market/books?instId={symbol}&sz=1")))
    }

    fn time(&self) -> Request {
        Request::public("/api/v5/public/time")
    }

    fn read_time(&self, body: &[u8]) -> Option<i64> {
        let answer = definitions::json(body).ok()?;
        answer.get("data")?.get(0)?.get("ts")?.as_str()?.parse::<i64>().ok()?.checked_mul(1_000_000)
    }

    fn instruments(&self, symbols: &[String]) -> Vec<Request> {
        let mut kinds: Vec<_> = symbols.iter().map(|symbol| kind(symbol)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let ask = |kind: &str| match kind {
            // Options are listed by family only.
            "OPTION" => {
                symbols.iter().filter(|symbol| self::kind(symbol) == kind).map(|symbol| family(symbol)).collect()
            }
            _ => std::collections::BTreeSet::from([String::new()]),
        };
        let path = |kind: &str, family: String| {
            let family = if family.is_empty() { family } else { format!("&instFamily={family}") };
            Request::public(format!("/api/v5/public/instruments?instType={kind}{family}"))
        };
        kinds.into_iter().flat_map(|kind| ask(kind).into_iter().map(move |family| path(kind, family))).collect()
    }

    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String> {
        let answer = definitions::json(body)?;
        let code = definitions::text(&answer, "code")?;
        if code != "0" {
            return Err(format!("error {code}: {}", definitions::text(&answer, "msg").unwrap_or_default()));
        }
        let rows = definitions::rows(answer.get("data"), "instId", symbols)?;
        rows.into_iter().map(|(symbol, row)| definition(symbol, row)).collect()
    }
}

/// The product of a symbol: `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-260327`, `BTC-USD-260327-100000-C`.
fn kind(symbol: &str) -> &'static str {
    match symbol.split('-').count() {
        0..=2 => "SPOT",
        3 if symbol.ends_with("-SWAP") => "SWAP",
        3 => "FUTURES",
        _ => "OPTION",
    }
}

fn family(symbol: &str) -> String {
    symbol.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")
}

/// Sizes are in contracts: of a coin for linear and option contracts, of dollars for inverse ones.
fn definition(symbol: &str, row: &Value) -> Result<Instrument, String> {
    let text = |key: &str| definitions::text(row, key).map_err(|reason| format!("{symbol}: {reason}"));
    let size = definitions::number(row, "ctVal").map(|value| value * definitions::number(row, "ctMult").unwrap_or(1.0));
    let contract = match (row.get("ctType").and_then(Value::as_str), size) {
        (Some("inverse"), Some(quote_per_contract)) => Contract::Inverse { quote_per_contract },
        (_, Some(base_per_contract)) => Contract::Sized { base_per_contract },
        (_, None) => Contract::Linear,
    };
    definitions::instrument(Venue::Okx, symbol, &text("tickSz")?, &text("lotSz")?, contract)
}

fn topic_of(arg: Option<&Value>) -> Option<String> {
    let said = |key: &str| arg?.get(key)?.as_str();
    Some(format!("{}:{}", said("channel")?, said("instId").unwrap_or_default()))
}

fn request(op: &str, id: u64, topics: &[&Topic]) -> String {
    let arg = |topic: &&Topic| {
        let (channel, symbol) = topic.key.split_once(':').unwrap_or((&topic.key, ""));
        json!({ "channel": channel, "instId": symbol })
    };
    json!({ "id": id.to_string(), "op": op, "args": topics.iter().map(arg).collect::<Vec<_>>() }).to_string()
}

fn remedy(code: &str) -> Remedy {
    match code {
        // Keys and permissions: nothing changes by itself.
        "60005" | "60024" | "60032" | "60029" | "60030" | "64003" => Remedy::Stop,
        // A time stamp or signature that did not hold, or no login yet.
        "60004" | "60006" | "60007" | "60009" | "60011" => Remedy::Authenticate,
        "60014" | "50011" => Remedy::SlowDown,
        "60012" | "60013" | "60018" | "64001" | "64004" => Remedy::Drop,
        _ => Remedy::Reconnect,
    }
}
