//! Trap detection: what it says of simulated traps whose truth is known, and of recorded markets.
//!
//! Two generators drive real events through a real stage whose looks the detector sees. `scripted` is the one that the
//! models were fitted on (120 of its seeds) and that the alarm's threshold was chosen on; `agents` is the one that
//! nothing was fitted on: other mechanics, other parameters, other seeds. `examples/traps.rs` prints the whole
//! evaluation; what it printed stands in `traps` of the crate.

mod agents;
mod detector;
mod evaluate;
mod recorded;
mod rig;
mod scripted;

use evaluate::{Evaluation, climates, rule_rows, truth_rows};
use tidegate_wire::look::LookRecord;
use tidegate_wire::trap::{TRAP_PATTERNS, TrapPattern};

/// Hours of the test generator: enough for some eighty traps.
const HOURS: i64 = 4;

/// What every evaluation must show, whatever its figures.
fn sane(evaluation: &Evaluation) {
    for pattern in TRAP_PATTERNS {
        for followed in evaluation.decided(pattern) {
            for (evidence, probability) in &followed.looks {
                assert!((0.0..=1.0).contains(probability), "{pattern:?} {probability}");
                assert!(evidence.iter().all(|value| (-1.0..=1.2).contains(value)), "{pattern:?} {evidence:?}");
            }
        }
    }
}

#[test]
fn traps_of_the_training_generator_are_found_and_probabilities_beat_the_base_rate() {
    let (evaluation, truths) = climates(2_000..2_005);
    let report = truth_rows(&evaluation, &truths) + &rule_rows(&evaluation);
    sane(&evaluation);
    let (mut found, mut known, mut brier, mut base) = (0, 0, 0.0, 0.0);
    for pattern in TRAP_PATTERNS {
        let (truth, rule) = (evaluation.by_truth(pattern, &truths), evaluation.by_rule(pattern));
        (found, known) = (found + truth.found, known + truth.truths);
        let candidates = f64::from(rule.candidates);
        (brier, base) = (brier + rule.brier * candidates, base + rule.brier_of_base() * candidates);
    }
    assert!(known > 100 && found as f64 > 0.7 * known as f64, "{found} of {known}\n{report}");
    assert!(brier < 0.8 * base, "{brier} {base}\n{report}");
}

#[test]
fn traps_of_a_generator_that_nothing_was_fitted_on_are_found_better_than_by_chance() {
    let mut market = agents::Agents::new(5);
    let mut evaluation = Evaluation::new(&market.market.registry);
    market.run(HOURS * 3600, &mut |look| evaluation.see(look));
    let report = truth_rows(&evaluation, &market.truths) + &rule_rows(&evaluation);
    sane(&evaluation);
    let sums = TRAP_PATTERNS.map(|pattern| evaluation.by_truth(pattern, &market.truths));
    let (found, known) = sums.iter().fold((0, 0), |(found, known), s| (found + s.found, known + s.truths));
    assert!(known > 40 && 2 * found > known, "{found} of {known}\n{report}");
    let rules = TRAP_PATTERNS.map(|pattern| evaluation.by_rule(pattern));
    let sum = |of: fn(&evaluate::ByRule) -> u32| f64::from(rules.iter().map(of).sum::<u32>());
    let (precision, base) = (sum(|r| r.hits) / sum(|r| r.alarms), sum(|r| r.traps) / sum(|r| r.candidates));
    assert!(precision > 1.2 * base, "{precision} {base}\n{report}");
    assert!(
        evaluation.signals[0] >= HOURS as u64 * 3600 / 15 / 2,
        "signals come at their cadence too: {:?}",
        evaluation.signals
    );
}

#[test]
fn the_same_looks_give_the_same_signals() {
    let run = || {
        let mut market = agents::Agents::new(9);
        let mut evaluation = Evaluation::new(&market.market.registry);
        market.run(900, &mut |look| evaluation.see(look));
        (evaluation.alarms, evaluation.signals)
    };
    assert_eq!(run(), run());
}

#[test]
fn recorded_minutes_are_judged_and_alarms_are_a_bounded_number() {
    let Some(folder) = recorded::data() else { return };
    let files = &recorded::HELD_OUT[..2];
    let see = |evaluation: &mut Evaluation, look: &LookRecord| evaluation.see(look);
    let evaluation = recorded::replayed(&folder, files, Evaluation::new, see);
    let report = rule_rows(&evaluation);
    sane(&evaluation);
    let hours = evaluation.watched_ns as f64 / 3.6e12;
    assert!((0.15..0.25).contains(&hours), "{report}");
    // Two instruments for less than six minutes: a signal a quarter of a minute each, and one at every change.
    assert!((40..400).contains(&evaluation.signals.iter().sum::<u64>()), "{:?}\n{report}", evaluation.signals);
    let alarms = evaluation.alarms.len() as f64 / hours;
    assert!(alarms < 400.0, "{alarms} alarms an hour\n{report}");
    assert!(evaluation.decided(TrapPattern::Layering).count() + evaluation.decided(TrapPattern::StopHunt).count() > 0);
}
