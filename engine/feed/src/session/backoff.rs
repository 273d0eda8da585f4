//! When to try again: Fibonacci intervals with jitter, a bounded number of times.

use std::time::Duration;

/// Settings of a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffSettings {
    /// The first interval; the others are its Fibonacci multiples 1, 2, 3, 5, 8, ...
    pub base: Duration,
    /// Attempts before giving up.
    pub attempts: u32,
    /// No interval is longer.
    pub longest: Duration,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), attempts: 8, longest: Duration::from_secs(60) }
    }
}

/// Counts attempts and says how long to wait before the next one.
#[derive(Clone, Debug)]
pub struct Backoff {
    settings: BackoffSettings,
    /// Attempts that failed in a row.
    failed: u32,
    fibonacci: (u32, u32),
    random: u64,
}

impl Backoff {
    /// A fresh back-off; `seed` decides its jitter, so that clients that were cut off together do not return together.
    pub const fn new(settings: BackoffSettings, seed: u64) -> Self {
        Self { settings, failed: 0, fibonacci: (1, 1), random: seed | 1 }
    }

    /// Attempts that failed in a row.
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// How long to wait before the next attempt, 80 to 120 % of its interval; `None` when there is none left.
    pub fn next_wait(&mut self) -> Option<Duration> {
        if self.failed >= self.settings.attempts {
            return None;
        }
        self.failed += 1;
        let (interval, then) = self.fibonacci;
        self.fibonacci = (then, interval.saturating_add(then));
        let interval = self.settings.base.saturating_mul(interval).min(self.settings.longest);
        Some(interval.mul_f64(0.8 + 0.4 * self.uniform()))
    }

    /// A connection has lasted: the next failure is a first one.
    pub fn reset(&mut self) {
        (self.failed, self.fibonacci) = (0, (1, 1));
    }

    /// In [0, 1); xorshift64*: spread is all that is asked of it.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fibonacci_with_jitter_then_nothing() {
        let settings = BackoffSettings::default();
        for seed in 0..50 {
            let mut backoff = Backoff::new(settings, seed);
            for interval in [1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0] {
                let wait = backoff.next_wait().expect("an attempt is left").as_secs_f64();
                assert!((0.8 * interval..=1.2 * interval).contains(&wait), "{wait} for {interval}");
            }
            assert_eq!(backoff.next_wait(), None, "eight attempts");
            backoff.reset();
            assert!(backoff.next_wait().is_some_and(|wait| wait < Duration::from_millis(1300)));
        }
        let first = |seed| Backoff::new(settings, seed).next_wait();
        assert_ne!(first(3), first(5), "jitter differs by seed");
    }

    #[test]
    fn intervals_are_bounded() {
        let settings = BackoffSettings { attempts: 60, ..BackoffSettings::default() };
        let mut backoff = Backoff::new(settings, 1);
        assert_eq!(std::iter::from_fn(|| backoff.next_wait()).count(), 60);
        let mut backoff = Backoff::new(settings, 1);
        assert!(std::iter::from_fn(|| backoff.next_wait()).all(|wait| wait <= settings.longest.mul_f64(1.2)));
    }
}
