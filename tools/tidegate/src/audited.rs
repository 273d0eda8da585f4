//! What a summary says of the audit log.

use serde::Serialize;
use tidegate_runtime::replay::ReplayReport;
use tidegate_runtime::stores::StoreStatus;

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
    /// The store of the log, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreStatus>,
}

impl AuditLine {
    pub(crate) fn of(run: &ReplayReport) -> Option<Self> {
        let report = run.audit.as_ref()?;
        let checkpoint = &report.written.checkpoint;
        Some(Self {
            directory: report.directory.display().to_string(),
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            entries: report.written.entries,
            root: checkpoint.root.iter().map(|byte| format!("{byte:02x}")).collect(),
            dropped: report.written.dropped,
            recovered: report.opened.recovered,
            syncs: report.written.syncs,
            store: run.store.clone(),
        })
    }

    pub(crate) fn print(&self) {
        let Self { directory, size, entries, root, dropped, .. } = self;
        anstream::println!("  audit {directory}  {entries} entries of {size}   dropped {dropped}   root {root}");
        if let Some(store) = &self.store {
            let StoreStatus { place, entries, behind, rows, .. } = store;
            anstream::println!("  store {place}  {entries} entries, {behind} behind   {rows} rows written");
            if let Some(error) = store.last_error.as_ref().filter(|_| *behind > 0) {
                anstream::println!("  store: {error}; `tidegate store sync` takes what is missing");
            }
        }
    }
}
