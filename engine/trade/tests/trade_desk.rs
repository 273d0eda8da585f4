//! The trade desk on markets made by hand: what a position goes through, and what must not happen to it.

use bytemuck::Zeroable;
use tidegate_guard::ledger::Balances;
use tidegate_guard::risk::RiskLimits;
use tidegate_trade::desk::{Ending, Position, SizeBound, TradeDesk, TradeDeskError, TradeLog, Trading};
use tidegate_wire::event::BookQuality;
use tidegate_wire::order::{Execution, OrderRequest, Verdict};
use tidegate_wire::signal::{Action, SignalBody};
use tidegate_wire::top::TopBody;
use tidegate_wire::{Header, Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

const SECOND: i64 = 1_000_000_000;
const BASE: i64 = 1_700_000_400 * SECOND;
const BTC: InstrumentId = InstrumentId(0);

#[derive(Default)]
struct Log {
    orders: Vec<OrderRequest>,
    /// The signal of each.
    signals: Vec<u64>,
    verdicts: Vec<Verdict>,
    executions: Vec<Execution>,
    ended: Vec<(Position, (i64, i64))>,
}

impl TradeLog for Log {
    fn order(&mut self, signal: u64, order: &OrderRequest) {
        self.orders.push(*order);
        self.signals.push(signal);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.verdicts.push(*verdict);
    }

    fn execution(&mut self, execution: &Execution) {
        self.executions.push(*execution);
    }

    fn position(&mut self, _: i64, position: &Position, settled: (i64, i64), _: &Balances) {
        self.ended.push((*position, settled));
    }
}

struct Rig {
    desk: TradeDesk,
    log: Log,
    signals: u64,
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add(Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 2, 3)).expect("an instrument");
    registry
}

impl Rig {
    fn with(settings: &Trading, limits: Option<&RiskLimits>) -> Result<Self, TradeDeskError> {
        let desk = TradeDesk::new(&registry(), &[BTC], settings, limits)?;
        Ok(Self { desk, log: Log::default(), signals: 0 })
    }

    fn new() -> Self {
        Self::with(&Trading::default(), None).expect("a desk")
    }

    /// A book around a mid, in whole quote units, `at` after the base: a tick of spread, plenty on both sides.
    fn book(&mut self, at: i64, mid: i64, funding: f64) {
        let level = |price: i64| Level { price: Price::from_raw(price), qty: Qty::from_raw(1_000_000) };
        let mut top = TopBody { quality: BookQuality::Good as u64, bid_count: 1, ask_count: 1, ..TopBody::EMPTY };
        (top.bids[0], top.asks[0], top.funding) = (level(mid * 100 - 1), level(mid * 100 + 1), funding);
        let header = Header { event_ns: BASE + at, ..Header::new(RecordKind::Top, BTC) };
        self.desk.top(&header, &top, &mut self.log);
    }

    /// A signal whose timer ends so many seconds after the base.
    fn signal(&mut self, at: i64, action: Action, leverage: f64, end_s: i64) {
        self.signals += 1;
        let signal = SignalBody {
            sequence: self.signals,
            event_ns: BASE + at,
            timer_end_ns: BASE + end_s * SECOND,
            leverage,
            confidence: 0.5,
            instrument: BTC,
            action: action as u8,
            ..SignalBody::zeroed()
        };
        self.desk.signal(&signal, &mut self.log);
    }

    /// The same book every second.
    fn quiet(&mut self, from_s: i64, to_s: i64, mid: i64) {
        (from_s..to_s).for_each(|second| self.book(second * SECOND, mid, 0.0));
    }

    fn endings(&self) -> Vec<Ending> {
        self.log.ended.iter().map(|(position, _)| position.ending).collect()
    }

    fn balanced(&self) {
        self.desk.check().expect("balances add up");
    }
}

#[test]
fn a_position_lives_until_its_timer_ends_and_pays_for_it() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Long, 20.0, 600);
    rig.quiet(3, 599, 50_000);
    assert_eq!((rig.log.ended.len(), rig.desk.balances().locked()), (0, 100_000_000));
    rig.quiet(599, 605, 50_500);
    assert_eq!(rig.endings(), [Ending::Timer]);
    let (position, (settled, borne)) = rig.log.ended[0];
    assert_eq!((position.bound, position.refusal), (SizeBound::Signal, ""));
    assert_eq!(rig.log.signals, [position.signal; 2], "an entry and a close");
    let (entered, left) = (position.entry.times_ns.0 - BASE, position.exit.times_ns.1 - BASE);
    assert!((2 * SECOND..3 * SECOND).contains(&entered) && (600 * SECOND..601 * SECOND).contains(&left));
    assert_eq!((position.entry.qty, position.exit.qty, borne), (39, 39, 0), "2,000 at 50,000.01");
    // 0.039 x (50,499.99 - 50,000.01), less 5 bp of both values; a millionth or two for rounding.
    let exact = 19_499_220 - 975_000 - 984_750;
    assert!((settled - exact).abs() <= 4, "{settled} against {exact}");
    assert_eq!((rig.desk.balances().locked(), rig.desk.counters().refused), (0, 0));
    rig.balanced();
}

#[test]
fn a_loss_ends_at_its_margin() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Short, 1_000.0, 600);
    rig.quiet(3, 5, 50_000);
    rig.quiet(5, 9, 52_000);
    assert_eq!(rig.endings(), [Ending::Margin]);
    let (position, (settled, borne)) = rig.log.ended[0];
    assert_eq!(settled, -position.margin);
    assert!(borne > 0, "the product bears the rest");
    rig.balanced();
}

#[test]
fn three_positions_that_end_at_once_are_all_closed_at_once() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    for second in [2, 180, 420] {
        rig.quiet(second, second + 1, 50_000);
        rig.signal(second * SECOND + 1, Action::Long, 20.0, 600);
    }
    rig.quiet(421, 603, 50_000);
    assert_eq!(rig.endings(), [Ending::Timer; 3]);
    assert_eq!((rig.desk.counters().retried, rig.desk.counters().refused), (0, 0), "none is taken for another");
    rig.balanced();
}

#[test]
fn the_other_side_of_what_is_held_is_not_taken() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Long, 20.0, 600);
    rig.quiet(3, 5, 50_000);
    rig.signal(5 * SECOND, Action::Short, 12.0, 600);
    rig.quiet(6, 604, 50_000);
    assert_eq!(rig.endings(), [Ending::Opposite, Ending::Timer]);
    rig.balanced();
}

#[test]
fn a_close_is_not_refused_for_what_its_value_has_become() {
    let settings = Trading { balance: 1_000_000, margin: 100_000, ..Trading::default() };
    let mut rig = Rig::with(&settings, None).expect("a desk");
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Short, 20.0, 60);
    rig.quiet(3, 30, 50_000);
    // 40 % up in steps that the gate's own collar of a period lets pass.
    (0..200).for_each(|step| rig.book((30 + step) * SECOND, 50_000 + step * 100, 0.0));
    assert!(matches!(rig.endings()[..], [Ending::Timer]), "{:?}", rig.endings());
    assert!(rig.log.ended[0].1.0 < 0);
    rig.balanced();
}

#[test]
fn a_close_that_waits_for_a_price_is_sent_whole_when_there_is_one() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Long, 20.0, 60);
    rig.book(3 * SECOND, 50_000, 0.0);
    // The gate takes no market order at a price that is older than two seconds.
    rig.book(61 * SECOND, 50_000, 0.0);
    assert_eq!((rig.desk.positions()[0].refusal, rig.desk.counters().retried), ("reference", 1));
    rig.quiet(62, 66, 50_000);
    assert_eq!(rig.endings(), [Ending::Timer]);
    let sells: Vec<i64> = rig.log.orders[1..].iter().map(|order| order.qty.raw()).collect();
    assert_eq!(sells, [39, 39], "not in parts");
    rig.balanced();
}

#[test]
fn an_entry_is_made_as_small_as_limits_ask_for_and_says_so() {
    for (order, limit, bound, value) in [
        (1_500, "9000", SizeBound::MaxOrderValue, 1_500.0),
        (250_000, "1000", SizeBound::Limits, 1_000.0),
        (250_000, "250000", SizeBound::Signal, 2_000.0),
    ] {
        let settings = Trading { max_order_value: order, ..Trading::default() };
        let mut limits = settings.own_limits();
        limits.strategies.entry("signals".into()).or_default().max_order_value =
            Some(tidegate_guard::risk::Decimal::parse(limit).expect("a number"));
        let mut rig = Rig::with(&settings, Some(&limits)).expect("a desk");
        rig.quiet(0, 2, 50_000);
        rig.signal(2 * SECOND, Action::Long, 20.0, 60);
        rig.quiet(3, 65, 50_000);
        assert_eq!(rig.endings(), [Ending::Timer], "{bound:?} {:?}", rig.log.ended);
        let position = rig.log.ended[0].0;
        let got = position.entry.value as f64 / 1e6;
        assert_eq!(position.bound, bound);
        assert!(got <= value && got > value - 60.0, "{got} of {value}");
    }
}

#[test]
fn a_silence_after_the_entry_loses_no_margin() {
    let mut rig = Rig::new();
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Long, 20.0, 600);
    // The fill is known four milliseconds later; nobody says anything for a minute.
    rig.book(62 * SECOND, 50_000, 0.0);
    assert_eq!((rig.desk.positions().len(), rig.desk.balances().locked()), (1, 100_000_000));
    rig.quiet(63, 604, 50_000);
    assert_eq!(rig.endings(), [Ending::Timer]);
    assert_eq!(rig.desk.counters().profit, rig.log.ended[0].1.0);
    rig.balanced();
}

#[test]
fn funding_is_rounded_against_whoever_holds() {
    // BASE is not a funding time; the next one comes within eight hours.
    let next = (BASE / (8 * 3_600 * SECOND) + 1) * 8 * 3_600 * SECOND - BASE;
    for (action, rate, above_zero) in [
        (Action::Long, 1e-4, true),
        (Action::Short, 1e-4, false),
        (Action::Long, -1e-4, false),
        (Action::Short, -1e-4, true),
    ] {
        let mut rig = Rig::new();
        let (from, end_s) = (next - 5 * SECOND, next / SECOND + 60);
        rig.book(from, 50_000, rate);
        rig.signal(from + 1, action, 20.0, end_s);
        rig.book(from + SECOND, 50_000, rate);
        rig.book(next + SECOND, 50_000, rate);
        let position = rig.desk.positions()[0];
        // 0.039 or 0.04 of 50,000 at 1 bp: no whole millionth is missing to whoever pays or too much for who receives.
        let exact = (position.entry.qty as f64 * 50.0 * 1e6 * 1e-4).ceil() as i64;
        assert_eq!(position.funding, if above_zero { exact } else { -exact }, "{action:?} {rate}");
    }
}

#[test]
fn limits_of_a_file_are_those_of_the_account_it_names() {
    let limits = |text: &str| RiskLimits::from_toml(text).expect("limits");
    let firm = "[firm]\nmax_order_value = 1000000\nmax_gross_exposure = 9000000\nmessages = { count = 100, window_ms = 1000 }\n";
    let account = |name: &str, strategies: &str| {
        format!("[accounts.{name}]\nstrategies = [{strategies}]\ninstruments = [\"*\"]\nvenues = [\"*\"]\n")
    };
    // The first account by name may trade nothing of the desk's.
    let both = limits(&format!("{firm}{}{}", account("main", ""), account("paper", "\"signals\"")));
    let mut rig = Rig::with(&Trading::default(), Some(&both)).expect("a desk");
    rig.quiet(0, 2, 50_000);
    rig.signal(2 * SECOND, Action::Long, 20.0, 600);
    rig.quiet(3, 604, 50_000);
    assert_eq!(rig.endings(), [Ending::Timer], "{:?}", rig.log.verdicts);
    assert!(rig.log.orders.iter().all(|order| order.account == 1));
    assert!(rig.log.executions.iter().all(|execution| execution.account == 1));
    let error = Rig::with(&Trading::default(), Some(&limits(&format!("{firm}{}", account("main", "\"*\"")))));
    let error = error.err().expect("an error").to_string();
    assert!(error.contains("trading.limits") && error.contains("\"paper\""), "{error}");
}

#[test]
fn latencies_that_outlive_a_reservation_are_refused() {
    let mut settings = Trading::default();
    settings.paper.latency.entry_us = 20_000_000;
    let error = Rig::with(&settings, None).err().expect("an error").to_string();
    assert!(error.contains("trading.paper.latency"), "{error}");
}

#[test]
fn there_are_no_more_positions_than_the_ledger_may_lock() {
    let mut rig = Rig::with(&Trading { max_positions: 2, ..Trading::default() }, None).expect("a desk");
    rig.book(0, 60_000, 0.0);
    (0..3).for_each(|_| rig.signal(SECOND, Action::Long, 2.0, 600));
    let endings: Vec<Ending> = rig.log.ended.iter().map(|(position, _)| position.ending).collect();
    assert_eq!((endings, rig.desk.positions().len()), (vec![Ending::Unlocked], 2));
    assert_eq!(rig.log.ended[0].0.refusal, "max-locked-positions");
}
