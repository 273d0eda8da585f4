//! The schema scanner of Deribit books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use tidegate_wire::{Level, Price, Qty};

use crate::json::{Cursor, Numbers};
use crate::symbols::{Entry, SymbolTable};
use crate::sync::{Previous, StreamIds};
use crate::venues::books::{self, Part, Seen};
use crate::venues::deribit::parse::rank_of;
use crate::venues::{Body, Levels, Message, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = SymbolTable;
    type Head<'a> = (u16, bool);

    /// The rank of a book channel, and whether every push is a whole book; leaves the cursor at the data.
    #[inline(always)]
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<(u16, bool)> {
        cursor.expect(b"{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",")?;
        cursor.expect(b"\"params\":{\"channel\":\"book.")?;
        let kind = rank_of(core::str::from_utf8(cursor.string::<R>()?).ok()?)?;
        cursor.expect(b",\"data\":{")?;
        Some(kind)
    }

    #[inline(always)]
    fn message<R: Numbers>(
        mut cursor: Cursor<'_>,
        (rank, whole_only): (u16, bool),
        symbols: &SymbolTable,
        levels: &mut Levels,
    ) -> Option<Message> {
        let (mut seen, mut entry, mut venue_ns) = (Seen::default(), None::<&Entry>, 0);
        let (mut whole, mut last, mut previous) = (None, None, Previous::Nothing);
        loop {
            match cursor.key::<R>()? {
                b"type" => {
                    seen.once(Part::Action)?;
                    whole = Some(books::whole(&mut cursor, b"\"change\"")?);
                }
                b"instrument_name" => {
                    seen.once(Part::Symbol)?;
                    entry = Some(cursor.symbol::<R>(symbols)?);
                }
                b"timestamp" => {
                    seen.once(Part::Time)?;
                    venue_ns = cursor.ms::<R>()?;
                }
                b"change_id" => {
                    seen.once(Part::Id)?;
                    last = Some(cursor.integer::<R>()?);
                }
                b"prev_change_id" => {
                    seen.once(Part::Previous)?;
                    if !cursor.eat(b"null") {
                        previous = Previous::Id(cursor.integer::<R>()?);
                    }
                }
                b"bids" => {
                    seen.once(Part::Bids)?;
                    levels.bid_count = side::<R>(&mut cursor, entry?, whole_only, &mut levels.bids)?;
                }
                b"asks" => {
                    seen.once(Part::Asks)?;
                    levels.ask_count = side::<R>(&mut cursor, entry?, whole_only, &mut levels.asks)?;
                }
                _ => cursor.skip_scalar()?,
            }
            if !cursor.another()? {
                break;
            }
        }
        cursor.expect(b"}}")?;
        let whole = whole.unwrap_or(whole_only || previous == Previous::Nothing);
        let body = Body::Stream(StreamFrame::new(whole, StreamIds { last: Some(last?), previous, rank }));
        let complete = seen.all([Part::Time, Part::Bids, Part::Asks]) && cursor.at_end();
        complete.then_some(Message { instrument: entry?.id, venue_ns, body })
    }
}

/// `[[action, price, amount], ...]`, or `[[price, amount], ...]` of a grouped book.
#[inline(always)]
fn side<R: Numbers>(cursor: &mut Cursor<'_>, entry: &Entry, whole_only: bool, levels: &mut [Level]) -> Option<usize> {
    cursor.list(|cursor, count| {
        cursor.expect(b"[")?;
        let mut gone = false;
        if !whole_only && !cursor.eat(b"\"new\",") && !cursor.eat(b"\"change\",") {
            cursor.expect(b"\"delete\",")?;
            gone = true;
        }
        let price = cursor.bare::<R>(entry.price_scale)?;
        cursor.expect(b",")?;
        let qty = cursor.bare::<R>(entry.qty_scale)?;
        cursor.expect(b"]")?;
        let qty = if gone { Qty::ZERO } else { Qty::from_raw(qty) };
        *levels.get_mut(count)? = Level { price: Price::from_raw(price), qty };
        Some(())
    })
}
