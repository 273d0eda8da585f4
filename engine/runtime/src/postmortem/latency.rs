//! The engine's own latency around an incident, out of an interval log.
//!
//! Intervals are stamped by the host's clock. In a live run that is event time, so they can be laid over the incident;
//! in a replay it is not, and then only the whole run can be shown.

use std::path::Path;

use serde::Serialize;

use super::evidence::{Evidence, Window, hill, quantile};
use crate::hlog::{self, HlogError, Interval, Summary};

/// The stage from a frame's arrival to the decision.
const TOTAL: &str = "total";
/// Samples without which an interval's 99th percentile says nothing.
const SAMPLES_MIN: u64 = 100;

/// The engine's latency.
#[derive(Clone, Debug)]
pub(super) struct OwnLatency {
    intervals: Vec<Interval>,
    /// Whether intervals are stamped in event time.
    placed: bool,
}

/// What a report says of it.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct LatencyReport {
    /// Samples of the whole run.
    pub samples: u64,
    /// Median over the whole run, ns.
    pub p50_ns: Option<u64>,
    /// 99th percentile over the whole run, ns.
    pub p99_ns: Option<u64>,
    /// Largest of the whole run, ns.
    pub max_ns: Option<u64>,
    /// Whether intervals could be laid over the incident: only a live run's are stamped in event time.
    pub placed: bool,
}

impl OwnLatency {
    /// Reads a log; `live` says that the run it is of was a live one.
    pub(super) fn read(path: &Path, live: bool) -> Result<Self, HlogError> {
        let mut intervals = hlog::read(path)?.intervals;
        intervals.retain(|interval| interval.tag == TOTAL);
        Ok(Self { intervals, placed: live })
    }

    /// The whole run's.
    pub(super) fn report(&self) -> Result<LatencyReport, HlogError> {
        let sums = hlog::merge(&self.intervals)?;
        let summary = sums.get(TOTAL).map_or_else(Summary::default, Summary::of);
        let Summary { count, p50_ns, p99_ns, max_ns, .. } = summary;
        Ok(LatencyReport { samples: count, p50_ns, p99_ns, max_ns, placed: self.placed })
    }

    /// The slowest interval within a window beside the usual one; `None` where intervals have no place.
    pub(super) fn evidence(&self, window: Window) -> Option<Evidence> {
        if !self.placed {
            return None;
        }
        let begin = |interval: &Interval| (interval.start_s * 1e9) as i64;
        let within = |interval: &&Interval| {
            begin(interval) < window.1 && begin(interval) + (interval.duration_s * 1e9) as i64 > window.0
        };
        let tail = |interval: &Interval| interval.histogram.value_at_quantile(0.99) as f64;
        let telling = || self.intervals.iter().filter(|interval| interval.histogram.len() >= SAMPLES_MIN);
        let usual = quantile(telling().filter(|interval| !within(interval)).map(tail), 0.5)?;
        let slowest = telling().filter(within).max_by(|a, b| tail(a).total_cmp(&tail(b)))?;
        let (value, at_ns) = (tail(slowest), begin(slowest));
        // Five times the usual tail, and a millisecond: what a breaker on market data would feel.
        let strength = hill(value / usual.max(1.0), 5.0) * hill(value, 1e6);
        let (measure, usual) = ("99th percentile from frame to decision, slowest interval", Some(usual));
        Some(Evidence { of: None, measure, value, usual, unit: "ns", at_ns, strength })
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn a_slow_interval_is_evidence_in_a_live_run_only() {
        let interval = |second: u32, ns: u64| {
            let mut histogram = Histogram::<u64>::new(3).expect("a histogram");
            histogram.record_n(ns, 200).expect("recorded");
            Interval { tag: TOTAL.into(), start_s: f64::from(second), duration_s: 1.0, histogram }
        };
        let intervals = (0..20).map(|second| interval(second, if second == 12 { 9_000_000 } else { 4_000 })).collect();
        let own = OwnLatency { intervals, placed: true };
        let evidence = own.evidence((10_000_000_000, 15_000_000_000)).expect("placed");
        assert!(evidence.strength > 0.9 && evidence.at_ns == 12_000_000_000, "{evidence:?}");
        let calm = own.evidence((2_000_000_000, 5_000_000_000)).expect("placed");
        assert!(calm.strength < 0.01, "{calm:?}");
        assert_eq!(OwnLatency { placed: false, ..own }.evidence((0, i64::MAX)), None);
    }
}
