//! What happened, provably.
//!
//! # The model
//!
//! Everything worth keeping is an **entry** ([`entry`]): a fixed header and a canonical body. Entries are the leaves
//! of an append-only Merkle tree ([`tree`], RFC 6962). A [`journal`] makes them durable in batches; about once a
//! second the log writes the tree's new **tiles** ([`tiles`], C2SP `tlog-tiles`) and signs a **checkpoint**
//! ([`checkpoint`]): name, size and root. Whoever holds a checkpoint can tell any later change of what it covers;
//! **proofs** ([`proof`]) show single entries, or that one checkpoint's tree begins with another's, to somebody who
//! has nothing else.
//!
//! [`log::Log`] writes, [`log::Archive`] reads and proves, [`log::Tail`] follows a log that is being written,
//! [`log::verify`] recomputes everything. With the feature `store`, what a log tells is kept in a database too, as an
//! index that can be made again.
//!
//! What this promises and what not: a change of the past is detectable by everybody who holds an earlier checkpoint.
//! Whoever has the signing key can write another history for those who hold none; that is what anchors are for.

pub mod checkpoint;
pub mod entry;
mod exclusive;
mod file_error;
pub mod hash;
pub mod journal;
pub mod log;
pub mod note;
pub mod proof;
pub mod proof_file;
pub mod saved;
pub mod service;
#[cfg(feature = "store")]
pub mod store;
pub mod tiles;
pub mod tree;

pub use checkpoint::Checkpoint;
pub use exclusive::exclusive;
pub use file_error::FileError;
pub use hash::Hash;
