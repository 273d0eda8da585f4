//! Entries: the leaves of the log, byte for byte.
//!
//! An entry is a header of 16 bytes and a body, all little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version of this layout, 1 |
//! | 1 | [`Kind`], which names the body's schema |
//! | 2 | actor: number of an earlier [`Kind::Actor`] entry of the same session, 0 for the engine itself |
//! | 4 | how many entries before this one the entry lies that it follows from; 0 for none |
//! | 8 | time, ns since the Unix epoch: event time where there is one, else the host's; 0 before a replay's first event |
//!
//! Bodies of what happens often are the POD records of [`tidegate_wire`], as they are in memory; bodies of what happens
//! rarely are JSON, so that they can be read without this program. A new schema is a new kind: none is ever changed.
//! Records of decisions take 104 bytes, which with RFC 6962's prefix are two blocks of SHA-256.

use bytemuck::{Pod, Zeroable};
use strum::{EnumIter, FromRepr, IntoStaticStr};
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::decision::Decision;
use tidegate_wire::event::Status;
use tidegate_wire::instrument::InstrumentId;
use tidegate_wire::order::{Execution, OrderRequest, Verdict};
use tidegate_wire::signal::{OutcomeBody, SignalBody};

/// The layout's version.
pub const VERSION: u8 = 1;
/// Bytes of a header.
pub const HEADER: usize = 16;
/// Longest body, bytes.
pub const BODY_MAX: usize = crate::journal::FRAME_MAX - HEADER;

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// JSON: a program began to write: its version, what for.
    Session = 1,
    /// JSON: who is meant by an actor's number from here to the session's end.
    Actor = 2,
    /// JSON: the configuration in force, as far as decisions depend on it.
    Configuration = 3,
    /// JSON: names of the numbers that records use: instruments, venues, strategies, rules.
    Names = 4,
    /// JSON: the session ended: counts, digests.
    End = 5,
    /// [`Decision`]: a breaker changed its state.
    Decision = 16,
    /// [`Adjustment`]: thresholds changed.
    Adjustment = 17,
    /// [`Operated`]: an operator's command reached the engine.
    Operated = 18,
    /// [`BookChange`]: a book changed its quality: gaps, corruption, resyncs.
    Book = 19,
    /// [`SignalBody`]: the signal desk saw something.
    Signal = 20,
    /// [`OutcomeBody`]: what became of a signal.
    Outcome = 21,
    /// JSON: what the formula and models said of a signal, and whose word it acts on.
    Rating = 22,
    /// JSON: the training of models that rate signals: trained, refused, on trial, promoted; why nothing was.
    Training = 23,
    /// JSON: what a model did: loaded, refused, promoted, rolled back, lost.
    Model = 32,
    /// JSON: what a connection did: connected, lost, resynchronised, gave up.
    Connection = 33,
    /// JSON: a request of a person or program, before it is carried out.
    Request = 34,
    /// JSON: what the balance ledger did.
    Ledger = 48,
    /// JSON: an alert of the risk gate: refusals, kill switches, overrides, emergency protocols; reports of orders.
    Risk = 49,
    /// [`OrderRequest`]: somebody wanted something of a venue.
    Order = 50,
    /// [`Verdict`]: what the risk gate said to it.
    Verdict = 51,
    /// [`Execution`]: an order executed, wholly or in part.
    Execution = 52,
    /// JSON: a position on paper has ended, or never was.
    Position = 53,
    /// [`OrderRequest`]: the trade desk wants something of the paper exchange. No venue ever hears of it.
    PaperOrder = 54,
    /// [`Verdict`]: what the trade desk's risk gate said to it.
    PaperVerdict = 55,
    /// [`Execution`]: it executed on paper, wholly or in part.
    PaperExecution = 56,
    /// JSON: entries that are missing because the log could not keep up; never required ones.
    Dropped = 64,
    /// JSON: the log was opened after a crash: what was read again, what was torn.
    Recovered = 65,
    /// JSON: entries below an index were removed by retention.
    Pruned = 66,
    /// JSON: a checkpoint was put on a chain.
    Anchored = 67,
}

impl Kind {
    /// Name as in exports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Names of all kinds, in the order of their numbers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        <Self as strum::IntoEnumIterator>::iter().map(Self::name)
    }

    /// Whether the body is JSON.
    pub const fn is_json(self) -> bool {
        self.bytes().is_none()
    }

    /// Whether an entry of this kind may be left out when the log cannot keep up. What has to do with money, orders,
    /// limits and people may not.
    pub const fn may_drop(self) -> bool {
        matches!(self, Self::Book | Self::Connection)
    }

    /// Bytes of a record's body; `None` for JSON.
    const fn bytes(self) -> Option<usize> {
        match self {
            Self::Decision => Some(size_of::<Decision>()),
            Self::Adjustment => Some(size_of::<Adjustment>()),
            Self::Operated => Some(size_of::<Operated>()),
            Self::Book => Some(size_of::<BookChange>()),
            Self::Signal => Some(size_of::<SignalBody>()),
            Self::Outcome => Some(size_of::<OutcomeBody>()),
            Self::Order | Self::PaperOrder => Some(size_of::<OrderRequest>()),
            Self::Verdict | Self::PaperVerdict => Some(size_of::<Verdict>()),
            Self::Execution | Self::PaperExecution => Some(size_of::<Execution>()),
            _ => None,
        }
    }
}

/// A book's change of quality. 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BookChange {
    /// Frame that caused it, or the last one before a timer.
    pub frame: u64,
    /// What the stream said: quality, expected and received ids.
    pub status: Status,
    /// Which book.
    pub instrument: InstrumentId,
    /// Flags of the event's header.
    pub flags: u16,
    /// Zero.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<BookChange>() == 40);
    assert!(HEADER + size_of::<Decision>() <= 118, "two blocks of SHA-256");
};

/// A header and the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it tells.
    pub kind: Kind,
    /// Who did it.
    pub actor: u16,
    /// How far back the entry lies that it follows from; 0 for none.
    pub back: u32,
    /// When, ns since the Unix epoch.
    pub time_ns: i64,
    /// The body.
    pub body: &'a [u8],
}

/// Bytes that are no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Less than a header.
    #[error("{0} bytes are less than a header")]
    Short(usize),
    /// Another layout.
    #[error("layout version {0}, this program knows {VERSION}")]
    Version(u8),
    /// An unknown kind.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// A body that is not as long as its record.
    #[error("a {kind} of {found} bytes, expected {expected}")]
    Length {
        /// What it claims to be.
        kind: &'static str,
        /// Bytes of its body.
        found: usize,
        /// Bytes of such a record.
        expected: usize,
    },
    /// A body that should be JSON and is not.
    #[error("a {0} that is no JSON")]
    Json(&'static str),
}

impl<'a> Entry<'a> {
    /// An entry of the engine itself that follows from no other.
    pub const fn new(kind: Kind, time_ns: i64, body: &'a [u8]) -> Self {
        Self { kind, actor: 0, back: 0, time_ns, body }
    }

    /// Its bytes, appended to `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[VERSION, self.kind as u8]);
        bytes.extend_from_slice(&self.actor.to_le_bytes());
        bytes.extend_from_slice(&self.back.to_le_bytes());
        bytes.extend_from_slice(&self.time_ns.to_le_bytes());
        bytes.extend_from_slice(self.body);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EntryError`]: it is none of this layout.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let entry = Self::read_record(bytes)?;
        if entry.kind.is_json() && serde_json::from_slice::<serde::de::IgnoredAny>(entry.body).is_err() {
            return Err(EntryError::Json(entry.kind.name()));
        }
        Ok(entry)
    }

    /// Reads one without looking into JSON.
    ///
    /// # Errors
    /// [`EntryError`]: it is none of this layout.
    pub(crate) fn read_record(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(EntryError::Short(bytes.len()))?;
        let [version, kind, a0, a1, b0, b1, b2, b3, time @ ..] = *header;
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        let kind = Kind::from_repr(kind).ok_or(EntryError::Kind(kind))?;
        if let Some(expected) = kind.bytes().filter(|expected| *expected != body.len()) {
            return Err(EntryError::Length { kind: kind.name(), found: body.len(), expected });
        }
        let (actor, back) = (u16::from_le_bytes([a0, a1]), u32::from_le_bytes([b0, b1, b2, b3]));
        Ok(Self { kind, actor, back, time_ns: i64::from_le_bytes(time), body })
    }

    /// Says in an entry's bytes how far back the entry lies that it follows from.
    pub(crate) fn set_back(bytes: &mut [u8], back: u32) {
        bytes[4..8].copy_from_slice(&back.to_le_bytes());
    }

    /// The body as a record; `None` when it is one of another size.
    pub fn record<T: Pod>(&self) -> Option<T> {
        bytemuck::try_pod_read_unaligned(self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_round_and_layouts_are_golden() {
        let mut decision = Decision::zeroed();
        (decision.sequence, decision.event_ns, decision.value) = (7, 1_700_000_000_000_000_000, 0.05);
        let entry = Entry {
            actor: 3,
            back: 2,
            ..Entry::new(Kind::Decision, 1_700_000_000_000_000_000, bytemuck::bytes_of(&decision))
        };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        assert_eq!(Entry::read(&bytes), Ok(entry));
        assert_eq!(entry.record::<Decision>(), Some(decision));
        assert_eq!(bytes.len(), 104);
        // These bytes are in logs that exist: they do not change.
        assert_eq!(
            hex::encode(&bytes[..32]),
            "011003000200000000002a36fe9c9717".to_owned() + "0700000000000000" + "00002a36fe9c9717"
        );
        let mut json = Vec::new();
        Entry::new(Kind::Session, -1, br#"{"version":"0.1.0"}"#).write(&mut json);
        assert_eq!(Entry::read(&json).map(|entry| entry.kind), Ok(Kind::Session));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let mut good = Vec::new();
        Entry::new(Kind::Book, 1, &[0; 40]).write(&mut good);
        assert!(Entry::read(&good).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Entry::read(&bytes).map(|entry| entry.kind)
        };
        assert_eq!(with(0, 2), Err(EntryError::Version(2)));
        assert_eq!(with(1, 0), Err(EntryError::Kind(0)));
        assert_eq!(with(1, 16), Err(EntryError::Length { kind: "decision", found: 40, expected: 88 }));
        assert_eq!(with(1, 1), Err(EntryError::Json("session")));
        assert_eq!(Entry::read(&good[..15]), Err(EntryError::Short(15)));
    }
}
