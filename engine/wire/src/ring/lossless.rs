//! The lossless ring: one writer, one reader.
//!
//! ```
//! use std::sync::Arc;
//! use tidegate_wire::ring::{RecordBuf, Region, RegionKind, lossless};
//!
//! let region = Arc::new(Region::anonymous(RegionKind::Lossless, 1024)?);
//! let (mut writer, mut reader) = (lossless::Writer::resume(region.clone()), lossless::Reader::resume(region));
//! let mut buf = RecordBuf::default();
//! writer.push(&mut [7, 8, 9])?;
//! assert_eq!(reader.pop(&mut buf).map(|record| record[1..].to_vec()), Some(vec![8, 9, 0, 0, 0, 0]));
//! assert_eq!(reader.pop(&mut buf), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The writer owns `next`, the line it fills next, and a copy of the reader's position that may be stale; it looks at
//! the shared one only when the copy says "full". The reader owns its position and publishes it every quarter of the
//! ring and whenever it finds nothing, so that in steady flow only payload lines move between the cores.

use std::sync::Arc;

use crate::ring::{Full, LINE_WORDS, MAX_LINES, RecordBuf, Region, lines_for, lines_of, sequence_word};
use crate::sync::Ordering;

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    pub(super) region: Arc<Region>,
    /// Line filled next.
    pub(super) next: u64,
    /// Reader's position when last looked at; may be stale, never ahead of it.
    pub(super) head: u64,
}

/// The reading end.
#[derive(Debug)]
pub struct Reader {
    pub(super) region: Arc<Region>,
    /// Line read next.
    pub(super) next: u64,
    /// Position last published to the writer, <= `next`.
    pub(super) returned: u64,
}

impl Writer {
    /// Attaches as the writer, behind the last whole record (line 0 of a new ring). There must be no other writer.
    ///
    /// Lines of a record that a killed writer left incomplete are erased, last one first.
    pub fn resume(region: Arc<Region>) -> Self {
        let head = region.header().head.0.load(Ordering::Acquire);
        let mut next = head;
        // Walk whole records from the reader's position; at most one lap.
        while next - head < region.lines() {
            let Some(lines) = whole_record(&region, next) else { break };
            next += lines as u64;
        }
        for n in (next..next + MAX_LINES as u64).rev() {
            let line = region.line(n);
            if line.sequence.load(Ordering::Relaxed) >> 1 == n + 1 {
                line.sequence.store(0, Ordering::Release);
            }
        }
        region.header().epoch.fetch_add(1, Ordering::Relaxed);
        Self { region, next, head }
    }

    /// Publishes one record. The number of lines is written into its first word (bits 32 to 47).
    ///
    /// # Errors
    /// [`Full`] when the reader has not made room; nothing is written then.
    ///
    /// # Panics
    /// On an empty record or one of more than [`crate::ring::RECORD_WORDS_MAX`] words: a programming error.
    #[inline]
    pub fn push(&mut self, record: &mut [u64]) -> Result<(), Full> {
        let lines = lines_for(record.len());
        assert!((1..=MAX_LINES).contains(&lines), "a record has 1 to {MAX_LINES} lines");
        if !self.has_room(lines) {
            return Err(Full);
        }
        record[0] = record[0] & !(0xffff << 32) | (lines as u64) << 32;
        let mut start = true;
        for payload in record.chunks(LINE_WORDS) {
            let line = self.region.line(self.next);
            if let Ok(payload) = <&[u64; LINE_WORDS]>::try_from(payload) {
                for (word, value) in line.words.iter().zip(payload) {
                    word.store(*value, Ordering::Relaxed);
                }
            } else {
                for (i, word) in line.words.iter().enumerate() {
                    word.store(payload.get(i).copied().unwrap_or(0), Ordering::Relaxed);
                }
            }
            // SYNC: pairs with the acquire load in `Reader::ready`: the payload is there when the sequence is.
            line.sequence.store(sequence_word(self.next, start), Ordering::Release);
            self.next += 1;
            start = false;
        }
        Ok(())
    }

    #[inline(always)]
    fn has_room(&mut self, lines: usize) -> bool {
        let fits = |head: u64, next: u64| next + lines as u64 - head <= self.region.lines();
        if fits(self.head, self.next) {
            return true;
        }
        // SYNC: pairs with the release store in `Reader::give_back`: its reads of these lines are done.
        self.head = self.region.header().head.0.load(Ordering::Acquire);
        fits(self.head, self.next)
    }

    /// Lines written since the ring was made.
    pub const fn position(&self) -> u64 {
        self.next
    }
}

impl Reader {
    /// Attaches as the reader, at the position last given back. There must be no other reader.
    ///
    /// What a killed reader had taken but not given back is delivered again (at most a quarter of the ring).
    pub fn resume(region: Arc<Region>) -> Self {
        let next = region.header().head.0.load(Ordering::Acquire);
        Self { region, next, returned: next }
    }

    /// The next record, padded with zeros to whole lines, or `None` when there is none yet.
    #[inline]
    pub fn pop<'b>(&mut self, buf: &'b mut RecordBuf) -> Option<&'b [u64]> {
        let first = self.region.line(self.next);
        // SYNC: pairs with the release store in `Writer::push`.
        if first.sequence.load(Ordering::Acquire) != sequence_word(self.next, true) {
            self.give_back_when_idle();
            return None;
        }
        let word = first.words[0].load(Ordering::Relaxed);
        let lines = lines_of(word).clamp(1, MAX_LINES);
        // SYNC: as above; lines are published in order, so the last one vouches for all.
        if lines > 1 && self.sequence_at(lines - 1) >> 1 != self.next + lines as u64 {
            return None;
        }
        for i in 0..lines {
            let line = self.region.line(self.next + i as u64);
            for (k, word) in line.words.iter().enumerate() {
                buf.words[i * LINE_WORDS + k] = word.load(Ordering::Relaxed);
            }
        }
        self.next += lines as u64;
        if self.next - self.returned >= self.region.lines() / 4 {
            self.give_back();
        }
        Some(&buf.words[..lines * LINE_WORDS])
    }

    #[inline(always)]
    fn sequence_at(&self, offset: usize) -> u64 {
        self.region.line(self.next + offset as u64).sequence.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn give_back_when_idle(&mut self) {
        if self.returned != self.next {
            self.give_back();
        }
    }

    #[inline(always)]
    fn give_back(&mut self) {
        // SYNC: pairs with the acquire load in `Writer::has_room`.
        self.region.header().head.0.store(self.next, Ordering::Release);
        self.returned = self.next;
    }

    /// Lines read since the ring was made.
    pub const fn position(&self) -> u64 {
        self.next
    }
}

/// Lines of the record that starts at line `n`, if it is whole.
fn whole_record(region: &Region, n: u64) -> Option<usize> {
    let first = region.line(n);
    if first.sequence.load(Ordering::Acquire) != sequence_word(n, true) {
        return None;
    }
    let lines = lines_of(first.words[0].load(Ordering::Relaxed));
    let all_there = (1..=MAX_LINES).contains(&lines)
        && (1..lines as u64)
            .all(|i| region.line(n + i).sequence.load(Ordering::Acquire) == sequence_word(n + i, false));
    all_there.then_some(lines)
}
