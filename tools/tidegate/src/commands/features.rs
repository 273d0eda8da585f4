//! `tidegate features`: feature vectors and bars of captures as Parquet.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use tidegate_guard::Profile;
use tidegate_market::MarketStage;
use tidegate_market::bars::BarRule;
use tidegate_market::bars::schema::{BAR_FEATURES, bars_schema_hash_hex};
use tidegate_market::features::schema::{FEATURES, schema_hash_hex};
use tidegate_market::graph::schema::schema as graph_schema;
use tidegate_market::signals::{SIGNAL_COLUMNS, signals_schema_hash_hex};
use tidegate_runtime::extract::extract;
use tidegate_runtime::replay::{market_config, sources};
use tidegate_wire::{Registry, Venue};

use crate::bar_file::{BarFile, BarTee};
use crate::commands::replay::exit_code;
use crate::exit::{Exit, failed};
use crate::graph_file::{FeatureFiles, GraphFiles};
use crate::output::{Format, number_table, print_json};
use crate::parquet_file::VectorFile;

/// Writes feature vectors of captures to Parquet, by the code that runs live.
///
/// --out: one row a vector: event time, instrument, book quality, digest, and a nullable column a feature. --bars: one
/// row a bar, with the features of one-minute bars. An absent feature is null. Without --input it lists all schemas.
///
/// Reads what `replay` reads. One-minute bars are the venue's own where a source has them (klines), else built from
/// trades, else from mids of the book; funding and volatility indices given beside them become columns.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("written").args(["out", "bars", "graph"]).multiple(true)))]
#[command(after_help = "EXAMPLES:
  tidegate features                                              the schemas: names, units, definitions
  tidegate features --input btcusdt.gz --out features.parquet
  tidegate features --input btcusdt.gz --out f.parquet --every-ms 100 --bars bars.parquet --bar time:60
  tidegate features --input *.gz --graph nodes.parquet --graph-edges edges.parquet --graph-every-ms 500
  tidegate features --input BTCUSDT-1m-2024-01.csv BTC-USDT_binance_funding.csv dvol_btc.json --bars bars.parquet
  tidegate features --input coinbase=bids.csv coinbase=asks.csv coinbase=updates.csv --out f.parquet --bars b.parquet")]
pub(crate) struct Args {
    /// Captures: FILE, or VENUE=FILE
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "written")]
    input: Vec<String>,
    /// Parquet file for the vectors
    #[arg(long, value_name = "FILE", requires = "input")]
    out: Option<PathBuf>,
    /// At most one vector an instrument in this many milliseconds of event time (0: every vector)
    #[arg(long, default_value_t = 0, value_name = "MS")]
    every_ms: u64,
    /// Parquet file for bars
    #[arg(long, value_name = "FILE", requires = "input")]
    bars: Option<PathBuf>,
    /// What ends a bar: time:SECONDS, volume:QUANTITY or dollar:VALUE
    #[arg(long, default_value = "time:60", value_name = "RULE", value_parser = bar_rule)]
    bar: BarRule,
    /// Parquet file for the nodes of the market graph at regular moments
    #[arg(long, value_name = "FILE", requires = "graph_edges", requires = "input")]
    graph: Option<PathBuf>,
    /// Parquet file for its edges
    #[arg(long, value_name = "FILE", requires = "graph")]
    graph_edges: Option<PathBuf>,
    /// Event time between two graphs, milliseconds
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    graph_every_ms: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn bar_rule(text: &str) -> Result<BarRule, String> {
    let expected = "expected time:SECONDS, volume:QUANTITY or dollar:VALUE, above 0";
    let (kind, amount) = text.split_once(':').ok_or(expected)?;
    let amount: f64 = amount.parse().map_err(|_| expected)?;
    if !(amount > 0.0 && amount.is_finite()) {
        return Err(expected.into());
    }
    match kind {
        "time" if (0.001..=86_400.0).contains(&amount) => Ok(BarRule::Time((amount * 1e9) as i64)),
        "volume" => Ok(BarRule::Volume(amount)),
        "dollar" => Ok(BarRule::Dollar(amount)),
        _ => Err(expected.into()),
    }
}

/// What was written.
#[derive(serde::Serialize)]
struct Written {
    schema: &'static str,
    rows: u64,
    bars: u64,
    vectors: u64,
    frames: u64,
    moments: u64,
    features_digest: String,
    features_schema: String,
    bars_schema: String,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if args.input.is_empty() {
        return list(args.format);
    }
    let inputs = sources(&args.input).map_err(|message| failed(Exit::BadInput, format!("--input: {message}")))?;
    let io = |error: anyhow::Error| failed(Exit::Io, format!("{error:#}"));
    let every_ns = args.every_ms as i64 * 1_000_000;
    let vectors = args.out.as_ref().map(|out| VectorFile::create(out, every_ns)).transpose().map_err(io)?;
    let graph_every_ns = args.graph_every_ms as i64 * 1_000_000;
    let graph = args.graph.as_ref().zip(args.graph_edges.as_ref());
    let graph = graph.map(|(nodes, edges)| GraphFiles::create(nodes, edges, graph_every_ns)).transpose();
    let graph = graph.map_err(io)?;
    let bars = args.bars.as_ref().map(|path| BarFile::create(path, args.bar)).transpose().map_err(io)?;
    let terminal = std::io::stderr().is_terminal();
    let progress = move |frames: u64| {
        if terminal {
            eprint!("\r{frames} frames");
        }
    };
    let extracted = extract(
        &inputs,
        Registry::new(),
        |registry, clock| {
            let (minutes, bars) =
                if bars.as_ref().is_some_and(BarFile::is_minutes) { (bars, None) } else { (None, bars) };
            let mut files = FeatureFiles { vectors, graph, minutes };
            files.name_instruments(registry);
            let config = market_config(&Venue::ALL.map(Profile::builtin), false);
            Ok(BarTee::new(MarketStage::new(registry, config, clock, files), bars, registry))
        },
        progress,
    )
    .map_err(exit_code)?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    let (stage, cut) = extracted.sink.finish().map_err(io)?;
    let (digest, vectors) = (stage.digest(), stage.counters().vectors);
    let (rows, moments, minutes) = stage.into_sink().finish().map_err(io)?;
    let bars = cut + minutes;
    let damaged: Vec<_> = extracted.sources.iter().filter_map(|source| source.damaged.clone()).collect();
    let written = Written {
        schema: "tidegate.features.v1",
        rows,
        bars,
        vectors,
        frames: extracted.feed.counters().frames,
        moments,
        features_digest: format!("{digest:016x}"),
        features_schema: schema_hash_hex(),
        bars_schema: bars_schema_hash_hex(),
    };
    match args.format {
        Format::Json => print_json(&written)?,
        Format::Table => {
            if let Some(path) = &args.out {
                anstream::println!("{rows} rows of {vectors} vectors to {}", path.display());
            }
            if let Some(path) = &args.graph {
                anstream::println!("{moments} graphs to {}", path.display());
            }
            if let Some(path) = &args.bars {
                anstream::println!("{bars} bars to {}", path.display());
            }
            anstream::println!("features digest {}, schema {}", written.features_digest, written.features_schema);
            anstream::println!("bars schema {}", written.bars_schema);
        }
    }
    if damaged.is_empty() { Ok(Exit::Ok) } else { Err(failed(Exit::BadInput, damaged.join("; "))) }
}

fn list(format: Format) -> Result<Exit> {
    match format {
        Format::Json => {
            let features = FEATURES.iter().enumerate().map(|(index, f)| {
                serde_json::json!({ "index": index, "name": f.name, "unit": f.unit, "version": f.version,
                    "needs_book": f.needs_book, "about": f.about })
            });
            let features: Vec<_> = features.collect();
            let (schema, hash) = ("tidegate.features.v1", schema_hash_hex());
            let bars = BAR_FEATURES.iter().enumerate().map(|(index, f)| {
                serde_json::json!({ "index": index, "name": f.name, "unit": f.unit, "version": f.version,
                    "about": f.about })
            });
            let bars = serde_json::json!({ "schema": "tidegate.bars.v1", "hash": bars_schema_hash_hex(),
                "features": bars.collect::<Vec<_>>() });
            let signals = SIGNAL_COLUMNS.iter().enumerate().map(|(index, column)| {
                serde_json::json!({ "index": index, "name": column.name, "unit": column.unit,
                    "version": column.version, "about": column.about })
            });
            let signals = serde_json::json!({ "schema": "tidegate.signal-rows.v1", "hash": signals_schema_hash_hex(),
                "features": signals.collect::<Vec<_>>() });
            print_json(&serde_json::json!({ "schema": schema, "hash": hash, "features": features, "bars": bars,
                "signals": signals, "graph": graph_schema() }))?;
        }
        Format::Table => {
            let features = FEATURES.iter().map(|f| [f.name, f.unit, f.about]);
            anstream::println!("Feature schema {}\n{}", schema_hash_hex(), definitions(features));
            let bars = BAR_FEATURES.iter().map(|f| [f.name, f.unit, f.about]);
            anstream::println!("\nBar schema {}\n{}", bars_schema_hash_hex(), definitions(bars));
            let signals = SIGNAL_COLUMNS.iter().map(|column| [column.name, column.unit, column.about]);
            anstream::println!("\nSchema of signals {}\n{}", signals_schema_hash_hex(), definitions(signals));
        }
    }
    Ok(Exit::Ok)
}

/// A schema as a table.
fn definitions(features: impl Iterator<Item = [&'static str; 3]>) -> comfy_table::Table {
    let rows = features.enumerate().map(|(index, cells)| {
        let mut row = vec![index.to_string()];
        row.extend(cells.map(str::to_owned));
        row
    });
    let mut table = number_table(&["index", "name", "unit", "definition"], rows);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    table
}
