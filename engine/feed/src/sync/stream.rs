//! Sequence rules of venues whose stream brings its own snapshots (OKX, Bybit, Bitget, Deribit).
//!
//! ```text
//!            a snapshot of the stream
//!  Waiting ──────────────────────────▶ Live ──┐ a snapshot replaces the book
//!     ▲                                 │  ▲──┘
//!     └── missing update, restart ──────┘
//! ```
//!
//! What comes while a book waits belongs to a stream that the next snapshot makes superfluous. OKX may cease to send
//! snapshots: whoever feeds this then holds back what waits, and a snapshot from beside the stream begins the book. It
//! is whole from the first frame on that reaches from the snapshot's number or before to behind it.
//! Every rule is of the venue's own documentation or of its maintained clients; recorded chains were checked against
//! them.

use super::Lane;
use tidegate_wire::event::DepthIds;

/// How a venue chains the frames of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRule {
    /// `prevSeqId` names the `seqId` before, which jumps; a frame without levels that names itself says only that
    /// nothing changed; `seqId` falls when the venue starts its numbering anew, and the chain goes on (OKX).
    Okx,
    /// `u` counts the frames of a stream; a snapshot may come at any time (Bybit).
    Bybit,
    /// `seq` rises; `pseq`, where it is sent, names the `seq` before (Bitget).
    Bitget,
    /// `prev_change_id` names the `change_id` before, which jumps (Deribit).
    Deribit,
}

/// The number of the frame before, as a frame names it. That there is none is not zero, nor is that a venue says
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Previous {
    /// The frame does not say.
    #[default]
    Absent,
    /// The frame says that nothing came before it: `-1` or `null`.
    Nothing,
    /// This frame.
    Id(u64),
}

/// How a frame is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StreamIds {
    /// Its own number; `None` where the venue numbers nothing: its frames are counted, and only a checksum can tell
    /// that one is missing.
    pub last: Option<u64>,
    /// The one before.
    pub previous: Previous,
    /// Which of the venue's streams it is of: the more a stream knows of a book, the higher. Two streams of one book
    /// number their frames apart, so the book follows one of them, see [`StreamSync::follows`].
    pub rank: u16,
}

/// What to do with the levels of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVerdict {
    /// Apply them.
    Apply(DepthIds),
    /// There are none: the venue shows that the stream lives and nothing changed.
    KeepAlive(DepthIds),
    /// Drop them: the book has them already.
    Outdated,
    /// Drop them: updates are missing before them, but another connection may still bring those.
    Ahead,
    /// Drop them: the book waits for a snapshot.
    Waiting,
    /// Drop them: updates are missing before them, or the venue counts anew. A snapshot is needed.
    Gap {
        /// The number that should have come, or been named.
        expected: u64,
        /// The number that was.
        received: u64,
    },
}

/// The sequence rule of one book.
#[derive(Debug)]
pub struct StreamSync {
    rule: StreamRule,
    /// Whether a snapshot is in place and nothing is missing since.
    live: bool,
    /// Number of the last frame, as the venue counts.
    last: u64,
    /// Whether the snapshot is the last frame: the next delta joins it.
    joining: bool,
    /// Id of the last event, which never falls along a stream although the venue may count anew.
    emitted: u64,
    /// Rank of the stream that carries the book; 0 before the first.
    rank: u16,
    /// Outdated frames in a row.
    behind: u32,
    /// Whether a snapshot from beside the stream waits for the frame that joins it.
    unjoined: bool,
    /// Frames, in [0, FRESH], that must still come until a snapshot from beside the stream is surely of the numbering
    /// that the stream has.
    fresh: u32,
}

/// Outdated frames in a row that a re-delivery may bring. More mean that the venue counts anew.
const BEHIND_MAX: u32 = 64;

/// A snapshot from beside the stream was taken less than so many frames before or behind the stream's place.
const FRESH: u32 = 64;

impl StreamSync {
    /// A book that waits for its first snapshot.
    pub const fn new(rule: StreamRule) -> Self {
        Self { rule, live: false, last: 0, joining: false, emitted: 0, rank: 0, behind: 0, unjoined: false, fresh: 0 }
    }

    /// Whether the book needs a snapshot.
    pub const fn is_waiting(&self) -> bool {
        !self.live
    }

    /// Whether the book follows a stream of this rank. The first stream that comes carries the book until a higher one
    /// brings a snapshot; a lower one only when the carrier is `silent`.
    pub const fn follows(&self, rank: u16, snapshot: bool, silent: bool) -> bool {
        rank == self.rank || snapshot && (rank > self.rank || silent) || self.rank == 0
    }

    /// Loads a snapshot: whatever came before is replaced.
    pub fn snapshot(&mut self, ids: &StreamIds) -> DepthIds {
        self.last = ids.last.unwrap_or(0);
        (self.live, self.joining, self.emitted, self.behind, self.rank) = (true, true, self.last, 0, ids.rank);
        (self.unjoined, self.fresh) = (false, 0);
        DepthIds { first: self.last, last: self.last, prev: 0 }
    }

    /// Loads a snapshot from beside the stream of this rank: the stream must join it.
    pub fn begin(&mut self, id: u64, rank: u16) -> DepthIds {
        let ids = self.snapshot(&StreamIds { last: Some(id), previous: Previous::Absent, rank });
        (self.unjoined, self.fresh) = (true, FRESH);
        ids
    }

    /// Whether a snapshot from beside the stream waits for a frame that joins it.
    pub const fn is_unjoined(&self) -> bool {
        self.live && self.unjoined
    }

    /// The stream stands at the snapshot's number: it is joined without another frame.
    pub const fn joined(&mut self) {
        self.unjoined = false;
    }

    /// Number of the last frame, as the venue counts; `None` while a snapshot is needed.
    pub fn last(&self) -> Option<u64> {
        self.live.then_some(self.last)
    }

    /// Judges a delta of one of several connections; `empty` when it has no levels.
    pub fn delta_of(&mut self, ids: &StreamIds, empty: bool, lane: Lane) -> StreamVerdict {
        // Which connection a snapshot from beside the stream belongs to nobody can say.
        if self.is_unjoined() {
            return self.delta(ids, empty);
        }
        if lane.may_heal && self.live && !self.joining && self.is_hole(ids, lane) {
            return StreamVerdict::Ahead;
        }
        // A connection that lags brings what the book has; only the one that carries it can begin to count anew.
        if lane.lags && self.live && ids.last.is_some_and(|last| last <= self.last) {
            return StreamVerdict::Outdated;
        }
        if lane.other && self.live && ids.last.is_some_and(|last| last < self.last) && self.behind < BEHIND_MAX {
            self.behind += 1;
            return StreamVerdict::Outdated;
        }
        if lane.other && self.bridges(ids) {
            // Another connection may cut its frames elsewhere: this one holds all that changed since, in absolute
            // quantities.
            self.behind = 0;
            return ids.last.map_or(StreamVerdict::Outdated, |last| StreamVerdict::Apply(self.advance(last)));
        }
        self.delta(ids, empty)
    }

    /// Whether a frame reaches from before the last one to behind it.
    fn bridges(&self, ids: &StreamIds) -> bool {
        let (Some(last), Previous::Id(previous)) = (ids.last, ids.previous) else { return false };
        self.live && previous != 0 && previous < self.last && self.last < last
    }

    /// Whether frames are missing between the last one and this one.
    fn is_hole(&self, ids: &StreamIds, lane: Lane) -> bool {
        match (ids.last, ids.previous) {
            (Some(last), _) if last <= self.last => false,
            (Some(_), Previous::Id(previous)) => previous > self.last || !lane.other && previous < self.last,
            (Some(last), _) => self.rule == StreamRule::Bybit && last > self.last + 1,
            (None, _) => false,
        }
    }

    /// Judges a delta; `empty` when it has no levels.
    pub fn delta(&mut self, ids: &StreamIds, empty: bool) -> StreamVerdict {
        if !self.live {
            return StreamVerdict::Waiting;
        }
        let Some(last) = ids.last else {
            if self.unjoined {
                return self.gap(self.last, 0);
            }
            let next = self.last + 1;
            return StreamVerdict::Apply(self.advance(next));
        };
        let verdict = match self.rule {
            _ if self.unjoined => self.join(last, ids.previous, empty),
            StreamRule::Okx => self.okx(last, ids.previous, empty),
            StreamRule::Bybit => self.bybit(last),
            StreamRule::Bitget => self.bitget(last, ids.previous),
            StreamRule::Deribit => self.deribit(last, ids.previous),
        };
        match verdict {
            StreamVerdict::Outdated if self.behind == BEHIND_MAX => self.gap(self.last, last),
            StreamVerdict::Outdated => {
                self.behind += 1;
                StreamVerdict::Outdated
            }
            verdict => {
                self.behind = 0;
                verdict
            }
        }
    }

    /// Judges a frame by a snapshot from beside the stream.
    fn join(&mut self, last: u64, previous: Previous, empty: bool) -> StreamVerdict {
        match previous {
            // Whether the snapshot's number is of before or of behind this nobody can tell.
            Previous::Id(id) if last < id => self.gap(self.last, last),
            Previous::Id(id) if empty && id == last && last == self.last => {
                StreamVerdict::KeepAlive(self.advance(last))
            }
            Previous::Id(_) if last <= self.last => StreamVerdict::Outdated,
            Previous::Id(id) if id <= self.last => StreamVerdict::Apply(self.advance(last)),
            Previous::Id(id) => self.gap(self.last, id),
            Previous::Absent | Previous::Nothing => self.gap(self.last, last),
        }
    }

    fn okx(&mut self, last: u64, previous: Previous, empty: bool) -> StreamVerdict {
        match previous {
            // The snapshot may have been of the new numbering, and what was joined to it of the old.
            Previous::Id(id) if id == self.last && last < id && self.fresh > 0 => self.gap(self.last, last),
            Previous::Id(id) if id == self.last => {
                // A lower number with an unbroken chain is a new numbering, and no change is missing.
                let keeps_alive = last == id && empty;
                let ids = self.advance(last);
                if keeps_alive { StreamVerdict::KeepAlive(ids) } else { StreamVerdict::Apply(ids) }
            }
            Previous::Id(id) if last <= self.last && id < self.last => StreamVerdict::Outdated,
            // A second copy of the frame with which the venue began to count anew.
            Previous::Id(_) if last == self.last => StreamVerdict::Outdated,
            Previous::Id(id) => self.gap(self.last, id),
            // A frame that says nothing of the one before can only be held to the order.
            Previous::Absent if last > self.last => StreamVerdict::Apply(self.advance(last)),
            Previous::Absent => StreamVerdict::Outdated,
            // A delta behind which nothing came belongs to another numbering.
            Previous::Nothing => self.gap(self.last, last),
        }
    }

    fn bybit(&mut self, last: u64) -> StreamVerdict {
        match last {
            // The service has restarted; its snapshot was missed.
            1 if self.last > 1 => self.gap(self.last + 1, last),
            _ if last == self.last + 1 => StreamVerdict::Apply(self.advance(last)),
            _ if last <= self.last => StreamVerdict::Outdated,
            _ => self.gap(self.last + 1, last),
        }
    }

    fn bitget(&mut self, last: u64, previous: Previous) -> StreamVerdict {
        let joining = self.joining;
        match previous {
            _ if last == self.last || joining && last < self.last => StreamVerdict::Outdated,
            // The numbering starts anew: what it means for the book is not said.
            Previous::Id(0) => self.gap(self.last, 0),
            _ if last < self.last => self.gap(self.last, last),
            Previous::Id(id) if id == self.last || joining && id < self.last => {
                StreamVerdict::Apply(self.advance(last))
            }
            Previous::Id(id) => self.gap(self.last, id),
            Previous::Absent | Previous::Nothing => StreamVerdict::Apply(self.advance(last)),
        }
    }

    fn deribit(&mut self, last: u64, previous: Previous) -> StreamVerdict {
        match previous {
            Previous::Id(id) if id == self.last => StreamVerdict::Apply(self.advance(last)),
            _ if last <= self.last => StreamVerdict::Outdated,
            Previous::Id(id) => self.gap(self.last, id),
            Previous::Absent | Previous::Nothing => self.gap(self.last, last),
        }
    }

    /// The stream goes on to a frame; emitted ids rise by as much as the venue's, or by one where those fall.
    fn advance(&mut self, last: u64) -> DepthIds {
        let (prev, step) = (self.emitted, if last < self.last { 1 } else { last - self.last });
        (self.last, self.joining, self.unjoined) = (last, false, false);
        self.fresh = self.fresh.saturating_sub(1);
        self.emitted = prev.saturating_add(step);
        DepthIds { first: self.emitted, last: self.emitted, prev }
    }

    const fn gap(&mut self, expected: u64, received: u64) -> StreamVerdict {
        self.restart();
        StreamVerdict::Gap { expected, received }
    }

    /// Goes back to waiting for a snapshot. Which stream carries the book stays as it was.
    pub const fn restart(&mut self) {
        (self.live, self.behind) = (false, 0);
    }
}
