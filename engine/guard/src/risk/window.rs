//! How many in how long: exact sliding windows and a memory of recent keys.

/// At most `count` events in any half-open window of `span` nanoseconds, exactly: the time of the event `count` ago
/// decides. Memory is one word an event of the limit.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Times of the last `times.len()` events, a ring; `i64::MIN` before there were so many.
    times: Box<[i64]>,
    oldest: usize,
    span: i64,
}

impl Window {
    pub(crate) fn new(count: u32, span_ns: i64) -> Self {
        Self { times: vec![i64::MIN; count.max(1) as usize].into(), oldest: 0, span: span_ns }
    }

    /// The limit.
    #[inline(always)]
    pub(crate) fn limit(&self) -> i64 {
        self.times.len() as i64
    }

    /// Whether one more event at `now` would be too many.
    #[inline(always)]
    pub(crate) fn is_full(&self, now: i64) -> bool {
        self.times[self.oldest] > now.saturating_sub(self.span)
    }

    /// An event happened; the oldest is forgotten.
    #[inline(always)]
    pub(crate) fn note(&mut self, now: i64) {
        self.times[self.oldest] = now;
        self.oldest += 1;
        if self.oldest == self.times.len() {
            self.oldest = 0;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.times.fill(i64::MIN);
    }
}

/// Keys that are forgotten with one order; more than one, so that the memory shrinks.
const EXPIRED_A_TIME: usize = 4;

/// Keys seen within a time, exactly: a queue by age and an open-addressed table over it.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    /// Keys with their times, a ring in order of time.
    queue: Box<[(u64, i64)]>,
    head: usize,
    len: usize,
    /// Keys by hash; 0 is empty. At least twice as many slots as the queue has.
    slots: Box<[u64]>,
    span: i64,
}

impl Recent {
    pub(crate) fn new(capacity: usize, span_ns: i64) -> Self {
        let capacity = capacity.max(1);
        let slots = (capacity * 2).next_power_of_two();
        Self { queue: vec![(0, 0); capacity].into(), head: 0, len: 0, slots: vec![0; slots].into(), span: span_ns }
    }

    /// Makes the answers about a key right at `now`. A few of those that are too old are forgotten each time, so that
    /// no order pays for a long silence; all of them only where one would make a difference.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, key: u64, now: i64) {
        self.expire(now, EXPIRED_A_TIME);
        if self.len > 0 && (self.is_full() || self.contains(key)) {
            self.expire(now, self.len);
        }
    }

    /// Forgets what is older than the span, at most so many.
    #[inline(always)]
    fn expire(&mut self, now: i64, most: usize) {
        for _ in 0..most {
            if self.len == 0 || self.queue[self.head].1 > now.saturating_sub(self.span) {
                break;
            }
            let key = self.queue[self.head].0;
            self.remove(key);
            self.head = if self.head + 1 == self.queue.len() { 0 } else { self.head + 1 };
            self.len -= 1;
        }
    }

    /// Whether there is no room for one more.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.queue.len()
    }

    /// How many it can hold.
    pub(crate) fn capacity(&self) -> i64 {
        self.queue.len() as i64
    }

    /// Whether a key (never 0) is remembered.
    #[inline(always)]
    pub(crate) fn contains(&self, key: u64) -> bool {
        let mut slot = self.home(key);
        while self.slots[slot] != 0 {
            if self.slots[slot] == key {
                return true;
            }
            slot = self.next(slot);
        }
        false
    }

    /// Remembers a key that is not remembered yet. Not for a full memory.
    #[inline(always)]
    pub(crate) fn insert(&mut self, key: u64, now: i64) {
        if self.is_full() || self.span <= 0 {
            return;
        }
        let mut at = self.head + self.len;
        if at >= self.queue.len() {
            at -= self.queue.len();
        }
        self.queue[at] = (key, now);
        self.len += 1;
        let mut slot = self.home(key);
        while self.slots[slot] != 0 {
            slot = self.next(slot);
        }
        self.slots[slot] = key;
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 20 & (self.slots.len() - 1)
    }

    #[inline(always)]
    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// Takes one copy of a key out and closes the gap: every later key of the run moves back unless that would put it
    /// before its home (Knuth, vol. 3, 6.4, algorithm R).
    fn remove(&mut self, key: u64) {
        let mut hole = self.home(key);
        while self.slots[hole] != key {
            if self.slots[hole] == 0 {
                return;
            }
            hole = self.next(hole);
        }
        let mut at = hole;
        loop {
            self.slots[hole] = 0;
            loop {
                at = self.next(at);
                if self.slots[at] == 0 {
                    return;
                }
                let home = self.home(self.slots[at]);
                let stays = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
                if !stays {
                    break;
                }
            }
            self.slots[hole] = self.slots[at];
            hole = at;
        }
    }
}

/// A key for [`Recent`] and the table of orders: never 0.
#[inline(always)]
pub(crate) const fn mixed(words: [u64; 3]) -> u64 {
    // Multiply and fold, twice over: a few cycles, and no two short inputs of a day meet by accident.
    const A: u64 = 0xa076_1d64_78bd_642f;
    const B: u64 = 0xe703_7ed1_a0b4_28db;
    let first = fold(words[0] ^ A, words[1] ^ B);
    let key = fold(first ^ words[2], B ^ first.rotate_left(32));
    if key == 0 { 1 } else { key }
}

#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn windows_are_exact_at_their_borders() {
        let mut window = Window::new(2, 10);
        assert!(!window.is_full(0));
        window.note(0);
        window.note(5);
        assert!(window.is_full(9), "the third within ten");
        assert!(!window.is_full(10), "the first is just out");
        window.note(10);
        assert!(window.is_full(14) && !window.is_full(15));
        window.clear();
        assert!(!window.is_full(10));
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn memory_agrees_with_a_list(steps in prop::collection::vec((0i64..4, 1u64..12), 1..300)) {
            let (mut recent, mut list, mut now) = (Recent::new(8, 10), VecDeque::new(), 0);
            for (pause, key) in steps {
                now += pause;
                recent.refresh(key, now);
                list.retain(|(_, at): &(u64, i64)| *at > now - 10);
                prop_assert_eq!(recent.contains(key), list.iter().any(|(known, _)| *known == key));
                prop_assert_eq!(recent.is_full(), list.len() == 8, "after a refresh");
                if !recent.contains(key) && !recent.is_full() {
                    recent.insert(key, now);
                    list.push_back((key, now));
                }
            }
        }
    }
}
