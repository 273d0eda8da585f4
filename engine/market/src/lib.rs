//! Events to state.
pub mod book;
