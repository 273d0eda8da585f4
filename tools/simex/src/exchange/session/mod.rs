//! The venues' protocols over one WebSocket: what clients may say, when, and what they are answered.

mod binance;
mod bitget;
mod bybit;
mod deribit;
mod okx;

use std::sync::Arc;

use serde_json::Value;

use super::fault::Planned;
use super::hub::{Hub, lock};
use super::market::{Core, Instrument, TopicSpec};
use super::net::{Out, Outbox};
use super::rate::Window;
use super::venue::Venue;

/// One second, ns.
const SECOND_NS: i64 = 1_000_000_000;
/// Life of a connection where a venue limits it, s.
const LIFE: f64 = 86_400.0;

/// A protocol. Nothing a client sends may make it panic.
pub(crate) trait Session: Send {
    /// A text message.
    fn message(&mut self, link: &mut Link, text: &str);

    /// An answer to a ping of ours, or a pong nobody asked for.
    fn pong(&mut self, _link: &mut Link, _payload: &[u8]) {}

    /// Timers.
    fn tick(&mut self, link: &mut Link);

    /// The login runs out.
    fn expire_login(&mut self, link: &mut Link, planned: &Planned);

    /// Says that the connection will soon be cut; gives the time left in seconds, unscaled.
    fn farewell(&mut self, _link: &mut Link) -> f64 {
        0.0
    }
}

/// One connection, as its protocol sees it.
pub(crate) struct Link {
    pub(crate) hub: Arc<Hub>,
    pub(crate) venue: Venue,
    pub(crate) connection: u64,
    pub(crate) path: String,
    pub(crate) query: String,
    outbox: Outbox,
    since_ns: i64,
    /// Time of the last message of the client.
    heard_ns: i64,
    messages: Window,
    requests: Window,
    cut_ns: Option<i64>,
    closed: bool,
    /// Closed with a close frame, which the client should get to read.
    lingers: bool,
}

impl Link {
    pub(crate) fn new(
        hub: Arc<Hub>,
        venue: Venue,
        connection: u64,
        outbox: Outbox,
        path: String,
        query: String,
    ) -> Self {
        let since_ns = hub.clock.now_ns();
        Self {
            hub,
            venue,
            connection,
            path,
            query,
            outbox,
            since_ns,
            heard_ns: since_ns,
            messages: Window::default(),
            requests: Window::default(),
            cut_ns: None,
            closed: false,
            lingers: false,
        }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers
    }

    /// The client has sent something.
    pub(crate) fn heard(&mut self) {
        self.heard_ns = self.hub.clock.now_ns();
    }

    /// Silence of the client so far, ns.
    fn silence_ns(&self) -> i64 {
        self.hub.clock.now_ns() - self.heard_ns
    }

    /// Answers.
    fn text(&self, text: impl Into<String>) {
        self.outbox.send(Out::Text(text.into()));
    }

    /// Ends the connection; what is queued goes out before.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if !self.closed {
            (self.closed, self.lingers) = (true, true);
            self.outbox.send(Out::Close { code, reason: reason.to_owned() });
        }
    }

    pub(crate) fn violate(&self, rule: &str, detail: &str) {
        self.hub.violation(self.venue, self.connection, rule, detail);
    }

    /// Counts a request against the budget of an hour.
    fn within_budget(&mut self) -> bool {
        let span_ns = self.hub.clock.limit_ns(3_600.0);
        let most = self.hub.limits(self.venue).subscribes_per_hour;
        self.requests.hit(self.hub.clock.now_ns(), span_ns, most)
    }

    /// Subscribes; what the channel begins with is queued before this returns.
    fn join(&self, core: &mut Core, index: usize, spec: TopicSpec) {
        let Some(instrument) = core.instruments.get(index) else { return };
        let name = stream_name(instrument, &spec.name);
        self.hub.note_stream(self.connection, &name, Some(&instrument.symbol));
        core.join(index, spec, self.connection, self.outbox.clone());
    }

    fn leave(&self, core: &mut Core, index: usize, name: &str) {
        if let Some(instrument) = core.instruments.get_mut(index) {
            let whole = stream_name(instrument, name);
            instrument.leave(Some(name), self.connection);
            self.hub.note_stream(self.connection, &whole, None);
        }
    }
}

/// A channel's name with the symbol, where the venue's name has none.
fn stream_name(instrument: &Instrument, name: &str) -> String {
    match instrument.venue() {
        Venue::Okx => format!("{name}:{}", instrument.symbol),
        Venue::Bitget => {
            format!("{}:{name}:{}", super::encode::bitget::product(instrument), instrument.symbol)
        }
        _ => name.to_owned(),
    }
}

/// Whether a venue has this path.
pub(crate) fn serves(venue: Venue, path: &str) -> bool {
    match venue {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => binance::route(venue, path).is_some(),
        Venue::Bybit => bybit::category_of(path).is_some() || path == bybit::PRIVATE,
        Venue::Okx => matches!(path, okx::PUBLIC | okx::PRIVATE | okx::BUSINESS),
        Venue::Bitget => matches!(path, bitget::PUBLIC | bitget::PRIVATE),
        Venue::Deribit => path == "/ws/api/v2",
    }
}

/// The protocol of a new connection; streams in its path are subscribed.
pub(crate) fn open(link: &mut Link) -> Box<dyn Session> {
    match link.venue {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => Box::new(binance::Binance::open(link)),
        Venue::Bybit => Box::new(bybit::Bybit::open(link)),
        Venue::Okx => Box::new(okx::Okx::open(link)),
        Venue::Bitget => Box::new(bitget::Bitget::open(link)),
        Venue::Deribit => Box::new(deribit::Deribit::open(link)),
    }
}

/// Counts a message against the rate of a second; closes when there are too many.
pub(crate) fn within_rate(link: &mut Link) -> bool {
    let most = link.hub.limits(link.venue).messages_per_second;
    if link.messages.hit(link.hub.clock.now_ns(), SECOND_NS, most) {
        return true;
    }
    link.violate("message_rate", &format!("more than {most} messages in a second"));
    if link.venue == Venue::Bitget {
        link.text("{\"event\":\"error\",\"code\":30006,\"msg\":\"request too many\"}");
    }
    link.close(1008, "too many requests");
    false
}

/// A fault announces the end, as the venue does.
pub(crate) fn cut(link: &mut Link, session: &mut dyn Session, planned: &Planned) {
    let left = session.farewell(link);
    let notice = if left > 0.0 { "announced" } else { "not announced" };
    link.hub.happened(planned, link.venue, None, Some(link.connection), notice);
    link.cut_ns = Some(link.hub.clock.now_ns() + link.hub.clock.limit_ns(left));
}

/// Ends what has reached its age.
pub(crate) fn age(link: &mut Link, session: &mut dyn Session) {
    let now_ns = link.hub.clock.now_ns();
    let limited = link.venue.is_binance() || link.venue == Venue::Bitget;
    if limited && link.cut_ns.is_none() && now_ns - link.since_ns > link.hub.clock.limit_ns(LIFE) {
        let left = session.farewell(link);
        link.cut_ns = Some(now_ns + link.hub.clock.limit_ns(left));
    }
    if link.cut_ns.is_some_and(|at_ns| at_ns <= now_ns) && !link.closed {
        link.closed = true;
        link.outbox.send(Out::Cut);
    }
}

/// A text field.
fn field<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Whether a login time is within `most_ms` of the venue's clock.
fn is_recent(link: &Link, time_ms: i64, most_ms: u64) -> bool {
    // A login window is a matter of the client's clock, not of waiting, so it is not scaled.
    link.hub.clock.ms(link.venue).abs_diff(time_ms) <= most_ms
}

/// Locks the markets of a connection's exchange.
fn markets(hub: &Hub) -> std::sync::MutexGuard<'_, Core> {
    lock(&hub.core)
}
