//! The lossless ring between two processes over a shared mapping: this program starts itself again as the reader.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use tidegate_wire::ring::{Region, RegionKind, lossless};

use crate::peers::ring::OurReader;
use crate::report::{Report, Table};
use crate::rigs::ring::{
    Bed, CAPACITY, Sizes, line_ns, percentiles, receive_flat_out, receive_paced, send_flat_out, send_paced,
};
use crate::timing::{Stopwatch, median, pin};

/// The ring's file, in the environment of the reading process.
const RING: &str = "TIDEGATE_BENCH_RING";
/// Its core and whether sizes are tiny.
const SHAPE: &str = "TIDEGATE_BENCH_RING_SHAPE";

/// What the reading process is to do.
#[derive(Debug)]
pub(super) struct Role {
    path: PathBuf,
    core: usize,
    sizes: Sizes,
}

impl Role {
    /// Set when this process was started as the reader.
    pub(super) fn from_env() -> Option<Self> {
        let path = std::env::var_os(RING)?.into();
        let shape = std::env::var(SHAPE).ok()?;
        let mut numbers = shape.split(',').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (core, paced, flat_out) = (next()?, next()?, next()?);
        Some(Self { path, core, sizes: Sizes { paced, flat_out } })
    }

    /// Reads both parts and prints what was found; the writer reads that from our standard output.
    pub(super) fn play(&self) {
        pin(self.core);
        let watch = Stopwatch::default();
        let region = match Region::open(&self.path, RegionKind::Lossless) {
            Ok(region) => Arc::new(region),
            Err(error) => return println!("error {error}"),
        };
        println!("ready");
        let mut reader = OurReader::new(region);
        let (times, paced) = receive_paced::<false>(&watch, &mut reader, self.sizes.paced);
        let [p50, p90, p99] = percentiles(&watch, times);
        println!("paced {p50} {p90} {p99}");
        let (end, flat_out) = receive_flat_out(&watch, &mut reader, self.sizes.flat_out);
        match paced.and(flat_out) {
            Ok(()) => println!("end {end}"),
            Err(error) => println!("error {error}"),
        }
    }
}

/// Measures `reps` times and adds a table to the report.
pub(super) fn measure(report: &mut Report, bed: &Bed<'_>, reps: usize) {
    let dir = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let path = dir.join(format!("tidegate-bench-{}", std::process::id()));
    let mut samples: Vec<[f64; 5]> = Vec::with_capacity(reps);
    for _ in 0..reps {
        let line = line_ns(bed);
        match once(bed, &path) {
            Ok([p50, p90, p99, each]) => samples.push([line, p50, p90, p99, each]),
            Err(error) => report.check(false, format!("ring between processes: {error}")),
        }
    }
    // What was removed already is what we wanted.
    let _ = std::fs::remove_file(&path);
    let columns = ["line rt/2", "p50", "p90", "p99", "flat out"];
    let title = format!("our lossless ring between two processes, {reps} repetitions: medians, ns");
    let mut table = Table::new(title, &columns);
    let figures: Vec<f64> = (0..5).map(|i| median(&samples.iter().map(|s| s[i]).collect::<Vec<_>>())).collect();
    table.row("two processes", &figures);
    report.table(table);
}

/// One reading process, both parts.
fn once(bed: &Bed<'_>, path: &Path) -> Result<[f64; 4], String> {
    let region = Region::create(path, RegionKind::Lossless, CAPACITY as u64).map_err(|error| error.to_string())?;
    let mut writer = lossless::Writer::resume(Arc::new(region));
    let mut partner = Partner::start(bed, path)?;
    partner.expect("ready")?;
    send_paced(bed.watch, bed.sizes.paced, |record| writer.push(record).is_ok());
    let paced = partner.expect("paced")?;
    let start = bed.watch.now();
    send_flat_out(bed.sizes.flat_out, |record| writer.push(record).is_ok());
    let end = partner.expect("end")?;
    let (&[p50, p90, p99], &[end]) = (&paced[..], &end[..]) else { return Err("the reader answers in riddles".into()) };
    Ok([p50, p90, p99, bed.watch.ns_raw((end as u64).saturating_sub(start)) / bed.sizes.flat_out as f64])
}

/// The reading process; killed when dropped.
struct Partner {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Partner {
    fn start(bed: &Bed<'_>, path: &Path) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let shape = format!("{},{},{}", bed.cores.1, bed.sizes.paced, bed.sizes.flat_out);
        let mut command = Command::new(program);
        command.env(RING, path).env(SHAPE, shape).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output to read")?).lines();
        Ok(Self { child, lines })
    }

    /// The next line, which must begin with `word`; gives the numbers behind it.
    fn expect(&mut self, word: &str) -> Result<Vec<f64>, String> {
        let line = self.lines.next().ok_or("the reader ended early")?.map_err(|error| error.to_string())?;
        let rest = line.strip_prefix(word).ok_or(format!("the reader says {line:?}, expected {word}"))?;
        Ok(rest.split_whitespace().filter_map(|number| number.parse().ok()).collect())
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It has ended already unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
