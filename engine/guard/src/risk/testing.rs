//! What the tests of this module share: a small desk with wide limits.

pub(crate) use tidegate_wire::event::BookQuality;
pub(crate) use tidegate_wire::order::{
    AlertKind, Execution, FLAG_REDUCE_ONLY, KillCause, LimitScope, OrderRequest, OrderType, RequestKind, Side,
    TimeInForce, Verdict,
};
pub(crate) use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use bytemuck::Zeroable;

pub(crate) use super::rules::{rule_index, rule_name};
pub(crate) use super::*;

/// A millisecond, ns.
pub(crate) const MS: i64 = 1_000_000;
/// 10,000.0.
pub(crate) const PRICE: i64 = 100_000;
/// 0.5.
pub(crate) const TICK: i64 = 5;
/// 0.005.
pub(crate) const LOT: i64 = 5;
/// The instrument that tests trade.
pub(crate) const BTC: &str = "BTCUSDT.binance-usdm";

/// Two instruments on two venues: 0 and 1 on USD-M, 2 and 3 on spot.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    for venue in [Venue::BinanceUsdm, Venue::BinanceSpot] {
        for symbol in ["BTCUSDT", "ETHUSDT"] {
            let instrument = Instrument::linear(venue, symbol, 1, 3);
            let (tick, lot) = (Price::from_raw(TICK), Qty::from_raw(LOT));
            registry.add(Instrument { tick, lot, ..instrument }).expect("a good instrument");
        }
    }
    registry
}

/// Accounts are numbered by name: `main` 0, `other` 1, `third` 2.
const BASE: &str = r#"
[firm]
max_order_value = 1000000000
max_gross_exposure = 1000000000
messages = { count = 10000, window_ms = 1 }
[people]
ada = ["designated"]
bob = ["risk"]
cyd = ["operator"]
[accounts.other]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
trade_group = 7
[accounts.main]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
trade_group = 7
[accounts.third]
strategies = ["grid"]
instruments = ["ETHUSDT.binance-usdm", "ETHUSDT.binance-spot"]
venues = ["binance-usdm"]
"#;

/// `key = value` as a section for the instrument.
pub(crate) fn instrument(line: &str) -> String {
    format!("[instruments.\"{BTC}\"]\n{line}\n")
}

/// A limit in every scope, with the section that sets it.
pub(crate) fn scopes(line: &str) -> [(LimitScope, String); 5] {
    [
        (LimitScope::Instrument, format!("[instruments.\"{BTC}\".limits]\n{line}\n")),
        (LimitScope::Strategy, format!("[strategies.carry]\n{line}\n")),
        (LimitScope::Account, format!("[accounts.main.limits]\n{line}\n")),
        (LimitScope::Venue, format!("[venues.binance-usdm]\n{line}\n")),
        (LimitScope::Firm, format!("[firm]\n{line}\n")),
    ]
}

/// TOML over the base: tables are merged key by key.
pub(crate) fn limits(top: &str, extra: &str) -> RiskLimits {
    fn merge(into: &mut toml::Table, from: toml::Table) {
        for (key, value) in from {
            match (into.get_mut(&key), value) {
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
                (_, value) => drop(into.insert(key, value)),
            }
        }
    }
    let mut table: toml::Table = BASE.parse().expect("the base is TOML");
    merge(&mut table, format!("{top}{extra}").parse().expect(extra));
    let text = toml::to_string(&table).expect("a table is TOML");
    RiskLimits::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A gate with a market and a clock.
pub(crate) struct Desk {
    pub(crate) gate: RiskGate,
    pub(crate) view: MarketView,
    pub(crate) now: i64,
    numbered: u64,
}

/// A reference price at time zero.
pub(crate) fn reference(price: i64) -> Reference {
    Reference { price: Price::from_raw(price), at_ns: 0, kind: ReferenceKind::Mid }
}

impl Desk {
    pub(crate) fn new(extra: &str) -> Self {
        Self::with("", extra)
    }

    pub(crate) fn with(top: &str, extra: &str) -> Self {
        // Tests place the same order again and again unless they are about that.
        let quiet = if extra.contains("[duplicates]") { "" } else { "[duplicates]\ncontent_ms = 0\n" };
        let limits = limits(top, &format!("{extra}{quiet}"));
        let gate = RiskGate::new(&registry(), &["carry", "grid"], &limits).expect("good limits");
        let now = 1_700_000_000_000 * MS;
        let reference = Reference { at_ns: now, ..reference(PRICE) };
        let view = MarketView { reference, quality: BookQuality::Good, permits: Permits::ALL };
        Self { gate, view, now, numbered: 0 }
    }

    pub(crate) fn buy(&mut self, price: i64, qty: i64) -> OrderRequest {
        self.numbered += 1;
        OrderRequest {
            request_id: self.numbered,
            client_id: self.numbered,
            event_ns: self.now,
            price: Price::from_raw(price),
            qty: Qty::from_raw(qty),
            account: MAIN,
            instrument: InstrumentId(0),
            venue: Venue::BinanceUsdm as u8,
            ..OrderRequest::zeroed()
        }
    }

    pub(crate) fn buy_at(&mut self, at: i64, price: i64, qty: i64) -> OrderRequest {
        OrderRequest { event_ns: at, ..self.buy(price, qty) }
    }

    pub(crate) fn sell(&mut self, price: i64, qty: i64) -> OrderRequest {
        OrderRequest { side: Side::Sell as u8, ..self.buy(price, qty) }
    }

    pub(crate) fn send(&mut self, request: &OrderRequest) -> Verdict {
        let verdict = self.gate.check(request, &self.view);
        assert_eq!((verdict.request_id, verdict.client_id), (request.request_id, request.client_id));
        verdict
    }

    #[track_caller]
    pub(crate) fn accepts(&mut self, request: &OrderRequest) -> Verdict {
        let verdict = self.send(request);
        assert!(verdict.is_accepted(), "{} {verdict:?}", rule_of(&verdict));
        verdict
    }

    #[track_caller]
    pub(crate) fn refuses(&mut self, request: &OrderRequest, rule: &str, measured: i64, limit: i64) -> Verdict {
        let verdict = self.send(request);
        assert!(!verdict.is_accepted(), "accepted, expected a refusal by {rule}");
        assert_eq!((rule_of(&verdict), verdict.measured, verdict.limit), (rule, measured, limit));
        verdict
    }

    pub(crate) fn fill(&mut self, order: &OrderRequest, price: i64, qty: i64) {
        self.gate.on_fill(&execution(order, self.now, price, qty)).expect("a good execution");
    }

    /// The reference price, now.
    pub(crate) fn move_to(&mut self, price: i64) {
        self.view.reference = Reference { at_ns: self.now, ..reference(price) };
    }

    pub(crate) fn mark(&mut self, price: i64) {
        self.gate.on_mark(InstrumentId(0), Price::from_raw(price), self.now);
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys { designated: PersonId(0), risk: Some(PersonId(1)) }
    }

    pub(crate) fn overrides(&mut self, order: &OrderRequest, rule: &str) {
        let rule = rule_index(rule).expect("a rule");
        let granted =
            Override { account: order.account, client_id: order.client_id, rule, expires_ns: self.now + 1_000 * MS };
        self.gate.grant(granted, self.keys(), "a client insists", self.now).expect("two keys");
    }
}

/// Name of the rule that refused.
pub(crate) fn rule_of(verdict: &Verdict) -> &'static str {
    rule_name(verdict.rule)
}

pub(crate) fn cancel(order: &OrderRequest) -> OrderRequest {
    OrderRequest { kind: RequestKind::Cancel as u8, ..*order }
}

pub(crate) fn replace(order: &OrderRequest, price: i64, qty: i64) -> OrderRequest {
    let (price, qty) = (Price::from_raw(price), Qty::from_raw(qty));
    OrderRequest { kind: RequestKind::Replace as u8, price, qty, ..*order }
}

pub(crate) fn reduce_only(order: OrderRequest) -> OrderRequest {
    OrderRequest { flags: FLAG_REDUCE_ONLY, ..order }
}

pub(crate) fn execution(order: &OrderRequest, event_ns: i64, price: i64, qty: i64) -> Execution {
    Execution {
        client_id: order.client_id,
        event_ns,
        price: Price::from_raw(price),
        qty: Qty::from_raw(qty),
        account: order.account,
        strategy: order.strategy,
        instrument: order.instrument,
        side: order.side,
        ..Execution::zeroed()
    }
}

/// Number of the account that tests trade on.
pub(crate) const MAIN: u16 = 0;
