//! Frames of OKX, Bybit, Bitget and Deribit from the venues' documents, their clients and old captures: every line is
//! an event or refused for the reason given here, and all readers agree on it.

mod common;

use std::collections::BTreeMap;

use common::any::Any;
use common::differential::differential;
use tidegate_feed::venues::Decode;
use tidegate_feed::venues::survey::{Surveyor, Surveys};
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
    read(&mut Any::new(&registry(venue, lines), venue), lines)
}

/// Adds up the outcomes of a venue.
fn add(all: &mut BTreeMap<Venue, Outcome>, venue: Venue, outcome: Outcome) {
    let sum = all.entry(venue).or_default();
    sum.events += outcome.events;
    sum.fallbacks += outcome.fallbacks;
    outcome.refused.into_iter().for_each(|(reason, n)| *sum.refused.entry(reason).or_default() += n);
}

fn outcome<const N: usize>(events: usize, refused: [(Reason, usize); N], fallbacks: u64) -> Outcome {
    Outcome { events, refused: refused.into(), fallbacks }
}

const VENUES: [(&str, Venue); 4] =
    [("okx", Venue::Okx), ("bybit", Venue::Bybit), ("bitget", Venue::BitgetUsdt), ("deribit", Venue::Deribit)];

#[test]
fn documented_frames_are_events_or_refused_by_name() {
    use Reason::{Control, UnknownMessage, UnknownSymbol, UnusedStream};
    let Some(folder) = common::venues() else { return };
    let mut all = BTreeMap::new();
    for (prefix, venue) in VENUES {
        for path in common::files(&folder.join("frames"), prefix) {
            let text = std::fs::read_to_string(&path).expect("text");
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            add(&mut all, venue, read_as(venue, &lines));
        }
    }
    let expected = [
        // The two that nothing is known of are books without the message around them: examples of checksums.
        (Venue::Okx, outcome(45, [(Control, 21), (UnusedStream, 4), (UnknownMessage, 2)], 0)),
        (Venue::Bybit, outcome(6, [(Control, 37), (UnusedStream, 7)], 0)),
        (Venue::BitgetUsdt, outcome(75, [(Control, 69), (UnusedStream, 19)], 0)),
        // The name of a combination of options is longer than any symbol here.
        (Venue::Deribit, outcome(65, [(Control, 22), (UnusedStream, 2), (UnknownSymbol, 1)], 0)),
    ];
    assert_eq!(all, expected.into());
}

/// Frames of the venues that another project collected, by venue. `message` gives the text and whose it is.
fn collected(file: &str, message: impl Fn(&serde_json::Value) -> (String, String)) -> Option<BTreeMap<Venue, Outcome>> {
    let text = std::fs::read_to_string(common::data()?.join(file)).expect("text");
    let (mut cases, mut all) = (BTreeMap::<_, Vec<String>>::new(), BTreeMap::new());
    for line in text.lines() {
        let (case, frame) = message(&serde_json::from_str(line).expect("JSON"));
        let known =
            VENUES.iter().find(|(name, _)| case.starts_with(name) || case.replace("okex", "okx").starts_with(name));
        let Some((_, venue)) = known else { continue };
        // The protocols before version 5 of OKX and before version 1 of Bitget named tables; Bybit's categories share
        // their symbols, so each case has a grid of its own.
        let older = frame.contains(r#""table":"#);
        cases.entry((*venue, case, older)).or_default().push(frame);
    }
    for ((venue, case, older), lines) in cases {
        let outcome = read_as(venue, &lines);
        let unknown = outcome.refused.get(&Reason::UnknownMessage).copied().unwrap_or(0);
        assert_eq!(unknown, if older { lines.len() } else { 0 }, "{case}: {lines:?}");
        add(&mut all, venue, outcome);
    }
    Some(all)
}

#[test]
fn frames_that_a_parser_is_tested_with() {
    use Reason::{Control, OneSided, UnknownMessage, UnusedStream};
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = collected("crypto_msg_parser/frames.jsonl", |line| {
        (format!("{} {} {}", text(&line["venue"]), text(&line["kind"]), text(&line["case"])), text(&line["raw"]))
    });
    let Some(all) = all else { return };
    let expected: BTreeMap<Venue, Outcome> = [
        (Venue::Okx, outcome(29, [(Control, 12), (UnusedStream, 6), (OneSided, 2), (UnknownMessage, 17)], 0)),
        // All of version 2.
        (Venue::Bybit, outcome(0, [(Control, 6), (UnusedStream, 18)], 0)),
        // One frame was edited by hand and has a space in it, which no scanner reads: each comparison falls back twice.
        (Venue::BitgetUsdt, outcome(11, [(Control, 5), (UnusedStream, 7), (UnknownMessage, 13)], 2)),
        (Venue::Deribit, outcome(16, [(Control, 7), (UnusedStream, 3)], 0)),
    ]
    .into();
    assert_eq!(all, expected);
}

#[test]
fn frames_that_a_mapper_is_tested_with() {
    use Reason::{Control, OneSided, UnknownMessage, UnknownSymbol, UnusedStream};
    let all = collected("tardis_node/mapper_frames.jsonl", |line| {
        let case = line["case"].as_str().unwrap_or_default();
        let message = &line["msg"];
        // Some are wrapped with the time they were received.
        let frame = message.get("message").unwrap_or(message);
        (case.strip_prefix("map ").unwrap_or(case).to_owned(), frame.to_string())
    });
    let Some(all) = all else { return };
    let expected: BTreeMap<Venue, Outcome> = [
        (Venue::Okx, outcome(29, [(Control, 2), (UnusedStream, 18), (OneSided, 1), (UnknownMessage, 44)], 0)),
        (Venue::Bybit, outcome(20, [(Control, 1), (UnusedStream, 47), (OneSided, 3)], 0)),
        (Venue::BitgetUsdt, outcome(22, [(Control, 5), (UnusedStream, 4), (OneSided, 1)], 0)),
        // Written again with sorted keys, levels come before the name of the instrument: no scanner reads that.
        (Venue::Deribit, outcome(17, [(UnknownSymbol, 1)], 8)),
    ]
    .into();
    assert_eq!(all, expected);
}
