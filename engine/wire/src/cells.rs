//! A row of [`SeqCell`]s with a bell, in memory that processes can share.
//!
//! One writer stores values into cells and rings the bell once for all of them; readers look at the bell (one load) and
//! at cells only when it has moved. A reader that finds the writer dead keeps what it has: nothing here waits.

use std::fs::File;
use std::path::Path;

use crate::cell::SeqCell;
use crate::event::LAYOUT_VERSION;
use crate::ring::{RegionError, allocate};
use crate::sync::{AtomicU64, Ordering};

/// `TIDECELL` in ASCII, little endian; the last thing a creator writes.
const MAGIC: u64 = u64::from_le_bytes(*b"TIDECELL");

/// The first line of the memory.
#[derive(Debug)]
#[repr(C, align(64))]
struct Head {
    magic: AtomicU64,
    layout: AtomicU64,
    cells: AtomicU64,
    words: AtomicU64,
    bell: AtomicU64,
    _reserved: [u64; 3],
}

/// Cells of `N` words each.
#[derive(Debug)]
pub struct Cells<const N: usize> {
    memory: memmap2::MmapMut,
    count: usize,
}

impl<const N: usize> Cells<N> {
    const fn bytes(count: usize) -> usize {
        size_of::<Head>() + count * size_of::<SeqCell<N>>()
    }

    /// Cells in anonymous memory, version 0, all zeros.
    ///
    /// # Errors
    /// No memory.
    pub fn anonymous(count: usize) -> Result<Self, RegionError> {
        let memory = memmap2::MmapOptions::new()
            .len(Self::bytes(count))
            .populate()
            .map_anon()
            .map_err(|source| RegionError::Io { path: "anonymous memory".into(), source })?;
        Ok(Self::initialise(memory, count))
    }

    /// New cells in a file that does not exist yet.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn create(path: &Path, count: usize) -> Result<Self, RegionError> {
        let io = |source| RegionError::Io { path: path.display().to_string(), source };
        let file = File::options().read(true).write(true).create_new(true).open(path).map_err(io)?;
        allocate(&file, Self::bytes(count) as u64).map_err(io)?;
        // SAFETY: the mapping is shared on purpose; all access goes through atomics, so that a foreign writer can
        // change values but not cause undefined behaviour. Truncation by a foreigner would raise SIGBUS, which is
        // the same end as any other process with our rights could bring about.
        let memory = unsafe { memmap2::MmapOptions::new().populate().map_mut(&file).map_err(io)? };
        Ok(Self::initialise(memory, count))
    }

    /// Cells that another process created.
    ///
    /// # Errors
    /// The file system's refusal, or [`RegionError::Foreign`] when the file holds no such cells.
    pub fn open(path: &Path) -> Result<Self, RegionError> {
        let io = |source| RegionError::Io { path: path.display().to_string(), source };
        let foreign = |reason: String| RegionError::Foreign { path: path.display().to_string(), reason };
        let file = File::options().read(true).write(true).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len() as usize;
        if length < size_of::<Head>() {
            return Err(foreign(format!("{length} bytes are too short for cells")));
        }
        // SAFETY: as in `create`.
        let memory = unsafe { memmap2::MmapOptions::new().populate().map_mut(&file).map_err(io)? };
        let mut cells = Self { memory, count: 0 };
        let head = cells.head();
        if head.magic.load(Ordering::Acquire) != MAGIC || head.layout.load(Ordering::Relaxed) != LAYOUT_VERSION.into() {
            return Err(foreign("no cells of this program's layout".into()));
        }
        let (count, words) = (head.cells.load(Ordering::Relaxed) as usize, head.words.load(Ordering::Relaxed));
        if words != N as u64 || count > usize::from(u16::MAX) || length < Self::bytes(count) {
            return Err(foreign(format!("{count} cells of {words} words do not fit {length} bytes of {N} words each")));
        }
        cells.count = count;
        Ok(cells)
    }

    fn initialise(memory: memmap2::MmapMut, count: usize) -> Self {
        let cells = Self { memory, count };
        let head = cells.head();
        head.layout.store(LAYOUT_VERSION.into(), Ordering::Relaxed);
        head.cells.store(count as u64, Ordering::Relaxed);
        head.words.store(N as u64, Ordering::Relaxed);
        head.magic.store(MAGIC, Ordering::Release);
        cells
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: the mapping is page-aligned, at least a `Head` long (checked), lives as long as `self`, and `Head`
        // is atomics only, valid for any bytes.
        unsafe { &*self.memory.as_ptr().cast::<Head>() }
    }

    /// Cell `index`, if there is one.
    #[inline(always)]
    pub fn cell(&self, index: usize) -> Option<&SeqCell<N>> {
        // SAFETY: `index < count` and the mapping holds `bytes(count)` bytes (checked on creation and opening); cells
        // follow the 64-byte head, so they are aligned; `SeqCell` is atomics only, valid for any bytes.
        let cell = || unsafe { &*self.memory.as_ptr().add(size_of::<Head>()).cast::<SeqCell<N>>().add(index) };
        (index < self.count).then(cell)
    }

    /// Number of cells.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Tells readers that cells have changed.
    pub fn ring(&self) {
        // SYNC: pairs with the acquire load in `bell`: whoever hears it sees what was stored before.
        self.head().bell.fetch_add(1, Ordering::Release);
    }

    /// How often the bell was rung.
    #[inline(always)]
    pub fn bell(&self) -> u64 {
        self.head().bell.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_mapping_sees_the_same_cells() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cells");
        let ours = Cells::<3>::create(&path, 2).expect("created");
        let theirs = Cells::<3>::open(&path).expect("opened");
        assert_eq!((theirs.len(), theirs.bell()), (2, 0));
        theirs.cell(1).expect("a cell").store(&[7, 8, 9]);
        theirs.ring();
        assert_eq!(ours.bell(), 1);
        assert_eq!(ours.cell(1).and_then(SeqCell::load), Some((1, [7, 8, 9])));
        assert!(ours.cell(2).is_none());
        assert!(Cells::<3>::create(&path, 2).is_err(), "never over an old one");
        assert!(matches!(Cells::<4>::open(&path), Err(RegionError::Foreign { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_disk_without_room_is_an_error_and_no_signal() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Cells::<3>::create(&folder.path().join("cells"), 1 << 45).expect_err("no disk has that");
        assert!(matches!(error, RegionError::Io { .. }), "{error}");
    }

    #[test]
    fn what_is_no_row_of_cells_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cells");
        for bytes in [0, 10, 64, 4_096] {
            std::fs::write(&path, vec![0u8; bytes]).expect("written");
            assert!(matches!(Cells::<3>::open(&path), Err(RegionError::Foreign { .. })), "{bytes}");
        }
    }
}
