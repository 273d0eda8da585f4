//! Writing a log, an interval a line.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::HlogError;

/// The maximum column is in ms, as in logs of the reference implementation; nobody computes with it.
const NS_PER_MAX_UNIT: f64 = 1e6;

/// An interval log open for writing. Meant for a cold thread: encoding one histogram takes about 200 us.
pub struct LogWriter {
    path: PathBuf,
    file: File,
    serializer: V2DeflateSerializer,
    encoded: Vec<u8>,
    line: String,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Creates the log, replacing one that is there, and writes its header. Intervals count from `start_time`.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: impl Into<PathBuf>, start_time: SystemTime) -> Result<Self, HlogError> {
        let path = path.into();
        let mut file = File::create(&path).map_err(|error| HlogError::io(&path, error))?;
        // A clock before 1970 is a clock that was never set: intervals then count from zero.
        let start_s = start_time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let header = format!(
            "#[Histogram log format version 1.3]\n\
             #[Values in ns, Interval_Max in ms]\n\
             #[StartTime: {start_s:.3} (seconds since epoch)]\n\
             #[BaseTime: {start_s:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        file.write_all(header.as_bytes()).map_err(|error| HlogError::io(&path, error))?;
        Ok(Self { path, file, serializer: V2DeflateSerializer::new(), encoded: Vec::new(), line: String::new() })
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one interval of values in ns: it began `start` after the log's start time and lasted `duration`. An
    /// empty tag writes none. The line goes to the file in one write, unbuffered: a reader sees it at once.
    ///
    /// # Errors
    /// When the tag does not fit the format, or the file cannot be written.
    pub fn write_interval(
        &mut self,
        tag: &str,
        start: Duration,
        duration: Duration,
        histogram: &Histogram<u64>,
    ) -> Result<(), HlogError> {
        if tag.contains([',', ' ', '\r', '\n']) {
            return Err(HlogError::Tag { tag: tag.to_owned() });
        }
        self.encoded.clear();
        self.serializer.serialize(histogram, &mut self.encoded).map_err(|error| HlogError::Encode {
            path: self.path.clone(),
            tag: tag.to_owned(),
            problem: error.to_string(),
        })?;
        self.line.clear();
        if !tag.is_empty() {
            self.line.extend(["Tag=", tag, ","]);
        }
        let max_ms = histogram.max() as f64 / NS_PER_MAX_UNIT;
        let written = write!(self.line, "{:.3},{:.3},{max_ms:.6},", start.as_secs_f64(), duration.as_secs_f64());
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
        STANDARD.encode_string(&self.encoded, &mut self.line);
        self.line.push('\n');
        self.file.write_all(self.line.as_bytes()).map_err(|error| HlogError::io(&self.path, error))
    }

    /// Asks the system to put what was written on the disk; for the end of a run.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&mut self) -> Result<(), HlogError> {
        self.file.sync_data().map_err(|error| HlogError::io(&self.path, error))
    }
}
