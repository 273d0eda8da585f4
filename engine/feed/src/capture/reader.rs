//! Reads one capture file.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::block::Block;
use super::header::{self, CaptureHeader};
use super::layout::{
    BLOCK, BLOCK_HEAD, BlockHead, BlockPlace, CaptureError, FOOTER, HEADER_MAX, INDEX, MAGIC, index_place, read_index,
};

/// Reads one capture file, block by block.
pub struct CaptureFile {
    file: BufReader<File>,
    path: PathBuf,
    header: CaptureHeader,
    at: u64,
    block: usize,
    /// Where the index begins, if the file was closed.
    end: Option<u64>,
    index: Option<Vec<BlockPlace>>,
    size: u64,
    decompressor: Decompressor<'static>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, at, block, .. } = self;
        f.debug_struct("CaptureFile").field("path", path).field("at", at).field("block", block).finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Opens a capture.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let io = |source| CaptureError::io(path, source);
        let format = |reason: String| CaptureError::format(path, reason);
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(io)?);
        let size = file.get_ref().metadata().map_err(io)?.len();
        let mut magic = [0; 12];
        file.read_exact(&mut magic).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => format(format!("{size} bytes are shorter than a capture's header")),
            _ => io(error),
        })?;
        if magic[..8] != *MAGIC {
            let other = magic[..7] == MAGIC[..7];
            let version = format!("a capture of version {:?}; this program reads version 1", char::from(magic[7]));
            let foreign = "no capture of tidegate's own (expected it to begin with TIDECAP1)".to_owned();
            return Err(format(if other { version } else { foreign }));
        }
        let length = u32::from_le_bytes([magic[8], magic[9], magic[10], magic[11]]) as usize;
        if length > HEADER_MAX || length as u64 + 20 > size {
            return Err(format("its header is cut off".into()));
        }
        let (mut text, mut sum) = (vec![0; length], [0; 8]);
        file.read_exact(&mut text).map_err(io)?;
        file.read_exact(&mut sum).map_err(io)?;
        let header = header::read(&text, sum).map_err(format)?;
        let first = 20 + length as u64;
        let index = find_index(&mut file, first, size).map_err(io)?;
        file.seek(SeekFrom::Start(first)).map_err(io)?;
        let (end, index) = index.unzip();
        let decompressor = Decompressor::new().map_err(io)?;
        let (path, packed) = (path.to_owned(), Vec::new());
        Ok(Self { file, path, header, at: first, block: 0, end, index, size, decompressor, packed })
    }

    /// What it says of itself.
    pub const fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// Whether it was closed: it has an index, and the index holds.
    pub const fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    /// Bytes of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Where the next block begins, bytes.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Where the blocks end, bytes.
    fn blocks_end(&self) -> u64 {
        self.end.unwrap_or(self.size)
    }

    fn damaged(&self, reason: &str) -> CaptureError {
        let (path, block, at) = (self.path.display().to_string(), self.block, self.at);
        CaptureError::Damaged { path, block, at, reason: reason.into() }
    }

    /// The index of a closed file; `None` of one that was not closed.
    pub fn index(&self) -> Option<&[BlockPlace]> {
        self.index.as_deref()
    }

    /// Goes to a block of the index.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn seek(&mut self, number: usize, place: &BlockPlace) -> Result<(), CaptureError> {
        self.go_to(place.at)?;
        self.block = number;
        Ok(())
    }

    fn go_to(&mut self, at: u64) -> Result<(), CaptureError> {
        self.file.seek(SeekFrom::Start(at)).map_err(|source| CaptureError::io(&self.path, source))?;
        self.at = at;
        Ok(())
    }

    /// Reads the next block; false at the end.
    ///
    /// # Errors
    /// [`CaptureError::Damaged`]: everything before it can be used. It comes again at each further call, until
    /// [`Self::recover`] has gone on to the next whole block.
    pub fn next(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        if self.at >= self.blocks_end() {
            return Ok(false);
        }
        let (at, read) = (self.at, self.read(block));
        if let Err(error) = read {
            block.clear();
            let error = match error {
                Unreadable::Io(source) => CaptureError::io(&self.path, source),
                Unreadable::Damaged(reason) => self.damaged(&reason),
            };
            self.go_to(at)?;
            return Err(error);
        }
        self.block += 1;
        Ok(true)
    }

    /// Reads what begins here.
    fn read(&mut self, block: &mut Block) -> Result<(), Unreadable> {
        let mut bytes = [0; BLOCK_HEAD];
        let left = self.blocks_end() - self.at;
        let shown = left.min(BLOCK_HEAD as u64) as usize;
        self.file.read_exact(&mut bytes[..shown])?;
        if bytes.starts_with(INDEX) {
            return Err("its index is cut off or damaged".into());
        }
        if shown < BLOCK_HEAD && BLOCK.starts_with(&bytes[..shown.min(4)]) {
            return Err("cut off in its head".into());
        }
        let head = BlockHead::read(&bytes).ok_or("no block begins here")?;
        let packed = head.sizes.0 as usize;
        if (BLOCK_HEAD + packed) as u64 > left {
            return Err("cut off, or its length is damaged".into());
        }
        self.packed.resize(packed, 0);
        self.file.read_exact(&mut self.packed)?;
        if !head.holds(&bytes, &self.packed) {
            return Err("its checksum does not hold".into());
        }
        let raw = head.sizes.1 as usize;
        block.clear();
        block.bytes.reserve(raw);
        self.decompressor
            .decompress_to_buffer(&self.packed, &mut block.bytes)
            .map_err(|error| Unreadable::Damaged(error.to_string()))?;
        if block.bytes.len() != raw {
            return Err("unpacked to another size".into());
        }
        (block.entries, block.span_ns) = (head.entries, head.span_ns);
        self.at += (BLOCK_HEAD + packed) as u64;
        Ok(())
    }

    /// After damage: goes on to the next whole block and gives how many bytes lie between. False and the bytes to the
    /// end where there is none.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn recover(&mut self) -> Result<(bool, u64), CaptureError> {
        let (damaged, end) = (self.at, self.blocks_end());
        let mut candidate = damaged + 1;
        let mut block = Block::default();
        while let Some(found) = self.find_magic(candidate)? {
            self.go_to(found)?;
            if self.read(&mut block).is_ok() {
                self.go_to(found)?;
                self.block += 1;
                return Ok((true, found - damaged));
            }
            candidate = found + 1;
        }
        self.go_to(end)?;
        Ok((false, end - damaged))
    }

    /// The first byte from `from` on at which a block may begin.
    fn find_magic(&mut self, from: u64) -> Result<Option<u64>, CaptureError> {
        let end = self.blocks_end();
        let mut chunk = vec![0; 1 << 16];
        let mut at = from;
        while at + (BLOCK_HEAD as u64) <= end {
            self.go_to(at)?;
            let length = (end - at).min(chunk.len() as u64) as usize;
            self.file.read_exact(&mut chunk[..length]).map_err(|source| CaptureError::io(&self.path, source))?;
            if let Some(found) = memchr::memmem::find(&chunk[..length], BLOCK) {
                return Ok(Some(at + found as u64));
            }
            // Three bytes back: a magic may lie across the chunks' border.
            at += (length - (BLOCK.len() - 1)) as u64;
        }
        Ok(None)
    }
}

/// Why a block was not read.
enum Unreadable {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        // The file has become shorter since it was opened.
        if error.kind() == ErrorKind::UnexpectedEof { "cut off".into() } else { Self::Io(error) }
    }
}

impl From<&str> for Unreadable {
    fn from(reason: &str) -> Self {
        Self::Damaged(reason.to_owned())
    }
}

/// The index of a file that was closed. One that does not hold is none: its blocks are walked, and what stands where
/// they end is told as damage.
fn find_index(file: &mut BufReader<File>, first: u64, size: u64) -> io::Result<Option<(u64, Vec<BlockPlace>)>> {
    if size < first + FOOTER as u64 {
        return Ok(None);
    }
    let mut footer = [0; FOOTER];
    file.seek(SeekFrom::End(-(FOOTER as i64)))?;
    file.read_exact(&mut footer)?;
    let Some((at, length)) = index_place(&footer, first, size) else { return Ok(None) };
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(read_index(&bytes, at).map(|places| (at, places)))
}
