//! What a connection's state machine says: its states, what it wants done, what somebody should know.

use std::time::Duration;

use super::backoff::BackoffSettings;
use super::dialect::{AccountData, ClientLimits, Heartbeat};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LinkState {
    /// No connection; one is being made or waited for.
    Disconnected,
    /// Connected, the login has not been answered.
    Authenticating,
    /// Everything is subscribed and every book is good.
    Connected,
    /// Connected, but something is not subscribed or a book is not good.
    Realigning,
    /// Given up until an operator clears it.
    Error,
}

impl LinkState {
    /// Whether everything is subscribed and every book is good.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// What a link wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make a connection.
    Dial,
    /// Send a text.
    Send(String),
    /// Send a WebSocket ping.
    Ping,
    /// Close the connection.
    Close(u16, &'static str),
    /// The state has changed.
    State(LinkState),
    /// Make another connection for the same topics, and close this one when that one is good.
    Rotate,
    /// Data of the account has come.
    Account(AccountData),
    /// Somebody should know.
    Tell(Note),
}

/// What somebody should know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The connection ended or could not be made; the next attempt comes after this time, if there is one.
    Lost {
        /// Why.
        reason: String,
        /// When the next attempt is.
        retry_in: Option<Duration>,
    },
    /// The venue refused something.
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        text: String,
    },
    /// A topic is left out: the venue does not have it.
    Dropped(String),
    /// A subscription was not acknowledged in time.
    Unacknowledged(String),
    /// Nothing came for too long, and no answer to a heartbeat.
    Silent(Duration),
    /// A topic that was acknowledged brings nothing.
    Idle(String),
    /// A book is being subscribed anew.
    Resubscribed(String),
}

/// Times and limits of a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkSettings {
    /// Between attempts.
    pub backoff: BackoffSettings,
    /// How the connection is kept alive.
    pub heartbeat: Heartbeat,
    /// What the venue allows.
    pub limits: ClientLimits,
    /// An answer to a login or a subscription must come in this time.
    pub patience: Duration,
    /// A connection that lasted this long was a good one: the next failure is a first one.
    pub stable_after: Duration,
    /// Rotate this long before the venue would cut the connection.
    pub rotate_before: Duration,
    /// A subscribed book without a frame for this long is asked for anew; zero: never.
    pub idle_after: Duration,
}
