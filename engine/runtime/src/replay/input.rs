//! Where frames come from, and what a run leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_feed::discover;
use tidegate_feed::replay::SourceReport;
use tidegate_wire::Registry;
use tidegate_wire::clock::Clock;

use super::source::{ReplaySource, take_back};
use super::{Parts, Remains, ReplayPlan, RunError, Spent, pipeline};
use crate::audit::Trail;
use crate::control::Feeds;
use crate::live::{Live, LiveReport, LiveSource};
use crate::screens::Teller;

/// Where frames come from.
pub(super) enum Input {
    Captures(Box<ReplaySource>),
    Live(Live, Box<LiveSource>),
}

/// What a run left beside its pipeline.
pub(super) struct Ran {
    pub(super) outcome: Result<Remains, RunError>,
    pub(super) sources: Vec<SourceReport>,
    pub(super) live: Option<LiveReport>,
    pub(super) spent: Arc<Spent>,
    /// The input came to its end.
    pub(super) ended: bool,
}

impl Input {
    pub(super) fn open(
        plan: &ReplayPlan,
        sources: Vec<discover::Source>,
        registry: &Registry,
        clock: Clock,
        told: (Option<Trail>, Option<Teller>),
    ) -> Result<Self, RunError> {
        if let Some(live) = &plan.live {
            let (live, source) = Live::start(live, registry, clock, told)?;
            return Ok(Self::Live(live, Box::new(source)));
        }
        let reader = tidegate_feed::replay::start(sources, plan.read_ahead)?;
        Ok(Self::Captures(Box::new(ReplaySource::new(reader, plan.speed, clock))))
    }

    pub(super) fn feeds(&self) -> Option<Feeds> {
        match self {
            Self::Captures(_) => None,
            Self::Live(live, _) => Some(live.feeds()),
        }
    }

    pub(super) fn run(self, parts: Parts, plan: &ReplayPlan) -> Ran {
        match self {
            Self::Captures(source) => {
                let (spent, ended, reader) = (source.spent.clone(), source.ended.clone(), source.reader());
                let outcome = pipeline(parts, *source, plan);
                let sources = if outcome.is_ok() { take_back(reader).finish() } else { Vec::new() };
                Ran { outcome, sources, live: None, spent, ended: ended.load(Ordering::Acquire) }
            }
            Self::Live(live, source) => {
                let spent = source.spent.clone();
                let outcome = pipeline(parts, *source, plan);
                Ran { outcome, sources: Vec::new(), live: Some(live.finish()), spent, ended: false }
            }
        }
    }
}
