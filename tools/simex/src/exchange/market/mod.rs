//! The markets behind the venues: books, trades and prices, and what is pushed of them.
//!
//! * `listing` says what trades where.
//! * `source` moves a book: the simulated order flow, a recorded capture, or an option's quoter.
//! * `instrument` keeps the full book (the oracle) with the venue's ids, and its topics.
//! * `topic` is one channel of one instrument: what has changed since the last push, and who listens.
//! * `core` is the clockwork over all of them.

mod capture;
mod core;
mod instrument;
mod listing;
mod options;
mod source;
mod topic;

pub(crate) use core::Core;
pub(crate) use instrument::{BookView, Instrument};
pub(crate) use listing::{Listing, OptionTerms, built_in, options as option_listings};
pub(crate) use topic::{Frame, Topic};

use crate::market::book::{Level, Side};

/// Value of an option now; `None` for everything else.
pub(crate) fn option_value(instrument: &Instrument, now_ms: i64) -> Option<options::Greeks> {
    let terms = instrument.listing.option.as_ref()?;
    Some(options::value(terms, instrument.index, now_ms))
}

/// A trade as venues print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    /// Trade id; the last one of an aggregate.
    pub(crate) id: i64,
    /// First id of an aggregate.
    pub(crate) first_id: i64,
    pub(crate) tick: i64,
    pub(crate) lots: i64,
    pub(crate) taker: Side,
    /// Venue time, ms.
    pub(crate) ms: i64,
    /// Book sequence at the time.
    pub(crate) seq: i64,
}

/// A changed level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) level: Level,
    /// Quantity that receivers know; 0 if they know none.
    pub(crate) before: i64,
}

/// What a channel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Every change of the whole book.
    Diff,
    /// Changes of the best levels, snapshot first.
    Window(usize),
    /// The best levels, whole each time.
    Top(usize),
    /// Best bid and ask as soon as they change.
    Quote,
    /// Trades.
    Trade,
    /// Trades of one price and side together.
    AggTrade,
    /// Summary with prices and rates.
    Ticker,
    /// Mark price.
    Mark,
    /// Funding rate.
    Funding,
    /// Volatility index.
    Volatility,
}

impl Channel {
    /// Kind of channel, the name faults use.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Channel::Diff | Channel::Window(_) => "book",
            Channel::Top(_) => "top",
            Channel::Quote => "quote",
            Channel::Trade | Channel::AggTrade => "trade",
            Channel::Ticker => "ticker",
            Channel::Mark => "mark",
            Channel::Funding => "funding",
            Channel::Volatility => "volatility",
        }
    }
}

/// One channel of one instrument, as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSpec {
    /// The venue's name: a stream, a channel or a topic. Unique within an instrument.
    pub(crate) name: String,
    pub(crate) channel: Channel,
    /// Push interval, ms; 0 is at once.
    pub(crate) interval_ms: i64,
    /// Whether a book begins with the next change instead of a snapshot.
    pub(crate) bare: bool,
}

/// What is pushed.
pub(crate) enum Push<'a> {
    /// The whole book, or its best levels, as of `id`.
    Snapshot { id: i64, bids: &'a [Level], asks: &'a [Level] },
    /// Changes from `previous` to `id`; `first` is the id of the first one.
    Delta { first: i64, id: i64, previous: i64, bids: &'a [Change], asks: &'a [Change] },
    /// The best levels.
    Top { id: i64, bids: &'a [Level], asks: &'a [Level] },
    /// Best bid and ask.
    Quote { id: i64, bid: Level, ask: Level },
    /// Trades, oldest first; `first` on the first push after subscribing.
    Trades { prints: &'a [Print], first: bool },
    /// One aggregated trade.
    Aggregate { id: i64, print: Print },
    /// A summary; `known` holds the fields receivers have, on venues that send only changes.
    Ticker { known: &'a mut Vec<(&'static str, String)>, first: bool },
    /// Mark price, funding rate or volatility index: the encoder takes them from the instrument.
    Value,
}
