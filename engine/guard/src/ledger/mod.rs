//! The balance ledger: who has how much, and how much of it is spoken for.
//!
//! # The model
//!
//! Money lies in **pots**: outside, and for every account (an owner's balance in one asset) available, pending and
//! posted. It is only ever moved from one pot to another, so that the sum over all pots of an asset is zero at every
//! moment (double entry; the pot outside is in debt for what came in). Amounts are integers in the asset's minor units.
//!
//! Locking has two phases, as in TigerBeetle (docs/coding/two-phase-transfers.md). A **reservation** moves an amount
//! from available to pending. It is then **posted** (in whole or in part: the rest returns at once), **voided**, or it
//! **expires**; whichever comes first is final. A posted one is a position, which lives until it is **closed** with its
//! gain or loss.
//!
//! * **Buffer.** A part of the total (5 % unless told otherwise), rounded up, can never be locked:
//!   `locked + amount <= total - ceil(total * buffer)`. It counts when something is locked; what is locked already is
//!   not touched when the total falls.
//! * **Places.** An account may have so many reservations and positions at once (10), counted with the lock itself.
//! * **Expiry.** At `now >= expires_at` a reservation has expired, whether or not anybody has looked: it can no longer
//!   be posted or voided, and stands in nobody's way. [`Command::Sweep`] gives back what has expired, oldest first.
//! * **Idempotency.** Every command of a client carries a key. The same key with the same content gives the outcome of
//!   the first time and changes nothing; with another content it is refused. The last [`WINDOW`] keys are known, and
//!   the last [`WINDOW`] resolved reservations. A refused command leaves no trace: the key may be used again.
//! * **Pure.** No clock, no I/O, no randomness: the same commands at the same times give the same outcomes and the same
//!   [`Ledger::state_hash`]. Refused commands change nothing, not even the time.
//!
//! What is locked or available here is real. The [`VirtualBalance`](crate::risk::VirtualBalance) of [`shown`] is not,
//! and no risk check takes it:
//!
//! ```compile_fail,E0308
//! # use tidegate_guard::{ledger::{Balances, shown}, risk::RiskGate};
//! fn funds(gate: &mut RiskGate, balances: &Balances) {
//!     let shown = shown(balances.total(), tidegate_wire::Scale::saturating(6), 1_500).expect("it fits");
//!     let _ = gate.on_funds(0, shown); // expected `Credit`, found `VirtualBalance`
//! }
//! ```
//!
//! The available balance is what may enter one ([`credit`]):
//!
//! ```
//! # use tidegate_guard::{ledger::{Balances, credit}, risk::RiskGate};
//! fn funds(gate: &mut RiskGate, balances: &Balances) {
//!     if let Some(credit) = credit(balances.total(), tidegate_wire::Scale::saturating(6)) {
//!         let _ = gate.on_funds(0, credit);
//!     }
//! }
//! ```

mod book;
mod command;
mod drift;
mod hash;
mod money;
mod refusal;

pub use book::{Ledger, PLACES_MAX, ReplayError};
pub use command::{Command, Unreadable};
pub use drift::{Drift, DriftError, STEPS};
pub use money::{Shown, credit, shown};
pub use refusal::{Refusal, Told};

use tidegate_wire::ledger::{LedgerKind, Name};

/// Keys and resolved reservations that are remembered.
pub const WINDOW: usize = 1 << 16;
/// Largest amount and largest total, minor units: far from where 128 bits end, so that no sum overflows.
pub const AMOUNT_MAX: u128 = 1 << 100;

/// An owner's balance in one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// Whose.
    pub owner: Name,
    /// In what.
    pub asset: Name,
}

/// What may be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Part of the total that cannot be locked, millionths, in `[0, 1_000_000]`.
    pub buffer_ppm: u32,
    /// Reservations and positions of one account at once.
    pub max_locked: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buffer_ppm: 50_000, max_locked: 10 }
    }
}

/// An account's pots, minor units, each >= 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Free.
    pub available: u128,
    /// Reserved.
    pub pending: u128,
    /// In positions.
    pub posted: u128,
    /// Reservations and positions.
    pub locked_count: u32,
}

impl Balances {
    /// Reserved or in positions.
    pub const fn locked(&self) -> u128 {
        self.pending + self.posted
    }

    /// All of it.
    pub const fn total(&self) -> u128 {
        self.available + self.locked()
    }
}

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// Reserved.
    Pending = 1,
    /// A position.
    Posted = 2,
    /// Given up.
    Voided = 3,
    /// Its time was over.
    Expired = 4,
    /// A position that ended.
    Closed = 5,
}

impl State {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it holds money.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Posted)
    }
}

/// A reservation and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Its number: host time of the request, ns, made unique.
    pub id: u64,
    /// Whose money.
    pub account: Account,
    /// What it is for.
    pub symbol: Name,
    /// What it holds, or held last, minor units.
    pub amount: u128,
    /// From when on it has expired, ns of the ledger's time; means nothing once it is posted.
    pub expires_ns: u64,
    /// Where it stands.
    pub state: State,
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which kind of command.
    pub kind: LedgerKind,
    /// The reservation it was about; 0 where there is none.
    pub id: u64,
    /// What was moved into the pot that the command is about, minor units: deposited, withdrawn, reserved, posted,
    /// returned.
    pub amount: u128,
    /// From when on the reservation has expired, ns of the ledger's time; 0 where there is none.
    pub expires_ns: u64,
    /// Reservations that were given back because their time was over.
    pub expired: u32,
    /// It had been done before, by the same key: this is the outcome of then.
    pub exists: bool,
}
