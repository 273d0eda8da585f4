//! A node of an Ethereum chain, over JSON-RPC.
//!
//! Every call blocks until it is answered. Nothing here retries, waits or remembers: that is [`crate::keeper`]'s.

mod contract;
mod error;
mod looking;
mod sending;
mod transport;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::Ethereum;
use alloy::primitives::Address as EthAddress;
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use alloy::transports::TransportResult;

pub use contract::{claim, link};
pub use error::{ChainError, Refusal};
pub use looking::Found;
pub use sending::{Deployed, Operator, Order, Price};

use crate::claim::{Address, Block};
use crate::hexed;
use contract::LeanAnchor;

/// A node, and the chain that it said it follows.
#[derive(Debug)]
pub struct Client {
    runtime: tokio::runtime::Runtime,
    provider: RootProvider<Ethereum>,
    /// Where, without what may be secret of the address.
    node: String,
    chain: u64,
}

impl Client {
    /// Asks a node which chain it follows.
    ///
    /// # Errors
    /// [`ChainError`]: the address is none, or nobody answers.
    pub fn connect(url: &str) -> Result<Self, ChainError> {
        let node = shown(url)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| ChainError::Runtime(error.to_string()))?;
        let provider = RootProvider::new(RpcClient::new(transport::Http::new(url), false));
        let mut client = Self { runtime, provider, node, chain: 0 };
        client.chain = client.ask("asking for the chain's number", client.provider.get_chain_id())?;
        Ok(client)
    }

    /// Number of the chain (EIP-155).
    pub const fn chain(&self) -> u64 {
        self.chain
    }

    /// The node's address, without user, path and query, which may hold a secret.
    pub fn node(&self) -> &str {
        &self.node
    }

    fn ask<T>(&self, doing: &'static str, call: impl IntoFuture<Output = TransportResult<T>>) -> Result<T, ChainError> {
        self.runtime.block_on(call.into_future()).map_err(|error| ChainError::of(&self.node, doing, &error))
    }

    fn answer(&self, doing: &'static str, reason: impl Into<String>) -> ChainError {
        ChainError::Answer { node: self.node.clone(), doing, reason: reason.into() }
    }

    /// The newest block.
    ///
    /// # Errors
    /// [`ChainError`]: the node does not answer as it should.
    pub fn head(&self) -> Result<Block, ChainError> {
        let block = self.block(BlockNumberOrTag::Latest)?;
        block.ok_or_else(|| self.answer("asking for the newest block", "there is none"))
    }

    fn block(&self, which: BlockNumberOrTag) -> Result<Option<Block>, ChainError> {
        let block = self.ask("asking for a block", self.provider.get_block_by_number(which))?;
        Ok(block.map(|block| Block { number: block.header.number, hash: block.header.hash.0 }))
    }

    /// Calls a function of the contract that changes nothing, as of some block.
    fn read<C: SolCall>(&self, contract: Address, call: &C, at: &Block) -> Result<C::Return, ChainError> {
        let doing = "reading the contract";
        let request = TransactionRequest::default().to(EthAddress::from(contract)).input(call.abi_encode().into());
        let bytes = self.ask(doing, self.provider.call(request).block(BlockId::hash(at.hash.into())))?;
        C::abi_decode_returns(&bytes).map_err(|error| self.answer(doing, error.to_string()))
    }

    /// Whose anchors a contract takes, once it is certain that it is the contract of this repository.
    ///
    /// # Errors
    /// [`ChainError::Contract`]: it is another one, or none.
    pub fn operator_of(&self, contract: Address) -> Result<Address, ChainError> {
        let head = self.head()?;
        let place = self.provider.get_code_at(contract.into()).block_id(BlockId::hash(head.hash.into()));
        let code = self.ask("reading the contract's code", place)?;
        let other = |reason| ChainError::Contract { address: hexed::text(contract), chain: self.chain, reason };
        if code.is_empty() {
            return Err(other("there is no contract"));
        }
        let strange = other("another contract than the one of this program");
        let operator = match self.read(contract, &LeanAnchor::operatorCall {}, &head) {
            Ok(operator) => operator.into_array(),
            Err(error @ ChainError::Unreachable { .. }) => return Err(error),
            Err(_) => return Err(strange),
        };
        if code[..] == contract::deployed(operator)[..] { Ok(operator) } else { Err(strange) }
    }
}

/// The address of a node without user, path and query.
fn shown(url: &str) -> Result<String, ChainError> {
    // The whole of it could hold a secret, so it is not repeated.
    let wrong = || ChainError::Url("--rpc".into());
    let uri: ureq::http::Uri = url.parse().map_err(|_| wrong())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    Ok(uri.port_u16().map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_of_an_address_is_not_shown() {
        let cases = [
            ("https://ada:pw@node.example/v3/0123abcd?key=s", Some("https://node.example")),
            ("http://127.0.0.1:8545", Some("http://127.0.0.1:8545")),
            ("ws://node.example", None),
            ("node.example", None),
            ("https://", None),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url).ok().as_deref(), expected, "{url}");
        }
        assert!(!shown("ftp://node.example/secret").expect_err("no HTTP").to_string().contains("secret"));
    }
}
