//! Recorded captures: read, merged by receive time, and handed to the hot loop in blocks.
//!
//! ```text
//!   file ─▶ capture reader ─┐
//!   file ─▶ capture reader ─┼─▶ merge by (receive time, source name, line) ─▶ blocks ─▶ hot loop
//!   file ─▶ capture reader ─┘            cold thread                      ◀─ returned ─┘
//! ```
//!
//! A [`Block`] is about a megabyte of frames with an index. The hot loop neither allocates nor frees: it gives blocks
//! back. How many blocks may wait is the read-ahead budget; at full speed the loop starts only when the budget is used
//! up or everything is read, so that its rate is its own and not that of decompression.

mod capture;
mod merge;
mod native;
mod rows;

pub(crate) use capture::LATEST_NS;
pub use capture::{CaptureReader, Captured, Format, Own};
pub use merge::{Block, BlockFrame, Reader, SourceReport, start};

use std::path::{Path, PathBuf};

use tidegate_wire::Venue;

/// A recorded file, and which market it is of where the user said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The file.
    pub path: PathBuf,
    /// The market; found out by looking when `None`.
    pub venue: Option<Venue>,
}

impl SourceSpec {
    /// `VENUE=FILE` or `FILE`.
    ///
    /// # Errors
    /// What is wrong with the venue's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            // A path may have a `=` of its own: only a venue's name in front of it counts, and a file wins.
            Some((venue, path)) if !Path::new(text).exists() => {
                let known = Venue::ALL.map(Venue::name).join(", ");
                let venue =
                    Venue::from_name(venue).ok_or(format!("unknown venue {venue:?}, expected one of {known}"))?;
                Ok(Self { path: path.into(), venue: Some(venue) })
            }
            _ => Ok(Self { path: text.into(), venue: None }),
        }
    }

    /// Name of the source in reports and for the order of equal stamps: the file's name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Open {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged behind the lines that could be read.
    #[error("{path}: damaged after line {line}: {source}")]
    Damaged {
        /// Which file.
        path: String,
        /// Last line read.
        line: u64,
        /// What the decompressor said.
        source: std::io::Error,
    },
    /// Not a capture this program knows.
    #[error("{path}: {reason}")]
    Format {
        /// Which file.
        path: String,
        /// What was seen and what was expected.
        reason: String,
    },
}
