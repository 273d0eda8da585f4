//! Entries as rows: what each table of a store holds of a log.
//!
//! Rows follow from entries alone, in their order from the one that began their session: whoever reads the same entries
//! makes the same rows, whenever and in whatever pieces. That is what a comparison stands on.

use serde_json::Value;
use tidegate_guard::rules::rule_name;
use tidegate_record::entry::{Entry, EntryError, Kind};
use tidegate_record::store::rows::{
    BreakerEventRow, DecisionRow, FillRow, IncidentRow, ModelRow, OrderRow, Rows, SessionRow, ThresholdRow, VerdictRow,
};
use tidegate_wire::decision::{BreakerState, Decision};

use crate::audit::reading::{Reading, Row};
use crate::postmortem::incident::{Incident, Incidents};
use crate::postmortem::log::Logged;

/// What there are tables for. Books, connections and the ledger have files of their own, and the log.
const TOLD: [Kind; 12] = [
    Kind::Session,
    Kind::Configuration,
    Kind::End,
    Kind::Decision,
    Kind::Adjustment,
    Kind::Operated,
    Kind::Model,
    Kind::Request,
    Kind::Risk,
    Kind::Order,
    Kind::Verdict,
    Kind::Execution,
];

/// Makes rows of a log's entries, from a session's first entry on.
#[derive(Debug, Default)]
pub(crate) struct Deriver {
    reading: Reading,
    /// None before the first session: numbers have no names then, and no rows are made.
    session: Option<SessionRow>,
    incidents: Incidents,
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn words(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A number that a database can keep; the largest ones it can where it is larger.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
}

fn count(value: &Value) -> i64 {
    number(value).unwrap_or(0)
}

/// A 64-bit number as text: no database keeps half of them as numbers.
fn id(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |id| id.to_string())
}

impl Deriver {
    /// Entry that began the session under way; -1 before the first.
    pub(crate) fn session(&self) -> i64 {
        self.session.as_ref().map_or(-1, |session| session.entry)
    }

    /// Takes notice of an entry whose rows are there already.
    pub(crate) fn pass(&mut self, index: u64, bytes: &[u8]) -> Result<(), EntryError> {
        let entry = Entry::read(bytes)?;
        self.reading.pass(bytes)?;
        match entry.kind {
            Kind::Session | Kind::Configuration => {
                let body = serde_json::from_slice(entry.body).unwrap_or_default();
                self.begins(index, &entry, &body);
            }
            Kind::Decision => self.decided(index, &entry),
            _ => {}
        }
        Ok(())
    }

    /// Adds what an entry tells.
    pub(crate) fn take(&mut self, index: u64, bytes: &[u8], rows: &mut Rows) -> Result<(), EntryError> {
        let entry = Entry::read(bytes)?;
        if !TOLD.contains(&entry.kind) {
            return self.reading.pass(bytes);
        }
        let row = self.reading.row(index, bytes)?;
        if entry.kind == Kind::Session {
            // Incidents of the session before are numbered by it.
            self.close(rows);
        }
        if self.begins(index, &entry, &row.body) {
            self.session.iter().for_each(|session| rows.add(session));
            return Ok(());
        }
        let Some(session) = self.session.as_ref().map(|session| session.entry) else { return Ok(()) };
        let place = (index as i64, session);
        match entry.kind {
            Kind::End => self.ends(&row, rows),
            Kind::Decision => {
                self.decided(index, &entry);
                rows.add(&decision(place, &row));
                breaker_event(place, &row).iter().for_each(|event| rows.add(event));
            }
            Kind::Operated => rows.add(&said(place, &row, "operated")),
            Kind::Request => rows.add(&said(place, &row, "request")),
            Kind::Risk => {
                let kind = row.body["kind"].as_str().unwrap_or_default();
                if ["kill", "reset", "override", "emergency"].contains(&kind) {
                    rows.add(&said(place, &row, kind));
                }
            }
            Kind::Adjustment => rows.add(&threshold(place, &row)),
            Kind::Model => rows.add(&model(place, &row)),
            Kind::Order => rows.add(&order(place, &row)),
            Kind::Verdict => rows.add(&verdict(place, &row)),
            Kind::Execution => rows.add(&fill(place, &row)),
            _ => {}
        }
        Ok(())
    }

    /// Adds what entries told together: incidents that are new or have changed.
    pub(crate) fn close(&mut self, rows: &mut Rows) {
        let session = self.session();
        self.incidents.changed(|incident| rows.add(&incident_row(session, incident)));
    }

    /// Takes notice of the beginning of a session, and of its configuration; whether it was such an entry.
    fn begins(&mut self, index: u64, entry: &Entry<'_>, body: &Value) -> bool {
        match entry.kind {
            Kind::Session => {
                self.incidents = Incidents::default();
                self.session = Some(SessionRow {
                    entry: index as i64,
                    time_ns: entry.time_ns,
                    purpose: word(&body["purpose"]),
                    version: word(&body["version"]),
                    models: word(&body["models"]),
                    host: words(&body["host"]),
                    pid: number(&body["pid"]),
                    sources: body["sources"].as_array().map_or(0, Vec::len) as i64,
                    ..SessionRow::default()
                });
                true
            }
            Kind::Configuration => {
                if let Some(session) = &mut self.session {
                    session.configuration_sha256 = words(&body["sha256"]);
                }
                true
            }
            _ => false,
        }
    }

    fn ends(&mut self, row: &Row, rows: &mut Rows) {
        let body = &row.body;
        if let Some(session) = &mut self.session {
            (session.end_entry, session.end_ns) = (Some(row.index as i64), Some(row.time_ns));
            (session.frames, session.decisions) = (number(&body["frames"]), number(&body["decisions"]));
            session.features_digest = words(&body["features_digest"]);
            session.decisions_digest = words(&body["decisions_digest"]);
            session.stopped = body["stopped"].as_bool();
            rows.add(session);
        }
    }

    fn decided(&mut self, index: u64, entry: &Entry<'_>) {
        if let Some(record) = entry.record::<Decision>() {
            self.incidents.take(&Logged { index, time_ns: entry.time_ns, record });
        }
    }
}

/// Entry, and the one that began its session.
type Place = (i64, i64);

fn decision((entry, session): Place, row: &Row) -> DecisionRow {
    let body = &row.body;
    DecisionRow {
        entry,
        session,
        time_ns: row.time_ns,
        sequence: count(&body["sequence"]),
        frame: count(&body["frame"]),
        scope: word(&body["scope"]),
        name: word(&body["name"]),
        rule: word(&body["rule"]),
        from_state: word(&body["from"]),
        to_state: word(&body["to"]),
        cause: word(&body["cause"]),
        quality: words(&body["quality"]),
        value: body["value"].as_f64(),
        threshold: body["threshold"].as_f64(),
        release_at: body["release"].as_f64(),
        thresholds_version: count(&body["thresholds_version"]),
        features_digest: words(&body["features_digest"]),
        until_ns: number(&body["until_ns"]),
        follows: row.follows.map(|entry| entry as i64),
    }
}

/// What a decision does to the trading; none when a breaker that stopped it goes on to its cooling.
fn breaker_event((entry, session): Place, row: &Row) -> Option<BreakerEventRow> {
    let body = &row.body;
    let event = match body["to"].as_str()? {
        to if to == BreakerState::Tripped.name() => "trip",
        to if to == BreakerState::HalfOpen.name() => "probation",
        to if to == BreakerState::Closed.name() => "close",
        _ => return None,
    };
    let (scope, name) = (words(&body["scope"]), words(&body["name"]));
    let (rule, cause) = (words(&body["rule"]), words(&body["cause"]));
    let (time_ns, event) = (row.time_ns, event.to_owned());
    Some(BreakerEventRow { entry, session, time_ns, event, scope, name, rule, cause, actor: None, detail: None })
}

/// What somebody did, or the risk desk.
fn said((entry, session): Place, row: &Row, event: &str) -> BreakerEventRow {
    BreakerEventRow {
        entry,
        session,
        time_ns: row.time_ns,
        event: event.into(),
        scope: words(&row.body["scope"]),
        rule: words(&row.body["rule"]),
        cause: words(&row.body["cause"]),
        actor: row.actor.clone(),
        detail: Some(row.body.to_string()),
        ..BreakerEventRow::default()
    }
}

fn threshold((entry, session): Place, row: &Row) -> ThresholdRow {
    let (body, advice, after) = (&row.body, &row.body["advice"], &row.body["after"]);
    let list = |value: &Value| if value.is_null() { "[]".to_owned() } else { value.to_string() };
    ThresholdRow {
        entry,
        session,
        time_ns: row.time_ns,
        sequence: count(&body["sequence"]),
        event: count(&body["event"]),
        instrument: word(&body["instrument"]),
        origin: word(&body["origin"]),
        model: words(&advice["model"]),
        model_version: number(&advice["version"]),
        model_hash: words(&advice["hash"]),
        input_digest: words(&advice["input_digest"]),
        volatility: after["volatility"].as_f64(),
        spread: after["spread"].as_f64(),
        imbalance: after["imbalance"].as_f64(),
        latency_us: after["latency"].as_f64(),
        recovery: after["recovery"].as_f64(),
        levels_before: body["before"].to_string(),
        clamps: list(&body["clamps"]),
        conditions: list(&body["conditions"]),
        until_ns: number(&body["until_ns"]),
    }
}

fn model((entry, session): Place, row: &Row) -> ModelRow {
    let body = &row.body;
    ModelRow {
        entry,
        session,
        time_ns: row.time_ns,
        event: word(&body["event"]),
        name: words(&body["name"]),
        version: number(&body["version"]),
        from_version: number(&body["from"]),
        to_version: number(&body["to"]),
        hash: words(&body["hash"]),
        reason: words(&body["reason"]).or_else(|| words(&body["text"])),
    }
}

fn order((entry, session): Place, row: &Row) -> OrderRow {
    let body = &row.body;
    OrderRow {
        entry,
        session,
        time_ns: row.time_ns,
        request_id: id(&body["request_id"]),
        client_id: id(&body["client_id"]),
        kind: word(&body["kind"]),
        account: word(&body["account"]),
        strategy: word(&body["strategy"]),
        instrument: word(&body["instrument"]),
        side: word(&body["side"]),
        order_type: word(&body["type"]),
        time_in_force: word(&body["time_in_force"]),
        price: word(&body["price"]),
        qty: word(&body["qty"]),
        self_trade: word(&body["self_trade"]),
        flags: count(&body["flags"]),
        actor: row.actor.clone(),
    }
}

fn verdict((entry, session): Place, row: &Row) -> VerdictRow {
    let body = &row.body;
    VerdictRow {
        entry,
        session,
        time_ns: row.time_ns,
        request_id: id(&body["request_id"]),
        client_id: id(&body["client_id"]),
        accepted: body["accepted"].as_bool().unwrap_or(false),
        rule: words(&body["rule"]),
        scope: words(&body["scope"]),
        measured: count(&body["measured"]),
        limit_value: count(&body["limit"]),
        value: word(&body["value"]),
        reference: word(&body["reference"]),
        limits_digest: word(&body["limits_digest"]),
    }
}

fn fill((entry, session): Place, row: &Row) -> FillRow {
    let body = &row.body;
    FillRow {
        entry,
        session,
        time_ns: row.time_ns,
        client_id: id(&body["client_id"]),
        trade_id: id(&body["trade_id"]),
        account: word(&body["account"]),
        strategy: word(&body["strategy"]),
        instrument: word(&body["instrument"]),
        side: word(&body["side"]),
        price: word(&body["price"]),
        qty: word(&body["qty"]),
        fee: word(&body["fee"]),
        actor: row.actor.clone(),
    }
}

fn incident_row(session: i64, incident: &Incident) -> IncidentRow {
    let rules: Vec<&str> = incident.rules().into_iter().map(rule_name).collect();
    IncidentRow {
        session,
        number: incident.number as i64,
        start_ns: incident.start_ns,
        last_trip_ns: incident.last_trip_ns,
        end_ns: incident.end_ns,
        trips: incident.trips.len() as i64,
        gravity: incident.gravity().name().into(),
        rules: Value::from(rules).to_string(),
        first_entry: incident.trips.first().map_or(0, |trip| trip.index as i64),
        last_entry: incident.trips.last().map_or(0, |trip| trip.index as i64),
    }
}
