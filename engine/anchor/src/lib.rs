//! Checkpoints of the audit log on an Ethereum chain.
//!
//! Whoever holds a log's signing key can write another history for those who hold no checkpoint of it. An anchor takes
//! that away: the newest checkpoint's size and root go into a small contract (`contract/LeanAnchor.sol`), which takes
//! sizes that grow, in one chain of hashes, from one account. The history of anchors is then the chain's to keep.
//!
//! [`claim`] has the words, [`tracker`] is the state machine from *submitted* to *finalized*, [`journal`] keeps anchors
//! through restarts. With the feature `ethereum`, [`ethereum`] talks to a node over JSON-RPC, [`keeper`] anchors, and
//! [`history`] reads a log's anchors back and compares them with the log.
//!
//! An anchor that lies *k* blocks deep is confirmed, which is no finality: a deeper re-organisation undoes it. What the
//! chain itself calls safe and finalized is reported apart.

pub mod claim;
#[cfg(feature = "ethereum")]
pub mod ethereum;
pub mod hexed;
#[cfg(feature = "ethereum")]
pub mod history;
pub mod journal;
#[cfg(feature = "ethereum")]
pub mod keeper;
pub mod tracker;

pub use claim::{Anchor, Claim, Stage, log_id};
