//! The market itself: latent prices, order flow and books. It knows nothing of venues, frames or scripts.
//!
//! # Model
//! Orders carry no strategy, only statistics ("zero intelligence"): limit orders, cancellations and market orders
//! arrive as point processes in continuous event time (Smith, Farmer, Gillemot and Krishnamurthy 2003; Cont, Stoikov
//! and Talreja 2010). Beyond that model:
//!
//! * Market orders excite each other ([`hawkes`]), and each also sets off a burst of quoting whose size is log-normal.
//! * Distances from the touch follow a power law (Zovko and Farmer 2002), quantities a log-normal mixed with round
//!   amounts. What arrives at a price is a new level or a cancellation depending on how dense the book is there
//!   compared with its typical density, so the profile of the book is stationary while the price wanders.
//! * Some new orders are cancelled within milliseconds (fleeting orders, Hasbrouck and Saar 2009).
//! * A latent efficient price per underlying ([`latent`]) ties instruments together: buyers come more often while it
//!   is above the mid, and when it is more than a threshold away, stale quotes are taken or withdrawn and new ones
//!   are posted around it.
//!
//! All intensities of one instrument are superposed and thinned together (Ogata 1981). Between two events, and
//! within one step of the latent price, they only decay; their present sum is therefore an exact bound, and drawing
//! anew at the boundary of a step is allowed because the exponential distribution has no memory.

pub(crate) mod book;
pub(crate) mod flow;
pub(crate) mod hawkes;
pub(crate) mod latent;
mod orders;

use book::{Level, Side};

/// What happened in a market, in order. An operation is any number of trades and levels ended by a `Commit`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MarketEvent {
    /// One resting order was hit.
    Trade {
        /// Price.
        tick: i64,
        /// Quantity, at least 1.
        lots: i64,
        /// Side of the market order.
        taker: Side,
    },
    /// A level has a new absolute quantity; 0 when it went away.
    Change {
        /// Side of the book.
        side: Side,
        /// Price and new quantity.
        level: Level,
    },
    /// The operation is complete: the book is consistent and these are its best levels.
    Commit {
        /// Best bid.
        bid: Level,
        /// Best ask.
        ask: Level,
    },
}

/// Conditions of one instrument, constant within a step of the latent price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Conditions {
    /// Multiplies the baseline rate of market orders.
    pub(crate) orders: f64,
    /// Multiplies sizes of market orders.
    pub(crate) sizes: f64,
    /// Multiplies the rate of limit orders and cancellations.
    pub(crate) quotes: f64,
    /// Multiplies typical quantities and densities of the book.
    pub(crate) depth: f64,
    /// Additional lean of market orders, from -1 (only sells) to 1 (only buys).
    pub(crate) lean: f64,
    /// Probability that a stale quote is hit before it is withdrawn, at least; in [0, 1].
    pub(crate) snipes: f64,
    /// Half-width of the zone around the efficient price without quotes, bp; 0 for none.
    pub(crate) hole_bp: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { orders: 1.0, sizes: 1.0, quotes: 1.0, depth: 1.0, lean: 0.0, snipes: 0.0, hole_bp: 0.0 }
    }
}
