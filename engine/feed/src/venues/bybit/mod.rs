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
mod scanner;

pub use dialect::{INVERSE, LINEAR, SPOT};

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::bybit::scanner::Books;
use crate::venues::{Batch, Decode, Kit, Levels, Marks, Message, Scanned, scan};

/// Bybit's markets: a connection carries one of them.
pub const MARKETS: [Venue; 3] = [Venue::Bybit, Venue::BybitSpot, Venue::BybitInverse];

/// Reads the frames of one Bybit category.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    kit: Kit,
    marks: Marks,
}

impl Decoder {
    /// A decoder for the instruments of `venue` in the registry.
    pub fn new(registry: &Registry, venue: Venue) -> Self {
        let decoder = Self {
            symbols: SymbolTable::new(registry, venue),
            kit: Kit::new(Levels::default(), Batch::new()),
            marks: Marks::new(registry),
        };
        decoder.warmed_up(
            r#"{"topic":"orderbook.50.","data":{"s":"","b":[<levels>],"a":[<levels>]}}"#,
            r#"["1234567.12345678","123456789.12345678"]"#,
        )
    }
}

impl Decode for Decoder {
    fn kit(&self) -> &Kit {
        &self.kit
    }

    fn kit_mut(&mut self) -> &mut Kit {
        &mut self.kit
    }

    fn scanned(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Scanned {
        scan::<Books>(frame, &self.symbols, &mut self.kit.levels, vectors && self.kit.vectors)
    }

    fn parse(&mut self, frame: &mut FrameMut<'_>, _: InstrumentId) -> Result<Message, Reason> {
        let Self { symbols, kit: Kit { levels, batch, parser, .. }, marks } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch, marks }.read(nodes))
    }
}
