//! Prints the statistics of capture files as JSON. `reference.json` was made from the recordings of 8 August 2024:
//!
//! ```text
//! cd tools/simex && cargo run --release -p tidegate-simex --example reference -- \
//!     "$TIDEGATE_DATA"/hftbacktest/{spot,usdm}_{btc,eth}usdt_20240808.gz \
//!     "$TIDEGATE_DATA"/hftbacktest/cm_{btc,eth}usd_perp_20240808.gz > reference.json
//! ```
//!
//! With `--compare` and the files of a simulated run it prints them beside the embedded reference instead.

use std::path::Path;
use std::process::ExitCode;

use tidegate_simex::SimError;
use tidegate_simex::stats::{self, Report};

fn main() -> ExitCode {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let compare = paths.first().is_some_and(|first| first == "--compare");
    if compare {
        paths.remove(0);
    }
    match run(&paths, compare) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(paths: &[String], compare: bool) -> Result<(), SimError> {
    let mut report = Report::default();
    for path in paths {
        report.merge(stats::from_capture(Path::new(path))?);
    }
    if compare {
        for row in stats::compare(&report, &stats::reference()?) {
            println!("{:<16} {:<24} {:>14.6} {:>14.6}", row.instrument, row.statistic, row.simulated, row.recorded);
        }
        return Ok(());
    }
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| SimError::Format { place: "report".to_owned(), reason: error.to_string() })?;
    println!("{json}");
    Ok(())
}
