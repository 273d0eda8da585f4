//! Connections over real loopback sockets: whom they refuse, how they end, and that reading them allocates nothing.

#[path = "common/counting.rs"]
mod counting;
#[path = "common/served.rs"]
mod served;
#[path = "common/venue.rs"]
mod venue;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use served::frame;
use tidegate_feed::transport::websocket::Kind;
use tidegate_feed::transport::{Connection, DialError, Ended, Read};
use venue::{GOOD, PATIENCE, Secured, Shown, Venue, drain, request, switching, upgrade};

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// Reads until the connection ends; gives what was delivered and how it ended.
fn read_all(connection: &mut Connection, mut take: impl FnMut(Kind, &[u8])) -> Ended {
    let begun = Instant::now();
    loop {
        loop {
            match connection.next_message() {
                Ok(Some(message)) => take(message.kind, &message.padded[..message.length]),
                Ok(None) => break,
                Err(ended) => return ended,
            }
        }
        match connection.read() {
            Ok(Read::Some { .. }) => {}
            Ok(Read::Nothing) => {
                assert!(begun.elapsed() < PATIENCE, "nothing comes any more");
                std::thread::yield_now();
            }
            Err(ended) => return ended,
        }
        if let Err(ended) = connection.flush() {
            return ended;
        }
    }
}

fn collect(connection: &mut Connection) -> (Vec<Vec<u8>>, Ended) {
    let mut messages = Vec::new();
    let ended = read_all(connection, |_, bytes| messages.push(bytes.to_vec()));
    (messages, ended)
}

#[test]
fn certificates_that_are_not_to_be_trusted_are_named() {
    let refusal = |shown: &Shown| Venue::secured(shown, |_| panic!("a handshake")).refusal("wss");
    let other = refusal(&Shown { host: "elsewhere.invalid", ..GOOD });
    assert!(other.starts_with("TLS: ") && other.contains("not valid for name"), "{other}");
    let expired = refusal(&Shown { until: 2021, ..GOOD });
    assert!(expired.starts_with("TLS: ") && expired.contains("expired"), "{expired}");
    let old = refusal(&Shown { version: &rustls::version::TLS12, ..GOOD });
    assert!(old.starts_with("TLS: ") && old.to_lowercase().contains("protocolversion"), "{old}");
    // Signed by somebody else's authority.
    let (stranger, honest) = (Venue::secured(&GOOD, |_| panic!("a handshake")), Venue::plain(|_| ()));
    let unknown = honest.dial_at("wss", stranger.port).expect_err("no connection").to_string();
    assert!(unknown.starts_with("TLS: ") && unknown.contains("UnknownIssuer"), "{unknown}");
    stranger.end();
    drop(TcpStream::connect(("127.0.0.1", honest.port)));
    honest.end();
}

#[test]
fn answers_that_are_no_upgrade_are_named() {
    let told = |text: &'static str| {
        Venue::plain(move |mut socket| {
            request(&mut socket);
            socket.write_all(text.as_bytes()).expect("an answer");
        })
        .refusal("ws")
    };
    let busy = Venue::plain(|mut socket| {
        request(&mut socket);
        let text = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(text).expect("an answer");
    });
    let refused = busy.dial_at("ws", busy.port).expect_err("no connection");
    assert!(matches!(refused, DialError::Refused { status: 429, retry_after: Some(17) }), "{refused:?}");
    assert_eq!(refused.to_string(), "HTTP status 429, retry after 17 s");
    busy.end();
    let another = Venue::plain(|mut socket| {
        request(&mut socket);
        socket.write_all(switching("AAAAAAAAAAAAAAAAAAAAAAAAAAA=").as_bytes()).expect("an answer");
    });
    assert_eq!(another.refusal("ws"), "WebSocket handshake: the answer is to another request");
    assert_eq!(told("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "WebSocket handshake: not HTTP");
    assert_eq!(
        told("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        "WebSocket handshake: the answer does not upgrade to a WebSocket"
    );
    assert_eq!(told(""), "the connection broke off without a close frame");
    // Plain HTTP where TLS is expected.
    let garbage = Venue::plain(|mut socket| {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
        drain(&mut socket);
    });
    let refusal = garbage.refusal("wss");
    assert!(refusal.starts_with("TLS: ") && refusal.contains("corrupt message"), "{refusal}");
}

#[test]
fn what_comes_right_behind_the_upgrade_is_not_lost() {
    for secure in [false, true] {
        let early = [frame(TEXT, b"first"), frame(PING, b"?"), frame(TEXT, b"second")].concat();
        let venue = if secure {
            Venue::secured(&GOOD, move |mut stream| upgrade(&mut stream, &early))
        } else {
            Venue::plain(move |mut socket| upgrade(&mut socket, &early))
        };
        let mut connection = venue.dial_at(if secure { "wss" } else { "ws" }, venue.port).expect("a connection");
        let (messages, ended) = collect(&mut connection);
        assert_eq!(messages, [b"first".to_vec(), b"second".to_vec()]);
        assert!(matches!(ended, Ended::BrokenOff | Ended::Socket(_)), "{ended}");
        assert_eq!(connection.heartbeats().0, 1);
        venue.end();
    }
}

#[test]
fn a_half_closed_stream_is_read_to_its_end() {
    for secure in [false, true] {
        let text = [frame(TEXT, b"last words"), frame(TEXT, b"cut off")[..4].to_vec()].concat();
        let (sent, received) = mpsc::channel();
        let close = move |socket: &mut TcpStream| socket.shutdown(Shutdown::Write).expect("half-closed");
        let venue = if secure {
            Venue::secured(&GOOD, move |mut stream| {
                upgrade(&mut stream, &text);
                stream.conn.send_close_notify();
                stream.flush().expect("sent");
                close(&mut stream.sock);
                sent.send(drain(&mut stream)).expect("told");
            })
        } else {
            Venue::plain(move |mut socket| {
                upgrade(&mut socket, &text);
                close(&mut socket);
                sent.send(drain(&mut socket)).expect("told");
            })
        };
        let mut connection = venue.dial_at(if secure { "wss" } else { "ws" }, venue.port).expect("a connection");
        let (messages, ended) = collect(&mut connection);
        assert_eq!(messages, [b"last words".to_vec()], "half a frame is no message");
        assert!(matches!(ended, Ended::BrokenOff), "{ended}");
        // The other direction is still open.
        connection.send(Kind::Text, b"good bye").expect("sent");
        drop(connection);
        assert!(received.recv_timeout(PATIENCE).expect("told") >= b"good bye".len());
        venue.end();
    }
}

/// Passes bytes on in both directions; flips one bit of record `number` (from 0) that comes from the venue and holds
/// at least `length` bytes.
fn flipping_proxy(port: u16, number: usize, length: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut venue = TcpStream::connect(("127.0.0.1", port)).expect("a venue");
        let (mut there, mut here) = (venue.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        std::thread::spawn(move || {
            // Whichever end goes first ends it.
            let _ = std::io::copy(&mut here, &mut there);
            let _ = there.shutdown(Shutdown::Write);
        });
        let mut seen = 0;
        let mut head = [0; 5];
        while venue.read_exact(&mut head).is_ok() {
            let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            venue.read_exact(&mut body).expect("a whole record");
            if body.len() >= length {
                if seen == number {
                    body[length / 2] ^= 0x10;
                }
                seen += 1;
            }
            if client.write_all(&[&head[..], &body].concat()).is_err() {
                return;
            }
        }
        let _ = client.shutdown(Shutdown::Write);
    });
    at
}

#[test]
fn a_forged_record_ends_the_connection_and_delivers_nothing() {
    let venue = Venue::secured(&GOOD, |mut stream| {
        upgrade(&mut stream, b"");
        for n in 0..10u8 {
            // A record for each; the handshake's own are shorter or longer than 3,000 bytes.
            if stream.write_all(&frame(TEXT, &[b'a' + n; 4000])).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
        drain(&mut stream);
    });
    let port = flipping_proxy(venue.port, 5, 4000);
    let mut connection = venue.dial_at("wss", port).expect("a connection");
    let (messages, ended) = collect(&mut connection);
    assert_eq!(messages.len(), 5, "what came before it");
    assert!(messages.iter().zip(b'a'..).all(|(message, letter)| *message == [letter; 4000]));
    assert_eq!(ended.to_string(), "TLS: a TLS record does not open: damaged or forged");
    drop(connection);
    venue.end();
}

/// Frames of a run; each tells its number and has a length that follows from it.
const FRAMES: usize = 12_000;
/// How many are read before allocations are counted.
const WARM: usize = 2_000;
/// Changes of the server's key behind the warm-up.
const UPDATES: usize = 4;

fn payload(number: usize) -> Vec<u8> {
    let mut text = format!("{number}:").into_bytes();
    text.resize(text.len() + number * 7919 % 1900, b'x');
    text
}

/// All frames in every way that records can be cut: a record a frame, many frames in one, frames across several.
fn stream_everything(mut stream: Secured) {
    upgrade(&mut stream, b"");
    let mut number = 0;
    let put = |stream: &mut Secured, bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush());
    while number < FRAMES {
        let count = [1, 1, 30, 5][number / 100 % 4].min(FRAMES - number);
        let mut bytes: Vec<u8> = (number..number + count).flat_map(|n| frame(TEXT, &payload(n))).collect();
        if number % 50 == 0 {
            bytes.extend(frame(PING, b"are you there"));
        }
        let pieces = if count == 5 { 97 } else { usize::MAX };
        for piece in bytes.chunks(pieces.min(bytes.len())) {
            put(&mut stream, piece).expect("sent");
        }
        let before = number;
        number += count;
        let step = (FRAMES - WARM) / UPDATES;
        if before >= WARM && (before - WARM) / step != (number - WARM) / step {
            stream.conn.refresh_traffic_keys().expect("a new key");
        }
    }
    put(&mut stream, &frame(CLOSE, &[&1000u16.to_be_bytes()[..], b"done"].concat())).expect("sent");
    drain(&mut stream);
}

#[test]
fn reading_ten_thousand_frames_allocates_nothing() {
    let venue = Venue::secured(&GOOD, stream_everything);
    let mut connection = venue.dial().expect("a connection");
    let (mut number, mut before, mut steps) = (0, 0, 0);
    let mut expected = vec![0; 4096];
    let ended = read_all(&mut connection, |kind, bytes| {
        // Between which two frames the allocator was called.
        steps += usize::from(number > WARM && counting::calls() != before);
        // Compared without an allocation of the test's own.
        let mut head = &mut expected[..];
        write!(head, "{number}:").expect("room");
        let digits = 4096 - head.len();
        let length = digits + number * 7919 % 1900;
        assert!(kind == Kind::Text && bytes.len() == length, "frame {number}: {} bytes", bytes.len());
        assert!(bytes[..digits] == expected[..digits] && bytes[digits..].iter().all(|byte| *byte == b'x'));
        (number, before) = (number + 1, counting::calls());
    });
    steps += usize::from(counting::calls() != before);
    assert!(matches!(ended, Ended::Closed { code: Some(1000) }), "{ended}");
    assert_eq!(number, FRAMES);
    assert!(connection.heartbeats().0 >= (FRAMES / 2000) as u64, "{:?}", connection.heartbeats());
    // The next traffic key comes from rustls, which alone has the secret, and its HKDF allocates: once a change of the
    // key. Nothing else does: records and frames however cut, pings answered, the closing handshake.
    assert_eq!(steps, UPDATES, "steps in which the allocator was called");
    drop(connection);
    venue.end();
}

#[test]
fn the_counter_counts() {
    let before = counting::calls();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(counting::calls() - before, 2);
}
