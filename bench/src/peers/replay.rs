//! Two replayers of the usual kind: a JSON library, the sequence rule, two ordered maps; no features, no rules.
//!
//! Both are written to their advantage: the kind of a frame is told by its stream's name and not by parsing, strings
//! are borrowed, digits go straight to integers, buffers are kept.

use serde::Deserialize;
use simd_json::Node;
use tidegate_wire::event::Depth;

use crate::corpus::Frames;
use crate::peers::book::TreeBook;
use crate::peers::json::{
    DepthText, PRICE_DECIMALS, Pod, QTY_DECIMALS, TapeWalk, TradePod, TradeText, Wrapped, fixed, number, size,
    walk_side,
};

/// What a replayer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Depth frames applied.
    pub deltas: u64,
    /// Level changes in them.
    pub level_changes: u64,
    /// Best bid and ask messages.
    pub quotes: u64,
    /// Trades.
    pub trades: u64,
    /// Frames that did not continue the book.
    pub gaps: u64,
    /// Levels a side at the end.
    pub levels: (usize, usize),
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Depth,
    Quote,
    Trade,
    Snapshot,
}

/// By the stream's name: `{"stream":"btcusdt@depth@0ms",...`.
#[inline]
fn kind(frame: &[u8]) -> Option<Kind> {
    if frame.starts_with(b"{\"lastUpdateId\"") {
        return Some(Kind::Snapshot);
    }
    let name = frame.get(11..64)?;
    let at = name.iter().position(|byte| *byte == b'@')?;
    match name.get(at + 1)? {
        b'd' => Some(Kind::Depth),
        b'b' => Some(Kind::Quote),
        b't' => Some(Kind::Trade),
        _ => None,
    }
}

/// A best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotePod {
    /// Update id.
    pub id: u64,
    /// Bid price and quantity, ask price and quantity, mantissas.
    pub best: [i64; 4],
}

#[derive(Deserialize)]
struct QuoteText<'a> {
    u: u64,
    b: &'a str,
    #[serde(rename = "B")]
    bid_qty: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    ask_qty: &'a str,
}

#[derive(Deserialize)]
struct SnapshotText<'a> {
    #[serde(rename = "lastUpdateId")]
    last: u64,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

/// How a replayer reads.
pub trait Library: Default {
    /// A depth frame into `pod`.
    fn depth(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()>;
    /// A snapshot into `pod`, its id as the last one.
    fn snapshot(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()>;
    /// A trade.
    fn trade(&mut self, frames: &mut Frames, index: usize) -> Option<TradePod>;
    /// A best bid and ask.
    fn quote(&mut self, frames: &mut Frames, index: usize) -> Option<QuotePod>;
}

/// serde_json.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serde;

impl Library for Serde {
    fn depth(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        serde_json::from_slice::<Wrapped<DepthText<'_>>>(frames.get(index)).ok()?.data.read(pod, fixed)
    }

    fn snapshot(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        let text: SnapshotText<'_> = serde_json::from_slice(frames.get(index)).ok()?;
        pod.ids.last = text.last;
        for (text, levels) in [(&text.bids, &mut pod.bids), (&text.asks, &mut pod.asks)] {
            levels.clear();
            for (price, qty) in text {
                let (price, qty) = (fixed(price, PRICE_DECIMALS)?, fixed(qty, QTY_DECIMALS)?);
                levels.push(tidegate_wire::Level {
                    price: tidegate_wire::Price::from_raw(price),
                    qty: tidegate_wire::Qty::from_raw(qty),
                });
            }
        }
        Some(())
    }

    fn trade(&mut self, frames: &mut Frames, index: usize) -> Option<TradePod> {
        serde_json::from_slice::<Wrapped<TradeText<'_>>>(frames.get(index)).ok()?.data.read()
    }

    fn quote(&mut self, frames: &mut Frames, index: usize) -> Option<QuotePod> {
        let text = serde_json::from_slice::<Wrapped<QuoteText<'_>>>(frames.get(index)).ok()?.data;
        let best = [
            fixed(text.b, PRICE_DECIMALS)?,
            fixed(text.bid_qty, QTY_DECIMALS)?,
            fixed(text.a, PRICE_DECIMALS)?,
            fixed(text.ask_qty, QTY_DECIMALS)?,
        ];
        Some(QuotePod { id: text.u, best })
    }
}

impl Library for TapeWalk {
    fn depth(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        self.depth(frames, index, pod)
    }

    fn snapshot(&mut self, frames: &mut Frames, index: usize, pod: &mut Pod) -> Option<()> {
        self.with(frames, index, |nodes| {
            walk(nodes, |key, values| {
                match key {
                    "lastUpdateId" => pod.ids.last = number(&values[0])?,
                    "bids" => walk_side::<false>(values, &mut pod.bids)?,
                    "asks" => walk_side::<false>(values, &mut pod.asks)?,
                    _ => {}
                }
                Some(())
            })
        })
    }

    fn trade(&mut self, frames: &mut Frames, index: usize) -> Option<TradePod> {
        self.trade(frames, index)
    }

    fn quote(&mut self, frames: &mut Frames, index: usize) -> Option<QuotePod> {
        let mut quote = QuotePod::default();
        self.with(frames, index, |nodes| {
            walk(nodes, |key, values| {
                match (key, &values[0]) {
                    ("u", value) => quote.id = number(value)?,
                    ("b", Node::String(text)) => quote.best[0] = fixed(text, PRICE_DECIMALS)?,
                    ("B", Node::String(text)) => quote.best[1] = fixed(text, QTY_DECIMALS)?,
                    ("a", Node::String(text)) => quote.best[2] = fixed(text, PRICE_DECIMALS)?,
                    ("A", Node::String(text)) => quote.best[3] = fixed(text, QTY_DECIMALS)?,
                    _ => {}
                }
                Some(())
            })
        })?;
        Some(quote)
    }
}

/// Calls `see` with every key and the nodes from its value on; goes one level down at `data`.
#[inline(always)]
fn walk<'n>(nodes: &[Node<'n>], mut see: impl FnMut(&str, &[Node<'n>]) -> Option<()>) -> Option<()> {
    let mut at = 1;
    while let Some(Node::String(key)) = nodes.get(at) {
        if *key == "data" {
            at += 2;
            continue;
        }
        let value = nodes.get(at + 1)?;
        see(key, &nodes[at + 1..])?;
        at += 1 + size(value);
    }
    Some(())
}

/// Decoding, the sequence rule of USD-M books, and the book.
#[derive(Debug, Default)]
pub struct Replayer<L> {
    library: L,
    pod: Pod,
    book: TreeBook,
    /// Depth frames that wait for a snapshot.
    held: Vec<Pod>,
    synchronised: bool,
    /// A snapshot is loaded and no depth frame behind it has come yet.
    joining: bool,
    last: u64,
    counts: Counts,
}

impl<L: Library> Replayer<L> {
    /// Replays every frame; `None` when one cannot be read.
    pub fn run(mut self, frames: &mut Frames) -> Option<Counts> {
        let mut pod = Pod::with_room();
        std::mem::swap(&mut self.pod, &mut pod);
        for index in 0..frames.len() {
            let Some(kind) = kind(frames.get(index)) else { continue };
            match kind {
                Kind::Depth => {
                    self.library.depth(frames, index, &mut self.pod)?;
                    self.delta();
                }
                Kind::Quote => {
                    std::hint::black_box(self.library.quote(frames, index)?);
                    self.counts.quotes += 1;
                }
                Kind::Trade => {
                    std::hint::black_box(self.library.trade(frames, index)?);
                    self.counts.trades += 1;
                }
                Kind::Snapshot => {
                    self.library.snapshot(frames, index, &mut self.pod)?;
                    self.snapshot();
                }
            }
        }
        self.counts.levels = (self.book.bids.len(), self.book.asks.len());
        Some(self.counts)
    }

    #[inline]
    fn delta(&mut self) {
        let joins = self.joining && self.pod.ids.first <= self.last;
        if self.synchronised && self.pod.ids.last <= self.last || self.joining && self.pod.ids.last < self.last {
            return;
        }
        if self.synchronised && self.pod.ids.prev == self.last || joins {
            (self.synchronised, self.joining) = (true, false);
            let pod = std::mem::take(&mut self.pod);
            self.apply(&pod);
            self.pod = pod;
            return;
        }
        self.counts.gaps += u64::from(self.synchronised);
        (self.synchronised, self.joining) = (false, false);
        self.held.push(self.pod.clone());
    }

    fn apply(&mut self, pod: &Pod) {
        self.book.apply(&Depth { ids: pod.ids, bids: &pod.bids, asks: &pod.asks });
        self.last = pod.ids.last;
        self.counts.deltas += 1;
        self.counts.level_changes += (pod.bids.len() + pod.asks.len()) as u64;
    }

    fn snapshot(&mut self) {
        if self.synchronised {
            return;
        }
        let held = std::mem::take(&mut self.held);
        self.book = TreeBook::default();
        self.book.apply(&Depth { ids: self.pod.ids, bids: &self.pod.bids, asks: &self.pod.asks });
        self.last = self.pod.ids.last;
        let snapshot = self.last;
        for pod in held.iter().filter(|pod| pod.ids.last >= snapshot) {
            self.apply(pod);
            self.synchronised = true;
        }
        self.joining = !self.synchronised;
    }
}
