//! Whatever comes in whatever order: no cap is passed, nobody trades with itself, nothing panics.

mod venue;

use std::collections::BTreeMap;

use bytemuck::Zeroable;
use proptest::prelude::*;
use tidegate_guard::risk::{
    MarketView, Permits, PersonId, Reference, ReferenceKind, RiskGate, RiskLimits, SelfTradeKind, rules,
};
use tidegate_wire::event::BookQuality;
use tidegate_wire::order::{
    Execution, FLAG_REDUCE_ONLY, KillCause, LimitScope, OrderRequest, RequestKind, SelfTradeMode, Side,
};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use venue::Exchange;

/// Reference price of every instrument; values are `price x quantity x 100` millionths.
const REFERENCE: i64 = 1_000;
const UNIT: i64 = 100;
const CAPS: [(LimitScope, i64); 3] =
    [(LimitScope::Firm, 9_000_000), (LimitScope::Account, 5_000_000), (LimitScope::Strategy, 3_000_000)];
const LONGEST: i64 = 30;

const LIMITS: &str = r#"
[firm]
max_order_value = 1.5
max_gross_exposure = 9
messages = { count = 1000000, window_ms = 1 }
[accounts.a]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
trade_group = 1
limits = { max_gross_exposure = 5 }
[accounts.b]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
trade_group = 1
limits = { max_gross_exposure = 5 }
[accounts.c]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
limits = { max_gross_exposure = 5 }
[strategies.s]
max_gross_exposure = 3
[strategies.t]
max_gross_exposure = 3
[instrument_defaults]
account_max_long = 0.030
account_max_short = 0.030
[duplicates]
content_ms = 0
client_id_ms = 0
"#;

const WIDE: &str = "max_order_value = 1.5\nmax_gross_exposure = 9\n";

fn gate(text: &str) -> RiskGate {
    let mut registry = Registry::new();
    for symbol in ["AUSDT", "BUSDT"] {
        registry.add(Instrument::linear(Venue::BinanceUsdm, symbol, 1, 3)).expect("a good instrument");
    }
    let limits = RiskLimits::from_toml(text).expect("good limits");
    RiskGate::new(&registry, &["s", "t"], &limits).expect("known names")
}

const VIEW: MarketView = MarketView {
    reference: Reference { price: Price::from_raw(REFERENCE), at_ns: 0, kind: ReferenceKind::Mid },
    quality: BookQuality::Good,
    permits: Permits::ALL,
};

/// An order as the oracle remembers it.
#[derive(Clone, Copy, Debug)]
struct Known {
    request: OrderRequest,
    filled: i64,
    /// Price and total of a replacement on its way.
    pending: Option<(i64, i64)>,
}

impl Known {
    fn remaining(&self) -> i64 {
        self.request.qty.raw().max(self.pending.map_or(0, |(_, total)| total)) - self.filled
    }

    fn value(&self) -> i64 {
        let price = self.request.price.raw().max(self.pending.map_or(0, |(price, _)| price));
        price.max(REFERENCE) * self.remaining() * UNIT
    }
}

/// Positions and open orders the slow way: everything is summed anew for every question.
#[derive(Default)]
struct Oracle {
    open: BTreeMap<u64, Known>,
    /// By account, strategy and instrument.
    positions: BTreeMap<(u16, u16, u16), i64>,
}

impl Oracle {
    /// Exposure of one account's cell, or one strategy's on it.
    fn cell(&self, account: u16, strategy: Option<u16>, instrument: u16) -> (i64, i64, i64) {
        let of = |(a, s, i): (u16, u16, u16)| a == account && strategy.is_none_or(|only| only == s) && i == instrument;
        let held: i64 = self.positions.iter().filter(|(key, _)| of(**key)).map(|(_, qty)| *qty).sum();
        let mine = |known: &&Known| of((known.request.account, known.request.strategy, known.request.instrument.0));
        let side = |side: Side, what: fn(&Known) -> i64| {
            let orders = self.open.values().filter(mine).filter(|known| known.request.side == side as u8);
            orders.map(what).sum::<i64>()
        };
        let value = held * REFERENCE * UNIT;
        let (long, short) = (value + side(Side::Buy, Known::value), value - side(Side::Sell, Known::value));
        let exposure = value.abs().max(long.abs()).max(short.abs());
        (exposure, held + side(Side::Buy, Known::remaining), side(Side::Sell, Known::remaining) - held)
    }

    fn exposure(&self, scope: LimitScope, id: u16) -> i64 {
        let each = |accounts: &[u16], strategy: Option<u16>| {
            let cells = accounts.iter().flat_map(|account| [0, 1].map(|instrument| (*account, instrument)));
            cells.map(|(account, instrument)| self.cell(account, strategy, instrument).0).sum::<i64>()
        };
        match scope {
            LimitScope::Account => each(&[id], None),
            LimitScope::Strategy => each(&[0, 1, 2], Some(id)),
            _ => each(&[0, 1, 2], None),
        }
    }
}

/// One step: what to do, and the numbers to do it with.
type Step = (u8, u16, u16, u16, bool, i64, i64, bool, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..10, 0u16..3, 0u16..2, 0u16..2, any::<bool>(), 985i64..1_015, 1i64..16, any::<bool>(), 0usize..64);
    prop::collection::vec(step, 1..120)
}

struct Run {
    gate: RiskGate,
    oracle: Oracle,
    next: u64,
}

impl Run {
    fn order(&mut self, step: &Step) -> OrderRequest {
        let (_, account, strategy, instrument, sell, price, qty, reduce, _) = *step;
        self.next += 1;
        OrderRequest {
            request_id: self.next,
            client_id: self.next,
            price: Price::from_raw(price),
            qty: Qty::from_raw(qty),
            account,
            strategy,
            instrument: InstrumentId(instrument),
            venue: Venue::BinanceUsdm as u8,
            side: u8::from(sell),
            flags: if reduce { FLAG_REDUCE_ONLY } else { 0 },
            ..OrderRequest::zeroed()
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let known = self.oracle.open.values().nth(step.8 % self.oracle.open.len().max(1)).copied();
        match (step.0, known) {
            (5, Some(known)) => self.end(&known),
            (6 | 7, Some(known)) => self.fill(&known, step.6.min(known.remaining())),
            (8, Some(known)) if known.pending.is_none() => self.replace(&known, step.5, step.6)?,
            (9, Some(known)) if known.pending.is_some() => self.settle(&known, step.7),
            _ => {
                let request = self.order(step);
                if self.gate.check(&request, &VIEW).is_accepted() {
                    self.oracle.open.insert(request.client_id, Known { request, filled: 0, pending: None });
                    self.caps(&request)?;
                }
            }
        }
        for (scope, ids) in [(LimitScope::Firm, 0..1), (LimitScope::Account, 0..3), (LimitScope::Strategy, 0..2)] {
            for id in ids {
                let ours = self.gate.totals(scope, id).expect("known").exposure;
                prop_assert_eq!(ours, self.oracle.exposure(scope, id), "{:?} {}", scope, id);
            }
        }
        prop_assert!(!self.gate.kill_switch().is_any_thrown());
        Ok(())
    }

    /// After an order was let through nothing that it belongs to is beyond a cap.
    fn caps(&self, request: &OrderRequest) -> Result<(), TestCaseError> {
        for (scope, cap) in CAPS {
            let id = match scope {
                LimitScope::Account => request.account,
                LimitScope::Strategy => request.strategy,
                _ => 0,
            };
            let exposure = self.oracle.exposure(scope, id);
            prop_assert!(exposure <= cap, "{:?} {}: {} > {}", scope, id, exposure, cap);
        }
        let (_, long, short) = self.oracle.cell(request.account, None, request.instrument.0);
        prop_assert!(long.max(short) <= LONGEST, "{} long, {} short", long, short);
        Ok(())
    }

    fn end(&mut self, known: &Known) {
        self.oracle.open.remove(&known.request.client_id);
        let cancel = OrderRequest { kind: RequestKind::Cancel as u8, ..known.request };
        assert!(self.gate.check(&cancel, &VIEW).is_accepted(), "a cancel always passes");
        self.gate.on_cancelled(known.request.account, known.request.client_id);
    }

    fn fill(&mut self, known: &Known, qty: i64) {
        let OrderRequest { account, strategy, instrument, side, client_id, price, .. } = known.request;
        let report = Execution {
            client_id,
            price,
            qty: Qty::from_raw(qty),
            account,
            strategy,
            instrument,
            side,
            ..Execution::zeroed()
        };
        self.gate.on_fill(&report).expect("a good report");
        let signed = if side == Side::Buy as u8 { qty } else { -qty };
        *self.oracle.positions.entry((account, strategy, instrument.0)).or_default() += signed;
        let left = self.oracle.open.get_mut(&client_id).expect("open");
        left.filled += qty;
        if left.remaining() == 0 {
            self.oracle.open.remove(&client_id);
        }
    }

    fn replace(&mut self, known: &Known, price: i64, qty: i64) -> Result<(), TestCaseError> {
        let total = known.filled + qty;
        let terms = (Price::from_raw(price), Qty::from_raw(total));
        let request = OrderRequest { kind: RequestKind::Replace as u8, price: terms.0, qty: terms.1, ..known.request };
        if self.gate.check(&request, &VIEW).is_accepted() {
            let open = self.oracle.open.get_mut(&known.request.client_id).expect("open");
            open.pending = Some((price, total));
            self.caps(&request)?;
        }
        Ok(())
    }

    fn settle(&mut self, known: &Known, confirmed: bool) {
        let OrderRequest { account, client_id, .. } = known.request;
        let open = self.oracle.open.get_mut(&client_id).expect("open");
        let pending = open.pending.take().expect("on its way");
        if confirmed {
            (open.request.price, open.request.qty) = (Price::from_raw(pending.0), Qty::from_raw(pending.1));
            self.gate.on_replaced(account, client_id);
        } else {
            self.gate.on_replace_rejected(account, client_id);
        }
        if open.remaining() <= 0 {
            self.oracle.open.remove(&client_id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Against an oracle that sums everything anew: every exposure agrees after every step, and no order that was let
    /// through leaves an account, a strategy or the firm beyond its cap, whatever executes, ends or is replaced when.
    #[test]
    fn no_accepted_set_passes_a_cap(steps in steps()) {
        let mut run = Run { gate: gate(LIMITS), oracle: Oracle::default(), next: 0 };
        for step in &steps {
            run.step(step)?;
        }
    }

    /// Against a venue that matches by price and time and prevents nothing itself: no execution has one owner on both
    /// sides unless the taker's mode is NONE, and what `DECREMENT` and `TRANSFER` take from the taker they take from
    /// resting orders, no more and no less.
    #[test]
    fn nobody_trades_with_itself(
        orders in prop::collection::vec((0u16..3, any::<bool>(), 995i64..1_005, 1i64..10, 0u8..6, any::<bool>()), 1..80)
    ) {
        let wide = LIMITS.replace(WIDE, "max_order_value = 1000\nmax_gross_exposure = 1000000\n");
        let wide = wide.replace("limits = { max_gross_exposure = 5 }\n", "").replace("max_gross_exposure = 3\n", "");
        let wide = wide.replace("0.030", "1000");
        let mut exchange = Exchange::new(gate(&wide));
        for (number, (account, sell, price, qty, mode, other)) in orders.into_iter().enumerate() {
            let request = OrderRequest {
                client_id: number as u64 + 1,
                price: Price::from_raw(price),
                qty: Qty::from_raw(qty),
                account,
                strategy: u16::from(other),
                venue: Venue::BinanceUsdm as u8,
                side: u8::from(sell),
                self_trade: mode,
                ..OrderRequest::zeroed()
            };
            let before = exchange.resting();
            let verdict = exchange.gate.check(&request, &VIEW);
            let actions = exchange.gate.self_trade_actions().to_vec();
            let taken: i64 = actions.iter().map(|action| action.qty.raw()).sum();
            exchange.carry_out(&actions);
            let mode = SelfTradeMode::from_repr(mode).expect("a mode");
            if matches!(mode, SelfTradeMode::Decrement | SelfTradeMode::Transfer) {
                let moved: i64 =
                    actions.iter().filter(|a| a.kind == SelfTradeKind::Transfer).map(|a| a.qty.raw()).sum();
                let sent = if verdict.is_accepted() { verdict.allowed_qty.raw() } else { 0 };
                prop_assert_eq!(sent + taken, qty, "conserved for the taker");
                prop_assert_eq!(before - exchange.resting(), taken, "conserved for the resting orders");
                prop_assert!(moved <= taken);
            }
            if verdict.is_accepted() {
                for (maker, taker) in exchange.send(&request, verdict.allowed_qty.raw()) {
                    let same = maker == taker || maker < 2 && taker < 2;
                    prop_assert!(!same || mode == SelfTradeMode::None, "{:?}: {} met {}", mode, taker, maker);
                }
            } else {
                prop_assert_eq!(rules::rule_name(verdict.rule), "self_trade");
            }
            exchange.agrees()?;
        }
    }

    /// Any bytes at all, and bytes with owners that exist: a verdict, never a panic, and numbers that never wrap.
    #[test]
    fn no_bytes_panic(
        requests in prop::collection::vec((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<bool>(), any::<i64>()), 1..60)
    ) {
        let mut gate = gate(LIMITS);
        for (first, second, tame, at_ns) in requests {
            let bytes: Vec<u8> = first.into_iter().chain(second).collect();
            let mut request: OrderRequest = bytemuck::pod_read_unaligned(&bytes);
            let mut report: Execution = bytemuck::pod_read_unaligned(&bytes);
            if tame {
                (request.account, request.strategy, request.instrument) = (request.account % 3, 1, InstrumentId(0));
                (request.venue, request.kind, request.side) = (1, request.kind % 3, request.side % 2);
                (request.order_type, request.time_in_force) = (request.order_type % 3, 0);
                (request.self_trade, request.flags, request.reserved) = (request.self_trade % 6, 0, [0; 3]);
                (report.account, report.strategy, report.instrument) = (report.account % 3, 1, InstrumentId(0));
                report.side %= 2;
            }
            let price = Price::from_raw(request.price.raw().wrapping_mul(3));
            let view = MarketView { reference: Reference { price, at_ns, ..VIEW.reference }, ..VIEW };
            let verdict = gate.check(&request, &view);
            prop_assert!(verdict.is_accepted() || usize::from(verdict.rule) < rules::RULES.len());
            let _ = gate.on_fill(&report);
            gate.on_mark(request.instrument, request.price, at_ns);
            gate.on_replaced(request.account, request.client_id);
            gate.on_cancelled(report.account, report.client_id);
            gate.tick(at_ns);
        }
        let _ = gate.kill(LimitScope::Firm, 0, KillCause::Operator, PersonId::NONE, 0);
    }
}
