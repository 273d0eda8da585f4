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
//! recovered exactly (see [`tape`]); the scanner of books reads the digits themselves, and both must agree.
//!
//! Sources: the Deribit API documentation; field sets and chains were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scan;

pub use dialect::DERIBIT;

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::tape::{self, Parser};
use crate::venues::{Batch, Decode, LEVELS_MAX, Levels, Message, Scanned, vectors};

/// Reads the frames of Deribit.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    levels: Levels,
    batch: Batch,
    parser: Parser,
    vectors: bool,
    fallbacks: u64,
}

impl Decoder {
    /// A decoder for Deribit's instruments in the registry.
    pub fn new(registry: &Registry) -> Self {
        let mut decoder = Self {
            symbols: SymbolTable::new(registry, Venue::Deribit),
            levels: Levels::default(),
            batch: Batch::new(),
            parser: Parser::default(),
            vectors: vectors(),
            fallbacks: 0,
        };
        let text = |side: &str| format!(r#"{{"params":{{"data":{{"asks":[{side}],"bids":[{side}]}}}}}}"#);
        // It is of no channel: what counts is that the tape was filled.
        tape::warm_up(r#"["change",1234567.12345678,123456789.12345678]"#, LEVELS_MAX, text, |frame| {
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
        let Self { symbols, levels, batch, parser, .. } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch }.read(nodes))
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
