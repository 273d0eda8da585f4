//! Every checkpoint that was signed, in one file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CHECKPOINT, CHECKPOINTS, LogError, read_text};
use crate::checkpoint::{Checkpoint, notes};
use crate::note::Verifier;
use crate::tiles::write_whole;

/// The file of checkpoints, open for writing.
#[derive(Debug)]
pub(super) struct History {
    folder: PathBuf,
    file: File,
}

impl History {
    /// Opens it; gives the newest checkpoint and how many bytes of a torn one were cut off.
    pub(super) fn open(folder: &Path, keys: &[Verifier]) -> Result<(Self, Option<Checkpoint>, u64), LogError> {
        let path = folder.join(CHECKPOINTS);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LogError::io(&path, "reading", error)),
        };
        // A torn end may end within a character.
        let whole = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let found = notes(whole);
        let end = found.last().map_or(0, |note| note.end);
        let torn = bytes.len() - end;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| LogError::io(&path, "opening", source))?;
        if torn > 0 {
            let cut = file.set_len(end as u64).and_then(|()| file.sync_all());
            cut.map_err(|source| LogError::io(&path, "cutting off a torn checkpoint", source))?;
        }
        let history = Self { folder: folder.to_owned(), file };
        let Some(note) = found.last().map(|note| &whole[note.clone()]) else {
            return match read_text(&folder.join(CHECKPOINT))? {
                None => Ok((history, None, torn as u64)),
                Some(_) => Err(LogError::damaged(&path, "there is a checkpoint, but the history of them is gone")),
            };
        };
        let failed = |source| LogError::Checkpoint { path: path.clone(), source };
        let last = Checkpoint::open(note, keys).map_err(failed)?;
        history.agrees(note, &last, keys)?;
        Ok((history, Some(last), torn as u64))
    }

    /// The newest checkpoint stands alone too; a crash may leave the one before it there.
    fn agrees(&self, note: &str, last: &Checkpoint, keys: &[Verifier]) -> Result<(), LogError> {
        let path = self.folder.join(CHECKPOINT);
        let alone = read_text(&path)?;
        if alone.as_deref() == Some(note) {
            return Ok(());
        }
        if let Some(alone) = alone {
            let failed = |source| LogError::Checkpoint { path: path.clone(), source };
            let alone = Checkpoint::open(&alone, keys).map_err(failed)?;
            if alone.size > last.size {
                return Err(LogError::damaged(&path, "newer than the history of checkpoints: that was cut back"));
            }
        }
        self.stand_alone(note)
    }

    fn stand_alone(&self, note: &str) -> Result<(), LogError> {
        let path = self.folder.join(CHECKPOINT);
        write_whole(&self.folder, Path::new(CHECKPOINT), note.as_bytes(), true)
            .map_err(|source| LogError::io(&path, "writing", source))?;
        Ok(crate::journal::sync_folder(&self.folder)?)
    }

    /// Adds a checkpoint; durable when it returns.
    pub(super) fn add(&mut self, note: &str) -> Result<(), LogError> {
        let path = self.folder.join(CHECKPOINTS);
        let added = self.file.write_all(note.as_bytes()).and_then(|()| self.file.sync_data());
        added.map_err(|source| LogError::io(&path, "adding a checkpoint", source))?;
        self.stand_alone(note)
    }
}
