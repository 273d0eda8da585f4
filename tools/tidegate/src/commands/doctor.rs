//! `tidegate doctor`: is this host fit for a loop that must not wait? Reads settings, changes none.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tidegate_runtime::hiccup::{HiccupMeter, Mode, NoiseFloor};
use tidegate_runtime::host::{Finding, Host, Status, cpu_list, format_cpu_list};

use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Widest line of an explanation, in columns.
const WIDTH: usize = 100;
/// Columns of the mark, the word and the name before what was found.
const INDENT: usize = 34;

/// Check this host: isolation, tick, interrupts, frequency, memory, clock, network; each finding with its remedy.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  \
    tidegate doctor --cores 2,3\n  \
    tidegate doctor --cores 2-3 --strict          exit 1 on any warning, for start-up scripts\n  \
    tidegate doctor --hiccup 10                   also measure what the host steals from a loop\n  \
    tidegate doctor --format json | jq '.findings[] | select(.status == \"warn\") | .fix'")]
pub(crate) struct Args {
    /// Cores of the hot loops, one loop a core [default: the last online cores].
    #[arg(long, value_name = "LIST", value_parser = cores)]
    cores: Option<CoreList>,
    /// End with exit code 1 when there is a warning.
    #[arg(long)]
    strict: bool,
    /// Measure the noise floor of the first hot core for so many seconds.
    #[arg(long, value_name = "SECS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    hiccup: u64,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Cores as named on the command line.
#[derive(Clone, Debug)]
struct CoreList(Vec<usize>);

fn cores(text: &str) -> Result<CoreList, String> {
    match cpu_list(text) {
        Some(cores) if !cores.is_empty() => Ok(CoreList(cores)),
        _ => Err(String::from("expected core numbers such as `2,3` or `2-3`")),
    }
}

/// What the command found, as printed in JSON.
#[derive(serde::Serialize)]
struct Report {
    schema: &'static str,
    hot_cores: Vec<usize>,
    pass: usize,
    warn: usize,
    unknown: usize,
    findings: Vec<Finding>,
    noise_floor: Option<NoiseFloor>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut host = Host::live(Vec::new());
    host.hot_cores = match &args.cores {
        Some(CoreList(cores)) => cores.clone(),
        None => host.default_hot_cores(),
    };
    let findings = host.check();
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let report = Report {
        schema: "tidegate.doctor.v1",
        pass: count(Status::Pass),
        warn: count(Status::Warn),
        unknown: count(Status::Unknown),
        noise_floor: noise_floor(args.hiccup, host.hot_cores.first().copied())?,
        hot_cores: host.hot_cores,
        findings,
    };
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Table => anstream::print!("{}", text(&report)),
    }
    Ok(if args.strict && report.warn > 0 { Exit::Failure } else { Exit::Ok })
}

fn noise_floor(seconds: u64, core: Option<usize>) -> anyhow::Result<Option<NoiseFloor>> {
    if seconds == 0 {
        return Ok(None);
    }
    anstream::eprintln!("measuring the noise floor for {seconds} s ...");
    let meter = HiccupMeter::start(core, Mode::Spin).map_err(|error| {
        failed(Exit::Failure, format!("{error}; name an open core with --cores, or leave --hiccup out"))
    })?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(Some(meter.stop()))
}

/// The report for people. Styles are always in it: the stream drops them where they do not belong.
fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        row(&mut out, finding);
    }
    line(&mut out, "");
    let cores = match report.hot_cores.as_slice() {
        [] => String::from("no known hot core"),
        cores => format!("hot cores {}", format_cpu_list(cores)),
    };
    line(&mut out, &format!("{cores}: {} pass, {} warn, {} unknown", report.pass, report.warn, report.unknown));
    if let Some(floor) = &report.noise_floor {
        line(&mut out, &floor.to_string());
    }
    out
}

fn row(out: &mut String, finding: &Finding) {
    let (mark, style) = look(finding.status);
    // Padded before it is styled: escape codes have no width.
    let word = format!("{mark} {:<8}", finding.status.word());
    let found = wrapped(&finding.found, INDENT);
    line(out, &format!("{style}{word}{style:#} {:<22} {found}", finding.id));
    if finding.status != Status::Warn {
        return;
    }
    let dim = Style::new().dimmed();
    line(out, &format!("{:11}{dim}why{dim:#}  {}", "", wrapped(finding.why, 16)));
    if let Some(fix) = &finding.fix {
        // Never wrapped: it is there to be copied.
        line(out, &format!("{:11}{dim}fix{dim:#}  {fix}", ""));
    }
}

/// The mark says what the colour says: neither stands alone.
fn look(status: Status) -> (char, Style) {
    match status {
        Status::Pass => ('✓', AnsiColor::Green.on_default()),
        Status::Warn => ('!', AnsiColor::Yellow.on_default().bold()),
        Status::Unknown => ('?', AnsiColor::Cyan.on_default()),
        Status::Info => ('-', Style::new()),
    }
}

/// Breaks text at blanks; lines after the first start at column `indent`.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut column) = (String::new(), indent);
    for word in text.split_ascii_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            out.extend(["\n", &" ".repeat(indent)]);
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

fn line(out: &mut String, text: &str) {
    let written = writeln!(out, "{text}");
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(status: Status, fix: Option<&str>) -> Finding {
        Finding {
            id: "power.governor",
            title: "frequency governor",
            status,
            found: String::from("powersave on core 2"),
            why: "the clock changes",
            fix: fix.map(String::from),
            source: String::from("/sys/x"),
        }
    }

    #[test]
    fn a_warning_shows_its_reason_and_its_fix_in_words() {
        let mut out = String::new();
        row(&mut out, &finding(Status::Warn, Some("cpupower frequency-set -g performance")));
        let plain = anstream::adapter::strip_str(&out).to_string();
        let expected = "! warn     power.governor         powersave on core 2\n           \
                        why  the clock changes\n           \
                        fix  cpupower frequency-set -g performance\n";
        assert_eq!(plain, expected);
    }

    #[test]
    fn a_pass_is_one_line() {
        let mut out = String::new();
        row(&mut out, &finding(Status::Pass, None));
        assert_eq!(out.lines().count(), 1);
        assert!(out.contains('✓') && out.contains("pass"));
    }

    #[test]
    fn long_text_breaks_at_blanks_and_keeps_its_words() {
        let text = "word ".repeat(60);
        let broken = wrapped(&text, 16);
        assert!(broken.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(broken.split_ascii_whitespace().count(), 60);
        assert!(broken.lines().skip(1).all(|line| line.starts_with(&" ".repeat(16))));
    }

    #[test]
    fn core_lists_are_checked() {
        assert_eq!(cores("2,3").unwrap().0, [2, 3]);
        assert_eq!(cores("4-6").unwrap().0, [4, 5, 6]);
        assert!(cores("").is_err() && cores("a").is_err() && cores("3-1").is_err());
    }
}
