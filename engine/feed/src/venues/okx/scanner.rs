//! The schema scanner of OKX books: levels straight into fixed point, in one pass, keys in any order.
//!
//! The instrument must come before the levels whose scale it decides, as it does in every recorded frame.
//! Otherwise, and at any other surprise, the scanner declines and simd-json reads the frame.

use crate::frame::FrameMut;
use crate::json::{Cursor, Numbers, Seen};
use crate::symbols::{Entry, SymbolTable};
use crate::sync::{Previous, StreamIds};
use crate::venues::okx::parse::{WHOLE_ONLY, rank};
use crate::venues::{Body, Levels, Message, Scanned, Schema, StreamFrame};

/// The scanner.
pub(super) struct Books;

impl Schema for Books {
    type Symbols = SymbolTable;

    #[inline(always)]
    fn scan<R: Numbers>(frame: &FrameMut<'_>, symbols: &SymbolTable, levels: &mut Levels) -> Scanned {
        let mut cursor = Cursor::new(frame);
        match sniff::<R>(&mut cursor) {
            Some(rank) => depth::<R>(cursor, rank, symbols, levels).into(),
            None => Scanned::OtherKind,
        }
    }
}

/// The rank of a book channel; leaves the cursor behind its name.
#[inline(always)]
fn sniff<R: Numbers>(cursor: &mut Cursor<'_>) -> Option<u16> {
    cursor.expect(b"{\"arg\":{\"channel\":")?;
    rank(cursor.text::<R>()?)
}

const SYMBOL: u32 = 1;
const ACTION: u32 = 1 << 1;
const DATA: u32 = 1 << 2;
const ASKS: u32 = 1 << 3;
const BIDS: u32 = 1 << 4;
const TIME: u32 = 1 << 5;
const CHECKSUM: u32 = 1 << 6;
const SEQ: u32 = 1 << 7;
const PREV: u32 = 1 << 8;

#[inline(always)]
fn depth<R: Numbers>(mut cursor: Cursor<'_>, rank: u16, symbols: &SymbolTable, levels: &mut Levels) -> Option<Message> {
    let (mut seen, mut entry) = (Seen::default(), None);
    while cursor.another()? {
        match cursor.key::<R>()? {
            b"instId" => {
                seen.once(SYMBOL)?;
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
                seen.once(ACTION)?;
                whole = cursor.eat(b"\"snapshot\"");
                if !whole {
                    cursor.expect(b"\"update\"")?;
                }
            }
            b"data" => {
                seen.once(DATA)?;
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
    let said = seen.all(ACTION) || rank == WHOLE_ONLY;
    let body = Body::Stream(StreamFrame { whole, ..frame });
    (said && cursor.at_end()).then_some(Message { instrument: entry.id, venue_ns, body })
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
                seen.once(ASKS)?;
                let texts = &mut levels.ask_texts;
                let see = |index: usize, price: &[u8], qty: &[u8]| texts.get_mut(index)?.join(price, qty).ok();
                levels.ask_count = cursor.rows::<R>(entry, &mut levels.asks, see)?;
            }
            b"bids" => {
                seen.once(BIDS)?;
                let texts = &mut levels.bid_texts;
                let see = |index: usize, price: &[u8], qty: &[u8]| texts.get_mut(index)?.join(price, qty).ok();
                levels.bid_count = cursor.rows::<R>(entry, &mut levels.bids, see)?;
            }
            b"ts" => {
                seen.once(TIME)?;
                venue_ns = cursor.ms::<R>()?;
            }
            b"checksum" => {
                seen.once(CHECKSUM)?;
                frame.checksum = i32::try_from(cursor.signed::<R>()?).ok()?;
            }
            b"seqId" => {
                seen.once(SEQ)?;
                frame.ids.last = Some(cursor.digits::<R>()?);
            }
            b"prevSeqId" => {
                seen.once(PREV)?;
                let id = u64::try_from(cursor.signed::<R>()?);
                frame.ids.previous = id.map_or(Previous::Nothing, Previous::Id);
            }
            _ => cursor.skip_scalar()?,
        }
        if !cursor.another()? {
            return seen.all(ASKS | BIDS | TIME).then_some((venue_ns, frame));
        }
    }
}
