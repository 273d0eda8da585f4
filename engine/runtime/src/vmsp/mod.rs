//! The host of the balance ledger (VMSP): one thread that writes, a journal that remembers, and whoever asks.
//!
//! # The model
//!
//! The rules of money are [`tidegate_guard::ledger`]'s. This is what it takes to keep them through crashes: a single
//! **writer** applies each request to the ledger in memory and hands the record to a journal with group commit
//! ([`tidegate_record::journal`]); an **acknowledger** answers once the record is on the disk. No answer, not even a
//! refusal or a status, tells of anything that a crash could still undo. What a reserve takes in memory and what its
//! durable answer takes are two histograms.
//!
//! Opening ([`store`]) does the journal again and compares the state after each record with the one it recorded. A
//! failed disk is final: locking stops, everybody is told why, and the next start goes on from what was durable.
//!
//! Time is monotonic: the ledger's clock goes on with the host's within one boot, and from where it was after another;
//! wall time only names things. The **monitor** gives back what has expired, once a second while protection is running.
//!
//! **Trades** are bookings: no order is sent anywhere (order entry comes with a later version). An entry waits for its
//! drift without anybody else waiting, is locked, held against the pre-trade gate, posted, and closed after the
//! protection window and another drift.
//!
//! Requests come from the control socket, or over the network by the [`channel`], whose traffic looks the same whether
//! or not anything is asked.

pub mod channel;
mod clock;
mod desk;
mod host;
mod request;
mod serve;
mod status;
pub mod store;
mod times;
mod trades;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tidegate_guard::ledger::{Account, Limits, STEPS};
use tidegate_guard::risk::RiskLimits;
use tidegate_wire::{Registry, Scale};

pub use host::{Client, Host};
pub use request::{Declined, Request};
pub(crate) use serve::Hosted;
pub use serve::serve;

use crate::audit::{AuditError, KeyError};
use crate::control::ControlError;
use channel::ChannelError;
use store::StoreError;

/// How a ledger is hosted.
#[derive(Clone, Debug)]
pub struct VmspPlan {
    /// Its folder; made when missing, continued when there.
    pub directory: PathBuf,
    /// Whose balance requests are about.
    pub account: Account,
    /// Decimals of its minor units.
    pub scale: Scale,
    /// What may be locked.
    pub limits: Limits,
    /// Whether protection runs from the start: expiry is watched and locks are given.
    pub protection: bool,
    /// How long a reservation holds, and a trade's position lasts before its exit drifts.
    pub window: Duration,
    /// Whether entries and exits drift.
    pub drift: bool,
    /// Shortest and longest drift.
    pub shift: (Duration, Duration),
    /// Steps of the drift's sequence.
    pub steps: u32,
    /// Whether the sequence begins at a step that follows from the ledger's history; else at its first one.
    pub keep_step: bool,
    /// File of the drift's key; made when missing.
    pub key: PathBuf,
    /// Factor of the balance that is only shown, thousandths; none is shown without.
    pub multiplier: Option<u32>,
    /// What trades are held against; without limits no trade is booked.
    pub risk: Option<TradePlan>,
    /// Where others may ask over the network; nowhere without.
    pub channel: Option<channel::ChannelPlan>,
}

impl VmspPlan {
    /// A plan with defaults for everything but where it is, whose and of what.
    pub fn new(directory: PathBuf, account: Account, scale: Scale) -> Self {
        Self {
            key: directory.with_extension("key"),
            directory,
            account,
            scale,
            limits: Limits::default(),
            protection: true,
            window: Duration::from_secs(30),
            drift: true,
            shift: (Duration::from_millis(100), Duration::from_secs(2)),
            steps: STEPS,
            keep_step: true,
            multiplier: None,
            risk: None,
            channel: None,
        }
    }
}

/// What trades are held against.
#[derive(Clone, Debug)]
pub struct TradePlan {
    /// Limits; the ledger's owner must be one of its accounts.
    pub limits: RiskLimits,
    /// Instruments that may be named.
    pub registry: Registry,
    /// Set while the engine's kill switch is thrown: no trade is entered, positions may be closed.
    pub halted: Arc<AtomicBool>,
}

/// A ledger that cannot be hosted.
#[derive(Debug, thiserror::Error)]
pub enum VmspError {
    /// Its journal.
    #[error("the balance ledger: {0}")]
    Store(#[from] StoreError),
    /// The drift's key.
    #[error("the balance ledger's drift key: {0}")]
    Key(#[from] KeyError),
    /// What trades are held against.
    #[error("the balance ledger's risk limits: {0}")]
    Risk(String),
    /// The channel.
    #[error("the balance ledger's channel: {0}")]
    Channel(#[from] ChannelError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// No thread.
    #[error("the balance ledger: a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Name of the strategy that trades of the ledger are counted to; a gate's limits may name it.
pub const STRATEGY: &str = "vmsp";
