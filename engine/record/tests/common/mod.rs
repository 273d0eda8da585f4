//! What the tests of logs share.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Finding, Log, Opened, Report, Settings, verify};
use tidegate_record::note::{Signer, Verifier};

/// Name of the tests' log.
pub(crate) const ORIGIN: &str = "desk.example/audit";

/// The tests' key.
pub(crate) fn signer() -> Signer {
    Signer::of_seed(ORIGIN, &[7; 32]).expect("a name")
}

/// Who checks it.
pub(crate) fn keys() -> [Verifier; 1] {
    [signer().verifier().clone()]
}

/// Opens the tests' log.
pub(crate) fn open(folder: &Path) -> (Log, Opened) {
    Log::open(folder, signer(), Settings { segment: 1 << 20, ..Settings::default() }).expect("a log")
}

/// Body of the test entry with this number.
pub(crate) fn body(number: u64) -> String {
    format!(r#"{{"number":{number},"pad":"{}"}}"#, "x".repeat(number as usize % 90))
}

/// Appends so many test entries.
pub(crate) fn append(log: &mut Log, count: u64) {
    for _ in 0..count {
        let number = log.next();
        log.append(&Entry::new(Kind::Session, number as i64, body(number).as_bytes())).expect("appended");
    }
}

/// Recomputes the tests' log.
pub(crate) fn recompute(folder: &Path) -> Report {
    verify(folder, &keys(), 2, &|_, _| {}).expect("a log")
}

/// What recomputing says, or why it could not.
pub(crate) fn findings(folder: &Path) -> Result<Vec<Finding>, String> {
    verify(folder, &keys(), 1, &|_, _| {}).map(|report| report.findings).map_err(|error| error.to_string())
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort_unstable();
    found
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        std::fs::copy(path, target).expect("copied");
    }
}
