//! Signals on the cold side: their files, what they come to, and who is shown them.
//!
//! The files are those of the microstructure outputs, in `data/` of the output directory: every signal as a JSON line
//! and as a row of a table, and what was stated beside what became of it once that is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate_trade::desk::TradeDeskError;
use tidegate_trade::lines::{PREDICTIONS_HEADER, SIGNALS_HEADER, SignalLine, prediction_row, signal_row};
use tidegate_trade::report::{SignalReport, Tally};
use tidegate_trade::signals::{SignalConfig, SignalConfigError, SignalCounters, SignalDesk};
use tidegate_wire::event::{Header, Trade};
use tidegate_wire::feature::FeatureSink;
use tidegate_wire::relay::RecordWriter;
use tidegate_wire::ring::RegionError;
use tidegate_wire::signal::{OutcomeBody, SignalBody, SignalSink};
use tidegate_wire::top::TopBody;
use tidegate_wire::{InstrumentId, Registry};

use crate::audit::Trail;
use crate::line_file::LineFile;
use crate::replay::ReplayPlan;
use crate::scribe::OutputError;
use crate::trading::{Traded, TradingReport};

/// Names of the files, below the output directory.
pub const LIVE_SIGNALS: &str = "data/live_microstructure_signals.json";
/// The same as a table.
pub const PSC_SIGNALS: &str = "data/psc_signals.csv";
/// What was stated and what became of it.
pub const ML_PREDICTIONS: &str = "data/ml_predictions.csv";

/// What a run's signals come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalsReport {
    /// What the desk counted.
    pub counters: SignalCounters,
    /// Digest over all signals and outcomes.
    pub digest: String,
    /// What the reference price was taken from.
    pub reference: String,
    /// Coins with the instruments that stood for them.
    pub coins: BTreeMap<String, String>,
    /// Counts, rates, calibration, profit.
    #[serde(flatten)]
    pub report: SignalReport,
    /// What trading them on paper came to; `None` where they were not traded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading: Option<TradingReport>,
}

impl SignalsReport {
    /// Of a desk that has ended and the tally beside it, over so many hours of event time.
    pub fn new(desk: &SignalDesk, tally: &Tally, registry: &Registry, hours: f64) -> Self {
        let name = |id: InstrumentId| registry.get(id).map(tidegate_wire::Instrument::name).unwrap_or_default();
        Self {
            counters: *desk.counters(),
            digest: format!("{:016x}", desk.digest()),
            reference: desk.reference().to_owned(),
            coins: desk.coins().map(|(coin, id)| (coin.to_owned(), name(id))).collect(),
            report: tally.report(hours),
            trading: None,
        }
    }
}

/// Signals of a run: nothing of it where there are none.
#[derive(Default)]
pub(crate) struct Opened {
    /// For the last stage: the desk, and the ring to whoever trades.
    pub(crate) hot: Option<HotSignals>,
    /// For the scribe.
    pub(crate) book: Option<SignalBook>,
    /// Who trades.
    pub(crate) traded: Option<Traded>,
}

/// What the last stage has of signals.
#[derive(Debug)]
pub struct HotSignals {
    pub(crate) desk: SignalDesk,
    pub(crate) trading: Option<TradeRing>,
}

/// Opens what a plan says of signals, and begins to trade them where it says so.
pub(crate) fn open(plan: &ReplayPlan, registry: &Registry, trail: Option<&Trail>) -> Result<Opened, SignalsError> {
    let Some(config) = &plan.signals else { return Ok(Opened::default()) };
    let (desk, directory) = (SignalDesk::new(registry, config)?, plan.outputs.signals.as_deref());
    let book = Some(SignalBook::open(config, registry, directory)?);
    let Some(trading) = &plan.trading else {
        return Ok(Opened { hot: Some(HotSignals { desk, trading: None }), book, traded: None });
    };
    let instruments = desk.coins().map(|(_, instrument)| instrument).collect();
    let who = (&config.ml.trading_coins[..], instruments);
    let (traded, writer) = Traded::start(trading, registry, who, trail.cloned(), (directory, plan.live.is_some()))?;
    let trading = Some(TradeRing::new(writer));
    Ok(Opened { hot: Some(HotSignals { desk, trading }), book, traded: Some(traded) })
}

/// Event time between two heartbeats to the trade desk, ns: how late timers may end where nothing happens.
const BEAT_NS: i64 = 50_000_000;

/// The way to the trade desk.
#[derive(Debug)]
pub(crate) struct TradeRing {
    writer: RecordWriter,
    next_beat_ns: i64,
}

impl TradeRing {
    fn new(writer: RecordWriter) -> Self {
        Self { writer, next_beat_ns: i64::MIN }
    }

    #[inline]
    pub(crate) fn top(&mut self, header: &Header, top: &TopBody) {
        self.writer.top(header, top);
    }

    #[inline]
    pub(crate) fn traded(&mut self, header: &Header, trade: &Trade) {
        self.writer.traded(header, trade);
    }

    /// Time passes for the desk too, on a grid of event time.
    #[inline]
    pub(crate) fn beat(&mut self, header: &Header) {
        if header.event_ns >= self.next_beat_ns {
            self.next_beat_ns = header.event_ns.div_euclid(BEAT_NS).saturating_add(1).saturating_mul(BEAT_NS);
            FeatureSink::heartbeat(&mut self.writer, header);
        }
    }

    /// Records that found the ring full and were lost; only where it holds nobody back.
    pub(crate) const fn lost(&self) -> u64 {
        self.writer.lost()
    }
}

/// Tells the recorder and whoever trades.
pub(crate) struct Both<'a, S>(pub(crate) &'a mut S, pub(crate) Option<&'a mut TradeRing>);

impl<S: SignalSink> SignalSink for Both<'_, S> {
    fn signal(&mut self, signal: &SignalBody) {
        self.0.signal(signal);
        if let Some(ring) = &mut self.1 {
            ring.writer.signal(signal);
        }
    }

    fn outcome(&mut self, outcome: &OutcomeBody) {
        self.0.outcome(outcome);
    }
}

/// Signals that cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum SignalsError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] SignalConfigError),
    /// A file.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The trade desk.
    #[error(transparent)]
    Trading(TradeDeskError),
    /// No memory for a ring.
    #[error(transparent)]
    Ring(#[from] RegionError),
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A file of signals, made with its folder.
pub(crate) struct Lines {
    path: PathBuf,
    file: LineFile<File>,
}

impl Lines {
    pub(crate) fn create(path: PathBuf, heading: Option<&str>) -> Result<Self, OutputError> {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| File::create(&path));
        match made {
            Ok(file) => {
                let mut file = LineFile::new(file);
                heading.into_iter().for_each(|heading| file.line(heading.to_owned()));
                Ok(Self { path, file })
            }
            Err(source) => Err(OutputError::lines(&path, source, 0, SIGNALS)),
        }
    }

    pub(crate) fn line(&mut self, line: String) {
        self.file.line(line);
    }

    pub(crate) fn flush(&mut self) {
        self.file.flush();
    }

    pub(crate) fn close(self) -> Option<OutputError> {
        let (source, lost) = self.file.finish()?;
        Some(OutputError::lines(&self.path, source, lost, SIGNALS))
    }
}

/// What lines are called in errors.
const SIGNALS: &str = "signals";

struct Files {
    live: Lines,
    table: Lines,
    predictions: Lines,
}

/// Takes signals and outcomes off the ring.
pub struct SignalBook {
    coins: Vec<String>,
    instruments: Vec<String>,
    tally: Tally,
    /// Signals whose outcome is not known yet.
    open: BTreeMap<u64, SignalBody>,
    files: Option<Files>,
}

impl SignalBook {
    /// A book for the coins of a configuration; with files where a directory is named.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn open(config: &SignalConfig, registry: &Registry, directory: Option<&Path>) -> Result<Self, OutputError> {
        let files = directory.map(|directory| {
            Ok::<_, OutputError>(Files {
                live: Lines::create(directory.join(LIVE_SIGNALS), None)?,
                table: Lines::create(directory.join(PSC_SIGNALS), Some(SIGNALS_HEADER))?,
                predictions: Lines::create(directory.join(ML_PREDICTIONS), Some(PREDICTIONS_HEADER))?,
            })
        });
        let coins = config.ml.trading_coins.clone();
        Ok(Self {
            tally: Tally::new(&coins),
            coins,
            instruments: registry.iter().map(|(_, instrument)| instrument.name()).collect(),
            open: BTreeMap::new(),
            files: files.transpose()?,
        })
    }

    /// A signal as people read it.
    pub fn line(&self, signal: &SignalBody) -> SignalLine<'_> {
        let coin = self.coins.get(usize::from(signal.coin)).map_or("unknown", String::as_str);
        let instrument = self.instruments.get(signal.instrument.index()).map_or("unknown", String::as_str);
        SignalLine::new(signal, coin, instrument, self.tally.edge_bp(signal.confidence))
    }

    /// A signal came.
    pub fn signal(&mut self, signal: &SignalBody) {
        let line = self.line(signal);
        // Numbers and plain strings: serialisation has nothing to fail on.
        let (json, row) = (serde_json::to_string(&line).unwrap_or_default(), signal_row(&line));
        if let Some(files) = &mut self.files {
            files.live.file.line(json);
            files.table.file.line(row);
        }
        self.tally.signal(signal);
        self.open.insert(signal.sequence, *signal);
    }

    /// What became of one.
    pub fn outcome(&mut self, outcome: &OutcomeBody) {
        self.tally.outcome(outcome);
        let Some(signal) = self.open.remove(&outcome.sequence) else { return };
        let coin = self.coins.get(usize::from(signal.coin)).map_or("unknown", String::as_str);
        if let Some(files) = &mut self.files {
            files.predictions.file.line(prediction_row(&signal, coin, outcome));
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        if let Some(files) = &mut self.files {
            files.live.file.flush();
            files.table.file.flush();
            files.predictions.file.flush();
        }
    }

    /// What they come to so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends the files; gives the tally and what could not be written.
    pub fn finish(self) -> (Tally, Option<OutputError>) {
        let errors = self.files.map(|files| [files.live.close(), files.table.close(), files.predictions.close()]);
        (self.tally, errors.into_iter().flatten().fold(None, OutputError::join))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn files_hold_each_signal_and_what_became_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = SignalConfig::default();
        let mut book = SignalBook::open(&config, &Registry::new(), Some(directory.path())).expect("a book");
        for sequence in 1..=3 {
            book.signal(&SignalBody { sequence, coin: 1, confidence: 0.4, ..SignalBody::zeroed() });
        }
        book.outcome(&OutcomeBody { sequence: 2, complete: 1, ..OutcomeBody::default() });
        let (tally, error) = book.finish();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(tally.report(1.0).candidates, 3);
        let lines = |name: &str| {
            let text = std::fs::read_to_string(directory.path().join(name)).expect(name);
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let live = lines(LIVE_SIGNALS);
        let first: serde_json::Value = serde_json::from_str(&live[0]).expect("json");
        assert_eq!((live.len(), first["symbol"].as_str()), (3, Some("ETH")));
        assert_eq!((lines(PSC_SIGNALS).len(), lines(ML_PREDICTIONS).len()), (4, 2));
        assert!(lines(ML_PREDICTIONS)[1].contains(",ETH,2,NEUTRAL,formula,0.4,"));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = SignalBook::open(&SignalConfig::default(), &Registry::new(), Some(Path::new("/proc/nowhere")));
        let error = error.err().expect("an error").to_string();
        assert!(error.contains("/proc/nowhere/data/live_microstructure_signals.json"), "{error}");
    }
}
