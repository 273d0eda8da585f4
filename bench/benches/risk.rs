//! One order through the risk gate and out again.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_bench::rigs::risk::{Traffic, gate};
use tidegate_guard::risk::rules::RULES;
use tidegate_wire::order::{OrderRequest, RequestKind};

fn risk(criterion: &mut Criterion) {
    let (mut gate, traffic) = (gate().expect("limits that fit"), Traffic::new(4_096));
    let (mut at, mut sent) = (0, 0u64);
    criterion.bench_function("risk/order and its end", |b| {
        b.iter(|| {
            at = (at + 1) % traffic.orders.len();
            sent += 1;
            let (request, mut view) = traffic.orders[at];
            // Time goes on, and no client id comes twice.
            let now = sent as i64 * 3_000_000;
            view.reference.at_ns = now;
            let request = OrderRequest { event_ns: now, client_id: sent, ..request };
            let verdict = black_box(gate.check(&request, &view));
            gate.on_cancelled(0, sent);
            verdict
        });
    });
    let (request, view) = traffic.orders[1];
    let cancel = OrderRequest { kind: RequestKind::Cancel as u8, ..request };
    criterion.bench_function("risk/cancel", |b| b.iter(|| black_box(gate.check(&cancel, &view))));
    for rule in 0..RULES.len() as u8 {
        criterion.bench_function(&format!("risk/rule/{}", RULES[usize::from(rule)].name), |b| {
            b.iter(|| black_box(gate.probe(rule, &request, &view)));
        });
    }
}

criterion_group!(benches, risk);
criterion_main!(benches);
