//! Rings in one process: order, back-pressure, laps, dead writers. Two processes: `tests/two_processes.rs`.

use std::sync::Arc;

use super::*;

fn region(kind: RegionKind) -> Arc<Region> {
    Arc::new(Region::anonymous(kind, Region::MIN_LINES).expect("a small ring"))
}

/// A record whose words tell its number and length.
fn record(n: u64, words: usize) -> Vec<u64> {
    (0..words as u64).map(|i| if i == 0 { n & 0xffff_ffff } else { n.wrapping_mul(31).wrapping_add(i) }).collect()
}

fn check(words: &[u64], n: u64, length: usize) {
    let expected = record(n, length);
    assert_eq!(words[0] & 0xffff_ffff, expected[0]);
    assert_eq!(words[1..length], expected[1..], "record {n}");
    assert!(words[length..].iter().all(|w| *w == 0), "padding is zero");
}

fn length_of(n: u64) -> usize {
    1 + (n as usize * 37) % RECORD_WORDS_MAX
}

#[test]
fn regions_refuse_wrong_sizes() {
    for lines in [0, 1, 100, 256, 1000] {
        assert!(matches!(Region::anonymous(RegionKind::Lossless, lines), Err(RegionError::Lines(_))), "{lines}");
    }
}

#[test]
fn lossless_delivers_every_record_in_order_through_many_laps() {
    let region = region(RegionKind::Lossless);
    let (mut writer, mut reader) = (lossless::Writer::resume(region.clone()), lossless::Reader::resume(region));
    let mut buf = RecordBuf::default();
    let (mut written, mut read) = (0u64, 0u64);
    while read < 5_000 {
        while written < 5_000 && writer.push(&mut record(written, length_of(written))).is_ok() {
            written += 1;
        }
        for _ in 0..1 + read % 3 {
            if let Some(words) = reader.pop(&mut buf) {
                check(words, read, length_of(read));
                read += 1;
            }
        }
    }
    assert_eq!(reader.pop(&mut buf), None);
}

#[test]
fn a_full_lossless_ring_refuses_and_keeps_what_it_has() {
    let region = region(RegionKind::Lossless);
    let (mut writer, mut reader) = (lossless::Writer::resume(region.clone()), lossless::Reader::resume(region));
    let mut pushed = 0;
    while writer.push(&mut record(pushed, 70)).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, Region::MIN_LINES / 10);
    let mut buf = RecordBuf::default();
    for n in 0..pushed {
        check(reader.pop(&mut buf).expect("kept"), n, 70);
    }
    assert_eq!(reader.pop(&mut buf), None, "and an idle reader returns its credit");
    assert_eq!(writer.push(&mut record(0, RECORD_WORDS_MAX)), Ok(()));
}

#[test]
fn a_new_writer_goes_on_behind_the_last_whole_record() {
    let region = region(RegionKind::Lossless);
    let mut reader = lossless::Reader::resume(region.clone());
    let mut buf = RecordBuf::default();
    let mut first = lossless::Writer::resume(region.clone());
    first.push(&mut record(0, 20)).expect("room");
    // A writer killed in mid-record: the first two of three lines are there.
    let mut torn = record(1, 20);
    torn[0] |= 3 << 32;
    for (i, payload) in torn.chunks(LINE_WORDS).take(2).enumerate() {
        let line = region.line(first.position() + i as u64);
        for (k, word) in payload.iter().enumerate() {
            line.words[k].store(*word, crate::sync::Ordering::Relaxed);
        }
        line.sequence.store(sequence_word(first.position() + i as u64, i == 0), crate::sync::Ordering::Release);
    }
    check(reader.pop(&mut buf).expect("whole"), 0, 20);
    assert_eq!(reader.pop(&mut buf), None, "a torn record is not delivered");
    let mut second = lossless::Writer::resume(region);
    second.push(&mut record(2, 9)).expect("room");
    check(reader.pop(&mut buf).expect("whole"), 2, 9);
}

#[test]
fn threads_stress_lossless() {
    const RECORDS: u64 = if cfg!(miri) { 300 } else { 300_000 };
    let region = region(RegionKind::Lossless);
    let (mut writer, mut reader) = (lossless::Writer::resume(region.clone()), lossless::Reader::resume(region));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..RECORDS {
                let mut r = record(n, 1 + (n as usize % 40));
                while writer.push(&mut r).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut buf = RecordBuf::default();
        let mut n = 0;
        while n < RECORDS {
            match reader.pop(&mut buf) {
                Some(words) => {
                    check(words, n, 1 + (n as usize % 40));
                    n += 1;
                }
                None => std::thread::yield_now(),
            }
        }
    });
}

#[test]
fn overwrite_never_waits_and_readers_count_what_they_lost() {
    let region = region(RegionKind::Overwrite);
    let mut writer = overwrite::Writer::resume(region.clone());
    let mut slow = overwrite::Reader::newest(region.clone());
    let mut buf = RecordBuf::default();
    for n in 0..1_000 {
        writer.push(&mut record(n, 14));
    }
    let words = slow.pop(&mut buf).expect("something is left").to_vec();
    let n = words[0] & 0xffff_ffff;
    check(&words, n, 14);
    assert_eq!(slow.lost_lines(), n * 2, "two lines a record were lost before record {n}");
    assert_eq!(slow.laps(), 1);
    let mut last = n;
    while let Some(words) = slow.pop(&mut buf) {
        last += 1;
        check(words, last, 14);
    }
    assert_eq!(last, 999);
}

#[test]
fn a_late_reader_finds_the_oldest_whole_record() {
    let region = region(RegionKind::Overwrite);
    let mut writer = overwrite::Writer::resume(region.clone());
    for n in 0..999 {
        writer.push(&mut record(n, length_of(n) % 100 + 1));
    }
    let mut reader = overwrite::Reader::oldest(region.clone());
    let mut buf = RecordBuf::default();
    let mut numbers = Vec::new();
    while let Some(words) = reader.pop(&mut buf) {
        numbers.push(words[0] & 0xffff_ffff);
    }
    assert_eq!(numbers.last(), Some(&998));
    assert!(numbers.len() > 20 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(reader.lost_lines(), 0);
    // A second writer goes on where the first one stopped.
    let mut second = overwrite::Writer::resume(region);
    second.push(&mut record(999, 3));
    check(reader.pop(&mut buf).expect("new"), 999, 3);
}

#[test]
fn threads_stress_overwrite() {
    const RECORDS: u64 = if cfg!(miri) { 200 } else { 300_000 };
    let region = region(RegionKind::Overwrite);
    let mut writer = overwrite::Writer::resume(region.clone());
    let mut readers = [overwrite::Reader::newest(region.clone()), overwrite::Reader::newest(region)];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..RECORDS {
                writer.push(&mut record(n, 1 + (n as usize % 40)));
                if n % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            writer.push(&mut record(RECORDS, 1));
        });
        for reader in &mut readers {
            scope.spawn(move || {
                let mut buf = RecordBuf::default();
                let mut previous = None;
                loop {
                    let Some(words) = reader.pop(&mut buf) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let n = words[0] & 0xffff_ffff;
                    assert!(previous < Some(n), "{previous:?} then {n}");
                    previous = Some(n);
                    if n == RECORDS {
                        break;
                    }
                    check(words, n, 1 + (n as usize % 40));
                }
            });
        }
    });
}
