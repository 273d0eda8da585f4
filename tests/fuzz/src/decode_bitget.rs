//! Fuzz target: a Bitget frame through the vector scanner, the byte-wise scanner and simd-json must mean the same.

#![no_main]

mod stream;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| stream::read(tidegate_wire::Venue::BitgetUsdt, frame));
