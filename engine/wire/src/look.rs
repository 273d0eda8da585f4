//! The record that shows a book and its tape to slow observers: ladders, heat-maps, detectors.
//!
//! A look is taken on a grid of event time, far more rarely than books change, and travels through an overwrite ring:
//! whoever is slow misses looks and never holds a feed up. It says what stood in the book at its moment and what was
//! traded since the look before, so that a reader who sees every look sees every trade once. An interval that does not
//! begin where the last one seen ended says that looks were missed.

use bytemuck::{Pod, Zeroable};

use crate::decimal::{Price, Qty};
use crate::event::{BookQuality, HEADER_WORDS, Header, Level, RecordKind, record_of};
use crate::ring::{RECORD_WORDS_MAX, lines_for};

/// Most levels a side of a look.
pub const LOOK_LEVELS: usize = 64;

/// A book and its tape. Prices and quantities are mantissas at the instrument's scales.
///
/// What a look has nothing of is zero: levels behind the counts, and every member of the tape where nothing was traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LookBody {
    /// Where the interval of the tape begins: event time of the look before, exclusive; of this one in the first, ns
    /// since the Unix epoch. It ends at the header's event time, inclusive.
    pub start_ns: i64,
    /// A [`BookQuality`], as a word. There are levels only where it is [`BookQuality::Good`].
    pub quality: u64,
    /// Last update id that is in the levels, as the venue counts them; 0 without a good book.
    pub update_id: u64,
    /// Bids shown, in `[0, LOOK_LEVELS]`.
    pub bid_count: u32,
    /// Asks shown, in `[0, LOOK_LEVELS]`.
    pub ask_count: u32,
    /// Number of trades.
    pub trades: u64,
    /// Quantity that aggressors bought, >= 0.
    pub bought: Qty,
    /// Quantity that aggressors sold, >= 0.
    pub sold: Qty,
    /// Quantity of the largest trade.
    pub largest: Qty,
    /// Highest traded price.
    pub high: Price,
    /// Lowest traded price.
    pub low: Price,
    /// Price of the last trade.
    pub last: Price,
    /// Bids, best first.
    pub bids: [Level; LOOK_LEVELS],
    /// Asks, best first.
    pub asks: [Level; LOOK_LEVELS],
}

impl LookBody {
    /// A look with nothing in it, at a book that is being built.
    pub const EMPTY: Self = {
        let none = Level { price: Price::from_raw(0), qty: Qty::from_raw(0) };
        Self {
            start_ns: 0,
            quality: BookQuality::Building as u64,
            update_id: 0,
            bid_count: 0,
            ask_count: 0,
            trades: 0,
            bought: Qty::from_raw(0),
            sold: Qty::from_raw(0),
            largest: Qty::from_raw(0),
            high: Price::from_raw(0),
            low: Price::from_raw(0),
            last: Price::from_raw(0),
            bids: [none; LOOK_LEVELS],
            asks: [none; LOOK_LEVELS],
        }
    };

    /// The bids that are shown, best first.
    #[inline]
    pub fn bids(&self) -> &[Level] {
        &self.bids[..(self.bid_count as usize).min(LOOK_LEVELS)]
    }

    /// The asks that are shown, best first.
    #[inline]
    pub fn asks(&self) -> &[Level] {
        &self.asks[..(self.ask_count as usize).min(LOOK_LEVELS)]
    }

    /// The book's quality; `Building` should a foreign byte be in it.
    pub fn book_quality(&self) -> BookQuality {
        BookQuality::of_word(self.quality)
    }

    /// Adds a trade to the tape.
    #[inline]
    pub fn trade(&mut self, price: Price, qty: Qty, sell: bool) {
        let first = self.trades == 0;
        self.trades += 1;
        let side = if sell { &mut self.sold } else { &mut self.bought };
        *side = Qty::from_raw(side.raw().saturating_add(qty.raw()));
        self.largest = self.largest.max(qty);
        self.high = if first { price } else { self.high.max(price) };
        self.low = if first { price } else { self.low.min(price) };
        self.last = price;
    }

    /// Forgets the tape: the next interval begins at `start_ns`.
    #[inline]
    pub fn begin(&mut self, start_ns: i64) {
        (self.start_ns, self.trades) = (start_ns, 0);
        (self.bought, self.sold, self.largest) = (Qty::from_raw(0), Qty::from_raw(0), Qty::from_raw(0));
        (self.high, self.low, self.last) = (Price::from_raw(0), Price::from_raw(0), Price::from_raw(0));
    }
}

/// Header and look as one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LookRecord {
    /// Kind [`RecordKind::Look`]; its event time is the look's moment.
    pub header: Header,
    /// The look.
    pub body: LookBody,
}

/// Words of a [`LookRecord`].
pub const LOOK_WORDS: usize = size_of::<LookRecord>() / 8;

/// Lines that a look takes in a ring.
pub const LOOK_LINES: usize = lines_for(LOOK_WORDS);

impl LookRecord {
    /// The record at the start of a ring's words; `None` when they are another one, or none.
    pub fn of_words(words: &[u64]) -> Option<&Self> {
        record_of(words, RecordKind::Look)
    }

    /// As words, to be pushed into a ring.
    pub fn words_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(core::slice::from_mut(self))
    }
}

const _: () = {
    assert!(size_of::<LookBody>() == 88 + 2 * LOOK_LEVELS * size_of::<Level>());
    assert!(align_of::<LookBody>() == 8);
    assert!(core::mem::offset_of!(LookBody, trades) == 32);
    assert!(core::mem::offset_of!(LookBody, bids) == 88);
    assert!(core::mem::offset_of!(LookRecord, body) == HEADER_WORDS * 8);
    assert!(LOOK_WORDS <= RECORD_WORDS_MAX, "a look is one record");
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::InstrumentId;

    fn trade(body: &mut LookBody, price: i64, qty: i64, sell: bool) {
        body.trade(Price::from_raw(price), Qty::from_raw(qty), sell);
    }

    #[test]
    fn the_tape_adds_up_and_is_forgotten() {
        let mut body = LookBody::EMPTY;
        trade(&mut body, -5, 3, false);
        trade(&mut body, -9, 7, true);
        trade(&mut body, -7, 2, true);
        assert_eq!((body.trades, body.bought.raw(), body.sold.raw(), body.largest.raw()), (3, 3, 9, 7));
        assert_eq!((body.high.raw(), body.low.raw(), body.last.raw()), (-5, -9, -7), "prices may be negative");
        body.begin(11);
        assert_eq!(body, LookBody { start_ns: 11, ..LookBody::EMPTY });
    }

    #[test]
    fn a_record_is_found_in_words_and_nothing_else_is() {
        let header = Header::new(RecordKind::Look, InstrumentId(3));
        let mut record = LookRecord { header, body: LookBody { bid_count: 2, ask_count: 900, ..LookBody::EMPTY } };
        let mut words = record.words_mut().to_vec();
        assert_eq!(words.len(), LOOK_WORDS);
        words.resize(LOOK_LINES * 7, 0);
        let found = LookRecord::of_words(&words).expect("a look");
        assert_eq!((found.header.instrument, found.body.bids().len()), (InstrumentId(3), 2));
        assert_eq!(found.body.asks().len(), LOOK_LEVELS, "a foreign count reaches no further");
        assert_eq!(LookRecord::of_words(&words[..LOOK_WORDS - 1]), None);
        words[0] = RecordKind::Features as u64;
        assert_eq!(LookRecord::of_words(&words), None);
    }
}
