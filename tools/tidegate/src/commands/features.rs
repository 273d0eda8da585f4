//! `tidegate features`: feature vectors and bars of captures as Parquet.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use tidegate_guard::Profile;
use tidegate_market::MarketStage;
use tidegate_market::bars::BarRule;
use tidegate_market::features::schema::{FEATURES, schema_hash_hex};
use tidegate_market::graph::schema::schema as graph_schema;
use tidegate_runtime::extract::extract;
use tidegate_runtime::replay::{market_config, sources};
use tidegate_wire::{Registry, Venue};

use crate::commands::replay::exit_code;
use crate::exit::{Exit, failed};
use crate::graph_file::{FeatureFiles, GraphFiles};
use crate::output::{Format, number_table, print_json};
use crate::parquet_file::{BarFile, BarTee, VectorFile};

/// Writes feature vectors of captures to Parquet, by the code that runs live.
///
/// One row a vector: event time, instrument, book quality, digest, and a nullable column a feature. An absent feature
/// is null. Without --input it lists the schema.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate features                                              the schema: names, units, definitions
  tidegate features --input btcusdt.gz --out features.parquet
  tidegate features --input btcusdt.gz --out f.parquet --every-ms 100 --bars bars.parquet --bar time:60
  tidegate features --input *.gz --graph nodes.parquet --graph-edges edges.parquet --graph-every-ms 500")]
pub(crate) struct Args {
    /// Captures: FILE, or VENUE=FILE
    #[arg(long, num_args = 1.., value_name = "FILE")]
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
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if args.input.is_empty() {
        return list(args.format);
    }
    if args.out.is_none() && args.bars.is_none() && args.graph.is_none() {
        return Err(failed(Exit::Failure, "nothing to write: say --out, --bars or --graph with a file"));
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
        |registry, prices, clock| {
            let mut files = FeatureFiles { vectors, graph };
            files.name_instruments(registry);
            let config = market_config(&Venue::ALL.map(Profile::builtin), false);
            let mut stage = MarketStage::new(registry, config, clock, files);
            prices.iter().for_each(|(id, price)| stage.place(*id, *price));
            BarTee::new(stage, bars, registry)
        },
        progress,
    )
    .map_err(exit_code)?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    let (stage, bars) = extracted.sink.finish().map_err(io)?;
    let (digest, vectors) = (stage.digest(), stage.counters().vectors);
    let (rows, moments) = stage.into_sink().finish().map_err(io)?;
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
            let graph = graph_schema();
            print_json(&serde_json::json!({ "schema": schema, "hash": hash, "features": features, "graph": graph }))?;
        }
        Format::Table => {
            let rows = FEATURES.iter().enumerate();
            let rows = rows.map(|(i, f)| vec![i.to_string(), f.name.into(), f.unit.into(), f.about.into()]);
            let mut table = number_table(&["index", "name", "unit", "definition"], rows);
            for column in table.column_iter_mut() {
                column.set_cell_alignment(comfy_table::CellAlignment::Left);
            }
            anstream::println!("Feature schema {}\n{table}", schema_hash_hex());
        }
    }
    Ok(Exit::Ok)
}
