//! One frame to fixed-point records, kind by kind.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_bench::corpus::{self, DepthMaker, Frames};
use tidegate_bench::peers::json::TapeWalk;
use tidegate_bench::peers::json::{Pod, serde_depth};
use tidegate_bench::rigs::decode::decoder;
use tidegate_feed::venues::Decode;

const FRAMES: usize = 64;

fn kinds() -> Vec<(&'static str, Frames)> {
    vec![
        ("depth_79", corpus::depth(FRAMES, 79)),
        ("depth_20", corpus::depth(FRAMES, 20)),
        ("trade", corpus::small(FRAMES, |maker| maker.trade(false))),
        ("quote", corpus::small(FRAMES, DepthMaker::quote)),
    ]
}

fn decode(criterion: &mut Criterion) {
    for (kind, frames) in kinds() {
        let ((mut ours, id), mut own) = (decoder(), frames.clone());
        for i in 0..FRAMES {
            let scanned = ours.scan(&own.frame(i), true);
            assert!(scanned.is_some() && scanned == ours.parse(&mut own.frame(i), id).ok(), "{kind} frame {i}");
        }
        let mut group = criterion.benchmark_group(format!("decode/{kind}"));
        group.throughput(Throughput::Bytes(frames.mean_bytes() as u64));
        let mut at = 0;
        let mut next = || {
            at = (at + 1) % FRAMES;
            at
        };
        group.bench_function("scan", |b| b.iter(|| black_box(ours.decode(&mut own.frame(next()), id).is_ok())));
        group.bench_function("parse", |b| b.iter(|| black_box(ours.parse(&mut own.frame(next()), id).is_ok())));
        group.finish();
    }
}

fn peer(criterion: &mut Criterion) {
    let (mut frames, mut tape, mut pod) = (corpus::depth(FRAMES, 79), TapeWalk::default(), Pod::with_room());
    let mut other = Pod::with_room();
    for i in 0..FRAMES {
        assert!(tape.depth(&mut frames, i, &mut pod).is_some() && serde_depth(frames.get(i), &mut other).is_some());
        assert_eq!(pod, other, "frame {i}");
    }
    let mut at = 0;
    criterion.bench_function("decode/depth_79/simd-json tape and walk", |b| {
        b.iter(|| {
            at = (at + 1) % FRAMES;
            black_box(tape.depth(&mut frames, at, &mut pod))
        });
    });
}

criterion_group!(benches, decode, peer);
criterion_main!(benches);
