//! The market as the risk desk sees it: the newest vector of every instrument.

use std::sync::Arc;
use std::time::Instant;

use tidegate_guard::risk::{MarketView, Permits, Reference, ReferenceKind};
use tidegate_market::features::schema::MID;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::event::BookQuality;
use tidegate_wire::feature::FeatureRecord;
use tidegate_wire::ring::{RecordBuf, Region, overwrite};
use tidegate_wire::{InstrumentId, Price, Registry, Scale};

/// Records that are read at once.
const MOST: usize = 1 << 14;

/// What was seen last of an instrument.
#[derive(Clone, Copy, Debug)]
struct Seen {
    reference: Reference,
    quality: BookQuality,
    scale: Scale,
    venue: u8,
    /// Whether it has moved since it was asked for.
    fresh: bool,
}

/// All instruments.
#[derive(Debug)]
pub(crate) struct Market {
    ring: overwrite::Reader,
    buf: RecordBuf,
    seen: Vec<Seen>,
    newest_ns: i64,
    at: Instant,
    /// Events bear the host's time.
    live: bool,
}

impl Market {
    pub(crate) fn new(registry: &Registry, observers: Arc<Region>, live: bool) -> Self {
        let seen = registry.iter().map(|(_, instrument)| Seen {
            reference: Reference::MISSING,
            quality: BookQuality::Building,
            scale: instrument.price_scale,
            venue: instrument.venue as u8,
            fresh: false,
        });
        let (ring, buf) = (overwrite::Reader::newest(observers), RecordBuf::default());
        Self { ring, buf, seen: seen.collect(), newest_ns: 0, at: Instant::now(), live }
    }

    /// Reads what has come.
    pub(crate) fn look(&mut self) {
        let mut any = false;
        // Bounded, so that nobody waits behind a loop that is faster than this.
        for _ in 0..MOST {
            let Some(words) = self.ring.pop(&mut self.buf) else { break };
            let Some(record) = FeatureRecord::of_words(words) else { continue };
            let Some(seen) = self.seen.get_mut(record.header.instrument.index()) else { continue };
            let at = record.header.event_ns;
            self.newest_ns = self.newest_ns.max(at);
            any = true;
            seen.quality = record.body.book_quality();
            // A vector without a mid leaves the old reference: it grows old, and the book's quality says the rest.
            if let Some(mid) = record.body.get(MID) {
                seen.reference = Reference::from_f64(mid, seen.scale, at, ReferenceKind::Mid);
                seen.fresh = true;
            }
        }
        if any {
            self.at = Instant::now();
        }
    }

    /// Event time now: that of the newest vector and what has passed since it was seen. So it goes on when a feed falls
    /// silent, and is that of the data where a recording runs. Before the first vector it is the host's, or 0 where a
    /// recording runs, whose time nobody knows yet.
    pub(crate) fn now_ns(&self) -> i64 {
        if self.newest_ns == 0 {
            return if self.live { realtime_ns() } else { 0 };
        }
        self.newest_ns.saturating_add(i64::try_from(self.at.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// An instrument for an order, with what breakers permit.
    pub(crate) fn view(&self, instrument: InstrumentId, permits: Permits) -> MarketView {
        let seen = self.seen.get(instrument.index());
        MarketView {
            reference: seen.map_or(Reference::MISSING, |seen| seen.reference),
            quality: seen.map_or(BookQuality::Building, |seen| seen.quality),
            permits,
        }
    }

    pub(crate) fn venue(&self, instrument: InstrumentId) -> u8 {
        self.seen.get(instrument.index()).map_or(u8::MAX, |seen| seen.venue)
    }

    /// Prices that have moved since this was asked last: instrument, price, when.
    pub(crate) fn moved(&mut self) -> impl Iterator<Item = (InstrumentId, Price, i64)> {
        self.seen.iter_mut().enumerate().filter_map(|(index, seen)| {
            let Reference { price, at_ns, .. } = seen.reference;
            core::mem::take(&mut seen.fresh).then_some((InstrumentId(index as u16), price, at_ns))
        })
    }
}
