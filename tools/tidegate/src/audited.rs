//! What a summary says of the audit log.

use serde::Serialize;
use tidegate_runtime::audit::AuditReport;

/// The log and its newest checkpoint.
#[derive(Debug, Serialize)]
pub(crate) struct AuditLine {
    pub(crate) directory: String,
    pub(crate) origin: String,
    /// Entries in all.
    pub(crate) size: u64,
    /// Entries of this run.
    pub(crate) entries: u64,
    /// Root over all of them, as hex.
    pub(crate) root: String,
    /// Entries that the log could not keep up with, none of them required.
    pub(crate) dropped: u64,
    /// Entries found behind the last checkpoint after a crash.
    pub(crate) recovered: u64,
    /// Times the disk was synced for entries.
    pub(crate) syncs: u64,
}

impl AuditLine {
    pub(crate) fn of(report: &AuditReport) -> Self {
        let checkpoint = &report.written.checkpoint;
        Self {
            directory: report.directory.display().to_string(),
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            entries: report.written.entries,
            root: checkpoint.root.iter().map(|byte| format!("{byte:02x}")).collect(),
            dropped: report.written.dropped,
            recovered: report.opened.recovered,
            syncs: report.written.syncs,
        }
    }

    pub(crate) fn print(&self) {
        let Self { directory, size, entries, root, dropped, .. } = self;
        anstream::println!("  audit {directory}  {entries} entries of {size}   dropped {dropped}   root {root}");
    }
}
