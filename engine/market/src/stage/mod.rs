//! The market stage: events in, feature vectors out.
//!
//! One stage serves all instruments of a run. Each event updates the book or the tape of its instrument and yields one
//! feature vector. A timer of event time takes books out of service that have been silent for too long.

use tidegate_wire::clock::Clock;
use tidegate_wire::event::{BookQuality, FLAG_BUFFERED, Header, Status};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{Instrument, InstrumentId, Price, RecordKind, Registry, Venue};
use xxhash_rust::xxh3::xxh3_64;

use crate::bars::{BarMarkets, Finished};
use crate::book::Book;
use crate::crosscheck::CrossCheck;
use crate::features::{FeatureEngine, schema};
use crate::repair::Repair;

mod events;
mod looks;
mod tops;

pub use looks::LOOK_EVERY_NS;
use looks::Watch;
use tops::Tops;

/// Settings of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketConfig {
    /// A book without a depth frame for this long is stale, ns of event time, by venue number.
    pub stale_after_ns: [i64; Venue::ALL.len()],
    /// Compare every book with the quote stream.
    pub check_bbo: bool,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self { stale_after_ns: [3_000_000_000; Venue::ALL.len()], check_bbo: false }
    }
}

/// What the stage counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MarketCounters {
    /// Feature vectors published.
    pub vectors: u64,
    /// Finished bars of the venues' own.
    pub bars: u64,
    /// Books seen crossed.
    pub crossed: u64,
    /// Frames with a price off the instrument's grid.
    pub off_grid: u64,
    /// Corrupt books that a snapshot healed.
    pub healed: u64,
    /// Books that went stale.
    pub stale: u64,
    /// Comparisons of a book with the quote stream at the same update id.
    pub bbo_checked: u64,
    /// Of these, how many differed.
    pub bbo_mismatch: u64,
}

/// Least event time between two measurements of a silence, ns.
const SILENCE_STEP_NS: i64 = 1_000_000_000;

/// One instrument.
#[derive(Debug)]
struct Market {
    book: Book,
    engine: FeatureEngine,
    check: Option<CrossCheck>,
    /// Quality as the feed says.
    feed_quality: BookQuality,
    /// The book itself was seen to be corrupt; only a snapshot heals it.
    corrupt: bool,
    repair: Repair,
    stale: bool,
    /// Silence after which it is stale, ns.
    patience_ns: i64,
    /// When the last depth frame came, ns of event time.
    alive_ns: i64,
    /// When it goes stale, ns of event time; `i64::MAX` while there is nothing to wait for.
    deadline: i64,
    /// The instrument its returns are correlated with.
    reference: Option<usize>,
    /// Second of event time in which the correlation was computed.
    correlated: i64,
    /// Whether the ladder was placed around a price.
    placed: bool,
}

impl Market {
    fn quality(&self) -> BookQuality {
        match self.feed_quality {
            BookQuality::Good if self.corrupt => BookQuality::Crossed,
            BookQuality::Good if self.stale => BookQuality::Stale,
            quality => quality,
        }
    }
}

/// The market stage; `S` takes the feature vectors.
#[derive(Debug)]
pub struct MarketStage<S> {
    registry: Registry,
    clock: Clock,
    markets: Vec<Market>,
    counters: MarketCounters,
    /// The one-minute bars of all instruments.
    minutes: BarMarkets,
    /// The earliest deadline of any book.
    next_deadline: i64,
    /// Running digest over all vectors.
    digest: u64,
    /// Who looks at the books, if somebody does.
    watch: Option<Box<Watch>>,
    /// Whose best levels and trades somebody wants, if somebody does.
    tops: Option<Box<Tops>>,
    sink: S,
}

impl<S: FeatureSink> MarketStage<S> {
    /// A stage for all instruments of a registry. Ladders are as large as their prices ask for, where the registry
    /// knows them: else the first snapshot has to make them.
    pub fn new(registry: &Registry, config: MarketConfig, clock: Clock, sink: S) -> Self {
        let market = |(id, instrument): (InstrumentId, &Instrument)| Market {
            book: registry
                .price(id)
                .map_or_else(|| Book::with_window(instrument, 0), |p| Book::new(instrument, Some(p))),
            engine: FeatureEngine::new(instrument),
            check: config.check_bbo.then(CrossCheck::default),
            feed_quality: BookQuality::Building,
            corrupt: false,
            repair: Repair::new(),
            stale: false,
            patience_ns: config.stale_after_ns[instrument.venue as usize],
            alive_ns: 0,
            deadline: i64::MAX,
            reference: reference(registry, id),
            correlated: 0,
            placed: registry.price(id).is_some(),
        };
        let markets = registry.iter().map(market).collect();
        let (minutes, next_deadline) = (BarMarkets::new(registry), i64::MAX);
        let (registry, counters) = (registry.clone(), MarketCounters::default());
        Self { registry, clock, markets, counters, minutes, next_deadline, digest: 0, watch: None, tops: None, sink }
    }

    /// Makes the ladder of an instrument whose price nobody knew (`Registry::price`): it allocates, once, before the
    /// book is good for the first time.
    fn place(&mut self, id: InstrumentId, price: Price) {
        if let (Some(market), Some(instrument)) = (self.markets.get_mut(id.index()), self.registry.get(id)) {
            market.book = Book::new(instrument, Some(price));
            market.placed = true;
        }
    }

    /// Names the instrument that another one's returns are correlated with.
    pub fn correlate_with(&mut self, id: InstrumentId, reference: InstrumentId) {
        if let Some(market) = self.markets.get_mut(id.index()).filter(|_| id != reference) {
            market.reference = Some(reference.index());
        }
    }

    /// The instrument that another one's returns are correlated with, if there is one.
    pub fn reference(&self, id: InstrumentId) -> Option<InstrumentId> {
        let reference = self.markets.get(id.index())?.reference?;
        Some(InstrumentId(reference as u16))
    }

    /// The consumer of the vectors.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    /// The consumer of the vectors.
    pub const fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Takes the stage apart.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// The book of an instrument.
    pub fn book(&self, id: InstrumentId) -> Option<&Book> {
        self.markets.get(id.index()).map(|market| &market.book)
    }

    /// The quality of an instrument's book.
    pub fn quality(&self, id: InstrumentId) -> BookQuality {
        self.markets.get(id.index()).map_or(BookQuality::Building, Market::quality)
    }

    /// The last vector of an instrument.
    pub fn features(&self, id: InstrumentId) -> Option<FeatureBody> {
        self.markets.get(id.index()).map(|market| masked(*market.engine.body(), market.quality()))
    }

    /// The digest over all vectors so far.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// What was counted.
    pub fn counters(&self) -> MarketCounters {
        let mut counters = self.counters;
        for check in self.markets.iter().filter_map(|market| market.check.as_ref()) {
            let (checked, mismatched) = check.counts();
            counters.bbo_checked += checked;
            counters.bbo_mismatch += mismatched;
        }
        counters
    }

    /// Begins an event: fires what is due, moves the instrument's time. Gives the counter at the beginning.
    #[inline(always)]
    fn begin(&mut self, header: &Header) -> u64 {
        let taken = self.clock.ticks();
        if header.event_ns >= self.next_deadline {
            self.fire(header);
        }
        let index = header.instrument.index();
        let (out, now) = (&mut self.sink, header.event_ns);
        self.minutes.advance(header.instrument, now, &mut |id, finished| tell_minute(out, header, id, finished));
        let market = &mut self.markets[index];
        let good = market.quality() == BookQuality::Good;
        market.engine.advance(header.event_ns, good);
        if market.engine.second() != market.correlated {
            self.correlate(index, header.event_ns);
        }
        taken
    }

    #[cold]
    #[inline(never)]
    fn correlate(&mut self, index: usize, now: i64) {
        self.markets[index].correlated = self.markets[index].engine.second();
        let Some(reference) = self.markets[index].reference else { return };
        // The reference may not have had an event since its second ended.
        let good = self.markets[reference].quality() == BookQuality::Good;
        self.markets[reference].engine.advance(now, good);
        if let Ok([market, reference]) = self.markets.get_disjoint_mut([index, reference]) {
            market.engine.correlate(&reference.engine);
        }
    }

    /// Fires the timers that are due, earliest first, each at its own time.
    #[cold]
    #[inline(never)]
    fn fire(&mut self, header: &Header) {
        while let Some((index, deadline)) = self.earliest().filter(|(_, deadline)| *deadline <= header.event_ns) {
            let market = &mut self.markets[index];
            // While the silence lasts its age is measured again, each second at first and then ever more rarely, so
            // that rules with patience of their own see it too and a silence of years costs no more than a few dozen.
            let age = deadline - market.alive_ns;
            market.deadline = deadline.saturating_add((age / 4).max(SILENCE_STEP_NS));
            let first = !core::mem::replace(&mut market.stale, true);
            if market.feed_quality == BookQuality::Good && !market.corrupt {
                market.engine.advance(deadline, first);
                self.counters.stale += u64::from(first);
                let timer = Header {
                    frame: header.frame,
                    event_ns: deadline,
                    ..Header::new(RecordKind::Features, InstrumentId(index as u16))
                };
                if first {
                    self.tell(&timer, BookQuality::Stale);
                }
                self.publish(&timer, 0, 0);
            }
        }
        self.next_deadline = self.earliest().map_or(i64::MAX, |(_, deadline)| deadline);
    }

    fn earliest(&self) -> Option<(usize, i64)> {
        let deadlines = self.markets.iter().enumerate().map(|(index, market)| (index, market.deadline));
        deadlines.filter(|(_, deadline)| *deadline != i64::MAX).min_by_key(|(index, deadline)| (*deadline, *index))
    }

    /// A depth frame came: the book is alive.
    #[inline(always)]
    fn alive(&mut self, header: &Header) {
        let market = &mut self.markets[header.instrument.index()];
        let deadline = header.event_ns.saturating_add(market.patience_ns);
        let was_stale = core::mem::replace(&mut market.stale, false);
        (market.deadline, market.alive_ns) = (deadline, header.event_ns);
        self.next_deadline = self.next_deadline.min(deadline);
        if was_stale && self.markets[header.instrument.index()].quality() == BookQuality::Good {
            self.tell(header, BookQuality::Good);
        }
    }

    /// Tells whoever keeps a log that a book changed its quality for a reason that the feed does not know.
    #[cold]
    fn tell(&mut self, header: &Header, quality: BookQuality) {
        self.sink.status(header, &Status { quality: quality as u64, expected: 0, received: 0 });
    }

    /// Ends an event: completes the vector and hands it on.
    #[inline(always)]
    fn publish(&mut self, header: &Header, taken_ticks: u64, book_ticks: u64) {
        if self.tops.is_some() {
            self.top(header);
        }
        let market = &mut self.markets[header.instrument.index()];
        market.engine.finish(header.event_ns);
        let quality = market.quality();
        let body = market.engine.body();
        let mut body = if quality == BookQuality::Good { *body } else { masked(*body, quality) };
        body.quality = quality as u64;
        body.digest = digest(header, &body);
        self.digest = (self.digest.rotate_left(5) ^ body.digest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.counters.vectors += 1;
        (body.taken_ticks, body.book_ticks) = (taken_ticks, book_ticks);
        body.features_ticks = self.clock.ticks();
        let header = Header { kind: RecordKind::Features as u8, count: 0, ..*header };
        self.sink.features(&header, &body);
        if self.watch.is_some() {
            self.look(&header);
        }
    }

    /// The book is corrupt: out of service until a snapshot.
    #[cold]
    fn corrupt(&mut self, header: &Header, off_grid: bool, before: u64) {
        let counter = if off_grid { &mut self.counters.off_grid } else { &mut self.counters.crossed };
        *counter += 1;
        let market = &mut self.markets[header.instrument.index()];
        let first = !core::mem::replace(&mut market.corrupt, true);
        market.repair.begin(before);
        if let Some(check) = &mut market.check {
            check.forget_book();
        }
        if first {
            self.tell(header, BookQuality::Crossed);
        }
    }

    /// The book changed: its mid matters where there is nothing else to make bars of.
    #[inline(always)]
    fn see_mid(&mut self, header: &Header) {
        let (id, now) = (header.instrument, header.event_ns);
        if self.minutes.wants_mids(id)
            && let Some(market) = self.markets.get(id.index()).filter(|market| market.quality() == BookQuality::Good)
            && let Some(mid) = market.engine.body().get(schema::MID)
        {
            self.minutes.mid(id, now, mid);
        }
    }

    #[inline(always)]
    fn latency(header: &Header) -> Option<i64> {
        let known = header.venue_ns != 0 && header.flags & FLAG_BUFFERED == 0;
        known.then(|| header.event_ns - header.venue_ns)
    }
}

/// A bar of an instrument has ended, at the event behind `header`.
#[cold]
#[inline(never)]
fn tell_minute(sink: &mut impl FeatureSink, header: &Header, id: InstrumentId, finished: &Finished) {
    let header = Header {
        frame: header.frame,
        event_ns: header.event_ns,
        arrive_ticks: header.arrive_ticks,
        ..Header::new(RecordKind::Minute, id)
    };
    sink.minute(&header, &finished.body());
}

/// The vector without what needs a good book. A masked value is zero, so that equal vectors have equal bytes.
fn masked(mut body: FeatureBody, quality: BookQuality) -> FeatureBody {
    if quality != BookQuality::Good {
        body.mask &= !schema::NEEDS_BOOK;
    }
    for (index, value) in body.values.iter_mut().enumerate() {
        if body.mask >> index & 1 == 0 {
            *value = 0.0;
        }
    }
    body.quality = quality as u64;
    body
}

/// XXH3 over what the vector says and when: stamps of the host are left out, so that it is the same in every run.
#[inline(always)]
fn digest(header: &Header, body: &FeatureBody) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let values = xxh3_64(bytemuck::bytes_of(&body.values));
    let place = u64::from(header.instrument.0) << 8 | body.quality;
    let seen = (header.event_ns as u64).wrapping_mul(MIX).rotate_left(31) ^ body.mask;
    (values ^ seen.wrapping_mul(MIX)).rotate_left(29).wrapping_mul(MIX) ^ place.wrapping_mul(MIX)
}

/// The instrument to correlate with unless somebody names one: the first other market of the same base asset.
fn reference(registry: &Registry, id: InstrumentId) -> Option<usize> {
    let base = registry.get(id)?.base();
    let mut others = registry.iter().filter(|(other, _)| *other != id);
    others.find(|(_, other)| other.base() == base).map(|(other, _)| other.index())
}
