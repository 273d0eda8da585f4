//! The summary of a replay or a run: JSON with fixed keys, and the same as tables.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_feed::capture::SeriesReport;
use tidegate_guard::rules::RULES;
use tidegate_runtime::hiccup::NoiseFloor;
use tidegate_runtime::hlog::Summary as Figures;
use tidegate_runtime::latency::{COMMON, PIPELINE, STAGES};
use tidegate_runtime::lines::DecisionLine;
use tidegate_runtime::live::LiveReport;
use tidegate_runtime::models::DeskReport;
use tidegate_runtime::pipeline::Topology;
use tidegate_runtime::replay::{ReplayPlan, ReplayReport};
use tidegate_runtime::risk::RiskReport;
use tidegate_runtime::signals::SignalsReport;
use tidegate_wire::clock::TickSource;
use tidegate_wire::decision::BreakerState;

use crate::audited::AuditLine;
use crate::commands::feed::print_feeds;
use crate::output::{duration, number_table};
use crate::percentiles::Latency;
use crate::signal_table::print_signals;
use crate::thresholds::{Travels, print_travels, travels};

/// One instrument.
#[derive(Debug, Serialize)]
pub(crate) struct InstrumentLine {
    pub(crate) name: String,
    pub(crate) tick: String,
    pub(crate) lot: String,
    pub(crate) quality: &'static str,
    pub(crate) bid_levels: usize,
    pub(crate) ask_levels: usize,
    pub(crate) gaps: u64,
    pub(crate) resyncs: u64,
    pub(crate) open_breakers: Vec<&'static str>,
    pub(crate) permitted: bool,
}

/// A venue, a strategy or the engine.
#[derive(Debug, Serialize)]
pub(crate) struct ScopeLine {
    pub(crate) scope: &'static str,
    pub(crate) name: String,
    pub(crate) state: &'static str,
}

/// What differs from venue to venue.
#[derive(Debug, Serialize)]
pub(crate) struct VenueLine {
    pub(crate) name: &'static str,
    pub(crate) instruments: usize,
    pub(crate) decode_errors: u64,
    pub(crate) gaps: u64,
    pub(crate) resyncs: u64,
    pub(crate) checksums_verified: u64,
    pub(crate) checksum_failures: u64,
}

/// One capture.
#[derive(Debug, Serialize)]
pub(crate) struct SourceLine {
    pub(crate) name: String,
    pub(crate) venue: &'static str,
    pub(crate) frames: u64,
    pub(crate) bad_lines: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged: Option<String>,
}

/// Everything a finished replay has to say. Keys are a contract: they are added to, never renamed.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) schema: &'static str,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) level_changes: u64,
    pub(crate) gaps: u64,
    pub(crate) resyncs: u64,
    /// Streams that went on in another capture after a break, so that books and features began anew.
    pub(crate) sessions: u64,
    /// Depth frames that waited for a snapshot, that the book had already, and that were thrown away waiting.
    pub(crate) held_back: u64,
    pub(crate) outdated: u64,
    pub(crate) held_back_overflow: u64,
    /// Snapshots loaded, not needed, and older than what waited for them.
    pub(crate) snapshots: u64,
    pub(crate) snapshots_unneeded: u64,
    pub(crate) snapshots_too_old: u64,
    pub(crate) crossed: u64,
    /// Corrupt books that a snapshot healed.
    pub(crate) healed: u64,
    pub(crate) stale: u64,
    pub(crate) bbo_checked: u64,
    pub(crate) bbo_mismatch: u64,
    pub(crate) decode_errors: u64,
    /// Checksums of books compared, and how many were not the book's.
    pub(crate) checksums_verified: u64,
    pub(crate) checksum_failures: u64,
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    pub(crate) scanner_fallbacks: u64,
    pub(crate) trade_id_gaps: u64,
    pub(crate) vectors: u64,
    /// Finished bars of the venues' own.
    pub(crate) bars: u64,
    /// Recorded order books compared with the one kept order by order, and how many showed the same.
    pub(crate) books_checked: u64,
    pub(crate) books_agreed: u64,
    pub(crate) decisions: u64,
    pub(crate) trips: u64,
    pub(crate) trips_by_rule: BTreeMap<&'static str, u64>,
    /// Changes of thresholds; of these, advice taken, and advice that expired before it was renewed.
    pub(crate) adjustments: u64,
    pub(crate) advised: u64,
    pub(crate) advice_expired: u64,
    /// Advice that was too old or a repetition.
    pub(crate) advice_refused: u64,
    /// How far thresholds travelled, by instrument and target.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) thresholds: Travels,
    /// How models ran: off, process, inline, lockstep or re-enacted.
    pub(crate) models_mode: &'static str,
    /// What models did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<DeskReport>,
    /// Architecture and vector instructions of the CPU: digests under models belong to it and to the kernel.
    pub(crate) cpu: String,
    /// What was recorded in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audit: Option<AuditLine>,
    /// What the risk desk did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) risk: Option<RiskReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signals: Option<SignalsReport>,
    pub(crate) decisions_digest: String,
    pub(crate) features_digest: String,
    pub(crate) features_schema: String,
    pub(crate) topology: Topology,
    pub(crate) speed: String,
    pub(crate) wall_s: f64,
    pub(crate) event_s: f64,
    pub(crate) frames_per_s: f64,
    pub(crate) events_per_s: f64,
    /// Null in a build without the counting allocator.
    pub(crate) allocations_hot: Option<u64>,
    pub(crate) clock: TickSource,
    pub(crate) latency: BTreeMap<&'static str, Latency>,
    /// Of a live run: `total` of each venue's events, and their `transit` from the venue's stamp to ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) latency_by_venue: BTreeMap<&'static str, Latency>,
    pub(crate) noise_floor: Option<NoiseFloor>,
    pub(crate) instruments: Vec<InstrumentLine>,
    /// Venues that have instruments, or sent what could not be read.
    pub(crate) venues: Vec<VenueLine>,
    /// Venues, strategies and the engine whose breakers are not closed.
    pub(crate) scopes: Vec<ScopeLine>,
    pub(crate) sources: Vec<SourceLine>,
    /// Connections, clocks, accounts and the capture of a live run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<LiveLine>,
    pub(crate) warnings: Vec<String>,
}

/// What a live run had besides.
#[derive(Debug, Serialize)]
pub(crate) struct LiveLine {
    pub(crate) session: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capture: Option<SeriesReport>,
}

impl Summary {
    /// The summary of a report.
    pub(crate) fn of(report: &ReplayReport, plan: &ReplayPlan) -> Self {
        let per_s = |n: u64| if report.wall_s > 0.0 { n as f64 / report.wall_s } else { 0.0 };
        let by_rule = RULES.iter().zip(report.guard.trips_by_rule).filter(|(_, n)| *n > 0);
        Self {
            schema: "tidegate.replay.v1",
            frames: report.feed.frames,
            events: report.feed.events,
            level_changes: report.feed.level_changes,
            gaps: report.feed.gaps,
            resyncs: report.feed.resyncs,
            sessions: report.feed.sessions,
            held_back: report.feed.held_back,
            outdated: report.feed.outdated,
            held_back_overflow: report.feed.held_back_overflow,
            snapshots: report.feed.snapshots,
            snapshots_unneeded: report.feed.snapshots_unneeded,
            snapshots_too_old: report.feed.snapshots_too_old,
            crossed: report.market.crossed,
            healed: report.market.healed,
            stale: report.market.stale,
            bbo_checked: report.market.bbo_checked,
            bbo_mismatch: report.market.bbo_mismatch,
            decode_errors: report.feed.decode_errors(),
            checksums_verified: report.feed.checksums_verified,
            checksum_failures: report.feed.checksum_failures,
            skipped: report.feed.reasons().map(|(reason, n)| (reason.name(), n)).collect(),
            scanner_fallbacks: report.feed.scanner_fallbacks,
            trade_id_gaps: report.feed.trade_id_gaps,
            vectors: report.market.vectors,
            bars: report.feed.bars,
            books_checked: report.feed.books_checked,
            books_agreed: report.feed.books_agreed,
            decisions: report.guard.decisions,
            trips: report.guard.trips,
            trips_by_rule: by_rule.map(|(rule, n)| (rule.name, n)).collect(),
            adjustments: report.guard.adjustments,
            advised: report.guard.advised,
            advice_expired: report.guard.expired_advice,
            advice_refused: report.guard.refused_advice,
            thresholds: travels(report, plan),
            models_mode: plan.models.name(),
            models: report.models.clone(),
            audit: AuditLine::of(report),
            risk: report.risk.clone(),
            signals: report.signals.clone(),
            cpu: cpu(),
            decisions_digest: format!("{:016x}", report.decisions_digest),
            features_digest: format!("{:016x}", report.features_digest),
            features_schema: tidegate_market::features::schema::schema_hash_hex(),
            topology: plan.topology,
            speed: plan.speed.to_string(),
            wall_s: report.wall_s,
            event_s: report.event_s,
            frames_per_s: per_s(report.feed.frames),
            events_per_s: per_s(report.feed.events),
            allocations_hot: report.allocations_hot,
            clock: report.clock.source(),
            latency: latency(report, 0..PIPELINE),
            latency_by_venue: latency(report, PIPELINE..STAGES.len()),
            noise_floor: report.noise.clone(),
            instruments: instruments(report),
            venues: venues(report),
            scopes: scopes(report),
            sources: sources(report),
            live: report.live.as_ref().map(live),
            warnings: report.warnings.clone(),
        }
    }
}

/// Latency of a range of stages; those of venues only where something was measured.
fn latency(report: &ReplayReport, range: std::ops::Range<usize>) -> BTreeMap<&'static str, Latency> {
    let all = STAGES.iter().zip(&report.histograms).enumerate().filter(|(index, _)| range.contains(index));
    let kept = all.filter(|(index, (_, histogram))| *index < COMMON || !histogram.is_empty());
    kept.map(|(_, (stage, histogram))| (*stage, Latency::of(histogram))).collect()
}

/// The CPU's class, as far as it matters for what models answer.
fn cpu() -> String {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut class = std::env::consts::ARCH.to_owned();
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ] {
        if there {
            class.push(' ');
            class.push_str(name);
        }
    }
    class
}

fn instruments(report: &ReplayReport) -> Vec<InstrumentLine> {
    let one = |i: &tidegate_runtime::replay::InstrumentReport| InstrumentLine {
        name: i.instrument.name(),
        tick: i.instrument.tick.display(i.instrument.price_scale).to_string(),
        lot: i.instrument.lot.display(i.instrument.qty_scale).to_string(),
        quality: i.quality.name(),
        bid_levels: i.levels.0,
        ask_levels: i.levels.1,
        gaps: i.gaps.0,
        resyncs: i.gaps.1,
        open_breakers: i.open.clone(),
        permitted: i.permitted,
    };
    report.instruments.iter().map(one).collect()
}

fn venues(report: &ReplayReport) -> Vec<VenueLine> {
    let lines = report.feed.by_venue().map(|(venue, counted)| VenueLine {
        name: venue.name(),
        instruments: report.instruments.iter().filter(|i| i.instrument.venue == venue).count(),
        decode_errors: counted.decode_errors,
        gaps: counted.gaps,
        resyncs: counted.resyncs,
        checksums_verified: counted.checksums_verified,
        checksum_failures: counted.checksum_failures,
    });
    lines.filter(|line| line.instruments > 0 || line.decode_errors > 0).collect()
}

fn scopes(report: &ReplayReport) -> Vec<ScopeLine> {
    let one = |(scope, name, state): &(&'static str, String, BreakerState)| ScopeLine {
        scope,
        name: name.clone(),
        state: state.name(),
    };
    report.scopes.iter().map(one).collect()
}

fn sources(report: &ReplayReport) -> Vec<SourceLine> {
    let one = |s: &tidegate_feed::replay::SourceReport| SourceLine {
        name: s.name.clone(),
        venue: s.venue.name(),
        frames: s.frames,
        bad_lines: s.bad_lines,
        damaged: s.damaged.clone(),
    };
    report.sources.iter().map(one).collect()
}

fn live(report: &LiveReport) -> LiveLine {
    let session = serde_json::to_value(&report.session).unwrap_or_default();
    LiveLine { session, capture: report.capture.clone() }
}

fn print_live(live: &LiveLine) {
    print_feeds(&live.session);
    if let Some(events) = live.session["events"].as_object().filter(|events| !events.is_empty()) {
        let events: Vec<_> = events.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        anstream::println!("  session events  {}", events.join("   "));
    }
    if let Some(capture) = &live.capture {
        let (files, mib) = (capture.files.len(), capture.bytes as f64 / f64::from(1 << 20));
        let (entries, lost) = (capture.entries, capture.lost);
        anstream::println!("  captured {entries} frames, {mib:.1} MiB unpacked, in {files} files; lost {lost}");
        if let Some(error) = &capture.error {
            anstream::println!("  capture BROKE OFF: {error}");
        }
    }
}

/// Decisions shown on a screen; the file has them all.
const DECISIONS_SHOWN: usize = 40;

/// The summary as tables on stdout.
pub(crate) fn print_summary(summary: &Summary, report: &ReplayReport) {
    let s = summary;
    let allocations = s.allocations_hot.map_or("not counted".into(), |n| n.to_string());
    anstream::println!(
        "{}  {:?}, {:.1} s of market in {:.3} s",
        if s.live.is_some() { "Live".to_owned() } else { format!("Replay  speed {},", s.speed) },
        s.topology,
        s.event_s,
        s.wall_s
    );
    anstream::println!(
        "  frames {}   events {}   level changes {}   {:.2} M frames/s   {:.2} M events/s",
        s.frames,
        s.events,
        s.level_changes,
        s.frames_per_s / 1e6,
        s.events_per_s / 1e6
    );
    anstream::println!(
        "  gaps {}   resyncs {}   sessions {}   crossed {}   stale {}   best bid/ask checked {}   mismatched {}",
        s.gaps,
        s.resyncs,
        s.sessions,
        s.crossed,
        s.stale,
        s.bbo_checked,
        s.bbo_mismatch
    );
    if s.bars + s.books_checked > 0 {
        let (bars, agreed, checked) = (s.bars, s.books_agreed, s.books_checked);
        anstream::println!("  bars {bars}   recorded books that agree {agreed} of {checked}");
    }
    anstream::println!("  decode errors {}   skipped {:?}   hot allocations {allocations}", s.decode_errors, s.skipped);
    anstream::println!("  decisions {}   trips {} {:?}", s.decisions, s.trips, s.trips_by_rule);
    if s.models_mode != "off" || s.adjustments > 0 {
        print_models(s);
    }
    let kernel = s.models.as_ref().and_then(|models| models.kernel.as_deref());
    let header = kernel.map_or(String::new(), |kernel| format!(" ({}, kernel {kernel})", s.cpu));
    anstream::println!("  digests{header}  features {}  decisions {}", s.features_digest, s.decisions_digest);
    s.audit.iter().for_each(AuditLine::print);
    s.risk.iter().for_each(print_risk);
    s.signals.iter().for_each(print_signals);

    let rows = s.instruments.iter().map(|i| {
        let open = if i.open_breakers.is_empty() { "-".into() } else { i.open_breakers.join(" ") };
        let permitted = if i.permitted { "yes" } else { "NO" };
        vec![
            i.name.clone(),
            i.tick.clone(),
            i.lot.clone(),
            i.quality.into(),
            format!("{}/{}", i.bid_levels, i.ask_levels),
            i.gaps.to_string(),
            permitted.into(),
            open,
        ]
    });
    let header = ["instrument", "tick", "lot", "book", "levels", "gaps", "may trade", "open breakers"];
    anstream::println!("\n{}", number_table(&header, rows));
    print_venues(s);
    if let Some(live) = &s.live {
        print_live(live);
    }
    for scope in &s.scopes {
        anstream::println!("  {} {} is {}", scope.scope, scope.name, scope.state);
    }
    print_decisions(report);
    print_travels(&s.thresholds);
    print_latency(s, report);
}

fn print_venues(s: &Summary) {
    let rows = s.venues.iter().map(|v| {
        let counts = [v.decode_errors, v.gaps, v.resyncs, v.checksums_verified, v.checksum_failures];
        let mut row = vec![v.name.to_owned(), v.instruments.to_string()];
        row.extend(counts.map(|n| n.to_string()));
        row
    });
    let header = ["venue", "instruments", "decode errors", "gaps", "resyncs", "checksums", "mismatched"];
    anstream::println!("\n{}", number_table(&header, rows));
}

fn print_models(s: &Summary) {
    let (taken, expired, refused) = (s.advised, s.advice_expired, s.advice_refused);
    anstream::println!(
        "  models {}   thresholds changed {}   advice taken {taken}   expired {expired}   refused {refused}",
        s.models_mode,
        s.adjustments
    );
    let Some(models) = &s.models else { return };
    if let Some(reason) = &models.unavailable {
        anstream::println!("  no models: {reason}; static profiles hold");
    }
    let list: Vec<String> = models.in_force.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let kernel = models.kernel.as_deref().unwrap_or("-");
    anstream::println!(
        "  in force {}   kernel {kernel}   promoted {}   refused {}   rolled back {}   faults {}   restarts {}",
        if list.is_empty() { "-".to_owned() } else { list.join(", ") },
        models.promotions,
        models.refusals.values().sum::<u64>(),
        models.rollbacks,
        models.faults,
        models.restarts
    );
}

fn print_decisions(report: &ReplayReport) {
    if report.decisions.is_empty() {
        anstream::println!("\nNo breaker changed its state.");
        return;
    }
    let rows = report.decisions.iter().take(DECISIONS_SHOWN).map(|decision| {
        let line: DecisionLine = report.names.decision(decision);
        let value = line.value.map_or("-".into(), |v| format!("{v:.4}"));
        vec![
            format!("{:+.3}", (line.event_ns - report.first_ns) as f64 * 1e-9),
            format!("{} {}", line.scope, line.name),
            line.rule.into(),
            format!("{} -> {}", line.from, line.to),
            line.cause.into(),
            value,
            format!("{:.4}", line.threshold),
        ]
    });
    let header = ["seconds", "scope", "rule", "transition", "cause", "value", "threshold"];
    anstream::println!("\nBreaker decisions (seconds since the first frame)\n{}", number_table(&header, rows));
    let more = report.decisions.len().saturating_sub(DECISIONS_SHOWN);
    if more > 0 {
        anstream::println!("  ... and {more} more (all of them: --decisions FILE)");
    }
}

pub(crate) fn print_latency(summary: &Summary, report: &ReplayReport) {
    // Without models there are no adjustments to time.
    let measured = STAGES.iter().zip(&report.histograms).filter(|(_, histogram)| !histogram.is_empty());
    let rows = measured.map(|(stage, histogram)| {
        // A percentile that too few samples cannot show is left out.
        let figures = Figures::of(histogram);
        let cell = |ns: Option<u64>| ns.map_or("-".into(), duration);
        let percentiles = [figures.p50_ns, figures.p90_ns, figures.p99_ns, figures.p999_ns, figures.p9999_ns];
        let mut row = vec![(*stage).to_owned()];
        row.extend(percentiles.into_iter().chain([figures.max_ns]).map(cell));
        row.push(figures.count.to_string());
        row
    });
    let header = ["stage", "p50", "p90", "p99", "p99.9", "p99.99", "max", "count"];
    anstream::println!("\nLatency by stage\n{}", number_table(&header, rows));
    if let Some(noise) = &summary.noise_floor {
        anstream::println!("  {noise}");
    }
}

fn print_risk(risk: &RiskReport) {
    let (counters, alerts) = (&risk.counters, &risk.alerts);
    let stopped = if risk.thrown.is_empty() { "nothing".to_owned() } else { risk.thrown.join(", ") };
    anstream::println!(
        "  risk  {} orders checked, {} refused   stopped {stopped}   {} alerts, {} later than 5 s",
        counters.requests,
        counters.refused,
        alerts["count"],
        alerts["later_than_5_s"]
    );
}
