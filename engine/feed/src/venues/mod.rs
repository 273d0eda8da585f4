//! One module a venue: bytes to messages, and which sequence rule its books follow.

pub mod binance;
pub mod bitget;
pub mod bybit;
pub mod deribit;
pub mod okx;

use tidegate_wire::event::{DepthIds, Mark, Quote, Trade};
use tidegate_wire::{InstrumentId, Level};

/// Most levels a side that one frame may carry; Binance sends up to 5,000 in a snapshot.
pub const LEVELS_MAX: usize = 8192;

/// What a frame says. Levels of depth messages lie in the decoder's [`Levels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Changed levels.
    Delta(DepthIds),
    /// A book anew.
    Snapshot(DepthIds),
    /// Best bid and ask.
    Quote(Quote),
    /// A trade; `sell` when the aggressor sold. `raw` when trade ids are contiguous.
    Trade {
        /// The trade.
        trade: Trade,
        /// The aggressor sold.
        sell: bool,
        /// One match (contiguous ids), not an aggregate.
        raw: bool,
    },
    /// Mark price and funding.
    Mark(Mark),
}

/// A decoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose it is.
    pub instrument: InstrumentId,
    /// The venue's event time, ns since the Unix epoch; 0 where it sends none.
    pub venue_ns: i64,
    /// What it says.
    pub body: Body,
}

/// Levels of the depth message decoded last; allocated once.
#[derive(Debug)]
pub struct Levels {
    pub(crate) bids: Box<[Level]>,
    pub(crate) asks: Box<[Level]>,
    pub(crate) bid_count: usize,
    pub(crate) ask_count: usize,
}

impl Default for Levels {
    fn default() -> Self {
        let side = || vec![Level::default(); LEVELS_MAX].into_boxed_slice();
        Self { bids: side(), asks: side(), bid_count: 0, ask_count: 0 }
    }
}

impl Levels {
    /// Without room, for sources that are no hot path: it grows as it is set.
    pub(crate) fn empty() -> Self {
        Self { bids: Box::default(), asks: Box::default(), bid_count: 0, ask_count: 0 }
    }

    /// Replaces all levels.
    pub(crate) fn set(&mut self, bids: &[Level], asks: &[Level]) {
        for (room, count, levels) in
            [(&mut self.bids, &mut self.bid_count, bids), (&mut self.asks, &mut self.ask_count, asks)]
        {
            match room.get_mut(..levels.len()) {
                Some(room) => room.copy_from_slice(levels),
                None => *room = levels.into(),
            }
            *count = levels.len();
        }
    }

    /// Bids in the venue's order.
    #[inline(always)]
    pub fn bids(&self) -> &[Level] {
        &self.bids[..self.bid_count]
    }

    /// Asks in the venue's order.
    #[inline(always)]
    pub fn asks(&self) -> &[Level] {
        &self.asks[..self.ask_count]
    }
}
