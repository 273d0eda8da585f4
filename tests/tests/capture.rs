//! `tidegate capture`, end to end: recorded from an exchange, described, checked, cut, converted, replayed.

use std::path::{Path, PathBuf};
use std::process::Output;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt8Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidegate_simex::exchange::ExchangeConfig;
use tidegate_tests::live::{MARKETS, Stage};
use tidegate_tests::{json, tidegate};

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Records two venues for some seconds; gives where everything is, and the file.
fn recorded() -> (Stage, PathBuf) {
    let wanted = ["okx", "bitget-usdt"];
    let markets = MARKETS.iter().filter(|market| wanted.contains(&market.name)).cloned().collect();
    let stage = Stage::new(ExchangeConfig::default(), markets);
    let out = stage.dir.path().join("captures");
    let (config, name) = (text(&stage.config("", "")), text(&out));
    let args = ["capture", "record", "--config", &config, "--out", &name, "--for", "5s", "--format", "json"];
    let summary = json(&args);
    let captured = &summary["live"]["capture"];
    assert!(captured["error"].is_null() && captured["lost"] == 0, "{captured}");
    let mut files: Vec<_> = std::fs::read_dir(&out).expect("a folder").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let ends = |path: &PathBuf| path.extension().unwrap_or_default().to_string_lossy().into_owned();
    assert_eq!(files.iter().map(ends).collect::<Vec<_>>(), ["tgcap", "lock", "jsonl"], "no decisions: {files:?}");
    let file = files.remove(0);
    (stage, file)
}

/// Lines of `capture frames`.
fn frames(name: &str) -> Vec<String> {
    let output = tidegate(&["capture", "frames", name]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn recorded_described_cut_and_converted() {
    let (stage, file) = recorded();
    let folder = stage.dir.path();
    let name = text(&file);
    let info = json(&["capture", "info", &name, "--format", "json"]);
    let info = &info["files"][0];
    assert!(info["closed"] == true && info["lost_frames"] == 0 && info["damaged"].is_null(), "{info}");
    let count = |venue: &str| info["venues"][venue]["frames"].as_u64().expect("a venue");
    assert!(count("okx") > 20 && count("bitget-usdt") > 20, "{info}");
    assert!(tidegate(&["capture", "info", &name]).status.success());
    let check = json(&["capture", "verify", &name, "--format", "json"]);
    assert_eq!(check["files"][0]["good"], true, "{check}");

    let all = frames(&name);
    assert_eq!(all.len() as u64, count("okx") + count("bitget-usdt"));
    let begun: i64 = info["begun_ns"].as_i64().expect("a time");
    let (from, to) = (begun + 1_500_000_000, begun + 3_000_000_000);
    let wanted = all.iter().filter(|line| {
        let mut words = line.split(' ');
        let recv: i64 = words.next().and_then(|word| word.parse().ok()).expect("a time");
        (from..to).contains(&recv) && words.next() == Some("okx")
    });
    let wanted: Vec<_> = wanted.cloned().collect();
    let part = text(&folder.join("part.tgcap"));
    let cut = ["capture", "cut", "--from", "+1500ms", "--to", "+3s", "--venue", "okx", "--out", &part, &name];
    assert!(tidegate(&cut).status.success());
    assert_eq!(frames(&part), wanted);
    assert!(!wanted.is_empty() && tidegate(&["capture", "verify", &part]).status.success());
    let again = tidegate(&cut);
    assert_eq!(again.status.code(), Some(74), "{}", stderr(&again));

    let replayed = json(&["replay", "--input", &name, "--format", "json"]);
    assert!(replayed["gaps"] == 0 && replayed["crossed"] == 0, "{replayed}");

    let tables = folder.join("tables");
    let to_parquet = ["capture", "to-parquet", "--out", &text(&tables), &name, "--format", "json"];
    let written = json(&to_parquet);
    assert!(written["rows"]["depth.parquet"].as_u64() > Some(100), "{written}");
    assert_eq!(trades(&tables.join("trades.parquet")) as u64, written["rows"]["trades.parquet"]);
    let again = tidegate(&to_parquet);
    assert_eq!(again.status.code(), Some(74), "nothing is written over: {}", stderr(&again));
}

/// Looks at a table as a user would; gives its rows.
fn trades(path: &Path) -> usize {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a table");
    let schema = reader.schema().clone();
    let kind = |name: &str| schema.field_with_name(name).expect("a column").data_type().to_string();
    assert_eq!(kind("event_time"), "Timestamp(ns, \"UTC\")");
    assert!(kind("instrument").starts_with("Dictionary(Int32"), "{}", kind("instrument"));
    let unit = &schema.field_with_name("price").expect("a column").metadata()["unit"];
    assert_eq!(unit, "quote");
    let mut rows = 0;
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("rows");
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let price = column("price").as_primitive::<Float64Type>();
        let raw = column("price_raw").as_primitive::<Int64Type>();
        let decimals = column("price_decimals").as_primitive::<UInt8Type>();
        for row in 0..batch.num_rows() {
            let exact = raw.value(row) as f64 / 10f64.powi(i32::from(decimals.value(row)));
            assert!(price.value(row) == exact && exact > 0.0);
        }
        rows += batch.num_rows();
    }
    rows
}

#[test]
fn damage_is_named_and_what_is_no_capture_refused() {
    let (stage, file) = recorded();
    let folder = stage.dir.path();
    let name = text(&file);
    let blocks = json(&["capture", "verify", &name, "--format", "json"])["files"][0]["before"]["blocks"].clone();
    let mut bytes = std::fs::read(&file).expect("bytes");
    let starts: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..*at + 4] == b"BLK1").collect();
    assert!(starts.len() > 3 && blocks == starts.len(), "{starts:?}");
    bytes[starts[1] + 60] ^= 4;
    std::fs::write(&file, &bytes).expect("written");
    let output = tidegate(&["capture", "verify", &name, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let check: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let check = &check["files"][0];
    assert_eq!(check["damages"][0]["at"], starts[1], "{check}");
    assert_eq!(check["damages"][0]["bytes"], starts[2] - starts[1]);
    assert_eq!((&check["before"]["blocks"], &check["after"]["blocks"]), (&1.into(), &(starts.len() - 2).into()));
    assert_eq!(tidegate(&["capture", "verify", &name]).status.code(), Some(1));
    for command in ["info", "frames"] {
        let output = tidegate(&["capture", command, &name]);
        assert_eq!(output.status.code(), Some(if command == "info" { 1 } else { 65 }));
        assert!(stderr(&output).contains(&format!("block 1 at byte {}", starts[1])), "{}", stderr(&output));
    }
    let other = text(&folder.join("tidegate.toml"));
    for command in ["info", "verify", "frames"] {
        let output = tidegate(&["capture", command, &other]);
        assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
        assert!(stderr(&output).contains("expected it to begin with TIDECAP1"));
    }
    let empty = ["capture", "cut", "--from", "+2s", "--to", "+1s", "--out", "never", &name];
    assert_eq!(tidegate(&empty).status.code(), Some(65));
    let nowhere = ["capture", "record", "--out", &text(&folder.join("none"))];
    assert_eq!(tidegate(&nowhere).status.code(), Some(78), "there is nothing to be read");
}
