//! Realised volatility over a long horizon, kept in little room.

/// Time between two prices that a return is taken of, ns: long enough that the bounce between bid and ask is small
/// beside it.
const STEP_NS: i64 = 10_000_000_000;
/// Time that one bucket of squared returns stands for, ns.
const BUCKET_NS: i64 = 60_000_000_000;
/// A longer silence is not a return: nobody was looking.
const GAP_NS: i64 = 300_000_000_000;
/// Least time that must be covered before anything is said, ns.
const LEAST_NS: i64 = 60_000_000_000;

/// Root of the sum of squared log returns of the last hours, not annualised.
///
/// Where less than the horizon was seen, its variance is taken to go on as it was: scaled by horizon over what was
/// covered. How much that was is told beside it.
#[derive(Clone, Debug)]
pub struct Realised {
    buckets: Box<[Bucket]>,
    horizon_ns: i64,
    /// When the last price was taken, ns since the Unix epoch, and its logarithm.
    last: Option<(i64, f64)>,
    sum: f64,
    covered_ns: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which minute, from the epoch on.
    minute: i64,
    squares: f64,
    covered_ns: i64,
}

impl Realised {
    /// Over so many hours, > 0.
    pub fn new(hours: u32) -> Self {
        let horizon_ns = i64::from(hours.max(1)) * 3_600_000_000_000;
        let buckets = vec![Bucket { minute: i64::MIN, ..Bucket::default() }; (horizon_ns / BUCKET_NS) as usize];
        Self { buckets: buckets.into(), horizon_ns, last: None, sum: 0.0, covered_ns: 0 }
    }

    /// A price, > 0, at its time; earlier times than the last one are ignored.
    #[inline]
    pub fn observe(&mut self, now_ns: i64, price: f64) {
        match self.last {
            Some((at, _)) if now_ns - at < STEP_NS => {}
            _ => self.take(now_ns, price),
        }
    }

    #[cold]
    fn take(&mut self, now_ns: i64, price: f64) {
        let log = libm::log(price);
        if !log.is_finite() {
            return;
        }
        let before = self.last.replace((now_ns, log));
        let Some((at, last)) = before.filter(|(at, _)| now_ns - at <= GAP_NS) else { return };
        let minute = now_ns.div_euclid(BUCKET_NS);
        let place = minute.rem_euclid(self.buckets.len() as i64) as usize;
        if self.buckets[place].minute != minute {
            self.buckets[place] = Bucket { minute, ..Bucket::default() };
            self.forget(minute);
        }
        let bucket = &mut self.buckets[place];
        bucket.squares += (log - last) * (log - last);
        bucket.covered_ns += now_ns - at;
        self.sum += (log - last) * (log - last);
        self.covered_ns += now_ns - at;
    }

    /// Adds up what is within the horizon; once a minute, so that no error of rounding lives longer than that.
    fn forget(&mut self, minute: i64) {
        let oldest = minute - self.buckets.len() as i64;
        let within = self.buckets.iter().filter(|bucket| bucket.minute > oldest && bucket.minute <= minute);
        (self.sum, self.covered_ns) =
            within.fold((0.0, 0), |(sum, covered), bucket| (sum + bucket.squares, covered + bucket.covered_ns));
    }

    /// Volatility over the horizon; `None` before a minute was covered.
    pub fn value(&self) -> Option<f64> {
        (self.covered_ns >= LEAST_NS).then(|| libm::sqrt(self.sum * self.horizon_ns as f64 / self.covered_ns as f64))
    }

    /// Part of the horizon that was covered, in `[0, 1]`.
    pub fn covered(&self) -> f64 {
        (self.covered_ns as f64 / self.horizon_ns as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// A price that goes up and down by a factor every ten seconds.
    fn zigzag(realised: &mut Realised, from: i64, steps: i64, factor: f64) {
        for step in 0..steps {
            let price = if step % 2 == 0 { 100.0 } else { 100.0 * factor };
            realised.observe((from + step * 10) * SECOND, price);
        }
    }

    #[test]
    fn what_was_not_seen_goes_on_as_it_was() {
        let mut realised = Realised::new(24);
        zigzag(&mut realised, 0, 6, 1.001);
        assert_eq!(realised.value(), None, "50 s are not a minute");
        zigzag(&mut realised, 60, 55, 1.001);
        let step = libm::log(1.001);
        let expected = libm::sqrt(8_640.0) * step;
        let value = realised.value().expect("a value");
        assert!((value / expected - 1.0).abs() < 0.02, "{value} against {expected}");
        assert!((realised.covered() - 600.0 / 86_400.0).abs() < 1e-12, "{}", realised.covered());
    }

    #[test]
    fn what_is_older_than_the_horizon_is_forgotten() {
        let mut realised = Realised::new(1);
        zigzag(&mut realised, 0, 360, 1.01);
        let wild = realised.value().expect("a value");
        zigzag(&mut realised, 3_600, 361, 1.0001);
        let calm = realised.value().expect("a value");
        assert!(calm < wild / 20.0, "{calm} after {wild}");
        assert!(realised.covered() > 0.97);
    }

    #[test]
    fn silence_is_no_return() {
        let mut realised = Realised::new(1);
        zigzag(&mut realised, 0, 30, 1.0);
        realised.observe(10_000 * SECOND, 900.0);
        zigzag(&mut realised, 10_010, 1, 1.0);
        realised.observe(10_011 * SECOND, f64::NAN);
        let value = realised.value();
        // From 900 to 100 is a return of ten seconds; from 100 to 900 nobody was looking.
        assert!(value.is_none_or(|value| value.is_finite()));
        let mut quiet = Realised::new(1);
        zigzag(&mut quiet, 0, 30, 1.0);
        quiet.observe(10_000 * SECOND, 900.0);
        assert_eq!(quiet.value(), Some(0.0));
    }
}
