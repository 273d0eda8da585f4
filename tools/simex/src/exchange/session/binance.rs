//! Binance streams: paths, routes, SUBSCRIBE and its friends, and the server's pings.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Link, Session, markets};
use crate::exchange::fault::Planned;
use crate::exchange::market::{Channel, TopicSpec};
use crate::exchange::net::Out;
use crate::exchange::venue::Venue;

/// The part of a futures venue a connection talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Spot, and the old unrouted paths of the futures.
    Whole,
    /// Books.
    Public,
    /// Trades and prices.
    Market,
    /// User data.
    Private,
}

/// Route and the rest of a path; `None` where the venue has no such path.
pub(super) fn route(venue: Venue, path: &str) -> Option<(Route, &str)> {
    let routed = [("/public", Route::Public), ("/market", Route::Market), ("/private", Route::Private)];
    let (route, rest) = routed
        .iter()
        .filter(|_| venue != Venue::BinanceSpot)
        .find_map(|(prefix, route)| Some((*route, path.strip_prefix(prefix)?)))
        .unwrap_or((Route::Whole, path));
    let known = rest == "/ws" || rest == "/stream" || rest.starts_with("/ws/");
    (known || (route == Route::Private && rest.is_empty())).then_some((route, rest))
}

/// A stream as clients name it.
struct Stream {
    symbol: String,
    spec: TopicSpec,
    /// Whether the route delivers it.
    delivered: bool,
}

/// One connection.
pub(super) struct Binance {
    route: Route,
    streams: Vec<String>,
    /// The ping that waits for its answer: payload and time.
    pinged: Option<(Vec<u8>, i64)>,
    last_ping_ns: i64,
}

impl Binance {
    pub(super) fn open(link: &mut Link) -> Self {
        let (route, rest) = route(link.venue, &link.path).unwrap_or((Route::Whole, "/ws"));
        let mut session = Self { route, streams: Vec::new(), pinged: None, last_ping_ns: link.since_ns };
        link.outbox().set_combined(rest == "/stream");
        let streams: Vec<String> = match rest.strip_prefix("/ws/") {
            Some(list) => list.split('/').map(str::to_owned).collect(),
            None => {
                let list = link.query.split('&').find_map(|pair| pair.strip_prefix("streams="));
                list.map(|list| list.replace("%40", "@").replace("%2F", "/"))
                    .map_or_else(Vec::new, |list| list.split('/').map(str::to_owned).collect())
            }
        };
        session.subscribe(link, streams);
        session
    }

    /// Ping interval and pong deadline, s.
    fn ping_rule(venue: Venue) -> (f64, f64) {
        if venue == Venue::BinanceSpot { (20.0, 60.0) } else { (180.0, 600.0) }
    }

    fn subscribe(&mut self, link: &mut Link, streams: Vec<String>) -> bool {
        let most = link.hub.limits(link.venue).streams_per_connection as usize;
        for name in streams.into_iter().filter(|name| !name.is_empty()) {
            if self.streams.contains(&name) {
                continue;
            }
            if self.streams.len() >= most {
                link.violate("streams_per_connection", &format!("more than {most}"));
                link.close(1008, "too many streams");
                return false;
            }
            let hub = Arc::clone(&link.hub);
            let mut core = markets(&hub);
            match parse(link.venue, self.route, &name) {
                Some(stream) if stream.delivered => match core.find(link.venue, &stream.symbol, None) {
                    Some(index) => link.join(&mut core, index, stream.spec),
                    None => link.violate("unknown_symbol", &name),
                },
                // Acknowledged, and silent for ever: what the venue does.
                Some(_) => link.violate("wrong_route", &format!("{name} on {}", link.path)),
                None => link.violate("unknown_stream", &name),
            }
            self.streams.push(name);
        }
        true
    }

    fn unsubscribe(&mut self, link: &mut Link, streams: &[String]) {
        let hub = Arc::clone(&link.hub);
        let mut core = markets(&hub);
        for name in streams {
            self.streams.retain(|ours| ours != name);
            if let Some(stream) = parse(link.venue, self.route, name)
                && let Some(index) = core.find(link.venue, &stream.symbol, None)
            {
                link.leave(&mut core, index, name);
            }
        }
    }

    fn request(&mut self, link: &mut Link, request: &Value) -> Result<Value, (i32, String)> {
        let list = || -> Result<Vec<String>, (i32, String)> {
            let items = request["params"].as_array().into_iter().flatten();
            let names: Option<Vec<_>> = items.map(|item| item.as_str().map(str::to_owned)).collect();
            match names {
                Some(names) if !names.is_empty() => Ok(names),
                _ => Err((2, "Invalid request: params must be an array of streams".into())),
            }
        };
        match request["method"].as_str() {
            Some("SUBSCRIBE") => {
                let names = list()?;
                // The answer precedes the data, so it is queued here and not by the caller.
                link.text(format!("{{\"result\":null,\"id\":{}}}", request["id"]));
                self.subscribe(link, names);
                Ok(Value::String(String::new()))
            }
            Some("UNSUBSCRIBE") => {
                self.unsubscribe(link, &list()?);
                Ok(Value::Null)
            }
            Some("LIST_SUBSCRIPTIONS") => Ok(json!(self.streams)),
            Some("SET_PROPERTY") => match (request["params"][0].as_str(), request["params"][1].as_bool()) {
                (Some("combined"), Some(combined)) => {
                    link.outbox().set_combined(combined);
                    Ok(Value::Null)
                }
                _ => Err((0, "Unknown property".into())),
            },
            Some("GET_PROPERTY") if request["params"][0] == "combined" => Ok(link.outbox().combined().into()),
            Some("GET_PROPERTY") => Err((0, "Unknown property".into())),
            Some(other) => Err((2, format!("Invalid request: unknown variant `{other}`"))),
            None => Err((2, "Invalid request: missing field `method`".into())),
        }
    }
}

impl Session for Binance {
    fn message(&mut self, link: &mut Link, text: &str) {
        let request: Value = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                link.violate("bad_json", text);
                link.text(json!({"code": 3, "msg": format!("Invalid JSON: {error}")}).to_string());
                return;
            }
        };
        let id = &request["id"];
        let fits = id.is_null() || id.is_i64() || id.as_str().is_some_and(|id| id.len() <= 36);
        if !request.is_object() || !fits {
            link.violate("bad_request", text);
            link.text("{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned integer\"}");
            return;
        }
        match self.request(link, &request) {
            Ok(Value::String(_)) => {}
            Ok(result) => link.text(format!("{{\"result\":{result},\"id\":{id}}}")),
            Err((code, msg)) => {
                link.violate("bad_request", text);
                link.text(json!({"code": code, "msg": msg, "id": id}).to_string());
            }
        }
    }

    fn pong(&mut self, _link: &mut Link, payload: &[u8]) {
        // A pong with another payload, or one nobody asked for, does not count.
        if self.pinged.as_ref().is_some_and(|(expected, _)| expected == payload) {
            self.pinged = None;
        }
    }

    fn tick(&mut self, link: &mut Link) {
        let (every, deadline) = Self::ping_rule(link.venue);
        let now_ns = link.hub.clock.now_ns();
        if let Some((_, at_ns)) = &self.pinged
            && now_ns - at_ns > link.hub.clock.limit_ns(deadline)
        {
            link.violate("no_pong", "ping not answered in time");
            link.close(1008, "pong timeout");
            return;
        }
        if now_ns - self.last_ping_ns >= link.hub.clock.limit_ns(every) {
            self.last_ping_ns = now_ns;
            let payload = link.hub.clock.ms(link.venue).to_string().into_bytes();
            link.outbox().send(Out::Ping(payload.clone()));
            // The deadline of an unanswered ping runs on from the first.
            let since = self.pinged.take().map_or(now_ns, |(_, at_ns)| at_ns);
            self.pinged = Some((payload, since));
        }
    }

    fn expire_login(&mut self, _link: &mut Link, _planned: &Planned) {
        // Market streams have no login.
    }

    fn farewell(&mut self, link: &mut Link) -> f64 {
        if link.venue != Venue::BinanceSpot {
            return 0.0;
        }
        let event = format!("{{\"e\":\"serverShutdown\",\"E\":{}}}", link.hub.clock.ms(link.venue));
        link.text(if link.outbox().combined() {
            format!("{{\"stream\":\"!serverShutdown\",\"data\":{event}}}")
        } else {
            event
        });
        10.0
    }
}

fn parse(venue: Venue, route: Route, name: &str) -> Option<Stream> {
    let (symbol, stream) = name.split_once('@')?;
    let spot = venue == Venue::BinanceSpot;
    let (kind, speed) = stream.split_once('@').map_or((stream, None), |(kind, speed)| (kind, Some(speed)));
    let usual = if spot { 1_000 } else { 250 };
    let interval = match speed {
        None => usual,
        Some("100ms") => 100,
        Some("1000ms") if spot => 1_000,
        Some("250ms") if !spot => 250,
        Some("500ms") if !spot => 500,
        Some("1s" | "3s") if kind == "markPrice" => 1_000,
        _ => return None,
    };
    let (channel, interval_ms) = match kind {
        "depth" => (Channel::Diff, interval),
        "depth5" => (Channel::Top(5), interval),
        "depth10" => (Channel::Top(10), interval),
        "depth20" => (Channel::Top(20), interval),
        "bookTicker" => (Channel::Quote, 0),
        "trade" => (Channel::Trade, 0),
        "aggTrade" => (Channel::AggTrade, if spot { 0 } else { 100 }),
        "markPrice" if !spot => (Channel::Mark, if speed == Some("1s") { 1_000 } else { 3_000 }),
        _ => return None,
    };
    let books = matches!(channel, Channel::Diff | Channel::Top(_) | Channel::Quote);
    let delivered = match route {
        // What an un-routed USD-M path still delivers, by a report of September 2026.
        Route::Whole if venue == Venue::BinanceUsdm => {
            matches!(channel, Channel::Quote | Channel::Trade | Channel::AggTrade)
        }
        Route::Whole => true,
        Route::Public => books || channel == Channel::Trade,
        Route::Market => !books && channel != Channel::Trade,
        Route::Private => false,
    };
    let spec = TopicSpec { name: name.to_owned(), channel, interval_ms, bare: false };
    // Stream names are lower case; upper-case ones are acknowledged and silent.
    let delivered = delivered && name.chars().take(symbol.len()).all(|letter| !letter.is_ascii_uppercase());
    Some(Stream { symbol: symbol.to_uppercase(), spec, delivered })
}
