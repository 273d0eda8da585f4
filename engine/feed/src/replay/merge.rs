//! Captures merged by receive time on a cold thread, in blocks for the hot loop.

use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use tidegate_wire::event::EventSink;
use tidegate_wire::{InstrumentId, Venue};

use crate::Feed;
use crate::capture::EntryKind;
use crate::discover::Source;
use crate::frame::{FrameMeta, FrameMut, PADDING};
use crate::replay::{CaptureReader, Captured, Format, ReplayError};

/// A block is handed over when it holds this many bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Where a frame lies in its block.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    length: u32,
    source: u16,
    recv_ns: i64,
    venue: Venue,
    hint: InstrumentId,
    format: Format,
    kind: EntryKind,
}

/// Frames in receive order.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// One frame of a block.
#[derive(Debug)]
pub struct BlockFrame<'a> {
    /// What is known of it; `arrive_ticks` is for the loop to fill.
    pub meta: FrameMeta,
    /// The frame.
    pub frame: FrameMut<'a>,
    /// How its source is written: rows of tables are read otherwise than a venue's frames.
    pub format: Format,
    /// What it is: captures of our own hold more than frames.
    pub kind: EntryKind,
}

impl BlockFrame<'_> {
    /// Lets a feed read it by its format, and emit what it means.
    #[inline(always)]
    pub fn read_by(self, feed: &mut Feed, sink: &mut impl EventSink) {
        if self.kind != EntryKind::Frame {
            self.repeat(feed, sink);
        } else if self.format.is_table() {
            feed.row(&self.meta, self.format, self.frame.bytes(), sink);
        } else {
            feed.frame(&self.meta, self.frame, sink);
        }
    }

    /// Repeats what a live feed was told besides frames.
    #[cold]
    fn repeat(self, feed: &mut Feed, sink: &mut impl EventSink) {
        match self.kind {
            EntryKind::Beat => feed.heartbeat(self.meta.recv_ns, self.meta.arrive_ticks, sink),
            EntryKind::Resync => feed.resync(self.meta.hint, sink),
            EntryKind::Frame | EntryKind::Lost => {}
        }
    }
}

impl Block {
    fn push(&mut self, captured: &Captured, head: (Venue, u16, Format), hint: InstrumentId) {
        let (venue, number, format) = head;
        let source = captured.own.map_or(number, |own| own.source);
        let kind = captured.own.map_or(EntryKind::Frame, |own| own.kind);
        self.bytes.truncate(self.bytes.len().saturating_sub(PADDING));
        let (at, length) = (self.bytes.len() as u32, captured.bytes.len() as u32);
        self.bytes.extend_from_slice(&captured.bytes);
        self.bytes.extend_from_slice(&[0; PADDING]);
        self.entries.push(Entry { at, length, source, recv_ns: captured.recv_ns, venue, hint, format, kind });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Frame `index`.
    #[inline(always)]
    pub fn frame(&mut self, index: usize) -> Option<BlockFrame<'_>> {
        let entry = *self.entries.get(index)?;
        let meta = FrameMeta {
            recv_ns: entry.recv_ns,
            arrive_ticks: 0,
            venue: entry.venue,
            source: entry.source,
            hint: entry.hint,
        };
        let frame = FrameMut::new(self.bytes.get_mut(entry.at as usize..)?, entry.length as usize)?;
        Some(BlockFrame { meta, frame, format: entry.format, kind: entry.kind })
    }

    /// Receive time of frame `index`, ns since the Unix epoch.
    pub fn recv_ns(&self, index: usize) -> Option<i64> {
        self.entries.get(index).map(|entry| entry.recv_ns)
    }
}

/// What became of one source.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceReport {
    /// The file's name.
    pub name: String,
    /// Which market.
    pub venue: Venue,
    /// How it is written.
    pub format: Format,
    /// Frames delivered.
    pub frames: u64,
    /// Lines that should have been frames but could not be read.
    pub bad_lines: u64,
    /// Why reading stopped before the end, if it did.
    pub damaged: Option<String>,
}

/// The hot loop's end of a replay.
#[derive(Debug)]
pub struct Reader {
    blocks: Receiver<Block>,
    returned: Sender<Block>,
    thread: Option<JoinHandle<Vec<SourceReport>>>,
    ready: Receiver<()>,
}

impl Reader {
    /// The next block if one is ready.
    pub fn try_next(&self) -> Option<Block> {
        self.blocks.try_recv().ok()
    }

    /// The next block, waiting for it; `None` at the end.
    pub fn wait_next(&self) -> Option<Block> {
        self.blocks.recv().ok()
    }

    /// Whether the end has come: nothing waits and nothing more will.
    pub fn is_finished(&self) -> bool {
        // In this order: the thread may send its last block and end between the two questions.
        self.thread.as_ref().is_none_or(JoinHandle::is_finished) && self.blocks.is_empty()
    }

    /// Waits until the read-ahead budget is used up or everything is read.
    pub fn wait_until_ahead(&self) {
        // Closed or signalled: both mean ready.
        let _ = self.ready.recv();
    }

    /// Gives a block back for re-use.
    pub fn give_back(&self, block: Block) {
        // A full or closed channel drops it; that frees memory, which matters only at the end.
        let _ = self.returned.try_send(block);
    }

    /// Ends the replay and gives what became of each source.
    pub fn finish(mut self) -> Vec<SourceReport> {
        let thread = self.thread.take();
        drop(self);
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// One source being merged.
struct Head<'a> {
    source: &'a Source,
    reader: CaptureReader,
    captured: Captured,
    /// Its number: the position in merge order.
    number: u16,
    alive: bool,
    report: SourceReport,
}

impl Head<'_> {
    fn advance(&mut self) {
        match self.reader.next(&mut self.captured) {
            Ok(more) => self.alive = more,
            Err(error) => {
                self.alive = false;
                self.report.damaged = Some(error.to_string());
            }
        }
        if let Some(begin_ns) = self.source.begin_ns {
            (self.captured.recv_ns, self.captured.order_ns) = (begin_ns, begin_ns);
        }
        self.report.bad_lines = self.reader.bad_lines();
    }

    fn hint(&self) -> InstrumentId {
        if let Some(own) = self.captured.own {
            return self.source.numbers.get(usize::from(own.hint)).copied().unwrap_or(InstrumentId::NONE);
        }
        if self.captured.symbol.is_empty() {
            return self.source.only;
        }
        self.source.instruments.get(&self.captured.symbol).copied().unwrap_or(InstrumentId::NONE)
    }
}

/// Starts reading `sources` on a thread of its own; at most `budget_bytes` of frames wait for the loop.
///
/// # Errors
/// A source cannot be opened.
pub fn start(sources: Vec<Source>, budget_bytes: usize) -> Result<Reader, ReplayError> {
    let readers = sources.iter().map(|source| CaptureReader::open(&source.spec)).collect::<Result<Vec<_>, _>>()?;
    let depth = (budget_bytes / BLOCK_BYTES).max(2);
    let (block_tx, blocks) = bounded(depth);
    let (returned, returned_rx) = bounded::<Block>(depth + 2);
    let (ready_tx, ready) = bounded(1);
    let thread = std::thread::Builder::new()
        .name("tide-reader".into())
        .spawn(move || {
            let mut heads = heads(&sources, readers);
            merge(&mut heads, &block_tx, &returned_rx, &ready_tx);
            heads.into_iter().map(|head| head.report).collect()
        })
        .map_err(|source| ReplayError::Open { path: "reader thread".into(), source })?;
    Ok(Reader { blocks, returned, thread: Some(thread), ready })
}

fn heads(sources: &[Source], readers: Vec<CaptureReader>) -> Vec<Head<'_>> {
    let mut heads = Vec::with_capacity(sources.len());
    for (source, reader) in sources.iter().zip(readers) {
        let (name, venue, format) = (source.spec.name(), source.venue, reader.format());
        let report = SourceReport { name, venue, format, frames: 0, bad_lines: 0, damaged: None };
        let mut head = Head { source, reader, captured: Captured::default(), number: 0, alive: true, report };
        head.advance();
        heads.push(head);
    }
    // Equal stamps are ordered by source name; the path decides between files of one name.
    heads.sort_by(|a, b| (a.source.spec.name(), &a.source.spec.path).cmp(&(b.source.spec.name(), &b.source.spec.path)));
    for (number, head) in heads.iter_mut().enumerate() {
        head.number = number as u16;
    }
    heads
}

fn merge(heads: &mut [Head<'_>], blocks: &Sender<Block>, returned: &Receiver<Block>, ready: &Sender<()>) {
    let mut block = Block::default();
    while let Some(head) = heads.iter_mut().filter(|head| head.alive).min_by_key(|head| head.captured.order_ns) {
        let hint = head.hint();
        let venue = head.captured.venue.unwrap_or(head.source.venue);
        block.push(&head.captured, (venue, head.number, head.report.format), hint);
        head.report.frames += 1;
        head.advance();
        if block.bytes.len() >= BLOCK_BYTES {
            if blocks.is_full() {
                let _ = ready.try_send(());
            }
            if blocks.send(std::mem::take(&mut block)).is_err() {
                return;
            }
            block = returned.try_recv().unwrap_or_default();
            block.clear();
        }
    }
    if !block.is_empty() {
        let _ = blocks.is_full().then(|| ready.try_send(()));
        let _ = blocks.send(block);
    }
    let _ = ready.try_send(());
}
