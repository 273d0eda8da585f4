//! The ledger on disk: its journal, done again at every start.
//!
//! ```text
//! DIR/journal/   records of [`LedgerRecord`], a frame each; nothing is ever removed from it
//! DIR/lock       held by whoever hosts the ledger
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use tidegate_guard::ledger::{Ledger, ReplayError};
use tidegate_record::exclusive;
use tidegate_record::journal::{Frames, Journal, JournalError, Recovered};
use tidegate_wire::ledger::LedgerRecord;
use xxhash_rust::xxh3::xxh3_64;

use super::clock::Epoch;

/// Bytes of a journal's segment.
const SEGMENT: u64 = 8 << 20;

/// A ledger that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Somebody else hosts it.
    #[error("{path}: another process hosts this ledger", path = .path.display())]
    Locked {
        /// Which ledger.
        path: PathBuf,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record that does not lead where it led: the file was changed, or this program is another.
    #[error("{path}: record {number}: {source}", path = .path.display())]
    Record {
        /// Which journal.
        path: PathBuf,
        /// Which record.
        number: u64,
        /// What is wrong.
        source: Box<ReplayError>,
    },
    /// Money came from nowhere or went there.
    #[error("{path}: the ledger does not balance: {reason}", path = .path.display())]
    Unbalanced {
        /// Which journal.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A ledger as it was.
#[derive(Debug)]
pub struct Store {
    /// The ledger, verified record by record and as a whole.
    pub ledger: Ledger,
    /// The journal, open for more.
    pub journal: Journal,
    /// What was found.
    pub recovered: Recovered,
    pub(crate) epoch: Option<Epoch>,
    /// Unlocks when dropped.
    pub(crate) lock: File,
}

impl Store {
    /// Opens the ledger in a folder, which is made if it is not there: what was acknowledged is there, what was being
    /// written when its host died is whole or not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        let lock_path = directory.join("lock");
        let lock = exclusive(&lock_path).map_err(failed(&lock_path))?;
        let lock = lock.ok_or_else(|| StoreError::Locked { path: directory.to_owned() })?;
        let path = directory.join("journal");
        let (mut ledger, mut epoch, mut wrong) = (Ledger::default(), None, None);
        let id = xxh3_64(b"tidegate.ledger/1");
        let opened = Journal::open(&path, id, 0, SEGMENT, &mut |first, body| {
            for (number, frame) in (first..).zip(Frames::new(body)) {
                if let Err(source) = again(&mut ledger, &mut epoch, frame) {
                    wrong = Some((number, source));
                    return Err(JournalError::Closed);
                }
            }
            Ok(())
        });
        if let Some((number, source)) = wrong {
            return Err(StoreError::Record { path, number, source: Box::new(source) });
        }
        let (journal, recovered) = opened?;
        ledger.check().map_err(|reason| StoreError::Unbalanced { path, reason })?;
        Ok(Self { ledger, journal, recovered, epoch, lock })
    }
}

fn again(ledger: &mut Ledger, epoch: &mut Option<Epoch>, frame: &[u8]) -> Result<(), ReplayError> {
    let unreadable = |_| tidegate_guard::ledger::Unreadable(0);
    let record: LedgerRecord = bytemuck::try_pod_read_unaligned(frame).map_err(unreadable)?;
    match Epoch::of(&record) {
        Some(found) => *epoch = Some(found),
        None => {
            ledger.replay(&record)?;
        }
    }
    Ok(())
}
