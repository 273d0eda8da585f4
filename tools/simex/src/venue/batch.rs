//! Level changes between two depth frames.

use crate::market::book::{Level, Side};

/// Changes collected for the next depth frame. Each touched level appears once in the frame, with its last quantity;
/// a level that came and went inside one batch is reported as gone although no receiver ever saw it, as the venue
/// does.
#[derive(Default)]
pub(super) struct Batch {
    sides: [Vec<Level>; 2],
    /// Update id of the first operation; meaningless while empty.
    pub(super) first_id: i64,
    /// Venue time of the last operation, ns since the epoch.
    pub(super) last_ns: i64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.sides.iter().all(Vec::is_empty)
    }

    pub(super) fn push(&mut self, side: Side, level: Level) {
        self.sides[side.index()].push(level);
    }

    /// Bids and asks, each by ascending price and with the last quantity of each level.
    pub(super) fn settle(&mut self) -> [&[Level]; 2] {
        let [bids, asks] = &mut self.sides;
        [Self::settle_side(bids), Self::settle_side(asks)]
    }

    fn settle_side(levels: &mut Vec<Level>) -> &[Level] {
        // Stable: equal ticks stay in order of time, so the last of a group is the newest.
        levels.sort_by_key(|level| level.tick);
        let mut kept = 0;
        for index in 0..levels.len() {
            if levels.get(index + 1).is_some_and(|next| next.tick == levels[index].tick) {
                continue;
            }
            levels[kept] = levels[index];
            kept += 1;
        }
        levels.truncate(kept);
        levels
    }

    pub(super) fn clear(&mut self) {
        self.sides.iter_mut().for_each(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quantity_of_each_level_remains() {
        let mut batch = Batch::default();
        for (tick, lots) in [(7, 3), (5, 1), (7, 0), (6, 2), (5, 9)] {
            batch.push(Side::Sell, Level { tick, lots });
        }
        let [bids, asks] = batch.settle();
        let settled: Vec<_> = asks.iter().map(|level| (level.tick, level.lots)).collect();
        assert_eq!(settled, [(5, 9), (6, 2), (7, 0)]);
        assert!(bids.is_empty());
        assert!(!batch.is_empty());
    }
}
