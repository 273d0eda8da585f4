//! Where the hot loop leaves copies of what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::{InstrumentId, Venue};

use super::block::Block;
use super::entry::{Entry, EntryKind};
use super::layout::FRAME_MAX;
use crate::frame::FrameMeta;

/// Blocks under way: what the disk may be behind, 64 MiB.
const BLOCKS: usize = 64;

/// The hot loop's end of a capture. It never waits: when no block is free, frames are lost, counted, and the next block
/// says how many.
#[derive(Debug)]
pub struct Tap {
    block: Option<Box<Block>>,
    full: Sender<Box<Block>>,
    empty: Receiver<Box<Block>>,
    lost: Arc<AtomicU64>,
    /// Of those, how many no block has told yet.
    untold: u64,
    /// A block that is not full is handed over after this long, ns.
    flush_ns: i64,
}

/// The cold end of a capture.
#[derive(Debug)]
pub struct TapEnds {
    /// Blocks to be written; closed when the loop has ended.
    pub full: Receiver<Box<Block>>,
    /// Blocks that were written go back here.
    pub empty: Sender<Box<Block>>,
    /// Frames lost because no block was free.
    pub lost: Arc<AtomicU64>,
}

/// A tap and its cold end. What lies in a block is handed over when that is full, or `flush_after` its first entry.
pub fn tap(flush_after: Duration) -> (Tap, TapEnds) {
    let (full_in, full) = bounded(BLOCKS);
    let (empty, empty_out) = bounded(BLOCKS);
    for _ in 0..BLOCKS {
        let block = Box::new(Block { bytes: Vec::with_capacity(Block::SIZE), ..Block::default() });
        // As many as fit.
        let _ = empty.try_send(block);
    }
    let lost = Arc::new(AtomicU64::new(0));
    let flush_ns = i64::try_from(flush_after.as_nanos()).unwrap_or(i64::MAX);
    let tap = Tap { block: None, full: full_in, empty: empty_out, lost: lost.clone(), untold: 0, flush_ns };
    (tap, TapEnds { full, empty, lost })
}

impl Tap {
    /// A frame has come.
    #[inline]
    pub fn frame(&mut self, meta: &FrameMeta, bytes: &[u8]) {
        if bytes.len() > FRAME_MAX {
            // No reader would take it.
            return self.lose();
        }
        self.push(&Entry::of_frame(meta, bytes));
    }

    /// Time has passed without frames.
    pub fn beat(&mut self, now_ns: i64) {
        self.push(&entry(EntryKind::Beat, now_ns, InstrumentId::NONE, &[]));
    }

    /// A book was taken out of service.
    pub fn resync(&mut self, now_ns: i64, instrument: InstrumentId) {
        self.push(&entry(EntryKind::Resync, now_ns, instrument, &[]));
    }

    #[inline]
    fn push(&mut self, entry: &Entry<'_>) {
        if self.block.as_ref().is_some_and(|block| block.is_full_for(entry)) {
            self.hand_over();
        }
        if self.block.is_none() && !self.take_block(entry.recv_ns) {
            // That a beat is missing says nothing.
            if entry.kind != EntryKind::Beat {
                self.lose();
            }
            return;
        }
        let Some(block) = &mut self.block else { return };
        block.push(entry);
        // Asked of every entry: a loop that is never idle for long has no beats.
        if entry.recv_ns.saturating_sub(block.span_ns.0) >= self.flush_ns {
            self.hand_over();
        }
    }

    #[cold]
    fn lose(&mut self) {
        self.untold += 1;
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an empty block; what was lost before it is its first entry.
    #[cold]
    fn take_block(&mut self, now_ns: i64) -> bool {
        let Ok(mut block) = self.empty.try_recv() else { return false };
        block.clear();
        if self.untold > 0 {
            let count = core::mem::take(&mut self.untold).to_le_bytes();
            block.push(&entry(EntryKind::Lost, now_ns, InstrumentId::NONE, &count));
        }
        self.block = Some(block);
        true
    }

    #[cold]
    fn hand_over(&mut self) {
        if let Some(block) = self.block.take() {
            // There are no more blocks than room; a writer that is gone has said why.
            let _ = self.full.try_send(block);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.hand_over();
        // What was lost last has no later block to be told with.
        if self.untold > 0 && self.take_block(realtime_ns()) {
            self.hand_over();
        }
    }
}

fn entry(kind: EntryKind, recv_ns: i64, hint: InstrumentId, bytes: &[u8]) -> Entry<'_> {
    // No market and no connection: the first number stands in.
    Entry { kind, recv_ns, venue: Venue::ALL[0], source: 0, hint, bytes }
}
