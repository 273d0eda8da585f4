//! Frames that are wrong: every reason has a frame, and no damage makes a reader panic or two readers disagree.

mod common;

use common::differential::{Reading, differential};
use common::frames::{golden, registry};
use strum::VariantArray as _;
use tidegate_feed::venues::LEVELS_MAX;
use tidegate_feed::venues::binance::Decoder;
use tidegate_feed::{FrameMut, Reason};
use tidegate_wire::{InstrumentId, Venue};

/// Reads a frame of the USD-M market whose snapshots belong to `ABCUSDT`.
fn usdm(frame: &str) -> Result<Reading, Reason> {
    let mut decoder = Decoder::new(&registry(), Venue::BinanceUsdm);
    differential(&mut decoder, frame.as_bytes(), InstrumentId(2))
}

/// The golden USD-M depth frame with one piece replaced.
fn depth_with(piece: &str, by: &str) -> String {
    let golden = golden().into_iter().find(|golden| golden.name == "usdm depth").expect("golden");
    assert!(golden.bare.contains(piece), "{piece}");
    golden.bare.replacen(piece, by, 1)
}

#[test]
fn every_reason_has_a_frame() {
    let level = r#"["101.2","1"],"#.repeat(LEVELS_MAX + 1);
    let crowded = format!(r#""b":[{}]"#, level.trim_end_matches(','));
    let frames = [
        (Reason::NotJson, String::new()),
        (Reason::NotJson, "{".into()),
        (Reason::NotJson, depth_with("]}", "]")),
        (Reason::UnknownMessage, "[]".into()),
        (Reason::UnknownMessage, "7".into()),
        (Reason::UnknownMessage, "{}".into()),
        (Reason::UnknownMessage, r#"{"e":"somethingNew","s":"ABCUSDT"}"#.into()),
        (Reason::UnknownMessage, r#"{"stream":"!markPrice@arr","data":[]}"#.into()),
        (Reason::BadField, depth_with(r#""U":9000000000100,"#, "")),
        (Reason::BadField, depth_with(r#""U":9000000000100"#, r#""U":"9000000000100""#)),
        (Reason::BadField, depth_with(r#""U":9000000000100"#, r#""U":-1"#)),
        (Reason::BadField, depth_with(r#""U":9000000000100"#, r#""U":1.5"#)),
        (Reason::BadField, depth_with(r#""u":9"#, r#""u":9,"u":9"#)),
        (Reason::BadField, depth_with(r#"["101.40","12.345"]"#, r#"["101.40","12.345","1"]"#)),
        (Reason::BadField, depth_with(r#"["101.40","12.345"]"#, r#"["101.40",12.345]"#)),
        (Reason::BadDecimal, depth_with("101.40", "")),
        (Reason::BadDecimal, depth_with("101.40", "-1")),
        (Reason::BadDecimal, depth_with("101.40", "1e2")),
        (Reason::BadDecimal, depth_with("101.40", "1.")),
        (Reason::BadDecimal, depth_with("101.40", "1.0.0")),
        (Reason::OffGrid, depth_with("101.40", "101.41")),
        (Reason::OffGrid, depth_with("12.345", "12.3450001")),
        (Reason::Overflow, depth_with("12.345", "9007199254740.992")),
        (Reason::Overflow, depth_with("12.345", "99999999999999999999")),
        (Reason::Overflow, depth_with(r#""E":1790000001000"#, r#""E":9223372036854775807"#)),
        (Reason::UnknownSymbol, depth_with("ABCUSDT", "ABDUSDT")),
        (Reason::UnknownSymbol, depth_with("ABCUSDT", "ABCUSDT\\u0000")),
        (Reason::UnknownSymbol, depth_with("ABCUSDT", &"A".repeat(25))),
        (Reason::TooManyLevels, depth_with(r#""b":[["101.2","0.500"],["101.3","0"]]"#, &crowded)),
        (Reason::Control, r#"{"result":null,"id":1}"#.into()),
        (Reason::Control, r#"{"code":2,"msg":"Invalid request"}"#.into()),
        (Reason::Control, r#"{"error":{"code":2,"msg":"no"},"id":4}"#.into()),
        (Reason::UnusedStream, r#"{"e":"kline","E":1,"s":"ABCUSDT","k":{"t":1}}"#.into()),
        (Reason::UnusedStream, r#"{"e":"forceOrder","E":1,"o":{"s":"ABCUSDT"}}"#.into()),
        (Reason::Control, r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#.into()),
    ];
    for (reason, frame) in &frames {
        assert_eq!(usdm(frame).map(|read| read.message), Err(*reason), "{}", &frame[..frame.len().min(200)]);
    }
    let mut decoder = Decoder::new(&registry(), Venue::BinanceSpot);
    let unnamed = differential(&mut decoder, br#"{"lastUpdateId":1,"bids":[],"asks":[]}"#, InstrumentId::NONE);
    assert_eq!(unnamed.err(), Some(Reason::UnnamedSnapshot));
    let named: Vec<Reason> = frames.iter().map(|(reason, _)| *reason).chain([Reason::UnnamedSnapshot]).collect();
    // Binance writes no quote of one side.
    let ours = |reason: &&Reason| **reason != Reason::OneSided;
    assert!(Reason::VARIANTS.iter().filter(ours).all(|reason| named.contains(reason)));
}

#[test]
fn trades_outside_the_book_and_trades_of_nothing_are_no_trades() {
    let golden = golden().into_iter().find(|golden| golden.name == "usdm trade").expect("golden");
    let insurance = golden.bare.replace("MARKET", "INSURANCE_FUND");
    assert_eq!(usdm(&insurance).err(), Some(Reason::UnusedStream));
    assert_eq!(usdm(&golden.bare.replace("0.006", "0.000")).err(), Some(Reason::BadField));
    assert_eq!(usdm(&golden.bare.replace("false", "0")).err(), Some(Reason::BadField));
}

#[test]
fn the_largest_frames_fit() {
    let level = r#"["101.2","1"],"#.repeat(LEVELS_MAX);
    let side = level.trim_end_matches(',');
    let snapshot = format!(r#"{{"lastUpdateId":1,"bids":[{side}],"asks":[{side}]}}"#);
    let read = usdm(&snapshot).expect("as many levels as there may be");
    assert_eq!((read.bids.len(), read.asks.len()), (LEVELS_MAX, LEVELS_MAX));
    let largest = depth_with("12.345", "562949953421.311");
    assert_eq!(usdm(&largest).expect("below 2^49").asks[0].qty.raw(), (1 << 49) - 1);
}

#[test]
fn keys_that_are_no_json_are_refused_by_every_reader() {
    // One and two byte keys have a fast way through the scanner: it must not be a hole in the grammar.
    for key in ["\u{1}", "\u{1}a", "a\u{1}", "\\", "a\\", "a\"", "\"a", "\u{7f}", "é", "\t"] {
        let frame = depth_with(r#""T":"#, &format!("\"{key}\":"));
        let _ = usdm(&frame);
    }
    for key in [&b"\xff"[..], b"\xc3", b"a\xff", b"\xffa", b"\xc3(", b"\0"] {
        let text = depth_with(r#""T":"#, "\"@\":");
        let at = text.find('@').expect("replaced");
        let frame = [&text.as_bytes()[..at], key, &text.as_bytes()[at + 1..]].concat();
        let mut decoder = Decoder::new(&registry(), Venue::BinanceUsdm);
        let read = differential(&mut decoder, &frame, InstrumentId(2));
        assert_eq!(read.map(|read| read.message), Err(Reason::NotJson), "{key:?}");
    }
}

#[test]
fn keys_that_another_message_would_mind_do_not_confuse_this_one() {
    let quote = golden().into_iter().find(|golden| golden.name == "spot quote").expect("golden");
    let mut decoder = Decoder::new(&registry(), Venue::BinanceSpot);
    let plain = differential(&mut decoder, quote.bare.as_bytes(), InstrumentId(0)).expect("a quote");
    for more in [r#""T":1,"T":2"#, r#""id":1,"id":1"#, r#""lastUpdateId":5"#, r#""data":5"#, r#""data":null"#] {
        for form in quote.forms() {
            let frame = form.replace(r#""s":"#, &format!("{more},\"s\":"));
            assert_eq!(differential(&mut decoder, frame.as_bytes(), InstrumentId(0)), Ok(plain.clone()), "{frame}");
        }
    }
}

#[test]
fn frames_cut_anywhere_are_no_messages() {
    let registry = registry();
    for golden in golden() {
        let mut decoder = Decoder::new(&registry, golden.venue);
        for form in golden.forms() {
            for end in 0..form.len() {
                let read = differential(&mut decoder, &form.as_bytes()[..end], InstrumentId(0));
                assert_eq!(read.map(|read| read.message), Err(Reason::NotJson), "{}", &form[..end]);
            }
        }
    }
}

#[test]
fn no_single_wrong_byte_makes_the_readers_disagree() {
    let registry = registry();
    let wrong = [b'"', b'\\', b',', b':', b'[', b']', b'{', b'}', b'.', b'-', b'0', b'9', b'e', b'T', b' ', 0, 1, 0xff];
    for golden in golden() {
        let mut decoder = Decoder::new(&registry, golden.venue);
        for form in golden.forms() {
            let mut bytes = form.clone().into_bytes();
            for at in 0..bytes.len() {
                let right = bytes[at];
                for byte in wrong {
                    bytes[at] = byte;
                    // The oracle panics where two readers disagree; most of these frames are simply refused.
                    let _ = differential(&mut decoder, &bytes, InstrumentId(2));
                }
                bytes[at] = right;
            }
        }
    }
}

#[test]
fn a_buffer_without_its_padding_is_no_frame() {
    // Readers look 64 bytes past the end without asking: this is the one place that makes sure they may.
    for (bytes, length, good) in [(0, 0, false), (63, 0, false), (64, 0, true), (64, 1, false), (100, 36, true)] {
        let mut buffer = vec![0; bytes];
        assert_eq!(FrameMut::new(&mut buffer, length).is_some(), good, "{length} of {bytes}");
    }
    assert!(FrameMut::new(&mut [0; 200], usize::MAX).is_none());
}
