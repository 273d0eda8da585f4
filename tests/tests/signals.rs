//! Microstructure signals through the whole engine: the same for any topology, in the files and the audit log, and
//! measured on recorded markets.

use std::path::Path;

use serde_json::Value;
use tidegate_tests::{data, json, market, root, runtime, tidegate};

/// Ends of a JSON document's lines.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What a value breaks of a schema: members that are missing, unknown or of another type, at any depth.
fn complaints(schema: &Value, root: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => root.pointer(path).expect("a definition"),
        None => schema,
    };
    // Of a union one part must fit; where none does, the complaints of the one that fits best say why.
    if let Some(parts) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let of = |part: &Value| {
            let mut found = Vec::new();
            complaints(part, root, value, at, &mut found);
            found
        };
        found.extend(parts.iter().map(of).min_by_key(Vec::len).expect("a union of something"));
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !(allowed.is_empty() || allowed.contains(&kind) || kind == "integer" && allowed.contains(&"number")) {
        found.push(format!("{at}: {kind}, expected {allowed:?}"));
    }
    let allowed = schema["enum"].as_array().cloned().or_else(|| Some(vec![schema.get("const")?.clone()]));
    if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        found.push(format!("{at}: {value} is none of those allowed"));
    }
    let Some(members) = value.as_object() else { return };
    let Some(properties) = schema["properties"].as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            found.push(format!("{at}.{name}: missing"));
        }
    }
    for (name, member) in members {
        match properties.get(name) {
            Some(schema) => complaints(schema, root, member, &format!("{at}.{name}"), found),
            None => found.push(format!("{at}.{name}: not in the schema")),
        }
    }
}

#[test]
fn signals_are_the_same_on_any_topology_and_in_every_record() {
    let (dir, files) = market(11, 1_300);
    let run = |more: &[&str]| {
        let mut args = vec!["signals", "--format", "json", "--simulated-reference", "--input"];
        args.extend(files.iter().map(String::as_str));
        args.extend(more);
        json(&args)
    };
    let (out, log) = (dir.path().join("out"), dir.path().join("audit"));
    let (out_name, log_name) = (out.display().to_string(), log.display().to_string());
    let fused = run(&["--out", &out_name, "--audit", &log_name]);
    let staged = run(&["--topology", "staged"]);
    for key in ["digest", "signals", "complete", "calibration", "profit", "features_digest", "decisions_digest"] {
        assert_eq!(fused[key], staged[key], "{key}");
    }
    assert_eq!(fused["reference_simulated"], true);
    let signals = fused["signals"].as_u64().expect("a count");
    assert!(signals >= 12, "two coins, two whole timers, three windows: {signals}");
    assert!(fused["complete"].as_u64() >= Some(12), "{fused}");
    assert_eq!(fused["allocations_hot"], 0, "signals allocate nothing on the hot path");
    let seen = fused["latency"]["signal_total"]["count"].as_u64();
    assert!(seen > Some(0) && seen <= fused["latency"]["total"]["count"].as_u64(), "{seen:?}");

    let schema = json(&["signals", "--schema"]);
    let live = lines(&out.join("data/live_microstructure_signals.json"));
    assert_eq!(live.len() as u64, signals + fused["candidates"].as_u64().unwrap_or_default());
    let mut found = Vec::new();
    live.iter().for_each(|line| complaints(&schema, &schema, line, "line", &mut found));
    assert!(found.is_empty(), "{found:?}");
    let mut torn = live[0].clone();
    torn["confidence"] = "high".into();
    complaints(&schema, &schema, &torn, "line", &mut found);
    assert!(found.len() == 1 && found[0].starts_with("line.confidence: string"), "{found:?}");
    for (name, words) in [
        ("data/psc_signals.csv", &["symbol", "action", "timer_window"]),
        ("data/ml_predictions.csv", &["symbol", "action", "source"]),
    ] {
        let table = std::fs::read_to_string(out.join(name)).expect(name);
        let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let heads = rows.next().expect("a heading");
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), live.len(), "{name}");
        for row in &rows {
            assert_eq!(row.len(), heads.len(), "{name}: {row:?}");
            for (head, cell) in heads.iter().zip(row) {
                let number = cell.parse::<f64>().is_ok_and(f64::is_finite);
                let flag = ["true", "false", ""].contains(cell);
                assert_eq!(words.contains(head), !(number || flag), "{name}: {head} is {cell:?}");
            }
        }
    }

    let exported = dir.path().join("audit.jsonl").display().to_string();
    let export = tidegate(&["audit", "export", &log_name, "--as", "jsonl", "--out", &exported]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let entries = lines(Path::new(&exported));
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("signal").len(), of("outcome").len()), (live.len(), live.len()));
    for (entry, line) in of("signal").iter().zip(&live) {
        assert_eq!((&entry["body"]["symbol"], &entry["body"]["psc_ratio"]), (&line["symbol"], &line["psc_ratio"]));
        assert_eq!(entry["body"]["inputs"], line["inputs"]);
    }
}

#[test]
fn a_models_confidence_is_recorded_beside_the_formulas_and_is_the_same_on_any_topology() {
    if !runtime() {
        return;
    }
    let (dir, files) = market(17, 1_300);
    let models = root().join("onnx").display().to_string();
    let run = |name: &str, more: &[&str]| {
        let (out, log) = (dir.path().join(name), dir.path().join(format!("{name}.audit")));
        let (out_name, log_name) = (out.display().to_string(), log.display().to_string());
        let mut args = vec!["signals", "--format", "json", "--simulated-reference", "--models", &models];
        args.extend(["--out", &out_name, "--audit", &log_name, "--input"]);
        args.extend(files.iter().map(String::as_str));
        args.extend(more);
        let report = json(&args);
        let exported = dir.path().join(format!("{name}.jsonl")).display().to_string();
        let export = tidegate(&["audit", "export", &log_name, "--as", "jsonl", "--out", &exported]);
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        (report, lines(&out.join("data/live_microstructure_signals.json")), lines(Path::new(&exported)))
    };
    let (fused, live, entries) = run("fused", &[]);
    let (staged, live_again, _) = run("staged", &["--topology", "staged"]);
    for key in ["digest", "models", "arms", "learning"] {
        assert_eq!(fused[key], staged[key], "{key}");
    }
    assert_eq!(live, live_again);
    assert_eq!((&fused["learning"]["in_force"], &fused["learning"]["fallbacks"]), (&1.into(), &0.into()), "{fused}");
    let schema = json(&["signals", "--schema"]);
    let ratings: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "rating").map(|e| &e["body"]).collect();
    assert_eq!(ratings.len(), live.len());
    let close = |a: &Value, b: &Value| a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() < 1e-12);
    for (rating, line) in ratings.iter().zip(&live) {
        assert_eq!((&rating["sequence"], &rating["stated_by"]), (&line["sequence"], &"champion".into()));
        assert_eq!(line["confidence_source"], "champion");
        let mut found = Vec::new();
        complaints(&schema, &schema, line, "line", &mut found);
        let mut torn = line.clone();
        torn["rating"]["champion"]["probability"] = "high".into();
        complaints(&schema, &schema, &torn, "torn", &mut found);
        assert!(found.len() == 1 && found[0].starts_with("torn.rating"), "{found:?}");
        assert!(close(&rating["champion"]["probability"], &line["confidence"]), "{rating} {line}");
        assert!(close(&line["rating"]["formula"], &rating["formula"]) && rating["formula"] != rating["confidence"]);
    }
    let schema = json(&["signals", "--schema"]);
    let mut found = Vec::new();
    live.iter().for_each(|line| complaints(&schema, &schema, line, "line", &mut found));
    assert!(found.is_empty(), "{found:?}");
    // What the desk decided is the formula's, and is as it was without a model.
    let signal = entries.iter().find(|entry| entry["kind"] == "signal").expect("a signal");
    assert!(close(&signal["body"]["confidence"], &ratings[0]["formula"]));
}

#[test]
fn every_signal_that_may_be_traded_is_a_position_that_the_log_explains() {
    let (dir, files) = market(13, 1_300);
    let run = |name: &str, more: &[&str]| {
        let (out, log) = (dir.path().join(name), dir.path().join(format!("{name}.audit")));
        let (out_name, log_name) = (out.display().to_string(), log.display().to_string());
        let mut args = vec!["signals", "--format", "json", "--simulated-reference", "--trade", "--out", &out_name];
        args.extend(["--audit", &log_name, "--set", "ml_microstructure.min_confidence=0", "--input"]);
        args.extend(files.iter().map(String::as_str));
        args.extend(more);
        let report = json(&args);
        let exported = dir.path().join(format!("{name}.jsonl")).display().to_string();
        let export = tidegate(&["audit", "export", &log_name, "--as", "jsonl", "--out", &exported]);
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let hot = report["allocations_hot"].as_u64().expect("a count");
        (report["trading"].clone(), lines(&out.join("data/paper_positions.json")), lines(Path::new(&exported)), hot)
    };
    let (trading, positions, entries, hot) = run("fused", &[]);
    let (again, same, entries_again, _) = run("staged", &["--topology", "staged"]);
    assert_eq!(entries, entries_again, "the same log on any topology");
    assert_eq!((&trading, &positions), (&again, &same), "the same fills on any topology");

    assert_eq!(hot, 0, "neither do books and trades for whoever trades");
    assert!(trading["unbalanced"].is_null(), "{trading}");
    let counters = &trading["counters"];
    let count = |key: &str| counters[key].as_u64().expect("a count");
    assert!(
        count("opened") >= 8 && count("opened") == count("closed") + trading["left_open"].as_u64().unwrap_or_default()
    );
    let moved =
        trading["balance_after"].as_f64().zip(trading["balance_before"].as_f64()).map(|(after, before)| after - before);
    assert!(moved.is_some_and(|moved| (moved - counters["profit"].as_f64().unwrap_or_default() / 1e6).abs() < 1e-6));

    let of = |kind: &str| {
        entries.iter().filter(|entry| entry["kind"] == kind).map(|entry| &entry["body"]).collect::<Vec<_>>()
    };
    assert_eq!(of("position").len(), positions.len());
    let (signals, orders) = (of("signal"), of("paper-order"));
    let (verdicts, executions) = (of("paper-verdict"), of("paper-execution"));
    let venues = ["order", "verdict", "execution"];
    assert!(entries.iter().all(|entry| !venues.iter().any(|kind| entry["kind"] == *kind)), "no venue heard of it");
    let decimal = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok()).expect("a decimal");
    for position in of("position") {
        let signal = signals.iter().find(|signal| signal["sequence"] == position["signal"]).expect("its signal");
        assert_eq!(signal["symbol"], position["symbol"]);
        assert!(decimal(&position["profit"]) >= -decimal(&position["margin"]), "a loss is never more than its margin");
        let closes = position["close_orders"].as_array().expect("a list").iter();
        for order in std::iter::once(&position["entry_order"]).chain(closes).filter(|order| order.is_u64()) {
            let order = orders.iter().find(|one| &one["client_id"] == order).expect("its order");
            assert_eq!((order["account"].as_str(), order["strategy"].as_str()), (Some("paper"), Some("signals")));
            assert!(
                verdicts
                    .iter()
                    .any(|verdict| verdict["client_id"] == order["client_id"] && verdict["accepted"] == true)
            );
        }
        let filled: f64 = executions
            .iter()
            .filter(|one| one["client_id"] == position["entry_order"])
            .map(|one| decimal(&one["qty"]))
            .sum();
        assert!((filled - decimal(&position["filled"])).abs() < 1e-9, "{position}");
    }
}

#[test]
fn captures_without_a_reference_are_refused_unless_one_is_made_up() {
    let (_dir, files) = market(12, 5);
    let output = tidegate(&["signals", "--input", &files[0]]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("psc_integration.reference") && errors.contains("simulated_reference"), "{errors}");
}

#[test]
fn captures_touch_no_running_engine_and_train_only_where_they_are_told_to() {
    let (dir, files) = market(12, 5);
    let said = |more: &[&str]| {
        let mut args = vec!["signals", "--simulated-reference", "--input", &files[0]];
        args.extend(more);
        let output = tidegate(&args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let taken = dir.path().join("run");
    std::fs::create_dir(&taken).expect("made");
    std::fs::create_dir(taken.join("data")).expect("made");
    std::fs::write(taken.join("data/psc_signals.csv"), "an engine's").expect("written");
    let claim = tidegate_runtime::control::Claim::of(&taken).expect("free");
    let (code, errors) = said(&["--out", &taken.display().to_string()]);
    assert!(code == Some(74) && errors.contains("--out"), "{code:?} {errors}");
    assert_eq!(std::fs::read_to_string(taken.join("data/psc_signals.csv")).expect("there"), "an engine's");
    drop(claim);
    let training = ["--set", "ml_microstructure.learning.training=true", "--set", "ml_microstructure.confidence=model"];
    let out = dir.path().join("out").display().to_string();
    let (code, errors) = said(&[&training[..], &["--out", &out]].concat());
    assert!(code == Some(78) && errors.contains("--models"), "{code:?} {errors}");
    let (code, errors) = said(&[&training[..], &["--models", &out]].concat());
    assert!(code == Some(65) && errors.contains("is no directory"), "{code:?} {errors}");
}

/// The hour of recorded book of row 19 holds whole timers; the reference is made up and every report says so.
#[test]
fn a_recorded_hour_is_followed_to_the_end_of_its_timers() {
    let Some(data) = data() else { return };
    let file = |name: &str| format!("coinbase={}", data.join("gdax_orderbook_ml").join(name).display());
    let mut names: Vec<String> = ["snapshot_bids.csv.gz", "snapshot_asks.csv.gz"].map(file).into();
    names.extend((1..=4).map(|part| file(&format!("l2update_15min_{part}.csv.gz"))));
    let mut args = vec!["signals", "--format", "json", "--simulated-reference", "2.5", "--input"];
    args.extend(names.iter().map(String::as_str));
    let report = json(&args);
    assert_eq!(
        (report["reference_simulated"].as_bool(), report["coins"]["BTC"].as_str()),
        (Some(true), Some("BTCUSD.coinbase"))
    );
    let (signals, complete) = (report["signals"].as_u64().expect("count"), report["complete"].as_u64().expect("count"));
    assert!((15..=21).contains(&signals), "one a window of each timer of the hour: {signals}");
    assert!(complete >= 12, "{complete} of {signals}");
    assert_eq!(report["always_long"], report["profit"], "Bitcoin's ratio is LONG for ever: {report}");
    let count = report["calibration"]["count"].as_u64();
    assert_eq!(count, Some(complete));
}
