//! House rules, as a test: what a review would otherwise have to say again and again.

use std::path::{Path, PathBuf};

use tidegate_tests::root;

/// Longest module, lines. Tests and benches may be a little longer than code.
const MODULE_LINES: usize = 510;
/// Longest line, characters.
const LINE_CHARACTERS: usize = 120;
/// Longest function, lines: it should fit on a screen.
const FUNCTION_LINES: usize = 75;

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["engine", "tools", "bench", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the tree was found");
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            files.push((path, text));
        }
    }
}

fn complaints(check: impl Fn(&Path, &str) -> Vec<String>) {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| {
            let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
            check(path, text).into_iter().map(move |complaint| format!("{name}: {complaint}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{} complaints:\n{}", found.len(), found.join("\n"));
}

#[test]
fn modules_are_short_and_say_what_they_are() {
    complaints(|_, text| {
        let lines = text.lines().count();
        let long = (lines > MODULE_LINES).then(|| format!("{lines} lines"));
        let silent =
            (!text.starts_with("//!") && !text.contains("\n//!")).then(|| "no module documentation".to_owned());
        long.into_iter().chain(silent).collect()
    });
}

#[test]
fn lines_are_short() {
    complaints(|_, text| {
        // Addresses, rows of documentation tables and lines with text in quotes cannot be broken.
        let breakable = |line: &str| !line.contains("https://") && !line.contains("//! |") && !line.contains('"');
        let long = |line: &&str| line.chars().count() > LINE_CHARACTERS && breakable(line);
        // The feature table holds a definition a line, as a table should.
        let table = text.contains("macro_rules! features");
        text.lines().filter(long).filter(|_| !table).map(|line| format!("long line: {}", &line[..60])).collect()
    });
}

#[test]
fn functions_fit_on_a_screen() {
    complaints(|_, text| {
        let mut found = Vec::new();
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts =
                line.trim_start().starts_with("fn ") || line.contains(" fn ") && line.trim_end().ends_with('{');
            match &open {
                None if starts && line.trim_end().ends_with('{') && !line.trim_start().starts_with("//") => {
                    open = Some((number, indent, line.trim().to_owned()));
                }
                Some((start, depth, name)) if indent == *depth && line.trim() == "}" => {
                    let length = number - start + 1;
                    if length > FUNCTION_LINES {
                        found.push(format!("{length} lines: {name}"));
                    }
                    open = None;
                }
                _ => {}
            }
        }
        found
    });
}

#[test]
fn nothing_is_left_behind() {
    // Written in two halves, so that this file does not complain about itself.
    let banned = [
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("db", "g!("),
        ("FIX", "ME"),
        ("XX", "X:"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
    ];
    complaints(|_, text| {
        let found = banned.iter().map(|(a, b)| format!("{a}{b}")).filter(|word| text.contains(word.as_str()));
        found.map(|word| format!("contains {word}")).collect()
    });
}

#[test]
fn rooms_use_only_the_floors_below() {
    let allowed: [(&str, &[&str]); 10] = [
        ("wire", &[]),
        ("feed", &["wire"]),
        ("market", &["wire"]),
        ("sidecar", &["wire", "market"]),
        ("guard", &["wire", "market"]),
        ("trade", &["wire", "market", "guard"]),
        ("record", &["wire"]),
        ("anchor", &["wire", "record"]),
        ("serve", &["wire", "record"]),
        ("runtime", &["wire", "feed", "market", "sidecar", "guard", "trade", "record", "serve"]),
    ];
    for (room, below) in allowed {
        let manifest =
            std::fs::read_to_string(root().join("engine").join(room).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("tidegate-")) {
            let used = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(below.contains(&used), "{room} may not use {used}");
        }
    }
}

#[test]
fn controls_name_tests_that_are_there() {
    let path = root().join("engine/COMPLIANCE.md");
    let text = std::fs::read_to_string(&path).expect("the table of controls");
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| requirement |"));
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit(" | ").next().expect("a last column");
        for test in tests.split('`').skip(1).step_by(2) {
            named += 1;
            let at = sources.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{test} is in no source: {row}"));
            let head: String = sources[..at].chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect();
            let attributes = head.rsplit('}').next().unwrap_or_default();
            assert!(attributes.contains("#[test]") && !attributes.contains("#[ignore"), "{test} is no test that runs");
        }
    }
    assert!(named > 30, "{named} tests are named");
    let claims = ["is compliant", "are compliant", "fully compliant", "ensures compliance", "guarantees compliance"];
    let said = claims.iter().find(|claim| text.contains(**claim));
    assert_eq!(said, None, "controls are implemented, compliance is not ours to grant");
}
