//! What is sampled once a second of event time: returns, volatilities, impact, resiliency.

/// Seconds remembered.
pub(crate) const SECONDS: usize = 300;
/// Seconds of the regressions and the correlation.
const REGRESSION: usize = 60;
/// Seconds a regression needs.
const REGRESSION_EVIDENCE: usize = 20;
/// Seconds a correlation needs.
const CORRELATION_EVIDENCE: usize = 30;
/// Seconds of a year.
const YEAR_S: f64 = 365.0 * 86_400.0;
/// Weight of a new second in the slow means of depth and spread.
const SLOW: f64 = 1.0 / 60.0;
/// Seconds before the slow means count.
const SLOW_EVIDENCE: u32 = 10;

/// One sampled second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    mid: f64,
    /// Log return of mid over the second.
    ret: f64,
    /// Mid change over the second.
    change: f64,
    /// Signed quantity traded in it.
    signed_qty: f64,
    /// Top-5 depth at its end.
    depth: f64,
    /// Which second of event time it ended at.
    at_s: i64,
}

/// What the seconds say; recomputed when one ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampled {
    pub(crate) vol_10: Option<f64>,
    pub(crate) vol_60: Option<f64>,
    pub(crate) vol_300: Option<f64>,
    pub(crate) bipower_60: Option<f64>,
    pub(crate) bipower_300: Option<f64>,
    pub(crate) jump_share: Option<f64>,
    pub(crate) kyle_lambda: Option<f64>,
    pub(crate) resiliency: Option<f64>,
}

/// The last five minutes, a second each; the newest is the last.
#[derive(Clone, Debug)]
pub(crate) struct Seconds {
    /// A ring twice as long as needed: the last `SECONDS` are always contiguous.
    ring: Box<[Second; 2 * SECONDS]>,
    end: usize,
    len: usize,
    slow_depth: f64,
    slow_spread: f64,
    slow_count: u32,
    pub(crate) sampled: Sampled,
}

impl Default for Seconds {
    fn default() -> Self {
        let ring = Box::new([Second::default(); 2 * SECONDS]);
        Self { ring, end: 0, len: 0, slow_depth: 0.0, slow_spread: 0.0, slow_count: 0, sampled: Sampled::default() }
    }
}

/// What the market looked like when a second ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) mid: f64,
    pub(crate) spread: f64,
    pub(crate) top_depth: f64,
    pub(crate) band_depth: f64,
    pub(crate) signed_qty: f64,
}

impl Seconds {
    pub(crate) fn clear(&mut self) {
        (self.end, self.len, self.slow_count, self.sampled) = (0, 0, 0, Sampled::default());
    }

    fn last(&self, n: usize) -> &[Second] {
        &self.ring[self.end - n.min(self.len)..self.end]
    }

    /// A second ended. A second without a good book breaks the chain: the next one has no return.
    pub(crate) fn end_second(&mut self, at_s: i64, sample: Option<Sample>) {
        let Some(sample) = sample else { return };
        let before = self.last(1).first().copied().filter(|second| second.at_s + 1 == at_s);
        let second = Second {
            mid: sample.mid,
            ret: before.map_or(0.0, |before| libm::log(sample.mid / before.mid)),
            change: before.map_or(0.0, |before| sample.mid - before.mid),
            signed_qty: sample.signed_qty,
            depth: sample.top_depth,
            at_s,
        };
        if before.is_none() {
            self.len = 0;
        }
        self.push(second);
        let weight = if self.slow_count == 0 { 1.0 } else { SLOW.max(1.0 / f64::from(self.slow_count + 1)) };
        self.slow_depth += weight * (usual(sample.band_depth, self.slow_depth) - self.slow_depth);
        self.slow_spread += weight * (usual(sample.spread, self.slow_spread) - self.slow_spread);
        self.slow_count = self.slow_count.saturating_add(1);
        self.recompute();
    }

    fn push(&mut self, second: Second) {
        if self.end == self.ring.len() {
            self.ring.copy_within(SECONDS.., 0);
            self.end = SECONDS;
        }
        self.ring[self.end] = second;
        self.end += 1;
        self.len = (self.len + 1).min(SECONDS);
    }

    fn recompute(&mut self) {
        // The first second of a chain has no return.
        let returns = self.len.saturating_sub(1);
        let annual = |(sum, n): (f64, usize)| (sum / n as f64 * YEAR_S).sqrt();
        let variance = |n: usize| (returns >= n).then(|| (squares(self.last(n)), n));
        let bipower = |n: usize| (returns >= n).then(|| (bipower(self.last(n)), n));
        let (variance_300, bipower_300) = (variance(SECONDS - 1), bipower(SECONDS - 1));
        self.sampled = Sampled {
            vol_10: variance(10).map(annual),
            vol_60: variance(60).map(annual),
            vol_300: variance_300.map(annual),
            bipower_60: bipower(60).map(annual),
            bipower_300: bipower_300.map(annual),
            jump_share: variance_300
                .zip(bipower_300)
                .filter(|((variance, _), _)| *variance > 0.0)
                .map(|((variance, _), (bipower, _))| (1.0 - bipower / variance).max(0.0)),
            kyle_lambda: self.kyle_lambda(returns),
            resiliency: self.resiliency(returns),
        };
    }

    fn kyle_lambda(&self, returns: usize) -> Option<f64> {
        let n = returns.min(REGRESSION);
        (n >= REGRESSION_EVIDENCE).then(|| slope(self.last(n).iter().map(|s| (s.signed_qty, s.change))))?
    }

    fn resiliency(&self, returns: usize) -> Option<f64> {
        let n = returns.min(REGRESSION);
        let pairs = self.last(n + 1).windows(2).map(|pair| (pair[0].depth, pair[1].depth - pair[0].depth));
        (n >= REGRESSION_EVIDENCE).then(|| slope(pairs))?.map(|slope| -slope)
    }

    /// Mid of the newest sample that is at least `seconds` old at second `now_s`.
    #[inline(always)]
    pub(crate) fn mid_before(&self, now_s: i64, seconds: i64) -> Option<f64> {
        let newest = self.last(1).first()?.at_s;
        // A sample at the end of second s was taken at time s; it is `now_s - s` whole seconds old.
        let back = (seconds - (now_s - newest)).max(0) as usize;
        (back < self.len).then(|| self.ring[self.end - 1 - back].mid)
    }

    #[inline(always)]
    pub(crate) fn slow_depth(&self) -> Option<f64> {
        (self.slow_count >= SLOW_EVIDENCE).then_some(self.slow_depth)
    }

    #[inline(always)]
    pub(crate) fn slow_spread(&self) -> Option<f64> {
        (self.slow_count >= SLOW_EVIDENCE).then_some(self.slow_spread)
    }

    /// Correlation of one-second returns with another instrument's, over the seconds that both have.
    pub(crate) fn correlation(&self, other: &Self) -> Option<f64> {
        let ours = self.last(REGRESSION.min(self.len.saturating_sub(1)));
        let theirs = other.last(REGRESSION.min(other.len.saturating_sub(1)));
        let (mut sums, mut n) = ([0.0; 5], 0usize);
        // Both are runs of consecutive seconds: align their ends.
        let end = ours.last()?.at_s.min(theirs.last()?.at_s);
        let mut at = |second: i64| {
            let a = &ours[usize::try_from(second - ours.first()?.at_s).ok()?];
            let b = &theirs[usize::try_from(second - theirs.first()?.at_s).ok()?];
            for (sum, term) in sums.iter_mut().zip([a.ret, b.ret, a.ret * a.ret, b.ret * b.ret, a.ret * b.ret]) {
                *sum += term;
            }
            n += 1;
            Some(())
        };
        let start = ours.first()?.at_s.max(theirs.first()?.at_s);
        for second in start..=end {
            at(second)?;
        }
        let count = n as f64;
        let [x, y, xx, yy, xy] = sums;
        let (vx, vy) = (xx - x * x / count, yy - y * y / count);
        let enough = n >= CORRELATION_EVIDENCE && vx > 1e-18 && vy > 1e-18;
        enough.then(|| ((xy - x * y / count) / (vx * vy).sqrt()).clamp(-1.0, 1.0))
    }
}

/// A new value as the slow mean takes it: at most three times and at least a third of the mean, so that the mean stays
/// what is usual while something unusual goes on. The first value stands for itself.
fn usual(value: f64, mean: f64) -> f64 {
    if mean == 0.0 { value } else { value.clamp(mean / 3.0, mean * 3.0) }
}

/// Sum of squared returns, in four lanes so that additions overlap; the order is fixed.
fn squares(seconds: &[Second]) -> f64 {
    let mut lanes = [0.0; 4];
    for (i, second) in seconds.iter().enumerate() {
        lanes[i & 3] += second.ret * second.ret;
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// Bipower variation: pi/2 * n/(n-1) * sum of products of adjacent absolute returns.
fn bipower(seconds: &[Second]) -> f64 {
    let mut lanes = [0.0; 4];
    for (i, pair) in seconds.windows(2).enumerate() {
        lanes[i & 3] += pair[0].ret.abs() * pair[1].ret.abs();
    }
    let n = seconds.len() as f64;
    core::f64::consts::FRAC_PI_2 * n / (n - 1.0) * ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]))
}

/// Least-squares slope with intercept; `None` where x does not vary.
fn slope(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let [mut n, mut x, mut y, mut xx, mut xy] = [0.0; 5];
    for (a, b) in pairs {
        n += 1.0;
        x += a;
        y += b;
        xx += a * a;
        xy += a * b;
    }
    let variance = xx - x * x / n;
    // Relative to xx: what is left of equal numbers after rounding is no variance.
    (variance > xx * 1e-12).then(|| (xy - x * y / n) / variance)
}
