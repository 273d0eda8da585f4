//! What every gateway to a venue is to those who trade: requests in, reports out.
//!
//! A strategy sends an [`OrderRequest`] that passed the risk gate and reads [`Report`]s. It does not know whether the
//! venue behind the [`Gateway`] is real: the paper exchange ([`crate::paper`]) answers in the same words. They are
//! those of FIX (<https://www.onixs.biz/fix-dictionary/5.0.SP2/tagNum_150.html>, tag 150, `ExecType`): an order is
//! `NEW` when the venue has it, each execution is a `TRADE`, and it ends by its last execution, `CANCELED` when its
//! owner asked for it, `EXPIRED` when the venue ended it, or was `REJECTED` before it was ever there.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{FromRepr, IntoStaticStr};
use tidegate_wire::order::{Execution, OrderRequest};
use tidegate_wire::{InstrumentId, Price, Qty};

/// What a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum ExecType {
    /// The venue has the order.
    New = 0,
    /// The venue does not take the order; the reason says why.
    Rejected = 1,
    /// A part of the order, or all that was left of it, executed.
    Trade = 2,
    /// The order has the price and the quantity that its owner asked for.
    Replaced = 3,
    /// The order ended because its owner asked for it.
    Canceled = 4,
    /// The venue ended the order; the reason says why.
    Expired = 5,
    /// The venue made the order's quantity smaller; the reason says why.
    Restated = 6,
    /// A cancel or a replacement was refused; the order, if there is one, is as it was. FIX has a message of its own
    /// for this (`OrderCancelReject`).
    CancelRejected = 7,
}

impl ExecType {
    /// Name as in FIX.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why an order was rejected, expired or restated, or a request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// There is none to give: it is as was asked for.
    None = 0,
    /// An unknown code, or codes that contradict each other (post-only and immediate-or-cancel).
    Malformed = 1,
    /// The instrument is not one of the venue's.
    UnknownInstrument = 2,
    /// The venue has no such account.
    UnknownAccount = 3,
    /// A price or quantity that is not above zero, or is given where there must be none.
    Amount = 4,
    /// The price is no multiple of the tick.
    OffTick = 5,
    /// The quantity is no multiple of the lot.
    OffLot = 6,
    /// Price times quantity is less than the venue takes.
    MinNotional = 7,
    /// A number left 64 bits.
    Overflow = 8,
    /// The account has an open order of this client id.
    DuplicateClientId = 9,
    /// The account has no open order of this client id: it never had one, or it has ended.
    UnknownOrder = 10,
    /// No more open orders fit.
    TooManyOrders = 11,
    /// Nothing is known of the market: no book came yet.
    NoBook = 12,
    /// The book cannot be trusted now: gapped, stale, crossed or being rebuilt.
    BookNotGood = 13,
    /// A post-only order would have executed at once.
    PostOnlyWouldCross = 14,
    /// Nobody offers what a market order asks for, or not enough within the levels that are known.
    NoLiquidity = 15,
    /// A fill-or-kill order cannot execute in full at once.
    FillOrKill = 16,
    /// What an immediate-or-cancel order could not execute at once.
    ImmediateOrCancel = 17,
    /// The time of a good-till-date order has come.
    GoodTillDate = 18,
    /// It would have traded with an order of the same owner.
    SelfTrade = 19,
    /// The venue does not know this mode of self-trade prevention.
    SelfTradeMode = 20,
    /// A reduce-only order has nothing to reduce, or nothing any more.
    ReduceOnly = 21,
    /// A replacement whose total is not above what has executed.
    BelowExecuted = 22,
    /// The reports that nobody read leave no room for more.
    NoRoom = 23,
}

impl Reason {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Whether an execution took liquidity or gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u8)]
pub enum Liquidity {
    /// The report is of no execution.
    None = 0,
    /// The order rested in the book.
    Maker = 1,
    /// The order arrived.
    Taker = 2,
}

/// What became of a request or an order. 128 bytes, stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Report {
    /// Number of the report at its gateway, from 1.
    pub sequence: u64,
    /// When its owner gets it, ns since the Unix epoch. Never falls along a gateway's reports.
    pub event_ns: i64,
    /// When it happened at the venue, ns since the Unix epoch.
    pub venue_ns: i64,
    /// The request it answers: for what happens by itself, the last one that changed the order.
    pub request_id: u64,
    /// The order's client id.
    pub client_id: u64,
    /// The venue's number of the order; 0 where there is none.
    pub order_id: u64,
    /// The venue's number of the trade; 0 unless this is a [`ExecType::Trade`].
    pub trade_id: u64,
    /// Of a trade, its price; else the order's limit, 0 for market orders. At the instrument's scale.
    pub price: Price,
    /// Quantity of this trade, > 0; else 0.
    pub last_qty: Qty,
    /// Total quantity of the order, executions included.
    pub order_qty: Qty,
    /// Of that, what has executed.
    pub cum_qty: Qty,
    /// Of that, what may still execute; 0 when the order has ended.
    pub leaves_qty: Qty,
    /// Fee of this trade, millionths of the quote currency; negative for a rebate.
    pub fee: i64,
    /// Account of the order.
    pub account: u16,
    /// Strategy of the order.
    pub strategy: u16,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// An [`ExecType`].
    pub exec_type: u8,
    /// A [`Reason`].
    pub reason: u8,
    /// A [`tidegate_wire::order::Side`]: the order's.
    pub side: u8,
    /// A [`Liquidity`].
    pub liquidity: u8,
    /// Zero.
    pub reserved: [u8; 14],
}

const _: () = assert!(size_of::<Report>() == 128 && align_of::<Report>() == 8);

impl Report {
    /// What it says; `None` for a foreign byte.
    pub fn exec_type(&self) -> Option<ExecType> {
        ExecType::from_repr(self.exec_type)
    }

    /// Why; `None` for a foreign byte.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_repr(self.reason)
    }

    /// Whether the order has ended, or never was.
    pub fn is_last(&self) -> bool {
        match self.exec_type() {
            Some(ExecType::Rejected | ExecType::Canceled | ExecType::Expired) => true,
            Some(ExecType::Trade) => self.leaves_qty.raw() == 0,
            _ => false,
        }
    }

    /// The execution it tells of, as the risk gate and the audit log want it.
    pub fn execution(&self) -> Option<Execution> {
        (self.exec_type() == Some(ExecType::Trade)).then_some(Execution {
            client_id: self.client_id,
            event_ns: self.event_ns,
            trade_id: self.trade_id,
            price: self.price,
            qty: self.last_qty,
            fee: self.fee,
            account: self.account,
            strategy: self.strategy,
            instrument: self.instrument,
            side: self.side,
            reserved: [0; 9],
        })
    }
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many requests are on their way, or too many reports unread.
    #[error("no room for another request: reports must be read first")]
    Busy,
}

/// A way to a venue.
pub trait Gateway {
    /// Sends a request at `now_ns` (ns since the Unix epoch, not before an earlier call). What becomes of it is told by
    /// reports.
    ///
    /// # Errors
    /// See [`SubmitError`]: nothing was sent, and no report will come.
    fn submit(&mut self, now_ns: i64, request: &OrderRequest) -> Result<(), SubmitError>;

    /// The next report that has arrived, oldest first.
    fn poll(&mut self) -> Option<Report>;
}
