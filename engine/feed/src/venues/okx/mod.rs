//! OKX v5: books, best prices, trades, tickers, funding, marks and option summaries over one connection.
//!
//! | channel | message |
//! |---|---|
//! | `books`, `books-l2-tbt`, `books50-l2-tbt` | a stream with snapshots and updates |
//! | `books5` | a book anew with each push |
//! | `bbo-tbt`, `tickers` | best bid and ask |
//! | `trades`, `trades-all` | trades |
//! | `funding-rate`, `mark-price` | mark and funding, merged an instrument |
//! | `opt-summary` | volatilities and greeks |
//!
//! Quantities of derivatives are contracts, as the venue sends them. Captures of 2021 and 2022 carry no `seqId`, but a
//! checksum; frames since June 2026 carry `seqId` and a checksum of 0.
//!
//! Sources: the OKX v5 documentation; field sets, chains and checksums were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scan;

pub use dialect::OKX;

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::tape::{self, Parser};
use crate::venues::{Batch, Decode, LEVELS_MAX, Levels, Marks, Message, Scanned, vectors};

/// Reads the frames of OKX.
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
    /// A decoder for OKX's instruments in the registry.
    pub fn new(registry: &Registry) -> Self {
        let mut decoder = Self {
            symbols: SymbolTable::new(registry, Venue::Okx),
            levels: Levels::with_texts(),
            batch: Batch::new(),
            marks: Marks::new(registry),
            parser: Parser::default(),
            vectors: vectors(),
            fallbacks: 0,
        };
        let text = |side: &str| {
            format!(r#"{{"arg":{{"channel":"books","instId":""}},"data":[{{"asks":[{side}],"bids":[{side}]}}]}}"#)
        };
        // The instrument does not exist: what counts is that the tape was filled.
        tape::warm_up(r#"["1234567.12345678","123456789.12345678","0","1"]"#, LEVELS_MAX, text, |frame| {
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
        // The only frame of OKX that is no JSON.
        if frame.bytes() == b"pong" {
            return Err(Reason::Control);
        }
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
