//! Looks at frames of unknown instruments: whose they are, of which market, and on which grid their numbers lie.

use std::collections::BTreeMap;

use simd_json::Node;
use tidegate_wire::decimal::{MANTISSA_MAX, parse};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Scale, Venue};

use crate::frame::FrameMut;
use crate::venues::binance::parse::{Fields, Nodes, Parser, payload};

/// Decimals at which grids are measured; Binance prints at most eight.
const SURVEY_DECIMALS: u8 = 8;

/// The greatest common divisor of all numbers seen, at [`SURVEY_DECIMALS`].
#[derive(Clone, Copy, Debug, Default)]
struct Grid(i64);

impl Grid {
    fn see(&mut self, text: &str) {
        if let Ok(value) = parse(text.as_bytes(), Scale::saturating(SURVEY_DECIMALS)) {
            self.add(value);
        }
    }

    fn add(&mut self, mut value: i64) {
        // Nearly every number lies on the grid already: one division.
        if self.0 != 0 && value % self.0 == 0 {
            return;
        }
        let mut divisor = self.0;
        while value != 0 {
            (divisor, value) = (value, divisor % value);
        }
        self.0 = divisor;
    }

    /// Fewest decimals that hold the grid, and its step at that scale.
    fn step(self) -> (Scale, i64) {
        let (mut decimals, mut step) = (SURVEY_DECIMALS, self.0.max(1));
        while decimals > 0 && step % 10 == 0 {
            decimals -= 1;
            step /= 10;
        }
        (Scale::saturating(decimals), step)
    }
}

/// What the frames of one symbol said.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    price: Grid,
    qty: Grid,
    /// The best price of the first book or quote seen, at [`SURVEY_DECIMALS`]; 0 before that.
    first_price: i64,
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

    /// Adds a price and a quantity >= 0 of a table's row, at eight decimals; the symbol even without them.
    pub(crate) fn see_row(&mut self, symbol: &str, price: Option<i64>, qty: Option<i64>) {
        let found = match self.symbols.get_mut(symbol) {
            Some(found) => found,
            None => self.symbols.entry(symbol.to_owned()).or_default(),
        };
        if let Some(price) = price {
            found.price.add(price);
            found.first_price = if found.first_price == 0 { price } else { found.first_price };
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
            for (grid, other) in [(&mut ours.price, found.price), (&mut ours.qty, found.qty)] {
                grid.add(other.0);
            }
        }
    }

    /// Symbols with what was found; unnamed snapshots belong to an only symbol.
    fn named(&self) -> impl Iterator<Item = (&String, Found)> {
        let only = self.symbols.len() == 1;
        self.symbols.iter().map(move |(symbol, found)| {
            let mut found = *found;
            if only {
                found.price.add(self.unnamed.price.0);
                found.qty.add(self.unnamed.qty.0);
                found.first_price = self.unnamed.first_price.max(found.first_price);
            }
            (symbol, found)
        })
    }

    /// About where each symbol trades: a best price near the beginning. `None` where none was seen, or where it does
    /// not fit into a price of that scale.
    pub fn price(&self, symbol: &str, scale: Scale) -> Option<Price> {
        // A configured tick may have more decimals than the venue prints: multiplied first, in a wider number.
        let wide = i128::from(self.symbols.get(symbol)?.first_price) * i128::from(scale.units());
        let price = i64::try_from(wide / i128::from(Scale::saturating(SURVEY_DECIMALS).units())).ok()?;
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

/// Contract sizes. Binance's coin-margined contracts are 100 USD for bitcoin and 10 USD for every other coin; BitMEX's
/// XBTUSD is one dollar.
fn contract(venue: Venue, symbol: &str) -> Contract {
    match venue {
        Venue::BinanceCoinm => {
            let quote_per_contract = if symbol.starts_with("BTCUSD") { 100.0 } else { 10.0 };
            Contract::Inverse { quote_per_contract }
        }
        Venue::Bitmex if symbol == "XBTUSD" => Contract::Inverse { quote_per_contract: 1.0 },
        _ => Contract::Linear,
    }
}

/// Reads frames for a [`Survey`]. Cold path: every number of every frame.
#[derive(Debug, Default)]
pub struct Surveyor {
    parser: Parser,
}

impl Surveyor {
    /// Adds one frame; frames that are no market data add nothing. `symbol` names it where the frame does not.
    pub fn see(&mut self, frame: &mut FrameMut<'_>, symbol: Option<&str>, survey: &mut Survey) {
        // A frame that cannot be read is counted when it is replayed.
        let _ = self.parser.with_tape(frame, |nodes| {
            let fields = payload(nodes)?;
            survey.venue = survey.venue.or_else(|| venue_of(&fields));
            let named = fields.text("s").or_else(|_| fields.text("symbol")).ok().or(symbol);
            let found = match named {
                Some(symbol) if survey.symbols.contains_key(symbol) => survey.symbols.get_mut(symbol),
                Some(symbol) => Some(survey.symbols.entry(symbol.to_owned()).or_default()),
                None => Some(&mut survey.unnamed),
            };
            if let Some(found) = found {
                grids(&fields, found);
                if found.first_price == 0 {
                    found.first_price = best_price(&fields).unwrap_or(0);
                }
            }
            Ok(())
        });
    }
}

/// The market of a frame, where its shape tells: futures have `pu` in depth frames and an event type in bookTicker.
fn venue_of(fields: &Fields<'_>) -> Option<Venue> {
    let symbol = fields.text("s").ok()?;
    let futures = match fields.text("e") {
        Ok("depthUpdate") => fields.get("pu").is_some(),
        Ok("bookTicker" | "markPriceUpdate") => true,
        Err(_) if fields.get("u").is_some() && fields.get("b").is_some() => false,
        _ => return None,
    };
    Some(match (futures, symbol.split_once('_')) {
        (false, _) => Venue::BinanceSpot,
        // `BTCUSD_PERP` is coin-margined, `BTCUSDT_240927` a USD-margined delivery contract.
        (true, Some((pair, _))) if pair.ends_with("USD") => Venue::BinanceCoinm,
        (true, _) => Venue::BinanceUsdm,
    })
}

/// The best bid of a quote or a snapshot; single depth frames may begin far from the touch.
fn best_price(fields: &Fields<'_>) -> Option<i64> {
    let text = match (fields.get("bids"), fields.get("B"), fields.get("b")) {
        (Some([Node::Array { .. }, Node::Array { len: 2, .. }, Node::String(price), ..]), _, _) => *price,
        (_, Some(_), Some([Node::String(price)])) => *price,
        _ => return None,
    };
    parse(text.as_bytes(), Scale::saturating(SURVEY_DECIMALS)).ok()
}

/// Only what the decoder reads lies on the grid: `p` of a mark price is an average, `q` of a ticker a turnover, and a
/// trade outside the book has whatever price the insurance fund paid.
fn grids(fields: &Fields<'_>, found: &mut Found) {
    let (prices, quantities): (&[&str], &[&str]) = match fields.text("e") {
        Ok("trade") if fields.get("X").is_some() && fields.text("X") != Ok("MARKET") => return,
        Ok("trade" | "aggTrade") => (&["p"], &["q"]),
        Ok("depthUpdate" | "bookTicker") | Err(_) => (&["b", "a", "bids", "asks"], &["B", "A"]),
        Ok(_) => return,
    };
    for key in prices {
        match fields.get(key) {
            Some([Node::Array { .. }, levels @ ..]) => side(levels, found),
            Some([Node::String(price)]) => found.price.see(price),
            _ => {}
        }
    }
    for key in quantities {
        if let Some([Node::String(qty)]) = fields.get(key) {
            found.qty.see(qty);
        }
    }
}

fn side(levels: Nodes<'_>, found: &mut Found) {
    for level in levels.chunks_exact(3) {
        if let [Node::Array { len: 2, .. }, Node::String(price), Node::String(qty)] = level {
            found.price.see(price);
            found.qty.see(qty);
        }
    }
}
