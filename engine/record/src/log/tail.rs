//! A log as it is read while somebody writes it.
//!
//! Its reader goes from checkpoint to checkpoint: what one covers is durable, lies in tiles that are never changed, and
//! stays there through every crash of the writer. What is only in the journal is not read; it is covered within the
//! writer's interval (a second), or after its next start.

use std::path::{Path, PathBuf};

use super::{Archive, CHECKPOINT, LogError, read_text};
use crate::hash::Hash;
use crate::note::Verifier;

/// A log that is followed.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    keys: Vec<Verifier>,
    archive: Archive,
    note: String,
}

impl Tail {
    /// Opens the log in a folder; `None` while it has no checkpoint yet. `keys` as for [`Archive::open`].
    ///
    /// # Errors
    /// [`LogError`]: its checkpoint is signed by nobody known, or cannot be read.
    pub fn open(folder: &Path, keys: &[Verifier]) -> Result<Option<Self>, LogError> {
        // A new log gets its key before its first checkpoint.
        let Some(note) = read_text(&folder.join(CHECKPOINT))? else { return Ok(None) };
        // The first key that was believed stays: a log that is replaced by another one is another one.
        let keys = if keys.is_empty() { vec![Archive::own_key(folder)?] } else { keys.to_vec() };
        let archive = Archive::open(folder, &keys)?;
        Ok(Some(Self { folder: folder.to_owned(), keys, archive, note }))
    }

    /// Looks for a newer checkpoint; whether there was one.
    ///
    /// # Errors
    /// [`LogError`]: it cannot be read, or does not continue what was read so far.
    pub fn refresh(&mut self) -> Result<bool, LogError> {
        let path = self.folder.join(CHECKPOINT);
        let note = read_text(&path)?.ok_or_else(|| LogError::damaged(&path, "the checkpoint is gone"))?;
        if note == self.note {
            return Ok(false);
        }
        let newer = Archive::open(&self.folder, &self.keys)?;
        let (old, new) = (self.archive.checkpoint(), newer.checkpoint());
        if new.origin != old.origin {
            return Err(LogError::damaged(&path, format!("this is the log {}, not {}", new.origin, old.origin)));
        }
        if new.size < old.size || newer.root(old.size)? != old.root {
            let reason = format!("does not continue the log as it was at entry {}: it was replaced", old.size);
            return Err(LogError::damaged(&path, reason));
        }
        (self.archive, self.note) = (newer, note);
        Ok(true)
    }

    /// Name of the log.
    pub fn origin(&self) -> &str {
        &self.archive.checkpoint().origin
    }

    /// Entries that can be read.
    pub const fn size(&self) -> u64 {
        self.archive.size()
    }

    /// First entry that retention has not removed.
    pub const fn minimum(&self) -> u64 {
        self.archive.minimum()
    }

    /// Root at some size up to [`Self::size`].
    ///
    /// # Errors
    /// [`LogError`]: it was never that large, or a tile cannot be read.
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        self.archive.root(size)
    }

    /// Hands on entries from `from` (or the first that is there) up to `to`, exclusive, as [`Archive::each`] does.
    ///
    /// # Errors
    /// What `failed` makes of a [`LogError`], or what `act` says.
    pub fn each<E>(
        &self,
        from: u64,
        to: u64,
        failed: impl Fn(LogError) -> E,
        act: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.archive.each_from(from, to, failed, act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Kind};
    use crate::log::{Log, Settings};
    use crate::note::Signer;

    fn signer() -> Signer {
        Signer::of_seed("tidegate.test/tail", &[7; 32]).expect("a key")
    }

    fn append(log: &mut Log, count: u64) {
        for _ in 0..count {
            let body = format!("{{\"n\":{}}}", log.next());
            log.append(&Entry::new(Kind::Request, 1, body.as_bytes())).expect("room");
        }
    }

    fn numbers(tail: &Tail, from: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        let read: Result<(), LogError> = tail.each(
            from,
            u64::MAX,
            |error| error,
            |index, bytes| {
                let entry = Entry::read(bytes).expect("an entry");
                assert_eq!(entry.body, format!("{{\"n\":{index}}}").as_bytes());
                seen.push(index);
                Ok(())
            },
        );
        read.expect("whole");
        seen
    }

    #[test]
    fn a_log_is_followed_from_checkpoint_to_checkpoint() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Tail::open(folder.path(), &[]).expect("nothing is no error").is_none());
        let (mut log, _) = Log::open(folder.path(), signer(), Settings::default()).expect("a log");
        append(&mut log, 10);
        log.checkpoint().expect("signed");
        let mut tail = Tail::open(folder.path(), &[]).expect("a log").expect("with a checkpoint");
        assert_eq!(numbers(&tail, 4), (4..10).collect::<Vec<_>>());
        // What no checkpoint covers is not read, however durable it is.
        append(&mut log, 600);
        log.sync().expect("durable");
        assert!(!tail.refresh().expect("the same"));
        log.checkpoint().expect("signed");
        // Tiles that were partial when it looked are gone by now: it reads what they became.
        assert_eq!(numbers(&tail, 0), (0..10).collect::<Vec<_>>());
        let root = tail.root(10).expect("a root");
        assert!(tail.refresh().expect("newer"));
        assert_eq!((numbers(&tail, 250).len(), tail.size()), (360, 610));
        assert_eq!(tail.root(10).expect("a root"), root);
    }

    #[test]
    fn a_log_that_was_replaced_is_not_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |count| {
            let (mut log, _) = Log::open(folder.path(), signer(), Settings::default()).expect("a log");
            append(&mut log, count);
            log.close().expect("signed");
        };
        make(5);
        let mut tail = Tail::open(folder.path(), &[]).expect("a log").expect("with a checkpoint");
        std::fs::remove_dir_all(folder.path()).expect("gone");
        assert!(tail.refresh().is_err_and(|error| error.to_string().contains("gone")));
        make(3);
        assert!(tail.refresh().is_err_and(|error| error.to_string().contains("does not continue")));
    }
}
