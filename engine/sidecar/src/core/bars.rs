//! Models of bars: they look when a bar ends.

use std::collections::VecDeque;

use tidegate_wire::InstrumentId;
use tidegate_wire::event::Header;
use tidegate_wire::feature::MinuteBody;

use super::Sidecar;
use crate::contract::STEPS_MAX;
use crate::cpu_time::CpuTime;
use crate::messages::Event;
use crate::refusal::Refusal;

impl Sidecar {
    /// Takes a bar that has ended, and lets the models of bars look at it.
    pub(crate) fn minute(&mut self, header: &Header, body: &MinuteBody) {
        let Some(bars) = self.bars.get_mut(header.instrument.index()) else { return };
        if bars.len() == STEPS_MAX {
            bars.pop_front();
        }
        bars.push_back(*body);
        for index in 0..self.slots.len() {
            if let Err(fault) = self.predict_bar(index, header.instrument, body.end_ns) {
                self.failed(index, &fault);
            }
            match self.shadow_bar(index, header.instrument) {
                Ok(true) => self.judge(index),
                Ok(false) => {}
                Err(refusal) => self.refuse_shadow(index, &refusal),
            }
        }
    }

    fn predict_bar(&mut self, index: usize, instrument: InstrumentId, event_ns: i64) -> Result<(), Refusal> {
        let Self { slots, bars, events, .. } = self;
        let slot = &mut slots[index];
        let Some(model) = slot.active.as_mut().filter(|model| model.looks_at_bars()) else { return Ok(()) };
        if let Some((values, input_digest)) = model.run_row(newest(&bars[instrument.index()], model.steps()))? {
            let (values, name, version, instrument) =
                (values.to_vec(), model.name.clone(), model.version, instrument.0);
            let _ = events.send(Event::Prediction { name, version, instrument, event_ns, input_digest, values });
            slot.ran();
        }
        Ok(())
    }

    /// Whether a version in shadow looked at the bar.
    fn shadow_bar(&mut self, index: usize, instrument: InstrumentId) -> Result<bool, Refusal> {
        let Self { slots, bars, .. } = self;
        let slot = &mut slots[index];
        let Some(shadow) = slot.shadow.as_mut().filter(|shadow| shadow.model.looks_at_bars()) else { return Ok(false) };
        let bars = &bars[instrument.index()];
        let start = CpuTime::start();
        let steps = shadow.model.steps();
        let Some((ours, _)) = shadow.model.run_row(newest(bars, steps))? else { return Ok(false) };
        let (ours, took) = (ours.to_vec(), start.elapsed());
        let theirs = match &mut slot.active {
            Some(active) => {
                let steps = active.steps();
                active.run_row(newest(bars, steps)).ok().flatten().map(|(values, _)| values.to_vec())
            }
            None => None,
        };
        slot.shadow_ran(theirs.as_deref(), &ours, took);
        Ok(true)
    }
}

/// The last bars, oldest first.
fn newest(bars: &VecDeque<MinuteBody>, steps: usize) -> impl Iterator<Item = &MinuteBody> {
    bars.iter().skip(bars.len().saturating_sub(steps))
}
