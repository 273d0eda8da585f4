//! Drawdown of strategies and of everything: told by whoever keeps the positions, decided here.

use tidegate_wire::decision::DecisionSink;

use super::{GuardStage, Place};
use crate::profile::Settings;
use crate::rules::DRAWDOWN;
use crate::scopes::Group;

impl<D: DecisionSink> GuardStage<D> {
    /// Other settings than [`DRAWDOWN_RULE`](crate::rules::DRAWDOWN_RULE)'s for the drawdown of the engine and of every
    /// strategy, before the first event.
    ///
    /// # Errors
    /// Settings that make no sense, with what was expected; nothing was changed.
    pub fn set_drawdown(&mut self, settings: &Settings) -> Result<(), String> {
        settings.check_told()?;
        let all = self.strategies.iter_mut().chain([&mut self.engine]);
        all.for_each(|group: &mut Group| group.set_drawdown(settings));
        Ok(())
    }

    /// Judges the drawdown of a group as it was told last.
    pub(super) fn measure_drawdown(&mut self, index: usize) {
        let at = self.now;
        if let Some(transition) = self.group(index).measure_drawdown(at) {
            self.decided(Place::Group(index, DRAWDOWN), transition, at, None);
        }
    }

    /// Number of instruments that are stopped by breakers of their own: what correlated trips are counted by.
    pub fn stopped_instruments(&self) -> u32 {
        self.watches.iter().filter(|watch| watch.open > 0).count() as u32
    }
}
