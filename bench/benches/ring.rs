//! Push and pop on one core: the instructions of a ring without the trip between caches (the rig measures that).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_bench::peers::ring::{self, Record, Rx, Tx};
use tidegate_wire::ring::{RecordBuf, Region, RegionKind, lossless, overwrite};

fn pair<T: Tx, R: Rx>(criterion: &mut Criterion, name: &str, make: impl Fn() -> (T, R)) {
    let (tx, rx) = make();
    ring::works(tx, rx, 600).expect("the ring delivers every record in order");
    let (mut tx, mut rx) = make();
    let mut record: Record = [1; 7];
    criterion.bench_function(&format!("ring/push_pop/{name}"), |b| {
        b.iter(|| {
            tx.send(&mut record);
            rx.drain(&mut |got| {
                black_box(got[1]);
            })
        });
    });
}

fn one_line(criterion: &mut Criterion) {
    pair(criterion, "ours lossless", || ring::ours_lossless(1024));
    pair(criterion, "ours overwrite", || ring::ours_overwrite(1024));
    pair(criterion, "rtrb", || ring::rtrb(1024));
    pair(criterion, "disruptor", || ring::disruptor(1024));
    pair(criterion, "crossbeam ArrayQueue", || ring::array_queue(1024));
}

/// A record of many lines: a depth frame of 79 levels takes 25.
fn many_lines(criterion: &mut Criterion) {
    let mut record = [7u64; 168];
    let mut buf = RecordBuf::default();
    let region = Arc::new(Region::anonymous(RegionKind::Lossless, 1024).expect("memory for a ring"));
    let (mut writer, mut reader) = (lossless::Writer::resume(region.clone()), lossless::Reader::resume(region));
    writer.push(&mut record).expect("an empty ring has room");
    assert_eq!(reader.pop(&mut buf).map(|got| got[1..].to_vec()), Some(vec![7; 167]));
    criterion.bench_function("ring/push_pop/ours lossless, 24 lines", |b| {
        b.iter(|| {
            black_box(writer.push(&mut record).is_ok());
            black_box(reader.pop(&mut buf).map(<[u64]>::len))
        });
    });
    let region = Arc::new(Region::anonymous(RegionKind::Overwrite, 1024).expect("memory for a ring"));
    let mut writer = overwrite::Writer::resume(region);
    criterion.bench_function("ring/push/ours overwrite, 24 lines, nobody reads", |b| {
        b.iter(|| writer.push(black_box(&mut record)));
    });
}

criterion_group!(benches, one_line, many_lines);
criterion_main!(benches);
