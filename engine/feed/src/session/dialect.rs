//! What a session must know of a venue's way of talking. Data frames belong to the venue's decoder; a dialect reads the
//! rest and writes everything.

use std::time::Duration;

use tidegate_wire::{Instrument, InstrumentId, Venue};

use super::budget::Rate;
use super::credentials::Credentials;
use crate::transport::rest::Request;

/// What to subscribe to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::VariantArray,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Channel {
    /// Changes of the order book.
    Book,
    /// Best bid and ask.
    Quotes,
    /// Trades.
    Trades,
    /// Mark price, funding; for options implied volatilities and greeks.
    Marks,
}

/// Which of a venue's sockets a topic is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Route {
    /// Market data; Binance's futures: books and quotes only.
    Public,
    /// Binance's futures: trades and marks.
    Market,
    /// The account's own.
    Private,
}

/// One stream of one instrument, or one of the account's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Whose; [`InstrumentId::NONE`] for an account's channel.
    pub instrument: InstrumentId,
    /// What; `None` for an account's channel.
    pub channel: Option<Channel>,
    /// Which socket.
    pub route: Route,
    /// The venue's name for it, as its acknowledgement names it.
    pub key: String,
}

/// What an acknowledgement is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acked {
    /// All topics of a request.
    Request(u64),
    /// One topic, by its key.
    Topic(String),
    /// These topics of a request; the others were refused.
    Topics(u64, Vec<String>),
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Reconnect with back-off.
    Reconnect,
    /// Log in again on this connection.
    Authenticate,
    /// Send less for a while; try again then.
    SlowDown,
    /// This topic will not work: leave it out and say so.
    Drop,
    /// Nothing will work until somebody changes something: the error state.
    Stop,
    /// Nothing: the venue only tells.
    Ignore,
}

/// What a text that is no market data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A subscription works.
    Acked(Acked),
    /// A subscription has ended.
    Ended,
    /// The login worked.
    LoggedIn,
    /// The venue answered our heartbeat.
    Pong,
    /// The venue asks for this answer.
    Answer(String),
    /// The venue will cut the connection: another one is needed in this time.
    Leaving(Duration),
    /// An error.
    Refused {
        /// The venue's code, as text.
        code: String,
        /// The venue's words.
        text: String,
        /// Which request or topic, where it says.
        about: Option<Acked>,
        /// What to do.
        remedy: Remedy,
    },
    /// Data of the account.
    Account(AccountData),
    /// Nothing that concerns a session.
    Other,
}

/// Which of the account's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum AccountChannel {
    /// All open positions; each push replaces the list.
    Positions,
    /// Changed orders.
    Orders,
    /// Balances.
    Account,
}

/// A push of an account's channel, as the venue wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountData {
    /// Which.
    pub channel: AccountChannel,
    /// Its rows.
    pub rows: Vec<serde_json::Value>,
    /// The venue's stamp, ns since the Unix epoch; 0 without one.
    pub venue_ns: i64,
}

/// How a connection is kept alive and known to be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// What we send.
    pub probe: Probe,
    /// How often.
    pub every: Duration,
    /// Nothing received for so long, no answer to a probe either: the connection is dead.
    pub dead_after: Duration,
}

/// What keeps a connection alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A text.
    Text(&'static str),
    /// A request of the venue's protocol: [`Dialect::ping`].
    Request,
    /// A WebSocket ping.
    Ping,
}

/// A venue's limits on a client. They change often: configuration may replace them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Topics on one connection.
    pub topics: usize,
    /// Topics in one request.
    pub batch: usize,
    /// Messages we send on one connection, heartbeats included.
    pub messages: Rate,
    /// Subscribe and unsubscribe requests on one connection.
    pub subscriptions: Rate,
    /// New connections of one address.
    pub connects: Rate,
    /// REST requests that we make, by weight where the venue weighs them.
    pub requests: Rate,
    /// After how long the venue cuts a connection.
    pub lifetime: Option<Duration>,
}

/// Where a venue's books begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// The first message of a subscription is a snapshot: a new one comes by subscribing anew.
    Stream,
    /// REST: a snapshot that joins the stream.
    Rest,
    /// The first message of a subscription, if that is a snapshot; else REST.
    StreamElseRest,
}

/// A venue's way of talking. Without state: one serves all connections of a market.
pub trait Dialect: Send + Sync + core::fmt::Debug {
    /// Where it is: WebSocket and REST base URLs.
    fn endpoints(&self) -> (&'static str, &'static str);
    /// What it allows.
    fn limits(&self) -> ClientLimits;
    /// How its connections are kept alive.
    fn heartbeat(&self) -> Heartbeat;
    /// Where its books begin.
    fn bootstrap(&self) -> Bootstrap;
    /// Path of a socket behind the WebSocket base URL.
    fn path(&self, route: Route) -> &'static str;
    /// The stream of an instrument's channel; `None` where the venue has none.
    fn topic(&self, instrument: InstrumentId, symbol: &str, channel: Channel) -> Option<Topic>;
    /// A request for topics; `id` comes back in the answer where the venue has request ids.
    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String;
    /// A request to end them.
    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String;
    /// Reads a text that is no market data.
    fn read(&self, text: &[u8]) -> Reply;
    /// A heartbeat request, where [`Probe::Request`] says so.
    fn ping(&self, _id: u64) -> String {
        String::new()
    }
    /// What is sent first on a connection.
    fn greeting(&self) -> Option<String> {
        None
    }
    /// The login of a private connection; `None` where there is none.
    fn login(&self, _credentials: &Credentials, _now_ms: i64) -> Option<String> {
        None
    }
    /// The account's channels, on [`Route::Private`].
    fn account(&self) -> Vec<Topic> {
        Vec::new()
    }
    /// REST snapshots of a book, where books begin with one, or may: the deepest first, the lightest last.
    fn snapshots(&self, _symbol: &str) -> Vec<Request> {
        Vec::new()
    }
    /// Whether an answer with HTTP status 200 is a refusal all the same: why, and how long to stay away where it is an
    /// order to.
    fn refused(&self, _body: &[u8]) -> Option<(String, Option<Duration>)> {
        None
    }
    /// A book of few levels, as cheap as the venue has one: it tells where prices are (`definitions::price`). `None`
    /// for what has no book.
    fn touch(&self, symbol: &str) -> Option<Request>;
    /// The venue's time.
    fn time(&self) -> Request;
    /// The venue's time out of the answer, ns since the Unix epoch.
    fn read_time(&self, body: &[u8]) -> Option<i64>;
    /// Definitions of instruments: what to ask for.
    fn instruments(&self, symbols: &[String]) -> Vec<Request>;
    /// Definitions of instruments out of an answer, those of `symbols` only.
    ///
    /// # Errors
    /// What could not be read.
    fn read_instruments(&self, body: &[u8], symbols: &[String]) -> Result<Vec<Instrument>, String>;
    /// How long to stay away after an HTTP status without a `Retry-After`, where it is an order to.
    fn penalty(&self, status: u16) -> Option<Duration> {
        match status {
            429 => Some(Duration::from_secs(10)),
            418 => Some(Duration::from_secs(120)),
            _ => None,
        }
    }
}

/// The dialect of a market; `None` for those that are only read from recordings.
pub fn dialect(venue: Venue) -> Option<&'static dyn Dialect> {
    use crate::venues::{binance, bitget, bybit, deribit, okx};
    Some(match venue {
        Venue::BinanceSpot => &binance::SPOT,
        Venue::BinanceUsdm => &binance::USDM,
        Venue::BinanceCoinm => &binance::COINM,
        Venue::Bybit => &bybit::LINEAR,
        Venue::BybitSpot => &bybit::SPOT,
        Venue::BybitInverse => &bybit::INVERSE,
        Venue::Okx => &okx::OKX,
        Venue::BitgetSpot => &bitget::SPOT,
        Venue::BitgetUsdt => &bitget::USDT,
        Venue::BitgetCoin => &bitget::COIN,
        Venue::BitgetUsdc => &bitget::USDC,
        Venue::Deribit => &deribit::DERIBIT,
        Venue::Coinbase | Venue::Bitstamp | Venue::Bitmex => return None,
    })
}
