//! OKX v5: subscribe by arguments, login, text pings.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Link, Session, field, is_recent, markets};
use crate::exchange::fault::Planned;
use crate::exchange::market::{Channel, TopicSpec};
use crate::exchange::sign::{Encoding, verify};

pub(super) const PUBLIC: &str = "/ws/v5/public";
pub(super) const PRIVATE: &str = "/ws/v5/private";
pub(super) const BUSINESS: &str = "/ws/v5/business";

/// Silence after which the venue closes, s.
const SILENCE: f64 = 30.0;
/// Login times may be this far off, ms.
const LOGIN_MS: u64 = 30_000;
/// Channels that need a login.
const PRIVATE_CHANNELS: [&str; 4] = ["orders", "account", "positions", "balance_and_position"];

/// One connection.
pub(super) struct Okx {
    id: String,
    logged_in: bool,
    streams: usize,
    /// Subscriptions by instrument and channel.
    joined: Vec<(usize, String)>,
    /// Messages sent when last looked at, and when that number last changed.
    sent: (u64, i64),
}

impl Okx {
    pub(super) fn open(link: &mut Link) -> Self {
        let id = format!("{:08x}", link.connection.wrapping_mul(0x9e37_79b9) as u32);
        Self { id, logged_in: false, streams: 0, joined: Vec::new(), sent: (0, link.since_ns) }
    }

    fn error(&self, link: &Link, request: &Value, code: &str, msg: &str) {
        let mut answer = json!({"event": "error", "code": code, "msg": msg, "connId": self.id});
        if let Some(id) = request["id"].as_str() {
            answer["id"] = id.into();
        }
        link.text(answer.to_string());
    }

    fn acknowledge(&self, link: &Link, request: &Value, event: &str, arg: &Value) {
        let id = request["id"].as_str().map_or_else(String::new, |id| format!("\"id\":{},", json!(id)));
        link.text(format!("{{{id}\"event\":\"{event}\",\"arg\":{arg},\"connId\":\"{}\"}}", self.id));
    }

    fn login(&mut self, link: &mut Link, request: &Value) {
        let arg = &request["args"][0];
        let keys = link.hub.config.keys.clone();
        let time = field(arg, "timestamp");
        let seconds = time.parse::<i64>().ok().filter(|seconds| *seconds < 100_000_000_000);
        let fault = if seconds.is_none() {
            Some(("60004", "Invalid timestamp"))
        } else if !is_recent(link, seconds.unwrap_or(0).saturating_mul(1_000), LOGIN_MS) {
            Some(("60006", "Timestamp request expired"))
        } else if field(arg, "apiKey") != keys.key {
            Some(("60005", "Invalid apiKey"))
        } else if field(arg, "passphrase") != keys.passphrase {
            Some(("60024", "Wrong passphrase"))
        } else {
            let text = format!("{time}GET/users/self/verify");
            let right = verify(&keys.secret, &text, field(arg, "sign"), Encoding::Base64);
            (!right).then_some(("60007", "Invalid sign"))
        };
        if let Some((code, msg)) = fault {
            link.violate("login", msg);
            self.error(link, request, code, msg);
            link.close(4001, "Login failed");
            return;
        }
        self.logged_in = true;
        link.hub.set_login(link.connection, true);
        link.text(format!("{{\"event\":\"login\",\"code\":\"0\",\"msg\":\"\",\"connId\":\"{}\"}}", self.id));
    }

    fn subscribe(&mut self, link: &mut Link, request: &Value, arg: &Value) {
        let (channel, symbol) = (field(arg, "channel"), field(arg, "instId"));
        if PRIVATE_CHANNELS.contains(&channel) {
            if link.path != PRIVATE {
                self.refuse(link, request, "60018", &format!("Wrong URL or {arg} doesn't exist."));
            } else if !self.logged_in {
                self.refuse(link, request, "60011", "Please log in");
            } else {
                self.acknowledge(link, request, "subscribe", arg);
            }
            return;
        }
        let without = link.hub.config.venue.get(&link.venue).is_some_and(|settings| settings.no_snapshots);
        let spec = topic(&link.path, channel, without);
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        match (spec, core.find(link.venue, symbol, None)) {
            (Some(spec), Some(index)) => {
                if self.streams >= link.hub.limits(link.venue).streams_per_connection as usize {
                    link.violate("streams_per_connection", channel);
                    link.close(4008, "too many channels");
                    return;
                }
                self.streams += 1;
                self.acknowledge(link, request, "subscribe", arg);
                self.joined.push((index, spec.name.clone()));
                link.join(&mut core, index, spec);
            }
            _ => {
                let message = format!("Wrong URL or channel:{channel},instId:{symbol} doesn't exist.");
                self.refuse(link, request, "60018", &message);
            }
        }
    }

    fn refuse(&self, link: &Link, request: &Value, code: &str, msg: &str) {
        link.violate("subscribe", msg);
        self.error(link, request, code, msg);
    }

    fn unsubscribe(&mut self, link: &mut Link, request: &Value, arg: &Value) {
        let (channel, symbol) = (field(arg, "channel"), field(arg, "instId"));
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        if let Some(index) = core.find(link.venue, symbol, None) {
            let before = self.joined.len();
            self.joined.retain(|(ours, name)| *ours != index || name != channel);
            self.streams = self.streams.saturating_sub(before - self.joined.len());
            link.leave(&mut core, index, channel);
        }
        self.acknowledge(link, request, "unsubscribe", arg);
    }
}

impl Session for Okx {
    fn message(&mut self, link: &mut Link, text: &str) {
        if text == "ping" {
            link.text("pong");
            return;
        }
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let args = request["args"].as_array().cloned().unwrap_or_default();
        let op = field(&request, "op");
        if !matches!(op, "subscribe" | "unsubscribe" | "login") || args.is_empty() {
            link.violate("bad_request", text);
            self.error(link, &request, "60012", &format!("Invalid request: {text}"));
            return;
        }
        if text.len() > link.hub.limits(link.venue).args_bytes as usize {
            link.violate("args_bytes", &text.len().to_string());
            self.error(link, &request, "60013", "Invalid args");
            return;
        }
        if !link.within_budget() {
            link.violate("subscribe_budget", op);
            self.error(link, &request, "60014", "Requests too frequent");
            link.close(1008, "Requests too frequent");
            return;
        }
        for arg in &args {
            match op {
                "login" => self.login(link, &request),
                "subscribe" => self.subscribe(link, &request, arg),
                _ => self.unsubscribe(link, &request, arg),
            }
            if link.is_closed() {
                return;
            }
        }
    }

    fn tick(&mut self, link: &mut Link) {
        // Traffic in either direction keeps a connection: who gets data need not ping.
        let now_ns = link.hub.clock.now_ns();
        let sent = link.outbox().shared().sent.load(Ordering::Relaxed);
        if sent != self.sent.0 {
            self.sent = (sent, now_ns);
        }
        if link.silence_ns().min(now_ns - self.sent.1) > link.hub.clock.limit_ns(SILENCE) {
            link.violate("no_ping", "30 s without traffic and without a ping");
            link.close(4004, "No data received in 30s");
        }
    }

    fn expire_login(&mut self, link: &mut Link, planned: &Planned) {
        if self.logged_in {
            self.logged_in = false;
            link.hub.set_login(link.connection, false);
            link.hub.happened(planned, link.venue, None, Some(link.connection), "error 60011 and close 4001");
            self.error(link, &Value::Null, "60011", "Please log in");
            link.close(4001, "Login failed");
        }
    }

    fn farewell(&mut self, link: &mut Link) -> f64 {
        link.text(format!(
            "{{\"event\":\"notice\",\"code\":\"64008\",\"msg\":\"The connection will soon be closed for a service \
             upgrade. Please reconnect.\",\"connId\":\"{}\"}}",
            self.id
        ));
        60.0
    }
}

fn topic(path: &str, channel: &str, without: bool) -> Option<TopicSpec> {
    let (kind, interval_ms) = match channel {
        "books" => (Channel::Window(400), 100),
        "books5" => (Channel::Top(5), 100),
        "bbo-tbt" => (Channel::Top(1), 10),
        "trades" => (Channel::Trade, 0),
        "tickers" => (Channel::Ticker, 100),
        "mark-price" => (Channel::Mark, 200),
        "funding-rate" => (Channel::Funding, 30_000),
        _ => return None,
    };
    let bare = without && channel == "books";
    (path == PUBLIC).then(|| TopicSpec { name: channel.to_owned(), channel: kind, interval_ms, bare })
}
