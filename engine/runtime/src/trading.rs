//! Trading on paper: the trade desk of a run, its records and what they come to.
//!
//! The clerk of signals ([`crate::signals`]) runs it, in event order: it sees the best levels and trades of the coins'
//! instruments, and each signal as it acts.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use tidegate_guard::ledger::Balances;
use tidegate_guard::risk::RiskLimits;
use tidegate_trade::desk::{Ending, Position};
use tidegate_trade::desk::{TradeCounters, TradeDesk, TradeLog, Trading};
use tidegate_wire::decimal::Fixed;
use tidegate_wire::event::{Header, Trade};
use tidegate_wire::order::{Execution, MONEY_DECIMALS, OrderRequest, Verdict};
use tidegate_wire::signal::SignalBody;
use tidegate_wire::top::TopBody;
use tidegate_wire::{Instrument, InstrumentId, Registry, Scale};

use crate::audit::Trail;
use crate::scribe::OutputError;
use crate::signals::SignalsError;
use crate::signals::book::Lines;

/// Name of the positions' file, below the output directory.
pub const PAPER_POSITIONS: &str = "data/paper_positions.json";
/// Account and strategy of paper orders in records: numbers that no risk desk gives.
pub(crate) const PAPER: u16 = u16::MAX;

/// What a plan says of trading.
#[derive(Clone, Debug, PartialEq)]
pub struct TradingPlan {
    /// Settings.
    pub settings: Trading,
    /// Limits instead of the desk's own.
    pub limits: Option<RiskLimits>,
}

/// Positions of one confidence bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PositionBucket {
    /// Closed positions.
    pub count: u64,
    /// Of these, with a profit.
    pub won: u64,
    /// What they brought, quote units.
    pub profit: f64,
}

/// What trading came to. Money is in quote units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TradingReport {
    /// What the desk counted; money in millionths.
    pub counters: TradeCounters,
    /// What the account began with.
    pub balance_before: f64,
    /// What it has at the end, margins of open positions included.
    pub balance_after: f64,
    /// Margins of open positions.
    pub locked: f64,
    /// Positions that were open when the data ended.
    pub left_open: usize,
    /// What does not add up; nothing does when balances are conserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unbalanced: Option<String>,
    /// Closed positions by stated confidence, from the tenth that the key names on.
    pub by_confidence: BTreeMap<String, PositionBucket>,
    /// Hash of balances and fills.
    pub digest: String,
}

/// Writes what the desk does: audit log, file, sums.
struct Records {
    trail: Option<Trail>,
    file: Option<Lines>,
    instruments: Vec<Instrument>,
    coins: Vec<String>,
    buckets: BTreeMap<String, PositionBucket>,
    /// Client ids of orders by the signal whose position they are for, while that has not ended.
    orders: BTreeMap<u64, Vec<u64>>,
    /// The positions that ended last.
    ended: VecDeque<Value>,
}

fn money(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

fn pot(millionths: u128) -> f64 {
    millionths as f64 / 1e6
}

impl Records {
    /// Writes what waits: who looks at the file sees what has happened.
    fn flush(&mut self) {
        self.file.iter_mut().for_each(Lines::flush);
    }

    /// A position as people and programs read it. Amounts of money and quantities are exact decimals as text.
    fn line(&self, now_ns: i64, position: &Position, settled: (i64, i64), balances: &Balances) -> Value {
        let instrument = self.instruments.get(position.instrument.index());
        let exact = |millionths: i64| Fixed::new(millionths, Scale::saturating(MONEY_DECIMALS)).to_string();
        let qty = |raw: i64| instrument.map(|instrument| Fixed::new(raw, instrument.qty_scale).to_string());
        let opened = position.entry.qty > 0;
        let orders = self.orders.get(&position.signal).map_or(&[] as &[u64], Vec::as_slice);
        let closes: Vec<u64> = orders.iter().copied().filter(|id| *id != position.entry_id).collect();
        json!({
            "event_ns": now_ns,
            "signal": position.signal,
            "signal_ns": position.signal_ns,
            "timer_end_ns": position.end_ns,
            "symbol": self.coins.get(usize::from(position.coin)),
            "instrument": instrument.map(Instrument::name),
            "side": position.side.name(),
            "ending": position.ending.name(),
            "refusal": (!position.refusal.is_empty()).then_some(position.refusal),
            "confidence": position.confidence,
            "leverage": position.leverage,
            "size_bound": position.bound.name(),
            "margin": exact(position.margin),
            "asked": qty(position.asked),
            "filled": qty(position.entry.qty),
            "entry_value": opened.then(|| exact(position.entry.value)),
            "exit_value": opened.then(|| exact(position.exit.value)),
            "fees": exact(position.fees),
            "funding": exact(position.funding),
            "profit": exact(settled.0),
            "borne_by_product": exact(settled.1),
            "entry_ns": opened.then_some(position.entry.times_ns.0),
            "exit_ns": (position.exit.qty > 0).then_some(position.exit.times_ns.1),
            "entry_order": (position.entry_id != 0).then_some(position.entry_id),
            "close_orders": closes,
            "reservation": (position.reservation != 0).then_some(position.reservation),
            "balance": { "total": pot(balances.total()), "locked": pot(balances.locked()) },
        })
    }
}

impl TradeLog for Records {
    fn order(&mut self, signal: u64, order: &OrderRequest) {
        self.orders.entry(signal).or_default().push(order.client_id);
        if let Some(trail) = &self.trail {
            trail.paper_order(&OrderRequest { account: PAPER, strategy: PAPER, ..*order });
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if let Some(trail) = &self.trail {
            trail.paper_verdict(&Verdict { account: PAPER, strategy: PAPER, ..*verdict });
        }
    }

    fn execution(&mut self, execution: &Execution) {
        if let Some(trail) = &self.trail {
            trail.paper_execution(&Execution { account: PAPER, strategy: PAPER, ..*execution });
        }
    }

    fn position(&mut self, now_ns: i64, position: &Position, settled: (i64, i64), balances: &Balances) {
        let line = self.line(now_ns, position, settled, balances);
        self.orders.remove(&position.signal);
        if let Some(trail) = &self.trail {
            trail.paper_position(now_ns, &line);
        }
        if let Some(file) = &mut self.file {
            file.line(line.to_string());
        }
        if self.ended.len() == ENDED_SHOWN {
            self.ended.pop_front();
        }
        self.ended.push_back(line);
        if matches!(position.ending, Ending::Timer | Ending::Margin) {
            let tenth = (position.confidence.clamp(0.0, 0.99) * 10.0).floor() / 10.0;
            let bucket = self.buckets.entry(format!("{tenth:.1}")).or_default();
            bucket.count += 1;
            bucket.won += u64::from(settled.0 > 0);
            bucket.profit += money(settled.0);
        }
    }
}

/// The desk of a run with its records.
pub(crate) struct PaperDesk {
    desk: TradeDesk,
    records: Records,
    balance: f64,
    now_ns: i64,
    /// Positions asked for, opened and ended when the account was shown last.
    shown: (u64, u64, u64),
}

/// Ended positions that screens show.
const ENDED_SHOWN: usize = 20;

impl PaperDesk {
    /// A desk for these instruments of a registry; `coins` names them in records.
    pub(crate) fn open(
        plan: &TradingPlan,
        registry: &Registry,
        (coins, instruments): (&[String], &[InstrumentId]),
        trail: Option<Trail>,
        directory: Option<&Path>,
    ) -> Result<Self, SignalsError> {
        let desk = TradeDesk::new(registry, instruments, &plan.settings, plan.limits.as_ref())?;
        let file = directory.map(|directory| Lines::create(directory.join(PAPER_POSITIONS), None)).transpose()?;
        let records = Records {
            trail,
            file,
            instruments: registry.iter().map(|(_, instrument)| instrument.clone()).collect(),
            coins: coins.to_vec(),
            buckets: BTreeMap::new(),
            orders: BTreeMap::new(),
            ended: VecDeque::with_capacity(ENDED_SHOWN),
        };
        Ok(Self { desk, records, balance: plan.settings.balance as f64, now_ns: 0, shown: (0, 0, 0) })
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        self.records.flush();
    }

    /// A signal as it acts.
    pub(crate) fn signal(&mut self, signal: &SignalBody) {
        self.desk.signal(signal, &mut self.records);
    }

    /// The best levels of a book after it changed.
    pub(crate) fn top(&mut self, header: &Header, top: &TopBody) {
        self.desk.top(header, top, &mut self.records);
    }

    /// A trade.
    pub(crate) fn traded(&mut self, header: &Header, trade: &Trade) {
        self.desk.traded(header, trade, &mut self.records);
    }

    /// Time passed.
    pub(crate) fn advance(&mut self, now_ns: i64) {
        self.now_ns = now_ns;
        self.desk.advance(now_ns, &mut self.records);
    }

    /// The account as screens show it, with its event time; `None` while nothing has happened since it was shown last.
    pub(crate) fn shown(&mut self) -> Option<(i64, Value)> {
        let counters = self.desk.counters();
        let ended = counters.endings.values().sum();
        let now = (counters.asked, counters.opened, ended);
        if now == self.shown {
            return None;
        }
        self.shown = now;
        let balances = self.desk.balances();
        let line = |position| self.records.line(self.now_ns, position, (0, 0), &balances);
        let account = json!({
            "balance_before": self.balance,
            "balance": pot(balances.total()),
            "locked": pot(balances.locked()),
            "opened": counters.opened,
            "closed": counters.closed,
            "profit": money(counters.profit),
            "fees": money(counters.fees),
            "borne_by_product": money(counters.borne),
            "open": self.desk.positions().iter().map(line).collect::<Vec<_>>(),
            "ended": self.records.ended,
        });
        Some((self.now_ns, account))
    }

    /// Ends the desk; gives what it came to and what could not be written.
    pub(crate) fn finish(self) -> (TradingReport, Option<OutputError>) {
        let Self { mut desk, mut records, balance, .. } = self;
        let left_open = desk.positions().len();
        desk.finish(&mut records);
        let balances = desk.balances();
        let report = TradingReport {
            counters: desk.counters().clone(),
            balance_before: balance,
            balance_after: pot(balances.total()),
            locked: pot(balances.locked()),
            left_open,
            unbalanced: desk.check().err(),
            by_confidence: records.buckets,
            digest: format!("{:016x}", desk.digest()),
        };
        (report, records.file.and_then(Lines::close))
    }
}
