//! The schema scanner of OKX books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use crate::json::{Cursor, Numbers};
use crate::symbols::{Entry, SymbolTable};
use crate::sync::{Previous, StreamIds};
use crate::venues::books::{self, Part, Seen};
use crate::venues::okx::parse::{WHOLE_ONLY, rank};
use crate::venues::{Body, Levels, Message, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = SymbolTable;
    type Head<'a> = u16;

    /// The rank of a book channel; leaves the cursor behind its name.
    #[inline(always)]
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<u16> {
        cursor.expect(b"{\"arg\":{\"channel\":")?;
        rank(cursor.text::<R>()?)
    }

    #[inline(always)]
    fn message<R: Numbers>(
        mut cursor: Cursor<'_>,
        rank: u16,
        symbols: &SymbolTable,
        levels: &mut Levels,
    ) -> Option<Message> {
        let (mut seen, mut entry) = (Seen::default(), None);
        while cursor.another()? {
            match cursor.key::<R>()? {
                b"instId" => {
                    seen.once(Part::Symbol)?;
                    entry = Some(cursor.symbol::<R>(symbols)?);
                }
                // The channel's name again, which would hold nothing.
                b"channel" => return None,
                _ => cursor.skip_scalar()?,
            }
        }
        let (entry, mut whole, mut data) = (entry?, rank == WHOLE_ONLY, None);
        while cursor.another()? {
            match cursor.key::<R>()? {
                b"action" => {
                    seen.once(Part::Action)?;
                    whole = books::whole(&mut cursor, b"\"update\"")?;
                }
                b"data" => {
                    seen.once(Part::Data)?;
                    cursor.expect(b"[")?;
                    data = Some(book::<R>(&mut cursor, entry, levels, rank)?);
                    cursor.expect(b"]")?;
                }
                // Any other key may make it another message.
                _ => return None,
            }
        }
        let (venue_ns, frame) = data?;
        // Only the channel whose every push is a whole book does without saying so.
        let said = seen.all([Part::Action]) || rank == WHOLE_ONLY;
        let body = Body::Stream(StreamFrame { whole, ..frame });
        (said && cursor.at_end()).then_some(Message { instrument: entry.id, venue_ns, body })
    }
}

/// The object with the levels.
#[inline(always)]
fn book<R: Numbers>(
    cursor: &mut Cursor<'_>,
    entry: &Entry,
    levels: &mut Levels,
    rank: u16,
) -> Option<(i64, StreamFrame)> {
    let (mut seen, mut venue_ns) = (Seen::default(), 0);
    let mut frame = StreamFrame::new(false, StreamIds { rank, ..StreamIds::default() });
    cursor.expect(b"{")?;
    loop {
        match cursor.key::<R>()? {
            b"asks" => {
                seen.once(Part::Asks)?;
                levels.read_asks::<R>(cursor, entry)?;
            }
            b"bids" => {
                seen.once(Part::Bids)?;
                levels.read_bids::<R>(cursor, entry)?;
            }
            b"ts" => {
                seen.once(Part::Time)?;
                venue_ns = cursor.ms::<R>()?;
            }
            b"checksum" => {
                seen.once(Part::Checksum)?;
                frame.checksum = i32::try_from(cursor.signed::<R>()?).ok()?;
            }
            b"seqId" => {
                seen.once(Part::Id)?;
                frame.ids.last = Some(cursor.digits::<R>()?);
            }
            b"prevSeqId" => {
                seen.once(Part::Previous)?;
                let id = u64::try_from(cursor.signed::<R>()?);
                frame.ids.previous = id.map_or(Previous::Nothing, Previous::Id);
            }
            _ => cursor.skip_scalar()?,
        }
        if !cursor.another()? {
            return seen.all([Part::Asks, Part::Bids, Part::Time]).then_some((venue_ns, frame));
        }
    }
}
