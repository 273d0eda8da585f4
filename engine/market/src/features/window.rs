//! Sums and extremes over sliding windows of event time, in buckets.
//!
//! A window of ten buckets is the running bucket and the nine whole ones before it. Buckets begin at multiples of their
//! width, so that two runs over the same data cut time in the same places. Sums of whole buckets are added up anew when
//! a bucket ends: rounding errors do not build up.

/// Buckets of a window, the running one included.
pub(crate) const BUCKETS: usize = 10;

/// What is summed, by channel.
pub(crate) mod channel {
    pub(crate) const BOUGHT: usize = 0;
    pub(crate) const SOLD: usize = 1;
    pub(crate) const TRADES: usize = 2;
    pub(crate) const MESSAGES: usize = 3;
    pub(crate) const OFI: usize = 4;
    pub(crate) const MLOFI: usize = 5;
    pub(crate) const SPREAD_SUM: usize = 6;
    pub(crate) const SPREAD_COUNT: usize = 7;
    pub(crate) const BID_ADDED: usize = 8;
    pub(crate) const BID_REMOVED: usize = 9;
    pub(crate) const ASK_ADDED: usize = 10;
    pub(crate) const ASK_REMOVED: usize = 11;
    pub(crate) const REMOVED: usize = 12;
    pub(crate) const COUNT: usize = 13;
}

type Channels = [f64; channel::COUNT];

/// Sums of all channels over one window.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Length of a bucket, ns.
    width: i64,
    /// When the running bucket ends, ns since the epoch; 0 before the first event.
    end: i64,
    /// When the first event came, ns since the epoch.
    start: i64,
    /// Place of the oldest whole bucket.
    head: usize,
    whole: [Channels; BUCKETS - 1],
    /// Sum of `whole`.
    closed: Channels,
    running: Channels,
}

impl Window {
    pub(crate) fn new(width_ns: i64) -> Self {
        let zero = [0.0; channel::COUNT];
        let whole = [zero; BUCKETS - 1];
        Self { width: width_ns, end: 0, start: 0, head: 0, whole, closed: zero, running: zero }
    }

    /// Moves to `now`; ends the buckets that are over.
    #[inline(always)]
    pub(crate) fn advance(&mut self, now: i64) {
        if now >= self.end {
            self.turn(now);
        }
    }

    #[cold]
    #[inline(never)]
    fn turn(&mut self, now: i64) {
        if self.end == 0 {
            self.start = now;
            self.end = (now.div_euclid(self.width) + 1) * self.width;
            return;
        }
        let ended = ((now - self.end) / self.width + 1).min(BUCKETS as i64);
        for _ in 0..ended {
            self.whole[self.head] = core::mem::replace(&mut self.running, [0.0; channel::COUNT]);
            self.head = (self.head + 1) % (BUCKETS - 1);
        }
        self.end = (now.div_euclid(self.width) + 1) * self.width;
        self.closed = [0.0; channel::COUNT];
        for bucket in &self.whole {
            for (sum, value) in self.closed.iter_mut().zip(bucket) {
                *sum += value;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.width);
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, channel: usize, value: f64) {
        self.running[channel] += value;
    }

    #[inline(always)]
    pub(crate) fn sum(&self, channel: usize) -> f64 {
        self.closed[channel] + self.running[channel]
    }

    /// Seconds of the window that were observed, or `None` before a tenth of it.
    #[inline(always)]
    pub(crate) fn observed_s(&self, now: i64) -> Option<f64> {
        let observed = now - self.start.max(self.end - self.width * BUCKETS as i64);
        (observed >= self.width).then_some(observed as f64 * 1e-9)
    }
}

/// Smallest and largest value over one window.
#[derive(Clone, Debug)]
pub(crate) struct Extremes {
    width: i64,
    end: i64,
    head: usize,
    whole: [(f64, f64); BUCKETS - 1],
    closed: (f64, f64),
    running: (f64, f64),
}

const NOTHING: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

impl Extremes {
    pub(crate) const fn new(width_ns: i64) -> Self {
        let whole = [NOTHING; BUCKETS - 1];
        Self { width: width_ns, end: 0, head: 0, whole, closed: NOTHING, running: NOTHING }
    }

    #[inline(always)]
    pub(crate) fn see(&mut self, now: i64, value: f64) {
        if now >= self.end {
            self.turn(now);
        }
        self.running = (self.running.0.min(value), self.running.1.max(value));
    }

    #[cold]
    #[inline(never)]
    fn turn(&mut self, now: i64) {
        let ended = if self.end == 0 { 0 } else { ((now - self.end) / self.width + 1).min(BUCKETS as i64) };
        for _ in 0..ended {
            self.whole[self.head] = core::mem::replace(&mut self.running, NOTHING);
            self.head = (self.head + 1) % (BUCKETS - 1);
        }
        self.end = (now.div_euclid(self.width) + 1) * self.width;
        self.closed = self.whole.iter().fold(NOTHING, |(low, high), (l, h)| (low.min(*l), high.max(*h)));
    }

    /// Smallest and largest value; infinite where there was none.
    #[inline(always)]
    pub(crate) fn get(&self) -> (f64, f64) {
        (self.closed.0.min(self.running.0), self.closed.1.max(self.running.1))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.width);
    }
}
