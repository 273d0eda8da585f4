//! The control channel (E5): requests over the network whose traffic tells an observer nothing.
//!
//! # The model
//!
//! Two named processes talk over TCP with TLS 1.3 and certificates on both sides ([`keys`]). Each sends one **frame**
//! of one size ([`frame`]) at every beat of a fixed pace, whether it has something to say or not: a message goes out
//! in the frames of the next beats, and a beat without one carries **cover**. So sizes, times and counts are the same
//! idle and busy; what shows is that two hosts are connected, from when to when. Frames are sealed before their beat
//! and only written at it; what has come is read at the beats too, so that neither work nor arrivals move a beat.
//!
//! Frames carry numbers without gaps: a frame that comes again, or is missing, ends the connection. (Below them TLS
//! refuses records that were recorded: RFC 8446, appendix E.)
//!
//! Cover is padding between two of our own processes. It never becomes a request, let alone an order, and its type sees
//! to that: a [`frame::Cover`] holds nothing and turns into nothing.
//!
//! ```compile_fail,E0277
//! # use tidegate_runtime::vmsp::{Request, channel::frame::Cover};
//! fn request(cover: Cover) -> Request {
//!     Request::from(cover) // no such conversion
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use tidegate_runtime::vmsp::{Client, channel::frame::Cover};
//! fn ask(client: &Client, cover: Cover) {
//!     let _ = client.ask(cover); // expected `Request`, found `Cover`
//! }
//! ```

mod client;
pub mod frame;
pub mod keys;
mod link;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use client::ChannelClient;
pub use server::ChannelServer;

use frame::FrameError;

/// The beat, unless told otherwise.
pub const PACE: Duration = Duration::from_millis(20);

/// Where a host listens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPlan {
    /// Address and port.
    pub listen: SocketAddr,
    /// Folder with the authority's certificate and the host's own certificate and key.
    pub keys: PathBuf,
    /// The host's name.
    pub name: String,
    /// Names of those who may connect.
    pub peers: Vec<String>,
    /// The beat; both ends must have the same.
    pub pace: Duration,
}

/// A channel that cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The system or the network refused.
    #[error("{what}: {source}")]
    Io {
        /// Which file or address.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// TLS refused: a certificate, a version, a record that was changed or played back.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A key or certificate cannot be read or made.
    #[error("{path}: {reason}", path = .path.display())]
    Keys {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key's file.
    #[error(transparent)]
    Private(#[from] crate::audit::KeyError),
    /// A frame that is none, or not the next one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other end is somebody else.
    #[error("the other end's certificate is not of {expected}")]
    Peer {
        /// Who may be there.
        expected: String,
    },
    /// Nothing came for too long.
    #[error("the other end has sent nothing for {0:?}: it is gone, or its pace is another")]
    Silent(Duration),
    /// It ended.
    #[error("the channel is closed")]
    Closed,
}

impl ChannelError {
    pub(crate) fn io(what: impl ToString) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }
}
