//! Rows: what a table holds of an entry.

use std::collections::BTreeMap;

use super::cell::{Cell, Field, Record, Table, key};

/// Rows of all tables, by their keys; a later row of the same key takes the place of the earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    tables: [BTreeMap<[i64; 2], Vec<Cell>>; TABLES.len()],
}

impl Rows {
    /// Adds a row.
    pub fn add<R: Record>(&mut self, row: &R) {
        let cells = row.cells();
        let key = key(&TABLES[R::TABLE], &cells);
        self.tables[R::TABLE].insert(key, cells);
    }

    /// Adds the rows of other ones, of tables that are wanted.
    pub fn extend(&mut self, other: &Self, wanted: impl Fn(&Table) -> bool) {
        for ((table, own), rows) in TABLES.iter().zip(&mut self.tables).zip(&other.tables) {
            if wanted(table) {
                own.extend(rows.iter().map(|(key, row)| (*key, row.clone())));
            }
        }
    }

    /// Tables with their rows, in the order of their keys.
    pub fn tables(&self) -> impl Iterator<Item = (&'static Table, &BTreeMap<[i64; 2], Vec<Cell>>)> {
        TABLES.iter().zip(&self.tables)
    }

    /// Rows in all.
    pub fn len(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! rows {
    ($($(#[$doc:meta])* $place:literal $name:ident in $table:literal, keys $keys:literal, replaced $replaced:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    })*) => {
        /// Tables of what a log tells, in the order in which they are written.
        pub static TABLES: [Table; const { [$($place),*].len() }] = [$(Table {
            name: $table,
            columns: &[$((stringify!($field), <$type as Field>::TYPE)),*],
            keys: $keys,
            replaced: $replaced,
        }),*];

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

            impl Record for $name {
                const TABLE: usize = $place;
                fn cells(&self) -> Vec<Cell> {
                    vec![$(self.$field.cell()),*]
                }
            }
        )*
    };
}

rows! {
    /// A session: a program that wrote into the log, from its first entry to its last.
    0 SessionRow in "sessions", keys 1, replaced true {
        /// Entry that began it.
        entry: i64,
        /// When, ns since the Unix epoch; 0 for a replay, which begins before its first event.
        time_ns: i64,
        /// `run`, `replay`, `vmsp`.
        purpose: String,
        /// Of the program.
        version: String,
        /// How models ran.
        models: String,
        /// Of a live run.
        host: Option<String>,
        /// Of a live run.
        pid: Option<i64>,
        /// Captures that were read.
        sources: i64,
        /// SHA-256 of the configuration in force, as hex.
        configuration_sha256: Option<String>,
        /// Entry that ended it; absent while it runs, and when it was killed.
        end_entry: Option<i64>,
        /// When, ns since the Unix epoch; 0 for a replay.
        end_ns: Option<i64>,
        /// Frames read.
        frames: Option<i64>,
        /// Decisions taken.
        decisions: Option<i64>,
        /// Digest over all feature vectors, as hex.
        features_digest: Option<String>,
        /// Digest over all decisions, as hex.
        decisions_digest: Option<String>,
        /// Whether it was ended before its input.
        stopped: Option<bool>,
    }
    /// A breaker changed its state.
    1 DecisionRow in "decisions", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// Event time, ns since the Unix epoch.
        time_ns: i64,
        /// Number in the session, from 1.
        sequence: i64,
        /// Frame that caused it, or the last one before a timer.
        frame: i64,
        /// `instrument`, `venue`, `strategy` or `engine`.
        scope: String,
        /// Which one.
        name: String,
        /// Which rule.
        rule: String,
        /// State before.
        from_state: String,
        /// State after.
        to_state: String,
        /// Why.
        cause: String,
        /// Quality of the book behind the value.
        quality: Option<String>,
        /// The measured value, in the rule's unit.
        value: Option<f64>,
        /// The level that trips, in the rule's unit.
        threshold: Option<f64>,
        /// The level that releases, in the rule's unit.
        release_at: Option<f64>,
        /// Version of the thresholds in force.
        thresholds_version: i64,
        /// Digest of the vector it was taken on, as hex.
        features_digest: Option<String>,
        /// End of cooling or probation, ns since the Unix epoch.
        until_ns: Option<i64>,
        /// Entry of the thresholds that it follows from.
        follows: Option<i64>,
    }
    /// What stopped trading and let it go on, and what people did about it.
    2 BreakerEventRow in "breaker_events", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// When, ns since the Unix epoch.
        time_ns: i64,
        /// `trip`, `probation`, `close` of a breaker; `operated`: a command reached the engine; `request`: somebody
        /// asked for something; `kill`, `reset`, `override`, `emergency` of the risk desk.
        event: String,
        /// What is guarded.
        scope: Option<String>,
        /// Which one.
        name: Option<String>,
        /// Which rule.
        rule: Option<String>,
        /// Why.
        cause: Option<String>,
        /// Who.
        actor: Option<String>,
        /// What the entry says, as JSON; absent where the decision's row says it.
        detail: Option<String>,
    }
    /// Thresholds changed.
    3 ThresholdRow in "thresholds", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// Event time, ns since the Unix epoch.
        time_ns: i64,
        /// Number in the session, from 1.
        sequence: i64,
        /// Number of the guard's event from which they hold.
        event: i64,
        /// Whose.
        instrument: String,
        /// Why: advice, its end, conditions.
        origin: String,
        /// The model that advised.
        model: Option<String>,
        /// Its version.
        model_version: Option<i64>,
        /// SHA-256 of its file, as hex.
        model_hash: Option<String>,
        /// Digest of its input, as hex.
        input_digest: Option<String>,
        /// Volatility that trips, fraction/year.
        volatility: Option<f64>,
        /// Spread that trips, ratio.
        spread: Option<f64>,
        /// Imbalance that trips, ratio.
        imbalance: Option<f64>,
        /// Latency that trips, us.
        latency_us: Option<f64>,
        /// Factor on cooling periods.
        recovery: Option<f64>,
        /// The five levels before, as JSON.
        levels_before: String,
        /// What held levels back, as JSON.
        clamps: String,
        /// Conditions in force, as JSON.
        conditions: String,
        /// Until when they hold unless renewed, ns since the Unix epoch.
        until_ns: Option<i64>,
    }
    /// What a model did.
    4 ModelRow in "model_history", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// When, ns since the Unix epoch; 0 in a replay.
        time_ns: i64,
        /// `admitted`, `refused`, `promoted`, `rolled-back`, `fault`, `lost` and others.
        event: String,
        /// Which model.
        name: Option<String>,
        /// Its version.
        version: Option<i64>,
        /// Version that was in force before.
        from_version: Option<i64>,
        /// Version that is in force now.
        to_version: Option<i64>,
        /// SHA-256 of its file, as hex.
        hash: Option<String>,
        /// Why, in words.
        reason: Option<String>,
    }
    /// Somebody wanted something of a venue.
    5 OrderRow in "orders", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// When, ns since the Unix epoch.
        time_ns: i64,
        /// Number of the request, a 64-bit number as text.
        request_id: String,
        /// The client order id, a 64-bit number as text.
        client_id: String,
        /// `new`, `replace`, `cancel`.
        kind: String,
        /// Whose.
        account: String,
        /// On whose behalf.
        strategy: String,
        /// What.
        instrument: String,
        /// `buy` or `sell`.
        side: String,
        /// `limit`, `market`, `post-only`.
        order_type: String,
        /// How long it lives.
        time_in_force: String,
        /// Limit price, decimal.
        price: String,
        /// Total quantity, decimal.
        qty: String,
        /// What is done about an order that would trade with itself.
        self_trade: String,
        /// Bits; 1: reduce only.
        flags: i64,
        /// Who asked for it.
        actor: Option<String>,
    }
    /// What the risk gate said to it.
    6 VerdictRow in "verdicts", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// When, ns since the Unix epoch.
        time_ns: i64,
        /// Which request of the session.
        request_id: String,
        /// Its client order id.
        client_id: String,
        /// Whether it may be sent.
        accepted: bool,
        /// Which rule refused it.
        rule: Option<String>,
        /// Whose limit it was.
        scope: Option<String>,
        /// What was measured, in the rule's unit.
        measured: i64,
        /// The limit, in the rule's unit.
        limit_value: i64,
        /// The order's worst-case value, decimal, reporting currency.
        value: String,
        /// Reference price, decimal.
        reference: String,
        /// Digest of the limits in force, as hex.
        limits_digest: String,
    }
    /// An order executed, wholly or in part.
    7 FillRow in "fills", keys 1, replaced false {
        /// Its entry.
        entry: i64,
        /// Entry that began its session.
        session: i64,
        /// When, ns since the Unix epoch.
        time_ns: i64,
        /// The order's client id.
        client_id: String,
        /// The venue's id of the trade.
        trade_id: String,
        /// Whose.
        account: String,
        /// On whose behalf.
        strategy: String,
        /// What.
        instrument: String,
        /// `buy` or `sell`.
        side: String,
        /// Price, decimal.
        price: String,
        /// Quantity, decimal.
        qty: String,
        /// Fee, decimal, reporting currency; negative for a rebate.
        fee: String,
        /// Who reported it.
        actor: Option<String>,
    }
    /// Trips that belong together, as a post-mortem puts them together.
    8 IncidentRow in "incidents", keys 2, replaced true {
        /// Entry that began its session.
        session: i64,
        /// Number among the session's incidents, from 1.
        number: i64,
        /// First trip, ns since the Unix epoch.
        start_ns: i64,
        /// Last trip, ns since the Unix epoch.
        last_trip_ns: i64,
        /// When trading was allowed again everywhere, ns since the Unix epoch; absent while it was not.
        end_ns: Option<i64>,
        /// How many trips.
        trips: i64,
        /// Widest scope that was stopped.
        gravity: String,
        /// Rules that tripped, as JSON.
        rules: String,
        /// Entry of the first trip.
        first_entry: i64,
        /// Entry of the last trip.
        last_entry: i64,
    }
}

/// Something measured over a minute.
#[derive(Clone, Debug, PartialEq)]
pub struct MinuteMetric {
    /// Entry that began the session of the run.
    pub session: i64,
    /// Beginning of the minute, ns since the Unix epoch.
    pub minute_ns: i64,
    /// What, with its unit in the name.
    pub name: String,
    /// How much; a value that is not finite is not kept.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rows_of_a_key_take_the_place_of_earlier_ones() {
        let mut rows = Rows::default();
        assert!(rows.is_empty());
        let session = SessionRow { entry: 7, ..SessionRow::default() };
        rows.add(&session);
        rows.add(&SessionRow { frames: Some(3), ..session });
        rows.add(&IncidentRow { session: 7, number: 2, ..IncidentRow::default() });
        rows.add(&IncidentRow { session: 7, number: 1, ..IncidentRow::default() });
        assert_eq!(rows.len(), 3);
        let (_, incidents) = rows.tables().find(|(table, _)| table.name == "incidents").expect("a table");
        assert_eq!(incidents.keys().copied().collect::<Vec<_>>(), [[7, 1], [7, 2]]);
    }
}
