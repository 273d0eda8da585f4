//! Writes one capture file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tidegate_wire::Registry;
use zstd::bulk::Compressor;

use super::block::Block;
use super::header;
use super::layout::{BLOCK_HEAD, BLOCK_MAX, BlockHead, BlockPlace, CaptureError, write_index};

/// zstd's fast level: about 400 MB/s a core and a quarter of the size.
const LEVEL: i32 = 1;

/// Writes one capture file.
pub struct CaptureWriter {
    file: File,
    path: PathBuf,
    at: u64,
    places: Vec<BlockPlace>,
    /// Made once: its tables are larger than most blocks.
    compressor: Compressor<'static>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for CaptureWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureWriter").field("path", &self.path).field("at", &self.at).finish_non_exhaustive()
    }
}

impl CaptureWriter {
    /// Creates a file; one that exists is not touched. The file's name and header are on the disk when it returns.
    ///
    /// # Errors
    /// [`CaptureError::Io`]; a file that could not be begun in full is removed again.
    pub fn create(path: &Path, registry: &Registry, part: u32, begun_ns: i64) -> Result<Self, CaptureError> {
        let wrong = |source| CaptureError::io(path, source);
        let bytes = header::write(registry, part, begun_ns).map_err(|error| wrong(io::Error::other(error)))?;
        let compressor = Compressor::new(LEVEL).map_err(wrong)?;
        let mut file = File::create_new(path).map_err(wrong)?;
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path)) {
            // It holds nothing; what made it fail matters more than whether it can be removed.
            let _ = std::fs::remove_file(path);
            return Err(wrong(error));
        }
        let (path, at) = (path.to_owned(), bytes.len() as u64);
        Ok(Self { file, path, at, places: Vec::new(), compressor, packed: Vec::new() })
    }

    fn wrong(&self, source: io::Error) -> CaptureError {
        CaptureError::io(&self.path, source)
    }

    /// Appends a block.
    ///
    /// # Errors
    /// [`CaptureError::Io`]; the file ends then with the last whole block, and all of it can be read.
    pub fn write(&mut self, block: &Block) -> Result<(), CaptureError> {
        if block.bytes.len() > BLOCK_MAX {
            return Err(self.wrong(io::Error::other("a block is larger than a reader takes")));
        }
        self.packed.clear();
        self.packed.resize(BLOCK_HEAD + zstd::zstd_safe::compress_bound(block.bytes.len()), 0);
        let written = self.compressor.compress_to_buffer(&block.bytes, &mut self.packed[BLOCK_HEAD..]);
        let length = written.map_err(|error| self.wrong(error))?;
        self.packed.truncate(BLOCK_HEAD + length);
        let (head, data) = self.packed.split_at_mut(BLOCK_HEAD);
        let sizes = (length as u32, block.bytes.len() as u32);
        head.copy_from_slice(&BlockHead::write(sizes, block.entries, block.span_ns, data));
        if let Err(error) = self.file.write_all(&self.packed) {
            // Half a block would be told as damage; where even this fails a reader finds the whole ones before it.
            let _ = self.file.set_len(self.at);
            return Err(self.wrong(error));
        }
        let sizes = (self.packed.len() as u32, sizes.1);
        self.places.push(BlockPlace { at: self.at, span_ns: block.span_ns, entries: block.entries, sizes });
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
    /// [`CaptureError::Io`]; the file is then as one that was not closed.
    pub fn close(mut self) -> Result<PathBuf, CaptureError> {
        if let Err(error) = self.file.write_all(&write_index(&self.places, self.at)) {
            // As above.
            let _ = self.file.set_len(self.at);
            return Err(self.wrong(error));
        }
        self.sync()?;
        Ok(self.path)
    }
}

/// A new file is found after a crash only when its directory is on the disk too.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
