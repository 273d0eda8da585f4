//! What clients ask the engine for, carried out as the control socket would.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};
use tidegate_record::log::{self, Severity};
use tidegate_serve::{Hub, Steering, Topic};

use super::Explainer;
use crate::audit::Trail;
use crate::control::{Ask, Operator};

/// The run that is asked.
#[derive(Debug)]
struct Run {
    operator: Operator,
    trail: Option<Trail>,
    audit: Option<PathBuf>,
    /// Its number since the server started.
    number: u64,
}

/// Hands requests to the run that is attached.
#[derive(Debug)]
pub(super) struct Steer {
    hub: Hub,
    run: RwLock<Option<Run>>,
    verifying: Arc<AtomicBool>,
    explainer: Option<Explainer>,
    explaining: AtomicBool,
}

fn refused(error: impl Into<String>) -> Value {
    json!({ "ok": false, "error": error.into() })
}

impl Steer {
    pub(super) fn new(hub: Hub, explainer: Option<Explainer>) -> Self {
        let (run, explaining) = (RwLock::default(), AtomicBool::new(false));
        Self { hub, run, verifying: Arc::default(), explainer, explaining }
    }

    pub(super) fn attach(&self, operator: Operator, trail: Option<Trail>, audit: Option<PathBuf>, number: u64) {
        *self.run.write().unwrap_or_else(PoisonError::into_inner) = Some(Run { operator, trail, audit, number });
    }

    pub(super) fn detach(&self) {
        *self.run.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn operator(&self) -> Option<Operator> {
        let run = self.run.read().unwrap_or_else(PoisonError::into_inner);
        run.as_ref().map(|run| run.operator.clone())
    }

    fn audit(&self) -> Option<PathBuf> {
        let run = self.run.read().unwrap_or_else(PoisonError::into_inner);
        run.as_ref().and_then(|run| run.audit.clone())
    }

    /// Explains the incident that a decision belongs to; one at a time.
    fn explain(&self, request: &Value) -> Value {
        let Some(decision) = request["decision"].as_u64() else {
            return refused("decision: expected the number of a decision");
        };
        let number = self.run.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|run| run.number);
        if request["run"].as_u64().is_some_and(|run| Some(run) != number) {
            return refused("that decision is of a run that has ended: `tidegate postmortem --event` explains it");
        }
        let Some(audit) = self.audit() else { return refused("this run has no audit log to explain from") };
        let Some(explainer) = &self.explainer else { return refused("this engine keeps no input to explain from") };
        if self.explaining.swap(true, Ordering::AcqRel) {
            return refused("another incident is being explained; try again when it is done");
        }
        let answer = explainer.explain(&audit, decision);
        self.explaining.store(false, Ordering::Release);
        answer.unwrap_or_else(refused)
    }

    /// Verifies the audit log on a thread of its own; how far it is, and what came of it, is state of the topic
    /// `audit` under the key `verification`.
    fn verify(&self, who: &str) -> Value {
        let Some(directory) = self.audit() else { return refused("this run has no audit log") };
        if self.verifying.swap(true, Ordering::AcqRel) {
            return refused("the log is being verified already");
        }
        let (hub, verifying, who) = (self.hub.clone(), self.verifying.clone(), who.to_owned());
        let work = move || {
            let show = |state: &str, rest: Value| {
                let data = json!({ "state": state, "by": who, "directory": directory, "result": rest });
                hub.put(Topic::Audit, "verification", None, &data);
            };
            // Told a hundred times at most: one entry is hashed in well under a microsecond.
            let shown = AtomicU64::new(0);
            let progress = |done: u64, of: u64| {
                let step = done * 100 / of.max(1) + 1;
                if shown.fetch_max(step, Ordering::Relaxed) < step {
                    show("running", json!({ "entries": done, "of": of }));
                }
            };
            match log::verify(&directory, &[], 1, &progress) {
                Ok(report) => {
                    let state = match report.severity() {
                        None | Some(Severity::Note) => "whole",
                        Some(Severity::Incomplete) => "incomplete",
                        Some(Severity::Tampered) => "changed",
                    };
                    show(state, serde_json::to_value(&report).unwrap_or_default());
                }
                Err(error) => show("failed", json!({ "error": error.to_string() })),
            }
            verifying.store(false, Ordering::Release);
        };
        match std::thread::Builder::new().name("tide-verify".into()).spawn(work) {
            Ok(_) => json!({ "ok": true }),
            Err(error) => {
                self.verifying.store(false, Ordering::Release);
                refused(error.to_string())
            }
        }
    }
}

impl Steering for Steer {
    fn carry_out(&self, request: Value, who: &str) -> Value {
        match request["do"].as_str() {
            Some("audit-verify") => return self.verify(who),
            Some("postmortem") => return self.explain(&request),
            _ => {}
        }
        let ask: Ask = match serde_json::from_value(request) {
            Ok(ask) => ask,
            Err(error) => return refused(format!("no request of ours: {error}")),
        };
        let Some(operator) = self.operator() else { return refused("no engine is running: its run has ended") };
        serde_json::to_value(operator.answer(ask, who)).unwrap_or_else(|error| refused(error.to_string()))
    }

    fn stops(&self, request: &Value) -> bool {
        serde_json::from_value::<Ask>(request.clone()).is_ok_and(|ask| ask.stops())
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        let run = self.run.read().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = run.as_ref() else { return Err(vec!["no run is attached".into()]) };
        let mut missing = run.operator.unready();
        if let Some(error) = run.trail.as_ref().and_then(Trail::error) {
            missing.push(format!("audit log: {error}"));
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }
}
