//! A corrupt book's way back into service.
//!
//! The sequence of a book can be whole and the book still be wrong: a damaged frame crosses it, or a price is off the
//! grid. The feed cannot see that, so it goes on. From then on frames are held here instead of being applied, and the
//! next snapshot that is not older than the damage heals the book: it is loaded, then the held frames behind it are
//! applied. Nothing has to be told to the feed, so a replay heals at the same event in any topology.

use tidegate_wire::Level;
use tidegate_wire::event::{Depth, DepthIds};

/// Frames that can be held; at one each 100 ms, 25 s of waiting for a snapshot, or about 10 s of frames with 80 levels.
const FRAMES: usize = 256;
/// Levels of those frames.
const LEVELS: usize = 8 * 1024;

#[derive(Clone, Copy, Debug)]
struct Held {
    ids: DepthIds,
    at: usize,
    bids: usize,
    asks: usize,
}

/// Frames since the damage. Sized at construction.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Last update id before the first held frame: a snapshot must be at least as new.
    before: u64,
    frames: Vec<Held>,
    levels: Vec<Level>,
}

impl Repair {
    pub(crate) fn new() -> Self {
        Self { before: 0, frames: Vec::with_capacity(FRAMES), levels: Vec::with_capacity(LEVELS) }
    }

    /// The book became corrupt; the last update id that was right is `before`.
    pub(crate) fn begin(&mut self, before: u64) {
        self.frames.clear();
        self.levels.clear();
        self.before = before;
    }

    /// Holds a frame. When there is no room, all older ones go, and with them the snapshots that would need them.
    pub(crate) fn hold(&mut self, depth: &Depth<'_>) {
        let needed = depth.bids.len() + depth.asks.len();
        if self.frames.len() == FRAMES || self.levels.len() + needed > LEVELS {
            self.begin(self.newest());
        }
        if needed > LEVELS {
            self.before = depth.ids.last;
            return;
        }
        let (bids, asks) = (depth.bids.len(), depth.asks.len());
        self.frames.push(Held { ids: depth.ids, at: self.levels.len(), bids, asks });
        self.levels.extend_from_slice(depth.bids);
        self.levels.extend_from_slice(depth.asks);
    }

    /// Last update id that was held.
    pub(crate) fn newest(&self) -> u64 {
        self.frames.last().map_or(self.before, |frame| frame.ids.last)
    }

    /// Whether a snapshot is new enough: together with the held frames it misses nothing.
    pub(crate) const fn joins(&self, snapshot: u64) -> bool {
        snapshot >= self.before
    }

    /// Held frames that say more than a snapshot, in order. One that begins before it may repeat what it says:
    /// quantities are absolute.
    pub(crate) fn behind(&self, snapshot: u64) -> impl Iterator<Item = Depth<'_>> {
        self.frames.iter().filter(move |frame| frame.ids.last > snapshot).map(|frame| {
            let (bids, rest) = self.levels[frame.at..].split_at(frame.bids);
            Depth { ids: frame.ids, bids, asks: &rest[..frame.asks] }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(repair: &mut Repair, last: u64, levels: usize) {
        let levels = vec![Level::default(); levels];
        repair.hold(&Depth { ids: DepthIds { first: last, last, prev: last - 1 }, bids: &levels, asks: &levels });
    }

    #[test]
    fn a_snapshot_joins_when_nothing_is_missing_behind_it() {
        let mut repair = Repair::new();
        repair.begin(10);
        (11..14).for_each(|id| hold(&mut repair, id, 3));
        assert!(!repair.joins(9) && repair.joins(10) && repair.joins(99));
        let behind = |snapshot| repair.behind(snapshot).map(|depth| depth.ids.last).collect::<Vec<_>>();
        assert_eq!((behind(10), behind(12), behind(99)), (vec![11, 12, 13], vec![13], vec![]));
        assert!(repair.behind(10).all(|depth| depth.bids.len() == 3 && depth.asks.len() == 3));
    }

    #[test]
    fn what_there_is_no_room_for_needs_a_newer_snapshot() {
        let mut repair = Repair::new();
        repair.begin(0);
        (1..=FRAMES as u64).for_each(|id| hold(&mut repair, id, 1));
        assert!(repair.joins(0));
        hold(&mut repair, FRAMES as u64 + 1, 1);
        assert!(!repair.joins(FRAMES as u64 - 1) && repair.joins(FRAMES as u64));
        hold(&mut repair, 1_000, LEVELS);
        assert!(!repair.joins(999) && repair.joins(1_000));
        assert_eq!(repair.behind(1_000).count(), 0);
    }
}
