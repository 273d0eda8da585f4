//! Bitget v2, v3 (unified account) and the v1 of old recordings: books, trades and tickers.
//!
//! | channel | message |
//! |---|---|
//! | `books` | a stream with snapshots and updates |
//! | `books5`, `books15` | a book anew with each push |
//! | `books1` | best bid and ask |
//! | `trade`, `publicTrade` | trades; the first push repeats old ones and is passed over |
//! | `ticker` | mark, index and funding of futures |
//!
//! One connection carries all markets: `instType` in `arg` says which a frame is of, and instruments are looked up by
//! it. Version 1 names two, `sp` for spot and `mc` for all futures, where the symbol tells the margin.
//!
//! Sources: the Bitget documentation; field sets and checksums were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scanner;

pub use dialect::{COIN, SPOT, USDC, USDT};

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::bitget::scanner::Books;
use crate::venues::{Batch, Decode, Kit, Levels, Message, Scanned, scan};

/// Bitget's markets, in the order of their numbers.
pub const MARKETS: [Venue; 4] = [Venue::BitgetSpot, Venue::BitgetUsdt, Venue::BitgetCoin, Venue::BitgetUsdc];

/// The instruments of each market.
pub(crate) type Symbols = [SymbolTable; MARKETS.len()];

/// Reads the frames of all Bitget markets.
#[derive(Debug)]
pub struct Decoder {
    symbols: Symbols,
    kit: Kit,
}

impl Decoder {
    /// A decoder for Bitget's instruments in the registry.
    pub fn new(registry: &Registry) -> Self {
        let decoder = Self {
            symbols: MARKETS.map(|venue| SymbolTable::new(registry, venue)),
            kit: Kit::new(Levels::with_texts(), Batch::new()),
        };
        decoder.warmed_up(
            r#"{"arg":{"instType":"","instId":""},"data":[{"asks":[<levels>],"bids":[<levels>]}]}"#,
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
        // The only frame of Bitget that is no JSON.
        if frame.bytes() == b"pong" {
            return Err(Reason::Control);
        }
        let Self { symbols, kit: Kit { levels, batch, parser, .. } } = self;
        parser.with_tape(frame, |nodes| parse::Reader { symbols, levels, batch }.read(nodes))
    }
}
