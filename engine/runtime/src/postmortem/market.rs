//! What the market and its feed did, in equal steps of time: what evidence and plots are made of.
//!
//! Prices, spreads, depth and trades are placed by the venue's own stamps where it sends any, so that a feed that is
//! late does not look like a market that moved; messages, silences and latency by the time of receipt.

use tidegate_market::features::schema as f;
use tidegate_wire::event::{BookQuality, Header, Trade};
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::{Instrument, Registry, Scale};

/// Step of what is kept of the whole input, ns.
pub(super) const COARSE_NS: i64 = 1_000_000_000;
/// Step of what is kept around the incident, ns.
pub(super) const FINE_NS: i64 = 100_000_000;
/// Steps kept at most of one instrument: twelve days of seconds.
const STEPS_MAX: usize = 1 << 20;
/// Silences of the book stream shorter than this are not kept one by one, ns.
const SILENCE_NS: i64 = 250_000_000;

/// One step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Step {
    /// Lowest, highest and last mid, quote units; meaningless without any.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) last: f64,
    pub(super) mids: u32,
    spread_bp: f64,
    depth: f64,
    /// Vectors that knew the spread, and the depth.
    spreads: u32,
    depths: u32,
    /// Traded quantity.
    pub(super) volume: f64,
    pub(super) trades: u32,
    pub(super) messages: u32,
    /// Smallest and largest latency, ns; only with `stamped`.
    latency_low_ns: i64,
    latency_high_ns: i64,
    stamped: u32,
    /// Longest silence of the book stream that ended in it, ns.
    pub(super) silence_ns: i64,
}

impl Step {
    /// Last mid, quote units.
    pub(super) fn mid(&self) -> Option<f64> {
        (self.mids > 0).then_some(self.last)
    }

    /// Mean spread, bp.
    pub(super) fn spread_bp(&self) -> Option<f64> {
        (self.spreads > 0).then(|| self.spread_bp / f64::from(self.spreads))
    }

    /// Mean quantity within 10 bp of mid, both sides.
    pub(super) fn depth(&self) -> Option<f64> {
        (self.depths > 0).then(|| self.depth / f64::from(self.depths))
    }

    /// Smallest latency, ms: what every frame had at least.
    pub(super) fn latency_ms(&self) -> Option<f64> {
        (self.stamped > 0).then_some(self.latency_low_ns as f64 * 1e-6)
    }

    /// Largest latency, ms.
    pub(super) fn latency_high_ms(&self) -> Option<f64> {
        (self.stamped > 0).then_some(self.latency_high_ns as f64 * 1e-6)
    }

    fn see_mid(&mut self, mid: f64) {
        if self.mids == 0 {
            (self.low, self.high) = (mid, mid);
        }
        (self.low, self.high, self.last) = (self.low.min(mid), self.high.max(mid), mid);
        self.mids += 1;
    }

    fn see_latency(&mut self, ns: i64) {
        let first = self.stamped == 0;
        self.latency_low_ns = if first { ns } else { self.latency_low_ns.min(ns) };
        self.latency_high_ns = if first { ns } else { self.latency_high_ns.max(ns) };
        self.stamped += 1;
    }
}

/// Steps of one length from a first time on.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) start_ns: i64,
    pub(super) step_ns: i64,
    end_ns: i64,
    pub(super) steps: Vec<Step>,
}

impl Series {
    const fn new(start_ns: i64, end_ns: i64, step_ns: i64) -> Self {
        Self { start_ns, step_ns, end_ns, steps: Vec::new() }
    }

    fn at(&mut self, time_ns: i64) -> Option<&mut Step> {
        if !(self.start_ns..self.end_ns).contains(&time_ns) {
            return None;
        }
        let index = ((time_ns - self.start_ns) / self.step_ns) as usize;
        if index >= STEPS_MAX {
            return None;
        }
        if index >= self.steps.len() {
            self.steps.resize(index + 1, Step::default());
        }
        self.steps.get_mut(index)
    }

    /// Beginning of a step, ns since the Unix epoch.
    pub(super) const fn time_of(&self, index: usize) -> i64 {
        self.start_ns + index as i64 * self.step_ns
    }

    /// Steps with the times at which they begin.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Step)> {
        self.steps.iter().enumerate().map(|(index, step)| (self.time_of(index), step))
    }

    /// The last mid at or before a time, to the end of its step, quote units; `None` outside of what it keeps.
    pub(super) fn mid_at(&self, time_ns: i64) -> Option<f64> {
        if !(self.start_ns..self.end_ns).contains(&time_ns) {
            return None;
        }
        let index = (((time_ns - self.start_ns) / self.step_ns) as usize).min(self.steps.len().checked_sub(1)?);
        self.steps[..=index].iter().rev().find_map(Step::mid)
    }
}

/// One instrument.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) venue: usize,
    qty_scale: Scale,
    pub(super) coarse: Series,
    pub(super) fine: Series,
    /// Silences of the book stream: when they began and ended, ns since the Unix epoch.
    pub(super) silences: Vec<(i64, i64)>,
    last_depth_ns: i64,
}

/// All instruments.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) instruments: Vec<Watched>,
    /// When the input begins and ends, ns since the Unix epoch; 0 before its first event.
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    fine: (i64, i64),
}

impl Witness {
    /// Nothing seen yet; fine steps are kept of the time between two moments, ns since the Unix epoch.
    pub(super) fn new(registry: &Registry, fine: (i64, i64)) -> Self {
        let watched = |instrument: &Instrument| Watched {
            name: instrument.name(),
            venue: instrument.venue as usize,
            qty_scale: instrument.qty_scale,
            coarse: Series::new(0, i64::MAX, COARSE_NS),
            fine: Series::new(fine.0, fine.1, FINE_NS),
            silences: Vec::new(),
            last_depth_ns: 0,
        };
        let instruments = registry.iter().map(|(_, instrument)| watched(instrument)).collect();
        Self { instruments, first_ns: 0, last_ns: 0, fine }
    }

    /// Time passes, ns since the Unix epoch.
    pub(super) fn time(&mut self, now_ns: i64) {
        if self.first_ns == 0 && now_ns > 0 {
            self.first_ns = now_ns;
            let begin = now_ns - now_ns.rem_euclid(COARSE_NS);
            self.instruments.iter_mut().for_each(|watched| watched.coarse.start_ns = begin);
        }
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// A message came.
    pub(super) fn message(&mut self, header: &Header) {
        self.time(header.event_ns);
        let latency_ns = (header.venue_ns != 0).then(|| header.event_ns - header.venue_ns);
        let Some(watched) = self.instruments.get_mut(header.instrument.index()) else { return };
        for step in [watched.coarse.at(header.event_ns), watched.fine.at(header.event_ns)].into_iter().flatten() {
            step.messages += 1;
            latency_ns.into_iter().for_each(|ns| step.see_latency(ns));
        }
    }

    /// A frame of the book came.
    pub(super) fn depth(&mut self, header: &Header) {
        self.message(header);
        let Some(watched) = self.instruments.get_mut(header.instrument.index()) else { return };
        let (before, now) = (std::mem::replace(&mut watched.last_depth_ns, header.event_ns), header.event_ns);
        if before != 0 {
            watched.silent(before, now);
        }
    }

    /// A trade came.
    pub(super) fn trade(&mut self, header: &Header, trade: &Trade) {
        self.message(header);
        let Some(watched) = self.instruments.get_mut(header.instrument.index()) else { return };
        let quantity = trade.qty.to_f64(watched.qty_scale);
        let at = if trade.transact_ns != 0 { trade.transact_ns } else { placed(header) };
        for step in [watched.coarse.at(at), watched.fine.at(at)].into_iter().flatten() {
            step.volume += quantity;
            step.trades += 1;
        }
    }

    /// A vector was made.
    pub(super) fn vector(&mut self, header: &Header, body: &FeatureBody) {
        let good = body.book_quality() == BookQuality::Good;
        let Some(watched) = self.instruments.get_mut(header.instrument.index()).filter(|_| good) else { return };
        let (mid, spread) = (body.get(f::MID), body.get(f::SPREAD_BP));
        let depth = body.get(f::DEPTH_BID_10BP).zip(body.get(f::DEPTH_ASK_10BP)).map(|(bid, ask)| bid + ask);
        let at = placed(header);
        for step in [watched.coarse.at(at), watched.fine.at(at)].into_iter().flatten() {
            mid.into_iter().for_each(|mid| step.see_mid(mid));
            if let Some(spread) = spread {
                step.spread_bp += spread;
                step.spreads += 1;
            }
            if let Some(depth) = depth {
                step.depth += depth;
                step.depths += 1;
            }
        }
    }

    /// The input has ended: what is silent now was silent until here.
    pub(super) fn end(&mut self) {
        let now = self.last_ns;
        for watched in self.instruments.iter_mut().filter(|watched| watched.last_depth_ns != 0) {
            watched.silent(watched.last_depth_ns, now);
        }
    }

    /// What fine steps are kept of, ns since the Unix epoch.
    pub(super) const fn span(&self) -> (i64, i64) {
        self.fine
    }
}

impl Watched {
    fn silent(&mut self, from_ns: i64, to_ns: i64) {
        let long = to_ns - from_ns;
        for step in [self.coarse.at(to_ns), self.fine.at(to_ns)].into_iter().flatten() {
            step.silence_ns = step.silence_ns.max(long);
        }
        if long >= SILENCE_NS && self.silences.len() < STEPS_MAX {
            self.silences.push((from_ns, to_ns));
        }
    }

    /// The last mid at or before a time, quote units: from fine steps where there are any.
    pub(super) fn mid_at(&self, time_ns: i64) -> Option<f64> {
        self.fine.mid_at(time_ns).or_else(|| self.coarse.mid_at(time_ns))
    }

    /// The last mid of the step before a time's: what was known when something happened then.
    pub(super) fn mid_before(&self, time_ns: i64) -> Option<f64> {
        self.fine.mid_at(time_ns - FINE_NS).or_else(|| self.coarse.mid_at(time_ns - COARSE_NS))
    }
}

/// When the market did it: the venue's stamp, or the time of receipt where there is none.
const fn placed(header: &Header) -> i64 {
    if header.venue_ns != 0 { header.venue_ns } else { header.event_ns }
}
