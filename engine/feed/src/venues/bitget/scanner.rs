//! The schema scanner of Bitget books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame
//! but those of a documented example.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use crate::json::{Cursor, Numbers};
use crate::symbols::Entry;
use crate::sync::{Previous, StreamIds};
use crate::venues::bitget::Symbols;
use crate::venues::bitget::parse::{find, market, rank};
use crate::venues::books::{self, Part, Seen};
use crate::venues::{Body, Levels, Message, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = Symbols;
    type Head<'a> = Head<'a>;

    /// The head of a book message, `{"action":...,"arg":{...}`; leaves the cursor behind it.
    #[inline(always)]
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<Head<'a>> {
        cursor.expect(b"{\"action\":")?;
        let whole = books::whole(cursor, b"\"update\"")?;
        cursor.expect(b",\"arg\":{")?;
        let (mut seen, mut kind, mut channel, mut symbol) = (Seen::default(), "", "", "");
        loop {
            // Versions 2 and 3 name the same things differently; a message has one name for each.
            let (part, slot) = match cursor.key::<R>()? {
                b"instType" => (Part::Market, &mut kind),
                b"channel" | b"topic" => (Part::Channel, &mut channel),
                b"instId" | b"symbol" => (Part::Symbol, &mut symbol),
                _ => return None,
            };
            seen.once(part)?;
            *slot = cursor.text::<R>()?;
            if !cursor.another()? {
                break;
            }
        }
        rank(channel).filter(|_| seen.all([Part::Market, Part::Symbol])).map(|rank| Head { whole, rank, kind, symbol })
    }

    #[inline(always)]
    fn message<R: Numbers>(
        mut cursor: Cursor<'_>,
        head: Head<'_>,
        symbols: &Symbols,
        levels: &mut Levels,
    ) -> Option<Message> {
        let entry = find(symbols, market(head.kind, head.symbol)?, head.symbol.as_bytes())?;
        let (mut seen, mut pushed_ns, mut data) = (Seen::default(), 0, None);
        while cursor.another()? {
            match cursor.key::<R>()? {
                b"data" => {
                    seen.once(Part::Data)?;
                    cursor.expect(b"[")?;
                    data = Some(book::<R>(&mut cursor, entry, levels, head.rank)?);
                    cursor.expect(b"]")?;
                }
                b"ts" => {
                    seen.once(Part::Time)?;
                    pushed_ns = cursor.ms::<R>()?;
                }
                // Any other key may make it another message.
                _ => return None,
            }
        }
        let (matched_ns, frame) = data?;
        let body = Body::Stream(StreamFrame { whole: head.whole, ..frame });
        let venue_ns = matched_ns.unwrap_or(pushed_ns);
        cursor.at_end().then_some(Message { instrument: entry.id, venue_ns, body })
    }
}

/// What stands before the data.
pub(crate) struct Head<'a> {
    whole: bool,
    rank: u16,
    kind: &'a str,
    symbol: &'a str,
}

/// The object with the levels, and its own time where it has one.
#[inline(always)]
fn book<R: Numbers>(
    cursor: &mut Cursor<'_>,
    entry: &Entry,
    levels: &mut Levels,
    rank: u16,
) -> Option<(Option<i64>, StreamFrame)> {
    let (mut seen, mut venue_ns) = (Seen::default(), None);
    let mut frame = StreamFrame::new(false, StreamIds { rank, ..StreamIds::default() });
    cursor.expect(b"{")?;
    loop {
        match cursor.key::<R>()? {
            b"asks" | b"a" => {
                seen.once(Part::Asks)?;
                levels.read_asks::<R>(cursor, entry)?;
            }
            b"bids" | b"b" => {
                seen.once(Part::Bids)?;
                levels.read_bids::<R>(cursor, entry)?;
            }
            b"ts" => {
                seen.once(Part::Time)?;
                venue_ns = Some(cursor.ms::<R>()?);
            }
            b"checksum" => {
                seen.once(Part::Checksum)?;
                frame.checksum = i32::try_from(cursor.signed::<R>()?).ok()?;
            }
            b"seq" => {
                seen.once(Part::Id)?;
                frame.ids.last = Some(cursor.digits::<R>()?);
            }
            b"pseq" => {
                seen.once(Part::Previous)?;
                frame.ids.previous = Previous::Id(cursor.digits::<R>()?);
            }
            _ => cursor.skip_scalar()?,
        }
        if !cursor.another()? {
            return seen.all([Part::Asks, Part::Bids]).then_some((venue_ns, frame));
        }
    }
}
