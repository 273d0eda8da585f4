//! What opens an account appears nowhere: not in a log at its loudest, not in any file of a run, not in its capture.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_feed::capture::{Block, CaptureFile};
use tidegate_feed::session::credentials::{Credentials, SecretSource};
use tidegate_feed::session::dialect::dialect;
use tidegate_simex::exchange::{ExchangeConfig, Keys};
use tidegate_tests::binary;
use tidegate_tests::live::{MARKETS, Market, Stage};

const KEY: &str = "bg_KEYb1c2d3e4f5a697887";
const SECRET: &str = "SECRET0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const PASSPHRASE: &str = "PASSPHRASEcorrecthorse";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Every signature that a login between two moments may have had.
fn signatures(folder: &Path, from_ms: i64, to_ms: i64) -> Vec<String> {
    let read = |name: &str| SecretSource { file: Some(folder.join(name)), env: None }.read().expect("a secret");
    let credentials = Credentials { key: read("key"), secret: read("secret"), passphrase: Some(read("passphrase")) };
    let dialect = dialect(tidegate_wire::Venue::BitgetUsdt).expect("a live venue");
    let sign = |ms: i64| {
        let login = dialect.login(&credentials, ms).expect("a login");
        let login: serde_json::Value = serde_json::from_str(&login).expect("JSON");
        assert_eq!(login["args"][0]["timestamp"], (ms / 1000).to_string(), "it is signed to the second");
        login["args"][0]["sign"].as_str().expect("a signature").to_owned()
    };
    (from_ms / 1000..=to_ms / 1000).map(|second| sign(second * 1000)).collect()
}

/// What a capture holds, unpacked.
fn unpacked(path: &Path) -> Vec<u8> {
    let mut file = CaptureFile::open(path).expect("a capture");
    let (mut block, mut bytes) = (Block::default(), Vec::new());
    while file.next(&mut block).expect("a good capture") {
        bytes.extend_from_slice(&block.bytes);
    }
    bytes
}

#[test]
fn keys_appear_nowhere() {
    let keys = Keys { key: KEY.into(), secret: SECRET.into(), passphrase: PASSPHRASE.into() };
    let private = |market: &Market| Market { private: true, ..market.clone() };
    let markets = MARKETS.iter().filter(|market| market.name == "bitget-usdt").map(private).collect();
    let stage = Stage::new(ExchangeConfig { keys, ..ExchangeConfig::default() }, markets);
    let folder = stage.dir.path();
    for (name, text) in [("key", KEY), ("secret", SECRET), ("passphrase", PASSPHRASE)] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let config = stage.config("", "");

    let from_ms = now_ms() - 2_000;
    let mut command = Command::new(binary());
    command.args(["run", "--for", "5s", "--format", "json", "--config"]).arg(&config);
    let output = command.env("TIDEGATE_LOG", "trace").output().expect("tidegate starts");
    let (stdout, stderr) = (output.stdout, output.stderr);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&stderr));

    let mut places = vec![("stdout".to_owned(), stdout), ("stderr".to_owned(), stderr)];
    for path in stage.captures() {
        places.push((format!("{}, unpacked", path.display()), unpacked(&path)));
    }
    let outputs = std::fs::read_dir(stage.run_dir()).expect("a folder").flatten().map(|entry| entry.path());
    for path in outputs.filter(|path| path.is_file()).chain(stage.captures()) {
        places.push((path.display().to_string(), std::fs::read(&path).expect("bytes")));
    }
    let has =
        |name: &str, text: &str| places.iter().any(|(place, bytes)| place.contains(name) && contains(bytes, text));
    // The account was opened and read, and frames were captured: there was something to be leaked.
    assert!(has("account.jsonl", "positions") && has("unpacked", "BTCUSDT"), "{:?}", stage.exchange.violations());
    assert!(places[1].1.len() > 1000, "the log is at its loudest");
    let mut secrets = vec![KEY.to_owned(), SECRET.to_owned(), PASSPHRASE.to_owned()];
    secrets.extend(signatures(folder, from_ms, now_ms() + 2_000));
    for (name, bytes) in &places {
        for (number, secret) in secrets.iter().enumerate() {
            // Named by its number: a failing test must not print it either.
            assert!(!contains(bytes, secret), "secret {number} is in {name}");
        }
        assert!(!contains(bytes, "\"op\":\"login\""), "{name} holds a login");
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
