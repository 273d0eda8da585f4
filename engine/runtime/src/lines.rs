//! Numbers of records as names, and decisions as people and programs read them.

use tidegate_guard::rules::rule_name;
use tidegate_wire::decision::{BreakerState, Cause, Decision, Scope};
use tidegate_wire::event::{BookQuality, Header, Status};
use tidegate_wire::{InstrumentId, Registry, Venue};

/// Something is named that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{by}: there is no {name:?}; there is {known}")]
pub struct UnknownName {
    /// Who names it.
    pub by: String,
    /// What it names.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// Names for the numbers in a decision.
#[derive(Clone, Debug)]
pub struct Names {
    instruments: Vec<String>,
    strategies: Vec<String>,
}

/// A decision as people and programs read it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DecisionLine {
    /// Number, from 1.
    pub sequence: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Frame that caused it, or the last one before a timer.
    pub frame: u64,
    /// What is guarded.
    pub scope: &'static str,
    /// Which one.
    pub name: String,
    /// Which rule.
    pub rule: &'static str,
    /// State before.
    pub from: &'static str,
    /// State after.
    pub to: &'static str,
    /// Why.
    pub cause: &'static str,
    /// Quality of the book behind the value; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<&'static str>,
    /// The measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The level that trips.
    pub threshold: f64,
    /// The level that releases.
    pub release: f64,
    /// Version of the thresholds.
    pub thresholds_version: u64,
    /// Digest of the vector it was taken on; absent for timers and operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features_digest: Option<String>,
    /// End of cooling or probation, ns since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<i64>,
}

/// A change of a book's quality as people and programs read it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct BookLine<'a> {
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Frame that caused it, or the last one before a timer.
    pub frame: u64,
    /// Which book.
    pub book: &'a str,
    /// Its quality from here on.
    pub quality: &'static str,
    /// The update id that should have come, where one is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The update id that came instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
}

impl Names {
    /// A change of a book's quality with its name.
    pub fn book(&self, header: &Header, status: &Status) -> BookLine<'_> {
        let quality = BookQuality::of_word(status.quality);
        let ids = (quality == BookQuality::Gapped).then_some((status.expected, status.received));
        BookLine {
            event_ns: header.event_ns,
            frame: header.frame,
            book: self.instrument(header.instrument),
            quality: quality.name(),
            expected: ids.map(|(expected, _)| expected),
            received: ids.map(|(_, received)| received),
        }
    }

    /// Names that are known otherwise: of instruments and strategies, by their numbers.
    pub(crate) const fn of(instruments: Vec<String>, strategies: Vec<String>) -> Self {
        Self { instruments, strategies }
    }

    /// Names of a registry's instruments and of strategies.
    pub fn new(registry: &Registry, strategies: Vec<String>) -> Self {
        Self { instruments: registry.iter().map(|(_, i)| i.name()).collect(), strategies }
    }

    /// Name of an instrument.
    pub(crate) fn instrument(&self, id: InstrumentId) -> &str {
        self.instruments.get(id.index()).map_or("unknown", String::as_str)
    }

    /// Name of a scope's member; its number if it has none.
    pub(crate) fn scope(&self, scope: Scope, id: u16) -> String {
        let index = usize::from(id);
        let name = match scope {
            Scope::Instrument => self.instruments.get(index).cloned(),
            Scope::Venue => Venue::ALL.get(index).map(|venue| venue.name().to_owned()),
            Scope::Strategy => self.strategies.get(index).cloned(),
            Scope::Engine => Some("engine".to_owned()),
        };
        name.unwrap_or_else(|| id.to_string())
    }

    /// A decision with its names.
    pub fn decision(&self, decision: &Decision) -> DecisionLine {
        let scope = Scope::from_repr(decision.scope).unwrap_or(Scope::Engine);
        let name = self.scope(scope, decision.scope_id);
        let state = |byte: u8| BreakerState::from_repr(byte).map_or("unknown", BreakerState::name);
        let measured = decision.instrument != InstrumentId::NONE;
        DecisionLine {
            sequence: decision.sequence,
            event_ns: decision.event_ns,
            frame: decision.frame,
            scope: scope.name(),
            name,
            rule: rule_name(decision.rule),
            from: state(decision.from),
            to: state(decision.to),
            cause: Cause::from_repr(decision.cause).map_or("unknown", Cause::name),
            quality: BookQuality::from_repr(decision.quality).filter(|_| measured).map(BookQuality::name),
            value: (decision.has_value == 1).then_some(decision.value),
            threshold: decision.threshold,
            release: decision.release,
            thresholds_version: decision.thresholds_version,
            features_digest: measured.then(|| format!("{:016x}", decision.features_digest)),
            until_ns: (decision.until_ns != 0).then_some(decision.until_ns),
        }
    }

    pub(crate) fn line(&self, decision: &Decision) -> String {
        // Numbers and plain strings: serialisation has nothing to fail on.
        serde_json::to_string(&self.decision(decision)).unwrap_or_default()
    }
}
