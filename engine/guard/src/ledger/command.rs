//! Commands, and the records that journals keep of them.

use bytemuck::Zeroable;
use tidegate_wire::ledger::{LedgerKind, LedgerRecord, Name};

use super::{Account, Limits};

/// What can be done to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Limits from here on.
    Configure(Limits),
    /// Money comes from outside.
    Deposit {
        /// To whom.
        account: Account,
        /// Minor units, > 0.
        amount: u128,
    },
    /// Money goes outside.
    Withdraw {
        /// From whom.
        account: Account,
        /// Minor units, > 0.
        amount: u128,
    },
    /// Sets an amount aside for a while.
    Reserve {
        /// Whose.
        account: Account,
        /// Minor units, > 0.
        amount: u128,
        /// What for.
        symbol: Name,
        /// How long, ns.
        ttl_ns: u64,
        /// Host time, ns since the Unix epoch: the number of the reservation, made unique.
        wall_ns: u64,
    },
    /// Makes a position of a reservation.
    Post {
        /// Which.
        id: u64,
        /// How much of it; 0: all. The rest returns.
        amount: u128,
    },
    /// Gives a reservation up.
    Void {
        /// Which.
        id: u64,
    },
    /// Ends a position.
    Close {
        /// Which.
        id: u64,
        /// What it brought (> 0) or cost (< 0), minor units.
        gain: i128,
    },
    /// Gives back what has expired, oldest first.
    Sweep {
        /// At most so many, so that nobody waits long behind it.
        most: u32,
    },
}

/// A record that no ledger writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ledger record of kind {0}, expected 1 to 8")]
pub struct Unreadable(pub u8);

impl Command {
    /// Which kind it is.
    pub const fn kind(&self) -> LedgerKind {
        match self {
            Self::Configure(_) => LedgerKind::Configure,
            Self::Deposit { .. } => LedgerKind::Deposit,
            Self::Withdraw { .. } => LedgerKind::Withdraw,
            Self::Reserve { .. } => LedgerKind::Reserve,
            Self::Post { .. } => LedgerKind::Post,
            Self::Void { .. } => LedgerKind::Void,
            Self::Close { .. } => LedgerKind::Close,
            Self::Sweep { .. } => LedgerKind::Sweep,
        }
    }

    /// The command as a record, without key, time and state.
    pub fn record(&self) -> LedgerRecord {
        let mut record = LedgerRecord { kind: self.kind() as u8, ..LedgerRecord::zeroed() };
        let mut of = |account: Account| (record.owner, record.asset) = (account.owner, account.asset);
        match *self {
            Self::Configure(limits) => {
                (record.amount, record.target) = (limits.buffer_ppm.into(), limits.max_locked.into());
            }
            Self::Deposit { account, amount } | Self::Withdraw { account, amount } => {
                of(account);
                record.amount = amount;
            }
            Self::Reserve { account, amount, symbol, ttl_ns, wall_ns } => {
                of(account);
                (record.amount, record.symbol, record.ttl_ns, record.wall_ns) = (amount, symbol, ttl_ns, wall_ns);
            }
            Self::Post { id, amount } => (record.target, record.amount) = (id, amount),
            Self::Void { id } => record.target = id,
            Self::Close { id, gain } => (record.target, record.gain) = (id, gain),
            Self::Sweep { most } => record.target = most.into(),
        }
        record
    }

    /// The command in a record; one of kind `epoch` holds none.
    ///
    /// # Errors
    /// [`Unreadable`]: an unknown kind, or figures that no command has.
    pub fn of(record: &LedgerRecord) -> Result<Self, Unreadable> {
        let (account, amount) = (Account { owner: record.owner, asset: record.asset }, record.amount);
        let unreadable = |_| Unreadable(record.kind);
        Ok(match record.kind() {
            Some(LedgerKind::Configure) => Self::Configure(Limits {
                buffer_ppm: u32::try_from(amount).map_err(unreadable)?,
                max_locked: u32::try_from(record.target).map_err(unreadable)?,
            }),
            Some(LedgerKind::Deposit) => Self::Deposit { account, amount },
            Some(LedgerKind::Withdraw) => Self::Withdraw { account, amount },
            Some(LedgerKind::Reserve) => {
                let (symbol, ttl_ns, wall_ns) = (record.symbol, record.ttl_ns, record.wall_ns);
                Self::Reserve { account, amount, symbol, ttl_ns, wall_ns }
            }
            Some(LedgerKind::Post) => Self::Post { id: record.target, amount },
            Some(LedgerKind::Void) => Self::Void { id: record.target },
            Some(LedgerKind::Close) => Self::Close { id: record.target, gain: record.gain },
            Some(LedgerKind::Sweep) => Self::Sweep { most: u32::try_from(record.target).map_err(unreadable)? },
            Some(LedgerKind::Epoch) | None => return Err(Unreadable(record.kind)),
        })
    }
}
