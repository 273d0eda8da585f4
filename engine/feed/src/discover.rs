//! Finds out what captures hold, so that a recording can be replayed without describing it first.
//!
//! Every frame is looked at once: the market is told by the shape of the frames (or by the host a recording names), the
//! instruments by their symbols, ticks and lots by the greatest common divisor of all prices and quantities. That makes
//! the grid a property of the data: it holds every number in it, exactly.

use std::collections::BTreeMap;

use tidegate_wire::instrument::RegistryError;
use tidegate_wire::{InstrumentId, Price, Registry, Venue};

use crate::frame::{FrameMut, PADDING};
use crate::replay::{CaptureReader, Captured, ReplayError, SourceSpec};
use crate::venues::binance::{Survey, Surveyor};

/// A capture with what it holds.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub spec: SourceSpec,
    /// Its market.
    pub venue: Venue,
    /// Its instruments by symbol.
    pub instruments: BTreeMap<String, InstrumentId>,
    /// Its instrument if there is only one: whose an unnamed snapshot is. Else [`InstrumentId::NONE`].
    pub only: InstrumentId,
}

/// What a set of captures holds.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The captures.
    pub sources: Vec<Source>,
    /// About where each instrument trades, for those whose first book or quote was seen.
    pub prices: Vec<(InstrumentId, Price)>,
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
    /// An instrument cannot be registered.
    #[error("{path}: {source}")]
    Instrument {
        /// Which file.
        path: String,
        /// Why.
        source: RegistryError,
    },
}

/// Looks through all captures; registers every instrument that `registry` does not have yet.
///
/// # Errors
/// See [`DiscoverError`]. A damaged file is no error here: what can be read of it is used.
pub fn discover(specs: &[SourceSpec], registry: &mut Registry) -> Result<Discovery, DiscoverError> {
    let mut surveys = Vec::with_capacity(specs.len());
    let mut markets: BTreeMap<Venue, Survey> = BTreeMap::new();
    for spec in specs {
        let (survey, venue) = survey(spec)?;
        markets.entry(venue).or_default().merge(&survey);
        surveys.push((spec, survey, venue));
    }
    for (venue, survey) in &markets {
        for instrument in survey.instruments(*venue) {
            if registry.find(*venue, &instrument.symbol).is_none() {
                let path = instrument.name();
                registry.add(instrument).map_err(|source| DiscoverError::Instrument { path, source })?;
            }
        }
    }
    let mut prices = Vec::new();
    for (id, instrument) in registry.iter() {
        let price = markets.get(&instrument.venue).and_then(|s| s.price(&instrument.symbol, instrument.price_scale));
        prices.extend(price.map(|price| (id, price)));
    }
    let sources = surveys.into_iter().map(|(spec, survey, venue)| source(spec, &survey, venue, registry)).collect();
    Ok(Discovery { sources, prices })
}

fn source(spec: &SourceSpec, survey: &Survey, venue: Venue, registry: &Registry) -> Source {
    let find = |symbol: &str| registry.find(venue, symbol).map(|id| (symbol.to_owned(), id));
    let instruments: BTreeMap<_, _> = survey.symbols().filter_map(find).collect();
    let only = if instruments.len() == 1 { instruments.values().copied().next() } else { None };
    Source { spec: spec.clone(), venue, instruments, only: only.unwrap_or(InstrumentId::NONE) }
}

fn survey(spec: &SourceSpec) -> Result<(Survey, Venue), DiscoverError> {
    let mut reader = CaptureReader::open(spec)?;
    let (mut captured, mut survey, mut surveyor) = (Captured::default(), Survey::default(), Surveyor::default());
    loop {
        match reader.next(&mut captured) {
            Ok(true) => {}
            Ok(false) | Err(ReplayError::Damaged { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        let length = captured.bytes.len();
        captured.bytes.resize(length + PADDING, 0);
        if let Some(mut frame) = FrameMut::new(&mut captured.bytes, length) {
            let symbol = (!captured.symbol.is_empty()).then_some(&*captured.symbol);
            surveyor.see(&mut frame, symbol, &mut survey);
        }
    }
    let venue = reader.venue().or(survey.venue());
    venue.map(|venue| (survey, venue)).ok_or_else(|| DiscoverError::NoVenue(spec.path.display().to_string()))
}
