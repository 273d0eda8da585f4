//! A bounded, seeded mutation run: what the fuzz target does for minutes, plain `cargo test` does for two seconds
//! everywhere, with the same oracle and the same seeds.

mod common;

use common::any::Any;
use common::differential::differential;
use common::frames::{golden, registry};
use common::random::Random;
use common::streams::streams;
use tidegate_feed::venues::binance::{Decoder, MARKETS};
use tidegate_wire::{InstrumentId, Venue};

/// Mutated frames in a run; about two seconds of an unoptimised build.
const FRAMES: usize = 400_000;

/// Pieces that frames are made of: inserting one keeps more of the grammar intact than a random byte would.
const PIECES: [&str; 40] = [
    "\"",
    ",",
    ":",
    "[",
    "]",
    "{",
    "}",
    "}}",
    "\":",
    ",\"",
    "\",\"",
    "[[",
    "]]",
    "[]",
    "null",
    "true",
    "\"e\":",
    "\"E\":1,",
    "\"T\":1,",
    "\"s\":\"ABCUSDT\",",
    "\"pu\":7,",
    "\"data\":",
    "\"lastUpdateId\":5,",
    "\"X\":\"MARKET\",",
    "\"new\":\"x\",",
    "{\"stream\":\"abcusdt@depth\",\"data\":",
    // Of the other venues.
    "\"snapshot\"",
    "\"update\"",
    "\"delta\"",
    "\"change\",",
    "[\"delete\",",
    "-",
    "\"seqId\":1,",
    "\"prevSeqId\":-1,",
    "\"checksum\":-0,",
    "\"checksum\":4294967296,",
    "\"pseq\":\"0\",",
    "\"u\":1,",
    "\"prev_change_id\":null,",
    "\"code\":0,",
];
/// Numbers at the edges of what is read: of vectors, of 2^49, of 2^53, of 64 bits.
const NUMBERS: [&str; 18] = [
    "0",
    "00",
    "0.",
    ".0",
    "-1",
    "1e5",
    "9007199254740991",
    "9007199254740992",
    "999999999999999",
    "9999999999999999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "0.000000000000000000",
    "01",
    "-0",
    "562949953421311",
    "56294995342131.15",
];

/// A random position and the length of a run from it.
fn run(random: &mut Random, length: usize) -> (usize, usize) {
    let from = random.below(length + 1);
    (from, random.below((length - from).min(24) + 1))
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let (from, count) = run(random, bytes.len());
    let piece = |bytes: &mut Vec<u8>, piece: &[u8], replaced: usize| {
        bytes.splice(from..from + replaced, piece.iter().copied());
    };
    match random.below(7) {
        0 => piece(bytes, &[random.next() as u8], usize::from(count > 0)),
        1 => piece(bytes, random.of(&PIECES).as_bytes(), 0),
        2 => piece(bytes, &[], count),
        3 => {
            let copy = bytes[from..from + count].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        4 => {
            let (there, length) = run(random, other.len());
            piece(bytes, &other[there..there + length], count);
        }
        5 => replace_number(random, bytes, from),
        _ => bytes.truncate(from.max(1)),
    }
}

/// Puts another number in place of the next one.
fn replace_number(random: &mut Random, bytes: &mut Vec<u8>, from: usize) {
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let numeric = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let end = bytes[start..].iter().position(|byte| !numeric(byte)).map_or(bytes.len(), |at| start + at);
    bytes.splice(start..end, random.of(&NUMBERS).bytes());
}

#[test]
fn mutated_frames_never_panic_and_never_divide_the_readers() {
    let registry = registry();
    let mut decoders = MARKETS.map(|venue| Decoder::new(&registry, venue));
    let seeds: Vec<(Venue, String)> =
        golden().iter().flat_map(|golden| golden.forms().into_iter().map(|form| (golden.venue, form))).collect();
    let mut random = Random(20_260_925);
    let mut read = 0;
    for _ in 0..FRAMES {
        let ((venue, seed), (_, other)) = (random.of(&seeds), random.of(&seeds));
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..=random.below(3) {
            mutate(&mut random, &mut bytes, other.as_bytes());
        }
        let decoder = &mut decoders[*venue as usize];
        read += usize::from(differential(decoder, &bytes, InstrumentId(2)).is_ok());
    }
    // Mutations that only ever break frames would test one line of code.
    assert!(read > FRAMES / 50, "only {read} mutated frames still said something");
}

#[test]
fn mutated_frames_of_streams_never_panic_and_never_divide_the_readers() {
    let registry = common::streams::registry();
    let seeds = streams();
    let mut decoders: Vec<(Venue, Any)> = Vec::new();
    for seed in &seeds {
        if !decoders.iter().any(|(venue, _)| *venue == seed.venue) {
            decoders.push((seed.venue, Any::new(&registry, seed.venue)));
        }
    }
    let mut random = Random(20_261_121);
    let mut read = 0;
    for _ in 0..FRAMES {
        let (seed, other) = (random.of(&seeds), random.of(&seeds));
        let mut bytes = seed.frame.as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            mutate(&mut random, &mut bytes, other.frame.as_bytes());
        }
        let decoder = decoders.iter_mut().find(|(venue, _)| *venue == seed.venue);
        let (_, decoder) = decoder.expect("a decoder a venue");
        read += usize::from(differential(decoder, &bytes, InstrumentId::NONE).is_ok());
    }
    assert!(read > FRAMES / 50, "only {read} mutated frames still said something");
}
