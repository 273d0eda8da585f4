//! A live client as it is usually written: tungstenite over rustls, serde_json with owned strings, ordered maps.
//!
//! What is not usual is to its advantage: it asks the kernel for receive stamps, polls all sockets in one call without
//! waiting, and tungstenite's read buffer is 16 KiB: its default of 128 KiB is filled with zeros before every read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::Deserialize;
use tidegate_feed::transport::rest::{Client as Rest, Request};
use tidegate_feed::transport::{Address, sys, tls};
use tidegate_wire::clock::realtime_ns;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use crate::peers::naive::Naive;
use crate::timing::keep;

/// tungstenite's read buffer, bytes.
pub const READ_BUFFER: usize = 16 << 10;
/// Nothing of the way to a connection takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket that keeps the kernel's stamp of what was read last.
#[derive(Debug)]
struct Stamped {
    socket: TcpStream,
    /// Reads wait no more: the handshakes are done.
    live: bool,
    stamp: Option<i64>,
}

impl Read for Stamped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.live {
            return self.socket.read(buffer);
        }
        let received = sys::receive(&self.socket, buffer)?;
        self.stamp = received.kernel_ns;
        Ok(received.bytes)
    }
}

impl Write for Stamped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

type Stream = WebSocket<StreamOwned<ClientConnection, Stamped>>;

#[derive(Deserialize)]
#[expect(dead_code, reason = "the plain program keeps what it parses")]
struct Quote {
    b: String,
    #[serde(rename = "B")]
    bid_qty: String,
    a: String,
    #[serde(rename = "A")]
    ask_qty: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the plain program keeps what it parses")]
struct Trade {
    p: String,
    q: String,
    m: bool,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the plain program keeps what it parses")]
struct Mark {
    p: String,
    i: String,
    r: String,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str::<Wrapped<T>>(text).ok().map(|wrapped| wrapped.data)
}

/// Where it connects.
#[derive(Clone, Copy, Debug)]
pub struct Venue<'a> {
    /// Base of WebSocket URLs.
    pub stream: &'a str,
    /// Base of REST URLs.
    pub rest: &'a str,
    /// Whom to trust.
    pub authority: &'a Path,
    /// Symbols as in stream names.
    pub symbols: &'a [&'a str],
}

/// The client and what it measured.
#[derive(Debug)]
pub struct Client {
    streams: Vec<Stream>,
    books: Vec<(String, Naive)>,
    poll: Poll,
    /// Kernel's stamp to book updated, ns.
    pub times: Histogram<u64>,
    /// Messages that it could not read, and market frames without a stamp.
    pub troubles: u64,
}

impl Client {
    /// Connects as the engine does: two sockets, then the snapshots.
    ///
    /// # Errors
    /// What failed, in words.
    pub fn connect(venue: Venue<'_>) -> Result<Self, String> {
        let config = tls::client_config(Some(venue.authority))?;
        let names = |kinds: &[&str]| {
            let all = venue.symbols.iter().flat_map(|symbol| kinds.iter().map(move |kind| format!("{symbol}@{kind}")));
            all.collect::<Vec<_>>().join("/")
        };
        let public = format!("{}/public/stream?streams={}", venue.stream, names(&["depth@100ms", "bookTicker"]));
        let market = format!("{}/market/stream?streams={}", venue.stream, names(&["aggTrade", "markPrice@1s"]));
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let mut streams = Vec::new();
        for (index, url) in [public, market].iter().enumerate() {
            streams.push(open(url, config.clone(), &poll, Token(index)).map_err(|error| format!("{url}: {error}"))?);
        }
        let rest = Rest::new(venue.rest, Some(venue.authority), PATIENCE)?;
        let mut books = Vec::new();
        for symbol in venue.symbols {
            let path = format!("/fapi/v1/depth?symbol={}&limit=1000", symbol.to_uppercase());
            let answer = rest.get(&Request::public(path)).map_err(|error| error.to_string())?;
            // Nobody computes vectors here.
            let book = Naive::new(&answer.body, unbounded().0).map_err(|error| error.to_string())?;
            books.push((format!("{{\"stream\":\"{symbol}@"), book));
        }
        let times = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string())?;
        Ok(Self { streams, books, poll, times, troubles: 0 })
    }

    /// Frames that did not continue their book.
    pub fn gaps(&self) -> u64 {
        self.books.iter().map(|(_, book)| book.gaps).sum()
    }

    /// Reads for so long, without ever waiting.
    ///
    /// # Errors
    /// How a connection ended.
    pub fn run(&mut self, span: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let mut events = Events::with_capacity(16);
        while begun.elapsed() < span {
            self.poll.poll(&mut events, Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            for event in &events {
                self.drain(event.token().0)?;
            }
        }
        Ok(())
    }

    fn drain(&mut self, index: usize) -> Result<(), String> {
        loop {
            match self.streams[index].read() {
                Ok(Message::Text(text)) => {
                    let stamp = self.streams[index].get_ref().sock.stamp;
                    let understood = self.take(text.as_str()).is_some();
                    let now_ns = realtime_ns();
                    match stamp.and_then(|stamp| u64::try_from(now_ns - stamp).ok()) {
                        Some(span) if understood => self.times.saturating_record(span),
                        _ => self.troubles += 1,
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn take(&mut self, text: &str) -> Option<()> {
        let (name, book) = self.books.iter_mut().find(|(name, _)| text.starts_with(name.as_str()))?;
        match text.as_bytes().get(name.len())? {
            b'd' => {
                // Frames from before the snapshot change nothing.
                keep(book.update(text));
            }
            b'b' => {
                let Quote { b, a, .. } = read(text)?;
                keep((b.parse::<f64>().ok()?, a.parse::<f64>().ok()?));
            }
            b'a' => {
                let Trade { p, q, .. } = read(text)?;
                keep((p.parse::<f64>().ok()?, q.parse::<f64>().ok()?));
            }
            _ => keep(read::<Mark>(text)?.p.parse::<f64>().ok().map(drop)?),
        }
        Some(())
    }
}

fn open(url: &str, config: Arc<ClientConfig>, poll: &Poll, token: Token) -> Result<Stream, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let address: Address = url.parse()?;
    let socket = TcpStream::connect((address.host.as_str(), address.port)).map_err(|error| wrong(&error))?;
    socket.set_nodelay(true).map_err(|error| wrong(&error))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|error| wrong(&error))?;
    let name = ServerName::try_from(address.host).map_err(|error| wrong(&error))?;
    let connection = ClientConnection::new(config, name).map_err(|error| wrong(&error))?;
    let stream = StreamOwned::new(connection, Stamped { socket, live: false, stamp: None });
    let settings = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let (mut stream, _) =
        tungstenite::client::client_with_config(url, stream, Some(settings)).map_err(|error| wrong(&error))?;
    let stamped = &mut stream.get_mut().sock;
    stamped.live = true;
    stamped.socket.set_nonblocking(true).map_err(|error| wrong(&error))?;
    sys::stamp_received(&stamped.socket).map_err(|error| wrong(&error))?;
    let mut source = mio::unix::SourceFd(&stamped.socket.as_raw_fd());
    poll.registry().register(&mut source, token, Interest::READABLE).map_err(|error| wrong(&error))?;
    Ok(stream)
}
