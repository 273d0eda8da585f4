//! How often something may happen.

use std::collections::VecDeque;

/// A sliding window over the last events.
#[derive(Debug, Default)]
pub(crate) struct Window {
    times: VecDeque<i64>,
}

impl Window {
    /// Notes an event at `now_ns`; false when more than `most` fell into the last `span_ns`.
    pub(crate) fn hit(&mut self, now_ns: i64, span_ns: i64, most: u32) -> bool {
        while self.times.front().is_some_and(|time| now_ns - time >= span_ns) {
            self.times.pop_front();
        }
        if self.times.len() >= most as usize {
            return false;
        }
        self.times.push_back(now_ns);
        true
    }
}

/// A pool that refills with time: Deribit's credits.
#[derive(Debug)]
pub(crate) struct Pool {
    most: f64,
    per_second: f64,
    left: f64,
    last_ns: i64,
}

impl Pool {
    pub(crate) fn new(most: f64, per_second: f64) -> Self {
        Self { most, per_second, left: most, last_ns: 0 }
    }

    /// Takes `cost`; false when there is not that much.
    pub(crate) fn take(&mut self, now_ns: i64, cost: f64) -> bool {
        if self.last_ns > 0 {
            let refill = (now_ns - self.last_ns).max(0) as f64 * 1e-9 * self.per_second;
            self.left = (self.left + refill).min(self.most);
        }
        self.last_ns = now_ns;
        if self.left < cost {
            return false;
        }
        self.left -= cost;
        true
    }
}

/// Weight used on REST, and what follows from too much of it.
#[derive(Debug, Default)]
pub(crate) struct Weight {
    window_start_ns: i64,
    used: u64,
    refusals: u32,
    banned_until_ns: i64,
}

/// What a REST request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on; the weight used so far.
    Fine(u64),
    /// Slow down; the window ends after this many ns.
    Slow(i64),
    /// Banned for this many ns.
    Banned(i64),
}

impl Weight {
    /// Requests that go on after a refusal lead to a ban.
    const PATIENCE: u32 = 3;

    /// Notes a request. `ban_ns` is the length of a ban, 0 where the venue has none.
    pub(crate) fn request(&mut self, now_ns: i64, span_ns: i64, most: u32, weight: u32, ban_ns: i64) -> Verdict {
        if now_ns < self.banned_until_ns {
            return Verdict::Banned(self.banned_until_ns - now_ns);
        }
        if now_ns - self.window_start_ns >= span_ns {
            (self.window_start_ns, self.used, self.refusals) = (now_ns, 0, 0);
        }
        if self.used + u64::from(weight) <= u64::from(most) {
            self.used += u64::from(weight);
            return Verdict::Fine(self.used);
        }
        self.refusals += 1;
        if ban_ns > 0 && self.refusals > Self::PATIENCE {
            self.banned_until_ns = now_ns + ban_ns;
            return Verdict::Banned(ban_ns);
        }
        Verdict::Slow(self.window_start_ns + span_ns - now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide() {
        let mut window = Window::default();
        assert!((0..3).all(|time| window.hit(time, 10, 3)));
        assert!(!window.hit(9, 10, 3));
        assert!(window.hit(10, 10, 3));
        assert!(!window.hit(10, 10, 3));
    }

    #[test]
    fn pools_refill() {
        let mut pool = Pool::new(10.0, 2.0);
        assert!(pool.take(1, 10.0) && !pool.take(2, 1.0));
        assert!(pool.take(1_000_000_001, 1.9) && !pool.take(1_000_000_002, 1.0));
    }

    #[test]
    fn who_does_not_slow_down_is_banned() {
        let mut weight = Weight::default();
        let mut ask = |now| weight.request(now, 100, 10, 5, 1_000);
        assert_eq!((ask(1_000), ask(1_001)), (Verdict::Fine(5), Verdict::Fine(10)));
        assert_eq!(ask(1_010), Verdict::Slow(90));
        assert_eq!((ask(1_011), ask(1_012)), (Verdict::Slow(89), Verdict::Slow(88)));
        assert_eq!((ask(1_013), ask(1_113)), (Verdict::Banned(1_000), Verdict::Banned(900)));
        assert_eq!(ask(2_013), Verdict::Fine(5));
    }
}
