//! The simulated market through the whole engine: what the recorded days show, on any machine, and the regimes besides.

use tidegate_tests::{json, market, tidegate};

fn replay(files: &[String], more: &[&str]) -> serde_json::Value {
    let mut args = vec!["replay", "--check-bbo", "--format", "json", "--input"];
    args.extend(files.iter().map(String::as_str));
    args.extend(more);
    json(&args)
}

#[test]
fn every_regime_is_noticed_and_the_books_stay_right() {
    let (dir, files) = market(1, 120);
    let decisions = dir.path().join("decisions.jsonl");
    let summary = replay(&files, &["--decisions", &decisions.display().to_string()]);
    for key in ["crossed", "bbo_mismatch", "decode_errors", "allocations_hot", "scanner_fallbacks"] {
        assert_eq!(summary[key], 0, "{key}");
    }
    // One stall of the script loses frames: one gap, healed by the snapshot that follows.
    assert_eq!((&summary["gaps"], &summary["resyncs"]), (&1.into(), &1.into()));
    assert!(summary["bbo_checked"].as_u64() > Some(1_000));
    for rule in ["volatility", "liquidity_drop", "spread", "stale_feed", "book_integrity", "latency_spike"] {
        assert!(summary["trips_by_rule"][rule].as_u64() > Some(0), "{rule}: {}", summary["trips_by_rule"]);
    }
    for instrument in summary["instruments"].as_array().expect("a list") {
        assert_eq!(instrument["quality"], "good", "{instrument}");
    }
    let lines = std::fs::read_to_string(&decisions).expect("written");
    assert_eq!(Some(lines.lines().count() as u64), summary["decisions"].as_u64());
    let crash_stops_the_engine =
        lines.lines().any(|line| line.contains("\"scope\":\"engine\"") && line.contains("tripped"));
    assert!(crash_stops_the_engine, "a crash of every instrument stops everything");
}

#[test]
fn decisions_do_not_depend_on_topology_waiting_or_order_of_arguments() {
    let (_dir, mut files) = market(3, 40);
    let reference = replay(&files, &[]);
    files.reverse();
    let runs: [&[&str]; 4] = [
        &[],
        &["--topology", "staged"],
        &["--topology", "staged", "--wait", "park"],
        &["--wait", "yield", "--read-ahead", "1"],
    ];
    for more in runs {
        let other = replay(&files, more);
        for key in ["features_digest", "decisions_digest", "events", "vectors"] {
            assert_eq!(reference[key], other[key], "{key} with {more:?}");
        }
    }
}

#[test]
fn paced_replay_keeps_the_pace_and_the_decisions() {
    let (_dir, files) = market(4, 20);
    let flat_out = replay(&files[2..3], &[]);
    let paced = replay(&files[2..3], &["--speed", "10"]);
    assert_eq!(flat_out["decisions_digest"], paced["decisions_digest"]);
    assert_eq!(flat_out["features_digest"], paced["features_digest"]);
    assert!(paced["wall_s"].as_f64() >= Some(1.9), "{}", paced["wall_s"]);
}

#[test]
fn an_operator_stops_and_starts_the_engine_at_the_same_place_in_every_run() {
    let (dir, files) = market(8, 30);
    let decisions = dir.path().join("decisions.jsonl").display().to_string();
    let by_hand = ["--operator", "5s:trip:engine", "--operator", "20s:reset:engine"];
    let untouched = replay(&files, &[]);
    let reference = replay(&files, &[&by_hand[..], &["--decisions", &decisions]].concat());
    assert_ne!(untouched["decisions_digest"], reference["decisions_digest"]);
    assert_eq!(untouched["features_digest"], reference["features_digest"]);
    let staged = replay(&files, &[&by_hand[..], &["--topology", "staged"]].concat());
    assert_eq!(staged["decisions_digest"], reference["decisions_digest"]);
    let lines = std::fs::read_to_string(&decisions).expect("written");
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a decision"));
    let manual: Vec<_> = lines.filter(|line| line["rule"] == "manual").collect();
    let causes: Vec<_> = manual.iter().map(|line| line["cause"].as_str().expect("a cause")).collect();
    assert_eq!(causes, ["manual-trip", "manual-reset"]);
    let times: Vec<_> = manual.iter().map(|line| line["event_ns"].as_i64().expect("a time")).collect();
    assert_eq!(times[1] - times[0], 15_000_000_000);
}

#[test]
fn faults_are_named_in_the_log_with_what_was_missing() {
    let (_dir, files) = market(1, 120);
    let mut args = vec!["replay", "--log-format", "json", "--input"];
    args.extend(files.iter().map(String::as_str));
    let output = tidegate(&args);
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<serde_json::Value> = errors.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let named = |what: &str| -> Vec<&serde_json::Value> {
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with(what))).collect()
    };
    let [gap] = named("gap")[..] else { panic!("one gap: {errors}") };
    assert!(gap["received"].as_u64() > gap["expected"].as_u64() && gap["level"] == "WARN", "{gap}");
    assert!(gap["book"].as_str().is_some_and(|book| book.contains("binance")), "{gap}");
    assert!(!named("stale").is_empty(), "{errors}");
    assert_eq!(named("breaker").len(), 0, "decisions are information, and a replay prints them anyway");
}
