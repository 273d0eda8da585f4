//! Log lines on stderr: for people on a terminal, JSON for collectors.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// A line of text.
    Text,
    /// A JSON object a line.
    Json,
}

/// Lines that wait for a slow stderr; more are dropped and counted.
const LINES: usize = 4096;

/// Writes what is left when it goes, for a second at most, and says how many lines were dropped before.
pub(crate) struct Logs {
    // Flushes when it is dropped.
    _worker: WorkerGuard,
    dropped: ErrorCounter,
}

impl Logs {
    /// Begins. `TIDEGATE_LOG` filters, such as `warn` or `tidegate_runtime=debug`; `default` holds without it.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub(crate) fn begin(format: LogFormat, default: &str) -> Result<Self, String> {
        let filter = std::env::var("TIDEGATE_LOG").unwrap_or_else(|_| default.to_owned());
        let filter = EnvFilter::try_new(&filter).map_err(|error| {
            format!("TIDEGATE_LOG={filter:?}: {error}; expected a level such as warn, or TARGET=LEVEL pairs")
        })?;
        let terminal = std::io::stderr().is_terminal();
        let (writer, worker) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).finish(std::io::stderr());
        let dropped = writer.error_counter();
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
        let json = format == LogFormat::Json || format == LogFormat::Auto && !terminal;
        let set = if json {
            lines.json().flatten_event(true).try_init()
        } else {
            lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false).try_init()
        };
        set.map_err(|error| error.to_string())?;
        Ok(Self { _worker: worker, dropped })
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let lost = self.dropped.dropped_lines();
        if lost > 0 {
            anstream::eprintln!("warning: {lost} log lines were dropped: stderr was too slow");
        }
    }
}
