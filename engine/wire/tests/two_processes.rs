//! Rings across processes: a reader and writers in different processes over a shared mapping, some of them killed.
//!
//! The child is this very test binary, started with `TIDEGATE_RING_CHILD` set: no helper program, no fork.

#![cfg(not(miri))]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_wire::ring::{RecordBuf, Region, RegionError, RegionKind, lossless, overwrite};

const RECORDS: u64 = 200_000;
const LINES: u64 = 1024;

fn record(n: u64, words: usize) -> Vec<u64> {
    let mut record = vec![n; words];
    record[0] = n & 0xffff_ffff;
    record
}

fn words_of(n: u64) -> usize {
    2 + n as usize % 60
}

fn child(role: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "child_process", "--nocapture"])
        .env("TIDEGATE_RING_CHILD", role)
        .env("TIDEGATE_RING_PATH", path)
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary starts")
}

/// Not a test of its own: what the children do.
#[test]
fn child_process() {
    let Ok(role) = std::env::var("TIDEGATE_RING_CHILD") else { return };
    let path = std::env::var("TIDEGATE_RING_PATH").expect("path");
    let open = |kind| Arc::new(Region::open(Path::new(&path), kind).expect("the parent made it"));
    match role.as_str() {
        "lossless" => {
            let mut writer = lossless::Writer::resume(open(RegionKind::Lossless));
            for n in 0..RECORDS {
                let mut r = record(n, words_of(n));
                while writer.push(&mut r).is_err() {
                    std::thread::yield_now();
                }
            }
        }
        // Until killed.
        "endless" => {
            let mut writer = overwrite::Writer::resume(open(RegionKind::Overwrite));
            for n in 0.. {
                writer.push(&mut record(n, words_of(n)));
            }
        }
        other => panic!("no role {other}"),
    }
}

#[test]
fn lossless_across_processes() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ring");
    let region = Arc::new(Region::create(&path, RegionKind::Lossless, LINES).expect("a ring"));
    let mut reader = lossless::Reader::resume(region);
    let mut writer = child("lossless", &path);
    let (mut buf, mut n, start) = (RecordBuf::default(), 0, Instant::now());
    while n < RECORDS {
        match reader.pop(&mut buf) {
            Some(words) => {
                assert_eq!(words[0] & 0xffff_ffff, n);
                assert!(words[1..words_of(n)].iter().all(|w| *w == n));
                n += 1;
            }
            None => {
                assert!(start.elapsed() < Duration::from_secs(60), "stuck at {n}");
                std::thread::yield_now();
            }
        }
    }
    assert!(writer.wait().expect("child").success());
}

#[test]
fn killed_writers_harm_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ring");
    let region = Arc::new(Region::create(&path, RegionKind::Overwrite, LINES).expect("a ring"));
    let mut reader = overwrite::Reader::newest(region.clone());
    let mut buf = RecordBuf::default();
    for round in 0..10 {
        let mut writer = child("endless", &path);
        let (start, mut seen) = (Instant::now(), 0);
        while seen < 2_000 || start.elapsed() < Duration::from_millis(20 + 7 * round) {
            if let Some(words) = reader.pop(&mut buf) {
                let n = words[1];
                assert_eq!(words[0] & 0xffff_ffff, n & 0xffff_ffff);
                assert!(words[1..words_of(n)].iter().all(|w| *w == n), "torn record {n}");
                seen += 1;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "round {round}: stuck after {seen} records");
        }
        writer.kill().expect("kill");
        writer.wait().expect("wait");
        // Whatever the dead writer left, the rest can be read or skipped without a hang or a torn record.
        while let Some(words) = reader.pop(&mut buf) {
            let n = words[1];
            assert!(words[1..words_of(n)].iter().all(|w| *w == n));
        }
    }
    let mut recorder = overwrite::Reader::oldest(region);
    assert!(recorder.pop(&mut buf).is_some(), "a crash leaves the last records readable");
}

#[test]
fn foreign_files_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ring");
    let reason = |kind| Region::open(&path, kind).map(|_| ()).expect_err("no ring").to_string();
    assert!(matches!(Region::open(&path, RegionKind::Lossless), Err(RegionError::Io { .. })));
    std::fs::write(&path, b"short").expect("write");
    assert!(reason(RegionKind::Lossless).contains("too short"));
    std::fs::write(&path, vec![0; 1 << 20]).expect("write");
    assert!(reason(RegionKind::Lossless).contains("no ring"));
    drop(Region::create(&path, RegionKind::Lossless, LINES).expect("a ring"));
    assert!(reason(RegionKind::Overwrite).contains("layout"));
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(512 + 64 * LINES / 2 + 64 * 512).ok();
    file.set_len(512 + 64 * 600).expect("cut");
    assert!(reason(RegionKind::Lossless).contains("do not fit"));
}
