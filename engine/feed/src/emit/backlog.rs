//! Frames of a stream that sends no snapshot, held back until one from beside the stream joins them (OKX).
//!
//! What is held is one chain without a hole: `floor` is the number from which on nothing is missing, `end` that of the
//! last frame. A snapshot joins where its number is not below the floor; frames up to that number are in it. The first
//! frame of a stream is not used, as the venue advises: it only tells the floor. A hole throws away what was before it,
//! which no snapshot from now on will need.

use tidegate_wire::Level;

use crate::checksum::Text;
use crate::sync::Previous;
use crate::venues::{Levels, StreamFrame};

/// Frames that can be held back: a minute and a half of ten a second.
const FRAMES: usize = 1024;
/// Levels of those frames: any single frame fits.
const LEVELS: usize = 32 * 1024;
/// Old frames in a row that another connection may bring. More mean that the venue counts anew.
const BEHIND_MAX: u32 = 64;

/// A frame held back.
#[derive(Clone, Copy, Debug)]
struct Held {
    frame: StreamFrame,
    venue_ns: i64,
    /// Where its levels begin in the store.
    at: usize,
    bids: usize,
    asks: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is held back.
    Held,
    /// It only told where the stream is, or is of no use.
    Noted,
    /// It is older than what is held.
    Outdated,
}

/// The frames held back for one book. Everything is sized at construction.
#[derive(Debug)]
pub(super) struct Backlog {
    frames: Vec<Held>,
    levels: Vec<Level>,
    texts: Vec<Text>,
    /// Floor and end; nothing before the first frame.
    chain: Option<(u64, u64)>,
    /// Connection of the last frame.
    source: u16,
    /// Venue's time of the frame with which it began to count anew; 0 when it did not. A snapshot that is no newer may
    /// have a number of before.
    anew_ns: i64,
    behind: u32,
    /// Frames thrown away that nobody has counted yet.
    thrown: u64,
    overflows: u64,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            frames: Vec::with_capacity(FRAMES),
            levels: Vec::with_capacity(LEVELS),
            texts: Vec::with_capacity(LEVELS),
            chain: None,
            source: 0,
            anew_ns: 0,
            behind: 0,
            thrown: 0,
            overflows: 0,
        }
    }

    /// Frames thrown away because too many were held back.
    pub(super) const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Frames thrown away since this was asked last.
    pub(super) const fn take_thrown(&mut self) -> u64 {
        core::mem::replace(&mut self.thrown, 0)
    }

    /// Number and connection of the last frame.
    pub(super) fn end(&self) -> Option<(u64, u16)> {
        self.chain.map(|(_, end)| (end, self.source))
    }

    /// Whether a snapshot of this number and time joins what is held.
    pub(super) fn joins(&self, id: u64, venue_ns: i64) -> bool {
        self.chain.is_some_and(|(floor, _)| id >= floor) && (self.anew_ns == 0 || venue_ns > self.anew_ns)
    }

    /// Throws everything away: another stream begins.
    pub(super) fn clear(&mut self) {
        self.thrown += self.frames.len() as u64;
        self.forget();
        (self.chain, self.anew_ns, self.behind) = (None, 0, 0);
    }

    /// What was held has been released.
    pub(super) fn released(&mut self) {
        self.forget();
        self.clear();
    }

    fn forget(&mut self) {
        self.frames.clear();
        self.levels.clear();
        self.texts.clear();
    }

    /// Takes a frame. `known`: the stream before it is known, so that it is not the first one.
    pub(super) fn hold(
        &mut self,
        frame: &StreamFrame,
        (venue_ns, source): (i64, u16),
        levels: &Levels,
        known: bool,
    ) -> Kept {
        let (Some(last), Previous::Id(previous)) = (frame.ids.last, frame.ids.previous) else {
            self.clear();
            return Kept::Noted;
        };
        let anew = last < previous;
        match self.chain {
            // It lives, and nothing changed.
            Some((_, end)) if last == end && previous == last => return Kept::Noted,
            // Within one connection order is kept: a lower number is none of the past, and what was held was wrong.
            Some((_, end)) if !anew && last <= end && (last == end || source != self.source) && self.may_lag() => {
                self.behind += 1;
                return Kept::Outdated;
            }
            Some((floor, end)) if !anew && previous <= end && end < last => {
                (self.chain, self.source, self.behind) = (Some((floor, last)), source, 0);
                self.push(frame, previous, venue_ns, levels);
                return Kept::Held;
            }
            _ => {}
        }
        let known = (known || self.chain.is_some()) && previous < last;
        self.clear();
        (self.source, self.anew_ns) = (source, if anew { venue_ns } else { 0 });
        if !known {
            self.chain = Some((last, last));
            return Kept::Noted;
        }
        self.chain = Some((previous, last));
        self.push(frame, previous, venue_ns, levels);
        Kept::Held
    }

    const fn may_lag(&self) -> bool {
        self.behind < BEHIND_MAX
    }

    fn push(&mut self, frame: &StreamFrame, previous: u64, venue_ns: i64, levels: &Levels) {
        let (bids, asks) = (levels.bids(), levels.asks());
        if self.frames.len() == FRAMES || self.levels.len() + bids.len() + asks.len() > LEVELS {
            let count = self.frames.len() as u64;
            (self.thrown, self.overflows) = (self.thrown + count, self.overflows + count);
            self.forget();
            self.chain = self.chain.map(|(_, end)| (previous, end));
        }
        self.frames.push(Held { frame: *frame, venue_ns, at: self.levels.len(), bids: bids.len(), asks: asks.len() });
        for (side, texts) in [(bids, levels.texts().0), (asks, levels.texts().1)] {
            self.levels.extend_from_slice(side);
            self.texts.extend((0..side.len()).map(|index| texts.get(index).copied().unwrap_or(Text::EMPTY)));
        }
    }

    /// The frame at this place, its levels in `levels`, and the venue's time of it.
    pub(super) fn read(&self, index: usize, levels: &mut Levels) -> Option<(StreamFrame, i64)> {
        let held = self.frames.get(index)?;
        let (middle, end) = (held.at + held.bids, held.at + held.bids + held.asks);
        levels.put(
            (&self.levels[held.at..middle], &self.texts[held.at..middle]),
            (&self.levels[middle..end], &self.texts[middle..end]),
        );
        Some((held.frame, held.venue_ns))
    }
}
