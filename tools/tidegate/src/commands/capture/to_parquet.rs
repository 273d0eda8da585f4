//! `tidegate capture to-parquet`: events as tables for pandas, polars and DuckDB.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use tidegate_feed::replay::SourceSpec;
use tidegate_runtime::extract::extract;
use tidegate_wire::Registry;

use super::conclude;
use crate::commands::replay::exit_code;
use crate::event_files::EventFiles;
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

/// Writes the events of captures as Parquet, by the decoders that run live: a file for each kind.
///
/// depth.parquet (a row a changed level), quotes, trades, marks, options and status (the quality of books). Times are
/// timestamps in ns, UTC; instruments and venues dictionary strings. Prices and quantities come twice: as f64, which
/// pandas and polars compute with at full speed, and exactly, as an integer with its decimals: value = raw /
/// 10^decimals. DECIMAL would be one scale for all instruments of a column, and slow Python objects in pandas.
/// Units and definitions are in each field's metadata.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture to-parquet --out tables captures/*.tgcap
  python -c \"import polars as pl; print(pl.read_parquet('tables/trades.parquet'))\"")]
pub(super) struct Args {
    /// Directory of the new files; none that exists is written to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Captures: these, or any other that `replay` reads
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let inputs: Vec<SourceSpec> =
        args.files.iter().map(|path| SourceSpec { path: path.clone(), venue: None }).collect();
    let io = |error: anyhow::Error| failed(Exit::Io, format!("{error:#}"));
    let mut files = EventFiles::create(&args.out).map_err(io)?;
    let terminal = std::io::stderr().is_terminal();
    let progress = move |frames: u64| {
        if terminal {
            eprint!("\r{frames} frames");
        }
    };
    let make = |registry: &Registry, _| {
        files.name_instruments(registry);
        Ok(files)
    };
    let extracted = extract(&inputs, Registry::new(), make, progress).map_err(exit_code)?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    let rows = extracted.sink.finish().map_err(io)?;
    match args.format {
        Format::Json => print_json(&serde_json::json!({ "schema": "tidegate.capture-tables.v1",
            "frames": extracted.feed.counters().frames, "rows": rows }))?,
        Format::Table => {
            let lines = rows.iter().map(|(name, rows)| vec![name.clone(), rows.to_string()]);
            anstream::println!("{}", number_table(&["file", "rows"], lines));
        }
    }
    let damaged: Vec<_> = extracted.sources.iter().filter_map(|source| source.damaged.clone()).collect();
    conclude(&damaged)
}
