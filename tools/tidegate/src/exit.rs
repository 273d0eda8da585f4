//! Exit codes of every command, in one place.
//!
//! They follow `sysexits.h` where it has a code for the case, so that scripts and supervisors can tell a bad
//! file from a bad configuration without reading messages.

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// A runtime failure, or findings under `--strict`.
    Failure = 1,
    /// What was looked at is not whole.
    Incomplete = 3,
    /// Unusable input data: no such file, not a capture, not a histogram log.
    BadInput = 65,
    /// A file could not be written.
    Io = 74,
    /// The configuration is wrong.
    Config = 78,
    /// Ended by SIGINT, after a clean shutdown.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code; everything else ends with [`Exit::Failure`].
#[derive(Debug)]
pub(crate) struct Failed {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What went wrong, where, and what to do.
    pub(crate) message: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// Shorthand for an error with an exit code.
pub(crate) fn failed(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Failed { exit, message: message.into() }.into()
}
