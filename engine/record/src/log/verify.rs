//! Recomputing everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Archive, CHECKPOINT, CHECKPOINTS, JOURNAL, LOCK, LogError, minimum, read_text};
use crate::checkpoint::{Checkpoint, notes};
use crate::entry::{Entry, Kind};
use crate::hash::{self, Hash};
use crate::journal::Frames;
use crate::note::Verifier;
use crate::tiles::{Kind as TileKind, Tile, hash_bytes, hashes_of};
use crate::tree::{TILE, TileTree, level_size, levels};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something is there that no checkpoint covers, or missing that retention may have removed elsewhere.
    Incomplete,
    /// Something was changed.
    Tampered,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub path: String,
    /// What.
    pub reason: String,
}

/// What recomputing found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Name of the log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root over them, as hex.
    pub root: String,
    /// First entry that retention has not removed.
    pub minimum: u64,
    /// Checkpoints whose signature and root hold.
    pub checkpoints: u64,
    /// Files compared byte for byte with what they should be.
    pub files: u64,
    /// Bytes of entries that were hashed.
    pub bytes: u64,
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Entries that this program does not know: written by a newer one.
    pub unknown: u64,
    /// What is wrong; empty when the log is whole.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of what was found; `None` when all is well.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn found(&mut self, severity: Severity, path: &Path, reason: impl Into<String>) {
        self.findings.push(Finding { severity, path: path.display().to_string(), reason: reason.into() });
    }
}

/// Findings after which no more are looked for: the first ones say where to look.
const FINDINGS_MAX: usize = 100;

/// Recomputes a log: every entry's hash, every tile, every checkpoint that was ever signed. `keys` as in
/// [`Archive::open`]; `progress` hears how many of how many entries are done, from any thread.
///
/// # Errors
/// [`LogError`]: there is no log, nobody known signed it, or a file cannot be read. What was changed is a finding.
pub fn verify(
    folder: &Path,
    keys: &[Verifier],
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, LogError> {
    let own = if keys.is_empty() { vec![Archive::own_key(folder)?] } else { keys.to_vec() };
    let archive = Archive::open(folder, &own)?;
    let (size, minimum) = (archive.size(), minimum(folder)?);
    let mut report = Report {
        origin: archive.checkpoint().origin.clone(),
        size,
        root: hex::encode(archive.checkpoint().root),
        minimum,
        ..Report::default()
    };
    if minimum > size {
        report.found(Severity::Tampered, folder, "more entries were removed than there are");
        return Ok(report);
    }
    let roots = entries(folder, size, minimum, threads, progress, &mut report)?;
    if report.findings.is_empty() {
        upper_levels(folder, archive.checkpoint(), roots, &mut report)?;
    }
    if report.findings.is_empty() {
        strays(folder, size, &mut report)?;
        history(folder, &archive, &own, &mut report)?;
        journal(folder, &mut report);
    }
    Ok(report)
}

/// What one thread found out.
#[derive(Default)]
struct Part {
    kinds: BTreeMap<Kind, u64>,
    unknown: u64,
    files: u64,
    bytes: u64,
    findings: Vec<(Severity, PathBuf, String)>,
    error: Option<LogError>,
}

/// Hashes every entry and compares level 0; gives the roots of its full tiles and the hashes of its partial one.
fn entries(
    folder: &Path,
    size: u64,
    minimum: u64,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
    report: &mut Report,
) -> Result<(Vec<Hash>, Vec<Hash>), LogError> {
    let bundles = size.div_ceil(TILE as u64);
    let full = (size / TILE as u64) as usize;
    let (turn, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let roots = Mutex::new((vec![[0; 32]; full], Vec::new()));
    let work = || {
        let (mut part, mut scratch) = (Part::default(), Vec::with_capacity(TILE));
        loop {
            // A few bundles a turn: threads meet rarely.
            let first = turn.fetch_add(16, Ordering::Relaxed);
            if first >= bundles || part.findings.len() >= FINDINGS_MAX || part.error.is_some() {
                return part;
            }
            for index in first..bundles.min(first + 16) {
                let width = (size - index * TILE as u64).min(TILE as u64) as u16;
                let hashes = match bundle(folder, index, width, minimum, &mut part) {
                    Ok(Some(hashes)) => hashes,
                    Ok(None) => continue,
                    Err(error) => {
                        part.error = Some(error);
                        break;
                    }
                };
                let root = (usize::from(width) == TILE).then(|| hash::perfect(&hashes, &mut scratch));
                let mut roots = roots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match root {
                    Some(root) => roots.0[index as usize] = root,
                    None => roots.1 = hashes,
                }
                drop(roots);
                progress(done.fetch_add(u64::from(width), Ordering::Relaxed) + u64::from(width), size);
            }
        }
    };
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    for part in parts {
        if let Some(error) = part.error {
            return Err(error);
        }
        report.files += part.files;
        report.bytes += part.bytes;
        report.unknown += part.unknown;
        part.kinds.into_iter().for_each(|(kind, count)| *report.kinds.entry(kind.name()).or_default() += count);
        part.findings.into_iter().for_each(|(severity, path, reason)| report.found(severity, &path, reason));
    }
    report.findings.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(roots.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Hashes of a bundle's entries, compared with its tile of level 0.
fn bundle(folder: &Path, index: u64, width: u16, minimum: u64, part: &mut Part) -> Result<Option<Vec<Hash>>, LogError> {
    let of = |kind| Tile { kind, index, width };
    let path = folder.join(of(TileKind::Hashes(0)).path());
    let Some(tile) = read(&path)? else {
        part.findings.push((Severity::Tampered, path, "is missing".into()));
        return Ok(None);
    };
    part.files += 1;
    let Some(expected) = hashes_of(&tile).filter(|hashes| hashes.len() == usize::from(width)) else {
        part.findings.push((Severity::Tampered, path, "is not as long as a tile".into()));
        return Ok(None);
    };
    let place = folder.join(of(TileKind::Entries).path());
    let Some(bytes) = read(&place)? else {
        // The hashes stay when retention removes entries, so the root still holds.
        if (index + 1) * TILE as u64 <= minimum {
            return Ok(Some(expected));
        }
        part.findings.push((Severity::Tampered, place, "is missing".into()));
        return Ok(None);
    };
    part.files += 1;
    part.bytes += bytes.len() as u64;
    let Some(entries) = crate::tiles::entries_of(&bytes, width) else {
        part.findings.push((Severity::Tampered, place, "is no bundle of entries".into()));
        return Ok(None);
    };
    let mut hashes = Vec::with_capacity(TILE);
    hash::leaves(&entries, &mut hashes);
    if let Some(wrong) = hashes.iter().zip(&expected).position(|(found, expected)| found != expected) {
        let entry = index * TILE as u64 + wrong as u64;
        part.findings.push((Severity::Tampered, place, format!("entry {entry} is not the one in the tree")));
        return Ok(None);
    }
    for (place_in, entry) in entries.iter().enumerate() {
        match Entry::read(entry) {
            Ok(entry) => *part.kinds.entry(entry.kind).or_default() += 1,
            Err(error) => {
                part.unknown += 1;
                if part.unknown == 1 {
                    let entry = index * TILE as u64 + place_in as u64;
                    part.findings.push((Severity::Note, place.clone(), format!("entry {entry}: {error}")));
                }
            }
        }
    }
    Ok(Some(hashes))
}

/// Compares the tiles above level 0, and the root with what was signed.
fn upper_levels(
    folder: &Path,
    checkpoint: &Checkpoint,
    (mut below, partial): (Vec<Hash>, Vec<Hash>),
    report: &mut Report,
) -> Result<(), LogError> {
    let (mut edge, mut scratch) = (vec![partial], Vec::with_capacity(TILE));
    for level in 1..levels(checkpoint.size) {
        let mut above = Vec::with_capacity(below.len() / TILE);
        for (index, hashes) in below.chunks(TILE).enumerate() {
            let tile = Tile { kind: TileKind::Hashes(level), index: index as u64, width: hashes.len() as u16 };
            let path = folder.join(tile.path());
            match read(&path)? {
                Some(bytes) if bytes == hash_bytes(hashes) => report.files += 1,
                Some(_) => report.found(Severity::Tampered, &path, "holds other hashes than the tiles below give"),
                None => report.found(Severity::Tampered, &path, "is missing"),
            }
            if hashes.len() == TILE {
                above.push(hash::perfect(hashes, &mut scratch));
            }
        }
        edge.push(below[below.len() / TILE * TILE..].to_vec());
        below = above;
    }
    let root = TileTree::resume(checkpoint.size, edge).map(|tree| tree.root());
    if root != Some(checkpoint.root) && report.findings.is_empty() {
        report.found(Severity::Tampered, &folder.join(CHECKPOINT), "the entries lead to another root than was signed");
    }
    Ok(())
}

/// Looks at every file below `tile`: older partial tiles must be beginnings of what was verified, others must not be there.
fn strays(folder: &Path, size: u64, report: &mut Report) -> Result<(), LogError> {
    let mut folders = vec![folder.join("tile")];
    while let Some(next) = folders.pop() {
        let failed = |source| LogError::io(&next, "listing", source);
        let entries = match std::fs::read_dir(&next) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else {
                stray(folder, &path, size, report)?;
            }
        }
    }
    Ok(())
}

fn stray(folder: &Path, path: &Path, size: u64, report: &mut Report) -> Result<(), LogError> {
    let tile = path.strip_prefix(folder).ok().and_then(Tile::of_path);
    let Some(tile) = tile else {
        report.found(Severity::Tampered, path, "does not belong here");
        return Ok(());
    };
    let level = if let TileKind::Hashes(level) = tile.kind { level } else { 0 };
    let known = level_size(size, level).saturating_sub(tile.index.saturating_mul(TILE as u64)).min(TILE as u64);
    if known < u64::from(tile.width) {
        report.found(Severity::Incomplete, path, "lies beyond the newest checkpoint");
        return Ok(());
    }
    if known == u64::from(tile.width) {
        return Ok(());
    }
    let whole = folder.join(Tile { width: known as u16, ..tile }.path());
    let (Some(part), Some(whole)) = (read(path)?, read(&whole)?) else { return Ok(()) };
    let length = match tile.kind {
        TileKind::Hashes(_) => usize::from(tile.width) * 32,
        TileKind::Entries => {
            let mut frames = Frames::new(&whole);
            frames.by_ref().take(usize::from(tile.width)).for_each(drop);
            whole.len() - frames.rest().len()
        }
    };
    report.files += 1;
    if whole.get(..length) != Some(&part[..]) {
        report.found(Severity::Tampered, path, "is not the beginning of the tile that followed it");
    }
    Ok(())
}

/// Every checkpoint that was ever signed must be one of this tree.
fn history(folder: &Path, archive: &Archive, keys: &[Verifier], report: &mut Report) -> Result<(), LogError> {
    let path = folder.join(CHECKPOINTS);
    let Some(text) = read_text(&path)? else {
        report.found(Severity::Tampered, &path, "is missing");
        return Ok(());
    };
    let found = notes(&text);
    let end = found.last().map_or(0, |note| note.end);
    if end < text.len() {
        report.found(Severity::Incomplete, &path, format!("{} bytes at its end are no checkpoint", text.len() - end));
    }
    if found.last().map(|note| &text[note.clone()]) != read_text(&folder.join(CHECKPOINT))?.as_deref() {
        report.found(Severity::Tampered, &path, "its last checkpoint is not the newest one");
    }
    let mut before = 0;
    for note in found {
        let checkpoint = match Checkpoint::open(&text[note.clone()], keys) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                report.found(Severity::Tampered, &path, format!("checkpoint at byte {}: {error}", note.start));
                continue;
            }
        };
        let wrong = if checkpoint.origin != report.origin {
            Some("is of another log".to_owned())
        } else if checkpoint.size < before || checkpoint.size > archive.size() {
            Some("is out of order".to_owned())
        } else if archive.root(checkpoint.size)? != checkpoint.root {
            Some("has another root than the entries lead to".to_owned())
        } else {
            None
        };
        before = checkpoint.size;
        match wrong {
            Some(wrong) => {
                report.found(Severity::Tampered, &path, format!("checkpoint at {} {wrong}", checkpoint.size))
            }
            None => report.checkpoints += 1,
        }
    }
    Ok(())
}

/// Entries that no checkpoint covers are in the journal only while somebody writes, or after a crash.
fn journal(folder: &Path, report: &mut Report) {
    let path = folder.join(JOURNAL);
    let waits = std::fs::read_dir(&path).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "journal"))
    });
    if waits {
        let lock = std::fs::File::open(folder.join(LOCK));
        let written = lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
        let (severity, reason) = if written {
            (Severity::Note, "is being written: what its journal holds is not covered yet")
        } else {
            (Severity::Incomplete, "the last writer died: opening the log for writing recovers what the journal holds")
        };
        report.found(severity, &path, reason);
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io(path, "reading", error)),
    }
}
