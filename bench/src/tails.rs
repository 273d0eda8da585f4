//! Percentiles of single runs: a histogram a repetition, so that what is said of a tail is a median over repetitions.

use hdrhistogram::Histogram;

use crate::alloc;
use crate::timing::{Stopwatch, keep, median, paired};

/// Quantiles that are printed, before the maximum.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
/// Heads of the columns that [`Tails::figures`] fills.
pub const COLUMNS: [&str; 6] = ["x of first", "p50 us", "p99 us", "p99.9 us", "max us", "allocs"];
/// Longest time told apart, ns.
const HIGHEST_NS: u64 = 10_000_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// One candidate, every run of which is timed by itself.
#[derive(Clone, Debug)]
pub struct Tails {
    /// What it is called.
    pub name: String,
    repetitions: Vec<Histogram<u64>>,
    runs: u64,
    allocs: u64,
}

impl Tails {
    /// A candidate that has not run.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), repetitions: Vec::new(), runs: 0, allocs: 0 }
    }

    /// One repetition of so many runs. `prepare` is given the number of the run and is neither timed nor counted.
    pub fn repeat<S>(
        &mut self,
        watch: &Stopwatch,
        runs: usize,
        state: &mut S,
        mut prepare: impl FnMut(&mut S, usize),
        mut run: impl FnMut(&mut S),
    ) {
        let mut histogram = histogram();
        // Caches are another candidate's after its turn: the first tenth warms them.
        let warm = runs / 10 + 1;
        for number in 0..warm + runs {
            prepare(state, number);
            let before = alloc::counted().0;
            let start = watch.start();
            run(state);
            let ticks = watch.since(start);
            let allocs = alloc::counted().0 - before;
            if number >= warm {
                histogram.saturating_record(watch.ns_raw(ticks).round() as u64);
                (self.runs, self.allocs) = (self.runs + 1, self.allocs + allocs);
            }
        }
        self.repetitions.push(histogram);
    }

    /// Whether it was never timed.
    pub fn is_empty(&self) -> bool {
        self.repetitions.is_empty()
    }

    /// A repetition that was timed elsewhere, ns.
    pub fn repeated(&mut self, times: &[u64]) {
        let mut histogram = histogram();
        times.iter().for_each(|ns| histogram.saturating_record(*ns));
        self.repetitions.push(histogram);
    }

    /// A quantile of every repetition, us.
    pub fn each(&self, quantile: f64) -> Vec<f64> {
        self.repetitions.iter().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3).collect()
    }

    /// Median of a quantile over repetitions, us.
    pub fn at(&self, quantile: f64) -> f64 {
        median(&self.each(quantile))
    }

    /// Median over repetitions of what a quantile is above another candidate's of the same repetition, us.
    pub fn above(&self, other: &Self, quantile: f64) -> f64 {
        let pairs = self.each(quantile).into_iter().zip(other.each(quantile));
        median(&pairs.map(|(ours, theirs)| ours - theirs).collect::<Vec<_>>())
    }

    /// Median over repetitions of the ratio of the medians of runs.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        paired(&self.each(0.5), &other.each(0.5))
    }

    /// A row for [`COLUMNS`]; allocations are those of this process, a dash where they were not counted.
    pub fn figures(&self, first: &Self) -> [f64; COLUMNS.len()] {
        let [p50, p99, p999] = QUANTILES.map(|quantile| self.at(quantile));
        let max = self.repetitions.iter().map(Histogram::max).max().unwrap_or(0) as f64 / 1e3;
        let allocs = if self.runs == 0 { f64::NAN } else { self.allocs as f64 / self.runs as f64 };
        [self.ratio_to(first), p50, p99, p999, max, allocs]
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("bounds that hdrhistogram accepts")
}

/// A loop of about as long a time that touches registers only: what the host adds to it, it adds to everything.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    turns: u64,
}

impl Control {
    /// A loop that takes about so long on this machine.
    pub fn lasting(watch: &Stopwatch, us: f64) -> Self {
        const TURNS: u64 = 10_000;
        let time = |_| {
            let start = watch.start();
            Self { turns: TURNS }.run();
            watch.ns_raw(watch.since(start))
        };
        let best = (0..50).map(time).fold(f64::MAX, f64::min);
        Self { turns: (us * 1e3 / best * TURNS as f64).ceil().max(1.0) as u64 }
    }

    /// Turns the loop.
    #[inline(never)]
    pub fn run(self) {
        let mut state = keep(self.turns);
        for _ in 0..self.turns {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        }
        keep(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_lasts_and_tails_are_medians() {
        let watch = Stopwatch::default();
        let control = Control::lasting(&watch, 50.0);
        let mut tails = Tails::new("control");
        tails.repeat(&watch, 100, &mut (), |(), _| (), |()| control.run());
        assert!(tails.at(0.5) > 25.0, "{}", tails.at(0.5));
        let mut other = Tails::new("other");
        [[1_000, 1_000, 9_000], [2_000, 2_000, 2_000], [3_000, 3_000, 3_000]].iter().for_each(|t| other.repeated(t));
        assert!((other.at(0.5) - 2.0).abs() < 0.01 && (other.figures(&other)[4] - 9.0).abs() < 0.01);
        assert!((other.above(&other, 0.5)).abs() < 1e-9 && other.figures(&other)[5].is_nan());
    }
}
