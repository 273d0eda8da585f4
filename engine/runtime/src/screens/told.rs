//! News as they happen: what the scribe, desks and sessions tell.

use std::sync::Arc;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidegate_feed::session::status::SessionEvent;
use tidegate_serve::Topic;
use tidegate_serve::metrics::family;
use tidegate_sidecar::messages::Event;
use tidegate_trade::lines::SignalLine;
use tidegate_trade::report::Tally;
use tidegate_wire::advice::Origin;
use tidegate_wire::signal::OutcomeBody;

use super::Screens;
use crate::latency::PIPELINE;
use crate::lines::{BookLine, DecisionLine};
use crate::models::{AdjustmentLine, OperatedLine};

/// A way to tell; clones tell the same.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    screens: Arc<Screens>,
}

/// Quantiles of summaries.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
/// Samples without which a quantile says nothing: ten beyond it.
const BEYOND: f64 = 10.0;
/// Budget of an adjustment, ns.
const BUDGET_NS: u64 = 5_000_000;

impl Teller {
    pub(super) const fn new(screens: Arc<Screens>) -> Self {
        Self { screens }
    }

    /// A breaker changed its state.
    pub(crate) fn decision(&self, line: &DecisionLine) {
        let screens = &self.screens;
        screens.metrics.add(family::DECISIONS, &[], 1.0);
        let mut breakers = screens.breakers();
        let mut told = json!(line);
        told["run"] = breakers.run().into();
        screens.hub.tell(Topic::Breaker, Some(line.event_ns), &told);
        if breakers.decided(line) {
            screens.metrics.add(family::TRIPS, &[("rule", line.rule)], 1.0);
            screens.alarms.tripped(line);
        }
        let counts = breakers.counts().into_iter().map(|(scope, count)| (vec![("scope", scope.to_owned())], count));
        screens.metrics.replace(family::BREAKERS_OPEN, counts);
    }

    /// Thresholds changed.
    pub(crate) fn adjustment(&self, line: &AdjustmentLine) {
        let screens = &self.screens;
        screens.hub.tell(Topic::Threshold, Some(line.event_ns), line);
        let origin = match line.origin {
            Origin::Advised => "advised",
            Origin::Expired => "expired",
            Origin::Conditions => "conditions",
        };
        screens.metrics.add(family::ADJUSTMENTS, &[("origin", origin)], 1.0);
        let mut breakers = screens.breakers();
        breakers.adjusted(line);
    }

    /// An operator's command reached the engine.
    pub(crate) fn operated(&self, line: &OperatedLine) {
        self.screens.hub.tell(Topic::Operator, Some(line.event_ns), line);
    }

    /// The signal desk saw something.
    pub(crate) fn signal(&self, line: &SignalLine<'_>) {
        let event_ns = (line.timestamp * 1e6) as i64;
        self.screens.hub.tell(Topic::Psc, Some(event_ns), line);
        self.screens.metrics.add(family::SIGNALS, &[("coin", line.symbol), ("action", line.action)], 1.0);
    }

    /// A signal's timer has ended: stated probabilities stand beside what was observed.
    pub(crate) fn outcome(&self, outcome: &OutcomeBody, tally: &Tally) {
        let report = tally.report(0.0);
        if let Some(calibration) = &report.calibration {
            self.screens.metrics.set(family::SIGNAL_BRIER, &[("of", "formula")], calibration.brier);
            self.screens.metrics.set(family::SIGNAL_BRIER, &[("of", "base-rate")], calibration.brier_base);
        }
        self.screens.hub.put(Topic::Calibration, "", Some(outcome.event_ns), &report);
    }

    /// A book changed its quality.
    pub(crate) fn quality(&self, line: &BookLine<'_>) {
        self.screens.hub.tell(Topic::Quality, Some(line.event_ns), line);
        self.screens.metrics.add(family::QUALITY_CHANGES, &[("quality", line.quality)], 1.0);
    }

    /// Something happened to a connection, a book or a clock. Pushes of accounts are states and no news.
    pub(crate) fn session(&self, event: &SessionEvent) {
        if event.kind != "account" {
            self.screens.hub.tell(Topic::Connection, Some(event.at_ns), event);
            if event.kind == "state" && event.detail.contains("error") {
                let text = format!("{} {}: {}", event.venue, event.connection, event.detail);
                self.screens.alarms.send("feed", text, Some(event.at_ns), json!(event));
            }
        }
    }

    /// A model did something.
    pub(crate) fn model(&self, event: &Event) {
        let name = match event {
            Event::Ready { .. } => "ready",
            Event::Lost { .. } => "lost",
            Event::Empty { .. } => "empty",
            Event::Unavailable { .. } => "unavailable",
            Event::Admitted { .. } => "admitted",
            Event::Refused { .. } => "refused",
            Event::Promoted { name, to, .. } | Event::RolledBack { name, to, .. } => {
                self.screens.metrics.set(family::MODEL_VERSION, &[("model", name)], f64::from(*to));
                if matches!(event, Event::Promoted { .. }) { "promoted" } else { "rolled-back" }
            }
            Event::Fault { .. } => "fault",
            Event::Prediction { name, instrument, event_ns, .. } => {
                let key = format!("{name}/{}", self.screens.breakers().instrument(*instrument));
                self.screens.hub.put(Topic::Signal, &key, Some(*event_ns), event);
                self.screens.metrics.add(family::MODEL_EVENTS, &[("event", "prediction")], 1.0);
                return;
            }
            Event::Judging { .. } | Event::Ended | Event::Answer { .. } => return,
        };
        self.screens.metrics.add(family::MODEL_EVENTS, &[("event", name)], 1.0);
        self.screens.hub.tell(Topic::Model, None, event);
        if matches!(name, "lost" | "unavailable" | "refused" | "fault" | "rolled-back") {
            self.screens.alarms.send("model", format!("models: {name}"), None, json!(event));
        }
    }

    /// The risk desk alerts.
    pub(crate) fn alert(&self, event_ns: i64, kind: &str, alert: &Value) {
        self.screens.hub.tell(Topic::Alert, Some(event_ns), alert);
        self.screens.metrics.add(family::ALERTS, &[("kind", kind)], 1.0);
        self.screens.alarms.send(kind, format!("risk: {kind}"), Some(event_ns), alert.clone());
    }

    /// An interval of histograms has ended.
    pub(crate) fn latency(&self, stages: &[&str], total: &[Histogram<u64>], interval: &[Histogram<u64>]) {
        let mut shown = Vec::new();
        for ((stage, total), interval) in stages.iter().zip(total).zip(interval) {
            if total.is_empty() {
                continue;
            }
            self.screens.metrics.latency(stage, total);
            shown.push(json!({
                "stage": stage,
                "of_venue": stages.iter().position(|other| other == stage).is_some_and(|at| at >= PIPELINE),
                "total": summary(total),
                "interval": (!interval.is_empty()).then(|| summary(interval)),
                "plot": matches!(*stage, "total" | "adjust_total").then(|| plot(total)),
            }));
        }
        let data = json!({ "stages": shown, "budget_ns": { "adjust_total": BUDGET_NS } });
        self.screens.hub.put(Topic::Latency, "", None, &data);
    }
}

/// Count, mean, largest and those quantiles that enough samples lie beyond, ns.
fn summary(histogram: &Histogram<u64>) -> Value {
    let mut shown = json!({ "count": histogram.len(), "mean": histogram.mean(), "max": histogram.max() });
    for (name, quantile) in QUANTILES {
        if histogram.len() as f64 * (1.0 - quantile) >= BEYOND {
            shown[name] = histogram.value_at_quantile(quantile).into();
        }
    }
    shown
}

/// Points of a percentile plot: quantile and ns, five steps a half distance to 1.
fn plot(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let all = histogram.iter_quantiles(5).map(|value| (value.quantile_iterated_to(), value.value_iterated_to()));
    all.filter(|(quantile, _)| *quantile < 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_without_samples_are_absent() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).expect("bounds");
        (1..=200).for_each(|ns| histogram.record(ns).expect("in bounds"));
        let shown = summary(&histogram);
        assert_eq!((shown["count"].as_u64(), shown["p50"].as_u64()), (Some(200), Some(100)));
        assert!(shown.get("p90").is_some() && shown.get("p99").is_none(), "{shown}");
        let points = plot(&histogram);
        assert!(points.len() > 10 && points.is_sorted());
    }
}
