//! What an incident cost, as far as anything that was recorded shows it: time out of trading, and where prices went.

use std::collections::BTreeSet;

use serde::Serialize;
use tidegate_wire::Venue;
use tidegate_wire::decision::{BreakerState, Decision, Scope};

use super::incident::{Incident, Place, place};
use super::log::Session;
use super::market::Watched;
use super::rerun::Rerun;
use super::traded::{OrdersImpact, traded};

/// What an incident did.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Impact {
    /// Widest scope that was stopped.
    pub widest_scope: &'static str,
    /// Instruments that were out of trading, the longest first.
    pub instruments: Vec<InstrumentImpact>,
    /// Instruments times seconds out of trading.
    pub instrument_seconds: f64,
    /// Orders, executions, exposure, slippage, profit and loss; absent where the session had neither orders nor
    /// executions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<OrdersImpact>,
}

/// What it did to one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct InstrumentImpact {
    /// Its name.
    pub instrument: String,
    /// When it was first stopped, ns since the Unix epoch.
    pub stopped_ns: i64,
    /// When it might be traded again, ns since the Unix epoch; absent where it was not when the log ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ns: Option<i64>,
    /// Time out of trading within the incident, s.
    pub stopped_s: f64,
    /// Mid when it was stopped, quote units; absent where none was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid_at_stop: Option<f64>,
    /// Mid when it might be traded again, or at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid_at_return: Option<f64>,
    /// Move of the mid while it was stopped, bp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub move_bp: Option<f64>,
    /// Largest fall and rise below and above the mid at the stop while it was stopped: what a long and a short position
    /// of one unit that was closed at the stop was spared at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spared_bp: Option<Spared>,
}

/// What a unit position that was closed at the stop was spared at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Spared {
    /// A long one, bp of the mid at the stop.
    pub long_bp: f64,
    /// A short one, bp of the mid at the stop.
    pub short_bp: f64,
    /// A long one of one unit of the base, quote units.
    pub long_quote: f64,
    /// A short one of one unit of the base, quote units.
    pub short_quote: f64,
}

/// The impact of an incident; `end_ns` is the end of the input.
pub(super) fn impact(session: &Session, incident: &Incident, rerun: &Rerun, end_ns: i64) -> Impact {
    let decisions: Vec<Decision> = session.decisions.iter().map(|logged| logged.record).collect();
    let (decisions, witness) = (&decisions, &rerun.witness);
    let until = incident.end_ns.unwrap_or(end_ns);
    let one = |(index, watched): (usize, &Watched)| {
        let stops = stops(decisions, (incident.start_ns, until), index, watched.venue);
        let (stopped_ns, last_ns) = (stops.first()?.0, stops.last()?.1);
        let stopped_s = stops.iter().map(|(from, to)| (to - from) as f64 * 1e-9).sum();
        let (mid_at_stop, mid_at_return) = (watched.mid_at(stopped_ns), watched.mid_at(last_ns));
        let both = mid_at_stop.zip(mid_at_return);
        Some(InstrumentImpact {
            instrument: watched.name.clone(),
            stopped_ns,
            allowed_ns: (incident.end_ns.is_some() || last_ns < until).then_some(last_ns),
            stopped_s,
            mid_at_stop,
            mid_at_return,
            move_bp: both.map(|(stop, back)| (back / stop - 1.0) * 1e4),
            spared_bp: mid_at_stop.map(|mid| spared(watched, mid, stopped_ns, last_ns)),
        })
    };
    let mut instruments: Vec<_> = witness.instruments.iter().enumerate().filter_map(one).collect();
    instruments.sort_by(|a, b| b.stopped_s.total_cmp(&a.stopped_s));
    let instrument_seconds = instruments.iter().map(|one| one.stopped_s).sum();
    let widest_scope = incident.gravity().name();
    let orders = traded(session, &rerun.registry, witness, (incident.start_ns, until));
    Impact { widest_scope, instruments, instrument_seconds, orders }
}

/// When an instrument could not be traded within some time, because of breakers that opened in it.
pub(super) fn stops(
    decisions: &[Decision],
    (from_ns, until_ns): (i64, i64),
    instrument: usize,
    venue: usize,
) -> Vec<(i64, i64)> {
    let concerns = |decision: &&Decision| match Scope::from_repr(decision.scope) {
        Some(Scope::Instrument) => usize::from(decision.scope_id) == instrument,
        Some(Scope::Venue) => usize::from(decision.scope_id) == venue && venue < Venue::ALL.len(),
        Some(Scope::Engine) => true,
        _ => false,
    };
    let mut open: BTreeSet<Place> = BTreeSet::new();
    let (mut since, mut spans) = (None, Vec::new());
    let times = from_ns..=until_ns;
    for decision in decisions.iter().filter(|decision| times.contains(&decision.event_ns)).filter(concerns) {
        let stopped = BreakerState::from_repr(decision.to).is_some_and(|state| !state.allows_trading());
        if stopped {
            open.insert(place(decision));
            since.get_or_insert(decision.event_ns);
        } else if open.remove(&place(decision)) && open.is_empty() {
            spans.extend(since.take().map(|from| (from, decision.event_ns)));
        }
    }
    spans.extend(since.map(|from| (from, until_ns)));
    spans
}

/// Extremes of the mid between two times against one price.
pub(super) fn spared(watched: &Watched, mid: f64, from_ns: i64, to_ns: i64) -> Spared {
    let fine = watched.fine.start_ns <= from_ns && !watched.fine.steps.is_empty();
    let series = if fine { &watched.fine } else { &watched.coarse };
    let within = series.iter().filter(|(at, step)| *at >= from_ns && *at <= to_ns && step.mids > 0);
    let (low, high) = within.fold((mid, mid), |(low, high), (_, step)| (low.min(step.low), high.max(step.high)));
    let (long_quote, short_quote) = (mid - low, high - mid);
    Spared { long_bp: long_quote / mid * 1e4, short_bp: short_quote / mid * 1e4, long_quote, short_quote }
}
