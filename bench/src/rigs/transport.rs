//! TLS records in memory to messages delivered: our connection against tungstenite over rustls.
//!
//! Each candidate has a server of its own, which seals a batch of frames, a record a frame, into memory before the
//! clock starts; a read gives one record, as a socket does when frames come one by one. Copies of a payload: ours is
//! copied out of the "socket" and decrypted to where it is delivered; rustls decrypts it in its receive buffer, copies
//! it into a block made for the record and from there into tungstenite's read buffer, of which tungstenite hands out a
//! share.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use tidegate_feed::transport::sys::{Received, Socket};
use tidegate_feed::transport::tls::{self, Handshake, Wants};
use tidegate_feed::transport::websocket::Role;
use tidegate_feed::transport::{Connection, Limits, Read as Came};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use crate::alloc;
use crate::corpus::{self, Frames};
use crate::peers::client::READ_BUFFER;
use crate::report::{Options, Report, Table};
use crate::timing::{Stopwatch, keep, median, paired, quantile};
use crate::websocket;

/// Frames sealed at a time.
const BATCH: usize = 256;
/// Whom the certificate is for.
pub(super) const HOST: &str = "localhost";
const ROWS: [&str; 3] = ["our connection", "tungstenite, 16 KiB, rustls", "tungstenite, default, rustls"];
const OURS: usize = 0;
const TUNED: usize = 1;

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("transport", options, watch);
    for (name, frames) in
        [("depth_79", corpus::depth(BATCH, 79)), ("aggTrade", corpus::small(BATCH, |maker| maker.trade(true)))]
    {
        if let Err(error) = measure(&mut report, options, watch, name, &frames) {
            report.check(false, format!("{name}: {error}"));
        }
    }
    report
}

/// What a server has sealed and a client has not read.
#[derive(Debug, Default)]
struct Wire {
    bytes: Vec<u8>,
    at: usize,
}

/// A client's end of it.
#[derive(Clone, Debug, Default)]
struct Memory(Rc<RefCell<Wire>>);

impl Read for Memory {
    /// One record, or as much of it as there is room for.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let rest = &wire.bytes[wire.at..];
        if rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let whole = tls::Records::length(rest).ok().flatten().unwrap_or(rest.len());
        let length = whole.min(rest.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        wire.at += length;
        Ok(length)
    }
}

impl Write for Memory {
    /// Nobody answers here.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Memory {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        self.read(buffer).map(|bytes| Received { bytes, kernel_ns: None })
    }
}

/// The client of a candidate.
enum Client {
    Ours(Box<Connection<Memory>>),
    Tungstenite(Box<WebSocket<StreamOwned<ClientConnection, Memory>>>),
}

impl Client {
    /// Reads everything there is; gives the number of messages and something of each.
    fn read_all(&mut self) -> Result<(usize, u64), String> {
        let (mut count, mut sum) = (0, 0);
        let mut take = |payload: &[u8]| {
            (count, sum) = (count + 1, sum + payload.len() as u64 + u64::from(payload[payload.len() / 2]));
        };
        match self {
            Self::Ours(connection) => loop {
                while let Some(message) = connection.next_message().map_err(|ended| ended.to_string())? {
                    take(&message.padded[..message.length]);
                }
                if connection.read().map_err(|ended| ended.to_string())? == Came::Nothing {
                    return Ok((count, sum));
                }
            },
            Self::Tungstenite(stream) => loop {
                match stream.read() {
                    Ok(Message::Text(text)) => take(text.as_bytes()),
                    Ok(_) => {}
                    Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok((count, sum));
                    }
                    Err(error) => return Err(error.to_string()),
                }
            },
        }
    }
}

/// A client, its server and what was measured.
struct Candidate {
    client: Client,
    server: ServerConnection,
    wire: Memory,
    /// Every batch, ns a frame; medians of repetitions; allocations and their bytes.
    batches: Vec<f64>,
    rounds: Vec<f64>,
    best: f64,
    allocs: (u64, u64),
    frames: u64,
}

impl Candidate {
    fn new(row: usize, configs: &(Arc<ClientConfig>, Arc<ServerConfig>)) -> Result<Self, String> {
        let wire = Memory::default();
        let mut server = ServerConnection::new(configs.1.clone()).map_err(|error| error.to_string())?;
        let client = if row == OURS {
            ours(&mut server, configs.0.clone(), wire.clone())?
        } else {
            let settings = WebSocketConfig::default();
            let settings = if row == TUNED { settings.read_buffer_size(READ_BUFFER) } else { settings };
            theirs(&mut server, configs.0.clone(), wire.clone(), settings)?
        };
        let (batches, rounds) = (Vec::with_capacity(1 << 12), Vec::new());
        Ok(Self { client, server, wire, batches, rounds, best: f64::MAX, allocs: (0, 0), frames: 0 })
    }

    /// Seals all frames, a record each.
    fn seal(&mut self, frames: &Frames) -> io::Result<()> {
        let mut wire = self.wire.0.borrow_mut();
        wire.bytes.clear();
        wire.at = 0;
        let mut head = [0; websocket::HEADER_MAX];
        let mut frame = Vec::new();
        for index in 0..frames.len() {
            let payload = frames.get(index);
            let length = websocket::write_header(&mut head, payload.len());
            frame.clear();
            frame.extend_from_slice(&head[..length]);
            frame.extend_from_slice(payload);
            self.server.writer().write_all(&frame)?;
            while self.server.wants_write() {
                self.server.write_tls(&mut wire.bytes)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, watch: &Stopwatch, frames: &Frames) -> Result<(usize, u64), String> {
        self.seal(frames).map_err(|error| error.to_string())?;
        let before = alloc::counted();
        let start = watch.start();
        let read = keep(self.client.read_all()?);
        let ticks = watch.since(start);
        let after = alloc::counted();
        self.allocs = (self.allocs.0 + after.0 - before.0, self.allocs.1 + after.1 - before.1);
        self.frames += read.0 as u64;
        self.batches.push(watch.ns_raw(ticks) / frames.len() as f64);
        Ok(read)
    }

    fn end_round(&mut self) {
        self.rounds.push(quantile(&mut self.batches, 0.5));
        self.best = self.best.min(self.batches[0]);
        self.batches.clear();
    }

    fn forget(&mut self) {
        (self.allocs, self.frames) = ((0, 0), 0);
        self.batches.clear();
    }
}

/// Our client after a handshake in memory.
fn ours(server: &mut ServerConnection, config: Arc<ClientConfig>, wire: Memory) -> Result<Client, String> {
    let mut shake = Handshake::new(config, HOST)?;
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    loop {
        match shake.proceed()? {
            Wants::Nothing => break,
            Wants::Write => {
                let mut sent = &shake.outgoing[..];
                while !sent.is_empty() {
                    server.read_tls(&mut sent).map_err(|error| wrong(&error))?;
                    server.process_new_packets().map_err(|error| wrong(&error))?;
                }
                shake.outgoing.clear();
            }
            Wants::Read => _ = server.write_tls(&mut shake.incoming).map_err(|error| wrong(&error))?,
        }
    }
    let (records, early) = shake.finish().map_err(|error| wrong(&error))?;
    let connection = Connection::new(wire, Some(records), Role::Client, Limits::default(), &early);
    Ok(Client::Ours(Box::new(connection)))
}

/// Their client after a handshake in memory.
fn theirs(
    server: &mut ServerConnection,
    config: Arc<ClientConfig>,
    wire: Memory,
    settings: WebSocketConfig,
) -> Result<Client, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let name = ServerName::try_from(HOST).map_err(|error| wrong(&error))?;
    let mut client = ClientConnection::new(config, name).map_err(|error| wrong(&error))?;
    let mut bytes = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut bytes).map_err(|error| wrong(&error))?;
        }
        let mut sent = &bytes[..];
        while !sent.is_empty() {
            server.read_tls(&mut sent).map_err(|error| wrong(&error))?;
            server.process_new_packets().map_err(|error| wrong(&error))?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).map_err(|error| wrong(&error))?;
        }
        let mut sent = &bytes[..];
        while !sent.is_empty() {
            client.read_tls(&mut sent).map_err(|error| wrong(&error))?;
            client.process_new_packets().map_err(|error| wrong(&error))?;
        }
        bytes.clear();
    }
    let stream = StreamOwned::new(client, wire);
    let role = tungstenite::protocol::Role::Client;
    Ok(Client::Tungstenite(Box::new(WebSocket::from_raw_socket(stream, role, Some(settings)))))
}

/// A client that trusts an authority of this moment, and the server that it signed.
pub(super) fn configs() -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let mut params = CertificateParams::new(Vec::new()).map_err(|error| wrong(&error))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(|error| wrong(&error))?;
    let authority = params.self_signed(&key).map_err(|error| wrong(&error))?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().map_err(|error| wrong(&error))?;
    let params = CertificateParams::new(vec![HOST.to_owned()]).map_err(|error| wrong(&error))?;
    let certificate = params.signed_by(&key, &issuer).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| wrong(&error))?;
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(|error| wrong(&error))?;
    let file = tempfile::NamedTempFile::new().map_err(|error| wrong(&error))?;
    std::fs::write(file.path(), authority.pem()).map_err(|error| wrong(&error))?;
    Ok((tls::client_config(Some(file.path()))?, Arc::new(server)))
}

fn measure(
    report: &mut Report,
    options: &Options,
    watch: &Stopwatch,
    name: &str,
    frames: &Frames,
) -> Result<(), String> {
    let configs = configs()?;
    let mut candidates =
        (0..ROWS.len()).map(|row| Candidate::new(row, &configs)).collect::<Result<Vec<_>, String>>()?;
    for candidate in &mut candidates {
        // Tickets come with the first batch.
        (0..4).try_for_each(|_| candidate.batch(watch, frames).map(drop))?;
        candidate.forget();
    }
    let (rounds, batches) = if options.quick { (2, 2) } else { (options.reps.max(5), 60) };
    for _ in 0..rounds {
        for _ in 0..batches {
            let read = candidates.iter_mut().map(|one| one.batch(watch, frames)).collect::<Result<Vec<_>, String>>()?;
            let same = read.iter().all(|one| *one == read[OURS]) && read[OURS].0 == frames.len();
            report.check(same, format!("{name}: every candidate delivers the same messages: {read:?}"));
        }
        candidates.iter_mut().for_each(Candidate::end_round);
    }
    let title = format!(
        "{name}: TLS records in memory to messages, {:.0} bytes a frame, a record a read; ns a frame, median of \
         {rounds} repetitions of {batches} batches in turns",
        frames.mean_bytes()
    );
    let mut table = Table::new(title, &["median", "best", "ours to it", "allocs", "alloc bytes"]);
    for (row, candidate) in ROWS.iter().zip(&candidates) {
        let per_frame = |count: u64| count as f64 / candidate.frames.max(1) as f64;
        let ratio = paired(&candidates[OURS].rounds, &candidate.rounds);
        let (allocs, bytes) = candidate.allocs;
        table.row(*row, &[median(&candidate.rounds), candidate.best, ratio, per_frame(allocs), per_frame(bytes)]);
    }
    report.table(table);
    let ratio = paired(&candidates[OURS].rounds, &candidates[TUNED].rounds);
    report.ratio(format!("transport_{name}_to_tungstenite"), ratio, 1.0, "x");
    report.ratio(format!("transport_{name}_allocs"), candidates[OURS].allocs.0 as f64, 0.0, "allocs");
    Ok(())
}
