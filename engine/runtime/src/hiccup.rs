//! The hiccup meter: how much of a core the host takes away from a loop that never wants to stop.
//!
//! Latency figures are only as good as the machine under them. The meter runs a thread that does nothing but look at
//! the clock; every gap between two looks is time the loop did not have. It yields the *noise floor*: no percentile
//! below it says anything about the program being measured.
//!
//! Two modes:
//!
//! - [`Mode::Spin`] reads the clock without pause on a core of its own and sees every gap above
//!   [`GAP_NS_MIN`]. What counts is not how many gaps there are but how long an arrival at a random moment waits:
//!   during a gap of length `g` it waits between 0 and `g`, so the chance of waiting more than `x` is the sum of
//!   `g - x` over all longer gaps, divided by the time observed.
//! - [`Mode::Sleep`] sleeps 1 ms and notes how much later it woke (as jHiccup does), for hosts with no core to spare.
//!   A wake-up is itself an arrival; those that a long stall swallowed are added back at the 1 ms schedule.
//!
//! The measuring loop neither allocates nor locks. A reader asks through a flag; the loop swaps its histogram with
//! an empty one in a slot both know, and does not count the time the swap took.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::wait::pin;

/// Gaps up to this long, in ns, are the loop's own work: two clock reads and a flag.
pub const GAP_NS_MIN: u64 = 1_000;

/// The longest gap told apart from longer ones, in ns: one minute.
const GAP_NS_MAX: u64 = 60_000_000_000;
/// Two digits: 30 KiB of counts, which leaves the caches of a shared core alone.
const DIGITS: u8 = 2;
/// The period of sleep mode.
const NAP: Duration = Duration::from_millis(1);
/// How long a reader waits for the loop to answer before it reports what it has.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// How the meter looks for gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Reads the clock without pause; takes a core.
    Spin,
    /// Sleeps 1 ms at a time and records the overshoot; takes next to nothing.
    Sleep,
}

impl Mode {
    /// Spins only where that starves nobody: when there is a core beyond those the `busy_threads` occupy and one for
    /// everything else.
    pub fn for_host(online_cores: usize, busy_threads: usize) -> Self {
        if online_cores > busy_threads.saturating_add(1) { Self::Spin } else { Self::Sleep }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Sleep => "sleep",
        }
    }
}

/// Why a meter did not start.
#[derive(Debug, thiserror::Error)]
pub enum HiccupError {
    /// The core does not exist or is closed to this process.
    #[error("cannot pin the hiccup meter to core {core}: not among the cores this process may use")]
    Pin {
        /// The core asked for.
        core: usize,
    },
    /// The system refused a thread.
    #[error("cannot start the hiccup meter's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A histogram could not be made; its bounds are constants, so this is a bug.
    #[error("cannot make the hiccup meter's histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// What the loop counts beside its histogram; all since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Time under observation.
    observed_ns: u64,
    /// Time inside gaps.
    stolen_ns: u64,
    gaps: u64,
    longest_ns: u64,
}

/// Where loop and reader meet.
struct Slot {
    /// Empty before the loop swaps, the interval's gaps after.
    gaps: Histogram<u64>,
    totals: Totals,
}

struct Shared {
    stop: AtomicBool,
    /// Set by the reader, cleared by the loop when the slot is filled.
    wanted: AtomicBool,
    slot: Mutex<Slot>,
}

/// A running meter. Dropping it stops its thread.
pub struct HiccupMeter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    mode: Mode,
    core: Option<usize>,
    /// Everything handed over so far.
    all: Histogram<u64>,
}

impl fmt::Debug for HiccupMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HiccupMeter").field("mode", &self.mode).field("core", &self.core).finish_non_exhaustive()
    }
}

impl HiccupMeter {
    /// Starts measuring, pinned to `core` or wherever the scheduler likes.
    ///
    /// # Errors
    /// When the core is not open to this process or no thread can be had.
    pub fn start(core: Option<usize>, mode: Mode) -> Result<Self, HiccupError> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            slot: Mutex::new(Slot { gaps: empty()?, totals: Totals::default() }),
        });
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let mut watcher = Watcher { shared: Arc::clone(&shared), gaps: empty()?, totals: Totals::default() };
        let thread = std::thread::Builder::new()
            .name(String::from("hiccup"))
            .spawn(move || {
                let pinned = core.is_none_or(|core| pin(core).is_ok());
                if ready.send(pinned).is_ok() && pinned {
                    match mode {
                        Mode::Spin => watcher.spin(),
                        Mode::Sleep => watcher.nap(),
                    }
                }
            })
            .map_err(HiccupError::Thread)?;
        let meter = Self { shared, thread: Some(thread), mode, core, all: empty()? };
        match (started.recv(), core) {
            (Ok(true), _) => Ok(meter),
            (_, Some(core)) => Err(HiccupError::Pin { core }),
            (_, None) => Err(HiccupError::Thread(std::io::Error::other("the thread ended at once"))),
        }
    }

    /// The noise floor since the start. Waits up to half a second for a stalled loop, then reports what it has.
    pub fn snapshot(&mut self) -> NoiseFloor {
        self.shared.wanted.store(true, Ordering::Release);
        let asked = Instant::now();
        while self.shared.wanted.load(Ordering::Acquire) && asked.elapsed() < ANSWER_WAIT {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.collect()
    }

    /// Stops the loop and returns the noise floor of the whole run.
    pub fn stop(mut self) -> NoiseFloor {
        self.end();
        self.collect()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The loop cannot panic; were it to, the slot still holds the last hand-over.
            let _ended = thread.join();
        }
    }

    fn collect(&mut self) -> NoiseFloor {
        let mut slot = self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner);
        // Same bounds on both sides, so the addition cannot fail.
        let added = self.all.add(&slot.gaps);
        debug_assert!(added.is_ok(), "histograms of equal bounds add up");
        slot.gaps.reset();
        NoiseFloor::of(self.mode, self.core, &slot.totals, &self.all)
    }
}

impl Drop for HiccupMeter {
    fn drop(&mut self) {
        self.end();
    }
}

fn empty() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1, GAP_NS_MAX, DIGITS)
}

/// The measuring thread's side.
struct Watcher {
    shared: Arc<Shared>,
    gaps: Histogram<u64>,
    totals: Totals,
}

impl Watcher {
    fn spin(&mut self) {
        let mut last = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let gap_ns = nanos(now - last);
            last = now;
            self.totals.observed_ns += gap_ns;
            if gap_ns > GAP_NS_MIN {
                self.count(gap_ns);
                self.gaps.saturating_record(gap_ns);
                // The bookkeeping above is ours, not the host's.
                last = Instant::now();
            }
            if self.shared.wanted.load(Ordering::Relaxed) {
                self.hand_over();
                last = Instant::now();
            }
        }
        self.finish();
    }

    fn nap(&mut self) {
        let nap_ns = nanos(NAP);
        // Every sleep ends a little late by design (timer slack); the shortest delay seen is that design.
        let mut usual_ns = u64::MAX;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            std::thread::sleep(NAP);
            let slept_ns = nanos(start.elapsed());
            let late_ns = slept_ns.saturating_sub(nap_ns);
            usual_ns = usual_ns.min(late_ns);
            let gap_ns = late_ns - usual_ns;
            self.totals.observed_ns += slept_ns;
            if gap_ns > GAP_NS_MIN {
                self.count(gap_ns);
            }
            self.record_wake(gap_ns, nap_ns);
            if self.shared.wanted.load(Ordering::Relaxed) {
                self.hand_over();
            }
        }
        self.finish();
    }

    /// Records one wake-up, and those that should have happened during its delay.
    fn record_wake(&mut self, gap_ns: u64, period_ns: u64) {
        let mut wait_ns = gap_ns.min(GAP_NS_MAX);
        loop {
            self.gaps.saturating_record(wait_ns);
            if wait_ns <= period_ns {
                break;
            }
            wait_ns -= period_ns;
        }
    }

    fn count(&mut self, gap_ns: u64) {
        self.totals.stolen_ns += gap_ns;
        self.totals.gaps += 1;
        self.totals.longest_ns = self.totals.longest_ns.max(gap_ns);
    }

    /// Puts the interval into the slot. Never waits: a reader busy with the slot is served on the next turn.
    fn hand_over(&mut self) {
        if let Ok(mut slot) = self.shared.slot.try_lock() {
            if slot.gaps.is_empty() {
                std::mem::swap(&mut slot.gaps, &mut self.gaps);
            } else if slot.gaps.add(&self.gaps).is_ok() {
                // A reader that gave up left the last interval behind.
                self.gaps.reset();
            }
            slot.totals = self.totals;
            drop(slot);
            self.shared.wanted.store(false, Ordering::Release);
        }
    }

    /// The last hand-over may wait and copy: the measurement is over.
    fn finish(&mut self) {
        let mut slot = self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let added = slot.gaps.add(&self.gaps);
        debug_assert!(added.is_ok(), "histograms of equal bounds add up");
        slot.totals = self.totals;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the host takes from a loop: the line to print beside every latency report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseFloor {
    /// How it was measured.
    pub mode: Mode,
    /// The core measured; `None` when not pinned.
    pub core: Option<usize>,
    /// Time under observation, in s.
    pub observed_s: f64,
    /// Share of that time inside gaps, in [0, 1].
    pub stolen_ratio: f64,
    /// Gaps longer than 1 us.
    pub gaps: u64,
    /// Gaps a second.
    pub gaps_per_s: f64,
    /// 1 % of random arrivals wait longer than this, in ns.
    pub wait_p99_ns: u64,
    /// 0.1 % of random arrivals wait longer than this, in ns.
    pub wait_p999_ns: u64,
    /// 0.01 % of random arrivals wait longer than this, in ns.
    pub wait_p9999_ns: u64,
    /// The longest gap, in ns.
    pub longest_ns: u64,
}

impl NoiseFloor {
    fn of(mode: Mode, core: Option<usize>, totals: &Totals, gaps: &Histogram<u64>) -> Self {
        let observed_s = totals.observed_ns as f64 / 1e9;
        let per = |value: f64| if totals.observed_ns == 0 { 0.0 } else { value / totals.observed_ns as f64 };
        let wait = |share: f64| match mode {
            Mode::Spin => random_wait_ns(gaps, totals.observed_ns, share),
            Mode::Sleep => gaps.value_at_quantile(1.0 - share),
        };
        Self {
            mode,
            core,
            observed_s,
            stolen_ratio: per(totals.stolen_ns as f64),
            gaps: totals.gaps,
            gaps_per_s: per(totals.gaps as f64 * 1e9),
            wait_p99_ns: wait(0.01),
            wait_p999_ns: wait(0.001),
            wait_p9999_ns: wait(0.0001),
            longest_ns: totals.longest_ns,
        }
    }
}

/// The wait that a `share` of arrivals at random moments exceeds: the `x` at which the gaps' parts beyond `x` add up
/// to `share` of the time observed. Zero when all gaps together are shorter than that.
fn random_wait_ns(gaps: &Histogram<u64>, observed_ns: u64, share: f64) -> u64 {
    let target_ns = share * observed_ns as f64;
    let mut longer: Vec<(f64, f64)> = gaps
        .iter_recorded()
        .map(|step| (gaps.median_equivalent(step.value_iterated_to()) as f64, step.count_at_value() as f64))
        .collect();
    longer.reverse();
    // With n gaps of total length s beyond x, the excess is s - n x: linear between two gap lengths.
    let (mut n, mut sum_ns) = (0.0, 0.0);
    for (index, &(gap_ns, count)) in longer.iter().enumerate() {
        n += count;
        sum_ns += count * gap_ns;
        let next_ns = longer.get(index + 1).map_or(0.0, |&(gap_ns, _)| gap_ns);
        if sum_ns - n * next_ns >= target_ns {
            return ((sum_ns - target_ns) / n) as u64;
        }
    }
    0
}

impl fmt::Display for NoiseFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "noise floor: ")?;
        match self.core {
            Some(core) => write!(f, "core {core}, ")?,
            None => write!(f, "not pinned, ")?,
        }
        write!(
            f,
            "{}, {:.1} s: {:.2} % stolen, {:.0} gaps/s > 1 us, P(wait > x) = 1 % {}, 0.1 % {}, 0.01 % {}; longest {}",
            self.mode.word(),
            self.observed_s,
            self.stolen_ratio * 100.0,
            self.gaps_per_s,
            Short(self.wait_p99_ns),
            Short(self.wait_p999_ns),
            Short(self.wait_p9999_ns),
            Short(self.longest_ns),
        )
    }
}

/// Nanoseconds as people read them.
struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let (value, unit) = match self.0 {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => (ns / 1e3, "us"),
            1_000_000..1_000_000_000 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        let decimals = if value < 10.0 { 1 } else { 0 };
        write!(f, "{value:.decimals$} {unit}")
    }
}

#[cfg(test)]
mod tests;
