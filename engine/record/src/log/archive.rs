//! A log as its readers see it: what its newest checkpoint covers, and proofs of that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{CHECKPOINT, KEY, LogError, minimum, read_text};
use crate::checkpoint::Checkpoint;
use crate::hash::{self, Hash};
use crate::note::Verifier;
use crate::proof::{self, Hashes};
use crate::proof_file::ProofFile;
use crate::tiles::{Kind, Tile, beginning, entries_of, hashes_of};
use crate::tree::{TILE, TILE_HEIGHT, level_size};

/// Tiles kept in memory.
const CACHED: usize = 512;

/// Tiles by level and number.
type Cache = HashMap<(u8, u64), Rc<Vec<Hash>>>;

/// A log open for reading.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    checkpoint: Checkpoint,
    note: String,
    minimum: u64,
    cache: RefCell<Cache>,
}

impl Archive {
    /// Opens the log in a folder. `keys` are whose checkpoints are believed; when there are none, the key that lies in
    /// the folder is: then the log vouches for itself.
    ///
    /// # Errors
    /// [`LogError`]: there is no log, or its checkpoint is signed by nobody known.
    pub fn open(folder: &Path, keys: &[Verifier]) -> Result<Self, LogError> {
        let path = folder.join(CHECKPOINT);
        let note = read_text(&path)?.ok_or_else(|| LogError::damaged(&path, "no checkpoint: this is no log"))?;
        let own = if keys.is_empty() { vec![Self::own_key(folder)?] } else { Vec::new() };
        let keys = if keys.is_empty() { &own[..] } else { keys };
        let checkpoint = Checkpoint::open(&note, keys).map_err(|source| LogError::Checkpoint { path, source })?;
        Ok(Self::at(folder, checkpoint, note, minimum(folder)?))
    }

    pub(super) fn at(folder: &Path, checkpoint: Checkpoint, note: String, minimum: u64) -> Self {
        Self { folder: folder.to_owned(), checkpoint, note, minimum, cache: RefCell::default() }
    }

    /// The key that lies in a log's folder.
    ///
    /// # Errors
    /// [`LogError`]: there is none.
    pub fn own_key(folder: &Path) -> Result<Verifier, LogError> {
        let path = folder.join(KEY);
        let text = read_text(&path)?.ok_or_else(|| LogError::damaged(&path, "no key: this is no log"))?;
        Verifier::of_text(text.strip_suffix('\n').unwrap_or(&text))
            .map_err(|error| LogError::damaged(&path, error.to_string()))
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Entries it covers.
    pub const fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// First entry that retention has not removed.
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// A tile as wide as it is at this checkpoint's size.
    fn tile_at(&self, kind: Kind, index: u64) -> Result<Tile, LogError> {
        let level = if let Kind::Hashes(level) = kind { level } else { 0 };
        let before = index.checked_mul(TILE as u64);
        let width = before.and_then(|before| level_size(self.size(), level).checked_sub(before)).unwrap_or(0);
        if width == 0 {
            let first =
                before.and_then(|before| before.checked_shl(TILE_HEIGHT * u32::from(level))).unwrap_or(u64::MAX);
            return Err(LogError::Absent { index: first, size: self.size(), minimum: self.minimum });
        }
        Ok(Tile { kind, index, width: width.min(TILE as u64) as u16 })
    }

    /// A tile's bytes. A partial one that was removed is a part of the full one that followed it.
    fn bytes(&self, tile: Tile) -> Result<Vec<u8>, LogError> {
        let path = self.folder.join(tile.path());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && usize::from(tile.width) < TILE => {
                let full = Tile { width: TILE as u16, ..tile };
                let full = std::fs::read(self.folder.join(full.path()));
                let bytes = full.map_err(|_| LogError::io(&path, "reading a tile", error))?;
                Ok(beginning(&bytes, tile.kind, tile.width).to_vec())
            }
            Err(error) => Err(LogError::io(&path, "reading a tile", error)),
        }
    }

    /// Hashes of a tile.
    ///
    /// # Errors
    /// [`LogError`]: it cannot be read, or is none.
    pub fn hashes(&self, level: u8, index: u64) -> Result<Rc<Vec<Hash>>, LogError> {
        if let Some(hashes) = self.cache.borrow().get(&(level, index)) {
            return Ok(hashes.clone());
        }
        let tile = self.tile_at(Kind::Hashes(level), index)?;
        let hashes = hashes_of(&self.bytes(tile)?).filter(|hashes| hashes.len() == usize::from(tile.width));
        let wrong = || LogError::damaged(&self.folder.join(tile.path()), "not as long as a tile");
        let hashes = Rc::new(hashes.ok_or_else(wrong)?);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert((level, index), hashes.clone());
        Ok(hashes)
    }

    /// Bytes of a bundle of entries: those from `256 * index` on.
    ///
    /// # Errors
    /// [`LogError`]: it cannot be read, or was removed.
    pub fn bundle(&self, index: u64) -> Result<Vec<u8>, LogError> {
        self.bytes(self.tile_at(Kind::Entries, index)?)
    }

    /// The entries of a bundle, those from `256 * index` on, each checked against its hash in the tree.
    ///
    /// # Errors
    /// [`LogError`]: they cannot be read, were removed, or are others than the tree says.
    pub fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let tile = self.tile_at(Kind::Entries, index)?;
        let bytes = self.bytes(tile)?;
        let wrong = |reason: &str| LogError::damaged(&self.folder.join(tile.path()), reason);
        let entries = entries_of(&bytes, tile.width).ok_or_else(|| wrong("no bundle of entries"))?;
        let mut hashes = Vec::with_capacity(TILE);
        hash::leaves(&entries, &mut hashes);
        if hashes != *self.hashes(0, index)? {
            return Err(wrong("holds an entry that is not the one in the tree"));
        }
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Hands on entries from the first that is there up to `to` (exclusive; what the checkpoint does not cover is left
    /// out), each with its number and checked against the tree.
    ///
    /// # Errors
    /// What `failed` makes of a [`LogError`] as of [`Self::entries`], or what `act` says.
    pub fn each<E>(
        &self,
        to: u64,
        failed: impl Fn(LogError) -> E,
        act: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_from(0, to, failed, act)
    }

    /// The same from an entry on, or from the first that is there.
    ///
    /// # Errors
    /// As [`Self::each`].
    pub fn each_from<E>(
        &self,
        from: u64,
        to: u64,
        failed: impl Fn(LogError) -> E,
        mut act: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut index, to, tile) = (self.minimum.max(from), to.min(self.size()), TILE as u64);
        while index < to {
            for entry in self.entries(index / tile).map_err(&failed)?.iter().skip((index % tile) as usize) {
                if index < to {
                    act(index, entry)?;
                }
                index += 1;
            }
        }
        Ok(())
    }

    /// An entry's bytes, checked against its hash in the tree.
    ///
    /// # Errors
    /// [`LogError`]: it is not there, or is another one than the tree says.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        if index >= self.size() || index < self.minimum {
            return Err(LogError::Absent { index, size: self.size(), minimum: self.minimum });
        }
        let (bundle, place) = (index / TILE as u64, (index % TILE as u64) as usize);
        Ok(self.entries(bundle)?.swap_remove(place))
    }

    /// The proof that an entry is in the log, for somebody who has nothing but the key.
    ///
    /// # Errors
    /// [`LogError`]: there is no such entry, or a tile cannot be read.
    pub fn prove(&self, index: u64) -> Result<ProofFile, LogError> {
        if index >= self.size() {
            return Err(LogError::Absent { index, size: self.size(), minimum: self.minimum });
        }
        let hashes = proof::inclusion(self, index, self.size())?;
        Ok(ProofFile { index, hashes, checkpoint: self.note.clone() })
    }

    /// The proof that the log begins with what it was at the size `old`.
    ///
    /// # Errors
    /// [`LogError`]: it was never that large, or a tile cannot be read.
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, LogError> {
        if old > self.size() {
            return Err(LogError::Absent { index: old, size: self.size(), minimum: self.minimum });
        }
        proof::consistency(self, old, self.size())
    }

    /// Root at some size up to the checkpoint's.
    ///
    /// # Errors
    /// [`LogError`]: it was never that large, or a tile cannot be read.
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        if size > self.size() {
            return Err(LogError::Absent { index: size, size: self.size(), minimum: self.minimum });
        }
        proof::root(self, size)
    }
}

impl Hashes for Archive {
    type Error = LogError;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, LogError> {
        let (level, inner) = ((height / TILE_HEIGHT) as u8, height % TILE_HEIGHT);
        let first = index << inner;
        let hashes = self.hashes(level, first / TILE as u64)?;
        let place = (first % TILE as u64) as usize;
        let part = hashes.get(place..place + (1 << inner));
        let part = part.ok_or_else(|| LogError::damaged(&self.folder, "a tile that ends before its subtree"))?;
        Ok(hash::perfect(part, &mut Vec::with_capacity(TILE)))
    }
}
