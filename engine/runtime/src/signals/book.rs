//! The files of signals, and what signals come to.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use tidegate_trade::lines::{PREDICTIONS_HEADER, SIGNALS_HEADER, SignalLine, prediction_rows, signal_row};
use tidegate_trade::report::Tally;
use tidegate_trade::signals::SignalConfig;
use tidegate_trade::signals::rating::Rating;
use tidegate_wire::Registry;
use tidegate_wire::signal::{OutcomeBody, SignalBody};

use crate::line_file::LineFile;
use crate::scribe::OutputError;

/// Names of the files, below the output directory.
pub const LIVE_SIGNALS: &str = "data/live_microstructure_signals.json";
/// The same as a table.
pub const PSC_SIGNALS: &str = "data/psc_signals.csv";
/// What was stated and what became of it.
pub const ML_PREDICTIONS: &str = "data/ml_predictions.csv";

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
    open: BTreeMap<u64, (SignalBody, Option<Rating>)>,
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

    /// Coin and instrument of a signal.
    pub fn names(&self, signal: &SignalBody) -> (&str, &str) {
        let coin = self.coins.get(usize::from(signal.coin)).map_or("unknown", String::as_str);
        (coin, self.instruments.get(signal.instrument.index()).map_or("unknown", String::as_str))
    }

    /// A signal as people read it.
    pub fn line(&self, signal: &SignalBody) -> SignalLine<'_> {
        let (coin, instrument) = self.names(signal);
        SignalLine::new(signal, coin, instrument, self.tally.edge_bp(signal.confidence))
    }

    /// A signal came, which acts on what was said of it.
    pub fn signal(&mut self, signal: &SignalBody, rating: Option<&Rating>) {
        let line = self.line(signal).rated(rating);
        // Numbers and plain strings: serialisation has nothing to fail on.
        let (json, row) = (serde_json::to_string(&line).unwrap_or_default(), signal_row(&line));
        if let Some(files) = &mut self.files {
            files.live.file.line(json);
            files.table.file.line(row);
        }
        self.tally.signal(signal, rating);
        self.open.insert(signal.sequence, (*signal, rating.cloned()));
    }

    /// What became of one; gives the signal with what was said of it.
    pub fn outcome(&mut self, outcome: &OutcomeBody) -> Option<(SignalBody, Option<Rating>)> {
        self.tally.outcome(outcome);
        let (signal, rating) = self.open.remove(&outcome.sequence)?;
        let rows = prediction_rows(&signal, rating.as_ref(), self.names(&signal).0, outcome);
        if let Some(files) = &mut self.files {
            rows.into_iter().for_each(|row| files.predictions.file.line(row));
        }
        Some((signal, rating))
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
            book.signal(&SignalBody { sequence, coin: 1, confidence: 0.4, ..SignalBody::zeroed() }, None);
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
