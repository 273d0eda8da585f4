//! Models beside the engine: lockstep, re-enactment, hot loading, refusals, a sidecar that is killed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_tests::{binary, json, market, root, runtime, tidegate};

fn onnx() -> PathBuf {
    root().join("onnx")
}

fn strings<'a>(fixed: &[&'a str], inputs: &'a [String]) -> Vec<&'a str> {
    fixed.iter().copied().chain(["--input"]).chain(inputs.iter().map(String::as_str)).collect()
}

#[test]
fn decisions_under_models_are_the_same_however_they_are_reached() {
    if !runtime() {
        return;
    }
    let (folder, files) = market(3, 45);
    let record = folder.path().join("adjustments.jsonl").display().to_string();
    let models = onnx().display().to_string();
    let run = |more: &[&str]| {
        let summary = json(&strings(&[&["replay", "--format", "json"], more].concat(), &files));
        assert_eq!((&summary["allocations_hot"], &summary["gaps"]), (&0.into(), &summary["resyncs"]));
        summary
    };
    let first = run(&["--models", &models, "--adjustments", &record]);
    assert_eq!((&first["models_mode"], &first["models"]["in_force"]["breaker-tuner"]), (&"lockstep".into(), &1.into()));
    assert!(first["advised"].as_u64().expect("a number") > 100, "{first}");
    assert!(first["latency"]["adjust_total"]["count"].as_u64().expect("a number") > 100);
    let same = |other: &Value| {
        let keys = ["features_digest", "decisions_digest", "decisions", "advised", "adjustments"];
        keys.iter().all(|key| other[key] == first[key])
    };
    for more in [
        &["--models", &models, "--topology", "staged"][..],
        &["--models", &models, "--wait", "park"],
        &["--models", &models, "--speed", "100"],
        &["--models", &models, "--topology", "staged", "--wait", "yield", "--speed", "200"],
        &["--reenact", &record],
        &["--reenact", &record, "--topology", "staged"],
    ] {
        let other = run(more);
        assert!(same(&other), "{more:?}: {other}");
    }
    let without = run(&[]);
    assert_eq!(without["features_digest"], first["features_digest"]);
    assert_ne!(without["decisions_digest"], first["decisions_digest"], "models do move thresholds");
    let slower = run(&["--models", &models, "--lockstep", "200ms"]);
    assert_ne!(slower["decisions_digest"], first["decisions_digest"], "when an answer takes effect matters");
}

#[test]
fn wrong_requests_are_refused_in_words() {
    let (folder, files) = market(3, 5);
    let refused = |more: &[&str], code: i32, words: &str| {
        let output = tidegate(&strings(&[&["replay"], more].concat(), &files));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    };
    refused(&["--models", "/nowhere"], 65, "is no directory");
    let empty = folder.path().display().to_string();
    refused(&["--models", &empty, "--lockstep", "2s"], 78, "less than the 1s between adjustments");
    refused(&["--reenact", "/nowhere.jsonl"], 65, "/nowhere.jsonl");
    let log = folder.path().join("log.jsonl");
    std::fs::write(&log, "{}\n").expect("written");
    let log = log.display().to_string();
    refused(&["--reenact", &log], 65, "line 1");
    refused(&["--reenact", &log, "--adjustments", &log], 78, "would be replaced");
    // An empty repository is a run without models, and says so.
    let output = tidegate(&strings(&["replay", "--models", &empty], &files));
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && (!runtime() || text.contains("no model of")), "{text}");
}

/// A public key: what is signed must be signed with it. Nothing here is, but for a forgery.
const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A running engine on a simulated market at ten times its pace, with models of its own folder.
struct Engine {
    /// One engine at a time: they run at a pace, and what they wait for is timed.
    _alone: MutexGuard<'static, ()>,
    child: Child,
    folder: tempfile::TempDir,
    models: PathBuf,
}

impl Engine {
    fn start(seconds: u64, more: &[&str]) -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (folder, files) = market(5, seconds);
        let models = folder.path().join("onnx");
        copy(&onnx().join("breaker-tuner/1"), &models.join("breaker-tuner/1"));
        let mut config: String = files.iter().map(|file| format!("[[sources]]\npath = {file:?}\n")).collect();
        // Two cores may have to carry several tests: loops that leave them to others.
        config += "[engine]\nwait = \"park\"\n[replay]\nspeed = \"10\"\n[models]\nevery_ms = 250\nshadow_runs = 5\n";
        config += &format!("public_key = {KEY:?}\n");
        config += &format!("directory = {:?}\n[output]\ndirectory = {:?}\n", models, folder.path().join("run"));
        let path = folder.path().join("tidegate.toml");
        std::fs::write(&path, config).expect("written");
        let mut command = Command::new(binary());
        command.args(["run", "--format", "json", "--config"]).arg(&path).args(more);
        command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { _alone: alone, child: command.spawn().expect("tidegate starts"), folder, models }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run().join("models.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for an event of the models.
    fn wait_for(&self, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(event) = self.events().into_iter().find(|event| found(event)) {
                return event;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{what} did not come: {:?}", self.events());
    }

    /// `tidegate model ... --engine`.
    fn model(&self, args: &[&str]) -> Value {
        let run = self.run().display().to_string();
        json(&[&["model"], args, &["--engine", &run, "--format", "json"]].concat())
    }

    fn finish(&mut self) -> Value {
        let mut text = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Puts a changed copy of the tuner into place as an exporter does: written aside, then renamed.
fn export(models: &Path, version: u32, change: impl FnOnce(&Path, &mut Value)) {
    let aside = models.join(format!("breaker-tuner/.{version}.tmp"));
    copy(&onnx().join("breaker-tuner/1"), &aside);
    let text = std::fs::read(aside.join("contract.json")).expect("read");
    let mut contract: Value = serde_json::from_slice(&text).expect("JSON");
    contract["version"] = version.into();
    change(&aside, &mut contract);
    std::fs::write(aside.join("contract.json"), contract.to_string()).expect("written");
    std::fs::rename(&aside, models.join(format!("breaker-tuner/{version}"))).expect("renamed");
}

fn replace(folder: &Path, contract: &mut Value, bytes: &[u8]) {
    std::fs::write(folder.join("model.onnx"), bytes).expect("written");
    let hash = hex::encode(Sha256::digest(bytes));
    contract["files"]["model.onnx"] = serde_json::json!({ "bytes": bytes.len(), "sha256": hash });
}

#[test]
fn a_new_model_is_taken_over_and_bad_ones_are_refused_while_the_engine_runs() {
    if !runtime() {
        return;
    }
    // Half a minute: the refusals take half of that on a quiet machine.
    let mut engine = Engine::start(300, &[]);
    engine.wait_for("the first model", |event| event["event"] == "promoted" && event["to"] == 1);
    export(&engine.models, 2, |_, _| {});
    let promoted = engine.wait_for("the second model", |event| event["event"] == "promoted" && event["to"] == 2);
    assert_eq!((&promoted["from"], &promoted["shadow"]["divergence"]), (&1.into(), &0.0.into()), "the same weights");
    assert_eq!(promoted["shadow"]["runs"], 5);
    type Damage = fn(&Path, &mut Value);
    let bad: &[(&str, Damage)] = &[
        ("truncated", |f, _| cut(&f.join("model.onnx"), 9_000)),
        ("wrong-hash", |f, _| flip(&f.join("model.onnx"), 12_345)),
        ("wrong-schema", |_, c| c["schemas"]["graph"] = "00".repeat(32).into()),
        ("opset", |_, c| c["opset"]["ai.onnx"] = 19.into()),
        ("shape", |_, c| c["inputs"][0]["shape"][1] = 23.into()),
        ("not-onnx", |f, c| replace(f, c, b"not a model")),
        ("operator", |f, c| {
            let mut bytes = std::fs::read(f.join("model.onnx")).expect("read");
            let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..*at + 4] == b"Gemm").collect();
            places.into_iter().for_each(|at| bytes[at..at + 4].copy_from_slice(b"Loop"));
            replace(f, c, &bytes);
        }),
        ("out-of-range", |_, c| c["outputs"][0]["range"] = serde_json::json!([0.0, 1e-3])),
        ("too-slow", |_, c| c["latency_budget_us"] = 1e-3.into()),
        ("golden", |_, c| c["tolerance"] = 1e-9.into()),
        ("oversize", |f, _| cut(&f.join("model.onnx"), 65 << 20)),
        ("contract", |_, c| c["name"] = "another".into()),
        ("bad-signature", |f, _| std::fs::write(f.join("contract.json.sig"), "A".repeat(86) + "==").expect("written")),
        ("unreadable", |f, _| std::fs::remove_file(f.join("golden.json")).expect("removed")),
    ];
    for (index, (reason, damage)) in bad.iter().enumerate() {
        let version = index as u32 + 3;
        export(&engine.models, version, damage);
        let refused = engine.wait_for(reason, |event| event["event"] == "refused" && event["version"] == version);
        assert_eq!(refused["reason"], **reason, "{refused}");
    }
    // A model of another kind, whose answers are no numbers.
    let lstm = engine.models.join("direction-lstm");
    copy(&onnx().join("direction-lstm/1"), &lstm.join(".1.tmp"));
    spoil(&lstm.join(".1.tmp"));
    std::fs::rename(lstm.join(".1.tmp"), lstm.join("1")).expect("renamed");
    let refused = engine.wait_for("not-finite", |event| event["reason"] == "not-finite");
    assert_eq!(refused["name"], "direction-lstm");
    let listed = engine.model(&["list"]);
    let active = listed["models"].as_array().and_then(|m| m.iter().find(|m| m["state"] == "active")).expect("one");
    assert_eq!(active["version"], 2);
    engine.model(&["rollback", "breaker-tuner"]);
    engine.wait_for("the roll-back", |event| event["event"] == "rolled-back" && event["to"] == 1);
    engine.model(&["load", "breaker-tuner", "2"]);
    engine.model(&["promote", "breaker-tuner"]);
    let history = engine.model(&["history"]);
    assert!(history["history"].as_array().expect("events").len() > 15);
    // The loader writes it, when it has time.
    let pointer = || std::fs::read_to_string(engine.models.join("breaker-tuner/CURRENT")).unwrap_or_default();
    let start = Instant::now();
    while pointer().trim() != "2" {
        assert!(start.elapsed() < Duration::from_secs(10), "CURRENT is {:?}", pointer());
        std::thread::sleep(Duration::from_millis(20));
    }
    let summary = engine.finish();
    assert_eq!((&summary["models"]["in_force"]["breaker-tuner"], &summary["models"]["faults"]), (&2.into(), &0.into()));
    assert_eq!(summary["models"]["refusals"].as_object().expect("reasons").len(), bad.len() + 1);
    assert_eq!((&summary["allocations_hot"], &summary["bbo_mismatch"]), (&0.into(), &0.into()));
    assert!(summary["gaps"] == summary["resyncs"], "the simulator's own gaps, and no other");
}

/// The biases of a model's head become NaN: three floats that follow their tensor's name as field 9.
fn spoil(folder: &Path) {
    let text = std::fs::read(folder.join("contract.json")).expect("read");
    let mut contract: Value = serde_json::from_slice(&text).expect("JSON");
    let mut bytes = std::fs::read(folder.join("model.onnx")).expect("read");
    let tensor = b"head.bias\x4a\x0c";
    let at = bytes.windows(tensor.len()).position(|window| window == tensor).expect("a tensor") + tensor.len();
    bytes[at..at + 12].chunks_exact_mut(4).for_each(|float| float.copy_from_slice(&f32::NAN.to_le_bytes()));
    replace(folder, &mut contract, &bytes);
    std::fs::write(folder.join("contract.json"), contract.to_string()).expect("written");
}

fn cut(file: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(file).and_then(|file| file.set_len(bytes)).expect("cut");
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("read");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn a_killed_sidecar_comes_back_and_thresholds_fall_back_meanwhile() {
    if !runtime() {
        return;
    }
    // Advice lives for 300 ms of event time, 30 ms at this pace: no new process is as quick as that.
    let short = "profiles.binance-usdm.tuning.ttl_ms=300";
    let mut engine = Engine::start(90, &["--set", short]);
    engine.wait_for("the model", |event| event["event"] == "promoted");
    let run = engine.run().display().to_string();
    json(&["operate", "trip:venue:binance-spot", "--engine", &run, "--format", "json"]);
    let refused = tidegate(&["operate", "trip:venue:nowhere", "--engine", &run]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no \"nowhere\""));
    std::thread::sleep(Duration::from_millis(500));
    json(&["operate", "reset:venue:binance-spot", "--engine", &run, "--format", "json"]);
    let pid = engine.child.id().to_string();
    let killed = Command::new("pkill").args(["-9", "-P", &pid, "-f", "sidecar"]).status();
    assert!(killed.is_ok_and(|status| status.success()), "pkill is part of procps");
    engine.wait_for("the loss", |event| event["event"] == "lost");
    let lost = engine.events().iter().position(|event| event["event"] == "lost").expect("there");
    let again = |engine: &Engine| engine.events().iter().skip(lost).any(|event| event["event"] == "promoted");
    let start = Instant::now();
    while !again(&engine) && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let summary = engine.finish();
    assert_eq!((&summary["models"]["restarts"], &summary["allocations_hot"]), (&1.into(), &0.into()));
    assert!(summary["advice_expired"].as_u64().expect("a number") > 0, "thresholds fell back");
    assert!(summary["models"]["promotions"].as_u64().expect("a number") >= 2, "it came back");
    // What was adopted and when is on record: the same run again, without any model, decides the same.
    let config = engine.folder.path().join("tidegate.toml").display().to_string();
    let record = engine.run().join("adjustments.jsonl").display().to_string();
    let aside = format!("output.directory={:?}", engine.folder.path().join("again"));
    let again = ["run", "--format", "json", "--config", &config, "--reenact", &record];
    let again = json(&[&again[..], &["--set", short, "--set", "replay.speed=max", "--set", &aside]].concat());
    assert_eq!(summary["features_digest"], again["features_digest"], "nothing else noticed");
    assert_eq!(summary["decisions_digest"], again["decisions_digest"]);
    assert_eq!(again["models_mode"], "re-enacted");
}

#[test]
fn a_second_engine_in_the_same_directory_is_refused_and_harms_nobody() {
    if !runtime() {
        return;
    }
    let mut engine = Engine::start(60, &[]);
    engine.wait_for("the model", |event| event["event"] == "promoted");
    let config = engine.folder.path().join("tidegate.toml").display().to_string();
    let events = engine.events().len();
    let output = tidegate(&["run", "--config", &config]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{text}");
    assert!(text.contains("another engine runs there"), "{text}");
    assert!(engine.events().len() >= events && engine.run().join("engine.json").exists());
    engine.model(&["list"]);
    let socket = std::fs::metadata(engine.run().join("control.sock")).expect("there");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600, "whoever can connect can stop the market");
    let summary = engine.finish();
    assert_eq!((&summary["models"]["restarts"], &summary["advice_expired"]), (&0.into(), &0.into()));
}

#[test]
fn a_sidecar_that_hangs_is_ended_and_started_again() {
    if !runtime() {
        return;
    }
    let mut engine = Engine::start(240, &[]);
    engine.wait_for("the model", |event| event["event"] == "promoted");
    // It must have advised before it is missed.
    std::thread::sleep(Duration::from_secs(2));
    let pid = engine.child.id().to_string();
    let stopped = Command::new("pkill").args(["-STOP", "-P", &pid, "-f", "sidecar"]).status();
    assert!(stopped.is_ok_and(|status| status.success()), "pkill is part of procps");
    let lost = engine.wait_for("the loss", |event| event["event"] == "lost");
    assert!(lost["reason"].as_str().is_some_and(|reason| reason.contains("silent")), "{lost}");
    let summary = engine.finish();
    assert_eq!(
        (&summary["models"]["restarts"], &summary["models"]["in_force"]["breaker-tuner"]),
        (&1.into(), &1.into())
    );
    assert!(summary["advice_expired"].as_u64().expect("a number") > 0, "thresholds fell back meanwhile");
}

#[test]
fn without_the_library_the_engine_runs_on_static_profiles_and_says_so() {
    let (folder, files) = market(3, 20);
    let mut config: String = files.iter().map(|file| format!("[[sources]]\npath = {file:?}\n")).collect();
    config += "[replay]\nspeed = \"max\"\n[models]\nmode = \"inline\"\nlibrary = \"/nowhere/lib.so\"\n";
    config += &format!("directory = {:?}\n[output]\ndirectory = {:?}\n", onnx(), folder.path().join("run"));
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, config).expect("written");
    let summary = json(&["run", "--format", "json", "--config", &path.display().to_string()]);
    let reason = summary["models"]["unavailable"].as_str().expect("a reason");
    assert!(reason.contains("/nowhere/lib.so") && reason.contains("make runtime"), "{reason}");
    assert_eq!((&summary["advised"], &summary["models"]["promotions"]), (&0.into(), &0.into()));
}

#[test]
fn offline_commands_act_on_the_repository() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().display().to_string();
    copy(&onnx().join("breaker-tuner/1"), &folder.path().join("breaker-tuner/1"));
    export(folder.path(), 2, |_, _| {});
    let list = || json(&["model", "list", "--models", &models, "--format", "json"])["models"].clone();
    assert_eq!((&list()[0]["state"], &list()[1]["state"]), (&"-".into(), &"current".into()));
    json(&["model", "rollback", "breaker-tuner", "--models", &models, "--format", "json"]);
    assert_eq!((&list()[0]["state"], &list()[1]["state"]), (&"current".into(), &"-".into()));
    json(&["model", "promote", "breaker-tuner", "2", "--models", &models, "--format", "json"]);
    assert_eq!(list()[1]["state"], "current");
    let output = tidegate(&["model", "promote", "breaker-tuner", "9", "--models", &models]);
    assert_eq!(output.status.code(), Some(65));
    let output = tidegate(&["model", "load", "breaker-tuner", "1", "--models", &models]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--engine"));
    if runtime() {
        let version = folder.path().join("breaker-tuner/2").display().to_string();
        let checked = json(&["model", "check", &version, "--format", "json"]);
        assert_eq!((&checked["passed"], &checked["version"]), (&true.into(), &2.into()));
        flip(&folder.path().join("breaker-tuner/2/model.onnx"), 77);
        let output = tidegate(&["model", "check", &version]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("refused") && text.contains("SHA-256"), "{text}");
    }
}

#[test]
fn the_schema_that_python_reads_is_the_engines() {
    let ours = json(&["features", "--format", "json"]);
    let file = root().join("models/src/tidegate_models/schema.json");
    let theirs: Value = serde_json::from_slice(&std::fs::read(&file).expect("committed")).expect("JSON");
    assert_eq!(ours, theirs, "write it anew: tidegate features --format json > {}", file.display());
}
