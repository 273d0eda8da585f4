//! Whose an output directory is.

use std::fs::File;
use std::path::{Path, PathBuf};

use tidegate_record::exclusive;

use super::{ControlError, SOCKET};

/// An output directory that is this engine's alone, from before it writes anything there until it ends.
#[derive(Debug)]
pub struct Claim {
    pub(super) socket: PathBuf,
    /// Locked while the engine lives, however it ends.
    _lock: File,
}

impl Claim {
    /// Claims an output directory, which must exist.
    ///
    /// # Errors
    /// Another engine has it, or the file system's refusal.
    pub fn of(directory: &Path) -> Result<Self, ControlError> {
        let path = directory.join("engine.lock");
        let io = |source| ControlError::Io { path: path.display().to_string(), source };
        let taken = || ControlError::Taken { path: directory.display().to_string() };
        let lock = exclusive(&path).map_err(io)?.ok_or_else(taken)?;
        Ok(Self { socket: directory.join(SOCKET), _lock: lock })
    }
}
