//! Binance spot, USD-M and COIN-M: depth diffs, REST snapshots, bookTicker, trade, aggTrade, markPrice.
//!
//! Frames come bare or in the combined-stream wrapper `{"stream":...,"data":...}`. Depth diffs, bookTicker and trade
//! are read by a scanner that knows their schema (`scan`); whatever surprises it, and every other message, is read by
//! simd-json (`parse`). Both give the same message or none.
//!
//! Sources: Binance spot WebSocket streams and USD-M/COIN-M futures documentation; key order, number formats and the
//! sequence rules were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scan;
pub(crate) mod survey;

pub use dialect::{COINM, SPOT, USDM};

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::tape::{self, Parser};
use crate::venues::{Batch, Decode, LEVELS_MAX, Levels, Message};

/// Binance's markets, in the order of their numbers.
pub const MARKETS: [Venue; 3] = [Venue::BinanceSpot, Venue::BinanceUsdm, Venue::BinanceCoinm];

/// Reads the frames of one Binance market.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    levels: Levels,
    parser: Parser,
    /// Always empty: no frame of Binance holds several messages.
    batch: Batch,
    scanner: scan::Scanner,
    fallbacks: u64,
}

impl Decoder {
    /// A decoder for the instruments of `venue` in the registry.
    pub fn new(registry: &Registry, venue: Venue) -> Self {
        let mut decoder = Self {
            symbols: SymbolTable::new(registry, venue),
            levels: Levels::default(),
            parser: Parser::default(),
            batch: Batch::default(),
            scanner: scan::Scanner::best(),
            fallbacks: 0,
        };
        decoder.warm_up();
        decoder
    }

    /// Reads a snapshot of the largest size there is, so that no buffer has to grow on the hot path.
    fn warm_up(&mut self) {
        let text = |side: &str| format!(r#"{{"lastUpdateId":1,"bids":[{side}],"asks":[{side}]}}"#);
        tape::warm_up(r#"["1234567.12345678","123456789.12345678"]"#, LEVELS_MAX, text, |frame| {
            // It names no instrument: what counts is that the tape was filled.
            let _ = self.parse(frame, InstrumentId::NONE);
        });
    }
}

impl Decode for Decoder {
    #[inline]
    fn decode(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        match self.scanner.scan(frame, &self.symbols, &mut self.levels) {
            scan::Outcome::Read(message) => Ok(message),
            scan::Outcome::Surprised => {
                self.fallbacks += 1;
                self.parse(frame, hint)
            }
            scan::Outcome::OtherKind => self.parse(frame, hint),
        }
    }

    fn parse(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        self.parser.with_tape(frame, |nodes| parse::read(nodes, &self.symbols, hint, &mut self.levels))
    }

    fn scan(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Option<Message> {
        let scanner = if vectors { self.scanner } else { scan::Scanner::scalar() };
        match scanner.scan(frame, &self.symbols, &mut self.levels) {
            scan::Outcome::Read(message) => Some(message),
            _ => None,
        }
    }

    #[inline(always)]
    fn levels(&self) -> &Levels {
        &self.levels
    }

    #[inline(always)]
    fn levels_mut(&mut self) -> &mut Levels {
        &mut self.levels
    }

    #[inline(always)]
    fn batch(&self) -> &Batch {
        &self.batch
    }

    fn fallbacks(&self) -> u64 {
        self.fallbacks
    }
}

/// A venue stamp (milliseconds, or microseconds where the stream was asked for them) in ns since the epoch.
#[inline(always)]
fn stamp_ns(stamp: u64) -> Option<i64> {
    // 10^14 ms is the year 5138, 10^14 us was in 1973: no stamp is ambiguous.
    let ns = if stamp < 100_000_000_000_000 { stamp.checked_mul(1_000_000)? } else { stamp.checked_mul(1_000)? };
    i64::try_from(ns).ok()
}
