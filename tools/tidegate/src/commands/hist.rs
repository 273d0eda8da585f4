//! `tidegate hist`: latency logs (`.hlog`) as tables, JSON, percentile tables and pictures; also of a running engine.

mod compare;
mod live;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;
use tidegate_runtime::hlog::{self, HlogError, Interval, Summary, Unit};

use crate::exit::{Exit, failed};
use crate::output::{Format, duration, number_table, print_json};
use crate::plot::{self, Series};

/// The name of intervals without a tag.
const UNTAGGED: &str = "untagged";
/// Stands where too few samples allow no figure.
const NO_FIGURE: &str = "-";

/// Show latency logs (.hlog): percentiles per tag, comparisons, plots; follow the log of a running engine.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  \
    tidegate hist run/latency.hlog\n  \
    tidegate hist run/latency.hlog --tag parse --format json | jq .files[0].tags.parse.p99_ns\n  \
    tidegate hist --compare before.hlog after.hlog --html compare.html\n  \
    tidegate hist --live run/\n\n\
    p99.9 needs 10,000 samples and p99.99 needs 100,000; with fewer the table shows `-` and JSON null.")]
pub(crate) struct Args {
    /// Logs to read; the intervals of each are added up per tag.
    #[arg(value_name = "FILE", required_unless_present = "live")]
    files: Vec<PathBuf>,
    /// Only this tag; repeat for more. `untagged` stands for intervals without one.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write the percentile plot as a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the percentile plot and the table as one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the percentile table other plotters read; with several tags, one file each (`name.tag.hgrm`).
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Unit of the values in `--hgrm`.
    #[arg(long, value_enum, default_value = "us")]
    unit: TableUnit,
    /// Compare two logs: second over first, per tag and percentile.
    #[arg(long, conflicts_with = "live")]
    compare: bool,
    /// Follow the log an engine is writing: the log, or the directory it is in (its newest log of a run).
    #[arg(long, value_name = "DIR_OR_FILE", conflicts_with_all = ["files", "svg", "html", "hgrm"])]
    live: Option<PathBuf>,
    /// With `--live`: print what there is and end.
    #[arg(long, requires = "live")]
    once: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TableUnit {
    Ns,
    Us,
    Ms,
}

impl From<TableUnit> for Unit {
    fn from(unit: TableUnit) -> Self {
        match unit {
            TableUnit::Ns => Self::Nanos,
            TableUnit::Us => Self::Micros,
            TableUnit::Ms => Self::Millis,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(place) = &args.live {
        return live::run(args, place);
    }
    if args.compare && args.files.len() != 2 {
        // What clap itself would check, had it a way to say so; it ends with the exit code of a usage error.
        let message = format!("--compare takes exactly two logs, got {}\n", args.files.len());
        clap::Error::raw(clap::error::ErrorKind::WrongNumberOfValues, message).exit();
    }
    let logs: Vec<TaggedLog> = args.files.iter().map(|path| TaggedLog::read(path)).collect::<Result<_, _>>()?;
    let logs = chosen(logs, &args.tags)?;
    let series = all_series(&logs);
    if let Some(path) = &args.svg {
        write_text(path, &plot::svg(&series))?;
    }
    if let Some(path) = &args.html {
        write_text(path, &plot::html(&series))?;
    }
    if let Some(path) = &args.hgrm {
        write_hgrm(path, &series, args.unit.into())?;
    }
    match (<&[TaggedLog; 2]>::try_from(logs.as_slice()), args.format) {
        (Ok(two), format) if args.compare => compare::print(two, format)?,
        (_, Format::Json) => print_json(&Report::of(&logs))?,
        (_, Format::Table) => anstream::println!("{}", table(&series)),
    }
    Ok(Exit::Ok)
}

/// A log with its intervals added up.
struct TaggedLog {
    path: PathBuf,
    start_time_s: Option<f64>,
    intervals: usize,
    unknown_lines: usize,
    torn_lines: usize,
    tags: BTreeMap<String, Histogram<u64>>,
}

impl TaggedLog {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let log = hlog::read(path).map_err(bad_input)?;
        if log.intervals.is_empty() && log.unknown_lines > 0 {
            let message = format!("{}: not a histogram log: none of its lines is an interval", path.display());
            return Err(failed(Exit::BadInput, message));
        }
        if log.unknown_lines > 0 {
            anstream::eprintln!("{}: skipped {} unknown lines", path.display(), log.unknown_lines);
        }
        if log.torn_lines > 0 {
            anstream::eprintln!("{}: skipped the last line, which breaks off", path.display());
        }
        Ok(Self {
            path: path.to_owned(),
            start_time_s: log.start_time_s,
            intervals: log.intervals.len(),
            unknown_lines: log.unknown_lines,
            torn_lines: log.torn_lines,
            tags: sums(&log.intervals)?,
        })
    }
}

fn bad_input(error: HlogError) -> anyhow::Error {
    failed(Exit::BadInput, error.to_string())
}

/// Intervals added up per tag, with a name for those that have none.
fn sums(intervals: &[Interval]) -> anyhow::Result<BTreeMap<String, Histogram<u64>>> {
    let mut tags = hlog::merge(intervals).map_err(bad_input)?;
    if let Some(untagged) = tags.remove("") {
        tags.insert(UNTAGGED.to_owned(), untagged);
    }
    Ok(tags)
}

/// Keeps the tags asked for; an error names those there are.
fn chosen(mut logs: Vec<TaggedLog>, tags: &[String]) -> anyhow::Result<Vec<TaggedLog>> {
    for tag in tags {
        if !logs.iter().any(|log| log.tags.contains_key(tag)) {
            let mut there: Vec<&str> = logs.iter().flat_map(|log| log.tags.keys().map(String::as_str)).collect();
            there.sort_unstable();
            there.dedup();
            return Err(failed(Exit::BadInput, format!("no tag `{tag}`; there are: {}", there.join(", "))));
        }
    }
    if !tags.is_empty() {
        logs.iter_mut().for_each(|log| log.tags.retain(|tag, _| tags.contains(tag)));
    }
    Ok(logs)
}

/// Every tag of every log, named so that no two look alike.
fn all_series(logs: &[TaggedLog]) -> Vec<Series<'_>> {
    let names = file_names(logs);
    let mut tags: Vec<&String> = logs.iter().flat_map(|log| log.tags.keys()).collect();
    tags.sort_unstable();
    tags.dedup();
    let mut series = Vec::new();
    for (file, log) in logs.iter().enumerate() {
        for (tag, histogram) in &log.tags {
            let label = if logs.len() == 1 { tag.clone() } else { format!("{tag} ({})", names[file]) };
            let tag = tags.binary_search(&tag).unwrap_or(0);
            series.push(Series { label, tag, file, files: logs.len(), histogram });
        }
    }
    series
}

/// File names where they differ, else whole paths.
fn file_names(logs: &[TaggedLog]) -> Vec<String> {
    let short = |log: &TaggedLog| log.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<String> = logs.iter().map(short).collect();
    names.sort_unstable();
    names.dedup();
    let unique = names.len() == logs.len();
    logs.iter().map(|log| if unique { short(log) } else { log.path.display().to_string() }).collect()
}

fn table(series: &[Series<'_>]) -> comfy_table::Table {
    let header = ["tag", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    number_table(&header, series.iter().map(|one| row(&one.label, &Summary::of(one.histogram))))
}

fn row(label: &str, summary: &Summary) -> Vec<String> {
    let text = |ns: Option<u64>| ns.map_or_else(|| NO_FIGURE.to_owned(), duration);
    vec![
        label.to_owned(),
        summary.count.to_string(),
        text(summary.min_ns),
        text(summary.mean_ns.map(|ns| ns.round() as u64)),
        text(summary.p50_ns),
        text(summary.p90_ns),
        text(summary.p99_ns),
        text(summary.p999_ns),
        text(summary.p9999_ns),
        text(summary.max_ns),
    ]
}

/// What is printed in JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    files: Vec<FileReport<'a>>,
}

#[derive(Serialize)]
struct FileReport<'a> {
    path: &'a Path,
    start_time_s: Option<f64>,
    intervals: usize,
    unknown_lines: usize,
    torn_lines: usize,
    tags: BTreeMap<&'a str, Summary>,
}

impl<'a> Report<'a> {
    fn of(logs: &'a [TaggedLog]) -> Self {
        let file = |log: &'a TaggedLog| FileReport {
            path: &log.path,
            start_time_s: log.start_time_s,
            intervals: log.intervals,
            unknown_lines: log.unknown_lines,
            torn_lines: log.torn_lines,
            tags: summaries(&log.tags),
        };
        Self { schema: "tidegate.hist.v1", files: logs.iter().map(file).collect() }
    }
}

fn summaries(tags: &BTreeMap<String, Histogram<u64>>) -> BTreeMap<&str, Summary> {
    tags.iter().map(|(tag, histogram)| (tag.as_str(), Summary::of(histogram))).collect()
}

fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).map_err(|error| failed(Exit::Io, format!("{}: {error}", path.display())))?;
    anstream::eprintln!("wrote {}", path.display());
    Ok(())
}

fn write_hgrm(path: &Path, series: &[Series<'_>], unit: Unit) -> anyhow::Result<()> {
    for one in series {
        let path = if series.len() == 1 { path.to_owned() } else { with_label(path, &one.label) };
        let written = File::create(&path).and_then(|file| {
            let mut out = BufWriter::new(file);
            hlog::write_hgrm(&mut out, one.histogram, unit)?;
            out.flush()
        });
        written.map_err(|error| failed(Exit::Io, format!("{}: {error}", path.display())))?;
        anstream::eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// `a.hgrm` with the label put in: `a.parse.hgrm`. What has no place in a file name becomes a hyphen.
fn with_label(path: &Path, label: &str) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let label: String = label.chars().map(safe).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or_else(|| "hgrm".into(), |extension| extension.to_string_lossy());
    path.with_file_name(format!("{stem}.{}.{extension}", label.trim_matches('-')))
}

#[cfg(test)]
mod tests;
