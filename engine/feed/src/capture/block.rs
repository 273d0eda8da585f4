//! Entries one after the other: what is compressed and written at once.

use super::entry::Entry;

/// Entries one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The entries' bytes.
    pub bytes: Vec<u8>,
    /// How many.
    pub entries: u32,
    /// Earliest and latest receive time, ns since the Unix epoch. Not first and last: frames of several connections may
    /// be stamped out of order.
    pub span_ns: (i64, i64),
}

impl Block {
    /// Bytes of a block that nobody waits for: some hundred fat frames. A frame that is larger has a block of its own.
    pub const SIZE: usize = 1 << 20;

    /// Whether it would become larger than [`Self::SIZE`] with this entry.
    #[inline]
    pub const fn is_full_for(&self, entry: &Entry<'_>) -> bool {
        self.bytes.len() + entry.size() > Self::SIZE
    }

    /// Appends an entry.
    #[inline]
    pub fn push(&mut self, entry: &Entry<'_>) {
        let (earliest, latest) = if self.entries == 0 { (i64::MAX, i64::MIN) } else { self.span_ns };
        self.span_ns = (earliest.min(entry.recv_ns), latest.max(entry.recv_ns));
        entry.write(&mut self.bytes);
        self.entries += 1;
    }

    /// Empties it; its memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.entries, self.span_ns) = (0, (0, 0));
    }
}
