//! The venue: turns what happens in a market into the frames Binance sends for it, and sends them.
//!
//! * `encode` writes frames byte for byte in the key order of recorded ones.
//! * `batch` collects level changes into depth frames.
//! * `line` is the network: when a frame arrives, and whether it does.
//! * `feed` is one instrument's connection: ids, timers, the snapshot of the recorder.

mod batch;
pub(crate) mod decimal;
mod encode;
pub(crate) mod feed;
mod line;
