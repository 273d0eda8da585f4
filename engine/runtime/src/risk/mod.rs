//! The risk desk of a running engine: whoever wants to trade asks it first, and operators stop the trading through it.
//!
//! A cold thread owns the [`RiskGate`](tidegate_guard::risk::RiskGate) and the emergency protocols. It is asked over
//! the control socket: a program that places orders has each of them checked, and reports what became of it; persons
//! throw and reset kill switches, give heartbeats, excuse orders, replace the restricted list, rehearse protocols.
//! Prices and books' quality come from the vectors that every observer gets, permissions from the breakers' decisions,
//! so nothing of it is on the hot path's way. A thrown switch trips the breaker of its scope in the hot loop as well,
//! is saved before it is acknowledged, and holds through restarts.
//!
//! What a live run holds outlives it as well (`kept`, `holding`): a start takes it up by name.
//!
//! What the desk itself wants sent (cancels after a kill, reductions of a protocol) it writes to a file of orders, from
//! which whoever places orders takes it.

pub mod ask;
mod board;
mod consequences;
mod desk;
mod drawdowns;
mod exposed;
mod holding;
mod judging;
mod kept;
mod luld;
mod market;
mod status;
mod told;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tidegate_guard::emergency::EmergencyFile;
use tidegate_guard::luld::Tier;
use tidegate_guard::risk::{RiskError, RiskLimits};
use tidegate_record::journal::JournalError;

pub use ask::RiskAsk;
pub(crate) use board::Board;
pub use desk::RiskReport;
pub(crate) use desk::{Risk, RiskDesk, Surroundings};
pub(crate) use told::Names;

/// What a risk desk works with.
#[derive(Clone, Debug)]
pub struct RiskPlan {
    /// The limits.
    pub limits: RiskLimits,
    /// The emergency protocols.
    pub emergency: EmergencyFile,
    /// Instruments that have limit-up, limit-down bands, by name.
    pub luld: Vec<(String, Tier)>,
    /// Where thrown switches are kept.
    pub switches: PathBuf,
    /// Where alerts go as JSON lines.
    pub alerts: PathBuf,
    /// Where orders that the desk wants sent go as JSON lines.
    pub orders: PathBuf,
    /// Set by a signal that shall stop everything.
    pub signalled: Arc<AtomicBool>,
    /// Set while the engine's switch is thrown, for whoever trades by other means.
    pub halted: Arc<AtomicBool>,
}

/// Why there is no risk desk.
#[derive(Debug, thiserror::Error)]
pub enum RiskDeskError {
    /// Limits or protocols that make no sense in this run.
    #[error("risk: {0}")]
    Limits(#[from] RiskError),
    /// Bands for an instrument that is not there.
    #[error("risk.luld names {name:?}, expected one of {known}")]
    Instrument {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A file of the desk.
    #[error("risk: {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal of what is held.
    #[error("risk: {path}: nobody knows what is held: {source}; expected the journal as the last run left it")]
    Kept {
        /// Which folder.
        path: String,
        /// What is wrong.
        source: JournalError,
    },
    /// Something else in it.
    #[error(
        "risk: {path}: nobody knows what is held: frame {number} is none of ours ({reason}); expected a journal that \
         this version or an older one wrote. Moved away, it begins anew with nothing held"
    )]
    Frame {
        /// Which folder.
        path: String,
        /// Which frame, from 0.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// No thread.
    #[error("risk: a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The JSON schema of a file of limits (2020-12).
pub fn limits_schema() -> serde_json::Value {
    schemars::schema_for!(RiskLimits).to_value()
}

/// The JSON schema of a file of emergency protocols (2020-12).
pub fn protocols_schema() -> serde_json::Value {
    schemars::schema_for!(EmergencyFile).to_value()
}

fn file_error(path: &std::path::Path, source: std::io::Error) -> RiskDeskError {
    RiskDeskError::File { path: path.display().to_string(), source }
}
