//! Timing that survives a small, shared, noisy machine.
//!
//! * Candidates are interleaved: every round times each of them once, so a slow phase of the host hits all alike. A
//!   ratio is the median of the rounds' ratios; "best" is the least disturbed batch.
//! * For recorded frames each frame's fastest pass counts ([`FrameTimes`]): the minimum is the run nobody disturbed.
//! * What a clock reading itself costs is measured and taken off.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate_wire::clock::Clock;

use crate::alloc;

/// A counter with its own cost known.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    clock: Clock,
    /// Ticks between two readings with nothing in between.
    overhead: u64,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new(Clock::calibrate())
    }
}

impl Stopwatch {
    /// Measures what two readings cost.
    pub fn new(clock: Clock) -> Self {
        let watch = Self { clock, overhead: 0 };
        let mut costs: Vec<u64> = (0..10_001).map(|_| watch.start()).map(|start| watch.now() - start).collect();
        costs.sort_unstable();
        Self { clock, overhead: costs[costs.len() / 2] }
    }

    /// The clock behind it.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What a reading costs, ns.
    pub fn overhead_ns(&self) -> f64 {
        self.ns_raw(self.overhead)
    }

    /// The counter, read after everything before has finished and before anything after begins.
    #[inline(always)]
    pub fn now(&self) -> u64 {
        fence();
        let ticks = self.clock.ticks();
        fence();
        ticks
    }

    /// As [`Stopwatch::now`]; reads better at the start of an interval.
    #[inline(always)]
    pub fn start(&self) -> u64 {
        self.now()
    }

    /// Ticks since `start`, less the cost of reading.
    #[inline(always)]
    pub fn since(&self, start: u64) -> u64 {
        self.now().saturating_sub(start).saturating_sub(self.overhead)
    }

    /// Ticks in nanoseconds, with fractions.
    pub fn ns_raw(&self, ticks: u64) -> f64 {
        ticks as f64 * 1e9 / self.clock.ticks_per_second()
    }
}

#[inline(always)]
fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: LFENCE is SSE2, which every x86-64 CPU has.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
}

/// Pins the calling thread; says whether that worked.
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Lets the calling thread run on every core again, and threads that it starts.
pub fn unpin() {
    // SAFETY: an all-zero `cpu_set_t` is the empty set; the two calls write inside it and read it, and the kernel drops
    // cores that do not exist.
    #[cfg(target_os = "linux")]
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..libc::CPU_SETSIZE as usize).for_each(|core| libc::CPU_SET(core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// The value at quantile `q` in `[0, 1]`; sorts. 0 when there are none.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { 0.0 } else { values[((values.len() - 1) as f64 * q).round() as usize] }
}

/// As [`quantile`], for values that a coarse counter has rounded: spreads equal values evenly over their step.
///
/// Some counters move on in steps of 10 ns although they count in smaller units; a plain median then jumps by a step
/// when one value in a hundred moves.
pub fn grouped_quantile(values: &mut [f64], q: f64) -> f64 {
    let value = quantile(values, q);
    let (below, upto) = (values.partition_point(|v| *v < value), values.partition_point(|v| *v <= value));
    let lower = if below > 0 { value - values[below - 1] } else { f64::MAX };
    let upper = if upto < values.len() { values[upto] - value } else { f64::MAX };
    let step = lower.min(upper);
    if step == f64::MAX {
        return value;
    }
    let share = (values.len() as f64 * q - below as f64) / (upto - below) as f64;
    value + (share.clamp(0.0, 1.0) - 0.5) * step
}

/// The median; sorts a copy.
pub fn median(values: &[f64]) -> f64 {
    quantile(&mut values.to_vec(), 0.5)
}

/// Median of the ratios of two candidates that were measured side by side.
pub fn paired(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// What one candidate of a [`Suite`] came to. Times are ns an item.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Median batch of each round.
    pub rounds: Vec<f64>,
    /// The least disturbed batch.
    pub best: f64,
    /// Allocations an item.
    pub allocs: f64,
    /// Bytes asked for an item.
    pub alloc_bytes: f64,
}

impl Case {
    /// Median of the rounds.
    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }
}

/// Candidates that do the same work, `items` a call, measured in interleaved rounds.
pub struct Suite<'a> {
    items: usize,
    cases: Vec<(String, Box<dyn FnMut() + 'a>)>,
}

impl std::fmt::Debug for Suite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("items", &self.items).field("cases", &self.cases.len()).finish()
    }
}

impl<'a> Suite<'a> {
    /// An empty suite; every candidate handles `items` items a call.
    pub fn new(items: usize) -> Self {
        Self { items, cases: Vec::new() }
    }

    /// Adds a candidate.
    pub fn add(&mut self, name: &str, run: impl FnMut() + 'a) {
        self.cases.push((name.to_owned(), Box::new(run)));
    }

    /// Times every candidate for `slice` in each of `rounds` rounds, after two calls to warm up.
    pub fn run(mut self, rounds: usize, slice: Duration) -> Vec<Case> {
        let blank = |name: &String| Case {
            name: name.clone(),
            rounds: Vec::with_capacity(rounds),
            best: f64::MAX,
            allocs: 0.0,
            alloc_bytes: 0.0,
        };
        let mut results: Vec<Case> = self.cases.iter().map(|(name, _)| blank(name)).collect();
        let mut items_done = vec![0u64; self.cases.len()];
        let mut batches: Vec<f64> = Vec::with_capacity(1 << 16);
        for (_, run) in &mut self.cases {
            run();
            run();
        }
        for _ in 0..rounds {
            for (((_, run), result), done) in self.cases.iter_mut().zip(&mut results).zip(&mut items_done) {
                run();
                batches.clear();
                let (calls, bytes) = alloc::counted();
                let begin = Instant::now();
                while batches.len() < 5 || begin.elapsed() < slice && batches.len() < batches.capacity() {
                    let start = Instant::now();
                    run();
                    batches.push(start.elapsed().as_nanos() as f64 / self.items as f64);
                }
                let after = alloc::counted();
                *done += (batches.len() * self.items) as u64;
                result.allocs += (after.0 - calls) as f64;
                result.alloc_bytes += (after.1 - bytes) as f64;
                result.rounds.push(quantile(&mut batches, 0.5));
                result.best = result.best.min(batches[0]);
            }
        }
        for (result, done) in results.iter_mut().zip(items_done) {
            result.allocs /= done as f64;
            result.alloc_bytes /= done as f64;
        }
        results
    }
}

/// One candidate over a list of frames, each timed by itself in several passes.
#[derive(Clone, Debug)]
pub struct FrameTimes {
    /// Fastest pass of each frame, ticks.
    fastest: Vec<u64>,
    /// Every single time, ticks, as far as room was made beforehand.
    all: Vec<u32>,
    /// Sum of each pass, ns a frame.
    pub passes: Vec<f64>,
    /// Allocations in the last pass.
    pub allocs: u64,
}

impl FrameTimes {
    /// Room for `frames` frames.
    pub fn new(frames: usize) -> Self {
        Self { fastest: vec![u64::MAX; frames], all: Vec::new(), passes: Vec::with_capacity(64), allocs: 0 }
    }

    /// As [`FrameTimes::new`], with room to keep every single time of `passes` passes.
    pub fn keeping_all(frames: usize, passes: usize) -> Self {
        Self { all: Vec::with_capacity(frames * passes), ..Self::new(frames) }
    }

    /// One pass: `handle` is given each frame's index.
    pub fn pass(&mut self, watch: &Stopwatch, mut handle: impl FnMut(usize)) {
        self.pass_with(watch, &mut (), |(), _| (), |(), index| handle(index));
    }

    /// One pass with something to be done before each frame that is neither timed nor counted.
    pub fn pass_with<S>(
        &mut self,
        watch: &Stopwatch,
        state: &mut S,
        mut prepare: impl FnMut(&mut S, usize),
        mut handle: impl FnMut(&mut S, usize),
    ) {
        let mut sum = 0;
        self.allocs = 0;
        for (index, fastest) in self.fastest.iter_mut().enumerate() {
            prepare(state, index);
            let before = alloc::counted().0;
            let start = watch.start();
            handle(state, index);
            let ticks = watch.since(start);
            self.allocs += alloc::counted().0 - before;
            *fastest = ticks.min(*fastest);
            sum += ticks;
            if self.all.len() < self.all.capacity() {
                self.all.push(u32::try_from(ticks).unwrap_or(u32::MAX));
            }
        }
        self.passes.push(watch.ns_raw(sum) / self.fastest.len().max(1) as f64);
    }

    /// Median, 99th and 99.9th percentile of every single time, ns: with whatever the host did meanwhile.
    pub fn every(&self, watch: &Stopwatch) -> [f64; 3] {
        let mut all = self.all.clone();
        all.sort_unstable();
        let at = |q: f64| all.get(((all.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or(0);
        [0.5, 0.99, 0.999].map(|q| watch.ns_raw(u64::from(at(q))))
    }

    /// Mean, median and 99th percentile of the frames' fastest passes, ns.
    pub fn summary(&self, watch: &Stopwatch) -> [f64; 3] {
        let mut ns: Vec<f64> = self.fastest.iter().map(|ticks| watch.ns_raw(*ticks)).collect();
        let mean = ns.iter().sum::<f64>() / ns.len().max(1) as f64;
        [mean, quantile(&mut ns, 0.5), quantile(&mut ns, 0.99)]
    }

    /// Allocations a frame in the last pass.
    pub fn allocs_per_frame(&self) -> f64 {
        self.allocs as f64 / self.fastest.len().max(1) as f64
    }
}

/// What the host takes away from a loop that never stops.
#[derive(Clone, Copy, Debug)]
pub struct NoiseFloor {
    /// Share of the time spent in gaps above 1 us, in `[0, 1]`.
    pub stolen: f64,
    /// Gaps above 1 us a second.
    pub gaps_per_second: f64,
    /// What an arrival at a random moment waits with a chance of 1 %, ns.
    pub wait_1_percent: f64,
    /// The same with a chance of 0.1 %, ns.
    pub wait_1_permille: f64,
    /// Longest gap, ns.
    pub longest: f64,
}

impl NoiseFloor {
    /// Watches the clock on the calling thread for `span`.
    pub fn measure(watch: &Stopwatch, span: Duration) -> Self {
        let least = watch.clock().ticks_of(1_000);
        let end = watch.clock().ticks() + watch.clock().ticks_of(span.as_nanos() as u64);
        let mut gaps = Vec::with_capacity(1 << 16);
        let begin = watch.clock().ticks();
        let mut last = begin;
        while last < end {
            let now = watch.clock().ticks();
            if now.saturating_sub(last) > least && gaps.len() < gaps.capacity() {
                gaps.push(watch.ns_raw(now - last));
            }
            last = now;
        }
        Self::of(&mut gaps, watch.ns_raw(last - begin))
    }

    fn of(gaps: &mut [f64], observed: f64) -> Self {
        gaps.sort_by(|a, b| b.total_cmp(a));
        // In a gap of length g an arrival waits more than x for a time of g - x.
        let waits = |share: f64| -> f64 {
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, gap) in gaps.iter().enumerate() {
                (sum, count) = (sum + gap, count + 1.0);
                let x = (sum - share * observed) / count;
                if x >= gaps.get(i + 1).copied().unwrap_or(0.0) {
                    return x.max(0.0);
                }
            }
            0.0
        };
        Self {
            stolen: gaps.iter().sum::<f64>() / observed,
            gaps_per_second: gaps.len() as f64 * 1e9 / observed,
            wait_1_percent: waits(0.01),
            wait_1_permille: waits(0.001),
            longest: gaps.first().copied().unwrap_or(0.0),
        }
    }

    /// The line printed beside figures.
    pub fn line(&self) -> String {
        format!(
            "gaps > 1 us take {:.2} % of the core ({:.0} a second, longest {:.0} us); a random arrival waits more than \
             {:.1} us once in 100, {:.1} us once in 1000",
            self.stolen * 100.0,
            self.gaps_per_second,
            self.longest / 1e3,
            self.wait_1_percent / 1e3,
            self.wait_1_permille / 1e3
        )
    }
}

/// Keeps a value alive for the optimiser; named here so that rigs need one import.
#[inline(always)]
pub fn keep<T>(value: T) -> T {
    black_box(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_from_gaps() {
        // One gap of 100 in 1000: more than 90 with 1 %, more than 99 with 0.1 %.
        let floor = NoiseFloor::of(&mut [100.0], 1_000.0);
        assert!((floor.wait_1_percent - 90.0).abs() < 1e-9 && (floor.wait_1_permille - 99.0).abs() < 1e-9);
        let floor = NoiseFloor::of(&mut [50.0, 50.0, 10.0], 1_000.0);
        assert!((floor.wait_1_percent - 45.0).abs() < 1e-9 && (floor.stolen - 0.11).abs() < 1e-9);
        assert_eq!(NoiseFloor::of(&mut [], 1_000.0).wait_1_percent, 0.0);
    }

    #[test]
    fn quantiles_and_pairs() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(grouped_quantile(&mut [10.0, 10.0, 20.0, 20.0], 0.5), 15.0);
        assert_eq!(grouped_quantile(&mut [10.0, 20.0, 20.0, 30.0], 0.5), 20.0);
        assert_eq!(paired(&[1.0, 2.0, 9.0], &[2.0, 4.0, 3.0]), 0.5);
    }

    #[test]
    fn a_sleep_is_timed_and_nothing_costs_nothing() {
        let watch = Stopwatch::default();
        let start = watch.start();
        std::thread::sleep(Duration::from_millis(5));
        assert!(watch.ns_raw(watch.since(start)) > 4e6);
        let empty = FrameTimes::new(100);
        let mut times = empty;
        for _ in 0..50 {
            times.pass(&watch, |_| ());
        }
        assert!(times.summary(&watch)[0] < 50.0 && times.allocs == 0);
    }
}
