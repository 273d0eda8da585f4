//! Bytes to events.
//!
//! # The model
//!
//! A **frame** is one venue message with the time it was received ([`frame`]). A venue's **decoder** ([`venues`]) is a
//! state machine without I/O: it reads a frame and either knows what it says or counts why not. In front of the books
//! stands a **synchroniser** ([`sync`]) an instrument: it applies the venue's sequence rule to every depth frame,
//! holds frames back until a snapshot joins them or waits for the snapshot that the stream itself brings, and says when
//! updates are missing. Where a venue sends checksums, every one is compared with the book. [`Feed`] ties both together
//! and calls an [`EventSink`](tidegate_wire::event::EventSink). Sockets, replay, fuzzers and the simulator drive this
//! same code.
//!
//! Recorded tables (bars, funding, books flattened to rows) go through the same feed: a row is a frame whose format
//! the reader names, and gives the events a live venue's frame would.
//!
//! [`replay`] reads recorded captures, merges them by receive time on a cold thread and hands blocks of frames to the
//! hot loop; [`discover`] finds out which instruments a capture holds.
//!
//! Outside input never stops anything here: a malformed or unknown frame is counted by [`Reason`] and skipped, a gap
//! takes one book out of service and leaves the others alone.

mod arbiter;
pub mod capture;
mod checksum;
pub mod counters;
pub mod discover;
mod emit;
mod feed;
pub mod frame;
mod json;
mod ladder;
mod numbers;
pub mod replay;
pub mod session;
pub mod symbols;
pub mod sync;
mod tables;
pub mod transport;
pub mod venues;

pub use counters::{FeedCounters, Reason, VenueCounters};
pub use feed::{Feed, FeedError};
pub use frame::{FrameMeta, FrameMut, Outcome, PADDING};
