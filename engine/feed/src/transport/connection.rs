//! An established connection: one receive buffer, records opened and frames decoded inside it.
//!
//! ```text
//!  0         delivered        plain           sealed          filled          size  + padding
//!  │ delivered │ messages to come │ (free) │ records to open │ room for reads │  PADDING │
//! ```
//!
//! A read appends at `filled`; opening a record moves its plaintext down to `plain`; the decoder names messages before
//! `plain`. When the room behind `filled` is short, what is still needed moves to the front; when nothing is needed any
//! more, the next read begins there. Nothing allocates.

use std::io;
use std::ops::Range;

use mio::net::TcpStream;

use super::sys::{Received, Socket};
use super::tls::{Opened, Records, SEAL_EXTRA, TlsError};
use super::websocket::{self, Decoder, Encoder, HEAD_MAX, Kind, NoRoom, Role, Violation};
use crate::frame::PADDING;

/// Reads are offered at least this much room: a TLS record of the largest size.
const READ_ROOM: usize = 32 * 1024;
/// Payload of one sealed record.
const RECORD: usize = 16 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The other end closed the WebSocket; with its status code where it gave one.
    #[error("closed by the venue{}", .code.map_or(String::new(), |code| format!(" with code {code}")))]
    Closed {
        /// Status code.
        code: Option<u16>,
    },
    /// The stream ended without a close frame: the other end, or something between, broke it off.
    #[error("the connection broke off without a close frame")]
    BrokenOff,
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The other end broke the WebSocket protocol.
    #[error("WebSocket: {0}")]
    Violation(#[from] Violation),
    /// The other end does not read what it is sent.
    #[error("the venue does not read what it is sent")]
    Stuck,
}

impl From<NoRoom> for Ended {
    fn from(_: NoRoom) -> Self {
        Self::Stuck
    }
}

/// Limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message accepted, bytes.
    pub message: usize,
    /// Bytes that may wait for a peer that does not read, twice the longest message to be sent; more than that and the
    /// peer is dead.
    pub send: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A full book of 1,000 levels a side is under 100 KB on every venue here.
        Self { message: 2 << 20, send: 256 << 10 }
    }
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes came; `more` may follow at once.
    Some {
        /// When the kernel had them, ns since the Unix epoch.
        kernel_ns: Option<i64>,
        /// The read filled the room it had.
        more: bool,
    },
    /// Nothing was there.
    Nothing,
}

/// A message in the receive buffer, valid until the next call.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Text or binary; control frames are answered by the connection itself.
    pub kind: Kind,
    /// The payload's length, bytes.
    pub length: usize,
    /// The payload and [`PADDING`] bytes behind it.
    pub padded: &'a mut [u8],
}

/// A WebSocket connection after its handshake. Owned by the loop that reads it.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    socket: S,
    tls: Option<Records>,
    decoder: Decoder,
    encoder: Encoder,
    buffer: Box<[u8]>,
    plain: usize,
    sealed: usize,
    filled: usize,
    out: Box<[u8]>,
    /// What of `out` is still to be written.
    unsent: Range<usize>,
    scratch: Box<[u8]>,
    close_sent: bool,
    /// Bytes came with the handshake's answer and have not been looked at.
    early: bool,
    /// Pings answered and pongs received.
    pings: u64,
    pongs: u64,
}

impl<S: Socket> Connection<S> {
    /// A connection over `socket`; `early` is what was read behind the handshake: records if there is `tls`, else
    /// frames.
    pub fn new(socket: S, tls: Option<Records>, role: Role, limits: Limits, early: &[u8]) -> Self {
        let size = limits.message + early.len() + HEAD_MAX + 2 * READ_ROOM;
        let mut buffer = vec![0; size + PADDING].into_boxed_slice();
        buffer[..early.len()].copy_from_slice(early);
        let plain = if tls.is_some() { 0 } else { early.len() };
        Self {
            socket,
            tls,
            decoder: Decoder::new(role, limits.message),
            encoder: Encoder::new(role),
            buffer,
            plain,
            sealed: plain,
            filled: early.len(),
            out: vec![0; limits.send].into_boxed_slice(),
            unsent: 0..0,
            scratch: vec![0; limits.send / 2].into_boxed_slice(),
            close_sent: false,
            early: false,
            pings: 0,
            pongs: 0,
        }
    }

    /// Takes what was read and not used (the response's head is `used` bytes of plaintext) over into a WebSocket.
    pub(super) fn skip(&mut self, used: usize) {
        self.buffer.copy_within(used..self.filled, 0);
        self.plain -= used;
        self.sealed -= used;
        self.filled -= used;
        self.early = self.filled > 0;
    }

    /// The socket, for the poller.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Pings answered and pongs received so far.
    pub const fn heartbeats(&self) -> (u64, u64) {
        (self.pings, self.pongs)
    }

    /// Reads once from the socket.
    ///
    /// # Errors
    /// [`Ended::BrokenOff`] at the stream's end, or what the socket said.
    #[inline]
    pub fn read(&mut self) -> Result<Read, Ended> {
        let size = self.buffer.len() - PADDING;
        if self.sealed == self.filled && self.decoder.rewind(self.plain) {
            // Everything was delivered: the next read goes where the last one went, into lines that are in the cache.
            self.filled = 0;
            (self.plain, self.sealed) = (0, 0);
        } else if size - self.filled < READ_ROOM {
            self.make_room();
        }
        let room = &mut self.buffer[self.filled..size];
        let wanted = room.len();
        match self.socket.receive(room) {
            Ok(Received { bytes: 0, .. }) => Err(Ended::BrokenOff),
            Ok(Received { bytes, kernel_ns }) => {
                self.filled += bytes;
                if self.tls.is_none() {
                    (self.plain, self.sealed) = (self.filled, self.filled);
                }
                Ok(Read::Some { kernel_ns, more: bytes == wanted })
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                // What came with the handshake's answer is to be delivered although nothing follows it.
                let early = core::mem::take(&mut self.early);
                Ok(if early { Read::Some { kernel_ns: None, more: false } } else { Read::Nothing })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// See [`Socket::acknowledge`].
    #[inline]
    pub fn acknowledge(&mut self) {
        self.socket.acknowledge();
    }

    /// Moves what is still needed to the front. The buffer holds a message of the largest size, a frame's head and two
    /// reads, so there is room for a read afterwards.
    #[cold]
    fn make_room(&mut self) {
        let plain = self.decoder.squeeze(&mut self.buffer, self.plain);
        self.buffer.copy_within(self.sealed..self.filled, plain);
        self.filled = plain + (self.filled - self.sealed);
        (self.plain, self.sealed) = (plain, plain);
        if self.tls.is_none() {
            (self.plain, self.sealed) = (self.filled, self.filled);
        }
    }

    /// The next text or binary message that has come in full; `None` when more must be read first. Pings are answered
    /// and a close frame is returned here.
    ///
    /// # Errors
    /// The connection has ended; a close frame was sent where the protocol asks for one.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<Incoming<'_>>, Ended> {
        let at = loop {
            match self.decoder.next(&mut self.buffer[..self.plain]) {
                Ok(Some(websocket::Message { kind: kind @ (Kind::Text | Kind::Binary), at })) => break (kind, at),
                Ok(Some(control)) => self.control(&control)?,
                Ok(None) if self.open_record()? => {}
                Ok(None) => return Ok(None),
                Err(violation) => return self.fail(violation),
            }
        };
        let (kind, at) = at;
        Ok(Some(Incoming { kind, length: at.len(), padded: &mut self.buffer[at.start..] }))
    }

    #[cold]
    fn fail(&mut self, violation: Violation) -> Result<Option<Incoming<'_>>, Ended> {
        // The other end may be gone already: what is wrong with it matters more.
        let _ = self.close(violation.code(), "");
        Err(violation.into())
    }

    /// Opens the next record; false when none has come in full.
    #[inline]
    pub(super) fn open_record(&mut self) -> Result<bool, Ended> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let Some(length) = Records::length(&self.buffer[self.sealed..self.filled])? else { return Ok(false) };
        let end = self.sealed + length;
        if end > self.filled {
            return Ok(false);
        }
        let opened = tls.open(&mut self.buffer[self.plain..end], self.sealed - self.plain)?;
        self.sealed = end;
        match opened {
            Opened::Data(bytes) => self.plain += bytes,
            Opened::Nothing => {}
            Opened::Closed => return Err(Ended::BrokenOff),
            Opened::UpdateWanted => self.update_key()?,
        }
        Ok(true)
    }

    #[cold]
    fn update_key(&mut self) -> Result<(), Ended> {
        self.pack();
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let written = tls.key_update(&mut self.out[self.unsent.end..])?;
        self.unsent.end += written;
        self.flush()
    }

    #[cold]
    fn control(&mut self, message: &websocket::Message) -> Result<(), Ended> {
        let mut payload = [0; websocket::CONTROL_MAX];
        let length = message.at.len();
        payload[..length].copy_from_slice(&self.buffer[message.at.clone()]);
        let payload = &payload[..length];
        match message.kind {
            Kind::Ping => {
                self.pings += 1;
                self.send(Kind::Pong, payload)
            }
            Kind::Pong => {
                self.pongs += 1;
                Ok(())
            }
            _ => {
                let code = websocket::close_reason(payload)?.map(|(code, _)| code);
                if !self.close_sent {
                    self.close_sent = true;
                    self.send(Kind::Close, &payload[..length.min(2)])?;
                }
                Err(Ended::Closed { code })
            }
        }
    }

    /// Sends a message, or as much of it as the socket takes now; the rest goes with [`Self::flush`].
    ///
    /// # Errors
    /// [`Ended::Stuck`] when too much waits already, or what the socket said.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Ended> {
        let length = self.encoder.write(kind, payload, &mut self.scratch)?;
        self.queue(length)
    }

    /// Sends a close frame; nothing may be sent after it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), Ended> {
        if core::mem::replace(&mut self.close_sent, true) {
            return Ok(());
        }
        let length = self.encoder.write_close(code, reason, &mut self.scratch)?;
        self.queue(length)?;
        self.pack();
        if let Some(tls) = &mut self.tls {
            let written = tls.close(&mut self.out[self.unsent.end..])?;
            self.unsent.end += written;
        }
        self.flush()
    }

    /// Queues the first `length` bytes of the scratch buffer and writes what the socket takes.
    pub(super) fn queue(&mut self, length: usize) -> Result<(), Ended> {
        self.pack();
        let content = &self.scratch[..length];
        match &mut self.tls {
            Some(tls) => {
                for part in content.chunks(RECORD) {
                    let room = &mut self.out[self.unsent.end..];
                    if room.len() < part.len() + SEAL_EXTRA {
                        return Err(Ended::Stuck);
                    }
                    self.unsent.end += tls.seal(part, room)?;
                }
            }
            None => {
                let room = self.out.get_mut(self.unsent.end..self.unsent.end + length).ok_or(Ended::Stuck)?;
                room.copy_from_slice(content);
                self.unsent.end += length;
            }
        }
        self.flush()
    }

    /// Moves what is unsent to the front of the send buffer.
    fn pack(&mut self) {
        self.out.copy_within(self.unsent.clone(), 0);
        self.unsent = 0..self.unsent.len();
    }

    /// Whether something waits to be written.
    pub const fn is_unsent(&self) -> bool {
        self.unsent.start < self.unsent.end
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// What the socket said.
    pub fn flush(&mut self) -> Result<(), Ended> {
        while self.is_unsent() {
            match self.socket.write(&self.out[self.unsent.clone()]) {
                Ok(0) => return Err(Ended::BrokenOff),
                Ok(written) => self.unsent.start += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent = 0..0;
        Ok(())
    }

    /// Plaintext that has come and not been used, before there is a WebSocket.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.buffer[..self.plain]
    }

    /// Sends bytes that are no frame, before there is a WebSocket.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let room = self.scratch.get_mut(..bytes.len()).ok_or(Ended::Stuck)?;
        room.copy_from_slice(bytes);
        self.queue(bytes.len())
    }
}
