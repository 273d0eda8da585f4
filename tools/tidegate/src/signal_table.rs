//! Signals and how good they were, as tables.

use tidegate_runtime::signals::{LearningReport, SignalsReport};
use tidegate_runtime::trading::TradingReport;
use tidegate_trade::calibration::CalibrationReport;
use tidegate_trade::report::{Bucket, Profit};

use crate::output::number_table;

/// Prints what a run's signals come to.
pub(crate) fn print_signals(signals: &SignalsReport) {
    let report = &signals.report;
    let made_up = if report.reference_simulated { "   THE REFERENCE PRICE IS MADE UP" } else { "" };
    anstream::println!(
        "  signals {} ({:.1} an hour)   candidates {}   re-armed {}   reference {}{made_up}",
        report.signals,
        report.per_hour,
        report.candidates,
        signals.counters.rearmed,
        signals.reference
    );
    let coins: Vec<String> = signals
        .coins
        .iter()
        .map(|(coin, instrument)| {
            let counts = report.by_coin.get(coin).into_iter().flatten();
            let counts: Vec<String> = counts.map(|(action, count)| format!("{action} {count}")).collect();
            let counts = if counts.is_empty() { "nothing".into() } else { counts.join(" ") };
            format!("{coin} ({instrument}): {counts}")
        })
        .collect();
    anstream::println!(
        "  {}",
        if coins.is_empty() { "no coin has an instrument here".into() } else { coins.join("   ") }
    );
    let counters = &signals.counters;
    if counters.no_reference + counters.no_price + counters.crowded > 0 {
        let (reference, price, crowded) = (counters.no_reference, counters.no_price, counters.crowded);
        anstream::println!(
            "  vectors without a fresh reference {reference}, without a price {price}; signals held back {crowded}"
        );
    }
    let (complete, incomplete, digest) = (report.complete, report.incomplete, &signals.digest);
    anstream::println!("  timers seen to their end {complete}, not seen {incomplete}   digest {digest}");
    if signals.lost_records > 0 {
        anstream::println!(
            "  {} records found no room and were missed: the clerk could not keep up",
            signals.lost_records
        );
    }
    print_profits(
        report.complete,
        [
            ("as signalled", &report.profit),
            ("always LONG", &report.always_long),
            ("always SHORT", &report.always_short),
        ],
    );
    report.calibration.iter().for_each(|report| print_calibration("the formula", report));
    print_models(signals);
    print_buckets(&report.by_confidence);
    signals.trading.iter().for_each(print_trading);
}

fn share(part: u64, of: u64) -> String {
    if of == 0 { "-".into() } else { format!("{:.1} %", part as f64 / of as f64 * 100.0) }
}

fn profit(profit: &Profit) -> [String; 5] {
    let Profit { count, reached, touched, mean_bp, sum_bp } = *profit;
    [count.to_string(), share(reached, count), share(touched, count), format!("{mean_bp:.2}"), format!("{sum_bp:.1}")]
}

const PROFIT: [&str; 5] = ["trades", "reached after costs", "touched before costs", "mean at end, bp", "sum, bp"];

fn print_profits(complete: u64, profits: [(&str, &Profit); 3]) {
    if complete == 0 {
        return;
    }
    let rows = profits.map(|(name, of)| {
        let mut row = vec![name.to_owned()];
        row.extend(profit(of));
        row
    });
    let mut header = vec!["trade"];
    header.extend(PROFIT);
    anstream::println!("\n{}", number_table(&header, rows));
}

/// Prints models beside the formula, and who acted on what.
fn print_models(signals: &SignalsReport) {
    for (model, report) in &signals.report.models {
        print_calibration(model, &report.calibration);
        let (of, formula) = (&report.calibration, &report.formula);
        anstream::println!(
            "  the formula on the same {} signals: Brier score {:.4}, log loss {:.4}; {model}: {:.4}, {:.4}",
            formula.count,
            formula.brier,
            formula.log_loss,
            of.brier,
            of.log_loss
        );
    }
    let rows: Vec<Vec<String>> = signals
        .report
        .arms
        .iter()
        .map(|(by, arm)| {
            let mut row = vec![(*by).to_owned()];
            row.extend(profit(&arm.profit));
            row.push(format!("{:.4}", arm.calibration.brier));
            row
        })
        .collect();
    if !rows.is_empty() {
        let mut header = vec!["acted on"];
        header.extend(PROFIT);
        header.push("Brier score");
        anstream::println!("\n{}", number_table(&header, rows));
    }
    signals.learning.iter().for_each(print_learning);
}

fn print_learning(learning: &LearningReport) {
    let version = learning.in_force.map_or("no version".into(), |version| format!("version {version}"));
    anstream::println!(
        "\nModel {}: {version} in force, {} signals rated, {} fell back on the formula{}",
        learning.model,
        learning.rated,
        learning.fallbacks,
        learning.fallback.as_ref().map_or(String::new(), |reason| format!(" ({reason})"))
    );
    if let Some(trainer) = &learning.trainer {
        anstream::println!(
            "  trainings: {} offered a challenger, {} had none; {} failures; it said last: {trainer}",
            learning.offered,
            learning.declined,
            learning.failures
        );
    }
    anstream::println!("  challengers promoted {}, refused {}", learning.promoted, learning.refused);
    if let Some(trial) = &learning.trial {
        anstream::println!(
            "  on trial: version {} after {} outcomes, log loss better by {:.4} (+- {:.4})",
            trial.challenger,
            trial.outcomes,
            trial.gain,
            trial.gain_error
        );
    }
}

/// Prints how good a stated probability was.
fn print_calibration(whose: &str, report: &CalibrationReport) {
    anstream::println!(
        "\nConfidence of {whose}, as a probability: stated {:.3}, observed {:.3} ({} cases)\n  Brier score {:.4} \
         (base rate {:.4}, skill {:.2})   log loss {:.4} (base rate {:.4})   calibration error {:.3}",
        report.stated,
        report.base_rate,
        report.count,
        report.brier,
        report.brier_base,
        report.skill,
        report.log_loss,
        report.log_loss_base,
        report.error
    );
    let rows = report.bins.iter().map(|bin| {
        vec![
            format!("{:.1} to {:.1}", bin.from, bin.to),
            bin.count.to_string(),
            format!("{:.3}", bin.stated),
            format!("{:.3}", bin.observed),
            format!("{:.3} to {:.3}", bin.low95, bin.high95),
        ]
    });
    anstream::println!("{}", number_table(&["confidence", "cases", "stated", "observed", "95 % interval"], rows));
}

fn print_buckets(buckets: &[Bucket]) {
    if buckets.is_empty() {
        return;
    }
    let rows = buckets.iter().map(|bucket| {
        let mut row = vec![format!("{:.1} to {:.1}", bucket.from, bucket.to)];
        row.extend(profit(&bucket.profit));
        row
    });
    let mut header = vec!["confidence"];
    header.extend(PROFIT);
    anstream::println!("\n{}", number_table(&header, rows));
}

/// Prints what trading on paper came to.
fn print_trading(trading: &TradingReport) {
    let c = &trading.counters;
    anstream::println!(
        "\nPaper trading: {} of {} signals opened, {} closed, {} left open   not tradable {}   refused {}   closes sent \
         again {}",
        c.opened,
        c.asked,
        c.closed,
        trading.left_open,
        c.not_tradable,
        c.refused,
        c.retried
    );
    anstream::println!(
        "  balance {:.2} to {:.2}   fees {:.2}   funding {:.2}   borne by the product {:.2}   digest {}",
        trading.balance_before,
        trading.balance_after,
        c.fees as f64 / 1e6,
        c.funding as f64 / 1e6,
        c.borne as f64 / 1e6,
        trading.digest
    );
    let endings: Vec<String> = c.endings.iter().map(|(ending, count)| format!("{} {count}", ending.name())).collect();
    anstream::println!("  endings: {}", if endings.is_empty() { "none".into() } else { endings.join(", ") });
    if let Some(problem) = &trading.unbalanced {
        anstream::println!("  BALANCES DO NOT ADD UP: {problem}");
    }
    let rows = trading.by_confidence.iter().map(|(from, bucket)| {
        vec![from.clone(), bucket.count.to_string(), share(bucket.won, bucket.count), format!("{:.2}", bucket.profit)]
    });
    if !trading.by_confidence.is_empty() {
        anstream::println!("{}", number_table(&["confidence from", "positions", "won", "profit"], rows));
    }
}
