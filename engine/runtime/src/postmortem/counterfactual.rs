//! What other thresholds would have done: the recorded input once more, past guards whose levels are multiples.

use serde::Serialize;
use tidegate_guard::rules::{RULES, rule_name};
use tidegate_wire::decision::{BreakerState, Decision, Scope};

use super::impact::{spared, stops};
use super::incident::Incident;
use super::market::Witness;
use super::rerun::Profiles;

/// Multiples of a level that are tried.
pub const FACTORS: [f64; 6] = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0];
/// Rules that are tried at most: those that tripped first.
const RULES_MAX: usize = 4;
/// Time before the first trip in which a tighter level may have tripped earlier, ns.
pub(super) const LEAD_NS: i64 = 30_000_000_000;

/// One rule at several levels.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Counterfactual {
    /// The rule.
    pub rule: &'static str,
    /// Unit of its levels.
    pub unit: &'static str,
    /// Venue whose profile the levels below are of; those of other venues are multiplied alike.
    pub venue: String,
    /// Instrument that tripped it first: prices below are its.
    pub instrument: String,
    /// A row a multiple; that of 1 is what happened.
    pub rows: Vec<Row>,
}

/// One level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Row {
    /// Multiple of the level in force.
    pub factor: f64,
    /// The level that trips, in the rule's unit.
    pub threshold: f64,
    /// The level that releases, in the rule's unit.
    pub release: f64,
    /// Trips of the rule around the incident: from 30 s before its first trip to its end.
    pub trips: u32,
    /// Trips of the rule in the rest of the recording.
    pub trips_elsewhere: u32,
    /// How much earlier than it did the rule would have tripped, s; negative when later, absent when never.
    pub earlier_s: Option<f64>,
    /// Instruments times seconds out of trading around the incident, by any breaker.
    pub stopped_s: f64,
    /// The same in the rest of the recording.
    pub stopped_elsewhere_s: f64,
    /// Mid of the instrument at the trip, quote units.
    pub mid_at_trip: Option<f64>,
    /// What a unit position on the wrong side was spared at most by closing at the trip, bp; absent without a trip.
    pub spared_bp: Option<f64>,
}

/// A guard to be run beside the real one.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) rule: u8,
    pub(super) factor: f64,
    pub(super) profiles: Box<Profiles>,
}

/// Guards for the rules that tripped first. A flag has no other level.
pub(super) fn variants(incident: &Incident, profiles: &Profiles) -> Vec<Variant> {
    let levels = |rule: &u8| RULES.get(usize::from(*rule)).is_some_and(|rule| rule.unit != "flag");
    let rules = incident.rules().into_iter().filter(levels).take(RULES_MAX);
    let others = || FACTORS.into_iter().filter(|factor| *factor != 1.0);
    let pairs = rules.flat_map(|rule| others().map(move |factor| (rule, factor)));
    let variant = |(rule, factor): (u8, f64)| {
        let mut profiles = Box::new(profiles.clone());
        for profile in profiles.iter_mut() {
            let settings = &mut profile.rules[usize::from(rule)];
            (settings.threshold, settings.release) = (settings.threshold * factor, settings.release * factor);
        }
        Variant { rule, factor, profiles }
    };
    pairs.map(variant).collect()
}

/// What comparing needs.
pub(super) struct Compared<'a> {
    pub(super) incident: &'a Incident,
    pub(super) witness: &'a Witness,
    pub(super) profiles: &'a Profiles,
    /// End of the input, ns since the Unix epoch.
    pub(super) end_ns: i64,
}

impl Compared<'_> {
    /// Rows of each rule; `others` are the decisions of the variants, in their order.
    pub(super) fn tables(
        &self,
        variants: &[Variant],
        others: &[Vec<Decision>],
        real: &[Decision],
    ) -> Vec<Counterfactual> {
        let mut rules: Vec<u8> = variants.iter().map(|variant| variant.rule).collect();
        rules.dedup();
        rules.into_iter().filter_map(|rule| self.table(rule, variants, others, real)).collect()
    }

    fn table(
        &self,
        rule: u8,
        variants: &[Variant],
        others: &[Vec<Decision>],
        real: &[Decision],
    ) -> Option<Counterfactual> {
        let first = self.incident.trips.iter().find(|trip| trip.record.rule == rule)?.record;
        let watched = self.witness.instruments.get(usize::from(first.scope_id))?;
        let own = variants.iter().zip(others).filter(|(variant, _)| variant.rule == rule);
        let mut rows: Vec<Row> = own.map(|(v, decisions)| self.row(&first, v.factor, &v.profiles, decisions)).collect();
        rows.push(self.row(&first, 1.0, self.profiles, real));
        rows.sort_by(|a, b| a.factor.total_cmp(&b.factor));
        let venue = tidegate_wire::Venue::ALL.get(watched.venue).map_or("", |venue| venue.name()).to_owned();
        let unit = RULES.get(usize::from(rule)).map_or("", |rule| rule.unit);
        Some(Counterfactual { rule: rule_name(rule), unit, venue, instrument: watched.name.clone(), rows })
    }

    fn row(&self, first: &Decision, factor: f64, profiles: &Profiles, decisions: &[Decision]) -> Row {
        let (from, to) = (self.incident.start_ns - LEAD_NS, self.incident.end_ns.unwrap_or(self.end_ns));
        let tripped = |d: &&Decision| d.rule == first.rule && d.to == BreakerState::Tripped as u8;
        let within = |d: &&Decision| (from..=to).contains(&d.event_ns);
        let all = decisions.iter().filter(tripped).count();
        let around: Vec<&Decision> = decisions.iter().filter(tripped).filter(within).collect();
        let of_first = |d: &&&Decision| d.scope == Scope::Instrument as u8 && d.scope_id == first.scope_id;
        let at = around.iter().find(of_first).map(|d| d.event_ns);
        let watched = &self.witness.instruments[usize::from(first.scope_id)];
        let mid_at_trip = at.and_then(|at| watched.mid_at(at));
        let spared_bp = at.zip(mid_at_trip).map(|(at, mid)| {
            let spared = spared(watched, mid, at, to);
            spared.long_bp.max(spared.short_bp)
        });
        let settings = &profiles[watched.venue].rules[usize::from(first.rule)];
        let (near, whole) = (self.stopped(decisions, (from, to)), self.stopped(decisions, (i64::MIN, self.end_ns)));
        Row {
            factor,
            threshold: settings.threshold,
            release: settings.release,
            trips: around.len() as u32,
            trips_elsewhere: (all - around.len()) as u32,
            earlier_s: at.map(|at| (first.event_ns - at) as f64 * 1e-9),
            stopped_s: near,
            stopped_elsewhere_s: (whole - near).max(0.0),
            mid_at_trip,
            spared_bp,
        }
    }

    /// Instruments times seconds out of trading within some time.
    fn stopped(&self, decisions: &[Decision], (from, to): (i64, i64)) -> f64 {
        let one = |(index, watched): (usize, &super::market::Watched)| -> f64 {
            let spans = stops(decisions, (i64::MIN, self.end_ns), index, watched.venue);
            spans.iter().map(|span| (span.1.min(to) - span.0.max(from)).max(0) as f64 * 1e-9).sum()
        };
        self.witness.instruments.iter().enumerate().map(one).sum()
    }
}
