//! The path cut off after each stage: what the stages cost is the difference between two of these.

use std::hint::black_box;
use std::sync::Arc;

use bytemuck::Zeroable;
use tidegate_feed::frame::FrameMut;
use tidegate_feed::{Feed, FrameMeta};
use tidegate_guard::profile::Escalation;
use tidegate_guard::{GuardStage, Profile};
use tidegate_market::book::Book;
use tidegate_market::{MarketConfig, MarketStage};
use tidegate_runtime::latency::{STAGES, Tail};
use tidegate_wire::event::{Bar, BookQuality, Depth, EventSink, Header, Mark, OptionMark, Quote, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureRecord, FeatureSink};
use tidegate_wire::latency::{Collector, recorder};
use tidegate_wire::relay::{RecordReader, RecordWriter};
use tidegate_wire::ring::{RecordBuf, Region, RegionKind, lossless, overwrite};
use tidegate_wire::{InstrumentId, Price, Registry, Venue};

use crate::corpus;
use crate::session::{Inbox, Session};
use crate::timing::Stopwatch;
use crate::websocket;

/// Lines of the vectors' ring, as the engine has it.
const OBSERVER_LINES: u64 = 1 << 16;
/// Lines of the decisions' ring: a whole pass of decisions must fit, for it is emptied between passes.
const DECISION_LINES: u64 = 1 << 16;

/// Counts depth frames and drops them: the path ends behind the sequence rule.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) deltas: u64,
}

impl EventSink for Decoded {
    #[inline]
    fn delta(&mut self, _: &Header, depth: Depth<'_>) {
        self.deltas += 1;
        black_box(depth);
    }
    fn snapshot(&mut self, _: &Header, _: Depth<'_>) {}
    fn status(&mut self, _: &Header, _: &Status) {}
    fn quote(&mut self, _: &Header, _: &Quote) {}
    fn trade(&mut self, _: &Header, _: &Trade) {}
    fn mark(&mut self, _: &Header, _: &Mark) {}
    fn option(&mut self, _: &Header, _: &OptionMark) {}
    fn bar(&mut self, _: &Header, _: &Bar) {}
    fn heartbeat(&mut self, _: &Header) {}
}

/// The path ends at a book with best prices, tested for being crossed.
#[derive(Debug)]
pub(super) struct Booked {
    book: Book,
    /// Best prices after every frame, folded into one number.
    pub(super) sum: u64,
    pub(super) applied: u64,
    /// Crossed books, prices off the grid and gaps: all must stay 0.
    pub(super) troubles: u64,
    pub(super) good: bool,
}

impl Booked {
    pub(super) fn new() -> Self {
        let book = Book::new(&corpus::instrument(), Some(Price::from_raw(corpus::MID)));
        Self { book, sum: 0, applied: 0, troubles: 0, good: false }
    }
}

impl EventSink for Booked {
    #[inline]
    fn delta(&mut self, _: &Header, depth: Depth<'_>) {
        self.troubles += u64::from(self.book.apply(&depth).is_err());
        let (bid, ask) = (self.book.best_bid(), self.book.best_ask());
        self.troubles += u64::from(self.book.is_crossed());
        self.applied += 1;
        if let (Some(bid), Some(ask)) = (bid, ask) {
            self.sum = fold(self.sum, bid.price.raw(), ask.price.raw());
        }
    }

    fn snapshot(&mut self, _: &Header, depth: Depth<'_>) {
        self.troubles += u64::from(self.book.load(&depth).is_err());
    }

    fn status(&mut self, _: &Header, status: &Status) {
        self.good = status.quality == BookQuality::Good as u64;
        self.troubles += u64::from(status.quality == BookQuality::Gapped as u64);
    }

    fn quote(&mut self, _: &Header, _: &Quote) {}
    fn trade(&mut self, _: &Header, _: &Trade) {}
    fn mark(&mut self, _: &Header, _: &Mark) {}
    fn option(&mut self, _: &Header, _: &OptionMark) {}
    fn bar(&mut self, _: &Header, _: &Bar) {}
    fn heartbeat(&mut self, _: &Header) {}
}

/// Two prices into a running number.
#[inline(always)]
pub(super) fn fold(sum: u64, bid: i64, ask: i64) -> u64 {
    sum.rotate_left(1) ^ (bid as u64) << 20 ^ ask as u64
}

/// The path ends with a vector nobody takes.
#[derive(Debug)]
pub(super) struct Dropped;

impl FeatureSink for Dropped {
    #[inline]
    fn features(&mut self, _: &Header, body: &FeatureBody) {
        black_box(body);
    }
    fn heartbeat(&mut self, _: &Header) {}
}

/// The path ends with the record in a ring that overwrites.
#[derive(Debug)]
pub(super) struct Published {
    record: Box<FeatureRecord>,
    ring: overwrite::Writer,
}

impl FeatureSink for Published {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        (self.record.header, self.record.body) = (*header, *body);
        self.ring.push(bytemuck::cast_slice_mut(core::slice::from_mut(&mut *self.record)));
    }
    fn heartbeat(&mut self, _: &Header) {}
}

impl Published {
    /// A publisher, and the region to read from.
    pub(super) fn new() -> (Self, Arc<Region>) {
        let region = region(RegionKind::Overwrite, OBSERVER_LINES);
        (Self { record: Box::new(Zeroable::zeroed()), ring: overwrite::Writer::resume(region.clone()) }, region)
    }
}

/// The path goes through the breakers and then publishes, in the engine's order.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: GuardStage<RecordWriter>,
    publish: Published,
}

impl FeatureSink for Guarded {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.guard.features(header, body);
        self.publish.features(header, body);
    }
    fn heartbeat(&mut self, header: &Header) {
        self.guard.heartbeat(header);
    }
    fn status(&mut self, header: &Header, status: &Status) {
        self.guard.status(header, status);
    }
}

impl Guarded {
    pub(super) fn new() -> (Self, RecordReader) {
        let (guard, decisions) = guard();
        (Self { guard, publish: Published::new().0 }, decisions)
    }
}

/// The engine's own end of the pipeline: breakers, publication and a histogram a stage.
pub(super) fn tail(watch: &Stopwatch) -> (Tail, RecordReader, Collector) {
    let (guard, decisions) = guard();
    let (recorder, collector) = recorder(STAGES);
    let observers = overwrite::Writer::resume(region(RegionKind::Overwrite, OBSERVER_LINES));
    (Tail::new(guard, recorder, *watch.clock(), observers, false), decisions, collector)
}

fn guard() -> (GuardStage<RecordWriter>, RecordReader) {
    let region = region(RegionKind::Lossless, DECISION_LINES);
    let writer = RecordWriter::new(lossless::Writer::resume(region.clone()));
    let (registry, _) = corpus::registry();
    let guard = GuardStage::new(&registry, Venue::ALL.map(Profile::builtin), Escalation::default(), &[], writer);
    (guard.expect("built-in thresholds are in range"), RecordReader::new(lossless::Reader::resume(region)))
}

fn region(kind: RegionKind, lines: u64) -> Arc<Region> {
    Arc::new(Region::anonymous(kind, lines).expect("memory for a ring"))
}

/// The market stage of the corpus's instrument.
pub(super) fn market<S: FeatureSink>(watch: &Stopwatch, sink: S) -> MarketStage<S> {
    let (mut registry, id): (Registry, InstrumentId) = corpus::registry();
    registry.set_price(id, Price::from_raw(corpus::MID));
    MarketStage::new(&registry, MarketConfig::default(), *watch.clock(), sink)
}

/// Reads the last record of a ring as an observer would.
#[derive(Debug)]
pub(super) struct Observer {
    region: Arc<Region>,
    reader: Option<overwrite::Reader>,
}

impl Observer {
    pub(super) const fn new(region: Arc<Region>) -> Self {
        Self { region, reader: None }
    }

    /// Waits for what comes next.
    pub(super) fn look(&mut self) {
        self.reader = Some(overwrite::Reader::newest(self.region.clone()));
    }

    /// The last record since [`Observer::look`].
    pub(super) fn last(&mut self) -> Option<FeatureRecord> {
        let (mut buf, mut last) = (RecordBuf::default(), None);
        while let Some(words) = self.reader.as_mut()?.pop(&mut buf) {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            last = bytes.get(..size_of::<FeatureRecord>()).map(bytemuck::pod_read_unaligned);
        }
        last
    }
}

/// One cut of the path with everything it keeps between frames.
#[derive(Debug)]
pub(super) struct Path<S> {
    pub(super) feed: Feed,
    pub(super) sink: S,
    pub(super) id: InstrumentId,
    meta: FrameMeta,
    refused: u64,
}

impl<S: EventSink> Path<S> {
    pub(super) fn new(watch: &Stopwatch, sink: S) -> Self {
        let (registry, id) = corpus::registry();
        let feed = Feed::new(&registry, *watch.clock()).expect("one instrument is registered");
        let meta = FrameMeta { recv_ns: 0, arrive_ticks: 0, venue: Venue::BinanceUsdm, source: 0, hint: id };
        Self { feed, sink, id, meta, refused: 0 }
    }

    /// A new pass: the book anew from the snapshot.
    pub(super) fn restart(&mut self, session: &Session, pass: usize) {
        self.meta.recv_ns = session.recv_ns(0, pass);
        self.feed.resync(self.id, &mut self.sink);
        self.feed.frame(&self.meta, session.snapshot(pass).frame(0), &mut self.sink);
    }

    /// One frame from the receive buffer.
    #[inline(always)]
    pub(super) fn frame(&mut self, inbox: &mut Inbox, recv_ns: i64, watch: &Stopwatch) {
        self.meta.recv_ns = recv_ns;
        self.meta.arrive_ticks = watch.clock().ticks();
        let found = websocket::text(inbox.bytes());
        let Some((start, length)) = found else {
            self.refused += 1;
            return;
        };
        match FrameMut::new(inbox.from(start), length) {
            Some(frame) => _ = self.feed.frame(&self.meta, frame, &mut self.sink),
            None => self.refused += 1,
        }
    }

    /// Frames that no decoder read quickly, or that were no text frames: must stay 0.
    pub(super) fn troubles(&self) -> u64 {
        let counters = self.feed.counters();
        self.refused + counters.scanner_fallbacks + counters.gaps + counters.decode_errors()
    }
}
