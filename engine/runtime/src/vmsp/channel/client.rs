//! The end that asks.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use rustls::ClientConnection;

use super::frame::Message;
use super::link::Link;
use super::{ChannelError, keys};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection to a host, beating in a thread of its own; ends with the value.
#[derive(Debug)]
pub struct ChannelClient {
    outgoing: Sender<Vec<u8>>,
    answers: Receiver<Message>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ChannelError>>>,
}

impl ChannelClient {
    /// Connects as `name` (whose key is in `folder`) to the host called `host`, at its pace.
    ///
    /// # Errors
    /// [`ChannelError`]: nobody listens, or it is not who it should be.
    pub fn connect(
        address: SocketAddr,
        folder: &Path,
        (name, host): (&str, &str),
        pace: Duration,
    ) -> Result<Self, ChannelError> {
        let config = Arc::new(keys::Identity::read(folder, name)?.client()?);
        let socket = TcpStream::connect_timeout(&address, CONNECT).map_err(ChannelError::io(address))?;
        let link = Link::establish(ClientConnection::new(config, keys::server_name(host)?)?, socket, pace)?;
        let (outgoing, messages) = unbounded();
        let (heard, answers) = bounded(64);
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let beat = move || link.beat(&messages, &mut |message| drop(heard.try_send(message)), &ended);
        let spawned = std::thread::Builder::new().name("tide-link".into()).spawn(beat);
        let thread = spawned.map_err(ChannelError::io("a thread"))?;
        Ok(Self { outgoing, answers, over, thread: Some(thread) })
    }

    /// Says something and waits for the answer.
    ///
    /// # Errors
    /// [`ChannelError`]: the connection has ended, or nothing came within `patience`.
    pub fn ask(&mut self, message: Vec<u8>, patience: Duration) -> Result<Message, ChannelError> {
        let sent = self.outgoing.send(message).is_ok();
        match self.answers.recv_timeout(patience) {
            Ok(message) if sent => Ok(message),
            _ => Err(self.end().err().unwrap_or(ChannelError::Silent(patience))),
        }
    }

    fn end(&mut self) -> Result<(), ChannelError> {
        self.over.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        joined.map_or(Err(ChannelError::Closed), |ended| ended.unwrap_or(Err(ChannelError::Closed)))
    }
}

impl Drop for ChannelClient {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
