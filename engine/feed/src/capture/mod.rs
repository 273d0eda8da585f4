//! Raw frames as they came, for ever.
//!
//! The loop copies each frame with its receive time into a block of memory ([`Tap`]); a cold thread compresses full
//! blocks and appends them to a file. What is captured is all that a feed is given, in its order: frames of every
//! connection, REST snapshots, the passing of time without frames, and books taken out of service. Replaying a capture
//! therefore gives the decisions of the run that wrote it.

mod block;
mod entry;
mod header;
mod layout;
mod reader;
mod series;
mod tap;
mod writer;

pub use block::Block;
pub use entry::{Entries, Entry, EntryKind};
pub use header::CaptureHeader;
pub use layout::{BlockPlace, CaptureError, FRAME_MAX, MAGIC};
pub use reader::CaptureFile;
pub use series::{Series, SeriesReport, SeriesSettings};
pub use tap::{Tap, TapEnds, tap};
pub use writer::CaptureWriter;
