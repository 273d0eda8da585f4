//! The schema scanner of Bybit books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use crate::json::{Cursor, Numbers};
use crate::symbols::{Entry, SymbolTable};
use crate::sync::{Previous, StreamIds};
use crate::venues::books::{self, Part, Seen};
use crate::venues::bybit::parse::{FRAME_LEVELS, depth_of, quote};
use crate::venues::{Body, Levels, Message, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = SymbolTable;
    type Head<'a> = u16;

    /// The depth of a book topic; leaves the cursor behind its name.
    #[inline(always)]
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<u16> {
        cursor.expect(b"{\"topic\":\"orderbook.")?;
        depth_of(core::str::from_utf8(cursor.string::<R>()?).ok()?)
    }

    #[inline(always)]
    fn message<R: Numbers>(
        mut cursor: Cursor<'_>,
        depth: u16,
        symbols: &SymbolTable,
        levels: &mut Levels,
    ) -> Option<Message> {
        let (mut seen, mut whole, mut ts, mut cts, mut data) = (Seen::default(), false, None, None, None);
        while cursor.another()? {
            match cursor.key::<R>()? {
                b"type" => {
                    seen.once(Part::Action)?;
                    whole = books::whole(&mut cursor, b"\"delta\"")?;
                }
                b"ts" => {
                    seen.once(Part::Time)?;
                    ts = Some(cursor.ms::<R>()?);
                }
                b"cts" => {
                    seen.once(Part::Matched)?;
                    cts = Some(cursor.ms::<R>()?);
                }
                b"data" => {
                    seen.once(Part::Data)?;
                    data = Some(book::<R>(&mut cursor, symbols, levels, depth)?);
                }
                // The topic again, which would hold nothing.
                b"topic" => return None,
                _ => cursor.skip_scalar()?,
            }
        }
        let Book { entry, last, order } = data?;
        let body = if depth == 1 {
            quote(whole, levels, order).ok()?
        } else {
            let ids = StreamIds { last: Some(last?), previous: Previous::Absent, rank: depth };
            Body::Stream(StreamFrame { window: depth, ..StreamFrame::new(whole, ids) })
        };
        let venue_ns = cts.or(ts)?;
        (seen.all([Part::Action]) && cursor.at_end()).then_some(Message { instrument: entry.id, venue_ns, body })
    }
}

/// What the object with the levels says beside them.
struct Book<'t> {
    entry: &'t Entry,
    /// Its update id, where it has one.
    last: Option<u64>,
    /// Where a quote stands among all that is sent of its symbol.
    order: Option<u64>,
}

/// The object with the levels.
#[inline(always)]
fn book<'t, R: Numbers>(
    cursor: &mut Cursor<'_>,
    symbols: &'t SymbolTable,
    levels: &mut Levels,
    depth: u16,
) -> Option<Book<'t>> {
    let (mut seen, mut entry, mut last, mut order) = (Seen::default(), None::<&Entry>, None, None);
    cursor.expect(b"{")?;
    loop {
        match cursor.key::<R>()? {
            b"s" => {
                seen.once(Part::Symbol)?;
                entry = Some(cursor.symbol::<R>(symbols)?);
            }
            b"b" => {
                seen.once(Part::Bids)?;
                let (entry, room) = (entry?, &mut levels.bids[..FRAME_LEVELS]);
                levels.bid_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, room)?;
            }
            b"a" => {
                seen.once(Part::Asks)?;
                let (entry, room) = (entry?, &mut levels.asks[..FRAME_LEVELS]);
                levels.ask_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, room)?;
            }
            b"u" => {
                seen.once(Part::Id)?;
                last = Some(cursor.digits::<R>()?);
            }
            b"seq" if depth == 1 => {
                seen.once(Part::Order)?;
                order = Some(cursor.digits::<R>()?);
            }
            _ => cursor.skip_scalar()?,
        }
        if !cursor.another()? {
            return if seen.all([Part::Bids, Part::Asks]) { Some(Book { entry: entry?, last, order }) } else { None };
        }
    }
}
