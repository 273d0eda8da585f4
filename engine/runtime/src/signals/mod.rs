//! Signals on the cold side: what models say of them, what they come to, what is done with them.
//!
//! ```text
//! last hot stage ─▶ ring ─▶ clerk ─▶ rater ─▶ files, screens, audit log
//!   signals, tops             │        ▲  │
//!                             │        │  └──▶ paper desk
//!                             ▼        │ a better model
//!                          outcomes ─▶ trainer (a process)
//! ```
//!
//! The desk in the last stage states the formula's confidence, which the audit log has as it was decided. Everything
//! after it happens here, on one cold thread (`clerk`): a model's confidence where it is asked for (`rater`), the
//! files (`book`), trading on paper, and the outcomes that models are trained on (`outcomes`, `trainer`).

pub mod book;
mod clerk;
mod outcomes;
mod pulse;
mod rater;
mod trainer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tidegate_trade::desk::TradeDeskError;
use tidegate_trade::report::SignalReport;
use tidegate_trade::signals::{SignalConfig, SignalConfigError, SignalCounters, SignalDesk};
use tidegate_wire::event::{Header, Trade};
use tidegate_wire::feature::FeatureSink;
use tidegate_wire::relay::RecordWriter;
use tidegate_wire::ring::RegionError;
use tidegate_wire::signal::{OutcomeBody, SignalBody, SignalSink};
use tidegate_wire::top::TopBody;
use tidegate_wire::{InstrumentId, Registry};

use crate::audit::Trail;
use crate::models::Desk;
use crate::replay::ReplayPlan;
use crate::screens::Teller;
use crate::scribe::OutputError;
use crate::trading::TradingReport;

pub use book::{LIVE_SIGNALS, ML_PREDICTIONS, PSC_SIGNALS};
pub(crate) use clerk::{Clerk, Kept};
pub use outcomes::OUTCOMES;
pub(crate) use pulse::DeskState;
use pulse::Pulse;
pub use rater::LearningReport;
pub use trainer::TRAINING_LOG;

/// What a run's signals come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalsReport {
    /// What the desk counted.
    pub counters: SignalCounters,
    /// Digest over all signals and outcomes.
    pub digest: String,
    /// What the reference price was taken from.
    pub reference: String,
    /// Coins with the instruments that stood for them.
    pub coins: BTreeMap<String, String>,
    /// Counts, rates, calibration, profit.
    #[serde(flatten)]
    pub report: SignalReport,
    /// Records of a live market that found the ring full: the clerk did not see them.
    pub lost_records: u64,
    /// What came of a model beside the formula; `None` where none is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningReport>,
    /// What trading them on paper came to; `None` where they were not traded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading: Option<TradingReport>,
}

impl SignalsReport {
    /// Of a desk that has ended and the tally behind it, over so many hours of event time.
    pub(crate) fn new(hot: &HotSignals, kept: Kept, registry: &Registry, hours: f64) -> (Self, Option<OutputError>) {
        let name = |id: InstrumentId| registry.get(id).map(tidegate_wire::Instrument::name).unwrap_or_default();
        let (desk, lost_records) = (&hot.desk, hot.ring.lost());
        let report = Self {
            counters: *desk.counters(),
            digest: format!("{:016x}", desk.digest()),
            reference: desk.reference().to_owned(),
            coins: desk.coins().map(|(coin, id)| (coin.to_owned(), name(id))).collect(),
            report: kept.tally.report(hours),
            lost_records,
            learning: kept.learning,
            trading: kept.trading,
        };
        (report, kept.error)
    }
}

/// Signals of a run: nothing of it where there are none.
#[derive(Default)]
pub(crate) struct Opened {
    /// For the last stage: the desk, and the ring to the clerk.
    pub(crate) hot: Option<HotSignals>,
    /// Who takes it from there.
    pub(crate) clerk: Option<Clerk>,
}

/// What the last stage has of signals.
#[derive(Debug)]
pub struct HotSignals {
    pub(crate) desk: SignalDesk,
    pub(crate) ring: ClerkRing,
}

/// Opens what a plan says of signals. `models` are asked where the plan says so.
pub(crate) fn open(
    plan: &ReplayPlan,
    registry: &Registry,
    models: Option<Desk>,
    told: (Option<Trail>, Option<Teller>, Arc<AtomicBool>),
) -> Result<Opened, SignalsError> {
    let Some(config) = &plan.signals else { return Ok(Opened::default()) };
    let desk = SignalDesk::new(registry, config)?;
    say(&desk, config, registry);
    let coins = desk.coins().map(|(_, instrument)| instrument).collect();
    let pulse = Arc::new(Pulse::default());
    let (clerk, writer) = Clerk::start(plan, config, registry, (coins, pulse.clone()), models, told)?;
    Ok(Opened { hot: Some(HotSignals { desk, ring: ClerkRing::new(writer, pulse) }), clerk: Some(clerk) })
}

/// Says which instruments stand for coins and reference, and which coins there are none of.
fn say(desk: &SignalDesk, config: &SignalConfig, registry: &Registry) {
    let name = |id: InstrumentId| registry.get(id).map(tidegate_wire::Instrument::name).unwrap_or_default();
    let found: BTreeMap<&str, String> = desk.coins().map(|(coin, id)| (coin, name(id))).collect();
    let missing: Vec<&str> =
        config.ml.trading_coins.iter().map(String::as_str).filter(|coin| !found.contains_key(coin)).collect();
    tracing::info!(reference = desk.reference(), coins = ?found, without = ?missing, "signals");
    if found.is_empty() {
        tracing::warn!(coins = ?missing, "signals: no instrument of any coin is there, so there will be none");
    }
}

/// Event time between two heartbeats to the clerk, ns: how late timers may end where nothing happens.
const BEAT_NS: i64 = 50_000_000;

/// The way to the clerk.
#[derive(Debug)]
pub(crate) struct ClerkRing {
    writer: RecordWriter,
    next_beat_ns: i64,
    pulse: Arc<Pulse>,
}

impl ClerkRing {
    fn new(writer: RecordWriter, pulse: Arc<Pulse>) -> Self {
        Self { writer, next_beat_ns: i64::MIN, pulse }
    }

    #[inline]
    pub(crate) fn top(&mut self, header: &Header, top: &TopBody) {
        self.writer.top(header, top);
    }

    #[inline]
    pub(crate) fn traded(&mut self, header: &Header, trade: &Trade) {
        self.writer.traded(header, trade);
    }

    /// Time passes for the clerk too, on a grid of event time.
    #[inline]
    pub(crate) fn beat(&mut self, header: &Header, counters: &SignalCounters) {
        if header.event_ns >= self.next_beat_ns {
            self.next_beat_ns = header.event_ns.div_euclid(BEAT_NS).saturating_add(1).saturating_mul(BEAT_NS);
            FeatureSink::heartbeat(&mut self.writer, header);
            self.pulse.beat(counters, self.writer.lost());
        }
    }

    /// Records that found the ring full and were lost; only where it holds nobody back.
    pub(crate) const fn lost(&self) -> u64 {
        self.writer.lost()
    }
}

/// Tells the recorder and the clerk.
pub(crate) struct Both<'a, S>(pub(crate) &'a mut S, pub(crate) &'a mut ClerkRing);

impl<S: SignalSink> SignalSink for Both<'_, S> {
    fn signal(&mut self, signal: &SignalBody) {
        self.0.signal(signal);
        self.1.writer.signal(signal);
    }

    fn outcome(&mut self, outcome: &OutcomeBody) {
        self.0.outcome(outcome);
        self.1.writer.outcome(outcome);
    }
}

/// Signals that cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum SignalsError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] SignalConfigError),
    /// A file.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The trade desk.
    #[error(transparent)]
    Trading(TradeDeskError),
    /// No memory for a ring.
    #[error(transparent)]
    Ring(#[from] RegionError),
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

impl From<TradeDeskError> for SignalsError {
    fn from(error: TradeDeskError) -> Self {
        Self::Trading(error)
    }
}
