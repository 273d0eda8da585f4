//! Fits the models of `traps::model` and prints them as code.
//!
//!     TIDEGATE_DATA=../shared/data cargo run --example traps_fit -p tidegate-market
//!
//! Candidates come from 120 hours of the **training** generator and from the recorded days that are set apart for
//! fitting; labels from the labelling rules. Every second candidate of each source fits the weights, the others slope
//! and offset of the calibration. Looks of a candidate share its weight.

#[path = "../tests/traps/evaluate.rs"]
mod evaluate;
#[path = "../tests/traps/recorded.rs"]
mod recorded;
#[path = "../tests/traps/rig.rs"]
mod rig;
#[path = "../tests/traps/scripted.rs"]
mod scripted;

use evaluate::{Evaluation, Followed};
use tidegate_market::traps::Evidence;
use tidegate_market::traps::labels::Verdict;
use tidegate_market::traps::model::Logistic;
use tidegate_wire::look::LookRecord;
use tidegate_wire::trap::{EVIDENCE_SLOTS, TRAP_PATTERNS, TrapPattern};

/// Hours of the training generator, one a seed.
const HOURS: u64 = 120;
/// Unknowns of the largest fit: weights and bias.
const MOST: usize = EVIDENCE_SLOTS + 1;
/// Strength of the regularisation: the weight of a candidate that says nothing.
const RIDGE: f64 = 0.3;

/// A look: what is known, what came of it, and its weight.
type Row = ([f64; MOST], bool, f64);

/// Logistic regression by Newton's method with a ridge on all but the last unknown.
fn fit(rows: &[Row], unknowns: usize) -> [f64; MOST] {
    let mut beta = [0.0; MOST];
    for _ in 0..50 {
        let (mut gradient, mut hessian) = ([0.0; MOST], [[0.0; MOST]; MOST]);
        for (x, label, weight) in rows {
            let z: f64 = x.iter().zip(&beta).map(|(a, b)| a * b).sum();
            let p = 1.0 / (1.0 + (-z).exp());
            for i in 0..unknowns {
                gradient[i] += weight * (f64::from(u8::from(*label)) - p) * x[i];
                (0..unknowns).for_each(|j| hessian[i][j] += weight * p * (1.0 - p) * x[i] * x[j]);
            }
        }
        for i in 0..unknowns {
            let ridge = if i + 1 == unknowns { 1e-6 } else { RIDGE };
            gradient[i] -= ridge * beta[i];
            hessian[i][i] += ridge;
        }
        let step = solve(hessian, gradient, unknowns);
        (0..unknowns).for_each(|i| beta[i] += step[i]);
        if step.iter().all(|s| s.abs() < 1e-9) {
            break;
        }
    }
    beta
}

/// Solves a symmetric positive definite system by elimination.
fn solve(mut a: [[f64; MOST]; MOST], mut b: [f64; MOST], n: usize) -> [f64; MOST] {
    for i in 0..n {
        for j in i + 1..n {
            let factor = a[j][i] / a[i][i];
            (i..n).for_each(|k| a[j][k] -= factor * a[i][k]);
            b[j] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

/// Rows of candidates; `x` makes the unknowns' factors of the evidence.
fn rows<'a>(followed: impl Iterator<Item = &'a Followed>, x: impl Fn(&Evidence) -> [f64; MOST]) -> Vec<Row> {
    let of = |f: &'a Followed| {
        let weight = 1.0 / f.looks.len() as f64;
        f.looks.iter().map(move |(evidence, _)| (*evidence, f.verdict == Verdict::Trap, weight))
    };
    followed.flat_map(of).map(|(evidence, label, weight)| (x(&evidence), label, weight)).collect()
}

fn with_bias(evidence: &Evidence) -> [f64; MOST] {
    let mut x = [1.0; MOST];
    x[..EVIDENCE_SLOTS].copy_from_slice(evidence);
    x
}

/// Bull and bear traps are mirror images: one model for both.
fn of(pattern: TrapPattern, followed: &Followed) -> bool {
    let mirrored = |p| if p == TrapPattern::BearTrap { TrapPattern::BullTrap } else { p };
    mirrored(followed.candidate.pattern) == mirrored(pattern)
}

fn model(pattern: TrapPattern, sources: &[Evaluation]) -> Logistic {
    let decided = |half: usize| {
        let told = move |f: &&Followed| of(pattern, f) && f.verdict != Verdict::Censored;
        sources.iter().flat_map(move |s| s.followed.iter().filter(told).skip(half).step_by(2))
    };
    let beta = fit(&rows(decided(0), with_bias), MOST);
    let (mut weights, bias) = ([0.0; EVIDENCE_SLOTS], beta[EVIDENCE_SLOTS]);
    weights.copy_from_slice(&beta[..EVIDENCE_SLOTS]);
    let raw = Logistic { bias, weights, slope: 1.0, offset: 0.0 };
    let scored = |evidence: &Evidence| {
        let mut x = [0.0; MOST];
        (x[0], x[1]) = (raw.score(evidence), 1.0);
        x
    };
    let platt = fit(&rows(decided(1), scored), 2);
    let (count, traps) = sources
        .iter()
        .flat_map(|s| &s.followed)
        .filter(|f| of(pattern, f) && f.verdict != Verdict::Censored)
        .fold((0, 0), |(n, t), f| (n + 1, t + u32::from(f.verdict == Verdict::Trap)));
    println!("// {}: {count} candidates, {traps} traps", pattern.name());
    Logistic { slope: platt[0], offset: platt[1], ..raw }
}

fn main() {
    let mut sources = Vec::new();
    for seed in 0..HOURS {
        sources.push(evaluate::climates(seed..seed + 1).0);
    }
    if let Some(folder) = recorded::data() {
        for file in recorded::FITTED {
            sources.push(recorded::replayed(&folder, &[file], Evaluation::new, |e, look| e.see(look)));
        }
        let first = |e: &mut Evaluation, look: &LookRecord| {
            if look.header.event_ns < recorded::DIVIDED_NS {
                e.see(look);
            }
        };
        sources.push(recorded::replayed(&folder, &recorded::BITSTAMP, Evaluation::new, first));
    }
    for pattern in TRAP_PATTERNS {
        let Logistic { bias, weights, slope, offset } = model(pattern, &sources);
        let text: Vec<String> = weights.iter().map(|w| format!("{w:.3}")).collect();
        let text = text.join(", ");
        println!("Logistic {{ bias: {bias:.3}, weights: [{text}], slope: {slope:.3}, offset: {offset:.3} }},");
    }
}
