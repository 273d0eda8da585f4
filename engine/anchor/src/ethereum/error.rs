//! What a node or the contract says no with.

use alloy::rpc::json_rpc::RpcError;
use alloy::transports::{TransportError, TransportErrorKind};

use super::contract::LeanAnchor::LeanAnchorErrors;
use crate::hexed;

/// The contract's own refusals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another account than the operator's.
    #[error(
        "the contract takes anchors of its operator only, not of {0}: use the operator's key, or deploy a contract"
    )]
    NotOperator(String),
    /// It does not follow from the newest anchor.
    #[error(
        "the contract's newest link is {have}, not {given}: somebody anchored meanwhile, or the chain re-organised"
    )]
    WrongPrevious {
        /// The contract's.
        have: String,
        /// The one given.
        given: String,
    },
    /// It covers no more than the newest anchor.
    #[error("the contract has an anchor of {have} entries, and {given} are not more")]
    SizeNotGrowing {
        /// The contract's.
        have: u64,
        /// The one given.
        given: u64,
    },
}

/// What goes wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No answer.
    #[error("{node}: {doing}: no answer: {reason}")]
    Unreachable {
        /// Which node, without what may be secret of its address.
        node: String,
        /// What was asked.
        doing: &'static str,
        /// Why there is none.
        reason: String,
    },
    /// An answer that is an error, or none that can be understood.
    #[error("{node}: {doing}: {reason}")]
    Answer {
        /// Which node.
        node: String,
        /// What was asked.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
    /// The contract refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Gas is too dear.
    #[error("gas costs {needed} wei, and no more than {cap} may be paid: wait, or allow more (--max-fee-gwei)")]
    Fee {
        /// What would have to be offered, wei a unit.
        needed: u64,
        /// What may be, wei a unit.
        cap: u64,
    },
    /// What lies at the address is not the contract of this repository.
    #[error("{address} on chain {chain}: {reason}: give the address that `audit deploy-anchor` printed")]
    Contract {
        /// The address.
        address: String,
        /// The chain.
        chain: u64,
        /// What is there instead.
        reason: &'static str,
    },
    /// The chain re-organised between two questions.
    #[error("the chain changed while it was read: try again")]
    Changed,
    /// The key cannot sign.
    #[error("no key of an Ethereum account: {0}")]
    Key(String),
    /// The address of the node is none.
    #[error("{0}: no address of a node: expected http:// or https://")]
    Url(String),
    /// The system gives no runtime.
    #[error("the client cannot be started: {0}")]
    Runtime(String),
}

impl ChainError {
    /// Whether asking again later may help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Answer { .. } | Self::Changed | Self::Fee { .. })
    }

    pub(super) fn of(node: &str, doing: &'static str, error: &TransportError) -> Self {
        let node = node.to_owned();
        match error {
            RpcError::ErrorResp(payload) => match payload.as_decoded_interface_error::<LeanAnchorErrors>() {
                Some(refusal) => Self::Refused(refusal.into()),
                None => Self::Answer { node, doing, reason: payload.message.to_string() },
            },
            RpcError::Transport(TransportErrorKind::HttpError(error)) => {
                Self::Unreachable { node, doing, reason: format!("HTTP status {}", error.status) }
            }
            RpcError::Transport(TransportErrorKind::Custom(error)) => {
                Self::Unreachable { node, doing, reason: error.to_string() }
            }
            RpcError::DeserError { err, .. } => {
                Self::Answer { node, doing, reason: format!("cannot be understood: {err}") }
            }
            other => Self::Answer { node, doing, reason: other.to_string() },
        }
    }
}

impl From<LeanAnchorErrors> for Refusal {
    fn from(error: LeanAnchorErrors) -> Self {
        match error {
            LeanAnchorErrors::NotOperator(error) => Self::NotOperator(hexed::text(error.sender)),
            LeanAnchorErrors::WrongPrevious(error) => {
                Self::WrongPrevious { have: hexed::text(error.have), given: hexed::text(error.given) }
            }
            LeanAnchorErrors::SizeNotGrowing(error) => Self::SizeNotGrowing { have: error.have, given: error.given },
        }
    }
}
