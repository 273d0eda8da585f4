//! `tidegate run`: the engine on configured sources, until a signal, `--for` or the end of the sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tidegate_runtime::control::Claim;
use tidegate_runtime::models::ModelsPlan;
use tidegate_runtime::replay::{self, ReplayPlan};
use tidegate_runtime::screens::ScreensPlan;

use crate::commands::config::{Layering, config_error};
use crate::commands::replay::{conclude, exit_code};
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};
use crate::screens::{self, Serving};
use crate::signals;
use crate::summary::{Summary, print_summary};

/// Runs the engine on the sources of a configuration.
///
/// Histograms and decisions go to the output directory while it runs; `tidegate hist --live DIRECTORY` shows them.
/// The first SIGINT or SIGTERM ends it cleanly with a summary, the second at once.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate run --config tidegate.toml
  tidegate run --config tidegate.toml --set replay.speed=10 --for 30s")]
pub(crate) struct Args {
    #[command(flatten)]
    layering: Layering,
    /// End after this long, such as 30s or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    limit: Option<Duration>,
    /// Re-enact the adjustments that a run recorded (its adjustments.jsonl), instead of running models
    #[arg(long, value_name = "LOG")]
    reenact: Option<PathBuf>,
    /// Show it on this address (`[serve]` otherwise); without a value on port 8765, or any where that is taken
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "default")]
    serve: Option<Serving>,
    /// How to print the summary
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let layers = args.layering.gather()?;
    let config = layers.config().map_err(config_error)?;
    let mut plan = config.plan(|key| layers.origin(key)).map_err(config_error)?;
    if let Some(record) = &args.reenact {
        plan.models = ModelsPlan::Reenact(record.clone());
    }
    let mut shown = config.clone();
    if let Some(serving) = &args.serve {
        (shown.serve.enabled, shown.serve.listen) = (true, serving.address());
    }
    let served = shown.screens(|key| layers.origin(key), &plan).map_err(config_error)?;
    let served = ScreensPlan {
        explainer: Some(screens::explainer(&plan, &config.output.directory, config.calendar.as_ref())?),
        ..served
    };
    let directory = &config.output.directory;
    in_directory(directory, args.limit, &mut plan, |plan, stop| {
        if shown.serve.enabled {
            plan.screens = Some(screens::open(&served)?);
        }
        let mut round = 0;
        loop {
            round += 1;
            if round > 1 {
                // Each round is a session with files of its own; the first ones are not overwritten.
                plan.outputs.decisions = Some(directory.join(format!("decisions.{round}.jsonl")));
                plan.outputs.adjustments = Some(directory.join(format!("adjustments.{round}.jsonl")));
                plan.outputs.books = Some(directory.join(format!("books.{round}.jsonl")));
                plan.outputs.models = Some(directory.join(format!("models.{round}.jsonl")));
                plan.outputs.hlog = Some(directory.join(format!("latency.{round}.hlog")));
                plan.outputs.signals = Some(directory.join(format!("round.{round}")));
            }
            let exit = session(plan, stop, args.format)?;
            if stop.load(Ordering::Relaxed) || !config.replay.repeat || plan.live.is_some() || exit != Exit::Ok {
                return Ok(exit);
            }
        }
    })
}

/// Claims an output directory for a plan; see [`claimed`].
pub(crate) fn in_directory(
    directory: &Path,
    limit: Option<Duration>,
    plan: &mut ReplayPlan,
    act: impl FnOnce(&mut ReplayPlan, &Arc<AtomicBool>) -> Result<Exit>,
) -> Result<Exit> {
    // Before anybody can read the pid: a signal that nobody takes would end the process.
    if let Some(risk) = &plan.risk {
        signals::kill_flag(risk.signalled.clone())?;
    }
    claimed(directory, limit, |claim, stop| {
        plan.control = Some(claim);
        act(plan, stop)
    })
}

/// Claims an output directory, says there who runs, and lets `act` run with a flag that a signal sets, or the end of
/// `limit`.
pub(crate) fn claimed(
    directory: &Path,
    limit: Option<Duration>,
    act: impl FnOnce(Arc<Claim>, &Arc<AtomicBool>) -> Result<Exit>,
) -> Result<Exit> {
    let io = |what: &Path, error: std::io::Error| failed(Exit::Io, format!("{}: {error}", what.display()));
    std::fs::create_dir_all(directory).map_err(|error| io(directory, error))?;
    // Before anything of another engine's could be overwritten.
    let claim = Claim::of(directory).map_err(|error| failed(Exit::Io, error.to_string()))?;
    let identity = Identity::write(directory).map_err(|error| io(directory, error))?;
    let interrupted = signals::stop_flag()?;
    // Whoever is told to stop the trading and does not trade is not to be ended by that.
    signals::kill_flag(Arc::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let timer = Timer::start(limit, interrupted.clone(), stop.clone());
    let exit = act(Arc::new(claim), &stop)?;
    let by_signal = interrupted.load(Ordering::Relaxed);
    timer.end();
    drop(identity);
    // Ending by --for is what was asked for.
    Ok(if by_signal {
        Exit::Interrupted
    } else if exit == Exit::Interrupted {
        Exit::Ok
    } else {
        exit
    })
}

/// Runs a plan to its end and prints its summary.
pub(crate) fn session(plan: &ReplayPlan, stop: &Arc<AtomicBool>, format: Format) -> Result<Exit> {
    signals::broken_pipes_end(false);
    let report = replay::run(plan, stop);
    signals::broken_pipes_end(true);
    let report = report.map_err(exit_code)?;
    let summary = Summary::of(&report, plan);
    match format {
        Format::Json => print_json(&summary)?,
        Format::Table => print_summary(&summary, &report),
    }
    conclude(&summary, &report)
}

/// `engine.json` in the output directory: who is running. Removed at the end.
struct Identity(PathBuf);

impl Identity {
    fn write(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join("engine.json");
        let identity = serde_json::json!({ "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") });
        std::fs::write(&path, format!("{identity}\n"))?;
        Ok(Self(path))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sets the stop flag when the time is over or a signal has come.
struct Timer {
    thread: std::thread::JoinHandle<()>,
    over: Arc<AtomicBool>,
}

impl Timer {
    fn start(limit: Option<Duration>, interrupted: Arc<AtomicBool>, stop: Arc<AtomicBool>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if interrupted.load(Ordering::Relaxed) || limit.is_some_and(|limit| start.elapsed() >= limit) {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { thread, over }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        // It only sleeps and looks at flags.
        let _ = self.thread.join();
    }
}
