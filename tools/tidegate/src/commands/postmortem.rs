//! `tidegate postmortem`: what an incident was, why, and what follows.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_guard::conditions::Calendar;
use tidegate_runtime::postmortem::{self, CERTAIN, Postmortem, PostmortemError, Request, RootCause};
use tidegate_runtime::replay;

use super::audit::{Keys, unusable};
use super::replay::exit_code;
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Explains an incident from the audit log, the recorded input and the latency log.
///
/// The log is verified first. Trips no more than five seconds apart are one incident. The recorded input runs through
/// the same engine again: the report says whether it took the same decisions, or where not first.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate postmortem run/audit --input run/market/*.gz --last --out run
  tidegate postmortem run/audit --input captures/*.tgcap --event 1042 --hlog run/latency.hlog --out report
  tidegate postmortem run/audit --list
  tidegate postmortem --schema > postmortem.schema.json

EXIT CODES: 0 explained, 1 the log was changed, or the re-run took other decisions (the report says which)")]
pub(crate) struct Args {
    /// Folder of the audit log
    #[arg(required_unless_present = "schema", value_name = "AUDIT_DIR")]
    log: Option<PathBuf>,
    /// What the engine was given: the captures of that run, all of them; FILE or VENUE=FILE
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present_any = ["schema", "list"])]
    input: Vec<String>,
    /// The newest of the gravest incidents (engine before strategy before venue before instrument) of the newest
    /// session in which a breaker tripped; what is meant without --event too
    #[arg(long, conflicts_with = "event")]
    last: bool,
    /// The incident that an entry of the log belongs to (its number, as `audit export` and --list show it); an entry of
    /// no incident is a moment to be explained
    #[arg(long, value_name = "ENTRY")]
    event: Option<u64>,
    /// The same by the number of a decision, as `decisions.jsonl` and the dashboard show it
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["event", "last"])]
    decision: Option<u64>,
    /// List the incidents of the session instead
    #[arg(long)]
    list: bool,
    /// Latency log of the run
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// The calendar that the run was configured with
    #[arg(long, value_name = "FILE")]
    calendar: Option<PathBuf>,
    #[command(flatten)]
    keys: Keys,
    /// Write postmortem.html, postmortem.md and postmortem.json into DIR, which is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Do not try other thresholds
    #[arg(long)]
    no_counterfactual: bool,
    /// Print the JSON schema of the report
    #[arg(long)]
    schema: bool,
    /// How to print; `table` is Markdown
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if args.schema {
        print_json(&postmortem::schema())?;
        return Ok(Exit::Ok);
    }
    // clap asks for it unless the schema is wanted.
    let log = args.log.clone().unwrap_or_default();
    if args.list {
        return list(args, &log);
    }
    let input =
        replay::sources(&args.input).map_err(|message| failed(Exit::BadInput, format!("--input: {message}")))?;
    let request = Request {
        log,
        keys: args.keys.read()?,
        input,
        entry: args.event,
        decision: args.decision,
        hlog: args.hlog.clone(),
        calendar: args.calendar.as_deref().map(calendar).transpose()?,
        without_counterfactual: args.no_counterfactual,
    };
    let report = postmortem::explain(&request).map_err(unexplained)?;
    let written = args.out.as_deref().map(|folder| write(&report, folder)).transpose()?;
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Table => print(&report, written.as_deref()),
    }
    Ok(if report.reproduction.reproduced { Exit::Ok } else { Exit::Failure })
}

fn calendar(path: &Path) -> Result<(PathBuf, Calendar)> {
    let wrong = |reason: String| failed(Exit::BadInput, format!("--calendar {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Ok((path.to_owned(), Calendar::from_toml(&text).map_err(wrong)?))
}

fn list(args: &Args, log: &Path) -> Result<Exit> {
    let incidents = postmortem::list(log, &args.keys.read()?, args.event).map_err(unexplained)?;
    if args.format == Format::Json {
        print_json(&serde_json::json!({ "schema": "tidegate.incidents.v1", "incidents": incidents }))?;
        return Ok(Exit::Ok);
    }
    let rows = incidents.iter().map(|one| {
        let seconds = |ns: i64| format!("{:.3}", (ns - one.start_ns) as f64 * 1e-9);
        let lasted = one.end_ns.map_or_else(|| "not over".to_owned(), seconds);
        let (number, entry, trips) = (one.number.to_string(), one.entry.to_string(), one.trips.to_string());
        vec![number, postmortem::clock(one.start_ns), lasted, one.scope.to_owned(), trips, entry]
    });
    let header = ["incident", "began", "lasted, s", "stopped", "trips", "--event"];
    anstream::println!("{}", crate::output::number_table(&header, rows));
    Ok(Exit::Ok)
}

/// Writes the three forms; gives the page's path.
fn write(report: &Postmortem, folder: &Path) -> Result<PathBuf> {
    let io = |path: &Path, error: std::io::Error| failed(Exit::Io, format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| io(folder, error))?;
    let json = serde_json::to_string(report)?;
    let page = folder.join("postmortem.html");
    let files = [
        (page.clone(), postmortem::html(report)),
        (folder.join("postmortem.md"), postmortem::markdown(report)),
        (folder.join("postmortem.json"), json),
    ];
    for (path, text) in files {
        std::fs::write(&path, text).map_err(|error| io(&path, error))?;
    }
    Ok(page)
}

/// All of it where it is not written to files, else what matters most.
fn print(report: &Postmortem, written: Option<&Path>) {
    let Some(page) = written else {
        anstream::print!("{}", postmortem::markdown(report));
        return;
    };
    let text = postmortem::markdown(report);
    for line in text.lines().take_while(|line| !line.starts_with("## ")).filter(|line| !line.is_empty()) {
        anstream::println!("{}", line.trim_start_matches("# "));
    }
    let causes = report.causes.iter().filter(|ranked| ranked.score >= CERTAIN && ranked.cause != RootCause::None);
    for one in causes.flat_map(|ranked| ranked.evidence.first()) {
        let usual = one.usual.map_or_else(String::new, |usual| format!(", usual {usual:.4}"));
        let of = one.of.as_deref().unwrap_or("engine");
        anstream::println!("  {of}: {} {:.4} {}{usual}", one.measure, one.value, one.unit);
    }
    anstream::println!("Report: {} (open it in a browser), .md and .json beside it", page.display());
}

fn unexplained(error: PostmortemError) -> anyhow::Error {
    let exit = match error {
        PostmortemError::Log(error) => return unusable(error),
        PostmortemError::Run(error) => return exit_code(error),
        PostmortemError::Changed { .. } => Exit::Failure,
        PostmortemError::Calendar { .. } => Exit::Config,
        _ => Exit::BadInput,
    };
    failed(exit, error.to_string())
}
