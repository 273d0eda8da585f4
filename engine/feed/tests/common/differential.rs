//! The differential oracle: scanner with vectors, scanner byte by byte and simd-json must agree on a frame.
//!
//! The fuzz target and the tests use this one file.

use tidegate_feed::Reason;
use tidegate_feed::frame::{FrameMut, PADDING};
use tidegate_feed::venues::{Batch, Body, Decode, Message};
use tidegate_wire::InstrumentId;
use tidegate_wire::event::Level;

/// What one reader made of a frame, levels included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) message: Message,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
    pub(crate) batch: Batch,
}

/// What the decoder's buffers hold after it answered.
fn reading(decoder: &impl Decode, message: Message) -> Reading {
    let depth = matches!(message.body, Body::Delta(_) | Body::Snapshot(_) | Body::Stream(_));
    let side = |levels: &[Level]| if depth { levels.to_vec() } else { Vec::new() };
    let batch = if message.body == Body::Batch { decoder.batch().clone() } else { Batch::default() };
    Reading { message, bids: side(decoder.levels().bids()), asks: side(decoder.levels().asks()), batch }
}

/// A frame followed by bytes that would continue any number, string or list, so that a reader that looks past the end
/// is caught by its answer.
fn padded(bytes: &[u8], padding: &[u8]) -> Vec<u8> {
    bytes.iter().chain(padding.iter().cycle().take(PADDING)).copied().collect()
}

/// Reads a frame in all three ways with two kinds of padding.
///
/// # Panics
/// When two of them disagree, or bytes behind the frame changed.
pub(crate) fn differential(decoder: &mut impl Decode, bytes: &[u8], hint: InstrumentId) -> Result<Reading, Reason> {
    // Marks are merged over frames and over the rows of one: what is compared begins where a first reading has ended.
    let mut buffer = padded(bytes, b"0");
    if let Some(mut frame) = FrameMut::new(&mut buffer, bytes.len()) {
        let _ = decoder.parse(&mut frame, hint);
    }
    let first = one(decoder, bytes, hint, b"0");
    let second = one(decoder, bytes, hint, b"\"],[\"9\",\"1\"]]}}");
    assert_eq!(first, second, "the padding decides: {}", String::from_utf8_lossy(bytes));
    first
}

fn one(decoder: &mut impl Decode, bytes: &[u8], hint: InstrumentId, padding: &[u8]) -> Result<Reading, Reason> {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    let mut buffer = padded(bytes, padding);
    let frame = FrameMut::new(&mut buffer, bytes.len()).expect("padding");
    let vector = decoder.scan(&frame, true).map(|message| reading(decoder, message));
    let scalar = decoder.scan(&frame, false).map(|message| reading(decoder, message));
    assert_eq!(vector, scalar, "vectors and bytes disagree: {}", shown());
    let mut frame = FrameMut::new(&mut buffer, bytes.len()).expect("padding");
    let parsed = decoder.parse(&mut frame, hint).map(|message| reading(decoder, message));
    assert!(buffer[bytes.len()..].iter().eq(padding.iter().cycle().take(PADDING)), "padding written: {}", shown());
    if let Some(scanned) = vector {
        assert_eq!(Ok(scanned), parsed, "scanner and simd-json disagree: {}", shown());
    }
    let mut buffer = padded(bytes, padding);
    let mut frame = FrameMut::new(&mut buffer, bytes.len()).expect("padding");
    let decoded = decoder.decode(&mut frame, hint).map(|message| reading(decoder, message));
    assert_eq!(decoded, parsed, "decode is neither: {}", shown());
    parsed
}
