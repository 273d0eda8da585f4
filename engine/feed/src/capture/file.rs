//! Captures on disk.
//!
//! ```text
//! TIDECAP1 | header: length, JSON, checksum
//! BLK1 | sizes, entries, first and last time, checksum | zstd data        each block stands for itself
//! ...
//! IDX1 | one line a block, checksum | offset of the index | TIDEEND1      only of a file that was closed
//! ```
//!
//! Numbers are little endian, times ns since the Unix epoch, checksums XXH3-64. A file that was not closed (a crash,
//! a full disk) has no index: its blocks are found by walking from one to the next, up to the first that is not whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Registry, Scale, Venue};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::tap::Block;

/// What a capture begins with.
pub const MAGIC: &[u8; 8] = b"TIDECAP1";
const END: &[u8; 8] = b"TIDEEND1";
const BLOCK: &[u8; 4] = b"BLK1";
const INDEX: &[u8; 4] = b"IDX1";
/// Bytes of a block's head: magic, two sizes, entries, two times, checksum.
const BLOCK_HEAD: usize = 40;
const INDEX_LINE: usize = 32;
/// Larger ones are no block of ours.
const BLOCK_MAX: usize = 64 << 20;
const HEADER_MAX: usize = 64 << 20;
/// zstd's fast level: about 400 MB/s a core and a quarter of the size.
const LEVEL: i32 = 1;

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

/// An instrument as a capture's header holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    venue: Venue,
    symbol: String,
    price_decimals: u8,
    qty_decimals: u8,
    tick: i64,
    lot: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote_per_contract: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_per_contract: Option<f64>,
}

impl Listed {
    fn of(instrument: &Instrument) -> Self {
        let (quote_per_contract, base_per_contract) = match instrument.contract {
            Contract::Linear => (None, None),
            Contract::Inverse { quote_per_contract } => (Some(quote_per_contract), None),
            Contract::Sized { base_per_contract } => (None, Some(base_per_contract)),
        };
        Self {
            venue: instrument.venue,
            symbol: instrument.symbol.clone(),
            price_decimals: instrument.price_scale.decimals(),
            qty_decimals: instrument.qty_scale.decimals(),
            tick: instrument.tick.raw(),
            lot: instrument.lot.raw(),
            quote_per_contract,
            base_per_contract,
        }
    }

    fn instrument(&self) -> Option<Instrument> {
        let contract = match (self.quote_per_contract, self.base_per_contract) {
            (Some(quote_per_contract), _) => Contract::Inverse { quote_per_contract },
            (None, Some(base_per_contract)) => Contract::Sized { base_per_contract },
            (None, None) => Contract::Linear,
        };
        Some(Instrument {
            venue: self.venue,
            symbol: self.symbol.clone(),
            price_scale: Scale::new(self.price_decimals)?,
            qty_scale: Scale::new(self.qty_decimals)?,
            tick: Price::from_raw(self.tick),
            lot: Qty::from_raw(self.lot),
            contract,
        })
    }
}

/// What a capture says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HeaderText {
    /// When it was begun, ns since the Unix epoch.
    begun_ns: i64,
    /// Which file of its series, from 1.
    part: u32,
    /// What wrote it.
    writer: String,
    /// The instruments in the order of their numbers.
    instruments: Vec<Listed>,
}

/// A capture's header.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureHeader {
    /// When it was begun, ns since the Unix epoch.
    pub begun_ns: i64,
    /// Which file of its series, from 1.
    pub part: u32,
    /// What wrote it.
    pub writer: String,
    /// The instruments in the order of the numbers that entries name.
    pub instruments: Vec<Instrument>,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its first byte in the file.
    pub at: u64,
    /// Receive times of its first and last entry, ns since the Unix epoch.
    pub span_ns: (i64, i64),
    /// Its entries.
    pub entries: u32,
    /// Bytes in the file and unpacked.
    pub sizes: (u32, u32),
}

/// Writes one capture file.
#[derive(Debug)]
pub struct CaptureWriter {
    file: File,
    path: PathBuf,
    at: u64,
    places: Vec<BlockPlace>,
    packed: Vec<u8>,
}

impl CaptureWriter {
    /// Creates a file; one that exists is not touched.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn create(path: &Path, registry: &Registry, part: u32, begun_ns: i64) -> Result<Self, CaptureError> {
        let wrong = |source| CaptureError::Io { path: path.display().to_string(), source };
        let mut file = File::create_new(path).map_err(wrong)?;
        let header = HeaderText {
            begun_ns,
            part,
            writer: concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned(),
            instruments: registry.iter().map(|(_, instrument)| Listed::of(instrument)).collect(),
        };
        let text = serde_json::to_vec(&header).map_err(|error| wrong(io::Error::other(error)))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(&text);
        bytes.extend(xxh3_64(&text).to_le_bytes());
        file.write_all(&bytes).map_err(wrong)?;
        let (path, at) = (path.to_owned(), bytes.len() as u64);
        Ok(Self { file, path, at, places: Vec::new(), packed: Vec::new() })
    }

    fn wrong(&self, source: io::Error) -> CaptureError {
        CaptureError::Io { path: self.path.display().to_string(), source }
    }

    /// Appends a block.
    ///
    /// # Errors
    /// [`CaptureError::Io`]; what was written before can still be read.
    pub fn write(&mut self, block: &Block) -> Result<(), CaptureError> {
        self.packed.clear();
        self.packed.resize(BLOCK_HEAD, 0);
        let mut packed = std::mem::take(&mut self.packed);
        let data = zstd::bulk::compress(&block.bytes, LEVEL).map_err(|error| self.wrong(error))?;
        packed.extend_from_slice(&data);
        packed[..4].copy_from_slice(BLOCK);
        packed[4..8].copy_from_slice(&(data.len() as u32).to_le_bytes());
        packed[8..12].copy_from_slice(&(block.bytes.len() as u32).to_le_bytes());
        packed[12..16].copy_from_slice(&block.entries.to_le_bytes());
        packed[16..24].copy_from_slice(&block.span_ns.0.to_le_bytes());
        packed[24..32].copy_from_slice(&block.span_ns.1.to_le_bytes());
        let sum = checksum(&packed[..32], &data);
        packed[32..40].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all(&packed);
        let (at, sizes) = (self.at, (packed.len() as u32, block.bytes.len() as u32));
        self.packed = packed;
        written.map_err(|error| self.wrong(error))?;
        self.places.push(BlockPlace { at, span_ns: block.span_ns, entries: block.entries, sizes });
        self.at += u64::from(sizes.0);
        Ok(())
    }

    /// Bytes so far.
    pub const fn size(&self) -> u64 {
        self.at
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn sync(&self) -> Result<(), CaptureError> {
        self.file.sync_data().map_err(|error| self.wrong(error))
    }

    /// Writes the index and closes the file.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn close(mut self) -> Result<PathBuf, CaptureError> {
        let mut bytes = INDEX.to_vec();
        bytes.extend((self.places.len() as u32).to_le_bytes());
        for place in &self.places {
            bytes.extend(place.at.to_le_bytes());
            bytes.extend(place.span_ns.0.to_le_bytes());
            bytes.extend(place.span_ns.1.to_le_bytes());
            bytes.extend(place.entries.to_le_bytes());
            bytes.extend(place.sizes.1.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(END);
        self.file.write_all(&bytes).map_err(|error| self.wrong(error))?;
        self.sync()?;
        Ok(self.path)
    }
}

fn checksum(head: &[u8], data: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(head);
    sum.update(data);
    sum.digest()
}

/// Reads one capture file, block by block.
#[derive(Debug)]
pub struct CaptureFile {
    file: BufReader<File>,
    path: PathBuf,
    header: CaptureHeader,
    first: u64,
    at: u64,
    block: usize,
    /// Where the index begins, if the file was closed.
    end: Option<u64>,
    size: u64,
}

impl CaptureFile {
    /// Opens a capture.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let io = |source| CaptureError::Io { path: path.display().to_string(), source };
        let format = |reason: &str| CaptureError::Format { path: path.display().to_string(), reason: reason.into() };
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
        let size = file.get_ref().metadata().map_err(io)?.len();
        let mut magic = [0; 12];
        file.read_exact(&mut magic).map_err(|_| format("shorter than a capture's header"))?;
        if magic[..8] != *MAGIC {
            return Err(format("no capture of tidegate's own (expected it to begin with TIDECAP1)"));
        }
        let length = u32::from_le_bytes([magic[8], magic[9], magic[10], magic[11]]) as usize;
        if length > HEADER_MAX || length as u64 + 20 > size {
            return Err(format("its header is cut off"));
        }
        let (mut text, mut sum) = (vec![0; length], [0; 8]);
        file.read_exact(&mut text).map_err(io)?;
        file.read_exact(&mut sum).map_err(io)?;
        if xxh3_64(&text) != u64::from_le_bytes(sum) {
            return Err(format("its header is damaged (wrong checksum)"));
        }
        let header: HeaderText =
            serde_json::from_slice(&text).map_err(|error| format(&format!("its header cannot be read: {error}")))?;
        let instruments: Option<Vec<_>> = header.instruments.iter().map(Listed::instrument).collect();
        let instruments =
            instruments.ok_or_else(|| format("an instrument has more decimals than this version knows"))?;
        let HeaderText { begun_ns, part, writer, .. } = header;
        let header = CaptureHeader { begun_ns, part, writer, instruments };
        let first = 20 + length as u64;
        let mut capture = Self { file, path: path.to_owned(), header, first, at: first, block: 0, end: None, size };
        capture.end = capture.find_end().map_err(io)?;
        capture.file.seek(SeekFrom::Start(first)).map_err(io)?;
        Ok(capture)
    }

    fn find_end(&mut self) -> io::Result<Option<u64>> {
        if self.size < self.first + 32 {
            return Ok(None);
        }
        self.file.seek(SeekFrom::End(-16))?;
        let mut tail = [0; 16];
        self.file.read_exact(&mut tail)?;
        let [offset, end] = [&tail[..8], &tail[8..]];
        let offset = u64::from_le_bytes(offset.try_into().unwrap_or_default());
        Ok((end == END && (self.first..=self.size - 16).contains(&offset)).then_some(offset))
    }

    /// What it says of itself.
    pub const fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// Whether it was closed: it has an index.
    pub const fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    /// Bytes of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn damaged(&self, reason: &str) -> CaptureError {
        let (path, block, at) = (self.path.display().to_string(), self.block, self.at);
        CaptureError::Damaged { path, block, at, reason: reason.into() }
    }

    /// The index of a closed file; `None` of one that was not closed.
    ///
    /// # Errors
    /// [`CaptureError::Damaged`] when it does not hold.
    pub fn index(&mut self) -> Result<Option<Vec<BlockPlace>>, CaptureError> {
        let Some(end) = self.end else { return Ok(None) };
        let io = |source| CaptureError::Io { path: self.path.display().to_string(), source };
        self.file.seek(SeekFrom::Start(end)).map_err(io)?;
        let mut bytes = vec![0; (self.size - 16 - end) as usize];
        self.file.read_exact(&mut bytes).map_err(io)?;
        self.file.seek(SeekFrom::Start(self.at)).map_err(io)?;
        let wrong = || self.damaged("the index is damaged; the blocks may be read without it");
        let (bytes, sum) = bytes.split_last_chunk::<8>().ok_or_else(wrong)?;
        if xxh3_64(bytes) != u64::from_le_bytes(*sum) || bytes.len() < 8 || bytes[..4] != *INDEX {
            return Err(wrong());
        }
        let lines = bytes[8..].chunks_exact(INDEX_LINE);
        let mut places: Vec<BlockPlace> = lines.map(place).collect();
        let ends: Vec<u64> = places.iter().skip(1).map(|place| place.at).chain([end]).collect();
        for (place, end) in places.iter_mut().zip(ends) {
            place.sizes.0 = u32::try_from(end.saturating_sub(place.at)).unwrap_or(u32::MAX);
        }
        Ok(Some(places))
    }

    /// Goes to a block of the index.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn seek(&mut self, number: usize, place: &BlockPlace) -> Result<(), CaptureError> {
        let io = |source| CaptureError::Io { path: self.path.display().to_string(), source };
        self.file.seek(SeekFrom::Start(place.at)).map_err(io)?;
        (self.at, self.block) = (place.at, number);
        Ok(())
    }

    /// Reads the next block; false at the end.
    ///
    /// # Errors
    /// [`CaptureError::Damaged`]: nothing behind it can be trusted, everything before it can.
    pub fn next(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        let end = self.end.unwrap_or(self.size);
        if self.at >= end {
            return Ok(false);
        }
        let mut head = [0; BLOCK_HEAD];
        self.file.read_exact(&mut head).map_err(|_| self.damaged("cut off in its head"))?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| i64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (packed, raw) = (word(4) as usize, word(8) as usize);
        if head[..4] != *BLOCK || packed > BLOCK_MAX || raw > BLOCK_MAX {
            return Err(self.damaged("no block begins here"));
        }
        if self.at + (BLOCK_HEAD + packed) as u64 > end {
            return Err(self.damaged("cut off"));
        }
        let mut data = vec![0; packed];
        self.file.read_exact(&mut data).map_err(|_| self.damaged("cut off"))?;
        if checksum(&head[..32], &data) != long(32) as u64 {
            return Err(self.damaged("its checksum does not hold"));
        }
        block.bytes = zstd::bulk::decompress(&data, raw).map_err(|error| self.damaged(&error.to_string()))?;
        if block.bytes.len() != raw {
            return Err(self.damaged("unpacked to another size"));
        }
        (block.entries, block.span_ns) = (word(12), (long(16), long(24)));
        self.at += (BLOCK_HEAD + packed) as u64;
        self.block += 1;
        Ok(true)
    }
}

fn place(line: &[u8]) -> BlockPlace {
    let long = |at: usize| u64::from_le_bytes(line[at..at + 8].try_into().unwrap_or_default());
    let word = |at: usize| u32::from_le_bytes(line[at..at + 4].try_into().unwrap_or_default());
    BlockPlace { at: long(0), span_ns: (long(8) as i64, long(16) as i64), entries: word(24), sizes: (0, word(28)) }
}
