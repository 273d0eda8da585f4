//! Five hundred clients of the stream in one thread: most are well, some take nothing, some are hostile.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// What a client is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Takes everything and checks it.
    Well,
    /// Subscribes and takes nothing.
    Stalled,
    /// A frame of a megabyte.
    Huge,
    /// Messages as fast as they go.
    Flood,
    /// What is no JSON.
    Nonsense,
    /// Half a request.
    Half,
}

/// What the healthy clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those that were there to the end.
    pub(super) well: usize,
    /// Healthy clients that were dropped.
    pub(super) dropped: usize,
    /// Entries of logs that were missing in any client's numbers.
    pub(super) holes: u64,
    /// The newest number of the log of breakers by client: smallest and largest.
    pub(super) newest: (u64, u64),
    /// Told prices that the healthy clients heard, all together.
    pub(super) told: u64,
    /// Prices that were told.
    pub(super) telling: u64,
    /// Frames that the healthy clients took.
    pub(super) frames: u64,
}

struct Client {
    stream: TcpStream,
    nature: Nature,
    /// What is to be sent.
    out: Vec<u8>,
    buffer: Vec<u8>,
    upgraded: bool,
    gone: bool,
    /// Newest number by log.
    numbers: HashMap<String, u64>,
    holes: u64,
    told: u64,
    frames: u64,
}

/// A masked text frame; the mask is zero, which is a mask too.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match text.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Length of the head and the payload of a frame of a server, if it is whole.
fn whole(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    let (head, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (buffer.len() >= head + length).then_some((first & 0xf, head, length))
}

/// The text between a key and the next delimiter.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(key)? + key.len()..];
    Some(&rest[..rest.find([',', '"', '}'])?])
}

impl Client {
    fn take(&mut self) {
        let mut scratch = [0; 65_536];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => {
                    self.gone = true;
                    return;
                }
                Ok(read) => self.buffer.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        if !self.upgraded {
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            self.buffer.drain(..end + 4);
            self.upgraded = true;
        }
        let mut at = 0;
        while let Some((kind, head, length)) = whole(&self.buffer[at..]) {
            let payload = at + head..at + head + length;
            match kind {
                1 => self.read_text(payload.clone()),
                // A ping is answered with what it holds.
                9 => self.out.extend([0x8a, 0x80, 0, 0, 0, 0]),
                8 => self.gone = true,
                _ => {}
            }
            at = payload.end;
        }
        self.buffer.drain(..at);
    }

    fn read_text(&mut self, range: std::ops::Range<usize>) {
        let Ok(text) = std::str::from_utf8(&self.buffer[range]) else { return };
        self.frames += 1;
        if text.starts_with("{\"btc_price\"") {
            self.told += 1;
        } else if let (Some(topic), Some(number)) = (field(text, "\"topic\":\""), field(text, "\"number\":")) {
            let Ok(number) = number.parse::<u64>() else { return };
            let before = self.numbers.insert(topic.to_owned(), number);
            self.holes += before.map_or(0, |before| number.saturating_sub(before + 1));
        }
    }

    fn give(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return,
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

/// How many of each there are.
const NATURES: [(Nature, usize); 6] = [
    (Nature::Well, 440),
    (Nature::Stalled, 50),
    (Nature::Huge, 3),
    (Nature::Flood, 3),
    (Nature::Nonsense, 2),
    (Nature::Half, 2),
];
/// How often a price is told.
const TELLING: Duration = Duration::from_millis(200);
/// How long before the end nobody tells any more, so that everybody has heard.
const QUIET: Duration = Duration::from_millis(1_500);

fn connect(at: SocketAddr, nature: Nature) -> Result<Client, String> {
    let stream = TcpStream::connect(at).map_err(|error| error.to_string())?;
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGlkZWdhdGUtdGVzdC1rZXk=\r\n\r\n"
    );
    let mut out = if nature == Nature::Half { b"GET /ws HTTP/1.1\r\nHos".to_vec() } else { upgrade.into_bytes() };
    let subscribe = r#"{"op":"subscribe","topics":["breaker","threshold","quality","price"],"every_ms":1000}"#;
    match nature {
        Nature::Well => out.extend(frame(subscribe)),
        // As much as there is, so that the system's buffers fill.
        Nature::Stalled => out.extend(frame(
            r#"{"op":"subscribe","topics":["book","features","price","threshold","breakers"],"every_ms":16}"#,
        )),
        Nature::Huge => out.extend(frame(&"x".repeat(1 << 20))),
        Nature::Flood => (0..20_000).for_each(|n| out.extend(frame(&format!("{{\"eth_price\":{}}}", n + 1)))),
        Nature::Nonsense => (0..40).for_each(|_| out.extend(frame("{\"btc_price\": high}"))),
        Nature::Half => {}
    }
    let (numbers, buffer) = (HashMap::new(), Vec::new());
    let (upgraded, gone, holes, told, frames) = (false, false, 0, 0, 0);
    Ok(Client { stream, nature, out, buffer, upgraded, gone, numbers, holes, told, frames })
}

/// Lets the crowd at a server for a time.
///
/// # Errors
/// The system gives no sockets.
pub(super) fn run(at: SocketAddr, lasting: Duration, small: bool) -> Result<Seen, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut poll = Poll::new().map_err(failed)?;
    let mut clients = Vec::new();
    for (nature, count) in NATURES {
        for _ in 0..if small { count.div_ceil(10) } else { count } {
            let mut client = connect(at, nature)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut client.stream, Token(clients.len()), interest).map_err(failed)?;
            clients.push(client);
        }
    }
    let (begun, mut told_at, mut telling) = (Instant::now(), Instant::now(), 0);
    let mut events = Events::with_capacity(1_024);
    while begun.elapsed() < lasting {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
            _ => {}
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            if client.nature != Nature::Stalled && event.is_readable() && !client.gone {
                client.take();
            }
            if !client.gone {
                client.give();
            }
        }
        // After everybody has subscribed, and until everybody can have heard.
        let teller = &mut clients[0];
        let due = told_at.elapsed() >= TELLING && begun.elapsed() > QUIET && begun.elapsed() + QUIET < lasting;
        if due && !teller.gone {
            (told_at, telling) = (Instant::now(), telling + 1);
            teller.out.extend(frame(&format!("{{\"btc_price\": {}.5}}", 60_000 + telling)));
            teller.give();
        }
    }
    let well: Vec<&Client> = clients.iter().filter(|client| client.nature == Nature::Well).collect();
    let newest = |client: &&Client| client.numbers.get("breaker").copied().unwrap_or(0);
    Ok(Seen {
        well: well.iter().filter(|client| !client.gone).count(),
        dropped: well.iter().filter(|client| client.gone).count(),
        holes: well.iter().map(|client| client.holes).sum(),
        newest: (well.iter().map(newest).min().unwrap_or(0), well.iter().map(newest).max().unwrap_or(0)),
        told: well.iter().map(|client| client.told).sum(),
        telling,
        frames: well.iter().map(|client| client.frames).sum(),
    })
}
