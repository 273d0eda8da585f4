//! The audit log: entries made durable in batches, and everything recomputed, against nothing but the hashing.
//!
//! What a disk does for a sync differs by orders of magnitude, so syncs and waits are printed beside the rates.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tidegate_record::journal;
use tidegate_record::log::{Log, Settings, verify};
use tidegate_record::note::Signer;

use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, median, unpin};

/// Bytes of an entry.
const ENTRY: usize = 128;
/// Bar, of what hashing alone reaches.
const BAR: f64 = 0.6;

/// The tree as RFC 6962 has it, leaf by leaf with `sha2`: what no log can be faster than by hashing that way.
fn hash_only(entries: &[[u8; ENTRY]]) -> [u8; 32] {
    let (mut peaks, mut leaf) = (Vec::<[u8; 32]>::with_capacity(64), [0; ENTRY + 1]);
    for (index, entry) in entries.iter().enumerate() {
        leaf[1..].copy_from_slice(entry);
        let mut hash: [u8; 32] = Sha256::digest(leaf).into();
        let mut count = index;
        while count & 1 == 1 {
            let left = peaks.pop().unwrap_or_default();
            hash = Sha256::new().chain_update([1]).chain_update(left).chain_update(hash).finalize().into();
            count >>= 1;
        }
        peaks.push(hash);
    }
    peaks.last().copied().unwrap_or_default()
}

/// What one way of writing took.
struct Written {
    /// Entries a second, from the first append until all are durable.
    per_s: f64,
    syncs: u64,
    /// Waits for durability that were measured beside it, ms: p50 and p99.
    waits: [f64; 2],
}

fn signer() -> Signer {
    Signer::of_seed("bench.example/audit", &[1; 32]).expect("a name")
}

/// Appends everything with a thread that commits; signs as often as `every` says.
fn append(folder: &Path, entries: &[[u8; ENTRY]], batch: u32, every: usize) -> Written {
    let commit = journal::Settings { batch, age: Duration::from_millis(2), backlog: 8 << 20 };
    let (mut log, _) = Log::open(folder, signer(), Settings { commit, ..Settings::default() }).expect("a log");
    let (start, mut waits) = (Instant::now(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        log.append_bytes(entry).expect("appended");
        if every > 0 && (index + 1).is_multiple_of(every) {
            let asked = Instant::now();
            log.checkpoint().expect("signed");
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
        }
    }
    let asked = Instant::now();
    log.sync().expect("durable");
    waits.push(asked.elapsed().as_secs_f64() * 1e3);
    let per_s = entries.len() as f64 / start.elapsed().as_secs_f64();
    let syncs = log.syncs();
    log.close().expect("closed");
    waits.sort_unstable_by(f64::total_cmp);
    Written { per_s, syncs, waits: [waits[waits.len() / 2], waits[waits.len() * 99 / 100]] }
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("audit", options, watch);
    // The thread that commits needs the other core.
    unpin();
    let count = if options.quick { 1 << 12 } else { 1 << 20 };
    let entries: Vec<[u8; ENTRY]> = (0..count as u64)
        .map(|index| {
            let mut entry = [0x5a; ENTRY];
            entry[..8].copy_from_slice(&index.to_le_bytes());
            entry
        })
        .collect();
    let scratch = tempfile::tempdir().expect("a folder for logs");
    let folder = scratch.path();
    let (mut hashing, mut durable, mut signed, mut verified) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut table = Table::new(
        format!("{count} entries of {ENTRY} bytes, {} rounds; medians", options.reps),
        &["M entries/s", "of hashing", "syncs", "wait p50 ms", "wait p99 ms"],
    );
    let (mut last, mut last_signed) = (None, None);
    for round in 0..options.reps.max(2) {
        let start = Instant::now();
        black_box(hash_only(&entries));
        hashing.push(count as f64 / start.elapsed().as_secs_f64());
        for (name, every, rates) in [("plain", 0, &mut durable), ("signed", 1 << 16, &mut signed)] {
            let place = folder.join(format!("{name}-{round}"));
            let written = append(&place, &entries, 8_192, every);
            rates.push(written.per_s);
            if every == 0 {
                last = Some(written)
            } else {
                last_signed = Some(written)
            }
            let start = Instant::now();
            let checked = verify(&place, &[signer().verifier().clone()], 2, &|_, _| {});
            let seconds = start.elapsed().as_secs_f64();
            let whole = checked.is_ok_and(|checked| checked.size == count as u64 && checked.unknown == checked.size);
            report.check(whole, format!("{name}: what was written is what is verified"));
            if every > 0 {
                verified.push(count as f64 / seconds);
            }
            let _ = std::fs::remove_dir_all(&place);
        }
    }
    let base = median(&hashing);
    table.row("sha2 leaf by leaf, in memory", &[base / 1e6, 1.0, 0.0, 0.0, 0.0]);
    for (name, rates, written) in
        [("durable in batches", &durable, last), ("and signed every 65,536, tiles written", &signed, last_signed)]
    {
        let Some(written) = written else { continue };
        let rate = median(rates);
        table.row(name, &[rate / 1e6, rate / base, written.syncs as f64, written.waits[0], written.waits[1]]);
    }
    table.row("recomputed from disk, two threads", &[median(&verified) / 1e6, median(&verified) / base, 0.0, 0.0, 0.0]);
    report.table(table);
    // Times against the time of hashing alone: at least 60 % of its rate is at most 1/0.6 of its time.
    report.ratio("audit_append_to_hashing", base / median(&durable), 1.0 / BAR, "x");
    report.ratio("audit_verify_to_hashing", base / median(&verified), 1.0, "x");
    report
}
