//! Simulated incidents with known causes: markets, faults put into their frames, and the run that leaves an audit log.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tidegate_feed::replay::SourceSpec;
use tidegate_guard::profile::Settings;
use tidegate_guard::rules::rule_index;
use tidegate_runtime::audit::AuditPlan;
use tidegate_runtime::models::ModelsPlan;
use tidegate_runtime::postmortem::RootCause;
use tidegate_runtime::replay::{self, ReplayPlan, ReplayReport};
use tidegate_simex::{Frame, FrameKind, Regime, RegimeKind, SimConfig, Simulator};

/// Positions of instruments in simex's default market.
pub const SPOT_BTC: usize = 0;
/// USD-M BTC.
pub const USDM_BTC: usize = 2;
/// USD-M ETH.
pub const USDM_ETH: usize = 3;

/// What is done to the frames of one instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Damage {
    /// Depth frames of a stretch of time are dropped, with no snapshot after it: instrument, from and to in s.
    Dropped(usize, f64, f64),
    /// A depth frame bids far above the market: instrument, and when, s.
    Crossed(usize, f64),
}

/// An incident that is made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Name in messages.
    pub name: String,
    /// Its causes; [`RootCause::None`] alone where there is none.
    pub causes: Vec<RootCause>,
    /// Seed of the market.
    pub seed: u64,
    /// Length of the market, s.
    pub seconds: u64,
    /// Instruments by position in the default market; the script and damages count these.
    pub instruments: Vec<usize>,
    /// Conditions: start and length in s, what, whom (all where nobody is named).
    pub script: Vec<(f64, f64, RegimeKind, Vec<usize>)>,
    /// What is done to frames.
    pub damages: Vec<Damage>,
    /// Orders of an operator.
    pub orders: Vec<&'static str>,
    /// Who moves thresholds; advice holds for a minute and takes effect at once.
    pub models: ModelsPlan,
    /// Whether rules trip on ordinary noise.
    pub nervous: bool,
    /// When what is to be explained begins and ends, s.
    pub span: (f64, f64),
}

impl Made {
    /// A market of two BTC books in which nothing happens.
    pub fn calm(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            causes: vec![RootCause::None],
            seed,
            seconds: 40,
            instruments: vec![USDM_BTC, SPOT_BTC],
            script: Vec::new(),
            damages: Vec::new(),
            orders: Vec::new(),
            models: ModelsPlan::Off,
            nervous: false,
            span: (14.0, 40.0),
        }
    }

    /// The same with conditions.
    #[must_use]
    pub fn with(mut self, start: f64, length: f64, kind: RegimeKind, whom: &[usize]) -> Self {
        self.script.push((start, length, kind, whom.to_vec()));
        self
    }

    /// The same with its causes, and when they show.
    #[must_use]
    pub fn because(self, causes: &[RootCause], span: (f64, f64)) -> Self {
        Self { causes: causes.to_vec(), span, ..self }
    }
}

/// A run that left an audit log.
pub struct Ran {
    /// Where everything is, until it is dropped.
    pub folder: tempfile::TempDir,
    /// What the engine was given.
    pub input: Vec<SourceSpec>,
    /// The log's folder.
    pub log: PathBuf,
    /// What came of it.
    pub report: ReplayReport,
    /// Receive time of the first frame, ns since the Unix epoch.
    pub first_ns: i64,
}

/// Makes an incident and runs it.
///
/// # Panics
/// When a file cannot be written or the engine does not run.
pub fn run(made: &Made) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = SimConfig::calm(made.seed, Duration::from_secs(made.seconds));
    config.instruments = made.instruments.iter().map(|index| config.instruments[*index].clone()).collect();
    config.script.regimes = made
        .script
        .iter()
        .map(|(start, length, kind, whom)| Regime {
            start: Duration::from_secs_f64(*start),
            duration: Duration::from_secs_f64(*length),
            kind: *kind,
            instruments: whom.clone(),
        })
        .collect();
    let (input, first_ns) = write(made, config, &folder);
    let log = folder.path().join("audit");
    let orders = made.orders.iter().map(|order| order.parse().expect("an order")).collect();
    let (audit, models) = (Some(AuditPlan::new(&log)), made.models.clone());
    let mut plan = ReplayPlan { audit, orders, models, ..ReplayPlan::new(input.clone()) };
    plan.profiles.iter_mut().for_each(|profile| {
        let levels = if made.nervous { NERVOUS } else { DESK };
        for (rule, threshold, release, hold_ms, warmup_ms) in levels {
            let place = usize::from(rule_index(rule).expect("a rule"));
            let old = profile.rules[place];
            profile.rules[place] = Settings {
                threshold: *threshold,
                release: *release,
                hold_ms: *hold_ms,
                warmup_ms: *warmup_ms,
                cooling_ms: 2_000,
                probation_ms: 1_000,
                ..old
            };
        }
        profile.conditions.news.thresholds = 0.2;
        (profile.tuning.ttl_ms, profile.tuning.tighten_per_s) = (60_000, 1e6);
    });
    let report = replay::run(&plan, &Arc::new(AtomicBool::new(false))).expect("the engine runs");
    Ran { folder, input, log, report, first_ns }
}

/// Rule, level that trips, level that releases, hold and warm-up in ms.
type Level = (&'static str, f64, f64, u64, u64);

/// Levels for markets of less than a minute: those of a desk that is careful.
const DESK: &[Level] = &[
    ("price_move", 0.008, 0.005, 0, 0),
    ("volatility", 2.6, 1.5, 0, 12_000),
    ("spread", 8.0, 4.0, 250, 12_000),
    ("liquidity_drop", 0.5, 0.35, 1_500, 12_000),
    ("volume_spike", 1.9, 1.4, 0, 30_000),
    ("stale_feed", 1_000.0, 500.0, 0, 0),
    ("latency_spike", 100_000.0, 50_000.0, 250, 5_000),
    ("correlation_break", 0.35, 0.45, 1_000, 32_000),
];

/// Levels that ordinary noise trips.
const NERVOUS: &[Level] = &[
    ("volatility", 0.5, 0.4, 0, 30_000),
    ("spread", 1.6, 1.2, 0, 30_000),
    ("imbalance", 0.7, 0.5, 0, 30_000),
    ("liquidity_drop", 0.2, 0.1, 200, 30_000),
    ("volume_spike", 1.2, 1.1, 0, 30_000),
];

/// Writes the frames as captures of lines, damaged as wanted.
fn write(made: &Made, config: SimConfig, folder: &tempfile::TempDir) -> (Vec<SourceSpec>, i64) {
    let start_ns = config.start_ns;
    let mut simulator = Simulator::new(config).expect("a market");
    let paths: Vec<PathBuf> =
        simulator.instruments().iter().map(|spec| folder.path().join(format!("{}.txt", spec.label()))).collect();
    let mut files: Vec<_> =
        paths.iter().map(|path| std::io::BufWriter::new(std::fs::File::create(path).expect("a file"))).collect();
    let (mut frame, mut first_ns, mut crossed) = (Frame::default(), 0, vec![false; made.damages.len()]);
    while simulator.next_frame(&mut frame) {
        let seconds = (frame.recv_ns - start_ns) as f64 * 1e-9;
        if first_ns == 0 {
            first_ns = frame.recv_ns;
        }
        let mut text = String::from_utf8(std::mem::take(&mut frame.bytes)).expect("text");
        let mut drop = false;
        for (damage, done) in made.damages.iter().zip(&mut crossed) {
            match *damage {
                _ if frame.kind != FrameKind::Depth => {}
                Damage::Dropped(whom, from, to) => drop |= whom == frame.instrument && (from..to).contains(&seconds),
                Damage::Crossed(whom, at) if whom == frame.instrument && seconds >= at && !*done => {
                    *done = true;
                    text = text.replacen("\"b\":[", "\"b\":[[\"90000.00\",\"1.000\"],", 1).replacen("],]", "]]", 1);
                }
                Damage::Crossed(..) => {}
            }
        }
        if !drop {
            writeln!(files[frame.instrument], "{} {text}", frame.recv_ns).expect("written");
        }
        frame.bytes = text.into_bytes();
    }
    files.iter_mut().for_each(|file| file.flush().expect("written"));
    let sources = paths.into_iter().map(|path| SourceSpec { path, venue: None }).collect();
    (sources, first_ns)
}
