//! Following the log of a running engine: a table that is printed anew each second until the writer ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tidegate_runtime::hlog::{Follower, HlogError, Interval, Summary};

use super::{Args, UNTAGGED, row, summaries, sums};
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table};

/// The log of a run directory; later rounds of a repeated replay write `latency.2.hlog` and so on.
const LOG_NAME: &str = "latency.hlog";
/// Beside the log: who writes it.
const ENGINE_FILE: &str = "engine.json";
const PERIOD: Duration = Duration::from_secs(1);
/// How often the wait looks for an interrupt.
const NAP: Duration = Duration::from_millis(50);

/// Follows the log at `place`.
pub(super) fn run(args: &Args, place: &Path) -> anyhow::Result<Exit> {
    let log = log_path(place)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;
    let mut screen = Screen::new(args.format);
    // A table for a pipe is printed once: nobody watches it. JSON lines are made to be piped, so they go on.
    let once = args.once || (args.format == Format::Table && !screen.is_terminal);
    let mut state = State::new(log, &args.tags);
    let mut before = Writer::Unknown;
    loop {
        // Asked before reading: what the writer wrote last is then still read.
        let writer = state.writer().after(before);
        before = writer;
        if let Some(newest) = newest_log(place) {
            state.follow(newest);
        }
        state.update()?;
        screen.show(&state, &writer)?;
        if once || writer == Writer::Gone {
            return Ok(Exit::Ok);
        }
        let shown = Instant::now();
        while shown.elapsed() < PERIOD {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            std::thread::sleep(NAP);
        }
    }
}

/// The log of a run directory that was written last; `None` for a file, and for a directory without such logs. A
/// later round is the newer one where the times are equal.
fn newest_log(place: &Path) -> Option<PathBuf> {
    let logs = std::fs::read_dir(place).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let round = round(entry.file_name().to_str()?)?;
        Some((entry.metadata().ok()?.modified().ok()?, round, entry.path()))
    });
    logs.max().map(|(_, _, path)| path)
}

/// Which round of a run wrote a log of this name; `None` for other files.
fn round(name: &str) -> Option<u64> {
    if name == LOG_NAME {
        return Some(1);
    }
    name.strip_prefix("latency.")?.strip_suffix(".hlog")?.parse().ok()
}

/// The log meant by a file or a directory: its newest `latency.hlog` or `latency.N.hlog`, else the only log in it.
fn log_path(place: &Path) -> anyhow::Result<PathBuf> {
    if !place.is_dir() {
        if place.exists() {
            return Ok(place.to_owned());
        }
        return Err(failed(Exit::BadInput, format!("{}: no such file or directory", place.display())));
    }
    if let Some(newest) = newest_log(place) {
        return Ok(newest);
    }
    let unreadable = |error| failed(Exit::BadInput, format!("{}: {error}", place.display()));
    let logs: Vec<PathBuf> = std::fs::read_dir(place)
        .map_err(unreadable)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "hlog"))
        .collect();
    match logs.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(failed(Exit::BadInput, format!("{}: no latency log here (*.hlog)", place.display()))),
        several => {
            let message = format!("{}: {} logs and no {LOG_NAME}; name one", place.display(), several.len());
            Err(failed(Exit::BadInput, message))
        }
    }
}

/// What is known of the process that writes the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Running {
        pid: u64,
    },
    Gone,
    /// Nothing says who writes: follow until interrupted.
    Unknown,
}

impl Writer {
    fn of(log: &Path) -> Self {
        let Some(pid) = writer_pid(&log.with_file_name(ENGINE_FILE)) else {
            return Self::Unknown;
        };
        if !Path::new("/proc/self").exists() {
            return Self::Unknown;
        }
        if is_running(pid) { Self::Running { pid } } else { Self::Gone }
    }

    /// A clean end takes the file with it: whoever was running and is not to be found any more is gone.
    fn after(self, before: Self) -> Self {
        if self == Self::Unknown && before != Self::Unknown { Self::Gone } else { self }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    fn pid(self) -> Option<u64> {
        match self {
            Self::Running { pid } => Some(pid),
            Self::Gone | Self::Unknown => None,
        }
    }
}

fn writer_pid(engine_file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(engine_file).ok()?;
    let engine: serde_json::Value = serde_json::from_str(&text).ok()?;
    engine.get("pid")?.as_u64()
}

/// Whether a process exists and has not ended: a zombie waits for its parent and writes nothing.
fn is_running(pid: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name in parentheses may itself contain any character.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// What has been read so far.
struct State<'a> {
    follower: Follower,
    only: &'a [String],
    total: BTreeMap<String, Histogram<u64>>,
    /// The newest interval of each tag.
    latest: BTreeMap<String, Histogram<u64>>,
    intervals: u64,
    broken_lines: u64,
}

impl<'a> State<'a> {
    fn new(log: PathBuf, only: &'a [String]) -> Self {
        let (total, latest) = (BTreeMap::new(), BTreeMap::new());
        Self { follower: Follower::new(log), only, total, latest, intervals: 0, broken_lines: 0 }
    }

    /// Goes over to another log, which is a session of its own: everything is counted anew.
    fn follow(&mut self, log: PathBuf) {
        if self.follower.path() != log {
            *self = Self::new(log, self.only);
        }
    }

    fn writer(&self) -> Writer {
        Writer::of(self.follower.path())
    }

    /// Reads on to the end of the log. Broken lines are counted, not fatal: the engine may recover.
    fn update(&mut self) -> anyhow::Result<()> {
        loop {
            match self.follower.poll() {
                Ok((intervals, restarted)) => {
                    if restarted {
                        (self.total, self.latest, self.intervals) = (BTreeMap::new(), BTreeMap::new(), 0);
                    }
                    return self.take(intervals);
                }
                Err(HlogError::Line { .. }) => self.broken_lines += 1,
                Err(error) => return Err(failed(Exit::BadInput, error.to_string())),
            }
        }
    }

    fn take(&mut self, mut intervals: Vec<Interval>) -> anyhow::Result<()> {
        let only = self.only;
        intervals.retain(|interval| {
            let tag = if interval.tag.is_empty() { UNTAGGED } else { &interval.tag };
            only.is_empty() || only.iter().any(|chosen| chosen == tag)
        });
        self.intervals += intervals.len() as u64;
        for (tag, new) in sums(&intervals)? {
            let Some(total) = self.total.get_mut(&tag) else {
                self.total.insert(tag, new);
                continue;
            };
            total.add(&new).map_err(|error| failed(Exit::BadInput, format!("tag `{tag}`: {error}")))?;
        }
        for interval in intervals {
            let tag = if interval.tag.is_empty() { UNTAGGED.to_owned() } else { interval.tag };
            self.latest.insert(tag, interval.histogram);
        }
        Ok(())
    }
}

/// One JSON line.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    path: &'a Path,
    /// `running`, `gone` or `unknown`.
    writer: &'static str,
    writer_pid: Option<u64>,
    intervals: u64,
    broken_lines: u64,
    unknown_lines: usize,
    tags: BTreeMap<&'a str, Summary>,
    latest: BTreeMap<&'a str, Summary>,
}

/// Where the table goes.
struct Screen {
    format: Format,
    is_terminal: bool,
    /// Lines printed last time, to be replaced.
    lines: usize,
}

impl Screen {
    fn new(format: Format) -> Self {
        Self { format, is_terminal: std::io::stdout().is_terminal(), lines: 0 }
    }

    fn show(&mut self, state: &State<'_>, writer: &Writer) -> anyhow::Result<()> {
        if self.format == Format::Json {
            let line = Line {
                schema: "tidegate.hist_live.v1",
                path: state.follower.path(),
                writer: writer.word(),
                writer_pid: writer.pid(),
                intervals: state.intervals,
                broken_lines: state.broken_lines,
                unknown_lines: state.follower.unknown_lines(),
                tags: summaries(&state.total),
                latest: summaries(&state.latest),
            };
            anstream::println!("{}", serde_json::to_string(&line)?);
            return Ok(());
        }
        let text = text(state, writer)?;
        if self.is_terminal && self.lines > 0 {
            // Up to where the last table began, and clear from there: what was above it stays.
            anstream::print!("\u{1b}[{}A\u{1b}[J", self.lines);
        }
        anstream::print!("{text}");
        anstream::stdout().flush()?;
        self.lines = text.lines().count();
        Ok(())
    }
}

fn text(state: &State<'_>, writer: &Writer) -> anyhow::Result<String> {
    let mut out = String::new();
    let who = match writer {
        Writer::Running { pid } => format!("written by process {pid}"),
        Writer::Gone => String::from("the writer has ended"),
        Writer::Unknown => format!("no {ENGINE_FILE} beside it: writer unknown"),
    };
    let broken = if state.broken_lines == 0 { String::new() } else { format!(", {} broken lines", state.broken_lines) };
    writeln!(out, "{}: {} intervals{broken}, {who}\n", state.follower.path().display(), state.intervals)?;
    let header = ["", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    for (title, tags) in [("latest", &state.latest), ("since start", &state.total)] {
        let mut header = header;
        header[0] = title;
        let rows = tags.iter().map(|(tag, histogram)| row(tag, &Summary::of(histogram)));
        writeln!(out, "{}\n", number_table(&header, rows))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tidegate_runtime::hlog::LogWriter;

    use super::*;

    fn histogram(count: u64) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        histogram.record_n(500, count).unwrap();
        histogram
    }

    #[test]
    fn a_directory_means_its_log() {
        let directory = tempfile::tempdir().unwrap();
        assert!(log_path(directory.path()).is_err(), "none");
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let only = file("a.hlog");
        assert_eq!(log_path(directory.path()).unwrap(), only);
        file("b.hlog");
        assert!(log_path(directory.path()).is_err(), "two");
        let usual = file(LOG_NAME);
        assert_eq!(log_path(directory.path()).unwrap(), usual);
        assert_eq!(log_path(&only).unwrap(), only);
        // Later than everything above, whatever the file system's clock tells apart.
        let later = std::time::SystemTime::now() + PERIOD;
        let age =
            |path: &Path, time| std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        let (second, tenth) = (file("latency.2.hlog"), file("latency.10.hlog"));
        file("latency.old.hlog");
        age(&second, later);
        assert_eq!(log_path(directory.path()).unwrap(), second, "the newest");
        age(&tenth, later);
        assert_eq!(log_path(directory.path()).unwrap(), tenth, "of the same time: the later round");
        age(&usual, later + PERIOD);
        assert_eq!(log_path(directory.path()).unwrap(), usual, "a new run in the same directory");
        assert!(log_path(Path::new("no/such/place")).is_err());
    }

    #[test]
    fn the_writer_is_looked_up_beside_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join(LOG_NAME);
        let engine = directory.path().join(ENGINE_FILE);
        assert_eq!(Writer::of(&log), Writer::Unknown);
        std::fs::write(&engine, "not JSON").unwrap();
        assert_eq!(Writer::of(&log), Writer::Unknown);
        let pid = std::process::id();
        std::fs::write(&engine, format!("{{\"pid\": {pid}}}")).unwrap();
        let running = Writer::Running { pid: pid.into() };
        assert_eq!(Writer::of(&log), running);
        assert_eq!(
            (Writer::Unknown.after(running), Writer::Unknown.after(Writer::Unknown)),
            (Writer::Gone, Writer::Unknown)
        );
        // Above the largest process number a kernel gives out.
        std::fs::write(&engine, "{\"pid\": 4194305}").unwrap();
        assert_eq!(Writer::of(&log), Writer::Gone);
    }

    #[test]
    fn totals_grow_and_the_latest_interval_stands_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOG_NAME);
        let mut log = LogWriter::create(&path, UNIX_EPOCH).unwrap();
        let mut state = State::new(path, &[]);
        for (second, count) in [(0, 5), (1, 7)] {
            let start = Duration::from_secs(second);
            log.write_interval("parse", start, PERIOD, &histogram(count)).unwrap();
            log.write_interval("", start, PERIOD, &histogram(1)).unwrap();
            state.update().unwrap();
        }
        assert_eq!((state.total["parse"].len(), state.latest["parse"].len()), (12, 7));
        assert_eq!(state.total[UNTAGGED].len(), 2);
        let text = text(&state, &Writer::Gone).unwrap();
        assert!(text.contains("4 intervals, the writer has ended"), "{text}");
        assert!(text.contains("latest") && text.contains("since start"), "{text}");
    }

    #[test]
    fn the_next_round_of_a_run_is_followed_and_counted_anew() {
        let directory = tempfile::tempdir().unwrap();
        let begin = |name: &str, count| {
            let mut log = LogWriter::create(directory.path().join(name), UNIX_EPOCH).unwrap();
            log.write_interval("parse", Duration::ZERO, PERIOD, &histogram(count)).unwrap();
        };
        begin(LOG_NAME, 5);
        let mut state = State::new(log_path(directory.path()).unwrap(), &[]);
        for (name, count) in [(LOG_NAME, 5), ("latency.2.hlog", 7), ("latency.3.hlog", 2)] {
            begin(name, count);
            state.follow(newest_log(directory.path()).unwrap());
            state.update().unwrap();
            assert_eq!(state.follower.path(), directory.path().join(name));
            assert_eq!((state.intervals, state.total["parse"].len()), (1, count));
        }
    }

    #[test]
    fn tags_not_asked_for_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOG_NAME);
        let mut log = LogWriter::create(&path, UNIX_EPOCH).unwrap();
        for tag in ["parse", "book", ""] {
            log.write_interval(tag, Duration::ZERO, PERIOD, &histogram(3)).unwrap();
        }
        let only = [String::from("book")];
        let mut state = State::new(path, &only);
        state.update().unwrap();
        assert_eq!(state.total.keys().collect::<Vec<_>>(), ["book"]);
    }
}
