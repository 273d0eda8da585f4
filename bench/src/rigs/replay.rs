//! Whole replays, as users run them, against two replayers of the usual kind that do less.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tidegate_feed::replay::SourceSpec;
use tidegate_runtime::pipeline::Topology;
use tidegate_runtime::replay::{ReplayPlan, ReplayReport, Speed};
use tidegate_simex::{SimConfig, write_captures};

use crate::corpus::Frames;
use crate::peers::json::TapeWalk;
use crate::peers::replay::{Counts, Library, Replayer, Serde};
use crate::recorded::{CAPTURE, every_frame};
use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, median, paired, pin, unpin};

/// Bar on the time a frame, of each peer's: ahead of every one.
const BAR: f64 = 1.0;
/// The smallest recorded day, for a quick run.
const QUICK: &str = "hftbacktest/usdm_btcusdt_20240718.gz";

/// Figures of other engines that cannot read these captures, or not in this process.
const QUOTED: &str = "\
QUOTED, not from this run: peers' figures taken beforehand on another CPU, each engine on arrays of events that had been
parsed before (level changes, trades, quotes). M events/s a core:
  hftbacktest 2.4.4, flat depth, no orders  13.8 to 14.3
  lrvx 0.11, tape, no strategy              10.7
  nautilus 2.0.0rc6, L2, no strategy        1.85 to 2.4
They compare with M lvl ev/s above, which begins with the bytes of frames and ends with features and breakers.";

/// What is replayed.
struct Input {
    /// The file that peers read too.
    one: PathBuf,
    all: Vec<PathBuf>,
    recorded: bool,
    /// Keeps the simulated market until the end.
    _market: Option<tempfile::TempDir>,
}

impl Input {
    fn find(options: &Options, report: &mut Report) -> Result<Self, String> {
        let one = options.data.join(if options.quick { QUICK } else { CAPTURE });
        if one.exists() {
            let all = if options.quick { vec![one.clone()] } else { captures(&options.data.join("hftbacktest"))? };
            return Ok(Self { one, all, recorded: true, _market: None });
        }
        report.note(format!(
            "RECORDED DATA ABSENT: {} not found; set TIDEGATE_DATA or --data to the directory that holds it. A \
             SIMULATED market is replayed instead: these are not the figures of the recorded day",
            one.display()
        ));
        let market = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = SimConfig::demo(1, Duration::from_secs(if options.quick { 10 } else { 120 }));
        let files = write_captures(&config, market.path()).map_err(|error| error.to_string())?;
        let all: Vec<PathBuf> = files.into_iter().map(|file| file.path).collect();
        let usdm = |path: &&PathBuf| path.to_string_lossy().contains("usdm_btcusdt");
        let one = all.iter().find(usdm).ok_or("the simulated market has no USD-M BTCUSDT")?.clone();
        Ok(Self { one, all, recorded: false, _market: Some(market) })
    }
}

/// Captures of the venues the engine knows, by name.
fn captures(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| !path.to_string_lossy().contains("hyperliquid"));
    files.sort();
    Ok(files)
}

/// One way of replaying some files, repeated.
struct Series {
    name: String,
    files: Vec<PathBuf>,
    topology: Topology,
    /// ns a frame of each repetition.
    ns: Vec<f64>,
    last: Option<ReplayReport>,
    digests: Vec<(u64, u64)>,
    allocations: Option<u64>,
}

impl Series {
    fn new(name: &str, files: &[PathBuf], topology: Topology) -> Self {
        let how = if topology == Topology::Fused { "fused, 1 loop" } else { "staged, 3 loops" };
        Self {
            name: format!("{name}, {how}"),
            files: files.to_vec(),
            topology,
            ns: Vec::new(),
            last: None,
            digests: Vec::new(),
            allocations: Some(0),
        }
    }

    fn repeat(&mut self, options: &Options) -> Result<(), String> {
        let sources = self.files.iter().map(|path| SourceSpec { path: path.clone(), venue: None }).collect();
        let mut plan = ReplayPlan::new(sources);
        (plan.speed, plan.topology) = (Speed::Max, self.topology);
        if self.topology == Topology::Fused {
            plan.cores = vec![options.cores.1];
        }
        let stop = Arc::new(AtomicBool::new(false));
        let report = tidegate_runtime::replay::run(&plan, &stop).map_err(|error| error.to_string())?;
        self.ns.push(report.wall_s * 1e9 / report.feed.frames.max(1) as f64);
        self.digests.push((report.features_digest, report.decisions_digest));
        self.allocations = self.allocations.zip(report.allocations_hot).map(|(sum, more)| sum.max(more));
        self.last = Some(report);
        Ok(())
    }

    fn row(&self, table: &mut Table) {
        let Some(report) = &self.last else { return };
        let (feed, ns) = (&report.feed, median(&self.ns));
        let wall_us = ns * feed.frames as f64 / 1e3;
        let levels = feed.level_changes + feed.trades + feed.quotes;
        let best = self.ns.iter().copied().fold(f64::MAX, f64::min);
        let allocations = self.allocations.map_or(f64::NAN, |count| count as f64);
        let rates = [1e6 / ns, feed.events as f64 / wall_us, levels as f64 / wall_us];
        table.row(&self.name, &[rates[0], rates[1], rates[2], ns, best, allocations]);
    }
}

/// A peer, repeated.
struct Peer {
    name: &'static str,
    run: fn(&mut Frames) -> Option<Counts>,
    ns: Vec<f64>,
    counts: Option<Counts>,
}

impl Peer {
    fn new<L: Library>(name: &'static str) -> Self {
        Self { name, run: |frames| Replayer::<L>::default().run(frames), ns: Vec::new(), counts: None }
    }

    /// On a thread of its own, on the core where our fused loop runs.
    fn repeat(&mut self, frames: &mut Frames, core: usize) {
        let run = self.run;
        let (ns, counts) = std::thread::scope(|scope| {
            let measure = move || {
                pin(core);
                let start = Instant::now();
                let counts = run(frames);
                (start.elapsed().as_nanos() as f64 / frames.len().max(1) as f64, counts)
            };
            scope.spawn(measure).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.ns.push(ns);
        self.counts = counts;
    }
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("replay", options, watch);
    // The engine places its own threads: they must not inherit this one's core.
    unpin();
    let outcome = Input::find(options, &mut report).and_then(|input| measure(&mut report, options, &input));
    if let Err(reason) = outcome {
        report.check(false, reason);
    }
    pin(options.cores.0);
    report
}

fn measure(report: &mut Report, options: &Options, input: &Input) -> Result<(), String> {
    let one = [input.one.clone()];
    let day = if input.recorded { "USD-M BTC day" } else { "SIMULATED USD-M BTC" };
    let mut series = vec![Series::new(day, &one, Topology::Fused), Series::new(day, &one, Topology::Staged)];
    if input.all.len() > 1 {
        let name = format!("all {} files merged", input.all.len());
        series.push(Series::new(&name, &input.all, Topology::Fused));
        series.push(Series::new(&name, &input.all, Topology::Staged));
    }
    let mut peers =
        [Peer::new::<Serde>("serde_json, two BTreeMaps"), Peer::new::<TapeWalk>("simd-json kept tape, two BTreeMaps")];
    let mut frames = every_frame(&input.one)?;
    let reps = if options.quick { 2 } else { options.reps.clamp(5, 9) };
    for _ in 0..reps {
        for series in &mut series {
            series.repeat(options)?;
        }
        for peer in &mut peers {
            peer.repeat(&mut frames, options.cores.1);
        }
    }
    print(report, &series, &peers, frames.len(), reps);
    check(report, &series, &peers, input);
    Ok(())
}

fn print(report: &mut Report, series: &[Series], peers: &[Peer], frames: usize, reps: usize) {
    let title = format!("whole replays at full speed, features and breakers included; median of {reps} repetitions");
    let columns = ["kframes/s", "M events/s", "M lvl ev/s", "ns/frame", "best ns", "hot allocs"];
    let mut table = Table::new(title, &columns);
    series.iter().for_each(|series| series.row(&mut table));
    report.table(table);
    if let Some(noise) = series[0].last.as_ref().and_then(|last| last.noise.as_ref()) {
        report.note(format!(
            "noise during the last fused replay: {:.2} % stolen, {:.0} gaps a second, p99.9 wait {:.1} us, longest \
             {:.1} us",
            noise.stolen_ratio * 100.0,
            noise.gaps_per_s,
            noise.wait_p999_ns as f64 / 1e3,
            noise.longest_ns as f64 / 1e3
        ));
    }
    report.note(format!(
        "fused rows are rates of one core; staged rows are of three loops on {} cores, and their clock stops with the \
         first loop: what the rings still hold then is not in it",
        crate::machine::cores()
    ));
    let title = format!(
        "peers on the same file, {frames} frames split beforehand; decoding, sequence rule and book only, no features, \
         no breakers"
    );
    let mut table = Table::new(title, &["kframes/s", "M lvl ev/s", "ns/frame", "best ns", "ours/theirs"]);
    for peer in peers {
        let (ns, counts) = (median(&peer.ns), peer.counts.unwrap_or_default());
        let levels = (counts.level_changes + counts.trades + counts.quotes) as f64;
        let best = peer.ns.iter().copied().fold(f64::MAX, f64::min);
        let ahead = paired(&peer.ns, &series[0].ns);
        table.row(peer.name, &[1e6 / ns, levels * 1e3 / (ns * frames as f64), ns, best, ahead]);
    }
    report.table(table);
    report.note("ours/theirs: frames/s of our fused replay to the peer's; above 1 we are ahead although we do more");
    report.note(QUOTED);
    for (peer, name) in peers.iter().zip(["serde_json", "simd_json"]) {
        report.ratio(format!("replay_ns_to_{name}"), paired(&series[0].ns, &peer.ns), BAR, "x");
    }
    for (series, name) in series.iter().zip(["fused", "staged", "merged_fused", "merged_staged"]) {
        let allocations = series.allocations.map_or(f64::NAN, |count| count as f64);
        report.ratio(format!("replay_{name}_hot_allocs"), allocations, 0.0, "allocs");
    }
}

fn check(report: &mut Report, series: &[Series], peers: &[Peer], input: &Input) {
    for pair in series.chunks(2) {
        let first = pair[0].digests.first();
        let same = pair.iter().flat_map(|series| &series.digests).all(|digests| Some(digests) == first);
        report.check(same, format!("{} and staged: every repetition has the same digests", pair[0].name));
        if let Some((features, decisions)) = first {
            report.note(format!("{}: features {features:016x}, decisions {decisions:016x}", pair[0].name));
        }
    }
    let Some(ours) = &series[0].last else { return };
    let feed = &ours.feed;
    let levels = ours.instruments.first().map_or((0, 0), |instrument| instrument.levels);
    let wanted = Counts {
        deltas: feed.deltas,
        level_changes: feed.level_changes,
        quotes: feed.quotes,
        trades: feed.trades,
        gaps: feed.gaps,
        levels,
    };
    for peer in peers {
        let same = peer.counts == Some(wanted);
        report.check(same, format!("{} reads the same as we do: {:?}, ours {wanted:?}", peer.name, peer.counts));
    }
    if input.recorded {
        for last in series.iter().filter_map(|series| series.last.as_ref()) {
            let feed = &last.feed;
            let right = feed.gaps + feed.decode_errors() + last.market.crossed + last.market.off_grid;
            report.check(right == 0, "recorded days have no gap, no unreadable frame and no crossed book");
        }
    }
}
