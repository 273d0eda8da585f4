//! Connections: TLS, HTTP, WebSocket frames, and the faults that happen to bytes.
//!
//! * `listen` accepts, shakes hands and hands over.
//! * `deframe` turns bytes into messages and says what was wrong with them.
//! * `reader` runs the venue's protocol over what comes in.
//! * `writer` sends what the venue has to say; frames fall to faults there, byte by byte if need be.

mod deframe;
mod listen;
mod reader;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

pub(crate) use listen::{Reply, listen, whole};

use super::fault::Planned;
use super::market::Frame;

/// What goes to a client, in order.
pub(crate) enum Out {
    /// A message of a channel; faults may fall on it.
    Data(Arc<Frame>),
    /// An answer.
    Text(String),
    /// A WebSocket ping.
    Ping(Vec<u8>),
    /// A WebSocket pong.
    Pong(Vec<u8>),
    /// The end.
    Close { code: u16, reason: String },
    /// The end without a word.
    Cut,
    /// A fault of the whole connection begins.
    Fault(Planned),
    /// Nothing is to be held back any more.
    Flush,
}

/// What the exchange tells a connection's protocol.
pub(crate) enum Command {
    /// The login has run out.
    ExpireLogin(Planned),
    /// The connection has reached its age.
    Cut(Planned),
}

/// The way to one client.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Out>,
    shared: Arc<Shared>,
}

/// What both directions of a connection and its outboxes share.
#[derive(Default)]
pub(crate) struct Shared {
    /// The client is too slow.
    full: AtomicBool,
    /// Data goes out in Binance's wrapper.
    combined: AtomicBool,
    /// Nothing is read or written any more.
    pub(crate) dead: AtomicBool,
    /// Messages of channels sent.
    pub(crate) sent: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> (Self, mpsc::Receiver<Out>) {
        let (queue, receiver) = mpsc::channel(capacity.max(16));
        (Self { queue, shared: Arc::default() }, receiver)
    }

    /// Queues; what does not fit marks the client as too slow and is gone.
    pub(crate) fn send(&self, out: Out) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(out) {
            self.shared.full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something did not fit.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Whether data goes out in Binance's wrapper.
    pub(crate) fn combined(&self) -> bool {
        self.shared.combined.load(Ordering::Relaxed)
    }

    pub(crate) fn set_combined(&self, combined: bool) {
        self.shared.combined.store(combined, Ordering::Relaxed);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
