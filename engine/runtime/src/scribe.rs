//! The cold thread beside a pipeline: interval histograms to the log, decisions to their file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use tidegate_guard::rules::rule_name;
use tidegate_wire::decision::{BreakerState, Cause, Decision, Scope};
use tidegate_wire::event::BookQuality;
use tidegate_wire::latency::Collector;
use tidegate_wire::relay::RecordReader;
use tidegate_wire::{InstrumentId, Registry, Venue};

use crate::hlog::{HlogError, LogWriter};

/// Where a pipeline's records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Decisions as JSON lines.
    pub decisions: Option<PathBuf>,
    /// Interval histograms, standard V2 log.
    pub hlog: Option<PathBuf>,
}

/// A file that could not be written. The pipeline went on; what was not written is counted.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The decisions file.
    #[error("{path}: {source}; {lost} decisions were not written")]
    Decisions {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// Decisions that are missing in it.
        lost: u64,
    },
    /// The histogram log.
    #[error(transparent)]
    Hlog(#[from] HlogError),
}

/// What the scribe knows at the end.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) histograms: Vec<Histogram<u64>>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) error: Option<OutputError>,
}

/// Interval of the histogram log.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often rings are looked at.
const POLL: Duration = Duration::from_millis(2);
/// Decisions kept for the summary; the file has them all.
const DECISIONS_KEPT: usize = 100_000;

pub(crate) struct Scribe {
    collector: Collector,
    decisions: RecordReader,
    names: Names,
    hlog: Option<LogWriter>,
    file: Option<(PathBuf, BufWriter<File>)>,
    written: Written,
    lost: u64,
    start: Instant,
    interval_start: Instant,
    /// Whether the loop has been asked for the running interval.
    asked: bool,
}

impl Scribe {
    /// Opens the files. Fails before anything runs if they cannot be.
    pub(crate) fn new(
        collector: Collector,
        decisions: RecordReader,
        registry: &Registry,
        strategies: Vec<String>,
        outputs: &Outputs,
    ) -> Result<Self, OutputError> {
        let open = |path: &Path| {
            let failed = |source| OutputError::Decisions { path: path.display().to_string(), source, lost: 0 };
            Ok::<_, OutputError>((path.to_owned(), BufWriter::new(File::create(path).map_err(failed)?)))
        };
        let file = outputs.decisions.as_deref().map(open).transpose()?;
        let hlog = outputs.hlog.as_ref().map(|path| LogWriter::create(path, SystemTime::now())).transpose()?;
        let names = Names::new(registry, strategies);
        let written = Written { histograms: Vec::new(), decisions: Vec::new(), error: None };
        let now = Instant::now();
        Ok(Self {
            collector,
            decisions,
            names,
            hlog,
            file,
            written,
            lost: 0,
            start: now,
            interval_start: now,
            asked: false,
        })
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
        if self.collector.collect() {
            self.write_interval();
            (self.interval_start, self.asked) = (Instant::now(), false);
        } else if !self.asked && self.interval_start.elapsed() >= INTERVAL {
            // The loop answers at its next event; the interval lasts until then.
            self.collector.ask();
            self.asked = true;
        }
    }

    fn write_interval(&mut self) {
        let Some(log) = &mut self.hlog else { return };
        let (start, duration) = (self.interval_start - self.start, self.interval_start.elapsed());
        for (tag, histogram) in self.collector.stages().iter().zip(self.collector.interval()) {
            if histogram.is_empty() {
                continue;
            }
            if let Err(error) = log.write_interval(tag, start, duration, histogram) {
                self.written.error.get_or_insert(error.into());
                self.hlog = None;
                return;
            }
        }
    }

    fn drain(&mut self) {
        while let Some(decision) = self.decisions.poll_decision() {
            if self.written.decisions.len() < DECISIONS_KEPT {
                self.written.decisions.push(decision);
            }
            let Some((path, file)) = &mut self.file else { continue };
            let line = self.names.line(&decision);
            if let Err(source) = writeln!(file, "{line}") {
                self.lost += 1;
                let path = path.display().to_string();
                self.written.error.get_or_insert(OutputError::Decisions { path, source, lost: 0 });
            }
        }
        if let Some((path, file)) = &mut self.file
            && let Err(source) = file.flush()
        {
            let path = path.display().to_string();
            self.written.error.get_or_insert(OutputError::Decisions { path, source, lost: 0 });
        }
    }

    fn finish(mut self) -> Written {
        self.drain();
        if self.collector.collect() {
            self.write_interval();
        }
        if let Some(OutputError::Decisions { lost, .. }) = &mut self.written.error {
            *lost = self.lost;
        }
        self.written.histograms = self.collector.total().to_vec();
        self.written
    }
}

/// Names for the numbers in a decision.
#[derive(Clone, Debug)]
pub struct Names {
    instruments: Vec<String>,
    strategies: Vec<String>,
}

/// A decision as people and programs read it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DecisionLine {
    /// Number, from 1.
    pub sequence: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Frame that caused it, or the last one before a timer.
    pub frame: u64,
    /// What is guarded.
    pub scope: &'static str,
    /// Which one.
    pub name: String,
    /// Which rule.
    pub rule: &'static str,
    /// State before.
    pub from: &'static str,
    /// State after.
    pub to: &'static str,
    /// Why.
    pub cause: &'static str,
    /// Quality of the book behind the value; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<&'static str>,
    /// The measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The level that trips.
    pub threshold: f64,
    /// The level that releases.
    pub release: f64,
    /// Version of the thresholds.
    pub thresholds_version: u64,
    /// Digest of the vector it was taken on; absent for timers and operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features_digest: Option<String>,
    /// End of cooling or probation, ns since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<i64>,
}

impl Names {
    /// Names of a registry's instruments and of strategies.
    pub fn new(registry: &Registry, strategies: Vec<String>) -> Self {
        Self { instruments: registry.iter().map(|(_, i)| i.name()).collect(), strategies }
    }

    /// A decision with its names.
    pub fn decision(&self, decision: &Decision) -> DecisionLine {
        let scope = Scope::from_repr(decision.scope).unwrap_or(Scope::Engine);
        let id = usize::from(decision.scope_id);
        let name = match scope {
            Scope::Instrument => self.instruments.get(id).cloned(),
            Scope::Venue => Venue::ALL.get(id).map(|venue| venue.name().to_owned()),
            Scope::Strategy => self.strategies.get(id).cloned(),
            Scope::Engine => Some("engine".to_owned()),
        };
        let state = |byte: u8| BreakerState::from_repr(byte).map_or("unknown", BreakerState::name);
        let measured = decision.instrument != InstrumentId::NONE;
        DecisionLine {
            sequence: decision.sequence,
            event_ns: decision.event_ns,
            frame: decision.frame,
            scope: scope.name(),
            name: name.unwrap_or_else(|| id.to_string()),
            rule: rule_name(decision.rule),
            from: state(decision.from),
            to: state(decision.to),
            cause: Cause::from_repr(decision.cause).map_or("unknown", Cause::name),
            quality: BookQuality::from_repr(decision.quality).filter(|_| measured).map(BookQuality::name),
            value: (decision.has_value == 1).then_some(decision.value),
            threshold: decision.threshold,
            release: decision.release,
            thresholds_version: decision.thresholds_version,
            features_digest: measured.then(|| format!("{:016x}", decision.features_digest)),
            until_ns: (decision.until_ns != 0).then_some(decision.until_ns),
        }
    }

    fn line(&self, decision: &Decision) -> String {
        // Numbers and plain strings: serialisation has nothing to fail on.
        serde_json::to_string(&self.decision(decision)).unwrap_or_default()
    }
}
