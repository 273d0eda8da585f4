//! The audit log of a run: what is recorded of it, and what happens when that cannot be.
//!
//! The scribe, the models' desk, the control socket and the live sessions each hold a `Trail`. In a replay everything
//! holds back for the log, and what comes from threads of their own pace (models) is appended at the end: the same
//! input gives the same entries, so the root is as reproducible as the digests are. In a live run the log never holds
//! up the market: see [`tidegate_record::service`].

pub mod key;
mod opening;
pub mod orders;
pub mod reading;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_feed::session::status::SessionEvent;
use tidegate_record::entry::{BookChange, Entry, Kind};
use tidegate_record::log::{Log, LogError, Opened};
use tidegate_record::service::{Overload, Recorder, Service, Settings, Standing, Written};
use tidegate_sidecar::messages::Event;
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::decision::Decision;
use tidegate_wire::event::{Header, Status};
use tidegate_wire::order::{Execution, OrderRequest, Verdict};
use tidegate_wire::signal::{OutcomeBody, SignalBody};

pub use key::KeyError;
pub(crate) use opening::file_digest;

/// Name of a log that was given none.
pub const ORIGIN: &str = "tidegate.invalid/audit";

/// Where a run is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlan {
    /// The log's folder; made if it is not there, continued if it is.
    pub directory: PathBuf,
    /// The key that signs its checkpoints; one is made where there is none.
    pub key: PathBuf,
    /// Name of the log: who keeps it and what of, as a URL without a scheme. Counts for a new key.
    pub origin: String,
}

impl AuditPlan {
    /// A log in this folder, with a key beside it.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), key: directory.with_extension("key"), origin: ORIGIN.into() }
    }
}

/// A log that cannot be begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Its key.
    #[error("the audit log's key: {0}")]
    Key(#[from] KeyError),
    /// The log.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
    /// No thread.
    #[error("the audit log: a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// What was recorded of a run.
#[derive(Clone, Debug)]
pub struct AuditReport {
    /// Where.
    pub directory: PathBuf,
    /// What was found there.
    pub opened: Opened,
    /// What was written.
    pub written: Written,
}

/// The log of a run that is under way.
#[derive(Debug)]
pub(crate) struct Audit {
    directory: PathBuf,
    opened: Opened,
    /// Number of the entry that begins this session.
    session: u64,
    service: Service,
    trail: Trail,
}

/// Who tells something that waits for the end of a replay.
const MODELS: usize = 0;
const LEDGER: usize = 1;
const TRADING: usize = 2;
const SOURCES: usize = 3;

/// What waits for the end of a replay: kind, time and body.
#[derive(Clone, Debug)]
enum Later {
    Told(Kind, i64, Value),
    Recorded(Kind, i64, Box<[u8]>),
}

/// A way to record something; clones record in the same log.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    recorder: Recorder,
    live: bool,
    /// What waits for the end of a replay, by who told it: each in its own order, whoever's thread was faster.
    later: Arc<[Mutex<Vec<Later>>; SOURCES]>,
}

impl Audit {
    pub(crate) fn open(plan: &AuditPlan, live: bool) -> Result<Self, AuditError> {
        let (signer, fresh) = key::read_or_make(&plan.key, &plan.origin)?;
        if fresh {
            let (key, log) = (plan.key.display(), plan.directory.display());
            tracing::warn!(%key, %log, "audit: a new signing key was made; keep it where the log's keepers cannot");
        }
        let (log, opened) = Log::open(&plan.directory, signer, tidegate_record::log::Settings::default())?;
        if opened.recovered > 0 || opened.torn_bytes > 0 {
            let Opened { covered, recovered, torn_bytes } = opened;
            tracing::warn!(covered, recovered, torn_bytes, "audit: recovered after a crash");
        }
        let session = log.next();
        let overload = if live { Overload::Drop } else { Overload::Hold };
        let service = Service::start(log, Settings { overload, ..Settings::default() }).map_err(AuditError::Thread)?;
        let trail = Trail { recorder: service.recorder(), live, later: Arc::default() };
        Ok(Self { directory: plan.directory.clone(), opened, session, service, trail })
    }

    /// The log's folder.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Number of the entry that begins this session.
    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    pub(crate) fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Records how the run ended, and ends the log.
    pub(crate) fn end(self, body: &Value) -> Result<AuditReport, AuditError> {
        for source in self.trail.later.iter() {
            let later = core::mem::take(&mut *source.lock().unwrap_or_else(PoisonError::into_inner));
            later.into_iter().for_each(|later| self.trail.tell_now(later));
        }
        self.trail.tell(Kind::End, body);
        let Self { directory, opened, service, .. } = self;
        let written = service.finish()?;
        Ok(AuditReport { directory, opened, written })
    }
}

impl Trail {
    /// Host time in a live run; 0 in a replay, which must not depend on it.
    fn now_ns(&self) -> i64 {
        if !self.live {
            return 0;
        }
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as i64)
    }

    /// Why nothing is recorded any more.
    pub(crate) fn error(&self) -> Option<LogError> {
        self.recorder.error()
    }

    /// How far the log is.
    pub(crate) fn standing(&self) -> Standing {
        self.recorder.standing()
    }

    /// Whether the log cannot keep up, or has failed.
    pub(crate) fn is_pressed(&self) -> bool {
        self.live && self.recorder.is_pressed() || self.recorder.error().is_some()
    }

    fn tell(&self, kind: Kind, body: &Value) {
        // What the log says no to is seen by whoever looks at its error: the scribe, which stops the trading.
        let _ = self.recorder.tell(kind, self.now_ns(), body);
    }

    fn record(&self, kind: Kind, time_ns: i64, body: &impl bytemuck::Pod) {
        let _ = self.recorder.record(&Entry::new(kind, time_ns, bytemuck::bytes_of(body)));
    }

    pub(crate) fn decision(&self, decision: &Decision) {
        self.record(Kind::Decision, decision.event_ns, decision);
    }

    /// An adjustment, without the stamps: what it took is in the histograms, and differs every time.
    pub(crate) fn adjustment(&self, adjustment: &Adjustment) {
        let timeless = Adjustment { advice: adjustment.advice.timeless(), ..*adjustment };
        self.record(Kind::Adjustment, adjustment.event_ns, &timeless);
    }

    pub(crate) fn operated(&self, operated: &Operated) {
        self.record(Kind::Operated, operated.event_ns, operated);
    }

    pub(crate) fn status(&self, header: &Header, status: &Status) {
        let (frame, instrument, flags) = (header.frame, header.instrument, header.flags);
        let change = BookChange { frame, status: *status, instrument, flags: u16::from(flags), reserved: 0 };
        self.record(Kind::Book, header.event_ns, &change);
    }

    pub(crate) fn signal(&self, signal: &SignalBody) {
        self.record(Kind::Signal, signal.event_ns, signal);
    }

    pub(crate) fn outcome(&self, outcome: &OutcomeBody) {
        self.record(Kind::Outcome, outcome.event_ns, outcome);
    }

    /// What a model did.
    pub(crate) fn model(&self, event: &Event) {
        let Some(body) = model_body(event) else { return };
        if self.live {
            self.tell(Kind::Model, &body);
        } else {
            self.wait(MODELS, Later::Told(Kind::Model, self.now_ns(), body));
        }
    }

    fn wait(&self, source: usize, later: Later) {
        self.later[source].lock().unwrap_or_else(PoisonError::into_inner).push(later);
    }

    fn tell_now(&self, later: Later) {
        // What the log says no to is seen by whoever looks at its error.
        let _ = match later {
            Later::Told(kind, time_ns, body) => self.recorder.tell(kind, time_ns, &body),
            Later::Recorded(kind, time_ns, body) => self.recorder.record(&Entry::new(kind, time_ns, &body)),
        };
    }

    /// What the trade desk did, on a thread of its own pace, at an event time: at once in a live run, else at the end,
    /// so that the same input gives the same root.
    fn beside(&self, later: Later) {
        if self.live { self.tell_now(later) } else { self.wait(TRADING, later) }
    }

    fn record_beside(&self, kind: Kind, time_ns: i64, body: &impl bytemuck::Pod) {
        self.beside(Later::Recorded(kind, time_ns, bytemuck::bytes_of(body).into()));
    }

    /// An order of the trade desk.
    pub(crate) fn paper_order(&self, order: &OrderRequest) {
        self.record_beside(Kind::PaperOrder, order.event_ns, order);
    }

    /// What the trade desk's risk gate said.
    pub(crate) fn paper_verdict(&self, verdict: &Verdict) {
        self.record_beside(Kind::PaperVerdict, verdict.event_ns, verdict);
    }

    /// An execution of the paper exchange.
    pub(crate) fn paper_execution(&self, execution: &Execution) {
        self.record_beside(Kind::PaperExecution, execution.event_ns, execution);
    }

    /// A position on paper ended, or never was.
    pub(crate) fn paper_position(&self, time_ns: i64, body: &Value) {
        self.beside(Later::Told(Kind::Position, time_ns, body.clone()));
    }

    /// What was said of a signal.
    pub(crate) fn rating(&self, time_ns: i64, body: &Value) {
        self.beside(Later::Told(Kind::Rating, time_ns, body.clone()));
    }

    /// What happened to models that rate signals.
    pub(crate) fn training(&self, time_ns: i64, body: &Value) {
        self.beside(Later::Told(Kind::Training, time_ns, body.clone()));
    }

    /// What the risk desk told.
    pub(crate) fn risk(&self, time_ns: i64, body: &Value) {
        let _ = self.recorder.tell(Kind::Risk, time_ns, body);
    }

    /// Who orders are booked on, by number.
    pub(crate) fn owners(&self, accounts: &[String], strategies: &[String]) {
        self.tell(Kind::Names, &json!({ "accounts": accounts, "strategies": strategies }));
    }

    /// A record that somebody caused; nobody is the engine itself.
    fn record_of(&self, who: &str, kind: Kind, time_ns: i64, body: &impl bytemuck::Pod) {
        // Whoever cannot be introduced is not the reason to lose what he did.
        let actor = if who.is_empty() { 0 } else { self.recorder.actor(who, time_ns).unwrap_or_default() };
        let entry = Entry { actor, ..Entry::new(kind, time_ns, bytemuck::bytes_of(body)) };
        let _ = self.recorder.record(&entry);
    }

    /// What somebody wanted of a venue.
    pub(crate) fn order(&self, order: &OrderRequest, who: &str) {
        self.record_of(who, Kind::Order, order.event_ns, order);
    }

    /// What the risk gate said to it.
    pub(crate) fn verdict(&self, verdict: &Verdict) {
        self.record(Kind::Verdict, verdict.event_ns, verdict);
    }

    /// What executed, as somebody reports it.
    pub(crate) fn execution(&self, execution: &Execution, who: &str) {
        self.record_of(who, Kind::Execution, execution.event_ns, execution);
    }

    /// What a connection did; pushes of accounts are kept elsewhere.
    pub(crate) fn session(&self, event: &SessionEvent) {
        if event.kind == "account" {
            return;
        }
        let body = json!({
            "venue": event.venue.name(),
            "connection": event.connection,
            "kind": event.kind,
            "detail": event.detail,
        });
        let _ = self.recorder.tell(Kind::Connection, event.at_ns, &body);
    }

    /// What the balance ledger did, durable already. Its times are the host's: beside a replay they wait for the end.
    pub(crate) fn ledger(&self, done: &Value) {
        if self.live {
            self.tell(Kind::Ledger, done);
        } else {
            self.wait(LEDGER, Later::Told(Kind::Ledger, self.now_ns(), done.clone()));
        }
    }

    /// A request of a person or program, before it is carried out. Whoever asks is refused when it cannot be recorded.
    pub(crate) fn request(&self, who: &str, what: &Value) -> Result<(), LogError> {
        let now = self.now_ns();
        let actor = self.recorder.actor(who, now)?;
        let body = what.to_string();
        self.recorder.record(&Entry { actor, ..Entry::new(Kind::Request, now, body.as_bytes()) })
    }
}

/// What of a model's event is worth keeping: what it was and why, not how long it took.
fn model_body(event: &Event) -> Option<Value> {
    let body = match event {
        Event::Judging { .. }
        | Event::Prediction { .. }
        | Event::Rated { .. }
        | Event::Answer { .. }
        | Event::Ended => return None,
        Event::Ready { kernel, runtime } => json!({ "event": "ready", "kernel": kernel, "runtime": runtime }),
        Event::Lost { reason } => json!({ "event": "lost", "reason": reason }),
        Event::Empty { .. } => json!({ "event": "empty" }),
        Event::Newer { name, version, pointed } => {
            json!({ "event": "newer", "name": name, "version": version, "pointed": pointed })
        }
        Event::Unavailable { reason } => json!({ "event": "unavailable", "reason": reason }),
        Event::Admitted { name, version, hash, .. } => {
            json!({ "event": "admitted", "name": name, "version": version, "hash": hash })
        }
        Event::Refused { name, version, reason, .. } => {
            let reason: &'static str = (*reason).into();
            json!({ "event": "refused", "name": name, "version": version, "reason": reason })
        }
        Event::Promoted { name, from, to, hash, event_ns, .. } => {
            json!({ "event": "promoted", "name": name, "from": from, "to": to, "hash": hash, "event_ns": event_ns })
        }
        Event::RolledBack { name, from, to, event_ns } => {
            json!({ "event": "rolled-back", "name": name, "from": from, "to": to, "event_ns": event_ns })
        }
        Event::Fault { name, version, text } => {
            json!({ "event": "fault", "name": name, "version": version, "text": text })
        }
    };
    Some(body)
}
