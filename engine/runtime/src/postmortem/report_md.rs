//! A post-mortem as Markdown.

use std::time::{Duration, UNIX_EPOCH};

use super::causes::{CERTAIN, Ranked, RootCause};
use super::counterfactual::Counterfactual;
use super::evidence::USUAL_MIN;
use super::impact::Impact;
use super::reproduce::Reproduction;
use super::timeline::number;
use super::{IncidentReport, OrdersImpact, Postmortem};
use crate::markup::Markup;

/// Causes shown with their numbers.
const CAUSES_SHOWN: usize = 5;

/// A time as people read it, RFC 3339, UTC, to the millisecond.
pub fn clock(time_ns: i64) -> String {
    let at = UNIX_EPOCH + Duration::from_nanos(time_ns.max(0) as u64);
    humantime::format_rfc3339_millis(at).to_string()
}

/// What the report says in one sentence.
pub(super) fn verdict(report: &Postmortem) -> String {
    let certain: Vec<&Ranked> =
        report.causes.iter().filter(|r| r.score >= CERTAIN && r.cause != RootCause::None).collect();
    match certain[..] {
        [] if report.incident.usual_seconds < USUAL_MIN => format!(
            "Not judged: only {} s of the recording lie outside the incident, too few to say what is usual.",
            report.incident.usual_seconds
        ),
        [] => format!("No cause: {}.", RootCause::None.about().trim_start_matches("no cause: ")),
        [only] => format!("Root cause: {} ({}), score {:.2}.", only.cause.name(), only.cause.about(), only.score),
        _ => {
            let names: Vec<String> = certain.iter().map(|r| format!("{} ({:.2})", r.cause.name(), r.score)).collect();
            format!("Compound cause: {}.", names.join(", "))
        }
    }
}

/// Whether the re-run agrees, in one sentence.
pub(super) fn agreement(reproduction: &Reproduction) -> String {
    let Reproduction { equal, logged, incident_equal, incident_logged, .. } = reproduction;
    let counts = format!("{equal} of {logged} decisions, {incident_equal} of {incident_logged} within the incident");
    if reproduction.reproduced {
        return format!("Reproduced: a re-run of the recorded input took the same decisions ({counts}).");
    }
    let first = reproduction.first_difference.as_ref().map_or_else(
        || "every decision is equal, but a digest is not".to_owned(),
        |difference| format!("the first difference is {}", difference.says),
    );
    format!("NOT reproduced ({counts}): {first}.")
}

/// When an incident began, how long it lasted and whom it concerned.
pub(super) fn extent(incident: &IncidentReport) -> String {
    let lasted = incident.end_ns.map_or_else(
        || "was not over when the log ended".to_owned(),
        |end| format!("lasted {:.1} s", (end - incident.start_ns) as f64 * 1e-9),
    );
    let (number, of, trips) = (incident.number, incident.of, incident.trips);
    let rules = if incident.rules.is_empty() { "none that measures".into() } else { incident.rules.join(", ") };
    format!("Incident {number} of {of}: began {}, {lasted}; {trips} trips; rules: {rules}.", clock(incident.start_ns))
}

/// Columns of a table of other thresholds.
pub(super) const COLUMNS: [&str; 8] =
    ["factor", "threshold", "trips", "elsewhere", "earlier, s", "stopped, s", "mid at trip", "spared at most, bp"];

/// Its rows as text.
pub(super) fn rows(table: &Counterfactual) -> Vec<[String; 8]> {
    let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let row = |row: &super::Row| {
        let factor = if row.factor == 1.0 { "1 (as it was)".to_owned() } else { number(row.factor) };
        [
            factor,
            number(row.threshold),
            row.trips.to_string(),
            row.trips_elsewhere.to_string(),
            some(row.earlier_s),
            number(row.stopped_s),
            some(row.mid_at_trip),
            some(row.spared_bp),
        ]
    };
    table.rows.iter().map(row).collect()
}

/// Columns of the table of what instruments went through.
pub(super) const IMPACT_COLUMNS: [&str; 7] =
    ["instrument", "stopped, s", "mid at stop", "mid at return", "move, bp", "long spared, bp", "short spared, bp"];

/// Its rows as text.
pub(super) fn impact_rows(impact: &Impact) -> Vec<[String; 7]> {
    let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let row = |one: &super::InstrumentImpact| {
        [
            one.instrument.clone(),
            number(one.stopped_s),
            some(one.mid_at_stop),
            some(one.mid_at_return),
            some(one.move_bp),
            some(one.spared_bp.map(|spared| spared.long_bp)),
            some(one.spared_bp.map(|spared| spared.short_bp)),
        ]
    };
    impact.instruments.iter().map(row).collect()
}

/// What became of orders, in one sentence.
pub(super) fn orders_sentence(impact: &Impact) -> String {
    impact.orders.as_ref().map_or_else(|| "No order was asked for in this session.".into(), OrdersImpact::sentence)
}

/// Columns of the table of positions and executions.
pub(super) const TRADED_COLUMNS: [&str; 8] =
    ["instrument", "held before", "held after", "bought", "sold", "exposure before", "slippage, bp", "profit"];

/// Its rows as text.
pub(super) fn traded_rows(orders: &OrdersImpact) -> Vec<[String; 8]> {
    let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let row = |one: &super::Traded| {
        [
            one.instrument.clone(),
            number(one.held_before),
            number(one.held_after),
            number(one.bought),
            number(one.sold),
            some(one.exposure_before),
            some(one.slippage_bp),
            some(one.profit),
        ]
    };
    orders.instruments.iter().map(row).collect()
}

/// Evidence as a sentence.
pub(super) fn evidence(evidence: &super::Evidence, start_ns: i64) -> String {
    let of = evidence.of.as_ref().map_or_else(String::new, |of| format!("{of}: "));
    let usual = evidence.usual.map_or_else(String::new, |usual| format!(", usual {}", number(usual)));
    let after = (evidence.at_ns - start_ns) as f64 * 1e-9;
    let (value, unit) = (number(evidence.value), evidence.unit);
    format!("{of}{} {value} {unit}{usual} (at {after:+.1} s, strength {:.2})", evidence.measure, evidence.strength)
}

/// Causes worth showing: those with a score, up to a few.
pub(super) fn shown_causes(report: &Postmortem) -> impl Iterator<Item = &Ranked> {
    report.causes.iter().filter(|ranked| ranked.score >= 0.01).take(CAUSES_SHOWN)
}

/// A post-mortem as Markdown.
pub fn markdown(report: &Postmortem) -> String {
    let mut out = Markup::default();
    out.line(format_args!("# Post-mortem of {}\n", clock(report.incident.start_ns)));
    out.line(format_args!("**{}**\n", verdict(report)));
    out.line(format_args!("{}", extent(&report.incident)));
    report.incident.first_trip.iter().for_each(|first| out.line(format_args!("First trip: {first}.")));
    out.line(format_args!("\n{}", agreement(&report.reproduction)));
    report.reproduction.remarks.iter().for_each(|remark| out.line(format_args!("- {remark}")));
    let log = &report.log;
    out.line(format_args!("\nAudit log {}: verified, {} entries, root `{}`.", log.origin, log.size, log.root));
    log.remarks.iter().for_each(|remark| out.line(format_args!("- {remark}")));
    out.line(format_args!("\n## Causes\n"));
    for ranked in shown_causes(report) {
        let by = ranked.explained_by.map_or_else(String::new, |by| format!("; mostly explained by {}", by.name()));
        let (name, about) = (ranked.cause.name(), ranked.cause.about());
        out.line(format_args!("- **{name}** {:.2}: {about}{by}", ranked.score));
        for one in &ranked.evidence {
            out.line(format_args!("  - {}", evidence(one, report.incident.start_ns)));
        }
    }
    out.line(format_args!("\n## Impact\n"));
    table(&mut out, &IMPACT_COLUMNS, &impact_rows(&report.impact));
    let impact = &report.impact;
    out.line(format_args!("\n{} instrument-seconds out of trading.", number(impact.instrument_seconds)));
    out.line(format_args!("{}", orders_sentence(impact)));
    if let Some(orders) = impact.orders.as_ref().filter(|orders| !orders.instruments.is_empty()) {
        out.line(format_args!(""));
        table(&mut out, &TRADED_COLUMNS, &traded_rows(orders));
    }
    latency(&mut out, report);
    out.line(format_args!("\n## Other thresholds\n"));
    for one in &report.counterfactuals {
        out.line(format_args!("{} ({}), prices of {}:\n", one.rule, one.unit, one.instrument));
        table(&mut out, &COLUMNS, &rows(one));
        out.line(format_args!(""));
    }
    if report.counterfactuals.is_empty() {
        out.line(format_args!("None were tried: no rule with a level tripped, or it was not asked for."));
    }
    out.line(format_args!("\n## Recommendations\n"));
    for one in &report.recommendations {
        out.line(format_args!("{}: {}.\n\n```diff\n{}```\n", one.why, one.effect, one.diff));
    }
    if report.recommendations.is_empty() {
        out.line(format_args!("No change of the configuration follows."));
    }
    out.line(format_args!("\n## Timeline\n"));
    for moment in &report.timeline {
        let says = if moment.trip { format!("**{}**", moment.says) } else { moment.says.clone() };
        out.line(format_args!("- `{:+.3} s` {says} (entry {})", moment.after_s, moment.entry));
    }
    if report.timeline_left_out > 0 {
        out.line(format_args!("- {} more were left out", report.timeline_left_out));
    }
    out.0
}

fn latency(out: &mut Markup, report: &Postmortem) {
    let Some(latency) = &report.latency else { return };
    let some = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| number(ns as f64 * 1e-3));
    let place = if latency.placed { "" } else { "; stamped by the host's clock, so it has no place in the incident" };
    out.line(format_args!(
        "\nThe engine itself, frame to decision, whole run: {} samples, p50 {} us, p99 {} us, maximum {} us{place}.",
        latency.samples,
        some(latency.p50_ns),
        some(latency.p99_ns),
        some(latency.max_ns)
    ));
}

fn table<const N: usize>(out: &mut Markup, columns: &[&str; N], rows: &[[String; N]]) {
    out.line(format_args!("| {} |", columns.join(" | ")));
    out.line(format_args!("|{}", "---|".repeat(N)));
    rows.iter().for_each(|row| out.line(format_args!("| {} |", row.join(" | "))));
}
