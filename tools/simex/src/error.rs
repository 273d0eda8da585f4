//! What can go wrong outside the simulated market: a bad configuration, or files.

use std::path::PathBuf;

/// An error of the simulator; each names the setting or the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The configuration has no instruments, or more than the exchange-wide id scheme can hold.
    #[error("instruments: {count} given, between 1 and {max} are possible")]
    InstrumentCount {
        /// Instruments in the configuration.
        count: usize,
        /// Largest possible number.
        max: usize,
    },
    /// One setting of one instrument is outside its range.
    #[error("instrument {symbol}: {field} is {value}, expected {expected}")]
    Setting {
        /// Symbol as configured.
        symbol: String,
        /// Name of the setting.
        field: &'static str,
        /// The value found.
        value: f64,
        /// The range, in words.
        expected: &'static str,
    },
    /// A scripted regime is impossible.
    #[error("script entry {entry}: {reason}")]
    Regime {
        /// Position in the script, from 0.
        entry: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The whole run is impossible: its times do not fit into nanoseconds since the epoch.
    #[error("start_ns {start_ns} with a run of {seconds} s does not fit into nanoseconds since the epoch")]
    Time {
        /// Configured start, ns since the epoch.
        start_ns: i64,
        /// Configured length, s.
        seconds: f64,
    },
    /// Reading or writing a file failed.
    #[error("{action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A capture line or a JSON file is not what it should be.
    #[error("{place}: {reason}")]
    Format {
        /// File and line, or instrument and frame.
        place: String,
        /// What is wrong.
        reason: String,
    },
}
