//! What the schema scanners of book streams share.

use crate::checksum::Text;
use crate::json::{Cursor, Numbers};
use crate::symbols::Entry;
use crate::venues::Levels;

/// The parts of a book message that scanners know.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Market,
    Channel,
    Symbol,
    Action,
    Data,
    Asks,
    Bids,
    Time,
    Matched,
    Checksum,
    Id,
    Order,
    Previous,
}

/// Parts that have come: each may come once.
#[derive(Default)]
pub(crate) struct Seen(u32);

impl Seen {
    /// Notes a part; `None` when it was there before.
    #[inline(always)]
    pub(crate) fn once(&mut self, part: Part) -> Option<()> {
        let bit = 1 << part as u32;
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new.then_some(())
    }

    /// Whether all these parts have come.
    #[inline(always)]
    pub(crate) fn all<const N: usize>(&self, parts: [Part; N]) -> bool {
        parts.into_iter().all(|part| self.0 & 1 << part as u32 != 0)
    }
}

/// Whether a message is a book anew; else it must be what the venue calls a change.
#[inline(always)]
pub(crate) fn whole<const N: usize>(cursor: &mut Cursor<'_>, change: &[u8; N]) -> Option<bool> {
    let whole = cursor.eat(b"\"snapshot\"");
    if !whole {
        cursor.expect(change)?;
    }
    Some(whole)
}

impl Levels {
    /// Reads the asks and keeps their texts, for a checksum.
    #[inline(always)]
    pub(crate) fn read_asks<R: Numbers>(&mut self, cursor: &mut Cursor<'_>, entry: &Entry) -> Option<()> {
        self.ask_count = cursor.rows::<R>(entry, &mut self.asks, keep(&mut self.ask_texts))?;
        Some(())
    }

    /// Reads the bids and keeps their texts, for a checksum.
    #[inline(always)]
    pub(crate) fn read_bids<R: Numbers>(&mut self, cursor: &mut Cursor<'_>, entry: &Entry) -> Option<()> {
        self.bid_count = cursor.rows::<R>(entry, &mut self.bids, keep(&mut self.bid_texts))?;
        Some(())
    }
}

#[inline(always)]
fn keep(texts: &mut [Text]) -> impl FnMut(usize, &[u8], &[u8]) -> Option<()> {
    |index, price, qty| texts.get_mut(index)?.join(price, qty).ok()
}
