//! Drawdown of strategies and of everything: told by whoever keeps the positions, decided here.

use tidegate_wire::decision::{DecisionSink, Scope};

use super::{GuardStage, Place};
use crate::orders::{Command, CommandError};
use crate::profile::Settings;
use crate::rules::{DRAWDOWN, DRAWDOWN_RULE};

/// Why a drawdown has no breaker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawdownError {
    /// Neither a strategy nor the engine, or a strategy that does not exist.
    #[error(transparent)]
    Scope(#[from] CommandError),
    /// Settings that make no sense.
    #[error("{0}")]
    Settings(String),
}

impl<D: DecisionSink> GuardStage<D> {
    /// Other settings than [`DRAWDOWN_RULE`]'s for the drawdown of a strategy or the engine, before the first event.
    ///
    /// # Errors
    /// See [`DrawdownError`]; nothing was changed.
    pub fn set_drawdown(&mut self, scope: Scope, id: u16, settings: &Settings) -> Result<(), DrawdownError> {
        let group = self.drawdown_group(scope, id)?;
        settings.check(&DRAWDOWN_RULE).map_err(DrawdownError::Settings)?;
        self.group(group).set_drawdown(settings);
        Ok(())
    }

    /// The drawdown of a strategy or of everything (scope engine) at event time `now`: a fraction, >= 0. Trips and
    /// releases the scope's breaker of that rule; what is not finite changes nothing. It belongs between events: it
    /// sees every timer that is due before it.
    ///
    /// # Errors
    /// Neither a strategy nor the engine, or a strategy that does not exist; nothing was done.
    pub fn measure_drawdown(&mut self, scope: Scope, id: u16, value: f64, now: i64) -> Result<(), CommandError> {
        let index = self.drawdown_group(scope, id)?;
        if !value.is_finite() {
            return Ok(());
        }
        self.advance_between(now);
        let at = self.now;
        let group = self.group(index);
        group.drawdown_value = value;
        let limits = group.drawdown_limits;
        if let Some(transition) = group.drawdown.measure(value, &limits, at) {
            self.decided(Place::Group(index, DRAWDOWN), transition, at, None);
        }
        Ok(())
    }

    /// Number of instruments that are stopped by breakers of their own: what correlated trips are counted by.
    pub fn stopped_instruments(&self) -> u32 {
        self.watches.iter().filter(|watch| watch.open > 0).count() as u32
    }

    fn drawdown_group(&self, scope: Scope, id: u16) -> Result<usize, CommandError> {
        if !matches!(scope, Scope::Strategy | Scope::Engine) {
            return Err(CommandError(scope, id));
        }
        self.check(Command::Trip(scope, id))?;
        Ok(self.group_index(scope, usize::from(id)))
    }
}
