//! Metrics by the minute that wait for their store: a day's at most.

use std::collections::BTreeMap;

use tidegate_record::store::rows::MinuteMetric;

/// How long they wait, ns of their own minutes.
const KEPT_NS: i64 = 86_400_000_000_000;
/// How many wait at most: 128 names a minute of a day.
const MOST: usize = 1_440 * 128;
/// How many are written at once.
const BATCH: usize = 4_096;

/// What waits.
#[derive(Debug)]
pub(super) struct Minutes {
    session: i64,
    waiting: BTreeMap<(i64, String), f64>,
    dropped: u64,
}

impl Minutes {
    pub(super) fn new(session: u64) -> Self {
        Self { session: session as i64, waiting: BTreeMap::new(), dropped: 0 }
    }

    pub(super) fn put(&mut self, minute_ns: i64, name: &str, value: f64) {
        self.waiting.insert((minute_ns, name.to_owned()), value);
        let newest = self.waiting.last_key_value().map_or(minute_ns, |((newest, _), _)| *newest);
        let old = |minutes: &BTreeMap<(i64, String), f64>| {
            let oldest = minutes.first_key_value().map_or(newest, |((oldest, _), _)| *oldest);
            newest.saturating_sub(oldest) > KEPT_NS || minutes.len() > MOST
        };
        while old(&self.waiting) {
            self.waiting.pop_first();
            self.dropped += 1;
        }
    }

    /// The oldest that wait.
    pub(super) fn waiting(&self) -> Vec<MinuteMetric> {
        let oldest = self.waiting.iter().take(BATCH);
        let metric = |((minute_ns, name), value): (&(i64, String), &f64)| MinuteMetric {
            session: self.session,
            minute_ns: *minute_ns,
            name: name.clone(),
            value: *value,
        };
        oldest.map(metric).collect()
    }

    /// These are in the store; one that was put anew meanwhile still waits.
    pub(super) fn written(&mut self, metrics: &[MinuteMetric]) {
        for metric in metrics {
            let key = (metric.minute_ns, metric.name.clone());
            if self.waiting.get(&key).is_some_and(|value| value.to_bits() == metric.value.to_bits()) {
                self.waiting.remove(&key);
            }
        }
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    #[test]
    fn a_day_waits_and_what_is_older_is_dropped_and_counted() {
        let mut minutes = Minutes::new(7);
        for minute in 0..=1_450 {
            minutes.put(minute * MINUTE, "frames", minute as f64);
        }
        assert_eq!(minutes.dropped(), 10);
        let waiting = minutes.waiting();
        assert_eq!((waiting.len(), waiting[0].minute_ns / MINUTE, waiting[0].session), (1_441, 10, 7));
        // What changed while it was written is written again.
        minutes.put(1_450 * MINUTE, "frames", 0.5);
        minutes.written(&waiting);
        assert_eq!(minutes.waiting().iter().map(|metric| metric.value).collect::<Vec<_>>(), [0.5]);
        for name in 0..MOST + 5 {
            minutes.put(1_451 * MINUTE, &format!("{name:06}"), 1.0);
        }
        assert_eq!((minutes.waiting.len(), minutes.dropped()), (MOST, 16));
    }
}
