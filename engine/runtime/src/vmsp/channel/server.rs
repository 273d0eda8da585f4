//! The end that listens.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{bounded, unbounded};
use rustls::{ServerConfig, ServerConnection};

use super::frame::Message;
use super::link::Link;
use super::{ChannelError, ChannelPlan, keys};

/// How often the listener is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Connections at once; more are hung up on.
const CONNECTIONS: usize = 8;
/// Requests of one connection that may wait.
const WAITING: usize = 64;

/// Answers what a named peer says.
pub(crate) type Handler = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// A listener with its connections; ends with the value.
pub struct ChannelServer {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for ChannelServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ChannelServer {
    /// Listens, and answers what named peers say by `handler`, one message after the other.
    ///
    /// # Errors
    /// [`ChannelError`]: keys or the address cannot be used.
    pub fn start(
        plan: &ChannelPlan,
        handler: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Self, ChannelError> {
        let config = Arc::new(keys::Identity::read(&plan.keys, &plan.name)?.server()?);
        let listener = TcpListener::bind(plan.listen).map_err(ChannelError::io(plan.listen))?;
        listener.set_nonblocking(true).map_err(ChannelError::io(plan.listen))?;
        let address = listener.local_addr().map_err(ChannelError::io(plan.listen))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, plan, handler) = (over.clone(), plan.clone(), Arc::new(handler) as Handler);
        let accept = move || {
            let open = Arc::new(AtomicUsize::new(0));
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((socket, from)) => serve(socket, from, (&config, &plan, &handler), &open, &ended),
                    Err(_) => std::thread::sleep(POLL),
                }
            }
        };
        let spawned = std::thread::Builder::new().name("tide-channel".into()).spawn(accept);
        let thread = spawned.map_err(ChannelError::io("a thread"))?;
        Ok(Self { address, over, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ChannelServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Parts<'a> = (&'a Arc<ServerConfig>, &'a ChannelPlan, &'a Handler);

/// Serves one connection on threads of its own.
fn serve(
    socket: TcpStream,
    from: SocketAddr,
    (config, plan, handler): Parts<'_>,
    open: &Arc<AtomicUsize>,
    over: &Arc<AtomicBool>,
) {
    if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
        open.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let (config, plan, handler, over) = (config.clone(), plan.clone(), handler.clone(), over.clone());
    let mine = open.clone();
    let talk = move || {
        match converse(socket, config, &plan, &handler, &over) {
            Ok(()) | Err(ChannelError::Closed) => tracing::info!(%from, "vmsp: a channel was closed"),
            Err(error) => tracing::warn!(%from, %error, "vmsp: a channel has ended"),
        }
        mine.fetch_sub(1, Ordering::Relaxed);
    };
    if std::thread::Builder::new().name("tide-link".into()).spawn(talk).is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    plan: &ChannelPlan,
    handler: &Handler,
    over: &AtomicBool,
) -> Result<(), ChannelError> {
    socket.set_nonblocking(false).map_err(ChannelError::io("a connection"))?;
    let link = Link::establish(ServerConnection::new(config)?, socket, plan.pace)?;
    let peer = keys::peer(link.peer(), &plan.peers)?;
    tracing::info!(%peer, "vmsp: a channel was opened");
    // Work is done beside the beats, so that they do not show it.
    let (asks, asked) = bounded::<Message>(WAITING);
    let (answers, outgoing) = unbounded();
    let handler = handler.clone();
    let work = move || {
        for message in asked {
            if answers.send(handler(&peer, message.bytes())).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("tide-answer".into()).spawn(work).map_err(ChannelError::io("a thread"))?;
    let mut flooded = false;
    let mut incoming = |message| flooded |= asks.try_send(message).is_err();
    link.beat(&outgoing, &mut incoming, over)?;
    // One that asks without waiting for answers loses them, not our memory.
    if flooded {
        tracing::warn!("vmsp: a channel's peer asked more than {WAITING} things at once; the rest was not answered");
    }
    Ok(())
}
