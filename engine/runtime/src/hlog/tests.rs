//! Logs written, read back, broken and followed; the fixture was written by another implementation.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::*;

const HERE: &str = "test.hlog";

fn values(from_ns: u64, count: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap();
    for k in 0..count {
        histogram.record(from_ns + k * 10).unwrap();
    }
    histogram
}

fn written(intervals: &[(&str, u64)]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latency.hlog");
    let mut log = LogWriter::create(&path, UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)).unwrap();
    for (second, &(tag, count)) in intervals.iter().enumerate() {
        let start = Duration::from_secs(second as u64);
        log.write_interval(tag, start, Duration::from_secs(1), &values(1_000, count)).unwrap();
    }
    (directory, path)
}

#[test]
fn what_is_written_is_read_back() {
    let (_directory, path) = written(&[("parse", 100), ("", 50), ("parse", 0)]);
    let log = read(&path).unwrap();
    assert_eq!((log.unknown_lines, log.torn_lines), (0, 0));
    assert_eq!(log.start_time_s, Some(1_700_000_000.25));
    let tags: Vec<&str> = log.intervals.iter().map(|interval| interval.tag.as_str()).collect();
    assert_eq!(tags, ["parse", "", "parse"]);
    assert_eq!(log.intervals[0].histogram, values(1_000, 100));
    assert_eq!(log.intervals[1].start_s, 1_700_000_001.25);
    assert_eq!(log.intervals[1].duration_s, 1.0);
    assert!(log.intervals[2].histogram.is_empty());
}

#[test]
fn the_header_is_the_standard_one() {
    let (_directory, path) = written(&[("parse", 3)]);
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "#[Histogram log format version 1.3]");
    assert!(lines.contains(&"#[StartTime: 1700000000.250 (seconds since epoch)]"));
    assert!(lines.contains(&"#[BaseTime: 1700000000.250 (seconds since epoch)]"));
    assert!(text.contains("\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\""));
    assert!(lines[5].starts_with("Tag=parse,0.000,1.000,0.001020,HISTF"), "{}", lines[5]);
}

#[test]
fn a_tag_that_would_break_the_line_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = LogWriter::create(directory.path().join("a.hlog"), UNIX_EPOCH).unwrap();
    for tag in ["a,b", "a b", "a\nb"] {
        let error = log.write_interval(tag, Duration::ZERO, Duration::ZERO, &values(1, 1)).unwrap_err();
        assert!(matches!(error, HlogError::Tag { .. }), "{error}");
    }
}

#[test]
fn errors_name_the_file() {
    let missing = Path::new("no/such/directory/a.hlog");
    assert!(LogWriter::create(missing, UNIX_EPOCH).unwrap_err().to_string().contains("no/such/directory/a.hlog"));
    assert!(read(missing).unwrap_err().to_string().contains("no/such/directory/a.hlog"));
}

#[test]
fn a_full_disk_is_an_error_with_the_path() {
    // The device exists on Linux only, and it accepts the open and refuses the write.
    if Path::new("/dev/full").exists() {
        let error = LogWriter::create("/dev/full", UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().starts_with("/dev/full: "), "{error}");
    }
}

#[test]
fn a_torn_last_line_is_counted_wherever_it_breaks() {
    let (_directory, path) = written(&[("parse", 100), ("book", 100)]);
    let bytes = std::fs::read(path).unwrap();
    let last_line = bytes[..bytes.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for end in last_line + 1..bytes.len() {
        let log = parse(Path::new(HERE), &bytes[..end]).unwrap();
        // A cut so late that nothing is missing but the checksum or the line's end still reads.
        match log.torn_lines {
            0 => assert_eq!(log.intervals.len() + log.unknown_lines, 2, "cut at {end}"),
            _ => assert_eq!((log.torn_lines, log.intervals.len()), (1, 1), "cut at {end}"),
        }
    }
}

#[test]
fn a_broken_line_in_the_middle_is_an_error_with_its_number() {
    let cases = [
        ("Tag=parse", "no comma after the tag"),
        ("Tag=parse,zero,1,1,HIST", "start is not a number: `zero`"),
        ("1.0,inf,1,HIST", "length is not a number"),
        ("1.0,1.0", "maximum is missing"),
        ("1.0,1.0,1.0", "no histogram"),
        ("1.0,1.0,1.0,***", "not base64"),
        ("1.0,1.0,1.0,AAAAAAAA", "cannot be decoded"),
    ];
    for (line, expected) in cases {
        let text = format!("#comment\n\n{line}\n#end\n");
        let error = parse(Path::new(HERE), text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("test.hlog, line 3: ") && error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn other_lines_are_counted_and_skipped() {
    let text = b"hello\n# a comment\n\"legend\",\"of\",\"columns\"\r\n\r\n\xff\xfe\n-1.0,2\n";
    let log = parse(Path::new(HERE), text).unwrap();
    assert_eq!((log.unknown_lines, log.torn_lines, log.intervals.len()), (3, 0, 0));
}

#[test]
fn interval_starts_follow_the_reference_rule() {
    let (_directory, path) = written(&[("a", 1)]);
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().last().unwrap();
    let start_of =
        |header: &str| parse(Path::new(HERE), format!("{header}{line}\n").as_bytes()).unwrap().intervals[0].start_s;
    assert_eq!(start_of(""), 0.0, "as written");
    assert_eq!(start_of("#[StartTime: 1441812279.474 (seconds since epoch), Wed]\n"), 1_441_812_279.474, "an offset");
    assert_eq!(start_of("#[StartTime: 5.5]\n"), 0.0, "less than a year apart: already absolute");
    assert_eq!(start_of("#[StartTime: 5000000000 ]\n#[BaseTime: 7.5 (s)]\n"), 7.5, "the base time wins");
}

#[test]
fn a_log_of_another_implementation_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign.hlog.txt");
    let log = read(&path).unwrap();
    assert_eq!((log.unknown_lines, log.torn_lines, log.intervals.len()), (0, 0, 4));
    let sums = merge(&log.intervals).unwrap();
    let keys: Vec<&str> = sums.keys().map(String::as_str).collect();
    assert_eq!(keys, ["", "book", "parse"]);
    // Two intervals with 1,000 to 1,000,000 ns in steps of 1,000; then one with the first 100 of them.
    let parse = &sums["parse"];
    assert_eq!(parse.len(), 2_000);
    for (quantile, expected) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
        assert!(parse.equivalent(parse.value_at_quantile(quantile), expected), "{quantile}");
    }
    assert_eq!(sums["book"].len(), 100);
    assert_eq!(log.intervals[0].start_s, 1_700_000_000.0);
}

#[test]
fn merging_grows_to_the_largest_value() {
    let small = Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap();
    let mut intervals = vec![Interval { tag: "a".into(), start_s: 0.0, duration_s: 1.0, histogram: small }];
    intervals.push(Interval { histogram: values(5_000_000, 3), ..intervals[0].clone() });
    let sums = merge(&intervals).unwrap();
    assert_eq!(sums["a"].len(), 3);
    assert!(sums["a"].equivalent(sums["a"].max(), 5_000_020));
}

#[test]
fn percentiles_that_too_few_samples_cannot_show_are_absent() {
    let of = |count| Summary::of(&values(1_000, count));
    assert_eq!(of(0), Summary::default());
    assert_eq!((of(9_999).p999_ns, of(9_999).p9999_ns), (None, None));
    assert!(of(9_999).p99_ns.is_some());
    assert!(of(10_000).p999_ns.is_some() && of(99_999).p9999_ns.is_none());
    assert!(of(100_000).p9999_ns.is_some());
    let json = serde_json::to_value(of(5)).unwrap();
    assert_eq!(json["p9999_ns"], serde_json::Value::Null);
    assert!(values(1_000, 5).equivalent(json["max_ns"].as_u64().unwrap(), 1_040));
}

#[test]
fn the_percentile_table_has_the_standard_layout() {
    let mut out = Vec::new();
    write_hgrm(&mut out, &values(1_000, 1_000), Unit::Micros).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
    assert_eq!(lines[1], "");
    assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
    assert!(text.contains("       5.991 0.500000000000        500           2.00\n"), "{text}");
    assert!(lines[lines.len() - 4].trim_end().ends_with("1.000000000000       1000"), "{text}");
    assert!(lines[lines.len() - 3].starts_with("#[Mean    ="));
    assert!(lines[lines.len() - 2].ends_with("Total count    =         1000]"), "{text}");
    assert!(lines[lines.len() - 1].ends_with("SubBuckets     =         2048]"), "{text}");
    let mut empty = Vec::new();
    write_hgrm(&mut empty, &values(1, 0), Unit::Nanos).unwrap();
    assert!(String::from_utf8(empty).unwrap().contains("Total count    =            0"));
}

#[test]
fn a_growing_log_is_followed_line_by_line() {
    let (directory, path) = written(&[("parse", 10), ("book", 20)]);
    let whole = std::fs::read(&path).unwrap();
    let live = directory.path().join("live.hlog");
    let mut follower = Follower::new(&live);
    assert_eq!(follower.poll().unwrap(), (vec![], false), "not there yet");
    let mut counts = Vec::new();
    for piece in whole.chunks(97) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&live).unwrap();
        file.write_all(piece).unwrap();
        let (intervals, restarted) = follower.poll().unwrap();
        assert!(!restarted);
        counts.extend(intervals.iter().map(|interval| interval.histogram.len()));
    }
    assert_eq!(counts, [10, 20]);
    assert_eq!(follower.poll().unwrap(), (vec![], false), "nothing new");
    std::fs::write(&live, "#new\n").unwrap();
    assert_eq!(follower.poll().unwrap(), (vec![], true), "a new log");
}

#[test]
fn a_broken_line_does_not_stop_the_follower() {
    let (directory, path) = written(&[("parse", 10)]);
    let good = std::fs::read_to_string(path).unwrap();
    let live = directory.path().join("live.hlog");
    std::fs::write(&live, format!("1,2,3,bad\n{good}")).unwrap();
    let mut follower = Follower::new(&live);
    assert!(follower.poll().unwrap_err().to_string().contains("line 1"));
    assert_eq!(follower.poll().unwrap().0.len(), 1);
}
