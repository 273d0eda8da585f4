//! TLS 1.3 records, opened where they were received.
//!
//! rustls does the handshake (certificates, keys, versions) on a cold thread; then its `KernelConnection` gives the
//! traffic keys, as it does for the kernel's own TLS, and records are opened here by ring's AEADs. That way a record is
//! decrypted in the receive buffer and its plaintext put right behind the plaintext before it, in the same pass: no
//! allocation and no copy of its own. rustls's own readers allocate once a record and copy twice (measured: 1.00
//! allocations, 550 to 570 ns for 1.8 KB, against 0).
//!
//! Only TLS 1.3: every venue here speaks it. Source: RFC 8446, sections named beside the code.

use std::sync::Arc;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, ConnectionTrafficSecrets, RootCertStore};

/// Bytes of a record's header.
pub const HEADER: usize = 5;
/// Most bytes of a record behind its header (5.2).
pub const RECORD_MAX: usize = (1 << 14) + 256;
/// Bytes that sealing adds: header, content type, tag.
pub const SEAL_EXTRA: usize = HEADER + 1 + TAG;
const TAG: usize = 16;

/// Records that may be sealed with one key: AES-GCM's confidentiality limit (5.5). A market-data client sends a few a
/// minute; one that comes near closes and reconnects.
const SEALED_MAX: u64 = 1 << 23;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Why a TLS connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A record that does not open: damaged on the way, or not from the other end.
    #[error("a TLS record does not open: damaged or forged")]
    Forged,
    /// Not a TLS 1.3 record.
    #[error("malformed TLS record")]
    Malformed,
    /// The other end ended the connection with an error.
    #[error("TLS alert {0}")]
    Alert(u8),
    /// Keys cannot be made or have been used too often.
    #[error("TLS keys: {0}")]
    Keys(String),
}

/// One direction's key.
struct Key {
    aead: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Key {
    fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Result<Self, TlsError> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(TlsError::Keys("an unknown cipher suite".into())),
        };
        let aead =
            UnboundKey::new(algorithm, key.as_ref()).map_err(|_| TlsError::Keys("a key of wrong size".into()))?;
        let iv = iv.as_ref().try_into().map_err(|_| TlsError::Keys("an IV of wrong size".into()))?;
        Ok(Self { aead: LessSafeKey::new(aead), iv, sequence })
    }

    /// The nonce of the next record (5.3).
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Application data: this many bytes of plaintext.
    Data(usize),
    /// A message of the protocol itself: done with.
    Nothing,
    /// The other end sends no more.
    Closed,
    /// The other end has changed its key and wants ours changed: send what [`Records::key_update`] writes.
    UpdateWanted,
}

/// Both directions of an established connection.
pub struct Records {
    opening: Key,
    sealing: Key,
    keys: KernelConnection<ClientConnectionData>,
}

impl core::fmt::Debug for Records {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Keys are not for logs.
        let (opened, sealed) = (self.opening.sequence, self.sealing.sequence);
        f.debug_struct("Records").field("opened", &opened).field("sealed", &sealed).finish_non_exhaustive()
    }
}

impl Records {
    fn new(secrets: rustls::ExtractedSecrets, keys: KernelConnection<ClientConnectionData>) -> Result<Self, TlsError> {
        let ((tx_sequence, tx), (rx_sequence, rx)) = (secrets.tx, secrets.rx);
        Ok(Self { opening: Key::new(rx_sequence, &rx)?, sealing: Key::new(tx_sequence, &tx)?, keys })
    }

    /// Length of the record at the front of `bytes`, header included; `None` until the header has come.
    ///
    /// # Errors
    /// [`TlsError::Malformed`].
    #[inline(always)]
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
        let &[kind, _, _, high, low, ..] = bytes else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Outside application data only a compatibility message of the handshake (20) or a bare alert can come.
        if !(20..=APPLICATION_DATA).contains(&kind) || length > RECORD_MAX {
            return Err(TlsError::Malformed);
        }
        Ok(Some(HEADER + length))
    }

    /// Opens the whole record at `buffer[at..]`; its plaintext goes to the front of `buffer`.
    ///
    /// # Errors
    /// See [`TlsError`]; the connection must be closed.
    #[inline]
    pub fn open(&mut self, buffer: &mut [u8], at: usize) -> Result<Opened, TlsError> {
        let header: [u8; HEADER] =
            buffer.get(at..at + HEADER).and_then(|header| header.try_into().ok()).ok_or(TlsError::Malformed)?;
        if header[0] != APPLICATION_DATA {
            return Self::plain(header[0], &buffer[at + HEADER..]);
        }
        let nonce = self.opening.nonce();
        let plain = self
            .opening
            .aead
            .open_within(nonce, Aad::from(header), buffer, at + HEADER..)
            .map_err(|_| TlsError::Forged)?;
        // Behind the content stand its type and any number of zeros (5.2).
        let padded = plain.iter().rev().take_while(|byte| **byte == 0).count();
        let length = plain.len() - padded;
        match plain[..length].split_last() {
            Some((&APPLICATION_DATA, content)) => Ok(Opened::Data(content.len())),
            Some((&ALERT, &[_, 0])) => Ok(Opened::Closed),
            Some((&ALERT, &[_, code])) => Err(TlsError::Alert(code)),
            Some((&HANDSHAKE, messages)) => Self::handshake(&mut self.opening, &mut self.keys, messages),
            _ => Err(TlsError::Malformed),
        }
    }

    /// Records that are not encrypted: a change of cipher spec says nothing (D.4), an alert ends the connection.
    #[cold]
    fn plain(kind: u8, content: &[u8]) -> Result<Opened, TlsError> {
        match (kind, content) {
            (20, [1]) => Ok(Opened::Nothing),
            (ALERT, &[_, code]) => Err(TlsError::Alert(code)),
            _ => Err(TlsError::Malformed),
        }
    }

    /// Messages after the handshake (4.6): tickets for later connections and changes of the key.
    #[cold]
    fn handshake(
        opening: &mut Key,
        keys: &mut KernelConnection<ClientConnectionData>,
        mut messages: &[u8],
    ) -> Result<Opened, TlsError> {
        let mut wanted = Opened::Nothing;
        while let &[kind, a, b, c, ref rest @ ..] = messages {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let (body, after) = rest.split_at_checked(length).ok_or(TlsError::Malformed)?;
            messages = after;
            match (kind, body) {
                // A ticket that rustls does not like costs a full handshake next time, no more.
                (NEW_SESSION_TICKET, ticket) => _ = keys.handle_new_session_ticket(ticket),
                (KEY_UPDATE, &[request @ (0 | 1)]) => {
                    let (sequence, secret) = keys.update_rx_secret().map_err(|e| TlsError::Keys(e.to_string()))?;
                    *opening = Key::new(sequence, &secret)?;
                    if request == 1 {
                        wanted = Opened::UpdateWanted;
                    }
                }
                _ => return Err(TlsError::Malformed),
            }
        }
        if messages.is_empty() { Ok(wanted) } else { Err(TlsError::Malformed) }
    }

    /// Seals `content` into one record at the front of `out` and gives its length.
    ///
    /// # Errors
    /// [`TlsError::Keys`] when `out` is too small, `content` longer than a record, or the key worn out.
    pub fn seal(&mut self, content: &[u8], out: &mut [u8]) -> Result<usize, TlsError> {
        self.seal_as(APPLICATION_DATA, content, out)
    }

    /// Writes the notice that our key changes, and changes it.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn key_update(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        let length = self.seal_as(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        let (sequence, secret) = self.keys.update_tx_secret().map_err(|error| TlsError::Keys(error.to_string()))?;
        self.sealing = Key::new(sequence, &secret)?;
        Ok(length)
    }

    /// Writes the notice that we send no more.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn close(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        self.seal_as(ALERT, &[1, 0], out)
    }

    fn seal_as(&mut self, kind: u8, content: &[u8], out: &mut [u8]) -> Result<usize, TlsError> {
        let total = content.len() + SEAL_EXTRA;
        let refuse = |why: &str| Err(TlsError::Keys(why.into()));
        if content.len() > 1 << 14 || out.len() < total {
            return refuse("a message longer than its record");
        }
        if self.sealing.sequence >= SEALED_MAX {
            return refuse("worn out, a new connection is needed");
        }
        let length = ((total - HEADER) as u16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, length[0], length[1]];
        let (head, body) = out[..total].split_at_mut(HEADER);
        head.copy_from_slice(&header);
        body[..content.len()].copy_from_slice(content);
        body[content.len()] = kind;
        let (inner, tag) = body.split_at_mut(content.len() + 1);
        let nonce = self.sealing.nonce();
        let sealed = self.sealing.aead.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
        tag.copy_from_slice(sealed.map_err(|_| TlsError::Keys("sealing failed".into()))?.as_ref());
        Ok(total)
    }
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// [`Handshake::outgoing`] is to be sent, and cleared.
    Write,
    /// More is to be received into [`Handshake::incoming`].
    Read,
    /// Nothing: it is done.
    Nothing,
}

/// A handshake without a socket: whoever has one moves the bytes.
pub struct Handshake {
    client: UnbufferedClientConnection,
    /// What was received and not yet used.
    pub incoming: Vec<u8>,
    /// What is to be sent.
    pub outgoing: Vec<u8>,
}

impl core::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Secrets are not for logs.
        let (unused, unsent) = (self.incoming.len(), self.outgoing.len());
        f.debug_struct("Handshake").field("unused", &unused).field("unsent", &unsent).finish_non_exhaustive()
    }
}

impl Handshake {
    /// A handshake with `host`, a name or an IP address.
    ///
    /// # Errors
    /// No server can have that name, or what rustls says.
    pub fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let client = UnbufferedClientConnection::new(config, name).map_err(|error| error.to_string())?;
        Ok(Self { client, incoming: Vec::new(), outgoing: Vec::new() })
    }

    /// Goes on as far as it can.
    ///
    /// # Errors
    /// What is wrong with the server, in words.
    pub fn proceed(&mut self) -> Result<Wants, String> {
        loop {
            let UnbufferedStatus { discard, state } = self.client.process_tls_records(&mut self.incoming);
            let wants = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Some(Wants::Write)
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Wants::Read),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Wants::Nothing),
                Ok(_) => return Err("ended during the handshake".into()),
                Err(error) => return Err(error.to_string()),
            };
            self.incoming.drain(..discard);
            if let Some(wants) = wants {
                return Ok(wants);
            }
        }
    }

    /// Its keys, and what was received behind it.
    ///
    /// # Errors
    /// See [`TlsError::Keys`].
    pub fn finish(self) -> Result<(Records, Vec<u8>), TlsError> {
        let kernel = self.client.dangerous_into_kernel_connection();
        let (secrets, keys) = kernel.map_err(|error| TlsError::Keys(error.to_string()))?;
        Ok((Records::new(secrets, keys)?, self.incoming))
    }
}

fn encode(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> Result<(), String> {
    let filled = out.len();
    let mut room = 1024;
    loop {
        out.resize(filled + room, 0);
        match write(&mut out[filled..]) {
            Ok(written) => {
                out.truncate(filled + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => room = size.required_size,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Whom to trust: the public authorities, or those of a file of certificates (PEM) instead.
///
/// # Errors
/// What is wrong with the file.
pub fn client_config(authorities: Option<&std::path::Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = match authorities {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => read_authorities(path)?,
    };
    let mut provider = rustls::crypto::ring::default_provider();
    // The server takes the first that it knows: AES-128 costs a seventh less than AES-256 here.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

fn read_authorities(path: &std::path::Path) -> Result<RootCertStore, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let wrong = |what: &dyn core::fmt::Display| format!("{}: {what}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"no certificate in it, expected PEM")) } else { Ok(roots) }
}
