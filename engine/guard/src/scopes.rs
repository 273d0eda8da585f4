//! Who stops whom: instruments, venues, strategies and the engine.
//!
//! A scope **is stopped** while any of its own breakers is open (tripped or cooling). An instrument may be traded when
//! neither it nor its venue nor the engine is stopped; a strategy asks for itself as well. Venues, strategies and the
//! engine have members: when enough of them are stopped, the scope's escalation breaker trips.

use tidegate_wire::decision::{BreakerState, Scope};

use crate::breaker::{Breaker, Limits, Transition};
use crate::profile::{Escalation, Policy, Settings};
use crate::rules::{DRAWDOWN_RULE, Direction};

/// A scope with members.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) scope: Scope,
    pub(crate) id: u16,
    pub(crate) escalation: Breaker,
    pub(crate) manual: Breaker,
    pub(crate) limits: Limits,
    /// On strategies and the engine only; nobody measures it for venues.
    pub(crate) drawdown: Breaker,
    pub(crate) drawdown_limits: Limits,
    /// As it was told last, a fraction.
    pub(crate) drawdown_value: f64,
    /// Whether the rule of drawdowns is in force.
    watches_drawdown: bool,
    least: u32,
    members: u32,
    stopped: u32,
}

/// Settings of an operator's breaker: it does what it is told.
pub(crate) const MANUAL_SETTINGS: Settings = Settings {
    enabled: true,
    threshold: 0.0,
    release: 0.0,
    hold_ms: 0,
    cooling_ms: 0,
    probation_ms: 0,
    warmup_ms: 0,
    policy: Policy::Latched,
};

impl Group {
    pub(crate) fn new(scope: Scope, id: u16, members: u32, escalation: &Escalation) -> Self {
        let settings = Settings {
            threshold: escalation.share,
            release: escalation.share,
            cooling_ms: escalation.cooling_ms,
            probation_ms: escalation.probation_ms,
            policy: Policy::Auto,
            ..MANUAL_SETTINGS
        };
        let limits = Limits {
            direction: Direction::Above,
            threshold: escalation.share,
            release: escalation.share,
            cooling_ns: escalation.cooling_ms as i64 * 1_000_000,
        };
        Self {
            scope,
            id,
            escalation: Breaker::new(&settings),
            manual: Breaker::new(&MANUAL_SETTINGS),
            limits,
            drawdown: Breaker::new(&DRAWDOWN_RULE.defaults),
            drawdown_limits: drawdown_limits(&DRAWDOWN_RULE.defaults),
            watches_drawdown: DRAWDOWN_RULE.defaults.enabled,
            drawdown_value: 0.0,
            least: escalation.members,
            members,
            stopped: 0,
        }
    }

    /// Part of the members that are stopped; 0 while fewer than the least number are.
    pub(crate) fn share(&self) -> f64 {
        if self.stopped < self.least || self.members == 0 {
            return 0.0;
        }
        f64::from(self.stopped) / f64::from(self.members)
    }

    /// One more or one fewer member is stopped.
    pub(crate) fn member(&mut self, stopped: bool, now: i64) -> Option<Transition> {
        self.stopped = if stopped { self.stopped + 1 } else { self.stopped.saturating_sub(1) };
        self.escalation.measure(self.share(), &self.limits, now)
    }

    /// Other settings for its drawdown; the breaker begins anew.
    pub(crate) fn set_drawdown(&mut self, settings: &Settings) {
        (self.drawdown, self.drawdown_limits) = (Breaker::new(settings), drawdown_limits(settings));
        self.watches_drawdown = settings.enabled;
    }

    /// Judges the drawdown that was told.
    pub(crate) fn measure_drawdown(&mut self, now: i64) -> Option<Transition> {
        if self.watches_drawdown {
            self.drawdown.measure(self.drawdown_value, &self.drawdown_limits, now)
        } else {
            None
        }
    }

    /// Whether one of its own breakers is open.
    pub(crate) fn is_stopped(&self) -> bool {
        let open = [&self.escalation, &self.manual, &self.drawdown];
        open.iter().any(|breaker| !breaker.state().allows_trading())
    }

    /// The worse of its breakers' states, for screens.
    pub(crate) fn state(&self) -> BreakerState {
        let others = [self.manual.state(), self.drawdown.state()];
        others.into_iter().find(|state| *state != BreakerState::Closed).unwrap_or(self.escalation.state())
    }
}

fn drawdown_limits(settings: &Settings) -> Limits {
    Limits {
        direction: DRAWDOWN_RULE.direction,
        threshold: settings.threshold,
        release: settings.release,
        cooling_ns: settings.cooling_ms as i64 * 1_000_000,
    }
}
