//! `tidegate audit verify`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_record::log::{self, Severity};

use super::{Keys, unusable};
use crate::exit::Exit;
use crate::output::{Format, print_json};

/// Entries from which on a bar is worth it.
const LARGE: u64 = 500_000;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Folder of the log
    log: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Threads; as many as there are cores without
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Exit> {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let bar = ProgressBar::hidden();
    let progress = |done: u64, all: u64| {
        if all >= LARGE {
            if done == 0 || bar.length() != Some(all) {
                let style = ProgressStyle::with_template("{pos} of {len} entries [{wide_bar}] {per_sec} {eta}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                bar.set_length(all);
            }
            bar.set_position(done);
        }
    };
    let start = Instant::now();
    let report = log::verify(&args.log, &args.keys.read()?, threads, &progress).map_err(unusable)?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let rate = report.size as f64 / seconds.max(1e-9);
    let severity = report.severity();
    match format {
        Format::Json => {
            let mut document = serde_json::to_value(&report)?;
            document["schema"] = "tidegate.audit-verify.v1".into();
            document["whole"] = severity.is_none_or(|severity| severity == Severity::Note).into();
            document["seconds"] = seconds.into();
            document["entries_per_s"] = rate.into();
            print_json(&document)?;
        }
        Format::Table => {
            let verdict = match severity {
                None | Some(Severity::Note) => "whole",
                Some(Severity::Incomplete) => "NOT WHOLE",
                Some(Severity::Tampered) => "CHANGED",
            };
            let (size, checkpoints, files) = (report.size, report.checkpoints, report.files);
            anstream::println!(
                "{}: {verdict}: {size} entries, {checkpoints} checkpoints, {files} files",
                report.origin
            );
            anstream::println!("  root {}", report.root);
            if report.minimum > 0 {
                anstream::println!("  entries below {} were removed by retention", report.minimum);
            }
            let kinds: Vec<String> = report.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            anstream::println!("  {}", kinds.join("   "));
            anstream::println!("  {:.3} s, {:.2} M entries/s on {threads} threads", seconds, rate / 1e6);
            for finding in &report.findings {
                anstream::println!("  {}: {}", finding.path, finding.reason);
            }
        }
    }
    Ok(match severity {
        None | Some(Severity::Note) => Exit::Ok,
        Some(Severity::Incomplete) => Exit::Incomplete,
        Some(Severity::Tampered) => Exit::Failure,
    })
}
