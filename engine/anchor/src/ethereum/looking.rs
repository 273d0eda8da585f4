//! What a node is asked: where anchors are, what the contract has.

use alloy::eips::BlockId;
use alloy::eips::BlockNumberOrTag;
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;

use super::contract::LeanAnchor;
use super::{ChainError, Client, claim};
use crate::claim::{Address, Anchor, Block, Claim, Head};
use crate::journal::Place;
use crate::tracker::{Receipt, View};

/// An anchor as it lies on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says; its link was recomputed.
    pub claim: Claim,
    /// Where it is.
    pub block: Block,
    /// The transaction that brought it.
    pub tx: [u8; 32],
}

impl Client {
    /// The contract's newest anchor of a log, as of some block.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn newest(&self, place: &Place, at: &Block) -> Result<Head, ChainError> {
        let head = self.read(place.contract, &LeanAnchor::headsCall(place.log.into()), at)?;
        Ok(Head { link: head.link.0, size: head.size, seq: head.seq, block: head.blockNumber })
    }

    /// Heights up to which the chain calls itself safe and finalized; `None` from a node that knows no such thing.
    ///
    /// # Errors
    /// [`ChainError`]: the node does not answer.
    pub fn tags(&self) -> Result<(Option<u64>, Option<u64>), ChainError> {
        let tag = |tag| match self.block(tag) {
            Ok(block) => Ok(block.map(|block| block.number)),
            Err(ChainError::Answer { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        Ok((tag(BlockNumberOrTag::Safe)?, tag(BlockNumberOrTag::Finalized)?))
    }

    /// Looks at everything that anchors which are not finalized depend on.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn look(&self, place: &Place, operator: Address, anchors: &[Anchor]) -> Result<View, ChainError> {
        let head = self.head()?;
        let contract = self.newest(place, &head)?;
        let count = self.provider.get_transaction_count(operator.into()).block_id(BlockId::hash(head.hash.into()));
        let nonce = self.ask("asking for the account's transactions", count)?;
        let (safe, finalized) = self.tags()?;
        let (receipts, known) = Default::default();
        let mut view = View { head, safe, finalized, nonce, contract, receipts, known };
        for anchor in anchors.iter().filter(|anchor| anchor.seen.finalized.is_none()) {
            let seq = anchor.claim.seq;
            if let Some(receipt) = self.receipt_of(anchor, &head)? {
                view.receipts.insert(seq, receipt);
                if receipt.succeeded {
                    continue;
                }
            }
            let Some(newest) = anchor.attempts.last() else { continue };
            let found = self.provider.get_transaction_by_hash(newest.tx.into());
            if self.ask("asking for a transaction", found)?.is_some() {
                view.known.insert(seq);
            }
        }
        Ok(view)
    }

    /// The receipt of an anchor's transaction that is in a block of the chain; of the one that succeeded, where there
    /// is one.
    fn receipt_of(&self, anchor: &Anchor, head: &Block) -> Result<Option<Receipt>, ChainError> {
        let own = anchor.attempts.iter().rev().map(|attempt| attempt.tx);
        // One that was found on the chain has no attempts.
        let found = anchor.tx.filter(|_| anchor.attempts.is_empty());
        let mut failed = None;
        for tx in own.chain(found) {
            let receipt = self.ask("asking for a receipt", self.provider.get_transaction_receipt(tx.into()))?;
            let Some(receipt) = receipt else { continue };
            let (Some(number), Some(hash)) = (receipt.block_number, receipt.block_hash) else { continue };
            let block = Block { number, hash: hash.0 };
            if number > head.number || self.block(BlockNumberOrTag::Number(number))? != Some(block) {
                continue;
            }
            let (succeeded, gas_used) = (receipt.status(), receipt.gas_used);
            let receipt = Receipt { tx, block, succeeded, gas_used };
            if succeeded {
                return Ok(Some(receipt));
            }
            failed = failed.or(Some(receipt));
        }
        Ok(failed)
    }

    /// All anchors of a log, oldest first, read backwards from the newest: one question an anchor, of one block each,
    /// so that no node's limit of ranges matters. Every link is recomputed.
    ///
    /// # Errors
    /// [`ChainError::Changed`] when the chain re-organised meanwhile.
    pub fn anchors(&self, place: &Place, at: &Block) -> Result<Vec<Found>, ChainError> {
        let newest = self.newest(place, at)?;
        let mut found = Vec::new();
        let (mut link, mut number) = (newest.link, newest.block);
        for seq in (1..=newest.seq).rev() {
            let filter = Filter::new()
                .address(alloy::primitives::Address::from(place.contract))
                .event_signature(LeanAnchor::Anchored::SIGNATURE_HASH)
                .topic1(alloy::primitives::B256::from(place.log))
                .topic2(alloy::primitives::U256::from(seq))
                .from_block(number)
                .to_block(number);
            let logs = self.ask("reading the contract's events", self.provider.get_logs(&filter))?;
            let log = logs.first().ok_or(ChainError::Changed)?;
            let event = LeanAnchor::Anchored::decode_log(&log.inner);
            let event = event.map_err(|error| self.answer("reading the contract's events", error.to_string()))?;
            let claim = claim(place.log, event.previous.0, seq, event.size, event.root.0);
            let (Some(hash), Some(tx)) = (log.block_hash, log.transaction_hash) else {
                return Err(ChainError::Changed);
            };
            if claim.link != link {
                return Err(ChainError::Changed);
            }
            (link, number) = (claim.previous, event.previousBlock);
            let height = log.block_number.unwrap_or(number);
            found.push(Found { claim, block: Block { number: height, hash: hash.0 }, tx: tx.0 });
        }
        if link != [0; 32] {
            return Err(ChainError::Changed);
        }
        found.reverse();
        Ok(found)
    }
}
