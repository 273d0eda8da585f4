//! Why a replay did not run.

use tidegate_feed::FeedError;
use tidegate_feed::discover;
use tidegate_feed::replay::ReplayError;
use tidegate_guard::CommandError;
use tidegate_guard::thresholds::ThresholdError;
use tidegate_wire::ring::RegionError;

use crate::audit::AuditError;
use crate::control::ControlError;
use crate::lines::UnknownName;
use crate::live::LiveError;
use crate::models::CompanionError;
use crate::risk::RiskDeskError;
use crate::scribe::OutputError;
use crate::signals::SignalsError;
use crate::vmsp::VmspError;

/// Why a replay did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A capture cannot be used.
    #[error(transparent)]
    Discover(#[from] discover::DiscoverError),
    /// A capture cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The venues cannot be read live.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The captures hold no instrument.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A threshold is out of range.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// Settings of the drawdown rule that make no sense.
    #[error("{0}")]
    Drawdown(String),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The sidecar cannot be started.
    #[error(transparent)]
    Models(#[from] CompanionError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// There is no risk desk.
    #[error(transparent)]
    Risk(#[from] RiskDeskError),
    /// The balance ledger cannot be hosted.
    #[error(transparent)]
    Ledger(#[from] VmspError),
    /// A source cannot be read for its digest.
    #[error("{0}")]
    Source(std::io::Error),
    /// Signals cannot be told.
    #[error(transparent)]
    Signals(#[from] SignalsError),
    /// No memory for a ring.
    #[error(transparent)]
    Ring(#[from] RegionError),
    /// An output file cannot be made.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The record to be re-enacted is where the new one would be written.
    #[error("{path} is to be re-enacted and would be replaced by the new record: write that elsewhere")]
    Record {
        /// Which file.
        path: String,
    },
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// A strategy, a correlation or an order names something that is not there.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// An operator's order for a scope that does not exist.
    #[error(transparent)]
    Command(#[from] CommandError),
}
