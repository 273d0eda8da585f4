//! Names of a plan as numbers of a registry.

use tidegate_guard::Strategy;
use tidegate_wire::{InstrumentId, Registry};

use super::ReplayPlan;
use crate::lines::UnknownName;

/// An instrument by its name.
fn find(registry: &Registry, name: &str, by: impl Fn() -> String) -> Result<InstrumentId, UnknownName> {
    let found = registry.iter().find(|(_, instrument)| instrument.name() == name).map(|(id, _)| id);
    found.ok_or_else(|| UnknownName {
        by: by(),
        name: name.into(),
        known: registry.iter().map(|(_, instrument)| instrument.name()).collect::<Vec<_>>().join(", "),
    })
}

/// Instruments with the ones their returns are correlated with.
pub(crate) fn correlations(
    plan: &ReplayPlan,
    registry: &Registry,
) -> Result<Vec<(InstrumentId, InstrumentId)>, UnknownName> {
    let by = || "correlations".to_owned();
    let one = |(name, reference): &(String, String)| Ok((find(registry, name, by)?, find(registry, reference, by)?));
    plan.correlations.iter().map(one).collect()
}

/// Strategies with their instruments.
pub(crate) fn strategies(plan: &ReplayPlan, registry: &Registry) -> Result<Vec<Strategy>, UnknownName> {
    let one = |(name, members): &(String, Vec<String>)| {
        let by = || format!("strategy {name:?}");
        let instruments = members.iter().map(|member| find(registry, member, by)).collect::<Result<_, _>>()?;
        Ok(Strategy { name: name.clone(), instruments })
    };
    plan.strategies.iter().map(one).collect()
}
