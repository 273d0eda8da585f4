//! Frames of RFC 6455: a group of tests for each group of cases of the Autobahn suite, against our own decoder fed
//! whole, byte by byte and in random pieces.

#[path = "common/served.rs"]
mod served;

use proptest::prelude::*;
use served::frame;
use tidegate_feed::transport::websocket::{Decoder, Encoder, Kind, Role, Violation, close_reason, unmask};

const LIMIT: usize = 1 << 20;

/// What a decoder makes of `bytes` that come in pieces of the given sizes (repeated): messages, and how it ended.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<(Kind, Vec<u8>)>, Option<Violation>) {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    let (mut buffer, mut filled) = (vec![0; LIMIT + 1024], 0);
    let (mut messages, mut at) = (Vec::new(), 0);
    for size in pieces.iter().cycle() {
        if at == bytes.len() {
            return (messages, None);
        }
        let piece = &bytes[at..bytes.len().min(at + (*size).max(1))];
        at += piece.len();
        if filled + piece.len() > buffer.len() {
            filled = decoder.squeeze(&mut buffer, filled);
        }
        buffer[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
        loop {
            match decoder.next(&mut buffer[..filled]) {
                Ok(Some(message)) => messages.push((message.kind, buffer[message.at].to_vec())),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

/// The same however it is cut.
fn read_all(bytes: &[u8]) -> (Vec<(Kind, Vec<u8>)>, Option<Violation>) {
    let whole = read(bytes, &[usize::MAX / 2]);
    for pieces in [&[1][..], &[2, 3], &[7], &[1, 64, 5]] {
        assert_eq!(read(bytes, pieces), whole, "in pieces of {pieces:?}");
    }
    whole
}

fn refused(bytes: &[u8]) -> Violation {
    read_all(bytes).1.expect("a violation")
}

/// 1: text and binary messages around each border of the length field.
#[test]
fn lengths() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        for (first, kind) in [(0x81, Kind::Text), (0x82, Kind::Binary)] {
            let payload = vec![b'*'; length];
            let (messages, violation) = read(&frame(first, &payload), &[65_536, 1000]);
            assert_eq!((messages, violation), (vec![(kind, payload)], None), "{length}");
        }
    }
    // 5.2: the shortest form only.
    assert_eq!(refused(&[0x82, 126, 0, 125]), Violation::Length);
    assert_eq!(refused(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Violation::Length);
    assert_eq!(refused(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Violation::Length);
}

/// 2: pings and pongs, up to 125 bytes, with any bytes in them; never fragmented.
#[test]
fn pings() {
    for length in [0, 5, 125] {
        let payload = vec![0xfe; length];
        assert_eq!(read_all(&frame(0x89, &payload)).0, [(Kind::Ping, payload.clone())]);
        assert_eq!(read_all(&frame(0x8a, &payload)).0, [(Kind::Pong, payload)]);
    }
    assert_eq!(refused(&frame(0x89, &[0; 126])), Violation::Control);
    assert_eq!(refused(&frame(0x09, b"half")), Violation::Control);
}

/// 3: reserved bits.
#[test]
fn reserved_bits() {
    for bits in [0x10, 0x20, 0x40, 0x70] {
        assert_eq!(refused(&frame(0x81 | bits, b"x")), Violation::ReservedBit);
        assert_eq!(refused(&frame(0x89 | bits, b"x")), Violation::ReservedBit);
    }
}

/// 4: opcodes without a meaning.
#[test]
fn opcodes() {
    for opcode in (3..8).chain(11..16) {
        assert_eq!(refused(&frame(0x80 | opcode, b"")), Violation::Opcode(opcode));
        let after = [frame(0x81, b"before"), frame(0x80 | opcode, b"x")].concat();
        assert_eq!(read_all(&after), (vec![(Kind::Text, b"before".to_vec())], Some(Violation::Opcode(opcode))));
    }
}

/// 5: fragments, with control frames between them.
#[test]
fn fragments() {
    let bytes =
        [frame(0x01, b"one "), frame(0x89, b"ping"), frame(0x00, b""), frame(0x00, b"two "), frame(0x80, b"three")];
    let expected = vec![(Kind::Ping, b"ping".to_vec()), (Kind::Text, b"one two three".to_vec())];
    assert_eq!(read_all(&bytes.concat()), (expected, None));
    assert_eq!(refused(&frame(0x80, b"of nothing")), Violation::Fragment);
    assert_eq!(refused(&frame(0x00, b"of nothing")), Violation::Fragment);
    assert_eq!(refused(&[frame(0x01, b"one"), frame(0x81, b"new")].concat()), Violation::Fragment);
    assert_eq!(refused(&[frame(0x02, b"one"), frame(0x01, b"new")].concat()), Violation::Fragment);
    // A message of very many small fragments takes no more room than its bytes.
    let many: Vec<u8> = (0..LIMIT / 4).flat_map(|_| frame(0x00, b"abc")).collect();
    let bytes = [frame(0x02, b""), many, frame(0x80, b"end")].concat();
    let (messages, violation) = read(&bytes, &[1000]);
    assert_eq!((messages.len(), violation), (1, None));
    assert_eq!(messages[0].1.len(), LIMIT / 4 * 3 + 3);
}

/// 6 and 7.5: UTF-8, also cut inside a character by fragments and reads.
#[test]
fn text_is_utf8() {
    let text = "κόσμε \u{10ffff} €";
    let bytes = text.as_bytes();
    assert_eq!(read_all(&frame(0x81, bytes)).0, [(Kind::Text, bytes.to_vec())]);
    for cut in 0..=bytes.len() {
        let fragments = [frame(0x01, &bytes[..cut]), frame(0x80, &bytes[cut..])].concat();
        assert_eq!(read_all(&fragments), (vec![(Kind::Text, bytes.to_vec())], None), "{cut}");
    }
    for wrong in
        [&b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited"[..], b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xff", b"cut \xe2\x82"]
    {
        assert_eq!(refused(&frame(0x81, wrong)), Violation::Utf8, "{wrong:?}");
        assert_eq!(refused(&[frame(0x01, wrong), frame(0x80, b"")].concat()), Violation::Utf8, "{wrong:?}");
        assert!(read_all(&frame(0x82, wrong)).1.is_none(), "binary may be anything");
    }
    // Wrong text is refused before its message has ended.
    let early = [frame(0x01, b"fine"), frame(0x00, b"\xff\xff")].concat();
    assert_eq!(refused(&early), Violation::Utf8);
}

/// 7: close frames.
#[test]
fn closing() {
    assert_eq!(read_all(&frame(0x88, b"")).0, [(Kind::Close, vec![])]);
    for code in [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 3000, 3999, 4000, 4999] {
        let payload = [&code.to_be_bytes()[..], "why, κόσμε".as_bytes()].concat();
        assert_eq!(close_reason(&payload), Ok(Some((code, "why, κόσμε"))));
        assert_eq!(read_all(&frame(0x88, &payload)).0, [(Kind::Close, payload)]);
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(refused(&frame(0x88, &code.to_be_bytes())), Violation::Close, "{code}");
    }
    assert_eq!(refused(&frame(0x88, &[3])), Violation::Close);
    assert_eq!(refused(&frame(0x88, b"\x03\xe8\xff")), Violation::Utf8);
    assert_eq!(refused(&frame(0x88, &[3; 126])), Violation::Control);
}

/// 9: limits. A message longer than agreed is refused at its head, before its bytes are waited for.
#[test]
fn limits() {
    let mut head = vec![0x82, 127];
    head.extend((LIMIT as u64 + 1).to_be_bytes());
    assert_eq!(refused(&head), Violation::TooLong(LIMIT));
    assert_eq!(Violation::TooLong(LIMIT).code(), 1009);
    let two = [frame(0x02, &vec![1; LIMIT / 2]), frame(0x80, &vec![2; LIMIT / 2 + 1])].concat();
    assert_eq!(read(&two, &[4096]).1, Some(Violation::TooLong(LIMIT)));
}

/// 5.1: whose frames are masked.
#[test]
fn masks() {
    let masked = [0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1];
    assert_eq!(refused(&masked), Violation::Mask);
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let mut bytes = masked;
    let message = decoder.next(&mut bytes).expect("a good frame").expect("a whole one");
    assert_eq!(&bytes[message.at], b"hello");
    let mut plain = frame(0x81, b"hello");
    assert_eq!(Decoder::new(Role::Server, LIMIT).next(&mut plain), Err(Violation::Mask));
}

proptest! {
    /// What we write is read again by the other end, in any pieces, and clients' frames are masked.
    #[test]
    fn round_trip(
        payload in proptest::collection::vec(any::<u8>(), 0..70_000),
        client: bool,
        pieces in proptest::collection::vec(1usize..5000, 1..8),
    ) {
        let (ours, theirs) = if client { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
        let mut bytes = vec![0; payload.len() + 14];
        let length = Encoder::new(ours).write(Kind::Binary, &payload, &mut bytes).expect("room");
        bytes.truncate(length);
        prop_assert_eq!(bytes[1] & 0x80 != 0, client);
        let (mut decoder, mut buffer, mut at) = (Decoder::new(theirs, LIMIT), Vec::new(), 0);
        for size in pieces.iter().cycle() {
            buffer.extend_from_slice(&bytes[at..bytes.len().min(at + size)]);
            at = bytes.len().min(at + size);
            match decoder.next(&mut buffer).expect("no violation") {
                Some(message) => {
                    prop_assert_eq!(&buffer[message.at], &payload[..]);
                    break;
                }
                None => prop_assert!(at < bytes.len()),
            }
        }
    }

    /// A mask put on twice is none.
    #[test]
    fn masks_cancel(bytes in proptest::collection::vec(any::<u8>(), 0..100), mask: [u8; 4]) {
        let mut twice = bytes.clone();
        unmask(&mut twice, mask);
        prop_assert!(bytes.iter().zip(&twice).enumerate().all(|(i, (plain, masked))| plain ^ mask[i % 4] == *masked));
        unmask(&mut twice, mask);
        prop_assert_eq!(twice, bytes);
    }

    /// Any bytes: no panic, and the same verdict however they are cut.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(read(&bytes, &[1000]), read(&bytes, &[1]));
    }
}
