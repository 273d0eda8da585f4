//! The re-run beside the log: the same decisions one by one, or where not.

use serde::Serialize;
use serde_json::Value;
use tidegate_wire::advice::Adjustment;

use super::log::{Logged, Session};
use super::rerun::Rerun;

/// Whether a re-run of the input came to what the log says.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Reproduction {
    /// Whether everything that could be compared is equal.
    pub reproduced: bool,
    /// Decisions in the log's session.
    pub logged: u64,
    /// Of these, equal in every field to the re-run's decision of the same number.
    pub equal: u64,
    /// Decisions of the re-run.
    pub rerun: u64,
    /// Decisions within the incident, from its first trip to its end.
    pub incident_logged: u64,
    /// Of these, equal to the re-run's.
    pub incident_equal: u64,
    /// Changes of thresholds in the log's session.
    pub adjustments_logged: u64,
    /// Of these, equal to the re-run's.
    pub adjustments_equal: u64,
    /// Digest over all decisions and changes of thresholds, as the log's end says and as the re-run came to.
    pub decisions_digest: Digests,
    /// Digest over all feature vectors.
    pub features_digest: Digests,
    /// Where the two part first; absent where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<Difference>,
    /// What could not be compared, and why; files that are not those of the log.
    pub remarks: Vec<String>,
}

/// A digest twice.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Digests {
    /// The log's; absent where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The re-run's.
    pub rerun: String,
}

/// Where a log and its re-run part.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// Number of the decision or change of thresholds, from 1.
    pub number: u64,
    /// `decision` or `adjustment`.
    pub kind: &'static str,
    /// Number of the log's entry; absent where the log has no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// The fields that differ, by name; empty where one of the two has no more.
    pub fields: Vec<FieldDifference>,
    /// The difference as a sentence.
    pub says: String,
}

/// One field twice.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct FieldDifference {
    /// Name of the field.
    pub field: String,
    /// In the log.
    pub log: Value,
    /// In the re-run.
    pub rerun: Value,
}

/// Compares.
pub(super) fn compare(session: &Session, rerun: &Rerun, span: (i64, i64), mut remarks: Vec<String>) -> Reproduction {
    let names = session.names();
    let line = |decision: &_| serde_json::to_value(names.decision(decision)).unwrap_or_default();
    let decisions: Vec<_> = session.decisions.iter().map(|l| (l.index, l.record)).collect();
    let (equal, first) = parted(&decisions, &rerun.kept.decisions, "decision", line);
    let within: Vec<bool> = session.decisions.iter().map(|l| (span.0..=span.1).contains(&l.record.event_ns)).collect();
    let pairs = decisions.iter().zip(&rerun.kept.decisions).zip(&within);
    let incident_equal = pairs.filter(|(((_, log), again), within)| **within && log == *again).count() as u64;
    let timeless = |adjustment: &Adjustment| Adjustment { advice: adjustment.advice.timeless(), ..*adjustment };
    let of = |logged: &Logged<Adjustment>| (logged.index, timeless(&logged.record));
    let adjustments: Vec<_> = session.adjustments.iter().map(of).collect();
    let again: Vec<_> = rerun.kept.adjustments.iter().map(timeless).collect();
    let name = |a: &Adjustment| names.instrument(a.instrument).to_owned();
    let line =
        |a: &Adjustment| serde_json::to_value(crate::models::AdjustmentLine::of(a, &name(a))).unwrap_or_default();
    let (adjustments_equal, moved) = parted(&adjustments, &again, "adjustment", line);
    let hex = |digest: u64| format!("{digest:016x}");
    let end = session.end.as_ref();
    let comparable = end.filter(|end| !end.stopped);
    match end {
        None => {
            remarks.push("the log has no end of this session: its digests are unknown, decisions were compared".into())
        }
        Some(end) if end.stopped => remarks.push(
            "the run was stopped before its input ended: the re-run went on, and only what the log has was compared"
                .into(),
        ),
        Some(end) if end.decisions != decisions.len() as u64 => {
            remarks.push(format!("the log's end counts {} decisions, it holds {}", end.decisions, decisions.len()))
        }
        Some(_) => {}
    }
    if rerun.left > 0 {
        remarks.push(format!("{} recorded adjustments or commands found no event in the input", rerun.left));
    }
    let digests = |log: Option<&String>, again: u64| Digests { log: log.cloned(), rerun: hex(again) };
    let decisions_digest = digests(end.map(|end| &end.decisions_digest), rerun.decisions_digest);
    let features_digest = digests(end.map(|end| &end.features_digest), rerun.features_digest);
    let same = |digests: &Digests| comparable.is_none() || digests.log.as_deref() == Some(&digests.rerun);
    // A run that went on has more than the log.
    let whole = comparable.is_none() || decisions.len() == rerun.kept.decisions.len();
    let all = equal == decisions.len() as u64 && adjustments_equal == adjustments.len() as u64;
    let first = first.filter(|d| comparable.is_some() || d.entry.is_some());
    let moved = moved.filter(|d| comparable.is_some() || d.entry.is_some());
    Reproduction {
        reproduced: all && whole && same(&decisions_digest) && same(&features_digest),
        logged: decisions.len() as u64,
        equal,
        rerun: rerun.kept.decisions.len() as u64,
        incident_logged: within.iter().filter(|within| **within).count() as u64,
        incident_equal,
        adjustments_logged: adjustments.len() as u64,
        adjustments_equal,
        decisions_digest,
        features_digest,
        first_difference: first.or(moved),
        remarks,
    }
}

/// How many are equal at their place, and where the first is not.
fn parted<T: PartialEq>(
    log: &[(u64, T)],
    again: &[T],
    kind: &'static str,
    line: impl Fn(&T) -> Value,
) -> (u64, Option<Difference>) {
    let equal = log.iter().zip(again).filter(|((_, log), again)| log == *again).count() as u64;
    let place = log.iter().zip(again).position(|((_, log), again)| log != again);
    let place = place.or_else(|| (log.len() != again.len()).then_some(log.len().min(again.len())));
    let difference = place.map(|place| {
        let (ours, theirs) = (log.get(place), again.get(place));
        let fields = ours.zip(theirs).map_or_else(Vec::new, |((_, log), again)| fields(&line(log), &line(again)));
        let says = match (ours, theirs) {
            (Some((entry, _)), Some(_)) => {
                let told: Vec<String> = fields
                    .iter()
                    .map(|f| format!("{} is {} in the log, {} in the re-run", f.field, f.log, f.rerun))
                    .collect();
                let told = if told.is_empty() { "bytes that no text shows differ".to_owned() } else { told.join("; ") };
                format!("{kind} {} (entry {entry}): {told}", place + 1)
            }
            (Some((entry, _)), None) => format!("{kind} {} (entry {entry}) is in the log only", place + 1),
            _ => format!("{kind} {} is in the re-run only", place + 1),
        };
        Difference { number: place as u64 + 1, kind, entry: ours.map(|(entry, _)| *entry), fields, says }
    });
    (equal, difference)
}

/// Fields of two objects that differ.
fn fields(log: &Value, rerun: &Value) -> Vec<FieldDifference> {
    let names = log.as_object().into_iter().chain(rerun.as_object()).flat_map(|object| object.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    let differs = names.into_iter().filter(|name| log[name.as_str()] != rerun[name.as_str()]);
    let one = |name: &String| FieldDifference {
        field: name.clone(),
        log: log[name.as_str()].clone(),
        rerun: rerun[name.as_str()].clone(),
    };
    differs.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let line = |value: &u64| serde_json::json!({ "value": value, "same": 1 });
        let log = [(7, 1), (8, 2), (9, 3)];
        assert_eq!(parted(&log, &[1, 2, 3], "decision", line), (3, None));
        let (equal, difference) = parted(&log, &[1, 5, 3], "decision", line);
        let difference = difference.expect("one");
        assert_eq!((equal, difference.number, difference.entry), (2, 2, Some(8)));
        assert_eq!(difference.says, "decision 2 (entry 8): value is 2 in the log, 5 in the re-run");
        let says = |again: &[u64]| parted(&log, again, "decision", line).1.map(|d| d.says);
        assert_eq!(says(&[1, 2]).as_deref(), Some("decision 3 (entry 9) is in the log only"));
        assert_eq!(says(&[1, 2, 3, 4]).as_deref(), Some("decision 4 is in the re-run only"));
    }
}
