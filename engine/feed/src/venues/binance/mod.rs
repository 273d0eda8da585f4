//! Binance spot, USD-M and COIN-M: depth diffs, REST snapshots, bookTicker, trade, aggTrade, markPrice.
//!
//! Frames come bare or in the combined-stream wrapper `{"stream":...,"data":...}`. Depth diffs, bookTicker and trade
//! are read by a scanner that knows their schema (`scanner`); whatever surprises it, and every other message, is read
//! by simd-json (`parse`). Both give the same message or none.
//!
//! Sources: Binance spot WebSocket streams and USD-M/COIN-M futures documentation; key order, number formats and the
//! sequence rules were checked against recorded traffic.

mod dialect;
pub(crate) mod parse;
mod scanner;
pub(crate) mod survey;

pub use dialect::{COINM, SPOT, USDM};

use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::binance::scanner::Frames;
use crate::venues::{Batch, Decode, Kit, Levels, Message, Scanned, scan};

/// Binance's markets, in the order of their numbers.
pub const MARKETS: [Venue; 3] = [Venue::BinanceSpot, Venue::BinanceUsdm, Venue::BinanceCoinm];

/// Reads the frames of one Binance market.
#[derive(Debug)]
pub struct Decoder {
    symbols: SymbolTable,
    kit: Kit,
}

impl Decoder {
    /// A decoder for the instruments of `venue` in the registry.
    pub fn new(registry: &Registry, venue: Venue) -> Self {
        let decoder = Self {
            symbols: SymbolTable::new(registry, venue),
            // No frame of Binance holds several messages.
            kit: Kit::new(Levels::default(), Batch::default()),
        };
        decoder.warmed_up(
            r#"{"lastUpdateId":1,"bids":[<levels>],"asks":[<levels>]}"#,
            r#"["1234567.12345678","123456789.12345678"]"#,
        )
    }
}

impl Decode for Decoder {
    #[inline(always)]
    fn kit(&self) -> &Kit {
        &self.kit
    }

    #[inline(always)]
    fn kit_mut(&mut self) -> &mut Kit {
        &mut self.kit
    }

    #[inline]
    fn scanned(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Scanned {
        scan::<Frames>(frame, &self.symbols, &mut self.kit.levels, vectors && self.kit.vectors)
    }

    fn parse(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        let Self { symbols, kit: Kit { levels, parser, .. } } = self;
        parser.with_tape(frame, |nodes| parse::read(nodes, symbols, hint, levels))
    }
}

/// A venue stamp (milliseconds, or microseconds where the stream was asked for them) in ns since the epoch.
#[inline(always)]
fn stamp_ns(stamp: u64) -> Option<i64> {
    // 10^14 ms is the year 5138, 10^14 us was in 1973: no stamp is ambiguous.
    let ns = if stamp < 100_000_000_000_000 { stamp.checked_mul(1_000_000)? } else { stamp.checked_mul(1_000)? };
    i64::try_from(ns).ok()
}
