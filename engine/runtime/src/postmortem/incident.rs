//! Decisions as incidents.
//!
//! Trips belong to one incident while each comes within [`QUIET_NS`] of the one before. An incident lasts from its
//! first trip until every breaker that tripped in it allows trading again, or until the log ends.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_guard::rules::RULE_COUNT;
use tidegate_wire::decision::{BreakerState, Decision, Scope};

use super::log::{Logged, Session};

/// Event time without a trip after which the next one begins another incident, ns: longer than the longest hold of the
/// shipped rules but one, and short enough to tell a crash from what comes after it.
pub const QUIET_NS: i64 = 5_000_000_000;

/// Which breaker: scope, number within the scope, rule.
pub(super) type Place = (u8, u16, u8);

/// The breaker of a decision.
pub(super) const fn place(decision: &Decision) -> Place {
    (decision.scope, decision.scope_id, decision.rule)
}

/// Trips that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incident {
    /// Number among the session's incidents, from 1.
    pub(crate) number: usize,
    /// First trip, ns since the Unix epoch.
    pub(crate) start_ns: i64,
    /// Last trip, ns since the Unix epoch.
    pub(crate) last_trip_ns: i64,
    /// When trading was allowed again everywhere; `None` while it was not when the log ended.
    pub(crate) end_ns: Option<i64>,
    /// Its trips.
    pub(crate) trips: Vec<Logged<Decision>>,
}

impl Incident {
    /// Widest scope that was stopped: how grave it is.
    pub(crate) fn gravity(&self) -> Scope {
        let widest = self.trips.iter().map(|trip| trip.record.scope).max().unwrap_or(0);
        Scope::from_repr(widest).unwrap_or(Scope::Instrument)
    }

    /// Rules that measure and tripped, in the order of their first trips.
    pub(crate) fn rules(&self) -> Vec<u8> {
        let mut seen = BTreeSet::new();
        let rules = self.trips.iter().map(|trip| trip.record.rule);
        rules.filter(|rule| usize::from(*rule) < RULE_COUNT && seen.insert(*rule)).collect()
    }

    /// Instruments that tripped themselves, by number.
    pub(super) fn instruments(&self) -> BTreeSet<u16> {
        let own = self.trips.iter().filter(|trip| trip.record.scope == Scope::Instrument as u8);
        own.map(|trip| trip.record.scope_id).collect()
    }

    /// Whether a time lies in it, ns since the Unix epoch.
    pub(super) fn covers(&self, time_ns: i64) -> bool {
        (self.start_ns..=self.end_ns.unwrap_or(i64::MAX)).contains(&time_ns)
    }
}

/// All incidents of a session, in order.
pub(super) fn incidents(session: &Session) -> Vec<Incident> {
    let mut incidents = Incidents::default();
    session.decisions.iter().for_each(|decision| incidents.take(decision));
    incidents.finish()
}

/// Incidents as decisions come, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    begun: usize,
    /// Those that can still change.
    watched: Vec<Watched>,
    /// Those that cannot.
    done: Vec<Watched>,
}

/// An incident that can still change.
#[derive(Clone, Debug)]
struct Watched {
    incident: Incident,
    /// Breakers that tripped in it, and whether they still stop the trading.
    stops: BTreeMap<Place, bool>,
    /// Changed since it was last asked for.
    fresh: bool,
}

impl Incidents {
    /// The next decision of the session.
    pub(crate) fn take(&mut self, decision: &Logged<Decision>) {
        let (now, breaker) = (decision.record.event_ns, place(&decision.record));
        let over =
            |watched: &mut Watched| watched.incident.end_ns.is_some() && now - watched.incident.last_trip_ns > QUIET_NS;
        self.done.extend(self.watched.extract_if(.., over));
        if decision.record.to == BreakerState::Tripped as u8 {
            self.tripped(decision);
        }
        let stops = !BreakerState::from_repr(decision.record.to).is_some_and(BreakerState::allows_trading);
        for watched in &mut self.watched {
            let Some(own) = watched.stops.get_mut(&breaker) else { continue };
            *own = stops;
            let Incident { last_trip_ns, end_ns, .. } = &mut watched.incident;
            // It ends when the last of its breakers allows trading again.
            if end_ns.is_none() && now >= *last_trip_ns && !watched.stops.values().any(|stops| *stops) {
                (*end_ns, watched.fresh) = (Some(now), true);
            }
        }
    }

    fn tripped(&mut self, trip: &Logged<Decision>) {
        let (now, breaker) = (trip.record.event_ns, place(&trip.record));
        let newest = self.watched.last_mut().filter(|last| now - last.incident.last_trip_ns <= QUIET_NS);
        if let Some(newest) = newest {
            (newest.incident.last_trip_ns, newest.incident.end_ns, newest.fresh) = (now, None, true);
            newest.incident.trips.push(*trip);
            newest.stops.insert(breaker, true);
            return;
        }
        self.begun += 1;
        let (number, trips) = (self.begun, vec![*trip]);
        let incident = Incident { number, start_ns: now, last_trip_ns: now, end_ns: None, trips };
        self.watched.push(Watched { incident, stops: BTreeMap::from([(breaker, true)]), fresh: true });
    }

    /// Shows those that are new or have changed since the last time; those that cannot change any more are forgotten.
    pub(crate) fn changed(&mut self, mut show: impl FnMut(&Incident)) {
        for watched in self.done.iter_mut().chain(&mut self.watched).filter(|watched| watched.fresh) {
            show(&watched.incident);
            watched.fresh = false;
        }
        self.done.clear();
    }

    /// All of them, in order; as far as [`Self::changed`] has not forgotten them.
    fn finish(self) -> Vec<Incident> {
        let mut all: Vec<Incident> = self.done.into_iter().chain(self.watched).map(|w| w.incident).collect();
        all.sort_by_key(|incident| incident.number);
        all
    }
}

/// The incident that is explained: the one with this entry in it, else the newest of the gravest ones.
///
/// An entry that belongs to no incident is a moment to be explained by itself: an incident without a trip.
pub(super) fn choose(session: &Session, found: &[Incident], entry: Option<u64>) -> Option<Incident> {
    let Some(entry) = entry else {
        return found.iter().max_by_key(|incident| (incident.gravity() as u8, incident.number)).cloned();
    };
    if let Some(incident) = found.iter().find(|incident| incident.trips.iter().any(|trip| trip.index == entry)) {
        return Some(incident.clone());
    }
    let time_ns = time_of(session, entry)?;
    let covering = found.iter().rfind(|incident| incident.covers(time_ns));
    let moment =
        || Incident { number: 0, start_ns: time_ns, last_trip_ns: time_ns, end_ns: Some(time_ns), trips: vec![] };
    Some(covering.cloned().unwrap_or_else(moment))
}

fn time_of(session: &Session, entry: u64) -> Option<i64> {
    let decisions = session.decisions.iter().map(|logged| (logged.index, logged.time_ns));
    let adjustments = session.adjustments.iter().map(|logged| (logged.index, logged.time_ns));
    let operated = session.operated.iter().map(|logged| (logged.index, logged.time_ns));
    let books = session.books.iter().map(|logged| (logged.index, logged.time_ns));
    let told = session.told.iter().map(|told| (told.index, told.time_ns));
    let mut all = decisions.chain(adjustments).chain(operated).chain(books).chain(told);
    all.find(|(index, time_ns)| *index == entry && *time_ns > 0).map(|(_, time_ns)| time_ns)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_guard::rules::ESCALATION;
    use tidegate_wire::decision::Cause;

    use super::*;

    const S: i64 = 1_000_000_000;

    fn session(steps: &[(i64, u8, u16, u8, BreakerState)]) -> Session {
        let decision = |(index, (at, scope, id, rule, to)): (usize, &(i64, u8, u16, u8, BreakerState))| {
            let mut record = Decision::zeroed();
            (record.event_ns, record.scope, record.scope_id) = (at * S, *scope, *id);
            (record.rule, record.to, record.cause) = (*rule, *to as u8, Cause::Breached as u8);
            Logged { index: index as u64, time_ns: at * S, record }
        };
        Session { decisions: steps.iter().enumerate().map(decision).collect(), ..Session::default() }
    }

    #[test]
    fn trips_close_in_time_are_one_incident_and_the_gravest_of_the_newest_is_explained() {
        use BreakerState::{Cooling, HalfOpen, Tripped};
        let session = session(&[
            (100, 0, 1, 1, Tripped),
            (105, 3, 0, ESCALATION, Tripped),
            (108, 0, 1, 1, Cooling),
            (112, 3, 0, ESCALATION, HalfOpen),
            (130, 0, 1, 1, HalfOpen),
            (140, 0, 2, 4, Tripped),
        ]);
        let found = incidents(&session);
        let ends: Vec<_> = found.iter().map(|i| (i.start_ns / S, i.end_ns.map(|end| end / S), i.trips.len())).collect();
        assert_eq!(ends, [(100, Some(130), 2), (140, None, 1)]);
        assert_eq!(choose(&session, &found, None).map(|i| (i.number, i.gravity())), Some((1, Scope::Engine)));
        assert_eq!(choose(&session, &found, Some(5)).map(|i| i.number), Some(2));
        assert_eq!(choose(&session, &found, Some(3)).map(|i| i.number), Some(1), "a decision within it");
        assert_eq!(choose(&session, &found, Some(99)), None);
        assert_eq!((found[0].rules(), found[0].instruments()), (vec![1], BTreeSet::from([1])));
    }
}
