//! Wall time, and what each venue believes it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use strum::VariantArray;

use super::venue::Venue;

/// One clock for each venue: wall time and an offset.
pub(crate) struct Clock {
    offsets_ms: Vec<AtomicI64>,
    scale: f64,
}

impl Clock {
    pub(crate) fn new(offset_ms: i64, scale: f64) -> Self {
        Self { offsets_ms: Venue::VARIANTS.iter().map(|_| AtomicI64::new(offset_ms)).collect(), scale }
    }

    /// Wall time, ns since the epoch.
    pub(crate) fn now_ns(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Venue time, ms since the epoch.
    pub(crate) fn ms(&self, venue: Venue) -> i64 {
        self.now_ns() / 1_000_000 + self.offsets_ms[venue.index()].load(Ordering::Relaxed)
    }

    /// Moves a venue's clock.
    pub(crate) fn jump(&self, venue: Venue, by_ms: i64) {
        self.offsets_ms[venue.index()].fetch_add(by_ms, Ordering::Relaxed);
    }

    /// A protocol time limit of so many seconds, scaled, ns.
    pub(crate) fn limit_ns(&self, seconds: f64) -> i64 {
        (seconds * self.scale * 1e9) as i64
    }
}
