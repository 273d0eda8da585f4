//! A worked example: somebody else's program that takes Tidegate's parts as crates.
//!
//! It has a market of its own (here a minute that falls by 8 %) and an idea of its own (buy every five seconds). From
//! Tidegate it takes four things, each of which it could take alone:
//!
//! | part | crate | what it is asked |
//! |---|---|---|
//! | circuit breakers | `tidegate_guard::GuardStage` | may this instrument be traded now? |
//! | pre-trade risk | `tidegate_guard::risk::RiskGate` | may this order be sent? |
//! | balance ledger | `tidegate_guard::ledger::Ledger` | is there money for it, and is it set aside? |
//! | audit log | `tidegate_record` | what happened, provably? |
//!
//! The order of things is the point: money is reserved before the gate is asked, the gate's verdict and every movement
//! of money are handed to the log before their effect is seen outside, and what is refused gives its reservation back.
//! A desk that must not act before an entry is durable waits for the log's checkpoint; this one does not.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytemuck::Zeroable;
use serde_json::json;
use tidegate_guard::ledger::{Account, Command, Ledger, credit};
use tidegate_guard::profile::{Escalation, Profile};
use tidegate_guard::risk::{MarketView, Permits, Reference, ReferenceKind, RiskGate, RiskLimits, rules};
use tidegate_guard::{GuardStage, Strategy};
use tidegate_market::features::schema as f;
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Log, verify};
use tidegate_record::note::Signer;
use tidegate_record::service::{Overload, Recorder, Service, Settings};
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::decision::{Decision, DecisionSink};
use tidegate_wire::event::{BookQuality, Header};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::instrument::Contract;
use tidegate_wire::ledger::Name;
use tidegate_wire::order::{Execution, FLAG_REDUCE_ONLY, OrderRequest, OrderType, Side, TimeInForce, Verdict};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, RecordKind, Registry, Scale, Venue};

/// Limits as an operator would write them in a file.
const LIMITS: &str = r#"
[firm]
max_order_value = 6000
max_gross_exposure = 50000
messages = { count = 20, window_ms = 1000 }
[accounts.house]
strategies = ["dip"]
instruments = ["BTCUSDT.okx"]
venues = ["okx"]
limits = { leverage = 1 }
"#;

/// Decimals of prices, quantities and of the ledger's USDT.
const SCALES: [u8; 3] = [1, 3, 6];
const SECOND: i64 = 1_000_000_000;

/// What came of the minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Orders that were sent.
    pub sent: u32,
    /// Orders that were refused, by rule.
    pub refused: Vec<&'static str>,
    /// Transitions of breakers.
    pub decisions: u64,
    /// Entries of the audit log.
    pub entries: u64,
    /// Balance at the end, millionths of USDT.
    pub balance: u128,
}

/// Hands what the breakers decide to the audit log.
struct Decisions(Recorder);

impl DecisionSink for Decisions {
    fn decision(&mut self, decision: &Decision) {
        // A log that cannot be written makes the recorder fail for good; the desk asks it before every order.
        let _ = self.0.record(&Entry::new(Kind::Decision, decision.event_ns, bytemuck::bytes_of(decision)));
    }

    fn adjustment(&mut self, adjustment: &Adjustment) {
        let _ = self.0.record(&Entry::new(Kind::Adjustment, adjustment.event_ns, bytemuck::bytes_of(adjustment)));
    }

    fn operated(&mut self, operated: &Operated) {
        let _ = self.0.record(&Entry::new(Kind::Operated, operated.event_ns, bytemuck::bytes_of(operated)));
    }
}

/// The program: everything it owns.
struct Desk {
    guard: GuardStage<Decisions>,
    gate: RiskGate,
    ledger: Ledger,
    log: Recorder,
    account: Account,
    instrument: InstrumentId,
    now: i64,
    numbered: u64,
    outcome: Outcome,
    /// Positions: the ledger's id, quantity, price, all as mantissas.
    held: Vec<(u64, i64, i64)>,
}

impl Desk {
    fn new(log: Recorder) -> Result<Self> {
        let mut registry = Registry::new();
        let instrument = registry.add(Instrument {
            venue: Venue::Okx,
            symbol: "BTCUSDT".into(),
            price_scale: Scale::saturating(SCALES[0]),
            qty_scale: Scale::saturating(SCALES[1]),
            tick: Price::from_raw(1),
            lot: Qty::from_raw(1),
            contract: Contract::Linear,
        })?;
        let strategies = [Strategy { name: "dip".into(), instruments: vec![instrument] }];
        let profiles = Venue::ALL.map(Profile::builtin);
        let sink = Decisions(log.clone());
        let guard = GuardStage::new(&registry, profiles, Escalation::default(), &strategies, sink)?;
        let gate = RiskGate::new(&registry, &["dip"], &RiskLimits::from_toml(LIMITS)?)?;
        let name = |text: &str| Name::new(text).context("a short name");
        let account = Account { owner: name("house")?, asset: name("USDT")? };
        let (ledger, outcome) = (Ledger::default(), Outcome::default());
        let (now, numbered, held) = (1_700_000_000 * SECOND, 0, Vec::new());
        Ok(Self { guard, gate, ledger, log, account, instrument, now, numbered, outcome, held })
    }

    /// Moves money, and says so before anybody sees it.
    fn money(&mut self, key: u128, command: Command) -> Result<u64> {
        let outcome = self.ledger.apply(key, &command, self.now as u64)?;
        let record = self.ledger.record(key, &command);
        let body = json!({
            "kind": outcome.kind.name(),
            "id": outcome.id,
            "amount": outcome.amount.to_string(),
            "state": format!("{:016x}", record.state),
        });
        self.log.tell(Kind::Ledger, self.now, &body)?;
        // What can be lost backs orders: the gate hears of it at once.
        let total = self.ledger.balances(&self.account).map_or(0, |balances| balances.total());
        let funds = credit(total, Scale::saturating(SCALES[2])).context("a balance that fits")?;
        self.gate.on_funds(0, funds)?;
        Ok(outcome.id)
    }

    /// A second of the market: what breakers look at.
    fn market(&mut self, mid: i64, range: f64) {
        let mut body = FeatureBody { quality: BookQuality::Good as u64, ..FeatureBody::EMPTY };
        body.set(f::MID, Some(mid as f64 / Scale::saturating(SCALES[0]).units() as f64));
        body.set(f::RANGE_60S, Some(range));
        let header = Header { event_ns: self.now, ..Header::new(RecordKind::Features, self.instrument) };
        self.guard.features(&header, &body);
        self.gate.on_mark(self.instrument, Price::from_raw(mid), self.now);
    }

    /// Wants to buy: reserve, ask, send, or give back.
    fn buy(&mut self, mid: i64, qty: i64) -> Result<()> {
        self.numbered += 1;
        let key = self.numbered;
        // Millionths: mantissas of price and quantity have four decimals together.
        let cost = u128::try_from(mid * qty)? * 100;
        let symbol = Name::new("BTCUSDT").context("a short name")?;
        let reserve =
            Command::Reserve { account: self.account, amount: cost, symbol, ttl_ns: 30 * SECOND as u64, wall_ns: 0 };
        let id = match self.money(key.into(), reserve) {
            Ok(id) => id,
            Err(refusal) => {
                self.log.tell(Kind::Ledger, self.now, &json!({ "refused": refusal.to_string() }))?;
                self.outcome.refused.push("ledger");
                return Ok(());
            }
        };
        let request = self.order(mid, qty);
        let verdict = self.gate.check(&request, &self.view(mid));
        self.log.record(&Entry::new(Kind::Order, self.now, bytemuck::bytes_of(&request)))?;
        self.log.record(&Entry::new(Kind::Verdict, self.now, bytemuck::bytes_of(&verdict)))?;
        if !verdict.is_accepted() {
            self.outcome.refused.push(rules::rule_name(verdict.rule));
            self.money(u128::from(key) | 1 << 64, Command::Void { id })?;
            return Ok(());
        }
        self.outcome.sent += 1;
        self.executed(&request, &verdict)?;
        self.money(u128::from(key) | 2 << 64, Command::Post { id, amount: 0 })?;
        self.held.push((id, qty, mid));
        Ok(())
    }

    /// An order to buy, numbered as the last one.
    fn order(&self, price: i64, qty: i64) -> OrderRequest {
        OrderRequest {
            request_id: self.numbered,
            client_id: self.numbered,
            event_ns: self.now,
            price: Price::from_raw(price),
            qty: Qty::from_raw(qty),
            instrument: self.instrument,
            venue: Venue::Okx as u8,
            side: Side::Buy as u8,
            order_type: OrderType::Limit as u8,
            time_in_force: TimeInForce::ImmediateOrCancel as u8,
            ..OrderRequest::zeroed()
        }
    }

    /// Here a venue's answer would come; this one executes at once and whole.
    fn executed(&mut self, request: &OrderRequest, verdict: &Verdict) -> Result<()> {
        let execution = Execution {
            client_id: request.client_id,
            event_ns: self.now,
            trade_id: request.request_id,
            price: request.price,
            qty: verdict.allowed_qty,
            instrument: request.instrument,
            side: request.side,
            ..Execution::zeroed()
        };
        self.log.record(&Entry::new(Kind::Execution, self.now, bytemuck::bytes_of(&execution)))?;
        self.gate.on_fill(&execution)?;
        Ok(())
    }

    /// The market as an order meets it. Whoever cannot record takes no new risk.
    fn view(&self, mid: i64) -> MarketView {
        let reference = Reference { price: Price::from_raw(mid), at_ns: self.now, kind: ReferenceKind::Mid };
        let permits = Permits {
            instrument: self.guard.permits(self.instrument),
            strategy: self.guard.permits_strategy(0),
            engine: !self.log.is_pressed(),
            ..Permits::ALL
        };
        MarketView { reference, quality: BookQuality::Good, permits }
    }

    /// Closes every position at a price: orders like any other, that may only make positions smaller.
    fn close(&mut self, mid: i64) -> Result<()> {
        for (id, qty, price) in std::mem::take(&mut self.held) {
            self.now += SECOND;
            self.numbered += 1;
            let request = OrderRequest { side: Side::Sell as u8, flags: FLAG_REDUCE_ONLY, ..self.order(mid, qty) };
            let verdict = self.gate.check(&request, &MarketView { permits: Permits::ALL, ..self.view(mid) });
            self.log.record(&Entry::new(Kind::Order, self.now, bytemuck::bytes_of(&request)))?;
            self.log.record(&Entry::new(Kind::Verdict, self.now, bytemuck::bytes_of(&verdict)))?;
            ensure!(verdict.is_accepted(), "a reduction was refused by {}", rules::rule_name(verdict.rule));
            self.executed(&request, &verdict)?;
            let gain = i128::from((mid - price) * qty) * 100;
            self.money(u128::from(id) | 3 << 64, Command::Close { id, gain })?;
        }
        Ok(())
    }

    /// What the gate wants somebody to know; here they only become entries.
    fn alerts(&mut self) -> Result<()> {
        while let Some(alert) = self.gate.take_alert() {
            let body = json!({ "alert": alert.kind, "rule": alert.rule, "measured": alert.measured });
            self.log.tell(Kind::Risk, alert.event_ns, &body)?;
        }
        Ok(())
    }
}

/// Runs the minute, with the audit log in a new folder of `directory`, and checks the log afterwards.
///
/// # Errors
/// Whatever refuses: the disk, the ledger, a log that is not whole.
pub fn run(directory: &Path) -> Result<Outcome> {
    let folder = directory.join("audit");
    let signer = Signer::generate("example.org/desk")?;
    let (log, _) = Log::open(&folder, signer, tidegate_record::log::Settings::default())?;
    let service = Service::start(log, Settings { overload: Overload::Hold, ..Settings::default() })?;
    let mut desk = Desk::new(service.recorder())?;
    desk.log.tell(Kind::Session, desk.now, &json!({ "program": "embedding", "version": env!("CARGO_PKG_VERSION") }))?;
    let account = desk.account;
    desk.money(1 << 96, Command::Deposit { account, amount: 20_000_000_000 })?;
    let mut highest = 0;
    for second in 0..60 {
        desk.now += SECOND;
        // Steady at 42,000 for half a minute, then 8 % down in ten seconds.
        let fall = (second - 30).clamp(0, 10) * 336;
        let mid = 420_000 - fall * 10;
        highest = highest.max(mid);
        desk.market(mid, highest as f64 / mid as f64 - 1.0);
        if second % 5 == 0 {
            // Once it wants more than it has.
            desk.buy(mid, if second == 20 { 500 } else { 40 })?;
        }
    }
    desk.close(386_400)?;
    desk.alerts()?;
    desk.outcome.decisions = desk.guard.counters().decisions;
    desk.outcome.balance = desk.ledger.balances(&account).map_or(0, |balances| balances.total());
    desk.ledger.check().map_err(anyhow::Error::msg)?;
    let written = service.finish()?;
    desk.outcome.entries = written.entries;
    let report = verify(&folder, &[], 1, &|_, _| {})?;
    ensure!(report.findings.is_empty(), "the log is not whole: {:?}", report.findings);
    ensure!(report.size == written.entries, "the log has {} entries, {} were written", report.size, written.entries);
    Ok(desk.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_stops_what_the_limits_would_let_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let outcome = run(folder.path()).expect("it runs");
        assert!(outcome.sent >= 3, "{outcome:?}");
        assert!(outcome.refused.contains(&"market_state"), "the breaker was open: {outcome:?}");
        assert!(outcome.refused.contains(&"ledger"), "the buffer held: {outcome:?}");
        assert!(outcome.decisions > 0 && outcome.balance < 20_000_000_000, "{outcome:?}");
    }
}
