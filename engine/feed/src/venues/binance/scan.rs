//! The schema scanner: depth diffs, bookTicker and trade straight into fixed point, in one pass, any key order.
//!
//! Every literal, digit and bracket is checked; unknown keys with scalar values are skipped. The symbol must come
//! before the numbers whose scale it decides, as it does in every frame the venue sends; otherwise, and at any other
//! surprise (white space, escapes, a key twice, a number of another form), the scanner declines.

use tidegate_wire::event::{DepthIds, Quote, Trade};
use tidegate_wire::{Level, Price, Qty};

use crate::frame::FrameMut;
use crate::json::{Cursor, Numbers, Scalar};
use crate::symbols::{Entry, SymbolTable};
use crate::venues::binance::stamp_ns;
use crate::venues::{Body, Levels, Message};

/// What became of a frame.
pub(super) enum Outcome {
    /// It was read.
    Read(Message),
    /// It looked like a kind the scanner knows, but simd-json must read it.
    Surprised,
    /// It is of another kind.
    OtherKind,
}

impl From<Option<Message>> for Outcome {
    #[inline(always)]
    fn from(message: Option<Message>) -> Self {
        message.map_or(Self::Surprised, Self::Read)
    }
}

/// Which instructions to use, decided once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner {
    vectors: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Depth,
    Quote,
    Trade,
    Aggregate,
}

impl Scanner {
    /// Vectors where the CPU has them.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        let vectors = tidegate_wire::decimal::simd::available();
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = false;
        Self { vectors }
    }

    /// Byte by byte.
    pub(super) const fn scalar() -> Self {
        Self { vectors: false }
    }

    #[inline]
    pub(super) fn scan(self, frame: &FrameMut<'_>, symbols: &SymbolTable, levels: &mut Levels) -> Outcome {
        #[cfg(target_arch = "x86_64")]
        if self.vectors {
            // SAFETY: `best` asked the CPU for every feature that `scan_vector` is built with.
            return unsafe { scan_vector(frame, symbols, levels) };
        }
        scan_with::<Scalar>(frame, symbols, levels)
    }
}

/// # Safety
/// The CPU has AVX2, BMI1, BMI2, LZCNT and POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn scan_vector(frame: &FrameMut<'_>, symbols: &SymbolTable, levels: &mut Levels) -> Outcome {
    scan_with::<crate::json::Vector>(frame, symbols, levels)
}

#[inline(always)]
fn scan_with<R: Numbers>(frame: &FrameMut<'_>, symbols: &SymbolTable, levels: &mut Levels) -> Outcome {
    let mut cursor = Cursor::new(frame);
    let Some((kind, wrapped)) = sniff(&mut cursor) else { return Outcome::OtherKind };
    match kind {
        Kind::Depth => depth::<R>(cursor, wrapped, symbols, levels).into(),
        Kind::Quote => quote::<R>(cursor, wrapped, symbols).into(),
        Kind::Trade => trade::<R>(cursor, wrapped, false, symbols).into(),
        Kind::Aggregate => trade::<R>(cursor, wrapped, true, symbols).into(),
    }
}

/// The kind of a frame by its stream name, or by its first key where it comes bare. Leaves the cursor at the payload.
#[inline(always)]
fn sniff(cursor: &mut Cursor<'_>) -> Option<(Kind, bool)> {
    if !cursor.eat(b"{\"stream\":\"") {
        let kind = match &cursor.peek::<12>() {
            b"{\"e\":\"depthU" => Kind::Depth,
            b"{\"e\":\"bookTi" => Kind::Quote,
            b"{\"e\":\"trade\"" => Kind::Trade,
            b"{\"e\":\"aggTra" => Kind::Aggregate,
            [b'{', b'"', b'u', b'"', b':', ..] => Kind::Quote,
            _ => return None,
        };
        return Some((kind, false));
    }
    let name = cursor.string()?;
    let channel = name.iter().position(|b| *b == b'@')?;
    let kind = match &name[channel + 1..] {
        b"bookTicker" => Kind::Quote,
        b"trade" => Kind::Trade,
        b"aggTrade" => Kind::Aggregate,
        // `@depth`, `@depth@100ms`; `@depth5` and its kin are snapshots of another shape.
        depth if depth.starts_with(b"depth") && !depth.get(5).is_some_and(u8::is_ascii_digit) => Kind::Depth,
        _ => return None,
    };
    cursor.expect(b",\"data\":")?;
    Some((kind, true))
}

/// A key of one or two bytes as a number; 0 for any longer one. Leaves the cursor at the value.
#[inline(always)]
fn key(cursor: &mut Cursor<'_>) -> Option<u16> {
    let [quote, a, b, c, d] = cursor.peek::<5>();
    if quote != b'"' {
        return None;
    }
    // Only letters take the short way: any other byte of a key (a control character, half of a UTF-8 sequence, a quote)
    // is left to the slow one, which knows what a string may hold.
    if b == b'"' && c == b':' && a.is_ascii_alphabetic() {
        cursor.skip(4)?;
        return Some(u16::from(a));
    }
    if c == b'"' && d == b':' && a.is_ascii_alphabetic() && b.is_ascii_alphabetic() {
        cursor.skip(5)?;
        return Some(u16::from(a) << 8 | u16::from(b));
    }
    cursor.skip(1)?;
    cursor.string()?;
    cursor.expect(b":")?;
    Some(0)
}

// Keys as `key` gives them.
const KEY_E: u16 = b'e' as u16;
const KEY_TIME: u16 = b'E' as u16;
const KEY_SYMBOL: u16 = b's' as u16;
const KEY_FIRST: u16 = b'U' as u16;
const KEY_LAST: u16 = b'u' as u16;
const KEY_BID: u16 = b'b' as u16;
const KEY_ASK: u16 = b'a' as u16;
const KEY_BID_QTY: u16 = b'B' as u16;
const KEY_ASK_QTY: u16 = b'A' as u16;
const KEY_TRANSACT: u16 = b'T' as u16;
const KEY_ID: u16 = b't' as u16;
const KEY_PRICE: u16 = b'p' as u16;
const KEY_QTY: u16 = b'q' as u16;
const KEY_MAKER: u16 = b'm' as u16;
const KEY_TYPE: u16 = b'X' as u16;
const KEY_PREV: u16 = (b'p' as u16) << 8 | b'u' as u16;

/// Sets a bit; `None` when the key came before.
#[inline(always)]
fn once(seen: &mut u32, bit: u32) -> Option<()> {
    if *seen & bit != 0 {
        return None;
    }
    *seen |= bit;
    Some(())
}

/// A quoted symbol, looked up.
#[inline(always)]
fn symbol<'t>(cursor: &mut Cursor<'_>, symbols: &'t SymbolTable) -> Option<&'t Entry> {
    cursor.expect(b"\"")?;
    let bytes = cursor.peek::<24>();
    let text = cursor.string()?;
    symbols.find_padded(&bytes, text.len())
}

/// After a value: `true` at a comma, `false` at the end of the payload, `None` at anything else.
#[inline(always)]
fn more(cursor: &mut Cursor<'_>, wrapped: bool) -> Option<bool> {
    if cursor.eat(b",") {
        return Some(true);
    }
    if wrapped {
        cursor.expect(b"}}")?;
    } else {
        cursor.expect(b"}")?;
    }
    cursor.at_end().then_some(false)
}

// Keys seen, as bits.
const E: u32 = 1;
const TIME: u32 = 1 << 1;
const S: u32 = 1 << 2;
const FIRST: u32 = 1 << 3;
const LAST: u32 = 1 << 4;
const PREV: u32 = 1 << 5;
const BID: u32 = 1 << 6;
const ASK: u32 = 1 << 7;
const BID_QTY: u32 = 1 << 8;
const ASK_QTY: u32 = 1 << 9;
const TRANSACT: u32 = 1 << 10;
const ID: u32 = 1 << 11;
const MAKER: u32 = 1 << 12;
const TYPE: u32 = 1 << 13;

#[inline(always)]
fn depth<R: Numbers>(
    mut cursor: Cursor<'_>,
    wrapped: bool,
    symbols: &SymbolTable,
    levels: &mut Levels,
) -> Option<Message> {
    let (mut seen, mut entry, mut stamp, mut ids) = (0, None::<&Entry>, 0, DepthIds::default());
    cursor.expect(b"{")?;
    loop {
        match key(&mut cursor)? {
            KEY_E => {
                once(&mut seen, E)?;
                cursor.expect(b"\"depthUpdate\"")?;
            }
            KEY_TIME => {
                once(&mut seen, TIME)?;
                stamp = cursor.integer::<R>()?;
            }
            KEY_SYMBOL => {
                once(&mut seen, S)?;
                entry = Some(symbol(&mut cursor, symbols)?);
            }
            KEY_FIRST => {
                once(&mut seen, FIRST)?;
                ids.first = cursor.integer::<R>()?;
            }
            KEY_LAST => {
                once(&mut seen, LAST)?;
                ids.last = cursor.integer::<R>()?;
            }
            KEY_PREV => {
                once(&mut seen, PREV)?;
                ids.prev = cursor.integer::<R>()?;
            }
            KEY_BID => {
                once(&mut seen, BID)?;
                let entry = entry?;
                levels.bid_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, &mut levels.bids)?;
            }
            KEY_ASK => {
                once(&mut seen, ASK)?;
                let entry = entry?;
                levels.ask_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, &mut levels.asks)?;
            }
            _ => cursor.skip_scalar()?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    const ALL: u32 = E | TIME | S | FIRST | LAST | BID | ASK;
    if seen & ALL != ALL {
        return None;
    }
    Some(Message { instrument: entry?.id, venue_ns: stamp_ns(stamp)?, body: Body::Delta(ids) })
}

#[inline(always)]
fn quote<R: Numbers>(mut cursor: Cursor<'_>, wrapped: bool, symbols: &SymbolTable) -> Option<Message> {
    let (mut seen, mut entry, mut stamp, mut quote) = (0, None::<&Entry>, 0, Quote::default());
    cursor.expect(b"{")?;
    loop {
        match key(&mut cursor)? {
            KEY_E => {
                once(&mut seen, E)?;
                cursor.expect(b"\"bookTicker\"")?;
            }
            KEY_TIME => {
                once(&mut seen, TIME)?;
                stamp = cursor.integer::<R>()?;
            }
            KEY_SYMBOL => {
                once(&mut seen, S)?;
                entry = Some(symbol(&mut cursor, symbols)?);
            }
            KEY_LAST => {
                once(&mut seen, LAST)?;
                quote.update_id = cursor.integer::<R>()?;
            }
            KEY_BID => {
                once(&mut seen, BID)?;
                quote.bid.price = Price::from_raw(cursor.decimal::<R>(entry?.price_scale)?);
            }
            KEY_BID_QTY => {
                once(&mut seen, BID_QTY)?;
                quote.bid.qty = Qty::from_raw(cursor.decimal::<R>(entry?.qty_scale)?);
            }
            KEY_ASK => {
                once(&mut seen, ASK)?;
                quote.ask.price = Price::from_raw(cursor.decimal::<R>(entry?.price_scale)?);
            }
            KEY_ASK_QTY => {
                once(&mut seen, ASK_QTY)?;
                quote.ask.qty = Qty::from_raw(cursor.decimal::<R>(entry?.qty_scale)?);
            }
            _ => cursor.skip_scalar()?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    const ALL: u32 = S | LAST | BID | BID_QTY | ASK | ASK_QTY;
    if seen & ALL != ALL {
        return None;
    }
    Some(Message { instrument: entry?.id, venue_ns: stamp_ns(stamp)?, body: Body::Quote(quote) })
}

#[inline(always)]
fn trade<R: Numbers>(mut cursor: Cursor<'_>, wrapped: bool, aggregate: bool, symbols: &SymbolTable) -> Option<Message> {
    let (mut seen, mut entry, mut stamp, mut transact, mut sell) = (0, None::<&Entry>, 0, 0, false);
    let Level { mut price, mut qty } = Level::default();
    let mut trade_id = 0;
    cursor.expect(b"{")?;
    loop {
        match key(&mut cursor)? {
            KEY_E => {
                once(&mut seen, E)?;
                if aggregate {
                    cursor.expect(b"\"aggTrade\"")?;
                } else {
                    cursor.expect(b"\"trade\"")?;
                }
            }
            KEY_TIME => {
                once(&mut seen, TIME)?;
                stamp = cursor.integer::<R>()?;
            }
            KEY_TRANSACT => {
                once(&mut seen, TRANSACT)?;
                transact = cursor.integer::<R>()?;
            }
            KEY_SYMBOL => {
                once(&mut seen, S)?;
                entry = Some(symbol(&mut cursor, symbols)?);
            }
            KEY_ASK if aggregate => {
                once(&mut seen, ID)?;
                trade_id = cursor.integer::<R>()?;
            }
            KEY_ID if !aggregate => {
                once(&mut seen, ID)?;
                trade_id = cursor.integer::<R>()?;
            }
            KEY_PRICE => {
                once(&mut seen, BID)?;
                price = Price::from_raw(cursor.decimal::<R>(entry?.price_scale)?);
            }
            KEY_QTY => {
                once(&mut seen, BID_QTY)?;
                qty = Qty::from_raw(cursor.decimal::<R>(entry?.qty_scale)?);
            }
            KEY_MAKER => {
                once(&mut seen, MAKER)?;
                sell = cursor.eat(b"true");
                if !sell {
                    cursor.expect(b"false")?;
                }
            }
            // Only matches on the book are trades here; the insurance fund's and the like go to the other reader.
            KEY_TYPE => {
                once(&mut seen, TYPE)?;
                cursor.expect(b"\"MARKET\"")?;
            }
            _ => cursor.skip_scalar()?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    const ALL: u32 = E | TIME | TRANSACT | S | ID | BID | BID_QTY | MAKER;
    if seen & ALL != ALL || qty <= Qty::ZERO {
        return None;
    }
    let trade = Trade { price, qty, trade_id, transact_ns: stamp_ns(transact)? };
    Some(Message {
        instrument: entry?.id,
        venue_ns: stamp_ns(stamp)?,
        body: Body::Trade { trade, sell, raw: !aggregate },
    })
}
