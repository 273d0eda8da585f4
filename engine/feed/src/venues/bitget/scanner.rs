//! The schema scanner of Bitget books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame
//! but those of a documented example.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use crate::frame::FrameMut;
use crate::json::{Cursor, Numbers, Seen};
use crate::symbols::Entry;
use crate::sync::{Previous, StreamIds};
use crate::venues::bitget::Symbols;
use crate::venues::bitget::parse::{find, market, rank};
use crate::venues::{Body, Levels, Message, Scanned, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = Symbols;

    #[inline(always)]
    fn scan<R: Numbers>(frame: &FrameMut<'_>, symbols: &Symbols, levels: &mut Levels) -> Scanned {
        let mut cursor = Cursor::new(frame);
        match sniff::<R>(&mut cursor) {
            Some(head) => message::<R>(cursor, head, symbols, levels).into(),
            None => Scanned::OtherKind,
        }
    }
}

/// What stands before the data.
struct Head<'a> {
    whole: bool,
    rank: u16,
    kind: &'a str,
    symbol: &'a str,
}

/// The head of a book message, `{"action":...,"arg":{...}`; leaves the cursor behind it.
#[inline(always)]
fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<Head<'a>> {
    cursor.expect(b"{\"action\":")?;
    let whole = cursor.eat(b"\"snapshot\"");
    if !whole {
        cursor.expect(b"\"update\"")?;
    }
    cursor.expect(b",\"arg\":{")?;
    let (mut seen, mut kind, mut channel, mut symbol) = (Seen::default(), "", "", "");
    loop {
        // Versions 2 and 3 name the same things differently; a message has one name for each.
        let (bit, slot) = match cursor.key::<R>()? {
            b"instType" => (KIND, &mut kind),
            b"channel" | b"topic" => (CHANNEL, &mut channel),
            b"instId" | b"symbol" => (SYMBOL, &mut symbol),
            _ => return None,
        };
        seen.once(bit)?;
        *slot = cursor.text::<R>()?;
        if !cursor.another()? {
            break;
        }
    }
    rank(channel).filter(|_| seen.all(KIND | SYMBOL)).map(|rank| Head { whole, rank, kind, symbol })
}

const KIND: u32 = 1;
const CHANNEL: u32 = 1 << 1;
const SYMBOL: u32 = 1 << 2;
const DATA: u32 = 1 << 3;
const TIME: u32 = 1 << 4;
const ASKS: u32 = 1 << 5;
const BIDS: u32 = 1 << 6;
const CHECKSUM: u32 = 1 << 7;
const SEQ: u32 = 1 << 8;
const PREV: u32 = 1 << 9;

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
                seen.once(DATA)?;
                cursor.expect(b"[")?;
                data = Some(book::<R>(&mut cursor, entry, levels, head.rank)?);
                cursor.expect(b"]")?;
            }
            b"ts" => {
                seen.once(TIME)?;
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
                seen.once(ASKS)?;
                let texts = &mut levels.ask_texts;
                let see = |index: usize, price: &[u8], qty: &[u8]| texts.get_mut(index)?.join(price, qty).ok();
                levels.ask_count = cursor.rows::<R>(entry, &mut levels.asks, see)?;
            }
            b"bids" | b"b" => {
                seen.once(BIDS)?;
                let texts = &mut levels.bid_texts;
                let see = |index: usize, price: &[u8], qty: &[u8]| texts.get_mut(index)?.join(price, qty).ok();
                levels.bid_count = cursor.rows::<R>(entry, &mut levels.bids, see)?;
            }
            b"ts" => {
                seen.once(TIME)?;
                venue_ns = Some(cursor.ms::<R>()?);
            }
            b"checksum" => {
                seen.once(CHECKSUM)?;
                frame.checksum = i32::try_from(cursor.signed::<R>()?).ok()?;
            }
            b"seq" => {
                seen.once(SEQ)?;
                frame.ids.last = Some(cursor.digits::<R>()?);
            }
            b"pseq" => {
                seen.once(PREV)?;
                frame.ids.previous = Previous::Id(cursor.digits::<R>()?);
            }
            _ => cursor.skip_scalar()?,
        }
        if !cursor.another()? {
            return seen.all(ASKS | BIDS).then_some((venue_ns, frame));
        }
    }
}
