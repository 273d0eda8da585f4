//! What the system says of a file, with what was being done to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The system refused something.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path}: {doing}: {source}", path = .path.display())]
pub struct FileError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What was being done.
    pub doing: &'static str,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl FileError {
    pub(crate) fn new(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self { path: path.to_owned(), doing, source: source.into() }
    }

    /// Whether the disk is full, a quota used up or the file system read-only: what an operator can
    /// mend by giving room.
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    }
}
