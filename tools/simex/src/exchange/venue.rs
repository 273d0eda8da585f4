//! The venues, and how each of them counts, limits and names things.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// A venue market: one listener, one protocol.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Venue {
    /// Binance spot.
    BinanceSpot,
    /// Binance USD-margined futures, on the routes `/public`, `/market` and `/private`.
    BinanceUsdm,
    /// Binance coin-margined futures.
    BinanceCoinm,
    /// Bybit v5, all categories.
    Bybit,
    /// OKX v5.
    Okx,
    /// Bitget v2.
    Bitget,
    /// Deribit, JSON-RPC.
    Deribit,
}

impl Venue {
    /// The name in configurations and in the admin interface: `binance-spot`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Position in tables with one entry a venue.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Whether it is one of Binance's three.
    pub(crate) fn is_binance(self) -> bool {
        matches!(self, Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm)
    }
}

/// What an instrument is; together with the venue it decides formats and paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Spot.
    Spot,
    /// Perpetual settled in the quote currency.
    Linear,
    /// Perpetual settled in the base currency.
    Inverse,
    /// European option; made by the exchange itself, not configurable.
    Option,
}

/// What a venue lets a client do. A zero in a configuration means the venue's own figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Client frames a second on one connection, control frames included.
    pub messages_per_second: u32,
    /// Subscribe, unsubscribe and login requests an hour on one connection.
    pub subscribes_per_hour: u32,
    /// Streams on one connection.
    pub streams_per_connection: u32,
    /// Bytes of the arguments of one request (Bybit: of one connection).
    pub args_bytes: u32,
    /// Arguments of one request (Bybit spot).
    pub args_per_request: u32,
    /// Bytes of one client message.
    pub message_bytes: u32,
    /// Connections at the same time.
    pub connections: u32,
    /// New connections within the window.
    pub connects: u32,
    /// Length of that window, seconds.
    pub connect_window: u32,
    /// REST weight (elsewhere: requests) within the window.
    pub rest_weight: u32,
    /// Length of that window, seconds.
    pub rest_window: u32,
    /// Frames that may wait for a slow client before it is cut off.
    pub queue: u32,
}

const UNLIMITED: u32 = u32::MAX;

impl Limits {
    /// The figures of a venue, as its documents give them.
    pub fn of(venue: Venue) -> Self {
        let common = Self {
            messages_per_second: UNLIMITED,
            subscribes_per_hour: UNLIMITED,
            streams_per_connection: 1_000,
            args_bytes: 65_536,
            args_per_request: UNLIMITED,
            message_bytes: 1 << 20,
            connections: UNLIMITED,
            connects: 300,
            connect_window: 300,
            rest_weight: 6_000,
            rest_window: 60,
            queue: 16_384,
        };
        match venue {
            Venue::BinanceSpot => Self { messages_per_second: 5, streams_per_connection: 1_024, ..common },
            Venue::BinanceUsdm | Venue::BinanceCoinm => {
                Self { messages_per_second: 10, streams_per_connection: 200, rest_weight: 2_400, ..common }
            }
            Venue::Bybit => Self {
                args_bytes: 21_000,
                args_per_request: 10,
                connections: 1_000,
                connects: 500,
                rest_weight: 600,
                rest_window: 5,
                ..common
            },
            Venue::Okx => Self {
                subscribes_per_hour: 480,
                connects: 3,
                connect_window: 1,
                rest_weight: 40,
                rest_window: 2,
                ..common
            },
            Venue::Bitget => Self {
                messages_per_second: 10,
                subscribes_per_hour: 240,
                args_bytes: 4_096,
                connections: 100,
                rest_weight: 20,
                rest_window: 1,
                ..common
            },
            Venue::Deribit => Self {
                streams_per_connection: 500,
                connections: 32,
                connects: UNLIMITED,
                rest_weight: UNLIMITED,
                ..common
            },
        }
    }

    /// These limits with every zero replaced by the venue's figure.
    pub(crate) fn resolve(self, venue: Venue) -> Self {
        let own = Self::of(venue);
        let pick = |ours: u32, theirs: u32| if ours == 0 { theirs } else { ours };
        Self {
            messages_per_second: pick(self.messages_per_second, own.messages_per_second),
            subscribes_per_hour: pick(self.subscribes_per_hour, own.subscribes_per_hour),
            streams_per_connection: pick(self.streams_per_connection, own.streams_per_connection),
            args_bytes: pick(self.args_bytes, own.args_bytes),
            args_per_request: pick(self.args_per_request, own.args_per_request),
            message_bytes: pick(self.message_bytes, own.message_bytes),
            connections: pick(self.connections, own.connections),
            connects: pick(self.connects, own.connects),
            connect_window: pick(self.connect_window, own.connect_window),
            rest_weight: pick(self.rest_weight, own.rest_weight),
            rest_window: pick(self.rest_window, own.rest_window),
            queue: pick(self.queue, own.queue),
        }
    }
}
