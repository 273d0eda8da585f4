//! The admin interface, and the program.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_simex::exchange::{Addresses, Exchange, ExchangeConfig, Venue};

use crate::support::{Client, PATIENCE, Rest, eventually, http, only};

fn admin(addresses: &Addresses, method: &str, target: &str, body: &str) -> Rest {
    let stream = TcpStream::connect(addresses.admin.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    http(stream, method, target, &[], body)
}

#[test]
fn everything_can_be_asked_and_done() {
    let directory = tempfile::tempdir().unwrap();
    let config = ExchangeConfig { directory: Some(directory.path().into()), ..only(Venue::Bybit) };
    let exchange = Exchange::start(config).unwrap();
    let get = |target: &str| admin(exchange.addresses(), "GET", target, "").body;
    let addresses: Addresses = serde_json::from_value(get("/addresses")).unwrap();
    assert_eq!(&addresses, exchange.addresses());
    assert_eq!(std::fs::read_to_string(addresses.ca_file.as_ref().unwrap()).unwrap(), exchange.ca_pem());

    let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
    client.ask(r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#, |value| value["type"] == "delta");
    assert_eq!(admin(&addresses, "POST", "/freeze", "").body["frozen"], true);
    client.drain(Duration::from_millis(300), |_| {});
    let book = get("/book?venue=bybit&symbol=BTCUSDT&category=linear");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(get("/book?venue=bybit&symbol=BTCUSDT&category=linear"), book);
    assert!(book["channels"]["orderbook.50.BTCUSDT"].as_i64().unwrap() > 100_000);
    assert!(book["bids"][0][0].as_str().unwrap().contains('.'));
    assert_eq!(get("/books").as_array().unwrap().len(), 4);
    assert_eq!(admin(&addresses, "POST", "/thaw", "").body["frozen"], false);
    eventually("a moving market", || (get("/book?venue=bybit&symbol=BTCUSDT&category=linear") != book).then_some(()));

    let fault = json!({"kind": "close", "code": 4000, "venue": "bybit"}).to_string();
    let planned = admin(&addresses, "POST", "/fault", &fault);
    assert_eq!(client.close_code(), 4_000);
    let records = get("/faults");
    assert_eq!((&records[0]["id"], &records[0]["kind"]), (&planned.body["id"], &"close".into()));
    assert_eq!(get("/violations"), json!([]));
    eventually("the end of the connection", || (get("/clients") == json!([])).then_some(()));
    assert_eq!((&get("/stats")["connections"], &get("/stats")["faults"]), (&1.into(), &1.into()));

    assert_eq!(admin(&addresses, "POST", "/fault", "{\"kind\":\"no_such\"}").status, 400);
    assert_eq!(admin(&addresses, "GET", "/book?venue=bybit&symbol=NO", "").status, 404);
    assert_eq!(admin(&addresses, "GET", "/book?venue=nowhere&symbol=NO", "").status, 400);
    assert_eq!(admin(&addresses, "GET", "/nothing", "").status, 404);
    exchange.stop();
}

#[test]
fn the_program_serves() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("simex.toml");
    let text = "activity = 0.2\n[venue.deribit.limits]\nconnections = 3\n[venue.binance-spot]\n";
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_simex"))
        .args(["serve", "--print-addresses", "--for", "20s", "--fault", "100ms:clock_jump:by=5:venue=deribit"])
        .args(["--chaos", "5", "--chaos-rate", "1/min", "--config"])
        .arg(&config)
        .arg("--directory")
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses: Addresses = serde_json::from_str(&line).unwrap();
    assert_eq!(addresses.venues.len(), 2);
    assert!(directory.path().join("ca.pem").exists());
    eventually("the scripted fault", || {
        let faults: Value = admin(&addresses, "GET", "/faults", "").body;
        let mut all = faults.as_array().unwrap().iter();
        all.any(|fault| fault["kind"] == "clock_jump" && fault["detail"] == "5 ms").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();

    let refused = Command::new(env!("CARGO_BIN_EXE_simex")).args(["serve", "--fault", "nonsense"]).output().unwrap();
    assert!(!refused.status.success());
    std::fs::write(&config, "sped = 2").unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_simex")).args(["serve", "--config"]).arg(&config).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sped"));
}

#[test]
fn it_starts_and_stops_inside_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
        assert!(exchange.book(Venue::Deribit, "BTC-PERPETUAL", None).is_some());
        let taken = exchange.addresses().admin.rsplit(':').next().unwrap().parse().unwrap();
        assert!(Exchange::start(ExchangeConfig { admin_port: taken, ..only(Venue::Deribit) }).is_err());
        exchange.stop();
    });
}

#[test]
fn a_taken_port_is_an_error() {
    let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
    let taken = exchange.addresses().admin.rsplit(':').next().unwrap().parse().unwrap();
    let error = Exchange::start(ExchangeConfig { admin_port: taken, ..only(Venue::Deribit) }).err().unwrap();
    assert!(error.to_string().contains("listener"));
}
