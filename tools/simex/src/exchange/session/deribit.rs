//! Deribit: JSON-RPC, credits, heartbeats and tokens.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Link, SECOND_NS, Session, field, markets};
use crate::exchange::fault::Planned;
use crate::exchange::market::{Channel, TopicSpec};
use crate::exchange::rate::Pool;
use crate::exchange::rest::deribit as calls;
use crate::exchange::sign::{Encoding, verify};

/// An error: code and message.
type Fault = (i64, &'static str);

/// A signed login may be this old, ms.
const LOGIN_MS: u64 = 60_000;

/// One connection.
pub(super) struct Deribit {
    logged_in: bool,
    token_expired: bool,
    /// Subscribed channels.
    channels: Vec<String>,
    /// Heartbeat interval, s.
    heartbeat: Option<f64>,
    last_beat_ns: i64,
    /// A test request that has not been answered since.
    tested_ns: Option<i64>,
    requests: Pool,
    subscribes: Pool,
    instruments: Pool,
}

impl Deribit {
    pub(super) fn open(_link: &mut Link) -> Self {
        Self {
            logged_in: false,
            token_expired: false,
            channels: Vec::new(),
            heartbeat: None,
            last_beat_ns: 0,
            tested_ns: None,
            requests: Pool::new(50_000.0, 10_000.0),
            subscribes: Pool::new(30_000.0, 10_000.0),
            instruments: Pool::new(50.0, 1.0),
        }
    }

    /// Takes the credits of a call.
    fn pay(&mut self, now_ns: i64, method: &str) -> bool {
        if method.ends_with("subscribe") || method.ends_with("unsubscribe_all") {
            self.subscribes.take(now_ns, 3_000.0)
        } else if method == "public/get_instruments" {
            self.instruments.take(now_ns, 1.0)
        } else {
            self.requests.take(now_ns, 500.0)
        }
    }

    fn call(&mut self, link: &mut Link, method: &str, params: &Value) -> Result<Value, Fault> {
        if method.starts_with("private/") {
            if self.token_expired {
                return Err((13_009, "invalid_token"));
            }
            if !self.logged_in {
                return Err((10_000, "authorization_required"));
            }
        }
        match method {
            "public/test" => {
                self.tested_ns = None;
                Ok(json!({"version": "1.2.26"}))
            }
            "public/hello" => Ok(json!({"version": "1.2.26"})),
            "public/set_heartbeat" => {
                let interval = params["interval"].as_f64().or_else(|| params["interval"].as_str()?.parse().ok());
                let interval = interval.filter(|seconds| *seconds >= 10.0 && *seconds <= 86_400.0);
                self.heartbeat = Some(interval.ok_or((11_029, "invalid_arguments"))?);
                self.last_beat_ns = link.hub.clock.now_ns();
                self.tested_ns = None;
                Ok("ok".into())
            }
            "public/disable_heartbeat" => {
                self.heartbeat = None;
                Ok("ok".into())
            }
            "public/auth" => self.auth(link, params),
            "public/subscribe" | "private/subscribe" => self.check(link, params),
            "public/unsubscribe" | "private/unsubscribe" => {
                let channels = channels(params)?;
                self.leave(link, &channels);
                Ok(json!(channels))
            }
            "public/unsubscribe_all" | "private/unsubscribe_all" => {
                let channels = std::mem::take(&mut self.channels);
                self.leave(link, &channels);
                Ok("ok".into())
            }
            _ => calls::answer(&link.hub, method, params),
        }
    }

    fn auth(&mut self, link: &mut Link, params: &Value) -> Result<Value, Fault> {
        let keys = link.hub.config.keys.clone();
        let named = field(params, "client_id") == keys.key;
        let right = match field(params, "grant_type") {
            "client_credentials" => named && field(params, "client_secret") == keys.secret,
            "client_signature" => {
                let (nonce, data) = (field(params, "nonce"), field(params, "data"));
                let time = params["timestamp"].as_i64().or_else(|| params["timestamp"].as_str()?.parse().ok());
                let time = time.unwrap_or_default();
                let text = format!("{time}\n{nonce}\n{data}");
                let recent = link.hub.clock.ms(link.venue).abs_diff(time) <= LOGIN_MS;
                named && recent && verify(&keys.secret, &text, field(params, "signature"), Encoding::Hex)
            }
            "refresh_token" => field(params, "refresh_token") == "refresh-1",
            _ => return Err((11_029, "invalid_arguments")),
        };
        if !right {
            link.violate("login", "invalid_credentials");
            return Err((13_004, "invalid_credentials"));
        }
        self.logged_in = true;
        self.token_expired = false;
        link.hub.set_login(link.connection, true);
        Ok(json!({
            "access_token": "access-1",
            "refresh_token": "refresh-1",
            "expires_in": 31_536_000,
            "scope": "connection mainaccount trade:read_write",
            "token_type": "bearer",
        }))
    }

    /// The channels of a subscribe request that exist; they are joined after the answer.
    fn check(&mut self, link: &mut Link, params: &Value) -> Result<Value, Fault> {
        let wanted = channels(params)?;
        let most = link.hub.limits(link.venue).streams_per_connection as usize;
        if self.channels.len() + wanted.len() > most {
            link.violate("streams_per_connection", &format!("more than {most}"));
            return Err((11_050, "bad_request"));
        }
        let raw = wanted.iter().any(|name| name.ends_with(".raw"));
        if raw && !self.logged_in {
            link.violate("raw_without_login", &wanted.join(","));
            return Err((13_778, "raw_subscriptions_not_available_for_unauthorized"));
        }
        let core = markets(&link.hub);
        let known = |name: &String| {
            (name.starts_with("user.") && self.logged_in)
                || parse(name).is_some_and(|(symbol, _)| core.find(link.venue, &symbol, None).is_some())
        };
        let (found, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(known);
        if !missing.is_empty() {
            link.violate("unknown_channel", &missing.join(","));
        }
        Ok(json!(found))
    }

    fn join(&mut self, link: &Link, accepted: &Value) {
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        for name in accepted.as_array().into_iter().flatten().filter_map(Value::as_str) {
            // Without an unsubscribe in between nothing happens, and no snapshot comes.
            if self.channels.iter().any(|ours| ours == name) {
                continue;
            }
            self.channels.push(name.to_owned());
            if let Some((symbol, spec)) = parse(name)
                && let Some(index) = core.find(link.venue, &symbol, None)
            {
                link.join(&mut core, index, spec);
            }
        }
    }

    fn leave(&mut self, link: &Link, channels: &[String]) {
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        self.channels.retain(|ours| !channels.contains(ours));
        for name in channels {
            if let Some((symbol, _)) = parse(name)
                && let Some(index) = core.find(link.venue, &symbol, None)
            {
                link.leave(&mut core, index, name);
            }
        }
    }
}

impl Session for Deribit {
    fn message(&mut self, link: &mut Link, text: &str) {
        let now_ns = link.hub.clock.now_ns();
        let started_us = now_ns / 1_000;
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let id = request["id"].clone();
        let method = field(&request, "method").to_owned();
        if method.is_empty() || !(id.is_number() || id.is_string()) || request["params"].is_array() {
            link.violate("bad_request", text);
            link.text(calls::envelope(&id, Err((11_050, "bad_request")), started_us, &link.hub));
            return;
        }
        if !self.pay(now_ns, &method) {
            link.violate("credits", &method);
            link.text(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":10028,\"message\":\"too_many_requests\",\
                 \"data\":null}}}}"
            ));
            link.close(1000, "too_many_requests");
            return;
        }
        let result = self.call(link, &method, &request["params"]);
        let accepted = if method.ends_with("/subscribe") { result.as_ref().ok().cloned() } else { None };
        link.text(calls::envelope(&id, result, started_us, &link.hub));
        if let Some(accepted) = accepted {
            self.join(link, &accepted);
        }
    }

    fn tick(&mut self, link: &mut Link) {
        let Some(seconds) = self.heartbeat else { return };
        let (now_ns, interval_ns) = (link.hub.clock.now_ns(), link.hub.clock.limit_ns(seconds));
        if let Some(tested_ns) = self.tested_ns
            && now_ns - tested_ns > interval_ns
        {
            link.violate("no_test", &format!("test_request not answered within {} s", interval_ns / SECOND_NS));
            link.close(1000, "heartbeat timeout");
            return;
        }
        if now_ns - self.last_beat_ns >= interval_ns {
            self.last_beat_ns = now_ns;
            let quiet = link.silence_ns() >= interval_ns;
            let kind = if quiet { "test_request" } else { "heartbeat" };
            if quiet {
                self.tested_ns.get_or_insert(now_ns);
            }
            link.text(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{{\"type\":\"{kind}\"}}}}"));
        }
    }

    fn expire_login(&mut self, link: &mut Link, planned: &Planned) {
        if self.logged_in {
            self.token_expired = true;
            link.hub.set_login(link.connection, false);
            link.hub.happened(planned, link.venue, None, Some(link.connection), "private calls get error 13009");
        }
    }
}

fn channels(params: &Value) -> Result<Vec<String>, Fault> {
    let list = params["channels"].as_array().into_iter().flatten();
    let names: Vec<String> = list.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if names.is_empty() { Err((11_029, "invalid_arguments")) } else { Ok(names) }
}

/// Instrument and topic of a channel's name.
fn parse(name: &str) -> Option<(String, TopicSpec)> {
    let parts: Vec<&str> = name.split('.').collect();
    let pace = |text: &str| match text {
        "raw" => Some(0),
        "100ms" => Some(100),
        "agg2" => Some(1_000),
        _ => None,
    };
    let (symbol, channel, interval_ms) = match parts.as_slice() {
        ["book", symbol, interval] => ((*symbol).to_owned(), Channel::Diff, pace(interval)?),
        ["book", symbol, "none", depth @ ("1" | "10" | "20"), interval] => {
            ((*symbol).to_owned(), Channel::Top(depth.parse().ok()?), pace(interval)?)
        }
        ["trades", symbol, interval] => ((*symbol).to_owned(), Channel::Trade, pace(interval)?),
        // The raw ticker is sent as often as the others here: its content changes no faster.
        ["ticker", symbol, interval] => ((*symbol).to_owned(), Channel::Ticker, pace(interval)?.max(100)),
        ["quote", symbol] => ((*symbol).to_owned(), Channel::Quote, 0),
        ["deribit_volatility_index", index] => (perpetual(index)?, Channel::Volatility, 1_000),
        ["deribit_price_index", index] => (perpetual(index)?, Channel::Mark, 1_000),
        _ => return None,
    };
    Some((symbol, TopicSpec { name: name.to_owned(), channel, interval_ms, bare: false }))
}

/// The perpetual that stands for an index: `BTC-PERPETUAL` of `btc_usd`.
fn perpetual(index: &str) -> Option<String> {
    Some(format!("{}-PERPETUAL", index.strip_suffix("_usd")?.to_uppercase()))
}
