//! Decoders and synchronisers tied together: frames in, events out.

use tidegate_wire::clock::{Clock, EventClock};
use tidegate_wire::event::{EventSink, Header};
use tidegate_wire::{InstrumentId, RecordKind, Registry, Venue};

use crate::counters::{FeedCounters, Reason};
use crate::emit::{Book, Emitter};
use crate::frame::{FrameMeta, FrameMut, Outcome};
use crate::replay::Format;
use crate::tables::{self, Row};
use crate::venues::{Body, Decode, Message, binance, bitget, bybit, deribit, okx};

/// Why a feed cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// No instrument to feed.
    #[error("no instrument is registered")]
    NoInstruments,
}

/// The decoders of the venues that have instruments.
#[derive(Debug)]
struct Decoders {
    /// In the order of [`binance::MARKETS`].
    binance: [Option<Box<binance::Decoder>>; 3],
    /// In the order of [`bybit::MARKETS`].
    bybit: [Option<Box<bybit::Decoder>>; 3],
    okx: Option<Box<okx::Decoder>>,
    /// One connection carries all of Bitget's markets, and its frames say which they are of.
    bitget: Option<Box<bitget::Decoder>>,
    deribit: Option<Box<deribit::Decoder>>,
}

impl Decoders {
    fn new(registry: &Registry) -> Self {
        let any = |venues: &[Venue]| registry.iter().any(|(_, instrument)| venues.contains(&instrument.venue));
        Self {
            binance: binance::MARKETS
                .map(|venue| any(&[venue]).then(|| Box::new(binance::Decoder::new(registry, venue)))),
            bybit: bybit::MARKETS.map(|venue| any(&[venue]).then(|| Box::new(bybit::Decoder::new(registry, venue)))),
            okx: any(&[Venue::Okx]).then(|| Box::new(okx::Decoder::new(registry))),
            bitget: any(&bitget::MARKETS).then(|| Box::new(bitget::Decoder::new(registry))),
            deribit: any(&[Venue::Deribit]).then(|| Box::new(deribit::Decoder::new(registry))),
        }
    }

    fn fallbacks(&self) -> u64 {
        fn of<D: Decode>(decoder: Option<&D>) -> u64 {
            decoder.map_or(0, Decode::fallbacks)
        }
        let markets = self.binance.iter().map(|d| of(d.as_deref())).chain(self.bybit.iter().map(|d| of(d.as_deref())));
        markets.sum::<u64>() + of(self.okx.as_deref()) + of(self.bitget.as_deref()) + of(self.deribit.as_deref())
    }
}

/// What every frame needs, whatever its venue.
#[derive(Debug)]
struct Desk {
    clock: Clock,
    books: Vec<Book>,
    live: bool,
    counters: FeedCounters,
}

/// Frames of all venues in, events out. One a decoding thread.
#[derive(Debug)]
pub struct Feed {
    event_time: EventClock,
    decoders: Decoders,
    /// Rows of recorded tables.
    tables: Box<tables::Decoder>,
    desk: Desk,
    /// Event time of the next heartbeat for frames without events.
    next_beat_ns: i64,
}

/// Heartbeats for frames without events come at most this often, ns of event time.
const BEAT_NS: i64 = 100_000_000;

impl Feed {
    /// A feed for all instruments of a registry.
    ///
    /// # Errors
    /// [`FeedError::NoInstruments`].
    pub fn new(registry: &Registry, clock: Clock) -> Result<Self, FeedError> {
        if registry.is_empty() {
            return Err(FeedError::NoInstruments);
        }
        let books = registry.iter().map(|(_, instrument)| Book::new(instrument.venue)).collect();
        let desk = Desk { clock, books, live: false, counters: FeedCounters::default() };
        let (decoders, tables) = (Decoders::new(registry), Box::new(tables::Decoder::new(registry)));
        Ok(Self { event_time: EventClock::default(), decoders, tables, desk, next_beat_ns: 0 })
    }

    /// Says that all frames come from live connections, or from captures of them: a book that comes back over another
    /// connection is the same book, however long that took. Else it begins another recording.
    #[must_use]
    pub fn of_live_frames(mut self, live: bool) -> Self {
        self.desk.live = live;
        self
    }

    /// Reads one frame, emits what it means and says what it was.
    #[inline]
    pub fn frame(&mut self, meta: &FrameMeta, mut frame: FrameMut<'_>, sink: &mut impl EventSink) -> Outcome {
        self.desk.counters.frames += 1;
        self.desk.counters.bytes += frame.len() as u64;
        let event_ns = self.event_time.advance(meta.recv_ns);
        let before = self.desk.counters.events;
        let outcome = match self.read(meta, event_ns, &mut frame, sink) {
            Ok(outcome) => outcome,
            Err(reason) => {
                self.desk.counters.skip(meta.venue, reason);
                if reason == Reason::Control { Outcome::Control } else { Outcome::Skipped(reason) }
            }
        };
        // Frames that say nothing still show that time passes: timers behind us must fire although a venue sends
        // only what cannot be read.
        if self.desk.counters.events == before && event_ns >= self.next_beat_ns {
            self.next_beat_ns = event_ns.saturating_add(BEAT_NS);
            self.heartbeat(event_ns, meta.arrive_ticks, sink);
        }
        outcome
    }

    /// Reads one frame of a recorded table (one row, or the rows of one instant) and emits what it means.
    pub fn row(&mut self, meta: &FrameMeta, format: Format, rows: &[u8], sink: &mut impl EventSink) {
        let Desk { counters, clock, books, live } = &mut self.desk;
        counters.frames += 1;
        counters.bytes += rows.len() as u64;
        let event_ns = self.event_time.advance(meta.recv_ns);
        let row = match self.tables.row(format, meta.hint, event_ns, rows) {
            Ok(row) => row,
            Err(reason) => {
                counters.skip(meta.venue, reason);
                return self.heartbeat(event_ns, meta.arrive_ticks, sink);
            }
        };
        let Some(book) = books.get_mut(meta.hint.index()) else { return };
        let header = Header {
            frame: counters.frames,
            event_ns,
            arrive_ticks: meta.arrive_ticks,
            decoded_ticks: clock.ticks(),
            ..Header::new(RecordKind::Heartbeat, meta.hint)
        };
        let mut emitter = Emitter { header, source: meta.source, live: *live, counters, sink };
        // These tables have one stamp a row: whether the venue's or the recorder's, no latency follows from it.
        let said = |body| Message { instrument: meta.hint, venue_ns: 0, body };
        match row {
            Row::Nothing => self.heartbeat(event_ns, meta.arrive_ticks, sink),
            Row::Bar(bar) => emitter.bar(&bar),
            Row::Message(body) => emitter.message(&said(body), book, self.tables.levels_mut()),
            Row::Book(changed, agreed) => {
                emitter.counters.books_checked += u64::from(agreed.is_some());
                emitter.counters.books_agreed += u64::from(agreed == Some(true));
                if let Some(ids) = changed {
                    emitter.message(&said(Body::Delta(ids)), book, self.tables.levels_mut());
                }
                let ids = self.tables.whole(meta.hint);
                emitter.message(&said(Body::Snapshot(ids)), book, self.tables.levels_mut());
            }
        }
    }

    #[inline(always)]
    fn read(
        &mut self,
        meta: &FrameMeta,
        event_ns: i64,
        frame: &mut FrameMut<'_>,
        sink: &mut impl EventSink,
    ) -> Result<Outcome, Reason> {
        let Self { decoders, desk, .. } = self;
        match meta.venue {
            Venue::BinanceSpot => desk.read(&mut decoders.binance[0], meta, event_ns, frame, sink),
            Venue::BinanceUsdm => desk.read(&mut decoders.binance[1], meta, event_ns, frame, sink),
            Venue::BinanceCoinm => desk.read(&mut decoders.binance[2], meta, event_ns, frame, sink),
            Venue::Bybit => desk.read(&mut decoders.bybit[0], meta, event_ns, frame, sink),
            Venue::BybitSpot => desk.read(&mut decoders.bybit[1], meta, event_ns, frame, sink),
            Venue::BybitInverse => desk.read(&mut decoders.bybit[2], meta, event_ns, frame, sink),
            Venue::Okx => desk.read(&mut decoders.okx, meta, event_ns, frame, sink),
            Venue::BitgetSpot | Venue::BitgetUsdt | Venue::BitgetCoin | Venue::BitgetUsdc => {
                desk.read(&mut decoders.bitget, meta, event_ns, frame, sink)
            }
            Venue::Deribit => desk.read(&mut decoders.deribit, meta, event_ns, frame, sink),
            // Known from recorded tables only.
            Venue::Coinbase | Venue::Bitstamp | Venue::Bitmex => Err(Reason::UnknownSymbol),
        }
    }

    /// Emits a heartbeat: event time moves on although no frame came.
    pub fn heartbeat(&mut self, now_ns: i64, arrive_ticks: u64, sink: &mut impl EventSink) {
        let event_ns = self.event_time.advance(now_ns);
        let header = Header {
            frame: self.desk.counters.frames,
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
        let Desk { counters, books, live, .. } = &mut self.desk;
        let Some(book) = books.get_mut(instrument.index()) else { return };
        let header = Header {
            frame: counters.frames,
            event_ns: self.event_time.now_ns(),
            ..Header::new(RecordKind::Status, instrument)
        };
        Emitter { header, source: book.source(), live: *live, counters, sink }.resync(book);
    }

    /// Books that need a snapshot: what a session must ask the venue for, by a request or by subscribing anew.
    pub fn waiting(&self) -> impl Iterator<Item = InstrumentId> + '_ {
        let waiting = self.desk.books.iter().enumerate().filter(|(_, book)| book.is_waiting());
        waiting.map(|(index, _)| InstrumentId(index as u16))
    }

    /// How often a book began or ceased to need a snapshot: while it stays the same, so does [`Feed::waiting`].
    #[inline(always)]
    pub const fn waiting_changes(&self) -> u64 {
        self.desk.counters.waiting_changes
    }

    /// Gaps and resyncs of one book.
    pub fn book_counts(&self, instrument: InstrumentId) -> (u64, u64) {
        self.desk.books.get(instrument.index()).map_or((0, 0), Book::counts)
    }

    /// What was counted so far.
    pub fn counters(&self) -> FeedCounters {
        let mut counters = self.desk.counters.clone();
        counters.scanner_fallbacks = self.decoders.fallbacks();
        counters.held_back_overflow = self.desk.books.iter().map(Book::overflows).sum();
        counters
    }
}

impl Desk {
    /// Lets a venue's decoder read a frame, and emits what it says.
    #[inline(always)]
    fn read<D: Decode>(
        &mut self,
        decoder: &mut Option<Box<D>>,
        meta: &FrameMeta,
        event_ns: i64,
        frame: &mut FrameMut<'_>,
        sink: &mut impl EventSink,
    ) -> Result<Outcome, Reason> {
        let decoder = decoder.as_deref_mut().ok_or(Reason::UnknownSymbol)?;
        let message = decoder.decode(frame, meta.hint)?;
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
            live: self.live,
            counters: &mut self.counters,
            sink,
        };
        if matches!(message.body, Body::Batch) {
            for message in decoder.batch().messages() {
                emitter.one_of_many(message, &mut self.books[message.instrument.index()]);
            }
            for said in decoder.batch().options() {
                (emitter.header.instrument, emitter.header.venue_ns) = (said.instrument, said.venue_ns);
                emitter.option(&said.option);
            }
            return Ok(Outcome::Market(emitter.header.instrument));
        }
        let book = &mut self.books[message.instrument.index()];
        emitter.message(&message, book, decoder.levels_mut());
        let depth = matches!(message.body, Body::Delta(_) | Body::Snapshot(_) | Body::Stream(_));
        Ok(if depth { Outcome::Depth(message.instrument) } else { Outcome::Market(message.instrument) })
    }
}
