//! What a rig is asked and what it answers: options, tables, bars and the `RATIO` lines that scripts read.

use std::path::PathBuf;

use serde::Serialize;

use crate::machine;
use crate::timing::{NoiseFloor, Stopwatch};

/// Exit code of `--gate` when a bar is missed.
pub const MISSED: i32 = 99;

/// How rigs are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tiny sizes: shows that everything works; no bar is judged.
    pub quick: bool,
    /// One JSON object instead of tables.
    pub json: bool,
    /// Exit with [`MISSED`] when a bar is missed.
    pub gate: bool,
    /// Repetitions of interleaved measurements, at least 5 unless quick.
    pub reps: usize,
    /// Core of the measuring thread, and of its partner where there are two.
    pub cores: (usize, usize),
    /// Where recorded captures are.
    pub data: PathBuf,
    /// Which rigs to run; all when empty.
    pub only: Vec<String>,
}

/// What `--help` prints.
pub const HELP: &str = "\
Options:
  --quick        tiny sizes, for CI: shows that the rig works; no bar is judged
  --json         one JSON object instead of tables
  --gate         exit with 99 when a bar is missed
  --reps N       interleaved repetitions (default 9; 2 with --quick)
  --cores A,B    cores of the measuring thread and of its partner (default 0,1)
  --data DIR     recorded captures (default $TIDEGATE_DATA, else ../shared/data beside the workspace)
  --help         this text
rig_inference measures plain onnxruntime in $TIDEGATE_PYTHON, else in python3, where that has it.
`rigs` also takes names of rigs to run: decode ring book risk ledger audit path transport replay inference swap live
serve.";

impl Options {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            json: false,
            gate: false,
            reps: 0,
            cores: (0, 1),
            data: machine::data(),
            only: Vec::new(),
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--gate" => options.gate = true,
                "--reps" => {
                    let text = value()?;
                    options.reps = text.parse().map_err(|_| format!("--reps {text:?}: expected a number"))?;
                }
                "--cores" => {
                    let text = value()?;
                    let pair = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                    options.cores = pair.ok_or(format!("--cores {text:?}: expected two numbers, as in 0,1"))?;
                }
                "--data" => options.data = value()?.into(),
                name if !name.starts_with('-') => options.only.push(name.to_owned()),
                // cargo bench and cargo test pass flags of their own.
                "--bench" | "--test" => {}
                other => return Err(format!("unknown option {other}; --help lists them")),
            }
        }
        if options.reps == 0 {
            options.reps = if options.quick { 2 } else { 9 };
        }
        Ok(options)
    }
}

/// A measured ratio (or time) and the bar it has to pass: at most that.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Short name, stable across versions.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What it may be at most.
    pub bar: f64,
    /// What both are: `x` for ratios, `us`, `allocs`.
    pub unit: &'static str,
    /// Whether sizes were large enough to say that it passes or misses.
    pub judged: bool,
}

impl Ratio {
    /// Whether the bar is missed; what is not judged never is.
    pub fn misses(&self) -> bool {
        self.judged && self.value.partial_cmp(&self.bar).is_none_or(std::cmp::Ordering::is_gt)
    }

    /// One line: name, figure, bar, verdict.
    pub fn line(&self) -> String {
        let figure = format!("{:<34} {:>8.3} {:<6}", self.name, self.value, self.unit);
        if !self.judged {
            return format!("quick: not judged  {figure}");
        }
        let verdict = if self.misses() { "MISS" } else { "PASS" };
        format!("{verdict}  {figure}  bar <= {} {}", self.bar, self.unit)
    }
}

/// One table of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    /// A table; the first column holds names, the others numbers.
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, figures: &[f64]) {
        self.rows.push((name.into(), figures.to_vec()));
    }

    fn print(&self) {
        println!("\n{}", self.title);
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(12);
        let heads: String = self.columns.iter().map(|column| format!(" {column:>12}")).collect();
        println!("  {:width$}{heads}", "");
        for (name, figures) in &self.rows {
            let figures: String = figures.iter().map(|figure| format!(" {:>12}", number(*figure))).collect();
            println!("  {name:width$}{figures}");
        }
    }
}

/// Three significant digits or so; a dash for what was not measured.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// Everything one rig found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the rig.
    pub rig: &'static str,
    /// The machine line.
    pub machine: String,
    /// Whether sizes were tiny.
    pub quick: bool,
    /// Remarks, printed first.
    pub notes: Vec<String>,
    tables: Vec<Table>,
    /// Figures with bars.
    pub ratios: Vec<Ratio>,
    /// Figures with bars that could not be measured here: name and why. They are neither passed nor missed.
    pub skipped: Vec<(String, String)>,
    /// Functional checks that failed; any makes the run fail.
    pub failures: Vec<String>,
    #[serde(skip)]
    silent: bool,
}

impl Report {
    /// Opens a report: prints the machine, the clock's cost and the noise floor of the calling thread.
    pub fn open(rig: &'static str, options: &Options, watch: &Stopwatch) -> Self {
        let mut report = Self {
            rig,
            machine: machine::line(),
            quick: options.quick,
            notes: Vec::new(),
            tables: Vec::new(),
            ratios: Vec::new(),
            skipped: Vec::new(),
            failures: Vec::new(),
            silent: options.json,
        };
        if !report.silent {
            println!("\n=== rig_{rig}{} ===", if options.quick { " (quick: figures mean little)" } else { "" });
            println!("machine: {}", report.machine);
        }
        let floor = NoiseFloor::measure(watch, std::time::Duration::from_millis(if options.quick { 20 } else { 500 }));
        report.note(format!("noise floor: {}", floor.line()));
        report.note(format!(
            "clock: {:?}, a reading costs {:.1} ns and is taken off",
            watch.clock().source(),
            watch.overhead_ns()
        ));
        report
    }

    /// A remark.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.silent {
            println!("{text}");
        }
        self.notes.push(text);
    }

    /// A finished table.
    pub fn table(&mut self, table: Table) {
        if !self.silent {
            table.print();
        }
        self.tables.push(table);
    }

    /// A figure that has a bar.
    pub fn ratio(&mut self, name: impl Into<String>, value: f64, bar: f64, unit: &'static str) {
        let ratio = Ratio { name: name.into(), value, bar, unit, judged: !self.quick };
        if !self.silent {
            println!("{}", ratio.line());
        }
        if !self.silent && ratio.judged {
            println!("RATIO {} {:.4} {}", ratio.name, ratio.value, ratio.bar);
        }
        self.ratios.push(ratio);
    }

    /// A figure that cannot be measured here, and why. Said loudly, here and in the summary: it is no pass.
    pub fn skip(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        let (name, reason) = (name.into(), reason.into());
        eprintln!("SKIPPED {name}: {reason}");
        self.skipped.push((name, reason));
    }

    /// A functional check; `what` says what should have held.
    pub fn check(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            let what = what.into();
            eprintln!("FAILED CHECK: {what}");
            self.failures.push(what);
        }
    }
}

/// Prints the summary of several reports: every figure with a bar, then what failed.
pub fn summary(reports: &[Report]) {
    println!("\n=== summary ===");
    for report in reports {
        for ratio in &report.ratios {
            println!("{:<9} {}", report.rig, ratio.line());
        }
    }
    for (report, (name, reason)) in reports.iter().flat_map(|report| report.skipped.iter().map(move |s| (report, s))) {
        println!("{:<9} SKIPPED  {name}: {reason}", report.rig);
    }
    let ratios = || reports.iter().flat_map(|report| &report.ratios);
    let missed = ratios().filter(|ratio| ratio.misses()).count();
    if reports.iter().any(|report| report.quick) {
        println!("quick: not judged ({} figures)", ratios().count());
    } else {
        let skipped: usize = reports.iter().map(|report| report.skipped.len()).sum();
        println!("{} of {} bars met, {skipped} skipped", ratios().count() - missed, ratios().count());
    }
    for (report, failure) in reports.iter().flat_map(|report| report.failures.iter().map(move |f| (report, f))) {
        println!("{:<9} FAILED CHECK: {failure}", report.rig);
    }
}

/// 1 when a check failed, [`MISSED`] when `gate` and a bar is missed, else 0.
pub fn exit_code(reports: &[Report], gate: bool) -> i32 {
    let missed = reports.iter().flat_map(|report| &report.ratios).any(Ratio::misses);
    match () {
        () if reports.iter().any(|report| !report.failures.is_empty()) => 1,
        () if gate && missed => MISSED,
        () => 0,
    }
}
