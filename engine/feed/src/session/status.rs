//! What a session tells the outside: events as they happen, and where everything stands.

use std::collections::BTreeMap;

use tidegate_wire::Venue;

use super::clock::{HostClock, Skew};
use super::dialect::AccountChannel;
use super::link::LinkState;

/// Something that happened to a connection, a book or a clock.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SessionEvent {
    /// When, ns since the Unix epoch.
    pub at_ns: i64,
    /// Which market.
    pub venue: Venue,
    /// Which connection: its route and number among all that were made; empty for what belongs to none.
    pub connection: String,
    /// What: `state`, `lost`, `refused`, `dropped`, `unacknowledged`, `silent`, `idle`, `resubscribed`, `rotating`,
    /// `rotated`, `rotation_failed`, `snapshot`, `snapshot_failed`, `clock`, `clock_failed`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LinkStatus {
    /// Its market.
    pub venue: Venue,
    /// Its route, and which copy.
    pub name: String,
    /// Where it stands.
    pub state: LinkState,
    /// Attempts that failed in a row.
    pub failed_attempts: u32,
    /// How long ago it was last heard of, ms; `None` without a connection.
    pub heard_ms: Option<u64>,
    /// Frames and bytes on this connection.
    pub frames: u64,
    /// See `frames`.
    pub bytes: u64,
    /// Topics it carries.
    pub topics: usize,
    /// Connections made for it so far.
    pub connections: u32,
}

/// An account's channel.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AccountStatus {
    /// The last push's rows, as the venue wrote them; kept over reconnects.
    pub rows: Vec<serde_json::Value>,
    /// Its venue stamp, ns since the Unix epoch.
    pub venue_ns: i64,
    /// How long ago it came, ms.
    pub age_ms: u64,
    /// Pushes so far.
    pub pushes: u64,
}

/// Where everything stands.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SessionStatus {
    /// Connections.
    pub links: Vec<LinkStatus>,
    /// Clocks of the venues against ours.
    pub clocks: BTreeMap<Venue, Skew>,
    /// Our own clock against UTC.
    pub host: Option<HostClock>,
    /// The account's channels by market.
    pub accounts: BTreeMap<Venue, BTreeMap<AccountChannel, AccountStatus>>,
    /// Events by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Acknowledgements, errors and account pushes that the session thread was too slow to take.
    pub texts_lost: u64,
}

/// How old each of the account's channels may be before it is reported anew, s: positions, orders, account.
pub const fn cadence_s(channel: AccountChannel) -> u64 {
    match channel {
        AccountChannel::Positions => 5,
        AccountChannel::Orders => 10,
        AccountChannel::Account => 30,
    }
}
