//! Group commit: whoever appends never waits for the disk, and whoever needs durability waits for a number.
//!
//! One thread owns the journal. While it syncs a batch, frames of any number of callers gather in the next one, so the
//! batch grows with the load: one frame when little happens, thousands when much does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{BATCH_MAX, FRAME_MAX, Journal, JournalError, push_frame};

/// How a committer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A batch is begun when so many frames wait, whatever their age.
    pub batch: u32,
    /// Or when the oldest has waited so long: zero begins one as soon as the one before it is done.
    pub age: Duration,
    /// Bytes that may wait. When there are more, appending waits for the disk.
    pub backlog: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 8192, age: Duration::ZERO, backlog: BATCH_MAX / 2 }
    }
}

struct Waiting {
    body: Vec<u8>,
    count: u32,
    /// Number of the next frame.
    next: u64,
    closed: bool,
    /// Somebody waits: no more gathering.
    urgent: bool,
    /// Frames below this may be removed from the journal.
    retired: u64,
    failed: Option<JournalError>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    work: Condvar,
    /// Something became durable, or failed.
    done: Condvar,
    durable: AtomicU64,
    syncs: AtomicU64,
    settings: Settings,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nobody panics while holding it: all it guards are plain numbers and bytes.
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A journal with a thread that commits.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Journal>>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(journal: Journal, settings: Settings) -> std::io::Result<Self> {
        let next = journal.next();
        let waiting = Waiting {
            body: Vec::new(),
            count: 0,
            next,
            closed: false,
            urgent: false,
            retired: 0,
            failed: journal.failed.clone(),
        };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            work: Condvar::new(),
            done: Condvar::new(),
            durable: AtomicU64::new(next),
            syncs: AtomicU64::new(0),
            settings,
        });
        let theirs = shared.clone();
        let commit = move || commit(journal, &theirs);
        let thread = std::thread::Builder::new().name("tide-commit".into()).spawn(commit)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Appends a frame; gives its number.
    ///
    /// # Errors
    /// [`JournalError`]: it is too long, the journal has failed or is closed.
    pub fn append(&self, frame: &[u8]) -> Result<u64, JournalError> {
        if frame.len() > FRAME_MAX {
            return Err(JournalError::TooLong { bytes: frame.len(), max: FRAME_MAX });
        }
        let mut waiting = self.room()?;
        push_frame(&mut waiting.body, frame)?;
        Ok(self.added(waiting, 1))
    }

    /// Appends a body of whole frames at once; gives the number of the first.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_all(&self, count: u32, body: &[u8]) -> Result<u64, JournalError> {
        if body.len() > BATCH_MAX / 2 {
            return Err(JournalError::TooLong { bytes: body.len(), max: BATCH_MAX / 2 });
        }
        let mut waiting = self.room()?;
        waiting.body.extend_from_slice(body);
        Ok(self.added(waiting, count))
    }

    fn room(&self) -> Result<MutexGuard<'_, Waiting>, JournalError> {
        let mut waiting = self.shared.lock();
        loop {
            if let Some(error) = &waiting.failed {
                return Err(error.clone());
            }
            if waiting.closed {
                return Err(JournalError::Closed);
            }
            if waiting.body.len() < self.shared.settings.backlog {
                return Ok(waiting);
            }
            waiting = self.shared.done.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn added(&self, mut waiting: MutexGuard<'_, Waiting>, count: u32) -> u64 {
        let first = waiting.next;
        // The thread looks again by itself when an age is set.
        let due = waiting.count == 0 || waiting.count + count >= self.shared.settings.batch;
        waiting.count += count;
        waiting.next += u64::from(count);
        drop(waiting);
        if due {
            self.shared.work.notify_one();
        }
        first
    }

    /// Number of the next frame.
    pub fn next(&self) -> u64 {
        self.shared.lock().next
    }

    /// Frames below this number are durable.
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Batches that were made durable.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the disk.
    pub fn backlog(&self) -> usize {
        self.shared.lock().body.len()
    }

    /// Waits until frames below `frame` are durable.
    ///
    /// # Errors
    /// The journal has failed before.
    pub fn wait(&self, frame: u64) -> Result<(), JournalError> {
        if self.durable() >= frame {
            return Ok(());
        }
        let mut waiting = self.shared.lock();
        waiting.urgent = true;
        self.shared.work.notify_one();
        while self.durable() < frame {
            if let Some(error) = &waiting.failed {
                return Err(error.clone());
            }
            waiting = self.shared.done.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Ok(())
    }

    /// Why the journal has failed, if it has.
    pub fn error(&self) -> Option<JournalError> {
        self.shared.lock().failed.clone()
    }

    /// Frames below this number are kept elsewhere: their segments may go.
    pub fn retire(&self, frame: u64) {
        self.shared.lock().retired = frame;
    }

    /// Commits what waits and gives the journal back.
    ///
    /// # Errors
    /// The journal has failed.
    pub fn close(mut self) -> Result<Journal, JournalError> {
        let journal = self.join().ok_or(JournalError::Closed)?;
        match &journal.failed {
            Some(error) => Err(error.clone()),
            None => Ok(journal),
        }
    }

    fn join(&mut self) -> Option<Journal> {
        let thread = self.thread.take()?;
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

fn commit(mut journal: Journal, shared: &Shared) -> Journal {
    let (mut body, mut count, mut retired) = (Vec::new(), 0, 0);
    loop {
        let mut waiting = shared.lock();
        while waiting.count == 0 && !waiting.closed {
            waiting = shared.work.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if !shared.settings.age.is_zero() {
            let few =
                |waiting: &mut Waiting| waiting.count < shared.settings.batch && !waiting.closed && !waiting.urgent;
            let result = shared.work.wait_timeout_while(waiting, shared.settings.age, few);
            waiting = result.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        if waiting.count == 0 && waiting.closed {
            return journal;
        }
        core::mem::swap(&mut body, &mut waiting.body);
        core::mem::swap(&mut count, &mut waiting.count);
        let below = waiting.retired;
        waiting.urgent = false;
        drop(waiting);
        let result = journal.append(count, &body).and_then(|()| {
            if below > core::mem::replace(&mut retired, below) { journal.retire(below) } else { Ok(()) }
        });
        match result {
            Ok(()) => {
                shared.syncs.fetch_add(1, Ordering::Relaxed);
                shared.durable.store(journal.next(), Ordering::Release);
            }
            Err(error) => {
                let mut waiting = shared.lock();
                waiting.failed.get_or_insert(error);
                drop(waiting);
                shared.done.notify_all();
                return journal;
            }
        }
        body.clear();
        count = 0;
        // Whoever waits holds the lock while it looks: taken once, so that nobody misses this.
        drop(shared.lock());
        shared.done.notify_all();
    }
}
