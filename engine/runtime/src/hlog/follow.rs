//! Reading what was appended to a log since the last look.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::reader::Parser;
use super::{HlogError, Interval};

/// Follows a log that a running process writes. Cheap to poll: it reads only what is new.
pub struct Follower {
    path: PathBuf,
    /// Bytes of whole lines taken so far.
    offset: u64,
    /// Set when the file became shorter, until the caller has been told.
    restarted: bool,
    parser: Parser,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Follower {
    /// Follows the log at `path` from its beginning. The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), offset: 0, restarted: false, parser: Parser::default() }
    }

    /// The log followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines skipped so far because they are neither header, comment, legend nor interval.
    pub fn unknown_lines(&self) -> usize {
        self.parser.log.unknown_lines
    }

    /// Returns the intervals whose lines were completed since the last call. A line still being written is left for
    /// the next; a file that is not there yet has none. A file that became shorter is a new log: it is read from its
    /// beginning, and the flag is true.
    ///
    /// # Errors
    /// When the file cannot be read, or a whole line starts like an interval and is none; that line is skipped, and
    /// the next call goes on behind it.
    pub fn poll(&mut self) -> Result<(Vec<Interval>, bool), HlogError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
            Err(error) => return Err(HlogError::io(&self.path, error)),
        };
        let io = |error| HlogError::io(&self.path, error);
        if file.metadata().map_err(io)?.len() < self.offset {
            self.restarted = true;
            self.offset = 0;
            self.parser = Parser::default();
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(io)?;
        let mut new = Vec::new();
        file.read_to_end(&mut new).map_err(io)?;
        // After an error the intervals before it stay in the parser, for the next call.
        self.take(&new)?;
        Ok((std::mem::take(&mut self.parser.log.intervals), std::mem::take(&mut self.restarted)))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), HlogError> {
        for line in bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            self.offset += line.len() as u64;
            if let Err(problem) = self.parser.line(line) {
                return Err(HlogError::Line { path: self.path.clone(), line: self.parser.lines, problem });
            }
        }
        Ok(())
    }
}
