//! The obvious book: two ordered maps.

use std::collections::BTreeMap;

use tidegate_market::book::{Book, TOP};
use tidegate_wire::event::Depth;

/// Prices to quantities, both as mantissas.
#[derive(Clone, Debug, Default)]
pub struct TreeBook {
    /// Bids by price.
    pub bids: BTreeMap<i64, i64>,
    /// Asks by price.
    pub asks: BTreeMap<i64, i64>,
}

impl TreeBook {
    /// Applies changed levels.
    #[inline]
    pub fn apply(&mut self, depth: &Depth<'_>) {
        for (side, levels) in [(&mut self.bids, depth.bids), (&mut self.asks, depth.asks)] {
            for level in levels {
                if level.qty.raw() == 0 {
                    side.remove(&level.price.raw());
                } else {
                    side.insert(level.price.raw(), level.qty.raw());
                }
            }
        }
    }

    /// Reads the best twenty levels of both sides into one number.
    #[inline]
    pub fn read_top(&self) -> u64 {
        let mut sum = 0;
        for (price, qty) in self.bids.iter().rev().take(TOP) {
            sum = mix(sum, *price, *qty);
        }
        for (price, qty) in self.asks.iter().take(TOP) {
            sum = mix(sum, *price, *qty);
        }
        sum
    }
}

/// The same number from our book (for an instrument whose tick is one mantissa unit).
#[inline]
pub fn read_top(book: &Book) -> u64 {
    let mut sum = 0;
    let (bids, asks) = (book.top_bids(), book.top_asks());
    for (key, qty) in bids.keys[..bids.len].iter().zip(&bids.qtys) {
        sum = mix(sum, -key, *qty);
    }
    for (key, qty) in asks.keys[..asks.len].iter().zip(&asks.qtys) {
        sum = mix(sum, *key, *qty);
    }
    sum
}

/// Depends on order, price and quantity, and costs next to nothing.
#[inline(always)]
fn mix(sum: u64, price: i64, qty: i64) -> u64 {
    sum.rotate_left(5).wrapping_add((price as u64) << 20 ^ qty as u64)
}
