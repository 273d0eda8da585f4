//! Depth diffs of 79 changes into a book of 2,000 levels, with the best twenty of both sides read afterwards.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_bench::corpus;
use tidegate_bench::peers::book::{TreeBook, read_top};
use tidegate_bench::rigs::book::{decode_all, generated};
use tidegate_market::book::Book;
use tidegate_wire::Price;

fn apply(criterion: &mut Criterion) {
    let (snapshot, frames) = generated(256);
    let snapshot = decode_all(&snapshot).expect("a snapshot");
    let frames = decode_all(&frames).expect("depth frames");
    let mut book = Book::new(&corpus::instrument(), Some(Price::from_raw(corpus::MID)));
    let mut tree = TreeBook::default();
    book.load(&snapshot[0].view()).expect("prices on the grid");
    tree.apply(&snapshot[0].view());
    for frame in &frames {
        book.apply(&frame.view()).expect("prices on the grid");
        tree.apply(&frame.view());
        assert_eq!(read_top(&book), tree.read_top());
    }
    let mut at = 0;
    criterion.bench_function("book/apply_79_and_top/ours", |b| {
        b.iter(|| {
            at = (at + 1) % frames.len();
            black_box(book.apply(&frames[at].view()).is_ok());
            black_box(read_top(&book))
        });
    });
    criterion.bench_function("book/apply_79_and_top/two BTreeMaps", |b| {
        b.iter(|| {
            at = (at + 1) % frames.len();
            tree.apply(&frames[at].view());
            black_box(tree.read_top())
        });
    });
    let price = Price::from_raw(corpus::MID + 1_000);
    criterion.bench_function("book/ask_depth within 1,000 ticks", |b| b.iter(|| black_box(book.ask_depth(price))));
}

criterion_group!(benches, apply);
criterion_main!(benches);
