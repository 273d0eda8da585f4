//! Who sees it and asks for something: the stream server, the dashboard, metrics, Redis, alerts.
//!
//! # The model
//!
//! Whoever knows something puts it into the [`Hub`]: the newest value of a topic and key, or the next entry of a
//! numbered log. Neither waits for anybody. One [`Server`] (one thread, one event loop) shows the hub to its clients:
//!
//! | way | what it gives |
//! |---|---|
//! | `/ws` | topics that a client subscribes to, prices that clients tell each other |
//! | `/api/state`, `/api/events` | the same as JSON, for scripts, and for what a client has missed |
//! | `/api/do` | requests to the engine: who may, is [`access`]'s matter; what happens, the engine's ([`Steering`]) |
//! | `/metrics`, `/healthz`, `/readyz` | OpenMetrics from the histograms and counters that the engine keeps anyway |
//! | `/` | the dashboard, a page that loads nothing from elsewhere |
//!
//! State is latest-only: a client gets the newest value at its own pace, and what came between is not queued for it.
//! Logs are numbered: each client has its place in a bounded ring that all share, so a thousand clients cost no more
//! memory than one. One that does not take what it is sent is dropped with a close code and counted; one that falls
//! behind the ring is told what it has missed. The hub's locks are held for an entry's envelope and copies of
//! pointers only.

pub mod access;
pub mod hub;
pub mod metrics;
mod page;
mod patient;
pub mod protocol;
pub mod redis;
pub mod routes;
mod server;
mod stream;
pub mod tls;
pub mod topic;
pub mod webhooks;

pub use hub::Hub;
pub use server::{Limits, ServeError, Server, Settings, Steering};
pub use topic::Topic;
