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
//! | REST `market/books` with a `seqId` | a book anew, to be joined to `books` |
//!
//! Quantities of derivatives are contracts, as the venue sends them. Captures of 2021 and 2022 carry no `seqId`, but a
//! checksum; frames since June 2026 carry `seqId` and a checksum of 0.
//!
//! Sources: the OKX v5 documentation; field sets, chains and checksums were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scanner;

pub use dialect::OKX;
pub(crate) use parse::BOOKS;

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::okx::scanner::Books;
use crate::venues::{Batch, Decode, Kit, Levels, Marks, Message, Scanned, scan};

/// Reads the frames of OKX.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    kit: Kit,
    marks: Marks,
}

impl Decoder {
    /// A decoder for OKX's instruments in the registry.
    pub fn new(registry: &Registry) -> Self {
        let decoder = Self {
            symbols: SymbolTable::new(registry, Venue::Okx),
            kit: Kit::new(Levels::with_texts(), Batch::new()),
            marks: Marks::new(registry),
        };
        decoder.warmed_up(
            r#"{"arg":{"channel":"books","instId":""},"data":[{"asks":[<levels>],"bids":[<levels>]}]}"#,
            r#"["1234567.12345678","123456789.12345678","0","1"]"#,
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

    fn parse(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        // The only frame of OKX that is no JSON.
        if frame.bytes() == b"pong" {
            return Err(Reason::Control);
        }
        let Self { symbols, kit: Kit { levels, batch, parser, .. }, marks } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch, marks, hint }.read(nodes))
    }
}
