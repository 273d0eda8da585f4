//! One breaker: a threshold with hysteresis and four states.
//!
//! ```text
//!            breached for `hold`                 released                cooling over
//!  Closed ───────────────────────▶ Tripped ───────────────▶ Cooling ─────────────────▶ HalfOpen
//!    ▲                              ▲  ▲                        │                       │    │
//!    │                              │  └──────── breached ──────┘                       │    │
//!    │                              └──────────────── breached ─────────────────────────┘    │
//!    └───────────────────────────────── probation over ──────────────────────────────────────┘
//! ```
//!
//! A latched breaker stays tripped until an operator resets it. An unknown value changes nothing.

use tidegate_wire::decision::{BreakerState, Cause};

use crate::profile::{Policy, Settings};
use crate::rules::Direction;

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
    /// Why.
    pub cause: Cause,
    /// Until when cooling or probation lasts, ns of event time; 0 when nothing runs.
    pub until_ns: i64,
}

/// What trips and releases at this moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// On which side of the threshold the trouble lies.
    pub direction: Direction,
    /// The level that trips.
    pub threshold: f64,
    /// The level that releases, on the good side of the threshold.
    pub release: f64,
    /// How long cooling lasts, ns.
    pub cooling_ns: i64,
}

impl Limits {
    #[inline(always)]
    fn breached(&self, value: f64) -> bool {
        match self.direction {
            Direction::Above => value >= self.threshold,
            Direction::Below => value < self.threshold,
        }
    }

    #[inline(always)]
    fn released(&self, value: f64) -> bool {
        match self.direction {
            Direction::Above => value < self.release,
            Direction::Below => value >= self.release,
        }
    }
}

/// The state machine.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: BreakerState,
    policy: Policy,
    hold_ns: i64,
    probation_ns: i64,
    /// Since when the condition holds without having tripped yet, ns; `i64::MAX` while it does not.
    breached_since: i64,
    /// When cooling or probation ends, ns; `i64::MAX` when nothing runs.
    deadline: i64,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(settings: &Settings) -> Self {
        Self {
            state: BreakerState::Closed,
            policy: settings.policy,
            hold_ns: settings.hold_ms as i64 * 1_000_000,
            probation_ns: settings.probation_ms as i64 * 1_000_000,
            breached_since: i64::MAX,
            deadline: i64::MAX,
        }
    }

    /// Where it stands.
    #[inline(always)]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// When its timer fires, ns of event time; `i64::MAX` when none runs.
    #[inline(always)]
    pub const fn deadline(&self) -> i64 {
        self.deadline
    }

    /// A value was measured at `now`.
    #[inline(always)]
    pub fn measure(&mut self, value: f64, limits: &Limits, now: i64) -> Option<Transition> {
        match self.state {
            // The usual case: nothing is wrong and nothing was.
            BreakerState::Closed if !limits.breached(value) => {
                self.breached_since = i64::MAX;
                None
            }
            BreakerState::Closed => {
                self.breached_since = self.breached_since.min(now);
                (now - self.breached_since >= self.hold_ns).then(|| self.trip(Cause::Breached))
            }
            BreakerState::Cooling | BreakerState::HalfOpen => {
                limits.breached(value).then(|| self.trip(Cause::Breached))
            }
            BreakerState::Tripped => {
                let released = self.policy == Policy::Auto && limits.released(value);
                released.then(|| self.go(BreakerState::Cooling, Cause::Released, now.saturating_add(limits.cooling_ns)))
            }
        }
    }

    /// Its timer fires, at its own deadline.
    pub fn fire(&mut self) -> Option<Transition> {
        let deadline = self.deadline;
        match self.state {
            BreakerState::Cooling => {
                Some(self.go(BreakerState::HalfOpen, Cause::Cooled, deadline.saturating_add(self.probation_ns)))
            }
            BreakerState::HalfOpen => Some(self.go(BreakerState::Closed, Cause::Proven, i64::MAX)),
            BreakerState::Closed | BreakerState::Tripped => {
                self.deadline = i64::MAX;
                None
            }
        }
    }

    /// Trips, unless it has already.
    pub fn force(&mut self, cause: Cause) -> Option<Transition> {
        (self.state != BreakerState::Tripped).then(|| self.trip(cause))
    }

    /// Closes at once, unless it is closed.
    pub fn reset(&mut self) -> Option<Transition> {
        self.breached_since = i64::MAX;
        (self.state != BreakerState::Closed).then(|| self.go(BreakerState::Closed, Cause::ManualReset, i64::MAX))
    }

    /// A breach that has not tripped yet begins anew.
    pub fn forget_breach(&mut self) {
        self.breached_since = i64::MAX;
    }

    fn trip(&mut self, cause: Cause) -> Transition {
        self.breached_since = i64::MAX;
        self.go(BreakerState::Tripped, cause, i64::MAX)
    }

    fn go(&mut self, to: BreakerState, cause: Cause, deadline: i64) -> Transition {
        let from = core::mem::replace(&mut self.state, to);
        self.deadline = deadline;
        Transition { from, to, cause, until_ns: if deadline == i64::MAX { 0 } else { deadline } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = 1_000_000;

    fn settings(policy: Policy) -> Settings {
        Settings {
            enabled: true,
            threshold: 10.0,
            release: 5.0,
            hold_ms: 100,
            cooling_ms: 1_000,
            probation_ms: 500,
            warmup_ms: 0,
            policy,
        }
    }

    fn limits(direction: Direction) -> Limits {
        let (threshold, release) = if direction == Direction::Above { (10.0, 5.0) } else { (5.0, 10.0) };
        Limits { direction, threshold, release, cooling_ns: 1_000 * MS }
    }

    #[test]
    fn the_whole_circle() {
        let (mut breaker, above) = (Breaker::new(&settings(Policy::Auto)), limits(Direction::Above));
        let mut at = |ms: i64, value: f64| breaker.measure(value, &above, ms * MS).map(|t| (t.to, t.until_ns / MS));
        assert_eq!(at(0, 10.0), None, "held");
        assert_eq!(at(50, 9.0), None, "and gone again");
        assert_eq!(at(60, 12.0), None);
        assert_eq!(at(160, 12.0), Some((BreakerState::Tripped, 0)));
        assert_eq!(at(200, 7.0), None, "between release and threshold nothing changes");
        assert_eq!(at(300, 4.0), Some((BreakerState::Cooling, 1_300)));
        assert_eq!(at(400, 11.0), Some((BreakerState::Tripped, 0)), "a relapse needs no hold");
        assert_eq!(at(500, 1.0), Some((BreakerState::Cooling, 1_500)));
        assert_eq!(breaker.deadline(), 1_500 * MS);
        let fired = breaker.fire().expect("cooling ends");
        assert_eq!((fired.to, fired.until_ns), (BreakerState::HalfOpen, 2_000 * MS));
        assert!(breaker.state().allows_trading());
        assert_eq!(breaker.fire().map(|t| (t.to, t.cause)), Some((BreakerState::Closed, Cause::Proven)));
        assert_eq!(breaker.fire(), None);
    }

    #[test]
    fn below_is_the_mirror_image() {
        let (mut breaker, below) = (Breaker::new(&settings(Policy::Auto)), limits(Direction::Below));
        assert_eq!(breaker.measure(4.0, &below, 0), None);
        assert_eq!(breaker.measure(4.0, &below, 100 * MS).map(|t| t.to), Some(BreakerState::Tripped));
        assert_eq!(breaker.measure(7.0, &below, 200 * MS), None);
        assert_eq!(breaker.measure(10.0, &below, 300 * MS).map(|t| t.to), Some(BreakerState::Cooling));
    }

    #[test]
    fn a_latched_one_waits_for_its_operator() {
        let (mut breaker, above) = (Breaker::new(&settings(Policy::Latched)), limits(Direction::Above));
        assert!(breaker.force(Cause::ManualTrip).is_some());
        assert_eq!(breaker.force(Cause::ManualTrip), None);
        assert_eq!(breaker.measure(0.0, &above, 9_000 * MS), None);
        assert_eq!(breaker.reset().map(|t| t.cause), Some(Cause::ManualReset));
        assert_eq!(breaker.reset(), None);
    }

    proptest! {
        /// Whatever comes: legal edges only, and trading is never allowed while the last known value is in breach and
        /// the breaker has tripped on it.
        #[test]
        fn edges_are_those_of_the_picture(steps in prop::collection::vec((0i64..400, 0.0f64..15.0, 0u8..10), 1..200)) {
            use BreakerState::{Closed, Cooling, HalfOpen, Tripped};
            let (mut breaker, above) = (Breaker::new(&settings(Policy::Auto)), limits(Direction::Above));
            let mut now = 0;
            for (pause, value, what) in steps {
                now += pause * MS;
                let mut transitions = Vec::new();
                while breaker.deadline() <= now {
                    transitions.extend(breaker.fire());
                }
                match what {
                    0 => transitions.extend(breaker.reset()),
                    1 => transitions.extend(breaker.force(Cause::ManualTrip)),
                    _ => transitions.extend(breaker.measure(value, &above, now)),
                }
                for t in transitions {
                    let legal = match (t.from, t.to) {
                        (Closed | Cooling | HalfOpen, Tripped) | (Tripped, Cooling) | (Cooling, HalfOpen) => true,
                        (HalfOpen, Closed) => true,
                        (_, Closed) => t.cause == Cause::ManualReset,
                        _ => false,
                    };
                    prop_assert!(legal, "{:?}", t);
                }
            }
        }
    }
}
