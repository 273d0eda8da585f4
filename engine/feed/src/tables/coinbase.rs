//! Coinbase's full book, flattened to rows: one opening snapshot, then changes with absolute sizes.
//!
//! `side,price,size[,time]`. No sequence ids exist: nothing can notice a row that the recorder lost, and the ids of the
//! events count frames as they are read. Only a row that is there and cannot be read leaves a hole in that count, and
//! the book goes out of service like after any gap.

use tidegate_wire::{Level, Price, Qty};

use crate::counters::Reason;
use crate::symbols::Entry;
use crate::tables::fields::{columns, mantissa};

/// Levels of one frame by side.
#[derive(Debug, Default)]
pub(super) struct Sides {
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
}

impl Sides {
    pub(super) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    pub(super) fn push(&mut self, bid: bool, level: Level) {
        if bid { &mut self.bids } else { &mut self.asks }.push(level);
    }
}

/// The opening snapshot, which comes as a file a side (or as one file with both).
#[derive(Debug, Default)]
pub(super) struct Opening {
    sides: Sides,
}

impl Opening {
    /// Adds a file; gives the book once both sides are there.
    pub(super) fn add(&mut self, rows: &[u8], entry: &Entry) -> Result<Option<&Sides>, Reason> {
        for row in rows.split(|byte| *byte == b'\n') {
            let [side, price, size] = columns(row).ok_or(Reason::BadField)?;
            self.sides.push(is_bid(side)?, level(price, size, entry)?);
        }
        let whole = !self.sides.bids.is_empty() && !self.sides.asks.is_empty();
        Ok(whole.then_some(&self.sides))
    }
}

/// Changes of one instant. A level that changes twice in it comes twice, in order.
pub(super) fn updates(rows: &[u8], entry: &Entry, sides: &mut Sides) -> Result<(), Reason> {
    sides.clear();
    for row in rows.split(|byte| *byte == b'\n') {
        let [side, price, size, _] = columns(row).ok_or(Reason::BadField)?;
        sides.push(is_bid(side)?, level(price, size, entry)?);
    }
    Ok(())
}

pub(super) fn is_bid(side: &[u8]) -> Result<bool, Reason> {
    match side {
        b"buy" => Ok(true),
        b"sell" => Ok(false),
        _ => Err(Reason::BadField),
    }
}

fn level(price: &[u8], size: &[u8], entry: &Entry) -> Result<Level, Reason> {
    let price = Price::from_raw(mantissa(price, entry.price_scale)?);
    Ok(Level { price, qty: Qty::from_raw(mantissa(size, entry.qty_scale)?) })
}
