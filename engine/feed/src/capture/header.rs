//! What a capture says of itself: a JSON text behind the magic, with a checksum.

use serde::{Deserialize, Serialize};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Registry, Scale, Venue};
use xxhash_rust::xxh3::xxh3_64;

use super::layout::MAGIC;

/// An instrument as a capture's header holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    venue: Venue,
    symbol: String,
    price_decimals: u8,
    qty_decimals: u8,
    tick: i64,
    lot: i64,
    /// About where it traded when the capture was begun, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote_per_contract: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_per_contract: Option<f64>,
}

impl Listed {
    fn of(instrument: &Instrument, price: Option<Price>) -> Self {
        let (quote_per_contract, base_per_contract) = match instrument.contract {
            Contract::Linear => (None, None),
            Contract::Inverse { quote_per_contract } => (Some(quote_per_contract), None),
            Contract::Sized { base_per_contract } => (None, Some(base_per_contract)),
        };
        Self {
            venue: instrument.venue,
            symbol: instrument.symbol.clone(),
            price_decimals: instrument.price_scale.decimals(),
            qty_decimals: instrument.qty_scale.decimals(),
            tick: instrument.tick.raw(),
            lot: instrument.lot.raw(),
            price: price.map(Price::raw),
            quote_per_contract,
            base_per_contract,
        }
    }

    fn instrument(&self) -> Option<Instrument> {
        let contract = match (self.quote_per_contract, self.base_per_contract) {
            (Some(quote_per_contract), _) => Contract::Inverse { quote_per_contract },
            (None, Some(base_per_contract)) => Contract::Sized { base_per_contract },
            (None, None) => Contract::Linear,
        };
        Some(Instrument {
            venue: self.venue,
            symbol: self.symbol.clone(),
            price_scale: Scale::new(self.price_decimals)?,
            qty_scale: Scale::new(self.qty_decimals)?,
            tick: Price::from_raw(self.tick),
            lot: Qty::from_raw(self.lot),
            contract,
        })
    }
}

/// What a capture says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HeaderText {
    /// When it was begun, ns since the Unix epoch.
    begun_ns: i64,
    /// Which file of its series, from 1.
    part: u32,
    /// What wrote it.
    writer: String,
    /// The instruments in the order of their numbers.
    instruments: Vec<Listed>,
}

/// A capture's header.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureHeader {
    /// When it was begun, ns since the Unix epoch.
    pub begun_ns: i64,
    /// Which file of its series, from 1.
    pub part: u32,
    /// What wrote it.
    pub writer: String,
    /// The instruments in the order of the numbers that entries name.
    pub instruments: Vec<Instrument>,
    /// About where each traded when the capture was begun.
    pub prices: Vec<Option<Price>>,
}

impl CaptureHeader {
    /// The instruments as a registry that numbers them as the entries do.
    ///
    /// # Errors
    /// Which instrument cannot be one, in words.
    pub fn registry(&self) -> Result<Registry, String> {
        let mut registry = Registry::new();
        for (instrument, price) in self.instruments.iter().zip(&self.prices) {
            let id = registry.add(instrument.clone()).map_err(|error| error.to_string())?;
            price.iter().for_each(|price| registry.set_price(id, *price));
        }
        Ok(registry)
    }
}

/// Magic, length, text and checksum of a header.
pub(super) fn write(registry: &Registry, part: u32, begun_ns: i64) -> serde_json::Result<Vec<u8>> {
    let header = HeaderText {
        begun_ns,
        part,
        writer: concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned(),
        instruments: registry.iter().map(|(id, instrument)| Listed::of(instrument, registry.price(id))).collect(),
    };
    let text = serde_json::to_vec(&header)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(&text);
    bytes.extend(xxh3_64(&text).to_le_bytes());
    Ok(bytes)
}

/// Reads a header's text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &[u8], sum: [u8; 8]) -> Result<CaptureHeader, String> {
    if xxh3_64(text) != u64::from_le_bytes(sum) {
        return Err("its header is damaged (wrong checksum)".into());
    }
    let header: HeaderText =
        serde_json::from_slice(text).map_err(|error| format!("its header cannot be read: {error}"))?;
    let instruments: Option<Vec<_>> = header.instruments.iter().map(Listed::instrument).collect();
    let instruments = instruments.ok_or("an instrument has more decimals than this version knows")?;
    let prices = header.instruments.iter().map(|listed| listed.price.map(Price::from_raw)).collect();
    let HeaderText { begun_ns, part, writer, .. } = header;
    Ok(CaptureHeader { begun_ns, part, writer, instruments, prices })
}
