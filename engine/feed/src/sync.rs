//! Sequence rules: which depth frames join a snapshot, and whether any is missing.
//!
//! A synchroniser stands in front of one book:
//!
//! ```text
//!             snapshot that the held frames join                a frame that joins
//!  Waiting ────────────────────────────────────▶ Joining ────────────────────────────▶ Live
//!     ▲    (held frames are released in order)      │  (released frames usually do)     │
//!     └─────────────────────────────────────────────┴───────── missing update ◀─────────┘
//! ```
//!
//! While waiting, frames are held back; a snapshot older than all of them is refused and they stay held, because a
//! fresher one is on its way and throwing them away would make the wait endless. Everything is sized at construction.

mod stream;

pub use stream::{Previous, StreamIds, StreamRule, StreamSync, StreamVerdict};

use tidegate_wire::Level;
use tidegate_wire::event::{Depth, DepthIds};

/// How a venue numbers its depth frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Ids count this book's updates: a frame begins one above the end of the one before (Binance spot).
    Contiguous,
    /// Ids count the exchange's updates: a frame names the end of the one before in `prev` (Binance futures).
    Chained,
}

/// Where a book stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No snapshot, or an update was missed: frames are held back.
    Waiting,
    /// A snapshot is in place; the next frame must join it.
    Joining,
    /// Every frame continues the one before.
    Live,
}

/// What is known of the connection that brought a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// It is not the one whose frame the book has last.
    pub other: bool,
    /// Nor can it tell that the venue counts anew: the one that carries the book lives. What it brings late is old.
    pub lags: bool,
    /// Another connection may still bring what is missing before it.
    pub may_heal: bool,
}

/// What to do with a depth frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    Apply,
    /// Apply it: it joins the snapshot, the book is good from here.
    Join,
    /// Wait: it was held back.
    Held,
    /// Drop it: the book already has it.
    Outdated,
    /// Drop it: updates are missing before it, but another connection may still bring them.
    Ahead,
    /// Updates are missing before it; it was held back and a snapshot is needed.
    Gap {
        /// Update id that should have come.
        expected: u64,
        /// Update id that came.
        received: u64,
    },
}

/// What to do with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotVerdict {
    /// Load it, then release the held frames.
    Load,
    /// Older than every held frame: ask for another one.
    TooOld,
    /// The sequence goes on without it; only a book that is corrupt though its sequence is whole may want it.
    Unneeded,
}

/// A frame held back.
#[derive(Clone, Copy, Debug)]
struct HeldFrame {
    ids: DepthIds,
    venue_ns: i64,
    /// Where its levels begin in the store.
    at: usize,
    bids: usize,
    asks: usize,
}

/// The sequence rule of one book and the frames held back for it.
#[derive(Debug)]
pub struct Synchroniser {
    rule: Rule,
    state: State,
    /// Last update id the book has; the snapshot's own id while joining.
    last: u64,
    held: Vec<HeldFrame>,
    levels: Vec<Level>,
    overflows: u64,
    /// Outdated frames in a row.
    behind: u32,
}

/// Outdated frames in a row that a re-delivery may bring. More mean that the venue counts anew: the book is dead.
const BEHIND_MAX: u32 = 64;
/// The same while a snapshot waits for its stream: the snapshot may be some seconds ahead of it.
const JOINING_BEHIND_MAX: u32 = 1024;

/// Frames that can be held back; at one each 10 ms, twenty seconds of waiting.
const HELD_FRAMES: usize = 2048;
/// Levels of those frames.
const HELD_LEVELS: usize = 64 * 1024;

impl Synchroniser {
    /// A book that waits for its first snapshot.
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            state: State::Waiting,
            last: 0,
            held: Vec::with_capacity(HELD_FRAMES),
            levels: Vec::with_capacity(HELD_LEVELS),
            overflows: 0,
            behind: 0,
        }
    }

    /// Where the book stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Last update id the book has.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Frames held back now.
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// Frames thrown away because too many were held back.
    pub const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Judges a depth frame. After [`Verdict::Held`] and [`Verdict::Gap`] hold its levels with [`Self::hold`].
    #[inline]
    pub fn delta(&mut self, ids: &DepthIds) -> Verdict {
        self.delta_of(ids, Lane::default())
    }

    /// As [`Self::delta`], of one of several connections.
    #[inline]
    pub fn delta_of(&mut self, ids: &DepthIds, lane: Lane) -> Verdict {
        if self.state == State::Waiting {
            return Verdict::Held;
        }
        let most = if self.state == State::Joining { JOINING_BEHIND_MAX } else { BEHIND_MAX };
        match self.judge(ids, lane) {
            Verdict::Outdated if lane.lags => Verdict::Outdated,
            Verdict::Outdated if self.behind == most => {
                (self.behind, self.state) = (0, State::Waiting);
                Verdict::Gap { expected: self.last, received: ids.last }
            }
            Verdict::Outdated => {
                self.behind += 1;
                Verdict::Outdated
            }
            verdict => {
                self.behind = 0;
                verdict
            }
        }
    }

    #[inline]
    fn judge(&mut self, ids: &DepthIds, lane: Lane) -> Verdict {
        let joining = self.state == State::Joining;
        let (continues, outdated, expected, received) = match self.rule {
            Rule::Contiguous => (ids.first <= self.last + 1, ids.last <= self.last, self.last + 1, ids.first),
            Rule::Chained if joining => (
                ids.prev == self.last || (ids.first <= self.last && self.last <= ids.last),
                ids.last < self.last,
                self.last,
                ids.prev,
            ),
            // Another connection may cut its frames elsewhere: one that reaches from before the book's end to behind it
            // holds all that changed since, in absolute quantities.
            Rule::Chained => {
                let continues = ids.prev == self.last || lane.other && ids.prev < self.last;
                (continues, ids.last <= self.last, self.last, ids.prev)
            }
        };
        if outdated {
            return Verdict::Outdated;
        }
        if !continues && lane.may_heal && !joining {
            return Verdict::Ahead;
        }
        if !continues {
            self.state = State::Waiting;
            return Verdict::Gap { expected, received };
        }
        self.last = ids.last;
        self.state = State::Live;
        if joining { Verdict::Join } else { Verdict::Apply }
    }

    /// Holds a frame back. When the store is full, everything held is thrown away first: it is too old to join.
    pub fn hold(&mut self, ids: DepthIds, venue_ns: i64, bids: &[Level], asks: &[Level]) {
        let needed = bids.len() + asks.len();
        if self.held.len() == HELD_FRAMES || self.levels.len() + needed > HELD_LEVELS {
            self.overflows += self.held.len() as u64;
            self.held.clear();
            self.levels.clear();
        }
        self.held.push(HeldFrame { ids, venue_ns, at: self.levels.len(), bids: bids.len(), asks: asks.len() });
        self.levels.extend_from_slice(bids);
        self.levels.extend_from_slice(asks);
    }

    /// Judges a snapshot by its own update id. After [`SnapshotVerdict::Load`] call [`Self::release`].
    pub fn snapshot(&mut self, id: u64) -> SnapshotVerdict {
        match self.state {
            State::Live => return SnapshotVerdict::Unneeded,
            State::Joining if id <= self.last => return SnapshotVerdict::Unneeded,
            State::Joining | State::Waiting => {}
        }
        let first_kept = self.held.iter().find(|held| match self.rule {
            Rule::Contiguous => held.ids.last > id,
            Rule::Chained => held.ids.last >= id,
        });
        let joins = first_kept.is_none_or(|held| match self.rule {
            Rule::Contiguous => held.ids.first <= id + 1,
            Rule::Chained => held.ids.first <= id || held.ids.prev == id,
        });
        if !joins {
            return SnapshotVerdict::TooOld;
        }
        (self.last, self.behind) = (id, 0);
        self.state = State::Joining;
        SnapshotVerdict::Load
    }

    /// Releases held frames in order: `apply` gets each that continues the snapshot, with its verdict and the venue's
    /// stamp. Stops at a gap between held frames, which it returns; what follows stays held.
    pub fn release(&mut self, mut apply: impl FnMut(Verdict, i64, Depth<'_>)) -> Option<Verdict> {
        let mut taken = 0;
        let mut gap = None;
        while taken < self.held.len() {
            let frame = self.held[taken];
            let verdict = self.judge(&frame.ids, Lane::default());
            if matches!(verdict, Verdict::Gap { .. }) {
                gap = Some(verdict);
                break;
            }
            if verdict != Verdict::Outdated {
                let (bids, rest) = self.levels[frame.at..].split_at(frame.bids);
                apply(verdict, frame.venue_ns, Depth { ids: frame.ids, bids, asks: &rest[..frame.asks] });
            }
            taken += 1;
        }
        self.forget(taken);
        gap
    }

    /// Drops the first `count` held frames and moves the rest to the front of the store.
    fn forget(&mut self, count: usize) {
        let from = self.held.get(count).map_or(self.levels.len(), |frame| frame.at);
        self.levels.drain(..from);
        self.held.drain(..count);
        self.held.iter_mut().for_each(|frame| frame.at -= from);
    }

    /// Goes back to waiting for a snapshot, by order of somebody who knows the book to be wrong.
    pub fn restart(&mut self) {
        self.state = State::Waiting;
        self.held.clear();
        self.levels.clear();
    }
}
