//! The guard stage: feature vectors in, decisions out.

use tidegate_wire::decision::{BreakerState, Cause, Decision, DecisionSink, Scope};
use tidegate_wire::event::{BookQuality, FLAG_SESSION, Header, Status};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{InstrumentId, Registry, Venue};
use xxhash_rust::xxh3::xxh3_64;

use crate::breaker::{Breaker, Limits, Transition};
use crate::orders::{Command, CommandError, Orders};
use crate::profile::{Escalation, Profile};
use crate::rules::{ESCALATION, MANUAL, RULE_COUNT, RULES};
use crate::scopes::Group;
use crate::thresholds::{ThresholdBoard, ThresholdError, ThresholdSet};
use crate::watch::Watch;

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
    /// Trips by measuring rule.
    pub trips_by_rule: [u64; RULE_COUNT],
}

/// The guard stage; `D` takes the decisions.
#[derive(Debug)]
pub struct GuardStage<D> {
    watches: Vec<Watch>,
    profiles: Vec<Profile>,
    board: ThresholdBoard,
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
        let sets = registry.iter().map(|(_, i)| ThresholdSet::of_profile(&profiles[i.venue as usize]));
        let board = ThresholdBoard::new(sets)?;
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
            board,
            venues,
            strategies: strategies.iter().enumerate().map(group).collect(),
            engine: Group::new(Scope::Engine, 0, active, &escalation),
            orders: Orders::default(),
            next_deadline: i64::MAX,
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

    /// The board through which thresholds are moved.
    pub fn board(&self) -> ThresholdBoard {
        self.board.clone()
    }

    /// The consumer of the decisions.
    pub const fn sink(&self) -> &D {
        &self.sink
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

    /// Commands to be carried out some nanoseconds after the first event, in event time: a replay obeys them at the
    /// same place whatever its speed and topology.
    ///
    /// # Errors
    /// A scope does not exist; nothing is scheduled.
    pub fn schedule(&mut self, orders: Vec<(i64, Command)>) -> Result<(), CommandError> {
        orders.iter().try_for_each(|(_, command)| self.check(*command))?;
        self.orders = Orders::new(orders);
        // The first event begins them.
        self.next_deadline = i64::MIN;
        Ok(())
    }

    fn check(&self, command: Command) -> Result<(), CommandError> {
        let (Command::Trip(scope, id) | Command::Reset(scope, id)) = command;
        let count = match scope {
            Scope::Instrument => self.watches.len(),
            Scope::Venue => self.venues.len(),
            Scope::Strategy => self.strategies.len(),
            Scope::Engine => 1,
        };
        if usize::from(id) < count { Ok(()) } else { Err(CommandError(scope, id)) }
    }

    /// Carries out an operator's command, in event time.
    ///
    /// # Errors
    /// The scope does not exist; nothing was done.
    pub fn command(&mut self, command: Command) -> Result<(), CommandError> {
        self.check(command)?;
        let (Command::Trip(scope, id) | Command::Reset(scope, id)) = command;
        let index = usize::from(id);
        match (command, scope) {
            (Command::Trip(..), Scope::Instrument) => self.change(Place::Manual(index), Change::Trip),
            (Command::Trip(..), _) => self.change(Place::Group(self.group_index(scope, index), MANUAL), Change::Trip),
            (Command::Reset(..), Scope::Instrument) => {
                for rule in 0..RULE_COUNT {
                    self.change(Place::Rule(index, rule), Change::Reset);
                }
                self.change(Place::Manual(index), Change::Reset);
            }
            (Command::Reset(..), _) => {
                let group = self.group_index(scope, index);
                self.change(Place::Group(group, ESCALATION), Change::Reset);
                self.change(Place::Group(group, MANUAL), Change::Reset);
                // Members that are still stopped trip it again at once: nobody would measure it otherwise.
                let at = self.now;
                let members = self.group(group);
                let (share, limits) = (members.share(), members.limits);
                if let Some(mut transition) = members.escalation.measure(share, &limits, at) {
                    transition.cause = Cause::Escalated;
                    self.decided(Place::Group(group, ESCALATION), transition, at, None);
                }
            }
        }
        Ok(())
    }

    /// Groups are numbered venues first, then strategies, then the engine.
    fn group_index(&self, scope: Scope, index: usize) -> usize {
        match scope {
            Scope::Instrument | Scope::Venue => index,
            Scope::Strategy => self.venues.len() + index,
            Scope::Engine => self.venues.len() + self.strategies.len(),
        }
    }

    fn group(&mut self, index: usize) -> &mut Group {
        let (venues, strategies) = (self.venues.len(), self.strategies.len());
        match index {
            _ if index < venues => &mut self.venues[index],
            _ if index < venues + strategies => &mut self.strategies[index - venues],
            _ => &mut self.engine,
        }
    }

    fn change(&mut self, place: Place, change: Change) {
        let apply = |breaker: &mut Breaker| match change {
            Change::Trip => breaker.force(Cause::ManualTrip),
            Change::Reset => breaker.reset(),
        };
        let transition = match place {
            Place::Rule(index, rule) => apply(&mut self.watches[index].breakers[rule]),
            Place::Manual(index) => apply(&mut self.watches[index].manual),
            Place::Group(index, ESCALATION) => apply(&mut self.group(index).escalation),
            Place::Group(index, _) => apply(&mut self.group(index).manual),
        };
        if let Some(transition) = transition {
            self.decided(place, transition, self.now, None);
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
            Place::Rule(index, rule) => self.watches[index].breakers[rule].fire(),
            Place::Manual(index) => self.watches[index].manual.fire(),
            Place::Group(index, ESCALATION) => self.group(index).escalation.fire(),
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
        rules.chain(groups).filter(|(deadline, _)| *deadline != i64::MAX).min_by_key(|(deadline, _)| *deadline)
    }

    /// Copies the newest thresholds of an instrument.
    #[cold]
    fn load_limits(&mut self, index: usize) {
        // A set that is just being written is taken at the next event.
        let Some((version, set)) = self.board.load(InstrumentId(index as u16)) else { return };
        let watch = &mut self.watches[index];
        let settings = &self.profiles[watch.profile].rules;
        for rule in 0..RULE_COUNT {
            watch.limits[rule] = Limits {
                direction: RULES[rule].direction,
                threshold: set.threshold[rule],
                release: set.release[rule],
                cooling_ns: (settings[rule].cooling_ms as f64 * set.cooling_factor * 1e6) as i64,
            };
        }
        watch.version = version;
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
            Place::Group(..) => {}
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
                (Scope::Instrument, index as u16, rule as u8, Some(watch.limits[rule]), watch.version)
            }
            Place::Manual(index) => (Scope::Instrument, index as u16, MANUAL, None, 0),
            Place::Group(index, rule) => {
                let group = self.group(index);
                let limits = (rule == ESCALATION).then_some(group.limits);
                (group.scope, group.id, rule, limits, 0)
            }
        };
        let share = match place {
            Place::Group(index, ESCALATION) => Some(self.group(index).share()),
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
        self.digest = (self.digest.rotate_left(5) ^ bytes).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.sink.decision(&decision);
    }

    #[inline(always)]
    fn watch(&mut self, instrument: InstrumentId, body: &FeatureBody, now: i64) {
        let index = instrument.index();
        if self.board.version(instrument) != self.watches[index].version {
            self.load_limits(index);
        }
        self.watches[index].quality = body.book_quality();
        if !self.watches[index].started {
            self.watches[index].start(now, &self.profiles);
        }
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

#[derive(Clone, Copy)]
enum Change {
    Trip,
    Reset,
}

impl<D: DecisionSink> FeatureSink for GuardStage<D> {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.advance(header.event_ns);
        self.frame = header.frame;
        if header.flags & FLAG_SESSION != 0 {
            // A new session warms up anew; breakers that are open stay open until their own rules close them.
            self.watches[header.instrument.index()].begin_session();
        }
        self.watch(header.instrument, body, header.event_ns);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.advance(header.event_ns);
        self.frame = header.frame;
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.sink.status(header, status);
    }
}
