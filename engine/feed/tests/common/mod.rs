//! What the tests of this room share: where recorded material lies, instruments, and a sink that rebuilds books.

// Every test binary uses another part of it.
#![allow(dead_code)]

pub(crate) mod any;
pub(crate) mod differential;
pub(crate) mod frames;
pub(crate) mod random;
pub(crate) mod streams;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use tidegate_feed::discover::discover;
use tidegate_feed::frame::{FrameMeta, FrameMut, PADDING};
use tidegate_feed::replay::{self, CaptureReader, Captured, SourceReport, SourceSpec};
use tidegate_feed::{Feed, FeedCounters};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{
    Bar, BookQuality, Depth, EventSink, FLAG_SPARE, Header, Level, Mark, OptionMark, Quote, Status, Trade,
};
use tidegate_wire::{InstrumentId, Registry, Venue};

/// A folder of recorded material outside the repository; `None` after saying loudly that a test is skipped.
///
/// In CI it must be there: a skipped test would look like a passed one.
fn recorded(variable: &str, default: &str, needed: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os(variable).map_or_else(|| workspace.join(default), PathBuf::from);
    if folder.join(needed).exists() {
        return Some(folder);
    }
    let missing = format!("{variable}: {} is not there", folder.join(needed).display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // On the stream itself: what tests print is shown only when they fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
    None
}

/// Recorded market data.
pub(crate) fn data() -> Option<PathBuf> {
    recorded("TIDEGATE_DATA", "../shared/data", "hftbacktest")
}

/// Venue frames.
pub(crate) fn venues() -> Option<PathBuf> {
    recorded("TIDEGATE_VENUES", "../shared/venues", "frames/MANIFEST.md")
}

/// Files of a folder whose names start with `prefix`, in order.
pub(crate) fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let names = std::fs::read_dir(folder).expect("a folder").flatten();
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut files: Vec<PathBuf> = names.map(|entry| entry.path()).filter(ours).collect();
    files.sort();
    files
}

/// A file to be looked at.
pub(crate) fn spec(path: &Path) -> SourceSpec {
    SourceSpec { path: path.into(), venue: None }
}

/// Shows every frame of a capture; gives the lines that were bad.
pub(crate) fn each_frame(path: &Path, mut see: impl FnMut(&Captured)) -> u64 {
    let mut reader = CaptureReader::open(&spec(path)).expect("a capture");
    let mut captured = Captured::default();
    while reader.next(&mut captured).expect("an undamaged file") {
        see(&captured);
    }
    reader.bad_lines()
}

/// What captures merged by receive time became.
pub(crate) struct Replayed {
    pub(crate) rig: Rig,
    pub(crate) registry: Registry,
    pub(crate) reports: Vec<SourceReport>,
}

/// Discovers, merges and decodes captures: the whole room at work. `None` where they hold no instrument.
pub(crate) fn replay(specs: &[SourceSpec]) -> Option<Replayed> {
    let mut registry = Registry::new();
    let found = discover(specs, &mut registry).expect("captures");
    if registry.is_empty() {
        return None;
    }
    let mut rig = Rig::new(&registry);
    let reader = replay::start(found.sources, 8 << 20).expect("captures");
    while let Some(mut block) = reader.wait_next() {
        for index in 0..block.len() {
            let taken = block.frame(index).expect("a frame");
            taken.read_by(&mut rig.feed, &mut rig.sink);
        }
        reader.give_back(block);
    }
    Some(Replayed { rig, registry, reports: reader.finish() })
}

/// A frame from a source, at a time.
pub(crate) fn meta(venue: Venue, source: u16, hint: InstrumentId) -> FrameMeta {
    FrameMeta { recv_ns: 1, arrive_ticks: 0, venue, source, hint }
}

/// A feed with the sink behind it and a buffer in front.
pub(crate) struct Rig {
    pub(crate) feed: Feed,
    pub(crate) sink: Books,
    buffer: Vec<u8>,
}

impl Rig {
    pub(crate) fn new(registry: &Registry) -> Self {
        let feed = Feed::new(registry, Clock::monotonic()).expect("instruments");
        Self { feed, sink: Books::new(registry.len()), buffer: Vec::new() }
    }

    pub(crate) fn frame(&mut self, meta: &FrameMeta, bytes: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(bytes.len() + PADDING, 0);
        let frame = FrameMut::new(&mut self.buffer, bytes.len()).expect("padding");
        self.feed.frame(meta, frame, &mut self.sink);
    }

    /// A frame of the only instrument of a venue.
    pub(crate) fn only(&mut self, venue: Venue, bytes: &str) {
        self.frame(&meta(venue, 0, InstrumentId(0)), bytes.as_bytes());
    }

    pub(crate) fn resync(&mut self, instrument: InstrumentId) {
        self.feed.resync(instrument, &mut self.sink);
    }

    pub(crate) fn counters(&self) -> FeedCounters {
        self.feed.counters()
    }

    /// The book of the first instrument.
    pub(crate) fn book(&self) -> &Book {
        &self.sink.books[0]
    }
}

/// One side of a book by price mantissa: the slow obvious way to keep it.
pub(crate) type Side = BTreeMap<i64, i64>;

/// Sets or deletes the levels of a depth frame.
pub(crate) fn apply(side: &mut Side, levels: &[Level]) {
    for level in levels {
        if level.qty.raw() == 0 {
            side.remove(&level.price.raw());
        } else {
            side.insert(level.price.raw(), level.qty.raw());
        }
    }
}

/// A book as rebuilt from events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Book {
    pub(crate) bids: Side,
    pub(crate) asks: Side,
    /// Update id of the last event applied.
    pub(crate) last: u64,
    pub(crate) quality: BookQuality,
    /// Last ids of all depth frames emitted.
    pub(crate) applied: Vec<u64>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) flags: u8,
}

/// Rebuilds every instrument's book and keeps the other events.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) books: Vec<Book>,
    pub(crate) headers: Vec<Header>,
    pub(crate) trades: Vec<Trade>,
    pub(crate) quotes: Vec<Quote>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) options: Vec<OptionMark>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) heartbeats: u64,
    /// Snapshots that the sequence did not need.
    pub(crate) spares: u64,
}

impl Books {
    pub(crate) fn new(count: usize) -> Self {
        Self { books: vec![Book::default(); count], ..Self::default() }
    }

    fn book(&mut self, header: &Header) -> &mut Book {
        let book = &mut self.books[header.instrument.index()];
        book.flags = header.flags;
        book
    }
}

impl EventSink for Books {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        let book = self.book(header);
        apply(&mut book.bids, depth.bids);
        apply(&mut book.asks, depth.asks);
        book.last = depth.ids.last;
        book.applied.push(depth.ids.last);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        if header.flags & FLAG_SPARE != 0 {
            self.spares += 1;
            return;
        }
        let book = self.book(header);
        book.bids.clear();
        book.asks.clear();
        apply(&mut book.bids, depth.bids);
        apply(&mut book.asks, depth.asks);
        book.last = depth.ids.last;
    }

    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.headers.push(*header);
        self.quotes.push(*quote);
    }

    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.headers.push(*header);
        self.trades.push(*trade);
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.headers.push(*header);
        self.marks.push(*mark);
    }

    fn option(&mut self, header: &Header, option: &OptionMark) {
        self.headers.push(*header);
        self.options.push(*option);
    }

    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.headers.push(*header);
        self.bars.push(*bar);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        let book = self.book(header);
        book.quality = BookQuality::from_repr(status.quality as u8).expect("a quality");
        book.statuses.push(*status);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.headers.push(*header);
        self.heartbeats += 1;
    }
}
