//! One side of a book: a flat ladder over a window of ticks, a bitmap of three levels over it, and the far levels.
//!
//! Levels are addressed by **key**: the tick for asks, the negated tick for bids, so that on both sides the smallest
//! key is the best price. The window `[base, base + W)` is addressed modulo `W`, a power of two: moving it copies
//! nothing, only levels that leave or enter it are touched. Whatever lies behind the window is in `far`, sorted;
//! nothing ever lies in front of it, because a better price moves the window.
//!
//! Beside each group of 64 ticks stands the sum of its quantities, so that depth within a band is a walk over groups.

/// Levels the top of a side shows.
pub const TOP: usize = 20;

/// Key of an empty side's best level.
pub const NO_KEY: i64 = i64::MAX;

/// Slots of half a group.
const HALF: usize = 32;

/// Masks of [`Side::begun_group`]: a half that counts, one that does not, one that does.
static COUNTS: [i64; 3 * HALF] = {
    let mut masks = [-1; 3 * HALF];
    let mut at = HALF;
    while at < 2 * HALF {
        masks[at] = 0;
        at += 1;
    }
    masks
};

/// Room for far levels before their store must grow (which counts as a hot allocation).
const FAR_LEVELS: usize = 16 * 1024;

/// The best levels of a side, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// Keys; [`NO_KEY`] from `len` on.
    pub keys: [i64; TOP],
    /// Quantities; 0 from `len` on.
    pub qtys: [i64; TOP],
    /// Number of levels, in `[0, 20]`.
    pub len: usize,
}

impl Default for Top {
    fn default() -> Self {
        Self { keys: [NO_KEY; TOP], qtys: [0; TOP], len: 0 }
    }
}

impl Top {
    /// Sum of the quantities of the best `levels` levels.
    #[inline(always)]
    pub fn sum(&self, levels: usize) -> i64 {
        self.qtys[..levels].iter().sum()
    }

    /// The key beyond which a change does not alter the top: the last one's, or [`NO_KEY`] while there is room.
    #[inline(always)]
    pub fn reach(&self) -> i64 {
        self.keys[TOP - 1]
    }
}

/// One side of a book.
#[derive(Debug)]
pub struct Side {
    /// Quantity by slot, 0 where there is no level.
    qty: Box<[i64]>,
    /// Bit a slot: there is a level.
    bits0: Box<[u64]>,
    /// Bit a word of `bits0`: it is not zero.
    bits1: Box<[u64]>,
    /// Bit a word of `bits1`: it is not zero.
    bits2: Box<[u64]>,
    /// Sum of quantities by group of 64 slots.
    sums: Box<[i64]>,
    /// `W - 1`.
    mask: u64,
    /// First key of the window; a multiple of 64.
    base: i64,
    /// Smallest key with a level, or [`NO_KEY`].
    best: i64,
    /// Levels in the window.
    near: usize,
    /// Levels behind the window, worst first.
    far: Vec<(i64, i64)>,
    recentres: u64,
}

impl Side {
    /// An empty side with a window of `ticks`, a power of two of at least 4096.
    pub(crate) fn new(ticks: usize) -> Self {
        assert!(ticks.is_power_of_two() && ticks >= 4096, "the window is a power of two of at least 4096 ticks");
        let words = |n: usize| vec![0; n.max(1)].into_boxed_slice();
        // Written twice on purpose: zeroed memory is not mapped until it is touched, and the first touch of a page
        // costs microseconds that the hot path must not pay.
        let mut qty = vec![core::hint::black_box(1); ticks].into_boxed_slice();
        qty.fill(0);
        Self {
            qty,
            bits0: words(ticks / 64),
            bits1: words(ticks / 64 / 64),
            bits2: words(ticks.div_ceil(64 * 64 * 64)),
            sums: vec![0; ticks / 64].into_boxed_slice(),
            mask: ticks as u64 - 1,
            base: 0,
            best: NO_KEY,
            near: 0,
            far: Vec::with_capacity(FAR_LEVELS),
            recentres: 0,
        }
    }

    /// Smallest key with a level, or [`NO_KEY`].
    #[inline(always)]
    pub fn best(&self) -> i64 {
        self.best
    }

    /// Quantity of the best level; 0 on an empty side.
    #[inline(always)]
    pub fn best_qty(&self) -> i64 {
        if self.best == NO_KEY { 0 } else { self.qty[self.slot(self.best)] }
    }

    /// Number of levels.
    pub fn len(&self) -> usize {
        self.near + self.far.len()
    }

    /// Whether the side has no level.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Levels behind the window.
    pub fn far_len(&self) -> usize {
        self.far.len()
    }

    /// How often the window moved.
    pub const fn recentres(&self) -> u64 {
        self.recentres
    }

    #[inline(always)]
    fn width(&self) -> i64 {
        self.mask as i64 + 1
    }

    #[inline(always)]
    fn slot(&self, key: i64) -> usize {
        (key as u64 & self.mask) as usize
    }

    #[inline(always)]
    fn in_window(&self, key: i64) -> bool {
        key.wrapping_sub(self.base) as u64 <= self.mask
    }

    /// Sets a level to an absolute quantity, 0 to delete it (deleting what is not there does nothing); gives the
    /// quantity before.
    #[inline(always)]
    pub(crate) fn set(&mut self, key: i64, qty: i64) -> i64 {
        if !self.in_window(key) {
            return self.set_outside(key, qty);
        }
        let old = self.put(key, qty);
        if qty != 0 {
            self.best = self.best.min(key);
        } else if key == self.best {
            self.find_best();
        }
        old
    }

    /// Writes a quantity inside the window and keeps bitmap, sums and count; not `best`.
    #[inline(always)]
    fn put(&mut self, key: i64, qty: i64) -> i64 {
        let slot = self.slot(key);
        let old = core::mem::replace(&mut self.qty[slot], qty);
        let word = slot >> 6;
        self.sums[word] += qty - old;
        if (old == 0) != (qty == 0) {
            let bit = 1u64 << (slot & 63);
            if qty != 0 {
                self.bits0[word] |= bit;
                self.bits1[word >> 6] |= 1 << (word & 63);
                self.bits2[word >> 12] |= 1 << (word >> 6 & 63);
                self.near += 1;
            } else {
                self.bits0[word] &= !bit;
                if self.bits0[word] == 0 {
                    self.bits1[word >> 6] &= !(1 << (word & 63));
                    if self.bits1[word >> 6] == 0 {
                        self.bits2[word >> 12] &= !(1 << (word >> 6 & 63));
                    }
                }
                self.near -= 1;
            }
        }
        old
    }

    #[cold]
    #[inline(never)]
    fn set_outside(&mut self, key: i64, qty: i64) -> i64 {
        if self.is_empty() || key < self.base {
            if qty == 0 {
                return 0;
            }
            self.move_window(key);
            return self.set(key, qty);
        }
        match self.far.binary_search_by(|(far, _)| key.cmp(far)) {
            Ok(at) if qty == 0 => self.far.remove(at).1,
            Ok(at) => core::mem::replace(&mut self.far[at].1, qty),
            Err(_) if qty == 0 => 0,
            Err(at) => {
                self.far.insert(at, (key, qty));
                0
            }
        }
    }

    /// Finds the best level after the old one was deleted.
    #[inline]
    fn find_best(&mut self) {
        self.best = self.next(self.best).unwrap_or(NO_KEY);
        if self.best == NO_KEY {
            if let Some(&(key, _)) = self.far.last() {
                self.move_window(key);
                self.best = key;
            }
        } else if self.best - self.base > self.width() / 2 {
            self.move_window(self.best);
        }
    }

    /// Moves the window so that `best` lies a quarter into it; levels that leave it go to `far`, others come back.
    #[cold]
    #[inline(never)]
    fn move_window(&mut self, best: i64) {
        self.recentres += 1;
        let (old, new) = (self.base, (best - self.width() / 4) & !63);
        // Levels at the far end leave first, while their slots still mean the old keys.
        let end = new.saturating_add(self.width());
        let mut leaving = if end < old + self.width() { self.next(end.max(old)) } else { None };
        let at = self.far.len();
        while let Some(key) = leaving {
            let qty = self.put(key, 0);
            self.far.push((key, qty));
            leaving = self.next(key);
        }
        // They are all better than what was far before, and came best first.
        self.far[at..].reverse();
        self.base = new;
        while let Some(&(key, qty)) = self.far.last() {
            if !self.in_window(key) {
                break;
            }
            self.far.pop();
            self.put(key, qty);
        }
    }

    /// The first key at or behind `key` (which is in the window) that has a level in the window.
    #[inline(always)]
    fn next(&self, key: i64) -> Option<i64> {
        let (slot, start) = (self.slot(key), self.slot(self.base));
        let found = match self.next_slot(slot) {
            // A slot before the window's first one belongs to its wrapped end.
            Some(found) if slot >= start || found < start => found,
            None if slot >= start => self.next_slot(0).filter(|found| *found < start)?,
            _ => return None,
        };
        Some(self.base + (found.wrapping_sub(start) as u64 & self.mask) as i64)
    }

    /// The first occupied slot at or behind `slot`.
    #[inline(always)]
    fn next_slot(&self, slot: usize) -> Option<usize> {
        let word = slot >> 6;
        let here = self.bits0[word] & (u64::MAX << (slot & 63));
        if here != 0 {
            return Some(word << 6 | here.trailing_zeros() as usize);
        }
        let word = self.next_word(word + 1)?;
        Some(word << 6 | self.bits0[word].trailing_zeros() as usize)
    }

    /// The first non-empty word of `bits0` at or behind `word`.
    #[inline]
    fn next_word(&self, word: usize) -> Option<usize> {
        if word >= self.bits0.len() {
            return None;
        }
        let group = word >> 6;
        let here = self.bits1[group] & (u64::MAX << (word & 63));
        if here != 0 {
            return Some(group << 6 | here.trailing_zeros() as usize);
        }
        let mut group = group + 1;
        let mut top = group >> 6;
        while top < self.bits2.len() {
            let here = self.bits2[top] & (u64::MAX << (group & 63));
            if here != 0 {
                let group = top << 6 | here.trailing_zeros() as usize;
                return Some(group << 6 | self.bits1[group].trailing_zeros() as usize);
            }
            top += 1;
            group = top << 6;
        }
        None
    }

    /// Forgets every level. The window stays where it is.
    pub(crate) fn clear(&mut self) {
        let mut word = self.next_word(0);
        while let Some(w) = word {
            self.qty[w << 6..(w + 1) << 6].fill(0);
            (self.bits0[w], self.sums[w]) = (0, 0);
            word = self.next_word(w + 1);
        }
        self.bits1.fill(0);
        self.bits2.fill(0);
        self.far.clear();
        (self.near, self.best) = (0, NO_KEY);
    }

    /// All levels, best first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let mut next = if self.best == NO_KEY { None } else { Some(self.best) };
        let near = core::iter::from_fn(move || {
            let key = next?;
            let after = key + 1;
            next = if self.in_window(after) { self.next(after) } else { None };
            Some((key, self.qty[self.slot(key)]))
        });
        near.chain(self.far.iter().rev().copied())
    }

    /// The best [`TOP`] levels.
    #[inline]
    pub(crate) fn top(&self) -> Top {
        let mut top = Top::default();
        if self.best == NO_KEY {
            return top;
        }
        let (start, mut slot) = (self.slot(self.base), self.slot(self.best));
        let mut wrapped = slot < start;
        let mut word = slot >> 6;
        let mut bits = self.bits0[word] & (u64::MAX << (slot & 63));
        loop {
            while bits != 0 {
                slot = word << 6 | bits.trailing_zeros() as usize;
                bits &= bits - 1;
                top.keys[top.len] = self.base + (slot.wrapping_sub(start) as u64 & self.mask) as i64;
                top.qtys[top.len] = self.qty[slot];
                top.len += 1;
                if top.len == TOP {
                    return top;
                }
            }
            let mut after = self.next_word(word + 1);
            if after.is_none() && !wrapped {
                wrapped = true;
                after = self.next_word(0);
            }
            match after {
                // The window's base is a multiple of 64: a word lies on one side of its start.
                Some(w) if !wrapped || w << 6 < start => word = w,
                _ => break,
            }
            bits = self.bits0[word];
        }
        for (at, &(key, qty)) in self.far.iter().rev().take(TOP - top.len).enumerate() {
            (top.keys[top.len + at], top.qtys[top.len + at]) = (key, qty);
        }
        top.len = (top.len + self.far.len()).min(TOP);
        top
    }

    /// Quantity of all levels up to each of some keys, that key included; keys ascend.
    ///
    /// One walk outwards from the best level: whole groups of 64 by their sums, the group a key lies in up to the key.
    /// Nothing lies before the best level, so its group counts from its beginning.
    #[inline]
    pub(crate) fn depth<const N: usize>(&self, keys: [i64; N]) -> [i64; N] {
        let mut depths = [0; N];
        if self.best == NO_KEY {
            return depths;
        }
        let last = self.base + self.mask as i64;
        let (mut group, mut sum) = (self.best >> 6, 0);
        for (key, depth) in keys.into_iter().zip(&mut depths) {
            if key < self.best {
                continue;
            }
            let near = key.min(last);
            sum += self.groups(group, near >> 6);
            group = near >> 6;
            *depth = sum + self.begun_group(near);
            if key > last {
                let inside = self.far.iter().rev().take_while(|(far, _)| *far <= key);
                *depth += inside.map(|(_, qty)| qty).sum::<i64>();
            }
        }
        depths
    }

    /// Quantity of the groups of 64 from `first` up to, not including, `end`; a group is a key over 64.
    #[inline(always)]
    fn groups(&self, first: i64, end: i64) -> i64 {
        let at = self.slot(first << 6) >> 6;
        let past = at + (end - first) as usize;
        match past.checked_sub(self.sums.len()) {
            None | Some(0) => self.sums[at..past].iter().sum(),
            Some(wrapped) => self.sums[at..].iter().chain(&self.sums[..wrapped]).sum(),
        }
    }

    /// Quantity of the group of 64 that `key` lies in, up to the key. Absent levels are zeros: adding up plain slots
    /// needs no look at the bitmap, and the half that the key lies in is enough because the sum of the whole is known.
    /// Which slots count is a mask, for where a price lies in its group is nothing that a branch could learn.
    #[inline(always)]
    fn begun_group(&self, key: i64) -> i64 {
        let slot = self.slot(key);
        let upper = slot & HALF != 0;
        let (half, last) = (slot & !(HALF - 1), slot & (HALF - 1));
        // In the lower half the slots up to `last` count, in the upper one those behind it.
        let mask = &COUNTS[if upper { 2 * HALF } else { HALF } - 1 - last..][..HALF];
        let sum: i64 = self.qty[half..half + HALF].iter().zip(mask).map(|(qty, mask)| qty & mask).sum();
        if upper { self.sums[slot >> 6] - sum } else { sum }
    }
}
