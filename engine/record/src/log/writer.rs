//! The one who writes a log.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_wire::clock::realtime_ns;

use super::history::History;
use super::{Archive, JOURNAL, KEY, LOCK, LogError};
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, Kind};
use crate::hash::{self, Hash};
use crate::journal::{self, Committer, Frames, Journal, Recovered, push_frame, sync_folder};
use crate::note::Signer;
use crate::proof::check_consistency;
use crate::tiles::{Kind as TileKind, Tile, entries_of, hash_bytes, write_whole};
use crate::tree::{FullTile, TILE, TileTree, levels, width};

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the journal commits.
    pub commit: journal::Settings,
    /// Bytes of a journal's segment.
    pub segment: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let commit = journal::Settings { age: Duration::from_millis(2), ..journal::Settings::default() };
        Self { commit, segment: journal::SEGMENT }
    }
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Entries that the newest checkpoint covered.
    pub covered: u64,
    /// Entries behind it that were read from the journal.
    pub recovered: u64,
    /// Bytes of what was being written when the writer died: a batch or a checkpoint.
    pub torn_bytes: u64,
}

/// A log open for writing.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    signer: Signer,
    origin: String,
    committer: Option<Committer>,
    history: History,
    tree: TileTree,
    /// Frames that were not handed to the committer yet; never across a bundle's end.
    fresh: Vec<u8>,
    fresh_count: u32,
    /// Frames of the bundle that is not full.
    bundle: Vec<u8>,
    /// Tiles and bundles that became full since the last checkpoint.
    sealed: Vec<(Tile, Vec<u8>)>,
    last: Option<Checkpoint>,
    failed: Option<LogError>,
    scratch: Vec<u8>,
    hashes: Vec<Hash>,
    /// Unlocks when dropped.
    lock: File,
}

/// The number that journals of this log carry.
fn journal_id(origin: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(origin.as_bytes())
}

impl Log {
    /// Opens the log in a folder, which is made if there is none, and brings it to where it was: what was
    /// acknowledged is there, what was being written when the writer died is not. The signer's name is the log's.
    ///
    /// # Errors
    /// [`LogError`]: the system refuses, somebody else writes it, another key signed it, or it was damaged.
    pub fn open(folder: &Path, signer: Signer, settings: Settings) -> Result<(Self, Opened), LogError> {
        std::fs::create_dir_all(folder).map_err(|source| LogError::io(folder, "making the folder", source))?;
        let lock = lock(folder)?;
        let keys = [signer.verifier().clone()];
        let (history, last, torn) = History::open(folder, &keys)?;
        let origin = signer.verifier().name().to_owned();
        if let Some(last) = last.as_ref().filter(|last| last.origin != origin) {
            return Err(LogError::damaged(folder, format!("this is the log {}, not {origin}", last.origin)));
        }
        let covered = last.as_ref().map_or(0, |last| last.size);
        let (tree, bundle) = match &last {
            Some(last) => edge(folder, last)?,
            None => (TileTree::default(), Vec::new()),
        };
        let mut log = Self {
            folder: folder.to_owned(),
            signer,
            origin,
            committer: None,
            history,
            tree,
            fresh: Vec::new(),
            fresh_count: 0,
            bundle,
            sealed: Vec::new(),
            last,
            failed: None,
            scratch: Vec::new(),
            hashes: Vec::with_capacity(TILE),
            lock,
        };
        let recovered = log.recover(covered, settings)?;
        let opened = Opened { covered, recovered: log.tree.size() - covered, torn_bytes: recovered.torn_bytes + torn };
        log.begin(&opened)?;
        Ok((log, opened))
    }

    /// Reads the journal and starts the committer on it.
    fn recover(&mut self, covered: u64, settings: Settings) -> Result<Recovered, LogError> {
        let folder = self.folder.join(JOURNAL);
        let (id, segment) = (journal_id(&self.origin), settings.segment);
        let (mut journal, recovered) = Journal::open(&folder, id, covered, segment, &mut |first, body| {
            for (index, frame) in (first..).zip(Frames::new(body)).filter(|(index, _)| *index >= covered) {
                if index != self.tree.size() {
                    let reason = format!("entries from {} on are missing before it", self.tree.size());
                    return Err(journal::JournalError::Damaged { path: folder.clone(), at: 0, reason });
                }
                self.grow_by(frame);
            }
            Ok(())
        })?;
        if journal.next() > self.tree.size() {
            let reason = format!("entries {} to {} are missing", self.tree.size(), journal.next());
            return Err(LogError::damaged(&folder, reason));
        }
        if journal.next() < covered {
            // The checkpoint's tiles have what the journal lost.
            journal.restart(covered)?;
        }
        let committer = Committer::start(journal, settings.commit);
        self.committer = Some(committer.map_err(|source| LogError::io(&self.folder, "starting a thread", source))?);
        Ok(recovered)
    }

    /// A new log gets its key, a recovered one says so and is sealed.
    fn begin(&mut self, opened: &Opened) -> Result<(), LogError> {
        let path = self.folder.join(KEY);
        let text = format!("{}\n", self.signer.verifier().text());
        if super::read_text(&path)?.as_deref() != Some(&text) {
            write_whole(&self.folder, Path::new(KEY), text.as_bytes(), true)
                .map_err(|source| LogError::io(&path, "writing", source))?;
        }
        if opened.recovered > 0 || opened.torn_bytes > 0 {
            let body = serde_json::json!({
                "covered": opened.covered,
                "recovered": opened.recovered,
                "torn_bytes": opened.torn_bytes,
            });
            self.append(&Entry::new(Kind::Recovered, realtime_ns(), body.to_string().as_bytes()))?;
        }
        if opened.recovered > 0 || opened.torn_bytes > 0 || self.last.is_none() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Number of the next entry.
    pub fn next(&self) -> u64 {
        self.tree.size() + u64::from(self.fresh_count)
    }

    /// Entries below this number are durable.
    pub fn durable(&self) -> u64 {
        self.committer.as_ref().map_or(0, Committer::durable)
    }

    /// Batches that were made durable.
    pub fn syncs(&self) -> u64 {
        self.committer.as_ref().map_or(0, Committer::syncs)
    }

    /// The newest checkpoint.
    pub const fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Root over everything appended so far.
    ///
    /// # Errors
    /// The log has failed.
    pub fn root(&mut self) -> Result<Hash, LogError> {
        self.flush()?;
        Ok(self.tree.root())
    }

    /// Appends an entry; gives its number. It is not durable yet.
    ///
    /// # Errors
    /// [`LogError`]: it is too long, or the log has failed.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<u64, LogError> {
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        entry.write(&mut scratch);
        let appended = self.append_bytes(&scratch);
        self.scratch = scratch;
        appended
    }

    /// Appends an entry's bytes; gives its number.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    #[inline]
    pub fn append_bytes(&mut self, entry: &[u8]) -> Result<u64, LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let index = self.next();
        push_frame(&mut self.fresh, entry)?;
        self.fresh_count += 1;
        if (index + 1).is_multiple_of(TILE as u64) {
            self.flush()?;
        }
        Ok(index)
    }

    /// Hands what was appended to the committer. It becomes durable within the time that its settings allow.
    ///
    /// # Errors
    /// The log has failed.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if self.fresh_count == 0 {
            return Ok(());
        }
        let committer = self.committer.as_ref().ok_or(journal::JournalError::Closed)?;
        committer.append_all(self.fresh_count, &self.fresh)?;
        // While that is on its way to the disk.
        let fresh = core::mem::take(&mut self.fresh);
        self.grow(&fresh);
        self.fresh = fresh;
        self.fresh.clear();
        self.fresh_count = 0;
        Ok(())
    }

    /// One entry more, alone: what the journal gives back.
    fn grow_by(&mut self, entry: &[u8]) {
        let mut frame = Vec::with_capacity(entry.len() + 2);
        // It came out of a frame, so it fits one.
        let _ = push_frame(&mut frame, entry);
        self.grow(&frame);
    }

    /// Entries enter the tree; never across a bundle's end.
    fn grow(&mut self, frames: &[u8]) {
        let mut entries = [&[][..]; TILE];
        let mut count = 0;
        for (entry, frame) in entries.iter_mut().zip(Frames::new(frames)) {
            *entry = frame;
            count += 1;
        }
        self.hashes.clear();
        hash::leaves(&entries[..count], &mut self.hashes);
        let sealed = &mut self.sealed;
        self.bundle.extend_from_slice(frames);
        self.tree.extend(&self.hashes, &mut |tile: FullTile<'_>| {
            let bytes = hash_bytes(tile.hashes).to_vec();
            sealed.push((Tile::full(TileKind::Hashes(tile.level), tile.index), bytes));
        });
        if self.tree.size().is_multiple_of(TILE as u64) {
            let index = self.tree.size() / TILE as u64 - 1;
            sealed.push((Tile::full(TileKind::Entries, index), core::mem::take(&mut self.bundle)));
        }
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// The log has failed; what was acknowledged before is durable all the same.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let next = self.next();
        match &self.committer {
            Some(committer) => Ok(committer.wait(next)?),
            None => Err(journal::JournalError::Closed.into()),
        }
    }

    /// Makes everything durable, writes the tiles and signs a checkpoint over them; nothing is done when the newest one
    /// covers everything.
    ///
    /// # Errors
    /// The log has failed, and stays so.
    pub fn checkpoint(&mut self) -> Result<&Checkpoint, LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Err(error) = self.seal() {
            self.failed = Some(error.clone());
            return Err(error);
        }
        match &self.last {
            Some(last) => Ok(last),
            None => Err(journal::JournalError::Closed.into()),
        }
    }

    fn seal(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let size = self.tree.size();
        if self.last.as_ref().is_some_and(|last| last.size == size) {
            return Ok(());
        }
        self.write_tiles()?;
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: self.tree.root() };
        let note = checkpoint.sign(&self.signer);
        // A log must never sign what contradicts what it signed before: what lies on disk must lead from one to the
        // other.
        if let Some(last) = self.last.as_ref().filter(|last| last.size > 0) {
            let archive = Archive::at(&self.folder, checkpoint.clone(), String::new(), 0);
            let proof = archive.consistency(last.size)?;
            let holds = check_consistency(last.size, size, &proof, &last.root, &checkpoint.root);
            holds.map_err(|error| LogError::damaged(&self.folder, format!("does not follow from itself: {error}")))?;
        }
        self.history.add(&note)?;
        self.last = Some(checkpoint);
        if let Some(committer) = &self.committer {
            committer.retire(size);
        }
        Ok(())
    }

    /// Writes what became full and the partial tiles of this size, durably.
    fn write_tiles(&mut self) -> Result<(), LogError> {
        let size = self.tree.size();
        let mut files = core::mem::take(&mut self.sealed);
        let full = files.len();
        for level in 0..levels(size) {
            let width = width(size, level) as u16;
            let Some(hashes) = self.tree.edge().get(usize::from(level)).filter(|_| width > 0) else { continue };
            let index = crate::tree::level_size(size, level) / TILE as u64;
            files.push((Tile { kind: TileKind::Hashes(level), index, width }, hash_bytes(hashes).to_vec()));
            if level == 0 {
                files.push((Tile { kind: TileKind::Entries, index, width }, self.bundle.clone()));
            }
        }
        // Many files are cheaper to sync with everything else than one by one.
        let one_by_one = files.len() <= 16;
        for (tile, bytes) in &files {
            let path = tile.path();
            write_whole(&self.folder, &path, bytes, one_by_one)
                .map_err(|source| LogError::io(&self.folder.join(path), "writing a tile", source))?;
        }
        if one_by_one {
            let mut folders: Vec<PathBuf> = files.iter().flat_map(|(tile, _)| folders_of(tile)).collect();
            folders.sort_unstable();
            folders.dedup();
            folders.iter().try_for_each(|folder| sync_folder(&self.folder.join(folder)))?;
        } else {
            self.sync_everything()?;
        }
        // A partial tile may go once the full one is there.
        for (tile, _) in &files[..full] {
            let partial = self.folder.join(Tile { width: 1, ..*tile }.path());
            if let Some(partial) = partial.parent() {
                match std::fs::remove_dir_all(partial) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(LogError::io(partial, "removing partial tiles", error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn sync_everything(&self) -> Result<(), LogError> {
        // SAFETY: a plain call on a descriptor that is open.
        let code = unsafe { libc::syncfs(self.lock.as_raw_fd()) };
        if code == 0 {
            return Ok(());
        }
        Err(LogError::io(&self.folder, "syncing tiles", std::io::Error::last_os_error()))
    }

    /// Signs a last checkpoint and ends.
    ///
    /// # Errors
    /// The log has failed: what a checkpoint does not cover stays in the journal.
    pub fn close(mut self) -> Result<Checkpoint, LogError> {
        let last = self.checkpoint()?.clone();
        if let Some(committer) = self.committer.take() {
            committer.close()?.empty()?;
        }
        Ok(last)
    }
}

/// The folders of a tile's path, the lowest first, `tile` included, and the log's own.
fn folders_of(tile: &Tile) -> Vec<PathBuf> {
    tile.path().ancestors().skip(1).map(Path::to_owned).collect()
}

fn lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join(LOCK);
    let lock = crate::exclusive(&path).map_err(|source| LogError::io(&path, "locking", source))?;
    lock.ok_or_else(|| LogError::Locked { path: folder.to_owned() })
}

/// The right edge of the tree at a checkpoint and the frames of its last bundle, as they lie on disk.
fn edge(folder: &Path, last: &Checkpoint) -> Result<(TileTree, Vec<u8>), LogError> {
    let archive = Archive::at(folder, last.clone(), String::new(), 0);
    let mut edge = Vec::new();
    for level in 0..levels(last.size) {
        let partial = width(last.size, level) > 0;
        let index = crate::tree::level_size(last.size, level) / TILE as u64;
        edge.push(if partial { archive.hashes(level, index)?.to_vec() } else { Vec::new() });
    }
    let tree = TileTree::resume(last.size, edge);
    let tree = tree.filter(|tree| tree.root() == last.root);
    let wrong =
        || LogError::damaged(folder, format!("its tiles do not lead to the root that was signed at {}", last.size));
    let tree = tree.ok_or_else(wrong)?;
    let width = width(last.size, 0);
    if width == 0 {
        return Ok((tree, Vec::new()));
    }
    let index = last.size / TILE as u64;
    let bundle = archive.bundle(index)?;
    let entries = entries_of(&bundle, width as u16);
    let same = entries.is_some_and(|entries| entries.iter().zip(&tree.edge()[0]).all(|(e, h)| hash::leaf(e) == *h));
    let wrong = || LogError::damaged(folder, format!("entries from {} on are not those that were signed", index * 256));
    if same { Ok((tree, bundle)) } else { Err(wrong()) }
}
