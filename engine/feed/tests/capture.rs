//! Captures on disk: what was written is read again, and what was torn, cut, flipped or killed is noticed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidegate_feed::FrameMeta;
use tidegate_feed::capture::{
    Block, CaptureError, CaptureFile, CaptureWriter, Entries, Entry, EntryKind, Series, SeriesReport, SeriesSettings,
    tap,
};
use tidegate_feed::replay::{CaptureReader, Captured, SourceSpec};
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Registry, Venue};

const BEGIN_NS: i64 = 1_790_000_000_000_000_000;

fn registry() -> Registry {
    let mut registry = Registry::new();
    let contracts = [
        (Venue::BinanceUsdm, Contract::Linear),
        (Venue::BinanceCoinm, Contract::Inverse { quote_per_contract: 100.0 }),
        (Venue::Okx, Contract::Sized { base_per_contract: 0.01 }),
    ];
    for (venue, contract) in contracts {
        let instrument =
            Instrument { tick: Price::from_raw(10), contract, ..Instrument::linear(venue, "BTCUSDT", 2, 3) };
        registry.add(instrument).expect("an instrument");
    }
    registry
}

/// An entry that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    kind: EntryKind,
    recv_ns: i64,
    venue: Venue,
    source: u16,
    hint: InstrumentId,
    bytes: Vec<u8>,
}

impl Owned {
    fn of(entry: &Entry<'_>) -> Self {
        let Entry { kind, recv_ns, venue, source, hint, bytes } = *entry;
        Self { kind, recv_ns, venue, source, hint, bytes: bytes.to_vec() }
    }

    fn entry(&self) -> Entry<'_> {
        let Self { kind, recv_ns, venue, source, hint, ref bytes } = *self;
        Entry { kind, recv_ns, venue, source, hint, bytes }
    }

    fn frame(number: u64, length: usize) -> Self {
        let bytes = number.to_le_bytes().into_iter().chain(noise(number)).take(length).collect();
        let recv_ns = BEGIN_NS + number as i64;
        Self { kind: EntryKind::Frame, recv_ns, venue: Venue::Okx, source: 7, hint: InstrumentId(2), bytes }
    }
}

/// Bytes that do not compress.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

fn blocks(groups: &[Vec<Owned>]) -> Vec<Block> {
    let block = |group: &Vec<Owned>| {
        let mut block = Block::default();
        group.iter().for_each(|entry| block.push(&entry.entry()));
        block
    };
    groups.iter().map(block).collect()
}

/// Writes a file and gives where each block begins, and where they end.
fn write(path: &Path, groups: &[Vec<Owned>], close: bool) -> Vec<u64> {
    let mut writer = CaptureWriter::create(path, &registry(), 1, BEGIN_NS).expect("a file");
    let mut places = vec![writer.size()];
    for block in blocks(groups) {
        writer.write(&block).expect("written");
        places.push(writer.size());
    }
    if close {
        writer.close().expect("closed");
    }
    places
}

/// What a file holds up to its first damage, and which.
fn read(path: &Path) -> Result<(Vec<Owned>, Option<CaptureError>), CaptureError> {
    let mut file = CaptureFile::open(path)?;
    let (mut entries, mut block) = (Vec::new(), Block::default());
    loop {
        match file.next(&mut block) {
            Ok(true) => entries.extend(Entries::new(&block.bytes).map(|entry| Owned::of(&entry))),
            Ok(false) => return Ok((entries, None)),
            Err(error) => return Ok((entries, Some(error))),
        }
    }
}

/// The same through a replay's reader.
fn replayed(path: &Path) -> (usize, bool) {
    let spec = SourceSpec { path: path.to_owned(), venue: None };
    let Ok(mut reader) = CaptureReader::open(&spec) else { return (0, true) };
    let (mut captured, mut frames) = (Captured::default(), 0);
    loop {
        match reader.next(&mut captured) {
            Ok(true) => frames += 1,
            Ok(false) => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

/// Three blocks of a few entries.
fn small() -> Vec<Vec<Owned>> {
    (0..3).map(|block| (0..3).map(|n| Owned::frame(block * 3 + n, 12 + n as usize)).collect()).collect()
}

fn entries() -> impl Strategy<Value = Vec<Vec<Owned>>> {
    let kind = prop::sample::select(vec![EntryKind::Frame, EntryKind::Beat, EntryKind::Resync, EntryKind::Lost]);
    let bytes = prop::collection::vec(any::<u8>(), 0..400);
    let entry =
        (kind, 0..4_102_444_800_000_000_000_i64, prop::sample::select(Venue::ALL.to_vec()), any::<(u16, u16)>());
    let entry = (entry, bytes).prop_map(|((kind, recv_ns, venue, (source, hint)), bytes)| Owned {
        kind,
        recv_ns,
        venue,
        source,
        hint: InstrumentId(hint),
        bytes,
    });
    prop::collection::vec(prop::collection::vec(entry, 1..30), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(groups in entries(), close: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tgcap");
        write(&path, &groups, close);
        let (found, damage) = read(&path).expect("a capture");
        prop_assert!(damage.is_none());
        prop_assert_eq!(found, groups.concat());
        let mut file = CaptureFile::open(&path).expect("a capture");
        prop_assert_eq!(file.is_closed(), close);
        prop_assert_eq!(file.header().registry(), Ok(registry()));
        let places = file.index().map(<[_]>::to_vec);
        prop_assert_eq!(places.as_ref().map(Vec::len), close.then_some(groups.len()));
        // Each block by its place, the last one first.
        let written = blocks(&groups);
        for (number, place) in places.iter().flatten().enumerate().collect::<Vec<_>>().into_iter().rev() {
            let mut block = Block::default();
            file.seek(number, place).expect("a place");
            prop_assert!(file.next(&mut block).expect("a block"));
            prop_assert_eq!(&block, &written[number]);
            prop_assert_eq!((place.span_ns, place.entries), (block.span_ns, block.entries));
            prop_assert_eq!(file.at(), place.at + u64::from(place.sizes.0));
        }
    }
}

#[test]
fn a_file_that_was_cut_gives_every_whole_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, cut) = (folder.path().join("whole.tgcap"), folder.path().join("cut.tgcap"));
    let groups = small();
    let places = write(&whole, &groups, true);
    let bytes = std::fs::read(&whole).expect("bytes");
    for length in places[1] as usize..bytes.len() {
        std::fs::write(&cut, &bytes[..length]).expect("written");
        let blocks = places.iter().filter(|place| **place <= length as u64).count() - 1;
        let (found, damage) = read(&cut).expect("its header is whole");
        assert_eq!(found, groups[..blocks].concat(), "cut to {length}");
        assert!(!CaptureFile::open(&cut).expect("a capture").is_closed());
        if length as u64 == places[blocks] {
            assert!(damage.is_none(), "it ends with a whole block, as one that was not closed");
        } else {
            let Some(CaptureError::Damaged { block, at, .. }) = &damage else { panic!("cut to {length}: {damage:?}") };
            assert_eq!((*block, *at), (blocks, places[blocks]), "cut to {length}");
        }
        assert_eq!(replayed(&cut), (blocks * 3, damage.is_some()));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, flipped) = (folder.path().join("whole.tgcap"), folder.path().join("flipped.tgcap"));
    let groups = small();
    write(&whole, &groups, true);
    let bytes = std::fs::read(&whole).expect("bytes");
    let all = groups.concat();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&flipped, &changed).expect("written");
        if let Ok((found, damage)) = read(&flipped) {
            assert!(damage.is_some(), "bit {bit} of {}", bytes.len() * 8);
            assert!(all.starts_with(&found), "bit {bit}: what is read is what was written");
        }
        let (frames, damaged) = replayed(&flipped);
        assert!(damaged && frames <= all.len(), "bit {bit}");
    }
}

#[test]
fn damage_is_stepped_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.tgcap");
    let groups = small();
    let places = write(&path, &groups, true);
    let mut bytes = std::fs::read(&path).expect("bytes");
    bytes[places[1] as usize + 50] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let mut file = CaptureFile::open(&path).expect("a capture");
    let mut block = Block::default();
    assert!(file.next(&mut block).expect("the first"));
    for _ in 0..2 {
        assert!(matches!(file.next(&mut block), Err(CaptureError::Damaged { block: 1, at, .. }) if at == places[1]));
        assert_eq!(block, Block::default(), "nothing of a damaged block is handed out");
    }
    assert_eq!(file.recover().expect("read"), (true, places[2] - places[1]));
    assert!(file.next(&mut block).expect("the third"));
    assert_eq!(block, blocks(&groups)[2]);
    assert!(!file.next(&mut block).expect("the end"));
    // Nothing whole comes after the last.
    bytes[places[2] as usize + 50] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let mut file = CaptureFile::open(&path).expect("a capture");
    assert!(file.next(&mut block).expect("the first"));
    assert_eq!(file.recover().expect("read"), (false, places[3] - places[1]));
    assert!(!file.next(&mut block).expect("the end"));
}

#[test]
fn what_is_no_capture_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.tgcap");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        CaptureFile::open(&path).expect_err("refused").to_string()
    };
    assert!(refused(b"").contains("0 bytes are shorter than a capture's header"));
    assert!(refused(b"TIDECAP2\x04\0\0\0{}{}........").contains("version '2'; this program reads version 1"));
    assert!(refused(b"{\"a\":1}\n{\"b\":2}\n").contains("expected it to begin with TIDECAP1"));
    assert!(refused(b"TIDECAP1\xff\xff\xff\xff....").contains("cut off"));
    assert!(refused(b"TIDECAP1\x02\0\0\0{}........").contains("wrong checksum"));
    let error = CaptureFile::open(folder.path()).expect_err("a folder is no file");
    assert!(matches!(error, CaptureError::Io { .. }), "{error}");
    assert!(matches!(CaptureFile::open(&folder.path().join("none")), Err(CaptureError::Io { .. })));
    // A file that exists is not touched.
    std::fs::write(&path, "mine").expect("written");
    assert!(matches!(CaptureWriter::create(&path, &registry(), 1, 0), Err(CaptureError::Io { .. })));
    assert_eq!(std::fs::read(&path).expect("there"), b"mine");
}

#[test]
fn blocks_larger_than_a_reader_takes_are_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = CaptureWriter::create(&folder.path().join("a"), &registry(), 1, 0).expect("a file");
    let huge = Block { bytes: vec![0; 65 << 20], entries: 1, span_ns: (0, 0) };
    assert!(writer.write(&huge).is_err());
    writer.write(&blocks(&small())[0]).expect("others are");
    let path = writer.close().expect("closed");
    assert_eq!(read(&path).expect("a capture").0, small()[0]);
}

fn meta(recv_ns: i64) -> FrameMeta {
    FrameMeta { recv_ns, arrive_ticks: 0, venue: Venue::Okx, source: 3, hint: InstrumentId::NONE }
}

fn settings(folder: &Path) -> SeriesSettings {
    SeriesSettings { sync_every: Duration::from_millis(100), ..SeriesSettings::new(folder) }
}

/// Captures `frames` frames of `length` bytes each.
fn capture(settings: SeriesSettings, frames: u64, length: usize, pause: Duration) -> SeriesReport {
    let (mut tap, ends) = tap(settings.flush_after());
    let series = Series::start(settings, &registry(), ends, |_| {}).expect("begun");
    for number in 0..frames {
        tap.frame(&meta(realtime_ns()), &Owned::frame(number, length).bytes);
        std::thread::sleep(pause);
    }
    drop(tap);
    series.finish()
}

/// The numbers of the frames in these files.
fn numbers(files: &[PathBuf]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for path in files {
        let (entries, damage) = read(path).expect("a capture");
        assert!(damage.is_none(), "{damage:?}");
        let frames = entries.iter().filter(|entry| entry.kind == EntryKind::Frame);
        numbers.extend(frames.filter_map(|e| e.bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))));
    }
    numbers
}

#[test]
fn files_are_rotated_by_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = SeriesSettings { rotate_bytes: 100_000, ..settings(folder.path()) };
    let report = capture(settings, 200, 300_000, Duration::from_micros(200));
    assert_eq!((report.error, report.lost, report.entries), (None, 0, 200));
    assert!(report.files.len() > 5, "{:?}", report.files);
    assert_eq!(numbers(&report.files), (0..200).collect::<Vec<_>>());
    for (path, part) in report.files.iter().zip(1..) {
        let file = CaptureFile::open(path).expect("a capture");
        assert!(file.is_closed() && file.header().part == part);
    }
}

#[test]
fn files_are_rotated_by_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = SeriesSettings { rotate_after: Duration::from_millis(150), ..settings(folder.path()) };
    let report = capture(settings, 60, 50, Duration::from_millis(10));
    assert_eq!((report.error, report.lost), (None, 0));
    assert!(report.files.len() >= 2, "{:?}", report.files);
    assert_eq!(numbers(&report.files), (0..60).collect::<Vec<_>>());
}

#[test]
fn frames_are_lost_and_told_when_nobody_writes() {
    let (mut tap, ends) = tap(Duration::from_secs(3600));
    // Two do not fit in a block.
    let fat = vec![1; 600_000];
    (0..70).for_each(|n| tap.frame(&meta(n), &fat));
    assert_eq!(ends.lost.load(std::sync::atomic::Ordering::Relaxed), 6, "64 blocks, 70 frames");
    let mut kept = Vec::new();
    while let Ok(block) = ends.full.try_recv() {
        kept.push(block);
    }
    assert_eq!(kept.len(), 64, "each with one frame");
    kept.drain(..2).for_each(|block| ends.empty.try_send(block).expect("room"));
    (70..72).for_each(|n| tap.frame(&meta(n), &fat));
    drop(tap);
    let rest: Vec<_> = ends.full.try_iter().collect();
    let entries: Vec<_> = rest.iter().flat_map(|block| Entries::new(&block.bytes)).collect();
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.recv_ns, entry.lost())).collect();
    let frame = |n| (EntryKind::Frame, n, 0);
    assert_eq!(kinds, [(EntryKind::Lost, 70, 6), frame(70), frame(71)]);
}

#[test]
fn what_no_reader_would_take_is_lost() {
    let (mut tap, ends) = tap(Duration::from_secs(3600));
    tap.frame(&meta(5), &vec![0; tidegate_feed::capture::FRAME_MAX + 1]);
    drop(tap);
    let block = ends.full.try_recv().expect("told at the end");
    let told: Vec<_> = Entries::new(&block.bytes).map(|entry| entry.lost()).collect();
    assert_eq!(told, [1]);
}

/// Busy loops have no beats: a slow stream is handed over nevertheless.
#[test]
fn blocks_do_not_wait_for_beats() {
    let (mut tap, ends) = tap(Duration::from_nanos(50));
    (0..100).for_each(|n| tap.frame(&meta(n), b"{}"));
    let first = ends.full.try_recv().expect("handed over");
    assert_eq!((first.entries, first.span_ns), (51, (0, 50)));
}

const CHILD: &str = "TIDEGATE_TEST_CAPTURE_CHILD";

/// This test binary anew, as a process of its own that only captures.
fn child(what: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "as_a_child", "--nocapture"]).env(CHILD, what).env("TIDEGATE_TEST_FOLDER", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Nothing, unless a test started it as a child.
#[test]
fn as_a_child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let folder = PathBuf::from(std::env::var_os("TIDEGATE_TEST_FOLDER").expect("a folder"));
    if what == "full" {
        let limit = libc::rlimit { rlim_cur: 300_000, rlim_max: 300_000 };
        // SAFETY: a limit that lives through the call, and a disposition that is always valid.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
        let report = capture(settings(&folder), 400, 2_000, Duration::from_millis(2));
        println!("\nREPORT {}", serde_json::to_string(&report).expect("JSON"));
    } else {
        let settings = SeriesSettings { sync_every: Duration::from_secs(1), ..settings(&folder) };
        capture(settings, 100_000, 500, Duration::from_millis(1));
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = child("full", folder.path()).output().expect("a child");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text.lines().find_map(|line| line.strip_prefix("REPORT ")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(report).expect("JSON");
    assert!(report["error"].as_str().is_some_and(|error| error.contains(".tgcap: File too large")), "{report}");
    let files: Vec<PathBuf> = serde_json::from_value(report["files"].clone()).expect("names");
    let (kept, lost) = (numbers(&files), report["lost"].as_u64().expect("a number"));
    assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
    assert!(kept.len() > 20 && lost > 20, "{} kept, {lost} lost", kept.len());
    assert_eq!(kept.len() as u64 + lost, 400, "every frame is in the file or counted");
    assert!(!CaptureFile::open(&files[0]).expect("a capture").is_closed());
}

#[test]
fn a_killed_writer_has_lost_at_most_what_was_not_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = child("killed", folder.path()).spawn().expect("a child");
    let files = || {
        let entries = std::fs::read_dir(folder.path()).expect("a folder").flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let patience = Instant::now();
    while files().first().is_none_or(|path| read(path).map_or(0, |(entries, _)| entries.len()) < 500) {
        assert!(patience.elapsed() < Duration::from_secs(60), "nothing is captured");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(700));
    let killed_ns = realtime_ns();
    child.kill().expect("killed");
    child.wait().expect("gone");
    let files = files();
    assert_eq!(files.len(), 1);
    // It may have been killed in the middle of a block.
    let (entries, _) = read(&files[0]).expect("a capture");
    let found = entries.iter().filter_map(|entry| entry.bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes));
    assert!(found.eq(0..entries.len() as u64), "without a hole");
    let missing_ns = killed_ns - entries.last().expect("some").recv_ns;
    assert!(missing_ns <= 1_000_000_000, "{missing_ns} ns before the kill are missing");
}
