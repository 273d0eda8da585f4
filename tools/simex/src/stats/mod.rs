//! Statistics of a market from its frames, simulated or recorded.
//!
//! The same cold and simple code reads both: JSON by `serde_json`, a book in ordered maps kept by the venue's
//! sequence rules. [`STATISTICS`] lists what comes out. Times of trades are the venue's (`T`); everything else is
//! counted on receive times, because spot frames carry no time of their own.

mod accumulate;
mod book;
mod series;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::SimError;
use accumulate::Accumulator;

pub use book::{SyncedBook, Touch};

/// Every statistic: its name and what it means. The order is that of tables.
pub const STATISTICS: [(&str, &str); 44] = [
    ("seconds", "length of the stream, s"),
    ("depth_per_s", "depth frames per second"),
    ("book_ticker_per_s", "bookTicker frames per second"),
    ("trade_per_s", "trade frames per second"),
    ("agg_trade_per_s", "aggTrade frames per second"),
    ("mark_price_per_s", "markPrice frames per second"),
    ("snapshot_count", "REST snapshots"),
    ("frames_per_s", "frames of all kinds per second"),
    ("depth_levels_mean", "levels in a depth frame, both sides"),
    ("depth_levels_p50", "the same, median"),
    ("depth_levels_p99", "the same, 99th percentile"),
    ("spread_ticks_mean", "spread of bookTicker frames, ticks"),
    ("spread_ticks_p50", "the same, median"),
    ("spread_ticks_p90", "the same, 90th percentile"),
    ("spread_ticks_p99", "the same, 99th percentile"),
    ("touch_qty_p50", "quantity at the best bid and ask, median"),
    ("depth_10bp_qty_p50", "quantity within 10 bp of the mid on one side, median; contracts on COIN-M"),
    ("depth_10bp_levels_p50", "levels within 10 bp of the mid on one side, median"),
    ("trade_gap_ms_mean", "time between trades, ms"),
    ("trade_gap_cv", "standard deviation of that time over its mean; 1 for a Poisson process"),
    ("trade_gap_ms_p50", "time between trades, median, ms"),
    ("trade_gap_ms_p99", "the same, 99th percentile"),
    ("trade_fano_1s", "variance over mean of trades in 1 s; 1 for a Poisson process"),
    ("trade_qty_mean", "size of a trade"),
    ("trade_qty_p10", "the same, 10th percentile"),
    ("trade_qty_p50", "the same, median"),
    ("trade_qty_p90", "the same, 90th percentile"),
    ("trade_qty_p99", "the same, 99th percentile"),
    ("volatility_annual", "root mean square of 1-s mid returns, annualised (365 days)"),
    ("excess_kurtosis_1s", "excess kurtosis of 1-s mid returns; 0 for a normal distribution"),
    ("return_acf_1s", "autocorrelation of 1-s returns at lag 1"),
    ("abs_return_acf_1s", "autocorrelation of absolute 1-s returns at lag 1"),
    ("abs_return_acf_5s", "the same at lag 5"),
    ("abs_return_acf_10s", "the same at lag 10"),
    ("delete_share", "deletes among levels of depth frames"),
    ("absent_delete_share", "deletes of levels the book does not have, among deletes"),
    ("change_share", "known levels whose quantity is set anew, among levels of depth frames"),
    ("level_qty_p50", "quantity of a level in a depth frame, median without deletes"),
    ("same_touch_price_share", "bookTicker frames with the prices of the one before"),
    ("touch_comparisons_share", "depth frames whose book was compared with a bookTicker of the same id"),
    ("touch_mismatches", "comparisons in which price or quantity differed; 0 in a sound stream"),
    ("sequence_gaps", "breaks of the sequence rules"),
    ("crossed_books", "depth frames after which the book was crossed; 0 in a sound stream"),
    ("unsynced_frames", "depth frames that could not be applied yet"),
];

/// Statistics by name, by instrument label.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report(pub BTreeMap<String, BTreeMap<String, f64>>);

impl Report {
    /// One figure, if the stream was long enough to have it.
    pub fn get(&self, label: &str, statistic: &str) -> Option<f64> {
        self.0.get(label)?.get(statistic).copied()
    }

    /// Adds the instruments of another report; those of the same label are replaced.
    pub fn merge(&mut self, other: Report) {
        self.0.extend(other.0);
    }
}

/// Collects statistics of several instruments.
pub struct MarketStats {
    instruments: Vec<Accumulator>,
}

impl MarketStats {
    /// One accumulator for each label; [`MarketStats::record`] takes their positions.
    pub fn new(labels: impl IntoIterator<Item = String>) -> Self {
        Self { instruments: labels.into_iter().map(Accumulator::new).collect() }
    }

    /// Adds one frame of an instrument; `recv_ns` is its receive time, ns since the epoch.
    ///
    /// # Errors
    /// The frame is not what the venue sends, or the instrument does not exist.
    pub fn record(&mut self, instrument: usize, recv_ns: i64, bytes: &[u8]) -> Result<(), SimError> {
        let count = self.instruments.len();
        let Some(accumulator) = self.instruments.get_mut(instrument) else {
            let place = format!("instrument {instrument}");
            return Err(SimError::Format { place, reason: format!("there are {count} instruments") });
        };
        accumulator.record(recv_ns, bytes)
    }

    /// The statistics so far.
    pub fn report(&self) -> Report {
        Report(self.instruments.iter().map(|one| (one.label().to_owned(), one.figures())).collect())
    }

    /// The book of an instrument as a receiver has it.
    pub fn book(&self, instrument: usize) -> Option<&SyncedBook> {
        self.instruments.get(instrument).map(Accumulator::book)
    }
}

/// Statistics of one capture file, gzip or plain: lines of a receive time and a frame. The label is the file's name up
/// to the last underscore (`usdm_btcusdt` of `usdm_btcusdt_sim.gz`).
///
/// # Errors
/// The file cannot be read, or a line is not what it should be; the error names the line.
pub fn from_capture(path: &Path) -> Result<Report, SimError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let label = name.rsplit_once('_').map_or(name.as_str(), |(label, _)| label).to_owned();
    let mut stats = MarketStats::new([label]);
    for_each_line(path, |line, recv_ns, bytes| {
        stats.record(0, recv_ns, bytes).map_err(|error| SimError::Format {
            place: format!("{} line {line}", path.display()),
            reason: error.to_string(),
        })
    })?;
    Ok(stats.report())
}

/// Calls `visit` with line number, receive time in ns and frame of every line of a capture.
fn for_each_line(
    path: &Path,
    mut visit: impl FnMut(usize, i64, &[u8]) -> Result<(), SimError>,
) -> Result<(), SimError> {
    let failed = |source| SimError::File { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let input: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut input = BufReader::new(input);
    let (mut text, mut line) = (Vec::new(), 0);
    loop {
        text.clear();
        if input.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            return Ok(());
        }
        line += 1;
        let parts = std::str::from_utf8(text.trim_ascii_end()).ok().and_then(|text| text.split_once(' '));
        let parsed = parts.and_then(|(time, json)| Some((time.parse::<i64>().ok()?, json)));
        let Some((time, json)) = parsed else {
            let place = format!("{} line {line}", path.display());
            return Err(SimError::Format { place, reason: "expected `<receive time> <json>`".to_owned() });
        };
        // Captures of early 2023 have microseconds, 16 digits.
        visit(line, if time < 100_000_000_000_000_000 { time * 1_000 } else { time }, json.as_bytes())?;
    }
}

/// The statistics of recorded captures that the defaults were calibrated against.
///
/// # Errors
/// None in practice: the figures are part of the build and a test reads them.
pub fn reference() -> Result<Report, SimError> {
    serde_json::from_str(include_str!("../../reference.json"))
        .map_err(|error| SimError::Format { place: "reference.json".to_owned(), reason: error.to_string() })
}

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Instrument label.
    pub instrument: String,
    /// Name of the statistic, one of [`STATISTICS`].
    pub statistic: &'static str,
    /// Figure of the simulated market.
    pub simulated: f64,
    /// Figure of the recorded market.
    pub recorded: f64,
}

/// Statistics that both reports have, by instrument and in the order of [`STATISTICS`].
pub fn compare(simulated: &Report, reference: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    for label in simulated.0.keys() {
        for (statistic, _) in STATISTICS {
            let figures = (simulated.get(label, statistic), reference.get(label, statistic));
            if let (Some(simulated), Some(recorded)) = figures {
                rows.push(Row { instrument: label.clone(), statistic, simulated, recorded });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_default_instrument_and_only_known_statistics() {
        let reference = reference().unwrap();
        for spec in crate::SimConfig::default().instruments {
            let figures = &reference.0[&spec.label()];
            assert!(figures.len() > 30);
            for name in figures.keys() {
                assert!(STATISTICS.iter().any(|(known, _)| known == name), "{name}");
            }
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spot_btcusdt_bad");
        std::fs::write(&path, "1723161254087891268 {\"lastUpdateId\":1,\"bids\":[],\"asks\":[]}\nnonsense\n").unwrap();
        let error = from_capture(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
