//! The stages whose latency is kept, and the end of the pipeline that keeps it.

use std::sync::Arc;

use tidegate_guard::GuardStage;
use tidegate_trade::signals::Looked;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{FLAG_BUFFERED, Header, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureRecord, FeatureSink, MinuteBody, MinuteRecord};
use tidegate_wire::latency::Recorder;
use tidegate_wire::relay::RecordWriter;
use tidegate_wire::ring::overwrite;
use tidegate_wire::top::TopBody;
use tidegate_wire::{Registry, Venue};

use crate::models::{Advisor, Inbox, Orders};
use crate::signals::{Both, HotSignals};

/// Stages in recording order. `ring` is the way between stages: a call when fused, rings when staged. From
/// `sidecar_wait` on they are those of an adjustment: until the sidecar takes the vector that made it due, the model's
/// run with the graph built for it, until it is in force, and all of it from the frame's arrival. `signals` is the
/// signal desk's look at a vector of a coin, `signal_total` the way from the frame's arrival to its end, `signal_told`
/// the same where it told a signal. A replay that waits for its models or its paper desk has those waits in them.
pub const STAGES: &[&str] = &{
    let mut stages = [""; PIPELINE + 2 * VENUES];
    let pipeline = [
        "decode",
        "ring",
        "book",
        "features",
        "guard",
        "total",
        "sidecar_wait",
        "inference",
        "publish",
        "adjust_total",
        "signals",
        "signal_total",
        "signal_told",
    ];
    let mut index = 0;
    while index < PIPELINE {
        stages[index] = pipeline[index];
        index += 1;
    }
    index = 0;
    while index < VENUES {
        stages[PIPELINE + 2 * index] = BY_VENUE[index].0;
        stages[PIPELINE + 2 * index + 1] = BY_VENUE[index].1;
        index += 1;
    }
    stages
};

/// Stages of the pipeline: the first of [`STAGES`].
pub const PIPELINE: usize = 13;
/// Of these, the first that every run has.
pub const COMMON: usize = 10;
const VENUES: usize = Venue::ALL.len();

/// Behind the pipeline's stages, for each venue in the order of its number, in live runs: `total` of its events, and
/// their `transit`: from the venue's own stamp to the kernel's, which holds the difference of both clocks; less than
/// nothing counts as nothing.
const BY_VENUE: [(&str, &str); VENUES] = [
    ("total.binance-spot", "transit.binance-spot"),
    ("total.binance-usdm", "transit.binance-usdm"),
    ("total.binance-coinm", "transit.binance-coinm"),
    ("total.coinbase", "transit.coinbase"),
    ("total.bitstamp", "transit.bitstamp"),
    ("total.bitmex", "transit.bitmex"),
    ("total.deribit", "transit.deribit"),
    ("total.bybit", "transit.bybit"),
    ("total.bybit-spot", "transit.bybit-spot"),
    ("total.bybit-inverse", "transit.bybit-inverse"),
    ("total.okx", "transit.okx"),
    ("total.bitget-spot", "transit.bitget-spot"),
    ("total.bitget-usdt", "transit.bitget-usdt"),
    ("total.bitget-coin", "transit.bitget-coin"),
    ("total.bitget-usdc", "transit.bitget-usdc"),
];

const DECODE: usize = 0;
const RING: usize = 1;
const BOOK: usize = 2;
const FEATURES: usize = 3;
const GUARD: usize = 4;
const TOTAL: usize = 5;
pub(crate) const SIDECAR_WAIT: usize = 6;
pub(crate) const INFERENCE: usize = 7;
pub(crate) const PUBLISH: usize = 8;
pub(crate) const ADJUST_TOTAL: usize = 9;
const SIGNALS: usize = 10;
const SIGNAL_TOTAL: usize = 11;
const SIGNAL_TOLD: usize = 12;

/// The last stage: breakers, publication of the vector, histograms.
///
/// Stamps ride in the records, so that the stages before it pay one counter read each and nothing more.
#[derive(Debug)]
pub struct Tail {
    guard: GuardStage<RecordWriter>,
    recorder: Recorder,
    clock: Clock,
    /// For observers that must not slow anything: sidecar, screens, flight recorder.
    observers: overwrite::Writer,
    record: Box<FeatureRecord>,
    /// Whether a ring lies between the market stage and this one.
    staged: bool,
    advisor: Advisor,
    orders: Orders,
    /// Venue number of each instrument, where latency is kept by venue.
    venues: Box<[u8]>,
    signals: Option<Box<HotSignals>>,
}

impl Tail {
    /// The end of a pipeline.
    pub fn new(
        guard: GuardStage<RecordWriter>,
        recorder: Recorder,
        clock: Clock,
        observers: overwrite::Writer,
        staged: bool,
    ) -> Self {
        let record = Box::new(bytemuck::Zeroable::zeroed());
        Self {
            guard,
            recorder,
            clock,
            observers,
            record,
            staged,
            advisor: Advisor::None,
            orders: Orders::new(Arc::default()),
            venues: Box::default(),
            signals: None,
        }
    }

    /// Keeps latency by venue too, where that is wanted.
    pub(crate) fn by_venue_if(mut self, wanted: bool, registry: &Registry) -> Self {
        if !wanted {
            return self;
        }
        self.venues = registry.iter().map(|(_, instrument)| instrument.venue as u8).collect();
        self
    }

    /// Signals from what it sees.
    pub(crate) fn signalling(mut self, signals: Option<HotSignals>) -> Self {
        self.signals = signals.map(Box::new);
        self
    }

    /// Takes advice from somewhere.
    pub(crate) fn advised_by(mut self, advisor: Advisor) -> Self {
        self.advisor = advisor;
        self
    }

    /// Takes commands of operators from somewhere.
    pub(crate) fn ordered_by(mut self, inbox: Arc<Inbox>) -> Self {
        self.orders = Orders::new(inbox);
        self
    }

    /// While there is no event: advice is taken as soon as it comes.
    #[inline(always)]
    pub(crate) fn idle(&mut self) {
        self.orders.poll(&mut self.guard);
        self.advisor.idle(&mut self.guard, &self.clock, &mut self.recorder);
    }

    /// The guard stage.
    pub const fn guard(&self) -> &GuardStage<RecordWriter> {
        &self.guard
    }

    /// Ends recording and takes the stage apart.
    pub fn finish(self) -> TailEnd {
        let Self { mut guard, advisor, recorder, mut signals, .. } = self;
        recorder.finish();
        let advice_left = advisor.finish(&mut guard);
        if let Some(HotSignals { desk, ring }) = signals.as_deref_mut() {
            desk.finish(&mut Both(guard.sink_mut(), ring));
        }
        TailEnd { guard, advice_left, signals }
    }

    /// Looks for a signal behind the guard; gives the counter afterwards, and whether there was one.
    #[inline(always)]
    fn look_for_signals(&mut self, header: &Header, body: &FeatureBody) -> Option<(u64, bool)> {
        let HotSignals { desk, ring } = self.signals.as_deref_mut()?;
        ring.beat(header, desk.counters());
        let permitted = self.guard.permits(header.instrument);
        let mut sink = Both(self.guard.sink_mut(), ring);
        let looked = desk.features(header, body, permitted, &mut sink);
        (looked != Looked::Elsewhere).then(|| (self.clock.ticks(), looked == Looked::Told))
    }
}

/// What is left of the last stage.
#[derive(Debug)]
pub struct TailEnd {
    /// The guard stage.
    pub guard: GuardStage<RecordWriter>,
    /// How much recorded advice was not adopted: its event did not come.
    pub advice_left: usize,
    /// The signal desk, where there was one.
    pub signals: Option<Box<HotSignals>>,
}

impl FeatureSink for Tail {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.orders.poll(&mut self.guard);
        let stood = self.advisor.before(header, &mut self.guard, &self.clock, &mut self.recorder);
        let taken = if self.staged { self.clock.ticks() } else { body.features_ticks + stood };
        self.guard.features(header, body);
        let done = self.clock.ticks();
        let signalled = self.look_for_signals(header, body);
        // Timers and frames that were held back for a snapshot have no latency of their own.
        if header.arrive_ticks != 0 && header.flags & FLAG_BUFFERED == 0 {
            let span = |from, to| self.clock.between(from, to);
            let hop = if self.staged { span(body.features_ticks, taken) } else { 0 };
            self.recorder.record(DECODE, span(header.arrive_ticks, header.decoded_ticks));
            self.recorder.record(RING, span(header.decoded_ticks, body.taken_ticks) + hop);
            self.recorder.record(BOOK, span(body.taken_ticks, body.book_ticks));
            self.recorder.record(FEATURES, span(body.book_ticks, body.features_ticks));
            self.recorder.record(GUARD, span(taken, done));
            let total = span(header.arrive_ticks + stood, done);
            self.recorder.record(TOTAL, total);
            if let Some((signalled, told)) = signalled {
                let total = span(header.arrive_ticks + stood, signalled);
                self.recorder.record(SIGNALS, span(done, signalled));
                self.recorder.record(SIGNAL_TOTAL, total);
                if told {
                    self.recorder.record(SIGNAL_TOLD, total);
                }
            }
            if let Some(venue) = self.venues.get(header.instrument.index()) {
                let stage = PIPELINE + 2 * usize::from(*venue);
                self.recorder.record(stage, total);
                if header.venue_ns != 0 {
                    self.recorder.record(stage + 1, (header.event_ns - header.venue_ns).max(0) as u64);
                }
            }
        }
        (self.record.header, self.record.body) = (*header, *body);
        self.observers.push(bytemuck::cast_slice_mut(core::slice::from_mut(&mut *self.record)));
        self.advisor.after(header, body);
        self.recorder.poll();
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        let mut record = MinuteRecord { header: *header, body: *body };
        self.observers.push(bytemuck::cast_slice_mut(core::slice::from_mut(&mut record)));
        self.advisor.minute(header, body);
    }

    #[inline]
    fn heartbeat(&mut self, header: &Header) {
        self.orders.poll(&mut self.guard);
        self.advisor.before(header, &mut self.guard, &self.clock, &mut self.recorder);
        self.guard.heartbeat(header);
        if let Some(HotSignals { desk, ring }) = self.signals.as_deref_mut() {
            ring.beat(header, desk.counters());
            desk.advance(header.event_ns, &mut Both(self.guard.sink_mut(), ring));
        }
        self.recorder.poll();
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.guard.status(header, status);
    }

    #[inline]
    fn top(&mut self, header: &Header, top: &TopBody) {
        if let Some(HotSignals { ring, .. }) = self.signals.as_deref_mut() {
            ring.top(header, top);
        }
    }

    #[inline]
    fn traded(&mut self, header: &Header, trade: &Trade) {
        if let Some(HotSignals { ring, .. }) = self.signals.as_deref_mut() {
            ring.traded(header, trade);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_venues_bear_their_names() {
        for venue in Venue::ALL {
            let at = PIPELINE + 2 * venue as usize;
            assert_eq!(STAGES[at..at + 2], [format!("total.{venue}"), format!("transit.{venue}")]);
        }
    }
}
