//! From a URL to an established connection: name, TCP, TLS, upgrade. Cold: it blocks, with a deadline.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;

use super::connection::{Connection, Ended, Limits, Read};
use super::sys;
use super::tls::{Handshake, Records, Wants};
use super::websocket::Role;

/// Where a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// TLS or not; without it only for tests and tunnels on the same host.
    pub secure: bool,
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}, expected wss://HOST[:PORT]/PATH");
        let url: http::Uri = text.parse().map_err(|_| wrong())?;
        let secure = match url.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(wrong()),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { secure, host, port, path })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Whom to trust.
    pub tls: Arc<ClientConfig>,
    /// All of it must be done in this time.
    pub timeout: Duration,
    /// Limits of the connection.
    pub limits: Limits,
    /// Poll the device's queue for up to this long at each read, us; 0 leaves it.
    pub busy_poll_us: u32,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("{host}: no address: {reason}")]
    Name {
        /// Which host.
        host: String,
        /// Why.
        reason: String,
    },
    /// No address answers.
    #[error("TCP: {0}")]
    Tcp(std::io::Error),
    /// The certificate is not trusted, or no version in common.
    #[error("TLS: {0}")]
    Tls(String),
    /// The venue answers, but not with a WebSocket.
    #[error("HTTP status {status}{}", .retry_after.map_or(String::new(), |s| format!(", retry after {s} s")))]
    Refused {
        /// HTTP status.
        status: u16,
        /// What its `Retry-After` says, s.
        retry_after: Option<u64>,
    },
    /// Not a WebSocket handshake.
    #[error("WebSocket handshake: {0}")]
    Handshake(&'static str),
    /// Not in time.
    #[error("not connected within {0:?}")]
    Late(Duration),
    /// Broken off meanwhile.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Connects, and upgrades to a WebSocket.
///
/// # Errors
/// See [`DialError`].
pub fn dial(address: &Address, options: &DialOptions) -> Result<Connection, DialError> {
    let deadline = Instant::now() + options.timeout;
    let late = || DialError::Late(options.timeout);
    let mut socket = connect(address, deadline).map_err(|error| lateness(error, late))?;
    let (mut tls, mut early) = (None, Vec::new());
    if address.secure {
        let (records, unread) = handshake(&mut socket, address, options, deadline, &late)?;
        (tls, early) = (Some(records), unread);
    }
    // From here on the socket is read as the hot loop will.
    let tcp = |error| DialError::Tcp(error);
    socket.set_read_timeout(None).map_err(tcp)?;
    socket.set_nonblocking(true).map_err(tcp)?;
    // Neither is there on every host, and nothing depends on them but precision and speed.
    let _ = sys::stamp_received(&socket);
    if options.busy_poll_us > 0 {
        let _ = sys::busy_poll(&socket, options.busy_poll_us);
    }
    let socket = mio::net::TcpStream::from_std(socket);
    let mut connection = Connection::new(socket, tls, Role::Client, options.limits, &early);
    upgrade(&mut connection, address, deadline, &late)?;
    Ok(connection)
}

fn lateness(error: DialError, late: impl Fn() -> DialError) -> DialError {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    match error {
        DialError::Tcp(error) if matches!(error.kind(), TimedOut | WouldBlock) => late(),
        other => other,
    }
}

fn left(deadline: Instant) -> Duration {
    // A time-out of zero would mean none at all.
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Tries each address of the host in turn.
fn connect(address: &Address, deadline: Instant) -> Result<TcpStream, DialError> {
    let name = |reason: String| DialError::Name { host: address.host.clone(), reason };
    let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(|error| name(error.to_string()))?;
    let mut last = name("the resolver gave none".into());
    for socket_address in found {
        match TcpStream::connect_timeout(&socket_address, left(deadline)) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(DialError::Tcp)?;
                return Ok(socket);
            }
            Err(error) => last = DialError::Tcp(error),
        }
    }
    Err(last)
}

/// The TLS handshake: keys, and what was read behind it.
fn handshake(
    socket: &mut TcpStream,
    address: &Address,
    options: &DialOptions,
    deadline: Instant,
    late: &impl Fn() -> DialError,
) -> Result<(Records, Vec<u8>), DialError> {
    let mut shake = Handshake::new(options.tls.clone(), &address.host).map_err(DialError::Tls)?;
    loop {
        match shake.proceed() {
            Ok(Wants::Nothing) => break,
            Ok(Wants::Write) => {
                socket.set_write_timeout(Some(left(deadline))).map_err(DialError::Tcp)?;
                socket.write_all(&shake.outgoing).map_err(|error| lateness(DialError::Tcp(error), late))?;
                shake.outgoing.clear();
            }
            Ok(Wants::Read) => {
                if Instant::now() >= deadline {
                    return Err(late());
                }
                socket.set_read_timeout(Some(left(deadline))).map_err(DialError::Tcp)?;
                let filled = shake.incoming.len();
                shake.incoming.resize(filled + 16 * 1024, 0);
                let read = socket.read(&mut shake.incoming[filled..]);
                let read = read.map_err(|error| lateness(DialError::Tcp(error), late))?;
                shake.incoming.truncate(filled + read);
                if read == 0 {
                    return Err(DialError::Tls("the venue ended the handshake".into()));
                }
            }
            Err(reason) => return Err(DialError::Tls(reason)),
        }
    }
    shake.finish().map_err(|error| DialError::Tls(error.to_string()))
}

/// The opening handshake (RFC 6455, 4.1).
fn upgrade(
    connection: &mut Connection,
    address: &Address,
    deadline: Instant,
    late: &impl Fn() -> DialError,
) -> Result<(), DialError> {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).map_err(|_| DialError::Handshake("no randomness from the system"))?;
    let key = STANDARD.encode(nonce);
    let Address { host, port, path, .. } = address;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: tidegate/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    connection.send_raw(request.as_bytes())?;
    loop {
        if let Some(used) = answer(connection.plaintext(), &key)? {
            connection.skip(used);
            return Ok(());
        }
        // One at a time: what is wrong with a record behind the answer is not the handshake's business.
        if connection.open_record()? {
            continue;
        }
        if Instant::now() >= deadline {
            return Err(late());
        }
        connection.flush()?;
        if connection.read()? == Read::Nothing {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Checks the venue's answer; gives the length of its head, or `None` while it has not come in full.
fn answer(bytes: &[u8], key: &str) -> Result<Option<usize>, DialError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if bytes.len() > 64 * 1024 => {
            return Err(DialError::Handshake("endless headers"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(DialError::Handshake("not HTTP")),
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.unwrap_or(0);
    if status != 101 {
        return Err(DialError::Refused {
            status,
            retry_after: header("retry-after").and_then(super::rest::retry_after),
        });
    }
    let says = |name: &str, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !says("upgrade", "websocket") || !says("connection", "upgrade") {
        return Err(DialError::Handshake("the answer does not upgrade to a WebSocket"));
    }
    if header("sec-websocket-accept") != Some(&accept(key)) {
        return Err(DialError::Handshake("the answer is to another request"));
    }
    if header("sec-websocket-extensions").is_some() || header("sec-websocket-protocol").is_some() {
        return Err(DialError::Handshake("an extension or protocol that was not offered"));
    }
    Ok(Some(used))
}

/// What a server must answer to a key (RFC 6455, 1.3).
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}
