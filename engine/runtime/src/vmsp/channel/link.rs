//! One connection: a frame each way at every beat.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use rustls::Connection;

use super::ChannelError;
use super::frame::{FRAME, Message, Packer, Received, Unpacker};

/// How long before a beat the thread stops sleeping: how late a sleeper is woken depends on what the host does besides,
/// and must not show.
const AWAKE: Duration = Duration::from_micros(300);
/// Beats without anything from the other end after which it is gone.
const SILENCE: u32 = 150;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection whose handshake is done.
pub(super) struct Link {
    tls: Connection,
    socket: TcpStream,
    packer: Packer,
    unpacker: Unpacker,
    pace: Duration,
    /// A frame that is not whole yet.
    partial: Vec<u8>,
}

impl Link {
    /// Shakes hands.
    pub(super) fn establish(
        tls: impl Into<Connection>,
        socket: TcpStream,
        pace: Duration,
    ) -> Result<Self, ChannelError> {
        let mut tls = tls.into();
        let (mut socket, until) = (socket, Instant::now() + HANDSHAKE);
        let io = || ChannelError::io("the handshake");
        socket.set_nodelay(true).map_err(io())?;
        while tls.is_handshaking() {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(left)).map_err(io())?;
            socket.set_write_timeout(Some(left)).map_err(io())?;
            tls.complete_io(&mut socket).map_err(io())?;
            if Instant::now() > until {
                return Err(io()(ErrorKind::TimedOut.into()));
            }
        }
        while tls.wants_write() {
            tls.write_tls(&mut socket).map_err(io())?;
        }
        socket.set_nonblocking(true).map_err(io())?;
        let (packer, unpacker) = (Packer::default(), Unpacker::default());
        Ok(Self { tls, socket, packer, unpacker, pace, partial: Vec::with_capacity(FRAME) })
    }

    /// The certificates of the other end.
    pub(super) fn peer(&self) -> Option<&[rustls::pki_types::CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Beats until it is over, saying what comes out of `outgoing` and handing on what has come.
    pub(super) fn beat(
        mut self,
        outgoing: &Receiver<Vec<u8>>,
        incoming: &mut dyn FnMut(Message),
        over: &AtomicBool,
    ) -> Result<(), ChannelError> {
        let mut next = Instant::now() + self.pace;
        let (mut sealed, mut silent) = (Vec::with_capacity(2 * FRAME), 0);
        while !over.load(Ordering::Relaxed) {
            self.seal(outgoing, &mut sealed)?;
            wait(next);
            self.put(&mut sealed)?;
            // A beat that was missed is left out: two at once would be another picture.
            while next <= Instant::now() {
                next += self.pace;
            }
            silent = if self.get(incoming)? { 0 } else { silent + 1 };
            if silent > SILENCE {
                return Err(ChannelError::Silent(self.pace * SILENCE));
            }
        }
        self.tls.send_close_notify();
        // Whoever is gone need not hear it.
        let _ = self.tls.write_tls(&mut self.socket);
        Ok(())
    }

    /// Seals the frame of the next beat.
    fn seal(&mut self, outgoing: &Receiver<Vec<u8>>, sealed: &mut Vec<u8>) -> Result<(), ChannelError> {
        if !self.packer.is_busy()
            && let Ok(message) = outgoing.try_recv()
        {
            self.packer.say(message)?;
        }
        let io = || ChannelError::io("sealing a frame");
        self.tls.writer().write_all(&self.packer.frame()).map_err(io())?;
        while self.tls.wants_write() {
            self.tls.write_tls(sealed).map_err(io())?;
        }
        Ok(())
    }

    /// Writes what is sealed; what the network does not take now goes first at the next beat.
    fn put(&mut self, sealed: &mut Vec<u8>) -> Result<(), ChannelError> {
        match self.socket.write(sealed) {
            Ok(written) => drop(sealed.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(ChannelError::io("sending a frame")(error)),
        }
        // A peer that takes nothing for so long is as good as gone.
        if sealed.len() > SILENCE as usize * 2 * FRAME {
            return Err(ChannelError::Silent(self.pace * SILENCE));
        }
        Ok(())
    }

    /// Takes what has come; whether anything has.
    fn get(&mut self, incoming: &mut dyn FnMut(Message)) -> Result<bool, ChannelError> {
        let mut some = false;
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(_) => some = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(some),
                Err(error) => return Err(ChannelError::io("receiving")(error)),
            }
            let state = self.tls.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain).map_err(ChannelError::io("receiving"))?;
            self.partial.extend_from_slice(&plain);
            while let Some((frame, rest)) = self.partial.split_first_chunk::<FRAME>() {
                if let Received::Message(message) = self.unpacker.take(frame)? {
                    incoming(message);
                }
                self.partial = rest.to_vec();
            }
            if state.peer_has_closed() {
                return Err(ChannelError::Closed);
            }
        }
    }
}

/// Sleeps, and is awake when the time comes.
fn wait(until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    if left > AWAKE {
        std::thread::sleep(left - AWAKE);
    }
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
