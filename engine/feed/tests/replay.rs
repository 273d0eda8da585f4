//! Captures: formats, compression, damage, merge order, blocks and their life.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::frames::registry;
use common::spec;
use tidegate_feed::discover::Source;
use tidegate_feed::replay::{self, CaptureReader, Captured, Format, ReplayError, SourceSpec};
use tidegate_wire::{InstrumentId, Venue};

const BASE_NS: i64 = 1_790_000_000_000_000_000;

/// A directory with captures in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// All frames of a capture: receive time, line, symbol and bytes.
fn read(path: &Path) -> Vec<(i64, u64, String, String)> {
    let mut frames = Vec::new();
    let bad = common::each_frame(path, |captured| {
        let text = String::from_utf8_lossy(&captured.bytes).into_owned();
        frames.push((captured.recv_ns, captured.line, captured.symbol.clone(), text));
    });
    assert_eq!(bad, 0);
    frames
}

/// A source without instruments: replay itself does not care what the frames say.
fn source(path: &Path) -> Source {
    let instruments = [("ABCUSDT".to_owned(), InstrumentId(0))].into();
    let (only, numbers) = (InstrumentId(7), Vec::new());
    Source { spec: spec(path), venue: Venue::BinanceSpot, instruments, only, numbers, begin_ns: None }
}

/// Frames of a replay in order: time, source number, hint and bytes. Checks the padding of each.
fn replayed(sources: Vec<Source>, budget: usize) -> Vec<(i64, u16, InstrumentId, String)> {
    let reader = replay::start(sources, budget).expect("captures");
    let mut frames = Vec::new();
    while let Some(mut block) = reader.wait_next() {
        assert!(!block.is_empty());
        for index in 0..block.len() {
            let recv_ns = block.recv_ns(index).expect("in the block");
            let taken = block.frame(index).expect("a frame with its padding");
            assert_eq!(taken.meta.recv_ns, recv_ns);
            let text = String::from_utf8_lossy(taken.frame.bytes()).into_owned();
            frames.push((recv_ns, taken.meta.source, taken.meta.hint, text));
        }
        assert!(block.frame(block.len()).is_none() && block.recv_ns(block.len()).is_none());
        reader.give_back(block);
    }
    // The thread has said its last word; it may take a moment to be gone.
    while !reader.is_finished() {
        std::thread::yield_now();
    }
    frames
}

#[test]
fn every_format_and_compression_gives_the_same_frames() {
    let folder = Folder::new();
    let stamped = "1790000000000000001 {\"a\":1}\n\n1790000000000000002 {\"b\":2}\r\n1790000000000000003 {\"c\":3}";
    let expected = [(1, 1, "{\"a\":1}"), (2, 3, "{\"b\":2}"), (3, 4, "{\"c\":3}")];
    let expected = expected.map(|(ns, line, text)| (BASE_NS + ns, line, String::new(), text.to_owned()));
    let zst = zstd::encode_all(stamped.as_bytes(), 1).expect("memory");
    // Gzip files may be several put behind each other, as logs are rotated.
    let halves = stamped.split_at(30);
    let joined = [gz(halves.0), gz(halves.1)].concat();
    for (name, bytes) in [("plain", stamped.as_bytes().to_vec()), ("gz", gz(stamped)), ("zst", zst), ("two.gz", joined)]
    {
        let path = folder.write(name, bytes);
        assert_eq!(CaptureReader::open(&spec(&path)).expect("a capture").format(), Format::Stamped, "{name}");
        assert_eq!(read(&path), expected, "{name}");
    }
}

#[test]
fn stamps_in_nano_micro_and_milliseconds_are_told_by_their_length() {
    let folder = Folder::new();
    let path = folder.write("units", "1790000000000000001 n\n1790000000000002 u\n1790000000003 m\n");
    let times: Vec<i64> = read(&path).iter().map(|(ns, ..)| ns - BASE_NS).collect();
    assert_eq!(times, [1, 2_000, 3_000_000]);
}

#[test]
fn the_older_recordings_hold_frames_answers_and_talk() {
    let folder = Folder::new();
    let path = folder.write(
        "BINANCE.0",
        "configuration: {\"l2_book\":[\"ABC-USDT\"]}\n\
         wss://fstream.binance.com/stream?streams=abcusdt@depth <-> 1790000000.5\n\
         1790000000.6: {\"e\":1}\n\
         wss://fstream.binance.com/stream <- 1790000000.65: {\"method\":\"SUBSCRIBE\"}\n\
         https://fapi.binance.com/fapi/v1/exchangeInfo -> 1790000000.7: {\"x\":1}\n\
         https://fapi.binance.com/fapi/v1/depth?symbol=ABCUSDT&limit=1000 -> 1790000000.8000001: {\"lastUpdateId\":1}\n",
    );
    let mut reader = CaptureReader::open(&spec(&path)).expect("a capture");
    assert_eq!(reader.format(), Format::CryptofeedText);
    let mut captured = Captured::default();
    assert!(reader.next(&mut captured).expect("readable"));
    assert_eq!((captured.recv_ns, &*captured.symbol, captured.line), (BASE_NS + 600_000_000, "", 3));
    assert!(reader.next(&mut captured).expect("readable"));
    assert_eq!((captured.recv_ns, &*captured.symbol), (BASE_NS + 800_000_100, "ABCUSDT"));
    assert!(!reader.next(&mut captured).expect("readable"));
    assert_eq!((reader.bad_lines(), reader.unused_lines()), (0, 4));
    assert_eq!(reader.venue(), Some(Venue::BinanceUsdm));
}

#[test]
fn the_newer_recordings_are_unescaped() {
    let folder = Folder::new();
    let path = folder.write(
        "BINANCE.jsonl",
        concat!(
            r#"{"t":"header","format":2,"exchange":"BINANCE"}"#,
            "\n",
            r#"{"t":"http","conn":"h","ts":1790000000.1,"url":"https://dapi.binance.com/dapi/v1/depth?symbol=ABCUSD_PERP","data":"{\"lastUpdateId\":1}"}"#,
            "\n",
            r#"{"t":"http","conn":"h","ts":1790000000.1,"url":"https://dapi.binance.com/dapi/v1/time","data":"{}"}"#,
            "\n",
            r#"{"t":"recv","conn":"w","ts":1790000000,"data":"{\"s\":\"\u00e9\"}"}"#,
            "\n",
            r#"{"t":"recv","conn":"w","ts":1.79e9,"data":"{}"}"#,
            "\n",
            r#"{"t":"recv","conn":"w","ts":"1790000000","data":"{}"}"#,
            "\n",
            r#"{"t":"recv","conn":"w","ts":1790000000}"#,
            "\n",
            r#"{"t":"recv","conn":"w","ts":179000"#,
        ),
    );
    let mut reader = CaptureReader::open(&spec(&path)).expect("a capture");
    let mut captured = Captured::default();
    assert!(reader.next(&mut captured).expect("readable"));
    assert_eq!((&*captured.bytes, &*captured.symbol), (&b"{\"lastUpdateId\":1}"[..], "ABCUSD_PERP"));
    assert!(reader.next(&mut captured).expect("readable"));
    assert_eq!((&*captured.bytes, captured.recv_ns), ("{\"s\":\"é\"}".as_bytes(), BASE_NS));
    assert!(!reader.next(&mut captured).expect("readable"));
    // An exponent, a quoted stamp, no data, a line cut off: each is told, none is guessed.
    assert_eq!((reader.bad_lines(), reader.unused_lines()), (4, 2));
    assert_eq!(reader.venue(), Some(Venue::BinanceCoinm));
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_skipped() {
    let folder = Folder::new();
    let path = folder.write("bad", "1790000000000000001 a\nnonsense\n17900000000 b\n9999999999999999999 c\n");
    let mut reader = CaptureReader::open(&spec(&path)).expect("a capture");
    let mut captured = Captured::default();
    assert!(reader.next(&mut captured).expect("readable"));
    assert!(!reader.next(&mut captured).expect("readable"));
    assert_eq!((reader.bad_lines(), captured.line), (3, 4));
}

#[test]
fn files_that_are_no_captures_are_refused_with_a_reason() {
    let folder = Folder::new();
    for (name, bytes, reason) in [
        ("empty", &b""[..], "the file is empty"),
        ("prose", b"Dear reader,\n", "no capture: line 1 begins \"Dear reader,\""),
        ("json", b"[1,2]\n", "no capture"),
        ("binary", b"\x7fELF\0\0\0\0", "no capture"),
        ("blank", b"\n\n", "no capture"),
    ] {
        let error = CaptureReader::open(&spec(&folder.write(name, bytes))).expect_err(name);
        assert!(matches!(error, ReplayError::Format { .. }), "{name}: {error}");
        assert!(error.to_string().contains(reason) && error.to_string().contains(name), "{error}");
    }
    let missing = CaptureReader::open(&spec(&folder.0.path().join("missing"))).expect_err("missing");
    assert!(matches!(missing, ReplayError::Open { .. }));
    assert!(CaptureReader::open(&spec(folder.0.path())).is_err(), "a directory");
    // Compression that ends in its first bytes is damage, not another format.
    assert!(CaptureReader::open(&spec(&folder.write("cut.gz", b"\x1f\x8b\x08\x00"))).is_err());
}

#[test]
fn a_damaged_file_delivers_what_is_before_the_damage() {
    let folder = Folder::new();
    // Text that does not compress well, so that a cut file still holds many lines.
    let mut random = common::random::Random(1);
    let lines: String = (0..20_000).map(|n| format!("{} {}\n", BASE_NS + n, random.next())).collect();
    let whole = gz(&lines);
    let zst = zstd::encode_all(lines.as_bytes(), 1).expect("memory");
    for (name, bytes) in [("cut.gz", &whole[..whole.len() / 2]), ("cut.zst", &zst[..zst.len() / 2])] {
        let path = folder.write(name, bytes);
        let mut reader = CaptureReader::open(&spec(&path)).expect("its beginning is whole");
        let (mut captured, mut frames) = (Captured::default(), 0u64);
        let error = loop {
            match reader.next(&mut captured) {
                Ok(true) => frames += 1,
                Ok(false) => panic!("{name}: the damage went unnoticed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReplayError::Damaged { line, .. } if line == frames), "{error}");
        assert!((5_000..20_000).contains(&frames), "{name}: {frames}");
        let reader = replay::start(vec![source(&path)], 1 << 20).expect("captures");
        while let Some(block) = reader.wait_next() {
            reader.give_back(block);
        }
        let report = &reader.finish()[0];
        assert_eq!(report.frames, frames, "{name}");
        assert!(report.damaged.as_deref().is_some_and(|text| text.contains("damaged after line")), "{report:?}");
    }
}

#[test]
fn captures_merge_by_time_then_name_then_line() {
    let folder = Folder::new();
    let stamped = |frames: &[(i64, &str)]| -> String {
        frames.iter().map(|(ns, text)| format!("{} {text}\n", BASE_NS + ns)).collect()
    };
    let b = folder.write("b", stamped(&[(1, "b1"), (5, "b2"), (5, "b3"), (9, "b4")]));
    let a = folder.write("a", stamped(&[(5, "a1"), (5, "a2"), (8, "a3")]));
    // A file whose stamps run back keeps its own order: lines of one connection are never swapped.
    let c = folder.write("c", stamped(&[(7, "c1"), (2, "c2"), (9, "c3")]));
    let expected = ["b1", "a1", "a2", "b2", "b3", "c1", "c2", "a3", "b4", "c3"];
    // The order in which the files are named must not matter.
    for paths in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a]] {
        let frames = replayed(paths.map(|path| source(path)).into(), 0);
        assert_eq!(frames.iter().map(|frame| &*frame.3).collect::<Vec<_>>(), expected);
        let numbers = frames.iter().all(|(_, number, _, text)| text.as_bytes()[0] - b'a' == *number as u8);
        assert!(numbers, "sources are numbered by name");
    }
}

#[test]
fn a_named_answer_carries_its_instrument_and_others_the_only_one() {
    let folder = Folder::new();
    let path = folder.write(
        "BINANCE.0",
        "1790000000.6: stream\n\
         https://api.binance.com/api/v3/depth?symbol=ABCUSDT -> 1790000000.7: known\n\
         https://api.binance.com/api/v3/depth?symbol=OTHER -> 1790000000.8: unknown\n",
    );
    let hints: Vec<_> = replayed(vec![source(&path)], 0).into_iter().map(|(_, _, hint, _)| hint).collect();
    assert_eq!(hints, [InstrumentId(7), InstrumentId(0), InstrumentId::NONE]);
}

#[test]
fn blocks_of_many_sizes_hold_every_frame_with_its_padding() {
    let folder = Folder::new();
    let mut random = common::random::Random(3);
    // Short frames, empty ones, and one larger than a block.
    let mut frames: Vec<String> = (0..4_000).map(|n| format!("{n}:{}", "x".repeat(random.below(1500)))).collect();
    frames[1_000] = String::new();
    frames[2_000] = "y".repeat(3 << 20);
    let text: String =
        frames.iter().enumerate().map(|(n, frame)| format!("{} {frame}\n", BASE_NS + n as i64)).collect();
    let path = folder.write("large", &text);
    // A budget of nothing, of less than the input, and of more.
    for budget in [0, 1 << 20, 1 << 30] {
        let read = replayed(vec![source(&path)], budget);
        assert_eq!(read.len(), frames.len());
        assert!(read.iter().zip(&frames).all(|((.., text), frame)| text == frame), "budget {budget}");
    }
}

#[test]
fn a_frame_is_never_changed_by_decoding_the_one_before_it() {
    // Frames of a block are each other's padding, and simd-json works in place.
    let folder = Folder::new();
    let golden = common::frames::golden();
    let frames: Vec<String> = golden.iter().flat_map(|golden| golden.forms()).cycle().take(5_000).collect();
    let text: String =
        frames.iter().enumerate().map(|(n, frame)| format!("{} {frame}\n", BASE_NS + n as i64)).collect();
    let path = folder.write("golden", text);
    let mut rig = common::Rig::new(&registry());
    let reader = replay::start(vec![source(&path)], 0).expect("captures");
    let mut expected = frames.iter();
    while let Some(mut block) = reader.wait_next() {
        for index in 0..block.len() {
            let taken = block.frame(index).expect("a frame");
            assert_eq!(taken.frame.bytes(), expected.next().expect("one each").as_bytes());
            rig.feed.frame(&taken.meta, taken.frame, &mut rig.sink);
        }
    }
    assert_eq!(rig.counters().frames, 5_000);
}

#[test]
fn blocks_given_back_are_used_again() {
    let folder = Folder::new();
    let line = format!("{BASE_NS} {}\n", "x".repeat(1 << 19));
    let path = folder.write("blocks", line.repeat(24));
    let reader = replay::start(vec![source(&path)], 0).expect("captures");
    let mut addresses = std::collections::BTreeSet::new();
    let mut blocks = 0;
    while let Some(mut block) = reader.wait_next() {
        addresses.insert(block.frame(0).expect("a frame").frame.bytes().as_ptr() as usize);
        blocks += 1;
        reader.give_back(block);
        // The reader must have the block before it needs the next one.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(blocks, 12, "two lines fill a block");
    assert!(addresses.len() <= 8, "{} buffers for {blocks} blocks", addresses.len());
}

/// Threads of this process that read captures.
#[cfg(target_os = "linux")]
fn readers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a process").flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.trim() == "tide-reader").count()
}

#[test]
fn a_reader_that_is_finished_early_ends_its_thread_and_reports() {
    let folder = Folder::new();
    let line = format!("{BASE_NS} {}\n", "x".repeat(1 << 18));
    let path = folder.write("early", line.repeat(64));
    let reader = replay::start(vec![source(&path)], 0).expect("captures");
    reader.wait_until_ahead();
    assert!(!reader.is_finished() && reader.try_next().is_some());
    let reports = reader.finish();
    assert!((8..64).contains(&reports[0].frames), "{}", reports[0].frames);
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_is_dropped_ends_its_thread() {
    let folder = Folder::new();
    let line = format!("{BASE_NS} {}\n", "x".repeat(1 << 18));
    let path = folder.write("dropped", line.repeat(64));
    for _ in 0..20 {
        drop(replay::start(vec![source(&path)], 0).expect("captures"));
    }
    // Other tests of this binary read as well, a few at a time; twenty leaked threads would stay.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while readers() >= 20 && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(readers() < 20, "{} reader threads", readers());
}

#[test]
fn a_source_that_cannot_be_opened_stops_the_replay_before_it_begins() {
    let folder = Folder::new();
    let good = folder.write("good", format!("{BASE_NS} x\n"));
    let missing = folder.0.path().join("missing");
    assert!(replay::start(vec![source(&good), source(&missing)], 0).is_err());
    assert_eq!(replayed(Vec::new(), 0), []);
}

#[test]
fn the_user_can_say_which_market_a_file_is_of() {
    let spec = SourceSpec::parse("binance-coinm=some/file.gz").expect("a venue");
    assert_eq!((spec.venue, spec.name()), (Some(Venue::BinanceCoinm), "file.gz".into()));
    assert_eq!(SourceSpec::parse("some/file.gz").expect("a file").venue, None);
    assert!(SourceSpec::parse("kraken=file").expect_err("unknown").contains("binance-spot"));
    // A file whose name has a `=` wins over a venue.
    let folder = Folder::new();
    let odd = folder.write("kraken=file", "");
    assert_eq!(SourceSpec::parse(&odd.display().to_string()).expect("a file").path, odd);
}
