//! Microstructure signals: one a coin and timer window, with everything that went into it, and what became of it.
//!
//! ```text
//! feature vector ─▶ ratio to the reference ─▶ action ─▶ score ─▶ confidence ─▶ leverage ─▶ signal
//!                                                                                            │
//!                                 prices until the timer's end ─▶ outcome, to both sides ◀────┘
//! ```
//!
//! [`SignalDesk`] is fed the vectors that the guard sees, in their order, live, in a replay and over files alike. It
//! keeps no clock: timers end in event time. The ratio is a level and no event, so each coin signals once in each
//! window of a timer, and again only when its ratio has left its threshold and come back.
//!
//! The desk states the formula's confidence. A model's comes from the cold side ([`rating`]), and whether a new model
//! takes over is decided by what became of signals ([`trial`]).

pub mod confidence;
pub mod config;
mod desk;
pub mod learning;
pub mod leverage;
pub mod outcomes;
pub mod rating;
pub mod ratio;
pub mod reference;
pub mod score;
pub mod timer;
pub mod trial;
pub mod volatility;

pub use config::{MlMicrostructure, PscIntegration, SignalConfig, SignalConfigError, SimulatedReference, Superp};
pub use desk::{Looked, SignalCounters, SignalDesk};
pub use learning::{ConfidenceSource, Learning};
