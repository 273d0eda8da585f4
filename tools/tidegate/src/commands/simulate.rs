//! `tidegate simulate`: a market of our own as captures, and how it compares with a recorded one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidegate_simex::stats::{MarketStats, STATISTICS, compare, reference};
use tidegate_simex::{CaptureFile, Frame, SimConfig, SimError, Simulator, TRUTH_FILE, write_captures};

use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

/// Writes captures of a simulated market: six correlated Binance instruments in real frames, with a flash crash, a
/// liquidity hole, feed stalls and more at known times.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate simulate --out market
  tidegate simulate --out market --seconds 300 --seed 7 --calm --compare
  tidegate simulate --out day --seconds 86400 --thin")]
pub(crate) struct Args {
    /// Directory for the captures and truth.json; created when missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Length of the market, seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seed: the same one gives the same market, byte for byte
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No regimes: an ordinary market
    #[arg(long)]
    calm: bool,
    /// Perpetuals of six coins and TON with a few quotes a second, for markets of hours and days
    #[arg(long, conflicts_with = "compare")]
    thin: bool,
    /// Print statistics of five calm minutes of this seed beside those of recorded days
    #[arg(long)]
    compare: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let duration = Duration::from_secs(args.seconds);
    let config = match (args.thin, args.calm) {
        (true, _) => SimConfig::thin(args.seed, duration),
        (false, true) => SimConfig::calm(args.seed, duration),
        (false, false) => SimConfig::demo(args.seed, duration),
    };
    let files = write_captures(&config, &args.out).map_err(|error| failed(Exit::Io, error.to_string()))?;
    let rows = if args.compare {
        Some(rows(args.seed).map_err(|error| failed(Exit::BadInput, error.to_string()))?)
    } else {
        None
    };
    match args.format {
        Format::Json => print_json(&json(args, &files, rows.as_deref()))?,
        Format::Table => {
            let table =
                files.iter().map(|f| vec![f.path.display().to_string(), f.frames.to_string(), f.bytes.to_string()]);
            anstream::println!("{}", number_table(&["capture", "frames", "bytes"], table));
            anstream::println!("regimes and their times: {}", args.out.join(TRUTH_FILE).display());
            if let Some(rows) = rows {
                print_comparison(&rows);
            }
        }
    }
    Ok(Exit::Ok)
}

/// Length of the calm market that is compared: that of the recorded days.
const COMPARED: Duration = Duration::from_secs(345);

fn rows(seed: u64) -> Result<Vec<tidegate_simex::stats::Row>, SimError> {
    let mut simulator = Simulator::new(SimConfig::calm(seed, COMPARED))?;
    let mut stats = MarketStats::new(simulator.instruments().iter().map(|instrument| instrument.label()));
    let mut frame = Frame::default();
    while simulator.next_frame(&mut frame) {
        stats.record(frame.instrument, frame.recv_ns, &frame.bytes)?;
    }
    Ok(compare(&stats.report(), &reference()?))
}

fn json(args: &Args, files: &[CaptureFile], rows: Option<&[tidegate_simex::stats::Row]>) -> serde_json::Value {
    let files: Vec<_> = files
        .iter()
        .map(|f| serde_json::json!({ "path": f.path, "label": f.label, "frames": f.frames, "bytes": f.bytes }))
        .collect();
    let rows = rows.map(|rows| {
        let row = |r: &tidegate_simex::stats::Row| {
            serde_json::json!({ "instrument": r.instrument, "statistic": r.statistic, "simulated": r.simulated,
                "recorded": r.recorded })
        };
        rows.iter().map(row).collect::<Vec<_>>()
    });
    serde_json::json!({ "schema": "tidegate.simulate.v1", "seed": args.seed, "seconds": args.seconds, "files": files,
        "comparison": rows })
}

/// Statistics shown on a screen, of all that are computed: arrivals, spread, depth, volatility and its clustering.
const SHOWN: [&str; 15] = [
    "depth_per_s",
    "book_ticker_per_s",
    "trade_per_s",
    "depth_levels_mean",
    "depth_levels_p99",
    "spread_ticks_mean",
    "spread_ticks_p99",
    "depth_10bp_qty_p50",
    "depth_10bp_levels_p50",
    "trade_gap_cv",
    "trade_fano_1s",
    "volatility_annual",
    "excess_kurtosis_1s",
    "abs_return_acf_1s",
    "abs_return_acf_10s",
];

fn print_comparison(rows: &[tidegate_simex::stats::Row]) {
    let mut instruments: Vec<&str> = rows.iter().map(|row| row.instrument.as_str()).collect();
    instruments.dedup();
    let number = |v: f64| match v.abs() {
        size if size >= 1000.0 => format!("{v:.0}"),
        size if size >= 10.0 => format!("{v:.1}"),
        _ => format!("{v:.2}"),
    };
    let cell = |instrument: &str, statistic: &str| {
        let row = rows.iter().find(|row| row.instrument == instrument && row.statistic == statistic);
        row.map_or("-".into(), |row| format!("{} / {}", number(row.simulated), number(row.recorded)))
    };
    let lines = STATISTICS.iter().map(|(name, _)| *name).filter(|name| SHOWN.contains(name)).map(|name| {
        let mut line = vec![name.to_owned()];
        line.extend(instruments.iter().map(|instrument| cell(instrument, name)));
        line
    });
    let mut header = vec!["simulated / recorded"];
    header.extend(&instruments);
    anstream::println!(
        "\nSimulated (345 calm seconds of this seed) beside recorded (8 August 2024)\n{}",
        number_table(&header, lines)
    );
}
