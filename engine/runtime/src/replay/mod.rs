//! A pipeline driven by recorded captures: the replay.
//!
//! Determinism: time comes from the frames, timers fire in event time, frames come in one order (receive time, source
//! name, line). Topology, speed, host and wait strategy change latencies only; the digests prove it.

mod audited;
mod error;
mod input;
mod names;
mod report;
mod shown;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tidegate_feed::Feed;
use tidegate_feed::discover::{self, Discovery};
use tidegate_feed::replay::SourceSpec;
use tidegate_guard::conditions::Calendar;
use tidegate_guard::profile::{Escalation, Settings};
use tidegate_guard::rules::DRAWDOWN_RULE;
use tidegate_guard::{GuardStage, Profile, Strategy};
use tidegate_market::{LOOK_EVERY_NS, MarketConfig, MarketCounters, MarketStage};
use tidegate_serve::redis;
use tidegate_trade::signals::SignalConfig;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::BookQuality;
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::latency::recorder;
use tidegate_wire::relay::{RecordReader, RecordWriter};
use tidegate_wire::ring::{Region, RegionError, RegionKind, lossless, overwrite};
use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::alloc;
use crate::audit::{Audit, AuditPlan};
use crate::control::{Claim, Control, Feeds, Operator};
use crate::hiccup::{HiccupMeter, Mode};
use crate::latency::{STAGES, Tail, TailEnd};
use crate::live::{LivePlan, learn_instruments};
use crate::models::{DeskReport, Inbox, Models, ModelsPlan};
use crate::orders::Order;
use crate::pipeline::{Finished, Guard, Placement, Rings, Source, Topology, run_fused, run_staged};
use crate::risk::{Board, Risk, RiskPlan, Surroundings};
use crate::screens::{Reporter, Screens};
use crate::scribe::Scribe;
use crate::signals::{self, Clerk, HotSignals, Opened};
use crate::stores::StorePlan;
use crate::stream::Beside;
use crate::trading::TradingPlan;
use crate::vmsp::{Hosted, VmspPlan};
use crate::wait::{WaitStrategy, core_ids, cores, lock_memory};
use audited::{ending, stopper};
use input::{Input, Ran};
pub(crate) use names::{correlations, strategies};
use report::{Extras, report};
use shown::Shown;

pub(crate) use source::Spent;

pub use error::RunError;
pub use report::{InstrumentReport, ReplayReport};

pub use crate::scribe::Outputs;

/// How fast a capture is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// As fast as the loop goes.
    #[default]
    Max,
    /// At a multiple of the recorded pace, > 0.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok().filter(|t| t.is_finite() && *t > 0.0);
        times.map(Self::Times).ok_or(format!("speed {text:?}: expected `max` or a number above 0, such as 1 or 10"))
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times}"),
        }
    }
}

/// A replay to be run.
#[derive(Clone, Debug)]
pub struct ReplayPlan {
    /// The captures; none in a live run.
    pub sources: Vec<SourceSpec>,
    /// The live venues; none in a replay.
    pub live: Option<LivePlan>,
    /// Instruments known beforehand; what captures hold besides is found out.
    pub registry: Registry,
    /// How fast.
    pub speed: Speed,
    /// On how many cores.
    pub topology: Topology,
    /// How loops wait.
    pub wait: WaitStrategy,
    /// Cores for the hot loops; empty: the last ones if there are enough, else none is pinned.
    pub cores: Vec<usize>,
    /// Lock the process's memory.
    pub lock_memory: bool,
    /// Compare books with the quote streams.
    pub check_bbo: bool,
    /// Profiles by venue number.
    pub profiles: [Profile; Venue::ALL.len()],
    /// When the engine and the strategies stop because of their members.
    pub escalation: Escalation,
    /// When the engine and the strategies stop because of what they have lost.
    pub drawdown: Settings,
    /// Instruments whose returns are correlated with another one's, by name; others with another market of their asset.
    pub correlations: Vec<(String, String)>,
    /// Strategies by name with instrument names (`BTCUSDT.binance-usdm`).
    pub strategies: Vec<(String, Vec<String>)>,
    /// What an operator does meanwhile.
    pub orders: Vec<Order>,
    /// Scheduled events.
    pub calendar: Calendar,
    /// Who moves thresholds.
    pub models: ModelsPlan,
    /// The claimed output directory, where the control socket is; none without.
    pub control: Option<Arc<Claim>>,
    /// Where records go.
    pub outputs: Outputs,
    /// The audit log; none without.
    pub audit: Option<AuditPlan>,
    /// The risk desk; none without. It lives in the host's time, so that a replay that shall be repeated has none.
    pub risk: Option<RiskPlan>,
    /// The balance ledger; none without.
    pub vmsp: Option<VmspPlan>,
    /// The store of the audit log; none without, and none without that log.
    pub store: Option<StorePlan>,
    /// Redis; none without.
    pub redis: Option<redis::Settings>,
    /// What counts as a signal; none without.
    pub signals: Option<SignalConfig>,
    /// How signals are traded on paper; not at all without, and not without signals.
    pub trading: Option<TradingPlan>,
    /// Who shows it; nobody without.
    pub screens: Option<Arc<Screens>>,
    /// Frames read ahead at most, bytes.
    pub read_ahead: usize,
}

impl ReplayPlan {
    /// A plan with defaults for everything but the captures.
    pub fn new(sources: Vec<SourceSpec>) -> Self {
        Self {
            sources,
            live: None,
            registry: Registry::new(),
            speed: Speed::Max,
            topology: Topology::Fused,
            wait: WaitStrategy::Auto,
            cores: Vec::new(),
            lock_memory: false,
            check_bbo: false,
            profiles: Venue::ALL.map(Profile::builtin),
            escalation: Escalation::default(),
            drawdown: DRAWDOWN_RULE.defaults,
            correlations: Vec::new(),
            strategies: Vec::new(),
            orders: Vec::new(),
            calendar: Calendar::default(),
            models: ModelsPlan::Off,
            control: None,
            outputs: Outputs::default(),
            audit: None,
            risk: None,
            vmsp: None,
            store: None,
            redis: None,
            signals: None,
            trading: None,
            screens: None,
            read_ahead: 1 << 30,
        }
    }

    /// Cores that the hot loops are pinned to; none where they are not.
    pub fn hot_cores(&self) -> Vec<usize> {
        placement(self).cores
    }
}

/// Lines of the ring between feed and market: a snapshot of 5,000 levels a side is 3,000 lines.
const EVENT_LINES: u64 = 1 << 14;
/// Lines of the ring between market and guard.
const VECTOR_LINES: u64 = 1 << 13;
/// Lines of the decision ring.
const DECISION_LINES: u64 = 1 << 12;

/// A ring whose reader outlives its writer: nothing is given up, not even while stopping.
fn ring(lines: u64) -> Result<(RecordWriter, RecordReader), RegionError> {
    let region = Arc::new(Region::anonymous(RegionKind::Lossless, lines)?);
    let writer = RecordWriter::new(lossless::Writer::resume(region.clone()));
    Ok((writer, RecordReader::new(lossless::Reader::resume(region))))
}

/// Everything a pipeline is built from.
struct Parts {
    registry: Registry,
    clock: Clock,
    feed: Feed,
    market: MarketParts,
    tail: Tail,
    placement: Placement,
    stop: Arc<AtomicBool>,
}

/// What the market stage is built from, whatever takes its vectors.
struct MarketParts {
    config: MarketConfig,
    correlations: Vec<(InstrumentId, InstrumentId)>,
    /// Where looks at books go, where anybody wants them.
    looks: Option<Arc<Region>>,
    /// Whose best levels and trades are wanted.
    tops: Vec<InstrumentId>,
}

impl MarketParts {
    fn of(
        plan: &ReplayPlan,
        registry: &Registry,
        looks: Option<Arc<Region>>,
        clerk: Option<&Clerk>,
    ) -> Result<Self, RunError> {
        let config = market_config(&plan.profiles, plan.check_bbo);
        let tops = clerk.map(|clerk| clerk.tops.clone()).unwrap_or_default();
        Ok(Self { config, correlations: correlations(plan, registry)?, looks, tops })
    }

    fn build<S: FeatureSink>(&self, registry: &Registry, clock: Clock, sink: S) -> MarketStage<S> {
        let mut stage = MarketStage::new(registry, self.config, clock, sink).topped(&self.tops);
        self.correlations.iter().for_each(|(id, reference)| stage.correlate_with(*id, *reference));
        match &self.looks {
            Some(region) => stage.watched_by(overwrite::Writer::resume(region.clone()), LOOK_EVERY_NS),
            None => stage,
        }
    }
}

/// What a pipeline left, whatever its topology.
struct Remains {
    feed: Feed,
    market: MarketCounters,
    features_digest: u64,
    guard: Guard,
    /// Recorded advice that was not adopted.
    advice_left: usize,
    signals: Option<Box<HotSignals>>,
    instruments: Vec<(BookQuality, (usize, usize), FeatureBody)>,
    warnings: Vec<String>,
}

/// Runs a replay to its end, or until `stop` is set.
///
/// # Errors
/// See [`RunError`]; nothing has run then.
pub fn run(plan: &ReplayPlan, stop: &Arc<AtomicBool>) -> Result<ReplayReport, RunError> {
    let mut registry = plan.registry.clone();
    let discovery = discovered(plan, &mut registry)?;
    let strategies = strategies(plan, &registry)?;
    let clock = Clock::calibrate();
    let feed = Feed::new(&registry, clock)?.of_live_frames(discovery.is_own);
    let (recorder, collector) = recorder(STAGES);
    let (decision_writer, decision_reader) = ring(DECISION_LINES)?;
    let (staged, live) = (plan.topology == Topology::Staged, plan.live.is_some());
    let scopes = (&registry, &strategies[..]);
    let guard = guard(plan, scopes, decision_writer)?;
    let audit = plan.audit.as_ref().map(|audit| Audit::open(audit, live)).transpose()?;
    if let Some(audit) = &audit {
        audit.begin(plan, &registry, &strategies).map_err(RunError::Source)?;
    }
    let trail = audit.as_ref().map(Audit::trail);
    let shown = Shown::begin(plan, scopes)?;
    let teller = shown.reporter.as_ref().map(Reporter::teller);
    let told = (plan.outputs.models.as_deref(), trail.clone(), teller.clone());
    let (models, outlet) = Models::start(&plan.models.labelled(plan.signals.as_ref()), scopes, told, stop)?;
    let vectors = outlet.observers.clone();
    let Opened { hot, clerk } =
        signals::open(plan, &registry, models.desk(), (trail.clone(), teller.clone(), stop.clone()))?;
    let inbox = Arc::new(Inbox::default());
    let board = Arc::new(Board::new(registry.len(), strategies.len()));
    let (observers, screens) = (outlet.observers.clone(), teller.clone());
    let around =
        Surroundings { observers, board: board.clone(), inbox: inbox.clone(), trail: trail.clone(), screens, live };
    let risk = Risk::of(plan.risk.as_ref(), scopes, around)?;
    let input = Input::open(plan, discovery.sources, &registry, clock, (trail.clone(), teller.clone()))?;
    let operator = Operator::new(models.desk(), inbox.clone(), &registry, &strategies).with_feeds(input.feeds());
    let beside = Beside::start(plan, audit.as_ref(), input.feeds(), registry.len()).map_err(RunError::Thread)?;
    let operator = operator.with_risk(risk.as_ref().map(Risk::desk)).with_stream(beside.desk());
    let ledger = plan.vmsp.as_ref().map(|vmsp| Hosted::start(vmsp, trail.clone())).transpose()?;
    let operator = operator.audited_by(trail.clone()).with_ledger(ledger.as_ref().map(Hosted::client));
    let stopper = stopper(plan, inbox.clone(), stop.clone());
    let stream = (trail.clone(), beside.desk());
    let guest = shown.attach(plan, scopes, vectors, &operator, stream)?;
    let control = plan.control.as_ref().map(|claim| Control::open(claim, operator)).transpose()?;
    let tail = Tail::new(guard, recorder, clock, overwrite::Writer::resume(outlet.observers), staged);
    let tail = tail.advised_by(outlet.advisor).ordered_by(inbox).by_venue_if(live, &registry).signalling(hot);
    let names: Vec<String> = strategies.iter().map(|s| s.name.clone()).collect();
    let scribe = Scribe::new(collector, decision_reader, &registry, names.clone(), &plan.outputs)?.shown_by(teller);
    let scribe = scribe.by_the_minute(beside.desk().store).healed_by(input.feeds().map(Feeds::healer));
    let scribe = scribe.audited_by(trail, stopper).noting_on(board);
    let placement = placement(plan);
    let market = MarketParts::of(plan, &registry, shown.looks, clerk.as_ref())?;
    let parts = Parts { registry: registry.clone(), clock, feed, market, tail, placement, stop: stop.clone() };

    let (done, mut warnings) = (Arc::new(AtomicBool::new(false)), Vec::new());
    let scribe = scribe.spawn(done.clone()).map_err(RunError::Thread)?;
    let allocated = alloc::hot_allocations();
    let mut meter = start_meter(plan, &parts.placement, &mut warnings);
    let Ran { outcome, sources, live, spent, ended } = input.run(parts, plan);
    // When the last stage has ended, not when the last frame was fed: what lay in rings is work too.
    let end = Instant::now();
    let noise = meter.take().map(HiccupMeter::stop);
    drop(control);
    let risk = risk.map(Risk::finish);
    drop(ledger);
    let kept = clerk.and_then(Clerk::finish);
    let models = models.finish();
    done.store(true, Ordering::Release);
    drop(guest);
    let written = scribe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let remains = outcome?;
    let allocations_hot = alloc::hot_allocations().zip(allocated).map(|(after, before)| after - before);
    let stopped = stop.load(Ordering::Relaxed) && !ended;
    warnings.extend(left_undone(plan, &remains, models.as_ref()));
    let times = spent.times(end);
    let extras = Extras { sources, live, times, allocations_hot, noise, clock, warnings, stopped, models, risk, kept };
    let mut report = report(remains, written, &registry, names, extras);
    report.audit = audit.map(|audit| audit.end(&ending(&report))).transpose()?;
    Ok(beside.finish(report))
}

fn guard(
    plan: &ReplayPlan,
    (registry, strategies): (&Registry, &[Strategy]),
    writer: RecordWriter,
) -> Result<GuardStage<RecordWriter>, RunError> {
    let mut guard = GuardStage::new(registry, plan.profiles.clone(), plan.escalation, strategies, writer)?;
    guard.set_drawdown(&plan.drawdown).map_err(RunError::Drawdown)?;
    guard.schedule(plan.orders.iter().map(|order| order.resolve(registry, strategies)).collect::<Result<_, _>>()?)?;
    guard.set_calendar(plan.calendar.clone());
    Ok(guard)
}

/// Finds out what instruments there are, and where their frames come from.
fn discovered(plan: &ReplayPlan, registry: &mut Registry) -> Result<Discovery, RunError> {
    check_record(plan)?;
    let Some(live) = &plan.live else { return Ok(discover::discover(&plan.sources, registry)?) };
    learn_instruments(live, registry)?;
    Ok(Discovery { sources: Vec::new(), is_own: true })
}

/// What the pipeline and its models did not do although they were asked to.
fn left_undone(plan: &ReplayPlan, remains: &Remains, models: Option<&DeskReport>) -> Vec<String> {
    let mut warnings = remains.warnings.clone();
    if remains.guard.orders_left() > 0 {
        warnings.push(format!("{} orders were not carried out: their time did not come", remains.guard.orders_left()));
    }
    for (reason, times) in models.iter().flat_map(|models| &models.refusals) {
        warnings.push(format!("{times} models were refused: {reason}"));
    }
    if let (Some(models), Some(settings)) = (models, plan.models.settings())
        && models.unavailable.is_none()
        && models.promotions == 0
    {
        let directory = settings.loader.repository.display();
        let text = "is in force (looked for NAME/VERSION/contract.json): static profiles held";
        warnings.push(format!("no model of {directory} {text}"));
    }
    if remains.advice_left > 0 {
        let left = remains.advice_left;
        warnings.push(format!("{left} recorded adjustments were not adopted: their events did not come"));
    }
    warnings
}

fn pipeline(parts: Parts, source: impl Source, plan: &ReplayPlan) -> Result<Remains, RunError> {
    match plan.topology {
        Topology::Fused => fused(parts, source, plan),
        Topology::Staged => staged_run(parts, source, plan),
    }
}

/// A record must not be replaced by what is re-enacted from it.
fn check_record(plan: &ReplayPlan) -> Result<(), RunError> {
    let (ModelsPlan::Reenact(record), Some(out)) = (&plan.models, &plan.outputs.adjustments) else { return Ok(()) };
    let same = record.canonicalize().ok().zip(out.canonicalize().ok()).is_some_and(|(record, out)| record == out);
    if same { Err(RunError::Record { path: record.display().to_string() }) } else { Ok(()) }
}

fn fused(parts: Parts, mut source: impl Source, plan: &ReplayPlan) -> Result<Remains, RunError> {
    let Parts { registry, clock, feed, market, tail, placement, stop } = parts;
    let stage = market.build(&registry, clock, tail);
    let mut warnings = prepare(plan);
    source.begin();
    let finished = run_fused(feed, stage, source, &placement, &stop).map_err(RunError::Thread)?;
    warnings.extend(finished.warnings.iter().cloned());
    let Finished { feed, market, .. } = finished;
    let instruments = instruments(&market, &registry);
    let (counters, features_digest) = (market.counters(), market.digest());
    let TailEnd { guard, advice_left, signals } = market.into_sink().finish();
    Ok(Remains { feed, market: counters, features_digest, guard, advice_left, signals, instruments, warnings })
}

fn staged_run(parts: Parts, mut source: impl Source, plan: &ReplayPlan) -> Result<Remains, RunError> {
    let Parts { registry, clock, feed, market, tail, placement, stop } = parts;
    let (event_writer, event_reader) = ring(EVENT_LINES)?;
    let (vector_writer, vectors) = ring(VECTOR_LINES)?;
    let stage = market.build(&registry, clock, vector_writer);
    let mut warnings = prepare(plan);
    source.begin();
    let rings = Rings { events: (event_writer, event_reader), vectors };
    let finished = run_staged(feed, stage, tail, source, rings, &placement, &stop).map_err(RunError::Thread)?;
    warnings.extend(finished.warnings.iter().cloned());
    let Finished { feed, market, tail, .. } = finished;
    let instruments = instruments(&market, &registry);
    let (counters, features_digest) = (market.counters(), market.digest());
    let TailEnd { guard, advice_left, signals } = match tail {
        Some(tail) => tail.finish(),
        None => unreachable!("a staged pipeline returns its tail"),
    };
    Ok(Remains { feed, market: counters, features_digest, guard, advice_left, signals, instruments, warnings })
}

fn instruments<S: FeatureSink>(
    market: &MarketStage<S>,
    registry: &Registry,
) -> Vec<(BookQuality, (usize, usize), FeatureBody)> {
    let one = |id: InstrumentId| {
        let levels = market.book(id).map_or((0, 0), |book| (book.bids().len(), book.asks().len()));
        (market.quality(id), levels, market.features(id).unwrap_or(FeatureBody::EMPTY))
    };
    registry.iter().map(|(id, _)| one(id)).collect()
}

/// Everything is built: what can be done once before the loop starts.
fn prepare(plan: &ReplayPlan) -> Vec<String> {
    if plan.lock_memory { lock_memory().err().into_iter().collect() } else { Vec::new() }
}

fn placement(plan: &ReplayPlan) -> Placement {
    let (ids, loops) = (core_ids(), plan.topology.loops());
    let wait = plan.wait.resolve(loops, ids.len());
    let pinned =
        if plan.cores.is_empty() && loops < ids.len() { ids[ids.len() - loops..].to_vec() } else { plan.cores.clone() };
    Placement { cores: pinned, wait }
}

fn start_meter(plan: &ReplayPlan, placement: &Placement, warnings: &mut Vec<String>) -> Option<HiccupMeter> {
    // Two cold threads and the meter itself share what the loops leave.
    let mode = Mode::for_host(cores(), plan.topology.loops() + 2);
    let spare = core_ids().into_iter().find(|core| !placement.cores.contains(core));
    match HiccupMeter::start(spare.filter(|_| mode == Mode::Spin), mode) {
        Ok(meter) => Some(meter),
        Err(error) => {
            warnings.push(format!("no hiccup meter: {error}"));
            None
        }
    }
}

/// Settings of the market stage beside these profiles: it masks a book when the guard stops trading on it.
pub fn market_config(profiles: &[Profile; Venue::ALL.len()], check_bbo: bool) -> MarketConfig {
    let default = MarketConfig::default();
    let patience = |venue: Venue| {
        let stale = profiles[venue as usize].rule("stale_feed").filter(|settings| settings.enabled);
        stale.map_or(default.stale_after_ns[venue as usize], |settings| {
            (settings.threshold.max(0.0) * 1e6).ceil() as i64
        })
    };
    MarketConfig { stale_after_ns: Venue::ALL.map(patience), check_bbo }
}

/// Captures named on a command line.
///
/// # Errors
/// What is wrong with a name.
pub fn sources(names: &[String]) -> Result<Vec<SourceSpec>, String> {
    names.iter().map(|name| SourceSpec::parse(name)).collect()
}
