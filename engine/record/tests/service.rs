//! The thread that writes a log: what it drops it tells, what is required it keeps, and what stops it is said.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use common::{keys, open, recompute};
use tidegate_record::entry::{BookChange, Entry, Kind};
use tidegate_record::log::Archive;
use tidegate_record::service::{Overload, Recorder, Service, Settings};
use tidegate_wire::advice::Adjustment;
use tidegate_wire::decision::{Decision, Scope};
use tidegate_wire::instrument::InstrumentId;

fn start(folder: &Path, overload: Overload) -> Service {
    let settings = Settings { queue: 64, overload, every: Duration::from_millis(20), ..Settings::default() };
    Service::start(open(folder).0, settings).expect("a thread")
}

fn record<T: bytemuck::Pod>(recorder: &Recorder, kind: Kind, body: &T) {
    recorder.record(&Entry::new(kind, 1, bytemuck::bytes_of(body))).expect("recorded");
}

/// Four callers flood a queue of 64 with changes of books, and ask for things in between. Gives what was sent.
fn flood(service: &Service) -> (u64, u64) {
    const EACH: u64 = 20_000;
    std::thread::scope(|scope| {
        for caller in 0..4_u64 {
            let recorder = service.recorder();
            scope.spawn(move || {
                for number in 0..EACH {
                    record(&recorder, Kind::Book, &BookChange::zeroed());
                    if number % 100 == caller {
                        let body = serde_json::json!({ "caller": caller, "number": number });
                        recorder.tell(Kind::Request, 1, &body).expect("recorded");
                    }
                }
            });
        }
    });
    (4 * EACH, 4 * EACH / 100)
}

#[test]
fn what_is_dropped_is_counted_and_told_and_never_what_is_required() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(folder.path(), Overload::Drop);
    let (books, requests) = flood(&service);
    let written = service.finish().expect("written");
    let report = recompute(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!(report.kinds["request"], requests);
    assert_eq!(report.kinds.get("book").copied().unwrap_or(0) + written.dropped, books);
    println!("{} of {books} dropped, {} syncs", written.dropped, written.syncs);
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    let told: u64 = (0..archive.size().div_ceil(256))
        .flat_map(|bundle| archive.entries(bundle).expect("there"))
        .filter_map(|bytes| {
            let entry = Entry::read(&bytes).expect("an entry");
            let body: serde_json::Value = serde_json::from_slice(entry.body).unwrap_or_default();
            (entry.kind == Kind::Dropped).then(|| body["entries"].as_u64()).flatten()
        })
        .sum();
    assert_eq!(told, written.dropped, "each of them");
}

#[test]
fn who_holds_back_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(folder.path(), Overload::Hold);
    let (books, requests) = flood(&service);
    let written = service.finish().expect("written");
    assert_eq!((written.dropped, written.entries), (0, books + requests));
    assert_eq!(recompute(folder.path()).kinds["book"], books);
}

#[test]
fn decisions_name_the_thresholds_they_follow_from_and_actors_are_introduced_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(folder.path(), Overload::Hold);
    let recorder = service.recorder();
    let of = |scope: Scope, id: u16| Decision { scope: scope as u8, scope_id: id, ..Decision::zeroed() };
    let thresholds = |id: u16| Adjustment { instrument: InstrumentId(id), ..Adjustment::zeroed() };
    record(&recorder, Kind::Decision, &of(Scope::Instrument, 1));
    record(&recorder, Kind::Adjustment, &thresholds(1));
    record(&recorder, Kind::Adjustment, &thresholds(2));
    record(&recorder, Kind::Decision, &of(Scope::Instrument, 1));
    record(&recorder, Kind::Decision, &of(Scope::Engine, 1));
    record(&recorder, Kind::Adjustment, &thresholds(1));
    let actors = ["uid 0", "uid 7", "uid 0"].map(|name| recorder.actor(name, 1).expect("recorded"));
    assert_eq!(actors, [1, 2, 1]);
    service.finish().expect("written");
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    let back = |index| Entry::read(&archive.entry(index).expect("there")).expect("an entry").back;
    assert_eq!([0, 1, 2, 3, 4, 5].map(back), [0, 0, 0, 2, 0, 4]);
    assert_eq!(archive.size(), 8, "two actors");
}

#[test]
fn a_log_that_fails_says_why_to_everybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(folder.path(), Overload::Drop);
    // Tiles cannot be written where a file is in their folder's place.
    std::fs::write(folder.path().join("tile"), "in the way").expect("written");
    let recorder = service.recorder();
    recorder.tell(Kind::Request, 1, &serde_json::json!({})).expect("nothing has failed yet");
    let start = Instant::now();
    while recorder.error().is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "it fails at the next checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(recorder.is_pressed());
    let refused = recorder.tell(Kind::Request, 1, &serde_json::json!({})).expect_err("it has failed").to_string();
    assert!(refused.contains("tile"), "{refused}");
    assert!(service.finish().is_err());
    // What was acknowledged is there when the cause is gone.
    std::fs::remove_file(folder.path().join("tile")).expect("removed");
    let (log, opened) = open(folder.path());
    assert_eq!((opened.covered, opened.recovered), (0, 1));
    log.close().expect("closed");
    assert_eq!(recompute(folder.path()).findings, []);
}
