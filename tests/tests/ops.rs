//! What is shipped for Prometheus and Grafana names metrics and labels that there are.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tidegate_serve::metrics::{FAMILIES, Family, Kind};
use tidegate_tests::root;

/// The metric of a name as it is in the text, with what the format adds to it.
fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| match family.kind {
        Kind::Counter => name.strip_suffix("_total") == Some(family.name),
        Kind::Gauge => name == family.name,
        Kind::Histogram => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(family.name)),
    })
}

/// Metrics that an expression names, each with its label matchers.
fn metrics(expr: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(at) = rest.find("tidegate_") {
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let close = inner.find('}').expect("a matcher ends");
            for matcher in inner[..close].split(',') {
                labels.push(matcher.split(['=', '!', '~']).next().unwrap_or_default().trim().to_owned());
            }
        }
        found.push((name, labels));
    }
    found
}

fn check(place: &str, expr: &str, used: &mut BTreeSet<&'static str>) {
    for (name, labels) in metrics(expr) {
        let family = family(&name).unwrap_or_else(|| panic!("{place}: there is no metric {name}: {expr}"));
        used.insert(family.name);
        for label in labels {
            let own = family.labels.contains(&label.as_str()) || ["instance", "job", "le"].contains(&label.as_str());
            assert!(own, "{place}: {name} has no label {label}: {expr}");
        }
    }
}

/// Values of a key anywhere in a document.
fn values<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (true, Some(text)) = (name == key, value.as_str()) {
                    found.push(text);
                }
                values(value, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| values(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_grafana_dashboard_asks_for_metrics_that_there_are() {
    let path = root().join("tools/ops/grafana/tidegate.json");
    let document: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    let (mut exprs, mut used) = (Vec::new(), BTreeSet::new());
    values(&document, "expr", &mut exprs);
    assert!(exprs.len() > 30, "{}", exprs.len());
    exprs.iter().for_each(|expr| check("the dashboard", expr, &mut used));
    let panels = document["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        let end = place["x"].as_u64().expect("x") + place["w"].as_u64().expect("w");
        assert!(end <= 24, "{}: {place}", panel["title"]);
    }
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn the_alert_rules_ask_for_metrics_that_there_are() {
    let path = root().join("tools/ops/prometheus/rules.yml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let mut used = BTreeSet::new();
    // Everything but what people read.
    let exprs = text.lines().filter(|line| !["summary:", "action:", "#"].iter().any(|word| line.contains(word)));
    check("the rules", &exprs.collect::<Vec<_>>().join("\n"), &mut used);
    assert!(used.len() > 10, "{used:?}");
    let alerts = text.matches("- alert:").count();
    for what in ["expr:", "severity:", "summary:", "action:"] {
        assert_eq!(text.matches(what).count(), alerts, "every alert has its {what}");
    }
    // Prometheus's own tool, where it is installed.
    match Command::new("promtool").arg("check").arg("rules").arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("promtool is not installed: the syntax of rules was not checked"),
    }
}
