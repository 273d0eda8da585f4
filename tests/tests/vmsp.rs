//! The balance ledger from the command line: limits by name, trades against the gate, kill -9 at random moments.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_runtime::control::{Ask, Reply, SOCKET, ask};
use tidegate_runtime::vmsp::Request;
use tidegate_runtime::vmsp::store::Store;
use tidegate_tests::{binary, json, market, tidegate};

/// A host in a folder of its own: `vmsp serve`, or the `run` of an engine.
struct Hosted {
    dir: tempfile::TempDir,
    child: Option<Child>,
    command: &'static [&'static str],
}

impl Hosted {
    fn new(config: &str) -> Self {
        Self::of(&["vmsp", "serve"], config)
    }

    fn of(command: &'static [&'static str], config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!("[output]\ndirectory = {:?}\n[audit]\nenabled = false\n{config}", dir.path().join("run"));
        std::fs::write(dir.path().join("tidegate.toml"), text).expect("written");
        let mut hosted = Self { dir, child: None, command };
        hosted.start();
        hosted
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn start(&mut self) {
        let config = self.dir.path().join("tidegate.toml");
        let mut command = Command::new(binary());
        command.args(self.command).arg("--config").arg(&config).current_dir(self.dir.path()).env("NO_COLOR", "1");
        let child = command.stderr(Stdio::piped()).spawn().expect("tidegate starts");
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        while self.ask(Request::Status).is_none() {
            let ended = self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_some());
            assert!(!ended && Instant::now() < until, "the host does not answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// What an ended host said.
    fn said(&mut self) -> String {
        let (mut text, child) = (String::new(), self.child.take());
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
            child.stderr.take().map(|mut stream| stream.read_to_string(&mut text));
        }
        text
    }

    fn ask(&self, request: Request) -> Option<Reply> {
        self.ask_any(&Ask::Vmsp { request })
    }

    fn ask_any(&self, what: &Ask) -> Option<Reply> {
        ask(&self.run_dir().join(SOCKET), what).ok()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    fn vmsp(&self, args: &[&str]) -> Vec<String> {
        let engine = self.run_dir().display().to_string();
        ["vmsp", "--engine", &engine, "--format", "json"].iter().chain(args).map(|arg| (*arg).to_owned()).collect()
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = self.vmsp(args);
        json(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn refused(&self, args: &[&str]) -> String {
        let args = self.vmsp(args);
        let output = tidegate(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn ten_at_once_succeed_and_the_eleventh_is_refused_by_name() {
    let hosted = Hosted::new("");
    assert_eq!(hosted.json(&["deposit", "1000", "--key", "opening"])["total"], "1000.000000");
    assert_eq!(hosted.json(&["deposit", "1000", "--key", "opening"])["exists"], true, "asked twice, done once");
    let lock = |n: usize| {
        let key = format!("order-{n}");
        hosted.json(&["lock", "50", "BTCUSDT", "--key", &key])
    };
    let lock = &lock;
    let ids: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..10).map(|n| scope.spawn(move || lock(n))).collect();
        all.into_iter().map(|lock| lock.join().expect("locked")["id"].as_str().expect("an id").to_owned()).collect()
    });
    assert!(ids.iter().all(|id| id.starts_with("vmsp_lock_") && id.ends_with("_BTCUSDT")), "{ids:?}");
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 10);
    let said = hosted.refused(&["lock", "50", "BTCUSDT"]);
    assert!(said.contains("max_locked_positions is 10 and 10 are locked") && said.contains("50.000000"), "{said}");
    let status = hosted.json(&["status"]);
    let balance = &status["balance"];
    assert_eq!((&balance["total"], &balance["locked"]), (&"1000.000000".into(), &"500.000000".into()));
    assert_eq!((&balance["available"], &balance["virtual"]), (&"500.000000".into(), &"1500.000000".into()));
    assert_eq!(status["positions"]["locked_count"], 10);
    assert_eq!(status["virtual_market"]["protection_active"], true);
    assert!(status["drift_protection"]["protection_hash"].is_string());
    assert_eq!(status["times"]["lock_durable"]["count"], 10);
    assert_eq!(hosted.json(&["unlock", &ids[3]])["amount"], "50.000000");
    let said = hosted.refused(&["unlock", &ids[3]]);
    assert!(said.contains("already-voided"), "{said}");
    let said = hosted.refused(&["lock", "500.000001", "ETHUSDT"]);
    assert!(said.contains("protection-buffer") && said.contains("500.000000 can be"), "{said}");
    hosted.json(&["stop"]);
    assert!(hosted.refused(&["lock", "1", "ETHUSDT"]).contains("vmsp start"));
    hosted.json(&["start"]);
    hosted.json(&["lock", "1", "ETHUSDT"]);
}

/// The same ledger inside a running engine, beside its other requests; one that hosts none says so.
#[test]
fn an_engine_hosts_it_too() {
    let (_captures, files) = market(1, 60);
    let sources: String = files.iter().map(|file| format!("[[sources]]\npath = {file:?}\n")).collect();
    let config = format!("[models]\nmode = \"off\"\n[replay]\nspeed = \"1\"\n{sources}");
    let without = Hosted::of(&["run"], &config);
    assert!(without.refused(&["status"]).contains("vmsp.enabled"));
    drop(without);
    let mut hosted = Hosted::of(&["run"], &format!("{config}[vmsp]\nenabled = true\n"));
    hosted.json(&["deposit", "100"]);
    hosted.json(&["lock", "10", "BTCUSDT"]);
    let done = hosted.ask_any(&Ask::Operate { instruction: "trip:engine".into() }).expect("it answers");
    assert!(done.ok, "{done:?}");
    hosted.kill();
    hosted.start();
    assert_eq!(hosted.json(&["status"])["balance"]["locked"], "10.000000");
}

#[test]
fn locks_expire_and_the_monitor_gives_them_back() {
    let hosted = Hosted::new("[vmsp]\ndrift_protection_window = 0.3\nmax_locked_positions = 2\n");
    hosted.json(&["deposit", "100"]);
    let id = hosted.json(&["lock", "10", "BTCUSDT"])["id"].clone();
    std::thread::sleep(Duration::from_millis(1_500));
    let status = hosted.json(&["status"]);
    assert_eq!((&status["balance"]["locked"], &status["positions"]["locked_count"]), (&"0.000000".into(), &0.into()));
    assert!(hosted.refused(&["unlock", id.as_str().expect("an id")]).contains("already-expired"));
}

const TRADING: &str = r#"
[vmsp]
risk_limits = "risk.toml"
drift_protection_window = 0.4
shift_delay_range = [0.1, 0.3]
[[instruments]]
venue = "binance-usdm"
symbol = "BTCUSDT"
tick = "0.10"
lot = "0.001"
"#;

const LIMITS: &str = r#"
[firm]
max_order_value = 1000
max_gross_exposure = 2000
messages = { count = 100, window_ms = 1000 }
[accounts.main]
strategies = ["vmsp"]
instruments = ["*"]
venues = ["binance-usdm"]
limits = { leverage = 1 }
"#;

#[test]
fn trades_wait_for_their_drift_and_pass_the_gate() {
    let mut hosted = Hosted::new("");
    assert!(hosted.refused(&["trade", "BTCUSDT.binance-usdm", "buy", "600", "60000"]).contains("vmsp.risk_limits"));
    hosted.kill();
    let config = hosted.dir.path().join("tidegate.toml");
    let text = std::fs::read_to_string(&config).expect("text");
    let limits = hosted.dir.path().join("risk.toml").display().to_string();
    std::fs::write(&config, text + &TRADING.replace("risk.toml", &limits)).expect("written");
    std::fs::write(hosted.dir.path().join("risk.toml"), LIMITS).expect("written");
    hosted.start();
    hosted.json(&["deposit", "2000"]);
    let trade = |side, amount, price| hosted.json(&["trade", "BTCUSDT.binance-usdm", side, amount, price]);
    hosted.json(&["mark", "BTCUSDT.binance-usdm", "60000.0"]);
    let first = trade("buy", "600", "60000.0");
    assert!((0.1..=0.3).contains(&first["trade"]["shift_delay_s"].as_f64().expect("a time")), "{first:#}");
    assert_eq!((&first["trade"]["stage"], &first["trade"]["alpha_applied"]), (&"waiting".into(), &true.into()));
    // Beyond what the gate lets through, and at a price that nobody offers: locked for a moment, and given back.
    trade("buy", "1200", "60000.0");
    trade("sell", "600", "90000.0");
    let until = Instant::now() + Duration::from_secs(10);
    let stages = |status: &Value| -> Vec<String> {
        let trades = status["trades"].as_array().expect("trades").iter();
        trades.map(|trade| trade["stage"].as_str().expect("a stage").to_owned()).collect()
    };
    let open = loop {
        let status = hosted.json(&["status"]);
        if stages(&status)[0] == "open" && !stages(&status).contains(&"waiting".to_owned()) {
            break status;
        }
        assert!(Instant::now() < until, "{status:#}");
    };
    assert_eq!(open["balance"]["locked"], "600.000000", "{open:#}");
    assert_eq!(stages(&open)[1..], ["refused", "refused"], "{:#}", open["trades"]);
    assert!(open["trades"][1]["note"].as_str().expect("why").contains("risk rule order_value"), "{open:#}");
    assert!(open["trades"][2]["note"].as_str().expect("why").contains("nothing was entered"), "{open:#}");
    let lock = open["trades"][0]["lock"].as_str().expect("a lock").to_owned();
    assert!(hosted.refused(&["unlock", &lock]).contains("in-trade"));
    hosted.json(&["mark", "BTCUSDT.binance-usdm", "60100.0"]);
    let closed = loop {
        let status = hosted.json(&["status"]);
        if stages(&status)[0] == "closed" {
            break status;
        }
        assert!(Instant::now() < until, "{status:#}");
    };
    // 0.01 BTC, 100 dearer.
    assert_eq!(closed["trades"][0]["gain"], "1.000000");
    assert_eq!(
        (&closed["balance"]["total"], &closed["balance"]["locked"]),
        (&"2001.000000".into(), &"0.000000".into())
    );
}

fn kills() -> u64 {
    std::env::var("TIDEGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// Killed at random moments while several lock, unlock and deposit: what was acknowledged is there after every start,
/// what was not is whole or not there, and the ledger balances.
#[test]
fn kill_9_loses_nothing_acknowledged() {
    // Locks that outlive the test: each is there or was unlocked, never expired.
    let mut hosted = Hosted::new("[vmsp]\ndrift_protection_window = 3600\nmax_locked_positions = 60000\n");
    let (mut random, mut sure, mut doubtful) = (0x2545_f491_4f6c_dd1d_u64, Vec::<(Request, Value)>::new(), Vec::new());
    let mut acknowledged = 0;
    for kill in 0..kills() {
        let socket = hosted.run_dir().join(SOCKET);
        let workers: Vec<_> = (0..8).map(|worker| worker_thread(socket.clone(), format!("{kill}-{worker}"))).collect();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(1_000 + random % 120_000));
        hosted.kill();
        for worker in workers {
            let (done, last) = worker.join().expect("a worker");
            acknowledged += done.len();
            sure.extend(done);
            doubtful.push(last);
        }
        hosted.start();
        // What nobody knows is asked again: done before or done now, but once.
        for request in doubtful.drain(..) {
            let reply = hosted.ask(Request::clone(&request)).expect("it answers");
            assert!(reply.ok, "{request:?}: {reply:?}");
            sure.push((request, reply.vmsp.expect("an answer")));
        }
        // The newest, and a few of all: the same keys give the same outcomes.
        let some = sure.iter().rev().take(6).chain(sure.iter().step_by(sure.len() / 4 + 1));
        for (request, was) in some {
            let is = hosted.ask(request.clone()).expect("it answers").vmsp.unwrap_or_else(|| panic!("{request:?}"));
            assert_eq!((&is["exists"], &is["id"], &is["amount"]), (&true.into(), &was["id"], &was["amount"]));
        }
        balances(&hosted, &sure);
    }
    println!("{} kills, {acknowledged} acknowledged", kills());
    assert!(acknowledged as u64 > kills(), "it did something: {acknowledged}");
    hosted.kill();
    let store = Store::open(&hosted.run_dir().join("vmsp")).expect("whole");
    store.ledger.check().expect("it balances");
}

type Done = Vec<(Request, Value)>;

/// Deposits, locks and unlocks until nobody answers; what was acknowledged, and the request that was not.
fn worker_thread(socket: PathBuf, name: String) -> std::thread::JoinHandle<(Done, Request)> {
    std::thread::spawn(move || {
        let (mut done, mut lock) = (Done::new(), String::new());
        for number in 0.. {
            let key = Some(format!("{name}-{number}"));
            let request = match number % 3 {
                0 => Request::Deposit { amount: "10".into(), key },
                1 => Request::Lock { amount: "5".into(), symbol: "BTCUSDT".into(), key },
                _ => Request::Unlock { id: lock.clone(), key },
            };
            match ask(&socket, &Ask::Vmsp { request: request.clone() }) {
                Ok(Reply { ok: true, vmsp: Some(answer), .. }) => {
                    lock = answer["id"].as_str().unwrap_or_default().to_owned();
                    done.push((request, answer));
                }
                Ok(refused) => panic!("{request:?}: {refused:?}"),
                Err(_) => return (done, request),
            }
        }
        unreachable!("it ends when nobody answers")
    })
}

/// Total and locked are what the requests add up to.
fn balances(hosted: &Hosted, sure: &Done) {
    let count = |wanted: fn(&Request) -> bool| sure.iter().filter(|(request, _)| wanted(request)).count();
    let deposits = count(|request| matches!(request, Request::Deposit { .. }));
    let locks = count(|request| matches!(request, Request::Lock { .. }));
    let unlocks = count(|request| matches!(request, Request::Unlock { .. }));
    let status = hosted.ask(Request::Status).and_then(|reply| reply.vmsp).expect("a status");
    let expected = (format!("{}.000000", 10 * deposits), format!("{}.000000", 5 * (locks - unlocks)));
    let balance = &status["balance"];
    assert_eq!((&balance["total"], &balance["locked"]), (&expected.0.into(), &expected.1.into()), "{status:#}");
}

/// A disk that takes no more stops locking and says why; what was acknowledged is there afterwards.
#[test]
fn a_full_disk_stops_locking_with_its_reason() {
    let mut hosted = Hosted::new("[vmsp]\nmax_locked_positions = 60000\n");
    hosted.json(&["deposit", "1000000"]);
    hosted.kill();
    // No file may be written beyond 16 KiB; the program must not die of the signal that says so.
    let program = binary().display().to_string();
    let config = hosted.dir.path().join("tidegate.toml").display().to_string();
    let script = r#"trap '' XFSZ; ulimit -f "$1"; shift; exec "$@""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", "16", &program, "vmsp", "serve", "--config", &config]);
    hosted.child = Some(command.stderr(Stdio::piped()).spawn().expect("bash"));
    let until = Instant::now() + Duration::from_secs(20);
    while hosted.ask(Request::Status).is_none() {
        assert!(Instant::now() < until, "the host does not answer: {}", hosted.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut locked, mut why) = (0, String::new());
    while why.is_empty() {
        let request = Request::Lock { amount: "1".into(), symbol: "BTCUSDT".into(), key: Some(format!("k{locked}")) };
        let reply = hosted.ask(request).expect("it answers");
        match reply.error {
            None => locked += 1,
            Some(error) => why = error,
        }
        assert!(locked < 100, "the limit holds");
    }
    assert!(why.contains("locking has stopped") && why.contains("File too large"), "{why}");
    let status = hosted.json(&["status"]);
    assert_eq!((&status["state"], &status["balance"]), (&"failed".into(), &Value::Null));
    hosted.kill();
    hosted.start();
    assert!(locked > 0, "there was some room");
    let status = hosted.json(&["status"]);
    assert_eq!(status["balance"]["locked"], format!("{locked}.000000"));
}
