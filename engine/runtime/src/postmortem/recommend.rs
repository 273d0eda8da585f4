//! What to change, as differences of the configuration. Only what the re-run supports: a level is recommended because
//! it was tried on this recording, and the recommendation says what it did there.

use serde::Serialize;
use tidegate_guard::conditions::Condition;
use tidegate_guard::rules::{RULES, rule_index};
use tidegate_guard::{Profile, rules::Direction};
use tidegate_wire::Venue;
use tidegate_wire::advice::{Adjustment, Target};
use tidegate_wire::decision::Decision;

use super::causes::{CERTAIN, Ranked, RootCause};
use super::counterfactual::{Counterfactual, Row};
use super::incident::{Incident, place};
use super::log::{Logged, Session};
use super::market::Witness;
use super::rerun::Profiles;
use super::timeline::number;

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Recommendation {
    /// Why.
    pub why: String,
    /// What it did on this recording, or that it could not be tried there.
    pub effect: String,
    /// The table to be changed, before.
    pub before: String,
    /// The same, after: it can be written into a configuration as it is.
    pub after: String,
    /// The two as a unified difference.
    pub diff: String,
}

/// Trips of one breaker from which on it flutters.
const FLUTTER: usize = 3;
/// How much earlier a tighter level must trip to be worth it, s.
const EARLIER_S: f64 = 0.2;
/// How much earlier it may trip, s: what trips long before has another reason than this incident.
const EARLIER_MAX_S: f64 = 10.0;
/// How much more it must spare, bp.
const SPARED_BP: f64 = 1.0;

/// What recommendations are made from.
pub(super) struct Advisor<'a> {
    pub(super) session: &'a Session,
    pub(super) incident: &'a Incident,
    pub(super) causes: &'a [Ranked],
    pub(super) tables: &'a [Counterfactual],
    pub(super) profiles: &'a Profiles,
    pub(super) witness: &'a Witness,
}

impl Advisor<'_> {
    /// Recommendations, the most important first; none where nothing follows.
    pub(super) fn recommend(&self) -> Vec<Recommendation> {
        let top = self.causes.first().map_or(RootCause::None, |ranked| ranked.cause);
        let is = |cause: RootCause| self.causes.iter().any(|r| r.cause == cause && r.score >= CERTAIN);
        let mut all = Vec::new();
        if is(RootCause::ThresholdChange) {
            all.extend(self.envelopes());
        }
        if top == RootCause::None {
            all.extend(self.tables.iter().filter_map(|table| self.loosen(table)));
        } else if !matches!(top, RootCause::OwnLosses | RootCause::Operator | RootCause::ThresholdChange) {
            all.extend(self.tables.iter().filter_map(|table| self.tighten(table)));
        }
        all.extend(self.fluttering());
        all
    }

    fn profile(&self, venue: &str) -> Option<&Profile> {
        Venue::from_name(venue).map(|venue| &self.profiles[venue as usize])
    }

    /// The smallest change that was tried under which nothing trips: for trips without a cause.
    fn loosen(&self, table: &Counterfactual) -> Option<Recommendation> {
        let looser = |row: &&Row| self.caution(table, row) < 0.0 && row.trips == 0;
        let row = table.rows.iter().filter(looser).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        let actual = table.rows.iter().find(|row| row.factor == 1.0)?;
        let why = format!("{} tripped while the market was within its usual range", table.rule);
        let effect = format!(
            "0 trips instead of {} around the incident, {} instead of {} in the rest of the recording",
            actual.trips, row.trips_elsewhere, actual.trips_elsewhere
        );
        self.level(table, row, why, effect)
    }

    /// The most cautious level that was tried that would have tripped earlier and spared more, and that trips no more
    /// often in the rest of the recording.
    fn tighten(&self, table: &Counterfactual) -> Option<Recommendation> {
        let actual = table.rows.iter().find(|row| row.factor == 1.0)?;
        let spares = |row: &&Row| {
            let (more, before) = (row.spared_bp?, actual.spared_bp?);
            let worth = (EARLIER_S..=EARLIER_MAX_S).contains(&row.earlier_s?) && more - before >= SPARED_BP;
            (worth && row.trips_elsewhere <= actual.trips_elsewhere).then_some(())
        };
        let tighter = table.rows.iter().filter(|row| self.caution(table, row) > 0.0 && spares(row).is_some());
        let row = tighter.max_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        let (earlier, spared, before) = (row.earlier_s?, row.spared_bp?, actual.spared_bp?);
        let why = format!("{} would have stopped {} {} s earlier", table.rule, table.instrument, number(earlier));
        let effect = format!(
            "up to {} bp spared a unit position instead of {}; {} trips elsewhere in the recording instead of {}; \
             {} instrument-seconds out of trading instead of {}",
            number(spared),
            number(before),
            row.trips_elsewhere,
            actual.trips_elsewhere,
            number(row.stopped_s),
            number(actual.stopped_s)
        );
        self.level(table, row, why, effect)
    }

    /// Above 0 where a level is more cautious than the one in force.
    fn caution(&self, table: &Counterfactual, row: &Row) -> f64 {
        let rule = rule_index(table.rule).and_then(|index| RULES.get(usize::from(index)));
        let sign = if rule.is_some_and(|rule| rule.direction == Direction::Below) { 1.0 } else { -1.0 };
        sign * (row.factor - 1.0)
    }

    fn level(&self, table: &Counterfactual, row: &Row, why: String, effect: String) -> Option<Recommendation> {
        let settings = self.profile(&table.venue)?.rule(table.rule)?;
        let head = format!("profiles.{}.rules.{}", table.venue, table.rule);
        let before = [("threshold", toml_number(settings.threshold)), ("release", toml_number(settings.release))];
        let after = [("threshold", toml_number(row.threshold)), ("release", toml_number(row.release))];
        Some(change(&head, &before, &after, why, effect))
    }

    /// A breaker that trips again and again should cool longer.
    fn fluttering(&self) -> Option<Recommendation> {
        let count = |trip: &Decision| self.incident.trips.iter().filter(|t| place(&t.record) == place(trip)).count();
        let measured = self.incident.trips.iter().map(|trip| trip.record).filter(|d| RULES.len() > usize::from(d.rule));
        let (times, trip) = measured.map(|d| (count(&d), d)).max_by_key(|(times, _)| *times)?;
        let watched = self.witness.instruments.get(usize::from(trip.scope_id))?;
        if times < FLUTTER {
            return None;
        }
        let (venue, rule) = (Venue::ALL.get(watched.venue)?.name(), RULES[usize::from(trip.rule)].name);
        let cooling_ms = self.profile(venue)?.rule(rule)?.cooling_ms;
        let why = format!("{rule} of {} tripped {times} times in one incident", watched.name);
        let effect = "not tried on this recording: trading stays stopped longer after each trip".to_owned();
        let (before, after) =
            ([("cooling_ms", cooling_ms.to_string())], [("cooling_ms", (cooling_ms * 2).to_string())]);
        Some(change(&format!("profiles.{venue}.rules.{rule}"), &before, &after, why, effect))
    }

    /// A level that advice or a condition had tightened: how far it may.
    fn envelopes(&self) -> Option<Recommendation> {
        let cause = self.causes.iter().find(|ranked| ranked.cause == RootCause::ThresholdChange)?;
        let at_ns = cause.evidence.first()?.at_ns;
        let logged = self.incident.trips.iter().find(|trip| trip.time_ns == at_ns)?;
        let trip = logged.record;
        let watched = self.witness.instruments.get(usize::from(trip.scope_id))?;
        let venue = Venue::ALL.get(watched.venue)?.name();
        let profile = &self.profiles[watched.venue];
        let own = profile.rules[usize::from(trip.rule)].threshold;
        // In the order of the log, which is that in which the guard took them.
        let earlier = |a: &&Logged<Adjustment>| a.index < logged.index && a.record.instrument.0 == trip.scope_id;
        let last = self.session.adjustments.iter().rfind(earlier)?.record;
        let effect = format!("{} would have stayed below the level", number(trip.value));
        let rule = RULES.get(usize::from(trip.rule))?.name;
        // Conditions without an effect hold too: the strictest of those that have one is the reason.
        let conditions = serde_json::to_value(profile.conditions).ok()?;
        let held = Condition::names(last.conditions).into_iter();
        let held = held.filter_map(|name| Some((name, conditions[name]["thresholds"].as_f64()?)));
        let strictest = held.filter(|(_, factor)| *factor < 1.0).min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((name, now)) = strictest {
            let why = format!("the condition {name} had lowered {rule} to {}", number(trip.threshold));
            let (before, after) = ([("thresholds", toml_number(now))], [("thresholds", toml_number(1.0))]);
            return Some(change(&format!("profiles.{venue}.conditions.{name}"), &before, &after, why, effect));
        }
        let tuned = [
            ("volatility", Target::Volatility),
            ("spread", Target::Spread),
            ("imbalance", Target::Imbalance),
            ("latency_spike", Target::Latency),
        ];
        let target = tuned.iter().find(|(name, _)| *name == rule)?.1;
        let envelope = profile.tuning.envelope(target);
        // A step above what was measured, as far as the static level itself.
        let lowest = ((trip.value / own * 1.05 * 100.0).ceil() / 100.0).clamp(envelope.lowest, 1.0);
        let why = format!("a model's advice had lowered {rule} to {}", number(trip.threshold));
        let keep = ("highest", toml_number(envelope.highest));
        let before = [("lowest", toml_number(envelope.lowest)), keep.clone()];
        let after = [("lowest", toml_number(lowest)), keep];
        Some(change(&format!("profiles.{venue}.tuning.{}", target.name()), &before, &after, why, effect))
    }
}

fn distance(row: &Row) -> f64 {
    row.factor.ln().abs()
}

/// A number as TOML has it: floats keep their point.
fn toml_number(value: f64) -> String {
    // Twelve decimals are more than any level has, and hide what binary fractions leave.
    let text = format!("{value:.12}");
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

/// A change of some keys of a table.
fn change(
    table: &str,
    before: &[(&str, String)],
    after: &[(&str, String)],
    why: String,
    effect: String,
) -> Recommendation {
    let text = |keys: &[(&str, String)]| {
        let lines: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!("[{table}]\n{lines}")
    };
    let (minus, plus): (String, String) = before
        .iter()
        .zip(after)
        .filter(|(a, b)| a != b)
        .fold(Default::default(), |(minus, plus), ((key, old), (_, new))| {
            (format!("{minus}-{key} = {old}\n"), format!("{plus}+{key} = {new}\n"))
        });
    let same: String = before
        .iter()
        .zip(after)
        .filter(|(a, b)| a == b)
        .map(|((key, value), _)| format!(" {key} = {value}\n"))
        .collect();
    let lines = before.len() + 1;
    let head = "--- tidegate.toml (in force)\n+++ tidegate.toml (recommended)\n";
    let diff = format!("{head}@@ -1,{lines} +1,{lines} @@\n [{table}]\n{minus}{plus}{same}");
    Recommendation { why, effect, before: text(before), after: text(after), diff }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_that_patch_takes() {
        let before = [("lowest", toml_number(0.4)), ("highest", toml_number(1.5))];
        let after = [("lowest", toml_number(0.1 + 0.2)), ("highest", toml_number(1.5))];
        let change = change("profiles.okx.tuning.spread", &before, &after, String::new(), String::new());
        let lines: Vec<&str> = change.diff.lines().skip(2).collect();
        let expected =
            ["@@ -1,3 +1,3 @@", " [profiles.okx.tuning.spread]", "-lowest = 0.4", "+lowest = 0.3", " highest = 1.5"];
        assert_eq!(lines, expected);
        assert_eq!(change.after, "[profiles.okx.tuning.spread]\nlowest = 0.3\nhighest = 1.5\n");
        assert_eq!((toml_number(2.0), toml_number(250_000.0)), ("2.0".into(), "250000.0".into()));
    }
}
