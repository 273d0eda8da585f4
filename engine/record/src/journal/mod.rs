//! A journal: batches of frames in files of their own size, each durable before it is acknowledged.
//!
//! A **batch** is a header of 64 bytes and a body of whole **frames** (`u16` length, big-endian, then so many bytes), and
//! begins on a page of its own, so that writing one never rewrites a page that holds another. Headers carry the number
//! of their first frame, checksums of body and header, and a chain over all headers before: a batch that is missing, out
//! of place or left over from another journal is known. Batches fill **segments** of fixed size, named after their first
//! frame.
//!
//! A batch that was being written when the power went is the last one, and no valid one follows it: such a tail is put
//! aside and the journal ends before it. Damage anywhere else is an error that names the place.
//!
//! A failed write or sync is final: after it nobody knows what the kernel still holds, so the journal refuses everything
//! from then on, and whoever goes on must open it anew and see what is there.

mod commit;
mod recover;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::xxh3_64;

pub use commit::{Committer, Settings};
pub use recover::Recovered;

/// Longest frame, bytes.
pub const FRAME_MAX: usize = u16::MAX as usize;
/// Batches begin at multiples of this, bytes.
const PAGE: u64 = 4096;
/// What a batch begins with.
const MAGIC: [u8; 4] = *b"TGJ1";
/// Bytes of a segment unless a batch needs more.
pub const SEGMENT: u64 = 64 << 20;
/// Largest body of a batch, bytes.
pub const BATCH_MAX: usize = 32 << 20;

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    /// CRC-32 of the header with this field zero.
    crc: u32,
    /// Which journal.
    id: u64,
    /// Number of the first frame.
    first: u64,
    /// Frames.
    count: u32,
    /// Bytes of the body.
    bytes: u32,
    /// XXH3 of the body.
    body: u64,
    /// XXH3 of the header before; 0 in the first batch of a journal.
    chain: u64,
    reserved: [u8; 16],
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 64);

impl Header {
    fn new(id: u64, first: u64, count: u32, chain: u64, body: &[u8]) -> Self {
        let mut header = Self {
            magic: MAGIC,
            crc: 0,
            id,
            first,
            count,
            bytes: body.len() as u32,
            body: xxh3_64(body),
            chain,
            reserved: [0; 16],
        };
        header.crc = header.checksum();
        header
    }

    fn checksum(&self) -> u32 {
        crc32fast::hash(bytemuck::bytes_of(&Self { crc: 0, ..*self }))
    }

    /// What the next header's chain is.
    fn link(&self) -> u64 {
        xxh3_64(bytemuck::bytes_of(self))
    }

    /// The header at the beginning of these bytes, if there is one of this journal.
    fn read(bytes: &[u8], id: u64) -> Option<Self> {
        let header: Self = bytemuck::pod_read_unaligned(bytes.get(..HEADER)?);
        let sane = header.magic == MAGIC && header.id == id && header.bytes as usize <= BATCH_MAX;
        (sane && header.crc == header.checksum()).then_some(header)
    }
}

/// A journal that cannot be used, or not any more.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("{path}: {doing}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::sync::Arc<io::Error>,
    },
    /// Something was changed or lost that was durable.
    #[error("{path}: damaged at byte {at}: {reason}", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// A frame or batch that is too long.
    #[error("{bytes} bytes are more than the {max} that fit")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source: source.into() }
    }

    /// Whether the disk is full, a quota is used up or the file system is read-only: what an operator can mend.
    pub fn is_no_space(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}

/// Appends a frame to a body.
///
/// # Errors
/// [`JournalError::TooLong`]; the body is as it was.
pub fn push_frame(body: &mut Vec<u8>, frame: &[u8]) -> Result<(), JournalError> {
    let length = u16::try_from(frame.len());
    let length = length.map_err(|_| JournalError::TooLong { bytes: frame.len(), max: FRAME_MAX })?;
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(frame);
    Ok(())
}

/// The frames of a body; ends early when what is left is no whole frame.
#[derive(Clone, Debug)]
pub struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    /// The frames of this body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// What is left: empty after the last frame of a whole body.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (frame, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.0 = rest;
        Some(frame)
    }
}

/// A journal that is open for writing.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    id: u64,
    segment_bytes: u64,
    segment: Option<Segment>,
    /// First frames of the segments that are there, the one that is written to last.
    segments: Vec<u64>,
    next: u64,
    chain: u64,
    failed: Option<JournalError>,
    page: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    /// Where the next batch goes.
    at: u64,
    /// Bytes that belong to the file.
    room: u64,
}

fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.journal"))
}

/// Makes what was done in a folder (files made, renamed or removed) durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|source| JournalError::io(folder, "syncing the folder", source))
}

impl Journal {
    /// Number of the next frame.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Writes a batch of whole frames and waits until it is durable.
    ///
    /// # Errors
    /// [`JournalError`]. After a failed write or sync every further call fails with the same error.
    pub fn append(&mut self, count: u32, body: &[u8]) -> Result<(), JournalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if body.len() > BATCH_MAX {
            return Err(JournalError::TooLong { bytes: body.len(), max: BATCH_MAX });
        }
        self.write(count, body).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn write(&mut self, count: u32, body: &[u8]) -> Result<(), JournalError> {
        let header = Header::new(self.id, self.next, count, self.chain, body);
        let bytes = ((HEADER + body.len()) as u64).next_multiple_of(PAGE);
        if self.segment.as_ref().is_none_or(|segment| segment.at + bytes > segment.room) {
            self.begin_segment(bytes)?;
        }
        let Some(segment) = &mut self.segment else { unreachable!("one was begun") };
        self.page.clear();
        self.page.extend_from_slice(bytemuck::bytes_of(&header));
        self.page.extend_from_slice(body);
        // Whole pages: what a page of a segment held before is never left behind a batch.
        self.page.resize(bytes as usize, 0);
        let done = segment.file.write_all_at(&self.page, segment.at);
        done.map_err(|source| JournalError::io(&segment.path, "writing a batch", source))?;
        let done = segment.file.sync_data();
        done.map_err(|source| JournalError::io(&segment.path, "syncing a batch", source))?;
        segment.at += bytes;
        (self.chain, self.next) = (header.link(), self.next + u64::from(count));
        Ok(())
    }

    fn begin_segment(&mut self, least: u64) -> Result<(), JournalError> {
        let path = segment_path(&self.folder, self.next);
        let room = self.segment_bytes.max(least);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|source| JournalError::io(&path, "making a segment", source))?;
        reserve(&file, room).map_err(|source| JournalError::io(&path, "reserving a segment's room", source))?;
        file.sync_all().map_err(|source| JournalError::io(&path, "syncing a new segment", source))?;
        sync_folder(&self.folder)?;
        if self.segments.last() != Some(&self.next) {
            self.segments.push(self.next);
        }
        self.segment = Some(Segment { path, file, at: 0, room });
        Ok(())
    }

    /// Removes segments all of whose frames lie below `frame`. The one that is written to stays.
    ///
    /// # Errors
    /// [`JournalError::Io`]; nothing is lost by it.
    pub fn retire(&mut self, frame: u64) -> Result<(), JournalError> {
        let mut removed = false;
        while self.segments.len() > 1 && self.segments[1] <= frame {
            let path = segment_path(&self.folder, self.segments[0]);
            std::fs::remove_file(&path).map_err(|source| JournalError::io(&path, "removing a segment", source))?;
            self.segments.remove(0);
            removed = true;
        }
        if removed { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Begins anew with this frame: what it held is kept elsewhere, durably.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn restart(&mut self, next: u64) -> Result<(), JournalError> {
        self.empty()?;
        (self.next, self.chain) = (next, 0);
        Ok(())
    }

    /// Removes everything: what it held is kept elsewhere, durably. The next batch begins a segment.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn empty(&mut self) -> Result<(), JournalError> {
        self.segment = None;
        for first in self.segments.drain(..) {
            let path = segment_path(&self.folder, first);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::io(&path, "removing a segment", source));
                }
                _ => {}
            }
        }
        sync_folder(&self.folder)
    }
}

/// Reserves room, so that writing changes no more than contents and a full disk shows before anything is written. File
/// systems that cannot reserve grow the file instead.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: a plain call on a descriptor that is open.
    let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) };
    match code {
        0 => Ok(()),
        libc::EOPNOTSUPP | libc::EINVAL | libc::ENODEV => file.set_len(bytes),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
