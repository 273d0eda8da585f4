//! `tidegate replay`: recorded captures through the engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tidegate_market::features::schema::FEATURES;
use tidegate_record::store::Place;
use tidegate_runtime::audit::{AuditError, AuditPlan};
use tidegate_runtime::live::LiveError;
use tidegate_runtime::models::{CompanionError, ModelsPlan};
use tidegate_runtime::orders::Order;
use tidegate_runtime::pipeline::Topology;
use tidegate_runtime::replay::{self, Outputs, ReplayPlan, RunError, Speed};
use tidegate_runtime::risk::RiskDeskError;
use tidegate_runtime::signals::SignalsError;
use tidegate_runtime::stores::StorePlan;
use tidegate_runtime::trading::TradingPlan;
use tidegate_runtime::wait::WaitStrategy;
use tidegate_sidecar::serve::Settings;
use tidegate_trade::desk::Trading;
use tidegate_trade::signals::{ConfidenceSource, SignalConfig, SimulatedReference};

use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};
use crate::screens::Serving;
use crate::signals;
use crate::summary::{Summary, print_summary};

/// Runs recorded captures through the engine and prints what it decided and how fast.
///
/// Captures are read by their own format: `<receive time> <frame>` lines or cryptofeed recordings, plain, gzip, zstd or
/// xz; so are tables: bars of Binance and BitMEX, books of Coinbase (opening snapshot and updates in one command),
/// Bitstamp's orders, funding rates, volatility indices. Several are merged by receive time. Instruments, ticks and
/// lots are found out from the data.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate replay --input btcusdt.gz --check-bbo
  tidegate replay --input spot.gz usdm.gz coinm.gz --topology staged --format json
  tidegate replay --input binance-usdm=capture.txt --speed 10 --decisions decisions.jsonl --hlog latency.hlog
  tidegate replay --input spot.gz usdm.gz --models onnx --adjustments adjustments.jsonl
  tidegate replay --input spot.gz usdm.gz --reenact adjustments.jsonl
  tidegate replay --input btcusdt.gz --operator 60s:trip:engine --operator 90s:reset:engine")]
pub(crate) struct Args {
    /// Captures: FILE, or VENUE=FILE where the frames do not tell the venue
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<String>,
    /// `max`, or a multiple of the recorded pace
    #[arg(long, default_value = "max", value_name = "max|N")]
    speed: Speed,
    /// One core for everything, or a core a stage
    #[arg(long, default_value = "fused", value_name = "fused|staged", value_parser = topology)]
    topology: Topology,
    /// How loops wait: auto, spin, yield or park
    #[arg(long, default_value = "auto", value_name = "STRATEGY", value_parser = wait)]
    wait: WaitStrategy,
    /// Cores for the hot loops, in pipeline order
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Vec<usize>,
    /// Lock the process's memory
    #[arg(long)]
    lock_memory: bool,
    /// Write decisions to FILE, a JSON object a line
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Write interval histograms to FILE (standard V2 log)
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Compare every book with the venue's own best bid and ask; exit 1 on a mismatch
    #[arg(long)]
    check_bbo: bool,
    /// Trip or reset a breaker by hand at a time after the first frame: `TIME:trip|reset:SCOPE[:NAME]`, or
    /// `TIME:news:on|off`
    #[arg(long, value_name = "ORDER")]
    operator: Vec<Order>,
    /// Let the models of this repository move thresholds, in lockstep with the data
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Event time between a model's look at the market and the effect of its answer
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = humantime::parse_duration, requires = "models")]
    lockstep: Duration,
    /// Event time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration, requires = "models")]
    every: Duration,
    /// Ed25519 public key that models must be signed with, 32 bytes in base64
    #[arg(long, value_name = "KEY", requires = "models")]
    public_key: Option<String>,
    /// Tell microstructure signals and trade them on paper, with a made-up reference price, at the confidence of the
    /// formula or of the model `confidence` of --models
    #[arg(long, value_name = "formula|model", value_parser = confidence)]
    signals: Option<ConfidenceSource>,
    /// Re-enact the adjustments that a run recorded, instead of running models
    #[arg(long, value_name = "LOG", conflicts_with = "models")]
    reenact: Option<PathBuf>,
    /// Write changes of thresholds to FILE, a JSON object a line
    #[arg(long, value_name = "FILE")]
    adjustments: Option<PathBuf>,
    /// Record everything in the audit log of this folder, which is made or continued
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// The key that signs it; DIR.key without, made if it is not there
    #[arg(long, value_name = "FILE", requires = "audit")]
    audit_key: Option<PathBuf>,
    /// Keep the audit log as tables too: sqlite:PATH or postgres://USER@HOST/DATABASE (password in PGPASSWORD)
    #[arg(long, value_name = "URL", requires = "audit")]
    store: Option<String>,
    /// Read at most this much ahead, MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    read_ahead: usize,
    /// Show it on this address: dashboard, stream, metrics; without a value on port 8765, or any where that is taken
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "default")]
    serve: Option<Serving>,
    /// Begin again when the captures end, until a signal; the summary is that of the last whole round
    #[arg(long)]
    repeat: bool,
    /// Print the last feature vector of every instrument
    #[arg(long)]
    features: bool,
    /// How to print the summary
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn topology(text: &str) -> Result<Topology, String> {
    match text {
        "fused" => Ok(Topology::Fused),
        "staged" => Ok(Topology::Staged),
        _ => Err("expected `fused` or `staged`".into()),
    }
}

fn confidence(text: &str) -> Result<ConfidenceSource, String> {
    match text {
        "formula" => Ok(ConfidenceSource::Formula),
        "model" => Ok(ConfidenceSource::Model),
        _ => Err("expected `formula` or `model`".into()),
    }
}

fn wait(text: &str) -> Result<WaitStrategy, String> {
    match text {
        "auto" => Ok(WaitStrategy::Auto),
        "spin" => Ok(WaitStrategy::Spin),
        "yield" => Ok(WaitStrategy::Yield),
        "park" => Ok(WaitStrategy::Park),
        _ => Err("expected `auto`, `spin`, `yield` or `park`".into()),
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let sources =
        replay::sources(&args.input).map_err(|message| failed(Exit::BadInput, format!("--input: {message}")))?;
    let mut plan = ReplayPlan {
        speed: args.speed,
        topology: args.topology,
        wait: args.wait,
        cores: args.cores.clone(),
        lock_memory: args.lock_memory,
        check_bbo: args.check_bbo,
        orders: args.operator.clone(),
        models: models(args)?,
        outputs: Outputs {
            decisions: args.decisions.clone(),
            adjustments: args.adjustments.clone(),
            hlog: args.hlog.clone(),
            ..Outputs::default()
        },
        audit: args.audit.as_deref().map(|directory| {
            let plan = AuditPlan::new(directory);
            AuditPlan { key: args.audit_key.clone().unwrap_or(plan.key), ..plan }
        }),
        store: store(args)?,
        read_ahead: args.read_ahead.saturating_mul(1 << 20),
        ..ReplayPlan::new(sources)
    };
    signalled(args, &mut plan)?;
    let stop = signals::stop_flag()?;
    plan.screens = args.serve.as_ref().map(|serving| serving.open(&plan)).transpose()?;
    let mut report = replay::run(&plan, &stop).map_err(exit_code)?;
    while args.repeat && !report.stopped {
        let next = replay::run(&plan, &stop).map_err(exit_code)?;
        if next.stopped {
            break;
        }
        report = next;
    }
    let summary = Summary::of(&report, &plan);
    match args.format {
        Format::Json => print_json(&summary)?,
        Format::Table => {
            print_summary(&summary, &report);
            if args.features {
                print_features(&report);
            }
        }
    }
    conclude(&summary, &report)
}

/// Signals and their trading with the settings of a configuration that has none.
fn signalled(args: &Args, plan: &mut ReplayPlan) -> Result<()> {
    let Some(confidence) = args.signals else { return Ok(()) };
    if confidence == ConfidenceSource::Model && args.models.is_none() {
        return Err(failed(Exit::Config, "--signals model: expected --models, a repository that has it"));
    }
    let mut config = SignalConfig::default();
    (config.ml.enabled, config.ml.confidence) = (true, confidence);
    config.psc.simulated_reference = Some(SimulatedReference::default());
    plan.signals = Some(config);
    plan.trading = Some(TradingPlan { settings: Trading { enabled: true, ..Trading::default() }, limits: None });
    Ok(())
}

fn store(args: &Args) -> Result<Option<StorePlan>> {
    let place = args.store.as_deref().map(Place::parse).transpose();
    let place = place.map_err(|error| failed(Exit::BadInput, format!("--store: {error}")))?;
    Ok(place.map(|place| StorePlan { place }))
}

/// Refuses a repository of models that is none.
pub(crate) fn repository(directory: &Path) -> Result<()> {
    let missing = || failed(Exit::BadInput, format!("--models: {} is no directory", directory.display()));
    if directory.is_dir() { Ok(()) } else { Err(missing()) }
}

fn models(args: &Args) -> Result<ModelsPlan> {
    if let Some(record) = &args.reenact {
        return Ok(ModelsPlan::Reenact(record.clone()));
    }
    let Some(directory) = &args.models else { return Ok(ModelsPlan::Off) };
    repository(directory)?;
    let every_ns = i64::try_from(args.every.as_nanos()).unwrap_or(i64::MAX).max(1);
    let key = args.public_key.as_deref().map(tidegate_runtime::config::public_key).transpose();
    let key = key.map_err(|reason| failed(Exit::Config, format!("--public-key: {reason}")))?;
    let mut settings = Box::new(Settings { every_ns, ..Settings::new(directory) });
    (settings.loader.gate.public_key, settings.loader.gate.require_signature) = (key, key.is_some());
    Ok(ModelsPlan::Lockstep { settings, latency: args.lockstep })
}

/// What a finished replay means for the exit code.
pub(crate) fn conclude(summary: &Summary, report: &replay::ReplayReport) -> Result<Exit> {
    for warning in &report.warnings {
        anstream::eprintln!("warning: {warning}");
    }
    if let Some(error) = &report.output_error {
        return Err(failed(Exit::Io, error.to_string()));
    }
    if let Some(error) = report.live.as_ref().and_then(|live| live.capture.as_ref()?.error.as_ref()) {
        return Err(failed(Exit::Io, format!("the capture broke off: {error}")));
    }
    let damaged: Vec<_> = report.sources.iter().filter_map(|source| source.damaged.clone()).collect();
    if !damaged.is_empty() {
        return Err(failed(Exit::BadInput, format!("{}; what came before was replayed", damaged.join("; "))));
    }
    // Before the interrupt: a book that was wrong was wrong, however the replay ended.
    if summary.bbo_mismatch > 0 {
        let text = format!("{} of {} best bids and asks differ", summary.bbo_mismatch, summary.bbo_checked);
        return Err(failed(Exit::Failure, text));
    }
    let trading = report.signals.as_ref().and_then(|signals| signals.trading.as_ref());
    if let Some(problem) = trading.and_then(|trading| trading.unbalanced.as_ref()) {
        return Err(failed(Exit::Failure, format!("balances of paper trading do not add up: {problem}")));
    }
    Ok(if report.stopped { Exit::Interrupted } else { Exit::Ok })
}

/// Exit code of a replay that did not run.
pub(crate) fn exit_code(error: RunError) -> anyhow::Error {
    let exit = match &error {
        RunError::Discover(_) | RunError::Replay(_) | RunError::Feed(_) => Exit::BadInput,
        RunError::Models(CompanionError::Record(_)) => Exit::BadInput,
        RunError::Models(CompanionError::Latency { .. }) => Exit::Config,
        RunError::Output(_) | RunError::Control(_) | RunError::Audit(AuditError::Log(_)) => Exit::Io,
        RunError::Ledger(error) => super::vmsp::exit_of(error),
        RunError::Audit(AuditError::Key(_)) => Exit::Config,
        RunError::Audit(AuditError::Thread(_)) => Exit::Failure,
        RunError::Source(_) => Exit::BadInput,
        RunError::Risk(RiskDeskError::Limits(_) | RiskDeskError::Instrument { .. }) => Exit::Config,
        RunError::Risk(RiskDeskError::File { .. } | RiskDeskError::Kept { .. }) => Exit::Io,
        RunError::Risk(RiskDeskError::Frame { .. }) => Exit::BadInput,
        RunError::Risk(RiskDeskError::Thread(_)) => Exit::Failure,
        RunError::Live(LiveError::Output { .. } | LiveError::Capture(_)) => Exit::Io,
        RunError::Live(LiveError::Market(_)) => Exit::Config,
        RunError::Live(LiveError::Instruments { .. } | LiveError::Poller(_)) => Exit::Failure,
        RunError::Drawdown(_) | RunError::Signals(SignalsError::Config(_) | SignalsError::Trading(_)) => Exit::Config,
        RunError::Signals(SignalsError::Output(_)) => Exit::Io,
        RunError::Signals(SignalsError::Ring(_) | SignalsError::Thread(_)) => Exit::Failure,
        RunError::Threshold(_) | RunError::Record { .. } | RunError::Unknown(_) | RunError::Command(_) => Exit::Config,
        RunError::Ring(_) | RunError::Thread(_) | RunError::Models(_) => Exit::Failure,
    };
    failed(exit, error.to_string())
}

/// The last vector of each instrument, a column each.
pub(crate) fn print_features(report: &replay::ReplayReport) {
    let mut header = vec!["feature".to_owned(), "unit".to_owned()];
    header.extend(report.instruments.iter().map(|i| format!("{} {}", i.instrument.symbol, market(i.instrument.venue))));
    let rows = FEATURES.iter().enumerate().map(|(index, feature)| {
        let mut row = vec![feature.name.to_owned(), feature.unit.to_owned()];
        row.extend(report.instruments.iter().map(|i| i.features.get(index).map_or("-".to_owned(), number)));
        row
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    anstream::println!("\nLast feature vectors (- = absent)\n{}", crate::output::number_table(&header, rows));
}

/// Short name of a venue's market.
fn market(venue: tidegate_wire::Venue) -> &'static str {
    venue.name().rsplit('-').next().unwrap_or_default()
}

/// Six significant digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-4..1e9).contains(&size) {
        format!("{value:.3e}")
    } else {
        let decimals = (5 - size.log10().floor() as i32).clamp(0, 8) as usize;
        format!("{value:.decimals$}")
    }
}
