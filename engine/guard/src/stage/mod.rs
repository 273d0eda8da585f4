//! The guard stage: feature vectors in, decisions out.

use tidegate_wire::decision::{BreakerState, Cause, Decision, DecisionSink, Scope};
use tidegate_wire::event::{BookQuality, FLAG_SESSION, Header, Status};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{InstrumentId, Registry, Venue};
use xxhash_rust::xxh3::xxh3_64;

use crate::breaker::{Breaker, Limits, Transition};
use crate::conditions::Calendar;
use crate::orders::Orders;
use crate::profile::{Escalation, Profile};
use crate::rules::{DRAWDOWN, ESCALATION, MANUAL, RULE_COUNT, RULES};
use crate::scopes::Group;
use crate::thresholds::{ThresholdError, ThresholdSet};
use crate::watch::Watch;

mod adjust;
mod command;
mod drawdown;

/// A named set of instruments that stops as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Name in reports.
    pub name: String,
    /// The instruments it trades.
    pub instruments: Vec<InstrumentId>,
}

/// What the stage counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct GuardCounters {
    /// Transitions of any breaker.
    pub decisions: u64,
    /// Of these, into the tripped state.
    pub trips: u64,
    /// Changes of thresholds.
    pub adjustments: u64,
    /// Of these, advice taken.
    pub advised: u64,
    /// Advice that was not taken: too old, a repetition, or tuning is off.
    pub refused_advice: u64,
    /// Advice that expired before it was renewed.
    pub expired_advice: u64,
    /// Trips by measuring rule.
    pub trips_by_rule: [u64; RULE_COUNT],
}

/// The guard stage; `D` takes the decisions.
#[derive(Debug)]
pub struct GuardStage<D> {
    watches: Vec<Watch>,
    profiles: Vec<Profile>,
    calendar: Calendar,
    /// Conditions that follow from time, by the venue's settings; until when, ns of event time.
    timed_until: i64,
    /// Events so far: what adjustments count from.
    events: u64,
    /// Time moves although no event has come.
    between: bool,
    venues: Vec<Group>,
    strategies: Vec<Group>,
    engine: Group,
    orders: Orders,
    /// Earliest timer of any breaker or order, ns of event time.
    next_deadline: i64,
    now: i64,
    frame: u64,
    counters: GuardCounters,
    digest: u64,
    sink: D,
}

/// Which breaker a transition belongs to.
#[derive(Clone, Copy)]
enum Place {
    Rule(usize, usize),
    Manual(usize),
    Group(usize, u8),
    /// The advice in force of an instrument, which expires.
    Advice(usize),
    /// Conditions that follow from time.
    Time,
}

impl<D: DecisionSink> GuardStage<D> {
    /// A stage with a profile for each venue (by number) and some strategies. `escalation` is the engine's and the
    /// strategies' own; venues have their profile's.
    ///
    /// # Errors
    /// [`ThresholdError`] when a profile holds a threshold that no cell can.
    pub fn new(
        registry: &Registry,
        profiles: [Profile; Venue::ALL.len()],
        escalation: Escalation,
        strategies: &[Strategy],
        sink: D,
    ) -> Result<Self, ThresholdError> {
        for (_, instrument) in registry.iter() {
            ThresholdSet::of_profile(&profiles[instrument.venue as usize]).check()?;
        }
        let count = |venue: Venue| registry.iter().filter(|(_, i)| i.venue == venue).count() as u32;
        let venues: Vec<Group> = Venue::ALL
            .iter()
            .map(|v| Group::new(Scope::Venue, *v as u16, count(*v), &profiles[*v as usize].escalation))
            .collect();
        let active = Venue::ALL.iter().filter(|venue| count(**venue) > 0).count() as u32;
        let group = |(id, s): (usize, &Strategy)| {
            // A strategy stops with its first stopped instrument: its legs belong together.
            let first = Escalation { share: f64::EPSILON, members: 1, ..escalation };
            Group::new(Scope::Strategy, id as u16, s.instruments.len() as u32, &first)
        };
        let watches = registry.iter().map(|(id, i)| Watch::new(id, i.venue, &profiles, strategies)).collect();
        let mut stage = Self {
            watches,
            profiles: profiles.to_vec(),
            calendar: Calendar::default(),
            timed_until: i64::MIN,
            events: 0,
            between: false,
            venues,
            strategies: strategies.iter().enumerate().map(group).collect(),
            engine: Group::new(Scope::Engine, 0, active, &escalation),
            orders: Orders::default(),
            // The first event finds out which conditions hold.
            next_deadline: i64::MIN,
            now: 0,
            frame: 0,
            counters: GuardCounters::default(),
            digest: 0,
            sink,
        };
        for index in 0..stage.watches.len() {
            stage.load_limits(index);
        }
        Ok(stage)
    }

    /// The consumer of the decisions.
    pub const fn sink(&self) -> &D {
        &self.sink
    }

    /// The consumer of the decisions, for records that belong between them.
    pub const fn sink_mut(&mut self) -> &mut D {
        &mut self.sink
    }

    /// Takes the stage apart.
    pub fn into_sink(self) -> D {
        self.sink
    }

    /// What was counted.
    pub const fn counters(&self) -> &GuardCounters {
        &self.counters
    }

    /// Running digest over all decisions.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether an instrument may be traded: its book is good, and neither it, its venue nor the engine is stopped.
    #[inline(always)]
    pub fn permits(&self, instrument: InstrumentId) -> bool {
        let Some(watch) = self.watches.get(instrument.index()) else { return false };
        watch.quality == BookQuality::Good
            && watch.open == 0
            && !self.venues[watch.venue].is_stopped()
            && !self.engine.is_stopped()
    }

    /// Whether a strategy may trade: neither it nor the engine nor a venue of any of its instruments is stopped. Its
    /// legs belong together, so what stops one stops all.
    pub fn permits_strategy(&self, strategy: usize) -> bool {
        let Some(group) = self.strategies.get(strategy) else { return false };
        let mut members = self.watches.iter().filter(|watch| watch.strategies.contains(&strategy));
        !group.is_stopped() && !self.engine.is_stopped() && members.all(|w| !self.venues[w.venue].is_stopped())
    }

    /// State of one rule's breaker of an instrument, or of the operator's ([`MANUAL`]).
    pub fn state(&self, instrument: InstrumentId, rule: usize) -> Option<BreakerState> {
        let watch = self.watches.get(instrument.index())?;
        let manual = || (rule == usize::from(MANUAL)).then_some(&watch.manual);
        watch.breakers.get(rule).or_else(manual).map(Breaker::state)
    }

    /// Orders whose time has not come.
    pub fn orders_left(&self) -> usize {
        self.orders.len()
    }

    /// State of a venue, a strategy or the engine.
    pub fn group_state(&self, scope: Scope, id: u16) -> Option<BreakerState> {
        match scope {
            Scope::Instrument => None,
            Scope::Venue => self.venues.get(usize::from(id)).map(Group::state),
            Scope::Strategy => self.strategies.get(usize::from(id)).map(Group::state),
            Scope::Engine => Some(self.engine.state()),
        }
    }

    /// Moves event time; fires what is due, earliest first, each at its own time.
    #[inline(always)]
    fn advance(&mut self, now: i64) {
        if now >= self.next_deadline {
            self.fire(now);
        }
        self.now = self.now.max(now);
    }

    #[cold]
    #[inline(never)]
    fn fire(&mut self, now: i64) {
        self.orders.begin(now);
        loop {
            let timer = self.earliest().filter(|(deadline, _)| *deadline <= now.min(self.orders.deadline()));
            if let Some((deadline, place)) = timer {
                // The first look at the clock has no deadline of its own.
                let deadline = if deadline == i64::MIN { now } else { deadline };
                self.now = self.now.max(deadline);
                self.fire_timer(place, deadline);
            } else if let Some((at, command)) = self.orders.take(now) {
                self.now = self.now.max(at);
                // It was checked when it was scheduled.
                let _ = self.command(command);
            } else {
                break;
            }
        }
        let timer = self.earliest().map_or(i64::MAX, |(deadline, _)| deadline);
        self.next_deadline = timer.min(self.orders.deadline());
    }

    fn fire_timer(&mut self, place: Place, deadline: i64) {
        let transition = match place {
            Place::Advice(index) => return self.expire(index, deadline),
            Place::Time => return self.time_passed(deadline),
            Place::Rule(index, rule) => self.watches[index].breakers[rule].fire(),
            Place::Manual(index) => self.watches[index].manual.fire(),
            Place::Group(index, ESCALATION) => self.group(index).escalation.fire(),
            Place::Group(index, DRAWDOWN) => self.group(index).drawdown.fire(),
            Place::Group(index, _) => self.group(index).manual.fire(),
        };
        if let Some(transition) = transition {
            self.decided(place, transition, deadline, None);
        }
    }

    /// The earliest timer; the first place wins among equals.
    fn earliest(&self) -> Option<(i64, Place)> {
        let rules = self.watches.iter().enumerate().flat_map(|(index, watch)| {
            let deadlines = watch.breakers.iter().enumerate();
            deadlines.map(move |(rule, breaker)| (breaker.deadline(), Place::Rule(index, rule)))
        });
        let all = self.venues.iter().chain(&self.strategies).chain([&self.engine]).enumerate();
        let groups = all.map(|(index, group)| (group.escalation.deadline(), Place::Group(index, ESCALATION)));
        let all = self.venues.iter().chain(&self.strategies).chain([&self.engine]).enumerate();
        let drawdowns = all.map(|(index, group)| (group.drawdown.deadline(), Place::Group(index, DRAWDOWN)));
        let advice = self.watches.iter().enumerate().map(|(index, w)| (w.tuned.until_ns, Place::Advice(index)));
        let time = [(self.timed_until, Place::Time)];
        let all = rules.chain(groups).chain(advice).chain(time).chain(drawdowns);
        all.filter(|(deadline, _)| *deadline != i64::MAX).min_by_key(|(deadline, _)| *deadline)
    }

    /// Copies the thresholds in force of an instrument into its breakers' limits.
    #[cold]
    fn load_limits(&mut self, index: usize) {
        let watch = &mut self.watches[index];
        let (settings, set) = (&self.profiles[watch.profile].rules, watch.tuned.current);
        for rule in 0..RULE_COUNT {
            watch.limits[rule] = Limits {
                direction: RULES[rule].direction,
                threshold: set.threshold[rule],
                release: set.release[rule],
                cooling_ns: (settings[rule].cooling_ms as f64 * set.cooling_factor * 1e6) as i64,
            };
        }
    }

    /// A breaker has changed: records it and carries the consequences upwards.
    #[cold]
    #[inline(never)]
    fn decided(
        &mut self,
        place: Place,
        transition: Transition,
        at: i64,
        input: Option<(InstrumentId, &FeatureBody, f64)>,
    ) {
        if transition.until_ns != 0 {
            self.next_deadline = self.next_deadline.min(transition.until_ns);
        }
        self.emit(place, &transition, at, input);
        let (was, is) = (transition.from.allows_trading(), transition.to.allows_trading());
        if was == is {
            return;
        }
        match place {
            Place::Rule(index, _) | Place::Manual(index) => {
                let watch = &mut self.watches[index];
                let stopped_before = watch.open > 0;
                watch.open = if is { watch.open - 1 } else { watch.open + 1 };
                let stopped = watch.open > 0;
                if stopped != stopped_before {
                    self.member_changed(index, stopped, at);
                }
            }
            Place::Group(index, rule) if index < self.venues.len() => {
                let group = &self.venues[index];
                let other = if rule == ESCALATION { group.manual.state() } else { group.escalation.state() };
                if other.allows_trading() {
                    let engine = self.group_index(Scope::Engine, 0);
                    self.escalate(engine, !is, at);
                }
            }
            Place::Group(..) | Place::Advice(_) | Place::Time => {}
        }
    }

    /// An instrument was stopped or is back: tells its venue and its strategies.
    fn member_changed(&mut self, index: usize, stopped: bool, at: i64) {
        self.escalate(self.watches[index].venue, stopped, at);
        for k in 0..self.watches[index].strategies.len() {
            let strategy = self.venues.len() + self.watches[index].strategies[k];
            self.escalate(strategy, stopped, at);
        }
    }

    fn escalate(&mut self, group: usize, stopped: bool, at: i64) {
        if let Some(mut transition) = self.group(group).member(stopped, at) {
            if transition.cause == Cause::Breached {
                transition.cause = Cause::Escalated;
            }
            self.decided(Place::Group(group, ESCALATION), transition, at, None);
        }
    }

    fn emit(
        &mut self,
        place: Place,
        transition: &Transition,
        at: i64,
        input: Option<(InstrumentId, &FeatureBody, f64)>,
    ) {
        self.counters.decisions += 1;
        let tripped = transition.to == BreakerState::Tripped;
        self.counters.trips += u64::from(tripped);
        let (scope, scope_id, rule, limits, version) = match place {
            Place::Rule(index, rule) => {
                self.counters.trips_by_rule[rule] += u64::from(tripped);
                let watch = &self.watches[index];
                (Scope::Instrument, index as u16, rule as u8, Some(watch.limits[rule]), watch.tuned.version)
            }
            Place::Manual(index) => (Scope::Instrument, index as u16, MANUAL, None, 0),
            Place::Advice(_) | Place::Time => return,
            Place::Group(index, rule) => {
                let group = self.group(index);
                let limits = match rule {
                    ESCALATION => Some(group.limits),
                    DRAWDOWN => Some(group.drawdown_limits),
                    _ => None,
                };
                (group.scope, group.id, rule, limits, 0)
            }
        };
        let share = match place {
            Place::Group(index, ESCALATION) => Some(self.group(index).share()),
            Place::Group(index, DRAWDOWN) => Some(self.group(index).drawdown_value),
            _ => None,
        };
        let decision = Decision {
            sequence: self.counters.decisions,
            event_ns: at,
            frame: self.frame,
            scope: scope as u8,
            rule,
            from: transition.from as u8,
            to: transition.to as u8,
            cause: transition.cause as u8,
            quality: input.map_or(BookQuality::Building as u8, |(_, body, _)| body.quality as u8),
            scope_id,
            value: input.map(|(_, _, value)| value).or(share).unwrap_or(0.0),
            threshold: limits.map_or(0.0, |l| l.threshold),
            release: limits.map_or(0.0, |l| l.release),
            features_digest: input.map_or(0, |(_, body, _)| body.digest),
            thresholds_version: version,
            until_ns: transition.until_ns,
            instrument: input.map_or(InstrumentId::NONE, |(instrument, _, _)| instrument),
            has_value: u8::from(input.is_some() || share.is_some()),
            reserved: [0; 5],
        };
        let bytes = xxh3_64(bytemuck::bytes_of(&decision));
        self.digest_more(bytes);
        self.sink.decision(&decision);
    }

    const fn digest_more(&mut self, record: u64) {
        self.digest = (self.digest.rotate_left(5) ^ record).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline(always)]
    fn watch(&mut self, instrument: InstrumentId, body: &FeatureBody, now: i64) {
        let index = instrument.index();
        self.watches[index].quality = body.book_quality();
        if !self.watches[index].started {
            self.watches[index].start(now, &self.profiles);
        }
        self.see_volume(index, body, now);
        for (rule, definition) in RULES.iter().enumerate() {
            let watch = &mut self.watches[index];
            if now < watch.armed_from[rule] {
                continue;
            }
            let Some(value) = (definition.measure)(body) else { continue };
            if let Some(transition) = watch.breakers[rule].measure(value, &watch.limits[rule], now) {
                self.decided(Place::Rule(index, rule), transition, now, Some((instrument, body, value)));
            }
        }
    }
}

impl<D: DecisionSink> FeatureSink for GuardStage<D> {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.events += 1;
        self.advance(header.event_ns);
        self.frame = header.frame;
        if header.flags & FLAG_SESSION != 0 {
            // A new session warms up anew; breakers that are open stay open until their own rules close them.
            self.watches[header.instrument.index()].begin_session();
        }
        self.watch(header.instrument, body, header.event_ns);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.events += 1;
        self.advance(header.event_ns);
        self.frame = header.frame;
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.sink.status(header, status);
    }
}
