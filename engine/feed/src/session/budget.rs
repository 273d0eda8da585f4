//! How often a venue lets us do something.

use std::time::Duration;

/// At most `count` in any `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 2.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// At most `count` in `seconds`.
    pub const fn new(count: u32, seconds: u64) -> Self {
        Self { count, per: Duration::from_secs(seconds) }
    }
}

/// Keeps a rate: half of it may be used at once and the other half comes back evenly over the period, so that no window
/// of one period ever holds more than the whole.
#[derive(Clone, Debug)]
pub struct Budget {
    burst: f64,
    per_s: f64,
    left: f64,
    at: Duration,
}

impl Budget {
    /// A full budget.
    pub fn new(rate: Rate) -> Self {
        let burst = f64::from(rate.count.max(2)) / 2.0;
        Self { burst, per_s: burst / rate.per.as_secs_f64().max(1e-3), left: burst, at: Duration::ZERO }
    }

    /// Takes one at `now` (since any fixed instant).
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.take_of(now, 1, 0.0)
    }

    /// Takes `weight` at once; what weighs more than a burst takes a whole one.
    ///
    /// # Errors
    /// How long until there is enough.
    pub fn take_heavy(&mut self, now: Duration, weight: u32) -> Result<(), Duration> {
        self.take_of(now, weight, 0.0)
    }

    /// Takes one if a tenth of a burst stays for what matters more.
    ///
    /// # Errors
    /// How long until there is so much.
    pub fn take_spare(&mut self, now: Duration) -> Result<(), Duration> {
        self.take_of(now, 1, self.burst / 10.0)
    }

    /// Takes one, now or later: gives how long to wait for it. Whoever comes next waits longer.
    pub fn reserve(&mut self, now: Duration) -> Duration {
        let wait = self.take(now).err().unwrap_or_default();
        if !wait.is_zero() {
            self.left -= 1.0;
        }
        wait
    }

    fn take_of(&mut self, now: Duration, weight: u32, keep: f64) -> Result<(), Duration> {
        self.left = (self.left + now.saturating_sub(self.at).as_secs_f64() * self.per_s).min(self.burst);
        self.at = now;
        let weight = f64::from(weight);
        let needed = (weight + keep).min(self.burst);
        if self.left >= needed {
            self.left -= weight.min(self.left);
            return Ok(());
        }
        Err(Duration::from_secs_f64((needed - self.left) / self.per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_holds_more_than_the_rate() {
        for (count, seconds) in [(5, 1), (10, 1), (240, 3600), (3, 1), (300, 300)] {
            let mut budget = Budget::new(Rate::new(count, seconds));
            let step = Duration::from_secs(seconds) / (count * 4);
            let taken: Vec<_> = (0..count * 20).map(|i| step * i).filter(|now| budget.take(*now).is_ok()).collect();
            assert!(taken.len() > 1);
            for (i, from) in taken.iter().enumerate() {
                let window = taken[i..].iter().take_while(|at| **at - *from < Duration::from_secs(seconds)).count();
                assert!(window <= count as usize, "{window} of {count} in {seconds} s");
            }
        }
    }

    #[test]
    fn what_is_heavy_waits_longer_and_what_can_wait_leaves_some() {
        let (mut budget, now) = (Budget::new(Rate::new(100, 50)), Duration::ZERO);
        assert_eq!(budget.take_heavy(now, 20), Ok(()));
        assert_eq!((0..100).filter(|_| budget.take_spare(now).is_ok()).count(), 25, "down to 5 of 50");
        assert_eq!(budget.take_heavy(now, 5), Ok(()));
        assert_eq!(budget.take_heavy(now, 10), Err(Duration::from_secs(10)));
        assert_eq!(budget.take_spare(now), Err(Duration::from_secs(6)));
        assert_eq!(budget.take_heavy(now + Duration::from_secs(10), 10), Ok(()));
        let later = now + Duration::from_secs(1000);
        assert_eq!(budget.take_heavy(later, 1000), Ok(()), "more than there ever is");
        assert_eq!(budget.take(later), Err(Duration::from_secs(1)));
    }

    #[test]
    fn who_comes_together_waits_one_behind_the_other() {
        let mut budget = Budget::new(Rate::new(4, 4));
        let waits: Vec<_> = (0..5).map(|_| budget.reserve(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [0, 0, 2, 4, 6]);
        assert_eq!(budget.reserve(Duration::from_secs(100)), Duration::ZERO);
    }

    #[test]
    fn says_how_long_to_wait() {
        let mut budget = Budget::new(Rate::new(2, 10));
        assert_eq!(budget.take(Duration::ZERO), Ok(()));
        let wait = budget.take(Duration::ZERO).expect_err("used up");
        assert!(budget.take(wait + Duration::from_millis(1)).is_ok());
    }
}
