//! The bytes of a capture file, and why they may not be one.
//!
//! ```text
//! TIDECAP1 | header: length, JSON, checksum
//! BLK1 | sizes, entries, earliest and latest time, checksum | zstd data   each block stands for itself
//! ...
//! IDX1 | one line a block, checksum | offset of the index | TIDEEND1      only of a file that was closed
//! ```
//!
//! Numbers are little endian, times ns since the Unix epoch, checksums XXH3-64. A file that was not closed (a crash,
//! a full disk) has no index: its blocks are found by walking from one to the next, up to the first that is not whole.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// What a capture begins with.
pub const MAGIC: &[u8; 8] = b"TIDECAP1";
pub(super) const END: &[u8; 8] = b"TIDEEND1";
pub(super) const BLOCK: &[u8; 4] = b"BLK1";
pub(super) const INDEX: &[u8; 4] = b"IDX1";
/// Bytes of a block's head: magic, two sizes, entries, two times, checksum.
pub(super) const BLOCK_HEAD: usize = 40;
const INDEX_LINE: usize = 32;
/// Bytes of an index besides its lines: magic, count, checksum.
const INDEX_FRAME: usize = 16;
/// Bytes at the end of a closed file: offset of the index, magic.
pub(super) const FOOTER: usize = 16;
/// Longest frame that is captured, bytes: the longest message that a connection may be configured to accept.
pub const FRAME_MAX: usize = 64 << 20;
/// Unpacked blocks are at most this: a longest frame and what must be said with it. Larger ones are no block of ours.
pub(super) const BLOCK_MAX: usize = FRAME_MAX + 4096;
pub(super) const HEADER_MAX: usize = 64 << 20;
/// Two million blocks: about two terabytes of frames.
const INDEX_MAX: u64 = 64 << 20;

/// Why a capture cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not a capture, or of another version.
    #[error("{path}: {reason}")]
    Format {
        /// Which file.
        path: String,
        /// What was seen and what was expected.
        reason: String,
    },
    /// A block that is not whole or whose checksum does not hold. What lies before it can be used.
    #[error("{path}: block {block} at byte {at}: {reason}")]
    Damaged {
        /// Which file.
        path: String,
        /// Which block, from 0.
        block: usize,
        /// Where it begins.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

impl CaptureError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    pub(super) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.display().to_string(), reason: reason.into() }
    }
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its first byte in the file.
    pub at: u64,
    /// Earliest and latest receive time of its entries, ns since the Unix epoch.
    pub span_ns: (i64, i64),
    /// Its entries.
    pub entries: u32,
    /// Bytes in the file and unpacked.
    pub sizes: (u32, u32),
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// What stands before a block's data.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    /// Bytes of the data, packed and unpacked.
    pub(super) sizes: (u32, u32),
    pub(super) entries: u32,
    pub(super) span_ns: (i64, i64),
    sum: u64,
}

impl BlockHead {
    /// A head's bytes over the data that follows it.
    pub(super) fn write(sizes: (u32, u32), entries: u32, span_ns: (i64, i64), data: &[u8]) -> [u8; BLOCK_HEAD] {
        let mut head = [0; BLOCK_HEAD];
        head[..4].copy_from_slice(BLOCK);
        head[4..8].copy_from_slice(&sizes.0.to_le_bytes());
        head[8..12].copy_from_slice(&sizes.1.to_le_bytes());
        head[12..16].copy_from_slice(&entries.to_le_bytes());
        head[16..24].copy_from_slice(&span_ns.0.to_le_bytes());
        head[24..32].copy_from_slice(&span_ns.1.to_le_bytes());
        let sum = checksum(&head[..32], data);
        head[32..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// Reads a head; `None` where no block of ours can begin. Sizes are bounded.
    pub(super) fn read(head: &[u8; BLOCK_HEAD]) -> Option<Self> {
        let sizes = (word(head, 4), word(head, 8));
        let raw = sizes.1 as usize;
        if head[..4] != *BLOCK || raw > BLOCK_MAX || sizes.0 as usize > zstd::zstd_safe::compress_bound(raw) {
            return None;
        }
        let span_ns = (long(head, 16) as i64, long(head, 24) as i64);
        Some(Self { sizes, entries: word(head, 12), span_ns, sum: long(head, 32) })
    }

    /// Whether head and data are as they were written.
    pub(super) fn holds(&self, head: &[u8; BLOCK_HEAD], data: &[u8]) -> bool {
        checksum(&head[..32], data) == self.sum
    }
}

fn checksum(head: &[u8], data: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(head);
    sum.update(data);
    sum.digest()
}

/// Everything that closes a file whose blocks end at byte `at`.
pub(super) fn write_index(places: &[BlockPlace], at: u64) -> Vec<u8> {
    let mut bytes = INDEX.to_vec();
    bytes.extend((places.len() as u32).to_le_bytes());
    for place in places {
        bytes.extend(place.at.to_le_bytes());
        bytes.extend(place.span_ns.0.to_le_bytes());
        bytes.extend(place.span_ns.1.to_le_bytes());
        bytes.extend(place.entries.to_le_bytes());
        bytes.extend(place.sizes.1.to_le_bytes());
    }
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend(END);
    bytes
}

/// Where the index of a closed file of `size` bytes would begin, out of its last bytes. Its length is bounded.
pub(super) fn index_place(footer: &[u8; FOOTER], first: u64, size: u64) -> Option<(u64, usize)> {
    let at = long(footer, 0);
    let length = size.checked_sub(FOOTER as u64)?.checked_sub(at)?;
    let fits = footer[8..] == *END && at >= first && (INDEX_FRAME as u64..=INDEX_MAX).contains(&length);
    Some((at, usize::try_from(length).ok()?)).filter(|_| fits)
}

/// Reads an index whose first byte lies at `end`; `None` when it does not hold.
pub(super) fn read_index(bytes: &[u8], end: u64) -> Option<Vec<BlockPlace>> {
    let (bytes, sum) = bytes.split_last_chunk::<8>()?;
    let lines = bytes.get(8..)?;
    let whole = lines.len() == (word(bytes, 4) as usize).checked_mul(INDEX_LINE)?;
    if !whole || bytes[..4] != *INDEX || xxh3_64(bytes) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut places: Vec<BlockPlace> = lines.chunks_exact(INDEX_LINE).map(place).collect();
    let ends: Vec<u64> = places.iter().skip(1).map(|place| place.at).chain([end]).collect();
    for (place, end) in places.iter_mut().zip(ends) {
        place.sizes.0 = u32::try_from(end.saturating_sub(place.at)).unwrap_or(u32::MAX);
    }
    Some(places)
}

fn place(line: &[u8]) -> BlockPlace {
    let span_ns = (long(line, 8) as i64, long(line, 16) as i64);
    BlockPlace { at: long(line, 0), span_ns, entries: word(line, 24), sizes: (0, word(line, 28)) }
}
