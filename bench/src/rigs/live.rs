//! Real processes over TLS: frame arrival to decision in the engine, against a plain client of the same streams.
//!
//! ```text
//! core A   simulated exchange (recorded day)     the engine's cold threads, its sidecar     this rig, asleep
//! core B   the engine's loop, or the plain client: in turns, each on the day from its beginning
//! ```
//!
//! Before that, on one core and without other processes: from a readable socket to the decision (`live_readable`).
//! Between processes times begin with the kernel's stamp of the last bytes of a read, for both: what the sender's core
//! still has to do before the socket is readable is in them, and what the host's scheduler does. Ours end with the
//! decision: book, 64 features, breakers; the plain client's with its book.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;
use tidegate_runtime::hlog;
use tidegate_runtime::latency::STAGES;
use tidegate_sidecar::native;

use crate::machine;
use crate::peers::client::{Client, Venue};
use crate::report::{Options, Report, Table};
use crate::rigs::live_processes::{Engine, Exchange, Models, Ran, SYMBOLS, beside, captures};
use crate::rigs::live_readable;
use crate::timing::{NoiseFloor, Stopwatch, median, pin};

/// Paces, times the recorded one.
const SPEEDS: [(f64, &str); 2] = [(1.0, "1x"), (10.0, "10x")];
/// Bars on arrival to adjusted threshold in force, us: its p99, and every percentile that is reported.
const ADJUST_BARS: [(f64, &str, f64); 2] = [(0.99, "p99", 500.0), (0.999, "p999", 5_000.0)];
/// Event time between two adjustments is a second; at ten times the pace that is as long.
const EVERY_MS: u64 = 100;
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];
const COLUMNS: [&str; 6] = ["p50", "p90", "p99", "p99.9", "max", "count"];

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("live", options, watch);
    if let Err(error) = live_readable::measure(&mut report, options, watch) {
        report.check(false, format!("readable: {error}"));
    }
    let place = match Place::new(options) {
        Ok(place) => place,
        Err(reason) => {
            report.skip("live", reason);
            return report;
        }
    };
    // Children inherit the core of the thread that starts them; the engine pins its loop to the other one.
    pin(options.cores.0);
    report.note(format!(
        "core {}: exchange, the engine's cold threads and sidecar, this rig; core {}: the engine's loop or the plain \
         client, in turns, each on the recorded day from its beginning",
        options.cores.0, options.cores.1
    ));
    for (speed, name) in SPEEDS {
        if let Err(error) = pace(&mut report, &place, watch, speed, name) {
            report.check(false, format!("{name}: {error}"));
        }
    }
    match native::find(None) {
        Ok(library) => {
            if let Err(error) = models(&mut report, &place, watch, &library) {
                report.check(false, format!("models: {error}"));
            }
        }
        Err(error) => report.skip("live_adjust", format!("ONNX RUNTIME ABSENT: {error}")),
    }
    report
}

/// What every turn needs.
struct Place {
    exchange: PathBuf,
    engine: PathBuf,
    captures: Vec<PathBuf>,
    core: usize,
    turns: usize,
    lasting: Duration,
}

impl Place {
    fn new(options: &Options) -> Result<Self, String> {
        let exchange = "cargo build --release -p tidegate-simex --features server --bin simex";
        Ok(Self {
            exchange: beside("simex", exchange)?,
            engine: beside("tidegate", "cargo build --release -p tidegate")?,
            captures: captures(&options.data)?,
            core: options.cores.1,
            turns: if options.quick { 1 } else { options.reps.max(5) },
            lasting: Duration::from_secs(if options.quick { 3 } else { 12 }),
        })
    }

    fn start(&self, folder: &Path, speed: f64) -> Result<Exchange, String> {
        Exchange::start(&self.exchange, &self.captures, folder, speed)
    }

    /// The engine's turn.
    fn ours(&self, speed: f64, models: Models<'_>) -> Result<Ran, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let exchange = self.start(folder.path(), speed)?;
        let engine =
            Engine { program: &self.engine, core: self.core, lasting: self.lasting, models, every_ms: EVERY_MS };
        engine.run(&exchange, folder.path())
    }

    /// The plain client's turn, on the core of the engine's loop.
    fn plain(&self, speed: f64) -> Result<Client, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let exchange = self.start(folder.path(), speed)?;
        std::thread::scope(|scope| {
            let turn = scope.spawn(|| {
                pin(self.core);
                let (stream, rest) = (exchange.stream.as_str(), exchange.rest.as_str());
                let authority = exchange.authority.as_path();
                let mut client = Client::connect(Venue { stream, rest, authority, symbols: &SYMBOLS })?;
                client.run(self.lasting)?;
                Ok(client)
            });
            turn.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The noise floor of the loop's core while nothing of ours runs.
    fn floor(&self, watch: &Stopwatch) -> String {
        std::thread::scope(|scope| {
            let meter = scope.spawn(|| {
                pin(self.core);
                NoiseFloor::measure(watch, Duration::from_millis(500)).line()
            });
            meter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

fn figures(histogram: &Histogram<u64>) -> Vec<f64> {
    QUANTILES.iter().map(|q| us(histogram, *q)).chain([histogram.len() as f64]).collect()
}

/// One stage over all runs together.
fn together(runs: &[Ran], stage: &str) -> Result<Histogram<u64>, String> {
    let intervals = runs.iter().flat_map(|run| &run.intervals).filter(|interval| interval.tag == stage);
    let mut merged = hlog::merge(intervals).map_err(|error| error.to_string())?;
    merged.remove(stage).ok_or(format!("no {stage} in the engine's log"))
}

/// The median over runs of each run's own median, us; the spread is what runs differ by.
fn medians(runs: &[Ran]) -> Vec<f64> {
    let of = |run: &Ran| run.summary["latency"]["total"]["p50_ns"].as_f64().map_or(f64::NAN, |ns| ns / 1e3);
    runs.iter().map(of).collect()
}

fn listed(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(", ")
}

/// Frames arrive, and nothing is wrong with them.
fn check(report: &mut Report, runs: &[Ran], name: &str) {
    let mut allocs = 0.0;
    for Ran { summary, .. } in runs {
        let count = |key: &str| summary[key].as_u64().unwrap_or(u64::MAX);
        let clean = count("gaps") == 0 && count("decode_errors") == 0 && count("crossed") == 0;
        report.check(clean, format!("{name}: no gap, no crossed book, every frame is read"));
        report.check(count("vectors") > 100, format!("{name}: vectors come"));
        // What nobody counted is no zero.
        allocs = f64::max(allocs, summary["allocations_hot"].as_f64().unwrap_or(f64::INFINITY));
    }
    report.ratio(format!("live_{name}_hot_allocs"), allocs, 0.0, "allocs");
}

fn noise(runs: &[Ran]) -> String {
    let of = |run: &Ran| run.summary["noise_floor"]["wait_p999_ns"].as_f64().map_or(f64::NAN, |ns| ns / 1e3);
    listed(&runs.iter().map(of).collect::<Vec<_>>())
}

fn pace(report: &mut Report, place: &Place, watch: &Stopwatch, speed: f64, name: &str) -> Result<(), String> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    let floor = place.floor(watch);
    for _ in 0..place.turns {
        ours.push(place.ours(speed, None)?);
        plain.push(place.plain(speed)?);
    }
    let per_s = |count: f64| count / place.lasting.as_secs_f64() / place.turns as f64;
    let frames: f64 = ours.iter().map(|run| run.summary["frames"].as_f64().unwrap_or(0.0)).sum();
    let title = format!(
        "{name}: kernel's stamp of a frame to decision, us, {} turns of {:.0} s together, {:.0} frames a second\n  \
         noise floor of the loop's core before: {floor}\n  noise floor of each run, p99.9 of a random arrival's wait \
         on the other core, us: {}",
        place.turns,
        place.lasting.as_secs_f64(),
        per_s(frames),
        noise(&ours)
    );
    let mut table = Table::new(title, &COLUMNS);
    for stage in STAGES.iter().take_while(|stage| **stage != "sidecar_wait") {
        let row = if *stage == "decode" { "decode (stamp, read, TLS, frame, JSON)" } else { stage };
        table.row(row, &figures(&together(&ours, stage)?));
    }
    let mut book = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string())?;
    for client in &plain {
        book.add(&client.times).map_err(|error| error.to_string())?;
        let (gaps, troubles) = (client.gaps(), client.troubles);
        report.check(gaps == 0, format!("{name}: no gap in the plain client's books"));
        // Bytes that were read before stamps were asked for have none.
        report.check(troubles <= 100, format!("{name}: the plain client reads what it gets: {troubles} not"));
    }
    table.row("plain client: stamp to book", &figures(&book));
    report.table(table);
    let theirs: Vec<f64> = plain.iter().map(|client| us(&client.times, 0.5)).collect();
    report.note(format!("{name}: p50 of each turn, us: engine {}; plain {}", listed(&medians(&ours)), listed(&theirs)));
    report.ratio(format!("live_{name}_p50_to_plain"), median(&medians(&ours)) / median(&theirs), 1.0, "x");
    check(report, &ours, name);
    Ok(())
}

fn models(report: &mut Report, place: &Place, watch: &Stopwatch, library: &Path) -> Result<(), String> {
    let (speed, name) = SPEEDS[1];
    let folder = machine::workspace().join("onnx");
    let floor = place.floor(watch);
    let runs =
        (0..place.turns).map(|_| place.ours(speed, Some((&folder, library)))).collect::<Result<Vec<_>, String>>()?;
    let title = format!(
        "{name} with models in a process of their own: kernel's stamp to adjusted threshold in force, us, {} runs of \
         {:.0} s together\n  noise floor of the loop's core before: {floor}\n  noise floor of each run, p99.9 of a \
         random arrival's wait on the other core, us: {}",
        place.turns,
        place.lasting.as_secs_f64(),
        noise(&runs)
    );
    let mut table = Table::new(title, &COLUMNS);
    for stage in ["total", "sidecar_wait", "inference", "publish", "adjust_total"] {
        table.row(stage, &figures(&together(&runs, stage)?));
    }
    report.table(table);
    let total = together(&runs, "adjust_total")?;
    for (quantile, quantile_name, bar) in ADJUST_BARS {
        report.ratio(format!("live_adjust_{quantile_name}"), us(&total, quantile), bar, "us");
    }
    let advised = |run: &Ran| run.summary["advised"].as_u64().unwrap_or(0);
    report.check(runs.iter().all(|run| advised(run) > 0), "thresholds were advised in every run");
    let modes: Vec<&Value> = runs.iter().map(|run| &run.summary["models_mode"]).collect();
    report.check(modes.iter().all(|mode| *mode == "process"), format!("models ran in a process: {modes:?}"));
    check(report, &runs, "10x_models");
    Ok(())
}
