//! One venue message in a buffer that may be read past its end.

use tidegate_wire::InstrumentId;

/// Readable bytes behind every frame: the vector readers load 16 bytes at a time and simd-json 64.
pub const PADDING: usize = 64;

/// A frame to be decoded, in place.
///
/// The buffer is mutable because simd-json unescapes strings where they stand.
#[derive(Debug)]
pub struct FrameMut<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> FrameMut<'a> {
    /// The first `length` bytes of `buffer`; `None` unless [`PADDING`] more bytes follow them (their content does not
    /// matter: the next frame will do).
    #[inline(always)]
    pub fn new(buffer: &'a mut [u8], length: usize) -> Option<Self> {
        // A buffer shorter than the padding holds no frame, not even an empty one.
        let most = buffer.len().checked_sub(PADDING)?;
        (length <= most).then_some(Self { buffer, length })
    }

    /// The message.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Length of the message, in bytes.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether the message is empty.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The message and its padding.
    #[inline(always)]
    pub(crate) fn padded(&self) -> &[u8] {
        self.buffer
    }

    /// The message and its padding, for the in-place parser.
    #[inline(always)]
    pub(crate) fn padded_mut(&mut self) -> (&mut [u8], usize) {
        (self.buffer, self.length)
    }
}

/// What a frame was: whoever runs the connection answers for control frames and counts on market frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Levels of an instrument's book, read and judged.
    Depth(tidegate_wire::InstrumentId),
    /// Other market data of an instrument (the first of several).
    Market(tidegate_wire::InstrumentId),
    /// An acknowledgement, an error, a heartbeat or another answer: for the session.
    Control,
    /// Not used, for this reason.
    Skipped(crate::Reason),
}

/// What the transport knows of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// When it was received, ns since the Unix epoch.
    pub recv_ns: i64,
    /// Counter when it was taken, or when it was due in a paced replay, ticks.
    pub arrive_ticks: u64,
    /// Which venue's decoder reads it.
    pub venue: tidegate_wire::Venue,
    /// Which connection or capture it came from: a break in the sequence between two of them is a new session, within
    /// one a gap.
    pub source: u16,
    /// Whose it is where the message does not say (a REST snapshot); [`InstrumentId::NONE`] when unknown.
    pub hint: InstrumentId,
}
