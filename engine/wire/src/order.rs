//! Order records: what somebody wants of a venue, what the risk gate said to it, what became of it.
//!
//! All of them are plain old data of whole 64-byte lines and stand for themselves: no header is needed to read one.
//! Enumerations travel as bytes; whoever reads a record asks `from_repr` and treats an unknown byte as an error.
//!
//! | record | bytes | from | to |
//! |---|---|---|---|
//! | [`OrderRequest`] | 64 | strategies, emergency plans | risk gate, gateways, audit log |
//! | [`Verdict`] | 128 | risk gate | strategies, audit log |
//! | [`Execution`] | 64 | gateways | risk gate, strategies, audit log |
//! | [`Alert`] | 64 | risk gate, kill switch, emergency protocols | whoever must know within 5 s |

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumString, FromRepr, IntoStaticStr};

use crate::decimal::{Price, Qty};
use crate::instrument::InstrumentId;
use crate::named::named;

/// Decimals of money in records: values, fees, profits and limits are in millionths of the reporting currency.
pub const MONEY_DECIMALS: u8 = 6;

named! {
    /// What a request wants.
    "kebab-case" RequestKind {
        /// A new order.
        New = 0,
        /// Another price or quantity for an open order; `qty` is its new total, executions included.
        Replace = 1,
        /// The end of an open order.
        Cancel = 2,
    }
}

named! {
    /// Side of an order.
    "kebab-case" Side {
        /// Buys.
        Buy = 0,
        /// Sells.
        Sell = 1,
    }
}

impl Side {
    /// The other one.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

named! {
    /// How an order is priced.
    "kebab-case" OrderType {
        /// At its price or better.
        Limit = 0,
        /// At whatever there is; carries no price.
        Market = 1,
        /// At its price, and only as a maker.
        PostOnly = 2,
    }
}

named! {
    /// How long an order lives.
    "kebab-case" TimeInForce {
        /// Until it is cancelled.
        GoodTillCancel = 0,
        /// What does not execute at once is cancelled.
        ImmediateOrCancel = 1,
        /// All at once or nothing.
        FillOrKill = 2,
        /// Until `expires_ns`.
        GoodTillDate = 3,
    }
}

named! {
    /// What is done about an order that would trade with one of the same owner, named as Binance names its modes
    /// (<https://developers.binance.com/docs/binance-spot-api-docs/faqs/stp_faq>). The taker's mode governs.
    "SCREAMING_SNAKE_CASE" SelfTradeMode {
        /// Nothing: the owner may trade with itself.
        None = 0,
        /// The arriving order expires.
        ExpireTaker = 1,
        /// The resting orders expire.
        ExpireMaker = 2,
        /// Both expire.
        ExpireBoth = 3,
        /// Both lose the quantity that would have traded; the smaller one so expires.
        Decrement = 4,
        /// As `DECREMENT`, and between two accounts of one trade group that quantity moves from one to the other.
        Transfer = 5,
    }
}

named! {
    /// Whose limit it is.
    "kebab-case" LimitScope {
        /// Everything; the id is 0.
        Firm = 0,
        /// One venue; the id is its number.
        Venue = 1,
        /// One instrument; the id is its [`InstrumentId`].
        Instrument = 2,
        /// One account; the id is its position in the configuration.
        Account = 3,
        /// One strategy; the id is its position in the configuration.
        Strategy = 4,
    }
}

named! {
    /// What the gate said.
    "kebab-case" Outcome {
        /// The request may be sent.
        Accepted = 0,
        /// It may not.
        Refused = 1,
    }
}

named! {
    /// Why a kill switch was thrown.
    "kebab-case" KillCause {
        /// A person ordered it.
        Operator = 0,
        /// A signal of the operating system.
        Signal = 1,
        /// The operator's heartbeat stayed away.
        DeadMan = 2,
        /// A risk rule; the alert names it.
        Rule = 3,
        /// An emergency protocol.
        Emergency = 4,
        /// The saved state could not be read: nothing is known, so everything is stopped.
        Unreadable = 5,
        /// A number left 64 bits: exposure is not known any more.
        Overflow = 6,
        /// The run before left open orders or positions of which nobody knows what became.
        LeftOpen = 7,
    }
}

named! {
    /// What an alert is about.
    "kebab-case" AlertKind {
        /// A request was refused.
        Refusal = 0,
        /// A kill switch was thrown.
        Kill = 1,
        /// A kill switch was reset.
        Reset = 2,
        /// More cancels than the limit; none was held back.
        CancelRate = 3,
        /// A rule was overridden for one order.
        Override = 4,
        /// An execution of an order that nobody knows, or of more than was open.
        UnknownExecution = 5,
        /// An emergency protocol changed its level.
        Emergency = 6,
        /// A list or a limit was replaced.
        Changed = 7,
    }
}

/// The order may only make a position smaller.
pub const FLAG_REDUCE_ONLY: u8 = 1;

/// A request for a venue. 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OrderRequest {
    /// Number of the request; the verdict names it.
    pub request_id: u64,
    /// The client order id, or a 64-bit hash of it; unique among the account's open orders.
    pub client_id: u64,
    /// When it was made, ns since the Unix epoch.
    pub event_ns: i64,
    /// When a [`TimeInForce::GoodTillDate`] order ends, ns since the Unix epoch; else 0.
    pub expires_ns: i64,
    /// Limit price at the instrument's scale, > 0; zero for market orders and cancels.
    pub price: Price,
    /// Total quantity at the instrument's scale, > 0; zero for cancels.
    pub qty: Qty,
    /// Position of the account in the configuration.
    pub account: u16,
    /// Position of the strategy in the configuration.
    pub strategy: u16,
    /// What to trade.
    pub instrument: InstrumentId,
    /// A [`crate::Venue`]: where; must be the instrument's.
    pub venue: u8,
    /// A [`RequestKind`].
    pub kind: u8,
    /// A [`Side`].
    pub side: u8,
    /// An [`OrderType`].
    pub order_type: u8,
    /// A [`TimeInForce`].
    pub time_in_force: u8,
    /// A [`SelfTradeMode`].
    pub self_trade: u8,
    /// `FLAG_*` bits of this module.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What the risk gate said to a request. 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Verdict {
    /// Number of the verdict, from 1.
    pub sequence: u64,
    /// When, ns since the Unix epoch: the latest event time the gate has seen.
    pub event_ns: i64,
    /// Which request.
    pub request_id: u64,
    /// Its client order id.
    pub client_id: u64,
    /// What was measured, in the rule's unit; 0 when accepted.
    pub measured: i64,
    /// The limit it was held against, in the rule's unit; 0 when accepted.
    pub limit: i64,
    /// Quantity that may be sent, in `[0, qty]`: less than asked for where self-trade prevention took some.
    pub allowed_qty: Qty,
    /// The order's worst-case value, millionths; 0 where it could not be told.
    pub value: i64,
    /// Reference price it was held against, at the instrument's scale; 0 when there was none.
    pub reference: Price,
    /// Age of that price, ns; `i64::MAX` when there was none.
    pub reference_age_ns: i64,
    /// Digest of the limits in force.
    pub limits_digest: u64,
    /// Version of the restricted list in force.
    pub restricted_version: u32,
    /// Resting orders of the same owner that must be dealt with first.
    pub self_trade_actions: u16,
    /// Account of the request.
    pub account: u16,
    /// Strategy of the request.
    pub strategy: u16,
    /// Instrument of the request.
    pub instrument: InstrumentId,
    /// Whose limit it was, within the scope.
    pub scope_id: u16,
    /// An [`Outcome`].
    pub outcome: u8,
    /// Which rule refused, by its index in the guard's table of risk rules; [`Verdict::NO_RULE`] when accepted.
    pub rule: u8,
    /// A [`LimitScope`]: whose limit it was.
    pub scope: u8,
    /// First rule that an override excused, each of which raises an alert; [`Verdict::NO_RULE`] when none did.
    pub overridden: u8,
    /// A [`RequestKind`], as asked.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 21],
}

impl Verdict {
    /// No rule.
    pub const NO_RULE: u8 = u8::MAX;

    /// Whether the request may be sent.
    pub const fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted as u8
    }
}

/// An execution as a venue reports it. 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Execution {
    /// The order's client id.
    pub client_id: u64,
    /// When the report was received, ns since the Unix epoch.
    pub event_ns: i64,
    /// The venue's id of the trade.
    pub trade_id: u64,
    /// Price at the instrument's scale, > 0.
    pub price: Price,
    /// Quantity at the instrument's scale, > 0.
    pub qty: Qty,
    /// Fee, millionths of the reporting currency; negative for a rebate.
    pub fee: i64,
    /// Account of the order.
    pub account: u16,
    /// Strategy of the order.
    pub strategy: u16,
    /// What was traded.
    pub instrument: InstrumentId,
    /// A [`Side`]: the order's.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 9],
}

/// Something that somebody must be told within 5 seconds of its event time (RTS 6 Art. 16(5)). 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Alert {
    /// Number of the alert, from 1.
    pub sequence: u64,
    /// When it happened, ns since the Unix epoch.
    pub event_ns: i64,
    /// The request it concerns; 0 when none.
    pub request_id: u64,
    /// Its client order id; 0 when none.
    pub client_id: u64,
    /// What was measured, in the rule's unit.
    pub measured: i64,
    /// The limit, in the rule's unit.
    pub limit: i64,
    /// Account of the request; `u16::MAX` when none.
    pub account: u16,
    /// Whose limit or switch it is, within the scope.
    pub scope_id: u16,
    /// A person, by position in the configuration; `u16::MAX` when none.
    pub person: u16,
    /// An [`AlertKind`].
    pub kind: u8,
    /// Which risk rule or emergency protocol; [`Verdict::NO_RULE`] when none.
    pub rule: u8,
    /// A [`LimitScope`].
    pub scope: u8,
    /// A [`KillCause`], for kills.
    pub cause: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

// Layout proofs: whole ring lines, no padding (`Pod` refuses it), offsets that other processes rely on.
const _: () = {
    assert!(size_of::<OrderRequest>() == 64 && align_of::<OrderRequest>() == 8);
    assert!(size_of::<Verdict>() == 128 && align_of::<Verdict>() == 8);
    assert!(size_of::<Execution>() == 64 && align_of::<Execution>() == 8);
    assert!(size_of::<Alert>() == 64 && align_of::<Alert>() == 8);
    assert!(core::mem::offset_of!(OrderRequest, price) == 32);
    assert!(core::mem::offset_of!(OrderRequest, account) == 48);
    assert!(core::mem::offset_of!(Verdict, allowed_qty) == 48);
    assert!(core::mem::offset_of!(Verdict, limits_digest) == 80);
    assert!(core::mem::offset_of!(Execution, account) == 48);
    assert!(core::mem::offset_of!(Alert, account) == 48);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_venues_and_reports() {
        assert_eq!(SelfTradeMode::ExpireTaker.name(), "EXPIRE_TAKER");
        assert_eq!("DECREMENT".parse(), Ok(SelfTradeMode::Decrement));
        assert_eq!(KillCause::DeadMan.name(), "dead-man");
        assert_eq!(Side::Buy.opposite(), Side::Sell);
        assert_eq!(Side::from_repr(2), None);
    }

    #[test]
    fn records_are_bytes_and_back() {
        let request = OrderRequest { price: Price::from_raw(-5), ..OrderRequest::zeroed() };
        let bytes = bytemuck::bytes_of(&request);
        assert_eq!(bytemuck::pod_read_unaligned::<OrderRequest>(bytes), request);
        assert_eq!(bytes.len(), 64);
    }
}
