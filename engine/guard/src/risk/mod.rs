//! Pre-trade risk: nothing reaches a venue that a limit forbids.
//!
//! # The model
//!
//! A [`RiskGate`] stands between everybody who wants to trade and every venue. It is given an
//! [`OrderRequest`](tidegate_wire::order::OrderRequest) and a [`MarketView`], and answers with a
//! [`Verdict`](tidegate_wire::order::Verdict) that names, when it refuses, the rule, the figure, the limit, and whose
//! limit it was. All rules are in [`rules`]; all limits come from one configuration ([`RiskLimits`]).
//!
//! * **Counted at once.** What is let through counts from that moment, as if it could execute in the worst way, until
//!   the venue's report says otherwise (RTS 6 Art. 15(2)). Open orders are part of every position and exposure.
//! * **Integers.** Prices, quantities and money are fixed point; products are computed in 128 bits. What does not fit
//!   is refused, never wrapped. The one float is a reference price on its way in ([`Reference::from_f64`]).
//! * **Default deny.** An account may trade nothing that is not named, nothing is sent without a fresh reference price
//!   and a good book, and limits of the firm cannot be left out.
//! * **Cancels always pass.** A cancel makes risk smaller: it is counted, and too many raise an alert.
//! * **Latched.** A [`KillSwitch`] stays thrown through restarts until a designated person gives a reason.
//! * **Allocated at start.** After [`RiskGate::new`] no call for an order or a report allocates.
//!
//! These are implementations of controls that 17 CFR 240.15c3-5 and RTS 6 name; each [`rules::Rule`] says which.
//! Whether a firm that uses them meets its obligations is not for a program to say.

mod alerts;
mod amount;
mod book;
mod candidate;
mod control;
mod events;
mod funds;
mod gate;
mod holdings;
mod kill;
mod limits;
mod market;
mod orders;
mod overrides;
mod people;
pub mod rules;
pub mod self_trade;
mod stakes;
mod state;
#[cfg(test)]
mod testing;
mod window;

pub use amount::{Decimal, Rounding, Valuer};
pub use candidate::Malformed;
pub use control::{ListError, OpenOrder, ResetError};
pub use events::{EventError, Standing};
pub use funds::{Credit, VirtualBalance};
pub use gate::{RiskCounters, RiskGate};
pub use holdings::Holding;
pub use kill::{KillScopeError, KillStateError, KillSwitch, Latch};
pub use limits::{
    AccountLimits, Duplicates, InstrumentLimits, Rate, RestrictedEntry, RestrictedFile, RiskError, RiskLimits,
    ScopeLimits, Switches,
};
pub use market::{MarketView, Permits, Reference, ReferenceKind};
pub use overrides::{Override, OverrideError};
pub use people::{KeyError, Keys, PersonId, Role};
pub use self_trade::{SelfTradeAction, SelfTradeKind};
pub use stakes::{Allowance, Stake};
pub use state::RestrictedList;
