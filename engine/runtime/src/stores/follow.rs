//! One step after the other: entries that are durable become rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_record::entry::EntryError;
use tidegate_record::log::{LogError, Tail};
use tidegate_record::note::Verifier;
use tidegate_record::store::rows::{MinuteMetric, Rows};
use tidegate_record::store::{Place, Position, Store, StoreError};

use super::derive::Deriver;

/// Entries that become rows in one transaction.
const BATCH: u64 = 4_096;
/// How long a store may take to answer, and what it is given at most after it did not.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// A log and a store that do not come together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The log.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
    /// The store.
    #[error("{place}: {source}")]
    Store {
        /// Which.
        place: String,
        /// Why.
        source: StoreError,
    },
    /// An entry that this program does not know.
    #[error("the audit log: entry {index}: {source}")]
    Entry {
        /// Its number.
        index: u64,
        /// Why.
        source: EntryError,
    },
    /// The store belongs to another log.
    #[error("{place}: {reason}; a store belongs to one log: use another one, or remove it and let it be made again")]
    OtherLog {
        /// Which.
        place: String,
        /// How that is known.
        reason: String,
    },
}

impl FollowError {
    /// Whether trying again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(LogError::File(_)) => true,
            Self::Store { source, .. } => source.may_pass(),
            _ => false,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was written.
    Wrote {
        /// Entries that are in the store now.
        entries: u64,
        /// Rows that they gave.
        rows: u64,
    },
    /// Nothing is there that is not in the store.
    Idle,
}

/// Rows on their way.
#[derive(Debug)]
struct Batch {
    from: Option<Position>,
    to: Position,
    entries: u64,
    rows: Rows,
}

/// Follows a log into a store.
#[derive(Debug)]
pub struct Follower {
    log: PathBuf,
    keys: Vec<Verifier>,
    place: Place,
    tail: Option<Tail>,
    store: Option<Store>,
    /// Where the store stands; `None` while it holds nothing.
    position: Option<Position>,
    /// What makes rows, and the entry that it comes to next.
    deriver: Option<(u64, Deriver)>,
    batch: Option<Batch>,
    patience: Duration,
}

pub(super) fn failed(place: &Place) -> impl Fn(StoreError) -> FollowError + use<> {
    let place = place.to_string();
    move |source| FollowError::Store { place: place.clone(), source }
}

/// Whether a store at this position belongs to a log, as the root at that position says.
pub(super) fn check_identity(place: &Place, tail: &Tail, position: &Position) -> Result<(), FollowError> {
    let other = |reason: String| Err(FollowError::OtherLog { place: place.to_string(), reason });
    if position.origin != tail.origin() {
        return other(format!("it holds the log {}, and this is {}", position.origin, tail.origin()));
    }
    let next = position.next.max(0) as u64;
    if next > tail.size() {
        return other(format!("it holds {next} entries of a log that has {}", tail.size()));
    }
    if hex::encode(tail.root(next)?) != position.root {
        return other(format!("the first {next} entries of this log are others than those that it holds"));
    }
    Ok(())
}

impl Follower {
    /// A follower of the log in a folder; neither it nor the store need to be there yet. `keys` are whose checkpoints
    /// are believed; when there are none, the key that lies in the folder is.
    pub fn new(log: &Path, keys: Vec<Verifier>, place: Place) -> Self {
        Self {
            log: log.to_owned(),
            keys,
            place,
            tail: None,
            store: None,
            position: None,
            deriver: None,
            batch: None,
            patience: PATIENCE[0],
        }
    }

    /// Entries that are in the store.
    pub fn next(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.next.max(0) as u64)
    }

    /// Entries of the log that are not in the store, as far as is known.
    pub fn behind(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.size().saturating_sub(self.next()))
    }

    /// Goes on. After an error the next step begins with a new connection, and with what the store says of itself:
    /// whether what was under way when it broke off is there.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn step(&mut self) -> Result<Step, FollowError> {
        let done = self.go_on();
        match &done {
            Ok(_) => self.patience = PATIENCE[0],
            Err(error) => {
                self.store = None;
                // A slow disk must not be given up at the same place for ever.
                if matches!(error, FollowError::Store { source: StoreError::Silent { .. }, .. }) {
                    self.patience = (self.patience * 2).min(PATIENCE[1]);
                }
                // What it was may be another log's by now.
                if !error.may_pass() {
                    (self.tail, self.deriver, self.batch) = (None, None, None);
                }
            }
        }
        done
    }

    fn go_on(&mut self) -> Result<Step, FollowError> {
        match &mut self.tail {
            Some(tail) => drop(tail.refresh()?),
            None => self.tail = Tail::open(&self.log, &self.keys)?,
        }
        self.connect()?;
        self.derive()?;
        let (Some(store), Some(batch)) = (&mut self.store, &self.batch) else { return Ok(Step::Idle) };
        store.write(batch.from.as_ref(), &batch.to, &batch.rows).map_err(failed(&self.place))?;
        let (entries, rows) = (batch.entries, batch.rows.len() as u64);
        self.position = self.batch.take().map(|batch| batch.to);
        Ok(Step::Wrote { entries, rows })
    }

    /// Opens the store where it is not, and finds out where it stands.
    fn connect(&mut self) -> Result<(), FollowError> {
        let Some(tail) = self.tail.as_ref().filter(|_| self.store.is_none()) else { return Ok(()) };
        let failed = failed(&self.place);
        let mut store = Store::open(&self.place, self.patience).map_err(&failed)?;
        let position = store.position().map_err(&failed)?;
        if let Some(position) = &position {
            check_identity(&self.place, tail, position)?;
        }
        // What was under way is there wholly or not at all, or somebody else has written.
        match &self.batch {
            Some(batch) if batch.from == position => {}
            _ => self.batch = None,
        }
        let next = position.as_ref().map_or(tail.minimum(), |position| position.next as u64);
        let derived = self.batch.as_ref().map_or(next, |batch| batch.to.next as u64);
        if self.deriver.as_ref().is_some_and(|(at, _)| *at != derived) {
            self.deriver = None;
        }
        (self.position, self.store) = (position, Some(store));
        Ok(())
    }

    /// Makes the next batch, where none is under way and there are entries for one.
    fn derive(&mut self) -> Result<(), FollowError> {
        let Some(tail) = self.tail.as_ref().filter(|_| self.batch.is_none() && self.store.is_some()) else {
            return Ok(());
        };
        let next = self.position.as_ref().map_or(0, |position| position.next.max(0) as u64).max(tail.minimum());
        let end = tail.size().min(next + BATCH);
        if next >= end {
            return Ok(());
        }
        let mut deriver = match self.deriver.take() {
            Some((at, deriver)) if at == next => deriver,
            _ => remembered(tail, self.position.as_ref(), next)?,
        };
        let mut rows = Rows::default();
        tail.each(next, end, FollowError::Log, |index, bytes| {
            deriver.take(index, bytes, &mut rows).map_err(|source| FollowError::Entry { index, source })
        })?;
        deriver.close(&mut rows);
        let gap = self.position.as_ref().is_none_or(|position| (position.next as u64) < next);
        let first = match &self.position {
            Some(position) if !gap => position.first,
            _ => next as i64,
        };
        let (origin, session) = (tail.origin().to_owned(), deriver.session());
        let to = Position { origin, first, next: end as i64, root: hex::encode(tail.root(end)?), session };
        self.batch = Some(Batch { from: self.position.clone(), to, entries: end - next, rows });
        self.deriver = Some((end, deriver));
        Ok(())
    }

    /// Writes metrics into the store, where it is open.
    ///
    /// # Errors
    /// [`FollowError`].
    pub(super) fn minutes(&mut self, minutes: &[MinuteMetric]) -> Result<bool, FollowError> {
        let Some(store) = &mut self.store else { return Ok(false) };
        let written = store.write_minutes(minutes).map_err(failed(&self.place));
        if written.is_err() {
            self.store = None;
        }
        written.map(|()| true)
    }
}

/// What a session's entries before `next` mean for those that follow.
fn remembered(tail: &Tail, position: Option<&Position>, next: u64) -> Result<Deriver, FollowError> {
    let mut deriver = Deriver::default();
    let session = position.and_then(|position| u64::try_from(position.session).ok());
    let Some(session) = session.filter(|session| *session >= tail.minimum()) else { return Ok(deriver) };
    tail.each(session, next, FollowError::Log, |index, bytes| {
        deriver.pass(index, bytes).map_err(|source| FollowError::Entry { index, source })
    })?;
    // Their incidents are in the store as they are.
    deriver.close(&mut Rows::default());
    Ok(deriver)
}
