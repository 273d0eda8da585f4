//! How far models moved thresholds over a run, as a table.

use std::collections::BTreeMap;

use tidegate_runtime::replay::{ReplayPlan, ReplayReport};
use tidegate_wire::advice::{ADVICE_UNITS, Adjustment, TARGETS, Target};

use crate::output::number_table;

/// Lowest, highest and last level of a target.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Travel {
    /// The level of the profile, under no condition.
    pub(crate) profile: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) last: f64,
}

/// Travel by instrument and target; only of instruments whose thresholds changed.
pub(crate) type Travels = BTreeMap<String, BTreeMap<&'static str, Travel>>;

/// Units of levels, by target: the recovery's is a factor on cooling periods once it is in force.
const UNITS: [&str; TARGETS] = ["volatility /yr", "spread ratio", "imbalance", "latency us", "cooling factor"];

/// How far levels travelled.
pub(crate) fn travels(report: &ReplayReport, plan: &ReplayPlan) -> Travels {
    let mut travels = Travels::new();
    for (index, instrument) in report.instruments.iter().enumerate() {
        let of = |a: &&Adjustment| a.instrument.index() == index;
        let changes: Vec<&Adjustment> = report.adjustments.iter().filter(of).collect();
        let Some(last) = changes.last() else { continue };
        let profile = &plan.profiles[instrument.instrument.venue as usize];
        let profile = tidegate_guard::thresholds::ThresholdSet::of_profile(profile).tuned();
        let by_target = (0..TARGETS).filter_map(|target| {
            let level = |a: &Adjustment| a.after[target] as f64 / ADVICE_UNITS;
            let levels = || changes.iter().map(|a| level(a));
            let travel = Travel {
                profile: profile[target],
                lowest: levels().fold(f64::INFINITY, f64::min),
                highest: levels().fold(f64::NEG_INFINITY, f64::max),
                last: level(last),
            };
            Some((Target::from_repr(target as u8)?.name(), travel))
        });
        travels.insert(instrument.instrument.name(), by_target.collect());
    }
    travels
}

/// The table on stdout.
pub(crate) fn print_travels(travels: &Travels) {
    if travels.is_empty() {
        return;
    }
    let cell =
        |travel: &Travel| format!("{}: {} .. {}", short(travel.profile), short(travel.lowest), short(travel.highest));
    let rows = travels.iter().map(|(name, targets)| {
        let order = (0..TARGETS as u8).filter_map(Target::from_repr);
        let cells = order.map(|target| targets.get(target.name()).map_or("-".into(), cell));
        std::iter::once(name.clone()).chain(cells).collect()
    });
    let header: Vec<&str> = std::iter::once("instrument").chain(UNITS).collect();
    anstream::println!("\nThresholds (profile: lowest .. highest in force)\n{}", number_table(&header, rows));
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e4 => format!("{:.0}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
