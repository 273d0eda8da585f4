//! OpenMetrics of what the engine counts and measures anyway: nothing is measured a second time for them.
//!
//! [`FAMILIES`] is the whole list: dashboards and alert rules name these and nothing else, and a test holds them to it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::server::Counts;

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up; `_total` is added to its name.
    Counter,
    /// Up and down.
    Gauge,
    /// Times in classic buckets.
    Histogram,
}

/// A metric: base units are in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Name, without what the format adds.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// Every metric, by name, for whoever sets it.
        pub mod family {
            $(#[doc = $help] pub const $id: &str = $name;)*
        }
        /// Every metric.
        pub const FAMILIES: &[Family] =
            &[$(Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help },)*];
    };
}

families! {
    BUILD Gauge "tidegate_build" ["version"] "1, with the version that runs";
    STARTED Gauge "tidegate_start_time_seconds" [] "When the run began, seconds since the Unix epoch";
    LATENCY Histogram "tidegate_latency_seconds" ["stage"] "Latency of a stage of the pipeline";
    EVENT_TIME Gauge "tidegate_event_time_seconds" [] "Event time that the engine has reached";
    VECTORS Counter "tidegate_vectors" ["instrument"] "Feature vectors that observers saw";
    OBSERVERS_LOST Counter "tidegate_observer_lost_lines" [] "Lines of the observers' rings that were overwritten unread";
    DATA_AGE Gauge "tidegate_data_age_seconds" ["instrument"] "Time since an instrument's last vector";
    MID Gauge "tidegate_mid_price" ["instrument"] "Middle of best bid and ask, quote units";
    BOOK_GOOD Gauge "tidegate_book_good" ["instrument"] "1 while the book is known to be right";
    DECISIONS Counter "tidegate_decisions" [] "Breakers' changes of state";
    TRIPS Counter "tidegate_trips" ["rule"] "Trips by rule";
    BREAKERS_OPEN Gauge "tidegate_breakers_open" ["scope"] "Breakers that stop trading, by what they guard";
    ADJUSTMENTS Counter "tidegate_adjustments" ["origin"] "Changes of thresholds by origin";
    QUALITY_CHANGES Counter "tidegate_book_changes" ["quality"] "Changes of books' quality, by what they came to";
    LINKS Gauge "tidegate_feed_connections" ["venue", "state"] "Connections by market and state";
    HEARD Gauge "tidegate_feed_silence_seconds" ["venue"] "Longest time since a connection of the market was heard of";
    CLOCK_SKEW Gauge "tidegate_clock_offset_seconds" ["venue"] "The venue's clock less ours";
    MODEL_VERSION Gauge "tidegate_model_version" ["model"] "Version in force";
    MODEL_EVENTS Counter "tidegate_model_events" ["event"] "Promotions, refusals, roll-backs, faults, restarts, predictions";
    AUDIT_ENTRIES Gauge "tidegate_audit_entries" [] "Entries of the audit log";
    AUDIT_FAILED Gauge "tidegate_audit_failed" [] "1 when the audit log cannot be written";
    THROWN Gauge "tidegate_kill_switches_thrown" [] "Kill switches that are thrown";
    OPEN_ORDERS Gauge "tidegate_open_orders" [] "Orders that are open at venues, as the risk desk knows";
    PROFIT Gauge "tidegate_profit" ["scope"] "Profit of a scope, reporting currency";
    EXPOSURE Gauge "tidegate_exposure" ["scope"] "Exposure of a scope, reporting currency";
    ALERTS Counter "tidegate_alerts" ["kind"] "Alerts that were told";
    SIGNALS Counter "tidegate_signals" ["coin", "action"] "Microstructure signals";
    SIGNALS_BLIND Gauge "tidegate_signals_without_reference" [] "1 while coins move and the reference price is absent or stale: there are no signals";
    SIGNALS_LOST Gauge "tidegate_signal_records_lost" [] "Records for the signals' clerk that were lost because it did not keep up";
    SIGNAL_BRIER Gauge "tidegate_signal_brier_score" ["of"] "Brier score of the formula's confidence, of the base rate on the same signals, and of what champion and challenger stated where signals acted on it";
    TRAP Gauge "tidegate_trap_probability" ["instrument", "pattern"] "Probability of the newest trap signal";
    STREAM_CONNECTIONS Gauge "tidegate_serve_connections" [] "Connections to the stream server";
    STREAM_CLIENTS Gauge "tidegate_serve_streams" [] "Clients of the stream";
    STREAM_ACCEPTED Counter "tidegate_serve_accepted" [] "Connections that were accepted";
    STREAM_REFUSED Counter "tidegate_serve_refused" ["why"] "Connections and requests that were refused";
    STREAM_DROPPED Counter "tidegate_serve_dropped" ["why"] "Streams that were dropped by the server";
    STREAM_RECEIVED Counter "tidegate_serve_received" [] "Messages that clients sent";
    STREAM_SENT Counter "tidegate_serve_sent" [] "Messages that clients were sent";
    REQUESTS Counter "tidegate_serve_requests" [] "Requests to the engine";
    STORE_BEHIND Gauge "tidegate_store_behind_entries" [] "Entries of the audit log that the store does not have yet";
    STORE_STATE Gauge "tidegate_store_failing" [] "1 while the store cannot be written";
    REDIS_STATE Gauge "tidegate_redis_degraded" [] "1 while Redis cannot be written";
    NEWS_LOST Counter "tidegate_news_lost" [] "News that came faster than they could be shown one by one";
    WEBHOOKS Counter "tidegate_webhooks" ["outcome"] "Webhooks by outcome";
}

/// Upper ends of classic buckets, seconds: 1, 2, 5 a decade from 100 ns to 5 s.
const BOUNDS: [f64; 24] = [
    1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1,
    2e-1, 5e-1, 1.0, 2.0, 5.0,
];

type Labels = Vec<(&'static str, String)>;

/// A histogram as it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    sum: f64,
    count: u64,
    /// Upper end in seconds and count of each.
    buckets: Vec<(f64, u64)>,
}

impl Buckets {
    /// Of latencies in ns.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let mut buckets: Vec<(f64, u64)> = BOUNDS.iter().map(|bound| (*bound, 0)).collect();
        buckets.push((f64::INFINITY, 0));
        let (mut sum, mut at) = (0.0, 0);
        for value in histogram.iter_recorded() {
            let seconds = value.value_iterated_to() as f64 * 1e-9;
            // What is counted as a range lies in the bucket of its upper end.
            while seconds > buckets[at].0 {
                at += 1;
            }
            buckets[at].1 += value.count_at_value();
            sum += seconds * value.count_at_value() as f64;
        }
        Self { sum, count: histogram.len(), buckets }
    }
}

#[derive(Clone, Debug, Default)]
struct Values {
    numbers: BTreeMap<&'static str, BTreeMap<Labels, f64>>,
    latency: BTreeMap<String, Buckets>,
}

/// The newest values; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    values: Arc<Mutex<Values>>,
    counts: Option<Arc<Counts>>,
}

impl Metrics {
    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the server's own counters too.
    pub(crate) fn counting(self, counts: Arc<Counts>) -> Self {
        Self { counts: Some(counts), ..self }
    }

    /// Sets a value.
    ///
    /// # Panics
    /// In debug builds, where [`FAMILIES`] has no such metric with these labels: a programming error.
    pub fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        check(name, labels);
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        self.values().numbers.entry(name).or_default().insert(labels, value);
    }

    /// Adds to a counter.
    ///
    /// # Panics
    /// As [`Metrics::set`].
    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], more: f64) {
        check(name, labels);
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        *self.values().numbers.entry(name).or_default().entry(labels).or_insert(0.0) += more;
    }

    /// Replaces all values of a metric: members that are gone are gone here too.
    ///
    /// # Panics
    /// As [`Metrics::set`].
    pub fn replace(&self, name: &'static str, members: impl IntoIterator<Item = (Labels, f64)>) {
        let members = members.into_iter().inspect(|(labels, _)| {
            let borrowed: Vec<(&'static str, &str)> = labels.iter().map(|(l, v)| (*l, v.as_str())).collect();
            check(name, &borrowed);
        });
        let members = members.collect();
        self.values().numbers.insert(name, members);
    }

    /// Takes the whole histogram of a stage.
    pub fn latency(&self, stage: &str, buckets: Buckets) {
        self.values().latency.insert(stage.to_owned(), buckets);
    }

    /// All of it as OpenMetrics text.
    ///
    /// # Errors
    /// A value that cannot be written: none is known.
    pub fn encode(&self) -> Result<String, Error> {
        if let Some(counts) = &self.counts {
            self.count(counts);
        }
        let mut registry = Registry::default();
        // Of a copy: whoever counts does not wait for a scraper.
        let values = self.values().clone();
        registry.register_collector(Box::new(Shown(values)));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn count(&self, counts: &Counts) {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
        self.set(family::STREAM_CONNECTIONS, &[], counts.connections.load(Ordering::Relaxed) as f64);
        self.set(family::STREAM_CLIENTS, &[], counts.streams.load(Ordering::Relaxed) as f64);
        self.set(family::STREAM_ACCEPTED, &[], read(&counts.accepted));
        self.set(family::STREAM_RECEIVED, &[], read(&counts.received));
        self.set(family::STREAM_SENT, &[], read(&counts.sent));
        self.set(family::REQUESTS, &[], read(&counts.requests));
        for (why, counter) in [
            ("full", &counts.turned_away),
            ("handshake", &counts.handshakes_failed),
            ("access", &counts.refused),
            ("message", &counts.wrong),
        ] {
            self.set(family::STREAM_REFUSED, &[("why", why)], read(counter));
        }
        for (why, counter) in
            [("slow", &counts.dropped_slow), ("abuse", &counts.dropped_abusive), ("silent", &counts.dropped_silent)]
        {
            self.set(family::STREAM_DROPPED, &[("why", why)], read(counter));
        }
    }
}

fn check(name: &str, labels: &[(&'static str, &str)]) {
    debug_assert!(
        FAMILIES.iter().any(|one| one.name == name && one.labels.iter().eq(labels.iter().map(|(label, _)| label))),
        "no metric {name} with {labels:?}"
    );
}

fn encode_number(metric: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> Result<(), Error> {
    if kind == Kind::Counter {
        metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
    } else {
        metric.encode_gauge(&value)
    }
}

#[derive(Debug)]
struct Shown(Values);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let values = &self.0;
        for family in FAMILIES {
            if family.kind == Kind::Histogram {
                let mut metric = encoder.encode_descriptor(family.name, family.help, None, MetricType::Histogram)?;
                for (stage, shown) in &values.latency {
                    let labels = [("stage", stage.as_str())];
                    let none: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
                    metric.encode_family(&labels)?.encode_histogram(shown.sum, shown.count, &shown.buckets, none)?;
                }
                continue;
            }
            let Some(members) = values.numbers.get(family.name).filter(|members| !members.is_empty()) else {
                continue;
            };
            let kind = if family.kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, value) in members {
                if labels.is_empty() {
                    encode_number(&mut metric, family.kind, *value)?;
                } else {
                    encode_number(&mut metric.encode_family(labels)?, family.kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_keep_their_counts() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 2).expect("bounds");
        for (value, count) in [(90, 5), (1_500, 3), (700_000, 2), (9_000_000_000, 1)] {
            histogram.record_n(value, count).expect("in bounds");
        }
        let shown = Buckets::of(&histogram);
        assert_eq!((shown.count, shown.buckets.iter().map(|(_, count)| count).sum::<u64>()), (11, 11));
        let count = |bound: f64| shown.buckets.iter().find(|(upper, _)| *upper == bound).map(|(_, count)| *count);
        assert_eq!([1e-7, 2e-6, 1e-3, f64::INFINITY].map(count), [Some(5), Some(3), Some(2), Some(1)]);
        assert!((shown.sum - 9.0014).abs() < 0.1, "{}", shown.sum);
    }

    #[test]
    fn the_text_is_open_metrics() {
        let metrics = Metrics::default();
        metrics.set(family::BREAKERS_OPEN, &[("scope", "engine")], 1.0);
        metrics.add(family::TRIPS, &[("rule", "price_move")], 2.0);
        metrics.add(family::TRIPS, &[("rule", "price_move")], 1.0);
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 2).expect("bounds");
        histogram.record(1_500).expect("in bounds");
        metrics.latency("total", Buckets::of(&histogram));
        let text = metrics.encode().expect("text");
        for line in [
            "# TYPE tidegate_trips counter",
            "tidegate_trips_total{rule=\"price_move\"} 3.0",
            "tidegate_breakers_open{scope=\"engine\"} 1.0",
            "tidegate_latency_seconds_bucket{le=\"+Inf\",stage=\"total\"} 1",
            "tidegate_latency_seconds_count{stage=\"total\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        metrics.replace(family::BREAKERS_OPEN, []);
        assert!(!metrics.encode().expect("text").contains("breakers_open{"));
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            assert!(family.name.starts_with("tidegate_") && !family.name.ends_with("_total"), "{}", family.name);
            assert!(!family.help.ends_with('.'), "{}", family.name);
        }
    }
}
