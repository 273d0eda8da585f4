//! A client, and an exchange to connect to.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tidegate_simex::exchange::{Exchange, ExchangeConfig, FaultRecord, Limits, Venue, VenueConfig};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Nothing of what is waited for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration that serves only one venue.
pub(crate) fn only(venue: Venue) -> ExchangeConfig {
    with_limits(venue, Limits::default())
}

/// The same with other limits.
pub(crate) fn with_limits(venue: Venue, limits: Limits) -> ExchangeConfig {
    let settings = VenueConfig { limits, ..VenueConfig::default() };
    ExchangeConfig { venue: BTreeMap::from([(venue, settings)]), activity: 0.5, ..ExchangeConfig::default() }
}

/// TLS to a venue.
pub(crate) fn tls(exchange: &Exchange, venue: Venue) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(exchange.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = exchange.addresses().venues[&venue].https.strip_prefix("https://").unwrap().to_owned();
    let mut tcp = TcpStream::connect(&address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(connection, tcp))
}

/// A WebSocket client.
pub(crate) struct Client {
    pub(crate) socket: WebSocket<Stream>,
}

impl Client {
    pub(crate) fn connect(exchange: &Exchange, venue: Venue, path: &str) -> Self {
        Self::try_connect(exchange, venue, path).expect("a connection")
    }

    /// The HTTP status is the error when the handshake is refused.
    pub(crate) fn try_connect(exchange: &Exchange, venue: Venue, path: &str) -> Result<Self, u16> {
        let stream = tls(exchange, venue).map_err(|_| 0_u16)?;
        let url = format!("{}{path}", exchange.addresses().venues[&venue].wss);
        match tungstenite::client(url.into_client_request().unwrap(), stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        // A server that has just closed is found out by the next read.
        let _ = self.socket.send(Message::text(text));
    }

    /// Writes bytes past the client's framing.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.get_mut().write_all(bytes);
        let _ = self.socket.get_mut().flush();
    }

    /// The next message within a time; `None` when there is none.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Result<Message, Error>> {
        self.socket.get_ref().sock.set_read_timeout(Some(time.max(Duration::from_millis(1)))).unwrap();
        match self.socket.read() {
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            other => Some(other),
        }
    }

    /// The next text.
    pub(crate) fn text(&mut self) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.next_within(Duration::from_millis(200)) {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(_)) | None => {}
                Some(Err(error)) => panic!("{error}"),
            }
        }
        panic!("no text came");
    }

    pub(crate) fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Asks, and gives the next answer for which `wanted` holds; other messages are dropped.
    pub(crate) fn ask(&mut self, text: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.send(text);
        self.until(wanted)
    }

    /// The next message for which `wanted` holds.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let value = self.json();
            if wanted(&value) {
                return value;
            }
        }
        panic!("the message did not come");
    }

    /// Reads to the end: the close code, 0 for an end without one. Answers pings on the way.
    pub(crate) fn close_code(&mut self) -> u16 {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.next_within(Duration::from_millis(200)) {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) | None => {}
                Some(Err(_)) => return 0,
            }
        }
        panic!("the connection did not end");
    }

    /// Every JSON text until there has been none for a time.
    pub(crate) fn drain(&mut self, quiet: Duration, mut see: impl FnMut(&Value)) {
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            match self.next_within(Duration::from_millis(50)) {
                Some(Ok(Message::Text(text))) => {
                    see(&serde_json::from_str(&text).unwrap());
                    last = Instant::now();
                }
                Some(Ok(_)) | None => {}
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }
}

/// A REST answer.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// A request with headers.
pub(crate) fn rest(exchange: &Exchange, venue: Venue, target: &str, headers: &[(&str, &str)]) -> Rest {
    http(tls(exchange, venue).unwrap(), "GET", target, headers, "")
}

/// HTTP by hand over any stream.
pub(crate) fn http<S: Read + Write>(
    mut stream: S,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Rest {
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{extra}");
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    stream.flush().unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Rest { status, headers, body: serde_json::from_str(body).unwrap_or_default() }
}

/// Waits until something holds.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(value) = check() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come about");
}

/// Waits for a record of this fault.
pub(crate) fn recorded(exchange: &Exchange, id: u64) -> FaultRecord {
    eventually("the record of the fault", || exchange.faults().into_iter().find(|record| record.id == id))
}

/// Waits for a violation of this rule.
pub(crate) fn violated(exchange: &Exchange, rule: &str) {
    eventually(rule, || exchange.violations().into_iter().find(|violation| violation.rule == rule));
}

/// A decimal in units of 1e-8.
pub(crate) fn units(value: &Value) -> i64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<8}").parse().unwrap_or_else(|_| panic!("{text} is no decimal"))
}

/// A book by price.
#[derive(Debug, Default, Clone)]
pub(crate) struct Book {
    pub(crate) bids: BTreeMap<i64, i64>,
    pub(crate) asks: BTreeMap<i64, i64>,
    /// The texts, for checksums.
    pub(crate) texts: BTreeMap<(bool, i64), (String, String)>,
    pub(crate) id: i64,
    pub(crate) updates: usize,
}

impl Book {
    /// Sets or deletes levels of `[price, quantity, ...]`.
    pub(crate) fn apply(&mut self, bids: &Value, asks: &Value) {
        for (is_bid, rows) in [(true, bids), (false, asks)] {
            for row in rows.as_array().unwrap() {
                self.set(is_bid, &row[0], &row[1]);
            }
        }
    }

    pub(crate) fn set(&mut self, is_bid: bool, price: &Value, quantity: &Value) {
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        let (price_units, quantity_units) = (units(price), units(quantity));
        if quantity_units == 0 {
            side.remove(&price_units);
            self.texts.remove(&(is_bid, price_units));
        } else {
            side.insert(price_units, quantity_units);
            if let (Some(price), Some(quantity)) = (price.as_str(), quantity.as_str()) {
                self.texts.insert((is_bid, price_units), (price.to_owned(), quantity.to_owned()));
            }
        }
    }

    /// Starts anew.
    pub(crate) fn replace(&mut self, bids: &Value, asks: &Value, id: i64) {
        *self = Self { id, updates: self.updates, ..Self::default() };
        self.apply(bids, asks);
    }

    /// Best bids and asks.
    pub(crate) fn top(&self, depth: usize) -> [Vec<(i64, i64)>; 2] {
        let pair = |(price, quantity): (&i64, &i64)| (*price, *quantity);
        [self.bids.iter().rev().take(depth).map(pair).collect(), self.asks.iter().take(depth).map(pair).collect()]
    }
}
