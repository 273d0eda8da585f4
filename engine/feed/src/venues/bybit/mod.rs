//! Bybit v5: books, trades and tickers of one category; the connection says which.
//!
//! | topic | message |
//! |---|---|
//! | `orderbook.1.SYMBOL` | best bid and ask |
//! | `orderbook.50`, `.200`, `.1000` (options `.25`, `.100`) | a stream with snapshots and deltas, a window of the book |
//! | `publicTrade.SYMBOL` | trades |
//! | `tickers.SYMBOL` | mark, index and funding, merged an instrument; volatilities and greeks of options |
//!
//! Book stamps are `cts`, the matching engine's own time; `ts` is the gateway's.
//!
//! Sources: the Bybit v5 documentation; field sets and chains were checked against recorded traffic of 2026.

mod dialect;
pub(crate) mod parse;
mod scan;

pub use dialect::{INVERSE, LINEAR, SPOT};

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::tape::{self, Parser};
use crate::venues::{Batch, Decode, LEVELS_MAX, Levels, Marks, Message, Scanned, vectors};

/// Bybit's markets: a connection carries one of them.
pub const MARKETS: [Venue; 3] = [Venue::Bybit, Venue::BybitSpot, Venue::BybitInverse];

/// Reads the frames of one Bybit category.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    levels: Levels,
    batch: Batch,
    marks: Marks,
    parser: Parser,
    vectors: bool,
    fallbacks: u64,
}

impl Decoder {
    /// A decoder for the instruments of `venue` in the registry.
    pub fn new(registry: &Registry, venue: Venue) -> Self {
        let mut decoder = Self {
            symbols: SymbolTable::new(registry, venue),
            levels: Levels::default(),
            batch: Batch::new(),
            marks: Marks::new(registry),
            parser: Parser::default(),
            vectors: vectors(),
            fallbacks: 0,
        };
        let text = |side: &str| format!(r#"{{"topic":"orderbook.50.","data":{{"s":"","b":[{side}],"a":[{side}]}}}}"#);
        // The instrument does not exist: what counts is that the tape was filled.
        tape::warm_up(r#"["1234567.12345678","123456789.12345678"]"#, LEVELS_MAX, text, |frame| {
            let _ = decoder.parse(frame, InstrumentId::NONE);
        });
        decoder
    }
}

impl Decode for Decoder {
    fn decode(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        match scan::scan(frame, &self.symbols, &mut self.levels, self.vectors) {
            Scanned::Read(message) => Ok(message),
            Scanned::Surprised => {
                self.fallbacks += 1;
                self.parse(frame, hint)
            }
            Scanned::OtherKind => self.parse(frame, hint),
        }
    }

    fn parse(&mut self, frame: &mut FrameMut<'_>, _: InstrumentId) -> Result<Message, Reason> {
        let Self { symbols, levels, batch, marks, parser, .. } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch, marks }.read(nodes))
    }

    fn scan(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Option<Message> {
        scan::scan(frame, &self.symbols, &mut self.levels, vectors && self.vectors).message()
    }

    fn levels(&self) -> &Levels {
        &self.levels
    }

    fn levels_mut(&mut self) -> &mut Levels {
        &mut self.levels
    }

    fn batch(&self) -> &Batch {
        &self.batch
    }

    fn fallbacks(&self) -> u64 {
        self.fallbacks
    }
}
