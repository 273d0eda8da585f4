//! `tidegate audit anchor` and its neighbours from end to end, on a chain on this machine. Needs the feature `anchor`.

#[path = "../../../engine/anchor/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{CHAIN, Chain, KEYS, Kept};
use serde_json::{Value, json};

fn tidegate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("audit").args(args).env("NO_COLOR", "1").current_dir(std::env::temp_dir());
    command.output().expect("tidegate starts")
}

/// What it prints as JSON, and the code it ends with.
fn json_of(args: &[&str]) -> (Value, i32) {
    let output = tidegate(&[args, &["--format", "json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|error| panic!("{args:?}: {error}: {errors}"));
    assert!(KEYS.iter().all(|key| !errors.contains(key)), "a key in {errors}");
    (document, output.status.code().expect("it ended by itself"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

#[test]
fn a_log_is_anchored_followed_entered_and_verified() {
    let Some(chain) = Chain::start(&["--block-time", "0.2"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (log, key) = (Kept::new(folder.path()), folder.path().join("eth.key"));
    log.grow(5);
    common::private(&key, &format!("0x{}\n", KEYS[0]));
    let purse = ["--rpc", &chain.url, "--key", text(&key)];
    let (made, code) = json_of(&[&["deploy-anchor"], &purse[..]].concat());
    assert_eq!((code, &made["chain"]), (0, &json!(CHAIN)), "{made}");
    let contract = made["contract"].as_str().expect("an address").to_owned();
    let place = ["--rpc", &chain.url, "--contract", &contract];
    let anchor = [&["anchor", text(&log.folder), "--poll", "20ms"], &purse[..], &["--contract", &contract]].concat();
    let wait = [&anchor[..], &["--wait", "--timeout", "40s"]].concat();
    let verify = [&["verify-anchor", text(&log.folder)], &place[..]].concat();

    let (none, code) = json_of(&verify);
    assert_eq!((code, &none["holds"], &none["confirmed"]), (3, &json!(true), &json!(0)), "{none}");

    // Submitted, and no other one beside it.
    let (sent, code) = json_of(&anchor);
    assert_eq!((code, &sent["newest"]["seq"], &sent["fresh"]), (0, &json!(1), &json!(true)), "{sent}");
    let (again, _) = json_of(&anchor);
    assert_eq!((&again["anchors"], &again["fresh"]), (&json!(1), &json!(false)), "{again}");

    // An engine has the log: it is in the journal only, and that is said.
    let held = log.hold();
    let (confirmed, code) = json_of(&wait);
    assert_eq!((code, &confirmed["newest"]["entry"]), (0, &Value::Null), "{confirmed}");
    assert!(confirmed["note"].as_str().is_some_and(|note| note.contains("an engine has the log")), "{confirmed}");
    drop(held);

    // Once it is free, an entry follows, and that entry is nothing to anchor.
    let (entered, code) = json_of(&wait);
    assert_eq!((code, &entered["newest"]["entry"], &entered["fresh"]), (0, &json!(5), &json!(false)), "{entered}");
    let waited = entered["newest"]["blocks_to_confirmed"].as_u64().expect("confirmed");
    assert!(waited >= 9, "k = 9, and the block that includes it is the first of them: {entered}");
    let (idle, _) = json_of(&wait);
    assert_eq!((&idle["anchors"], &idle["fresh"]), (&json!(1), &json!(false)), "{idle}");
    let exported = tidegate(&["export", text(&log.folder)]);
    assert!(String::from_utf8_lossy(&exported.stdout).contains(&contract), "the entry names the contract");
    assert_eq!(json_of(&["verify", text(&log.folder)]).1, 0);

    // New entries are.
    log.grow(2);
    let (second, code) = json_of(&wait);
    assert_eq!((code, &second["newest"]["seq"], &second["newest"]["size"]), (0, &json!(2), &json!(8)), "{second}");
    let (whole, code) = json_of(&verify);
    assert_eq!((code, &whole["holds"], &whole["confirmed"]), (0, &json!(true), &json!(8)), "{whole}");
    let table = tidegate(&verify);
    assert!(String::from_utf8_lossy(&table.stdout).contains("the log bears out every anchor"));

    // A log that was written anew under the same key passes its own check, and not the chain's.
    std::fs::remove_dir_all(&log.folder).expect("there");
    log.grow(20);
    assert_eq!(json_of(&["verify", text(&log.folder)]).1, 0);
    let (other, code) = json_of(&verify);
    assert_eq!((code, &other["holds"]), (1, &json!(false)), "{other}");
}

#[test]
fn what_cannot_be_is_said_and_has_a_code_of_its_own() {
    let Some(chain) = Chain::start(&[]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (log, key) = (Kept::new(folder.path()), folder.path().join("eth.key"));
    log.grow(1);
    let anywhere = format!("0x{}", "11".repeat(20));
    let run = |rpc: &str, contract: &str| {
        let args = ["anchor", text(&log.folder), "--rpc", rpc, "--contract", contract, "--key", text(&key)];
        let output = tidegate(&args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let says = |(code, said): (Option<i32>, String), expected: i32, part: &str| {
        assert!(code == Some(expected) && said.contains(part), "{code:?}: {said}");
    };
    says(run(&chain.url, &anywhere), 65, "eth.key");
    std::fs::write(&key, KEYS[1]).expect("room");
    says(run(&chain.url, &anywhere), 65, "others may read it");
    std::fs::remove_file(&key).expect("there");
    common::private(&key, KEYS[1]);
    says(run(&chain.url, &anywhere), 65, "there is no contract");
    says(run(&chain.url, "0x12"), 65, "40 hex digits");
    says(run("ftp://ada:secret@node.example/", &anywhere), 65, "http://");
    let dead = run("http://ada:secret@127.0.0.1:1/v3/secret", &anywhere);
    assert!(!dead.1.contains("secret"), "{}", dead.1);
    says(dead, 74, "http://127.0.0.1:1: asking for the chain's number: no answer");
    // Somebody else's contract.
    let other = folder.path().join("other.key");
    common::private(&other, KEYS[0]);
    let (made, _) = json_of(&["deploy-anchor", "--rpc", &chain.url, "--key", text(&other)]);
    says(run(&chain.url, made["contract"].as_str().expect("an address")), 65, "use the operator's key");
}
