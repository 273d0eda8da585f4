//! Faults: what can be asked for, when, and what of it really happened.

mod board;
mod chaos;
pub(crate) mod mutate;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

pub(crate) use board::{Board, Passing, Planned, Reach};
pub use chaos::Chaos;

use super::ExchangeError;
use super::venue::Venue;

/// Kinds of faults.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FaultKind {
    /// A frame is not sent.
    Lost,
    /// A frame is sent twice.
    Repeated,
    /// A frame changes places with the next one.
    Reordered,
    /// The message of a frame ends half-way; the frame itself is whole.
    Truncated,
    /// One bit of the message is wrong.
    BitFlip,
    /// The book's checksum is wrong (Bitget).
    WrongChecksum,
    /// The frame's sequence numbers are `by` too high.
    SequenceJump,
    /// Nothing is written for a while; with a symbol, only that symbol's frames wait. What waited comes afterwards.
    Stall,
    /// Nothing is read or written any more, and the connection stays open.
    HalfOpen,
    /// The connection ends inside a frame.
    DisconnectMidFrame,
    /// Every byte is written by itself, `gap` apart.
    SlowLoris,
    /// The venue closes with `code`.
    Close,
    /// REST answers 429 or `code`, with `retry_after`.
    RateLimited,
    /// The login of private connections runs out.
    ExpiredLogin,
    /// The end of a connection's life, announced where the venue announces it.
    #[serde(rename = "cut_24h")]
    #[strum(serialize = "cut_24h")]
    Cut24h,
    /// The venue's clock jumps by `by` milliseconds.
    ClockJump,
    /// `factor` times as many frames.
    Flood,
    /// New TLS connections get a certificate of another host, or an expired one.
    TlsBadCertificate,
    /// New TLS connections end during the handshake.
    TlsAbort,
    /// REST answers after `delay`.
    RestSlow,
    /// REST answers 503 or `code`.
    #[serde(rename = "rest_error_5xx")]
    #[strum(serialize = "rest_error_5xx")]
    RestError5xx,
    /// REST books stand still.
    StaleSnapshot,
}

impl FaultKind {
    /// The name in scripts: `bit_flip`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it happens to.
    pub(crate) fn reach(self) -> Reach {
        use FaultKind as Kind;
        match self {
            Kind::Lost
            | Kind::Repeated
            | Kind::Reordered
            | Kind::Truncated
            | Kind::BitFlip
            | Kind::WrongChecksum
            | Kind::SequenceJump
            | Kind::DisconnectMidFrame => Reach::Frame,
            Kind::Stall | Kind::HalfOpen | Kind::SlowLoris | Kind::Close | Kind::ExpiredLogin | Kind::Cut24h => {
                Reach::Connection
            }
            _ => Reach::Venue,
        }
    }
}

/// A certificate that a client must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadCertificate {
    /// Of another host.
    #[default]
    WrongHost,
    /// No longer valid.
    Expired,
}

/// A fault and its parameters; each kind reads the ones its description names, the others are ignored.
///
/// Faults of frames wait until enough frames match. Faults of connections hit every connection that matches, and wait
/// ten seconds for one. Faults of a venue's REST and TLS hold for a while and are recorded for each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, counted from the start (through the admin interface: from now).
    #[serde(default, with = "text")]
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
    /// Where; everywhere if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<Venue>,
    /// Only frames of this symbol, or connections that subscribe to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Which frames: a channel's name, or `*`; if missing, those that change the book.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only this connection, by its number in `/clients`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// How many frames, over all connections together.
    #[serde(default = "single")]
    pub count: u32,
    /// How long.
    #[serde(default = "three_seconds", rename = "for", with = "text")]
    pub lasting: Duration,
    /// Ids skipped, or milliseconds of a clock jump.
    #[serde(default = "thousand")]
    pub by: i64,
    /// Times the usual rate.
    #[serde(default = "ten")]
    pub factor: f64,
    /// Close code, or HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Delay of every REST answer.
    #[serde(default = "three_seconds", with = "text")]
    pub delay: Duration,
    /// Pause between bytes.
    #[serde(default = "five_milliseconds", with = "text")]
    pub gap: Duration,
    /// `Retry-After`.
    #[serde(default = "three_seconds", with = "text")]
    pub retry_after: Duration,
    /// Which certificate.
    #[serde(default)]
    pub certificate: BadCertificate,
}

impl Fault {
    /// A fault of this kind now, everywhere, with the usual parameters.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            at: Duration::ZERO,
            kind,
            venue: None,
            symbol: None,
            channel: None,
            connection: None,
            count: single(),
            lasting: three_seconds(),
            by: thousand(),
            factor: ten(),
            code: None,
            delay: three_seconds(),
            gap: five_milliseconds(),
            retry_after: three_seconds(),
            certificate: BadCertificate::default(),
        }
    }

    /// Reads `5s:kind[:key=value...]`, the form of the command line; keys are those of the TOML script.
    ///
    /// # Errors
    /// The text is no such fault.
    pub fn parse(text: &str) -> Result<Self, ExchangeError> {
        let fail = |reason: String| ExchangeError::Config(format!("fault {text}: {reason}"));
        let mut parts = text.split(':');
        let (Some(at), Some(kind)) = (parts.next(), parts.next()) else {
            return Err(fail("expected TIME:KIND[:KEY=VALUE...]".into()));
        };
        let mut table = toml::Table::new();
        table.insert("at".into(), at.into());
        table.insert("kind".into(), kind.into());
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(fail(format!("{part} is not KEY=VALUE")));
            };
            let number = value.parse::<i64>().map(toml::Value::from);
            let value = number.or_else(|_| value.parse::<f64>().map(toml::Value::from));
            let value = value.unwrap_or_else(|_| part[key.len() + 1..].into());
            table.insert(key.into(), value);
        }
        let fault: Self = table.try_into().map_err(|error: toml::de::Error| fail(error.message().to_owned()))?;
        fault.validate()?;
        Ok(fault)
    }

    pub(crate) fn validate(&self) -> Result<(), ExchangeError> {
        let fail = |what: &str| Err(ExchangeError::Config(format!("fault {}: {what}", self.kind.name())));
        if self.kind == FaultKind::WrongChecksum && self.venue.is_some_and(|venue| venue != Venue::Bitget) {
            return fail("only Bitget's books have a checksum");
        }
        if self.count == 0 {
            return fail("count must be at least 1");
        }
        if !(self.factor >= 1.0 && self.factor <= 1_000.0) {
            return fail("factor must be 1 to 1000");
        }
        let (hour, month) = (Duration::from_secs(3_600), Duration::from_secs(31 * 86_400));
        if self.at > month || self.by.unsigned_abs() > 1 << 50 {
            return fail("at may be a month away, and by at most 2^50");
        }
        if self.lasting > hour || self.delay > hour || self.gap > hour || self.retry_after > hour {
            return fail("no time may be longer than an hour");
        }
        match (self.kind, self.code) {
            (FaultKind::Close, Some(code)) if !(1_000..5_000).contains(&code) => fail("close codes are 1000 to 4999"),
            (FaultKind::RateLimited, Some(code)) if code != 429 && code != 418 => fail("code is 429 or 418"),
            (FaultKind::RestError5xx, Some(code)) if !(500..600).contains(&code) => fail("code is 500 to 599"),
            _ => Ok(()),
        }
    }
}

fn single() -> u32 {
    1
}

fn thousand() -> i64 {
    1_000
}

fn ten() -> f64 {
    10.0
}

fn three_seconds() -> Duration {
    Duration::from_secs(3)
}

fn five_milliseconds() -> Duration {
    Duration::from_millis(5)
}

/// Durations as people write them: `1m 30s`.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_form_is_that_of_the_script() {
        let fault = Fault::parse("5s:sequence_jump:venue=okx:symbol=BTC-USDT-SWAP:by=7").unwrap();
        let script = "at = '5s'\nkind = 'sequence_jump'\nvenue = 'okx'\nsymbol = 'BTC-USDT-SWAP'\nby = 7";
        assert_eq!(fault, toml::from_str(script).unwrap());
        assert_eq!(Fault::parse("1m:cut_24h:for=2s").unwrap().lasting, Duration::from_secs(2));
        assert_eq!(Fault::parse("0s:rest_error_5xx:code=502").unwrap().code, Some(502));
    }

    #[test]
    fn nonsense_is_refused() {
        let bad =
            ["5s", "x:lost", "5s:no_such", "5s:lost:zzz=1", "5s:lost:count=0", "1s:close:code=17", "1s:lost:count"];
        for text in bad {
            assert!(Fault::parse(text).is_err(), "{text}");
        }
        assert!(Fault::parse("1s:wrong_checksum:venue=okx").is_err());
    }
}
