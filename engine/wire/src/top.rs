//! The record that shows the best levels of a book after each change to those who trade on paper.

use bytemuck::{Pod, Zeroable};

use crate::decimal::{Price, Qty};
use crate::event::{BookQuality, Level};

/// Most levels a side of a top.
pub const TOP_LEVELS: usize = 20;

/// The best levels of a book. Prices and quantities are mantissas at the instrument's scales; levels behind the counts
/// are zero.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct TopBody {
    /// A [`BookQuality`], as a word. There are levels only where it is [`BookQuality::Good`].
    pub quality: u64,
    /// Bids shown, in `[0, TOP_LEVELS]`.
    pub bid_count: u32,
    /// Asks shown, in `[0, TOP_LEVELS]`.
    pub ask_count: u32,
    /// Funding rate of the running period, a fraction; 0 where there is none.
    pub funding: f64,
    /// Bids, best first.
    pub bids: [Level; TOP_LEVELS],
    /// Asks, best first.
    pub asks: [Level; TOP_LEVELS],
}

impl TopBody {
    /// A top without levels, of a book that is being built.
    pub const EMPTY: Self = {
        let none = Level { price: Price::from_raw(0), qty: Qty::from_raw(0) };
        Self {
            quality: BookQuality::Building as u64,
            bid_count: 0,
            ask_count: 0,
            funding: 0.0,
            bids: [none; TOP_LEVELS],
            asks: [none; TOP_LEVELS],
        }
    };

    /// The bids that are shown, best first.
    #[inline]
    pub fn bids(&self) -> &[Level] {
        &self.bids[..(self.bid_count as usize).min(TOP_LEVELS)]
    }

    /// The asks that are shown, best first.
    #[inline]
    pub fn asks(&self) -> &[Level] {
        &self.asks[..(self.ask_count as usize).min(TOP_LEVELS)]
    }

    /// The book's quality; `Building` should a foreign byte be in it.
    pub fn book_quality(&self) -> BookQuality {
        BookQuality::of_word(self.quality)
    }
}

const _: () = {
    assert!(size_of::<TopBody>() == 24 + 2 * TOP_LEVELS * size_of::<Level>());
    assert!(align_of::<TopBody>() == 8);
};
