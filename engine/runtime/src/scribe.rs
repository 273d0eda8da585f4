//! The cold thread beside a pipeline: interval histograms to the log, decisions to their file.
//!
//! The hot loop's ring of decisions is lossless: a full one holds the loop back. So nothing here waits for whoever
//! looks: screens are told through a queue that drops rather than wait.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use tidegate_wire::advice::Adjustment;
use tidegate_wire::decision::{BreakerState, Decision};
use tidegate_wire::event::{BookQuality, Header, Status};
use tidegate_wire::latency::Collector;
use tidegate_wire::relay::{RecordReader, Told};
use tidegate_wire::{InstrumentId, Registry};

use crate::audit::Trail;
use crate::hlog::{HlogError, LogWriter};
use crate::journal;
use crate::line_file::LineFile;
use crate::lines::Names;
use crate::minutes::Minutes;
use crate::models::{AdjustmentLine, OperatedLine};
use crate::risk::Board;
use crate::screens::Teller;
use crate::stores::StoreHandle;

/// Where a pipeline's records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Decisions as JSON lines.
    pub decisions: Option<PathBuf>,
    /// Changes of thresholds as JSON lines: what `--reenact` takes.
    pub adjustments: Option<PathBuf>,
    /// Changes of books' quality as JSON lines.
    pub books: Option<PathBuf>,
    /// What models did as JSON lines: promotions, refusals, predictions.
    pub models: Option<PathBuf>,
    /// Interval histograms, standard V2 log.
    pub hlog: Option<PathBuf>,
    /// Directory of the signals' files.
    pub signals: Option<PathBuf>,
    /// Directory of the signals' outcomes, as models are trained on them.
    pub outcomes: Option<PathBuf>,
}

/// A file that could not be written. The pipeline went on; what was not written is counted.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file of decisions or adjustments.
    #[error("{path}: {source}; {lost} {what} were not written")]
    Lines {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// What its lines are.
        what: &'static str,
        /// Lines that are missing in it.
        lost: u64,
    },
    /// The histogram log.
    #[error(transparent)]
    Hlog(#[from] HlogError),
    /// Both files.
    #[error("{0}; {1}")]
    Both(Box<OutputError>, Box<OutputError>),
}

impl OutputError {
    /// A file of lines, of which so many are lost.
    pub(crate) fn lines(path: &Path, source: std::io::Error, lost: u64, what: &'static str) -> Self {
        Self::Lines { path: path.display().to_string(), source, what, lost }
    }

    /// Two files that may have failed, as one error: neither hides the other.
    pub(crate) fn join(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self::Both(Box::new(one), Box::new(other))),
            (one, other) => one.or(other),
        }
    }
}

/// What the scribe knows at the end.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) histograms: Vec<Histogram<u64>>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) adjustments: Vec<Adjustment>,
    pub(crate) error: Option<OutputError>,
}

/// Interval of the histogram log.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often rings are looked at.
const POLL: Duration = Duration::from_millis(2);
/// Decisions kept for the summary; the file has them all.
const DECISIONS_KEPT: usize = 100_000;
/// Adjustments kept for the summary; the file has them all.
const ADJUSTMENTS_KEPT: usize = 100_000;
/// What lines are called in errors.
const DECISIONS: &str = "decisions";
const ADJUSTMENTS: &str = "adjustments";
const BOOKS: &str = "changes of books";

pub(crate) struct Scribe {
    collector: Collector,
    decisions: RecordReader,
    names: Names,
    hlog: Option<LogWriter>,
    hlog_error: Option<HlogError>,
    file: Option<(PathBuf, LineFile<File>)>,
    adjustments: Option<(PathBuf, LineFile<File>)>,
    written: Written,
    start: Instant,
    interval_start: Instant,
    /// Whether the loop has been asked for the running interval.
    asked: bool,
    /// Changes of books' quality.
    books: Option<(PathBuf, LineFile<File>)>,
    /// Who starts a book anew that was seen to be corrupt.
    healer: Option<Healer>,
    /// The audit log, and who stops the trading when it cannot be written; nobody once that was said.
    trail: Option<(Trail, Option<Stopper>)>,
    /// Where open breakers are noted for the risk desk.
    board: Arc<Board>,
    /// Whoever shows what happens.
    teller: Option<Teller>,
    /// Who keeps metrics by the minute, and the minute that was kept last.
    minutes: Option<Minutes>,
}

/// Stops the trading, for a reason.
pub(crate) type Stopper = Box<dyn FnOnce(&str) + Send>;

/// Starts a book anew.
pub(crate) type Healer = Box<dyn FnMut(InstrumentId) + Send>;

impl Scribe {
    /// Opens the files. Fails before anything runs if they cannot be.
    pub(crate) fn new(
        collector: Collector,
        decisions: RecordReader,
        registry: &Registry,
        strategies: Vec<String>,
        outputs: &Outputs,
    ) -> Result<Self, OutputError> {
        let open = |path: Option<&PathBuf>, what: &'static str| {
            let Some(path) = path else { return Ok(None) };
            let failed = |source| OutputError::lines(path, source, 0, what);
            Ok::<_, OutputError>(Some((path.clone(), LineFile::new(File::create(path).map_err(failed)?))))
        };
        let file = open(outputs.decisions.as_ref(), DECISIONS)?;
        let adjustments = open(outputs.adjustments.as_ref(), ADJUSTMENTS)?;
        let books = open(outputs.books.as_ref(), BOOKS)?;
        let hlog = outputs.hlog.as_ref().map(|path| LogWriter::create(path, SystemTime::now())).transpose()?;
        let names = Names::new(registry, strategies);
        let written = Written::default();
        let now = Instant::now();
        Ok(Self {
            collector,
            decisions,
            names,
            hlog,
            hlog_error: None,
            file,
            adjustments,
            written,
            start: now,
            interval_start: now,
            asked: false,
            books,
            healer: None,
            trail: None,
            board: Arc::new(Board::new(0, 0)),
            teller: None,
            minutes: None,
        })
    }

    /// Tells somebody of books that are corrupt although their sequence is whole.
    pub(crate) fn healed_by(self, healer: Option<Healer>) -> Self {
        Self { healer, ..self }
    }

    /// Records in an audit log too. When that cannot be written, or does not keep up, the trading is stopped.
    pub(crate) fn audited_by(self, trail: Option<Trail>, stopper: Stopper) -> Self {
        Self { trail: trail.map(|trail| (trail, Some(stopper))), ..self }
    }

    /// Notes on a board which breakers are open.
    pub(crate) fn noting_on(self, board: Arc<Board>) -> Self {
        Self { board, ..self }
    }

    /// Tells whoever shows what happens.
    pub(crate) fn shown_by(self, teller: Option<Teller>) -> Self {
        Self { teller, ..self }
    }

    /// Gives metrics of each minute to a store.
    pub(crate) fn by_the_minute(self, store: Option<StoreHandle>) -> Self {
        Self { minutes: store.map(Minutes::new), ..self }
    }

    /// Runs until `done` is set and everything is drained.
    pub(crate) fn spawn(mut self, done: Arc<AtomicBool>) -> std::io::Result<JoinHandle<Written>> {
        std::thread::Builder::new().name("tide-scribe".into()).spawn(move || {
            while !done.load(Ordering::Acquire) {
                self.turn();
                std::thread::sleep(POLL);
            }
            self.finish()
        })
    }

    fn turn(&mut self) {
        self.drain();
        self.watch_log();
        if self.collector.collect() {
            self.write_interval();
            self.keep_minute();
            (self.interval_start, self.asked) = (Instant::now(), false);
        } else if !self.asked && self.interval_start.elapsed() >= INTERVAL {
            // The loop answers at its next event; the interval lasts until then.
            self.collector.ask();
            self.asked = true;
        }
    }

    /// Whoever cannot record must not trade.
    fn watch_log(&mut self) {
        let Some((trail, stopper)) = &mut self.trail else { return };
        if !trail.is_pressed() {
            return;
        }
        if let Some(stopper) = stopper.take() {
            let reason = trail.error().map_or_else(|| "it does not keep up".to_owned(), |error| error.to_string());
            stopper(&reason);
        }
    }

    fn keep_minute(&mut self) {
        if let Some(minutes) = &mut self.minutes {
            minutes.measured(self.collector.stages(), self.collector.interval());
        }
    }

    fn write_interval(&mut self) {
        if let Some(teller) = &self.teller {
            teller.latency(self.collector.stages(), self.collector.total(), self.collector.interval());
        }
        let Some(log) = &mut self.hlog else { return };
        let (start, duration) = (self.interval_start - self.start, self.interval_start.elapsed());
        for (tag, histogram) in self.collector.stages().iter().zip(self.collector.interval()) {
            if histogram.is_empty() {
                continue;
            }
            if let Err(error) = log.write_interval(tag, start, duration, histogram) {
                self.hlog_error = Some(error);
                self.hlog = None;
                return;
            }
        }
    }

    fn drain(&mut self) {
        while let Some(told) = self.decisions.poll_told() {
            let decision = match told {
                Told::Decision(decision) => decision,
                Told::Adjustment(adjustment) => {
                    self.take_adjustment(&adjustment);
                    continue;
                }
                Told::Operated(operated) => {
                    if let Some((trail, _)) = &self.trail {
                        trail.operated(&operated);
                    }
                    let line = OperatedLine::of(&operated, &self.names);
                    journal::operated(&line);
                    if let Some(teller) = &self.teller {
                        teller.operated(&operated);
                    }
                    if let Some((_, file)) = &mut self.adjustments {
                        file.line(serde_json::to_string(&line).unwrap_or_default());
                    }
                    continue;
                }
                Told::Status(header, status) => {
                    self.status(&header, &status);
                    continue;
                }
                Told::Signal(signal) => {
                    if let Some((trail, _)) = &self.trail {
                        trail.signal(&signal);
                    }
                    continue;
                }
                Told::Outcome(outcome) => {
                    if let Some((trail, _)) = &self.trail {
                        trail.outcome(&outcome);
                    }
                    continue;
                }
            };
            self.board.decided(&decision);
            if let Some(minutes) = &mut self.minutes {
                minutes.decided(decision.to == BreakerState::Tripped as u8);
            }
            journal::decision(&self.names, &decision);
            if let Some((trail, _)) = &self.trail {
                trail.decision(&decision);
            }
            if let Some(teller) = &self.teller {
                teller.decision(&decision);
            }
            if self.written.decisions.len() < DECISIONS_KEPT {
                self.written.decisions.push(decision);
            }
            if let Some((_, file)) = &mut self.file {
                file.line(self.names.line(&decision));
            }
        }
        for (_, file) in self.file.iter_mut().chain(&mut self.adjustments).chain(&mut self.books) {
            file.flush();
        }
    }

    fn status(&mut self, header: &Header, status: &Status) {
        journal::status(&self.names, header, status);
        if let Some((trail, _)) = &self.trail {
            trail.status(header, status);
        }
        if let Some(teller) = &self.teller {
            teller.quality(header, status);
        }
        if let Some((_, file)) = &mut self.books {
            file.line(serde_json::to_string(&self.names.book(header, status)).unwrap_or_default());
        }
        let corrupt = status.quality == BookQuality::Crossed as u64;
        if let Some(healer) = self.healer.as_mut().filter(|_| corrupt) {
            healer(header.instrument);
        }
    }

    fn take_adjustment(&mut self, adjustment: &Adjustment) {
        let line = AdjustmentLine::of(adjustment, self.names.instrument(adjustment.instrument));
        journal::adjustment(&line);
        if let Some(minutes) = &mut self.minutes {
            minutes.adjusted();
        }
        if let Some((trail, _)) = &self.trail {
            trail.adjustment(adjustment);
        }
        if let Some(teller) = &self.teller {
            teller.adjustment(adjustment);
        }
        if self.written.adjustments.len() < ADJUSTMENTS_KEPT {
            self.written.adjustments.push(*adjustment);
        }
        if let Some((_, file)) = &mut self.adjustments {
            // Numbers and plain strings: serialisation has nothing to fail on.
            file.line(serde_json::to_string(&line).unwrap_or_default());
        }
    }

    fn finish(mut self) -> Written {
        self.drain();
        if self.collector.collect() {
            self.write_interval();
        }
        self.keep_minute();
        if let Some(minutes) = &mut self.minutes {
            minutes.write();
        }
        let close = |file: Option<(PathBuf, LineFile<File>)>, what| {
            let (path, file) = file?;
            let (source, lost) = file.finish()?;
            Some(OutputError::lines(&path, source, lost, what))
        };
        let lines = OutputError::join(close(self.file.take(), DECISIONS), close(self.adjustments.take(), ADJUSTMENTS));
        let lines = OutputError::join(lines, close(self.books.take(), BOOKS));
        self.written.error = OutputError::join(lines, self.hlog_error.take().map(OutputError::from));
        self.written.histograms = self.collector.total().to_vec();
        self.written
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn no_error_hides_another() {
        let decisions = || {
            let source = Error::from(ErrorKind::StorageFull);
            Some(OutputError::Lines { path: "d.jsonl".into(), source, what: DECISIONS, lost: 3 })
        };
        let hlog = || Some(OutputError::from(HlogError::Tag { tag: "x y".into() }));
        assert!(OutputError::join(None, None).is_none());
        let (one, other) = (OutputError::join(decisions(), None), OutputError::join(None, hlog()));
        let both = OutputError::join(decisions(), hlog()).expect("both").to_string();
        for error in [one, other] {
            let text = error.expect("one").to_string();
            assert!(both.contains(&text), "{both}: {text}");
        }
        assert!(both.contains("3 decisions were not written"), "{both}");
    }
}
