//! What one process at a time may have: a folder, a journal, a log.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Locks a file, made when missing, while the handle lives, however its process ends; `None` while another has it.
///
/// # Errors
/// What the system said to opening or locking it.
pub fn exclusive(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let held = exclusive(&path).expect("made").expect("nobody has it");
        assert!(exclusive(&path).expect("there").is_none());
        drop(held);
        assert!(exclusive(&path).expect("there").is_some());
        assert!(exclusive(&folder.path().join("no/such/lock")).is_err());
    }
}
