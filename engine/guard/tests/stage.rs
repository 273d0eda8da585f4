//! The guard stage as a whole: timers in event time, scopes, operators, moving thresholds, sessions.

use bytemuck::Zeroable;
use tidegate_guard::conditions::Condition;
use tidegate_guard::profile::{Escalation, Policy, Settings};
use tidegate_guard::rules::{DRAWDOWN_RULE, RULE_COUNT, rule_index, rule_name};
use tidegate_guard::{Command, GuardStage, Profile, Strategy};
use tidegate_market::features::schema as f;
use tidegate_wire::advice::{ADVICE_UNITS, Adjustment, Advice, Operated, Origin};
use tidegate_wire::decision::{BreakerState, Cause, Decision, DecisionSink, Scope};
use tidegate_wire::event::{BookQuality, FLAG_SESSION, Header};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{Instrument, InstrumentId, RecordKind, Registry, Venue};

#[derive(Default)]
struct Log(Vec<Decision>, Vec<Adjustment>, Vec<Operated>);

impl DecisionSink for Log {
    fn decision(&mut self, decision: &Decision) {
        self.0.push(*decision);
    }

    fn adjustment(&mut self, adjustment: &Adjustment) {
        self.1.push(*adjustment);
    }

    fn operated(&mut self, operated: &Operated) {
        self.2.push(*operated);
    }
}

const S: i64 = 1_000_000_000;

fn registry() -> Registry {
    let mut registry = Registry::new();
    for venue in [Venue::BinanceSpot, Venue::BinanceUsdm] {
        for symbol in ["BTCUSDT", "ETHUSDT"] {
            let instrument = Instrument::linear(venue, symbol, 1, 3);
            registry.add(instrument).expect("a good instrument");
        }
    }
    registry
}

struct Harness {
    stage: GuardStage<Log>,
    frame: u64,
}

impl Harness {
    fn new() -> Self {
        let basis = Strategy { name: "basis".into(), instruments: vec![InstrumentId(0), InstrumentId(2)] };
        let profiles = Venue::ALL.map(Profile::builtin);
        let stage = GuardStage::new(&registry(), profiles, Escalation::default(), &[basis], Log::default())
            .expect("shipped profiles fit");
        let mut harness = Self { stage, frame: 0 };
        // Nothing may be traded before its book has been seen to be good.
        assert!((0..4).all(|id| !harness.stage.permits(InstrumentId(id))));
        (0..4).for_each(|id| harness.vector(id, 0, 0, &[]));
        harness.frame = 0;
        harness
    }

    fn vector(&mut self, instrument: u16, at_ms: i64, flags: u8, set: &[(usize, f64)]) {
        self.frame += 1;
        let event_ns = at_ms * 1_000_000;
        let header = Header {
            frame: self.frame,
            event_ns,
            flags,
            ..Header::new(RecordKind::Features, InstrumentId(instrument))
        };
        let mut body = FeatureBody { quality: BookQuality::Good as u64, digest: self.frame, ..FeatureBody::EMPTY };
        set.iter().for_each(|(feature, value)| body.set(*feature, Some(*value)));
        self.stage.features(&header, &body);
    }

    /// A price move beyond the limit, or none.
    fn moved(&mut self, instrument: u16, at_ms: i64, range: f64) {
        self.vector(instrument, at_ms, 0, &[(f::RANGE_60S, range)]);
    }

    /// The newest decision of any scope.
    fn newest(&self) -> Decision {
        *self.stage.sink().0.last().expect("a decision")
    }

    /// The newest decision on an instrument; the strategy of this test follows it at once.
    fn last(&self) -> Decision {
        let of_instrument = |d: &&Decision| d.scope == Scope::Instrument as u8;
        *self.stage.sink().0.iter().rev().find(of_instrument).expect("a decision")
    }

    fn trail(&self) -> Vec<(u8, u16, &'static str, u8, u8, i64)> {
        let row = |d: &Decision| (d.scope, d.scope_id, rule_name(d.rule), d.from, d.to, d.event_ns / 1_000_000);
        self.stage.sink().0.iter().map(row).collect()
    }
}

#[test]
fn a_breaker_goes_round_and_its_timers_fire_at_their_own_time() {
    let mut guard = Harness::new();
    let rule = usize::from(rule_index("price_move").expect("a rule"));
    guard.moved(0, 1_000, 0.01);
    assert!(guard.stage.permits(InstrumentId(0)));
    guard.moved(0, 2_000, 0.06);
    let trip = guard.last();
    assert_eq!((trip.value, trip.threshold, trip.release, trip.has_value), (0.06, 0.05, 0.03, 1));
    assert_eq!((trip.frame, trip.features_digest, trip.instrument), (2, 2, InstrumentId(0)));
    assert!(!guard.stage.permits(InstrumentId(0)) && guard.stage.permits(InstrumentId(1)));
    guard.moved(0, 3_000, 0.02);
    assert_eq!(guard.last().until_ns, 63 * S, "a minute of cooling");
    // Much later another instrument's event brings the time: both timers fire before it, each at its own deadline.
    guard.moved(1, 200_000, 0.0);
    let timers: Vec<_> = guard.trail().into_iter().skip(3).collect();
    let closed = (BreakerState::HalfOpen as u8, BreakerState::Closed as u8);
    assert_eq!(timers.len(), 5, "two of the instrument, three of its strategy: {timers:?}");
    assert!(timers.contains(&(0, 0, "price_move", BreakerState::Cooling as u8, BreakerState::HalfOpen as u8, 63_000)));
    assert!(timers.contains(&(0, 0, "price_move", closed.0, closed.1, 93_000)));
    let times: Vec<i64> = timers.iter().map(|t| t.5).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(guard.stage.state(InstrumentId(0), rule), Some(BreakerState::Closed));
}

#[test]
fn venues_strategies_and_the_engine_follow_their_members() {
    let mut guard = Harness::new();
    for instrument in 0..4 {
        guard.moved(instrument, 1_000, 0.0);
    }
    guard.moved(0, 2_000, 0.06);
    assert!(!guard.stage.permits_strategy(0), "one leg stops the strategy");
    assert_eq!(guard.stage.group_state(Scope::Venue, 0), Some(BreakerState::Closed), "one of two is not yet enough");
    guard.moved(1, 2_100, 0.06);
    assert_eq!(guard.stage.group_state(Scope::Venue, 0), Some(BreakerState::Tripped));
    assert_eq!(guard.newest().cause, Cause::Escalated as u8);
    assert!(guard.stage.permits(InstrumentId(2)), "the other venue goes on");
    guard.moved(2, 2_200, 0.06);
    guard.moved(3, 2_300, 0.06);
    assert_eq!(guard.stage.group_state(Scope::Engine, 0), Some(BreakerState::Tripped));
    assert!((0..4).all(|id| !guard.stage.permits(InstrumentId(id))));
    // Everybody comes back, one timer after the other.
    for instrument in 0..4 {
        guard.moved(instrument, 3_000, 0.0);
    }
    guard.moved(0, 600_000, 0.0);
    assert!((0..4).all(|id| guard.stage.permits(InstrumentId(id))));
    assert!(guard.stage.permits_strategy(0));
    assert_eq!(guard.stage.group_state(Scope::Engine, 0), Some(BreakerState::Closed));
}

#[test]
fn a_strategy_stops_with_the_venue_of_any_of_its_legs() {
    let mut guard = Harness::new();
    assert!(guard.stage.permits_strategy(0));
    guard.stage.command(Command::Trip(Scope::Venue, Venue::BinanceUsdm as u16)).expect("a venue");
    assert!(guard.stage.permits(InstrumentId(0)), "the other leg's venue goes on");
    assert!(!guard.stage.permits_strategy(0), "but the legs belong together");
    guard.stage.command(Command::Reset(Scope::Venue, Venue::BinanceUsdm as u16)).expect("a venue");
    assert!(guard.stage.permits_strategy(0));
}

#[test]
fn a_breach_does_not_outlive_its_session() {
    let mut guard = Harness::new();
    let empty = [(f::IMBALANCE_10, 1.0)];
    let state =
        |guard: &Harness| guard.stage.state(InstrumentId(0), usize::from(rule_index("imbalance").expect("a rule")));
    guard.vector(0, 60_000, 0, &empty);
    guard.vector(0, 60_100, FLAG_SESSION, &[]);
    // Warm-up is over: the new session's own breach has only begun.
    guard.vector(0, 120_000, 0, &empty);
    assert_eq!(state(&guard), Some(BreakerState::Closed));
    guard.vector(0, 123_000, 0, &empty);
    assert_eq!(state(&guard), Some(BreakerState::Tripped));
}

#[test]
fn operators_trip_and_reset_every_scope() {
    let mut guard = Harness::new();
    guard.moved(0, 1_000, 0.0);
    for (scope, id, stopped) in [
        (Scope::Instrument, 1, [true, false, true, true]),
        (Scope::Venue, 1, [true, true, false, false]),
        (Scope::Engine, 0, [false, false, false, false]),
    ] {
        guard.stage.command(Command::Trip(scope, id)).expect("there is one");
        let permits: Vec<bool> = (0..4).map(|id| guard.stage.permits(InstrumentId(id))).collect();
        assert_eq!(permits, stopped, "{scope:?}");
        assert!(
            guard
                .stage
                .sink()
                .0
                .iter()
                .rev()
                .take(3)
                .any(|d| d.cause == Cause::ManualTrip as u8 && rule_name(d.rule) == "manual")
        );
        let before = guard.stage.counters().decisions;
        guard.stage.command(Command::Trip(scope, id)).expect("there is one");
        assert_eq!(guard.stage.counters().decisions, before, "twice is once");
        guard.stage.command(Command::Reset(scope, id)).expect("there is one");
        assert!((0..4).all(|id| guard.stage.permits(InstrumentId(id))));
    }
    guard.stage.command(Command::Trip(Scope::Strategy, 0)).expect("there is one");
    assert!(!guard.stage.permits_strategy(0) && guard.stage.permits(InstrumentId(0)));
    let error = guard.stage.command(Command::Trip(Scope::Strategy, 9)).expect_err("there is none");
    assert_eq!(error.to_string(), "no strategy with number 9");
    // A reset while the condition holds lasts until the next event.
    guard.moved(0, 2_000, 0.06);
    guard.stage.command(Command::Reset(Scope::Instrument, 0)).expect("there is one");
    assert!(guard.stage.permits(InstrumentId(0)));
    guard.moved(0, 2_001, 0.06);
    assert!(!guard.stage.permits(InstrumentId(0)));
}

#[test]
fn scheduled_orders_are_carried_out_at_their_time_among_the_timers() {
    let mut guard = Harness::new();
    let orders = vec![(90 * S, Command::Reset(Scope::Engine, 0)), (S, Command::Trip(Scope::Engine, 0))];
    assert!(guard.stage.schedule(vec![(0, Command::Trip(Scope::Venue, Venue::ALL.len() as u16))]).is_err());
    guard.stage.schedule(orders).expect("scopes that exist");
    // The first event after scheduling is time zero.
    guard.moved(0, 10_000, 0.0);
    assert!(guard.stage.permits(InstrumentId(0)) && guard.stage.sink().0.is_empty());
    guard.moved(0, 10_999, 0.0);
    assert!(guard.stage.permits(InstrumentId(0)));
    // An event beyond both orders: each has its own time, and a breaker's timer between them keeps its place.
    guard.moved(1, 11_000, 0.06);
    assert!(!guard.stage.permits(InstrumentId(0)), "stopped by hand");
    guard.moved(1, 12_000, 0.02);
    guard.moved(0, 200_000, 0.0);
    let engine: Vec<_> = guard.trail().into_iter().filter(|t| t.0 == Scope::Engine as u8 && t.2 == "manual").collect();
    assert_eq!(engine.iter().map(|t| t.5).collect::<Vec<_>>(), [11_000, 100_000], "{engine:?}");
    assert!(guard.trail().iter().map(|t| t.5).is_sorted(), "{:?}", guard.trail());
    assert!(guard.stage.permits(InstrumentId(0)));
}

#[test]
fn a_drawdown_stops_its_strategy_until_somebody_resets_it() {
    let mut guard = Harness::new();
    let strategy = |guard: &Harness| guard.stage.group_state(Scope::Strategy, 0);
    let told = |scope, id, millionths| Command::Drawdown(scope, id, millionths);
    for (value, at, tripped) in [(49_999, 1, false), (50_000, 3, true), (0, 4, true)] {
        guard.stage.operate(told(Scope::Strategy, 0, value), at * S).expect("a strategy");
        assert_eq!(strategy(&guard) == Some(BreakerState::Tripped), tripped, "{value}");
        assert_eq!(guard.stage.permits_strategy(0), !tripped);
    }
    let trip = guard.newest();
    assert_eq!((rule_name(trip.rule), trip.scope, trip.scope_id), ("drawdown", Scope::Strategy as u8, 0));
    assert_eq!((trip.value, trip.threshold, trip.release, trip.has_value), (0.05, 0.05, 0.03, 1));
    assert_eq!((trip.event_ns, trip.cause), (3 * S, Cause::Breached as u8));
    assert!(guard.stage.permits(InstrumentId(0)), "its instruments are not its own");
    guard.stage.command(Command::Reset(Scope::Strategy, 0)).expect("a strategy");
    assert!(guard.stage.permits_strategy(0));
    // A loss that stands trips it again.
    guard.stage.operate(told(Scope::Strategy, 0, 60_000), 4 * S).expect("a strategy");
    guard.stage.command(Command::Reset(Scope::Strategy, 0)).expect("a strategy");
    assert!(!guard.stage.permits_strategy(0));
    guard.stage.operate(told(Scope::Strategy, 0, 0), 4 * S).expect("a strategy");
    guard.stage.command(Command::Reset(Scope::Strategy, 0)).expect("a strategy");
    assert!(guard.stage.permits_strategy(0));
    // One that releases by itself, on the engine.
    let auto = Settings { policy: Policy::Auto, threshold: 0.1, release: 0.05, ..DRAWDOWN_RULE.defaults };
    guard.stage.set_drawdown(&auto).expect("good settings");
    guard.stage.operate(told(Scope::Engine, 0, 100_000), 5 * S).expect("the engine");
    assert!(!guard.stage.permits(InstrumentId(0)) && guard.stage.stopped_instruments() == 0);
    guard.stage.operate(told(Scope::Engine, 0, 10_000), 6 * S).expect("the engine");
    guard.moved(0, 606_001, 0.0);
    assert_eq!(guard.stage.group_state(Scope::Engine, 0), Some(BreakerState::HalfOpen));
    assert!(guard.stage.permits(InstrumentId(0)));
    for (scope, id) in [(Scope::Venue, 0), (Scope::Instrument, 0), (Scope::Strategy, 1)] {
        assert!(guard.stage.operate(told(scope, id, 1_000_000), 7 * S).is_err(), "{scope:?} {id}");
    }
    for wrong in [Settings { release: 0.2, ..auto }, Settings { hold_ms: 1, ..auto }] {
        assert!(guard.stage.set_drawdown(&wrong).is_err());
    }
    guard.stage.set_drawdown(&Settings { enabled: false, ..auto }).expect("good settings");
    guard.stage.operate(told(Scope::Engine, 0, 900_000), 700 * S).expect("the engine");
    assert!(guard.stage.permits(InstrumentId(0)), "not in force");
    // As it is recorded, so it comes back.
    for command in [told(Scope::Strategy, 3, 77), Command::Trip(Scope::Venue, 2), Command::News(true)] {
        assert_eq!(Command::of_record(&command.operated(7, 8)), Some(command));
    }
}

/// Advice for an instrument: volatility and the other levels as they are in the default profile, recovery 10 s.
fn advice(instrument: u16, at_ms: i64, volatility: f64) -> Advice {
    let levels = [volatility, 5.0, 0.98, 200_000.0, 10.0].map(|level| (level * ADVICE_UNITS) as i64);
    let event_ns = at_ms * 1_000_000;
    Advice { event_ns, levels, instrument: InstrumentId(instrument), version: 3, ..Advice::zeroed() }
}

#[test]
fn advice_holds_from_the_next_event_and_is_on_record() {
    let mut guard = Harness::new();
    let volatile = |guard: &mut Harness, instrument, at_ms, value| {
        guard.vector(instrument, at_ms, 0, &[(f::REALISED_VOL_10S, value)]);
    };
    volatile(&mut guard, 0, 20_000, 3.0);
    assert!(guard.stage.permits(InstrumentId(0)));
    assert!(guard.stage.adopt(&advice(0, 20_000, 1.0), 20 * S));
    let record = guard.stage.sink().1.last().copied().expect("an adjustment");
    assert_eq!((record.sequence, record.event, record.event_ns), (1, 6, 20 * S), "four at the start, one here");
    assert_eq!((record.advice.version, record.until_ns), (3, 25 * S));
    assert_eq!(record.after[0], 2_000_000_000, "4.0, and half of it is as far as one time to live reaches");
    volatile(&mut guard, 0, 20_001, 3.0);
    assert_eq!((guard.last().threshold, guard.last().thresholds_version), (2.0, 1));
    volatile(&mut guard, 1, 20_001, 3.0);
    assert!(guard.stage.permits(InstrumentId(1)), "its own thresholds are as before");
    // Nobody renews it: at its end, and at no later event's time, the static profile holds again.
    volatile(&mut guard, 1, 60_000, 0.1);
    let expired = guard.stage.sink().1.last().copied().expect("an adjustment");
    assert_eq!((expired.origin, expired.event_ns), (Origin::Expired as u8, 25 * S));
    assert_eq!((expired.after[0], expired.advice), (4_000_000_000, Advice::zeroed()));
    let counters = guard.stage.counters();
    assert_eq!((counters.adjustments, counters.advised, counters.expired_advice), (2, 1, 1));
    assert!(!guard.stage.adopt(&advice(9, 60_000, 1.0), 60 * S), "nobody");
    assert!(!guard.stage.adopt(&advice(0, 50_000, 1.0), 60 * S), "too old");
    assert_eq!(guard.stage.counters().refused_advice, 2);
}

#[test]
fn conditions_come_with_time_orders_and_volume() {
    let mut guard = Harness::new();
    let day = 86_400_000;
    // The first Saturday of 1970 begins; the last event before it was on Thursday.
    guard.moved(0, 2 * day + 5, 0.0);
    let log = guard.stage.sink().1.clone();
    assert_eq!(log.len(), 4, "each instrument once: {log:?}");
    assert!(log.iter().all(|a| a.event_ns == 2 * day * 1_000_000 && a.origin == Origin::Conditions as u8));
    assert_eq!(Condition::names(log[0].conditions), ["weekend", "funding"]);
    assert_eq!(log[0].after[0], 3_600_000_000, "a tenth less");
    guard.stage.command(Command::News(true)).expect("always possible");
    assert_eq!(guard.stage.sink().1[4].after[0], 2_880_000_000);
    guard.stage.operate(Command::News(false), 0).expect("always possible");
    let operated = guard.stage.sink().2.clone();
    assert_eq!((operated.len(), operated[0].event, operated[0].command), (1, 6, 3), "on record: after five events");
    assert!(guard.stage.operate(Command::Trip(Scope::Strategy, 9), 0).is_err());
    guard.vector(1, 2 * day + 70_000, 0, &[(f::VOLUME_RATIO, 25.0)]);
    let busy = guard.stage.sink().1.last().copied().expect("an adjustment");
    assert_eq!((busy.instrument, Condition::names(busy.conditions)), (InstrumentId(1), vec!["weekend", "high_volume"]));
    guard.vector(1, 2 * day + 99_999, 0, &[(f::VOLUME_RATIO, 1.0)]);
    assert_eq!(guard.stage.sink().1.last().copied(), Some(busy), "held for half a minute");
    guard.vector(1, 2 * day + 100_000, 0, &[]);
    assert_eq!(Condition::names(guard.stage.sink().1.last().expect("one").conditions), ["weekend"]);
}

#[test]
fn rules_wait_for_their_warm_up_and_unknown_values_change_nothing() {
    let mut guard = Harness::new();
    let volatile = [(f::REALISED_VOL_10S, 50.0)];
    guard.vector(0, 1_000, 0, &volatile);
    assert!(guard.stage.permits(InstrumentId(0)), "15 s of warm-up");
    guard.vector(0, 16_000, 0, &volatile);
    assert!(!guard.stage.permits(InstrumentId(0)));
    let decisions = guard.stage.counters().decisions;
    guard.vector(0, 40_000, 0, &[]);
    assert_eq!(guard.stage.counters().decisions, decisions, "nothing known, nothing decided");
    // A new session warms up anew, but what is open stays open.
    guard.vector(0, 41_000, FLAG_SESSION, &volatile);
    guard.vector(0, 42_000, 0, &[(f::REALISED_VOL_10S, 0.1)]);
    assert!(!guard.stage.permits(InstrumentId(0)));
    guard.vector(0, 57_000, 0, &[(f::REALISED_VOL_10S, 0.1)]);
    guard.vector(0, 200_000, 0, &[]);
    assert!(guard.stage.permits(InstrumentId(0)));
}

#[test]
fn a_book_known_to_be_wrong_stops_its_instrument() {
    for quality in [BookQuality::Gapped, BookQuality::Crossed] {
        let mut guard = Harness::new();
        guard.moved(0, 1_000, 0.0);
        let header = Header { event_ns: 2 * S, ..Header::new(RecordKind::Features, InstrumentId(0)) };
        guard.stage.features(&header, &FeatureBody { quality: quality as u64, ..FeatureBody::EMPTY });
        assert!(!guard.stage.permits(InstrumentId(0)), "{quality:?}");
        assert_eq!((rule_name(guard.last().rule), guard.last().quality), ("book_integrity", quality as u8));
        // While it is being rebuilt it stays stopped.
        let header = Header { event_ns: 60 * S, ..header };
        guard.stage.features(&header, &FeatureBody::EMPTY);
        assert!(!guard.stage.permits(InstrumentId(0)));
    }
}

#[test]
fn equal_input_gives_equal_digests_and_any_difference_shows() {
    let run = |range: f64| {
        let mut guard = Harness::new();
        for at in 0..200 {
            guard.moved((at % 4) as u16, at * 997, if at % 37 == 0 { range } else { 0.0 });
        }
        guard.stage.digest()
    };
    assert_eq!(run(0.06), run(0.06));
    assert_ne!(run(0.06), run(0.0601));
    assert_eq!(RULE_COUNT, 11);
}
