//! The versions of one model that are loaded: the one in force, the one before it, and one in shadow.

use std::time::Duration;

use crate::messages::{Event, Listed, ShadowReport, State};
use crate::model::Model;
use crate::refusal::Refusal;

/// How long a new version runs in shadow, and what it may differ by.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShadowSettings {
    /// Adjustments beside the version in force before it is promoted.
    pub runs: u64,
    /// Largest mean absolute difference of outputs to the version in force.
    pub divergence: f64,
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self { runs: 20, divergence: 1.0 }
    }
}

#[derive(Debug)]
pub(crate) struct Shadow {
    pub(crate) model: Model,
    runs: u64,
    compared: u64,
    /// Runs beside nobody: there was no version in force, or it failed.
    alone: u64,
    difference: f64,
    longest: Duration,
}

/// A model's versions.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) active: Option<Model>,
    pub(crate) previous: Option<Model>,
    pub(crate) shadow: Option<Shadow>,
    active_runs: u64,
}

impl Slot {
    pub(crate) fn new(name: String) -> Self {
        Self { name, active: None, previous: None, shadow: None, active_runs: 0 }
    }

    /// Puts a version in force at once, because it was so before; gives the one that has no place any more.
    pub(crate) fn put_in_force(&mut self, model: Model) -> Option<Model> {
        self.active_runs = 0;
        let before = self.active.replace(model);
        std::mem::replace(&mut self.previous, before)
    }

    /// Puts a version in shadow; gives the one that was there.
    pub(crate) fn put_in_shadow(&mut self, model: Model) -> Option<Model> {
        let shadow = Shadow { model, runs: 0, compared: 0, alone: 0, difference: 0.0, longest: Duration::ZERO };
        self.shadow.replace(shadow).map(|shadow| shadow.model)
    }

    pub(crate) const fn ran(&mut self) {
        self.active_runs += 1;
    }

    /// The shadow ran beside the version in force, whose output was `active` (nothing if there is none, or it failed).
    pub(crate) fn shadow_ran(&mut self, active: Option<&[f32]>, output: &[f32], took: Duration) {
        let Some(shadow) = &mut self.shadow else { return };
        if output.is_empty() {
            // There was nothing to look at.
            return;
        }
        shadow.longest = shadow.longest.max(took);
        if let Some(active) = active.filter(|active| active.len() == output.len()) {
            let sum: f64 = active.iter().zip(output).map(|(a, b)| f64::from((a - b).abs())).sum();
            shadow.difference += sum / active.len() as f64;
            shadow.compared += 1;
        } else {
            shadow.alone += 1;
        }
    }

    /// The shadow rated a signal beside the version in force.
    pub(crate) fn shadow_rated(&mut self, active: Option<&[f32]>, output: f32, took: Duration) {
        if let Some(shadow) = &mut self.shadow {
            shadow.runs += 1;
        }
        self.shadow_ran(active, &[output], took);
    }

    /// An adjustment is over: judges the version in shadow when its time is up.
    pub(crate) fn judge(&mut self, settings: &ShadowSettings) -> Option<Result<(), Refusal>> {
        let shadow = self.shadow.as_mut()?;
        shadow.runs += 1;
        // A version in force that fails cannot be compared with, and must not keep out who might replace it.
        if shadow.compared + shadow.alone < settings.runs.max(1) {
            return None;
        }
        let report = shadow.report();
        if report.divergence > settings.divergence {
            let (found, limit) = (report.divergence, settings.divergence);
            let text = format!("outputs differ by {found:.3} on average from those in force, {limit} is tolerated");
            return Some(Err(Refusal::Shadow(text)));
        }
        Some(Ok(()))
    }

    /// Puts the version in shadow in force; gives what to tell and the version that has no place any more.
    pub(crate) fn promote(&mut self, event_ns: i64) -> Option<(Event, Option<Model>)> {
        let shadow = self.shadow.take()?;
        let report = shadow.report();
        let from = self.active.as_ref().map(|model| model.version);
        let (to, hash) = (shadow.model.version, shadow.model.hash_hex());
        let retired = self.put_in_force(shadow.model);
        let event = Event::Promoted { name: self.name.clone(), from, to, hash, shadow: Some(report), event_ns };
        Some((event, retired))
    }

    /// Puts the version before in force again; the one that was in force takes its place, so that this can be undone.
    pub(crate) fn roll_back(&mut self, event_ns: i64) -> Option<Event> {
        let previous = self.previous.take()?;
        let to = previous.version;
        let from = self.active.replace(previous)?;
        let event = Event::RolledBack { name: self.name.clone(), from: from.version, to, event_ns };
        (self.previous, self.active_runs) = (Some(from), 0);
        Some(event)
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = Listed> {
        let listed = |model: &Model, state, runs| Listed {
            name: model.name.clone(),
            version: model.version,
            hash: model.hash_hex(),
            state,
            runs,
            report: model.report.clone(),
        };
        let active = self.active.as_ref().map(|model| listed(model, State::Active, self.active_runs));
        let shadow = self.shadow.as_ref().map(|s| listed(&s.model, State::Shadow, s.runs));
        let previous = self.previous.as_ref().map(|model| listed(model, State::Previous, 0));
        active.into_iter().chain(shadow).chain(previous)
    }
}

impl Shadow {
    fn report(&self) -> ShadowReport {
        ShadowReport {
            runs: self.runs,
            divergence: self.difference / self.compared.max(1) as f64,
            longest_us: self.longest.as_secs_f64() * 1e6,
        }
    }
}
