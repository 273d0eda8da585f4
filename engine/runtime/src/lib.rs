//! The pinned loops that join the rooms: topology, wait strategies, supervision, replay, host checks.

pub mod hiccup;
pub mod hlog;
pub mod host;
