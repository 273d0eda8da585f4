//! Looks at frames of unknown instruments: whose they are, and on which grid their numbers lie.

use std::collections::BTreeMap;

use tidegate_wire::decimal::{MANTISSA_MAX, parse};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Scale, Venue};

use crate::frame::FrameMut;
use crate::venues::tape::Parser;
use crate::venues::{binance, sight};

/// Decimals at which grids are measured; most venues print at most eight.
const SURVEY_DECIMALS: u8 = 8;
/// Decimals of the few prices that are finer: OKX quotes coins in bitcoin and cheap coins with up to twelve.
const FINE_DECIMALS: u8 = 12;
/// One unit of the coarse measure in units of the fine one.
const FINE: i128 = 10_000;

/// The greatest common divisor of all numbers seen.
#[derive(Clone, Copy, Debug, Default)]
struct Grid {
    /// Of those with at most [`SURVEY_DECIMALS`], at that scale.
    coarse: i64,
    /// Of the others, at [`FINE_DECIMALS`].
    fine: i64,
}

/// The greatest common divisor; 0 is divided by everything.
fn divisor<T: Copy + Default + PartialEq + core::ops::Rem<Output = T>>(mut a: T, mut b: T) -> T {
    while b != T::default() {
        (a, b) = (b, a % b);
    }
    a
}

impl Grid {
    fn see(&mut self, text: &str) {
        if let Ok(value) = parse(text.as_bytes(), Scale::saturating(SURVEY_DECIMALS)) {
            self.add(value);
        } else if let Ok(value) = parse(text.as_bytes(), Scale::saturating(FINE_DECIMALS)) {
            self.fine = divisor(self.fine, value);
        }
    }

    fn add(&mut self, value: i64) {
        // Nearly every number lies on the grid already: one division.
        if self.coarse == 0 || value % self.coarse != 0 {
            self.coarse = divisor(self.coarse, value);
        }
    }

    fn merge(&mut self, other: Self) {
        self.add(other.coarse);
        self.fine = divisor(self.fine, other.fine);
    }

    /// Fewest decimals that hold the grid, and its step at that scale.
    fn step(self) -> (Scale, i64) {
        let (mut decimals, mut step) = if self.fine == 0 {
            (SURVEY_DECIMALS, self.coarse.max(1))
        } else {
            // No larger than the fine part, which fits.
            let both = divisor(i128::from(self.coarse) * FINE, i128::from(self.fine));
            (FINE_DECIMALS, i64::try_from(both).unwrap_or(1))
        };
        while decimals > 0 && step % 10 == 0 {
            decimals -= 1;
            step /= 10;
        }
        (Scale::saturating(decimals), step)
    }
}

/// What the frames of one symbol said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    price: Grid,
    qty: Grid,
    /// The best price of the first book or quote seen, at [`FINE_DECIMALS`]; 0 before that.
    first_price: i128,
}

/// A price at [`FINE_DECIMALS`], whichever measure it fits.
fn fine_price(text: &str) -> Option<i128> {
    let coarse = parse(text.as_bytes(), Scale::saturating(SURVEY_DECIMALS)).map(|value| i128::from(value) * FINE);
    coarse.or_else(|_| parse(text.as_bytes(), Scale::saturating(FINE_DECIMALS)).map(i128::from)).ok()
}

impl Found {
    pub(crate) fn price(&mut self, text: &str) {
        self.price.see(text);
    }

    pub(crate) fn qty(&mut self, text: &str) {
        self.qty.see(text);
    }

    /// A best price: where the instrument trades, if it is the first one seen.
    pub(crate) fn best(&mut self, text: &str) {
        if self.first_price == 0 {
            self.first_price = fine_price(text).unwrap_or(0);
        }
    }
}

/// What a source holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    venue: Option<Venue>,
    symbols: BTreeMap<String, Found>,
    /// Grid of snapshots that do not name their instrument.
    unnamed: Found,
}

impl Survey {
    /// The market, once a frame has told it.
    pub const fn venue(&self) -> Option<Venue> {
        self.venue
    }

    /// Symbols seen, in alphabetical order.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.symbols.keys().map(String::as_str)
    }

    /// The market has been told.
    pub(crate) fn tell(&mut self, venue: impl FnOnce() -> Option<Venue>) {
        if self.venue.is_none() {
            self.venue = venue();
        }
    }

    /// What is known of a symbol, or of snapshots that name none.
    pub(crate) fn found(&mut self, symbol: Option<&str>) -> &mut Found {
        let Some(symbol) = symbol else { return &mut self.unnamed };
        self.symbols.entry(symbol.to_owned()).or_default()
    }

    /// Adds a price and a quantity >= 0 of a table's row, at eight decimals; the symbol even without them.
    pub(crate) fn see_row(&mut self, symbol: &str, price: Option<i64>, qty: Option<i64>) {
        let found = self.found(Some(symbol));
        if let Some(price) = price {
            found.price.add(price);
            if found.first_price == 0 {
                found.first_price = i128::from(price) * FINE;
            }
        }
        if let Some(qty) = qty {
            found.qty.add(qty);
        }
    }

    /// Adds what another source of the same market holds.
    pub fn merge(&mut self, other: &Self) {
        for (symbol, found) in other.named() {
            let ours = self.symbols.entry(symbol.clone()).or_default();
            if ours.first_price == 0 {
                ours.first_price = found.first_price;
            }
            ours.price.merge(found.price);
            ours.qty.merge(found.qty);
        }
    }

    /// Symbols with what was found; unnamed snapshots belong to an only symbol.
    fn named(&self) -> impl Iterator<Item = (&String, Found)> {
        let only = self.symbols.len() == 1;
        self.symbols.iter().map(move |(symbol, found)| {
            let mut found = *found;
            if only {
                found.price.merge(self.unnamed.price);
                found.qty.merge(self.unnamed.qty);
                found.first_price = self.unnamed.first_price.max(found.first_price);
            }
            (symbol, found)
        })
    }

    /// About where each symbol trades: a best price near the beginning. `None` where none was seen, or where it does
    /// not fit into a price of that scale.
    pub fn price(&self, symbol: &str, scale: Scale) -> Option<Price> {
        // A configured tick may have more decimals than the venue prints: multiplied first, in a wider number.
        let wide = self.symbols.get(symbol)?.first_price.checked_mul(i128::from(scale.units()))?;
        let price = i64::try_from(wide / i128::from(Scale::saturating(FINE_DECIMALS).units())).ok()?;
        (1..=MANTISSA_MAX).contains(&price).then(|| Price::from_raw(price))
    }

    /// The instruments, with the coarsest grid that holds every number seen.
    pub fn instruments(&self, venue: Venue) -> impl Iterator<Item = Instrument> {
        self.named().map(move |(symbol, found)| {
            let ((price_scale, tick), (qty_scale, lot)) = (found.price.step(), found.qty.step());
            Instrument {
                venue,
                symbol: symbol.clone(),
                price_scale,
                qty_scale,
                tick: Price::from_raw(tick),
                lot: Qty::from_raw(lot),
                contract: contract(venue, symbol),
            }
        })
    }
}

/// Whether a symbol of OKX or Deribit is an option: `BTC-USD-261225-90000-C`, `BTC-25DEC26-90000-P`.
fn is_option(symbol: &str) -> bool {
    symbol.ends_with("-C") || symbol.ends_with("-P")
}

/// Contract sizes. Binance's coin-margined contracts are 100 USD for bitcoin and 10 USD for every other coin; BitMEX's
/// XBTUSD is one dollar.
fn contract(venue: Venue, symbol: &str) -> Contract {
    match venue {
        Venue::BinanceCoinm => {
            let quote_per_contract = if symbol.starts_with("BTCUSD") { 100.0 } else { 10.0 };
            Contract::Inverse { quote_per_contract }
        }
        Venue::Bitmex if symbol == "XBTUSD" => Contract::Inverse { quote_per_contract: 1.0 },
        // Quantities in dollars.
        Venue::BybitInverse => Contract::Inverse { quote_per_contract: 1.0 },
        Venue::Deribit if !is_option(symbol) && !symbol.contains('_') && symbol.contains('-') => {
            Contract::Inverse { quote_per_contract: 1.0 }
        }
        // `BTC-USD-SWAP`, `BTC-USD-261225`: contracts of 100 dollars for bitcoin and 10 for every other coin.
        Venue::Okx
            if !is_option(symbol) && symbol.split('-').nth(1) == Some("USD") && symbol.matches('-').count() == 2 =>
        {
            let quote_per_contract = if symbol.starts_with("BTC-") { 100.0 } else { 10.0 };
            Contract::Inverse { quote_per_contract }
        }
        _ => Contract::Linear,
    }
}

/// What the connections of a source hold, by market.
pub type Surveys = BTreeMap<Venue, Survey>;

/// Reads frames for surveys. Cold path: every number of every frame.
#[derive(Debug, Default)]
pub struct Surveyor {
    parser: Parser,
}

impl Surveyor {
    /// Adds one frame of Binance, whose market its shape tells; frames that are no market data add nothing. `symbol`
    /// names it where the frame does not.
    pub fn see(&mut self, frame: &mut FrameMut<'_>, symbol: Option<&str>, survey: &mut Survey) {
        binance::survey::see(&mut self.parser, frame, symbol, survey);
    }

    /// Adds one frame of a venue that the connection tells; `false` where only the shape of a frame tells a market.
    pub fn see_of(&mut self, venue: Venue, frame: &mut FrameMut<'_>, surveys: &mut Surveys) -> bool {
        sight::see(&mut self.parser, venue, frame, surveys)
    }
}
