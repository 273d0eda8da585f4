//! Event records: what a decoder emits and everything downstream consumes.
//!
//! A record is a [`Header`] of seven words, which fills the payload of one 64-byte ring line, then a body of whole
//! words. Records are plain old data without padding, so a shared mapping can be read by any process that agrees on
//! [`LAYOUT_VERSION`]. The tables at the end of the file prove size, alignment and field offsets at compile time.
//!
//! | kind | body | then |
//! |---|---|---|
//! | [`RecordKind::Delta`], [`RecordKind::Snapshot`] | [`DepthIds`] | `count` × [`Level`], the first `aux` of them bids |
//! | [`RecordKind::Quote`] | [`Quote`] | |
//! | [`RecordKind::Trade`] | [`Trade`] | |
//! | [`RecordKind::Mark`] | [`Mark`] | |
//! | [`RecordKind::Status`] | [`Status`] | |
//! | [`RecordKind::Heartbeat`] | none | |
//! | [`RecordKind::Features`] | [`crate::feature::FeatureBody`] | |
//! | [`RecordKind::Bar`] | [`Bar`] | |
//! | [`RecordKind::Option`] | [`OptionMark`] | |
//! | [`RecordKind::Decision`] | [`crate::decision::Decision`] | |
//! | [`RecordKind::Look`] | [`crate::look::LookBody`] | |
//! | [`RecordKind::Position`] | [`crate::position::PositionBody`] | |
//! | [`RecordKind::Trap`] | [`crate::trap::TrapBody`] | |
//! | [`RecordKind::Top`] | [`crate::top::TopBody`] | |
//! | [`RecordKind::Signal`] | [`crate::signal::SignalBody`] | |
//! | [`RecordKind::Outcome`] | [`crate::signal::OutcomeBody`] | |
//!
//! A depth frame with more levels than one record holds travels as several records ("parts"), the first flagged
//! [`FLAG_FIRST`], the last [`FLAG_LAST`]. Consumers act on whole frames only, see [`EventSink`].

use bytemuck::{Pod, Zeroable};
use serde::Serialize;
use strum::{FromRepr, IntoStaticStr};

use crate::decimal::{Price, Qty};
use crate::instrument::InstrumentId;

/// Changes whenever a record's bytes change; stored in every ring's header.
pub const LAYOUT_VERSION: u32 = 1;

/// Decimals of mark and index prices in [`Mark`]: venues print them finer than the tick.
pub const MARK_DECIMALS: u8 = 8;

/// Decimals of funding rates in [`Mark`].
pub const RATE_DECIMALS: u8 = 12;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr)]
#[repr(u8)]
pub enum RecordKind {
    /// Changed levels of a book, absolute quantities, zero deletes.
    Delta = 1,
    /// All known levels of a book; replaces what was there.
    Snapshot = 2,
    /// Best bid and ask.
    Quote = 3,
    /// One trade (or the venue's aggregate of one).
    Trade = 4,
    /// Mark price, index price and funding.
    Mark = 5,
    /// A book's quality changed.
    Status = 6,
    /// Time passed and nothing else happened.
    Heartbeat = 7,
    /// A feature vector.
    Features = 8,
    /// A breaker transition.
    Decision = 9,
    /// A finished bar of the venue's own.
    Bar = 10,
    /// A change of thresholds.
    Adjustment = 11,
    /// A finished one-minute bar with its features.
    Minute = 12,
    /// An operator's command.
    Operated = 13,
    /// Volatilities and greeks of an option.
    Option = 14,
    /// A book and its tape as slow observers see them.
    Look = 15,
    /// An open position.
    Position = 16,
    /// What the trap detector says.
    Trap = 17,
    /// What the signal desk saw.
    Signal = 18,
    /// What became of it.
    Outcome = 19,
    /// The best levels of a book after a change.
    Top = 20,
}

/// First part of a depth frame.
pub const FLAG_FIRST: u8 = 1;
/// Last part of a depth frame.
pub const FLAG_LAST: u8 = 2;
/// The aggressor sold (the buyer was the maker).
pub const FLAG_SELL: u8 = 4;
/// Held back until the snapshot came: event time is the release, latency stamps say nothing about the frame.
pub const FLAG_BUFFERED: u8 = 8;
/// A new session of the stream begins: what came before says nothing about what comes.
pub const FLAG_SESSION: u8 = 16;
/// A snapshot that the sequence does not need: only a book that is known to be wrong uses it.
pub const FLAG_SPARE: u8 = 32;

/// A record of a kind with its header at the start of a ring's words; `None` when they are another one, or too few. `T`
/// begins with a [`Header`].
pub(crate) fn record_of<T: Pod>(words: &[u64], kind: RecordKind) -> Option<&T> {
    let bytes: &[u8] = bytemuck::cast_slice(words.get(..size_of::<T>() / 8)?);
    // The kind is the first byte of a header.
    let is_it = bytes.first() == Some(&(kind as u8));
    bytemuck::try_from_bytes(bytes).ok().filter(|_| is_it)
}

/// What every record begins with: 56 bytes, the payload of one ring line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// A [`RecordKind`].
    pub kind: u8,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// Whose record it is; [`InstrumentId::NONE`] for the engine's own.
    pub instrument: InstrumentId,
    /// Ring lines the record takes, in `[1, MAX_LINES]`; the ring sets it.
    pub lines: u16,
    /// Levels in this record, else 0.
    pub count: u16,
    /// Number of the frame it came from, from 1, engine-wide.
    pub frame: u64,
    /// Event time: when the frame was received, ns since the Unix epoch. Never decreases along a stream.
    pub event_ns: i64,
    /// The venue's own stamp, ns since the Unix epoch; 0 where it sends none.
    pub venue_ns: i64,
    /// Counter when the frame was taken (live) or due (paced replay), ticks.
    pub arrive_ticks: u64,
    /// Counter when the decoder had finished, ticks.
    pub decoded_ticks: u64,
    /// For depth: how many of `count` are bids. Else 0.
    pub aux: u64,
}

impl Header {
    /// A header of a kind with everything else zero.
    pub const fn new(kind: RecordKind, instrument: InstrumentId) -> Self {
        Self {
            kind: kind as u8,
            flags: 0,
            instrument,
            lines: 0,
            count: 0,
            frame: 0,
            event_ns: 0,
            venue_ns: 0,
            arrive_ticks: 0,
            decoded_ticks: 0,
            aux: 0,
        }
    }
}

/// One price level: an absolute quantity, zero when the level is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Level {
    /// Price mantissa.
    pub price: Price,
    /// Quantity mantissa, >= 0.
    pub qty: Qty,
}

/// Update ids of a depth frame, as the venue counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct DepthIds {
    /// First update in the frame (`U`); a snapshot's own id.
    pub first: u64,
    /// Last update in the frame (`u`); a snapshot's own id.
    pub last: u64,
    /// Last update of the frame before (`pu`); 0 where the venue has none.
    pub prev: u64,
}

/// Best bid and ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Quote {
    /// The book's update id this quote belongs to; 0 where the venue does not number quotes as it numbers its books.
    pub update_id: u64,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

/// One trade; [`FLAG_SELL`] tells the aggressor's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Trade {
    /// Price mantissa.
    pub price: Price,
    /// Quantity mantissa, > 0.
    pub qty: Qty,
    /// The venue's id; contiguous for raw trades.
    pub trade_id: u64,
    /// When the venue matched it, ns since the Unix epoch.
    pub transact_ns: i64,
}

/// Mark price, index price and funding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Mark {
    /// Mark price times `10^MARK_DECIMALS`.
    pub mark: i64,
    /// Index price times `10^MARK_DECIMALS`; 0 where the venue sends none.
    pub index: i64,
    /// Funding rate of the running period, fraction times `10^RATE_DECIMALS`.
    pub funding: i64,
    /// When funding is exchanged next, ns since the Unix epoch; 0 for contracts without funding.
    pub next_funding_ns: i64,
}

/// What a venue says of an option: its mark, its volatilities and its greeks.
///
/// Prices and open interest are times `10^MARK_DECIMALS`, volatilities and greeks times `10^RATE_DECIMALS`. Any of them
/// is [`Self::NOT_TOLD`] where the venue does not send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OptionMark {
    /// Mark price, in the option's own currency (coin for inverse options).
    pub mark: i64,
    /// Price of the future or index that the option is priced against.
    pub underlying: i64,
    /// Volatility of the mark price, a fraction a year (1.2 is 120 %).
    pub mark_iv: i64,
    /// Volatility of the best bid, a fraction a year; 0 where nobody bids.
    pub bid_iv: i64,
    /// Volatility of the best ask, a fraction a year; 0 where nobody offers.
    pub ask_iv: i64,
    /// Change of the option's price with the underlying's.
    pub delta: i64,
    /// Change of delta with the underlying's price.
    pub gamma: i64,
    /// Change of the option's price with volatility, a percentage point.
    pub vega: i64,
    /// Change of the option's price with time, a day.
    pub theta: i64,
    /// Change of the option's price with the interest rate, a percentage point.
    pub rho: i64,
    /// Open contracts, in the unit of the venue's quantities.
    pub open_interest: i64,
}

impl OptionMark {
    /// The absent value of any member.
    pub const NOT_TOLD: i64 = i64::MIN;

    /// Nothing known.
    pub const UNKNOWN: Self = Self {
        mark: Self::NOT_TOLD,
        underlying: Self::NOT_TOLD,
        mark_iv: Self::NOT_TOLD,
        bid_iv: Self::NOT_TOLD,
        ask_iv: Self::NOT_TOLD,
        delta: Self::NOT_TOLD,
        gamma: Self::NOT_TOLD,
        vega: Self::NOT_TOLD,
        theta: Self::NOT_TOLD,
        rho: Self::NOT_TOLD,
        open_interest: Self::NOT_TOLD,
    };
}

/// A finished bar as the venue publishes it. Its event time is its end: nothing of it is known earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Bar {
    /// Begin of the interval, ns since the Unix epoch.
    pub start_ns: i64,
    /// End of the interval, exclusive, ns since the Unix epoch.
    pub end_ns: i64,
    /// First price. Where the venue opens a bar with the close of the one before it may lie outside low and high.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Quantity traded, >= 0.
    pub volume: Qty,
    /// Of that, bought by aggressors; [`Self::NOT_TOLD`] where the venue does not say.
    pub bought: Qty,
    /// Number of trades; [`Self::NOT_COUNTED`] where the venue does not say.
    pub trades: u64,
}

impl Bar {
    /// The absent value of [`Self::bought`].
    pub const NOT_TOLD: Qty = Qty::from_raw(-1);
    /// The absent value of [`Self::trades`].
    pub const NOT_COUNTED: u64 = u64::MAX;
}

/// How far a book can be trusted. Everything but `Good` masks features and stops decisions to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum BookQuality {
    /// Waiting for a snapshot, or for the frame that joins it to the stream.
    #[default]
    Building = 0,
    /// Every update since the snapshot was seen, in order.
    Good = 1,
    /// At least one update is missing: levels are wrong until a resync.
    Gapped = 2,
    /// No depth frame for longer than the profile allows.
    Stale = 3,
    /// Best bid at or above best ask, or a price off the grid: corrupt until a snapshot.
    Crossed = 4,
    /// The venue's checksum is not that of the book: levels are wrong until a snapshot, though no update is missing.
    Mismatched = 5,
}

impl BookQuality {
    /// Of a word in a record; `Building` should a foreign one be in it.
    pub fn of_word(word: u64) -> Self {
        u8::try_from(word).ok().and_then(Self::from_repr).unwrap_or_default()
    }

    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A change of a book's quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Status {
    /// A [`BookQuality`], as a word.
    pub quality: u64,
    /// The update id the sequence rule expected; 0 when the change is no gap.
    pub expected: u64,
    /// The update id that came instead; 0 when the change is no gap.
    pub received: u64,
}

/// A depth frame, whole.
#[derive(Clone, Copy, Debug)]
pub struct Depth<'a> {
    /// The venue's update ids.
    pub ids: DepthIds,
    /// Changed bids, in the venue's order.
    pub bids: &'a [Level],
    /// Changed asks, in the venue's order.
    pub asks: &'a [Level],
}

/// Whoever consumes events: the market stage, a ring to another core, a test.
///
/// Calls come in event order. A depth frame comes as one call however many records it travelled in.
pub trait EventSink {
    /// Changed levels.
    fn delta(&mut self, header: &Header, depth: Depth<'_>);
    /// A book anew.
    fn snapshot(&mut self, header: &Header, depth: Depth<'_>);
    /// Best bid and ask.
    fn quote(&mut self, header: &Header, quote: &Quote);
    /// One trade.
    fn trade(&mut self, header: &Header, trade: &Trade);
    /// Mark price and funding.
    fn mark(&mut self, header: &Header, mark: &Mark);
    /// Volatilities and greeks of an option.
    fn option(&mut self, header: &Header, option: &OptionMark);
    /// A finished bar of the venue's own; no bar is made up from trades here.
    fn bar(&mut self, header: &Header, bar: &Bar);
    /// A book's quality changed in the feed.
    fn status(&mut self, header: &Header, status: &Status);
    /// Time passed.
    fn heartbeat(&mut self, header: &Header);
}

/// Words of a [`Header`].
pub const HEADER_WORDS: usize = size_of::<Header>() / 8;

// Layout proofs: 56-byte header (a ring line less its sequence word), whole words everywhere, offsets as documented.
const _: () = {
    assert!(size_of::<Header>() == 56 && align_of::<Header>() == 8);
    assert!(core::mem::offset_of!(Header, lines) == 4, "the ring reads the line count from the first word");
    assert!(core::mem::offset_of!(Header, frame) == 8);
    assert!(core::mem::offset_of!(Header, event_ns) == 16);
    assert!(core::mem::offset_of!(Header, arrive_ticks) == 32);
    assert!(size_of::<Level>() == 16 && align_of::<Level>() == 8);
    assert!(size_of::<DepthIds>() == 24);
    assert!(size_of::<Quote>() == 40);
    assert!(size_of::<Trade>() == 32);
    assert!(size_of::<Mark>() == 32);
    assert!(size_of::<Bar>() == 72);
    assert!(size_of::<OptionMark>() == 88);
    assert!(size_of::<Status>() == 24);
};
