//! The newest-value cell: write, read and the poll that finds nothing new.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_wire::cell::SeqCell;

fn cell<const N: usize>(criterion: &mut Criterion) {
    let cell = SeqCell::<N>::default();
    let words = [7; N];
    cell.store(&words);
    assert_eq!(cell.load(), Some((1, words)));
    let bytes = N * 8;
    criterion.bench_function(&format!("cell/store/{bytes} B"), |b| b.iter(|| cell.store(black_box(&words))));
    criterion.bench_function(&format!("cell/load/{bytes} B"), |b| b.iter(|| black_box(cell.load())));
    criterion.bench_function(&format!("cell/version/{bytes} B"), |b| b.iter(|| black_box(cell.version())));
}

fn cells(criterion: &mut Criterion) {
    cell::<3>(criterion);
    cell::<7>(criterion);
    cell::<15>(criterion);
    cell::<31>(criterion);
}

criterion_group!(benches, cells);
criterion_main!(benches);
