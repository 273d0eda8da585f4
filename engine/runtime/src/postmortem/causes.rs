//! Root causes, ranked by their evidence.
//!
//! Each cause has a strength of its own: the strongest of its numbers, raised a little when a rule that measures it
//! tripped. Causes explain each other's numbers away (a crash widens spreads, a silence makes frames late): a score is
//! the own strength less the part that a stronger cause explains. What is left for "no cause" is one less the best
//! score. Shares of explanation were set on simulated incidents, other ones than those that scores are measured on.

use serde::Serialize;
use strum::{IntoEnumIterator, IntoStaticStr};
use tidegate_guard::rules::{DRAWDOWN, DRAWDOWN_RULE, RULES, rule_name};
use tidegate_wire::decision::{Cause as Why, Decision, Scope};
use tidegate_wire::event::BookQuality;
use tidegate_wire::{Venue, decision};

use super::evidence::{Evidence, Sight, USUAL_MIN, Window, common, hill, longest};
use super::incident::Incident;
use super::latency::OwnLatency;
use super::log::Session;
use super::market::Witness;
use super::rerun::Profiles;

/// What may have caused an incident.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    schemars::JsonSchema,
    strum::EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RootCause {
    /// The price moved far within seconds.
    PriceShock,
    /// The market moved more than usual, without one large move.
    Volatility,
    /// Quotes near the touch were gone.
    LiquidityHole,
    /// The spread widened, more than the depth behind it went.
    SpreadBlowOut,
    /// Far more trades than usual.
    VolumeBurst,
    /// Far more messages than usual.
    MessageFlood,
    /// One stream fell silent; what it had to say came late but whole.
    FeedStall,
    /// Every stream of a venue fell silent at once.
    VenueOutage,
    /// Updates were lost.
    FeedGap,
    /// A book contradicted itself or the venue's checksum.
    CorruptBook,
    /// Frames came later than usual, on their way to us.
    FeedLatency,
    /// The engine itself was slow.
    OwnLatency,
    /// An instrument parted from the one it follows.
    CorrelationBreak,
    /// The strategy or the engine had lost too much.
    OwnLosses,
    /// A person tripped it.
    Operator,
    /// A threshold was tightened, by a model or a condition; at the profile's own level nothing would have tripped.
    ThresholdChange,
    /// No cause: everything was within its usual range.
    None,
}

impl RootCause {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it means, as a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::PriceShock => "the price moved far within seconds",
            Self::Volatility => "the market moved more than usual, without one large move",
            Self::LiquidityHole => "quotes near the touch were gone",
            Self::SpreadBlowOut => "the spread widened, more than the depth behind it went",
            Self::VolumeBurst => "far more trades than usual",
            Self::MessageFlood => "far more messages than usual",
            Self::FeedStall => "a stream fell silent; what it had to say came late but whole",
            Self::VenueOutage => "every stream of a venue fell silent at once (the venue, or our line to it)",
            Self::FeedGap => "updates were lost",
            Self::CorruptBook => "a book contradicted itself or the venue's checksum",
            Self::FeedLatency => "frames came later than usual, on their way to the engine",
            Self::OwnLatency => "the engine itself was slow",
            Self::CorrelationBreak => "an instrument parted from the one it follows",
            Self::OwnLosses => "what was held lost too much",
            Self::Operator => "a person tripped it",
            Self::ThresholdChange => "a threshold was tightened; at the profile's own level nothing would have tripped",
            Self::None => "no cause: the market and its feed were within their usual range",
        }
    }

    /// The rules whose trip speaks for it.
    fn is_measured_by(self, rule: u8) -> bool {
        let rules: &[&str] = match self {
            Self::PriceShock => &["price_move"],
            Self::Volatility => &["volatility"],
            Self::LiquidityHole => &["liquidity_drop"],
            Self::SpreadBlowOut => &["spread"],
            Self::VolumeBurst => &["volume_spike"],
            Self::MessageFlood => &["message_rate"],
            Self::FeedStall | Self::VenueOutage => &["stale_feed"],
            Self::FeedGap | Self::CorruptBook => &["book_integrity"],
            Self::FeedLatency => &["latency_spike"],
            Self::CorrelationBreak => &["correlation_break"],
            Self::OwnLatency | Self::OwnLosses | Self::Operator | Self::ThresholdChange | Self::None => &[],
        };
        rules.contains(&rule_name(rule))
    }
}

/// Shares of a symptom that a cause explains: cause, symptom, share.
const EXPLAINS: &[(RootCause, RootCause, f64)] = {
    use RootCause::*;
    &[
        (PriceShock, Volatility, 0.9),
        (PriceShock, SpreadBlowOut, 0.85),
        (PriceShock, LiquidityHole, 0.7),
        (PriceShock, VolumeBurst, 0.85),
        (PriceShock, MessageFlood, 0.85),
        (LiquidityHole, SpreadBlowOut, 0.9),
        (LiquidityHole, VolumeBurst, 0.6),
        (LiquidityHole, PriceShock, 0.2),
        (LiquidityHole, Volatility, 0.8),
        (SpreadBlowOut, Volatility, 0.6),
        (VolumeBurst, MessageFlood, 0.8),
        (VolumeBurst, Volatility, 0.15),
        (VolumeBurst, SpreadBlowOut, 0.6),
        (VolumeBurst, LiquidityHole, 0.3),
        (Volatility, SpreadBlowOut, 0.6),
        (Volatility, VolumeBurst, 0.85),
        (Volatility, LiquidityHole, 0.4),
        (FeedStall, FeedLatency, 0.8),
        (FeedStall, MessageFlood, 0.9),
        (FeedStall, Volatility, 0.5),
        (FeedStall, CorrelationBreak, 0.6),
        (FeedGap, FeedStall, 0.85),
        (FeedGap, FeedLatency, 0.8),
        (FeedGap, MessageFlood, 0.7),
        (FeedGap, CorrelationBreak, 0.7),
        (FeedGap, SpreadBlowOut, 0.6),
        (VenueOutage, FeedStall, 0.9),
        (VenueOutage, FeedGap, 0.5),
        (VenueOutage, FeedLatency, 0.8),
        (VenueOutage, MessageFlood, 0.9),
        (VenueOutage, Volatility, 0.5),
        (VenueOutage, CorrelationBreak, 0.7),
        (CorruptBook, FeedGap, 0.6),
        (CorruptBook, PriceShock, 0.7),
        (CorruptBook, LiquidityHole, 0.7),
        (CorruptBook, SpreadBlowOut, 0.8),
        (CorruptBook, Volatility, 0.7),
        (CorruptBook, CorrelationBreak, 0.6),
        (FeedLatency, CorrelationBreak, 0.4),
    ]
};

/// Part of what is missing to 1 that a tripped rule adds to the strength of what it measures.
const TRIPPED: f64 = 0.15;
/// Strength of what the log itself says: a gap, a crossed book.
const SAID: f64 = 0.96;
/// Score from which a cause is one, and not only the best of bad guesses.
pub const CERTAIN: f64 = 0.5;
/// Pieces of evidence kept of a cause.
const EVIDENCE_MAX: usize = 6;

/// A cause with its score.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Ranked {
    /// Which.
    pub cause: RootCause,
    /// How likely, in [0, 1]: its own strength less what others explain. Not a probability.
    pub score: f64,
    /// Its own strength, in [0, 1].
    pub strength: f64,
    /// The cause that explains most of it, if any does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_by: Option<RootCause>,
    /// The numbers, strongest first.
    pub evidence: Vec<Evidence>,
}

/// What causes are looked for in.
pub(super) struct Scene<'a> {
    pub(super) session: &'a Session,
    pub(super) incident: &'a Incident,
    pub(super) witness: &'a Witness,
    pub(super) references: &'a [Option<usize>],
    pub(super) profiles: &'a Profiles,
    pub(super) own: Option<&'a OwnLatency>,
}

/// Seconds before the first trip that are looked at: longer than the windows of most rules.
const BEFORE_NS: i64 = 10_000_000_000;
/// The same for correlations, which need many returns.
const CORRELATED_BEFORE_NS: i64 = 22_000_000_000;
/// Seconds after the last trip that are looked at.
const AFTER_NS: i64 = 2_000_000_000;
/// Seconds after the last trip in which nothing counts as usual while the incident lasts.
const LASTING_NS: i64 = 10_000_000_000;

impl Scene<'_> {
    /// What is looked at.
    pub(super) const fn window(&self) -> Window {
        (self.incident.start_ns - BEFORE_NS, self.incident.last_trip_ns + AFTER_NS)
    }

    /// Until when nothing counts as usual: what caused the trips may go on after the last of them.
    fn usual_from(&self) -> i64 {
        let (end, last) = (self.incident.end_ns.unwrap_or(i64::MAX), self.incident.last_trip_ns);
        end.min(last.saturating_add(LASTING_NS)).max(last) + AFTER_NS
    }

    /// Seconds of usual market that the numbers of the instruments concerned are compared with: the fewest of them.
    pub(super) fn usual_seconds(&self) -> usize {
        let seconds = |index: usize| {
            let watched = &self.witness.instruments[index];
            Sight::new(watched, self.window(), self.usual_from()).usual_seconds()
        };
        self.involved().into_iter().map(seconds).min().unwrap_or(0)
    }

    /// All causes, the likeliest first.
    pub(super) fn rank(&self) -> Vec<Ranked> {
        let mut found: Vec<(RootCause, Evidence)> = Vec::new();
        self.market(&mut found);
        self.silences(&mut found);
        self.correlations(&mut found);
        self.books(&mut found);
        self.people(&mut found);
        self.losses(&mut found);
        self.thresholds(&mut found);
        if let Some(evidence) = self.own.and_then(|own| own.evidence(self.window())) {
            found.push((RootCause::OwnLatency, evidence));
        }
        self.explained(found)
    }

    /// Instruments whose numbers count: those that tripped, else all.
    fn involved(&self) -> Vec<usize> {
        let own = self.incident.instruments();
        let all = 0..self.witness.instruments.len();
        all.filter(|index| own.is_empty() || own.contains(&(*index as u16))).collect()
    }

    fn market(&self, found: &mut Vec<(RootCause, Evidence)>) {
        use RootCause::{
            FeedLatency, FeedStall, LiquidityHole, MessageFlood, PriceShock, SpreadBlowOut, Volatility, VolumeBurst,
        };
        let (window, usual_from) = (self.window(), self.usual_from());
        for index in self.involved() {
            let sight = Sight::new(&self.witness.instruments[index], window, usual_from);
            if sight.usual_seconds() < USUAL_MIN {
                continue;
            }
            let all = [
                (PriceShock, sight.shock()),
                (Volatility, sight.volatility()),
                (LiquidityHole, sight.hole()),
                (SpreadBlowOut, sight.spread()),
                (VolumeBurst, sight.volume()),
                (MessageFlood, sight.flood()),
                (FeedStall, sight.silence(window)),
                (FeedLatency, sight.latency()),
            ];
            found.extend(all.into_iter().filter_map(|(cause, evidence)| Some((cause, evidence?))));
        }
    }

    /// Silences that all books of a venue have in common.
    fn silences(&self, found: &mut Vec<(RootCause, Evidence)>) {
        for venue in Venue::ALL {
            let members = self.witness.instruments.iter().filter(|watched| watched.venue == venue as usize);
            let members: Vec<_> = members.filter(|watched| watched.coarse.steps.iter().any(|s| s.mids > 0)).collect();
            let Some((first, others)) = members.split_first().filter(|(_, others)| !others.is_empty()) else {
                continue;
            };
            let shared = others.iter().fold(first.silences.clone(), |all, next| common(&all, &next.silences));
            let Some((from, to)) = longest(&shared, self.window()) else { continue };
            let seconds = (to - from) as f64 * 1e-9;
            let (of, measure) = (Some(venue.name().to_owned()), "silence of every book of the venue at once");
            let strength = hill(seconds, 0.9);
            let evidence = Evidence { of, measure, value: seconds, usual: None, unit: "s", at_ns: from, strength };
            found.push((RootCause::VenueOutage, evidence));
        }
    }

    fn correlations(&self, found: &mut Vec<(RootCause, Evidence)>) {
        // What the rule measured is over a minute: steadier than what the window has, and only known where it tripped.
        let tripped = self.incident.trips.iter().filter(|trip| rule_name(trip.record.rule) == "correlation_break");
        found.extend(tripped.map(|trip| {
            let of = Some(self.session.names().scope(Scope::Instrument, trip.record.scope_id));
            let (measure, value, at_ns) = ("correlation over a minute, at the trip", trip.record.value, trip.time_ns);
            let strength = hill(0.8 - value, 0.4);
            let evidence = Evidence { of, measure, value, usual: None, unit: "ratio", at_ns, strength };
            (RootCause::CorrelationBreak, evidence)
        }));
        let window = (self.incident.start_ns - CORRELATED_BEFORE_NS, self.incident.last_trip_ns + AFTER_NS);
        let usual_from = self.usual_from();
        for index in self.involved() {
            let Some(reference) = self.references.get(index).copied().flatten() else { continue };
            let sight = Sight::new(&self.witness.instruments[index], window, usual_from);
            let other = Sight::new(&self.witness.instruments[reference], window, usual_from);
            found.extend(sight.correlation(&other).map(|evidence| (RootCause::CorrelationBreak, evidence)));
        }
    }

    /// What the log says of books.
    fn books(&self, found: &mut Vec<(RootCause, Evidence)>) {
        let (from, to) = self.window();
        let names = self.session.names();
        for change in self.session.books.iter().filter(|change| (from..to).contains(&change.time_ns)) {
            let quality = u8::try_from(change.record.status.quality).ok().and_then(BookQuality::from_repr);
            let (cause, measure, value) = match quality {
                Some(BookQuality::Gapped) => {
                    let status = change.record.status;
                    let missing = status.received.saturating_sub(status.expected);
                    (RootCause::FeedGap, "update ids that are missing", missing as f64)
                }
                Some(BookQuality::Crossed) => (RootCause::CorruptBook, "books that crossed or left their grid", 1.0),
                Some(BookQuality::Mismatched) => (RootCause::CorruptBook, "books unlike the venue's checksum", 1.0),
                _ => continue,
            };
            let of = Some(names.instrument(change.record.instrument).to_owned());
            let (usual, at_ns) = (Some(0.0), change.time_ns);
            found.push((cause, Evidence { of, measure, value, usual, unit: "count", at_ns, strength: SAID }));
        }
    }

    /// What people did.
    fn people(&self, found: &mut Vec<(RootCause, Evidence)>) {
        let by_hand = |decision: &Decision| decision.cause == Why::ManualTrip as u8;
        for (position, trip) in self.incident.trips.iter().enumerate().filter(|(_, trip)| by_hand(&trip.record)) {
            let scope = Scope::from_repr(trip.record.scope).unwrap_or(Scope::Engine);
            let of = Some(self.session.names().scope(scope, trip.record.scope_id));
            let strength = if position == 0 { 1.0 } else { SAID };
            let (measure, at_ns) = ("trips by hand", trip.time_ns);
            let evidence = Evidence { of, measure, value: 1.0, usual: Some(0.0), unit: "count", at_ns, strength };
            found.push((RootCause::Operator, evidence));
        }
    }

    /// What was lost: the breaker of that is told it.
    fn losses(&self, found: &mut Vec<(RootCause, Evidence)>) {
        for trip in self.incident.trips.iter().filter(|trip| trip.record.rule == DRAWDOWN) {
            let scope = Scope::from_repr(trip.record.scope).unwrap_or(Scope::Engine);
            let of = Some(self.session.names().scope(scope, trip.record.scope_id));
            let (measure, at_ns, usual) = ("loss since the highest equity", trip.time_ns, Some(trip.record.threshold));
            let (value, unit, strength) = (trip.record.value, DRAWDOWN_RULE.unit, SAID);
            found.push((RootCause::OwnLosses, Evidence { of, measure, value, usual, unit, at_ns, strength }));
        }
    }

    /// Trips that the profile's own level would not have made.
    fn thresholds(&self, found: &mut Vec<(RootCause, Evidence)>) {
        for trip in &self.incident.trips {
            let decision = &trip.record;
            let Some((own, rule)) = self.own_level(decision) else { continue };
            let breached = match rule.direction {
                tidegate_guard::rules::Direction::Above => decision.value >= own,
                tidegate_guard::rules::Direction::Below => decision.value < own,
            };
            if breached || decision.threshold == own {
                continue;
            }
            let of = Some(self.session.names().scope(Scope::Instrument, decision.scope_id));
            let (measure, at_ns) = ("threshold in force beside the profile's own", trip.time_ns);
            let (value, usual, unit, strength) = (decision.threshold, Some(own), rule.unit, SAID);
            found.push((RootCause::ThresholdChange, Evidence { of, measure, value, usual, unit, at_ns, strength }));
        }
    }

    /// The profile's own level of a rule that tripped.
    fn own_level(&self, decision: &decision::Decision) -> Option<(f64, &'static tidegate_guard::rules::Rule)> {
        if decision.scope != Scope::Instrument as u8 || decision.has_value == 0 {
            return None;
        }
        let rule = *RULES.get(usize::from(decision.rule))?;
        let venue = self.witness.instruments.get(usize::from(decision.scope_id))?.venue;
        Some((self.profiles[venue].rules[usize::from(decision.rule)].threshold, rule))
    }

    fn explained(&self, found: Vec<(RootCause, Evidence)>) -> Vec<Ranked> {
        let rules = self.incident.rules();
        let of = |cause: RootCause| -> Ranked {
            let mut evidence: Vec<Evidence> =
                found.iter().filter(|(of, _)| *of == cause).map(|(_, evidence)| evidence.clone()).collect();
            evidence.sort_by(|a, b| b.strength.total_cmp(&a.strength));
            let own = evidence.first().map_or(0.0, |strongest| strongest.strength);
            let tripped = rules.iter().any(|rule| cause.is_measured_by(*rule)) && own > 0.0;
            let strength = if tripped { own + (1.0 - own) * TRIPPED * own.sqrt() } else { own };
            evidence.truncate(EVIDENCE_MAX);
            Ranked { cause, score: strength, strength, explained_by: None, evidence }
        };
        let mut ranked: Vec<Ranked> = RootCause::iter().filter(|cause| *cause != RootCause::None).map(of).collect();
        let strength =
            |cause: RootCause, all: &[Ranked]| all.iter().find(|r| r.cause == cause).map_or(0.0, |r| r.strength);
        for index in 0..ranked.len() {
            let cause = ranked[index].cause;
            let shares = EXPLAINS.iter().filter(|(_, symptom, _)| *symptom == cause);
            let parts = shares.map(|(by, _, share)| (share * strength(*by, &ranked), *by));
            if let Some((part, by)) = parts.max_by(|a, b| a.0.total_cmp(&b.0)) {
                ranked[index].score = ranked[index].strength * (1.0 - part);
                ranked[index].explained_by = (part >= CERTAIN / 2.0 && ranked[index].strength > 0.0).then_some(by);
            }
        }
        let best = ranked.iter().map(|ranked| ranked.score).fold(0.0, f64::max);
        let rest = 1.0 - best;
        let nothing =
            Ranked { cause: RootCause::None, score: rest, strength: rest, explained_by: None, evidence: vec![] };
        ranked.push(nothing);
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }
}
