//! One decimal text to an integer mantissa.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_bench::peers::json::{fixed, float};
use tidegate_wire::Scale;
use tidegate_wire::decimal::quoted_scalar;

/// Texts as frames hold them, each followed by its closing quote and padding.
struct Texts {
    padded: Vec<[u8; 32]>,
    lengths: Vec<usize>,
}

impl Texts {
    fn new() -> Self {
        let (mut padded, mut lengths) = (Vec::new(), Vec::new());
        for n in 0..1024u64 {
            let qty = n * 7_919 % 30_000;
            let text = match n % 2 {
                0 => format!("{}.{}0", 61_000 + n, n % 10),
                _ => format!("{}.{:03}", qty / 1_000, qty % 1_000),
            };
            let mut bytes = [b'"'; 32];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            padded.push(bytes);
            lengths.push(text.len());
        }
        Self { padded, lengths }
    }

    fn sum(&self, read: impl Fn(&[u8; 32], usize) -> Option<i64>) -> i64 {
        self.padded.iter().zip(&self.lengths).map(|(bytes, length)| read(bytes, *length).unwrap_or(i64::MIN)).sum()
    }
}

fn as_text(bytes: &[u8; 32], length: usize) -> &str {
    std::str::from_utf8(&bytes[..length]).unwrap_or_default()
}

/// As the scanner calls it: inlined into a function built for this CPU's vectors.
///
/// # Safety
/// The CPU has AVX2, BMI1, BMI2, LZCNT and POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn sum_vector(texts: &Texts, scale: Scale) -> i64 {
    let mut sum = 0;
    for bytes in &texts.padded {
        // SAFETY: 32 bytes are readable; the CPU's features are the caller's promise.
        sum += unsafe { tidegate_wire::decimal::simd::quoted(bytes.as_ptr(), scale) }.map_or(i64::MIN, |(v, _)| v);
    }
    sum
}

fn decimals(criterion: &mut Criterion) {
    let (texts, scale) = (Texts::new(), Scale::saturating(3));
    let scalar = |bytes: &[u8; 32], length| quoted_scalar(&bytes[..length], scale).ok().map(|(value, _)| value);
    let wanted = texts.sum(scalar);
    assert_eq!(texts.sum(|bytes, length| fixed(as_text(bytes, length), 3)), wanted);
    assert_eq!(texts.sum(|bytes, length| float(as_text(bytes, length), 3)), wanted);
    let mut group = criterion.benchmark_group("decimal");
    group.throughput(Throughput::Elements(texts.padded.len() as u64));
    #[cfg(target_arch = "x86_64")]
    if tidegate_wire::decimal::simd::available() {
        // SAFETY: just asked for.
        let vector = || unsafe { sum_vector(&texts, scale) };
        assert_eq!(vector(), wanted);
        group.bench_function("ours, 16-byte vector", |b| b.iter(|| black_box(vector())));
    }
    group.bench_function("ours, scalar", |b| b.iter(|| black_box(texts.sum(scalar))));
    group.bench_function("peer, scalar", |b| {
        b.iter(|| black_box(texts.sum(|bytes, length| fixed(as_text(bytes, length), 3))));
    });
    group.bench_function("peer, f64", |b| {
        b.iter(|| black_box(texts.sum(|bytes, length| float(as_text(bytes, length), 3))));
    });
    group.finish();
}

criterion_group!(benches, decimals);
criterion_main!(benches);
