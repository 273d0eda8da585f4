//! Fuzz target: a capture of arbitrary bytes is read to its end or refused; nothing panics, and nothing is lost
//! silently.

#![no_main]

use std::io::Write;
use std::path::PathBuf;

use libfuzzer_sys::{Corpus, fuzz_target};
use tidegate_feed::replay::{CaptureReader, Captured, SourceSpec};

/// One file for the process; `run.sh` puts the directory of temporary files into memory.
fn path() -> PathBuf {
    std::env::temp_dir().join(format!("capture-{}", std::process::id()))
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let path = path();
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(input));
    written.expect("a file in memory");
    let spec = SourceSpec { path, venue: None };
    let Ok(mut reader) = CaptureReader::open(&spec) else { return Corpus::Keep };
    let (mut captured, mut frames) = (Captured::default(), 0);
    let ended = loop {
        match reader.next(&mut captured) {
            Ok(true) => frames += 1,
            Ok(false) => break true,
            Err(_) => break false,
        }
        assert!(captured.line >= frames, "a line holds at most one frame");
        assert!(captured.recv_ns >= 0, "no stamp is before the epoch");
    };
    let compressed = matches!(input, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', b'X', ..]);
    // A frame of a table may be several rows, and a list has lines of its own.
    if ended && !compressed && !reader.format().is_table() {
        // Every line is a frame, of no use, bad, or empty.
        let empty = |line: &&[u8]| line.iter().all(|byte| *byte == b'\r');
        let lines: Vec<&[u8]> = input.strip_suffix(b"\n").unwrap_or(input).split(|byte| *byte == b'\n').collect();
        let blank = lines.iter().filter(|line| empty(line)).count() as u64;
        let counted = frames + reader.unused_lines() + reader.bad_lines() + blank;
        assert_eq!(counted, lines.len() as u64, "lines are counted");
    }
    Corpus::Keep
});
