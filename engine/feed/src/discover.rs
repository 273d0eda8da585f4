//! Finds out what captures hold, so that a recording can be replayed without describing it first.
//!
//! Every frame is looked at once: the market is told by the shape of the frames (or by the host a recording names), the
//! instruments by their symbols, ticks and lots by the greatest common divisor of all prices and quantities. That makes
//! the grid a property of the data: it holds every number in it, exactly.

use std::collections::BTreeMap;

use tidegate_wire::instrument::RegistryError;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

use crate::frame::{FrameMut, PADDING};
use crate::replay::{CaptureReader, Captured, Format, ReplayError, SourceSpec};
use crate::tables;
use crate::venues::survey::{Survey, Surveyor, Surveys};

/// A capture with what it holds.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub spec: SourceSpec,
    /// Its market, or the first of several whose connections it holds: each of their frames says which it is of.
    pub venue: Venue,
    /// Its instruments of that market by symbol.
    pub instruments: BTreeMap<String, InstrumentId>,
    /// Its instrument if there is only one: whose an unnamed snapshot is. Else [`InstrumentId::NONE`].
    pub only: InstrumentId,
    /// In a capture of our own: its instruments by the numbers that its entries name.
    pub numbers: Vec<InstrumentId>,
    /// When its frames were known, where they do not say so themselves, ns since the epoch: an opening snapshot.
    pub begin_ns: Option<i64>,
}

/// What a set of captures holds.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The captures.
    pub sources: Vec<Source>,
    /// Whether all are captures of our own live runs.
    pub is_own: bool,
}

/// Why captures cannot be replayed together.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// A capture cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// No frame told the market.
    #[error("{0}: no frame tells which venue this is; say VENUE=FILE with one of {known}", known = Venue::ALL.map(Venue::name).join(", "))]
    NoVenue(String),
    /// An opening snapshot without what it needs beside it.
    #[error("{path}: {reason}")]
    Opening {
        /// Which file.
        path: String,
        /// What is missing.
        reason: &'static str,
    },
    /// An instrument cannot be registered.
    #[error("{path}: {source}")]
    Instrument {
        /// Which file.
        path: String,
        /// Why.
        source: RegistryError,
    },
}

/// Looks through all captures; registers every instrument that `registry` does not have yet, and notes about where each
/// trades whose first book or quote was seen.
///
/// # Errors
/// See [`DiscoverError`]. A damaged file is no error here: what can be read of it is used.
pub fn discover(specs: &[SourceSpec], registry: &mut Registry) -> Result<Discovery, DiscoverError> {
    let mut surveys = Vec::with_capacity(specs.len());
    let mut markets = Surveys::new();
    for spec in specs {
        register_listed(spec, registry)?;
        let (found, venue, rows) = survey(spec)?;
        for (venue, survey) in &found {
            markets.entry(*venue).or_default().merge(survey);
        }
        surveys.push((spec, found, venue, rows));
    }
    for (venue, survey) in &markets {
        for instrument in survey.instruments(*venue) {
            if registry.find(*venue, &instrument.symbol).is_none() {
                let path = instrument.name();
                registry.add(instrument).map_err(|source| DiscoverError::Instrument { path, source })?;
            }
        }
    }
    let price = |(id, i): (_, &Instrument)| Some((id, markets.get(&i.venue)?.price(&i.symbol, i.price_scale)?));
    for (id, price) in registry.iter().filter_map(price).collect::<Vec<_>>() {
        registry.set_price(id, price);
    }
    let mut sources: Vec<_> =
        surveys.iter().map(|(spec, found, venue, _)| source(spec, &found[venue], *venue, registry)).collect();
    let rows: Vec<_> = surveys.into_iter().map(|(.., rows)| rows).collect();
    place_openings(&mut sources, &rows)?;
    for source in &mut sources {
        let listed = CaptureReader::open(&source.spec)?;
        let listed = listed.header().map_or(&[][..], |header| &header.instruments);
        let number = |i: &Instrument| registry.find(i.venue, &i.symbol).unwrap_or(InstrumentId::NONE);
        source.numbers = listed.iter().map(number).collect();
    }
    let is_own = rows.iter().all(|rows| rows.format == Some(Format::Tidegate));
    Ok(Discovery { sources, is_own })
}

/// A capture of our own lists its instruments: what the venue said of them holds, and their order.
fn register_listed(spec: &SourceSpec, registry: &mut Registry) -> Result<(), DiscoverError> {
    let reader = CaptureReader::open(spec)?;
    let Some(header) = reader.header() else { return Ok(()) };
    for (instrument, price) in header.instruments.iter().zip(&header.prices) {
        let id = match registry.find(instrument.venue, &instrument.symbol) {
            Some(id) => id,
            None => {
                let path = spec.path.display().to_string();
                registry.add(instrument.clone()).map_err(|source| DiscoverError::Instrument { path, source })?
            }
        };
        // A configured grid may be another one: the price is of the header's.
        let same = registry.get(id).is_some_and(|ours| ours.price_scale == instrument.price_scale);
        price.iter().filter(|_| same).for_each(|price| registry.set_price(id, *price));
    }
    Ok(())
}

/// What the rows of a table said about time.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    format: Option<Format>,
    /// Receive time of the first, ns since the epoch.
    first_ns: Option<i64>,
    bids: bool,
    asks: bool,
}

/// An opening snapshot has no time of its own: it was taken just before the first update of its instrument.
fn place_openings(sources: &mut [Source], rows: &[Rows]) -> Result<(), DiscoverError> {
    for index in 0..sources.len() {
        if rows[index].format != Some(Format::CoinbaseBook) {
            continue;
        }
        let only = sources[index].only;
        let beside = sources.iter().zip(rows).filter(|(source, _)| source.only == only).map(|(_, rows)| rows);
        let (mut first_ns, mut bids, mut asks) = (None::<i64>, false, false);
        for rows in beside {
            if rows.format == Some(Format::CoinbaseUpdates) {
                first_ns = first_ns.into_iter().chain(rows.first_ns).min();
            }
            (bids, asks) = (bids || rows.bids, asks || rows.asks);
        }
        let missing = match (bids, asks, first_ns) {
            (false, ..) => "an opening snapshot without its bids: give the file with them in the same command",
            (_, false, _) => "an opening snapshot without its asks: give the file with them in the same command",
            (.., None) => "an opening snapshot has no time: give the updates that follow it in the same command",
            (.., Some(first_ns)) => {
                sources[index].begin_ns = Some(first_ns - 1);
                continue;
            }
        };
        return Err(DiscoverError::Opening { path: sources[index].spec.path.display().to_string(), reason: missing });
    }
    Ok(())
}

fn source(spec: &SourceSpec, survey: &Survey, venue: Venue, registry: &Registry) -> Source {
    let find = |symbol: &str| registry.find(venue, symbol).map(|id| (symbol.to_owned(), id));
    let instruments: BTreeMap<_, _> = survey.symbols().filter_map(find).collect();
    let only = if instruments.len() == 1 { instruments.values().copied().next() } else { None };
    Source {
        spec: spec.clone(),
        venue,
        instruments,
        only: only.unwrap_or(InstrumentId::NONE),
        numbers: Vec::new(),
        begin_ns: None,
    }
}

fn survey(spec: &SourceSpec) -> Result<(Surveys, Venue, Rows), DiscoverError> {
    let mut reader = CaptureReader::open(spec)?;
    let mut surveys = Surveys::new();
    let (mut captured, mut survey, mut surveyor) = (Captured::default(), Survey::default(), Surveyor::default());
    let format = reader.format();
    let mut rows = Rows { format: Some(format), ..Rows::default() };
    loop {
        match reader.next(&mut captured) {
            // A capture of our own has said what it holds.
            Ok(true) if format == Format::Tidegate => break,
            Ok(true) => {}
            Ok(false) | Err(ReplayError::Damaged { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        if format.is_table() {
            tables::survey::see(format, &captured.symbol, &captured.bytes, &mut survey);
            rows.first_ns = rows.first_ns.or(Some(captured.recv_ns));
            if format == Format::CoinbaseBook {
                (rows.bids, rows.asks) = tables::survey::sides(&captured.bytes);
            }
            continue;
        }
        let length = captured.bytes.len();
        captured.bytes.resize(length + PADDING, 0);
        if let Some(mut frame) = FrameMut::new(&mut captured.bytes, length) {
            let told = captured.venue.or(reader.venue());
            if !told.is_some_and(|venue| surveyor.see_of(venue, &mut frame, &mut surveys)) {
                let symbol = (!captured.symbol.is_empty()).then_some(&*captured.symbol);
                surveyor.see(&mut frame, symbol, &mut survey);
            }
        }
    }
    let venue = surveys.keys().next().copied().or(reader.venue()).or(survey.venue());
    let venue = venue.ok_or_else(|| DiscoverError::NoVenue(spec.path.display().to_string()))?;
    surveys.entry(venue).or_default().merge(&survey);
    Ok((surveys, venue, rows))
}
