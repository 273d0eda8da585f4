//! The first SIGINT or SIGTERM asks for a clean end, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

/// A flag that the first signal sets.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Registered first, so that it sees the flag as the signal before left it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
            .context("signal handling")?;
        signal_hook::flag::register(signal, stop.clone()).context("signal handling")?;
    }
    Ok(stop)
}

/// A flag that SIGUSR1 sets: the kill switch that needs no program but `kill`.
pub(crate) fn kill_flag(killed: Arc<AtomicBool>) -> anyhow::Result<()> {
    signal_hook::flag::register(SIGUSR1, killed).context("signal handling")?;
    Ok(())
}

/// A write beyond a limit on file sizes is an error like a full disk, not the end of the process.
pub(crate) fn large_files_are_errors() {
    // SAFETY: always a valid disposition.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// What a write to a closed pipe does: ends the process quietly, as with every other tool (`tidegate ... | head`), or
/// is an error like any other, for an engine must outlive whoever reads its log.
pub(crate) fn broken_pipes_end(end: bool) {
    let disposition = if end { libc::SIG_DFL } else { libc::SIG_IGN };
    // SAFETY: both are always valid dispositions.
    unsafe { libc::signal(libc::SIGPIPE, disposition) };
}
