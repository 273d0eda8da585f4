//! What the feed counts: messages by kind, and everything it did not use by reason.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use tidegate_wire::Venue;

/// Why a frame produced no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Not JSON, or cut off.
    NotJson,
    /// JSON, but nothing this venue is known to send.
    UnknownMessage,
    /// A field is missing, twice there, or of another type.
    BadField,
    /// A price or quantity is no plain decimal.
    BadDecimal,
    /// A price or quantity with more decimals than the instrument has: its definition is out of date.
    OffGrid,
    /// A number that does not fit 64 bits.
    Overflow,
    /// An instrument that is not registered.
    UnknownSymbol,
    /// More levels a side than a book frame may have.
    TooManyLevels,
    /// A snapshot that does not say whose it is, from a source with several instruments.
    UnnamedSnapshot,
    /// An acknowledgement or another answer to a request.
    Control,
    /// A stream the engine has no use for (klines, liquidations).
    UnusedStream,
    /// A best price of one side only: nobody can be quoted on it.
    OneSided,
}

impl Reason {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether a healthy venue sends such frames (they are skipped, not errors).
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Control | Self::UnusedStream | Self::OneSided)
    }
}

impl From<tidegate_wire::DecimalError> for Reason {
    fn from(error: tidegate_wire::DecimalError) -> Self {
        match error {
            tidegate_wire::DecimalError::Malformed => Self::BadDecimal,
            tidegate_wire::DecimalError::Inexact => Self::OffGrid,
            tidegate_wire::DecimalError::Overflow => Self::Overflow,
        }
    }
}

/// What is counted for each venue on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VenueCounters {
    /// Frames skipped although a healthy venue would not send them.
    pub decode_errors: u64,
    /// Missing updates noticed by the sequence rule.
    pub gaps: u64,
    /// Books brought back to good after their first time.
    pub resyncs: u64,
    /// Checksums compared with the book.
    pub checksums_verified: u64,
    /// Of these, how many were not the book's.
    pub checksum_failures: u64,
}

/// Counters of a feed; all from 0, all only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FeedCounters {
    /// Frames offered.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Events emitted: deltas, snapshots, quotes, trades, marks, bars and status changes.
    pub events: u64,
    /// Depth frames emitted.
    pub deltas: u64,
    /// Price levels in them.
    pub level_changes: u64,
    /// Snapshots emitted.
    pub snapshots: u64,
    /// Best bid and ask messages.
    pub quotes: u64,
    /// Trades.
    pub trades: u64,
    /// Mark price messages.
    pub marks: u64,
    /// Volatility and greeks messages.
    pub options: u64,
    /// Finished bars of the venues' own.
    pub bars: u64,
    /// Recorded order books compared with the book kept order by order.
    pub books_checked: u64,
    /// Of these, how many showed the same levels.
    pub books_agreed: u64,
    /// Missing updates noticed by the sequence rule.
    pub gaps: u64,
    /// Streams taken up again from another connection or capture without continuing the one before.
    pub sessions: u64,
    /// Books brought back to good after their first time.
    pub resyncs: u64,
    /// Depth frames held back for a snapshot.
    pub held_back: u64,
    /// Depth frames dropped because the next snapshot of their stream makes them superfluous.
    pub dropped: u64,
    /// Depth frames of a second stream of a book that follows another one.
    pub shadowed: u64,
    /// Frames without levels that show that a stream lives; they are depth frames too.
    pub keep_alives: u64,
    /// Levels that fell out of the window a venue shows of its book, and were removed here.
    pub trimmed: u64,
    /// Checksums compared with the book.
    pub checksums_verified: u64,
    /// Of these, how many were not the book's: each took a book out of service.
    pub checksum_failures: u64,
    /// Depth frames older than the book: repeated, or before the snapshot.
    pub outdated: u64,
    /// Depth frames passed over because another connection was to bring what is missing before them.
    pub ahead: u64,
    /// Holes of one connection that another one filled.
    pub healed: u64,
    /// Quotes, trades and marks that another connection had brought already.
    pub copies: u64,
    /// Snapshots older than the frames held back for them.
    pub snapshots_too_old: u64,
    /// Snapshots nobody asked for: the book was good.
    pub snapshots_unneeded: u64,
    /// Held-back frames thrown away because the buffer was full.
    pub held_back_overflow: u64,
    /// Times that a book began or ceased to need a snapshot: as long as it stays, the set of these books does.
    pub waiting_changes: u64,
    /// Jumps in contiguous trade ids.
    pub trade_id_gaps: u64,
    /// Frames of a scanned kind that simd-json had to read: a venue's schema change shows here.
    pub scanner_fallbacks: u64,
    /// Frames that produced no event, by [`Reason`].
    pub skipped: [u64; Reason::VARIANTS.len()],
    /// The same by venue, in the order of [`Venue::ALL`], as far as venues differ in it.
    pub venues: [VenueCounters; Venue::ALL.len()],
}

impl FeedCounters {
    /// Frames skipped although a healthy venue would not send them.
    pub fn decode_errors(&self) -> u64 {
        Reason::VARIANTS.iter().filter(|r| !r.is_harmless()).map(|r| self.skipped[*r as usize]).sum()
    }

    /// A frame of a venue was skipped.
    #[inline]
    pub(crate) fn skip(&mut self, venue: Venue, reason: Reason) {
        self.skipped[reason as usize] += 1;
        self.venues[venue as usize].decode_errors += u64::from(!reason.is_harmless());
    }

    /// Venues with what was counted for them.
    pub fn by_venue(&self) -> impl Iterator<Item = (Venue, &VenueCounters)> {
        Venue::ALL.into_iter().zip(&self.venues)
    }

    /// Reasons that occurred, with their counts.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::VARIANTS.iter().map(|r| (*r, self.skipped[*r as usize])).filter(|(_, n)| *n > 0)
    }
}
