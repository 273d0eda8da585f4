//! On a SQLite file; what Postgres does alike is tested where there is one (`tests/tests/stores.rs`).

use super::rows::{DecisionRow, IncidentRow, SessionRow, VerdictRow};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn place(folder: &tempfile::TempDir) -> Place {
    Place::sqlite(&folder.path().join("store.sqlite"))
}

fn at(next: i64) -> Position {
    Position { origin: "tidegate.test/store".into(), first: 0, next, root: format!("{next:064x}"), session: 0 }
}

fn decisions(from: i64, to: i64) -> Rows {
    let mut rows = Rows::default();
    for entry in from..to {
        rows.add(&DecisionRow {
            entry,
            name: "BTCUSDT.okx; DROP TABLE decisions; --".into(),
            value: Some(0.1 + 0.2),
            threshold: Some(f64::NAN),
            ..DecisionRow::default()
        });
    }
    rows
}

fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("a table")
}

#[test]
fn columns_are_those_of_the_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&place(&folder), PATIENCE).expect("a store");
    for table in TABLES.iter().chain([&MINUTES]) {
        let question = format!("SELECT name, type FROM pragma_table_info('{}') ORDER BY cid", table.name);
        let found = store.within("asking", async |connection| {
            let rows = connection.ask(&question, &[], &[CellType::Text, CellType::Text]).await;
            rows.map_err(|error| StoreError::failed("asking", &error))
        });
        let found: Vec<String> = found.expect("columns").iter().map(|row| format!("{}:{}", row[0], row[1])).collect();
        let expected: Vec<String> = table
            .columns
            .iter()
            .map(|(name, kind)| {
                let kind = match kind {
                    CellType::Int if *name == "entry" => "INTEGER",
                    CellType::Int => "BIGINT",
                    CellType::Real => "DOUBLE PRECISION",
                    CellType::Text => "TEXT",
                    CellType::Bool => "BOOLEAN",
                };
                format!("{name:?}:{kind:?}")
            })
            .collect();
        assert_eq!(found, expected, "{}", table.name);
    }
}

#[test]
fn rows_and_position_go_together_and_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = place(&folder);
    let mut store = Store::open(&place, PATIENCE).expect("a store");
    assert_eq!(store.position(), Ok(None));
    let mut rows = decisions(0, 700);
    let verdict = VerdictRow { entry: 3, accepted: true, measured: i64::MIN, ..VerdictRow::default() };
    rows.add(&verdict);
    store.write(None, &at(700), &rows).expect("room");
    // Migrating again changes nothing; what was written is there.
    let mut store = Store::open(&place, PATIENCE).expect("the same store");
    assert_eq!(store.position(), Ok(Some(at(700))));
    let (_, expected) = rows.tables().find(|(table, _)| table.name == "decisions").expect("a table");
    assert_eq!(store.rows(table("decisions"), 0, 1_000), Ok(expected.values().cloned().collect()));
    assert_eq!(store.rows(table("verdicts"), 0, 1_000), Ok(vec![cell::Record::cells(&verdict)]));
    assert_eq!(store.counts().expect("counts")[1], ("decisions", 700));
}

#[test]
fn who_writes_from_another_position_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut one = Store::open(&place(&folder), PATIENCE).expect("a store");
    let mut other = Store::open(&place(&folder), PATIENCE).expect("the same");
    one.write(None, &at(10), &decisions(0, 10)).expect("room");
    let moved = |expected| Err(StoreError::Moved { expected });
    assert_eq!(other.write(None, &at(10), &decisions(0, 10)), moved(0));
    let mut other = Store::open(&place(&folder), PATIENCE).expect("the same");
    one.write(Some(&at(10)), &at(20), &decisions(10, 20)).expect("room");
    assert_eq!(other.write(Some(&at(10)), &at(20), &decisions(10, 20)), moved(10));
    assert_eq!(one.counts().expect("counts")[1], ("decisions", 20));
    // The same entry twice is a mistake of ours, and nothing of it stays.
    assert!(one.write(Some(&at(20)), &at(30), &decisions(15, 30)).is_err());
    let mut again = Store::open(&place(&folder), PATIENCE).expect("the same");
    assert_eq!(again.position(), Ok(Some(at(20))));
    assert_eq!(again.counts().expect("counts")[1], ("decisions", 20));
}

#[test]
fn sessions_incidents_and_metrics_are_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&place(&folder), PATIENCE).expect("a store");
    let incident = IncidentRow { session: 0, number: 1, ..IncidentRow::default() };
    let mut rows = Rows::default();
    rows.add(&SessionRow::default());
    rows.add(&incident);
    store.write(None, &at(5), &rows).expect("room");
    let mut rows = Rows::default();
    rows.add(&SessionRow { frames: Some(9), ..SessionRow::default() });
    rows.add(&IncidentRow { end_ns: Some(7), ..incident });
    store.write(Some(&at(5)), &at(6), &rows).expect("room");
    let found = store.rows(table("incidents"), 0, 1).expect("rows");
    assert_eq!((found.len(), &found[0][4]), (1, &Cell::Int(Some(7))));
    let minute = |value| MinuteMetric { session: 0, minute_ns: 60, name: "frames".into(), value };
    store.write_minutes(&[minute(1.0), minute(2.0), minute(f64::NAN)]).expect("room");
    store.write_minutes(&[minute(3.5)]).expect("room");
    let found = store.rows(&MINUTES, 0, 1).expect("rows");
    assert_eq!(found, [[int(0), int(60), text("frames"), Cell::Real(Some(3.5))]]);
}

#[test]
fn looking_makes_nothing_and_newer_stores_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = place(&folder);
    assert!(Store::look(&place, PATIENCE).is_err_and(|error| error.may_pass()));
    assert!(!folder.path().join("store.sqlite").exists());
    let mut store = Store::open(&place, PATIENCE).expect("a store");
    let newer = format!("INSERT INTO schema_migrations VALUES ({}, 'later', '', 0)", VERSION + 1);
    store.execute(&newer).expect("written");
    let error = Store::open(&place, PATIENCE).expect_err("newer");
    assert_eq!(error, StoreError::Newer { found: VERSION + 1, known: VERSION });
}
