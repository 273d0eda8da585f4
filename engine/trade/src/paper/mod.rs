//! The paper exchange: orders against the real book, deterministic in event time.
