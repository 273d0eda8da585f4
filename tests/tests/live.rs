//! Live runs against the simulated exchange: a real engine process, TLS over loopback, the venues' own limits.

use std::time::Duration;

use serde_json::Value;
use tidegate_simex::exchange::{ExchangeConfig, Fault, FaultKind, Keys};
use tidegate_tests::json;
use tidegate_tests::live::{MARKETS, Market, Stage, differs, rebuild};
use tidegate_wire::InstrumentId;

const PATIENCE: Duration = Duration::from_secs(40);

fn markets(change: impl Fn(Market) -> Market) -> Vec<Market> {
    MARKETS.iter().cloned().map(change).collect()
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("{key} is missing"))
}

/// Books that were good and then were not, by name.
fn broken(stage: &Stage) -> Vec<String> {
    let (mut good, mut broken) = (Vec::new(), Vec::new());
    for line in stage.lines("books.jsonl") {
        let name = line["book"].as_str().unwrap_or_default().to_owned();
        if line["quality"] == "good" {
            good.push(name);
        } else if good.contains(&name) {
            broken.push(format!("{name}: {}", line["quality"]));
        }
    }
    broken
}

/// The run is in its audit log, and the log is whole.
fn recorded(stage: &Stage, summary: &Value) {
    let log = stage.run_dir().join("audit").display().to_string();
    let report = json(&["audit", "verify", &log, "--format", "json"]);
    assert_eq!((&report["whole"], &report["findings"]), (&true.into(), &serde_json::json!([])));
    assert_eq!((&report["root"], &report["size"]), (&summary["audit"]["root"], &summary["audit"]["size"]));
    assert_eq!(summary["audit"]["dropped"], 0);
    let kind = |name: &str| report["kinds"][name].as_u64().unwrap_or_default();
    assert_eq!((kind("decision"), kind("session"), kind("end")), (count(summary, "decisions"), 1, 1));
    let books = stage.lines("books.jsonl").len() as u64;
    assert_eq!(kind("book"), books, "every change of a book's quality");
    assert!(kind("connection") as usize >= stage.lines("sessions.jsonl").len(), "what connections did: {report:#}");
}

/// The venues' limits hold for the engine's own choice of batches, rates and heartbeats; every book is the exchange's;
/// the capture replays to the same decisions.
#[test]
fn all_protocols_within_their_limits_and_reproducible() {
    let private = |market: Market| Market { private: market.name == "bitget-usdt", redundancy: 2, ..market };
    let stage = Stage::new(ExchangeConfig::default(), markets(private));
    let engine = stage.engine(&stage.config("", ""));
    let feeds = engine.until("connected", PATIENCE);
    assert_eq!(feeds["links"].as_array().map_or(0, Vec::len), 2 * (MARKETS.len() + 1) + 1, "{feeds:#}");
    std::thread::sleep(Duration::from_secs(8));
    let feeds = engine.feeds().expect("it answers");
    let account = &feeds["accounts"]["bitget-usdt"];
    for channel in ["positions", "orders", "account"] {
        assert!(account[channel]["rows"].is_array(), "{channel}: {account:#}");
        assert!(account[channel]["age_ms"].as_u64().is_some_and(|age| age < 30_000), "{channel}: {account:#}");
    }
    stage.exchange.freeze();
    std::thread::sleep(Duration::from_secs(2));
    let summary = engine.finish();
    assert_eq!(stage.exchange.violations(), [], "the engine broke a venue's rule");
    let never = ["gaps", "decode_errors", "checksum_failures", "bbo_mismatch", "crossed", "resyncs", "sessions"];
    for key in never.iter().chain(&["allocations_hot"]) {
        assert_eq!(count(&summary, key), 0, "{key}: {summary:#}");
    }
    assert!(count(&summary, "checksums_verified") > 50);
    assert!(!stage.lines("account.jsonl").is_empty(), "positions are told at their cadence");
    recorded(&stage, &summary);
    let (registry, books) = rebuild(&stage.captures());
    for (index, book) in books.iter().enumerate() {
        assert_eq!(differs(&stage.exchange, &registry, InstrumentId(index as u16), book, 200), None);
    }
    let files: Vec<String> = stage.captures().iter().map(|path| path.display().to_string()).collect();
    for topology in ["fused", "staged"] {
        let mut args = vec!["replay", "--format", "json", "--topology", topology, "--input"];
        args.extend(files.iter().map(String::as_str));
        let replayed = json(&args);
        for key in ["frames", "events", "features_digest", "decisions_digest", "allocations_hot"] {
            assert_eq!(replayed[key], summary[key], "{topology}: {key}");
        }
    }
}

/// Connections that end of age are replaced before the venue cuts them, and no book notices.
#[test]
fn rotation_without_a_gap() {
    let stage = Stage::new(ExchangeConfig::default(), markets(|market| market));
    let session = "[session]\nrotate_before_ms = 3000\nstable_after_ms = 1000\n";
    let engine = stage.engine(&stage.config(session, "[venues.limits]\nlifetime_ms = 8000\n"));
    engine.until("connected", PATIENCE);
    std::thread::sleep(Duration::from_secs(18));
    let summary = engine.finish();
    let events = stage.lines("sessions.jsonl");
    for market in &MARKETS {
        let rotated = events.iter().filter(|e| e["venue"] == market.name && e["kind"] == "rotated").count();
        assert!(rotated >= 1, "{}: never rotated: {}", market.name, stage.log());
    }
    assert_eq!((count(&summary, "gaps"), broken(&stage)), (0, Vec::<String>::new()), "{summary:#}");
}

/// One of two connections loses frames: the other one's copies fill the holes.
#[test]
fn redundant_connections_fill_each_others_holes() {
    let redundant = |market: Market| Market { redundancy: 2, ..market };
    let stage = Stage::new(ExchangeConfig::default(), markets(redundant));
    let engine = stage.engine(&stage.config("", ""));
    engine.until("connected", PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    let first = |at| stage.exchange.clients().into_iter().find(|client| client.venue == at && !client.logged_in);
    for round in 0..5 {
        for market in &MARKETS {
            let connection = first(market.at).map(|client| client.connection);
            let lost = Fault { venue: Some(market.at), connection, ..Fault::new(FaultKind::Lost) };
            stage.exchange.inject(lost).expect("a possible fault");
        }
        std::thread::sleep(Duration::from_millis(700 + round * 10));
    }
    std::thread::sleep(Duration::from_secs(1));
    let summary = engine.finish();
    let lost = stage.exchange.faults().len();
    assert!(lost >= 20, "{lost}");
    assert_eq!((count(&summary, "gaps"), broken(&stage)), (0, Vec::<String>::new()), "{summary:#}");
}

/// A venue whose clock is a minute ahead refuses stamps of ours: logins are stamped by its own clock.
#[test]
fn a_clock_that_is_a_minute_off_keeps_nobody_out() {
    let config = ExchangeConfig { clock_offset_ms: 60_000, ..ExchangeConfig::default() };
    let bitget = MARKETS.iter().filter(|market| market.name == "bitget-usdt").cloned();
    let stage = Stage::new(config, bitget.map(|market| Market { private: true, ..market }).collect());
    let engine = stage.engine(&stage.config("[session]\nbackoff_ms = 500\n", ""));
    engine.until("connected", PATIENCE);
    engine.finish();
}

/// Wrong keys end in the error state, told in words, and stay there until somebody clears it.
#[test]
fn wrong_keys_stop_the_private_session_and_nothing_else() {
    let keys = Keys { secret: "another".into(), ..Keys::default() };
    let config = ExchangeConfig { keys, ..ExchangeConfig::default() };
    let bitget = MARKETS.iter().filter(|market| market.name == "bitget-usdt").cloned();
    let stage = Stage::new(config, bitget.map(|market| Market { private: true, ..market }).collect());
    let engine = stage.engine(&stage.config("", ""));
    let private = || {
        let feeds = engine.feeds()?;
        feeds["links"].as_array()?.iter().find(|link| link["name"] == "private").map(|link| link["state"].clone())
    };
    let wait = |state: &str| {
        for _ in 0..100 {
            if private().is_some_and(|now| now == state) {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("never {state}: {:?}: {}", private(), stage.log());
    };
    wait("error");
    let run = stage.run_dir().display().to_string();
    let cleared = tidegate_tests::tidegate(&["feed", "clear", "--engine", &run]);
    assert!(cleared.status.success());
    wait("error");
    engine.finish();
    let events = stage.lines("sessions.jsonl");
    let refused = events.iter().filter(|event| event["kind"] == "refused").count();
    assert_eq!(refused, 2, "once before and once after it was cleared: {events:#?}");
    let connected = |event: &Value| event["detail"] == "connected" && event["connection"] != "";
    assert!(events.iter().any(connected), "market data goes on");
}

/// D2: eight attempts, then the error state; clearing it begins anew.
#[test]
fn a_venue_that_is_gone_ends_in_the_error_state() {
    let okx = MARKETS.iter().filter(|market| market.name == "okx").cloned();
    let stage = Stage::new(ExchangeConfig::default(), okx.collect());
    let session = "[session]\nbackoff_ms = 20\npatience_ms = 1000\nstable_after_ms = 60000\n";
    let engine = stage.engine(&stage.config(session, ""));
    engine.until("connected", PATIENCE);
    let forever = Duration::from_secs(3600);
    let gone = Fault { lasting: forever, ..Fault::new(FaultKind::TlsAbort) };
    stage.exchange.inject(gone).expect("a possible fault");
    stage.exchange.inject(Fault::new(FaultKind::Close)).expect("a possible fault");
    let feeds = engine.until("error", PATIENCE);
    assert_eq!(feeds["links"][0]["failed_attempts"], 8, "{feeds:#}");
    let run = stage.run_dir().display().to_string();
    assert!(tidegate_tests::tidegate(&["feed", "clear", "--venue", "okx", "--engine", &run]).status.success());
    std::thread::sleep(Duration::from_millis(300));
    engine.until("error", PATIENCE);
    engine.finish();
    let lost = stage.lines("sessions.jsonl").iter().filter(|event| event["kind"] == "lost").count();
    assert_eq!(lost, 2 * 9, "nine losses, eight of them with another attempt, twice");
}

/// A configuration that asks for what is not there says so before anything runs.
#[test]
fn what_a_venue_does_not_list_is_an_error_that_names_it() {
    let unknown = Market { symbols: &["NOSUCHUSDT"], ..MARKETS[1].clone() };
    let stage = Stage::new(ExchangeConfig::default(), vec![unknown]);
    let config = stage.config("", "").display().to_string();
    let output = tidegate_tests::tidegate(&["run", "--config", &config]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("binance-usdm") && text.contains("NOSUCHUSDT"), "{text}");
}
