//! Decoders and synchronisers tied together: frames in, events out.

use tidegate_wire::clock::{Clock, EventClock};
use tidegate_wire::event::{
    Bar, BookQuality, Depth, DepthIds, EventSink, FLAG_BUFFERED, FLAG_FIRST, FLAG_LAST, FLAG_SELL, FLAG_SESSION,
    FLAG_SPARE, Header, Status,
};
use tidegate_wire::{InstrumentId, RecordKind, Registry, Venue};

use crate::counters::{FeedCounters, Reason};
use crate::frame::{FrameMeta, FrameMut};
use crate::replay::Format;
use crate::sync::{Rule, SnapshotVerdict, State, Synchroniser, Verdict};
use crate::tables::{self, Row};
use crate::venues::binance::{Decoder, MARKETS};
use crate::venues::{Body, Levels, Message};

/// Why a feed cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// No instrument to feed.
    #[error("no instrument is registered")]
    NoInstruments,
}

/// One book's place in the feed.
#[derive(Debug)]
struct Book {
    sync: Synchroniser,
    quality: BookQuality,
    /// Whether it was good before: the next time counts as a resync.
    was_good: bool,
    /// When the last frame of the source that carries the book came, ns of event time; 0 before the first.
    carried_ns: i64,
    /// Source of the last depth frame, and of the last trade.
    depth_source: u16,
    trade_source: u16,
    /// Last raw trade id; 0 before the first.
    trade_id: u64,
    gaps: u64,
    resyncs: u64,
}

/// Frames of all venues in, events out. One a decoding thread.
#[derive(Debug)]
pub struct Feed {
    clock: Clock,
    event_time: EventClock,
    decoders: [Option<Box<Decoder>>; Venue::ALL.len()],
    /// Rows of recorded tables.
    tables: Box<tables::Decoder>,
    books: Vec<Book>,
    counters: FeedCounters,
    /// Event time of the next heartbeat for frames without events.
    next_beat_ns: i64,
}

/// Heartbeats for frames without events come at most this often, ns of event time.
const BEAT_NS: i64 = 100_000_000;

/// Silence after which a source is taken to have ended when another one goes on, ns of event time: longer than any
/// stream in use pauses.
const SILENCE_NS: i64 = 5_000_000_000;
/// Silence after which another source's newer snapshot replaces a book, ns of event time.
const PAUSE_NS: i64 = 1_000_000_000;

impl Feed {
    /// A feed for all instruments of a registry.
    ///
    /// # Errors
    /// [`FeedError::NoInstruments`].
    pub fn new(registry: &Registry, clock: Clock) -> Result<Self, FeedError> {
        if registry.is_empty() {
            return Err(FeedError::NoInstruments);
        }
        let decoders = Venue::ALL.map(|venue| {
            let any = registry.iter().any(|(_, instrument)| instrument.venue == venue);
            (any && MARKETS.contains(&venue)).then(|| Box::new(Decoder::new(registry, venue)))
        });
        let book = |venue| Book {
            sync: Synchroniser::new(rule(venue)),
            quality: BookQuality::Building,
            was_good: false,
            carried_ns: 0,
            depth_source: 0,
            trade_source: 0,
            trade_id: 0,
            gaps: 0,
            resyncs: 0,
        };
        let books = registry.iter().map(|(_, instrument)| book(instrument.venue)).collect();
        let (event_time, counters) = (EventClock::default(), FeedCounters::default());
        let tables = Box::new(tables::Decoder::new(registry));
        Ok(Self { clock, event_time, decoders, tables, books, counters, next_beat_ns: 0 })
    }

    /// Reads one frame and emits what it means.
    #[inline]
    pub fn frame(&mut self, meta: &FrameMeta, mut frame: FrameMut<'_>, sink: &mut impl EventSink) {
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        let event_ns = self.event_time.advance(meta.recv_ns);
        let before = self.counters.events;
        self.read(meta, event_ns, &mut frame, sink);
        // Frames that say nothing still show that time passes: timers behind us must fire although a venue sends
        // only what cannot be read.
        if self.counters.events == before && event_ns >= self.next_beat_ns {
            self.next_beat_ns = event_ns.saturating_add(BEAT_NS);
            self.heartbeat(event_ns, meta.arrive_ticks, sink);
        }
    }

    /// Reads one frame of a recorded table (one row, or the rows of one instant) and emits what it means.
    pub fn row(&mut self, meta: &FrameMeta, format: Format, rows: &[u8], sink: &mut impl EventSink) {
        self.counters.frames += 1;
        self.counters.bytes += rows.len() as u64;
        let event_ns = self.event_time.advance(meta.recv_ns);
        let row = match self.tables.row(format, meta.hint, event_ns, rows) {
            Ok(row) => row,
            Err(reason) => {
                self.counters.skipped[reason as usize] += 1;
                return self.heartbeat(event_ns, meta.arrive_ticks, sink);
            }
        };
        let Some(book) = self.books.get_mut(meta.hint.index()) else { return };
        let header = Header {
            frame: self.counters.frames,
            event_ns,
            arrive_ticks: meta.arrive_ticks,
            decoded_ticks: self.clock.ticks(),
            ..Header::new(RecordKind::Heartbeat, meta.hint)
        };
        let mut emitter = Emitter { header, source: meta.source, counters: &mut self.counters, sink };
        // These tables have one stamp a row: whether the venue's or the recorder's, no latency follows from it.
        let said = |body| Message { instrument: meta.hint, venue_ns: 0, body };
        match row {
            Row::Nothing => self.heartbeat(event_ns, meta.arrive_ticks, sink),
            Row::Bar(bar) => emitter.bar(&bar),
            Row::Message(body) => emitter.message(&said(body), book, self.tables.levels()),
            Row::Book(changed, agreed) => {
                emitter.counters.books_checked += u64::from(agreed.is_some());
                emitter.counters.books_agreed += u64::from(agreed == Some(true));
                if let Some(ids) = changed {
                    emitter.message(&said(Body::Delta(ids)), book, self.tables.levels());
                }
                let ids = self.tables.whole(meta.hint);
                emitter.message(&said(Body::Snapshot(ids)), book, self.tables.levels());
            }
        }
    }

    #[inline(always)]
    fn read(&mut self, meta: &FrameMeta, event_ns: i64, frame: &mut FrameMut<'_>, sink: &mut impl EventSink) {
        let Some(decoder) = &mut self.decoders[meta.venue as usize] else {
            self.counters.skipped[Reason::UnknownSymbol as usize] += 1;
            return;
        };
        let message = match decoder.decode(frame, meta.hint) {
            Ok(message) => message,
            Err(reason) => {
                self.counters.skipped[reason as usize] += 1;
                return;
            }
        };
        let mut emitter = Emitter {
            header: Header {
                frame: self.counters.frames,
                event_ns,
                venue_ns: message.venue_ns,
                arrive_ticks: meta.arrive_ticks,
                decoded_ticks: self.clock.ticks(),
                ..Header::new(RecordKind::Heartbeat, message.instrument)
            },
            source: meta.source,
            counters: &mut self.counters,
            sink,
        };
        let book = &mut self.books[message.instrument.index()];
        emitter.message(&message, book, decoder.levels());
    }

    /// Emits a heartbeat: event time moves on although no frame came.
    pub fn heartbeat(&mut self, now_ns: i64, arrive_ticks: u64, sink: &mut impl EventSink) {
        let event_ns = self.event_time.advance(now_ns);
        let header = Header {
            frame: self.counters.frames,
            event_ns,
            arrive_ticks,
            decoded_ticks: arrive_ticks,
            ..Header::new(RecordKind::Heartbeat, InstrumentId::NONE)
        };
        sink.heartbeat(&header);
    }

    /// Takes one book out of service until its next snapshot, because somebody knows it to be wrong. Other books are
    /// not touched.
    pub fn resync(&mut self, instrument: InstrumentId, sink: &mut impl EventSink) {
        let Some(book) = self.books.get_mut(instrument.index()) else { return };
        book.sync.restart();
        let mut emitter = Emitter {
            header: Header {
                frame: self.counters.frames,
                event_ns: self.event_time.now_ns(),
                ..Header::new(RecordKind::Status, instrument)
            },
            source: book.depth_source,
            counters: &mut self.counters,
            sink,
        };
        emitter.status(book, BookQuality::Building, 0, 0, 0);
    }

    /// Books that need a snapshot: what a session must ask the venue for.
    pub fn waiting(&self) -> impl Iterator<Item = InstrumentId> + '_ {
        let waiting = |(_, book): &(usize, &Book)| book.sync.state() == State::Waiting;
        self.books.iter().enumerate().filter(waiting).map(|(index, _)| InstrumentId(index as u16))
    }

    /// Gaps and resyncs of one book.
    pub fn book_counts(&self, instrument: InstrumentId) -> (u64, u64) {
        self.books.get(instrument.index()).map_or((0, 0), |book| (book.gaps, book.resyncs))
    }

    /// What was counted so far.
    pub fn counters(&self) -> FeedCounters {
        let mut counters = self.counters.clone();
        counters.scanner_fallbacks = self.decoders.iter().flatten().map(|d| d.fallbacks()).sum();
        counters.held_back_overflow = self.books.iter().map(|book| book.sync.overflows()).sum();
        counters
    }
}

/// The sequence rule of a venue's books.
const fn rule(venue: Venue) -> Rule {
    match venue {
        Venue::BinanceSpot => Rule::Contiguous,
        Venue::BinanceUsdm | Venue::BinanceCoinm => Rule::Chained,
        // Their recorded books number nothing: the reader counts frames, and leaves out what it could not read.
        _ => Rule::Contiguous,
    }
}

/// Emits the events of one frame: a header that all of them share, counters and the consumer.
struct Emitter<'a, S> {
    header: Header,
    source: u16,
    counters: &'a mut FeedCounters,
    sink: &'a mut S,
}

impl<S: EventSink> Emitter<'_, S> {
    #[inline(always)]
    fn message(&mut self, message: &Message, book: &mut Book, levels: &Levels) {
        match &message.body {
            Body::Delta(ids) => self.delta(ids, book, levels),
            Body::Snapshot(ids) => self.snapshot(ids, book, levels),
            Body::Quote(quote) => {
                self.counters.quotes += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Quote as u8;
                self.sink.quote(&self.header, quote);
            }
            Body::Trade { trade, sell, raw } => {
                if *raw {
                    let same = core::mem::replace(&mut book.trade_source, self.source) == self.source;
                    let jumped = same && book.trade_id != 0 && trade.trade_id != book.trade_id + 1;
                    self.counters.trade_id_gaps += u64::from(jumped);
                    book.trade_id = trade.trade_id;
                }
                self.counters.trades += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Trade as u8;
                self.header.flags = if *sell { FLAG_SELL } else { 0 };
                self.sink.trade(&self.header, trade);
            }
            Body::Mark(mark) => {
                self.counters.marks += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Mark as u8;
                self.sink.mark(&self.header, mark);
            }
        }
    }

    fn bar(&mut self, bar: &Bar) {
        self.counters.bars += 1;
        self.counters.events += 1;
        self.header.kind = RecordKind::Bar as u8;
        self.sink.bar(&self.header, bar);
    }

    #[inline(always)]
    fn delta(&mut self, ids: &DepthIds, book: &mut Book, levels: &Levels) {
        if ids.first > ids.last {
            self.counters.skipped[Reason::BadField as usize] += 1;
            return;
        }
        let goes_on = !self.takes_over(book, SILENCE_NS);
        if !goes_on && book.sync.state() == State::Waiting {
            // What was held back belongs to a recording that has ended.
            book.sync.restart();
            self.session(book);
        }
        let verdict = book.sync.delta(ids);
        // A second capture of the same stream lags behind: only what carries the book on names its source.
        if verdict != Verdict::Outdated {
            book.depth_source = self.source;
        }
        if book.depth_source == self.source {
            book.carried_ns = self.header.event_ns;
        }
        match verdict {
            Verdict::Apply => self.emit_delta(Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() }, 0),
            Verdict::Join => {
                self.emit_delta(Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() }, 0);
                self.became_good(book);
            }
            Verdict::Outdated => self.counters.outdated += 1,
            Verdict::Held => {
                self.counters.held_back += 1;
                book.sync.hold(*ids, self.header.venue_ns, levels.bids(), levels.asks());
            }
            Verdict::Gap { expected, received } => {
                if goes_on {
                    self.gap(book, expected, received);
                } else {
                    self.session(book);
                }
                self.counters.held_back += 1;
                book.sync.hold(*ids, self.header.venue_ns, levels.bids(), levels.asks());
            }
        }
    }

    #[inline(always)]
    fn emit_delta(&mut self, depth: Depth<'_>, flags: u8) {
        self.counters.deltas += 1;
        self.counters.events += 1;
        self.counters.level_changes += (depth.bids.len() + depth.asks.len()) as u64;
        self.header.kind = RecordKind::Delta as u8;
        self.header.flags = FLAG_FIRST | FLAG_LAST | flags;
        self.sink.delta(&self.header, depth);
    }

    fn emit_snapshot(&mut self, ids: &DepthIds, levels: &Levels, flags: u8) {
        self.header.kind = RecordKind::Snapshot as u8;
        self.header.flags = FLAG_FIRST | FLAG_LAST | flags;
        self.sink.snapshot(&self.header, Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() });
    }

    #[cold]
    fn snapshot(&mut self, ids: &DepthIds, book: &mut Book, levels: &Levels) {
        // A recording often begins with its snapshot: one from a new source that is newer than the book replaces it
        // when the old source has paused; after a longer silence that is a session. While the old source goes on it is
        // an answer that was recorded apart from its stream. One that is no newer begins nothing.
        let newer = ids.last > book.sync.last() || book.sync.state() == State::Waiting;
        if newer && self.takes_over(book, SILENCE_NS) {
            book.sync.restart();
            self.session(book);
        } else if newer && self.takes_over(book, PAUSE_NS) && book.sync.state() != State::Waiting {
            book.sync.restart();
        }
        match book.sync.snapshot(ids.last) {
            SnapshotVerdict::TooOld => {
                self.counters.snapshots_too_old += 1;
                return;
            }
            SnapshotVerdict::Unneeded => {
                self.counters.snapshots_unneeded += 1;
                self.emit_snapshot(ids, levels, FLAG_SPARE);
                return;
            }
            SnapshotVerdict::Load => (book.depth_source, book.carried_ns) = (self.source, self.header.event_ns),
        }
        self.counters.snapshots += 1;
        self.counters.events += 1;
        self.emit_snapshot(ids, levels, 0);
        let (held, emitted) = (book.sync.held(), self.counters.deltas);
        let mut joined = false;
        let gap = book.sync.release(|verdict, venue_ns, depth| {
            self.header.venue_ns = venue_ns;
            self.emit_delta(depth, FLAG_BUFFERED);
            joined |= verdict == Verdict::Join;
        });
        // What was released without being emitted came before the snapshot: no depth frame goes uncounted.
        self.counters.outdated += (held - book.sync.held()) as u64 - (self.counters.deltas - emitted);
        if joined {
            self.became_good(book);
        }
        if let Some(Verdict::Gap { expected, received }) = gap {
            self.gap(book, expected, received);
        }
    }

    /// Whether this frame is of another source than the one that carried the book, which has been silent for so long: a
    /// hole after that lies between two recordings, one before it in the stream itself.
    #[inline(always)]
    fn takes_over(&self, book: &Book, silence_ns: i64) -> bool {
        let silence = self.header.event_ns - book.carried_ns;
        book.depth_source != self.source && book.carried_ns != 0 && silence > silence_ns
    }

    fn became_good(&mut self, book: &mut Book) {
        if book.quality == BookQuality::Good {
            return;
        }
        self.counters.resyncs += u64::from(book.was_good);
        book.resyncs += u64::from(book.was_good);
        book.was_good = true;
        self.status(book, BookQuality::Good, 0, 0, 0);
    }

    /// The stream goes on elsewhere: the book starts anew, and so does everything derived from it.
    #[cold]
    fn session(&mut self, book: &mut Book) {
        self.counters.sessions += 1;
        book.was_good = false;
        self.status(book, BookQuality::Building, FLAG_SESSION, 0, 0);
    }

    #[cold]
    fn gap(&mut self, book: &mut Book, expected: u64, received: u64) {
        self.counters.gaps += 1;
        book.gaps += 1;
        self.status(book, BookQuality::Gapped, 0, expected, received);
    }

    fn status(&mut self, book: &mut Book, quality: BookQuality, flags: u8, expected: u64, received: u64) {
        book.quality = quality;
        self.counters.events += 1;
        self.header.kind = RecordKind::Status as u8;
        self.header.flags = flags;
        self.sink.status(&self.header, &Status { quality: quality as u64, expected, received });
    }
}
