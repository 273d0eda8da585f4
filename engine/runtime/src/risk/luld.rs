//! Limit-up, limit-down bands of the instruments that are to have them.

use serde_json::{Value, json};
use tidegate_guard::luld::{Change, Luld, Phase};
use tidegate_wire::{InstrumentId, Price, Registry, Scale};

use super::{RiskDeskError, RiskPlan};

/// The instruments with bands.
#[derive(Debug)]
pub(crate) struct Bands {
    of: Vec<(InstrumentId, String, Luld)>,
}

impl Bands {
    pub(crate) fn new(plan: &RiskPlan, registry: &Registry) -> Result<Self, RiskDeskError> {
        let one = |(name, tier): &(String, tidegate_guard::luld::Tier)| {
            let found = registry.iter().find(|(_, instrument)| instrument.name() == *name);
            let Some((id, instrument)) = found else {
                let known: Vec<String> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
                return Err(RiskDeskError::Instrument { name: name.clone(), known: known.join(", ") });
            };
            Ok((id, name.clone(), Luld::new(*tier, instrument.price_scale)))
        };
        Ok(Self { of: plan.luld.iter().map(one).collect::<Result<_, _>>()? })
    }

    /// A price came; `told` gets what changed.
    pub(crate) fn price(&mut self, instrument: InstrumentId, price: Price, at_ns: i64, mut told: impl FnMut(Value)) {
        for (_, name, luld) in self.of.iter_mut().filter(|(id, ..)| *id == instrument) {
            let mut changes = Vec::new();
            luld.price(price, at_ns, |change| changes.push(change));
            changes.into_iter().for_each(|change| told(line(name, luld, change)));
        }
    }

    /// Time passed; `told` gets what changed.
    pub(crate) fn time(&mut self, now_ns: i64, mut told: impl FnMut(Value)) {
        for (_, name, luld) in &mut self.of {
            let mut changes = Vec::new();
            luld.time(now_ns, |change| changes.push(change));
            changes.into_iter().for_each(|change| told(line(name, luld, change)));
        }
    }

    /// Whether an instrument may be traded as far as its bands are concerned.
    pub(crate) fn permit(&self, instrument: InstrumentId) -> bool {
        self.of.iter().find(|(id, ..)| *id == instrument).is_none_or(|(.., luld)| luld.phase().allows_trading())
    }

    /// Where they stand.
    pub(crate) fn status(&self, registry: &Registry) -> Vec<Value> {
        let one = |(id, name, luld): &(InstrumentId, String, Luld)| {
            let scale = registry.get(*id).map_or(Scale::saturating(0), |instrument| instrument.price_scale);
            let phase: &'static str = luld.phase().into();
            let shown = |price: Price| price.display(scale).to_string();
            let bands = luld.bands().map(|(low, high)| [shown(low), shown(high)]);
            json!({ "instrument": name, "phase": phase, "reference": shown(luld.reference()), "bands": bands })
        };
        self.of.iter().map(one).collect()
    }
}

fn line(name: &str, luld: &Luld, change: Change) -> Value {
    let word = |phase: Phase| -> &'static str { phase.into() };
    json!({
        "kind": "luld",
        "event_ns": change.at_ns,
        "instrument": name,
        "from": word(change.from),
        "to": word(change.to),
        "reference_raw": luld.reference().raw(),
    })
}
