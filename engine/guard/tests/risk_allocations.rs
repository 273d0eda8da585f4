//! After it is made the gate allocates nothing: orders, refusals, replacements, reports, kills.

#[path = "../../feed/tests/common/counting.rs"]
mod counting;

use bytemuck::Zeroable;
use tidegate_guard::risk::{MarketView, Permits, PersonId, Reference, ReferenceKind, RiskGate, RiskLimits};
use tidegate_wire::event::BookQuality;
use tidegate_wire::order::{Execution, KillCause, LimitScope, OrderRequest, RequestKind, SelfTradeMode};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

const LIMITS: &str = r#"
capacity = 256
[firm]
max_order_value = 10
max_gross_exposure = 200
messages = { count = 1000, window_ms = 1000 }
[accounts.a]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
[strategies.s]
orders = { count = 300, window_ms = 1000 }
cancels = { count = 3, window_ms = 1000 }
executions = { count = 10000, window_ms = 1 }
"#;

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut registry = Registry::new();
    let instrument = Instrument::linear(Venue::BinanceUsdm, "AUSDT", 1, 3);
    registry.add(instrument).expect("a good instrument");
    let limits = RiskLimits::from_toml(LIMITS).expect("good limits");
    let mut gate = RiskGate::new(&registry, &["s"], &limits).expect("known names");
    let reference = Reference { price: Price::from_raw(1_000), at_ns: 0, kind: ReferenceKind::Mid };
    let mut view = MarketView { reference, quality: BookQuality::Good, permits: Permits::ALL };
    let (mut accepted, mut refused, mut actions, mut alerts) = (0u64, 0u64, 0usize, 0u64);
    let before = counting::calls();
    for n in 0..50_000u64 {
        let now = n as i64 * 3_000_000;
        view.reference.at_ns = now;
        view.reference.price = Price::from_raw(1_000 + (n % 7) as i64);
        let order = OrderRequest {
            request_id: n,
            client_id: n,
            event_ns: now,
            price: Price::from_raw(995 + (n % 13) as i64),
            // Now and then one that is too large.
            qty: Qty::from_raw(1 + (n % 101) as i64),
            venue: Venue::BinanceUsdm as u8,
            side: (n / 3 % 2) as u8,
            self_trade: (n % 6) as u8,
            ..OrderRequest::zeroed()
        };
        let verdict = gate.check(&order, &view);
        actions += gate.self_trade_actions().len();
        for index in 0..gate.self_trade_actions().len() {
            let action = gate.self_trade_actions()[index];
            gate.on_prevented(&action);
        }
        (accepted, refused) =
            (accepted + u64::from(verdict.is_accepted()), refused + u64::from(!verdict.is_accepted()));
        if verdict.is_accepted() && n % 3 == 0 {
            let replaced = OrderRequest { kind: RequestKind::Replace as u8, qty: Qty::from_raw(3), ..order };
            gate.check(&replaced, &view);
            gate.on_replaced(0, n);
        }
        let report = Execution { client_id: n, price: order.price, qty: Qty::from_raw(1), ..Execution::zeroed() };
        if verdict.is_accepted() || n % 100 == 0 {
            gate.on_fill(&Execution { side: order.side, event_ns: now, ..report }).expect("a good report");
        }
        gate.check(&OrderRequest { kind: RequestKind::Cancel as u8, ..order }, &view);
        gate.on_cancelled(0, n.wrapping_sub(5));
        gate.on_mark(InstrumentId(0), view.reference.price, now);
        gate.tick(now);
        alerts += u64::from(gate.take_alert().is_some());
    }
    let thrown = gate.kill(LimitScope::Firm, 0, KillCause::Signal, PersonId::NONE, 0);
    assert_eq!(counting::calls() - before, 0, "calls of the allocator");
    assert_eq!(thrown, Ok(true));
    assert!(accepted > 1_000 && refused > 1_000 && actions > 100 && alerts > 1_000, "{accepted} {refused} {actions}");
    assert_eq!(SelfTradeMode::from_repr(5), Some(SelfTradeMode::Transfer));
}
