//! The memory of a ring: header, lines, and where they come from (heap or shared mapping).

#[cfg(not(loom))]
use std::{fs::File, path::Path};

use crate::event::LAYOUT_VERSION;
use crate::ring::{LINE_WORDS, MAX_LINES};
use crate::sync::AtomicU64;
#[cfg(not(loom))]
use crate::sync::Ordering;

/// Most words one record may have.
pub const RECORD_WORDS_MAX: usize = MAX_LINES * LINE_WORDS;

/// `TIDERING` in ASCII, little endian; the last thing a creator writes.
#[cfg(not(loom))]
const MAGIC: u64 = u64::from_le_bytes(*b"TIDERING");

/// Which discipline a ring follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RegionKind {
    /// One reader, nothing lost.
    Lossless = 1,
    /// Any number of readers, the writer never waits.
    Overwrite = 2,
}

/// Why a region cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// Not a power of two, or smaller than four of the largest records.
    #[error("a ring needs a power of two of at least {min} lines, not {0}", min = Region::MIN_LINES)]
    Lines(u64),
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a ring, of another layout, another kind or cut short.
    #[error("{path}: {reason}")]
    Foreign {
        /// Which file.
        path: String,
        /// What does not fit.
        reason: String,
    },
}

/// A counter on cache lines of its own (two: the adjacent-line prefetcher pulls pairs).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct OwnLine(pub(crate) AtomicU64);

/// The first 512 bytes of a region.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct RingHeader {
    magic: AtomicU64,
    /// `LAYOUT_VERSION << 32 | RegionKind`.
    layout: AtomicU64,
    /// Number of lines, a power of two.
    lines: AtomicU64,
    /// How many writers have attached so far.
    pub(crate) epoch: AtomicU64,
    /// Next line the writer fills; only readers that were lapped and late joiners look at it.
    pub(crate) tail: OwnLine,
    /// Lines the reader of a lossless ring has given back.
    pub(crate) head: OwnLine,
    _reserved: OwnLine,
}

/// One cache line: payload and sequence.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    pub(crate) words: [AtomicU64; LINE_WORDS],
    pub(crate) sequence: AtomicU64,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
    assert!(size_of::<RingHeader>() == 512);
    assert!(core::mem::offset_of!(Line, sequence) == 56);
};

/// The memory of one ring.
#[derive(Debug)]
pub struct Region {
    #[cfg(not(loom))]
    memory: memmap2::MmapMut,
    #[cfg(loom)]
    memory: (RingHeader, Vec<Line>),
    kind: RegionKind,
    lines: u64,
}

impl Region {
    /// Fewest lines of a ring: the largest record must fit although a quarter of the ring may be unreturned credit.
    pub const MIN_LINES: u64 = if cfg!(loom) { 4 } else { 4 * MAX_LINES as u64 };

    fn check_lines(lines: u64) -> Result<(), RegionError> {
        if lines.is_power_of_two() && lines >= Self::MIN_LINES { Ok(()) } else { Err(RegionError::Lines(lines)) }
    }

    /// Number of lines, a power of two.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Which discipline the ring follows.
    pub const fn kind(&self) -> RegionKind {
        self.kind
    }
}

/// Gives a file its length with all its blocks: a mapping of a file that the disk has no room for ends in SIGBUS at the
/// first write, and not in an error here.
#[cfg(not(loom))]
pub(crate) fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    file.set_len(bytes)?;
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a plain call on a file that is open for writing.
        let error = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) };
        if error != 0 {
            return Err(std::io::Error::from_raw_os_error(error));
        }
    }
    Ok(())
}

#[cfg(not(loom))]
impl Region {
    /// A ring in anonymous memory, zeroed and already faulted in.
    ///
    /// # Errors
    /// A wrong number of lines, or no memory.
    pub fn anonymous(kind: RegionKind, lines: u64) -> Result<Self, RegionError> {
        Self::check_lines(lines)?;
        let memory = memmap2::MmapOptions::new()
            .len(Self::bytes(lines))
            .populate()
            .map_anon()
            .map_err(|source| RegionError::Io { path: "anonymous memory".into(), source })?;
        Ok(Self::initialise(memory, kind, lines))
    }

    /// A new ring in a file (put it under `/dev/shm`); replaces what was there.
    ///
    /// # Errors
    /// A wrong number of lines, or the file system's refusal.
    pub fn create(path: &Path, kind: RegionKind, lines: u64) -> Result<Self, RegionError> {
        Self::check_lines(lines)?;
        let io = |source| RegionError::Io { path: path.display().to_string(), source };
        // A new inode: a process that still maps the old file keeps the old ring and is not torn by our truncation.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = File::options().read(true).write(true).create_new(true).open(path).map_err(io)?;
        allocate(&file, Self::bytes(lines) as u64).map_err(io)?;
        // SAFETY: the mapping is shared on purpose; all access goes through atomics, so that a foreign writer can
        // change values but not cause undefined behaviour. Truncation by a foreigner would raise SIGBUS, which is
        // the same end as any other process with our rights could bring about.
        let memory = unsafe { memmap2::MmapOptions::new().populate().map_mut(&file).map_err(io)? };
        Ok(Self::initialise(memory, kind, lines))
    }

    /// A ring that another process created.
    ///
    /// # Errors
    /// The file system's refusal, or [`RegionError::Foreign`] when the file is no such ring.
    pub fn open(path: &Path, kind: RegionKind) -> Result<Self, RegionError> {
        let io = |source| RegionError::Io { path: path.display().to_string(), source };
        let foreign = |reason: String| RegionError::Foreign { path: path.display().to_string(), reason };
        let file = File::options().read(true).write(true).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < Self::bytes(Self::MIN_LINES) as u64 {
            return Err(foreign(format!("{length} bytes are too short for a ring")));
        }
        // SAFETY: as in `create`.
        let memory = unsafe { memmap2::MmapOptions::new().populate().map_mut(&file).map_err(io)? };
        let mut region = Self { memory, kind, lines: Self::MIN_LINES };
        let header = region.header();
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign("no ring, or its creator died before it was complete".into()));
        }
        let layout = header.layout.load(Ordering::Relaxed);
        if layout != Self::layout(kind) {
            return Err(foreign(format!("layout {layout:#x}, this program speaks {:#x}", Self::layout(kind))));
        }
        let lines = header.lines.load(Ordering::Relaxed);
        if Self::check_lines(lines).is_err() || (length as usize) < Self::bytes(lines) {
            return Err(foreign(format!("{lines} lines do not fit {length} bytes")));
        }
        region.lines = lines;
        Ok(region)
    }

    fn initialise(memory: memmap2::MmapMut, kind: RegionKind, lines: u64) -> Self {
        let region = Self { memory, kind, lines };
        let header = region.header();
        header.layout.store(Self::layout(kind), Ordering::Relaxed);
        header.lines.store(lines, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        region
    }

    const fn layout(kind: RegionKind) -> u64 {
        (LAYOUT_VERSION as u64) << 32 | kind as u64
    }

    const fn bytes(lines: u64) -> usize {
        size_of::<RingHeader>() + lines as usize * size_of::<Line>()
    }

    pub(crate) fn header(&self) -> &RingHeader {
        // SAFETY: the mapping is page-aligned, at least `bytes(MIN_LINES)` long, lives as long as `self`, and
        // `RingHeader` is atomics only, valid for any bytes.
        unsafe { &*self.memory.as_ptr().cast::<RingHeader>() }
    }

    /// Slot of line `n`.
    #[inline(always)]
    pub(crate) fn line(&self, n: u64) -> &Line {
        let slot = (n & (self.lines - 1)) as usize;
        // SAFETY: `slot < lines` and the mapping holds `bytes(lines)` bytes (checked on creation and opening);
        // lines follow the 512-byte header, so they are 64-byte aligned; `Line` is atomics only.
        unsafe { &*self.memory.as_ptr().add(size_of::<RingHeader>()).cast::<Line>().add(slot) }
    }
}

#[cfg(loom)]
impl Region {
    /// A ring of loom's atomics.
    ///
    /// # Errors
    /// A wrong number of lines.
    pub fn anonymous(kind: RegionKind, lines: u64) -> Result<Self, RegionError> {
        Self::check_lines(lines)?;
        let header = RingHeader {
            magic: AtomicU64::new(0),
            layout: AtomicU64::new(LAYOUT_VERSION.into()),
            lines: AtomicU64::new(lines),
            epoch: AtomicU64::new(0),
            tail: OwnLine::default(),
            head: OwnLine::default(),
            _reserved: OwnLine::default(),
        };
        let line = |_| Line { words: core::array::from_fn(|_| AtomicU64::new(0)), sequence: AtomicU64::new(0) };
        Ok(Self { memory: (header, (0..lines).map(line).collect()), kind, lines })
    }

    pub(crate) fn header(&self) -> &RingHeader {
        &self.memory.0
    }

    pub(crate) fn line(&self, n: u64) -> &Line {
        &self.memory.1[(n & (self.lines - 1)) as usize]
    }
}
