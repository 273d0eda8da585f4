//! The schema scanner: depth diffs, bookTicker and trade straight into fixed point, in one pass, any key order.
//!
//! Every literal, digit and bracket is checked; unknown keys with scalar values are skipped. The symbol must come
//! before the numbers whose scale it decides, as it does in every frame the venue sends; otherwise, and at any other
//! surprise (white space, escapes, a key twice, a number of another form), the scanner declines.

use tidegate_wire::event::{DepthIds, Quote, Trade};
use tidegate_wire::{Price, Qty};

use crate::json::{Cursor, Numbers};
use crate::symbols::{Entry, SymbolTable};
use crate::venues::binance::stamp_ns;
use crate::venues::{Body, Levels, Message, Schema};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Depth,
    Quote,
    Trade,
    Aggregate,
}

/// The scanner.
pub(super) struct Frames;

impl Schema for Frames {
    type Symbols = SymbolTable;
    type Head<'a> = (Kind, bool);

    /// The kind of a frame by its stream name, or by its first key where it comes bare. Leaves the cursor at the
    /// payload.
    #[inline(always)]
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<(Kind, bool)> {
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
        let name = cursor.string::<R>()?;
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

    #[inline(always)]
    fn message<R: Numbers>(
        cursor: Cursor<'_>,
        (kind, wrapped): (Kind, bool),
        symbols: &SymbolTable,
        levels: &mut Levels,
    ) -> Option<Message> {
        match kind {
            Kind::Depth => depth::<R>(cursor, wrapped, symbols, levels),
            Kind::Quote => quote::<R>(cursor, wrapped, symbols),
            Kind::Trade => trade::<R>(cursor, wrapped, false, symbols),
            Kind::Aggregate => trade::<R>(cursor, wrapped, true, symbols),
        }
    }
}

/// A key of one or two bytes as a number; 0 for any longer one. Leaves the cursor at the value.
#[inline(always)]
fn key<R: Numbers>(cursor: &mut Cursor<'_>) -> Option<u16> {
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
    cursor.string::<R>()?;
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
const KEY_FIRST_TRADE: u16 = b'f' as u16;
const KEY_LAST_TRADE: u16 = b'l' as u16;
const KEY_PREV: u16 = (b'p' as u16) << 8 | b'u' as u16;

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

/// What every kind has: its name, the venue's time, the symbol. Knows which keys came.
struct Head<'t> {
    symbols: &'t SymbolTable,
    seen: u32,
    /// The venue's time as it stands in the frame.
    stamp: u64,
    entry: Option<&'t Entry>,
}

impl<'t> Head<'t> {
    #[inline(always)]
    fn new(symbols: &'t SymbolTable) -> Self {
        Self { symbols, seen: 0, stamp: 0, entry: None }
    }

    /// Notes a key; `None` when it came before.
    #[inline(always)]
    fn once(&mut self, bit: u32) -> Option<()> {
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        Some(())
    }

    /// An unsigned number whose key must come once.
    #[inline(always)]
    fn integer<R: Numbers>(&mut self, bit: u32, cursor: &mut Cursor<'_>) -> Option<u64> {
        self.once(bit)?;
        cursor.integer::<R>()
    }

    /// A price whose key must come once, and after the symbol.
    #[inline(always)]
    fn price<R: Numbers>(&mut self, bit: u32, cursor: &mut Cursor<'_>) -> Option<Price> {
        self.once(bit)?;
        cursor.decimal::<R>(self.entry?.price_scale).map(Price::from_raw)
    }

    /// A quantity whose key must come once, and after the symbol.
    #[inline(always)]
    fn qty<R: Numbers>(&mut self, bit: u32, cursor: &mut Cursor<'_>) -> Option<Qty> {
        self.once(bit)?;
        cursor.decimal::<R>(self.entry?.qty_scale).map(Qty::from_raw)
    }

    /// The value of a key that is not the kind's own: of the head, or unknown.
    #[inline(always)]
    fn other<R: Numbers, const N: usize>(&mut self, key: u16, name: &[u8; N], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            KEY_E => {
                self.once(E)?;
                cursor.expect(name)
            }
            KEY_TIME => {
                self.stamp = self.integer::<R>(TIME, cursor)?;
                Some(())
            }
            KEY_SYMBOL => {
                self.once(S)?;
                self.entry = Some(cursor.symbol::<R>(self.symbols)?);
                Some(())
            }
            _ => cursor.skip_scalar(),
        }
    }

    /// The message, if all keys of `needed` came.
    #[inline(always)]
    fn message(self, needed: u32, body: Body) -> Option<Message> {
        if self.seen & needed != needed {
            return None;
        }
        Some(Message { instrument: self.entry?.id, venue_ns: stamp_ns(self.stamp)?, body })
    }
}

#[inline(always)]
fn depth<R: Numbers>(
    mut cursor: Cursor<'_>,
    wrapped: bool,
    symbols: &SymbolTable,
    levels: &mut Levels,
) -> Option<Message> {
    let (mut head, mut ids) = (Head::new(symbols), DepthIds::default());
    cursor.expect(b"{")?;
    loop {
        match key::<R>(&mut cursor)? {
            KEY_FIRST => ids.first = head.integer::<R>(FIRST, &mut cursor)?,
            KEY_LAST => ids.last = head.integer::<R>(LAST, &mut cursor)?,
            KEY_PREV => ids.prev = head.integer::<R>(PREV, &mut cursor)?,
            KEY_BID => {
                head.once(BID)?;
                let entry = head.entry?;
                levels.bid_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, &mut levels.bids)?;
            }
            KEY_ASK => {
                head.once(ASK)?;
                let entry = head.entry?;
                levels.ask_count = cursor.levels::<R>(entry.price_scale, entry.qty_scale, &mut levels.asks)?;
            }
            key => head.other::<R, _>(key, b"\"depthUpdate\"", &mut cursor)?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    head.message(E | TIME | S | FIRST | LAST | BID | ASK, Body::Delta(ids))
}

#[inline(always)]
fn quote<R: Numbers>(mut cursor: Cursor<'_>, wrapped: bool, symbols: &SymbolTable) -> Option<Message> {
    let (mut head, mut quote) = (Head::new(symbols), Quote::default());
    cursor.expect(b"{")?;
    loop {
        match key::<R>(&mut cursor)? {
            KEY_LAST => quote.update_id = head.integer::<R>(LAST, &mut cursor)?,
            KEY_BID => quote.bid.price = head.price::<R>(BID, &mut cursor)?,
            KEY_BID_QTY => quote.bid.qty = head.qty::<R>(BID_QTY, &mut cursor)?,
            KEY_ASK => quote.ask.price = head.price::<R>(ASK, &mut cursor)?,
            KEY_ASK_QTY => quote.ask.qty = head.qty::<R>(ASK_QTY, &mut cursor)?,
            key => head.other::<R, _>(key, b"\"bookTicker\"", &mut cursor)?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    head.message(S | LAST | BID | BID_QTY | ASK | ASK_QTY, Body::Quote { quote, order: quote.update_id })
}

#[inline(always)]
fn trade<R: Numbers>(mut cursor: Cursor<'_>, wrapped: bool, aggregate: bool, symbols: &SymbolTable) -> Option<Message> {
    let (mut head, mut trade, mut transact, mut sell) = (Head::new(symbols), Trade::default(), 0, false);
    cursor.expect(b"{")?;
    loop {
        match key::<R>(&mut cursor)? {
            KEY_TRANSACT => transact = head.integer::<R>(TRANSACT, &mut cursor)?,
            KEY_ASK if aggregate => trade.trade_id = head.integer::<R>(ID, &mut cursor)?,
            KEY_ID if !aggregate => trade.trade_id = head.integer::<R>(ID, &mut cursor)?,
            // The ids of the trades within: not used, but long enough to be worth the vectors.
            KEY_FIRST_TRADE | KEY_LAST_TRADE if aggregate => _ = cursor.integer::<R>()?,
            KEY_PRICE => trade.price = head.price::<R>(BID, &mut cursor)?,
            KEY_QTY => trade.qty = head.qty::<R>(BID_QTY, &mut cursor)?,
            KEY_MAKER => {
                head.once(MAKER)?;
                sell = cursor.eat(b"true");
                if !sell {
                    cursor.expect(b"false")?;
                }
            }
            // Only matches on the book are trades here; the insurance fund's and the like go to the other reader.
            KEY_TYPE => {
                head.once(TYPE)?;
                cursor.expect(b"\"MARKET\"")?;
            }
            key if aggregate => head.other::<R, _>(key, b"\"aggTrade\"", &mut cursor)?,
            key => head.other::<R, _>(key, b"\"trade\"", &mut cursor)?,
        }
        if !more(&mut cursor, wrapped)? {
            break;
        }
    }
    if trade.qty <= Qty::ZERO {
        return None;
    }
    trade.transact_ns = stamp_ns(transact)?;
    head.message(E | TIME | TRANSACT | S | ID | BID | BID_QTY | MAKER, Body::Trade { trade, sell, raw: !aggregate })
}
