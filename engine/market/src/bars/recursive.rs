//! Means that remember everything: exponential and Wilder's.

/// An exponential mean by span that begins with the first value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ema {
    weight: f64,
    value: f64,
    seen: u32,
}

impl Ema {
    /// A mean with weight `2 / (span + 1)`.
    pub(super) const fn new(span: u32) -> Self {
        Self { weight: 2.0 / (span as f64 + 1.0), value: 0.0, seen: 0 }
    }

    /// Adds a value; gives the mean.
    pub(super) fn add(&mut self, value: f64) -> f64 {
        self.value = if self.seen == 0 { value } else { self.value + self.weight * (value - self.value) };
        self.seen = self.seen.saturating_add(1);
        self.value
    }
}

/// Values Wilder's means begin with.
const WILDER: u32 = 14;

/// Wilder's mean: that of 14 values first, then smoothed by 1/14.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wilder {
    value: f64,
    seen: u32,
}

impl Wilder {
    pub(super) fn add(&mut self, value: f64) {
        if self.seen < WILDER {
            self.value += value / f64::from(WILDER);
            self.seen += 1;
        } else {
            self.value += (value - self.value) / f64::from(WILDER);
        }
    }

    /// The mean, once there are 14 values.
    pub(super) fn get(&self) -> Option<f64> {
        (self.seen == WILDER).then_some(self.value)
    }
}
