//! Depth and trade frames by general JSON libraries, into the same fixed-point records.
//!
//! All of them get reused buffers and borrow strings from the frame; none builds a document of its own unless that is
//! the point of the row. Digits are read by [`fixed`], byte by byte, as such programs do.

use serde::Deserialize;
use simd_json::{Buffers, Node, StaticNode, Tape, fill_tape_padded};
use tidegate_wire::event::DepthIds;
use tidegate_wire::{Level, Price, Qty};

use crate::corpus::Frames;

/// Decimals of prices in the corpus.
pub const PRICE_DECIMALS: usize = 1;
/// Decimals of quantities in the corpus.
pub const QTY_DECIMALS: usize = 3;

/// A decoded depth frame; buffers are reused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The venue's event time, ms.
    pub stamp: u64,
    /// Update ids.
    pub ids: DepthIds,
    /// Changed bids.
    pub bids: Vec<Level>,
    /// Changed asks.
    pub asks: Vec<Level>,
}

impl Pod {
    /// With room for the largest frame.
    pub fn with_room() -> Self {
        Self { bids: Vec::with_capacity(8192), asks: Vec::with_capacity(8192), ..Self::default() }
    }
}

/// A decoded trade (or aggregate of trades).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TradePod {
    /// The venue's event time, ms.
    pub stamp: u64,
    /// When it was matched, ms.
    pub transact: u64,
    /// Its id.
    pub id: u64,
    /// Price mantissa.
    pub price: i64,
    /// Quantity mantissa.
    pub qty: i64,
    /// The buyer was the maker.
    pub sell: bool,
}

/// A plain decimal as an integer of `decimals` decimals, byte by byte; further digits must be zero.
#[inline]
pub fn fixed(text: &str, decimals: usize) -> Option<i64> {
    let (mut value, mut kept, mut dot) = (0i64, 0, false);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if dot && kept == decimals => {
                if byte != b'0' {
                    return None;
                }
            }
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                kept += usize::from(dot);
            }
            b'.' if !dot => dot = true,
            _ => return None,
        }
    }
    while kept < decimals {
        value = value.checked_mul(10)?;
        kept += 1;
    }
    (!text.is_empty()).then_some(value)
}

/// The same by way of `f64`, as most programs do it.
#[inline]
pub fn float(text: &str, decimals: usize) -> Option<i64> {
    let value: f64 = text.parse().ok()?;
    Some((value * [1.0, 10.0, 100.0, 1_000.0][decimals]).round() as i64)
}

/// How a peer turns digits into an integer.
pub type Digits = fn(&str, usize) -> Option<i64>;

/// simd-json with its tape and buffers kept from frame to frame, and a walk over the flat tape.
pub struct TapeWalk {
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl std::fmt::Debug for TapeWalk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TapeWalk").finish_non_exhaustive()
    }
}

impl Default for TapeWalk {
    fn default() -> Self {
        Self { buffers: Buffers::new(256 * 1024), tape: Some(Tape(Vec::with_capacity(16 * 1024))) }
    }
}

impl TapeWalk {
    /// Fills the tape from a frame and hands it to `walk`.
    #[inline(always)]
    pub fn with<T>(
        &mut self,
        frames: &mut Frames,
        index: usize,
        walk: impl FnOnce(&[Node<'_>]) -> Option<T>,
    ) -> Option<T> {
        let mut tape = self.tape.take()?.reset();
        let (buffer, length) = frames.padded(index);
        let filled = fill_tape_padded(buffer, length, &mut self.buffers, &mut tape).is_ok();
        let result = if filled { walk(&tape.0) } else { None };
        self.tape = Some(tape.reset());
        result
    }

    /// Reads a depth frame with scalar digits.
    #[inline]
    pub fn depth(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        self.with(frames, index, |nodes| walk_depth::<false>(nodes, pod))
    }

    /// Reads a depth frame by way of `f64`.
    #[inline]
    pub fn depth_float(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        self.with(frames, index, |nodes| walk_depth::<true>(nodes, pod))
    }

    /// Reads a trade.
    #[inline]
    pub fn trade(&mut self, frames: &mut Frames, index: usize) -> Option<TradePod> {
        self.with(frames, index, walk_trade)
    }
}

#[inline(always)]
fn digits<const FLOAT: bool>(text: &str, decimals: usize) -> Option<i64> {
    if FLOAT { float(text, decimals) } else { fixed(text, decimals) }
}

/// A whole number, unsigned.
#[inline(always)]
pub fn number(node: &Node<'_>) -> Option<u64> {
    match node {
        Node::Static(StaticNode::U64(value)) => Some(*value),
        Node::Static(StaticNode::I64(value)) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// Nodes of the value at the start of `nodes`.
#[inline(always)]
pub fn size(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    }
}

/// Keys and values alternate on the tape; containers say how many nodes they hold.
#[inline(always)]
fn walk_depth<const FLOAT: bool>(nodes: &[Node<'_>], pod: &mut Pod) -> Option<()> {
    let mut at = 1;
    while let Some(Node::String(key)) = nodes.get(at) {
        let value = nodes.get(at + 1)?;
        match *key {
            // One level down: the wrapper's payload.
            "data" => {
                at += 2;
                continue;
            }
            "E" => pod.stamp = number(value)?,
            "U" => pod.ids.first = number(value)?,
            "u" => pod.ids.last = number(value)?,
            "pu" => pod.ids.prev = number(value)?,
            "b" => walk_side::<FLOAT>(&nodes[at + 1..], &mut pod.bids)?,
            "a" => walk_side::<FLOAT>(&nodes[at + 1..], &mut pod.asks)?,
            _ => {}
        }
        at += 1 + size(value);
    }
    Some(())
}

/// An array of pairs of strings at the start of `nodes`, into `levels`.
#[inline(always)]
pub fn walk_side<const FLOAT: bool>(nodes: &[Node<'_>], levels: &mut Vec<Level>) -> Option<()> {
    let [Node::Array { len, .. }, rest @ ..] = nodes else { return None };
    levels.clear();
    for level in rest.chunks_exact(3).take(*len) {
        let [Node::Array { len: 2, .. }, Node::String(price), Node::String(qty)] = level else { return None };
        levels.push(Level {
            price: Price::from_raw(digits::<FLOAT>(price, PRICE_DECIMALS)?),
            qty: Qty::from_raw(digits::<FLOAT>(qty, QTY_DECIMALS)?),
        });
    }
    Some(())
}

fn walk_trade(nodes: &[Node<'_>]) -> Option<TradePod> {
    let (mut at, mut trade) = (1, TradePod::default());
    while let Some(Node::String(key)) = nodes.get(at) {
        let value = nodes.get(at + 1)?;
        match (*key, value) {
            ("data", _) => {
                at += 2;
                continue;
            }
            ("E", _) => trade.stamp = number(value)?,
            ("T", _) => trade.transact = number(value)?,
            ("t" | "a", _) => trade.id = number(value)?,
            ("p", Node::String(text)) => trade.price = fixed(text, PRICE_DECIMALS)?,
            ("q", Node::String(text)) => trade.qty = fixed(text, QTY_DECIMALS)?,
            ("m", Node::Static(StaticNode::Bool(maker))) => trade.sell = *maker,
            _ => {}
        }
        at += 1 + size(value);
    }
    Some(trade)
}

/// The combined-stream wrapper.
#[derive(Debug, Deserialize)]
pub struct Wrapped<T> {
    /// The message.
    pub data: T,
}

/// A depth frame with borrowed strings.
#[derive(Debug, Deserialize)]
pub struct DepthText<'a> {
    #[serde(rename = "E")]
    stamp: u64,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(rename = "pu")]
    prev: u64,
    #[serde(rename = "b", borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(rename = "a", borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

impl DepthText<'_> {
    /// As integers.
    #[inline]
    pub fn read(&self, pod: &mut Pod, digits: Digits) -> Option<()> {
        pod.stamp = self.stamp;
        pod.ids = DepthIds { first: self.first, last: self.last, prev: self.prev };
        for (text, levels) in [(&self.bids, &mut pod.bids), (&self.asks, &mut pod.asks)] {
            levels.clear();
            for (price, qty) in text {
                levels.push(Level {
                    price: Price::from_raw(digits(price, PRICE_DECIMALS)?),
                    qty: Qty::from_raw(digits(qty, QTY_DECIMALS)?),
                });
            }
        }
        Some(())
    }
}

/// A trade or aggregate with borrowed strings.
#[derive(Debug, Deserialize)]
pub struct TradeText<'a> {
    #[serde(rename = "E")]
    stamp: u64,
    #[serde(rename = "T")]
    transact: u64,
    #[serde(rename = "t", alias = "a")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    qty: &'a str,
    #[serde(rename = "m")]
    sell: bool,
}

impl TradeText<'_> {
    /// As integers.
    #[inline]
    pub fn read(&self) -> Option<TradePod> {
        Some(TradePod {
            stamp: self.stamp,
            transact: self.transact,
            id: self.id,
            price: fixed(self.price, PRICE_DECIMALS)?,
            qty: fixed(self.qty, QTY_DECIMALS)?,
            sell: self.sell,
        })
    }
}

/// simd-json's serde face with reused buffers (it still allocates its tape and the vectors).
pub struct SimdTyped {
    buffers: Buffers,
}

impl std::fmt::Debug for SimdTyped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimdTyped").finish_non_exhaustive()
    }
}

impl Default for SimdTyped {
    fn default() -> Self {
        Self { buffers: Buffers::new(256 * 1024) }
    }
}

impl SimdTyped {
    /// Reads a depth frame.
    #[inline]
    pub fn depth(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        let bytes = frames.get_mut(index);
        let message: Wrapped<DepthText<'_>> =
            simd_json::serde::from_slice_with_buffers(bytes, &mut self.buffers).ok()?;
        message.data.read(pod, fixed)
    }

    /// Reads a trade.
    #[inline]
    pub fn trade(&mut self, frames: &mut Frames, index: usize) -> Option<TradePod> {
        let bytes = frames.get_mut(index);
        let message: Wrapped<TradeText<'_>> =
            simd_json::serde::from_slice_with_buffers(bytes, &mut self.buffers).ok()?;
        message.data.read()
    }
}

/// sonic-rs, borrowed.
#[inline]
pub fn sonic_depth(bytes: &[u8], pod: &mut Pod) -> Option<()> {
    sonic_rs::from_slice::<Wrapped<DepthText<'_>>>(bytes).ok()?.data.read(pod, fixed)
}

/// sonic-rs, borrowed.
#[inline]
pub fn sonic_trade(bytes: &[u8]) -> Option<TradePod> {
    sonic_rs::from_slice::<Wrapped<TradeText<'_>>>(bytes).ok()?.data.read()
}

/// serde_json, borrowed.
#[inline]
pub fn serde_depth(bytes: &[u8], pod: &mut Pod) -> Option<()> {
    serde_json::from_slice::<Wrapped<DepthText<'_>>>(bytes).ok()?.data.read(pod, fixed)
}

/// serde_json, borrowed.
#[inline]
pub fn serde_trade(bytes: &[u8]) -> Option<TradePod> {
    serde_json::from_slice::<Wrapped<TradeText<'_>>>(bytes).ok()?.data.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_agree() {
        for (text, decimals, value) in [("61800.30", 1, 618_003), ("0.006", 3, 6), ("12", 3, 12_000), ("2.5", 3, 2_500)]
        {
            assert_eq!((fixed(text, decimals), float(text, decimals)), (Some(value), Some(value)), "{text}");
        }
        assert_eq!([fixed("1.23", 1), fixed("", 1), fixed("1.2.3", 3)], [None; 3]);
    }
}
