//! Live sessions with venues.
//!
//! ```text
//!   cold                                        hot
//!   ┌───────────────┐  connections, texts      ┌──────────────────────────────┐
//!   │ session thread│ ───────────────────────▶ │ hub: read, open, decode, feed│ ─▶ events
//!   │ links' states │ ◀─────────────────────── │                              │
//!   └──┬─────────┬──┘  acks, errors, ends      └──────────────────────────────┘
//!      │ dial    │ REST      ◀── board: who was heard when, which books wait
//! ```
//!
//! The hot loop owns its sockets and does nothing but read ([`hub`]). A connection is made elsewhere; what
//! is no market data goes to the session thread ([`desk`]), which runs one state machine a connection ([`link`]) in the
//! words of its venue ([`dialect`]).

mod acts;
pub mod backoff;
pub mod board;
pub mod budget;
pub mod clock;
pub mod credentials;
pub mod definitions;
pub mod desk;
pub mod dialect;
pub mod hub;
pub mod link;
pub mod plan;
mod rest_desk;
pub mod status;
