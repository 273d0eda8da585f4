//! The price ladder that the feed keeps of some books: what a checksum is made of, and where a window of levels ends.

use tidegate_wire::Level;

/// A level: its key, and what is kept beside it.
#[derive(Clone, Copy, Debug)]
struct Row<T> {
    /// Price mantissa of a bid, the negative of an ask's: the better, the higher.
    key: i64,
    tag: T,
}

/// One side, best level last: most changes are near the best price, and little moves.
#[derive(Debug)]
struct Side<T> {
    rows: Vec<Row<T>>,
    /// Most rows; the worst are dropped.
    most: usize,
    /// 1 for bids, -1 for asks.
    sign: i64,
}

impl<T: Copy> Side<T> {
    fn new(most: usize, sign: i64) -> Self {
        Self { rows: Vec::with_capacity(most), most, sign }
    }

    /// Replaces everything.
    fn load(&mut self, levels: &[Level], tags: impl Fn(usize) -> T) {
        self.rows.clear();
        for (index, level) in levels.iter().enumerate().filter(|(_, level)| level.qty.raw() > 0).take(self.most) {
            self.rows.push(Row { key: self.sign * level.price.raw(), tag: tags(index) });
        }
        self.rows.sort_unstable_by_key(|row| row.key);
        self.rows.dedup_by_key(|row| row.key);
    }

    /// Sets or removes a level.
    fn set(&mut self, level: Level, tag: T) {
        let key = self.sign * level.price.raw();
        match (self.rows.binary_search_by_key(&key, |row| row.key), level.qty.raw() > 0) {
            (Ok(at), true) => self.rows[at].tag = tag,
            (Ok(at), false) => _ = self.rows.remove(at),
            (Err(at), true) if self.rows.len() < self.most => self.rows.insert(at, Row { key, tag }),
            // The worst level makes room, unless that is the new one.
            (Err(at), true) if at > 0 => {
                self.rows.copy_within(1..at, 0);
                self.rows[at - 1] = Row { key, tag };
            }
            (Err(_), _) => {}
        }
    }
}

/// Both sides of a book, sized at construction.
#[derive(Debug)]
pub(crate) struct Ladder<T> {
    bids: Side<T>,
    asks: Side<T>,
}

impl<T: Copy> Ladder<T> {
    /// A ladder of at most `most` levels a side; the worst of any more are forgotten.
    pub(crate) fn new(most: usize) -> Self {
        Self { bids: Side::new(most, 1), asks: Side::new(most, -1) }
    }

    /// Replaces everything; `tags` gives what is kept beside each level of a side (`true` for bids).
    pub(crate) fn load(&mut self, bids: &[Level], asks: &[Level], tags: impl Fn(bool, usize) -> T) {
        self.bids.load(bids, |index| tags(true, index));
        self.asks.load(asks, |index| tags(false, index));
    }

    /// Sets and removes levels.
    pub(crate) fn apply(&mut self, bids: &[Level], asks: &[Level], tags: impl Fn(bool, usize) -> T) {
        bids.iter().enumerate().for_each(|(index, level)| self.bids.set(*level, tags(true, index)));
        asks.iter().enumerate().for_each(|(index, level)| self.asks.set(*level, tags(false, index)));
    }

    /// What is kept beside the levels of a side, best first.
    pub(crate) fn best(&self, bids: bool) -> impl Iterator<Item = &T> {
        let side = if bids { &self.bids } else { &self.asks };
        side.rows.iter().rev().map(|row| &row.tag)
    }

    /// Forgets the levels of a side beyond the best `depth`, and shows the price mantissa of each.
    pub(crate) fn trim(&mut self, bids: bool, depth: usize, mut gone: impl FnMut(i64)) {
        let side = if bids { &mut self.bids } else { &mut self.asks };
        let beyond = side.rows.len().saturating_sub(depth);
        for row in side.rows.drain(..beyond) {
            gone(side.sign * row.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_wire::{Price, Qty};

    fn levels(pairs: &[(i64, i64)]) -> Vec<Level> {
        pairs.iter().map(|(price, qty)| Level { price: Price::from_raw(*price), qty: Qty::from_raw(*qty) }).collect()
    }

    fn prices(ladder: &Ladder<i64>, bids: bool) -> Vec<i64> {
        ladder.best(bids).copied().collect()
    }

    #[test]
    fn the_best_levels_are_kept_in_order() {
        let (bids, asks) = (levels(&[(9, 1), (10, 1), (8, 0), (7, 1)]), levels(&[(12, 1), (11, 1), (14, 1)]));
        let mut ladder = Ladder::new(3);
        let tags = |side: bool, index: usize| if side { bids[index].price.raw() } else { asks[index].price.raw() };
        ladder.load(&bids, &asks, tags);
        assert_eq!((prices(&ladder, true), prices(&ladder, false)), (vec![10, 9, 7], vec![11, 12, 14]));
        // A better level displaces the worst, a worse one comes in nowhere, an absent one is removed in silence.
        let changes = levels(&[(11, 5), (6, 5), (5, 0), (9, 0)]);
        ladder.apply(&changes, &[], |_, index| changes[index].price.raw());
        assert_eq!(prices(&ladder, true), [11, 10]);
        let mut gone = Vec::new();
        ladder.trim(false, 1, |price| gone.push(price));
        assert_eq!((prices(&ladder, false), gone), (vec![11], vec![14, 12]));
        ladder.trim(true, 2, |_| panic!("both are within the window"));
    }
}
