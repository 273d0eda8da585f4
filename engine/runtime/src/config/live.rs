//! `[[venues]]` and `[session]`: what is read live, and how its connections are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use tidegate_feed::capture::SeriesSettings;
use tidegate_feed::session::backoff::BackoffSettings;
use tidegate_feed::session::budget::Rate;
use tidegate_feed::session::credentials::{Credentials, SecretSource};
use tidegate_feed::session::dialect::{Channel, dialect};
use tidegate_feed::session::plan::{MarketPlan, SessionSettings};

use super::ConfigError;
use crate::live::LivePlan;

/// A market to be read live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VenueConfig {
    /// The market, such as `binance-usdm`, `bitget-usdt`, `okx`, `bybit` or `deribit`.
    pub name: String,
    /// Symbols as the venue writes them; Deribit's volatility indices are `BTCDVOL` and `ETHDVOL`.
    #[serde(default)]
    pub symbols: Vec<String>,
    /// `book`, `quotes`, `trades`, `marks`; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// Connections for each stream, 1 or 2: the first copy of an update wins, a gap on one is filled by the other.
    #[serde(default = "one")]
    pub redundancy: usize,
    /// Base of WebSocket URLs, where it is not the venue's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Base of REST URLs, where it is not the venue's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
    /// A file of certificates (PEM) to trust instead of the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Keys of an account: its private channels are read too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsConfig>,
    /// What the venue allows, where it is not what is built in.
    #[serde(default, skip_serializing_if = "LimitsConfig::is_empty")]
    pub limits: LimitsConfig,
}

const fn one() -> usize {
    1
}

/// Where the parts of an account's key are. The configuration never holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsConfig {
    /// The key's name.
    pub key: SecretConfig,
    /// What signs.
    pub secret: SecretConfig,
    /// Bitget's and OKX's third part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretConfig>,
}

/// Where a secret is: `{ file = "..." }` or `{ env = "..." }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretConfig {
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// A venue's limits on a client; they change often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Streams on one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<usize>,
    /// Streams in one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Messages that one connection may send a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    /// Subscribe and unsubscribe requests of one connection an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions_per_hour: Option<u32>,
    /// REST requests a minute, by weight where the venue weighs them (Binance: up to 250 for the snapshot of a book).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_weight_per_minute: Option<u32>,
    /// After how long the venue cuts a connection, ms; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
    /// How often a heartbeat is sent, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
    /// Nothing heard for so long: the connection is dead, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_after_ms: Option<u64>,
}

impl LimitsConfig {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Times of all sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// First interval between two attempts, ms; the next ones are its Fibonacci multiples, with jitter.
    pub backoff_ms: u64,
    /// Attempts before a connection is given up until it is cleared, at least 1.
    pub attempts: u32,
    /// A connection must be made, and a request answered, in this time, ms.
    pub patience_ms: u64,
    /// A connection that lasted this long was a good one: attempts count anew, ms.
    pub stable_after_ms: u64,
    /// A new connection takes over this long before the venue would cut the old one, ms.
    pub rotate_before_ms: u64,
    /// A subscribed book without a frame for this long is asked for anew, ms; 0: never.
    pub idle_after_ms: u64,
    /// How often each venue's clock is asked, ms.
    pub clock_every_ms: u64,
    /// A venue's clock may be off by so much before it is told, ms.
    pub clock_bound_ms: u64,
    /// Longest message accepted, KiB.
    pub message_kib: usize,
    /// Poll the network device's queue for up to this long at each read, us; 0 leaves it.
    pub busy_poll_us: u32,
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

impl Default for SessionConfig {
    fn default() -> Self {
        let SessionSettings { backoff, patience, stable_after, rotate_before, idle_after, .. } = Default::default();
        let SessionSettings { clock_every, clock_bound, message, busy_poll_us, .. } = Default::default();
        Self {
            backoff_ms: ms(backoff.base),
            attempts: backoff.attempts,
            patience_ms: ms(patience),
            stable_after_ms: ms(stable_after),
            rotate_before_ms: ms(rotate_before),
            idle_after_ms: ms(idle_after),
            clock_every_ms: ms(clock_every),
            clock_bound_ms: ms(clock_bound),
            message_kib: message >> 10,
            busy_poll_us,
        }
    }
}

/// Frames kept as they come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Directory of the files; nothing is kept without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// A file of this size is closed and the next one begun, MiB.
    pub rotate_mib: u64,
    /// A file of this age too, ms.
    pub rotate_after_ms: u64,
    /// What was captured is on the disk at the latest after this, ms.
    pub sync_every_ms: u64,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        let settings = SeriesSettings::new("");
        Self {
            directory: None,
            rotate_mib: settings.rotate_bytes >> 20,
            rotate_after_ms: ms(settings.rotate_after),
            sync_every_ms: ms(settings.sync_every),
        }
    }
}

impl CaptureConfig {
    fn settings(&self) -> Option<SeriesSettings> {
        Some(self.settings_in(self.directory.clone()?))
    }

    /// How frames are kept in a directory, whatever `directory` says.
    pub fn settings_in(&self, directory: PathBuf) -> SeriesSettings {
        SeriesSettings {
            directory,
            rotate_bytes: self.rotate_mib.clamp(1, 1 << 40) << 20,
            rotate_after: Duration::from_millis(self.rotate_after_ms.max(1000)),
            sync_every: Duration::from_millis(self.sync_every_ms.max(10)),
        }
    }
}

type Wrong<'a> = &'a dyn Fn(&str, String) -> ConfigError;

impl SessionConfig {
    fn settings(&self, wrong: Wrong<'_>) -> Result<SessionSettings, ConfigError> {
        let time = Duration::from_millis;
        for (key, value) in [("backoff_ms", self.backoff_ms), ("patience_ms", self.patience_ms)] {
            if value == 0 {
                return Err(wrong(&format!("session.{key}"), "0, expected above 0".into()));
            }
        }
        if self.attempts == 0 {
            return Err(wrong("session.attempts", "0, expected at least 1".into()));
        }
        if !(64..=65_536).contains(&self.message_kib) {
            let reason = format!("{}, expected 64 to 65,536", self.message_kib);
            return Err(wrong("session.message_kib", reason));
        }
        let longest = BackoffSettings::default().longest.max(time(self.backoff_ms));
        Ok(SessionSettings {
            backoff: BackoffSettings { base: time(self.backoff_ms), attempts: self.attempts, longest },
            patience: time(self.patience_ms),
            stable_after: time(self.stable_after_ms),
            rotate_before: time(self.rotate_before_ms),
            idle_after: time(self.idle_after_ms),
            clock_every: time(self.clock_every_ms.max(100)),
            clock_bound: time(self.clock_bound_ms),
            message: self.message_kib << 10,
            busy_poll_us: self.busy_poll_us,
        })
    }
}

/// The live part of a configuration; `None` without venues.
pub(super) fn plan(
    venues: &[VenueConfig],
    (session, capture): (&SessionConfig, &CaptureConfig),
    output: &Path,
    wrong: Wrong<'_>,
) -> Result<Option<LivePlan>, ConfigError> {
    if venues.is_empty() {
        return Ok(None);
    }
    let settings = session.settings(wrong)?;
    let markets = venues.iter().enumerate();
    let markets = markets.map(|(index, venue)| venue.market(index, wrong)).collect::<Result<_, _>>()?;
    let (events, accounts) = (Some(output.join("sessions.jsonl")), Some(output.join("account.jsonl")));
    Ok(Some(LivePlan { markets, settings, events, accounts, capture: capture.settings() }))
}

impl VenueConfig {
    fn market(&self, index: usize, wrong: Wrong<'_>) -> Result<MarketPlan, ConfigError> {
        let wrong = |key: &str, reason: String| wrong(&format!("venues.{index}.{key}"), reason);
        let venue = super::venue(&self.name).map_err(|reason| wrong("name", reason))?;
        let unable = || wrong("name", format!("{:?} is only read from recordings", self.name));
        let dialect = dialect(venue).ok_or_else(unable)?;
        let mut channels = Vec::new();
        for name in &self.channels {
            let known = Channel::VARIANTS.iter().find(|channel| <&str>::from(**channel) == name);
            let reason = || format!("{name:?}, expected book, quotes, trades or marks");
            channels.push(*known.ok_or_else(|| wrong("channels", reason()))?);
        }
        if channels.is_empty() {
            channels = Channel::VARIANTS.into();
        }
        if self.symbols.is_empty() && self.credentials.is_none() {
            return Err(wrong("symbols", "there is none; expected at least one, or credentials of an account".into()));
        }
        if !(1..=2).contains(&self.redundancy) {
            return Err(wrong("redundancy", format!("{}, expected 1 or 2", self.redundancy)));
        }
        let (stream, rest) = dialect.endpoints();
        let (stream, rest) = (self.stream.as_deref().unwrap_or(stream), self.rest.as_deref().unwrap_or(rest));
        if !stream.starts_with("wss://") && !stream.starts_with("ws://") {
            return Err(wrong("stream", format!("{stream:?}, expected wss://HOST[:PORT]")));
        }
        if !rest.starts_with("https://") && !rest.starts_with("http://") {
            return Err(wrong("rest", format!("{rest:?}, expected https://HOST[:PORT]")));
        }
        let credentials = self.credentials.as_ref().map(|config| config.read(&wrong)).transpose()?;
        let (mut limits, mut heartbeat) = (dialect.limits(), dialect.heartbeat());
        let LimitsConfig { topics, batch, messages_per_second, subscriptions_per_hour, .. } = self.limits;
        let LimitsConfig { request_weight_per_minute, lifetime_ms, heartbeat_ms, dead_after_ms, .. } = self.limits;
        limits.topics = topics.unwrap_or(limits.topics).max(1);
        limits.batch = batch.unwrap_or(limits.batch).max(1);
        limits.messages = messages_per_second.map_or(limits.messages, |count| Rate::new(count, 1));
        limits.subscriptions = subscriptions_per_hour.map_or(limits.subscriptions, |count| Rate::new(count, 3600));
        limits.requests = request_weight_per_minute.map_or(limits.requests, |count| Rate::new(count, 60));
        let lifetime = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        limits.lifetime = lifetime_ms.map_or(limits.lifetime, lifetime);
        heartbeat.every = heartbeat_ms.map_or(heartbeat.every, Duration::from_millis);
        heartbeat.dead_after = dead_after_ms.map_or(heartbeat.dead_after, Duration::from_millis);
        Ok(MarketPlan {
            venue,
            dialect,
            stream: stream.to_owned(),
            rest: rest.to_owned(),
            authorities: self.authorities.clone(),
            symbols: self.symbols.clone(),
            channels,
            redundancy: self.redundancy,
            credentials,
            limits,
            heartbeat,
        })
    }
}

impl CredentialsConfig {
    fn read(&self, wrong: &impl Fn(&str, String) -> ConfigError) -> Result<Credentials, ConfigError> {
        let secret = |name: &str, config: &SecretConfig| {
            let SecretConfig { file, env } = config.clone();
            SecretSource { file, env }.read().map_err(|reason| wrong(&format!("credentials.{name}"), reason))
        };
        let passphrase = self.passphrase.as_ref().map(|config| secret("passphrase", config)).transpose()?;
        Ok(Credentials { key: secret("key", &self.key)?, secret: secret("secret", &self.secret)?, passphrase })
    }
}
