//! Pre-trade risk: what a verdict costs, whole and rule by rule, against the way it is usually written first.
//!
//! Both gates see the same orders: a market maker's quotes on four instruments around a moving reference, each
//! cancelled some orders later, and now and then one that a rule refuses. Ends are reported between two orders and are
//! not timed.

use std::hint::black_box;

use tidegate_guard::risk::rules::RULES;
use tidegate_guard::risk::{MarketView, Permits, Reference, ReferenceKind, RiskGate, RiskLimits};
use tidegate_wire::event::BookQuality;
use tidegate_wire::order::{OrderRequest, SelfTradeMode, Side};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use crate::peers::risk::{NaiveGate, NaiveOrder};
use crate::report::{Options, Report, Table};
use crate::timing::{FrameTimes, Stopwatch, Suite, paired};

/// Bar on the whole gate, of the naive one.
const NAIVE_BAR: f64 = 0.1;
/// Bar on the median verdict, us.
const P50_BAR_US: f64 = 0.5;
/// Orders that are open at a time.
const OPEN: usize = 40;
/// Instruments that are quoted.
const SYMBOLS: [&str; 4] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"];

const LIMITS: &str = r#"
[firm]
max_order_value = 250000
max_gross_exposure = 5000000
messages = { count = 500, window_ms = 1000 }
orders = { count = 500, window_ms = 1000 }
max_daily_loss = 100000
[accounts.main]
strategies = ["maker"]
instruments = ["*"]
venues = ["binance-usdm"]
limits = { max_gross_exposure = 5000000, messages = { count = 500, window_ms = 1000 }, max_daily_loss = 50000 }
[strategies.maker]
max_gross_exposure = 5000000
messages = { count = 500, window_ms = 1000 }
max_drawdown = 50000
max_open_orders = 500
executions = { count = 500, window_ms = 1000 }
[instrument_defaults]
max_order_qty = 5
max_long = 100
max_short = 100
account_max_long = 100
account_max_short = 100
"#;

/// Orders with the market that each of them meets, and the same for the naive gate.
#[derive(Debug)]
pub struct Traffic {
    /// Requests with views.
    pub orders: Vec<(OrderRequest, MarketView)>,
    naive: Vec<NaiveOrder>,
}

impl Traffic {
    /// `count` orders, 3 ms apart.
    pub fn new(count: usize) -> Self {
        let (mut orders, mut naive) = (Vec::with_capacity(count), Vec::with_capacity(count));
        // Any multiplier of a full-period generator does: figures only have to look irregular.
        let mut random = 1u64;
        for n in 0..count {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (random >> 33) as i64;
            let (now, middle) = (n as i64 * 3_000_000, 600_000 + (n / 64 % 50) as i64);
            let buys = n % 2 == 0;
            let away = 10 + noise % 200;
            // One in 97 pays far too much, one in 89 is far too large.
            let away = if n % 97 == 0 { -20_000 } else { away };
            let qty = if n % 89 == 0 { 6_000 } else { 1 + noise / 256 % 300 };
            let (price, symbol) = (if buys { middle - away } else { middle + away }, n / 2 % SYMBOLS.len());
            let reference = Reference { price: Price::from_raw(middle), at_ns: now - 1_000, kind: ReferenceKind::Mid };
            let request = OrderRequest {
                request_id: n as u64,
                client_id: n as u64 + 1,
                event_ns: now,
                expires_ns: 0,
                price: Price::from_raw(price),
                qty: Qty::from_raw(qty),
                account: 0,
                strategy: 0,
                instrument: InstrumentId(symbol as u16),
                venue: Venue::BinanceUsdm as u8,
                kind: 0,
                side: if buys { Side::Buy } else { Side::Sell } as u8,
                order_type: 0,
                time_in_force: 0,
                self_trade: SelfTradeMode::ExpireTaker as u8,
                flags: 0,
                reserved: [0; 3],
            };
            orders.push((request, MarketView { reference, quality: BookQuality::Good, permits: Permits::ALL }));
            naive.push(NaiveOrder {
                client_id: format!("order-{n}"),
                account: "main".into(),
                strategy: "maker".into(),
                symbol: SYMBOLS[symbol].into(),
                buys,
                price: price as f64 / 10.0,
                qty: qty as f64 / 1_000.0,
                at: now as f64 / 1e9,
                reference: middle as f64 / 10.0,
                reference_age: 1e-6,
            });
        }
        Self { orders, naive }
    }
}

/// A gate with limits in every scope.
///
/// # Errors
/// Its limits do not fit: a mistake in this file.
pub fn gate() -> Result<RiskGate, String> {
    let mut registry = Registry::new();
    for symbol in SYMBOLS {
        registry.add(Instrument::linear(Venue::BinanceUsdm, symbol, 1, 3)).map_err(|error| error.to_string())?;
    }
    let limits = RiskLimits::from_toml(LIMITS).map_err(|error| error.to_string())?;
    RiskGate::new(&registry, &["maker"], &limits).map_err(|error| error.to_string())
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("risk", options, watch);
    let traffic = Traffic::new(if options.quick { 500 } else { 20_000 });
    match gate() {
        Ok(gate) => {
            whole(&mut report, options, watch, &traffic, &gate);
            single(&mut report, options, &traffic, gate);
        }
        Err(reason) => report.check(false, reason),
    }
    report
}

/// The whole gate against the naive one, verdict by verdict.
fn whole(report: &mut Report, options: &Options, watch: &Stopwatch, traffic: &Traffic, fresh: &RiskGate) {
    let count = traffic.orders.len();
    let passes = options.reps.max(2);
    let (mut ours, mut theirs) = (FrameTimes::keeping_all(count, passes), FrameTimes::new(count));
    let (mut accepted, mut agreed) = (0, true);
    for _ in 0..passes {
        let (mut gate, mut verdicts) = (fresh.clone(), vec![false; count]);
        ours.pass_with(
            watch,
            &mut gate,
            |gate, n| {
                while gate.take_alert().is_some() {}
                gate.on_cancelled(0, (n as u64 + 1).wrapping_sub(OPEN as u64));
            },
            |gate, n| {
                let (request, view) = &traffic.orders[n];
                verdicts[n] = black_box(gate.check(request, view)).is_accepted();
            },
        );
        let mut naive = NaiveGate::new("main", &SYMBOLS);
        let mut their_verdicts = vec![false; count];
        theirs.pass_with(
            watch,
            &mut naive,
            |naive, n| {
                if let Some(old) = n.checked_sub(OPEN) {
                    naive.cancelled(&traffic.naive[old].client_id);
                }
            },
            |naive, n| their_verdicts[n] = black_box(naive.check(&traffic.naive[n])).is_ok(),
        );
        accepted = verdicts.iter().filter(|verdict| **verdict).count();
        agreed &= verdicts == their_verdicts;
    }
    report.check(agreed, "both gates let the same orders through");
    report.check(accepted > count / 2 && accepted < count, "most orders pass and some do not");
    let title = format!(
        "whole gate: {count} orders, {accepted} let through, {OPEN} open at a time, {} rules; ns a verdict, each \
         order's fastest of {passes} passes",
        RULES.len()
    );
    let mut table = Table::new(title, &["mean", "p50", "p99", "ratio", "allocs"]);
    for (row, times) in [("the gate", &ours), ("maps, floats, boxed rules", &theirs)] {
        let [mean, p50, p99] = times.summary(watch);
        table.row(row, &[mean, p50, p99, paired(&times.passes, &theirs.passes), times.allocs_per_frame()]);
    }
    report.table(table);
    let [p50, p99, p999] = ours.every(watch);
    report.note(format!("every verdict of every pass: p50 {p50:.0} ns, p99 {p99:.0} ns, p99.9 {p999:.0} ns"));
    report.ratio("risk_gate", paired(&ours.passes, &theirs.passes), NAIVE_BAR, "x");
    report.ratio("risk_gate_p50_us", ours.summary(watch)[1] / 1e3, P50_BAR_US, "us");
    report.ratio("risk_gate_allocs", ours.allocs_per_frame(), 0.0, "allocs");
}

/// Every rule by itself. Each call decodes the request and works out what it would lead to, as the gate does once for
/// all rules; the first row is that alone, and a rule's own cost is the difference.
fn single(report: &mut Report, options: &Options, traffic: &Traffic, mut gate: RiskGate) {
    for (request, view) in traffic.orders.iter().take(OPEN) {
        gate.check(request, view);
    }
    let sample: Vec<_> = traffic.orders[OPEN..].iter().take(256).collect();
    let (gate, sample) = (&gate, &sample);
    let mut suite = Suite::new(sample.len());
    for rule in 0..RULES.len() as u8 {
        suite.add(RULES[usize::from(rule)].name, move || {
            for (request, view) in sample {
                black_box(gate.probe(rule, request, view));
            }
        });
    }
    let slice = std::time::Duration::from_millis(if options.quick { 2 } else { 20 });
    let cases = suite.run(options.reps, slice);
    let base = cases.first().map_or(0.0, |case| case.best);
    let mut table = Table::new(
        "rule by rule: ns a request, decoding and the outlook included (that alone: the first row)",
        &["p50", "best", "rule alone", "allocs"],
    );
    for case in &cases {
        table.row(case.name.clone(), &[case.median(), case.best, (case.best - base).max(0.0), case.allocs]);
    }
    report.table(table);
    report.ratio("risk_rules_allocs", cases.iter().map(|case| case.allocs).sum(), 0.0, "allocs");
}
