//! Trades: booked, entered after their drift, held, closed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tidegate_wire::order::Side;

use super::desk::Ticket;

/// Trades that are remembered; finished ones go first.
const KEPT: usize = 256;

/// Where a trade stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// It waits for its entry.
    Waiting,
    /// It is a position.
    Open,
    /// A limit or a rule refused it.
    Refused,
    /// It has ended.
    Closed,
}

/// A trade, as its status shows it. Times are ns of the ledger's clock.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trade {
    pub(crate) id: u64,
    pub(crate) symbol: String,
    pub(crate) side: Side,
    /// What is locked for it.
    pub(crate) amount: String,
    pub(crate) price: String,
    /// Step of the keyed sequence, and whether it was applied.
    pub(crate) alpha_sequence: u64,
    pub(crate) alpha_applied: bool,
    pub(crate) created_ns: u64,
    pub(crate) entry_ns: u64,
    /// Moves when an exit has to be tried again.
    pub(crate) exit_ns: u64,
    /// From entry to exit, drift included, s.
    pub(crate) drift_period_s: f64,
    /// How long the entry waits, s.
    pub(crate) shift_delay_s: f64,
    /// How long the position is held before its exit drifts, s.
    pub(crate) protection_window_s: f64,
    /// Part of the total that it locks.
    pub(crate) balance_impact: f64,
    /// Part of the total that is not locked once it is in.
    pub(crate) protection_level: f64,
    pub(crate) stage: Stage,
    /// Name of its lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<String>,
    /// What it brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gain: Option<String>,
    /// Why it was refused, or why its exit is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip)]
    pub(crate) units: u128,
    #[serde(skip)]
    pub(crate) lock_id: u64,
    #[serde(skip)]
    pub(crate) ticket: Ticket,
}

/// All of them, and when the next one has something to do.
#[derive(Debug, Default)]
pub(crate) struct Trades {
    all: BTreeMap<u64, Trade>,
    wakes: BTreeSet<(u64, u64)>,
    last: u64,
}

impl Trades {
    /// Number of the next trade; `None` when as many as are remembered have not ended.
    pub(crate) fn place(&mut self) -> Option<u64> {
        if self.all.len() >= KEPT {
            let done = |trade: &Trade| matches!(trade.stage, Stage::Refused | Stage::Closed);
            let oldest = self.all.values().find(|trade| done(trade)).map(|trade| trade.id)?;
            self.all.remove(&oldest);
        }
        self.last += 1;
        Some(self.last)
    }

    pub(crate) fn add(&mut self, trade: Trade) {
        self.wakes.insert((trade.entry_ns, trade.id));
        self.all.insert(trade.id, trade);
    }

    /// When the next one has something to do, ns of the ledger's clock.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next one that has something to do now.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<Trade> {
        let (_, id) = *self.wakes.first().filter(|(at, _)| *at <= now_ns)?;
        self.wakes.pop_first();
        self.all.get(&id).cloned()
    }

    /// Puts a trade back as it is now; an open one is looked at again at its exit.
    pub(crate) fn put(&mut self, trade: Trade) {
        if trade.stage == Stage::Open {
            self.wakes.insert((trade.exit_ns, trade.id));
        }
        self.all.insert(trade.id, trade);
    }

    /// The open trade that has this lock.
    pub(crate) fn holder(&self, lock_id: u64) -> Option<u64> {
        self.all.values().find(|trade| trade.stage == Stage::Open && trade.lock_id == lock_id).map(|trade| trade.id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Trade> {
        self.all.values()
    }
}

/// When an exit that was refused is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
