//! Recorded tables end to end: what `replay` and `features` make of klines, funding, indices and foreign books.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidegate_tests::{data, json, tidegate};

/// Files of a recorded folder, or `None` where there is no recorded data.
fn recorded(names: &[&str]) -> Option<Vec<String>> {
    let data = data()?;
    Some(names.iter().map(|name| data.join(name).display().to_string()).collect())
}

/// Keys that no way of running may change.
const SAME: [&str; 5] = ["features_digest", "decisions_digest", "events", "vectors", "decisions"];

fn replay(files: &[String], more: &[&str]) -> serde_json::Value {
    let mut args = vec!["replay", "--format", "json", "--input"];
    args.extend(files.iter().map(String::as_str));
    args.extend(more);
    json(&args)
}

/// All rows of a small Parquet file, and what its metadata says of the schema of bars.
fn rows(path: &std::path::Path) -> (RecordBatch, Option<String>) {
    let file = std::fs::File::open(path).expect("a file");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let stored = builder.metadata().file_metadata().key_value_metadata().expect("metadata").clone();
    let hash = stored.into_iter().find(|pair| pair.key == "tidegate.bars_schema").and_then(|pair| pair.value);
    let mut batches = builder.build().expect("a reader").map(|batch| batch.expect("a batch"));
    let rows = batches.next().expect("rows");
    assert!(batches.next().is_none(), "few rows come as one batch");
    (rows, hash)
}

const KLINES: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";

/// Made-up bars of `minutes` minutes from 1,600,000,020 s.
fn klines(minutes: i64) -> String {
    let row = |minute: i64| {
        let (start, price) = (1_600_000_020_000 + minute * 60_000, 100 + minute % 7);
        format!("{start},{price}.5,{price}.75,{price}.25,{price}.5,10.0,{},0,3,4.0,0,0\n", start + 59_999)
    };
    KLINES.to_owned() + &(0..minutes).map(row).collect::<String>()
}

#[test]
fn bars_with_features_funding_and_index_without_vectors() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let klines = write("ABCUSDT-1m.csv", &klines(300));
    let funding = write("ABC-USDT_binance_.csv", "Symbol,Date,Funding Rate\nABC-USDT,2020-09-13 16:00:00,0.0003\n");
    let dvol = write("dvol_btc.json", "[[1599868800000, 61.5]]");
    let bars = dir.path().join("bars.parquet");
    let out = bars.display().to_string();
    let written = json(&["features", "--input", &klines, &funding, &dvol, "--bars", &out, "--format", "json"]);
    assert_eq!((&written["rows"], &written["bars"]), (&0.into(), &300.into()));
    let (rows, hash) = rows(&bars);
    assert_eq!((rows.num_rows(), hash.as_deref()), (300, written["bars_schema"].as_str()));
    let column = |name: &str| rows.column_by_name(name).expect(name).as_primitive::<Float64Type>();
    let ends = rows.column_by_name("end_ns").expect("ends").as_primitive::<Int64Type>();
    assert_eq!(ends.value(0), 1_600_000_080_000_000_000);
    assert_eq!((column("return_240").null_count(), column("taker_buy_share_1").value(9)), (240, 0.4));
    // 16:00 in Moscow is 13:00 UTC: 32 bars had ended before, and one ended just then.
    assert_eq!((column("funding_rate").null_count(), column("funding_rate").value(40)), (33, 0.0003));
    assert_eq!((column("dvol").null_count(), column("dvol").value(0)), (0, 0.615));
    let unit = rows.schema().field_with_name("realised_vol_60").expect("a column").metadata()["unit"].clone();
    assert_eq!(unit, "fraction/year");

    let listed = json(&["features", "--format", "json"]);
    assert_eq!(listed["bars"]["hash"], written["bars_schema"]);
    assert_eq!(listed["bars"]["features"].as_array().map(Vec::len), Some(29));

    let cut = tidegate(&["features", "--input", &klines, "--bars", &out, "--bar", "volume:5"]);
    let message = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(!cut.status.success() && message.contains("leave --bar at time:60"), "{message}");
    assert!(!tidegate(&["features", "--input", &klines]).status.success(), "nothing to write");

    let replayed = replay(&[klines], &[]);
    assert_eq!((&replayed["bars"], &replayed["instruments"][0]["quality"]), (&300.into(), &"building".into()));
}

#[test]
fn an_hour_of_coinbase_is_never_crossed_and_runs_alike_in_any_topology() {
    let names = [
        "l2update_15min_1",
        "l2update_15min_2",
        "l2update_15min_3",
        "l2update_15min_4",
        "snapshot_bids",
        "snapshot_asks",
    ];
    let names = names.map(|name| format!("gdax_orderbook_ml/{name}.csv.gz"));
    let Some(files) = recorded(&names.each_ref().map(String::as_str)) else { return };
    let fused = replay(&files, &[]);
    for (key, value) in
        [("level_changes", 193_848), ("crossed", 0), ("gaps", 0), ("decode_errors", 0), ("stale", 0), ("snapshots", 1)]
    {
        assert_eq!(fused[key], value, "{key}");
    }
    assert_eq!(fused["instruments"][0]["quality"], "good");
    let staged = replay(&files, &["--topology", "staged"]);
    SAME.iter().for_each(|key| assert_eq!(fused[key], staged[key], "{key}"));
}

#[test]
fn bitstamp_crosses_for_moments_and_always_heals() {
    let Some(files) = recorded(&["ob_analytics/2015-05-01.log.xz"]) else { return };
    let fused = replay(&files, &[]);
    assert_eq!(
        (&fused["gaps"], &fused["decode_errors"], &fused["books_checked"]),
        (&0.into(), &0.into(), &5_010.into())
    );
    assert!(fused["books_agreed"].as_u64() >= Some(4_880), "{}", fused["books_agreed"]);
    assert!(fused["crossed"].as_u64() > Some(0), "a taker's order is published before its matches");
    assert_eq!(fused["crossed"], fused["healed"]);
    let staged = replay(&files, &["--topology", "staged"]);
    SAME.iter().for_each(|key| assert_eq!(fused[key], staged[key], "{key}"));
}

#[test]
fn a_crash_has_its_funding_and_its_index() {
    let Some(files) = recorded(&[
        "stress_windows/BTCUSDT_usdm_1m_2022-11-08_1920-1942.csv",
        "eth_dashboard/dvol_btc.json",
        "eth_dashboard/funding_rate_btc.json",
    ]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let bars = dir.path().join("bars.parquet");
    let out = bars.display().to_string();
    let mut args = vec!["features", "--bars", &out, "--format", "json", "--input"];
    args.extend(files.iter().map(String::as_str));
    assert_eq!(json(&args)["bars"], 23);
    let (rows, _) = rows(&bars);
    let column = |name: &str| rows.column_by_name(name).expect(name).as_primitive::<Float64Type>();
    // On the 8th at 19:20 the last close that anybody knew was that of the 7th.
    assert!(column("dvol").iter().all(|value| value == Some(0.5948)), "{:?}", column("dvol"));
    assert_eq!(column("funding_rate").null_count(), 0);
}
