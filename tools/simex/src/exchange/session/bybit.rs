//! Bybit v5: topics, JSON pings, and the private socket's login.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Link, Session, field, markets};
use crate::exchange::fault::Planned;
use crate::exchange::market::{Channel, TopicSpec};
use crate::exchange::sign::{Encoding, verify};
use crate::exchange::venue::Category;

pub(super) const PRIVATE: &str = "/v5/private";

/// A silent client is cut off after this, s.
const IDLE: f64 = 600.0;
/// Topics of the private socket.
const PRIVATE_TOPICS: [&str; 6] = ["order", "execution", "position", "wallet", "greeks", "execution.fast"];

/// The category of a public path.
pub(super) fn category_of(path: &str) -> Option<Category> {
    match path {
        "/v5/public/spot" => Some(Category::Spot),
        "/v5/public/linear" => Some(Category::Linear),
        "/v5/public/inverse" => Some(Category::Inverse),
        _ => None,
    }
}

/// One connection.
pub(super) struct Bybit {
    id: String,
    /// `None` on the private socket.
    category: Option<Category>,
    logged_in: bool,
    /// Characters of all arguments so far.
    argued: usize,
    topics: Vec<String>,
    /// Idle time that ends the connection, s.
    idle: f64,
}

impl Bybit {
    pub(super) fn open(link: &mut Link) -> Self {
        let wish = link.query.split('&').find_map(|pair| pair.strip_prefix("max_active_time="));
        let idle = wish.and_then(|text| humantime::parse_duration(text).ok()).map_or(IDLE, |time| time.as_secs_f64());
        Self {
            id: format!("{:016x}-{}", link.connection.wrapping_mul(0x9e37_79b9_7f4a_7c15), link.connection),
            category: category_of(&link.path),
            logged_in: false,
            argued: 0,
            topics: Vec::new(),
            idle: idle.clamp(30.0, IDLE),
        }
    }

    fn answer(&self, link: &Link, request: &Value, success: bool, msg: &str, op: &str) {
        let (id, request) = (&self.id, json!(field(request, "req_id")));
        let msg = json!(msg);
        // The spot socket repeats the operation where the others say nothing, and orders its keys in another way.
        link.text(match self.category {
            Some(_) => format!(
                "{{\"success\":{success},\"ret_msg\":{msg},\"conn_id\":\"{id}\",\"req_id\":{request},\"op\":\"{op}\"}}"
            ),
            None => format!("{{\"success\":{success},\"ret_msg\":{msg},\"op\":\"{op}\",\"conn_id\":\"{id}\"}}"),
        });
    }

    fn auth(&mut self, link: &mut Link, request: &Value) {
        let args = &request["args"];
        let keys = link.hub.config.keys.clone();
        let expires = args[1].as_i64().or_else(|| args[1].as_str().and_then(|text| text.parse().ok()));
        let now_ms = link.hub.clock.ms(link.venue);
        let fault = match expires {
            _ if self.category.is_some() => Some((10_404, "op not supported on this path")),
            _ if self.logged_in => Some((20_001, "Repeated auth")),
            Some(expires) if expires > now_ms => {
                let right = verify(
                    &keys.secret,
                    &format!("GET/realtime{expires}"),
                    args[2].as_str().unwrap_or_default(),
                    Encoding::Hex,
                );
                if args[0].as_str() != Some(&keys.key) {
                    Some((10_003, "Invalid apikey"))
                } else {
                    (!right).then_some((10_004, "Sign error"))
                }
            }
            _ => Some((10_002, "Params Error, expires is in the past")),
        };
        if let Some((code, msg)) = fault {
            link.violate("login", msg);
            link.text(format!(
                "{{\"op\":\"auth\",\"success\":false,\"retCode\":{code},\"retMsg\":\"{msg}\",\"connId\":\"{}\"}}",
                self.id
            ));
            link.close(1008, "auth failed");
            return;
        }
        self.logged_in = true;
        link.hub.set_login(link.connection, true);
        self.answer(link, request, true, "", "auth");
    }

    fn subscribe(&mut self, link: &mut Link, request: &Value, args: &[String]) {
        let limits = link.hub.limits(link.venue);
        if self.category == Some(Category::Spot) && args.len() > limits.args_per_request as usize {
            link.violate("args_per_request", &args.len().to_string());
            self.answer(link, request, false, "args size >10", "subscribe");
            return;
        }
        self.argued += args.iter().map(String::len).sum::<usize>();
        if self.argued > limits.args_bytes as usize {
            link.violate("args_bytes", &self.argued.to_string());
            self.answer(link, request, false, "args length exceeds the limit", "subscribe");
            link.close(1009, "args length exceeds the limit");
            return;
        }
        let Some(category) = self.category else {
            self.subscribe_private(link, request, args);
            return;
        };
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        let mut found = Vec::new();
        for arg in args {
            let Some((spec, symbol)) = topic(arg, category) else {
                link.violate("subscribe", arg);
                self.answer(link, request, false, &format!("error:handler not found,topic:{arg}"), "subscribe");
                return;
            };
            let Some(index) = core.find(link.venue, symbol, Some(category)) else {
                link.violate("subscribe", arg);
                self.answer(link, request, false, &format!("Invalid symbol :[{arg}]"), "subscribe");
                return;
            };
            found.push((index, spec));
        }
        let msg = if category == Category::Spot { "subscribe" } else { "" };
        self.answer(link, request, true, msg, "subscribe");
        for (index, spec) in found {
            self.topics.push(spec.name.clone());
            link.join(&mut core, index, spec);
        }
    }

    fn subscribe_private(&mut self, link: &Link, request: &Value, args: &[String]) {
        let known = |arg: &String| PRIVATE_TOPICS.contains(&arg.as_str()) || PRIVATE_TOPICS.contains(&family(arg));
        if !self.logged_in {
            link.violate("not_logged_in", &args.join(","));
            self.answer(link, request, false, "Request not authorized", "subscribe");
        } else if let Some(unknown) = args.iter().find(|arg| !known(arg)) {
            link.violate("subscribe", unknown);
            self.answer(link, request, false, &format!("error:handler not found,topic:{unknown}"), "subscribe");
        } else {
            self.answer(link, request, true, "", "subscribe");
        }
    }

    fn unsubscribe(&mut self, link: &Link, request: &Value, args: &[String]) {
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        for arg in args {
            self.topics.retain(|topic| topic != arg);
            if let Some(category) = self.category
                && let Some((spec, symbol)) = topic(arg, category)
                && let Some(index) = core.find(link.venue, symbol, Some(category))
            {
                link.leave(&mut core, index, &spec.name);
            }
        }
        self.answer(link, request, true, "", "unsubscribe");
    }

    fn ping(&self, link: &Link, request: &Value) {
        if self.category.is_some() {
            self.answer(link, request, true, "pong", "ping");
            return;
        }
        let (now_ms, asked) = (link.hub.clock.ms(link.venue), json!(field(request, "req_id")));
        link.text(format!(
            "{{\"req_id\":{asked},\"op\":\"pong\",\"args\":[\"{now_ms}\"],\"conn_id\":\"{}\"}}",
            self.id
        ));
    }
}

impl Session for Bybit {
    fn message(&mut self, link: &mut Link, text: &str) {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let op = field(&request, "op");
        let args = request["args"].as_array().into_iter().flatten();
        let texts: Vec<String> = args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect();
        match op {
            "ping" => self.ping(link, &request),
            "auth" => self.auth(link, &request),
            "subscribe" if !texts.is_empty() => self.subscribe(link, &request, &texts),
            "unsubscribe" if !texts.is_empty() => self.unsubscribe(link, &request, &texts),
            _ => {
                link.violate("bad_request", text);
                self.answer(link, &request, false, "Params Error", op.get(..op.len().min(20)).unwrap_or_default());
            }
        }
    }

    fn tick(&mut self, link: &mut Link) {
        if link.silence_ns() > link.hub.clock.limit_ns(self.idle) {
            link.violate("no_ping", "no message of the client for too long");
            link.close(1000, "idle");
        }
    }

    fn expire_login(&mut self, link: &mut Link, planned: &Planned) {
        if self.logged_in {
            self.logged_in = false;
            link.hub.set_login(link.connection, false);
            link.hub.happened(planned, link.venue, None, Some(link.connection), "code 33004 and close");
            link.text(format!(
                "{{\"op\":\"auth\",\"success\":false,\"retCode\":33004,\"retMsg\":\"Your api key has expired.\",\
                 \"connId\":\"{}\"}}",
                self.id
            ));
            link.close(1008, "api key expired");
        }
    }
}

/// `order` of `order.linear`.
fn family(topic: &str) -> &str {
    topic.split('.').next().unwrap_or_default()
}

fn topic(name: &str, category: Category) -> Option<(TopicSpec, &str)> {
    let (kind, rest) = name.split_once('.')?;
    let (channel, interval_ms, symbol) = match kind {
        "orderbook" => {
            let (depth, symbol) = rest.split_once('.')?;
            match depth {
                "1" => (Channel::Top(1), 10, symbol),
                "50" => (Channel::Window(50), 20, symbol),
                "200" => (Channel::Window(200), 100, symbol),
                "1000" => (Channel::Window(1_000), 200, symbol),
                _ => return None,
            }
        }
        "publicTrade" => (Channel::Trade, 0, rest),
        "tickers" => (Channel::Ticker, if category == Category::Spot { 50 } else { 100 }, rest),
        _ => return None,
    };
    Some((TopicSpec { name: name.to_owned(), channel, interval_ms, bare: false }, symbol))
}
