//! What is measured and counted in each minute of wall time, for the store.

use hdrhistogram::Histogram;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::latency::histogram;

use crate::stores::StoreHandle;

/// A minute, ns.
const MINUTE_NS: i64 = 60_000_000_000;

/// The minute that runs.
#[derive(Debug)]
pub(crate) struct Minutes {
    store: StoreHandle,
    /// Its begin, ns since the Unix epoch.
    minute: i64,
    stages: &'static [&'static str],
    latency: Vec<Histogram<u64>>,
    decisions: u64,
    trips: u64,
    adjustments: u64,
}

fn now() -> i64 {
    realtime_ns().div_euclid(MINUTE_NS) * MINUTE_NS
}

impl Minutes {
    pub(crate) fn new(store: StoreHandle) -> Self {
        let (stages, latency) = (&[] as &[&str], Vec::new());
        Self { store, minute: now(), stages, latency, decisions: 0, trips: 0, adjustments: 0 }
    }

    /// A breaker changed its state.
    pub(crate) fn decided(&mut self, tripped: bool) {
        self.decisions += 1;
        self.trips += u64::from(tripped);
    }

    /// Thresholds changed.
    pub(crate) fn adjusted(&mut self) {
        self.adjustments += 1;
    }

    /// An interval of histograms has ended; it counts in the minute of its end.
    pub(crate) fn measured(&mut self, stages: &'static [&'static str], interval: &[Histogram<u64>]) {
        if now() != self.minute {
            self.write();
        }
        self.stages = stages;
        self.latency.resize_with(stages.len(), histogram);
        for (minute, interval) in self.latency.iter_mut().zip(interval) {
            // Equal bounds: addition cannot fail.
            let _ = minute.add(interval);
        }
    }

    /// Gives the minute to the store and begins the one that runs now.
    pub(crate) fn write(&mut self) {
        let put = |name: &str, value: f64| self.store.minute(self.minute, name, value);
        for (stage, histogram) in self.stages.iter().zip(&self.latency) {
            if histogram.is_empty() {
                continue;
            }
            put(&format!("latency.{stage}.count"), histogram.len() as f64);
            for (name, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p99_9_ns", 0.999)] {
                put(&format!("latency.{stage}.{name}"), histogram.value_at_quantile(quantile) as f64);
            }
            put(&format!("latency.{stage}.max_ns"), histogram.max() as f64);
        }
        put("decisions", self.decisions as f64);
        put("trips", self.trips as f64);
        put("adjustments", self.adjustments as f64);
        self.latency.iter_mut().for_each(Histogram::reset);
        (self.minute, self.decisions, self.trips, self.adjustments) = (now(), 0, 0, 0);
    }
}
