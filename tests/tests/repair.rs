//! A frame that was damaged on its way: its book is noticed to be wrong, and the next snapshot heals it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use tidegate_tests::{json, market, tidegate};

/// Depth frames between the venue's snapshot and the damage.
const BEFORE: usize = 200;
/// Depth frames between the damage and the answer that heals it.
const WAIT: usize = 30;
/// Depth frames by which the answer is older than the stream when it comes.
const LATE: usize = 5;

/// A book by price in hundredths, with quantities as they were written.
#[derive(Clone, Default)]
struct Sides([BTreeMap<i64, String>; 2]);

impl Sides {
    fn apply(&mut self, message: &Value, keys: [&str; 2]) {
        for (side, key) in self.0.iter_mut().zip(keys) {
            for level in message[key].as_array().expect("levels") {
                let price = level[0].as_str().expect("a price").replace('.', "").parse().expect("digits");
                let qty = level[1].as_str().expect("a quantity");
                if qty.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
                    side.remove(&price);
                } else {
                    side.insert(price, qty.to_owned());
                }
            }
        }
    }

    fn snapshot(&self, id: &Value) -> String {
        let line = |(price, qty): (&i64, &String)| format!("[\"{}.{:02}\",\"{qty}\"]", price / 100, price % 100);
        let bids: Vec<String> = self.0[0].iter().rev().map(line).collect();
        let asks: Vec<String> = self.0[1].iter().map(line).collect();
        format!("{{\"lastUpdateId\":{id},\"bids\":[{}],\"asks\":[{}]}}", bids.join(","), asks.join(","))
    }
}

/// Copies a capture with one bid far above the market in one of its depth frames, and an answer to a request after it.
fn damage(from: &str, to: &Path) {
    let mut text = String::new();
    let file = std::fs::File::open(from).expect("a capture");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("lines");
    let (mut book, mut seen, mut out) = (None::<Sides>, 0, String::new());
    let mut answers = BTreeMap::new();
    for line in text.lines() {
        let (stamp, frame) = line.split_once(' ').expect("a stamp");
        let message: Value = serde_json::from_str(frame).expect("a frame");
        let mut line = line.to_owned();
        if message["lastUpdateId"].is_u64() && book.is_none() {
            let mut sides = Sides::default();
            sides.apply(&message, ["bids", "asks"]);
            book = Some(sides);
        } else if let (Some(sides), Some("depthUpdate")) = (&mut book, message["data"]["e"].as_str()) {
            sides.apply(&message["data"], ["b", "a"]);
            seen += 1;
            if seen == BEFORE {
                line = line.replace("\"b\":[", "\"b\":[[\"99999.00\",\"1.000\"],");
            }
            answers.insert(seen, sides.snapshot(&message["data"]["u"]));
            answers.remove(&seen.saturating_sub(LATE + 1));
            if seen == BEFORE + WAIT {
                line = format!("{line}\n{stamp} {}", answers[&(seen - LATE)]);
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    assert!(seen > BEFORE + WAIT, "only {seen} depth frames");
    std::fs::write(to, out).expect("written");
}

#[test]
fn a_damaged_frame_is_noticed_and_the_next_snapshot_heals_its_book() {
    let (dir, files) = market(11, 25);
    let from = files.iter().find(|file| file.contains("usdm_btcusdt")).expect("a file");
    let path = dir.path().join("usdm_btcusdt_damaged.txt");
    damage(from, &path);
    let path = path.display().to_string();
    let whole = json(&["replay", "--input", from, "--format", "json"]);
    assert_eq!((&whole["crossed"], &whole["instruments"][0]["quality"]), (&0.into(), &"good".into()));
    let replay =
        |topology| json(&["replay", "--input", &path, "--check-bbo", "--topology", topology, "--format", "json"]);
    let fused = replay("fused");
    assert_eq!((&fused["crossed"], &fused["gaps"], &fused["bbo_mismatch"]), (&1.into(), &whole["gaps"], &0.into()));
    assert_eq!((&fused["instruments"][0]["quality"], &fused["healed"]), (&"good".into(), &1.into()));
    for side in ["bid_levels", "ask_levels"] {
        assert_eq!(fused["instruments"][0][side], whole["instruments"][0][side], "{side}");
    }
    assert!(fused["trips_by_rule"]["book_integrity"].as_u64() > Some(0), "{}", fused["trips_by_rule"]);
    let staged = replay("staged");
    for key in ["features_digest", "decisions_digest"] {
        assert_eq!(fused[key], staged[key], "{key}");
    }
    let log = tidegate(&["replay", "--input", &path, "--log-format", "json"]);
    assert!(String::from_utf8_lossy(&log.stderr).contains("corrupt: crossed"));
}
