//! Frames of OKX, Bybit, Bitget and Deribit from the venues' documents, their clients and old captures: every line is
//! an event or refused for the reason given here, and all readers agree on it.

mod common;

use std::collections::BTreeMap;

use common::differential::differential;
use tidegate_feed::venues::survey::{Surveyor, Surveys};
use tidegate_feed::venues::{Decode, bitget, bybit, deribit, okx};
use tidegate_feed::{FrameMut, PADDING, Reason};
use tidegate_wire::{InstrumentId, Registry, Venue};

/// The frame in a buffer that may be read past its end, shown to `see`.
fn padded<T>(line: &str, see: impl FnOnce(&mut FrameMut<'_>) -> T) -> T {
    let mut bytes = line.as_bytes().to_vec();
    bytes.resize(line.len() + PADDING, 0);
    see(&mut FrameMut::new(&mut bytes, line.len()).expect("padding"))
}

/// All instruments of some frames, on the grid the frames themselves have.
fn registry(venue: Venue, lines: &[String]) -> Registry {
    let (mut surveyor, mut surveys, mut registry) = (Surveyor::default(), Surveys::new(), Registry::new());
    lines.iter().for_each(|line| assert!(padded(line, |frame| surveyor.see_of(venue, frame, &mut surveys))));
    for (venue, survey) in &surveys {
        survey.instruments(*venue).for_each(|instrument| _ = registry.add(instrument).expect("a good instrument"));
    }
    registry
}

/// What became of some lines: events, and refusals by reason.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: usize,
    refused: BTreeMap<Reason, usize>,
    fallbacks: u64,
}

fn read(decoder: &mut impl Decode, lines: &[String]) -> Outcome {
    let mut outcome = Outcome::default();
    for line in lines {
        match differential(decoder, line.as_bytes(), InstrumentId::NONE) {
            Ok(_) => outcome.events += 1,
            Err(reason) => *outcome.refused.entry(reason).or_default() += 1,
        }
    }
    outcome.fallbacks = decoder.fallbacks();
    outcome
}

/// Lets the venue's decoder read all lines, on the grid they have together.
fn read_as(venue: Venue, lines: &[String]) -> Outcome {
    let registry = registry(venue, lines);
    match venue {
        Venue::Okx => read(&mut okx::Decoder::new(&registry), lines),
        Venue::Deribit => read(&mut deribit::Decoder::new(&registry), lines),
        Venue::Bybit | Venue::BybitSpot | Venue::BybitInverse => {
            read(&mut bybit::Decoder::new(&registry, venue), lines)
        }
        _ => read(&mut bitget::Decoder::new(&registry), lines),
    }
}

#[test]
fn documented_frames() {
    let Some(folder) = common::venues() else { return };
    for (prefix, venue) in
        [("okx", Venue::Okx), ("bybit", Venue::Bybit), ("bitget", Venue::BitgetUsdt), ("deribit", Venue::Deribit)]
    {
        for path in common::files(&folder.join("frames"), prefix) {
            let text = std::fs::read_to_string(&path).expect("text");
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            println!("{} {:?}", path.file_stem().unwrap().to_string_lossy(), read_as(venue, &lines));
        }
    }
}

#[test]
fn frames_of_other_projects() {
    let Some(folder) = common::data() else { return };
    let text = std::fs::read_to_string(folder.join("crypto_msg_parser/frames.jsonl")).expect("text");
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let venue = value["venue"].as_str().unwrap();
        if ["okx", "bybit", "bitget", "deribit", "okex"].contains(&venue) {
            all.entry(format!("{venue} {} {}", value["kind"].as_str().unwrap(), value["case"].as_str().unwrap()))
                .or_default()
                .push(value["raw"].as_str().unwrap().to_owned());
        }
    }
    let text = std::fs::read_to_string(folder.join("tardis_node/mapper_frames.jsonl")).expect("text");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let case = value["case"].as_str().unwrap();
        if ["okex", "bybit", "bitget", "deribit"].iter().any(|v| case.contains(v)) {
            all.entry(format!("T {case}")).or_default().push(value["msg"].to_string());
        }
    }
    for (name, lines) in &all {
        let venue = match name {
            n if n.contains("okx") || n.contains("okex") => Venue::Okx,
            n if n.contains("bybit") => Venue::Bybit,
            n if n.contains("bitget") => Venue::BitgetUsdt,
            _ => Venue::Deribit,
        };
        let o = read_as(venue, lines);
        println!("{name} {o:?}");
        if o.refused.keys().any(|r| !r.is_harmless()) {
            for line in lines {
                let one = read_as(venue, &[line.clone()]);
                if one.refused.keys().any(|r| !r.is_harmless()) {
                    println!("     {:?} {}", one.refused, &line[..line.len().min(230)]);
                }
            }
        }
    }
}
