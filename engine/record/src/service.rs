//! The thread that writes a log, and handles for whoever has something to record.
//!
//! Handles take an entry and return; hashing and disks are the thread's. When it cannot keep up, entries that may be
//! missing ([`Kind::may_drop`]) are counted instead of kept, and the count is an entry itself; required ones make their
//! caller wait, and long before that [`Recorder::is_pressed`] says so: whoever trades stops taking new risk then. A
//! replay holds back instead, so that its root is the same every time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tidegate_wire::advice::Adjustment;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::decision::{Decision, Scope};

use crate::checkpoint::Checkpoint;
use crate::entry::{BookChange, Entry, Kind};
use crate::log::{Log, LogError};

/// What happens to entries when the disk does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// Those that may be missing are dropped and counted: nothing holds the market up.
    Drop,
    /// Everybody waits: nothing is missing.
    Hold,
}

/// How the thread works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Entries that may wait.
    pub queue: usize,
    /// What happens when more do.
    pub overload: Overload,
    /// A checkpoint is signed at least so often while something happens.
    pub every: Duration,
    /// And after so many entries.
    pub entries: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue: 1 << 14, overload: Overload::Drop, every: Duration::from_secs(1), entries: 1 << 16 }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The checkpoint over it.
    pub checkpoint: Checkpoint,
    /// Entries of this run.
    pub entries: u64,
    /// Entries that were dropped.
    pub dropped: u64,
    /// Times the disk was synced.
    pub syncs: u64,
}

/// How far a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Entries that are written.
    pub entries: u64,
    /// Entries that wait.
    pub queued: usize,
    /// Entries that were dropped.
    pub dropped: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

#[derive(Debug)]
struct Shared {
    /// Entries that are written, and the newest checkpoint, for whoever looks.
    written: AtomicU64,
    checkpoint: Mutex<Option<Checkpoint>>,
    queue: usize,
    overload: Overload,
    /// Entries dropped that no entry tells of yet.
    untold: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicBool,
    error: Mutex<Option<LogError>>,
    /// Actors by name.
    actors: Mutex<HashMap<String, u16>>,
}

/// A handle; clones share the log.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    entries: Sender<Vec<u8>>,
}

/// The thread.
#[derive(Debug)]
pub struct Service {
    recorder: Recorder,
    thread: JoinHandle<Result<Written, LogError>>,
}

impl Service {
    /// Starts the thread on a log that is open.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(log: Log, settings: Settings) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(settings.queue.max(16));
        let shared = Arc::new(Shared {
            written: AtomicU64::new(log.next()),
            checkpoint: Mutex::new(log.last().cloned()),
            queue: settings.queue.max(16),
            overload: settings.overload,
            untold: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            actors: Mutex::default(),
        });
        let theirs = shared.clone();
        let write = move || Writer::new(log, settings, theirs).run(&receiver);
        let thread = std::thread::Builder::new().name("tide-audit".into()).spawn(write)?;
        Ok(Self { recorder: Recorder { shared, entries: sender }, thread })
    }

    /// A handle.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes what waits, signs a last checkpoint and ends. Handles that remain record nothing from here on.
    ///
    /// # Errors
    /// The log has failed.
    pub fn finish(self) -> Result<Written, LogError> {
        // An empty entry is none: it says that this is the end.
        let _ = self.recorder.entries.send(Vec::new());
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Recorder {
    /// Records an entry.
    ///
    /// # Errors
    /// The log has failed or has ended: the entry is not in it.
    pub fn record(&self, entry: &Entry<'_>) -> Result<(), LogError> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(self.error().unwrap_or(crate::journal::JournalError::Closed.into()));
        }
        let mut bytes = Vec::with_capacity(crate::entry::HEADER + entry.body.len());
        entry.write(&mut bytes);
        let closed = LogError::from(crate::journal::JournalError::Closed);
        let may_drop = self.shared.overload == Overload::Drop && entry.kind.may_drop();
        // The last quarter of the queue is for what is required.
        if may_drop && self.entries.len() >= self.shared.queue / 4 * 3 {
            self.shared.untold.fetch_add(1, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        match self.entries.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(bytes)) => self.entries.send(bytes).map_err(|_| self.error().unwrap_or(closed)),
            Err(TrySendError::Disconnected(_)) => Err(self.error().unwrap_or(closed)),
        }
    }

    /// Records a JSON entry of the engine itself.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn tell(&self, kind: Kind, time_ns: i64, body: &serde_json::Value) -> Result<(), LogError> {
        self.record(&Entry::new(kind, time_ns, body.to_string().as_bytes()))
    }

    /// The number of an actor, who is introduced by an entry the first time.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn actor(&self, name: &str, time_ns: i64) -> Result<u16, LogError> {
        let mut actors = self.shared.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = actors.get(name) {
            return Ok(*number);
        }
        // Nobody has that many operators; should somebody, the rest share the last number, which says so.
        let number = (actors.len() + 1).min(usize::from(u16::MAX)) as u16;
        let shown = if number == u16::MAX { "others" } else { name };
        self.tell(Kind::Actor, time_ns, &serde_json::json!({ "actor": number, "name": shown }))?;
        actors.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Whether the disk does not keep up, or the log has failed: no new risk should be taken.
    pub fn is_pressed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire) || self.entries.len() >= self.shared.queue / 2
    }

    /// Why the log has failed, if it has.
    pub fn error(&self) -> Option<LogError> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far the log is.
    pub fn standing(&self) -> Standing {
        Standing {
            entries: self.shared.written.load(Ordering::Relaxed),
            queued: self.entries.len(),
            dropped: self.dropped(),
            checkpoint: self.shared.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Entries that were dropped.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// How long the thread sleeps when nothing comes and nothing is due: it wakes others' cores for nothing otherwise.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a first entry waits for others that share its sync.
const GATHER: Duration = Duration::from_millis(5);
/// Entries taken before the clock is looked at again.
const TURN: usize = 1024;

struct Writer {
    log: Log,
    settings: Settings,
    shared: Arc<Shared>,
    links: Links,
    begun: u64,
    signed: Instant,
}

impl Writer {
    fn new(log: Log, settings: Settings, shared: Arc<Shared>) -> Self {
        let begun = log.next();
        Self { log, settings, shared, links: Links::default(), begun, signed: Instant::now() }
    }

    fn run(mut self, entries: &Receiver<Vec<u8>>) -> Result<Written, LogError> {
        let result = self.write_all(entries);
        if let Err(error) = &result {
            *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            self.shared.failed.store(true, Ordering::Release);
        }
        result?;
        let (dropped, begun, syncs) = (self.shared.dropped.load(Ordering::Relaxed), self.begun, self.log.syncs());
        let entries = self.log.next() - begun;
        let checkpoint = self.log.close();
        self.shared.failed.store(true, Ordering::Release);
        Ok(Written { checkpoint: checkpoint?, entries, dropped, syncs })
    }

    /// How long there is nothing to do unless an entry comes.
    fn wait(&self) -> Duration {
        let fresh = self.log.next() > self.log.last().map_or(0, |last| last.size);
        if fresh { self.settings.every.saturating_sub(self.signed.elapsed()) } else { PATIENCE }
    }

    fn write_all(&mut self, entries: &Receiver<Vec<u8>>) -> Result<(), LogError> {
        loop {
            match entries.recv_timeout(self.wait()) {
                Ok(first) => {
                    let until = Instant::now() + GATHER;
                    let more = std::iter::from_fn(|| entries.recv_deadline(until).ok()).take(TURN);
                    for mut entry in std::iter::once(first).chain(more) {
                        if entry.is_empty() {
                            return self.tell_dropped();
                        }
                        self.links.link(&mut entry, self.log.next());
                        self.log.append_bytes(&entry)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.tell_dropped(),
            }
            if entries.len() < self.shared.queue / 2 {
                self.tell_dropped()?;
            }
            self.log.flush()?;
            self.shared.written.store(self.log.next(), Ordering::Relaxed);
            let covered = self.log.last().map_or(0, |last| last.size);
            let fresh = self.log.next() - covered;
            if fresh >= self.settings.entries || fresh > 0 && self.signed.elapsed() >= self.settings.every {
                self.log.checkpoint()?;
                *self.shared.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = self.log.last().cloned();
                self.signed = Instant::now();
            }
        }
    }

    /// What was dropped is itself told, once there is room.
    fn tell_dropped(&mut self) -> Result<(), LogError> {
        let untold = self.shared.untold.swap(0, Ordering::Relaxed);
        if untold == 0 {
            return Ok(());
        }
        let body = serde_json::json!({ "entries": untold, "kinds": ["book", "connection"] }).to_string();
        self.log.append(&Entry::new(Kind::Dropped, realtime_ns(), body.as_bytes())).map(drop)
    }
}

/// What each entry follows from: a decision from the thresholds in force, a change from the change before.
#[derive(Default)]
struct Links {
    /// Last adjustment and last change of quality by instrument.
    adjustments: HashMap<u16, u64>,
    books: HashMap<u16, u64>,
}

impl Links {
    /// Writes into an entry how far back the one lies that it follows from.
    fn link(&mut self, bytes: &mut [u8], index: u64) {
        let Ok(entry) = Entry::read_record(bytes) else { return };
        let before = match entry.kind {
            Kind::Decision => entry.record().and_then(|decision: Decision| {
                let own = decision.scope == Scope::Instrument as u8;
                own.then(|| self.adjustments.get(&decision.scope_id).copied()).flatten()
            }),
            Kind::Adjustment => {
                entry.record().and_then(|change: Adjustment| self.adjustments.insert(change.instrument.0, index))
            }
            Kind::Book => entry.record().and_then(|change: BookChange| self.books.insert(change.instrument.0, index)),
            _ => None,
        };
        let back = before.and_then(|before| u32::try_from(index - before).ok()).unwrap_or(0);
        Entry::set_back(bytes, back);
    }
}
