//! The hot path while models are swapped beside it, against the same replay without a swap.
//!
//! The fused loop has one core, everything else the other: reader, sidecar, loader and gate, as on a host that keeps
//! the loop's core free (`tidegate doctor`). Runs with and without swaps take turns; what the runs without differ by
//! among themselves is what "equal" means. Beside that: how long adjustments of thresholds took in all these runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tidegate_feed::replay::SourceSpec;
use tidegate_runtime::control::{Ask, Claim, ask};
use tidegate_runtime::latency::STAGES;
use tidegate_runtime::models::ModelsPlan;
use tidegate_runtime::replay::{ReplayPlan, ReplayReport, Speed};
use tidegate_runtime::wait::WaitStrategy;
use tidegate_sidecar::native;
use tidegate_sidecar::serve::Settings;
use tidegate_simex::{SimConfig, write_captures};

use crate::machine;
use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, median, pin};

/// Pace, times the recorded one.
const SPEED: f64 = 10.0;
/// Wall time between two swaps.
const EVERY: Duration = Duration::from_millis(200);
/// How long before the end of its run an engine may stop to answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Event time between two adjustments, ns: ten a second of wall time.
const ADJUST_NS: i64 = 1_000_000_000;
/// Quantiles of `total` that are printed; the judged ones come first.
const QUANTILES: [(f64, &str); 6] =
    [(0.5, "p50"), (0.75, "p75"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")];
/// How many of them are judged: up to p99.
const JUDGED: usize = 5;
/// Bar on the median run with swaps, of the slowest run without.
const BAR: f64 = 1.0;
/// Bars on `adjust_total`: its p99, and every percentile that is reported, us.
const ADJUST_BARS: [(f64, &str, f64); 2] = [(0.99, "p99", 500.0), (0.999, "p999", 5_000.0)];
/// The recorded day that is replayed: every market of it.
const DAY: &str = "20240808";
const NAME: &str = "breaker-tuner";

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("swap", options, watch);
    if let Err(error) = native::find(None).and_then(|path| native::environment(&path)) {
        report.skip("swap", format!("ONNX RUNTIME ABSENT: {error}"));
        return report;
    }
    // Threads inherit the core of the one that starts them; the loop itself is pinned to the other one.
    pin(options.cores.0);
    let outcome = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|folder| {
        let place = Place::new(options, &mut report, folder.path())?;
        measure(&mut report, options, &place)
    });
    if let Err(reason) = outcome {
        report.check(false, reason);
    }
    report
}

/// What is replayed, and beside which models.
struct Place {
    captures: Vec<PathBuf>,
    recorded: bool,
    models: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn new(options: &Options, report: &mut Report, folder: &Path) -> Result<Self, String> {
        let models = folder.join("onnx");
        copies(&models).map_err(|error| format!("copies of the tuner: {error}"))?;
        let socket = folder.join("control.sock");
        // A tiny run is of a tiny market: recorded minutes take half a minute even at ten times their pace.
        let recorded = if options.quick { Vec::new() } else { recorded(&options.data.join("hftbacktest")) };
        if !recorded.is_empty() {
            return Ok(Self { captures: recorded, recorded: true, models, socket });
        }
        if !options.quick {
            report.note(format!(
                "RECORDED DATA ABSENT: no capture of {DAY} under {}; set TIDEGATE_DATA or --data. A SIMULATED market \
                 is replayed instead",
                options.data.join("hftbacktest").display()
            ));
        }
        let config = SimConfig::demo(1, Duration::from_secs(if options.quick { 20 } else { 300 }));
        let files = write_captures(&config, &folder.join("market")).map_err(|error| error.to_string())?;
        let captures = files.into_iter().map(|file| file.path).collect();
        Ok(Self { captures, recorded: false, models, socket })
    }

    fn plan(&self, options: &Options) -> Result<ReplayPlan, String> {
        let sources = self.captures.iter().map(|path| SourceSpec { path: path.clone(), venue: None }).collect();
        let mut settings = Settings::new(&self.models);
        // Versions are put in force by request only.
        (settings.loader.watch, settings.shadow.runs, settings.every_ns) = (false, u64::MAX, ADJUST_NS);
        let mut plan = ReplayPlan::new(sources);
        (plan.speed, plan.wait, plan.cores) = (Speed::Times(SPEED), WaitStrategy::Spin, vec![options.cores.1]);
        let claim = Claim::of(self.socket.parent().unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
        (plan.models, plan.control) = (ModelsPlan::Inline(Box::new(settings)), Some(Arc::new(claim)));
        Ok(plan)
    }
}

/// Captures of the day, by name.
fn recorded(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(&format!("{DAY}.gz")));
    files.sort();
    files
}

/// A repository with two versions of the committed tuner that differ by their number.
fn copies(models: &Path) -> std::io::Result<()> {
    let from = machine::workspace().join("onnx").join(NAME).join("1");
    for version in [1, 2] {
        let to = models.join(NAME).join(version.to_string());
        std::fs::create_dir_all(&to)?;
        for file in ["model.onnx", "golden.json"] {
            std::fs::copy(from.join(file), to.join(file))?;
        }
        let mut contract: serde_json::Value = serde_json::from_slice(&std::fs::read(from.join("contract.json"))?)?;
        contract["version"] = version.into();
        std::fs::write(to.join("contract.json"), contract.to_string())?;
    }
    Ok(())
}

/// What swapping came to.
#[derive(Default)]
struct Swaps {
    done: u64,
    /// Requests that were refused, in words.
    refused: Vec<String>,
    /// When the engine answered no more, and how that showed: the run was over, or should have been.
    silent: Option<(Instant, String)>,
    /// Longest time from asking for a version until it was in force.
    longest: Duration,
}

/// Loads and promotes the two versions in turn until the run is over.
fn swap_until(over: &AtomicBool, socket: &Path) -> Swaps {
    let mut swaps = Swaps::default();
    let mut next = Instant::now() + EVERY;
    while !over.load(Ordering::Relaxed) {
        if Instant::now() < next {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let start = Instant::now();
        // A swap that takes longer than that makes the next one late, not two at once.
        next = (next + EVERY).max(start);
        let version = 1 + (swaps.done % 2) as u32;
        let load = Ask::ModelLoad { name: NAME.into(), version };
        let mut refusal = None;
        for request in [load, Ask::ModelPromote { name: NAME.into(), version: None }] {
            match ask(socket, &request) {
                Ok(reply) => refusal = refusal.or(reply.error),
                Err(error) => {
                    swaps.silent = Some((start, error.to_string()));
                    return swaps;
                }
            }
        }
        match refusal {
            None => (swaps.done, swaps.longest) = (swaps.done + 1, swaps.longest.max(start.elapsed())),
            Some(reason) => swaps.refused.push(reason),
        }
    }
    swaps
}

/// One run with or without swaps.
struct Run {
    report: ReplayReport,
    swaps: Option<Swaps>,
    ended: Instant,
}

impl Run {
    fn new(plan: &ReplayPlan, place: &Place, swapping: bool) -> Result<Self, String> {
        let (stop, over) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let swaps = swapping.then(|| {
                scope.spawn(|| {
                    // Until the socket is there the models are not either.
                    while !place.socket.exists() && !over.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    swap_until(&over, &place.socket)
                })
            });
            let report = tidegate_runtime::replay::run(plan, &stop).map_err(|error| error.to_string());
            let ended = Instant::now();
            over.store(true, Ordering::Relaxed);
            let swaps = swaps.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            Ok(Self { report: report?, swaps, ended })
        })
    }

    fn stage(&self, name: &str) -> Option<&Histogram<u64>> {
        let place = STAGES.iter().position(|stage| *stage == name)?;
        self.report.histograms.get(place)
    }

    /// A quantile of `total`, us.
    fn at(&self, quantile: f64) -> f64 {
        self.stage("total").map_or(f64::NAN, |total| total.value_at_quantile(quantile) as f64 / 1e3)
    }
}

fn measure(report: &mut Report, options: &Options, place: &Place) -> Result<(), String> {
    let plan = place.plan(options)?;
    let pairs = if options.quick { 1 } else { options.reps.clamp(5, 9) };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        without.push(Run::new(&plan, place, false)?);
        with.push(Run::new(&plan, place, true)?);
    }
    print(report, place, &without, &with);
    print_adjustments(report, &without, &with);
    check(report, place, &without, &with);
    Ok(())
}

fn print(report: &mut Report, place: &Place, without: &[Run], with: &[Run]) {
    let first = &without[0].report;
    let each = |runs: &[Run], quantile: f64| runs.iter().map(|run| run.at(quantile)).collect::<Vec<_>>();
    let judged = QUANTILES[..JUDGED].iter();
    for (quantile, name) in judged {
        let slowest = each(without, *quantile).into_iter().fold(f64::MIN, f64::max);
        report.ratio(format!("swap_{name}_to_slowest_without"), median(&each(with, *quantile)) / slowest, BAR, "x");
    }
    let kind = if place.recorded { "recorded" } else { "SIMULATED" };
    let title = format!(
        "frame to decision (`total`), us, {kind}, {} frames at {SPEED}x in {:.0} s, {} runs each in turn",
        first.feed.frames,
        first.wall_s,
        without.len()
    );
    let mut table = Table::new(title, &["p50", "p75", "p90", "p95", "p99", "p99.9", "max", "swaps"]);
    for (name, runs) in [("without", without), ("with swaps", with)] {
        for (number, run) in runs.iter().enumerate() {
            let swaps = run.swaps.as_ref().map_or(0, |swaps| swaps.done);
            let max = run.stage("total").map_or(f64::NAN, |total| total.max() as f64 / 1e3);
            let figures: Vec<f64> = QUANTILES.iter().map(|(quantile, _)| run.at(*quantile)).collect();
            table.row(format!("{name}, run {}", number + 1), &[&figures[..], &[max, swaps as f64]].concat());
        }
        let figures: Vec<f64> = QUANTILES.iter().map(|(quantile, _)| median(&each(runs, *quantile))).collect();
        table.row(format!("{name}, median"), &[&figures[..], &[f64::NAN, f64::NAN]].concat());
    }
    report.table(table);
    let noise = |runs: &[Run]| {
        let one = |run: &Run| run.report.noise.as_ref().map_or(f64::NAN, |noise| noise.wait_p999_ns as f64 / 1e3);
        runs.iter().map(|run| format!("{:.0}", one(run))).collect::<Vec<_>>().join(", ")
    };
    report.note(format!(
        "noise floor of each run, p99.9 of what an arrival waits on the other core, us: without {}; with swaps {}. \
         p99.9 and max are not judged: the host makes them",
        noise(without),
        noise(with)
    ));
    report.note("on that other core: the reader, the sidecar, the loader with its gate, the meter, this rig");
    let longest = with.iter().filter_map(|run| run.swaps.as_ref()).map(|swaps| swaps.longest).max().unwrap_or_default();
    report.note(format!("longest swap, asked for until in force: {:.0} ms", longest.as_secs_f64() * 1e3));
}

/// Frame to threshold in force, all runs of a kind together: one run has too few adjustments for a tail.
fn print_adjustments(report: &mut Report, without: &[Run], with: &[Run]) {
    let together = |runs: &[Run], stage: &str| {
        runs.iter().filter_map(|run| run.stage(stage)).fold(None, |sum: Option<Histogram<u64>>, next| {
            let mut sum = sum.unwrap_or_else(|| Histogram::new_from(next));
            // Of one make: they have the same bounds.
            sum.add(next).is_ok().then_some(sum)
        })
    };
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    if let Some(total) = together(without, "adjust_total") {
        for (quantile, name, bar) in ADJUST_BARS {
            report.ratio(format!("adjust_total_{name}"), us(&total, quantile), bar, "us");
        }
    }
    let title = "frame to adjusted threshold in force (`adjust_total`) and its parts, us, runs together";
    let mut table = Table::new(title, &["p50", "p90", "p99", "p99.9", "max", "count"]);
    for (name, runs) in [("without", without), ("with swaps", with)] {
        for stage in ["sidecar_wait", "inference", "publish", "adjust_total"] {
            let Some(sum) = together(runs, stage) else { continue };
            let figures = [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| us(&sum, quantile));
            table.row(format!("{stage}, {name}"), &[&figures[..], &[sum.len() as f64]].concat());
        }
    }
    report.table(table);
}

fn check(report: &mut Report, place: &Place, without: &[Run], with: &[Run]) {
    let first = &without[0].report;
    let runs = || without.iter().chain(with);
    let lost = runs().map(|run| first.feed.frames.abs_diff(run.report.feed.frames)).max().unwrap_or(0);
    let gaps = runs().map(|run| run.report.feed.gaps.abs_diff(first.feed.gaps)).max().unwrap_or(0);
    // A simulated market loses frames on purpose, the same ones in every run.
    let gaps = gaps + if place.recorded { first.feed.gaps } else { 0 };
    report.ratio("swap_frames_lost", (lost + gaps) as f64, 0.0, "frames");
    // What nobody counted is no zero.
    let allocs = runs().map(|run| run.report.allocations_hot.map_or(f64::INFINITY, |count| count as f64));
    report.ratio("swap_hot_allocs", allocs.fold(0.0, f64::max), 0.0, "allocs");
    let same = runs().all(|run| run.report.features_digest == first.features_digest);
    report.check(same, "every run computes the same feature vectors");
    report.check(runs().all(|run| run.report.guard.advised > 0), "thresholds were advised in every run");
    for run in runs() {
        let models = run.report.models.clone().unwrap_or_default();
        // Whether a run was quick enough is up to the host as well: the gate and the shadow may say no to that.
        let slow = |reason: &String| ["too-slow", "shadow"].contains(&reason.as_str());
        let clean = models.refusals.keys().all(slow) && models.faults == 0 && models.unavailable.is_none();
        report.check(clean, format!("no model is refused but for its time, and none fails: {models:?}"));
        if let Some(swaps) = &run.swaps {
            check_swaps(report, swaps, run.ended, models.promotions);
        }
    }
}

fn check_swaps(report: &mut Report, swaps: &Swaps, ended: Instant, promotions: u64) {
    if !swaps.refused.is_empty() {
        report.note(format!("REFUSED on this host: {:?}", swaps.refused));
    }
    let done = swaps.done;
    report.check(done > 0 && promotions >= done, format!("{done} swaps are {promotions} promotions"));
    report.check(done > 9 * swaps.refused.len() as u64, format!("{done} swaps are done, {:?} not", swaps.refused));
    if let Some((when, how)) = &swaps.silent {
        // A last request may meet the end of the run.
        let early = ended.saturating_duration_since(*when);
        report.check(
            early < FAREWELL,
            format!("the engine answers until its run is over, not until {early:?} before: {how}"),
        );
    }
}
