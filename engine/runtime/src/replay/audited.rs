//! A run and its audit log: how it ends there, and what happens when nothing can be recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_guard::Command;
use tidegate_wire::decision::Scope;

use super::{ReplayPlan, ReplayReport};
use crate::models::Inbox;
use crate::scribe::Stopper;

/// What the audit log says at the end: what a replay of the same input must come to.
pub(super) fn ending(report: &ReplayReport) -> serde_json::Value {
    serde_json::json!({
        "frames": report.feed.frames,
        "events": report.feed.events,
        "decisions": report.guard.decisions,
        "adjustments": report.guard.adjustments,
        "features_digest": format!("{:016x}", report.features_digest),
        "decisions_digest": format!("{:016x}", report.decisions_digest),
        "stopped": report.stopped && report.live.is_none(),
    })
}

/// Stops the trading when it can no longer be recorded: a live engine trips, a replay ends.
pub(super) fn stopper(plan: &ReplayPlan, inbox: Arc<Inbox>, stop: Arc<AtomicBool>) -> Stopper {
    let live = plan.live.is_some();
    Box::new(move |reason| {
        tracing::error!(reason, "audit: cannot record, so trading stops");
        if live {
            inbox.put(Command::Trip(Scope::Engine, 0));
        } else {
            stop.store(true, Ordering::Relaxed);
        }
    })
}
