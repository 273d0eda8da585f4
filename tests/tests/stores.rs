//! Stores and Redis with real servers: what is there is what the log tells, whoever was killed on the way.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_record::store::{Place, Store};
use tidegate_runtime::control::{self, Ask, SOCKET};
use tidegate_serve::redis::{Key, Mirror, MirrorState, Settings};
use tidegate_tests::services::{Postgres, Redis, signal, until};
use tidegate_tests::{binary, json, market, tidegate};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(30);

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The exit code of `tidegate store compare`, and what it says.
fn compare(log: &str, url: &str) -> (i32, Value) {
    let output = tidegate(&["store", "compare", log, "--url", url, "--format", "json"]);
    let said = serde_json::from_slice(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said.unwrap_or(Value::String(error)))
}

#[track_caller]
fn equal(log: &str, url: &str) -> Value {
    let (code, said) = compare(log, url);
    assert_eq!(code, 0, "{url}: {said:#}");
    said
}

/// A log is taken into a store, compared with it, and what is changed there is found.
fn synced(log: &str, other: &str, url: &str) {
    let sync = || json(&["store", "sync", log, "--url", url, "--format", "json"]);
    let first = sync();
    let (entries, seconds) = (first["entries"].as_u64().unwrap_or(0), first["seconds"].as_f64().unwrap_or(0.0));
    let place = Place::parse(url).expect("a place");
    let kind = url.split(':').next().unwrap_or_default();
    eprintln!("stores: {kind}: {entries} entries, {} rows in {seconds:.3} s", first["rows"]);
    assert!(entries > 50 && first["behind"] == 0, "{first:#}");
    let said = equal(log, url);
    let rows = |table: &str| {
        let tables = said["tables"].as_array().expect("tables");
        tables.iter().find(|found| found["table"] == table).map_or(0, |found| found["found"].as_u64().unwrap_or(0))
    };
    assert!(rows("decisions") > 3 && rows("breaker_events") > 3 && rows("incidents") > 0, "{said:#}");
    assert_eq!(rows("sessions"), 1);
    // Again from the beginning: its schema is there already, and so is everything else.
    assert_eq!((&sync()["entries"], &sync()["next"]), (&0.into(), &entries.into()));
    let mut store = Store::open(&place, PATIENCE).expect("migrated already");
    let status = json(&["store", "status", "--url", url, "--format", "json"]);
    assert_eq!(
        (&status["position"]["next"], &status["rows"]["decisions"]),
        (&entries.into(), &rows("decisions").into())
    );
    let change =
        "UPDATE decisions SET value = value + 1e-9, cause = 'none' WHERE entry = (SELECT MAX(entry) FROM decisions)";
    store.execute(change).expect("changed");
    let (code, said) = compare(log, url);
    assert_eq!(code, 1, "{said:#}");
    assert!(said["differences"][0].as_str().is_some_and(|text| text.contains("cause is \"none\"")), "{said:#}");
    // Another log's entries do not come into it.
    let output = tidegate(&["store", "sync", other, "--url", url]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(65) && error.contains("a store belongs to one log"), "{error}");
}

#[test]
fn a_store_holds_what_the_log_tells_and_a_changed_row_is_found() {
    let (dir, files) = market(1, 60);
    let logs: Vec<String> = ["audit", "other"].iter().map(|name| text(&dir.path().join(name))).collect();
    for (log, trip) in logs.iter().zip(["10s:trip:engine", "11s:trip:engine"]) {
        let mut args = vec!["replay", "--format", "json", "--audit", log, "--operator", trip];
        args.extend(["--operator", "12s:reset:engine", "--input"]);
        args.extend(files.iter().map(String::as_str));
        json(&args);
    }
    synced(&logs[0], &logs[1], &format!("sqlite:{}", text(&dir.path().join("store.sqlite"))));
    let Some(mut postgres) = Postgres::new() else { return };
    postgres.start();
    synced(&logs[0], &logs[1], &postgres.socket_url());
}

#[test]
fn a_full_disk_is_an_error_and_is_gone_on_from() {
    let (dir, files) = market(2, 30);
    let (log, url) = (text(&dir.path().join("audit")), format!("sqlite:{}", text(&dir.path().join("store.sqlite"))));
    let mut args = vec!["replay", "--format", "json", "--audit", &log, "--input"];
    args.extend(files.iter().map(String::as_str));
    json(&args);
    // Files end after some 100 KiB: the schema alone is larger.
    let limited = format!("ulimit -f 200; exec {} store sync {log} --url {url}", text(binary()));
    let output = Command::new("sh").args(["-c", &limited]).output().expect("a shell");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{error}");
    assert!(error.contains("full") || error.contains("disk I/O error"), "{error}");
    json(&["store", "sync", &log, "--url", &url, "--format", "json"]);
    equal(&log, &url);
}

/// A log of so many decisions, made at once.
fn long_log(folder: &Path, entries: u64) {
    use tidegate_record::entry::{Entry, Kind};
    use tidegate_record::log::{Log, Settings};
    use tidegate_wire::decision::{BreakerState, Decision};
    let signer = tidegate_record::note::Signer::generate("tidegate.test/long").expect("a key");
    let (mut log, _) = Log::open(folder, signer, Settings::default()).expect("a log");
    let mut tell = |kind, body: &[u8]| log.append(&Entry::new(kind, 1, body)).map(drop).expect("room");
    tell(Kind::Session, br#"{"purpose":"run","version":"1","models":"off","sources":[]}"#);
    tell(Kind::Names, br#"{"first":0,"instruments":["BTCUSDT.okx"],"decimals":[[1,3]]}"#);
    for sequence in 0..entries {
        let mut decision: Decision = bytemuck::Zeroable::zeroed();
        (decision.sequence, decision.event_ns) = (sequence, sequence as i64 * 1_000_000);
        (decision.value, decision.has_value) = (sequence as f64 * 0.1, 1);
        decision.to = if sequence % 2 == 0 { BreakerState::Tripped as u8 } else { BreakerState::Closed as u8 };
        tell(Kind::Decision, bytemuck::bytes_of(&decision));
    }
    log.close().expect("signed");
}

#[test]
fn a_long_log_comes_in_batches() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, entries) = (dir.path().join("audit"), 20_000);
    long_log(&log, entries);
    let sync = |url: &str| {
        let said = json(&["store", "sync", &text(&log), "--url", url, "--format", "json"]);
        let (taken, seconds) = (said["entries"].as_u64().unwrap_or(0), said["seconds"].as_f64().unwrap_or(1.0));
        let (kind, rate) = (url.split(':').next().unwrap_or_default(), taken as f64 / seconds);
        eprintln!("stores: {kind}: {taken} entries, {} rows in {seconds:.2} s, {rate:.0} entries/s", said["rows"]);
        assert_eq!(taken, entries + 2);
        equal(&text(&log), url);
    };
    sync(&format!("sqlite:{}", text(&dir.path().join("store.sqlite"))));
    let Some(mut postgres) = Postgres::new() else { return };
    postgres.start();
    sync(&postgres.url());
}

/// A market that is played at its pace, and a folder for the engines that read it.
struct Stage {
    folder: tempfile::TempDir,
    config: PathBuf,
}

/// An engine that is killed when it is dropped.
struct Engine {
    child: Child,
    run: PathBuf,
}

impl Stage {
    fn new(sections: &str) -> Self {
        let (folder, files) = market(11, 90);
        let mut config: String = files.iter().map(|file| format!("[[sources]]\npath = {file:?}\n")).collect();
        config += "[engine]\nwait = \"park\"\n[replay]\nspeed = \"1\"\n[models]\nmode = \"off\"\n";
        config += &format!("[output]\ndirectory = {:?}\n{sections}", text(&folder.path().join("run")));
        let path = folder.path().join("tidegate.toml");
        std::fs::write(&path, config).expect("written");
        Self { folder, config: path }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn log(&self) -> String {
        text(&self.run().join("audit"))
    }

    fn engine(&self) -> Engine {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = Command::new(binary());
        command.args(["run", "--format", "json", "--config"]).arg(&self.config).current_dir(self.folder.path());
        let child = command.stdout(Stdio::null()).stderr(log.expect("a file")).spawn().expect("tidegate starts");
        let engine = Engine { child, run: self.run() };
        until("the engine answers", PATIENCE, || engine.status().is_some());
        engine
    }
}

impl Engine {
    /// Where store and Redis stand; `None` while it does not answer.
    fn status(&self) -> Option<Value> {
        control::ask(&self.run.join(SOCKET), &Ask::Stream).ok()?.stream
    }

    fn is(&self, part: &str, state: &str) -> bool {
        self.status().is_some_and(|status| status[part]["state"] == state)
    }

    fn entries(&self) -> u64 {
        self.status().and_then(|status| status["store"]["entries"].as_u64()).unwrap_or(0)
    }

    /// Orders that breakers trip and close, as fast as they are answered.
    fn load(&self) -> Load {
        let (socket, over) = (self.run.join(SOCKET), Arc::new(AtomicBool::new(false)));
        let ended = over.clone();
        let work = move || {
            while !ended.load(Ordering::Relaxed) {
                for word in ["trip", "reset"] {
                    let instruction = format!("{word}:instrument:BTCUSDT.binance-usdm");
                    // Nobody answers while the engine is gone.
                    let _ = control::ask(&socket, &Ask::Operate { instruction });
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        Load { over, thread: Some(std::thread::spawn(work)) }
    }

    fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends as an operator would end it.
    fn finish(mut self) {
        signal(self.child.id(), libc::SIGINT);
        let status = self.child.wait().expect("an end");
        assert_eq!(status.code(), Some(130));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Load {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn killed_engines_leave_a_sqlite_store_that_the_next_one_goes_on_with() {
    let stage = Stage::new("[store]\nenabled = true\n");
    let (log, url) = (stage.log(), format!("sqlite:{}", text(&stage.run().join("store.sqlite"))));
    for life in 0..3_u64 {
        let engine = stage.engine();
        let load = engine.load();
        let before = engine.entries();
        until("entries are stored", PATIENCE, || engine.entries() > before + 100);
        // Two who follow the same log do not write the same rows.
        json(&["store", "sync", &log, "--url", &url, "--format", "json"]);
        // Not always at the same place of its second.
        std::thread::sleep(Duration::from_millis(170 * life));
        engine.kill();
        drop(load);
        let (code, said) = compare(&log, &url);
        assert!(code == 0 || code == 3, "what is there is right: {said:#}");
    }
    // What the log recovers of its journal, and what a store lacks, comes with the next start.
    stage.engine().finish();
    let said = equal(&log, &url);
    assert!(said["entries"].as_u64() > Some(400), "{said:#}");
}

#[test]
fn whoever_is_killed_or_stopped_the_store_ends_as_the_log() {
    let (Some(mut postgres), Some(mut redis)) = (Postgres::new(), Redis::new()) else { return };
    postgres.start();
    redis.start(&[]);
    let (pg, cache) = (postgres.url(), redis.url());
    let sections = format!(
        "[store]\nenabled = true\nurl = {pg:?}\n[redis]\nenabled = true\nurl = {cache:?}\nprefix = \"tide:\"\n"
    );
    let stage = Stage::new(&sections);
    let engine = stage.engine();
    let load = engine.load();
    let shown = |redis: &Redis| redis.ask(&["GET", "tide:ws_status"]).is_some_and(|said| said.contains("replaying"));
    until("both are there", PATIENCE, || engine.is("redis", "connected") && engine.entries() > 100 && shown(&redis));

    redis.kill();
    until("a dead Redis is noticed", PATIENCE, || engine.is("redis", "degraded"));
    redis.start(&[]);
    until("Redis has everything again", PATIENCE, || engine.is("redis", "connected") && shown(&redis));
    signal(redis.id(), libc::SIGSTOP);
    until("a stopped Redis is noticed", PATIENCE, || engine.is("redis", "degraded"));
    signal(redis.id(), libc::SIGCONT);
    until("Redis goes on", PATIENCE, || engine.is("redis", "connected"));

    postgres.kill();
    until("a dead Postgres is noticed", PATIENCE, || engine.is("store", "failing"));
    let stood = engine.entries();
    postgres.start();
    until("Postgres catches up", PATIENCE, || engine.entries() > stood + 100);
    postgres.signal_all(libc::SIGSTOP);
    until("a stopped Postgres is noticed", PATIENCE, || engine.is("store", "failing"));
    postgres.signal_all(libc::SIGCONT);
    let stood = engine.entries();
    until("Postgres goes on", PATIENCE, || engine.entries() > stood + 100);

    engine.kill();
    drop(load);
    let (code, said) = compare(&stage.log(), &pg);
    assert!(code == 0 || code == 3, "what is there is right: {said:#}");
    let engine = stage.engine();
    until("the next engine takes it up", PATIENCE, || engine.is("store", "current"));
    engine.finish();
    let said = equal(&stage.log(), &pg);
    eprintln!("stores: {} entries equal after kills of engine, Redis and Postgres", said["entries"]);
    let last = redis.ask(&["GET", "tide:ws_status"]).expect("an answer");
    assert!(last.contains("disconnected"), "{last}");
}

#[test]
fn a_redis_that_comes_later_is_caught_up_with_and_a_reset_clears_our_keys_only() {
    let Some(mut redis) = Redis::new() else { return };
    let url = redis.url();
    let stage = Stage::new(&format!("[redis]\nenabled = true\nurl = {url:?}\n"));
    let engine = stage.engine();
    until("an absent Redis is noticed", PATIENCE, || engine.is("redis", "degraded"));
    let run = text(&stage.run());
    let reset = || tidegate(&["stream", "reset", "--engine", &run, "--format", "json"]);
    let output = reset();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("its keys are cleared when it is back"), "{error}");
    redis.start(&[]);
    until("it is caught up with", PATIENCE, || engine.is("redis", "connected"));
    let shown = || redis.ask(&["GET", "ws_status"]).is_some_and(|said| said.contains("replaying"));
    assert!(shown());
    // What others left there goes where it has our keys, and stays where it has not.
    for (key, value) in [("current_position", "stale"), ("ws_statusx", "theirs")] {
        redis.ask(&["SET", key, value]).expect("an answer");
    }
    let output = reset();
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(said["cleared"] == true && shown(), "{said:#}");
    assert_eq!(redis.ask(&["EXISTS", "current_position", "ws_statusx"]).as_deref(), Some(":1\r\n"));
    let status = json(&["stream", "status", "--engine", &run, "--format", "json"]);
    assert_eq!((&status["store"]["state"], &status["redis"]["state"]), (&"off".into(), &"connected".into()));
}

fn mirror(redis: &Redis, password: &str) -> Mirror {
    let password = (!password.is_empty()).then(|| Zeroizing::new(password.to_owned()));
    let mut settings = Settings::new(&redis.url(), password.as_ref()).expect("a place");
    (settings.prefix, settings.history) = ("t:".into(), 3);
    (settings.patience, settings.every) = (Duration::from_millis(300), Duration::from_millis(50));
    Mirror::start(settings, Box::new(Vec::new)).expect("a thread")
}

#[test]
fn a_history_is_bounded_and_outlives_runs_and_crashes() {
    let Some(mut redis) = Redis::new() else { return };
    redis.start(&["--requirepass", "canary"]);
    // Without the password it says why, and with it the text of it is nowhere.
    let refused = mirror(&redis, "");
    until("it is refused", PATIENCE, || refused.handle().status().state == MirrorState::Degraded);
    drop(refused);
    let first = mirror(&redis, "canary");
    until("it is let in", PATIENCE, || first.handle().status().state == MirrorState::Connected);
    assert!(!format!("{first:?} {:?}", first.handle().status()).contains("canary"));
    drop(first);
    redis.kill();

    redis.start(&[]);
    let list = |redis: &Redis| {
        let answer = redis.ask(&["LRANGE", "t:position_history", "0", "-1"]).unwrap_or_default();
        answer.lines().filter(|line| line.starts_with('p')).collect::<Vec<_>>().join(" ")
    };
    let first = mirror(&redis, "");
    let push = |mirror: &Mirror, text: &str| mirror.handle().set(Key::PositionHistory, text.into());
    ["p1", "p2"].iter().for_each(|text| push(&first, text));
    until("both are there", PATIENCE, || list(&redis) == "p2 p1");
    drop(first);
    let second = mirror(&redis, "");
    push(&second, "p3");
    until("what was there stays behind it", PATIENCE, || list(&redis) == "p3 p2 p1");
    push(&second, "p4");
    until("the bound holds", PATIENCE, || list(&redis) == "p4 p3 p2");
    second.handle().set(Key::CurrentPosition, "{}".into());
    redis.kill();
    until("it is gone", PATIENCE, || second.handle().status().state == MirrorState::Degraded);
    push(&second, "p5");
    redis.start(&[]);
    until("nothing is missing", PATIENCE, || list(&redis) == "p5 p4 p3");
    assert_eq!(redis.ask(&["GET", "t:current_position"]).as_deref(), Some("$2\r\n{}\r\n"));
    // Something else under the key of the list is an error that is said, and that a reset ends.
    redis.ask(&["SET", "t:position_history", "text"]).expect("an answer");
    push(&second, "p6");
    let begun = Instant::now();
    until("it is refused or made anew", PATIENCE, || list(&redis).starts_with("p6"));
    eprintln!("stores: a list is made anew {} ms after somebody broke it", begun.elapsed().as_millis());
    second.handle().reset().expect("Redis answers");
    push(&second, "p7");
    until("the history begins anew", PATIENCE, || list(&redis) == "p7");
    assert_eq!(redis.ask(&["GET", "t:current_position"]).as_deref(), Some("$2\r\n{}\r\n"), "what is current stays");
}
