//! Fuzz target: bytes of a WebSocket stream give the same messages and the same verdict however they are cut, and
//! wherever the buffer is squeezed; nothing panics.
//!
//! The first byte tells role and limit, the second how many of the following ones are sizes of pieces.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tidegate_feed::transport::websocket::{Decoder, Kind, Role, Violation, close_reason};

type Read = (Vec<(Kind, Vec<u8>)>, Option<Violation>);

/// Reads `bytes` in pieces; where `squeeze` says so for a piece, what was read is dropped from the buffer before it.
fn read(
    bytes: &[u8],
    (role, limit): (Role, usize),
    mut size: impl FnMut() -> usize,
    mut squeeze: impl FnMut() -> bool,
) -> Read {
    let mut decoder = Decoder::new(role, limit);
    // Room for a whole message and its heads, as a connection has.
    let (mut buffer, mut filled) = (vec![0; limit + bytes.len() + 64], 0);
    let (mut messages, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
        rest = after;
        if squeeze() {
            let left = decoder.squeeze(&mut buffer, filled);
            assert!(left <= filled, "a buffer does not grow by being squeezed");
            filled = left;
        }
        buffer[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
        loop {
            match decoder.next(&mut buffer[..filled]) {
                Ok(Some(message)) => {
                    let payload = buffer[message.at].to_vec();
                    assert!(payload.len() <= limit.max(125), "no message is longer than agreed");
                    if message.kind == Kind::Text {
                        assert!(std::str::from_utf8(&payload).is_ok(), "texts are UTF-8");
                    }
                    if message.kind == Kind::Close {
                        assert!(close_reason(&payload).is_ok(), "a close frame that was accepted can be read");
                    }
                    messages.push((message.kind, payload));
                }
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [first, count, rest @ ..] = input else { return Corpus::Reject };
    let role = if first & 1 == 0 { Role::Client } else { Role::Server };
    let agreed = (role, 1 << (4 + (first >> 1) % 12));
    let Some((sizes, bytes)) = rest.split_at_checked(usize::from(*count)) else { return Corpus::Reject };
    let whole = read(bytes, agreed, || usize::MAX, || false);
    let mut at = 0;
    let mut next = || {
        at += 1;
        sizes.get(at % sizes.len().max(1)).map_or(1, |size| usize::from(*size))
    };
    let mut turn = 0u8;
    let mut squeeze = || {
        turn = turn.wrapping_add(*count | 1);
        turn & 4 == 0
    };
    assert_eq!(read(bytes, agreed, &mut next, &mut squeeze), whole, "in pieces");
    assert_eq!(read(bytes, agreed, || 1, || true), whole, "byte by byte, squeezed before each");
    Corpus::Keep
});
