//! Captures of our own as a source of a replay.

use std::path::Path;

use super::ReplayError;
use super::capture::{Captured, Own};
use crate::capture::{Block, CaptureError, CaptureFile, CaptureHeader, Entries, EntryKind};

/// Reads the entries of a capture in the order in which the live feed had them.
pub(super) struct Native {
    path: String,
    file: CaptureFile,
    block: Block,
    /// Bytes of the block that have been handed out.
    at: usize,
    entry: u64,
    order_ns: i64,
}

impl Native {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = CaptureFile::open(path).map_err(replay_error)?;
        // What a later file of a series holds came after what an earlier one holds, whatever its stamps.
        let order_ns = if file.header().part > 1 { file.header().begun_ns } else { 0 };
        let path = path.display().to_string();
        Ok(Self { path, file, block: Block::default(), at: 0, entry: 0, order_ns })
    }

    pub(super) const fn header(&self) -> &CaptureHeader {
        self.file.header()
    }

    pub(super) fn next(&mut self, captured: &mut Captured) -> Result<bool, ReplayError> {
        loop {
            let mut entries = Entries::new(&self.block.bytes[self.at..]);
            if let Some(entry) = entries.next() {
                self.at = self.block.bytes.len() - entries.unread();
                self.entry += 1;
                self.order_ns = self.order_ns.max(entry.recv_ns);
                if entry.kind == EntryKind::Lost {
                    continue;
                }
                (captured.recv_ns, captured.order_ns, captured.line) = (entry.recv_ns, self.order_ns, self.entry);
                captured.venue = Some(entry.venue);
                captured.own = Some(Own { kind: entry.kind, source: entry.source, hint: entry.hint.0 });
                captured.symbol.clear();
                captured.bytes.clear();
                captured.bytes.extend_from_slice(entry.bytes);
                return Ok(true);
            }
            if self.at < self.block.bytes.len() {
                let reason = "a block holds what is no entry".to_owned();
                return Err(damaged(&self.path, self.entry, reason));
            }
            self.at = 0;
            match self.file.next(&mut self.block) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.block.bytes.clear();
                    return Err(damaged(&self.path, self.entry, error.to_string()));
                }
            }
        }
    }
}

fn damaged(path: &str, line: u64, reason: String) -> ReplayError {
    ReplayError::Damaged { path: path.to_owned(), line, source: std::io::Error::other(reason) }
}

fn replay_error(error: CaptureError) -> ReplayError {
    match error {
        CaptureError::Io { path, source } => ReplayError::Open { path, source },
        CaptureError::Format { path, reason } => ReplayError::Format { path, reason },
        CaptureError::Damaged { ref path, .. } => damaged(path, 0, error.to_string()),
    }
}
