//! The anchors of a log, on disk: what was sent, and what was last seen of it.
//!
//! The file lies beside the log, not in it (`run/audit.anchors` of `run/audit`), because a running engine has the log.
//! It is replaced whole, and always before a transaction is sent: what is on its way is never forgotten.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_record::exclusive;
use tidegate_record::hash::Hash;
use tidegate_record::saved::Saved;

use crate::claim::{Address, Anchor, Link};
use crate::hexed;

/// Version of the file.
const SCHEMA: &str = "tidegate.anchors.v1";

/// Where a log is anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Number of the chain (EIP-155).
    pub chain: u64,
    /// The contract.
    #[serde(with = "hexed")]
    pub contract: Address,
    /// The log, as the contract names it.
    #[serde(with = "hexed")]
    pub log: Hash,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema: String,
    place: Place,
    anchors: Vec<Anchor>,
}

/// The file of anchors; nobody else writes it meanwhile.
#[derive(Debug)]
pub struct Journal {
    saved: Saved,
    document: Document,
    /// Unlocks when dropped.
    _lock: File,
}

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else writes it.
    #[error("{path}: another process anchors this log: wait until it ends", path = .path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// It is no journal, or its anchors do not follow each other.
    #[error("{path}: {reason}: restore it, or move it away: then the chain is read", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of another chain, contract or log.
    #[error(
        "{path}: anchors {found} are in it, not {expected}: name that chain and contract, or move the file away",
        path = .path.display()
    )]
    Elsewhere {
        /// Which file.
        path: PathBuf,
        /// Where its anchors are.
        found: String,
        /// Where they were to be.
        expected: String,
    },
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (contract, log) = (hexed::text(self.contract), hexed::text(self.log));
        write!(f, "of log {log} in contract {contract} on chain {}", self.chain)
    }
}

impl Journal {
    /// Where the journal of a log lies.
    pub fn beside(log: &Path) -> PathBuf {
        log.with_extension("anchors")
    }

    /// Opens it, empty where there is none.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path, place: Place) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = exclusive(Path::new(&name)).map_err(io)?;
        let lock = lock.ok_or_else(|| JournalError::Locked { path: path.to_owned() })?;
        let saved = Saved::at(path);
        let document = match saved.read().map_err(io)? {
            None => Document { schema: SCHEMA.into(), place, anchors: Vec::new() },
            Some(bytes) => read(path, &bytes)?,
        };
        if document.place != place {
            let (found, expected) = (document.place.to_string(), place.to_string());
            return Err(JournalError::Elsewhere { path: path.to_owned(), found, expected });
        }
        Ok(Self { saved, document, _lock: lock })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.saved.path()
    }

    /// Where its anchors are.
    pub const fn place(&self) -> Place {
        self.document.place
    }

    /// The anchors, oldest first.
    pub fn anchors(&self) -> &[Anchor] {
        &self.document.anchors
    }

    /// Changes the anchors and writes the file where that made a difference; durable when this returns.
    ///
    /// # Errors
    /// [`JournalError::Io`]; what was changed counts all the same while this process lives.
    pub fn change<T>(&mut self, act: impl FnOnce(&mut Vec<Anchor>) -> T) -> Result<T, JournalError> {
        let before = self.document.anchors.clone();
        let done = act(&mut self.document.anchors);
        if self.document.anchors != before {
            let path = self.path().to_owned();
            let bytes = serde_json::to_vec_pretty(&self.document).map_err(std::io::Error::from);
            let written = bytes.and_then(|bytes| self.saved.write(&bytes));
            written.map_err(|source| JournalError::Io { path, source })?;
        }
        Ok(done)
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<Document, JournalError> {
    let damaged = |reason: String| JournalError::Damaged { path: path.to_owned(), reason };
    let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if document.schema != SCHEMA {
        return Err(damaged(format!("schema {}, this program knows {SCHEMA}", document.schema)));
    }
    let (mut link, mut size): (Link, u64) = ([0; 32], 0);
    for (seq, anchor) in (1..).zip(&document.anchors) {
        let claim = &anchor.claim;
        if claim.seq != seq || claim.previous != link || claim.size <= size || claim.log != document.place.log {
            return Err(damaged(format!("anchor {seq} does not follow from the one before it")));
        }
        (link, size) = (claim.link, claim.size);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Attempt, Claim};

    #[test]
    fn a_journal_holds_through_restarts_and_refuses_what_it_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Journal::beside(&folder.path().join("audit"));
        let place = Place { chain: 31_337, contract: [7; 20], log: [1; 32] };
        let claim = Claim { log: [1; 32], seq: 1, size: 10, root: [2; 32], previous: [0; 32], link: [3; 32] };
        let attempt = Attempt {
            tx: [9; 32],
            nonce: 4,
            max_fee: 1_000_000_007,
            max_priority_fee: 1,
            gas_limit: 90_000,
            sent_at: 12,
            raw: vec![2, 3],
        };
        let mut journal = Journal::open(&path, place).expect("a new one");
        assert!(matches!(Journal::open(&path, place), Err(JournalError::Locked { .. })));
        let mut anchor = Anchor { attempts: vec![attempt], tx: Some([9; 32]), ..Anchor::new(claim.clone(), 12) };
        journal.change(|anchors| anchors.push(anchor.clone())).expect("room");
        drop(journal);
        let mut journal = Journal::open(&path, place).expect("there");
        assert_eq!(journal.anchors(), [anchor.clone()]);
        let other = Place { chain: 1, ..place };
        // A link that does not follow is damage, and so is half a file.
        anchor.claim.seq = 2;
        journal.change(|anchors| anchors.push(anchor)).expect("room");
        drop(journal);
        assert!(matches!(Journal::open(&path, place), Err(JournalError::Damaged { .. })));
        let text = std::fs::read(&path).expect("there");
        std::fs::write(&path, &text[..text.len() / 2]).expect("room");
        assert!(matches!(Journal::open(&path, place), Err(JournalError::Damaged { .. })));
        std::fs::remove_file(&path).expect("there");
        let mut journal = Journal::open(&path, place).expect("a new one");
        journal.change(|anchors| anchors.push(Anchor::new(claim, 1))).expect("room");
        drop(journal);
        let error = Journal::open(&path, other).expect_err("another chain").to_string();
        assert!(error.contains("chain 31337") && error.contains("chain 1:"), "{error}");
    }
}
