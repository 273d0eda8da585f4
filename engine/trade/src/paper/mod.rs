//! The paper exchange: orders against the real book, deterministic in event time.
//!
//! # The model
//!
//! A [`PaperExchange`] stands where a venue would. It is shown the venue's real market ([`PaperExchange::book`],
//! [`PaperExchange::trade`]) and answers requests through the interface of every gateway
//! ([`Gateway`](crate::gateway::Gateway)). It has no clock and no chance of its own: time is what it is told, and the
//! same calls give the same reports, which [`PaperExchange::digest`] proves.
//!
//! * **The real market is not changed.** Paper orders are not in the real book, so nobody reacts to them. What is
//!   reported is what would have happened to an order too small to be noticed; for others it is too good.
//! * **Takers** walk the best levels that are known (at most [`LEVELS`]) and never see beyond: what these cannot fill
//!   is not filled. What an order took is not offered again until the level's own trading has replaced it
//!   ([`PaperConfig::consume`]).
//! * **Makers** wait in a queue whose length is known and whose order is not. A [`QueueModel`] says how far a
//!   cancellation moves them on; trades at their price move them on and then fill them; trades through their price fill
//!   them, and so does a book that crosses it, all at the order's own price and never more than what was there.
//! * **Latency**: a request reaches the exchange and a report its owner only after a delay ([`LatencyConfig`]), and in
//!   the order in which they were sent, as over one connection. The market is taken to be as it is when it is shown:
//!   how old that is already is not known here, and belongs into the delay of requests.
//! * **A book that is not good fills nobody.** New orders are rejected, resting ones keep what they have reached, what
//!   they missed is counted ([`PaperCounters`]), cancels work.
//! * **Paper orders meet each other** at the resting one's price, behind the real quantity that is ahead of it. Orders
//!   of one account are dealt with as the taker's mode of self-trade prevention says; with `NONE` they trade.
//! * **Integers.** Prices and quantities are mantissas, money is in millionths of the quote currency, rounded against
//!   the owner. A number that leaves 64 bits is a rejection. The only floats are shares of a queue, computed with
//!   `libm`, so that they have the same bits everywhere.
//! * **Allocated at start.** After [`PaperExchange::new`] nothing allocates; what does not fit is refused.
//!
//! Reduce-only orders are supported: the exchange keeps each account's net position. They execute at most what makes it
//! smaller, and expire when there is nothing left to reduce.
//!
//! One exchange is one venue, with its own latencies and fees.

mod arrival;
mod book;
mod config;
mod exchange;
mod fees;
mod latency;
mod market;
mod orders;
mod outbox;
mod queue;
mod take;
#[cfg(test)]
mod tests;

pub use book::{BookTop, LEVELS};
pub use config::{FeeConfig, LatencyConfig, PaperConfig, PaperError};
pub use exchange::{OpenOrder, PaperCounters, PaperExchange};
pub use queue::{Queue, QueueModel, QueueRules, Stamps};
