//! Crashes: every place where a write may have ended, killed writers, disks that refuse.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{append, body, copy, files, findings, keys, open, recompute, signer};
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::journal::{Frames, Journal};
use tidegate_record::log::{Archive, Log, LogError, Settings};

/// The frames of a journal, and where they end.
fn frames(folder: &Path) -> Result<(Vec<Vec<u8>>, u64), String> {
    let mut found = Vec::new();
    let visit = &mut |first: u64, body: &[u8]| {
        assert_eq!(first, found.len() as u64);
        found.extend(Frames::new(body).map(<[u8]>::to_vec));
        Ok(())
    };
    let (journal, _) = Journal::open(folder, 1, 0, 64 << 10, visit).map_err(|error| error.to_string())?;
    let next = journal.next();
    Ok((found, next))
}

fn journal(folder: &Path, batches: u64) {
    let (mut journal, _) = Journal::open(folder, 1, 0, 64 << 10, &mut |_, _| Ok(())).expect("a journal");
    for batch in 0..batches {
        let mut body = Vec::new();
        for frame in 0..1 + batch % 4 {
            tidegate_record::journal::push_frame(&mut body, &vec![batch as u8; 700 * frame as usize]).expect("short");
        }
        journal.append(1 + (batch % 4) as u32, &body).expect("appended");
    }
}

/// Cuts the last two batches at every byte, and tears them at every 512 bytes: what comes back is a prefix, and never less
/// than the batches before.
#[test]
fn every_torn_write_gives_a_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    journal(folder.path(), 14);
    let segments: Vec<_> = files(folder.path());
    let last = segments.last().expect("a segment").clone();
    let good = std::fs::read(&last).expect("a file");
    let end = good.iter().rposition(|byte| *byte != 0).expect("something") + 1;
    let (all, _) = frames(folder.path()).expect("whole");
    // Where the last two batches begin: the pages that have the mark of one.
    let pages: Vec<usize> = (0..end).step_by(4096).filter(|page| good[*page..].starts_with(b"TGJ1")).collect();
    let start = pages[pages.len().saturating_sub(2)];
    let place = tempfile::tempdir().expect("a folder");
    let check = |bytes: &[u8], what: String, least: usize| {
        let _ = std::fs::remove_dir_all(place.path());
        copy(folder.path(), place.path());
        std::fs::write(place.path().join(last.file_name().expect("a name")), bytes).expect("written");
        let (found, next) = frames(place.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found[..], all[..found.len()], "{what}");
        assert!(found.len() >= least, "{what}: {} of at least {least}", found.len());
        let again = frames(place.path()).expect("twice");
        assert_eq!(again, (found, next), "{what}: opening it again gives the same");
    };
    // The last two batches have one frame and two.
    let before = all.len() - 3;
    for cut in (start..end).step_by(97).chain(start..start + 70).chain(end - 70..end) {
        let mut bytes = good.clone();
        bytes[cut..].fill(0);
        check(&bytes, format!("zeros from {cut} on"), before);
        check(&good[..cut], format!("cut at {cut}"), before);
    }
    // Sectors reach the disk in any order.
    let batch = pages[pages.len() - 1];
    for sector in (batch..end.next_multiple_of(512)).step_by(512) {
        let mut bytes = good.clone();
        bytes[sector..sector + 512].fill(0);
        check(&bytes, format!("without the sector at {sector}"), before);
    }
}

/// Damage before the end is no torn write.
#[test]
fn damage_in_the_middle_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    journal(folder.path(), 40);
    let segments = files(folder.path());
    for path in &segments {
        let good = std::fs::read(path).expect("a file");
        let pages: Vec<usize> =
            (0..good.len()).step_by(4096).filter(|page| good[*page..].starts_with(b"TGJ1")).collect();
        let is_last = path == segments.last().expect("one");
        for page in &pages[..pages.len() - usize::from(is_last)] {
            for at in [0, 5, 9, 20, 30, 40, 64, 70] {
                let mut bad = good.clone();
                bad[page + at] ^= 0x10;
                std::fs::write(path, &bad).expect("written");
                let error = frames(folder.path()).map(|(found, _)| found.len()).expect_err("damaged");
                assert!(error.contains("damaged at byte") || error.contains("are missing before"), "{error}");
            }
        }
        std::fs::write(path, &good).expect("written");
    }
    assert!(segments.len() > 2, "a segment in the middle");
    std::fs::remove_file(&segments[1]).expect("removed");
    let error = frames(folder.path()).map(|(found, _)| found.len()).expect_err("a segment is gone");
    assert!(error.contains("missing"), "{error}");
}

/// Set for the process that is killed: where its log is.
const VICTIM: &str = "TIDEGATE_RECORD_VICTIM";

/// Not a test by itself: the process that is killed. It says which entries are durable.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(VICTIM) else { return };
    let (mut log, _) = open(Path::new(&folder));
    let start = Instant::now();
    let mut round = 0_u64;
    // Nobody kills it: it ends by itself.
    while start.elapsed() < Duration::from_secs(20) {
        append(&mut log, 1 + round * 7 % 300);
        log.sync().expect("synced");
        println!("durable {}", log.durable());
        if round.is_multiple_of(5) {
            log.checkpoint().expect("signed");
        }
        round += 1;
    }
}

fn kills() -> u64 {
    std::env::var("TIDEGATE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(40)
}

#[test]
fn whoever_is_killed_loses_nothing_that_was_acknowledged() {
    use std::io::BufRead;
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let (mut promised, mut random) = (0, 0x2545_f491_4f6c_dd1d_u64);
    for kill in 0..kills() {
        let mut child = Command::new(&program)
            .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let output = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let lines = std::io::BufReader::new(output).lines().map_while(Result::ok);
            let durable = |line: String| line.rsplit_once("durable ")?.1.parse::<u64>().ok();
            lines.filter_map(durable).max().unwrap_or(0)
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(5_000 + random % 60_000));
        child.kill().expect("killed");
        child.wait().expect("ended");
        promised = reader.join().expect("read").max(promised);
        if kill % 8 == 7 {
            let (log, _) = open(folder.path());
            assert!(log.next() >= promised, "{} of {promised} after kill {kill}", log.next());
            log.close().expect("closed");
            assert_eq!(recompute(folder.path()).findings, [], "after kill {kill}");
        }
    }
    let (log, opened) = open(folder.path());
    assert!(opened.covered + opened.recovered >= promised, "{opened:?}, {promised} promised");
    let size = log.close().expect("closed").size;
    let report = recompute(folder.path());
    assert_eq!(report.findings, []);
    println!(
        "{} kills, {size} entries, {promised} acknowledged, {} recoveries told",
        kills(),
        report.kinds["recovered"]
    );
    assert!(promised > 0, "it wrote something");
    // What came through is what was written.
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    for index in (0..size).step_by(97) {
        let bytes = archive.entry(index).expect("there");
        let entry = Entry::read(&bytes).expect("an entry");
        assert!(entry.kind == Kind::Recovered || entry.body == body(index).as_bytes(), "{index}");
    }
}

/// A crash at any moment between two checkpoints: a copy of the folder is what a disk may hold.
#[test]
fn a_log_that_was_never_closed_is_recovered() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(folder.path());
    for (round, step) in [5, 250, 3, 700].into_iter().enumerate() {
        append(&mut log, step);
        log.sync().expect("synced");
        let size = log.next();
        let _ = std::fs::remove_dir_all(place.path());
        copy(folder.path(), place.path());
        let (copied, opened) = open(place.path());
        assert!(opened.recovered > 0, "round {round}: {opened:?}");
        assert_eq!(opened.covered + opened.recovered, size, "round {round}");
        copied.close().expect("closed");
        assert_eq!(findings(place.path()), Ok(Vec::new()), "round {round}");
        if round == 1 {
            log.checkpoint().expect("signed");
        }
    }
    // Tiles that were signed and are gone are not made up from somewhere else.
    drop(log);
    let (log, _) = open(folder.path());
    log.close().expect("closed");
    std::fs::remove_dir_all(folder.path().join("tile/0")).expect("removed");
    assert!(matches!(Log::open(folder.path(), signer(), Settings::default()), Err(LogError::Io { .. })));
}

/// A disk without room says so before anything is acknowledged that is not there, and the log is whole afterwards. File
/// size limits stand for the disk: they need no privileges.
#[test]
fn a_disk_that_refuses_ends_the_log_with_its_reason() {
    let Ok(folder) = std::env::var("TIDEGATE_RECORD_FULL") else {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program)
            .args(["--exact", "a_disk_that_refuses_ends_the_log_with_its_reason", "--nocapture"])
            .env("TIDEGATE_RECORD_FULL", folder.path())
            .output()
            .expect("a process");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("refused after"), "{text}");
        let (log, opened) = open(folder.path());
        let durable: u64 =
            text.rsplit_once("refused after ").and_then(|(_, n)| n.split(' ').next()?.parse().ok()).expect("a number");
        assert!(opened.covered + opened.recovered >= durable, "{opened:?} of {durable}");
        log.close().expect("closed");
        assert_eq!(recompute(folder.path()).findings, []);
        return;
    };
    let (mut log, _) = open(Path::new(&folder));
    append(&mut log, 100);
    log.sync().expect("there is room");
    let durable = log.durable();
    // SAFETY: plain calls; no file may grow beyond 32 KiB, and the signal that says so is ignored.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 32 << 10, rlim_max: 32 << 10 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let error = loop {
        let number = log.next();
        let done = log.append(&Entry::new(Kind::Session, 0, body(number).as_bytes())).and_then(|_| log.sync());
        if let Err(error) = done {
            break error;
        }
    };
    assert!(error.to_string().contains("File too large"), "{error}");
    assert!(log.append(&Entry::new(Kind::Session, 0, b"{}")).is_err() || log.sync().is_err(), "it stays so");
    println!("refused after {durable} entries: {error}");
}
