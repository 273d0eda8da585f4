//! A venue in the test: an authority, certificates, a TLS 1.3 server that upgrades and then does as it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use tidegate_feed::transport::{Connection, DialError, DialOptions, Limits, accept, dial, tls};

/// Nothing that is waited for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a venue shows.
pub(crate) struct Shown {
    pub(crate) host: &'static str,
    /// Year in which the certificate ends.
    pub(crate) until: i32,
    pub(crate) version: &'static SupportedProtocolVersion,
}

/// As it should be.
pub(crate) const GOOD: Shown = Shown { host: "127.0.0.1", until: 2098, version: &rustls::version::TLS13 };

/// A stream to a client, TLS or not.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The server's end of a TLS connection.
pub(crate) type Secured = StreamOwned<ServerConnection, TcpStream>;

/// A venue that serves one client.
pub(crate) struct Venue {
    pub(crate) port: u16,
    authority: PathBuf,
    _folder: tempfile::TempDir,
    thread: JoinHandle<()>,
}

impl Venue {
    /// Serves one TLS connection with `serve`; a handshake that fails ends it.
    pub(crate) fn secured(shown: &Shown, serve: impl FnOnce(Secured) + Send + 'static) -> Self {
        let (config, pem) = server_config(shown);
        Self::start(pem, move |mut socket| {
            let mut connection = ServerConnection::new(config).expect("a server");
            while connection.is_handshaking() {
                if connection.complete_io(&mut socket).is_err() {
                    return;
                }
            }
            serve(StreamOwned::new(connection, socket));
        })
    }

    /// Serves one plain connection.
    pub(crate) fn plain(serve: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        Self::start(server_config(&GOOD).1, serve)
    }

    fn start(pem: String, serve: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, pem).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            socket.set_nodelay(true).expect("no delay");
            serve(socket);
        });
        Self { port, authority, _folder: folder, thread }
    }

    /// Connects to it, or to `port` instead.
    pub(crate) fn dial_at(&self, scheme: &str, port: u16) -> Result<Connection, DialError> {
        let options = DialOptions {
            tls: tls::client_config(Some(&self.authority)).expect("an authority"),
            timeout: PATIENCE,
            limits: Limits::default(),
            busy_poll_us: 0,
        };
        dial(&format!("{scheme}://127.0.0.1:{port}/stream").parse().expect("a URL"), &options)
    }

    pub(crate) fn dial(&self) -> Result<Connection, DialError> {
        self.dial_at("wss", self.port)
    }

    /// Why there is no connection, in words.
    pub(crate) fn refusal(self, scheme: &str) -> String {
        let refusal = self.dial_at(scheme, self.port).expect_err("no connection").to_string();
        self.thread.join().expect("a venue that ends");
        refusal
    }

    /// Waits for its end.
    pub(crate) fn end(self) {
        self.thread.join().expect("a venue that ends");
    }
}

fn server_config(shown: &Shown) -> (Arc<ServerConfig>, String) {
    // Authorities of one name would be taken for each other.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec![shown.host.to_owned()]).expect("parameters");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(shown.until, 1, 1));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[shown.version])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    (Arc::new(config), pem)
}

/// Reads a request for an upgrade and gives its key.
pub(crate) fn request(stream: &mut impl Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let line = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    line.expect("a key").to_owned()
}

/// Answers a request for an upgrade as a venue does, with `more` right behind the answer.
pub(crate) fn upgrade(stream: &mut impl Stream, more: &[u8]) {
    let key = request(stream);
    let mut answer = switching(&accept(&key)).into_bytes();
    answer.extend_from_slice(more);
    stream.write_all(&answer).and_then(|()| stream.flush()).expect("an answer");
}

/// The answer to a key of which this is the digest.
pub(crate) fn switching(digest: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {digest}\r\n\r\n"
    )
}

/// Reads until the client has gone; gives how many bytes it sent.
pub(crate) fn drain(stream: &mut impl Stream) -> usize {
    let (mut buffer, mut sum) = ([0; 4096], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return sum,
            Ok(length) => sum += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return sum,
        }
    }
}
