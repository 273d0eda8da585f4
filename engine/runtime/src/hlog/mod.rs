//! Latency logs in the standard HdrHistogram interval format (`.hlog`), written and read.
//!
//! A log is text: header lines starting with `#`, a legend, then a line an interval,
//!
//! ```text
//! #[Histogram log format version 1.3]
//! #[StartTime: 1700000000.000 (seconds since epoch)]
//! #[BaseTime: 1700000000.000 (seconds since epoch)]
//! "StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
//! Tag=parse,1.000,1.000,0.012345,HISTFAAAAC...
//! ```
//!
//! that is: tag, start in seconds since the base time, length in seconds, maximum in ms (for the eye only), and the
//! whole histogram, compressed (V2 deflate) and in base64. Nothing is lost: any percentile of any span of time can be
//! computed afterwards, by our tools or by any other that reads the format. Values are nanoseconds.
//!
//! - [`LogWriter`] appends a line an interval, in one write, so a reader may follow a log while it grows.
//! - [`read`] and [`parse`] read a log of any tool; [`Follower`] reads what was appended since the last look.
//! - [`merge`] adds intervals up per tag, [`Summary`] holds the figures people ask for, [`write_hgrm`] writes the
//!   percentile table that plotting tools take.

mod follow;
mod percentiles;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

pub use follow::Follower;
pub use percentiles::{Summary, Unit, merge, write_hgrm};
pub use reader::{Interval, Log, parse, read};
pub use writer::LogWriter;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// The file could not be opened, read or written.
    #[error("{path}: {source}")]
    Io {
        /// The log.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line that starts like an interval is none.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A tag that the format cannot hold.
    #[error("a histogram tag must not contain a comma, a space or a line break: `{tag}`")]
    Tag {
        /// The tag as given.
        tag: String,
    },
    /// A histogram could not be encoded.
    #[error("{path}: cannot encode the histogram tagged `{tag}`: {problem}")]
    Encode {
        /// The log.
        path: PathBuf,
        /// Its tag.
        tag: String,
        /// What the encoder said.
        problem: String,
    },
    /// Two histograms cannot be added.
    #[error("cannot merge the intervals tagged `{tag}`: {problem}")]
    Merge {
        /// Their tag.
        tag: String,
        /// What the histogram said.
        problem: String,
    },
}

impl HlogError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
