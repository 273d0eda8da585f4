//! Frames with numbers of our own, in the shapes that OKX, Bybit, Bitget and Deribit document: golden input of the
//! tests, seeds of the fuzzers.

use tidegate_wire::{Instrument, Registry, Venue};

/// One message: its market, what it says (see `stream_golden`), and the frame.
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) venue: Venue,
    pub(crate) says: &'static str,
    pub(crate) frame: &'static str,
}

/// The instruments of the frames, in the order of their ids.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    for (venue, symbol, price_decimals, qty_decimals) in [
        (Venue::Okx, "ABC-USDT", 2, 4),
        (Venue::Okx, "ABC-USD-261225-900-C", 4, 0),
        (Venue::Bybit, "ABCUSDT", 1, 3),
        (Venue::BybitSpot, "ABCUSDT", 2, 6),
        (Venue::Bybit, "ABC-26DEC25-900-C", 1, 1),
        (Venue::BitgetUsdt, "ABCUSDT", 1, 1),
        (Venue::BitgetSpot, "ABCUSDT", 2, 4),
        (Venue::BitgetCoin, "ABCUSD", 1, 0),
        (Venue::Deribit, "ABC-PERPETUAL", 1, 0),
        (Venue::Deribit, "ABC-25DEC26-900-C", 4, 1),
        (Venue::Deribit, "ABCDVOL", 2, 0),
    ] {
        let instrument = Instrument::linear(venue, symbol, price_decimals, qty_decimals);
        registry.add(instrument).expect("a good instrument");
    }
    registry
}

/// Every message of every venue.
///
/// They stand in a text file, a line each: name, market, what it says, and the frame, with bars between them.
pub(crate) fn streams() -> Vec<Stream> {
    let line = |line: &'static str| {
        let mut parts = line.splitn(4, '|').map(str::trim);
        let mut part = || parts.next().expect("four parts");
        let (name, venue, says, frame) = (part(), part(), part(), part());
        Stream { name, venue: Venue::from_name(venue).expect("a venue"), says, frame }
    };
    include_str!("streams.txt").lines().filter(|line| !line.starts_with('#')).map(line).collect()
}
