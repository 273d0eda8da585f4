//! Deribit: notifications of JSON-RPC 2.0 about options, futures, perpetuals and volatility indices.
//!
//! | channel | message |
//! |---|---|
//! | `book.X.raw`, `.100ms`, `.agg2` | a stream with snapshots and changes |
//! | `book.X.GROUP.DEPTH.100ms` | a book anew with each push |
//! | `trades.X.*` | trades, contiguous by `trade_seq` |
//! | `ticker.X.*` | mark and funding; volatilities and greeks of options |
//! | `quote.X` | best bid and ask |
//! | `deribit_volatility_index.btc_usd` | the index of `BTCDVOL`, percentage points |
//!
//! Prices and amounts are JSON numbers. simd-json holds those with a fraction as doubles, from which the decimal is
//! recovered exactly (see `tape`); the scanner of books reads the digits themselves, and both
//! must agree.
//!
//! Sources: the Deribit API documentation; field sets and chains were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scanner;

pub use dialect::DERIBIT;

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::deribit::scanner::Books;
use crate::venues::{Batch, Decode, Kit, Levels, Message, Scanned, scan};

/// Reads the frames of Deribit.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    kit: Kit,
}

impl Decoder {
    /// A decoder for Deribit's instruments in the registry.
    pub fn new(registry: &Registry) -> Self {
        let decoder = Self {
            symbols: SymbolTable::new(registry, Venue::Deribit),
            kit: Kit::new(Levels::default(), Batch::new()),
        };
        decoder.warmed_up(
            r#"{"params":{"data":{"asks":[<levels>],"bids":[<levels>]}}}"#,
            r#"["change",1234567.12345678,123456789.12345678]"#,
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
        let Self { symbols, kit: Kit { levels, batch, parser, .. } } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch }.read(nodes))
    }
}
