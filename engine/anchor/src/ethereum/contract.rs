//! The contract as alloy sees it: its ABI out of the JSON file in the repository, its code, its links.

use std::sync::LazyLock;

use alloy::primitives::{B256, keccak256};
use alloy::sol_types::SolValue;
use serde::Deserialize;

use crate::claim::{Address, Claim, Link};
use crate::hexed;

#[allow(missing_docs, unreachable_pub, reason = "generated from the ABI")]
mod abi {
    alloy::sol!(LeanAnchor, "contract/LeanAnchor.json");
}

pub(super) use abi::LeanAnchor;

/// What the repository has of the compiled contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    #[serde(with = "hexed")]
    bytecode: Vec<u8>,
    #[serde(with = "hexed")]
    deployed_bytecode: Vec<u8>,
    /// Where in the deployed code the operator's address stands, as a word of 32 bytes.
    operator_at: Vec<usize>,
}

static ARTIFACT: LazyLock<Artifact> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../contract/LeanAnchor.json")).expect("the build holds the compiled contract")
});

/// The code that makes a contract for this operator.
pub(super) fn creation(operator: Address) -> Vec<u8> {
    let argument = LeanAnchor::constructorCall { operator_: operator.into() };
    [&ARTIFACT.bytecode[..], &alloy::sol_types::SolConstructor::abi_encode(&argument)].concat()
}

/// The code that lies on the chain then.
pub(super) fn deployed(operator: Address) -> Vec<u8> {
    let mut code = ARTIFACT.deployed_bytecode.clone();
    for at in &ARTIFACT.operator_at {
        if let Some(word) = code.get_mut(at + 12..at + 32) {
            word.copy_from_slice(&operator);
        }
    }
    code
}

/// The link of an anchor, as the contract computes it.
pub fn link(previous: Link, log: [u8; 32], seq: u64, size: u64, root: [u8; 32]) -> Link {
    let words = (B256::from(previous), B256::from(log), seq, size, B256::from(root));
    keccak256(words.abi_encode()).0
}

/// The anchor that follows a link.
pub fn claim(log: [u8; 32], previous: Link, seq: u64, size: u64, root: [u8; 32]) -> Claim {
    Claim { log, seq, size, root, previous, link: link(previous, log, seq, size, root) }
}
