//! Recorded tables: rows of research files to the events that live venues send.
//!
//! | format | rows | events |
//! |---|---|---|
//! | Coinbase book, updates | `side,price,size[,time]` | one snapshot; a delta an instant |
//! | Bitstamp orders | `<ms> <kind> <json>` | deltas, trades; a snapshot a recorded book |
//! | Binance klines, BitMEX buckets | a bar a row | bars, at their end |
//! | funding, volatility index | a value a row | marks, when they were known |
//!
//! A row is handed through like a frame, as it was recorded; [`names`] finds out whose it is, [`Decoder`] reads it.
//! These are cold sources: clarity over speed, and every number exact or refused.

mod bars;
mod bitstamp;
mod coinbase;
mod fields;
mod marks;
pub(crate) mod names;
pub(crate) mod stamps;
pub(crate) mod survey;

use tidegate_wire::event::{Bar, DepthIds};
use tidegate_wire::{InstrumentId, Registry};

use crate::counters::Reason;
use crate::replay::Format;
use crate::symbols::Entry;
use crate::venues::{Body, Levels};
use bitstamp::{Orders, Said};
use coinbase::{Opening, Sides};

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// What a venue's frame could say as well; levels lie in [`Decoder::levels`].
    Message(Body),
    /// A finished bar.
    Bar(Bar),
    /// A recorded book: the changes that put the book right, if there are any; then comes [`Decoder::whole`]. Whether
    /// the book agreed with it, but for the first.
    Book(Option<DepthIds>, Option<bool>),
    /// Nothing yet: half a snapshot, or an order of which nothing is known.
    Nothing,
}

/// What is kept of an instrument.
#[derive(Debug, Default)]
struct State {
    /// Depth frames emitted: these sources have no ids of their own, so frames are counted.
    depth_frames: u64,
    opening: Opening,
    orders: Orders,
}

impl State {
    /// Ids of the next depth frame.
    const fn next_ids(&mut self) -> DepthIds {
        let prev = self.depth_frames;
        self.depth_frames += 1;
        DepthIds { first: prev + 1, last: prev + 1, prev }
    }

    /// Ids of a snapshot of all frames so far.
    const fn snapshot_ids(&self) -> DepthIds {
        DepthIds { first: self.depth_frames, last: self.depth_frames, prev: 0 }
    }
}

/// Reads rows of all tables.
#[derive(Debug)]
pub(crate) struct Decoder {
    entries: Vec<Entry>,
    states: Vec<State>,
    sides: Sides,
    levels: Levels,
}

impl Decoder {
    /// A decoder for all instruments of a registry.
    pub(crate) fn new(registry: &Registry) -> Self {
        let entries: Vec<_> = registry.iter().map(|(id, instrument)| Entry::new(id, instrument)).collect();
        let states = entries.iter().map(|_| State::default()).collect();
        Self { entries, states, sides: Sides::default(), levels: Levels::empty() }
    }

    /// Levels of the depth message decoded last.
    pub(crate) const fn levels_mut(&mut self) -> &mut Levels {
        &mut self.levels
    }

    /// Reads one row, or the rows of one frame.
    ///
    /// # Errors
    /// Why it is of no use. An unreadable row of a book leaves a hole in the ids, so that the gap is noticed.
    pub(crate) fn row(&mut self, format: Format, id: InstrumentId, at_ns: i64, row: &[u8]) -> Result<Row, Reason> {
        let entry = self.entries.get(id.index()).ok_or(Reason::UnknownSymbol)?;
        let state = &mut self.states[id.index()];
        let said = match format {
            Format::CoinbaseBook => {
                let Some(sides) = state.opening.add(row, entry)? else { return Ok(Row::Nothing) };
                self.levels.set(&sides.bids, &sides.asks);
                return Ok(Row::Message(Body::Snapshot(state.snapshot_ids())));
            }
            Format::CoinbaseUpdates => coinbase::updates(row, entry, &mut self.sides).map(|()| Said::Levels),
            Format::BitstampOrders => state.orders.row(row, entry, &mut self.sides),
            Format::BinanceKlines => return bars::kline(row, entry).map(Row::Bar),
            Format::BitmexBuckets => return bars::bucket(row, entry).map(Row::Bar),
            Format::Funding => return marks::funding(row, at_ns).map(|mark| Row::Message(Body::Mark(mark))),
            Format::FundingPercent => {
                return marks::funding_percent(row, at_ns).map(|mark| Row::Message(Body::Mark(mark)));
            }
            Format::VolatilityIndex => return marks::index(row).map(|mark| Row::Message(Body::Mark(mark))),
            Format::Stamped | Format::CryptofeedText | Format::CryptofeedJson | Format::Tidegate => {
                return Err(Reason::UnknownMessage);
            }
        };
        let Ok(said) = said else {
            state.next_ids();
            return Err(said.err().unwrap_or(Reason::BadField));
        };
        if let Said::Trade(trade, sell) = said {
            return Ok(Row::Message(Body::Trade { trade, sell, raw: false }));
        }
        let changed = !self.sides.bids.is_empty() || !self.sides.asks.is_empty();
        self.levels.set(&self.sides.bids, &self.sides.asks);
        let ids = changed.then(|| state.next_ids());
        Ok(match (said, ids) {
            (Said::Book(agreed), ids) => Row::Book(ids, agreed),
            (_, Some(ids)) => Row::Message(Body::Delta(ids)),
            (_, None) => Row::Nothing,
        })
    }

    /// The whole book after a recorded one, with the ids of its snapshot, into [`Decoder::levels`].
    pub(crate) fn whole(&mut self, id: InstrumentId) -> DepthIds {
        let Some(state) = self.states.get(id.index()) else { return DepthIds::default() };
        state.orders.whole(&mut self.sides);
        self.levels.set(&self.sides.bids, &self.sides.asks);
        state.snapshot_ids()
    }
}
