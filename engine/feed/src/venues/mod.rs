//! One module a venue: bytes to messages, and which sequence rule its books follow.

pub mod binance;
pub mod bitget;
pub(crate) mod books;
pub mod bybit;
pub mod deribit;
pub mod okx;
pub(crate) mod sight;
pub mod survey;
pub(crate) mod tape;

use tidegate_wire::event::{DepthIds, Mark, OptionMark, Quote, Trade};
use tidegate_wire::{InstrumentId, Level, Price, Qty, Registry};

use crate::checksum::Text;
use crate::counters::Reason;
use crate::frame::{FrameMut, PADDING};
use crate::json::{Cursor, Numbers, Scalar};
use crate::sync::StreamIds;
use crate::venues::tape::Parser;

/// Most levels a side that one frame may carry; Binance sends up to 5,000 in a snapshot.
pub const LEVELS_MAX: usize = 8192;

/// What a frame says. Levels of depth messages lie in the decoder's [`Levels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Changed levels.
    Delta(DepthIds),
    /// A book anew, fetched beside the stream: it must be joined to it.
    Snapshot(DepthIds),
    /// Levels of a stream that brings its own snapshots.
    Stream(StreamFrame),
    /// Best bid and ask.
    Quote {
        /// The quote.
        quote: Quote,
        /// Its place among the venue's quotes of this instrument: a later one has a higher number as long as the venue
        /// does not count anew. 0 where the venue does not say.
        order: u64,
    },
    /// A trade; `sell` when the aggressor sold. `raw` when trade ids are contiguous.
    Trade {
        /// The trade.
        trade: Trade,
        /// The aggressor sold.
        sell: bool,
        /// One match (contiguous ids), not an aggregate.
        raw: bool,
    },
    /// Mark price and funding.
    Mark(Mark),
    /// Several messages, or one that is large: they lie in the decoder's [`Batch`].
    Batch,
}

/// A depth frame of a stream that brings its own snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StreamFrame {
    /// Whether it is a book anew; else changed levels.
    pub whole: bool,
    /// How it is numbered.
    pub ids: StreamIds,
    /// Checksum of the book after it; 0 where the venue sends none.
    pub checksum: i32,
    /// Levels a side that the stream shows: what falls out of that window is not known any more. 0 where it shows all,
    /// or says when a level leaves.
    pub window: u16,
}

impl StreamFrame {
    /// A depth frame of a venue without checksums and windows.
    pub(crate) const fn new(whole: bool, ids: StreamIds) -> Self {
        Self { whole, ids, checksum: 0, window: 0 }
    }
}

/// A decoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose it is.
    pub instrument: InstrumentId,
    /// The venue's event time, ns since the Unix epoch; 0 where it sends none.
    pub venue_ns: i64,
    /// What it says.
    pub body: Body,
}

/// Levels of the depth message decoded last; allocated once.
#[derive(Debug)]
pub struct Levels {
    pub(crate) bids: Box<[Level]>,
    pub(crate) asks: Box<[Level]>,
    pub(crate) bid_count: usize,
    pub(crate) ask_count: usize,
    /// The levels as texts, for venues with checksums; else empty.
    pub(crate) bid_texts: Box<[Text]>,
    pub(crate) ask_texts: Box<[Text]>,
}

impl Default for Levels {
    fn default() -> Self {
        let side = || vec![Level::default(); LEVELS_MAX].into_boxed_slice();
        Self { bids: side(), asks: side(), ..Self::empty() }
    }
}

impl Levels {
    /// Without room, for sources that are no hot path: it grows as it is set.
    pub(crate) fn empty() -> Self {
        Self {
            bids: Box::default(),
            asks: Box::default(),
            bid_count: 0,
            ask_count: 0,
            bid_texts: Box::default(),
            ask_texts: Box::default(),
        }
    }

    /// With room for the texts of all levels.
    pub(crate) fn with_texts() -> Self {
        let side = || vec![Text::EMPTY; LEVELS_MAX].into_boxed_slice();
        Self { bid_texts: side(), ask_texts: side(), ..Self::default() }
    }

    /// Texts of the levels, bids and asks; empty where none are kept.
    pub(crate) fn texts(&self) -> (&[Text], &[Text]) {
        let kept = |texts: &'_ [Text], count: usize| count.min(texts.len());
        (
            &self.bid_texts[..kept(&self.bid_texts, self.bid_count)],
            &self.ask_texts[..kept(&self.ask_texts, self.ask_count)],
        )
    }

    /// Adds the removal of a level to a side. Decoders of venues with windows leave room for as many as they read.
    pub(crate) fn remove(&mut self, bids: bool, price: Price) {
        let (side, count) =
            if bids { (&mut self.bids, &mut self.bid_count) } else { (&mut self.asks, &mut self.ask_count) };
        if let Some(room) = side.get_mut(*count) {
            *room = Level { price, qty: Qty::ZERO };
            *count += 1;
        }
    }

    /// Replaces all levels and their texts by some that were copied from here.
    pub(crate) fn put(&mut self, bids: (&[Level], &[Text]), asks: (&[Level], &[Text])) {
        self.set(bids.0, asks.0);
        for (room, texts) in [(&mut self.bid_texts, bids.1), (&mut self.ask_texts, asks.1)] {
            if let Some(room) = room.get_mut(..texts.len()) {
                room.copy_from_slice(texts);
            }
        }
    }

    /// Replaces all levels.
    pub(crate) fn set(&mut self, bids: &[Level], asks: &[Level]) {
        for (room, count, levels) in
            [(&mut self.bids, &mut self.bid_count, bids), (&mut self.asks, &mut self.ask_count, asks)]
        {
            match room.get_mut(..levels.len()) {
                Some(room) => room.copy_from_slice(levels),
                None => *room = levels.into(),
            }
            *count = levels.len();
        }
    }

    /// Bids in the venue's order.
    #[inline(always)]
    pub fn bids(&self) -> &[Level] {
        &self.bids[..self.bid_count]
    }

    /// Asks in the venue's order.
    #[inline(always)]
    pub fn asks(&self) -> &[Level] {
        &self.asks[..self.ask_count]
    }
}

/// What a frame says of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionMessage {
    /// Whose it is.
    pub instrument: InstrumentId,
    /// The venue's event time, ns since the Unix epoch; 0 where it sends none.
    pub venue_ns: i64,
    /// What it says.
    pub option: OptionMark,
}

/// Messages of a frame that holds several, in the venue's order of time; the buffers are reused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) messages: Vec<Message>,
    pub(crate) options: Vec<OptionMessage>,
}

/// Most messages of one frame that need no larger buffer: Bybit packs up to 1,024 trades.
const BATCH_MESSAGES: usize = 2048;

impl Batch {
    pub(crate) fn new() -> Self {
        Self { messages: Vec::with_capacity(BATCH_MESSAGES), options: Vec::with_capacity(BATCH_MESSAGES) }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.options.clear();
    }

    /// The messages: trades, quotes and marks.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What it says of options.
    pub fn options(&self) -> &[OptionMessage] {
        &self.options
    }

    /// The message that says: look here. A frame of which nothing is of use is skipped for `reason`.
    pub(crate) fn message(&self, reason: Reason) -> Result<Message, Reason> {
        let some = !self.messages.is_empty() || !self.options.is_empty();
        let message = Message { instrument: InstrumentId::NONE, venue_ns: 0, body: Body::Batch };
        if some { Ok(message) } else { Err(reason) }
    }
}

/// What every decoder has: where its levels and messages lie, the parser, and what the scanner may use.
#[derive(Debug)]
pub struct Kit {
    pub(crate) levels: Levels,
    pub(crate) batch: Batch,
    pub(crate) parser: Parser,
    /// Whether the CPU has the vector instructions that scanners use.
    pub(crate) vectors: bool,
    fallbacks: u64,
}

impl Kit {
    pub(crate) fn new(levels: Levels, batch: Batch) -> Self {
        #[cfg(target_arch = "x86_64")]
        let vectors = tidegate_wire::decimal::simd::available();
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = false;
        Self { levels, batch, parser: Parser::default(), vectors, fallbacks: 0 }
    }
}

/// A venue's decoder: a state machine without I/O.
pub trait Decode {
    /// What it has in common with the others.
    fn kit(&self) -> &Kit;

    /// The same, to be changed.
    fn kit_mut(&mut self) -> &mut Kit;

    /// Shows one frame to the scanner, with vector instructions or without.
    fn scanned(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Scanned;

    /// Reads one frame by simd-json alone: the reference that a scanner is held to. `hint` names the instrument of a
    /// snapshot that does not.
    ///
    /// # Errors
    /// Why the frame is of no use.
    fn parse(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason>;

    /// Reads one frame: by the scanner, or by simd-json where that declines.
    ///
    /// # Errors
    /// As [`Decode::parse`].
    #[inline]
    fn decode(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        match self.scanned(frame, true) {
            Scanned::Read(message) => Ok(message),
            Scanned::Surprised => {
                self.kit_mut().fallbacks += 1;
                self.parse(frame, hint)
            }
            Scanned::OtherKind => self.parse(frame, hint),
        }
    }

    /// Reads one frame by the scanner alone; `None` where simd-json would have to read it.
    fn scan(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Option<Message> {
        match self.scanned(frame, vectors) {
            Scanned::Read(message) => Some(message),
            Scanned::Surprised | Scanned::OtherKind => None,
        }
    }

    /// Levels of the depth message decoded last.
    #[inline(always)]
    fn levels(&self) -> &Levels {
        &self.kit().levels
    }

    /// The same, for whoever adds to them.
    #[inline(always)]
    fn levels_mut(&mut self) -> &mut Levels {
        &mut self.kit_mut().levels
    }

    /// Messages of the [`Body::Batch`] decoded last.
    #[inline(always)]
    fn batch(&self) -> &Batch {
        &self.kit().batch
    }

    /// The decoder after it has read a book of the largest size there is, so that no buffer has to grow on the hot
    /// path: `book` with all `<levels>` of both sides written `level`.
    #[must_use]
    fn warmed_up(mut self, book: &str, level: &str) -> Self
    where
        Self: Sized,
    {
        let side = format!("{level},").repeat(LEVELS_MAX);
        let mut bytes = book.replace("<levels>", side.trim_end_matches(',')).into_bytes();
        let length = bytes.len();
        bytes.resize(length + PADDING, 0);
        if let Some(mut frame) = FrameMut::new(&mut bytes, length) {
            // It names no instrument: what counts is that the tape was filled.
            let _ = self.parse(&mut frame, InstrumentId::NONE);
        }
        self
    }

    /// How many frames of a scanned kind simd-json had to read.
    fn fallbacks(&self) -> u64 {
        self.kit().fallbacks
    }
}

/// The last mark of each instrument, for venues that send only what changed, or price and funding apart.
#[derive(Clone, Debug)]
pub(crate) struct Marks(Box<[Mark]>);

impl Marks {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self(vec![Mark::default(); registry.len()].into_boxed_slice())
    }

    /// The mark of an instrument of the registry it was made for.
    pub(crate) fn of(&mut self, instrument: InstrumentId) -> &mut Mark {
        &mut self.0[instrument.index()]
    }
}

/// What became of a frame at a scanner.
#[derive(Clone, Copy, Debug)]
pub enum Scanned {
    /// It was read.
    Read(Message),
    /// It looked like a kind the scanner knows, but simd-json must read it.
    Surprised,
    /// It is of another kind.
    OtherKind,
}

impl From<Option<Message>> for Scanned {
    #[inline(always)]
    fn from(message: Option<Message>) -> Self {
        message.map_or(Self::Surprised, Self::Read)
    }
}

/// A scanner that knows a venue's schema: every literal, digit and bracket is checked, and at any surprise it declines.
///
/// All of it is to be inlined, so that it is built once with vector instructions and once without.
pub(crate) trait Schema {
    /// How it finds instruments.
    type Symbols;
    /// What the beginning of a frame says.
    type Head<'a>;

    /// The beginning of a frame of a kind it knows; leaves the cursor behind it.
    fn sniff<'a, R: Numbers>(cursor: &mut Cursor<'a>) -> Option<Self::Head<'a>>;

    /// The rest of the frame.
    fn message<R: Numbers>(
        cursor: Cursor<'_>,
        head: Self::Head<'_>,
        symbols: &Self::Symbols,
        levels: &mut Levels,
    ) -> Option<Message>;

    /// Reads a frame.
    #[inline(always)]
    fn scan<R: Numbers>(frame: &FrameMut<'_>, symbols: &Self::Symbols, levels: &mut Levels) -> Scanned {
        let mut cursor = Cursor::new(frame);
        match Self::sniff::<R>(&mut cursor) {
            Some(head) => Self::message::<R>(cursor, head, symbols, levels).into(),
            None => Scanned::OtherKind,
        }
    }
}

/// Shows a frame to a scanner, with vector instructions where `vectors` says that the CPU has them.
#[inline]
pub(crate) fn scan<S: Schema>(
    frame: &FrameMut<'_>,
    symbols: &S::Symbols,
    levels: &mut Levels,
    vectors: bool,
) -> Scanned {
    #[cfg(target_arch = "x86_64")]
    if vectors {
        // SAFETY: `vectors` comes from a kit, which asked the CPU for every feature that `scan_vector` is built with.
        return unsafe { scan_vector::<S>(frame, symbols, levels) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vectors;
    S::scan::<Scalar>(frame, symbols, levels)
}

/// # Safety
/// The CPU has AVX2, BMI1, BMI2, LZCNT and POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn scan_vector<S: Schema>(frame: &FrameMut<'_>, symbols: &S::Symbols, levels: &mut Levels) -> Scanned {
    S::scan::<crate::json::Vector>(frame, symbols, levels)
}
