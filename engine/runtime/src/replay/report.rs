//! What a finished replay reports.

use hdrhistogram::Histogram;
use tidegate_feed::FeedCounters;
use tidegate_feed::replay::SourceReport;
use tidegate_guard::GuardCounters;
use tidegate_guard::rules::{MANUAL, RULE_COUNT, rule_name};
use tidegate_market::MarketCounters;
use tidegate_serve::redis::MirrorStatus;
use tidegate_wire::advice::Adjustment;
use tidegate_wire::clock::Clock;
use tidegate_wire::decision::{BreakerState, Decision, Scope};
use tidegate_wire::event::BookQuality;
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::{Instrument, Registry, Venue};

use super::Remains;
use super::source::Times;
use crate::audit::AuditReport;
use crate::hiccup::NoiseFloor;
use crate::lines::Names;
use crate::live::LiveReport;
use crate::models::DeskReport;
use crate::pipeline::Guard;
use crate::risk::RiskReport;
use crate::scribe::{OutputError, Written};
use crate::signals::{Kept, SignalsReport};
use crate::stores::StoreStatus;

/// One instrument at the end of a replay.
#[derive(Clone, Debug)]
pub struct InstrumentReport {
    /// Its definition.
    pub instrument: Instrument,
    /// Its book's quality.
    pub quality: BookQuality,
    /// Levels a side: bids, asks.
    pub levels: (usize, usize),
    /// Gaps and resyncs.
    pub gaps: (u64, u64),
    /// Its last feature vector.
    pub features: FeatureBody,
    /// Open breakers by rule name.
    pub open: Vec<&'static str>,
    /// Whether it may be traded.
    pub permitted: bool,
}

/// What came out of a replay.
#[derive(Debug)]
pub struct ReplayReport {
    /// What the feed counted.
    pub feed: FeedCounters,
    /// What the market stage counted.
    pub market: MarketCounters,
    /// What the guard counted.
    pub guard: GuardCounters,
    /// Digest over all feature vectors.
    pub features_digest: u64,
    /// Digest over all decisions.
    pub decisions_digest: u64,
    /// The decisions, up to 100,000.
    pub decisions: Vec<Decision>,
    /// Changes of thresholds, up to 100,000.
    pub adjustments: Vec<Adjustment>,
    /// What models did; `None` without any.
    pub models: Option<DeskReport>,
    /// Names for them.
    pub names: Names,
    /// Latency by stage, in the order of [`STAGES`](crate::latency::STAGES).
    pub histograms: Vec<Histogram<u64>>,
    /// What became of each capture.
    pub sources: Vec<SourceReport>,
    /// Live sessions and what was captured of them; `None` in a replay.
    pub live: Option<LiveReport>,
    /// The instruments.
    pub instruments: Vec<InstrumentReport>,
    /// Venues, strategies and the engine whose breakers are not closed: kind, name and state.
    pub scopes: Vec<(&'static str, String, BreakerState)>,
    /// Wall time of the loop, s.
    pub wall_s: f64,
    /// Event time covered, s.
    pub event_s: f64,
    /// Event time of the first frame, ns since the Unix epoch; 0 without one.
    pub first_ns: i64,
    /// Heap allocations on hot threads; `None` when nobody counted.
    pub allocations_hot: Option<u64>,
    /// How noisy the host was meanwhile.
    pub noise: Option<NoiseFloor>,
    /// Which counter stamped.
    pub clock: Clock,
    /// What could not be done as asked.
    pub warnings: Vec<String>,
    /// What was recorded in the audit log; `None` without one.
    pub audit: Option<AuditReport>,
    /// What the risk desk did; `None` without one.
    pub risk: Option<RiskReport>,
    /// Where the store of the log stands; `None` without one.
    pub store: Option<StoreStatus>,
    /// Where Redis stood at the end; `None` without it.
    pub redis: Option<MirrorStatus>,
    /// What signals come to; `None` where there are none.
    pub signals: Option<SignalsReport>,
    /// An output that broke off.
    pub output_error: Option<OutputError>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

pub(super) struct Extras {
    pub(super) sources: Vec<SourceReport>,
    pub(super) live: Option<LiveReport>,
    pub(super) times: Times,
    pub(super) allocations_hot: Option<u64>,
    pub(super) noise: Option<NoiseFloor>,
    pub(super) clock: Clock,
    pub(super) warnings: Vec<String>,
    pub(super) stopped: bool,
    pub(super) models: Option<DeskReport>,
    pub(super) risk: Option<RiskReport>,
    pub(super) kept: Option<Kept>,
}

pub(super) fn report(
    remains: Remains,
    written: Written,
    registry: &Registry,
    strategies: Vec<String>,
    e: Extras,
) -> ReplayReport {
    let guard = &remains.guard;
    let instruments =
        registry.iter().zip(&remains.instruments).map(|((id, instrument), (quality, levels, features))| {
            let rules = (0..RULE_COUNT as u8).chain([MANUAL]);
            let open = |rule: &u8| guard.state(id, usize::from(*rule)).is_some_and(|state| !state.allows_trading());
            InstrumentReport {
                instrument: instrument.clone(),
                quality: *quality,
                levels: *levels,
                gaps: remains.feed.book_counts(id),
                features: *features,
                open: rules.filter(open).map(rule_name).collect(),
                permitted: guard.permits(id),
            }
        });
    let Times { wall_s, event_s, first_ns } = e.times;
    let signals = remains.signals.as_deref().zip(e.kept);
    let (signals, lost) = signals.map(|(hot, kept)| SignalsReport::new(hot, kept, registry, event_s / 3_600.0)).unzip();
    ReplayReport {
        instruments: instruments.collect(),
        scopes: scopes(guard, &strategies),
        feed: remains.feed.counters(),
        market: remains.market,
        guard: *guard.counters(),
        features_digest: remains.features_digest,
        decisions_digest: guard.digest(),
        decisions: written.decisions,
        adjustments: written.adjustments,
        models: e.models,
        names: Names::new(registry, strategies),
        histograms: written.histograms,
        sources: e.sources,
        live: e.live,
        wall_s,
        event_s,
        first_ns,
        allocations_hot: e.allocations_hot,
        noise: e.noise,
        clock: e.clock,
        warnings: e.warnings,
        audit: None,
        risk: e.risk,
        store: None,
        redis: None,
        signals,
        output_error: OutputError::join(written.error, lost.flatten()),
        stopped: e.stopped,
    }
}

fn scopes(guard: &Guard, strategies: &[String]) -> Vec<(&'static str, String, BreakerState)> {
    let venues = Venue::ALL.into_iter().map(|venue| (Scope::Venue, venue as u16, venue.name().to_owned()));
    let strategies = strategies.iter().zip(0..).map(|(name, id)| (Scope::Strategy, id, name.clone()));
    let all = venues.chain(strategies).chain([(Scope::Engine, 0, String::new())]);
    let state = |(scope, id, name): (Scope, u16, String)| Some((scope.name(), name, guard.group_state(scope, id)?));
    all.filter_map(state).filter(|(_, _, state)| *state != BreakerState::Closed).collect()
}
