//! OKX without initial snapshots, live: books begin with REST, are the exchange's, and heal.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tidegate_simex::exchange::{ExchangeConfig, Fault, FaultKind, Venue as At, VenueConfig};
use tidegate_tests::json;
use tidegate_tests::live::{Engine, MARKETS, Market, Stage, differs, rebuild};
use tidegate_wire::InstrumentId;
use tidegate_wire::event::BookQuality;

const PATIENCE: Duration = Duration::from_secs(40);

fn stage(redundancy: usize) -> (Stage, Engine) {
    let settings = VenueConfig { no_snapshots: true, ..VenueConfig::default() };
    let config = ExchangeConfig { venue: BTreeMap::from([(At::Okx, settings)]), ..ExchangeConfig::default() };
    let okx = MARKETS.iter().filter(|market| market.name == "okx").cloned();
    let stage = Stage::new(config, okx.map(|market| Market { redundancy, ..market }).collect());
    let engine = stage.engine(&stage.config("", ""));
    engine.until("connected", PATIENCE);
    (stage, engine)
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("{key} is missing"))
}

/// How many session events of a kind there were.
fn told(stage: &Stage, kind: &str) -> usize {
    stage.lines("sessions.jsonl").iter().filter(|event| event["kind"] == kind).count()
}

/// Stops the market and the engine: every book is good and the exchange's, the venue's rules were kept, and the capture
/// gives the same decisions again.
fn end(stage: &Stage, engine: Engine) -> Value {
    engine.until("connected", PATIENCE);
    stage.exchange.freeze();
    std::thread::sleep(Duration::from_secs(2));
    let summary = engine.finish();
    assert_eq!(stage.exchange.violations(), [], "the engine broke a venue's rule");
    for key in ["decode_errors", "crossed", "bbo_mismatch", "allocations_hot", "sessions"] {
        assert_eq!(count(&summary, key), 0, "{key}: {summary:#}");
    }
    let (registry, books) = rebuild(&stage.captures());
    assert_eq!(books.len(), 2);
    for (index, book) in books.iter().enumerate() {
        assert_eq!(book.quality, BookQuality::Good);
        assert_eq!(differs(&stage.exchange, &registry, InstrumentId(index as u16), book, 400), None);
    }
    let files: Vec<String> = stage.captures().iter().map(|path| path.display().to_string()).collect();
    for topology in ["fused", "staged"] {
        let mut args = vec!["replay", "--format", "json", "--topology", topology, "--input"];
        args.extend(files.iter().map(String::as_str));
        let replayed = json(&args);
        for key in ["frames", "events", "snapshots", "gaps", "features_digest", "decisions_digest"] {
            assert_eq!(replayed[key], summary[key], "{topology}: {key}");
        }
    }
    summary
}

#[test]
fn books_begin_with_rest_and_heal_by_it() {
    let (stage, engine) = stage(1);
    assert_eq!(told(&stage, "no_snapshot"), 2, "{}", stage.log());
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        let lost = Fault { venue: Some(At::Okx), count: 2, ..Fault::new(FaultKind::Lost) };
        stage.exchange.inject(lost).expect("a possible fault");
        std::thread::sleep(Duration::from_millis(2500));
    }
    let summary = end(&stage, engine);
    let (gaps, resyncs) = (count(&summary, "gaps"), count(&summary, "resyncs"));
    assert!(gaps >= 3 && resyncs == gaps, "{gaps} gaps, {resyncs} resyncs: {summary:#}");
    assert_eq!(told(&stage, "resubscribed"), 0, "REST heals what a subscription would not");
}

#[test]
fn a_venue_that_answers_nothing_is_asked_again_and_not_too_often() {
    let (stage, engine) = stage(1);
    let lasting = Duration::from_secs(6);
    let deaf = Fault { lasting, ..Fault::new(FaultKind::RestError5xx) };
    stage.exchange.inject(deaf).expect("a possible fault");
    stage.exchange.inject(Fault::new(FaultKind::Close)).expect("a possible fault");
    std::thread::sleep(lasting + Duration::from_secs(1));
    let failed = told(&stage, "snapshot_failed");
    // Two books, with pauses of 1, 2 and 4 s.
    assert!((2..=8).contains(&failed), "{failed}: {}", stage.log());
    end(&stage, engine);
}

#[test]
fn answers_from_the_past_are_refused() {
    let (stage, engine) = stage(1);
    let old = Fault { lasting: Duration::from_secs(4), ..Fault::new(FaultKind::StaleSnapshot) };
    stage.exchange.inject(old).expect("a possible fault");
    // Time passes, so that the answers are really old.
    std::thread::sleep(Duration::from_millis(500));
    stage.exchange.inject(Fault::new(FaultKind::Lost)).expect("a possible fault");
    std::thread::sleep(Duration::from_secs(5));
    let summary = end(&stage, engine);
    let (gaps, refused) = (count(&summary, "gaps"), count(&summary, "snapshots_too_old"));
    assert!(gaps == 1 && refused >= 1, "{gaps} gaps, {refused} refused: {summary:#}");
}

#[test]
fn two_connections_fill_each_others_holes() {
    let (stage, engine) = stage(2);
    for _ in 0..4 {
        let first = stage.exchange.clients().first().map(|client| client.connection);
        let lost = Fault { connection: first, ..Fault::new(FaultKind::Lost) };
        stage.exchange.inject(lost).expect("a possible fault");
        std::thread::sleep(Duration::from_millis(700));
    }
    let summary = end(&stage, engine);
    assert_eq!((count(&summary, "gaps"), stage.exchange.faults().len()), (0, 4), "{summary:#}");
}
