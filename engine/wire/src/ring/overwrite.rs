//! The overwrite ring: one writer that never waits, any number of readers that may be lapped.
//!
//! Each line is a sequence lock of its own: the writer clears the sequence, writes the payload and sets the new
//! sequence; a reader copies and then checks that no sequence moved meanwhile. A reader that was lapped goes on at the
//! first record start in the newer half of the ring and counts the lines it missed.

use std::sync::Arc;

use crate::ring::{LINE_WORDS, MAX_LINES, RecordBuf, Region, lines_for, lines_of, sequence_word};
use crate::sync::{Ordering, fence};

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    region: Arc<Region>,
    /// Line filled next.
    next: u64,
}

/// A reading end; make as many as there are observers.
#[derive(Debug)]
pub struct Reader {
    region: Arc<Region>,
    /// Line read next; the start of a record unless `lost` has just grown.
    next: u64,
    /// Lines overwritten before this reader came to them.
    lost_lines: u64,
    /// How often that happened.
    laps: u64,
}

impl Writer {
    /// Attaches as the writer, behind the last record of the writer before. There must be no other writer.
    pub fn resume(region: Arc<Region>) -> Self {
        let next = region.header().tail.0.load(Ordering::Acquire);
        region.header().epoch.fetch_add(1, Ordering::Relaxed);
        Self { region, next }
    }

    /// Publishes one record over the oldest. The number of lines is written into its first word (bits 32 to 47).
    ///
    /// # Panics
    /// On an empty record or one of more than [`crate::ring::RECORD_WORDS_MAX`] words: a programming error.
    #[inline]
    pub fn push(&mut self, record: &mut [u64]) {
        let lines = lines_for(record.len());
        assert!((1..=MAX_LINES).contains(&lines), "a record has 1 to {MAX_LINES} lines");
        record[0] = record[0] & !(0xffff << 32) | (lines as u64) << 32;
        let mut start = true;
        for payload in record.chunks(LINE_WORDS) {
            let line = self.region.line(self.next);
            line.sequence.store(0, Ordering::Relaxed);
            // SYNC: pairs with the acquire fence in `Reader::copy`: a new word implies a moved sequence.
            fence(Ordering::Release);
            for (i, word) in line.words.iter().enumerate() {
                word.store(payload.get(i).copied().unwrap_or(0), Ordering::Relaxed);
            }
            // SYNC: pairs with the acquire load in `Reader::copy`.
            line.sequence.store(sequence_word(self.next, start), Ordering::Release);
            self.next += 1;
            start = false;
        }
        // Only lapped readers and late joiners look here.
        self.region.header().tail.0.store(self.next, Ordering::Release);
    }

    /// Lines written since the ring was made.
    pub const fn position(&self) -> u64 {
        self.next
    }
}

/// What copying a record came to.
enum Copy {
    Done(usize),
    NotYet,
    Lapped,
}

impl Reader {
    /// Joins at the newest record: sees what is published from now on.
    pub fn newest(region: Arc<Region>) -> Self {
        let next = region.header().tail.0.load(Ordering::Acquire);
        Self { region, next, lost_lines: 0, laps: 0 }
    }

    /// Joins at the oldest record that is still whole: what a flight recorder reads after a crash.
    pub fn oldest(region: Arc<Region>) -> Self {
        let mut reader = Self { region, next: 0, lost_lines: 0, laps: 0 };
        let tail = reader.region.header().tail.0.load(Ordering::Acquire);
        if tail > reader.region.lines() {
            reader.next = tail - reader.region.lines();
            reader.seek_start(tail);
        }
        reader
    }

    /// The next record, padded with zeros to whole lines, or `None` when there is none yet.
    #[inline]
    pub fn pop<'b>(&mut self, buf: &'b mut RecordBuf) -> Option<&'b [u64]> {
        loop {
            match self.copy(buf) {
                Copy::Done(lines) => {
                    self.next += lines as u64;
                    return Some(&buf.words[..lines * LINE_WORDS]);
                }
                Copy::NotYet => return None,
                Copy::Lapped => self.catch_up(),
            }
        }
    }

    #[inline(always)]
    fn copy(&self, buf: &mut RecordBuf) -> Copy {
        let wanted = sequence_word(self.next, true);
        // SYNC: pairs with the release store that ends a line in `Writer::push`.
        let found = self.region.line(self.next).sequence.load(Ordering::Acquire);
        if found != wanted {
            return if found > wanted { Copy::Lapped } else { Copy::NotYet };
        }
        let first = self.region.line(self.next).words[0].load(Ordering::Relaxed);
        // A torn first word can name any number of lines; whatever we copy is checked before it counts.
        let lines = lines_of(first).clamp(1, MAX_LINES);
        for i in 0..lines {
            let (n, line) = (self.next + i as u64, self.region.line(self.next + i as u64));
            // SYNC: as above, for each line.
            let before = line.sequence.load(Ordering::Acquire);
            for (k, word) in line.words.iter().enumerate() {
                buf.words[i * LINE_WORDS + k] = word.load(Ordering::Relaxed);
            }
            // SYNC: pairs with the release fence in `Writer::push`.
            fence(Ordering::Acquire);
            let after = line.sequence.load(Ordering::Relaxed);
            let wanted = sequence_word(n, i == 0);
            if before != wanted || after != wanted {
                // Zero is a line being written: this very record, or the lap that overwrites it. Asking again
                // settles which; a first line that moved says it now.
                let moved = before.max(after) > wanted || i == 0;
                return if moved && self.lapped() { Copy::Lapped } else { Copy::NotYet };
            }
        }
        // The first line vouches for the line count: it must still be the same lap.
        fence(Ordering::Acquire);
        if self.region.line(self.next).sequence.load(Ordering::Relaxed) == wanted {
            Copy::Done(lines)
        } else {
            Copy::Lapped
        }
    }

    /// Whether the writer has passed the line we want to read.
    fn lapped(&self) -> bool {
        self.region.header().tail.0.load(Ordering::Acquire) > self.next + self.region.lines()
            || self.region.line(self.next).sequence.load(Ordering::Acquire) > sequence_word(self.next, true)
    }

    #[cold]
    fn catch_up(&mut self) {
        let tail = self.region.header().tail.0.load(Ordering::Acquire);
        let from = self.next;
        self.next = self.next.max(tail.saturating_sub(self.region.lines() / 2));
        self.seek_start(tail);
        self.laps += 1;
        self.lost_lines += self.next - from;
    }

    /// Moves to the first record start at or behind `next`; to `tail` if there is none.
    fn seek_start(&mut self, tail: u64) {
        while self.next < tail {
            let found = self.region.line(self.next).sequence.load(Ordering::Acquire);
            if found == sequence_word(self.next, true) {
                return;
            }
            self.next += 1;
        }
    }

    /// Lines overwritten before this reader came to them.
    pub const fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// How often the writer lapped this reader.
    pub const fn laps(&self) -> u64 {
        self.laps
    }
}
