//! The audit log from one end to the other: a run leaves it, other programs check it.

use std::path::Path;

use tidegate_tests::{json, market, tamper, tidegate};

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Replays with an audit log in `log`.
fn replay(files: &[String], log: &Path, more: &[&str]) -> serde_json::Value {
    let (log, key) = (path(log), path(&log.with_extension("key")));
    let mut args = vec!["replay", "--format", "json", "--audit", &log, "--audit-key", &key, "--input"];
    args.extend(files.iter().map(String::as_str));
    args.extend(more);
    json(&args)
}

fn lines(log: &Path, more: &[&str]) -> Vec<serde_json::Value> {
    let log = path(log);
    let mut args = vec!["audit", "export", &log];
    args.extend(more);
    let output = tidegate(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_replay_leaves_a_log_that_others_can_check() {
    let (dir, files) = market(1, 60);
    let log = dir.path().join("audit");
    let summary = replay(&files, &log, &["--operator", "10s:trip:engine", "--operator", "12s:reset:engine"]);
    let audit = &summary["audit"];
    assert_eq!(audit["dropped"], 0);
    let report = json(&["audit", "verify", &path(&log), "--format", "json"]);
    assert_eq!((&report["whole"], &report["findings"]), (&true.into(), &serde_json::json!([])));
    assert_eq!((&report["size"], &report["root"]), (&audit["size"], &audit["root"]));
    let kinds = &report["kinds"];
    assert_eq!(kinds["decision"], summary["decisions"]);
    for (kind, count) in [("session", 1), ("configuration", 1), ("names", 2), ("end", 1)] {
        assert_eq!(kinds[kind], count, "{kind}");
    }
    // Decisions as the log tells them are the decisions of the run.
    let rows = lines(&log, &["--kinds", "decision,end"]);
    let (end, decisions) = rows.split_last().expect("rows");
    assert_eq!(end["body"]["decisions_digest"], summary["decisions_digest"]);
    assert_eq!(Some(decisions.len() as u64), summary["decisions"].as_u64());
    let manual = decisions.iter().find(|row| row["body"]["cause"] == "manual-trip").expect("the operator's");
    assert_eq!((&manual["body"]["scope"], &manual["body"]["name"]), (&"engine".into(), &"engine".into()));
    // One entry, proven to somebody who has the key, the proof and the entry.
    let (proof, entry) = (path(&dir.path().join("one.tlog-proof")), path(&dir.path().join("one.entry")));
    let index = manual["index"].to_string();
    json(&["audit", "prove", &path(&log), &index, "--out", &proof, "--format", "json"]);
    let key = path(&dir.path().join("log.vkey"));
    std::fs::copy(log.join("log.vkey"), &key).expect("copied");
    std::fs::rename(&log, dir.path().join("elsewhere")).expect("moved");
    let check = ["audit", "check-proof", &proof, "--entry", &entry, "--key", &key, "--format", "json"];
    let checked = json(&check);
    assert_eq!((&checked["proven"], checked["index"].to_string()), (&true.into(), index));
    let mut bytes = std::fs::read(&entry).expect("an entry");
    bytes[30] ^= 1;
    std::fs::write(&entry, bytes).expect("written");
    assert_eq!(tidegate(&check).status.code(), Some(1));
}

#[test]
fn the_root_is_as_reproducible_as_the_decisions() {
    let (dir, files) = market(2, 40);
    let root = |name: &str, more: &[&str]| {
        let log = dir.path().join(name);
        // One key: the checkpoint is then the same text.
        let key = dir.path().join("keys/log.key");
        let (log_text, key_text) = (path(&log), path(&key));
        let mut args = vec!["replay", "--format", "json", "--audit", &log_text, "--audit-key", &key_text, "--input"];
        args.extend(files.iter().map(String::as_str));
        args.extend(more);
        let summary = json(&args);
        let checkpoint = std::fs::read_to_string(log.join("checkpoint")).expect("signed");
        (summary["audit"]["root"].clone(), checkpoint)
    };
    let first = root("a", &[]);
    assert_eq!(root("b", &[]), first);
    assert_eq!(root("c", &["--topology", "staged"]), first);
    assert_eq!(root("d", &["--topology", "staged", "--wait", "park", "--speed", "40"]), first);
    assert_ne!(root("e", &["--operator", "5s:trip:engine"]).0, first.0);
}

#[test]
fn a_log_goes_on_and_a_changed_one_is_known() {
    let (dir, files) = market(3, 20);
    let log = dir.path().join("audit");
    replay(&files, &log, &[]);
    let old = dir.path().join("old.checkpoint");
    std::fs::copy(log.join("checkpoint"), &old).expect("copied");
    let second = replay(&files, &log, &[]);
    assert_eq!(second["audit"]["size"].as_u64(), second["audit"]["entries"].as_u64().map(|entries| entries * 2));
    let consistent = json(&["audit", "consistency", &path(&log), "--old", &path(&old), "--format", "json"]);
    assert_eq!(consistent["consistent"], true);
    // Somebody makes a decision look like another one.
    tamper(&log);
    let verify = tidegate(&["audit", "verify", &path(&log)]);
    let said = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert_eq!(verify.status.code(), Some(1), "{said}");
    assert!(said.contains("CHANGED") && said.contains("is not the one in the tree"), "{said}");
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let nothing = path(dir.path());
    let absent = path(&dir.path().join("absent.key"));
    let cases: [(&[&str], i32, &str); 5] = [
        (&["audit", "verify", &nothing], 65, "this is no log"),
        (&["audit", "check-proof", "x", "--entry", "y"], 65, "--key is needed"),
        (&["audit", "verify", &nothing, "--key", "nonsense"], 65, "expected name+id+key"),
        (&["audit", "prune", &nothing, "--signing-key", &absent, "--who", "me", "--why", "test"], 65, "No such file"),
        (&["audit", "keygen", "--out", "/proc/x.key"], 74, "/proc/x.key"),
    ];
    for (args, code, text) in cases {
        let output = tidegate(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    }
    // What is not built in says how to get it; where it is, it looks for the log like the others.
    let output = tidegate(&["audit", "verify-anchor", &nothing, "--rpc", "http://127.0.0.1:1", "--contract", "0x00"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let absent = output.status.code() == Some(78) && said.contains("--features anchor");
    assert!(absent || output.status.code() == Some(65) && said.contains("this is no log"), "{said}");
    // A key that others could read signs nothing.
    let key = path(&dir.path().join("log.key"));
    json(&["audit", "keygen", "--out", &key, "--name", "desk.example/audit", "--format", "json"]);
    assert_eq!(tidegate(&["audit", "keygen", "--out", &key]).status.code(), Some(74), "nothing is replaced");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
    let (market, files) = market(1, 2);
    let log = path(&market.path().join("audit"));
    let output = tidegate(&["replay", "--audit", &log, "--audit-key", &key, "--input", &files[0]]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
}

/// A disk that takes no more ends the replay with its reason; what was recorded until then is whole.
#[test]
fn a_replay_that_cannot_record_ends() {
    let (dir, files) = market(1, 60);
    let log = dir.path().join("audit");
    let program = tidegate_tests::binary().display().to_string();
    // No file may grow beyond 16 KiB; the program must not die of the signal that says so.
    let script = r#"trap '' XFSZ; ulimit -f 16; exec "$0" "$@""#;
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, &program, "replay", "--audit", &path(&log), "--input"]).args(&files);
    let output = command.env("NO_COLOR", "1").output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("the audit log") && said.contains("File too large"), "{said}");
}
