//! A price-level book with integer ticks and integer lots.
//!
//! Each side is a vector sorted so that its best level is last: insertions and removals near the touch, where almost
//! all of them happen, move only a few entries, and a level can be addressed by its rank, which the order flow needs
//! to pick what to cancel.

/// Which side of the book, or of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Bids, or a buyer.
    Buy,
    /// Asks, or a seller.
    Sell,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Buy, Side::Sell];

    /// The other side.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// +1 for bids and buyers, -1 for asks and sellers.
    pub(crate) fn sign(self) -> i64 {
        match self {
            Side::Buy => 1,
            Side::Sell => -1,
        }
    }

    /// 0 or 1, for arrays indexed by side.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// One price level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// Price in ticks, positive.
    pub(crate) tick: i64,
    /// Quantity in lots; positive in a book, 0 in a change means that the level went away.
    pub(crate) lots: i64,
}

/// One side of a book, best level last.
pub(crate) struct Ladder {
    side: Side,
    levels: Vec<Level>,
}

impl Ladder {
    pub(crate) fn new(side: Side, capacity: usize) -> Self {
        Self { side, levels: Vec::with_capacity(capacity) }
    }

    pub(crate) fn len(&self) -> usize {
        self.levels.len()
    }

    /// The level of this rank; rank 0 is the best.
    pub(crate) fn at_rank(&self, rank: usize) -> Option<Level> {
        self.levels.len().checked_sub(rank + 1).map(|index| self.levels[index])
    }

    pub(crate) fn best(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    /// Levels from the best outward.
    pub(crate) fn outward(&self) -> impl Iterator<Item = Level> + '_ {
        self.levels.iter().rev().copied()
    }

    /// How many levels are strictly better than `tick`; the rank a level at `tick` has or would have.
    pub(crate) fn rank_of(&self, tick: i64) -> usize {
        let (side, key) = (self.side.sign(), tick * self.side.sign());
        self.levels.len() - self.levels.partition_point(|level| level.tick * side <= key)
    }

    pub(crate) fn lots_at(&self, tick: i64) -> i64 {
        match self.position(tick) {
            Ok(index) => self.levels[index].lots,
            Err(_) => 0,
        }
    }

    /// Sets the absolute quantity of a level; 0 removes it. Returns whether anything changed.
    pub(crate) fn set(&mut self, tick: i64, lots: i64) -> bool {
        debug_assert!(lots >= 0 && tick > 0, "level {tick} with {lots} lots");
        match self.position(tick) {
            Ok(index) if lots == 0 => {
                self.levels.remove(index);
                true
            }
            Ok(index) => {
                let changed = self.levels[index].lots != lots;
                self.levels[index].lots = lots;
                changed
            }
            Err(_) if lots == 0 => false,
            Err(index) => {
                self.levels.insert(index, Level { tick, lots });
                true
            }
        }
    }

    fn position(&self, tick: i64) -> Result<usize, usize> {
        let (side, key) = (self.side.sign(), tick * self.side.sign());
        self.levels.binary_search_by(|level| (level.tick * side).cmp(&key))
    }
}

/// Both sides of one instrument. Never crossed after an operation of the order flow.
pub(crate) struct Book {
    sides: [Ladder; 2],
}

impl Book {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { sides: [Ladder::new(Side::Buy, capacity), Ladder::new(Side::Sell, capacity)] }
    }

    pub(crate) fn side(&self, side: Side) -> &Ladder {
        &self.sides[side.index()]
    }

    pub(crate) fn side_mut(&mut self, side: Side) -> &mut Ladder {
        &mut self.sides[side.index()]
    }

    /// Best bid and best ask; the flow keeps both sides populated, so this is `None` only before the first seeding.
    pub(crate) fn touch(&self) -> Option<(Level, Level)> {
        Some((self.side(Side::Buy).best()?, self.side(Side::Sell).best()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The ladder agrees with an ordered map for any sequence of changes, on either side.
        #[test]
        fn agrees_with_an_ordered_map(changes in prop::collection::vec((1i64..60, 0i64..5), 0..200)) {
            for side in Side::BOTH {
                let mut ladder = Ladder::new(side, 4);
                let mut map = BTreeMap::new();
                for &(tick, lots) in &changes {
                    ladder.set(tick, lots);
                    if lots == 0 { map.remove(&tick); } else { map.insert(tick, lots); }
                    prop_assert_eq!(ladder.lots_at(tick), lots);
                }
                let mut expected: Vec<_> = map.iter().map(|(&tick, &lots)| Level { tick, lots }).collect();
                if side == Side::Buy { expected.reverse(); }
                prop_assert_eq!(ladder.outward().collect::<Vec<_>>(), expected.clone());
                for (rank, level) in expected.iter().enumerate() {
                    prop_assert_eq!(ladder.rank_of(level.tick), rank);
                    prop_assert_eq!(ladder.at_rank(rank), Some(*level));
                }
            }
        }
    }
}
