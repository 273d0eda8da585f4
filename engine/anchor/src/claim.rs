//! What an anchor says, and what has become of it.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};
use tidegate_record::hash::{self, Hash};
use tidegate_record::note::Verifier;

use crate::hexed;

/// End of a log's chain of anchors: `keccak256(abi.encode(previous, log, seq, size, root))`; zero before the first.
pub type Link = [u8; 32];
/// An account or a contract.
pub type Address = [u8; 20];

/// How the contract names a log: RFC 6962's leaf hash of its key's text (`name+id+key`), so that two logs of one name
/// are two logs.
pub fn log_id(key: &Verifier) -> Hash {
    hash::leaf(key.text().as_bytes())
}

/// One anchor, as the contract took it or shall take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which log.
    #[serde(with = "hexed")]
    pub log: Hash,
    /// How many anchors of it there are with this one.
    pub seq: u64,
    /// Entries of the log that it covers.
    pub size: u64,
    /// Root over them.
    #[serde(with = "hexed")]
    pub root: Hash,
    /// Link of the anchor before.
    #[serde(with = "hexed")]
    pub previous: Link,
    /// Its own link.
    #[serde(with = "hexed")]
    pub link: Link,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash.
    #[serde(with = "hexed")]
    pub hash: [u8; 32],
}

/// The contract's newest anchor of a log; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its link.
    pub link: Link,
    /// Entries that it covers.
    pub size: u64,
    /// How many there are.
    pub seq: u64,
    /// Height of its block.
    pub block: u64,
}

/// A signed transaction that carries an anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its hash.
    #[serde(with = "hexed")]
    pub tx: [u8; 32],
    /// Its number among the account's.
    pub nonce: u64,
    /// Most it pays for a unit of gas, wei.
    pub max_fee: u64,
    /// Most of that for whoever proposes the block, wei.
    pub max_priority_fee: u64,
    /// Units of gas it may use.
    pub gas_limit: u64,
    /// Height of the chain when it was sent first, or when a re-organisation took it out of its block.
    pub sent_at: u64,
    /// Its bytes: what is sent again when a re-organisation loses it.
    #[serde(with = "hexed")]
    pub raw: Vec<u8>,
}

/// How far an anchor has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Stage {
    /// Sent, or about to be; in no block of the chain as it is now.
    Submitted,
    /// In a block.
    Included,
    /// In a block that lies k deep. A count, not the chain's finality: a deeper re-organisation undoes it.
    Confirmed,
    /// In a block that the chain calls safe.
    Safe,
    /// In a block that the chain calls finalized.
    Finalized,
}

/// Heights of the chain at which stages were first seen; an anchor that a re-organisation undoes loses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Included.
    pub included: Option<u64>,
    /// Confirmed.
    pub confirmed: Option<u64>,
    /// Safe.
    pub safe: Option<u64>,
    /// Finalized.
    pub finalized: Option<u64>,
}

/// An anchor of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// What it says.
    pub claim: Claim,
    /// Height of the chain when it was made: where waiting is counted from.
    pub sealed_at: u64,
    /// The transactions that carry it, oldest first; at most one enters. None for one found on the chain.
    pub attempts: Vec<Attempt>,
    /// The block it is in.
    pub block: Option<Block>,
    /// The transaction that entered.
    #[serde(with = "optional_hash")]
    pub tx: Option<[u8; 32]>,
    /// Units of gas that used.
    pub gas_used: Option<u64>,
    /// What was seen of it, and when.
    pub seen: Seen,
    /// How often a re-organisation undid it.
    pub undone: u32,
    /// Number of the log's own entry about it.
    pub entry: Option<u64>,
}

impl Anchor {
    /// One that was not sent yet.
    pub fn new(claim: Claim, sealed_at: u64) -> Self {
        let seen = Seen::default();
        Self {
            claim,
            sealed_at,
            attempts: Vec::new(),
            block: None,
            tx: None,
            gas_used: None,
            seen,
            undone: 0,
            entry: None,
        }
    }

    /// How far it has come. Safe and finalized are what the chain says, however deep it lies.
    pub fn stage(&self) -> Stage {
        match self.seen {
            Seen { finalized: Some(_), .. } => Stage::Finalized,
            Seen { safe: Some(_), .. } => Stage::Safe,
            Seen { confirmed: Some(_), .. } => Stage::Confirmed,
            Seen { included: Some(_), .. } => Stage::Included,
            _ => Stage::Submitted,
        }
    }

    /// Whether it lies k deep.
    pub const fn is_confirmed(&self) -> bool {
        self.seen.confirmed.is_some()
    }

    /// Blocks from its making until it was seen k deep.
    pub fn waited(&self) -> Option<u64> {
        Some(self.seen.confirmed?.saturating_sub(self.sealed_at))
    }
}

/// A hash that may not be there yet.
mod optional_hash {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Hex(#[serde(with = "crate::hexed")] [u8; 32]);

    pub(super) fn serialize<S: Serializer>(hash: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
        hash.map(Hex).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
        Ok(Option::<Hex>::deserialize(from)?.map(|hex| hex.0))
    }
}
