//! What the ledger's operations take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidegate_wire::latency::histogram;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// Looking up a drift.
    Drift,
    /// Applying a reserve in memory.
    Reserve,
    /// A lock from being asked for to being durable.
    Lock,
    /// Booking a trade, from being asked for.
    Trade,
    /// Taking note of a price, from being asked for.
    Market,
}

/// Names as in the status, in the order of the variants, with the bound that each must stay below, ms.
const NAMES: [(&str, u64); 5] =
    [("drift", 1), ("reserve_in_memory", 5), ("lock_durable", 5), ("trade_creation", 10), ("market_update", 100)];

/// Histograms that the writer and the acknowledger share.
#[derive(Clone, Debug)]
pub(crate) struct Times(Arc<Mutex<[Histogram<u64>; 5]>>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(std::array::from_fn(|_| histogram()))))
    }

    fn lock(&self) -> MutexGuard<'_, [Histogram<u64>; 5]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn since(&self, what: Measured, begun: Instant) {
        self.record(what, begun.elapsed());
    }

    pub(crate) fn record(&self, what: Measured, took: Duration) {
        self.lock()[what as usize].saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Percentiles by name, ns, with how often the bound of the specification was passed.
    pub(crate) fn report(&self) -> Value {
        let figures = |(histogram, (_, bound_ms)): (&Histogram<u64>, &(&str, u64))| {
            let at = |quantile| histogram.value_at_quantile(quantile);
            let over = histogram.len() - histogram.count_between(0, bound_ms * 1_000_000);
            json!({
                "count": histogram.len(),
                "p50_ns": at(0.5),
                "p99_ns": at(0.99),
                "p999_ns": at(0.999),
                "max_ns": histogram.max(),
                "bound_ms": bound_ms,
                "over_bound": over,
            })
        };
        let histograms = self.lock();
        histograms
            .iter()
            .zip(&NAMES)
            .map(|pair| (pair.1.0.to_owned(), figures(pair)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
