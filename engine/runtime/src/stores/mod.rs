//! The store of a run: what its audit log tells, in tables (see [`tidegate_record::store`]).
//!
//! A cold thread follows the log and writes what is durable. It holds nobody up, and nobody waits for it: where the
//! store is away, the log is what waits. Metrics by the minute, which no log has, are kept for a day and then dropped
//! and counted.

mod compare;
mod derive;
mod follow;
mod minutes;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidegate_record::store::Place;
use tidegate_wire::clock::realtime_ns;

pub use compare::{Comparison, TableComparison, compare};
pub use follow::{FollowError, Follower, Step};
use minutes::Minutes;

/// How often the log is looked at when there was nothing new.
const POLL: Duration = Duration::from_millis(100);
/// Shortest and longest time before the next attempt after an error.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// How long the end of a run waits for what is left.
const GRACE: Duration = Duration::from_secs(10);

/// Where a run is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StorePlan {
    /// Where.
    pub place: Place,
}

/// Where a store stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// There is none.
    #[default]
    Off,
    /// Entries are durable that are not in it.
    CatchingUp,
    /// It has everything that a checkpoint of the log covers.
    Current,
    /// It is away or refuses; it is tried again.
    Failing,
}

/// A store, to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Where it stands.
    pub state: StoreState,
    /// Since when, ns since the Unix epoch.
    pub since_ns: i64,
    /// Where it is, without a password.
    pub place: String,
    /// Entries of the log that are in it.
    pub entries: u64,
    /// Entries that are not, as far as is known.
    pub behind: u64,
    /// Rows written by this run.
    pub rows: u64,
    /// Why it failed the last time; kept when it works again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How often it failed.
    pub failures: u64,
    /// Metrics that were dropped because it was away for longer than a day.
    pub minutes_dropped: u64,
}

#[derive(Debug)]
struct Shared {
    status: Mutex<StoreStatus>,
    minutes: Mutex<Minutes>,
    /// Until when the thread may go on, once it is to end.
    end: Mutex<Option<Instant>>,
    over: AtomicBool,
}

/// The store of a run that is under way.
#[derive(Debug)]
pub struct Stores {
    handle: StoreHandle,
    thread: Option<JoinHandle<()>>,
}

/// A handle on it; clones share it.
#[derive(Clone, Debug)]
pub struct StoreHandle(Arc<Shared>);

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoreHandle {
    /// Where the store stands.
    pub fn status(&self) -> StoreStatus {
        locked(&self.0.status).clone()
    }

    /// Keeps a metric of the minute that begins at `minute_ns` (ns since the Unix epoch); one of the same name and
    /// minute is replaced. Never waits for the store.
    pub fn minute(&self, minute_ns: i64, name: &str, value: f64) {
        locked(&self.0.minutes).put(minute_ns, name, value);
    }
}

impl Stores {
    /// Follows the log in a folder; `session` is the number of the entry that begins this run's session.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(plan: &StorePlan, log: &Path, session: u64) -> std::io::Result<Self> {
        let status = StoreStatus {
            state: StoreState::CatchingUp,
            since_ns: realtime_ns(),
            place: plan.place.to_string(),
            ..StoreStatus::default()
        };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            minutes: Mutex::new(Minutes::new(session)),
            end: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (theirs, log, place) = (shared.clone(), log.to_owned(), plan.place.clone());
        let follow = move || follow_until_told(&theirs, log, place);
        let thread = std::thread::Builder::new().name("tide-store".into()).spawn(follow)?;
        Ok(Self { handle: StoreHandle(shared), thread: Some(thread) })
    }

    /// A handle.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Lets it take what the log has, within ten seconds, and ends it. What it does not get to, the next run or
    /// `tidegate store sync` does.
    pub fn finish(mut self) -> StoreStatus {
        self.end(GRACE);
        self.handle.status()
    }

    fn end(&mut self, grace: Duration) {
        let Some(thread) = self.thread.take() else { return };
        *locked(&self.handle.0.end) = Some(Instant::now() + grace);
        self.handle.0.over.store(true, Ordering::Release);
        thread.thread().unpark();
        // One that hangs on its database is not waited for: what it writes is whole or not there.
        let until = Instant::now() + grace + Duration::from_secs(1);
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// What the thread does.
fn follow_until_told(shared: &Shared, log: PathBuf, place: Place) {
    let mut follower = Follower::new(&log, Vec::new(), place);
    let mut failed_in_a_row = 0_u32;
    loop {
        // Before the look at the log: what was durable when it was told to end is taken.
        let over = shared.over.load(Ordering::Acquire);
        let done = follower.step().and_then(|step| {
            write_minutes(shared, &mut follower)?;
            Ok(step)
        });
        tell(shared, &follower, &done);
        let late = over && locked(&shared.end).is_none_or(|end| Instant::now() >= end);
        let pause = match done {
            Ok(Step::Wrote { .. }) if !late => {
                failed_in_a_row = 0;
                continue;
            }
            Ok(Step::Idle) if !over => {
                failed_in_a_row = 0;
                POLL
            }
            Ok(_) => return,
            Err(_) if late => return,
            Err(error) => {
                if failed_in_a_row == 0 {
                    tracing::error!(%error, "store: failing; it is tried again, and takes up what it misses");
                }
                failed_in_a_row += 1;
                (BACK_OFF[0] * 2_u32.saturating_pow(failed_in_a_row.min(8) - 1)).min(BACK_OFF[1])
            }
        };
        std::thread::park_timeout(pause);
    }
}

fn write_minutes(shared: &Shared, follower: &mut Follower) -> Result<(), FollowError> {
    let waiting = locked(&shared.minutes).waiting();
    if !waiting.is_empty() && follower.minutes(&waiting)? {
        locked(&shared.minutes).written(&waiting);
    }
    Ok(())
}

fn tell(shared: &Shared, follower: &Follower, done: &Result<Step, FollowError>) {
    let minutes_dropped = locked(&shared.minutes).dropped();
    let mut status = locked(&shared.status);
    let state = match done {
        Ok(_) if follower.behind() > 0 => StoreState::CatchingUp,
        Ok(_) => StoreState::Current,
        Err(_) => StoreState::Failing,
    };
    if state != status.state {
        if status.state == StoreState::Failing {
            tracing::warn!(place = %status.place, "store: it answers again");
        }
        (status.state, status.since_ns) = (state, realtime_ns());
    }
    (status.entries, status.behind, status.minutes_dropped) = (follower.next(), follower.behind(), minutes_dropped);
    match done {
        Ok(Step::Wrote { rows, .. }) => status.rows += rows,
        Ok(Step::Idle) => {}
        Err(error) => {
            status.failures += 1;
            status.last_error = Some(error.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
