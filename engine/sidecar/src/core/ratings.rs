//! Models of signals: they are asked for each signal, and judged by whoever sees what becomes of signals.

use super::Sidecar;
use crate::contract::Source;
use crate::cpu_time::CpuTime;
use crate::messages::Rated;
use crate::model::{Known, Model, Reads};
use crate::refusal::Refusal;

impl Sidecar {
    /// What the version in force and the one in shadow say of a signal's row; nothing where there is none or it failed.
    pub(crate) fn rate(&mut self, name: &str, event_ns: i64, row: &[Option<f64>]) -> (Option<Rated>, Option<Rated>) {
        self.rated_ns = event_ns;
        let Some(index) = self.slots.iter().position(|slot| slot.name == name) else { return (None, None) };
        let slot = &mut self.slots[index];
        let said = slot.active.as_mut().map(|model| rated(model, row));
        let in_force = self.heard(said, |sidecar, fault| sidecar.failed(index, fault));
        let start = CpuTime::start();
        let said = self.slots[index].shadow.as_mut().map(|shadow| rated(&mut shadow.model, row));
        let took = start.elapsed();
        let shadow = self.heard(said, |sidecar, refusal| sidecar.refuse_shadow(index, refusal));
        let slot = &mut self.slots[index];
        if in_force.is_some() {
            slot.ran();
        }
        if let Some(shadow) = &shadow {
            let beside = in_force.as_ref().map(|rated| [rated.value]);
            slot.shadow_rated(beside.as_ref().map(<[f32; 1]>::as_slice), shadow.value, took);
        }
        (in_force, shadow)
    }

    fn heard(
        &mut self,
        said: Option<Result<Rated, Refusal>>,
        failed: impl FnOnce(&mut Self, &Refusal),
    ) -> Option<Rated> {
        match said? {
            Ok(rated) => Some(rated),
            Err(refusal) => {
                failed(self, &refusal);
                None
            }
        }
    }

    /// Refuses a model's shadow: it has not shown what it had to.
    ///
    /// # Errors
    /// There is none of this version.
    pub(crate) fn dismiss(&mut self, name: &str, version: u32, text: String) -> Result<(), String> {
        let in_shadow = |slot: &crate::slot::Slot| {
            slot.name == name && slot.shadow.as_ref().is_some_and(|shadow| shadow.model.version == version)
        };
        let index = self.slots.iter().position(in_shadow);
        let index = index.ok_or_else(|| format!("{name} {version} is not in shadow"))?;
        self.refuse_shadow(index, &Refusal::Shadow(text));
        Ok(())
    }

    /// Event time at which something happens to a model: models of signals go by signals, the others by vectors.
    pub(super) fn time_of(&self, name: &str) -> i64 {
        let slot = self.slots.iter().find(|slot| slot.name == name);
        let model = slot.and_then(|slot| slot.active.as_ref().or(slot.shadow.as_ref().map(|shadow| &shadow.model)));
        if model.is_some_and(Model::looks_at_signals) { self.rated_ns } else { self.newest_ns }
    }
}

fn rated(model: &mut Model, row: &[Option<f64>]) -> Result<Rated, Refusal> {
    let (version, hash) = (model.version, model.hash_hex());
    let of_signals = matches!(&model.reads, Reads::Row(row) if row.source == Source::Signals);
    let said = if of_signals { model.run_row(std::iter::once(&Known(row)))? } else { None };
    let said = said.and_then(|(values, input_digest)| Some((*values.first()?, input_digest)));
    let (value, input_digest) =
        said.ok_or_else(|| Refusal::Shape(format!("{} {version} is no model of signals", model.name)))?;
    Ok(Rated { version, hash, input_digest, value })
}
