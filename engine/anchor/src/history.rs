//! A log's anchors read back from the chain, and compared with the log.

use serde::Serialize;
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Archive, LogError};

use crate::claim::{Block, Claim, Stage};
use crate::ethereum::{ChainError, Client, Found};
use crate::hexed;
use crate::journal::Place;

/// How often a chain that changes while it is read is read again.
const TRIES: usize = 4;

/// Whether a log bears an anchor out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its root at that size is the anchored one.
    Holds,
    /// It is not.
    Differs {
        /// What the log has instead.
        log: String,
    },
}

/// Compares an anchor with the log.
///
/// # Errors
/// [`LogError`]: the log's tiles cannot be read.
pub fn compare(archive: &Archive, claim: &Claim) -> Result<Verdict, LogError> {
    if claim.size > archive.size() {
        let log = format!("the log has {} entries, it was cut back", archive.size());
        return Ok(Verdict::Differs { log });
    }
    let root = archive.root(claim.size)?;
    if root == claim.root {
        return Ok(Verdict::Holds);
    }
    Ok(Verdict::Differs { log: format!("the log's root there is {}", hexed::text(root)) })
}

/// An anchor on the chain, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it says.
    pub claim: Claim,
    /// Its block.
    pub block: Block,
    /// The transaction that brought it.
    #[serde(with = "hexed")]
    pub tx: [u8; 32],
    /// How far it has come.
    pub stage: Stage,
    /// Blocks on it, its own included.
    pub depth: u64,
    /// What is wrong with it; `None` when the log bears it out.
    pub wrong: Option<String>,
}

/// All anchors of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct History {
    /// The newest block when they were read.
    pub head: Block,
    /// Entries of the log's newest checkpoint.
    pub size: u64,
    /// The anchors, oldest first.
    pub anchors: Vec<Row>,
}

impl History {
    /// Whether the log bears out every anchor.
    pub fn holds(&self) -> bool {
        self.anchors.iter().all(|row| row.wrong.is_none())
    }

    /// Entries that the newest confirmed anchor covers.
    pub fn confirmed(&self) -> u64 {
        let confirmed = self.anchors.iter().rev().find(|row| row.stage >= Stage::Confirmed);
        confirmed.map_or(0, |row| row.claim.size)
    }
}

/// What reading back can fail with.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Reads all anchors of a log back and compares them with it. Every link is recomputed; a chain that re-organises
/// meanwhile is read again.
///
/// # Errors
/// [`HistoryError`]. That the log does not bear an anchor out is none: see [`Row::wrong`].
pub fn read_back(
    client: &Client,
    place: &Place,
    archive: &Archive,
    confirmations: u64,
) -> Result<History, HistoryError> {
    client.operator_of(place.contract)?;
    let mut tries = 0;
    let (head, found) = loop {
        let head = client.head()?;
        match client.anchors(place, &head) {
            Err(ChainError::Changed) if tries < TRIES => tries += 1,
            found => break (head, found?),
        }
    };
    let (safe, finalized) = client.tags()?;
    let row = |Found { claim, block, tx }| {
        let depth = (head.number + 1).saturating_sub(block.number);
        let within = |height: Option<u64>| height.is_some_and(|height| height >= block.number);
        let stage = match () {
            () if within(finalized) => Stage::Finalized,
            () if within(safe) => Stage::Safe,
            () if depth >= confirmations => Stage::Confirmed,
            () => Stage::Included,
        };
        let wrong = match compare(archive, &claim)? {
            Verdict::Holds => None,
            Verdict::Differs { log } => Some(log),
        };
        Ok(Row { claim, block, tx, stage, depth, wrong })
    };
    let anchors = found.into_iter().map(row).collect::<Result<_, LogError>>()?;
    Ok(History { head, size: archive.size(), anchors })
}

/// Whether entries from `from` on are nothing but notes of anchors: then anchoring them would go on for ever.
///
/// # Errors
/// [`LogError`]: they cannot be read.
pub fn only_anchors_since(archive: &Archive, from: u64) -> Result<bool, LogError> {
    for index in from..archive.size() {
        let bytes = archive.entry(index)?;
        if Entry::read(&bytes).map_or(true, |entry| entry.kind != Kind::Anchored) {
            return Ok(false);
        }
    }
    Ok(true)
}
