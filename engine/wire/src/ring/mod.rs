//! Two rings over one memory layout.
//!
//! # Layout
//!
//! A [`Region`] is a 512-byte header and a power-of-two number of 64-byte **lines**. A line is seven payload words
//! and one sequence word. Line number `n` (counted from 0 for ever) lives in slot `n % lines`, and its sequence word
//! is `(n + 1) << 1 | start`, where `start` is 1 on the first line of a record: zeroed memory is "nothing here", and
//! whoever meets a line knows which lap it belongs to and whether a record begins there. A record is 1 to
//! [`MAX_LINES`] consecutive lines; its first word (the beginning of a [`crate::Header`]) holds the number.
//!
//! Because the sequence sits beside the payload, one cache-line transfer carries both. The whole layout is position
//! independent and may be a shared mapping: threads and processes run the same code, and a mapping that outlives its
//! writer can still be read (the flight recorder).
//!
//! # The rings
//!
//! * [`lossless`]: one writer, one reader, nothing is lost; a full ring refuses. The reader returns credit lazily.
//! * [`overwrite`]: one writer, any number of readers, the writer never waits; a reader that is lapped counts what it
//!   lost and goes on at a later record.
//!
//! # Failure
//!
//! Lines are published in order and a reader takes a record only when its last line is there, so a writer killed in
//! mid-record leaves nothing half-read; a new writer [resumes](lossless::Writer::resume) behind the last whole
//! record. A killed reader leaves a lossless ring full: the writer sees [`Full`] and decides. Payload words are
//! relaxed atomics, so even two processes that disagree cannot cause a data race.

pub mod lossless;
pub mod overwrite;
mod region;

#[cfg(not(loom))]
pub(crate) use region::allocate;
pub use region::{RECORD_WORDS_MAX, Region, RegionError, RegionKind};

/// Payload words of a line.
pub const LINE_WORDS: usize = 7;

/// Most lines one record may take.
pub const MAX_LINES: usize = 128;

/// A lossless ring without room for the record. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

/// Lines that a record of `words` takes.
#[inline(always)]
pub const fn lines_for(words: usize) -> usize {
    words.div_ceil(LINE_WORDS)
}

/// The number of lines in the first word of a record (bits 32 to 47, see [`crate::Header`]).
#[inline(always)]
pub(crate) const fn lines_of(first_word: u64) -> usize {
    (first_word >> 32) as usize & 0xffff
}

/// The sequence word of line `n`.
#[inline(always)]
pub(crate) const fn sequence_word(n: u64, start: bool) -> u64 {
    (n + 1) << 1 | start as u64
}

/// A buffer that holds any record.
#[derive(Clone, Debug)]
pub struct RecordBuf {
    pub(crate) words: Box<[u64; RECORD_WORDS_MAX]>,
}

impl Default for RecordBuf {
    fn default() -> Self {
        Self { words: Box::new([0; RECORD_WORDS_MAX]) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
