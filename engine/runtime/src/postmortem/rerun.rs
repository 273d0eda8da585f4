//! The recorded input through the same engine once more, with a witness of the market and with guards beside the real
//! one that have other thresholds.
//!
//! Feed, market and guard are those of a replay; only the loop around them is plain. Thresholds do not reach into the
//! market stage, so one pass serves any number of guards. One setting does: how long a silent book counts as good
//! follows from the rule of stale feeds. Guards with another patience have a market stage of their own.

use std::collections::VecDeque;

use tidegate_feed::replay::SourceReport;
use tidegate_guard::{Command, GuardStage, Profile};
use tidegate_market::MarketStage;
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::clock::Clock;
use tidegate_wire::decision::{Decision, DecisionSink};
use tidegate_wire::event::{Bar, Depth, EventSink, Header, Mark, OptionMark, Quote, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{InstrumentId, Registry, Venue};

use super::market::Witness;
use crate::extract::extract;
use crate::models::{Recorded, reenact};
use crate::replay::{ReplayPlan, RunError, correlations, market_config, strategies};

/// Profiles of all venues.
pub(super) type Profiles = [Profile; Venue::ALL.len()];

/// What comes out of one guard.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) decisions: Vec<Decision>,
    pub(super) adjustments: Vec<Adjustment>,
}

impl DecisionSink for Kept {
    fn decision(&mut self, decision: &Decision) {
        self.decisions.push(*decision);
    }

    fn adjustment(&mut self, adjustment: &Adjustment) {
        self.adjustments.push(*adjustment);
    }

    fn operated(&mut self, _: &Operated) {}
}

/// What a pass leaves.
#[derive(Debug)]
pub(super) struct Rerun {
    pub(super) registry: Registry,
    /// The real guard's.
    pub(super) kept: Kept,
    pub(super) features_digest: u64,
    pub(super) decisions_digest: u64,
    /// Decisions by the other guards, in the order of their profiles.
    pub(super) others: Vec<Vec<Decision>>,
    pub(super) witness: Witness,
    pub(super) sources: Vec<SourceReport>,
    /// Advice and commands of the log whose event did not come.
    pub(super) left: usize,
    /// The instrument whose returns each one's are correlated with.
    pub(super) references: Vec<Option<usize>>,
}

/// Runs a plan's captures with what the log recorded from outside event time. `others` are profiles of further guards,
/// `fine` the time of which the witness keeps fine steps.
///
/// # Errors
/// The captures cannot be read, or hold other instruments than the plan names.
pub(super) fn run(
    plan: &ReplayPlan,
    recorded: &[Recorded],
    others: &[Profiles],
    fine: (i64, i64),
) -> Result<Rerun, RunError> {
    let make = |registry: &Registry, clock: Clock| Lanes::new(plan, recorded, others, registry, (clock, fine));
    let mut extracted = extract(&plan.sources, plan.registry.clone(), make, |_| {})?;
    let Lanes { lanes, registry, order, references } = &mut extracted.sink;
    let (registry, order, references) = (registry.clone(), std::mem::take(order), std::mem::take(references));
    let (mut lanes, mut features_digest) = (std::mem::take(lanes).into_iter(), 0);
    let mut benches = Vec::with_capacity(lanes.len());
    for lane in lanes.by_ref() {
        if benches.is_empty() {
            features_digest = lane.digest();
        }
        benches.push(lane.into_sink());
    }
    let mut guards: Vec<Vec<Option<Guarded>>> = Vec::new();
    let mut witness = None;
    for bench in benches {
        witness = witness.or(bench.witness);
        guards.push(bench.guards.into_iter().map(Some).collect());
    }
    let mut take = |(lane, place): (usize, usize)| guards.get_mut(lane)?.get_mut(place)?.take();
    let Some(mut real) = take((0, 0)) else { unreachable!("the first guard of the first lane is the real one") };
    reenact(&mut real.recorded, &mut real.stage);
    let others =
        order.into_iter().map(|at| take(at).map(|guard| guard.stage.into_sink().decisions).unwrap_or_default());
    let others = others.collect();
    let mut witness = witness.unwrap_or_else(|| Witness::new(&registry, fine));
    witness.end();
    let (decisions_digest, left) = (real.stage.digest(), real.recorded.len());
    let kept = real.stage.into_sink();
    let sources = extracted.sources;
    Ok(Rerun { registry, kept, features_digest, decisions_digest, others, witness, sources, left, references })
}

/// A guard with what it has still to be told.
#[derive(Debug)]
struct Guarded {
    stage: GuardStage<Kept>,
    recorded: VecDeque<Recorded>,
}

/// Guards on the same vectors.
#[derive(Debug)]
struct Bench {
    guards: Vec<Guarded>,
    /// Of the real guard's bench only. Where books go stale at other times, events are numbered otherwise: there what
    /// was recorded is taken by its time.
    witness: Option<Witness>,
}

impl Bench {
    fn before(&mut self, now_ns: i64) {
        let by_time = self.witness.is_none();
        for guard in self.guards.iter_mut().filter(|guard| !guard.recorded.is_empty()) {
            if by_time {
                guard.recorded.iter_mut().take_while(|next| next.event_ns <= now_ns).for_each(|next| next.event = 0);
            }
            reenact(&mut guard.recorded, &mut guard.stage);
        }
    }
}

impl FeatureSink for Bench {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.before(header.event_ns);
        self.guards.iter_mut().for_each(|guard| guard.stage.features(header, body));
        self.witness.iter_mut().for_each(|witness| witness.vector(header, body));
    }

    fn heartbeat(&mut self, header: &Header) {
        self.before(header.event_ns);
        self.guards.iter_mut().for_each(|guard| guard.stage.heartbeat(header));
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.guards.iter_mut().for_each(|guard| guard.stage.status(header, status));
    }
}

/// Market stages on the same events.
struct Lanes {
    lanes: Vec<MarketStage<Bench>>,
    registry: Registry,
    /// Where the guards of the other profiles are: lane and place.
    order: Vec<(usize, usize)>,
    references: Vec<Option<usize>>,
}

/// What guards are built from.
struct Builder<'a> {
    plan: &'a ReplayPlan,
    recorded: &'a [Recorded],
    registry: &'a Registry,
    strategies: Vec<tidegate_guard::Strategy>,
    orders: Vec<(i64, Command)>,
}

impl Builder<'_> {
    fn guard(&self, profiles: &Profiles, by_time: bool) -> Result<Guarded, RunError> {
        let (plan, kept) = (self.plan, Kept::default());
        let mut stage = GuardStage::new(self.registry, profiles.clone(), plan.escalation, &self.strategies, kept)?;
        stage.set_drawdown(&plan.drawdown).map_err(RunError::Drawdown)?;
        stage.schedule(self.orders.clone())?;
        stage.set_calendar(plan.calendar.clone());
        let event = |next: &Recorded| if by_time { u64::MAX } else { next.event };
        let recorded = self.recorded.iter().map(|next| Recorded { event: event(next), ..*next }).collect();
        Ok(Guarded { stage, recorded })
    }
}

impl Lanes {
    fn new(
        plan: &ReplayPlan,
        recorded: &[Recorded],
        others: &[Profiles],
        registry: &Registry,
        (clock, fine): (Clock, (i64, i64)),
    ) -> Result<Self, RunError> {
        let strategies = strategies(plan, registry)?;
        let orders = plan.orders.iter().map(|order| order.resolve(registry, &strategies)).collect::<Result<_, _>>()?;
        let correlations = correlations(plan, registry)?;
        let builder = Builder { plan, recorded, registry, strategies, orders };
        let config = market_config(&plan.profiles, plan.check_bbo);
        let witness = Some(Witness::new(registry, fine));
        let mut benches = vec![(config, Bench { guards: vec![builder.guard(&plan.profiles, false)?], witness })];
        let mut order = Vec::with_capacity(others.len());
        for profiles in others {
            let config = market_config(profiles, plan.check_bbo);
            let lane = benches.iter().position(|(lane, _)| lane.stale_after_ns == config.stale_after_ns);
            let lane = lane.unwrap_or_else(|| {
                benches.push((config, Bench { guards: Vec::new(), witness: None }));
                benches.len() - 1
            });
            order.push((lane, benches[lane].1.guards.len()));
            benches[lane].1.guards.push(builder.guard(profiles, lane != 0)?);
        }
        let lane = |(config, bench)| {
            let mut stage = MarketStage::new(registry, config, clock, bench);
            correlations.iter().for_each(|(id, reference)| stage.correlate_with(*id, *reference));
            stage
        };
        let lanes: Vec<_> = benches.into_iter().map(lane).collect();
        let reference = |id: InstrumentId| lanes.first().and_then(|lane| lane.reference(id)).map(InstrumentId::index);
        let references = registry.iter().map(|(id, _)| reference(id)).collect();
        Ok(Self { lanes, registry: registry.clone(), order, references })
    }

    fn see(&mut self, look: impl FnOnce(&mut Witness)) {
        if let Some(witness) = self.lanes.first_mut().and_then(|lane| lane.sink_mut().witness.as_mut()) {
            look(witness);
        }
    }
}

impl EventSink for Lanes {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.see(|witness| witness.depth(header));
        self.lanes.iter_mut().for_each(|lane| lane.delta(header, depth));
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.see(|witness| witness.time(header.event_ns));
        self.lanes.iter_mut().for_each(|lane| lane.snapshot(header, depth));
    }

    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.see(|witness| witness.message(header));
        self.lanes.iter_mut().for_each(|lane| lane.quote(header, quote));
    }

    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.see(|witness| witness.trade(header, trade));
        self.lanes.iter_mut().for_each(|lane| lane.trade(header, trade));
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.see(|witness| witness.message(header));
        self.lanes.iter_mut().for_each(|lane| lane.mark(header, mark));
    }

    fn option(&mut self, header: &Header, option: &OptionMark) {
        self.lanes.iter_mut().for_each(|lane| lane.option(header, option));
    }

    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.lanes.iter_mut().for_each(|lane| lane.bar(header, bar));
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.lanes.iter_mut().for_each(|lane| EventSink::status(lane, header, status));
    }

    fn heartbeat(&mut self, header: &Header) {
        self.see(|witness| witness.time(header.event_ns));
        self.lanes.iter_mut().for_each(|lane| EventSink::heartbeat(lane, header));
    }
}
