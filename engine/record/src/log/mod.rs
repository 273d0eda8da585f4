//! The log on disk: who writes it, who reads it, who recomputes it.
//!
//! ```text
//! DIR/checkpoint        the newest signed checkpoint
//! DIR/checkpoints       every checkpoint ever signed, one after the other
//! DIR/log.vkey          the key that checks them
//! DIR/tile/L/...        hashes, 256 a file        (C2SP tlog-tiles: existing tools read these)
//! DIR/tile/entries/...  entries, 256 a file
//! DIR/minimum           entries below this number were removed by retention; absent when none were
//! DIR/journal/          entries that no checkpoint covers yet
//! DIR/lock              held by whoever writes
//! DIR/fresh             a file that was not whole yet when its writer died; never read
//! ```
//!
//! The order of things is what makes it hold: entries are durable in the journal before they are acknowledged, tiles
//! are durable before a checkpoint over them is signed, and only what a checkpoint covers leaves the journal.

mod archive;
mod history;
mod prune;
mod tail;
mod verify;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use archive::Archive;
pub use prune::{Pruned, prune};
pub use tail::Tail;
pub use verify::{Finding, Report, Severity, verify};
pub use writer::{Log, Opened, Settings};

use crate::checkpoint::CheckpointError;
use crate::file_error::FileError;
use crate::journal::JournalError;
use crate::note::NoteError;

/// Names within a log's folder.
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINTS: &str = "checkpoints";
const KEY: &str = "log.vkey";
const MINIMUM: &str = "minimum";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";

/// A log that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody else writes it.
    #[error("{path}: another process writes this log", path = .path.display())]
    Locked {
        /// Which log.
        path: PathBuf,
    },
    /// A key.
    #[error(transparent)]
    Key(#[from] NoteError),
    /// A checkpoint that cannot be believed.
    #[error("{path}: {source}", path = .path.display())]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// Something was changed or is missing.
    #[error("{path}: {reason}", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An entry that is not there.
    #[error("there is no entry {index}: the checkpoint covers {size}, retention begins at {minimum}")]
    Absent {
        /// Its number.
        index: u64,
        /// Entries the checkpoint covers.
        size: u64,
        /// First entry that was not removed.
        minimum: u64,
    },
}

impl LogError {
    fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        FileError::new(path, doing, source).into()
    }

    fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// Whether an operator can mend it by giving room: see [`FileError::is_no_space`].
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::File(error) | Self::Journal(JournalError::File(error)) => error.is_no_space(),
            _ => false,
        }
    }
}

/// The bytes of a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io(path, "reading", error)),
    }
}

/// The text of a file; `None` when there is none.
fn read_text(path: &Path) -> Result<Option<String>, LogError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| LogError::damaged(path, "no text"));
    read(path)?.map(text).transpose()
}

/// First entry that retention has not removed.
fn minimum(folder: &Path) -> Result<u64, LogError> {
    let path = folder.join(MINIMUM);
    let Some(text) = read_text(&path)? else { return Ok(0) };
    text.trim().parse().map_err(|_| LogError::damaged(&path, "no number of an entry"))
}
