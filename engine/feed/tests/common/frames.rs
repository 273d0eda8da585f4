//! Frames with numbers of our own, in the shapes that Binance documents: golden input of the tests, seeds of the
//! fuzzer.

use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Registry, Venue};

/// One message: its market, the stream that carries it (empty for a REST answer) and the bare frame.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) venue: Venue,
    pub(crate) stream: &'static str,
    pub(crate) bare: &'static str,
}

impl Golden {
    /// The frame as a combined stream sends it.
    pub(crate) fn wrapped(&self) -> String {
        format!(r#"{{"stream":"{}","data":{}}}"#, self.stream, self.bare)
    }

    /// All forms in which the message travels.
    pub(crate) fn forms(&self) -> Vec<String> {
        if self.stream.is_empty() { vec![self.bare.into()] } else { vec![self.bare.into(), self.wrapped()] }
    }
}

/// The instruments of the frames: ids 0 to 5 in this order.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    for (venue, symbol, price_decimals, qty_decimals) in [
        (Venue::BinanceSpot, "ABCUSDT", 2, 5),
        (Venue::BinanceSpot, "XYZBTC", 8, 0),
        (Venue::BinanceUsdm, "ABCUSDT", 1, 3),
        (Venue::BinanceUsdm, "ABCUSDT_270625", 1, 3),
        (Venue::BinanceCoinm, "ABCUSD_PERP", 1, 0),
        (Venue::BinanceCoinm, "ABCUSD_270625", 2, 0),
    ] {
        let contract = match venue {
            Venue::BinanceCoinm => Contract::Inverse { quote_per_contract: 10.0 },
            _ => Contract::Linear,
        };
        let instrument = Instrument { contract, ..Instrument::linear(venue, symbol, price_decimals, qty_decimals) };
        registry.add(instrument).expect("a good instrument");
    }
    registry
}

/// Every message of every market; futures carry the keys that came in 2026 (`st`, `ps`, `nq`, `ap`).
///
/// They stand in a text file, a line each: name, market, stream and frame with bars between them.
pub(crate) fn golden() -> Vec<Golden> {
    include_str!("golden.txt").lines().map(golden_line).collect()
}

fn golden_line(line: &'static str) -> Golden {
    let mut parts = line.splitn(4, '|');
    let mut part = || parts.next().expect("four parts");
    let (name, venue, stream, bare) = (part(), part(), part(), part());
    Golden { name, venue: Venue::from_name(venue).expect("a venue"), stream, bare }
}
