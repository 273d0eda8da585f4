//! Transactions: made, priced, signed and sent.

use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TxSignerSync;
use alloy::primitives::{Bytes, TxKind};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;

use super::contract::{self, LeanAnchor};
use super::{ChainError, Client};
use crate::claim::{Address, Attempt, Claim};

/// Gas that a transaction may use beyond the estimate, in percent: the first anchor of a log costs more than the
/// others, and a re-organisation may make a later one the first.
const MARGIN: u64 = 25;

/// The account that anchors.
#[derive(Debug)]
pub struct Operator(PrivateKeySigner);

impl Operator {
    /// From a secret key of secp256k1.
    ///
    /// # Errors
    /// [`ChainError::Key`]: it is none.
    pub fn of_secret(secret: &[u8; 32]) -> Result<Self, ChainError> {
        let signer = PrivateKeySigner::from_slice(secret);
        // What the library says could repeat the key.
        signer.map(Self).map_err(|_| ChainError::Key("out of the curve's range".into()))
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.0.address().into_array()
    }
}

/// What a transaction may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Most for a unit of gas, wei.
    pub cap: u64,
    /// The transaction that it replaces: nodes want at least a tenth more, it offers an eighth.
    pub above: Option<(u64, u64)>,
}

/// What a transaction does.
#[derive(Debug)]
pub enum Order<'a> {
    /// Brings an anchor to a contract.
    Anchor(Address, &'a Claim),
    /// Makes a contract for the account that pays.
    Deploy,
}

/// A contract that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its address.
    pub contract: Address,
    /// Height of its block.
    pub block: u64,
    /// Units of gas that took.
    pub gas_used: u64,
}

fn wei(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// An eighth more, rounded up.
fn raised(fee: u64) -> u64 {
    fee.saturating_add(fee.div_ceil(8))
}

/// Fees to offer: what the chain asks for now, at least an eighth above what is replaced, within the cap.
fn offer(base: u64, estimate: (u64, u64), price: Price) -> Result<(u64, u64), ChainError> {
    let floor = price.above.map_or((0, 0), |(fee, tip)| (raised(fee), raised(tip)));
    let tip = estimate.1.max(floor.1);
    let needed = base.saturating_add(tip).max(floor.0);
    if needed > price.cap {
        return Err(ChainError::Fee { needed, cap: price.cap });
    }
    // Twice the base fee leaves room for six full blocks; see alloy's own estimate.
    Ok((estimate.0.max(needed).min(price.cap), tip))
}

impl Client {
    /// Signs a transaction. Its gas is estimated, so a contract that would refuse it refuses here.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn draft(&self, from: &Operator, order: &Order<'_>, price: Price) -> Result<Attempt, ChainError> {
        let address = from.0.address();
        let (to, input): (TxKind, Bytes) = match order {
            Order::Anchor(contract, claim) => {
                let call = LeanAnchor::anchorCall {
                    log: claim.log.into(),
                    size: claim.size,
                    root: claim.root.into(),
                    previous: claim.previous.into(),
                };
                (TxKind::Call((*contract).into()), call.abi_encode().into())
            }
            Order::Deploy => (TxKind::Create, contract::creation(from.address()).into()),
        };
        let latest = BlockId::Number(BlockNumberOrTag::Latest);
        let head = self.ask("asking for the newest block", self.provider.get_block(latest))?;
        let head = head.ok_or(ChainError::Changed)?.header;
        // The chain's own count, not one kept here: a re-organisation takes numbers back, and a gap is never mined.
        let count = self.provider.get_transaction_count(address).block_id(latest);
        let nonce = self.ask("asking for the account's transactions", count)?;
        let request = TransactionRequest { to: Some(to), ..TransactionRequest::default() };
        let request = request.from(address).input(input.clone().into());
        let gas = self.ask("estimating gas", self.provider.estimate_gas(request).block(latest))?;
        let gas_limit = gas.saturating_add(gas.saturating_mul(MARGIN) / 100);
        let estimate = self.ask("asking for the price of gas", self.provider.estimate_eip1559_fees())?;
        let estimate = (wei(estimate.max_fee_per_gas), wei(estimate.max_priority_fee_per_gas));
        let (max_fee, max_priority_fee) = offer(head.base_fee_per_gas.unwrap_or(0), estimate, price)?;
        let mut transaction = TxEip1559 {
            chain_id: self.chain,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee.into(),
            max_priority_fee_per_gas: max_priority_fee.into(),
            to,
            input,
            ..TxEip1559::default()
        };
        let signature = from.0.sign_transaction_sync(&mut transaction);
        let signed = transaction.into_signed(signature.map_err(|error| ChainError::Key(error.to_string()))?);
        let (tx, raw) = (signed.hash().0, signed.encoded_2718());
        Ok(Attempt { tx, nonce, max_fee, max_priority_fee, gas_limit, sent_at: head.number, raw })
    }

    /// Sends a transaction. That the node has it already is no error.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn send(&self, attempt: &Attempt) -> Result<(), ChainError> {
        match self.ask("sending a transaction", self.provider.send_raw_transaction(&attempt.raw)) {
            Err(ChainError::Answer { reason, .. }) if reason.contains("already") => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    /// Makes a contract that takes anchors of this account, and waits until it is in a block.
    ///
    /// # Errors
    /// [`ChainError`]; [`ChainError::Answer`] when no block has it in time.
    pub fn deploy(&self, operator: &Operator, cap: u64, patience: Duration) -> Result<Deployed, ChainError> {
        let doing = "making the contract";
        let attempt = self.draft(operator, &Order::Deploy, Price { cap, above: None })?;
        self.send(&attempt)?;
        let (start, tx) = (Instant::now(), attempt.tx);
        while start.elapsed() < patience {
            let receipt = self.ask("asking for a receipt", self.provider.get_transaction_receipt(tx.into()))?;
            if let Some(receipt) = receipt {
                let contract = receipt.contract_address.filter(|_| receipt.status());
                let contract = contract.ok_or_else(|| self.answer(doing, "the chain refused it"))?.into_array();
                let (block, gas_used) = (receipt.block_number.unwrap_or_default(), receipt.gas_used);
                return Ok(Deployed { contract, block, gas_used });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let tx = crate::hexed::text(tx);
        Err(self.answer(
            doing,
            format!("transaction {tx} is in no block after {patience:?}: look for it before trying again"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_follow_the_chain_rise_by_an_eighth_and_never_pass_the_cap() {
        let price = |cap, above| Price { cap, above };
        assert_eq!(offer(10, (22, 2), price(100, None)), Ok((22, 2)));
        assert_eq!(offer(10, (22, 2), price(15, None)), Ok((15, 2)), "enough for now, and no more than the cap");
        assert_eq!(offer(10, (22, 2), price(11, None)), Err(ChainError::Fee { needed: 12, cap: 11 }));
        assert_eq!(offer(10, (22, 2), price(100, Some((40, 7)))), Ok((45, 8)));
        assert_eq!(offer(10, (22, 2), price(44, Some((40, 7)))), Err(ChainError::Fee { needed: 45, cap: 44 }));
        assert_eq!(offer(50, (102, 2), price(200, Some((40, 7)))), Ok((102, 8)));
        assert_eq!((raised(8), raised(9), raised(0), raised(u64::MAX)), (9, 11, 0, u64::MAX));
    }
}
