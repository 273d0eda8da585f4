//! `tidegate signals`: microstructure signals of recorded captures, and how good they were.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_feed::replay::SourceSpec;
use tidegate_runtime::audit::AuditPlan;
use tidegate_runtime::config::{ModelsMode, SourceConfig};
use tidegate_runtime::control::Claim;
use tidegate_runtime::pipeline::Topology;
use tidegate_runtime::replay::{self, Outputs, ReplayPlan, Speed};
use tidegate_runtime::signals::{OUTCOMES, SignalsReport};
use tidegate_trade::lines::signal_schema;
use tidegate_trade::signals::{ConfidenceSource, SimulatedReference};

use crate::commands::config::{Layering, config_error};
use crate::commands::replay::{conclude, exit_code, repository, topology};
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};
use crate::signal_table::print_signals;
use crate::signals;
use crate::summary::{Summary, print_latency};

/// Prints the microstructure signals of captures: counts, rates, calibration of the stated confidence against what was
/// observed, and profit after costs by confidence, beside always-LONG and always-SHORT at the same moments.
///
/// Coins, thresholds and breakers are those of the configuration, without models unless one states the confidence.
/// Captures without an instrument of the reference need --simulated-reference; every record and report then says so.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate signals --input usdm.gz --simulated-reference
  tidegate signals --input coinbase=bids.csv coinbase=asks.csv coinbase=updates.csv --simulated-reference 2.5
  tidegate signals --input day/*.gz --out out --trade --set superp.max_leverage=50
  tidegate signals --input usdm.gz --simulated-reference --models onnx
  tidegate signals --schema")]
pub(crate) struct Args {
    /// Captures: FILE, or VENUE=FILE where the frames do not tell the venue
    #[arg(long, required_unless_present = "schema", num_args = 1.., value_name = "FILE")]
    input: Vec<String>,
    /// Make up a reference price around PRICE, for captures that have none
    #[arg(long, value_name = "PRICE", num_args = 0..=1, default_missing_value = "5")]
    simulated_reference: Option<f64>,
    /// Which made-up path
    #[arg(long, default_value_t = 1, value_name = "SEED", requires = "simulated_reference")]
    seed: u64,
    /// Write the signals' files below DIR, anew; where models are trained their outcomes and the trainings' log too.
    /// No running engine's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Have the model of this repository state the confidence; the formula is reported beside it. Where models are
    /// trained they are put there
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Write outcomes below DIR as Parquet files, which models are trained on
    #[arg(long, value_name = "DIR")]
    outcomes: Option<PathBuf>,
    /// Trade them on paper (`trading` in the configuration)
    #[arg(long)]
    trade: bool,
    /// Record everything in the audit log of this folder, which is made or continued
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// `max`, or a multiple of the recorded pace
    #[arg(long, default_value = "max", value_name = "max|N")]
    speed: Speed,
    /// One core for everything, or a core a stage
    #[arg(long, default_value = "fused", value_name = "fused|staged", value_parser = topology)]
    topology: Topology,
    #[command(flatten)]
    layering: Layering,
    /// Print the JSON schema of a line of live_microstructure_signals.json
    #[arg(long)]
    schema: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What `--format json` prints.
#[derive(serde::Serialize)]
struct Printed<'a> {
    schema: &'static str,
    #[serde(flatten)]
    signals: &'a SignalsReport,
    event_s: f64,
    wall_s: f64,
    allocations_hot: Option<u64>,
    features_digest: &'a str,
    decisions_digest: &'a str,
    latency: serde_json::Value,
}

/// Where outcomes go: where they are asked for, or where a training looks for them.
fn outcomes(args: &Args, training: bool) -> Result<Option<PathBuf>> {
    let beside = args.out.as_ref().map(|out| out.join(OUTCOMES)).filter(|_| training);
    let outcomes = args.outcomes.clone().or(beside);
    // What is trained on captures must not come to an engine whose repository the configuration happens to name.
    let missing = match (training, &outcomes, &args.models) {
        (true, None, _) => "--out or --outcomes, a folder for outcomes",
        (true, _, None) => "--models, a repository for what is trained",
        _ => return Ok(outcomes),
    };
    let off = "--set ml_microstructure.learning.training=false trains nothing";
    Err(failed(Exit::Config, format!("ml_microstructure.learning.training: expected {missing}; {off}")))
}

/// Makes the folder of the files this command's own: a running engine's are not written over.
fn claimed(directory: &Path) -> Result<Claim> {
    let io = |error: std::io::Error| failed(Exit::Io, format!("--out {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(io)?;
    Claim::of(directory).map_err(|error| failed(Exit::Io, format!("--out: {error}")))
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if args.schema {
        print_json(&signal_schema())?;
        return Ok(Exit::Ok);
    }
    let layers = args.layering.gather()?;
    let mut config = layers.config().map_err(config_error)?;
    if let Some(price) = args.simulated_reference {
        config.psc_integration.simulated_reference = Some(SimulatedReference { seed: args.seed, price });
    }
    (config.ml_microstructure.enabled, config.trading.enabled) = (true, args.trade || config.trading.enabled);
    let sources =
        replay::sources(&args.input).map_err(|message| failed(Exit::BadInput, format!("--input: {message}")))?;
    let source = |spec: SourceSpec| SourceConfig { path: spec.path, venue: spec.venue.map(|v| v.name().to_owned()) };
    (config.venues, config.sources) = (Vec::new(), sources.into_iter().map(source).collect());
    if let Some(directory) = &args.models {
        repository(directory)?;
        config.models.directory.clone_from(directory);
        config.ml_microstructure.confidence = ConfidenceSource::Model;
    }
    let by_model = config.ml_microstructure.confidence == ConfidenceSource::Model;
    // Answers are waited for: the same captures give the same signals.
    config.models.mode = if by_model { ModelsMode::Lockstep } else { ModelsMode::Off };
    let outcomes = outcomes(args, config.ml_microstructure.learning.training)?;
    let _claim = args.out.as_deref().map(claimed).transpose()?;
    // Profiles, calendar, strategies and coins are those of a run; nothing else of one is needed.
    let plan = ReplayPlan {
        speed: args.speed,
        topology: args.topology,
        check_bbo: false,
        outputs: Outputs { signals: args.out.clone(), outcomes, ..Outputs::default() },
        audit: args.audit.as_deref().map(AuditPlan::new),
        risk: None,
        vmsp: None,
        store: None,
        redis: None,
        ..config.plan(|key| layers.origin(key)).map_err(config_error)?
    };
    let report = replay::run(&plan, &signals::stop_flag()?).map_err(exit_code)?;
    let summary = Summary::of(&report, &plan);
    if let Some(signals) = &report.signals {
        match args.format {
            Format::Json => print_json(&Printed {
                schema: "tidegate.signals.v1",
                signals,
                event_s: report.event_s,
                wall_s: report.wall_s,
                allocations_hot: report.allocations_hot,
                features_digest: &summary.features_digest,
                decisions_digest: &summary.decisions_digest,
                latency: serde_json::to_value(&summary.latency)?,
            })?,
            Format::Table => {
                print_signals(signals);
                print_latency(&summary, &report);
            }
        }
    }
    conclude(&summary, &report)
}
