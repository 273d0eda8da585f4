//! What opens an account appears nowhere: not in a log at its loudest, not in any file of a run, not in its capture.

mod live;

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_feed::capture::{Block, CaptureFile};
use tidegate_feed::session::credentials::{Credentials, SecretSource};
use tidegate_feed::session::dialect::dialect;
use tidegate_simex::exchange::Keys;
use tidegate_tests::binary;

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
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let keys = [("key", KEY), ("secret", SECRET), ("passphrase", PASSPHRASE)];
    keys.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).expect("written"));
    let keys = Keys { key: KEY.into(), secret: SECRET.into(), passphrase: PASSPHRASE.into() };
    let exchange = live::exchange(folder, &[live::BITGET], keys);
    let file = |name: &str| format!("{name} = {{ file = {:?} }}", folder.join(name).display().to_string());
    let credentials = format!("credentials = {{ {}, {}, {} }}", file("key"), file("secret"), file("passphrase"));
    let (out, config) = (folder.join("out"), folder.join("tidegate.toml"));
    let rest = format!("[output]\ndirectory = {0:?}\n[capture]\ndirectory = {0:?}\n", out.display().to_string());
    let text = live::venue(&exchange, folder, live::BITGET, &credentials) + &rest;
    std::fs::write(&config, text).expect("written");

    let from_ms = now_ms() - 2_000;
    let mut command = Command::new(binary());
    command.args(["run", "--for", "5s", "--format", "json", "--config"]).arg(&config);
    let output = command.env("TIDEGATE_LOG", "trace").output().expect("tidegate starts");
    let (stdout, stderr) = (output.stdout, output.stderr);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&stderr));

    let mut places = vec![("stdout".to_owned(), stdout), ("stderr".to_owned(), stderr)];
    for entry in std::fs::read_dir(&out).expect("a folder").flatten().filter(|entry| entry.path().is_file()) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.ends_with(".tgcap") {
            places.push((format!("{name}, unpacked"), unpacked(&path)));
        }
        places.push((name, std::fs::read(&path).expect("bytes")));
    }
    let has = |name: &str, text: &str| {
        let found = |place: &&(String, Vec<u8>)| place.0.contains(name) && contains(&place.1, text);
        places.iter().find(found).is_some()
    };
    // The account was opened and read, and frames were captured: there was something to be leaked.
    assert!(has("account.jsonl", "positions") && has("unpacked", "BTCUSDT"), "{:?}", exchange.violations());
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
    exchange.stop();
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
