//! Fuzz target: an OKX frame through the vector scanner, the byte-wise scanner and simd-json must mean the same.
//!
//! The oracle is the one of the room's tests.

#![no_main]

#[path = "../../../engine/feed/tests/common/any.rs"]
mod any;
#[path = "../../../engine/feed/tests/common/differential.rs"]
mod differential;
#[path = "../../../engine/feed/tests/common/streams.rs"]
#[allow(dead_code)]
mod streams;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tidegate_wire::{InstrumentId, Venue};

thread_local! {
    static DECODER: RefCell<any::Any> = RefCell::new(any::Any::new(&streams::registry(), Venue::Okx));
}

fuzz_target!(|frame: &[u8]| {
    // What it says does not matter here, only that all readers say it.
    DECODER.with_borrow_mut(|decoder| _ = differential::differential(decoder, frame, InstrumentId::NONE));
});
