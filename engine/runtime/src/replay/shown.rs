//! A run on screens, where the plan wants that.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_guard::Strategy;
use tidegate_wire::Registry;
use tidegate_wire::ring::{Region, RegionKind};

use super::{ReplayPlan, RunError};
use crate::audit::Trail;
use crate::control::Operator;
use crate::lines::Names;
use crate::pipeline::Topology;
use crate::screens::{Attached, Facts, Guest, Reporter};
use crate::stream::StreamDesk;

/// Lines of the ring of looks: about 400 of them, a fifth of a second of ten instruments at twenty times their pace.
const LOOK_RING: u64 = 1 << 14;

/// What shows a run; nothing where nobody wants to see it.
pub(super) struct Shown {
    /// Where looks at books go.
    pub(super) looks: Option<Arc<Region>>,
    /// Who shows news; what was told until the run ends is shown when this is dropped.
    pub(super) reporter: Option<Reporter>,
    facts: Facts,
}

impl Shown {
    /// Says what the run is, before anything of it is told.
    pub(super) fn begin(plan: &ReplayPlan, (registry, strategies): (&Registry, &[Strategy])) -> Result<Self, RunError> {
        let facts = Facts {
            mode: if plan.live.is_some() { "live" } else { "replay" },
            speed: plan.speed.to_string(),
            topology: if plan.topology == Topology::Staged { "staged" } else { "fused" },
            models: plan.models.name(),
        };
        let Some(screens) = &plan.screens else { return Ok(Self { looks: None, reporter: None, facts }) };
        screens.begin(registry, &plan.profiles, &facts);
        let looks = Arc::new(Region::anonymous(RegionKind::Overwrite, LOOK_RING)?);
        let names = Names::new(registry, strategies.iter().map(|strategy| strategy.name.clone()).collect());
        let reporter = screens.reporter(names).map_err(RunError::Thread)?;
        Ok(Self { looks: Some(looks), reporter: Some(reporter), facts })
    }

    /// Shows the run until what it gives is dropped.
    pub(super) fn attach(
        &self,
        plan: &ReplayPlan,
        (registry, strategies): (&Registry, &[Strategy]),
        vectors: Arc<Region>,
        operator: &Operator,
        (trail, stream): (Option<Trail>, StreamDesk),
    ) -> Result<Option<Guest>, RunError> {
        let Some(screens) = &plan.screens else { return Ok(None) };
        let attached = Attached {
            registry,
            strategies: strategies.iter().map(|strategy| strategy.name.clone()).collect(),
            vectors,
            looks: self.looks.clone(),
            operator: operator.clone(),
            trail,
            stream,
            audit: plan.audit.as_ref().map(|audit| audit.directory.clone()),
            models: plan.models.settings().map(|settings| PathBuf::from(&settings.loader.repository)),
            facts: self.facts.clone(),
        };
        screens.attach(attached).map(Some).map_err(RunError::Thread)
    }
}
