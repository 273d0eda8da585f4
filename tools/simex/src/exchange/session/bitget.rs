//! Bitget v2: subscribe by arguments, login, text pings, and the private channels of a synthetic account.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Link, SECOND_NS, Session, field, is_recent, markets};
use crate::exchange::encode::bitget::product;
use crate::exchange::fault::Planned;
use crate::exchange::hub::lock;
use crate::exchange::market::{Channel, Core, TopicSpec};
use crate::exchange::sign::{Encoding, verify};
use crate::exchange::venue::Category;

pub(super) const PUBLIC: &str = "/v2/ws/public";
pub(super) const PRIVATE: &str = "/v2/ws/private";

/// A client that does not ping for this long is cut off, s.
const PING: f64 = 120.0;
/// Login times may be this far off, ms.
const LOGIN_MS: u64 = 30_000;
/// Channels that need a login.
const PRIVATE_CHANNELS: [&str; 4] = ["positions", "orders", "account", "fill"];
/// Products with private channels.
const PRODUCTS: [&str; 4] = ["USDT-FUTURES", "COIN-FUTURES", "USDC-FUTURES", "SPOT"];

/// One connection.
pub(super) struct Bitget {
    logged_in: bool,
    /// Private subscriptions: channel and argument.
    private: Vec<(String, Value)>,
    joined: Vec<(usize, String)>,
    pinged_ns: i64,
    /// State of the account that was pushed last.
    shown_ms: i64,
}

impl Bitget {
    pub(super) fn open(link: &mut Link) -> Self {
        Self { logged_in: false, private: Vec::new(), joined: Vec::new(), pinged_ns: link.since_ns, shown_ms: 0 }
    }

    fn error(link: &Link, code: i64, msg: &str) {
        link.text(format!("{{\"event\":\"error\",\"code\":{code},\"msg\":{}}}", json!(msg)));
    }

    fn login(&mut self, link: &mut Link, arg: &Value) {
        let keys = link.hub.config.keys.clone();
        let time = field(arg, "timestamp");
        // Seconds is what clients send; the documents also show milliseconds.
        let ms =
            time.parse::<i64>().ok().map(|time| if time < 100_000_000_000 { time.saturating_mul(1_000) } else { time });
        let right = || {
            let text = format!("{time}GET/user/verify");
            verify(&keys.secret, &text, field(arg, "sign"), Encoding::Base64)
        };
        let fault = match ms {
            None => Some((30_013, "Invalid timestamp")),
            Some(ms) if !is_recent(link, ms, LOGIN_MS) => Some((30_014, "Timestamp expired")),
            _ if field(arg, "apiKey") != keys.key => Some((30_011, "Invalid ACCESS_KEY")),
            _ if field(arg, "passphrase") != keys.passphrase => Some((30_012, "Invalid ACCESS_PASSPHRASE")),
            _ if !right() => Some((30_015, "Invalid sign")),
            _ => None,
        };
        if let Some((code, msg)) = fault {
            link.violate("login", msg);
            Self::error(link, code, msg);
            link.close(1008, "login failed");
            return;
        }
        self.logged_in = true;
        link.hub.set_login(link.connection, true);
        link.text("{\"event\":\"login\",\"code\":\"0\",\"msg\":\"\"}");
    }

    fn subscribe(&mut self, link: &mut Link, arg: &Value) {
        let (kind, channel, symbol) = (field(arg, "instType"), field(arg, "channel"), field(arg, "instId"));
        if PRIVATE_CHANNELS.contains(&channel) && PRODUCTS.contains(&kind) {
            if link.path != PRIVATE || !self.logged_in {
                link.violate("not_logged_in", channel);
                Self::error(link, 30_004, "User needs to log in");
                return;
            }
            link.text(format!("{{\"event\":\"subscribe\",\"arg\":{arg}}}"));
            self.private.retain(|(_, ours)| ours != arg);
            self.push_private(link, channel, arg);
            self.private.push((channel.to_owned(), arg.clone()));
            return;
        }
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        let found = find(&core, link, kind, symbol);
        match (topic(channel, kind), found) {
            (Some(spec), Some(index)) if link.path == PUBLIC => {
                if self.joined.len() >= link.hub.limits(link.venue).streams_per_connection as usize {
                    link.violate("streams_per_connection", channel);
                    Self::error(link, 30_007, "request over limit, connection close");
                    link.close(1008, "over limit");
                    return;
                }
                link.text(format!("{{\"event\":\"subscribe\",\"arg\":{arg}}}"));
                self.joined.push((index, spec.name.clone()));
                link.join(&mut core, index, spec);
            }
            _ => {
                let msg = format!("instType:{kind},channel:{channel},instId:{symbol} doesn't exist");
                link.violate("subscribe", &msg);
                Self::error(link, 30_001, &msg);
            }
        }
    }

    fn unsubscribe(&mut self, link: &mut Link, arg: &Value) {
        let (kind, channel, symbol) = (field(arg, "instType"), field(arg, "channel"), field(arg, "instId"));
        self.private.retain(|(_, ours)| ours != arg);
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        if let Some(index) = find(&core, link, kind, symbol) {
            self.joined.retain(|(ours, name)| *ours != index || name != channel);
            link.leave(&mut core, index, channel);
        }
        link.text(format!("{{\"event\":\"unsubscribe\",\"arg\":{arg}}}"));
    }

    fn push_private(&self, link: &Link, channel: &str, arg: &Value) {
        // Only the one product has an account; the others stay empty.
        let ours = field(arg, "instType") == "USDT-FUTURES";
        let account = lock(&link.hub.account);
        let data = match channel {
            "positions" if ours => account.positions(),
            "orders" if ours && account.changed_ms() > 0 => account.orders(),
            "account" if ours => account.balances(),
            "positions" | "account" => json!([]),
            _ => return,
        };
        let now_ms = link.hub.clock.ms(link.venue);
        link.text(format!("{{\"action\":\"snapshot\",\"arg\":{arg},\"data\":{data},\"ts\":{now_ms}}}"));
    }

    /// The account goes on once a second, whoever looks at it, and what changed is pushed.
    fn tick_private(&mut self, link: &Link) {
        if self.private.is_empty() {
            return;
        }
        let now_ms = link.hub.clock.ms(link.venue);
        let every_ms = link.hub.clock.limit_ns(1.0) / 1_000_000;
        let mark = mark(link);
        let changed_ms = {
            let mut account = lock(&link.hub.account);
            if (now_ms - account.changed_ms()).abs() >= every_ms {
                account.advance(mark, now_ms);
            }
            account.changed_ms()
        };
        if changed_ms != self.shown_ms {
            self.shown_ms = changed_ms;
            for (channel, arg) in &self.private {
                self.push_private(link, channel, arg);
            }
        }
    }
}

impl Session for Bitget {
    fn message(&mut self, link: &mut Link, text: &str) {
        if text == "ping" {
            self.pinged_ns = link.hub.clock.now_ns();
            link.text("pong");
            return;
        }
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let args = request["args"].as_array().cloned().unwrap_or_default();
        let op = field(&request, "op");
        if !matches!(op, "subscribe" | "unsubscribe" | "login") {
            link.violate("bad_request", text);
            Self::error(link, 30_003, "Invalid op");
            return;
        }
        if args.is_empty() {
            link.violate("bad_request", text);
            Self::error(link, 30_002, "Illegal request");
            return;
        }
        if text.len() > link.hub.limits(link.venue).args_bytes as usize {
            link.violate("args_bytes", &text.len().to_string());
            Self::error(link, 30_016, "Param error");
            return;
        }
        if op != "login" && !link.within_budget() {
            link.violate("subscribe_budget", op);
            Self::error(link, 30_006, "Too Many Requests");
            link.close(1008, "request over limit");
            return;
        }
        for arg in &args {
            match op {
                "login" => self.login(link, arg),
                "subscribe" => self.subscribe(link, arg),
                _ => self.unsubscribe(link, arg),
            }
            if link.is_closed() {
                return;
            }
        }
    }

    fn tick(&mut self, link: &mut Link) {
        let silent_ns = link.hub.clock.now_ns() - self.pinged_ns;
        if silent_ns > link.hub.clock.limit_ns(PING) {
            link.violate("no_ping", &format!("{} s without a ping", silent_ns / SECOND_NS));
            link.close(1000, "ping timeout");
            return;
        }
        self.tick_private(link);
    }

    fn expire_login(&mut self, link: &mut Link, planned: &Planned) {
        if self.logged_in {
            self.logged_in = false;
            link.hub.set_login(link.connection, false);
            link.hub.happened(planned, link.venue, None, Some(link.connection), "error 30004 and close");
            Self::error(link, 30_004, "User needs to log in");
            link.close(1008, "login expired");
        }
    }
}

fn mark(link: &Link) -> f64 {
    let core = markets(&link.hub);
    let index = core.find(link.venue, "BTCUSDT", Some(Category::Linear));
    index.and_then(|index| core.instruments.get(index)).map_or(60_000.0, |instrument| instrument.mark)
}

/// An instrument by product and symbol.
fn find(core: &Core, link: &Link, kind: &str, symbol: &str) -> Option<usize> {
    core.instruments.iter().position(|instrument| {
        instrument.venue() == link.venue && *instrument.symbol == *symbol && product(instrument) == kind
    })
}

fn topic(channel: &str, kind: &str) -> Option<TopicSpec> {
    let spot = kind == "SPOT";
    let books = if spot { 200 } else { 150 };
    let (kind, interval_ms) = match channel {
        "books" => (Channel::Diff, books),
        "books1" => (Channel::Top(1), if spot { 60 } else { 20 }),
        "books5" => (Channel::Top(5), books),
        "books15" => (Channel::Top(15), books),
        "trade" => (Channel::Trade, 0),
        "ticker" => (Channel::Ticker, 300),
        _ => return None,
    };
    Some(TopicSpec { name: channel.to_owned(), channel: kind, interval_ms, bare: false })
}
