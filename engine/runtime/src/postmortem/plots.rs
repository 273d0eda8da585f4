//! The market around an incident as curves.

use serde::Serialize;

use super::causes::{Ranked, RootCause};
use super::incident::Incident;
use super::market::{Series, Step, Witness};

/// Instruments that have plots: the first to trip.
const INSTRUMENTS_MAX: usize = 2;
/// Points of a curve at most.
const POINTS_MAX: usize = 900;

/// A curve of one number over time.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Curve {
    /// What it is.
    pub measure: &'static str,
    /// Unit of its values.
    pub unit: &'static str,
    /// Seconds after the first trip, and the value; `null` where nothing was known.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Curves of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Plot {
    /// Its name.
    pub instrument: String,
    /// When it tripped, s after the incident's first trip.
    pub trips_s: Vec<f64>,
    /// When the incident ended, s after its first trip; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_s: Option<f64>,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Plots of the instruments that tripped first; of the first one of all where none did itself.
pub(super) fn plots(witness: &Witness, incident: &Incident, causes: &[Ranked]) -> Vec<Plot> {
    let mut order: Vec<usize> = Vec::new();
    let named = causes.iter().filter(|ranked| ranked.cause != RootCause::None).flat_map(|ranked| &ranked.evidence);
    let named = named.filter_map(|evidence| evidence.of.as_deref());
    let index = |name: &str| witness.instruments.iter().position(|watched| watched.name == name);
    let tripped =
        incident.trips.iter().filter(|trip| trip.record.scope == 0).map(|trip| usize::from(trip.record.scope_id));
    for place in named.take(1).filter_map(index).chain(tripped).chain([0]) {
        if place < witness.instruments.len() && !order.contains(&place) && order.len() < INSTRUMENTS_MAX {
            order.push(place);
        }
    }
    order.into_iter().map(|place| plot(witness, incident, place)).collect()
}

fn plot(witness: &Witness, incident: &Incident, place: usize) -> Plot {
    let watched = &witness.instruments[place];
    let seconds = |time_ns: i64| (time_ns - incident.start_ns) as f64 * 1e-9;
    let (fine, span) = (&watched.fine, witness.span());
    let curve = |measure, unit, of: &dyn Fn(&Step) -> Option<f64>| {
        let points = points(fine, of).map(|(at, value)| (seconds(at), value));
        Curve { measure, unit, points: points.collect() }
    };
    let rate = 1e9 / fine.step_ns as f64;
    let trips =
        incident.trips.iter().filter(|trip| trip.record.scope != 0 || usize::from(trip.record.scope_id) == place);
    Plot {
        instrument: watched.name.clone(),
        trips_s: trips.map(|trip| seconds(trip.record.event_ns)).collect(),
        end_s: incident.end_ns.filter(|end| *end <= span.1).map(seconds),
        curves: vec![
            curve("mid", "quote", &Step::mid),
            curve("spread", "bp", &Step::spread_bp),
            curve("quantity within 10 bp", "qty", &Step::depth),
            curve("traded", "qty/s", &|step| Some(step.volume * rate)),
            curve("messages", "1/s", &|step| Some(f64::from(step.messages) * rate)),
            curve("largest latency", "ms", &Step::latency_high_ms),
        ],
    }
}

/// A number of each step; of several steps together the last that is known, where there are too many.
fn points<'a>(
    series: &'a Series,
    of: &'a dyn Fn(&Step) -> Option<f64>,
) -> impl Iterator<Item = (i64, Option<f64>)> + 'a {
    let stride = series.steps.len().div_ceil(POINTS_MAX).max(1);
    series
        .steps
        .chunks(stride)
        .enumerate()
        .map(move |(index, steps)| (series.time_of(index * stride), steps.iter().filter_map(of).next_back()))
}
