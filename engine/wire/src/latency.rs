//! Latency histograms a hot loop can keep without allocating, locking or waiting.
//!
//! A [`Recorder`] owns a set of pre-built histograms, one a stage. When the [`Collector`] (a cold thread) asks for an
//! interval, the recorder's next [`Recorder::poll`] swaps the whole set for an empty one that has been lying ready and
//! hands over the full one through a bounded queue; the collector merges it, writes it and gives it back. If no empty
//! set is ready the recorder simply goes on with the one it has: an interval gets longer, no sample is lost.
//!
//! hdrhistogram's own concurrent recorder is not used because the recording thread allocates a histogram when it meets
//! a phase shift (38 us at the median, 254 us at worst where it was measured).

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;

use crate::sync::{AtomicU64, Ordering};

/// Smallest latency told apart, ns.
pub const LOWEST_NS: u64 = 1;
/// Largest latency told apart; longer ones count as this one, ns.
pub const HIGHEST_NS: u64 = 100_000_000_000;
/// Significant digits: 1 % resolution, and small enough (34 KiB a stage) to stay in the L2 cache.
pub const DIGITS: u8 = 2;

/// A histogram with the bounds above.
///
/// # Panics
/// Never: the bounds are constants that hdrhistogram accepts.
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant histogram bounds: {error}"),
    }
}

type Set = Box<[Histogram<u64>]>;

#[derive(Debug)]
struct Exchange {
    /// Full sets on their way to the collector.
    full: ArrayQueue<Set>,
    /// Empty sets on their way back.
    empty: ArrayQueue<Set>,
    /// How often the collector has asked.
    asked: AtomicU64,
}

/// The hot side: one writer, on the core that measures.
#[derive(Debug)]
pub struct Recorder {
    current: Set,
    exchange: Arc<Exchange>,
    /// The request last answered.
    answered: u64,
}

/// The cold side: cumulative histograms and the intervals they came in.
#[derive(Debug)]
pub struct Collector {
    stages: &'static [&'static str],
    total: Set,
    interval: Set,
    exchange: Arc<Exchange>,
}

/// A recorder and its collector for the given stages.
pub fn recorder(stages: &'static [&'static str]) -> (Recorder, Collector) {
    let set = || stages.iter().map(|_| histogram()).collect::<Set>();
    let exchange = Arc::new(Exchange { full: ArrayQueue::new(4), empty: ArrayQueue::new(4), asked: AtomicU64::new(0) });
    for _ in 0..2 {
        // Two fit a queue of four.
        let _ = exchange.empty.push(set());
    }
    let recorder = Recorder { current: set(), exchange: exchange.clone(), answered: 0 };
    (recorder, Collector { stages, total: set(), interval: set(), exchange })
}

impl Recorder {
    /// Counts one latency of stage `stage`, ns. Longer than [`HIGHEST_NS`] counts as that.
    #[inline(always)]
    pub fn record(&mut self, stage: usize, ns: u64) {
        self.current[stage].saturating_record(ns);
    }

    /// Hands the interval over if the collector has asked for it. Call it once an event; it is one relaxed load.
    #[inline(always)]
    pub fn poll(&mut self) {
        if self.exchange.asked.load(Ordering::Relaxed) != self.answered {
            self.hand_over();
        }
    }

    #[cold]
    fn hand_over(&mut self) {
        let Some(empty) = self.exchange.empty.pop() else { return };
        self.answered = self.exchange.asked.load(Ordering::Relaxed);
        let full = std::mem::replace(&mut self.current, empty);
        if let Err(full) = self.exchange.full.push(full) {
            // Cannot happen with three sets and four places; keep the samples rather than lose them.
            let empty = std::mem::replace(&mut self.current, full);
            let _ = self.exchange.empty.push(empty);
        }
    }

    /// Hands over what is left. Call it when the loop has ended; the collector must still be polled afterwards.
    pub fn finish(mut self) {
        let rest = std::mem::take(&mut self.current);
        let mut rest = Some(rest);
        // The collector may be a little behind: wait for a place.
        while let Some(set) = rest.take() {
            if let Err(set) = self.exchange.full.push(set) {
                rest = Some(set);
                std::thread::yield_now();
            }
        }
    }
}

impl Collector {
    /// Stage names, in recording order.
    pub const fn stages(&self) -> &'static [&'static str] {
        self.stages
    }

    /// Asks the recorder for its interval; it answers at its next poll.
    pub fn ask(&self) {
        self.exchange.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what has been handed over; `true` when there was anything. The interval then holds it.
    pub fn collect(&mut self) -> bool {
        let mut any = false;
        while let Some(mut set) = self.exchange.full.pop() {
            if !any {
                self.interval.iter_mut().for_each(Histogram::reset);
            }
            any = true;
            for ((interval, total), part) in self.interval.iter_mut().zip(&mut self.total).zip(&mut set) {
                // Equal bounds: addition cannot fail.
                let _ = interval.add(&*part);
                let _ = total.add(&*part);
                part.reset();
            }
            let _ = self.exchange.empty.push(set);
        }
        any
    }

    /// The last interval collected, one histogram a stage.
    pub fn interval(&self) -> &[Histogram<u64>] {
        &self.interval
    }

    /// Everything collected so far, one histogram a stage.
    pub fn total(&self) -> &[Histogram<u64>] {
        &self.total
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn intervals_add_up_and_nothing_is_lost() {
        let (mut recorder, mut collector) = recorder(&["a", "b"]);
        let mut intervals = 0;
        for round in 0..10u64 {
            for ns in 1..=100 {
                recorder.record(0, ns * (round + 1));
                recorder.record(1, 7);
                recorder.poll();
            }
            // Every third time the collector is late.
            collector.ask();
            recorder.poll();
            if round % 3 != 0 && collector.collect() {
                intervals += 1;
                assert!(collector.interval()[1].len() >= 100);
            }
        }
        recorder.finish();
        collector.collect();
        assert!(intervals > 3);
        assert_eq!(collector.total().iter().map(Histogram::len).collect::<Vec<_>>(), [1000, 1000]);
        assert_eq!(collector.total()[1].max(), 7);
    }

    #[test]
    fn too_long_saturates() {
        let (mut recorder, mut collector) = recorder(&["a"]);
        recorder.record(0, u64::MAX);
        recorder.finish();
        assert!(collector.collect());
        assert!(collector.total()[0].max() >= HIGHEST_NS);
    }
}
