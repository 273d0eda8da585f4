//! Retention: entries that need not be kept any longer leave, their hashes stay.
//!
//! The tree stays whole: every proof of what remains, and the consistency of all checkpoints, can still be made. That and
//! by whom entries were removed is itself an entry.

use std::path::Path;

use super::{Archive, Log, LogError, MINIMUM, minimum};
use crate::entry::{Entry, Kind};
use crate::tiles::{Kind as TileKind, Tile, write_whole};
use crate::tree::TILE;

/// What retention removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// First entry that was there before.
    pub from: u64,
    /// First entry that is there now.
    pub to: u64,
}

/// Removes whole bundles of entries below `below` and whose last entry is older than `before_ns`. `who` and `why` go
/// into the log first: it must be open for writing.
///
/// # Errors
/// [`LogError`]. What was recorded and not removed is removed by the next call.
pub fn prune(
    log: &mut Log,
    folder: &Path,
    below: u64,
    before_ns: i64,
    who: &str,
    why: &str,
) -> Result<Pruned, LogError> {
    let from = minimum(folder)?;
    let covered = log.checkpoint()?.clone();
    let archive = Archive::at(folder, covered, String::new(), from);
    let mut to = from;
    while to + TILE as u64 <= below.min(archive.size()) {
        let last = archive.entry(to + TILE as u64 - 1)?;
        if Entry::read(&last).is_ok_and(|entry| entry.time_ns >= before_ns) {
            break;
        }
        to += TILE as u64;
    }
    let pruned = Pruned { from, to };
    if to == from {
        return Ok(pruned);
    }
    let body = serde_json::json!({ "from": from, "to": to, "who": who, "why": why });
    log.append(&Entry::new(Kind::Pruned, super::writer::now_ns(), body.to_string().as_bytes()))?;
    log.checkpoint()?;
    // The number first: entries that are missing without it would look like damage.
    let path = folder.join(MINIMUM);
    let write = write_whole(folder, Path::new(MINIMUM), format!("{to}\n").as_bytes(), true);
    write.map_err(|source| LogError::io(&path, "writing", source))?;
    crate::journal::sync_folder(folder)?;
    for bundle in 0..to / TILE as u64 {
        let path = folder.join(Tile::full(TileKind::Entries, bundle).path());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io(&path, "removing entries", error));
            }
            _ => {}
        }
    }
    Ok(pruned)
}
