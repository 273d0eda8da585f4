//! Emergency protocols over a gate: levels, graded plans, rehearsals.

use bytemuck::Zeroable;
use tidegate_guard::emergency::{Emergency, EmergencyFile, LevelChange, Observed};
use tidegate_guard::risk::{
    Keys, MarketView, Permits, PersonId, Reference, ReferenceKind, RiskGate, RiskLimits, rules::rule_name,
};
use tidegate_wire::event::BookQuality;
use tidegate_wire::order::{
    AlertKind, Execution, FLAG_REDUCE_ONLY, LimitScope, OrderRequest, RequestKind, Side, Verdict,
};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

const LIMITS: &str = r#"
[firm]
max_order_value = 100000
max_gross_exposure = 100000
messages = { count = 1000, window_ms = 1000 }
[people]
ada = ["designated"]
[accounts.main]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
[duplicates]
content_ms = 0
"#;

/// 1,000.0; a quantity of one is worth 1 in the reporting currency.
const PRICE: i64 = 10_000;
const MS: i64 = 1_000_000;

struct Desk {
    gate: RiskGate,
    emergency: Emergency,
    now: i64,
    price: i64,
}

impl Desk {
    fn new(protocols: &str) -> Self {
        let mut registry = Registry::new();
        for venue in [Venue::BinanceUsdm, Venue::Bybit] {
            registry.add(Instrument::linear(venue, "BTCUSDT", 1, 3)).expect("a good instrument");
        }
        let limits = RiskLimits::from_toml(LIMITS).expect("good limits");
        let gate = RiskGate::new(&registry, &["carry", "grid", "hedges"], &limits).expect("known names");
        let file = EmergencyFile::from_toml(protocols).expect("good protocols");
        let emergency = Emergency::new(&registry, &gate, &file).expect("known names");
        Self { gate, emergency, now: 1_700_000_000_000 * MS, price: PRICE }
    }

    fn view(&self) -> MarketView {
        let reference = Reference { price: Price::from_raw(self.price), at_ns: self.now, kind: ReferenceKind::Mid };
        MarketView { reference, quality: BookQuality::Good, permits: Permits::ALL }
    }

    fn order(&mut self, strategy: u16, side: Side, qty: i64) -> OrderRequest {
        self.now += MS;
        OrderRequest {
            client_id: self.now as u64,
            event_ns: self.now,
            price: Price::from_raw(self.price),
            qty: Qty::from_raw(qty),
            strategy,
            venue: Venue::BinanceUsdm as u8,
            side: side as u8,
            ..OrderRequest::zeroed()
        }
    }

    /// Takes a position at the reference price.
    fn hold(&mut self, strategy: u16, side: Side, qty: i64) {
        let order = self.order(strategy, side, qty);
        assert!(self.gate.check(&order, &self.view()).is_accepted());
        self.gate.on_fill(&executed(&order)).expect("a good report");
    }

    /// Leaves an order open.
    fn rest(&mut self, strategy: u16, side: Side, qty: i64) -> OrderRequest {
        let order = self.order(strategy, side, qty);
        assert!(self.gate.check(&order, &self.view()).is_accepted());
        order
    }

    fn mark(&mut self, price: i64) {
        self.price = price;
        self.now += MS;
        for instrument in [0, 1] {
            self.gate.on_mark(InstrumentId(instrument), Price::from_raw(price), self.now);
        }
    }

    fn evaluate(&mut self, stopped_instruments: u32) -> Vec<(usize, usize)> {
        let mut changes = Vec::new();
        let observed = Observed { stopped_instruments };
        let changed = |change: LevelChange| changes.push((change.from, change.to));
        self.emergency.evaluate(&mut self.gate, &observed, self.now, changed);
        changes
    }

    /// Carries a plan out on a venue that executes everything at once; gives what was sent.
    fn carry_out(&mut self) -> Vec<(OrderRequest, Verdict)> {
        let Some(protocol) = self.emergency.due(self.now) else { return Vec::new() };
        let (view, mut sent) = (self.view(), Vec::new());
        self.emergency.carry_out(
            protocol,
            &mut self.gate,
            |_| view,
            self.now,
            |gate, request, verdict| {
                sent.push((*request, *verdict));
                if !verdict.is_accepted() {
                    return;
                }
                for action in gate.self_trade_actions().to_vec() {
                    gate.on_prevented(&action);
                }
                if request.kind == RequestKind::Cancel as u8 {
                    gate.on_cancelled(request.account, request.client_id);
                } else {
                    gate.on_fill(&executed(request)).expect("a good report");
                }
            },
        );
        sent
    }

    fn held(&self, strategy: u16, instrument: u16) -> i64 {
        self.gate.strategy_position(0, strategy, InstrumentId(instrument)).expect("known").raw()
    }

    fn keys(&self) -> Keys {
        Keys { designated: PersonId(0), risk: None }
    }
}

fn executed(order: &OrderRequest) -> Execution {
    let OrderRequest { client_id, event_ns, price, qty, account, strategy, instrument, side, .. } = *order;
    let report = Execution { client_id, event_ns, price, qty, ..Execution::zeroed() };
    Execution { account, strategy, instrument, side, ..report }
}

const DRAWDOWN: &str = r#"
[protocols.drawdown]
trigger = "drawdown"
cool_down_ms = 1000
repeat_ms = 100
levels = [
    { threshold = 5, release = 3, actions = [{ do = "stop-quoting" }, { do = "cancel-all" }] },
    { threshold = 10, release = 7, actions = [{ do = "cancel-all" }, { do = "reduce", share = 0.5 }] },
    { threshold = 20, release = 15, latched = true, actions = [{ do = "stop-quoting" }, { do = "close" }] },
]
"#;

#[test]
fn a_falling_market_goes_up_level_by_level_and_ends_flat() {
    let mut desk = Desk::new(DRAWDOWN);
    desk.hold(0, Side::Buy, 101);
    let resting = desk.rest(1, Side::Buy, 7);
    // 101 units at 1 each: 5 lost at 950.
    desk.mark(PRICE - 400);
    assert_eq!(desk.evaluate(0), []);
    assert!(desk.emergency.permits(0, 1) && desk.carry_out().is_empty());
    desk.mark(PRICE - 500);
    assert_eq!(desk.evaluate(0), [(0, 1)]);
    assert!(!desk.emergency.permits(0, 0) && !desk.emergency.permits(0, 1), "the firm stops");
    let sent = desk.carry_out();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.kind, sent[0].0.client_id), (RequestKind::Cancel as u8, resting.client_id));
    assert_eq!(desk.gate.open_orders(LimitScope::Firm, 0).count(), 0);
    assert_eq!(desk.held(0, 0), 101, "nothing is sold yet");
    desk.mark(PRICE - 1_000);
    assert_eq!(desk.evaluate(0), [(1, 2)]);
    let sent = desk.carry_out();
    assert_eq!(sent.len(), 1);
    let (request, verdict) = sent[0];
    assert!(verdict.is_accepted() && request.flags == FLAG_REDUCE_ONLY && request.side == Side::Sell as u8);
    assert_eq!((desk.held(0, 0), request.price.raw()), (50, 8_955), "51 of 101, half a percent below 900");
    // The next plan of the same level finds it done.
    desk.now += 100 * MS;
    assert!(desk.carry_out().is_empty());
    desk.mark(PRICE - 3_500);
    assert_eq!(desk.evaluate(0), [(2, 3)]);
    let sent = desk.carry_out();
    assert!(sent.iter().all(|(_, verdict)| verdict.is_accepted()), "a kill switch lets reductions pass: {sent:?}");
    assert_eq!(desk.held(0, 0), 0);
    assert!(desk.gate.kill_switch().get(LimitScope::Firm, 0).is_some(), "latched for good");
    // Flat, but the loss is what it was: only a person ends it.
    desk.now += 3_600_000 * MS;
    assert_eq!(desk.evaluate(0), []);
    let nobody = Keys { designated: PersonId(7), risk: None };
    assert!(desk.emergency.reset(0, &mut desk.gate, nobody, "why not", desk.now).is_err());
    let keys = desk.keys();
    assert_eq!(desk.emergency.reset(0, &mut desk.gate, keys, "positions are closed", desk.now), Ok(true));
    assert!(desk.gate.reset(LimitScope::Firm, 0, keys, "positions are closed").is_ok());
    assert_eq!((desk.emergency.level(0), desk.evaluate(0)), (Some(0), vec![]));
    let kinds: Vec<u8> = core::iter::from_fn(|| desk.gate.take_alert()).map(|alert| alert.kind).collect();
    let count = |kind: AlertKind| kinds.iter().filter(|k| **k == kind as u8).count();
    assert_eq!((count(AlertKind::Emergency), count(AlertKind::Kill), count(AlertKind::Reset)), (4, 1, 1));
}

#[test]
fn levels_go_down_slowly_and_quoting_comes_back() {
    let mut desk = Desk::new(DRAWDOWN);
    desk.hold(0, Side::Buy, 100);
    desk.mark(PRICE - 600);
    assert_eq!(desk.evaluate(0), [(0, 1)]);
    desk.mark(PRICE - 200);
    assert_eq!(desk.evaluate(0), [], "cooling");
    desk.now += 1_000 * MS;
    assert_eq!(desk.evaluate(0), [(1, 0)]);
    assert!(desk.emergency.permits(0, 0) && desk.emergency.due(i64::MAX - 1).is_none());
}

#[test]
fn a_rehearsal_shows_everything_and_changes_nothing() {
    let mut desk = Desk::new(DRAWDOWN);
    desk.hold(0, Side::Buy, 60);
    desk.hold(1, Side::Buy, 41);
    desk.rest(0, Side::Sell, 11);
    let before = (desk.gate.counters(), desk.gate.totals(LimitScope::Firm, 0), desk.gate.kill_switch().clone());
    let view = desk.view();
    for (level, cancels, sells) in [(1, 1, 0), (2, 1, 30 + 21), (3, 0, 90)] {
        let shown = desk.emergency.dry_run(0, level, &desk.gate, |_| view, desk.now).expect("a level");
        assert!(shown.stops_quoting);
        assert!(shown.requests.iter().all(|(_, verdict)| verdict.is_accepted()), "{level}: {shown:?}");
        let of = |kind: RequestKind| shown.requests.iter().filter(move |(r, _)| r.kind == kind as u8);
        let sold: i64 = of(RequestKind::New).map(|(request, _)| request.qty.raw()).sum();
        // On level 3 the open sell of 11 is not cancelled: it may close its part itself.
        assert_eq!((of(RequestKind::Cancel).count(), sold), (cancels, sells), "level {level}");
    }
    assert!(desk.emergency.dry_run(0, 4, &desk.gate, |_| view, desk.now).is_none());
    assert!(desk.emergency.dry_run(1, 1, &desk.gate, |_| view, desk.now).is_none());
    let after = (desk.gate.counters(), desk.gate.totals(LimitScope::Firm, 0), desk.gate.kill_switch().clone());
    assert_eq!((before, desk.emergency.level(0)), (after, Some(0)));
    // What was shown is what happens.
    let shown = desk.emergency.dry_run(0, 2, &desk.gate, |_| view, desk.now).expect("a level");
    desk.price -= 1_200;
    desk.gate.on_mark(InstrumentId(0), Price::from_raw(desk.price), desk.now);
    assert_eq!(desk.evaluate(0), [(0, 2)]);
    let happened: Vec<_> = desk.carry_out().iter().map(|(r, _)| (r.kind, r.strategy, r.qty)).collect();
    let shown: Vec<_> = shown.requests.iter().map(|(r, _)| (r.kind, r.strategy, r.qty)).collect();
    assert_eq!(shown, happened);
}

#[test]
fn positions_that_oppose_each_other_are_reduced_by_what_the_account_holds() {
    let mut desk = Desk::new(DRAWDOWN);
    desk.hold(0, Side::Buy, 100);
    desk.hold(1, Side::Sell, 40);
    let view = desk.view();
    let shown = desk.emergency.dry_run(0, 3, &desk.gate, |_| view, desk.now).expect("a level");
    let sides: Vec<_> =
        shown.requests.iter().map(|(r, v)| (r.strategy, r.side, r.qty.raw(), v.is_accepted())).collect();
    assert_eq!(sides, [(0, Side::Sell as u8, 60, true)], "the account holds 60 net");
}

#[test]
fn delta_out_of_band_is_hedged_on_another_venue() {
    let mut desk = Desk::new(
        r#"
[protocols.delta]
trigger = "delta"
asset = "BTC"
repeat_ms = 100
cool_down_ms = 0
hedge = { instrument = "BTCUSDT.bybit", account = "main", strategy = "hedges" }
levels = [{ threshold = 50, release = 40, actions = [{ do = "hedge", share = 0.8 }] }]
"#,
    );
    desk.hold(0, Side::Sell, 60);
    assert_eq!(desk.evaluate(0), [(0, 1)]);
    let sent = desk.carry_out();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.venue, sent[0].0.side, sent[0].0.flags), (Venue::Bybit as u8, Side::Buy as u8, 0));
    assert_eq!((desk.held(2, 1), desk.held(0, 0)), (48, -60), "four fifths of 60");
    desk.now += 100 * MS;
    assert!(desk.carry_out().is_empty(), "done");
    assert_eq!(desk.evaluate(0), [(1, 0)]);
}

#[test]
fn correlated_trips_and_exposure_trigger_too() {
    let levels = "levels = [{ threshold = 3, release = 1, actions = [{ do = \"stop-quoting\" }] }]\n";
    let mut desk = Desk::new(&format!(
        "[protocols.crowd]\ntrigger = \"correlated-trips\"\n{levels}\
         [protocols.gross]\ntrigger = \"gross-exposure\"\nscope = {{ strategy = \"grid\" }}\n{levels}"
    ));
    assert_eq!(desk.evaluate(2), []);
    desk.rest(1, Side::Buy, 3);
    assert_eq!(desk.evaluate(2), [(0, 1)], "three units open");
    assert!(desk.emergency.permits(0, 0) && !desk.emergency.permits(0, 1), "only the strategy");
    assert_eq!(desk.evaluate(3), [(0, 1)]);
    assert!(!desk.emergency.permits(0, 0));
    assert_eq!((desk.emergency.protocol("crowd"), desk.emergency.protocol("none")), (Some(0), None));
}

#[test]
fn without_a_price_nothing_is_sent_and_the_next_plan_tries_again() {
    let mut desk = Desk::new(DRAWDOWN);
    desk.hold(0, Side::Buy, 100);
    desk.mark(PRICE - 1_100);
    assert_eq!(desk.evaluate(0), [(0, 2)]);
    let stale = MarketView { reference: Reference { at_ns: 0, ..desk.view().reference }, ..desk.view() };
    let mut refused = Vec::new();
    desk.emergency.carry_out(0, &mut desk.gate, |_| stale, desk.now, |_, _, verdict| refused.push(*verdict));
    assert_eq!(refused.iter().map(|verdict| rule_name(verdict.rule)).collect::<Vec<_>>(), ["reference"]);
    assert!(desk.emergency.due(desk.now).is_none());
    desk.now += 100 * MS;
    assert_eq!(desk.carry_out().len(), 1);
    assert_eq!(desk.held(0, 0), 50);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is held and open: every request of every plan passes the gate, no position grows or changes its
        /// side, and once cancels and plans are through nothing is left on the account.
        #[test]
        fn plans_only_make_positions_smaller(
            held in prop::collection::vec((0u16..3, any::<bool>(), 1i64..200), 0..8),
            open in prop::collection::vec((0u16..3, any::<bool>(), 1i64..50), 0..6),
        ) {
            let protocols = DRAWDOWN.replace("{ do = \"close\" }", "{ do = \"cancel-all\" }, { do = \"close\" }");
            let mut desk = Desk::new(&protocols);
            let side = |sell: bool| if sell { Side::Sell } else { Side::Buy };
            held.iter().for_each(|(strategy, sell, qty)| desk.hold(*strategy, side(*sell), *qty));
            // Far from the reference: nothing meets anything.
            for (strategy, sell, qty) in &open {
                let mut order = desk.order(*strategy, side(*sell), *qty);
                order.price = Price::from_raw(if *sell { PRICE + 500 } else { PRICE - 500 });
                prop_assert!(desk.gate.check(&order, &desk.view()).is_accepted());
            }
            let view = desk.view();
            for level in 1..=3 {
                let shown = desk.emergency.dry_run(0, level, &desk.gate, |_| view, desk.now).expect("a level");
                for (request, verdict) in &shown.requests {
                    prop_assert!(verdict.is_accepted(), "{} {:?}", rule_name(verdict.rule), request);
                    if request.kind == RequestKind::New as u8 {
                        let before = desk.held(request.strategy, 0);
                        let sign = if request.side == Side::Buy as u8 { 1 } else { -1 };
                        let signed = sign * request.qty.raw();
                        prop_assert!(signed.signum() == -before.signum() && signed.abs() <= before.abs());
                    }
                }
            }
            let net: i64 = (0..3).map(|strategy| desk.held(strategy, 0)).sum();
            if net == 0 {
                return Ok(());
            }
            // Far enough to reach the last level whichever way the account stands.
            desk.mark(PRICE - net.signum() * 9_000);
            for _ in 0..12 {
                desk.now += 1_000 * MS;
                let price = desk.price;
                desk.mark(price);
                desk.evaluate(0);
                let sent = desk.carry_out();
                prop_assert!(sent.iter().all(|(_, verdict)| verdict.is_accepted()));
            }
            if desk.emergency.level(0) == Some(3) {
                prop_assert_eq!(desk.gate.position(0, InstrumentId(0)).map(Qty::raw), Some(0));
                prop_assert_eq!(desk.gate.open_orders(LimitScope::Firm, 0).count(), 0);
            }
        }
    }
}
