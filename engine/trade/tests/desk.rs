//! The signal desk on vectors made by hand: one signal a coin and window, what arms it again, what stops it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_market::features::schema as f;
use tidegate_trade::signals::{SignalConfig, SignalDesk, SimulatedReference};
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::signal::{
    Action, FLAG_BELOW_CONFIDENCE, FLAG_REARMED, FLAG_REFERENCE_SIMULATED, FLAG_STOPPED, FLAG_SUPERP, LeverageBound,
    OutcomeBody, SignalBody, SignalSink, TimerWindow,
};
use tidegate_wire::{Header, Instrument, InstrumentId, RecordKind, Registry, Venue};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// A full ten minutes of the clock.
const BASE: i64 = 1_700_000_400 * SECOND;

#[derive(Default)]
struct Log {
    signals: Vec<SignalBody>,
    outcomes: Vec<OutcomeBody>,
}

impl SignalSink for Log {
    fn signal(&mut self, signal: &SignalBody) {
        self.signals.push(*signal);
    }

    fn outcome(&mut self, outcome: &OutcomeBody) {
        self.outcomes.push(*outcome);
    }
}

fn registry(symbols: &[&str]) -> Registry {
    let mut registry = Registry::new();
    for symbol in symbols {
        registry.add(Instrument::linear(Venue::BinanceUsdm, symbol, 6, 3)).expect("an instrument");
    }
    registry
}

/// A desk with its log: coins at prices against a reference.
struct Rig {
    desk: SignalDesk,
    log: Log,
}

impl Rig {
    fn new(symbols: &[&str], change: impl FnOnce(&mut SignalConfig)) -> Self {
        let mut config = SignalConfig::default();
        change(&mut config);
        Self { desk: SignalDesk::new(&registry(symbols), &config).expect("a desk"), log: Log::default() }
    }

    /// A vector of instrument `id` with mid, spread and a few features at `BASE` plus `at`.
    fn see(&mut self, id: u16, at: i64, mid: f64, features: &[(usize, f64)]) {
        self.see_if(id, at, Some(mid), true, features);
    }

    fn see_if(&mut self, id: u16, at: i64, mid: Option<f64>, permitted: bool, features: &[(usize, f64)]) {
        let header = Header { event_ns: BASE + at, frame: 9, ..Header::new(RecordKind::Features, InstrumentId(id)) };
        let mut body = FeatureBody { digest: 77, ..FeatureBody::EMPTY };
        body.set(f::MID, mid);
        body.set(f::SPREAD, mid.map(|mid| mid * 1e-4));
        body.set(f::SPREAD_BP, mid.map(|_| 1.0));
        features.iter().for_each(|(index, value)| body.set(*index, Some(*value)));
        self.desk.features(&header, &body, permitted, &mut self.log);
    }
}

/// Instrument 0 is the coin, 1 the reference at 5.
fn with_reference() -> Rig {
    let mut rig = Rig::new(&["BTCUSDT", "TONUSDT"], |_| ());
    rig.see(1, 0, 5.0, &[]);
    rig
}

#[test]
fn a_coin_signals_once_in_each_window() {
    let mut rig = with_reference();
    for second in 0..1_200 {
        rig.see(1, second * SECOND, 5.0, &[]);
        rig.see(0, second * SECOND, 50_000.0, &[]);
    }
    let windows: Vec<TimerWindow> = rig.log.signals.iter().map(SignalBody::window).collect();
    let three = [TimerWindow::EntryWindow, TimerWindow::MidTimer, TimerWindow::ExitWindow];
    assert_eq!(windows, [three, three].concat());
    let times: Vec<i64> = rig.log.signals.iter().map(|signal| (signal.event_ns - BASE) / MINUTE).collect();
    assert_eq!(times, [0, 3, 7, 10, 13, 17]);
    let first = &rig.log.signals[0];
    assert_eq!((first.action(), first.sequence, first.features_digest, first.frame), (Action::Long, 1, 77, 9));
    assert!((first.psc_ratio - 10.0).abs() < 1e-9, "{}", first.psc_ratio);
    assert!((first.ratio_strength - 0.24).abs() < 1e-9 && (first.market_boost - 0.05).abs() < 1e-12);
    assert_eq!((first.timer_start_ns, first.timer_end_ns), (BASE, BASE + 10 * MINUTE));
    assert!(first.has(FLAG_SUPERP) && !first.has(FLAG_REFERENCE_SIMULATED));
    // The timer of the first three has ended; nothing moved, so costs are what is left.
    assert_eq!(rig.log.outcomes.iter().map(|outcome| outcome.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(rig.log.outcomes.iter().all(|o| o.complete == 1 && o.label(Action::Long) == Some(false)));
    rig.desk.finish(&mut rig.log);
    assert_eq!(
        (rig.log.outcomes.len(), rig.log.outcomes[5].complete),
        (6, 0),
        "the second timer was not seen to its end"
    );
}

#[test]
fn a_crossing_arms_a_coin_again_and_a_candidate_may_become_more() {
    let mut rig = with_reference();
    let at_ratio = |ratio: f64| 5.0 * libm::pow(10.0, ratio - 6.0);
    for (second, ratio) in
        [(1, 6.0), (2, 6.6), (3, 6.7), (4, 7.001), (5, 6.99), (6, 7.001), (7, 6.9), (8, 7.001), (9, 4.9)]
    {
        rig.see(0, second * SECOND, at_ratio(ratio), &[]);
    }
    let told: Vec<(i64, Action, bool)> = rig
        .log
        .signals
        .iter()
        .map(|signal| ((signal.event_ns - BASE) / SECOND, signal.action(), signal.has(FLAG_REARMED)))
        .collect();
    assert_eq!(
        told,
        [(2, Action::Neutral, false), (4, Action::Long, false), (8, Action::Long, true), (9, Action::Short, true),]
    );
    let candidate = &rig.log.signals[0];
    assert_eq!((candidate.bound(), candidate.leverage), (LeverageBound::None, 0.0), "a candidate is not traded");
    assert_eq!(rig.desk.counters().rearmed, 2);
}

#[test]
fn nothing_is_said_on_a_stale_reference_or_without_a_price() {
    let mut rig = with_reference();
    rig.see_if(0, SECOND, None, true, &[]);
    rig.see(0, 10 * SECOND, 50_000.0, &[]);
    assert!(rig.log.signals.is_empty());
    let counters = rig.desk.counters();
    assert_eq!((counters.no_price, counters.no_reference, counters.looked_at), (1, 1, 0), "ten seconds are stale");
    rig.see(1, 11 * SECOND, 5.0, &[]);
    rig.see(0, 12 * SECOND, 50_000.0, &[]);
    assert_eq!((rig.log.signals.len(), rig.log.signals[0].reference_age_ns), (1, SECOND));
}

#[test]
fn contracts_on_a_thousand_coins_are_priced_by_the_coin() {
    let mut rig = Rig::new(&["1000SHIBUSDT", "TONUSDT"], |_| ());
    rig.see(1, 0, 5.0, &[]);
    rig.see(0, 0, 0.02, &[]);
    let signal = &rig.log.signals[0];
    assert!((signal.price - 0.000_02).abs() < 1e-15 && (signal.psc_ratio - 0.602_06).abs() < 1e-4, "{signal:?}");
    assert_eq!(signal.action(), Action::Short);
    assert!((signal.ratio_strength - 0.25).abs() < 1e-12);
}

#[test]
fn coins_and_reference_are_priced_in_dollars() {
    // Whatever comes first: a pair in bitcoin or euros, or an option, is not what its base costs.
    let strangers = ["ETHBTC", "ETH-BTC", "ETHEUR", "ETH-EUR-SWAP", "ETH-27DEC26-4000-C", "ETH-USD-261227-4000-P"];
    let dollars =
        ["ETHUSDT", "ETH-USDC", "ETH_USDC-PERPETUAL", "ETH-PERPETUAL", "ETHUSD_PERP", "ETH-USDT-SWAP", "ETHPERP"];
    for coin in dollars {
        let rig = Rig::new(&[&strangers, &[coin, "TONUSDT"] as &[&str]].concat(), |_| ());
        let chosen: Vec<_> = rig.desk.coins().collect();
        assert_eq!(chosen, [("ETH", InstrumentId(strangers.len() as u16))], "{coin}");
    }
    let none = Rig::new(&[&strangers, &["TONUSDT"] as &[&str]].concat(), |_| ());
    assert_eq!(none.desk.coins().count(), 0);
    // A reference of a thousand coins counts by the coin, as coins do.
    let mut rig = Rig::new(&["BTCUSDT", "1000PEPEUSDT"], |config| config.psc.reference = "PEPE".into());
    rig.see(1, 0, 0.01, &[]);
    rig.see(0, 1, 50_000.0, &[]);
    assert_eq!((rig.log.signals.len(), rig.log.signals[0].reference), (1, 0.000_01));
}

#[test]
fn a_signal_that_finds_no_room_is_held_back_once() {
    let mut rig = with_reference();
    // Across the threshold and back, again and again within a window: more than a coin may have open.
    for step in 0..200 {
        rig.see(1, step * SECOND / 2, 5.0, &[]);
        rig.see(0, step * SECOND / 2, if step % 2 == 0 { 50.01 } else { 40.0 }, &[]);
    }
    let (told, counters) = (rig.log.signals.len() as u64, *rig.desk.counters());
    assert!(told > 1 && counters.crowded > 0, "{counters:?}");
    assert_eq!(told + counters.crowded, 100, "each crossing is one signal, told or held back");
    // What stays there is none anew.
    (0..50).for_each(|step| rig.see(0, 101 * SECOND + step, 50.01, &[]));
    assert_eq!(rig.desk.counters().crowded, counters.crowded + 1);
}

#[test]
fn flags_and_caps_travel_with_the_signal() {
    let mut rig = Rig::new(&["BTCUSDT"], |config| {
        config.psc.simulated_reference = Some(SimulatedReference { seed: 3, price: 5.0 });
        config.ml.venue_leverage = BTreeMap::from([("binance-usdm".to_owned(), 125.0)]);
        config.ml.min_confidence = 0.9;
    });
    rig.see_if(0, 0, Some(50_000.0), false, &[]);
    let signal = rig.log.signals[0];
    assert!(signal.has(FLAG_REFERENCE_SIMULATED) && signal.has(FLAG_BELOW_CONFIDENCE) && signal.has(FLAG_STOPPED));
    assert_eq!((signal.leverage, signal.bound()), (125.0, LeverageBound::Venue));
    assert!(rig.desk.reference().contains("simulated"), "{}", rig.desk.reference());
}

#[test]
fn what_cannot_be_is_an_error_that_names_it() {
    let wrong = |symbols: &[&str], change: fn(&mut SignalConfig)| {
        let mut config = SignalConfig::default();
        change(&mut config);
        SignalDesk::new(&registry(symbols), &config).expect_err("an error").to_string()
    };
    let error = wrong(&["BTCUSDT"], |_| ());
    assert!(error.contains("psc_integration.reference") && error.contains("simulated_reference"), "{error}");
    let error = wrong(&["BTCUSDT", "TONUSDT"], |c| {
        c.ml.instruments.insert("BTC".into(), "BTCUSD.okx".into());
    });
    assert!(error.contains("instruments.BTC") && error.contains("there is BTCUSDT.binance-usdm"), "{error}");
    let error = wrong(&["BTCUSDT", "TONUSDT"], |c| {
        c.ml.instruments.insert("BTC".into(), "TONUSDT.binance-usdm".into());
    });
    assert!(error.contains("whose base is BTC"), "{error}");
    let error = wrong(&["BTCUSDT", "TONUSDT"], |c| c.ml.trading_coins.push("BTC".into()));
    assert!(error.contains("there twice"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a market does: probabilities are probabilities, caps hold, a window has one signal unless armed again,
    /// every signal gets one outcome, and the same input gives the same digest.
    #[test]
    fn any_market_keeps_the_promises(
        steps in prop::collection::vec((0i64..200, -0.4..0.4f64, prop::num::f64::ANY, 0usize..64), 1..200),
        cap in prop::option::of(1.0..200.0f64),
    ) {
        let run = || {
            let mut rig = Rig::new(&["SOLUSDT", "TONUSDT"], |config| {
                config.ml.risk_leverage = cap;
                config.psc.simulated_reference = Some(SimulatedReference::default());
            });
            let (mut at, mut mid) = (0, 40.0);
            for (pause, change, value, index) in &steps {
                at += pause * SECOND;
                mid *= libm::exp(*change);
                rig.see(0, at, mid, &[(*index, *value)]);
            }
            rig.desk.finish(&mut rig.log);
            (rig.log, rig.desk.digest())
        };
        let (log, digest) = run();
        prop_assert_eq!(digest, run().1);
        prop_assert_eq!(log.signals.len(), log.outcomes.len());
        let mut windows = BTreeMap::new();
        for signal in &log.signals {
            prop_assert!((0.0..=1.0).contains(&signal.confidence));
            prop_assert!(signal.leverage <= 10_000.0 && cap.is_none_or(|cap| signal.leverage <= cap));
            prop_assert!((0.0..=12.0).contains(&signal.score));
            if !signal.has(FLAG_REARMED) && signal.action() != Action::Neutral {
                let key = (signal.timer_start_ns, signal.window());
                prop_assert_eq!(windows.insert(key, signal.sequence), None);
            }
        }
    }
}
