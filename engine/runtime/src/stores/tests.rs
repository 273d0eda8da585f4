//! A log that is made here, and what a store has of it.

use bytemuck::Zeroable;
use serde_json::json;
use tidegate_guard::rules::rule_name;
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Log, Settings};
use tidegate_record::note::Signer;
use tidegate_record::store::Store;
use tidegate_wire::decision::{BreakerState, Cause, Decision, Scope};
use tidegate_wire::order::{Execution, OrderRequest, Verdict};

use super::*;

const S: i64 = 1_000_000_000;

struct Stage {
    folder: tempfile::TempDir,
    log: Option<Log>,
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self { folder: tempfile::tempdir().expect("a folder"), log: None };
        stage.open("tidegate.test/stores");
        stage
    }

    fn open(&mut self, origin: &str) {
        let signer = Signer::of_seed(origin, &[9; 32]).expect("a key");
        self.log = Some(Log::open(&self.audit(), signer, Settings::default()).expect("a log").0);
    }

    fn audit(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    fn place(&self) -> Place {
        Place::sqlite(&self.folder.path().join("store.sqlite"))
    }

    fn tell(&mut self, kind: Kind, body: &[u8]) {
        let log = self.log.as_mut().expect("open");
        log.append(&Entry::new(kind, 5 * S, body)).expect("room");
    }

    fn json(&mut self, kind: Kind, body: &serde_json::Value) {
        self.tell(kind, body.to_string().as_bytes());
    }

    fn begin(&mut self) {
        self.json(Kind::Session, &json!({ "purpose": "run", "version": "1", "models": "off", "sources": [1, 2] }));
        self.json(Kind::Names, &json!({ "first": 0, "instruments": ["A.okx", "B.okx"], "decimals": [[1, 2], [1, 2]] }));
        self.json(Kind::Names, &json!({ "accounts": ["main"], "strategies": ["carry"] }));
        self.json(Kind::Actor, &json!({ "actor": 1, "name": "uid 7" }));
    }

    fn decision(&mut self, at: i64, instrument: u16, to: BreakerState) {
        let mut record = Decision::zeroed();
        (record.event_ns, record.scope_id, record.to) = (at * S, instrument, to as u8);
        (record.scope, record.cause) = (Scope::Instrument as u8, Cause::Breached as u8);
        self.tell(Kind::Decision, bytemuck::bytes_of(&record));
    }

    fn sign(&mut self) {
        self.log.as_mut().expect("open").checkpoint().expect("signed");
    }

    /// Follows until there is nothing more.
    fn sync(&self, follower: &mut Follower) {
        while follower.step().expect("a step") != Step::Idle {}
    }

    fn compare(&self) -> Comparison {
        compare(&self.audit(), &[], &self.place()).expect("both are there")
    }

    fn rows(&self, table: &str) -> Vec<String> {
        let mut store = Store::look(&self.place(), GRACE).expect("a store");
        let table = tidegate_record::store::rows::TABLES.iter().find(|found| found.name == table).expect("a table");
        let rows = store.rows(table, i64::MIN, i64::MAX).expect("rows");
        rows.iter().map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
    }
}

#[test]
fn what_a_log_tells_is_in_the_tables_by_name() {
    let mut stage = Stage::new();
    stage.begin();
    let order = OrderRequest { request_id: u64::MAX, client_id: 77, ..OrderRequest::zeroed() };
    stage.tell(Kind::Order, bytemuck::bytes_of(&order));
    let verdict = Verdict { request_id: u64::MAX, client_id: 77, rule: Verdict::NO_RULE, ..Verdict::zeroed() };
    stage.tell(Kind::Verdict, bytemuck::bytes_of(&verdict));
    stage.tell(Kind::Execution, bytemuck::bytes_of(&Execution { client_id: 77, trade_id: 5, ..Execution::zeroed() }));
    stage.json(Kind::Model, &json!({ "event": "refused", "name": "tuner", "version": 3, "reason": "a\u{0}b" }));
    stage.json(Kind::Risk, &json!({ "kind": "kill", "scope": "engine", "cause": "operator" }));
    stage.json(Kind::Risk, &json!({ "kind": "refusal", "scope": "engine" }));
    stage.decision(100, 1, BreakerState::Tripped);
    stage.decision(101, 1, BreakerState::Cooling);
    stage.json(Kind::End, &json!({ "frames": 9, "decisions": 2, "features_digest": "0f", "stopped": false }));
    stage.sign();
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    let orders = stage.rows("orders");
    assert!(orders[0].contains("\"18446744073709551615\" \"77\" \"new\" \"main\" \"carry\" \"A.okx\""), "{orders:?}");
    assert!(stage.rows("verdicts")[0].contains("\"77\" true NULL"));
    assert!(stage.rows("fills")[0].contains("\"77\" \"5\" \"main\""));
    assert!(stage.rows("model_history")[0].ends_with("\"refused\" \"tuner\" 3 NULL NULL NULL \"a\u{fffd}b\""));
    let events = stage.rows("breaker_events");
    assert_eq!(events.len(), 2, "a refusal is no event of a breaker, and neither is cooling: {events:?}");
    assert!(events[0].contains("\"kill\" \"engine\"") && events[1].contains("\"trip\" \"instrument\" \"B.okx\""));
    assert_eq!((stage.rows("decisions").len(), stage.rows("incidents").len()), (2, 1));
    assert!(stage.rows("sessions")[0].contains("\"run\" \"1\" \"off\" NULL NULL 2 NULL 12 5000000000 9 2 \"0f\""));
    let comparison = stage.compare();
    assert!(comparison.is_equal() && comparison.behind() == 0, "{comparison:#?}");
}

#[test]
fn pieces_make_the_same_rows_and_a_new_follower_knows_what_came_before() {
    use BreakerState::{Cooling, HalfOpen, Tripped};
    let mut stage = Stage::new();
    let mut follower = Follower::new(&stage.audit(), Vec::new(), stage.place());
    stage.begin();
    let states = [(100, 0, Tripped), (104, 1, Tripped), (106, 0, HalfOpen), (107, 1, HalfOpen), (109, 1, Tripped)];
    for (piece, (at, instrument, to)) in states.into_iter().enumerate() {
        stage.decision(at, instrument, to);
        stage.sign();
        // Every other one by a follower that was just started.
        if piece % 2 == 1 {
            follower = Follower::new(&stage.audit(), Vec::new(), stage.place());
        }
        stage.sync(&mut follower);
        assert!(stage.compare().is_equal(), "{:#?}", stage.compare());
    }
    // It had ended and goes on, because the next trip came within five seconds.
    let found = stage.rows("incidents");
    assert!(found.len() == 1 && found[0].contains("109000000000 NULL 3 \"instrument\""), "{found:?}");
    stage.decision(120, 1, Cooling);
    stage.decision(121, 1, HalfOpen);
    stage.begin();
    stage.decision(300, 0, Tripped);
    stage.sign();
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    let found = stage.rows("incidents");
    assert!(found.len() == 2 && found[0].contains("109000000000 121000000000 3"), "{found:?}");
    assert!(stage.compare().is_equal());
}

#[test]
fn what_was_changed_is_found_and_named() {
    let mut stage = Stage::new();
    stage.begin();
    (0..5).for_each(|n| stage.decision(100 + n, 0, BreakerState::Tripped));
    stage.sign();
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    stage.decision(200, 0, BreakerState::Closed);
    stage.sign();
    let behind = stage.compare();
    assert!(behind.is_equal() && behind.behind() == 1, "{behind:#?}");
    let mut store = Store::look(&stage.place(), GRACE).expect("a store");
    let mut change = |text: &str| store.execute(text).expect("changed");
    change("UPDATE decisions SET rule = 'other' WHERE entry = 5");
    change("DELETE FROM decisions WHERE entry = 6");
    change("UPDATE incidents SET trips = 4");
    change("INSERT INTO fills VALUES (3, 0, 0, '', '', '', '', '', '', '', '', '', NULL)");
    let found = stage.compare();
    let rule = rule_name(0);
    assert!(found.differences.contains(&format!("decisions of entry 5: rule is \"other\", the log says {rule:?}")));
    assert!(found.differences.contains(&"decisions of entry 6: is missing".to_owned()), "{found:#?}");
    assert!(found.differences.iter().any(|text| text.contains("incidents 1 of the session of entry 0: trips is 4")));
    assert!(found.differences.contains(&"fills of entry 3: the log tells no such row".to_owned()), "{found:#?}");
}

#[test]
fn what_retention_removed_is_not_compared_and_not_missed() {
    let mut stage = Stage::new();
    stage.begin();
    (0..300).for_each(|n| stage.decision(100 + n, 0, BreakerState::Tripped));
    stage.begin();
    (0..300).for_each(|n| stage.decision(900 + n, 1, BreakerState::Tripped));
    stage.sign();
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    let audit = stage.audit();
    let log = stage.log.as_mut().expect("open");
    let pruned = tidegate_record::log::prune(log, &audit, 300, i64::MAX, "uid 7", "old").expect("removed");
    assert_eq!((pruned.from, pruned.to), (0, 256));
    // The store keeps what the log has no more; the session that was cut cannot be compared, the next one can.
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    assert_eq!(stage.rows("decisions").len(), 600);
    let old = stage.compare();
    assert!(old.is_equal() && old.minimum == 256 && old.tables[1].expected == 300, "{old:#?}");
    // A new store has what is left.
    for file in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let _ = std::fs::remove_file(stage.folder.path().join(file));
    }
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    let new = stage.compare();
    assert!(new.is_equal() && new.behind() == 0 && stage.rows("decisions").len() == 300, "{new:#?}");
}

#[test]
fn a_store_of_another_log_is_refused_and_left_as_it_is() {
    let mut stage = Stage::new();
    stage.begin();
    stage.sign();
    stage.sync(&mut Follower::new(&stage.audit(), Vec::new(), stage.place()));
    stage.log = None;
    std::fs::remove_dir_all(stage.audit()).expect("gone");
    stage.open("tidegate.test/stores");
    (0..9).for_each(|n| stage.decision(100 + n, 0, BreakerState::Tripped));
    stage.sign();
    let mut follower = Follower::new(&stage.audit(), Vec::new(), stage.place());
    let error = follower.step().expect_err("another log");
    assert!(!error.may_pass() && error.to_string().contains("are others than those that it holds"), "{error}");
    assert!(compare(&stage.audit(), &[], &stage.place()).is_err());
    assert_eq!(stage.rows("sessions").len(), 1);
}

#[test]
fn a_thread_follows_and_says_where_it_stands() {
    let mut stage = Stage::new();
    stage.begin();
    stage.sign();
    let plan = StorePlan { place: stage.place() };
    let stores = Stores::start(&plan, &stage.audit(), 0).expect("a thread");
    let handle = stores.handle();
    let until = |what: &str, test: &dyn Fn(&StoreStatus) -> bool| {
        let begun = Instant::now();
        while !test(&handle.status()) {
            assert!(begun.elapsed() < GRACE, "{what}: {:?}", handle.status());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("current", &|status| status.state == StoreState::Current && status.entries == 4);
    handle.minute(60 * S, "frames", 3.0);
    stage.decision(100, 0, BreakerState::Tripped);
    stage.sign();
    until("the decision", &|status| status.entries == 5 && status.behind == 0);
    stage.decision(101, 0, BreakerState::Cooling);
    stage.sign();
    let status = stores.finish();
    assert_eq!((status.state, status.entries, status.failures), (StoreState::Current, 6, 0), "{status:?}");
    let mut store = Store::look(&stage.place(), GRACE).expect("a store");
    assert_eq!(store.counts().expect("counts").last(), Some(&("metrics_minute", 1)));
}
