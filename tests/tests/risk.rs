//! The risk desk of a running engine: orders are judged, the trading is stopped in every way there is, and stays so.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_runtime::control::{self, Ask};
use tidegate_simex::exchange::ExchangeConfig;
use tidegate_tests::live::{self, MARKETS};
use tidegate_tests::{binary, json, market, tidegate};

const LIMITS: &str = r#"
[firm]
max_order_value = 50000
max_gross_exposure = 1000000
messages = { count = 500, window_ms = 1000 }
[accounts.main]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
[people]
ada = ["operator"]
bob = ["risk"]
cyd = ["designated"]
"#;

const PROTOCOLS: &str = r#"
[protocols.exposure]
trigger = "gross-exposure"
cool_down_ms = 100
levels = [
    { threshold = 60000, release = 10000, actions = [{ do = "stop-quoting" }, { do = "cancel-all" }] },
    { threshold = 90000, release = 20000, actions = [{ do = "stop-quoting" }, { do = "close" }], latched = true },
]
"#;

const INSTRUMENT: &str = "BTCUSDT.binance-usdm";

/// The risk desk of the engine that runs in a folder.
struct Desk {
    run: PathBuf,
}

/// An engine on a simulated market at its own pace, in a folder that outlives it.
struct Engine {
    child: Child,
    desk: Desk,
}

impl std::ops::Deref for Engine {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

struct Stage {
    folder: tempfile::TempDir,
    files: Vec<String>,
}

impl Stage {
    fn new(seconds: u64) -> Self {
        let (folder, files) = market(11, seconds);
        Self { folder, files }
    }

    fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Messages go to a file.
    fn spawn(&self, config: &Path) -> Engine {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = Command::new(binary());
        command.args(["run", "--format", "json", "--config"]).arg(config).current_dir(self.folder.path());
        command.stdout(Stdio::piped()).stderr(log.expect("a file"));
        Engine { child: command.spawn().expect("tidegate starts"), desk: Desk { run: self.run_dir() } }
    }

    fn start(&self, limits: &str) -> Engine {
        let file = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (limits, protocols) = (file("risk.toml", limits), file("emergency.toml", PROTOCOLS));
        let mut config: String = self.files.iter().map(|file| format!("[[sources]]\npath = {file:?}\n")).collect();
        config += "[engine]\nwait = \"park\"\n[replay]\nspeed = \"1\"\n[models]\nmode = \"off\"\n";
        config += &format!("[[strategies]]\nname = \"carry\"\ninstruments = [{INSTRUMENT:?}]\n");
        config += &format!("[risk]\nlimits = {limits:?}\nemergency = {protocols:?}\n");
        config += &format!("[risk.luld]\n{INSTRUMENT:?} = \"tier1\"\n[output]\ndirectory = {:?}\n", self.run_dir());
        let config = file("tidegate.toml", &config);
        let engine = self.spawn(&config);
        // Up when it answers, and ready when the book is good.
        engine.until("a good book", |engine| engine.market("try", 1, "buy", "0.1").0);
        engine
    }
}

impl Desk {
    /// A request to the desk: whether it went well, and what was said.
    fn ask(&self, args: &[&str]) -> (bool, Value) {
        let run = self.run.display().to_string();
        let output = tidegate(&[&["risk", "--engine", &run, "--format", "json"], args].concat());
        let said = serde_json::from_slice::<Value>(&output.stdout).map(|value| value["answer"].clone());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said.unwrap_or(Value::String(error)))
    }

    fn does(&self, args: &[&str]) -> Value {
        let (well, said) = self.ask(args);
        assert!(well, "{args:?}: {said}");
        said
    }

    fn refuses(&self, args: &[&str], words: &str) {
        let (well, said) = self.ask(args);
        assert!(!well && said.to_string().contains(words), "{args:?}: {said}");
    }

    fn market(&self, mode: &str, client: u64, side: &str, qty: &str) -> (bool, Value) {
        let client = client.to_string();
        let order = ["--account", "main", "--strategy", "carry", "--instrument", INSTRUMENT, "--side", side];
        let rest = ["--order-type", "market", "--time-in-force", "immediate-or-cancel", "--qty", qty];
        let mut args = vec!["check", "--client-id", &client];
        args.extend(order.iter().chain(&rest));
        if mode == "try" {
            args.push("--try");
        }
        self.ask(&args)
    }

    fn until(&self, what: &str, there: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !there(self) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within 30 s: {}", self.ask(&["status"]).1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn thrown(&self) -> Vec<(String, String)> {
        let status = self.does(&["status"]);
        let text = |latch: &Value, key: &str| latch[key].as_str().unwrap_or_default().to_owned();
        let latches = status["thrown"].as_array().expect("a list");
        latches.iter().map(|latch| (text(latch, "scope"), text(latch, "cause"))).collect()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        lines(&self.run.join(name))
    }

    fn says(&self, ask: Value) -> Option<String> {
        let ask = Ask::Risk { ask: serde_json::from_value(ask).expect("a question") };
        control::ask(&self.run.join("control.sock"), &ask).expect("it answers").error
    }

    fn report(&self, order: &Value) {
        assert_eq!(self.says(serde_json::json!({ "what": "report", "report": order })), None);
    }

    /// Whoever keeps the operator's line busy is told to wait, and what stops the trading is heard all the same.
    fn crowded(&self) {
        let connect = || UnixStream::connect(self.run.join("control.sock")).expect("it listens");
        let silent: Vec<UnixStream> = (0..100).map(|_| connect()).collect();
        let refused = self.says(serde_json::json!({ "what": "status" }));
        assert!(refused.as_ref().is_some_and(|error| error.contains("too many conversations")), "{refused:?}");
        let kill = serde_json::json!({ "what": "kill", "scope": "account:main", "person": "ada" });
        assert_eq!(self.says(kill), None);
        drop(silent);
        self.until("somebody listens again", |desk| desk.ask(&["status"]).0);
        self.does(&[&["reset", "account:main"][..], &CYD].concat());
    }
}

impl Engine {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    fn end(mut self) -> Value {
        self.signal("-INT");
        let output = self.child.stdout.take().expect("piped");
        let summary = serde_json::from_reader(output).expect("a summary");
        self.child.wait().expect("it ends");
        summary
    }

    fn kill_nine(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn one(scope: &str, cause: &str) -> Vec<(String, String)> {
    vec![(scope.to_owned(), cause.to_owned())]
}

const CYD: [&str; 4] = ["--designated", "cyd", "--reason", "looked at"];

#[test]
fn orders_are_judged_and_a_kill_holds_through_a_crash() {
    let stage = Stage::new(90);
    let engine = stage.start(LIMITS);
    engine.crowded();
    // What may be sent counts; the same id again is a repetition; what is too large is named with its limit.
    assert_eq!(engine.market("check", 1, "buy", "0.1").1["accepted"], true);
    assert_eq!(engine.market("check", 1, "buy", "0.1").1["rule"], "duplicate_id");
    let large = engine.market("check", 2, "buy", "50").1;
    assert_eq!((&large["rule"], &large["limit"]), (&"order_value".into(), &50_000_000_000i64.into()), "{large}");
    let reference = engine.does(&["status"])["luld"][0]["reference"].as_str().expect("a price").to_owned();
    // One rests, and is to be cancelled when its strategy stops.
    let resting = ["check", "--client-id", "3", "--account", "main", "--strategy", "carry", "--instrument", INSTRUMENT];
    let rest = ["--side", "sell", "--order-type", "post-only", "--price", &reference, "--qty", "0.1"];
    assert_eq!(engine.does(&[&resting[..], &rest].concat())["accepted"], true);
    engine.report(&serde_json::json!({ "became": "cancelled", "client_id": 1, "account": "main" }));
    engine.does(&["kill", "strategy:carry", "--person", "ada"]);
    let alerts = engine.lines("alerts.jsonl");
    let of_strategy = |alert: &&Value| alert["kind"] == "kill" && alert["scope"] == "strategy:carry";
    let kill = alerts.iter().find(of_strategy).expect("told before it was acknowledged");
    assert_eq!(
        (&kill["scope"], &kill["cause"], &kill["person"]),
        (&"strategy:carry".into(), &"operator".into(), &"ada".into())
    );
    assert!(kill["delay_ns"].as_u64().is_some_and(|delay| delay < 5_000_000_000), "{kill}");
    let orders = engine.lines("orders.jsonl");
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!((&orders[0]["kind"], &orders[0]["client_id"]), (&"cancel".into(), &3.into()));
    let stopped = engine.market("check", 4, "buy", "0.1").1;
    assert_eq!((&stopped["rule"], &stopped["scope"]), (&"kill_switch".into(), &"strategy:carry".into()), "{stopped}");
    let cancel = ["--side", "sell", "--kind", "cancel"];
    assert_eq!(engine.does(&[&resting[..], &cancel].concat())["accepted"], true, "cancels are let through");
    engine.until("the strategy's breaker", |engine| {
        engine.lines("decisions.jsonl").iter().any(|line| line["scope"] == "strategy" && line["cause"] == "manual-trip")
    });
    engine.kill_nine();
    // The next engine knows, and that something was open of which nobody knows what became of it.
    let engine = stage_restart(&stage);
    let both = [one("engine", "left-open"), one("strategy:carry", "operator")].concat();
    assert_eq!(engine.thrown(), both);
    engine.does(&[&["reset", "engine"][..], &CYD].concat());
    engine.refuses(&["reset", "strategy:carry", "--designated", "ada", "--reason", "x"], "no role Designated");
    engine.refuses(
        &[&["reset", "strategy:carry", "--designated", "cyd", "--reason", " "][..]].concat(),
        "a reason is needed",
    );
    engine.does(&[&["reset", "strategy:carry"][..], &CYD].concat());
    engine.until("orders are let through again", |engine| engine.market("try", 9, "buy", "0.1").0);
    // A signal stops everything.
    engine.signal("-USR1");
    engine.until("the engine's switch", |engine| engine.thrown() == one("engine", "signal"));
    engine.refuses(&["kill", "strategy:basis"], "no strategy");
    let summary = engine.end();
    assert_eq!(summary["risk"]["thrown"], serde_json::json!(["engine"]));
    assert_eq!(summary["risk"]["alerts"]["later_than_5_s"], 0);
    let log = stage.run_dir().join("audit").display().to_string();
    let report = json(&["audit", "verify", &log, "--format", "json"]);
    let kinds = &report["kinds"];
    assert_eq!(report["whole"], true);
    for (kind, least) in [("order", 6), ("verdict", 5), ("risk", 5), ("request", 4)] {
        assert!(kinds[kind].as_u64().is_some_and(|count| count >= least), "{kind}: {kinds}");
    }
    let lei = "5493001KJTIIGC8Y1R12";
    let export = tidegate(&["audit", "export", &log, "--as", "mica-json", "--lei", lei]);
    let text = String::from_utf8(export.stdout).expect("text");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let events: Vec<&str> = records.iter().filter_map(|record| record["event"].as_str()).collect();
    assert_eq!(events[..5], ["NEWO", "REMO", "REMO", "NEWO", "CAME"], "{text}");
    assert_eq!(records[3]["limitPrice"], reference.as_str());
    assert_eq!(tidegate(&["audit", "export", &log, "--as", "mica-json"]).status.code(), Some(2), "no LEI");
}

/// While a switch is thrown nothing is accepted, so it is up when it answers.
fn stage_restart(stage: &Stage) -> Engine {
    let engine = stage.spawn(&stage.folder.path().join("tidegate.toml"));
    engine.until("an answer", |engine| engine.ask(&["status"]).0);
    engine
}

#[test]
fn the_operators_silence_and_a_ruined_file_stop_everything() {
    let stage = Stage::new(60);
    let engine = stage.start(&format!("{LIMITS}[switches]\ndead_man_ms = 4000\n"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        engine.does(&["heartbeat", "--person", "ada"]);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(engine.thrown(), [], "the operator was there");
    engine.refuses(&["heartbeat", "--person", "bob"], "no role Operator");
    engine.until("the dead man's switch", |engine| engine.thrown() == one("engine", "dead-man"));
    let alerts = engine.lines("alerts.jsonl");
    let kill = alerts.iter().find(|alert| alert["kind"] == "kill").expect("told");
    assert!(kill["delay_ns"].as_u64().is_some_and(|delay| delay < 5_000_000_000), "{kill}");
    engine.end();
    // Nobody knows what a ruined file said: everything stands still.
    let file = stage.run_dir().join("kill.state");
    std::fs::write(&file, b"nonsense").expect("written");
    let engine = stage_restart(&stage);
    assert_eq!(engine.thrown(), one("engine", "unreadable"));
    engine.end();
}

#[test]
fn an_emergency_protocol_closes_what_grew_too_large() {
    let stage = Stage::new(60);
    let engine = stage.start(LIMITS);
    let shown = engine.does(&["rehearse", "exposure", "2"]);
    let nothing = (&true.into(), &serde_json::json!([]));
    assert_eq!((&shown["stops_quoting"], &shown["requests"]), nothing, "nothing is held");
    engine.refuses(&["rehearse", "exposure", "3"], "has no level 3");
    engine.refuses(&["rehearse", "drawdown", "1"], "exposure");
    // Two executions of what was let through make more exposure than level 2 allows.
    let reference = engine.does(&["status"])["luld"][0]["reference"].as_str().expect("a price").to_owned();
    let qty = 48_000.0 / reference.parse::<f64>().expect("a number");
    let qty = format!("{:.2}", (qty * 100.0).floor() / 100.0);
    for client in [21, 22] {
        let verdict = engine.market("check", client, "buy", &qty).1;
        assert_eq!(verdict["accepted"], true, "{verdict}");
        // The same order within half a second counts as a repetition.
        std::thread::sleep(Duration::from_millis(600));
        let report = serde_json::json!({
            "became": "executed", "client_id": client, "account": "main", "strategy": "carry",
            "instrument": INSTRUMENT, "side": "buy", "trade_id": client, "price": reference, "qty": qty,
        });
        engine.report(&report);
        // Told twice, booked once.
        engine.report(&report);
    }
    // The level is latched and stops quoting: the engine's switch is thrown, and its plans close all the same. The
    // first one came when the second order was still open, the next one takes care of what that has brought.
    let held = qty.parse::<f64>().expect("a number") * 2.0;
    let closed = |engine: &Desk| {
        let orders = engine.lines("orders.jsonl");
        let new = orders.iter().filter(|order| order["kind"] == "new");
        new.map(|order| order["qty"].as_str().and_then(|qty| qty.parse::<f64>().ok()).expect("a quantity")).sum::<f64>()
    };
    engine.until("everything is being closed", |engine| closed(engine) > held - 1e-9);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!((closed(&engine) - held).abs() < 1e-9, "never past zero: {} of {held}", closed(&engine));
    assert_eq!(engine.thrown(), one("engine", "emergency"));
    let orders = engine.lines("orders.jsonl");
    let close = orders.iter().find(|order| order["kind"] == "new").expect("found");
    assert_eq!((&close["side"], &close["strategy"], &close["flags"]), (&"sell".into(), &"carry".into(), &1.into()));
    assert_eq!(close["time_in_force"], "immediate-or-cancel");
    let id = close["client_id"].as_u64().expect("a number");
    let cancelled = |order: &Value| order["kind"] == "cancel" && order["client_id"].as_u64() == Some(id);
    assert!(!orders.iter().any(cancelled), "a plan does not cancel itself: {orders:?}");
    let alerts = engine.lines("alerts.jsonl");
    let raised = alerts.iter().find(|alert| alert["kind"] == "emergency").expect("told");
    assert_eq!(raised["rule"], "exposure", "{raised}");
    let level = |engine: &Desk| engine.does(&["status"])["protocols"][0]["level"].clone();
    assert_eq!(level(&engine), 2);
    engine.does(&[&["calm", "exposure"][..], &CYD].concat());
    engine.end();
}

/// The desk keeps the positions and tells the breakers what they have lost; the log repeats it.
#[test]
fn what_a_strategy_has_lost_stops_it() {
    let stage = Stage::new(60);
    let engine = stage.start(&format!("{LIMITS}[strategies.carry]\ncapital = 10000\nleverage = 100\n"));
    let reference = engine.does(&["status"])["luld"][0]["reference"].as_str().expect("a price").to_owned();
    let reference: f64 = reference.parse().expect("a number");
    // Bought a tenth above the market: between 5 and 10 % of the capital are gone at once.
    engine.report(&serde_json::json!({
        "became": "executed", "client_id": 31, "account": "main", "strategy": "carry", "instrument": INSTRUMENT,
        "side": "buy", "trade_id": 31, "price": format!("{:.1}", reference + 7_500.0), "qty": "0.1",
    }));
    let open = |engine: &Desk| {
        let lines = engine.lines("decisions.jsonl");
        lines.iter().rfind(|line| line["rule"] == "drawdown" && line["scope"] == "strategy").cloned()
    };
    engine.until("the drawdown breaker", |engine| open(engine).is_some_and(|line| line["to"] == "tripped"));
    let trip = open(&engine).expect("there");
    let lost = trip["value"].as_f64().expect("a fraction");
    assert!(lost >= 0.05 && trip["threshold"] == 0.05, "{trip}");
    let refused = engine.market("try", 32, "buy", "0.1").1;
    assert_eq!(refused["rule"], "market_state", "{refused}");
    // A designated person lets it go on: what it has lost until now counts no more.
    engine.does(&[&["reset", "strategy:carry"][..], &CYD].concat());
    engine.until("the breaker closes", |engine| open(engine).is_some_and(|line| line["to"] == "closed"));
    engine.end();
    let (log, out) = (stage.run_dir().join("audit"), stage.folder.path().join("postmortem"));
    let (log, out) = (log.display().to_string(), out.display().to_string());
    let mut args = vec!["postmortem", &log, "--last", "--out", &out, "--format", "json", "--input"];
    args.extend(stage.files.iter().map(String::as_str));
    let report = json(&args);
    assert_eq!(report["reproduction"]["reproduced"], true, "{}", report["reproduction"]);
    let named = |cause: &Value| cause["cause"] == "own-losses" && cause["score"].as_f64().is_some_and(|s| s > 0.5);
    assert!(report["causes"].as_array().is_some_and(|all| all.iter().any(named)), "{}", report["causes"]);
    let orders = &report["impact"]["orders"];
    assert_eq!(orders["judged"], 0, "tries are not orders: {orders}");
    let traded = &orders["instruments"][0];
    assert!(traded["held_after"] == 0.1 && traded["profit"].is_number(), "{orders}");
}

fn live_stage() -> live::Stage {
    let markets = MARKETS.iter().filter(|market| market.name == "binance-usdm").cloned().collect();
    live::Stage::new(ExchangeConfig::default(), markets)
}

/// An engine on a live market with limits and a strategy.
fn live_engine(stage: &live::Stage) -> (live::Engine, Desk) {
    let limits = stage.dir.path().join("risk.toml");
    std::fs::write(&limits, LIMITS).expect("written");
    let strategy = format!("[[strategies]]\nname = \"carry\"\ninstruments = [{INSTRUMENT:?}]\n");
    let process = stage.engine(&stage.config(&format!("{strategy}[risk]\nlimits = {limits:?}\n"), ""));
    process.until("connected", Duration::from_secs(40));
    (process, Desk { run: stage.run_dir() })
}

/// Where nobody knows what became of open orders everything is stopped; what was executed is known all the same.
#[test]
fn what_is_held_outlives_the_process() {
    let stage = live_stage();
    let (process, engine) = live_engine(&stage);
    engine.until("a good book", |engine| engine.market("try", 1, "buy", "0.01").0);
    assert_eq!(engine.market("check", 1, "buy", "0.02").1["accepted"], true);
    let executed = serde_json::json!({
        "became": "executed", "client_id": 1, "account": "main", "strategy": "carry", "instrument": INSTRUMENT,
        "side": "buy", "trade_id": 9, "price": "60000.0", "qty": "0.02", "fee": "1.5",
    });
    engine.report(&executed);
    let held = engine.does(&["status"])["positions"].clone();
    let expected = serde_json::json!([
        { "account": "main", "strategy": "carry", "instrument": INSTRUMENT, "qty": "0.020" },
    ]);
    assert_eq!(held, expected);
    // Nothing has a chance to say good-bye.
    drop(process);
    let (process, engine) = live_engine(&stage);
    engine.until("an answer", |engine| engine.ask(&["status"]).0);
    assert_eq!(engine.does(&["status"])["positions"], expected);
    assert_eq!(engine.thrown(), one("engine", "left-open"));
    // Told again after the crash it is still the same trade, and an opposite one closes the position.
    engine.report(&executed);
    assert_eq!(engine.does(&["status"])["positions"], expected);
    let mut closed = executed;
    (closed["side"], closed["trade_id"]) = ("sell".into(), 10.into());
    engine.report(&closed);
    assert_eq!(engine.does(&["status"])["positions"], serde_json::json!([]));
    drop(process);
    let folder = stage.run_dir().join("kill.kept");
    assert!(folder.is_dir(), "beside the switches");
}

/// On a live market: a replay ends when it cannot record, a live engine goes on watching and takes no new risk.
#[test]
fn who_cannot_record_takes_no_new_risk() {
    let stage = live_stage();
    let (process, engine) = live_engine(&stage);
    engine.until("a good book", |engine| engine.market("try", 1, "buy", "0.01").0);
    // From now on no file grows beyond 64 KiB: the disk is full as far as the engine can tell.
    let pid = process.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=65536"]).status();
    assert!(limited.expect("prlimit runs").success());
    let (begun, mut client) = (Instant::now(), 100);
    loop {
        client += 1;
        let (well, said) = engine.market("check", client, "buy", "0.01");
        if !well && said.to_string().contains("no new risk") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "never refused: {said}");
        std::thread::sleep(Duration::from_millis(100));
    }
    engine.refuses(&[&["reset", "engine"][..], &CYD].concat(), "cannot be recorded");
    // What stops the trading is done all the same, and said to be what it is.
    engine.ask(&["kill", "engine"]);
    assert_eq!(engine.thrown(), one("engine", "operator"));
    engine.until("the breaker", |engine| {
        engine.lines("decisions.jsonl").iter().any(|line| line["scope"] == "engine" && line["cause"] == "manual-trip")
    });
    drop(process);
    let log = stage.log();
    assert!(log.contains("cannot record, so trading stops") && log.contains("File too large"), "{log}");
}
