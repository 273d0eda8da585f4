//! Every interleaving of short runs, bounded by preemptions: `make loom`.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::cell::SeqCell;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

fn ring(kind: RegionKind) -> std::sync::Arc<Region> {
    std::sync::Arc::new(Region::anonymous(kind, 4).expect("four lines"))
}

#[test]
fn lossless_delivers_in_order_and_whole() {
    model(|| {
        let region = ring(RegionKind::Lossless);
        let mut writer = lossless::Writer { region: region.clone(), next: 0, head: 0 };
        let mut reader = lossless::Reader { region, next: 0, returned: 0 };
        let thread = thread::spawn(move || {
            let mut sent = 0;
            // A record of two lines, then one of one line; a full ring only means "later".
            for (n, words) in [(1u64, 8), (2, 2)] {
                let mut record = vec![n; words];
                for _ in 0..2 {
                    if writer.push(&mut record).is_ok() {
                        sent += 1;
                        break;
                    }
                    thread::yield_now();
                }
            }
            sent
        });
        let mut buf = RecordBuf::default();
        let mut expected = 1;
        for _ in 0..3 {
            match reader.pop(&mut buf) {
                Some(words) => {
                    let length = if expected == 1 { 8 } else { 2 };
                    assert!(words[1..length].iter().all(|w| *w == expected), "torn: {words:?}");
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        assert_eq!(thread.join().expect("writer"), 2);
    });
}

#[test]
fn overwrite_never_shows_a_torn_record() {
    model(|| {
        let region = ring(RegionKind::Overwrite);
        let mut writer = overwrite::Writer::resume(region.clone());
        let mut reader = overwrite::Reader::newest(region);
        let thread = thread::spawn(move || {
            // Five lines through four slots: the first slot is overwritten under the reader.
            for n in 1..=5u64 {
                writer.push(&mut [n, n]);
            }
        });
        let mut buf = RecordBuf::default();
        let mut last = 0;
        for _ in 0..2 {
            if let Some(words) = reader.pop(&mut buf) {
                let n = words[0] & 0xffff_ffff;
                assert_eq!(words[1], n, "torn");
                assert!(n > last);
                last = n;
            }
        }
        thread.join().expect("writer");
    });
}

#[test]
fn cell_never_shows_a_torn_value() {
    model(|| {
        let cell = Arc::new(SeqCell::<2>::new([0, 0]));
        let writer = cell.clone();
        let thread = thread::spawn(move || {
            writer.store(&[1, 1]);
            writer.store(&[2, 2]);
        });
        if let Some((version, [a, b])) = cell.load() {
            assert!(a == b && a == version, "torn: {a} {b} at {version}");
        }
        thread.join().expect("writer");
    });
}
