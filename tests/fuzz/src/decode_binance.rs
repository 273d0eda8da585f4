//! Fuzz target: a Binance frame through the vector scanner, the byte-wise scanner and simd-json must mean the same.
//!
//! The first byte chooses the market, the rest is the frame. The oracle is the one of the room's tests.

#![no_main]

#[path = "../../../engine/feed/tests/common/differential.rs"]
mod differential;
#[path = "../../../engine/feed/tests/common/frames.rs"]
#[allow(dead_code)]
mod frames;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tidegate_feed::venues::binance::{Decoder, MARKETS};
use tidegate_wire::InstrumentId;

thread_local! {
    static DECODERS: RefCell<[Decoder; 3]> =
        RefCell::new(MARKETS.map(|venue| Decoder::new(&frames::registry(), venue)));
}

/// An unnamed snapshot belongs to a market's first instrument.
const HINTS: [InstrumentId; 3] = [InstrumentId(0), InstrumentId(2), InstrumentId(4)];

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first() else { return };
    let venue = usize::from(*choice) % MARKETS.len();
    DECODERS.with_borrow_mut(|decoders| {
        // What it says does not matter here, only that all readers say it.
        let _ = differential::differential(&mut decoders[venue], frame, HINTS[venue]);
    });
});
