//! The newest value of something small, for one writer and any number of readers: a sequence lock.
//!
//! The payload is relaxed atomics, so a torn read is a wrong value that the sequence exposes, never a data race. A
//! reader first polls [`SeqCell::version`]; copying on every poll would slow the writer (measured: a reader that
//! copies 1 KB on every poll retries 50-94 % of them), which is also why a cell holds at most 256 bytes.

use crate::sync::{AtomicU64, Ordering, fence};

/// Largest payload of a cell, words.
pub const CELL_WORDS_MAX: usize = 31;

/// `N` words behind a sequence; `N` in `[1, 31]`, so that sequence and payload are at most 256 bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct SeqCell<const N: usize> {
    /// Even: stable, twice the number of writes. Odd: a write is under way.
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for SeqCell<N> {
    fn default() -> Self {
        Self::new([0; N])
    }
}

impl<const N: usize> SeqCell<N> {
    const FITS: () = assert!(N >= 1 && N <= CELL_WORDS_MAX);

    /// A cell whose version 0 holds `words`.
    pub fn new(words: [u64; N]) -> Self {
        const { Self::FITS };
        Self { sequence: AtomicU64::new(0), words: words.map(AtomicU64::new) }
    }

    /// Publishes a value. There must be one writer at a time; a second one would interleave with the first.
    #[inline]
    pub fn store(&self, words: &[u64; N]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        // A writer that died half-way left an odd sequence: keep it odd while overwriting, end even.
        let odd = sequence | 1;
        self.sequence.store(odd, Ordering::Relaxed);
        // SYNC: pairs with the acquire fence in `load`: whoever sees a new word sees the odd sequence too.
        fence(Ordering::Release);
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(*word, Ordering::Relaxed);
        }
        // SYNC: pairs with the acquire load in `load`: whoever sees this even sequence sees all words.
        self.sequence.store(odd + 1, Ordering::Release);
    }

    /// Number of values published so far; odd numbers of the raw sequence (a write under way) round down.
    #[inline(always)]
    pub fn version(&self) -> u64 {
        self.sequence.load(Ordering::Acquire) >> 1
    }

    /// The newest value with its version, or `None` while a write is under way (try again, or keep the old one).
    #[inline]
    pub fn load(&self) -> Option<(u64, [u64; N])> {
        // SYNC: pairs with the release store that ends `store`.
        let before = self.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let words = core::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        // SYNC: pairs with the release fence in `store`: a word of a newer write implies a changed sequence.
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then_some((before >> 1, words))
    }
}

const _: () = assert!(CELL_WORDS_MAX * 8 + 8 == 256);
