//! The command line as its users meet it: keys, exit codes, messages, signals.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use tidegate_tests::{binary, json, market, root, tidegate};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_summary_has_every_promised_key() {
    let (_dir, files) = market(5, 10);
    let summary = json(&["replay", "--input", &files[2], "--format", "json"]);
    for key in [
        "frames",
        "events",
        "gaps",
        "crossed",
        "bbo_checked",
        "bbo_mismatch",
        "decisions",
        "decisions_digest",
        "features_digest",
        "frames_per_s",
        "allocations_hot",
    ] {
        assert!(!summary[key].is_null(), "{key}");
    }
    for stage in ["decode", "ring", "book", "features", "guard", "total"] {
        for key in ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns", "count"] {
            assert!(summary["latency"][stage][key].is_u64(), "{stage}.{key}");
        }
        assert_eq!(summary["latency"][stage]["count"], summary["latency"]["total"]["count"]);
    }
}

#[test]
fn a_kind_of_entry_that_is_none_lists_those_that_are() {
    let output = tidegate(&["audit", "export", "nowhere", "--kinds", "signal,paper-position"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(["paper-position", "paper-order", "rating", "training"].iter().all(|kind| text.contains(kind)), "{text}");
}

#[test]
fn wrong_input_ends_with_65_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("input");
    let name = path.display().to_string();
    let replay = |name: &str| tidegate(&["replay", "--input", name]);
    let missing = replay(&name);
    assert_eq!(missing.status.code(), Some(65), "{}", stderr(&missing));
    assert!(stderr(&missing).contains(&name) && stderr(&missing).contains("No such file"));
    for (content, message) in [("", "empty"), ("hello\n", "no capture"), ("1723161255030314667 {}\n", "VENUE=FILE")] {
        std::fs::write(&path, content).expect("written");
        let output = replay(&name);
        assert_eq!(output.status.code(), Some(65));
        assert!(stderr(&output).contains(message), "{content:?}: {}", stderr(&output));
    }
    let (_market, files) = market(6, 5);
    let whole = std::fs::read(&files[0]).expect("a capture");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let cut = replay(&name);
    assert_eq!(cut.status.code(), Some(65), "{}", stderr(&cut));
    assert!(stderr(&cut).contains("damaged after line") && String::from_utf8_lossy(&cut.stdout).contains("frames"));
}

#[test]
fn wrong_arguments_end_with_2_and_unwritable_files_with_74() {
    assert_eq!(tidegate(&["replay"]).status.code(), Some(2));
    assert_eq!(tidegate(&["replay", "--input", "x", "--speed", "-1"]).status.code(), Some(2));
    assert_eq!(tidegate(&["replai"]).status.code(), Some(2));
    let order = tidegate(&["replay", "--input", "x", "--operator", "5s:stop:engine"]);
    assert_eq!(order.status.code(), Some(2));
    assert!(stderr(&order).contains("neither trip nor reset") && stderr(&order).contains("expected"));
    let (dir, files) = market(6, 5);
    let nowhere = dir.path().join("no/such/folder/decisions.jsonl").display().to_string();
    let output = tidegate(&["replay", "--input", &files[0], "--decisions", &nowhere]);
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert!(stderr(&output).contains(&nowhere));
    // A full disk: a log without its header is refused at the start; decisions that cannot be written are counted, all
    // is still on the screen, and the exit code says that the file is not whole.
    let orders = ["--operator", "1s:trip:engine", "--operator", "2s:reset:engine"];
    let replay = |option: &str| {
        let args = ["replay", "--input", &files[0], "--format", "json", option, "/dev/full"];
        tidegate(&[&args[..], &orders].concat())
    };
    let full = replay("--hlog");
    assert_eq!(full.status.code(), Some(74), "{}", stderr(&full));
    assert!(stderr(&full).contains("/dev/full"), "{}", stderr(&full));
    let full = replay("--decisions");
    assert_eq!(full.status.code(), Some(74), "{}", stderr(&full));
    let summary: serde_json::Value = serde_json::from_slice(&full.stdout).expect("a summary");
    let decided = summary["decisions"].as_u64().expect("a count");
    assert!(decided > 0, "{summary}");
    let counted = format!("; {decided} decisions were not written");
    assert!(stderr(&full).contains("/dev/full") && stderr(&full).contains(&counted), "{}", stderr(&full));
}

#[test]
fn a_core_that_cannot_exist_is_a_warning() {
    let (_dir, files) = market(6, 5);
    for topology in ["fused", "staged"] {
        let args = ["replay", "--input", &files[0], "--topology", topology, "--cores", "2000,4096", "--format", "json"];
        let output = tidegate(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("warning: core 2000: cannot pin"), "{}", stderr(&output));
    }
}

#[test]
fn a_wrong_best_price_is_told_however_the_run_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let quote = r#"{"u":4,"s":"ABCUSDT","b":"99.5","B":"2.0","a":"100.5","A":"1.0"}"#;
    let depth = r#"{"e":"depthUpdate","E":1,"s":"ABCUSDT","U":3,"u":3,"b":[["100.0","2.0"]],"a":[]}"#;
    let next = &depth.replace('3', "4");
    let snapshot = r#"{"lastUpdateId":2,"bids":[["100.0","1.0"]],"asks":[["100.5","1.0"]]}"#;
    // The venue's own best bid differs from the book's at once; the capture goes on for a minute.
    let frames = [(0, snapshot), (1, depth), (2, next), (3, quote), (60_000, quote)];
    let line = |(ms, frame): &(i64, &str)| format!("{} {frame}\n", 1_790_000_000_000_000_000 + ms * 1_000_000);
    let path = dir.path().join("capture");
    std::fs::write(&path, frames.iter().map(line).collect::<String>()).expect("written");
    let config = dir.path().join("tidegate.toml");
    let text = format!(
        "[[sources]]\npath = {path:?}\n[engine]\ncheck_bbo = true\n[output]\ndirectory = {:?}\n",
        dir.path().join("out")
    );
    std::fs::write(&config, text).expect("written");
    let output = tidegate(&["run", "--config", &config.display().to_string(), "--for", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 1 best bids and asks differ"), "{}", stderr(&output));
}

#[test]
fn configuration_errors_end_with_78_and_name_the_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("t.toml");
    std::fs::write(&path, "[engine]\ntopolgy = \"fused\"\n").expect("written");
    let output = tidegate(&["config", "check", "--config", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("t.toml:2") && stderr(&output).contains("did you mean `topology`"),
        "{}",
        stderr(&output)
    );
    let (_market, files) = market(6, 5);
    let order = tidegate(&["replay", "--input", &files[0], "--operator", "5s:trip:instrument:DOGEUSDT.binance-spot"]);
    assert_eq!(order.status.code(), Some(78), "{}", stderr(&order));
    assert!(stderr(&order).contains("DOGEUSDT") && stderr(&order).contains("BTCUSDT"), "{}", stderr(&order));
    let schema = json(&["config", "schema"]);
    assert!(schema["properties"]["engine"].is_object());
    let shown = json(&["config", "show", "--format", "json", "--set", "replay.speed=10"]);
    assert_eq!(shown["config"]["replay"]["speed"], "10");
    assert!(shown["profiles"][0]["rules"]["volatility"]["threshold"].is_number());
}

#[test]
fn run_ends_by_time_and_by_signal_with_a_summary() {
    let (dir, files) = market(7, 30);
    let out = dir.path().join("out");
    let config = dir.path().join("tidegate.toml");
    let text = format!("[[sources]]\npath = {:?}\n[output]\ndirectory = {:?}\n", files[2], out);
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let timed = tidegate(&["run", "--config", &config, "--for", "2s", "--format", "json"]);
    assert_eq!(timed.status.code(), Some(0), "{}", stderr(&timed));
    let summary: serde_json::Value = serde_json::from_slice(&timed.stdout).expect("a summary");
    assert!(summary["event_s"].as_f64() < Some(4.0) && summary["frames"].as_u64() > Some(50), "{summary}");
    assert!(out.join("latency.hlog").exists() && out.join("decisions.jsonl").exists());
    assert!(!out.join("engine.json").exists(), "gone with the engine");

    let start = Instant::now();
    let child = Command::new(binary())
        .args(["run", "--config", &config, "--format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    while !out.join("engine.json").exists() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(700));
    let live = json(&["hist", "--live", &out.display().to_string(), "--once", "--format", "json"]);
    assert!(!live.is_null());
    // SAFETY: a signal to our own child.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a summary after the signal");
    assert!(summary["frames"].as_u64() > Some(10));
    assert!(start.elapsed() < Duration::from_secs(15), "a clean end is a quick one");
}

#[test]
fn an_interrupted_replay_ends_cleanly_with_130_and_keeps_what_it_decided() {
    let (dir, files) = market(9, 30);
    let hlog = dir.path().join("latency.hlog");
    for topology in ["fused", "staged"] {
        let child = Command::new(binary())
            .args(["replay", "--input", &files[2], "--speed", "1", "--topology", topology, "--format", "json"])
            .args(["--hlog", &hlog.display().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_millis(2_500));
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(130), "{topology}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a summary after the signal");
        assert!(summary["frames"].as_u64() > Some(10), "{topology}: {summary}");
        // Whatever was fed went on: every event has its vector (timers add some).
        assert!(summary["vectors"].as_u64() >= summary["events"].as_u64(), "{topology}: {summary}");
        let log = json(&["hist", &hlog.display().to_string(), "--format", "json"]);
        assert!(!log.is_null());
    }
}

#[test]
fn features_files_hold_what_the_engine_computes() {
    let (dir, files) = market(8, 12);
    let (vectors, bars) = (dir.path().join("f.parquet"), dir.path().join("b.parquet"));
    let (v, b) = (vectors.display().to_string(), bars.display().to_string());
    let written =
        json(&["features", "--input", &files[2], "--out", &v, "--bars", &b, "--bar", "time:1", "--format", "json"]);
    let replayed = json(&["replay", "--input", &files[2], "--format", "json"]);
    assert_eq!(written["features_digest"], replayed["features_digest"], "the same code as live");
    assert_eq!(written["rows"], replayed["vectors"]);
    let reader = SerializedFileReader::new(File::open(&vectors).expect("a file")).expect("Parquet");
    let metadata = reader.metadata().file_metadata();
    assert_eq!(Some(metadata.num_rows() as u64), written["rows"].as_u64());
    assert_eq!(metadata.schema_descr().num_columns(), 5 + 64);
    let stored = metadata.key_value_metadata().expect("metadata");
    let hash = stored.iter().find(|pair| pair.key == "tidegate.features_schema").and_then(|pair| pair.value.clone());
    assert_eq!(hash.as_deref(), written["features_schema"].as_str());
    let bars = SerializedFileReader::new(File::open(&bars).expect("a file")).expect("Parquet");
    assert!((8..=12).contains(&bars.metadata().file_metadata().num_rows()), "a bar a second with trades");
    let listed = json(&["features", "--format", "json"]);
    assert_eq!(listed["features"].as_array().map(Vec::len), Some(64));
}

#[test]
fn histogram_logs_are_read_back() {
    let (dir, files) = market(9, 10);
    let log = dir.path().join("l.hlog").display().to_string();
    let summary = json(&["replay", "--input", &files[0], "--hlog", &log, "--format", "json"]);
    let read = json(&["hist", &log, "--format", "json"]);
    let tags = &read["files"][0]["tags"];
    assert_eq!(tags["total"]["count"], summary["latency"]["total"]["count"]);
    assert_eq!(tags["decode"]["p50_ns"], summary["latency"]["decode"]["p50_ns"]);
}

#[test]
fn the_same_seed_gives_the_same_market() {
    let captures = |seed: &str| -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().display().to_string();
        let files = json(&["simulate", "--out", &out, "--seconds", "5", "--seed", seed, "--format", "json"]);
        let paths = files["files"].as_array().expect("a list").iter().filter_map(|f| f["path"].as_str());
        paths.map(|path| std::fs::read(path).expect("a capture")).collect()
    };
    assert_eq!(captures("11"), captures("11"));
    assert_ne!(captures("11"), captures("12"));
}

#[test]
fn help_and_completions_are_whole_and_without_colour() {
    for command in ["replay", "run", "features", "config", "simulate", "hist", "doctor"] {
        let output = tidegate(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("EXAMPLES"), "{command}: {text}");
        assert!(!text.contains('\u{1b}'), "{command} prints colours under NO_COLOR");
    }
    assert!(!tidegate(&["completions", "bash"]).stdout.is_empty());
    assert!(tidegate(&["doctor", "--format", "json"]).status.success());
}

#[test]
fn the_readme_names_commands_that_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    for target in readme.split('`').filter_map(|code| code.strip_prefix("make ")) {
        let target = target.split_whitespace().next().unwrap_or_default();
        assert!(makefile.contains(&format!("\n{target}:")), "make {target} is in the README only");
    }
    for command in readme.lines().filter_map(|line| line.trim().strip_prefix("tidegate ")) {
        let name = command.split_whitespace().next().unwrap_or_default();
        assert!(tidegate(&[name, "--help"]).status.success(), "tidegate {name} is in the README only");
    }
}
