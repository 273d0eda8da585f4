//! One captured thing: 24 bytes of head, then the frame.

use tidegate_wire::{InstrumentId, Venue};

use crate::frame::FrameMeta;
use crate::replay::LATEST_NS;

/// What was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::FromRepr)]
#[repr(u8)]
pub enum EntryKind {
    /// A venue's frame.
    Frame = 1,
    /// Time passed without frames.
    Beat = 2,
    /// A book was taken out of service.
    Resync = 3,
    /// So many frames before this were lost, because the disk did not keep up; the payload is their number.
    Lost = 4,
}

/// A captured thing in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: EntryKind,
    /// When it was received, ns since the Unix epoch.
    pub recv_ns: i64,
    /// Which market's.
    pub venue: Venue,
    /// Which connection's.
    pub source: u16,
    /// Whose, where the frame does not say.
    pub hint: InstrumentId,
    /// The frame.
    pub bytes: &'a [u8],
}

/// Bytes of an entry's head: kind, venue, source, hint, two of zero, four of length in bytes, eight of time, four of
/// zero; little endian.
pub(super) const HEAD: usize = 24;

impl Entry<'_> {
    /// How many frames an entry of kind [`EntryKind::Lost`] says were lost; 0 for every other.
    pub fn lost(&self) -> u64 {
        let count = self.bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if self.kind == EntryKind::Lost { count } else { 0 }
    }

    pub(super) fn of_frame<'b>(meta: &FrameMeta, bytes: &'b [u8]) -> Entry<'b> {
        let FrameMeta { recv_ns, venue, source, hint, .. } = *meta;
        Entry { kind: EntryKind::Frame, recv_ns, venue, source, hint, bytes }
    }

    /// Bytes it takes in a block.
    pub(super) const fn size(&self) -> usize {
        HEAD + self.bytes.len()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut head = [0; HEAD];
        head[0] = self.kind as u8;
        head[1] = self.venue as u8;
        head[2..4].copy_from_slice(&self.source.to_le_bytes());
        head[4..6].copy_from_slice(&self.hint.0.to_le_bytes());
        head[8..12].copy_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        head[12..20].copy_from_slice(&self.recv_ns.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.bytes);
    }
}

/// The entries of a block, in order. Ends at the first that is not whole or that no writer of ours writes: its kind
/// or market is unknown, or its time is before the epoch or beyond the year 2100.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The entries in `block`.
    pub const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// Bytes that have not been read: none at the end of a good block.
    pub const fn unread(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (head, rest) = self.rest.split_first_chunk::<HEAD>()?;
        let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let (bytes, rest) = rest.split_at_checked(length)?;
        let recv_ns = i64::from_le_bytes(head[12..20].try_into().ok()?);
        if !(0..=LATEST_NS).contains(&recv_ns) {
            return None;
        }
        let entry = Entry {
            kind: EntryKind::from_repr(head[0])?,
            recv_ns,
            venue: *Venue::ALL.get(usize::from(head[1]))?,
            source: word(2),
            hint: InstrumentId(word(4)),
            bytes,
        };
        self.rest = rest;
        Some(entry)
    }
}
