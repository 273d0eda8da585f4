//! A receiver's book in ordered maps, kept by the venue's sequence rules: the slow and obvious version.

use std::collections::BTreeMap;

/// Best bid and best ask, each price and quantity in units of 1e-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Best bid: price, quantity.
    pub bid: (i64, i64),
    /// Best ask: price, quantity.
    pub ask: (i64, i64),
}

/// A depth frame, read.
#[derive(Debug, Clone, Default)]
pub(super) struct DepthUpdate {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Present on futures, and then it decides the rules.
    pub(super) previous: Option<i64>,
    pub(super) bids: Vec<(i64, i64)>,
    pub(super) asks: Vec<(i64, i64)>,
}

/// What the sequence rules and the levels of the stream amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) gaps: u64,
    pub(super) crossed: u64,
    pub(super) unsynced: u64,
    pub(super) applied: u64,
    pub(super) levels: u64,
    pub(super) deletes: u64,
    pub(super) absent_deletes: u64,
    pub(super) changes: u64,
}

/// Book of one instrument as a receiver has it.
#[derive(Debug, Default)]
pub struct SyncedBook {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// `u` of the last frame applied, or the snapshot's id when none was; `None` while out of sync.
    id: Option<i64>,
    /// Whether the id is a snapshot's, which the next frame has to contain.
    fresh: bool,
    /// Frames since the last break, waiting for a snapshot.
    waiting: Vec<DepthUpdate>,
    pub(super) counts: Counts,
}

impl SyncedBook {
    /// Whether a snapshot and every frame since have been applied.
    pub fn is_synced(&self) -> bool {
        self.id.is_some()
    }

    /// Best levels; `None` while out of sync or with an empty side.
    pub fn touch(&self) -> Option<Touch> {
        self.id?;
        let (bid, ask) = (self.bids.last_key_value()?, self.asks.first_key_value()?);
        Some(Touch { bid: (*bid.0, *bid.1), ask: (*ask.0, *ask.1) })
    }

    /// Quantity (1e-8) and number of levels within `part` of the mid, bids then asks.
    pub fn depth_within(&self, part: f64) -> Option<[(i64, usize); 2]> {
        let touch = self.touch()?;
        let mid = 0.5 * (touch.bid.0 + touch.ask.0) as f64;
        let low = (mid * (1.0 - part)) as i64;
        let high = (mid * (1.0 + part)) as i64;
        let sum = |levels: &mut dyn Iterator<Item = i64>| levels.fold((0, 0), |(q, n), one| (q + one, n + 1));
        let bids = sum(&mut self.bids.range(low..).map(|(_, &quantity)| quantity));
        let asks = sum(&mut self.asks.range(..=high).map(|(_, &quantity)| quantity));
        Some([bids, asks])
    }

    /// Takes a depth frame; true when it was applied.
    pub(super) fn update(&mut self, update: DepthUpdate) -> bool {
        let Some(id) = self.id else {
            self.counts.unsynced += 1;
            self.waiting.push(update);
            return false;
        };
        if update.last < id || (update.last == id && update.previous.is_none()) {
            return false;
        }
        let follows = match (update.previous, self.fresh) {
            (Some(previous), true) => previous == id || (update.first <= id && id <= update.last),
            (Some(previous), false) => previous == id,
            (None, _) => update.first <= id + 1,
        };
        if !follows {
            self.counts.gaps += 1;
            self.counts.unsynced += 1;
            self.id = None;
            self.waiting.clear();
            self.waiting.push(update);
            return false;
        }
        self.apply(&update);
        true
    }

    /// Takes a snapshot: replaces the book when it is out of sync and applies what was waiting.
    pub(super) fn snapshot(&mut self, id: i64, bids: Vec<(i64, i64)>, asks: Vec<(i64, i64)>) {
        if self.id.is_some() {
            return;
        }
        self.bids = bids.into_iter().collect();
        self.asks = asks.into_iter().collect();
        self.id = Some(id);
        self.fresh = true;
        for update in std::mem::take(&mut self.waiting) {
            self.update(update);
        }
    }

    fn apply(&mut self, update: &DepthUpdate) {
        for (side, levels) in [(&mut self.bids, &update.bids), (&mut self.asks, &update.asks)] {
            for &(price, quantity) in levels {
                self.counts.levels += 1;
                if quantity == 0 {
                    self.counts.deletes += 1;
                    self.counts.absent_deletes += u64::from(side.remove(&price).is_none());
                } else {
                    self.counts.changes += u64::from(side.insert(price, quantity).is_some());
                }
            }
        }
        self.id = Some(update.last);
        self.fresh = false;
        self.counts.applied += 1;
        self.counts.crossed += u64::from(self.touch().is_some_and(|touch| touch.bid.0 >= touch.ask.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(first: i64, last: i64, previous: Option<i64>) -> DepthUpdate {
        DepthUpdate { first, last, previous, ..DepthUpdate::default() }
    }

    #[test]
    fn spot_rules() {
        let mut book = SyncedBook::default();
        assert!(!book.update(update(5, 7, None)));
        book.snapshot(7, vec![(10, 1)], vec![(11, 1)]);
        assert!(book.update(update(8, 9, None)));
        assert!(!book.update(update(11, 12, None)));
        assert!(!book.is_synced());
        assert_eq!(book.counts.gaps, 1);
    }

    #[test]
    fn futures_rules() {
        let mut book = SyncedBook::default();
        assert!(!book.update(update(100, 130, Some(90))));
        assert!(!book.update(update(140, 170, Some(130))));
        book.snapshot(150, vec![(10, 1)], vec![(11, 1)]);
        assert!(book.is_synced() && book.counts.applied == 1);
        assert!(book.update(update(180, 190, Some(170))));
        assert!(!book.update(update(220, 230, Some(210))));
        assert_eq!((book.counts.gaps, book.counts.unsynced), (1, 3));
    }
}
