//! The cold thread that hears what the sidecar tells: log lines, the models' file, answers for whoever asked.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;
use tidegate_sidecar::messages::{Event, Listed, Rated, Request};
use tidegate_sidecar::refusal::Reason;
use tracing::{info, warn};

use crate::audit::Trail;
use crate::screens::Teller;

/// Events kept for `model history`.
const HISTORY: usize = 1_000;
/// How long an answer may take: loading a large model takes a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the sidecar told over a run, for summaries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeskReport {
    /// Instructions of the kernel; absent when nothing was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Why nothing could be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// Version in force by model.
    pub in_force: BTreeMap<String, u32>,
    /// Promotions, the ones at the start included.
    pub promotions: u64,
    /// Refusals by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Roll-backs.
    pub rollbacks: u64,
    /// Failures of models in force.
    pub faults: u64,
    /// Times the sidecar was lost and started again.
    pub restarts: u64,
    /// Predictions made.
    pub predictions: u64,
}

/// An event with the time it was heard at.
#[derive(Clone, Debug, Serialize)]
struct Heard {
    /// ns since the Unix epoch.
    wall_ns: u64,
    #[serde(flatten)]
    event: Event,
}

/// What the version in force and the one in shadow say of a signal.
pub(crate) type Ratings = (Option<Rated>, Option<Rated>);

#[derive(Debug, Default)]
struct State {
    report: DeskReport,
    history: Vec<Heard>,
    /// Who waits for the answer to a request.
    waiting: HashMap<u64, Sender<Event>>,
    lost_lines: u64,
}

/// A handle on the desk; clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    state: Arc<Mutex<State>>,
    requests: Sender<Request>,
    next: Arc<AtomicU64>,
}

/// The desk's thread.
#[derive(Debug)]
pub(crate) struct DeskThread(JoinHandle<()>);

impl DeskThread {
    /// Waits until everything that was told is written: the sidecar must have ended.
    pub(crate) fn finish(self) {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

impl Desk {
    /// Opens the desk; events are appended to `file` as JSON lines.
    pub(crate) fn open(
        requests: Sender<Request>,
        events: Receiver<Event>,
        file: Option<&Path>,
        told: (Option<Trail>, Option<Teller>),
    ) -> std::io::Result<(Self, DeskThread)> {
        let desk = Self { state: Arc::default(), requests, next: Arc::default() };
        let file = file.map(|path| File::create(path).map(|file| (path.to_owned(), file))).transpose()?;
        let own = desk.clone();
        let thread =
            std::thread::Builder::new().name("tide-desk".into()).spawn(move || own.hear(&events, file, told))?;
        Ok((desk, DeskThread(thread)))
    }

    fn hear(
        &self,
        events: &Receiver<Event>,
        mut file: Option<(PathBuf, File)>,
        (trail, screens): (Option<Trail>, Option<Teller>),
    ) {
        for event in events {
            // Others may still hold an end of the channel: a loader in the gate, say.
            if event == Event::Ended {
                // Nobody answers any more.
                self.state().waiting.clear();
                return;
            }
            log(&event);
            if let Some(trail) = &trail {
                trail.model(&event);
            }
            if let Some(screens) = &screens {
                screens.model(&event);
            }
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let heard = Heard { wall_ns: wall.as_nanos() as u64, event };
            let mut lost = 0;
            if !matches!(heard.event, Event::Answer { .. } | Event::Rated { .. } | Event::Judging { .. })
                && let Some((path, out)) = &mut file
                && let Err(error) = write_line(out, &heard)
            {
                lost = 1;
                warn!(path = %path.display(), %error, "an event of the models cannot be written");
            }
            let mut state = self.state();
            state.lost_lines += lost;
            state.take(heard);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nobody panics while holding it; a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was told so far.
    pub fn report(&self) -> DeskReport {
        self.state().report.clone()
    }

    /// Everything but predictions and answers that was told, oldest first, the last thousand, as JSON.
    pub fn history(&self) -> Vec<serde_json::Value> {
        self.state().history.iter().filter_map(|heard| serde_json::to_value(heard).ok()).collect()
    }

    /// Asks the sidecar and waits for its answer. `make` gets the number of the request.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn ask(&self, make: impl FnOnce(u64) -> Request) -> Result<Vec<Listed>, String> {
        self.ask_for(PATIENCE, make)
    }

    /// The same with another patience.
    pub(crate) fn ask_for(&self, patience: Duration, make: impl FnOnce(u64) -> Request) -> Result<Vec<Listed>, String> {
        match self.answer(make, patience)? {
            Event::Answer { error: None, models, .. } => Ok(models),
            Event::Answer { error: Some(error), .. } => Err(error),
            other => Err(format!("the sidecar answers with {other:?}")),
        }
    }

    /// Asks what a model of signals says of one, and waits that long for it.
    ///
    /// # Errors
    /// Why nothing was said in time.
    pub(crate) fn rate(
        &self,
        name: &str,
        event_ns: i64,
        row: &[Option<f64>],
        patience: Duration,
    ) -> Result<Ratings, String> {
        let (name, row) = (name.to_owned(), row.to_vec());
        match self.answer(|id| Request::Rate { id, name, event_ns, row }, patience)? {
            Event::Rated { in_force, shadow, .. } => Ok((in_force, shadow)),
            Event::Answer { error: Some(error), .. } => Err(error),
            other => Err(format!("the sidecar answers with {other:?}")),
        }
    }

    fn answer(&self, make: impl FnOnce(u64) -> Request, patience: Duration) -> Result<Event, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = bounded(1);
        self.state().waiting.insert(id, answer);
        let sent = self.requests.send(make(id)).map_err(|_| "the sidecar has ended".to_owned());
        let answer =
            sent.and_then(|()| answered.recv_timeout(patience).map_err(|_| "the sidecar does not answer".into()));
        self.state().waiting.remove(&id);
        answer
    }
}

impl State {
    fn take(&mut self, heard: Heard) {
        let report = &mut self.report;
        match &heard.event {
            Event::Ready { kernel, .. } => report.kernel = Some(kernel.clone()),
            Event::Unavailable { reason } => report.unavailable = Some(reason.clone()),
            Event::Judging { .. } | Event::Ended => return,
            Event::Admitted { .. } | Event::Empty { .. } | Event::Newer { .. } => {}
            Event::Refused { reason, .. } => {
                *report.refusals.entry(word(*reason).to_owned()).or_default() += 1;
            }
            Event::Promoted { name, to, .. } => {
                report.promotions += 1;
                report.in_force.insert(name.clone(), *to);
            }
            Event::RolledBack { name, to, .. } => {
                report.rollbacks += 1;
                report.in_force.insert(name.clone(), *to);
            }
            Event::Fault { .. } => report.faults += 1,
            Event::Lost { .. } => {
                report.restarts += 1;
                // What it was asked is not answered by the next one.
                self.waiting.clear();
                report.in_force.clear();
            }
            Event::Prediction { .. } => {
                report.predictions += 1;
                return;
            }
            Event::Answer { id, .. } | Event::Rated { id, .. } => {
                if let Some(waiting) = self.waiting.remove(id) {
                    // Whoever asked may have given up.
                    let _ = waiting.try_send(heard.event);
                }
                return;
            }
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(heard);
    }
}

fn word(reason: Reason) -> &'static str {
    reason.into()
}

fn write_line(file: &mut File, heard: &Heard) -> std::io::Result<()> {
    let mut line = serde_json::to_string(heard)?;
    line.push('\n');
    file.write_all(line.as_bytes())
}

fn log(event: &Event) {
    match event {
        Event::Ready { kernel, runtime } => info!(kernel, runtime, "models: ready"),
        Event::Unavailable { reason } => warn!(reason, "models: none can be loaded, static profiles hold"),
        Event::Empty { directory } => {
            warn!(directory, "models: none there (no NAME/VERSION/contract.json), static profiles hold");
        }
        Event::Newer { name, version, pointed } => {
            let way = "tidegate model load NAME VERSION --engine DIR takes it up";
            info!(name, version, pointed, way, "model: a newer version is there and is not taken up");
        }
        Event::Admitted { name, version, report, .. } => {
            info!(name, version, p99_us = report.p99_us, "model: passed the load gate");
        }
        Event::Refused { name, version, text, .. } => warn!(name, version, reason = text, "model: refused"),
        Event::Promoted { name, from, to, .. } => info!(name, ?from, to, "model: in force"),
        Event::RolledBack { name, from, to, .. } => warn!(name, from, to, "model: rolled back"),
        Event::Fault { name, version, text } => warn!(name, version, fault = text, "model: failed"),
        Event::Lost { reason } => warn!(reason, "sidecar: lost, started again"),
        Event::Judging { .. }
        | Event::Prediction { .. }
        | Event::Rated { .. }
        | Event::Answer { .. }
        | Event::Ended => {}
    }
}
