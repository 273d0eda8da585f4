//! From a frame to a signal: the whole path with the signal desk behind it, on recorded and simulated markets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use tidegate_feed::replay::SourceSpec;
use tidegate_runtime::latency::STAGES;
use tidegate_runtime::pipeline::Topology;
use tidegate_runtime::replay::{ReplayPlan, ReplayReport, Speed};
use tidegate_simex::{SimConfig, write_captures};
use tidegate_trade::signals::{SignalConfig, SimulatedReference};

use crate::recorded::CAPTURE;
use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, pin, unpin};

/// From a frame's arrival to the signal desk's word, features included, median, us.
const BAR_US: f64 = 6.0;
/// Minutes of the simulated market: signals are few, a window's first vector each.
const MINUTES: u64 = 120;
/// Fewest signals that a median means something of.
const LEAST: u64 = 30;

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("signals", options, watch);
    // The engine places its own threads: they must not inherit this one's core.
    unpin();
    if let Err(reason) = measure(&mut report, options) {
        report.check(false, reason);
    }
    pin(options.cores.0);
    report
}

fn measure(report: &mut Report, options: &Options) -> Result<(), String> {
    let market = tempfile::tempdir().map_err(|error| error.to_string())?;
    let minutes = if options.quick { 11 } else { MINUTES };
    let thin = SimConfig::thin(1, Duration::from_secs(minutes * 60));
    let files = write_captures(&thin, market.path()).map_err(|error| error.to_string())?;
    let simulated: Vec<PathBuf> = files.into_iter().map(|file| file.path).collect();
    let recorded = options.data.join(CAPTURE);
    let title = "frame to signal, features and breakers included, us; `told` are the vectors that told one";
    let mut table = Table::new(title, &["vectors", "p50", "p99", "told", "told p50", "told p99", "hot allocs"]);
    let mut rows = vec![("six simulated coins", "simulated", simulated, None)];
    if recorded.exists() {
        // It has no TON: the reference is made up, which costs a sine more than one that is observed.
        rows.push(("USD-M BTC day", "recorded", vec![recorded], Some(SimulatedReference::default())));
    } else {
        let reason = format!("{} not found; set TIDEGATE_DATA or --data", recorded.display());
        report.skip("signals_recorded_p50", reason);
    }
    let mut figures = Vec::new();
    for (label, name, files, reference) in rows {
        let ran = replay(options, &files, reference)?;
        let (all, told) = (stage(&ran, "signal_total"), stage(&ran, "signal_told"));
        let us = |histogram: &Histogram<u64>, part: f64| histogram.value_at_quantile(part) as f64 / 1e3;
        let allocations = ran.allocations_hot.map_or(f64::NAN, |count| count as f64);
        let (count, signals) = (all.len() as f64, told.len() as f64);
        table.row(label, &[count, us(all, 0.5), us(all, 0.99), signals, us(told, 0.5), us(told, 0.99), allocations]);
        figures.push((format!("signals_{name}_p50"), us(all, 0.5), "us", BAR_US));
        if told.len() >= LEAST {
            figures.push((format!("signals_{name}_told_p50"), us(told, 0.5), "us", BAR_US));
        }
        figures.push((format!("signals_{name}_hot_allocs"), allocations, "allocs", 0.0));
        let counted = ran.signals.as_ref().map_or(0, |signals| {
            let counters = &signals.counters;
            counters.long + counters.short + counters.candidates
        });
        report.check(counted > 0, format!("{label}: there are signals"));
    }
    report.table(table);
    figures.into_iter().for_each(|(name, value, unit, bar)| report.ratio(name, value, bar, unit));
    Ok(())
}

fn stage<'a>(ran: &'a ReplayReport, name: &str) -> &'a Histogram<u64> {
    let at = STAGES.iter().position(|stage| *stage == name).expect("a stage of the pipeline");
    &ran.histograms[at]
}

fn replay(options: &Options, files: &[PathBuf], reference: Option<SimulatedReference>) -> Result<ReplayReport, String> {
    let source = |path: &PathBuf| SourceSpec { path: path.clone(), venue: None };
    let mut plan = ReplayPlan::new(files.iter().map(source).collect());
    (plan.speed, plan.topology, plan.cores) = (Speed::Max, Topology::Fused, vec![options.cores.1]);
    let mut config = SignalConfig::default();
    (config.ml.enabled, config.psc.simulated_reference) = (true, reference);
    plan.signals = Some(config);
    let stop = Arc::new(AtomicBool::new(false));
    tidegate_runtime::replay::run(&plan, &stop).map_err(|error| error.to_string())
}
