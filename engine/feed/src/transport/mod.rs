//! Sockets: WebSocket over TLS, and REST.
//!
//! A connection is made on a cold thread ([`dial()`]) and read by a hot loop ([`Connection`]): one receive buffer in
//! which TLS records are opened and WebSocket frames decoded, so that a frame reaches its decoder without having been
//! copied. [`rest`] is cold altogether.

mod connection;
mod dial;
pub mod rest;
pub mod sys;
pub mod tls;
pub mod websocket;

pub use connection::{Connection, Ended, Incoming, Limits, Read};
pub use dial::{Address, DialError, DialOptions, accept, dial};
