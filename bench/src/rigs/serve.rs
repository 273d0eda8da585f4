//! The stream server under load: what five hundred clients do to the hot path, to memory, and to each other.
//!
//! ```text
//! core A   the engine's cold threads and server     the crowd (or nobody)     this rig
//! core B   the engine's loop: a simulated market at a pace, the same in every turn
//! ```
//!
//! Turns with a crowd and without one alternate. With: 440 clients that take everything, 50 that subscribe to
//! everything and take nothing, 10 that are hostile. The hot path is judged by the slowest of the turns without
//! anybody: what is within what such turns differ by is equal. At the end every healthy client must have every entry
//! of every log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_simex::{SimConfig, write_captures};

use super::live_processes::beside;
use super::serve_crowd::{self, Seen};
use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, pin};

/// Percentiles of `total` that are compared, by their names in the summary.
const QUANTILES: [(&str, &str); 3] = [("p50", "p50_ns"), ("p90", "p90_ns"), ("p99", "p99_ns")];
/// What a crowd may cost in memory, MiB: a bounded place a client.
const MEMORY_BAR: f64 = 256.0;

/// One turn.
struct Turn {
    summary: Value,
    seen: Option<Seen>,
    /// Resident memory before the crowd came and while it is there, MiB.
    memory: (f64, f64),
    /// The server's own counts at the end.
    debug: Value,
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("serve", options, watch);
    let how = "cargo build --release -p tidegate";
    let engine = match beside("tidegate", how) {
        Ok(engine) => engine,
        Err(reason) => {
            report.skip("serve", reason);
            return report;
        }
    };
    pin(options.cores.0);
    if let Err(error) = measure(&mut report, options, &engine) {
        report.check(false, error);
    }
    report
}

fn measure(report: &mut Report, options: &Options, engine: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (seconds, speed) = if options.quick { (16, 4) } else { (80, 4) };
    let config = SimConfig::demo(7, Duration::from_secs(seconds));
    let files = write_captures(&config, &folder.path().join("market")).map_err(|error| error.to_string())?;
    let inputs: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let lasting = Duration::from_secs(seconds / speed);
    let turns = if options.quick { 1 } else { options.reps.clamp(5, 9) };
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let place = folder.path().join(format!("turn{turn}"));
        let take = |crowd: bool| {
            let place = place.join(if crowd { "crowd" } else { "alone" });
            self::turn(engine, &place, &inputs, (speed, lasting), options, crowd)
        };
        alone.push(take(false)?);
        crowded.push(take(true)?);
    }
    report.note(format!(
        "core {}: the engine's cold threads, server, crowd; core {}: its loop; {} instruments at {speed} times the \
         recorded pace, {turns} turns of {} s each",
        options.cores.0,
        options.cores.1,
        files.len(),
        lasting.as_secs()
    ));
    hot_path(report, &alone, &crowded);
    clients(report, &crowded);
    let most = crowded.iter().map(|turn| turn.memory.1 - turn.memory.0).fold(0.0, f64::max);
    report.ratio("serve_crowd_memory", most, MEMORY_BAR, "MiB");
    Ok(())
}

fn hot_path(report: &mut Report, alone: &[Turn], crowded: &[Turn]) {
    let mut table = Table::new("frame to decision, us: every turn", &["p50", "p90", "p99", "p99.9", "max"]);
    let of = |turn: &Turn, key: &str| turn.summary["latency"]["total"][key].as_f64().map_or(f64::NAN, |ns| ns / 1e3);
    for (name, turns) in [("nobody", alone), ("500 clients", crowded)] {
        for turn in turns {
            let figures = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(|key| of(turn, key));
            table.row(name, &figures);
        }
    }
    report.table(table);
    for (name, key) in QUANTILES {
        let mut with: Vec<f64> = crowded.iter().map(|turn| of(turn, key)).collect();
        with.sort_by(f64::total_cmp);
        let slowest = alone.iter().map(|turn| of(turn, key)).fold(0.0, f64::max);
        report.ratio(format!("serve_crowd_{name}"), with[with.len() / 2] / slowest, 1.0, "x of the slowest turn alone");
    }
    for turn in alone.iter().chain(crowded) {
        let allocations = turn.summary["allocations_hot"].as_f64().unwrap_or(f64::INFINITY);
        report.check(allocations == 0.0, "the hot path does not allocate");
    }
}

fn clients(report: &mut Report, crowded: &[Turn]) {
    let columns = ["well", "dropped", "holes", "entries", "prices told", "prices heard", "frames", "slow dropped"];
    let mut table = Table::new("healthy clients, every turn", &columns);
    for turn in crowded {
        let Some(seen) = &turn.seen else { continue };
        let slow = turn.debug["dropped_slow"].as_f64().unwrap_or(f64::NAN);
        let figures = [
            seen.well as f64,
            seen.dropped as f64,
            seen.holes as f64,
            seen.newest.1 as f64,
            seen.telling as f64,
            seen.told as f64,
            seen.frames as f64,
            slow,
        ];
        table.row("", &figures);
        report.check(seen.dropped == 0, "no healthy client is dropped");
        report.check(seen.holes == 0, "no healthy client misses an entry of a log");
        report.check(seen.told == seen.telling * seen.well as u64, "every price that is told is heard by all");
        report.check(turn.debug["dropped_abusive"].as_u64() > Some(0), "hostile clients are dropped");
    }
    report.table(table);
    let slow: f64 = crowded.iter().filter_map(|turn| turn.debug["dropped_slow"].as_f64()).sum();
    report.note(format!("stalled clients that were dropped, all turns together: {slow}"));
}

/// The engine, ended when dropped.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn turn(
    program: &Path,
    folder: &Path,
    inputs: &[PathBuf],
    (speed, lasting): (u64, Duration),
    options: &Options,
    crowd: bool,
) -> Result<Turn, String> {
    let failed = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["replay", "--format", "json", "--serve", "127.0.0.1:0", "--audit"]).arg(folder.join("audit"));
    command.args(["--speed", &speed.to_string(), "--cores", &options.cores.1.to_string(), "--input"]).args(inputs);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut engine = Engine(command.spawn().map_err(failed)?);
    let mut told = BufReader::new(engine.0.stderr.take().ok_or("no stderr")?);
    let mut line = String::new();
    told.read_line(&mut line).map_err(failed)?;
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address: SocketAddr =
        address.and_then(|text| text.parse().ok()).ok_or_else(|| format!("no address in {line:?}"))?;
    // Somebody must read what it says, or it waits.
    let drain = std::thread::spawn(move || drop(told.read_to_end(&mut Vec::new())));
    let pid = engine.0.id();
    std::thread::sleep(lasting / 8);
    let before = resident(pid);
    let busy = lasting * 5 / 8;
    let seen = if crowd {
        Some(serve_crowd::run(address, busy, options.quick)?)
    } else {
        std::thread::sleep(busy);
        None
    };
    let during = resident(pid);
    let debug = get(address, "/api/state/debug").map(|found| found["state"][0]["data"].clone()).unwrap_or_default();
    let mut summary = Vec::new();
    engine.0.stdout.take().ok_or("no stdout")?.read_to_end(&mut summary).map_err(failed)?;
    let _ = drain.join();
    let summary = serde_json::from_slice(&summary).map_err(|error| format!("no summary: {error}"))?;
    Ok(Turn { summary, seen, memory: (before, during), debug })
}

/// Resident memory of a process, MiB.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

fn get(at: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = std::net::TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
