//! What must not happen: circuit breakers on market data, pre-trade risk, emergency protocols, the balance ledger.
//!
//! # The model
//!
//! A **rule** ([`rules`]) measures one number on a feature vector. A **breaker** ([`breaker`]) compares that number
//! with a threshold and is a state machine: closed, tripped, cooling, half-open. Every instrument has one breaker a
//! rule; venues, strategies and the engine have one that trips when enough of their members are stopped ([`scopes`]),
//! and every scope has one that an operator trips and resets. Thresholds come from a **profile** ([`profile`]);
//! **conditions** ([`conditions`]: weekends, scheduled events, news...) change it, and a model's **advice** moves them
//! inside an envelope around it ([`tuning`]). Every change of thresholds is a record of its own
//! ([`Adjustment`](tidegate_wire::advice::Adjustment)).
//!
//! [`GuardStage`] runs all of it: feature vectors in, a [`Decision`](tidegate_wire::decision::Decision) for every
//! transition out. Timers run in event time and fire at their own deadline, in order, before the event that passes
//! them: a replay takes the same decisions whatever its speed.
//!
//! Orders pass the gate of [`risk`] before they reach a venue; [`emergency`] protocols act on whole portfolios through
//! the same gate. The [`ledger`] keeps what of a balance is spoken for.

pub mod breaker;
pub mod conditions;
pub mod emergency;
pub mod ledger;
pub mod luld;
mod orders;
pub mod profile;
pub mod risk;
pub mod rules;
pub mod scopes;
mod stage;
pub mod thresholds;
pub mod tuning;
mod watch;

pub use orders::{Command, CommandError};
pub use profile::{Profile, ProfileError};
pub use stage::{GuardCounters, GuardStage, Strategy};
