//! What comes out: frames as a recorder gets them.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// One received frame. Keep one and pass it to [`crate::Simulator::next_frame`] again: its buffer is reused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Receive time, ns since the Unix epoch.
    pub recv_ns: i64,
    /// Index of the instrument in the configuration.
    pub instrument: usize,
    /// The JSON text, without a line end.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: FrameKind,
}

/// Kinds of frames.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// Differences of the book.
    #[default]
    Depth,
    /// Best bid and ask.
    BookTicker,
    /// One fill.
    Trade,
    /// Fills of one order at one price.
    AggTrade,
    /// Mark price, index and funding.
    MarkPrice,
    /// The recorder's REST snapshot: not a stream frame, has no wrapper.
    Snapshot,
}

impl FrameKind {
    /// Name in statistics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
