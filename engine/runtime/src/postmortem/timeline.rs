//! What happened, in order: what the log tells of the time around an incident, in plain sentences.

use serde::Serialize;
use serde_json::Value;
use tidegate_guard::Command;
use tidegate_wire::advice::{Operated, Origin};
use tidegate_wire::decision::{BreakerState, Cause, Decision, Scope};
use tidegate_wire::event::BookQuality;

use super::log::{Logged, Session};
use crate::lines::Names;
use crate::models::{AdjustmentLine, OperatedLine};

/// Moments kept at most.
const MOMENTS_MAX: usize = 400;

/// One moment.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Moment {
    /// When, ns since the Unix epoch.
    pub time_ns: i64,
    /// Seconds after the first trip; negative before.
    pub after_s: f64,
    /// Number of the log's entry.
    pub entry: u64,
    /// What kind of entry it is.
    pub kind: &'static str,
    /// Whether a breaker tripped.
    pub trip: bool,
    /// What happened.
    pub says: String,
}

/// Moments between two times in the log's order, and how many more there were.
pub(super) fn timeline(session: &Session, from_ns: i64, to_ns: i64, start_ns: i64) -> (Vec<Moment>, usize) {
    let names = session.names();
    let mut moments: Vec<Moment> = Vec::new();
    let mut tell = |entry: u64, time_ns: i64, kind: &'static str, trip: bool, says: String| {
        if (from_ns..=to_ns).contains(&time_ns) {
            moments.push(Moment { time_ns, after_s: (time_ns - start_ns) as f64 * 1e-9, entry, kind, trip, says });
        }
    };
    for logged in &session.decisions {
        let trip = logged.record.to == BreakerState::Tripped as u8;
        tell(logged.index, logged.record.event_ns, "decision", trip, decision(&names, &logged.record));
    }
    for logged in &session.adjustments {
        let line = AdjustmentLine::of(&logged.record, names.instrument(logged.record.instrument));
        tell(logged.index, logged.time_ns, "adjustment", false, adjustment(&line));
    }
    // What the risk desk tells of losses shows where it trips something.
    let told = |logged: &&Logged<Operated>| matches!(Command::of_record(&logged.record), Some(Command::Drawdown(..)));
    for logged in session.operated.iter().filter(|logged| !told(logged)) {
        let line = OperatedLine::of(&logged.record, &names);
        tell(logged.index, logged.time_ns, "operated", false, format!("an operator's command: {}", line.operator));
    }
    for logged in &session.books {
        let quality = BookQuality::of_word(logged.record.status.quality);
        let status = logged.record.status;
        let ids = match quality {
            BookQuality::Gapped => format!(": update {} was due, {} came", status.expected, status.received),
            _ => String::new(),
        };
        let name = names.instrument(logged.record.instrument);
        tell(logged.index, logged.time_ns, "book", false, format!("book of {name} is {}{ids}", quality.name()));
    }
    for told in &session.told {
        let by = told.actor.as_ref().map_or_else(String::new, |actor| format!("{actor}: "));
        tell(told.index, told.time_ns, told.kind, false, format!("{by}{}", sentence(&told.body)));
    }
    moments.sort_by_key(|moment| (moment.time_ns, moment.entry));
    let left_out = moments.len().saturating_sub(MOMENTS_MAX);
    moments.truncate(MOMENTS_MAX);
    (moments, left_out)
}

/// A decision as a sentence.
pub(super) fn decision(names: &Names, decision: &Decision) -> String {
    let line = names.decision(decision);
    let who = if decision.scope == Scope::Engine as u8 {
        "engine".to_owned()
    } else {
        format!("{} {}", line.scope, line.name)
    };
    let cause = Cause::from_repr(decision.cause);
    let measured = line.value.map_or_else(String::new, |value| match cause {
        Some(Cause::Released) => format!(" at {} (release {})", number(value), number(line.release)),
        _ => format!(" at {} (threshold {})", number(value), number(line.threshold)),
    });
    format!("{who}: {} {} -> {}, {}{measured}", line.rule, line.from, line.to, line.cause)
}

fn adjustment(line: &AdjustmentLine) -> String {
    let why = match (line.origin, &line.advice) {
        (Origin::Advised, Some(advice)) => format!("advice of {} {}", advice.model, advice.version),
        (Origin::Expired, _) => "advice ended".to_owned(),
        _ if line.conditions.is_empty() => "conditions ended".to_owned(),
        _ => format!("conditions {}", line.conditions.join(", ")),
    };
    let levels = [
        ("volatility", line.before.volatility, line.after.volatility),
        ("spread", line.before.spread, line.after.spread),
        ("imbalance", line.before.imbalance, line.after.imbalance),
        ("latency", line.before.latency, line.after.latency),
        ("cooling", line.before.recovery, line.after.recovery),
    ];
    let moved: Vec<String> = levels
        .iter()
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| format!("{name} {} -> {}", number(*before), number(*after)))
        .collect();
    format!("{}: thresholds by {why}: {}", line.instrument, moved.join(", "))
}

/// An object as `key value` pairs.
fn sentence(body: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(object) = body.as_object() else { return plain(body) };
    let pairs = object.iter().filter(|(_, value)| !value.is_null());
    pairs.map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

/// A number with up to five significant digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return format!("{value}");
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (4 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.05, "0.05"), (61_234.567, "61235"), (1.0 / 3.0, "0.33333"), (1e9, "1.000e9")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(sentence(&serde_json::json!({ "a": "b", "c": null, "d": 1 })), "a b, d 1");
    }
}
