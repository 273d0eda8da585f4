//! The record of an open position: what observers of the market may know of it.
//!
//! It names no account: whoever keeps the account tells what is open in an instrument, and whoever reads learns where a
//! move would hurt. One position an instrument and side stands until the next record of both replaces it.

use bytemuck::{Pod, Zeroable};

use crate::decimal::{Price, Qty};
use crate::event::{HEADER_WORDS, Header, RecordKind, record_of};
use crate::instrument::InstrumentId;
use crate::order::Side;

/// A position of an instrument. Prices and quantities are mantissas at the instrument's scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PositionBody {
    /// A [`Side`]: [`Side::Buy`] is long.
    pub side: u8,
    /// `KNOWN_*` bits: which of the members below mean something; the others are zero.
    pub known: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// Size, >= 0; zero says that the position is closed.
    pub qty: Qty,
    /// Average entry price.
    pub entry: Price,
    /// Current price, as the venue marks the position.
    pub current: Price,
    /// Unrealised profit, in `10^-MONEY_DECIMALS` of the reporting currency.
    pub profit: i64,
    /// Where its stop-loss stands.
    pub stop_loss: Price,
    /// Where its take-profit stands.
    pub take_profit: Price,
}

impl PositionBody {
    /// [`Self::current`] is known.
    pub const KNOWN_CURRENT: u8 = 1;
    /// [`Self::profit`] is known.
    pub const KNOWN_PROFIT: u8 = 2;
    /// [`Self::stop_loss`] is known.
    pub const KNOWN_STOP: u8 = 4;
    /// [`Self::take_profit`] is known.
    pub const KNOWN_TAKE: u8 = 8;

    /// A position of which only size and entry are known.
    pub fn new(side: Side, qty: Qty, entry: Price) -> Self {
        Self { side: side as u8, qty, entry, ..Self::zeroed() }
    }

    /// Its side; `None` for a foreign byte.
    pub fn side(&self) -> Option<Side> {
        Side::from_repr(self.side)
    }

    /// The stop-loss, where there is one.
    pub fn stop_loss(&self) -> Option<Price> {
        (self.known & Self::KNOWN_STOP != 0).then_some(self.stop_loss)
    }

    /// The take-profit, where there is one.
    pub fn take_profit(&self) -> Option<Price> {
        (self.known & Self::KNOWN_TAKE != 0).then_some(self.take_profit)
    }
}

/// Header and position as one record of two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PositionRecord {
    /// Kind [`RecordKind::Position`]; its event time is when the position was so.
    pub header: Header,
    /// The position.
    pub body: PositionBody,
}

impl PositionRecord {
    /// A position as of `event_ns`, ns since the Unix epoch.
    pub const fn new(instrument: InstrumentId, event_ns: i64, body: PositionBody) -> Self {
        let header = Header { event_ns, ..Header::new(RecordKind::Position, instrument) };
        Self { header, body }
    }

    /// The record at the start of a ring's words; `None` when they are another one, or none.
    pub fn of_words(words: &[u64]) -> Option<&Self> {
        record_of(words, RecordKind::Position)
    }

    /// As words, to be pushed into a ring.
    pub fn words_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(core::slice::from_mut(self))
    }
}

const _: () = {
    assert!(size_of::<PositionBody>() == HEADER_WORDS * 8, "header and body are a line each");
    assert!(core::mem::offset_of!(PositionBody, qty) == 8);
    assert!(core::mem::offset_of!(PositionRecord, body) == HEADER_WORDS * 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_goes_through_words() {
        let mut body = PositionBody::new(Side::Sell, Qty::from_raw(5), Price::from_raw(700));
        assert_eq!((body.stop_loss(), body.take_profit(), body.side()), (None, None, Some(Side::Sell)));
        (body.known, body.stop_loss) = (PositionBody::KNOWN_STOP, Price::from_raw(710));
        let mut record = PositionRecord::new(InstrumentId(2), 9, body);
        let mut words = record.words_mut().to_vec();
        assert_eq!(PositionRecord::of_words(&words), Some(&record));
        assert_eq!(record.body.stop_loss(), Some(Price::from_raw(710)));
        words[0] ^= 1;
        assert_eq!(PositionRecord::of_words(&words), None);
    }
}
