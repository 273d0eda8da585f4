//! Recorded Binance days through the whole engine: the figures that must hold whatever else changes.

use tidegate_tests::{data, json, root, runtime};

/// Files of the three markets; captures of one day and of others, so that sessions follow each other.
fn files() -> Option<Vec<String>> {
    let folder = data()?.join("hftbacktest");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(|entry| entry.ok().map(|entry| entry.path().display().to_string()))
        .filter(|path| !path.contains("hyperliquid"))
        .collect();
    files.sort();
    Some(files)
}

fn replay(files: &[&str], more: &[&str]) -> serde_json::Value {
    let mut args = vec!["replay", "--check-bbo", "--format", "json", "--input"];
    args.extend(files);
    args.extend(more);
    json(&args)
}

fn assert_right(summary: &serde_json::Value, what: &str) {
    for key in
        ["gaps", "crossed", "bbo_mismatch", "decode_errors", "allocations_hot", "scanner_fallbacks", "trade_id_gaps"]
    {
        assert_eq!(summary[key], 0, "{what}: {key}");
    }
    assert!(summary["bbo_checked"].as_u64() > Some(0), "{what}: nothing was compared");
}

#[test]
fn every_stream_at_once_is_right_and_decisions_do_not_depend_on_how_it_runs() {
    let Some(files) = files() else { return };
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let fused = replay(&files, &[]);
    assert_right(&fused, "all streams");
    assert!(fused["frames"].as_u64() > Some(300_000));
    assert!(fused["bbo_checked"].as_u64() >= Some(5_000));
    let staged = replay(&files, &["--topology", "staged"]);
    assert_right(&staged, "staged");
    let parked = replay(&files, &["--topology", "staged", "--wait", "park", "--read-ahead", "2"]);
    for other in [&staged, &parked] {
        for key in ["features_digest", "decisions_digest", "decisions", "events", "vectors", "bbo_checked"] {
            assert_eq!(fused[key], other[key], "{key}");
        }
    }
}

#[test]
fn each_capture_alone_is_right() {
    let Some(files) = files() else { return };
    for file in &files {
        let summary = replay(&[file], &[]);
        // One capture has no snapshot: its book never becomes good and there is nothing to compare.
        if file.contains("spot_btcusdt_20230405") {
            assert_eq!((&summary["gaps"], &summary["bbo_checked"]), (&0.into(), &0.into()), "{file}");
            assert_eq!(summary["instruments"][0]["quality"], "building");
        } else {
            assert_right(&summary, file);
            assert_eq!(summary["instruments"][0]["quality"], "good", "{file}");
        }
    }
}

/// Captures by the day in their names.
fn days(files: &[String]) -> std::collections::BTreeMap<&str, Vec<&str>> {
    let mut days = std::collections::BTreeMap::new();
    for file in files {
        let day = file.rsplit(['_', '/']).next().expect("a name");
        days.entry(day).or_insert_with(Vec::new).push(file.as_str());
    }
    days
}

#[test]
fn every_day_decides_alike_at_any_pace_in_any_topology() {
    let Some(files) = files() else { return };
    for (day, files) in days(&files) {
        let flat_out = replay(&files, &[]);
        for topology in ["fused", "staged"] {
            let paced = replay(&files, &["--speed", "200", "--topology", topology]);
            for key in ["features_digest", "decisions_digest", "events", "decisions"] {
                assert_eq!(flat_out[key], paced[key], "{day}, {topology}: {key}");
            }
        }
    }
}

#[test]
fn models_on_a_recorded_day_decide_alike_in_any_topology_and_from_the_record() {
    let Some(files) = files().filter(|_| runtime()) else { return };
    let days = days(&files);
    let files = days.values().max_by_key(|files| files.len()).expect("a day");
    let (models, folder) = (root().join("onnx").display().to_string(), tempfile::tempdir().expect("a folder"));
    let record = folder.path().join("adjustments.jsonl").display().to_string();
    let first = replay(files, &["--models", &models, "--adjustments", &record]);
    assert_right(&first, "under models");
    assert!(first["advised"].as_u64() > Some(1_000), "{}", first["advised"]);
    assert!(
        first["models"]["predictions"].as_u64() > Some(1_000) && first["models"]["faults"] == 0,
        "{}",
        first["models"]
    );
    for more in [
        &["--models", &models, "--topology", "staged"][..],
        &["--models", &models, "--speed", "200"],
        &["--reenact", &record, "--topology", "staged"],
    ] {
        let other = replay(files, more);
        assert_right(&other, "under models");
        for key in ["features_digest", "decisions_digest", "advised", "adjustments"] {
            assert_eq!(first[key], other[key], "{more:?}: {key}");
        }
    }
}

#[test]
fn speed_changes_nothing_but_latency() {
    let Some(files) = files() else { return };
    let file = files.iter().find(|file| file.contains("usdm_btcusdt_20230404")).expect("recorded");
    let flat_out = replay(&[file], &[]);
    let paced = replay(&[file], &["--speed", "50"]);
    for key in ["features_digest", "decisions_digest", "events"] {
        assert_eq!(flat_out[key], paced[key], "{key}");
    }
    let (wall, market) = (paced["wall_s"].as_f64(), paced["event_s"].as_f64());
    assert!(wall.zip(market).is_some_and(|(wall, market)| wall >= market / 50.0 * 0.98), "{wall:?} for {market:?}");
}
