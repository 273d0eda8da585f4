//! News as they happen: what the scribe, desks and sessions tell, and who shows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidegate_feed::session::status::SessionEvent;
use tidegate_serve::Topic;
use tidegate_serve::metrics::{Buckets, family};
use tidegate_sidecar::messages::Event;
use tidegate_trade::lines::SignalLine;
use tidegate_trade::report::{SignalReport, Tally};
use tidegate_trade::signals::rating::StatedBy;
use tidegate_wire::advice::{Adjustment, Operated, Origin};
use tidegate_wire::decision::Decision;
use tidegate_wire::event::{Header, Status};
use tidegate_wire::signal::OutcomeBody;

use super::Screens;
use super::news::{Inbox, News, Told, channel};
use crate::latency::PIPELINE;
use crate::lines::{DecisionLine, Names};
use crate::models::{AdjustmentLine, OperatedLine};
use crate::signals::{DeskState, LearningReport};

/// What the topic of calibration holds.
#[derive(serde::Serialize)]
struct Calibrated<'a> {
    #[serde(flatten)]
    report: &'a SignalReport,
    /// What came of a model beside the formula; null where none is asked.
    learning: Option<&'a LearningReport>,
}

/// A way to tell; clones tell the same. Nobody who tells ever waits for screens.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    told: Told,
}

/// Shows what is told, on a thread of its own; ends with the value, when everything told until then is shown.
#[derive(Debug)]
pub(crate) struct Reporter {
    told: Told,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has.
struct Desk {
    screens: Arc<Screens>,
    names: Names,
    /// Breakers have changed since their counts were told.
    changed: bool,
    /// What of the count of lost news was told.
    lost: u64,
}

/// Quantiles of summaries.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
/// Samples without which a quantile says nothing: ten beyond it.
const BEYOND: f64 = 10.0;
/// Budget of an adjustment, ns.
const BUDGET_NS: u64 = 5_000_000;

impl Teller {
    /// A breaker changed its state.
    pub(crate) fn decision(&self, decision: &Decision) {
        self.told.tell(News::Decision(*decision));
    }

    /// Thresholds changed.
    pub(crate) fn adjustment(&self, adjustment: &Adjustment) {
        self.told.tell(News::Adjustment(Box::new(*adjustment)));
    }

    /// An operator's command reached the engine.
    pub(crate) fn operated(&self, operated: &Operated) {
        self.told.tell(News::Operated(*operated));
    }

    /// A book changed its quality.
    pub(crate) fn quality(&self, header: &Header, status: &Status) {
        self.told.tell(News::Quality(Box::new((*header, *status))));
    }

    /// Something happened to a connection, a book or a clock. Pushes of accounts are states and no news.
    pub(crate) fn session(&self, event: &SessionEvent) {
        if event.kind != "account" {
            self.told.tell(News::Session(Box::new(event.clone())));
        }
    }

    /// A model did something.
    pub(crate) fn model(&self, event: &Event) {
        if !matches!(event, Event::Judging { .. } | Event::Ended | Event::Answer { .. } | Event::Rated { .. }) {
            self.told.tell(News::Model(Box::new(event.clone())));
        }
    }

    /// The risk desk alerts.
    pub(crate) fn alert(&self, event_ns: i64, kind: &str, alert: &Value) {
        self.told.tell(News::Alert(Box::new((event_ns, kind.to_owned(), alert.clone()))));
    }

    /// The signal desk saw something.
    pub(crate) fn signal(&self, event_ns: i64, line: &SignalLine<'_>) {
        let coin = line.symbol.to_owned();
        self.told.tell(News::Signal(Box::new((event_ns, coin, line.action, json!(line)))));
    }

    /// The signal desk stands otherwise than before.
    pub(crate) fn signal_desk(&self, state: DeskState) {
        self.told.tell(News::SignalDesk(state));
    }

    /// Something about signals that somebody may wait for.
    pub(crate) fn signal_alert(&self, words: &str, detail: &Value) {
        self.told.tell(News::SignalAlert(Box::new((words.to_owned(), detail.clone()))));
    }

    /// A signal's timer has ended: stated probabilities stand beside what was observed.
    pub(crate) fn outcome(&self, outcome: &OutcomeBody, tally: &Tally, learning: Option<&LearningReport>) {
        let told = (outcome.event_ns, tally.report(0.0), learning.cloned());
        self.told.tell(News::Calibration(Box::new(told)));
    }

    /// The paper account has changed.
    pub(crate) fn paper(&self, event_ns: i64, account: Value) {
        self.told.tell(News::Paper(Box::new((event_ns, account))));
    }

    /// An interval of histograms has ended. They are the caller's, so they are summed up here, once a second.
    pub(crate) fn latency(&self, stages: &[&str], total: &[Histogram<u64>], interval: &[Histogram<u64>]) {
        let (mut shown, mut buckets) = (Vec::new(), Vec::new());
        for ((stage, total), interval) in stages.iter().zip(total).zip(interval) {
            if total.is_empty() {
                continue;
            }
            buckets.push(((*stage).to_owned(), Buckets::of(total)));
            shown.push(json!({
                "stage": stage,
                "of_venue": stages.iter().position(|other| other == stage).is_some_and(|at| at >= PIPELINE),
                "total": summary(total),
                "interval": (!interval.is_empty()).then(|| summary(interval)),
                "plot": matches!(*stage, "total" | "adjust_total").then(|| plot(total)),
            }));
        }
        let data = json!({ "stages": shown, "budget_ns": { "adjust_total": BUDGET_NS } });
        self.told.tell(News::Latency(Box::new((buckets, data))));
    }
}

impl Reporter {
    /// Shows the news of a run with these names on screens.
    pub(super) fn start(screens: Arc<Screens>, names: Names) -> std::io::Result<Self> {
        let (told, inbox) = channel();
        let desk = Desk { screens, names, changed: false, lost: 0 };
        let thread = std::thread::Builder::new().name("tide-news".into()).spawn(move || desk.run(inbox))?;
        Ok(Self { told, thread: Some(thread) })
    }

    /// A way to tell it.
    pub(crate) fn teller(&self) -> Teller {
        Teller { told: self.told.clone() }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.told.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn run(mut self, mut inbox: Inbox) {
        loop {
            match inbox.take() {
                Some(News::End) => break,
                Some(news) => self.show(news),
                None => {
                    self.settle(inbox.lost());
                    inbox.wait();
                }
            }
        }
        self.settle(inbox.lost());
    }

    /// What is told once for many news.
    fn settle(&mut self, lost: u64) {
        let screens = &self.screens;
        if std::mem::take(&mut self.changed) {
            let counts = screens.breakers().counts();
            let counts = counts.into_iter().map(|(scope, count)| (vec![("scope", scope.to_owned())], count));
            screens.metrics.replace(family::BREAKERS_OPEN, counts);
        }
        if lost > self.lost {
            screens.metrics.add(family::NEWS_LOST, &[], (lost - self.lost) as f64);
            screens.lost.fetch_add(lost - self.lost, Ordering::Relaxed);
            self.lost = lost;
        }
    }

    fn show(&mut self, news: News) {
        match news {
            News::Decision(decision) => {
                self.changed = true;
                self.decision(&self.names.decision(&decision));
            }
            News::Adjustment(adjustment) => {
                let line = AdjustmentLine::of(&adjustment, self.names.instrument(adjustment.instrument));
                self.adjustment(&line);
            }
            News::Operated(operated) => {
                let line = OperatedLine::of(&operated, &self.names);
                self.screens.hub.tell(Topic::Operator, Some(line.event_ns), &line);
            }
            News::Quality(told) => {
                let line = self.names.book(&told.0, &told.1);
                self.screens.hub.tell(Topic::Quality, Some(line.event_ns), &line);
                self.screens.metrics.add(family::QUALITY_CHANGES, &[("quality", line.quality)], 1.0);
            }
            News::Session(event) => self.session(&event),
            News::Model(event) => self.model(&event),
            News::Alert(told) => {
                let (event_ns, kind, alert) = *told;
                self.screens.hub.tell(Topic::Alert, Some(event_ns), &alert);
                self.screens.metrics.add(family::ALERTS, &[("kind", &kind)], 1.0);
                self.screens.alarms.send(&kind, format!("risk: {kind}"), Some(event_ns), alert);
            }
            News::Signal(told) => {
                let (event_ns, coin, action, line) = *told;
                self.screens.hub.tell(Topic::Psc, Some(event_ns), &line);
                self.screens.metrics.add(family::SIGNALS, &[("coin", &coin), ("action", action)], 1.0);
            }
            News::SignalDesk(state) => {
                self.screens.metrics.set(family::SIGNALS_BLIND, &[], f64::from(u8::from(state.blind)));
                self.screens.metrics.set(family::SIGNALS_LOST, &[], state.lost as f64);
            }
            News::SignalAlert(told) => {
                let (words, detail) = *told;
                self.screens.alarms.send("signals", format!("signals: {words}"), None, detail);
            }
            News::Calibration(told) => {
                let (event_ns, report, learning) = *told;
                if let Some(calibration) = &report.calibration {
                    self.screens.metrics.set(family::SIGNAL_BRIER, &[("of", "formula")], calibration.brier);
                    self.screens.metrics.set(family::SIGNAL_BRIER, &[("of", "base-rate")], calibration.brier_base);
                }
                // By role and not by version: versions come and go, and a series would stay for each.
                for (by, arm) in report.arms.iter().filter(|(by, _)| **by != StatedBy::Formula.name()) {
                    self.screens.metrics.set(family::SIGNAL_BRIER, &[("of", by)], arm.calibration.brier);
                }
                let shown = Calibrated { report: &report, learning: learning.as_ref() };
                self.screens.hub.put(Topic::Calibration, "", Some(event_ns), &shown);
            }
            News::Paper(told) => self.screens.hub.put(Topic::Paper, "", Some(told.0), &told.1),
            News::Latency(told) => {
                let (buckets, data) = *told;
                buckets.into_iter().for_each(|(stage, buckets)| self.screens.metrics.latency(&stage, buckets));
                self.screens.hub.put(Topic::Latency, "", None, &data);
            }
            News::End => {}
        }
    }

    fn decision(&self, line: &DecisionLine) {
        let screens = &self.screens;
        screens.metrics.add(family::DECISIONS, &[], 1.0);
        let (run, tripped) = {
            let mut breakers = screens.breakers();
            (breakers.run(), breakers.decided(line))
        };
        let mut told = json!(line);
        told["run"] = run.into();
        screens.hub.tell(Topic::Breaker, Some(line.event_ns), &told);
        if tripped {
            screens.metrics.add(family::TRIPS, &[("rule", line.rule)], 1.0);
            screens.alarms.tripped(line);
        }
    }

    fn adjustment(&self, line: &AdjustmentLine) {
        let screens = &self.screens;
        screens.hub.tell(Topic::Threshold, Some(line.event_ns), line);
        let origin = match line.origin {
            Origin::Advised => "advised",
            Origin::Expired => "expired",
            Origin::Conditions => "conditions",
        };
        screens.metrics.add(family::ADJUSTMENTS, &[("origin", origin)], 1.0);
        screens.breakers().adjusted(line);
    }

    fn session(&self, event: &SessionEvent) {
        self.screens.hub.tell(Topic::Connection, Some(event.at_ns), event);
        if event.kind == "state" && event.detail.contains("error") {
            let text = format!("{} {}: {}", event.venue, event.connection, event.detail);
            self.screens.alarms.send("feed", text, Some(event.at_ns), json!(event));
        }
    }

    fn model(&self, event: &Event) {
        let name = match event {
            Event::Ready { .. } => "ready",
            Event::Lost { .. } => "lost",
            Event::Empty { .. } => "empty",
            Event::Newer { .. } => "newer",
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
            Event::Judging { .. } | Event::Ended | Event::Answer { .. } | Event::Rated { .. } => return,
        };
        self.screens.metrics.add(family::MODEL_EVENTS, &[("event", name)], 1.0);
        self.screens.hub.tell(Topic::Model, None, event);
        if matches!(name, "lost" | "unavailable" | "refused" | "fault" | "rolled-back") {
            self.screens.alarms.send("model", format!("models: {name}"), None, json!(event));
        }
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
