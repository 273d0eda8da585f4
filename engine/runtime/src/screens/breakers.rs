//! Breakers that are not closed, and the thresholds in force.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidegate_guard::Profile;
use tidegate_guard::rules::RULES;
use tidegate_serve::{Hub, Topic};
use tidegate_wire::decision::BreakerState;
use tidegate_wire::{Registry, Venue};

use crate::lines::DecisionLine;
use crate::models::AdjustmentLine;

/// Scope, name and rule.
type Which = (&'static str, String, &'static str);

/// Where breakers and thresholds stand.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    open: BTreeMap<Which, DecisionLine>,
    /// Newest change of thresholds by instrument.
    thresholds: BTreeMap<String, AdjustmentLine>,
    /// Rules by market: thresholds, units, what they protect from.
    rules: Value,
    trips: u64,
    instruments: Vec<String>,
    /// Number of the run since the server started.
    run: u64,
    /// Whether what is shown is not what is here.
    dirty: bool,
}

impl Breakers {
    pub(crate) fn new(registry: &Registry, profiles: &[Profile; Venue::ALL.len()], run: u64) -> Self {
        let mut rules = Map::new();
        for (_, instrument) in registry.iter() {
            let profile = &profiles[instrument.venue as usize];
            let of_rule = |(rule, settings): (&&tidegate_guard::rules::Rule, &tidegate_guard::profile::Settings)| {
                json!({
                    "rule": rule.name,
                    "unit": rule.unit,
                    "about": rule.about,
                    "enabled": settings.enabled,
                    "threshold": settings.threshold,
                    "release": settings.release,
                })
            };
            let all: Vec<Value> = RULES.iter().zip(&profile.rules).map(of_rule).collect();
            rules.entry(instrument.venue.name()).or_insert(Value::Array(all));
        }
        let instruments = registry.iter().map(|(_, instrument)| instrument.name()).collect();
        Self { rules: rules.into(), instruments, run, dirty: true, ..Self::default() }
    }

    /// Number of the run since the server started, from 1: decisions are numbered anew in each.
    pub(crate) const fn run(&self) -> u64 {
        self.run
    }

    /// Name of an instrument by its number.
    pub(crate) fn instrument(&self, number: u16) -> String {
        self.instruments.get(usize::from(number)).cloned().unwrap_or_else(|| number.to_string())
    }

    /// Takes notice of a decision; says whether it was a trip.
    pub(crate) fn decided(&mut self, line: &DecisionLine) -> bool {
        self.dirty = true;
        let which = (line.scope, line.name.clone(), line.rule);
        if line.to == BreakerState::Closed.name() {
            self.open.remove(&which);
        } else {
            self.open.insert(which, line.clone());
        }
        let tripped = line.to == BreakerState::Tripped.name();
        self.trips += u64::from(tripped);
        tripped
    }

    pub(crate) fn adjusted(&mut self, line: &AdjustmentLine) {
        self.dirty = true;
        self.thresholds.insert(line.instrument.clone(), line.clone());
    }

    /// The threshold of a rule that models tune, as it is now; `None` where none has changed it.
    pub(crate) fn threshold(&self, instrument: &str, rule: &str) -> Option<f64> {
        let after = &self.thresholds.get(instrument)?.after;
        match rule {
            "volatility" => Some(after.volatility),
            "spread" => Some(after.spread),
            "imbalance" => Some(after.imbalance),
            "latency_spike" => Some(after.latency),
            _ => None,
        }
    }

    /// The worst state of any breaker that stops an instrument: its own, its venue's, the engine's.
    pub(crate) fn state(&self, instrument: &str, venue: &str) -> BreakerState {
        let concerns = |(scope, name, _): &Which| match *scope {
            "instrument" => name == instrument,
            "venue" => name == venue,
            "engine" => true,
            _ => false,
        };
        let rank = |line: &DecisionLine| match line.to {
            "tripped" => (3, BreakerState::Tripped),
            "cooling" => (2, BreakerState::Cooling),
            _ => (1, BreakerState::HalfOpen),
        };
        let worst = self.open.iter().filter(|(which, _)| concerns(which)).map(|(_, line)| rank(line));
        worst.max_by_key(|(rank, _)| *rank).map_or(BreakerState::Closed, |(_, state)| state)
    }

    /// Open breakers by scope.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, f64> {
        let mut counts = BTreeMap::from([("instrument", 0.0), ("venue", 0.0), ("strategy", 0.0), ("engine", 0.0)]);
        let stopping = self.open.values().filter(|line| matches!(line.to, "tripped" | "cooling"));
        stopping.for_each(|line| *counts.entry(line.scope).or_default() += 1.0);
        counts
    }

    /// Puts it where it has changed since.
    pub(crate) fn show(&mut self, hub: &Hub) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let event_ns = self.open.values().map(|line| line.event_ns).max();
        let open: Vec<&DecisionLine> = self.open.values().collect();
        let thresholds: BTreeMap<&String, Value> = self
            .thresholds
            .iter()
            .map(|(name, line)| {
                let value = json!({
                    "levels": line.after,
                    "origin": line.origin,
                    "event_ns": line.event_ns,
                    "until_ns": line.until_ns,
                    "model": line.advice.as_ref().map(|advice| format!("{} {}", advice.model, advice.version)),
                    "clamps": line.clamps,
                    "conditions": line.conditions,
                });
                (name, value)
            })
            .collect();
        let data = json!({ "run": self.run, "open": open, "trips": self.trips, "thresholds": thresholds, "rules": self.rules });
        hub.put(Topic::Breakers, "", event_ns, &data);
    }
}
