//! The shared vocabulary of Tidegate: what every other room reads and writes, and nothing else.
//!
//! # The model
//!
//! Market data enters as frames (bytes with a receive time). A decoder turns a frame into **records**: plain-old-data
//! of whole 64-byte lines, the first of which is a [`event::Header`]. Records travel through one of two **rings**
//! over one memory layout ([`ring`]): a lossless one for what must not be lost and an overwrite one for observers
//! that must never slow the feed. The newest value of something small (thresholds, a clock anchor) sits in a
//! [`cell::SeqCell`].
//!
//! Numbers are integers: a [`Price`] or [`Qty`] is a mantissa whose scale belongs to its [`Instrument`]. Times are
//! nanoseconds since the Unix epoch (`*_ns`) or raw counter ticks (`*_ticks`, see [`clock`]); the two never mix.
//!
//! Failure is a value here: a full ring, a lapped reader, a text that does not fit its scale. Nothing in this crate
//! allocates after construction, locks, logs or panics on outside input.

pub mod advice;
pub mod cell;
#[cfg(not(loom))]
pub mod cells;
pub mod clock;
pub mod decimal;
pub mod decision;
pub mod event;
pub mod feature;
pub mod instrument;
#[cfg(not(loom))]
pub mod latency;
pub mod ledger;
pub mod look;
mod named;
pub mod order;
pub mod position;
#[cfg(not(loom))]
pub mod relay;
pub mod ring;
pub mod signal;
mod sync;
pub mod top;
pub mod trap;

pub use decimal::{DecimalError, Price, Qty, Scale};
pub use event::{Header, Level, RecordKind};
pub use instrument::{Instrument, InstrumentId, Registry, Venue};
