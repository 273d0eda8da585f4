//! What the chain says makes of anchors: a state machine without a chain, a clock or a file.
//!
//! ```text
//! submitted ─▶ included ─▶ confirmed (k deep)
//!     ▲            │  └──▶ safe ─▶ finalized       as the chain's own tags say
//!     └────────────┘ its block is no longer part of the chain
//! ```
//!
//! A receipt alone proves nothing: it counts only while the block at its height is still the one that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::claim::{Anchor, Block, Head, Seen, Stage};
use crate::hexed;

/// A transaction in a block that is part of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which transaction.
    pub tx: [u8; 32],
    /// Its block.
    pub block: Block,
    /// Whether the contract took it.
    pub succeeded: bool,
    /// Units of gas it used.
    pub gas_used: u64,
}

/// One look at the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its newest block. What follows holds at that block.
    pub head: Block,
    /// Height up to which it calls itself safe.
    pub safe: Option<u64>,
    /// Height up to which it calls itself finalized.
    pub finalized: Option<u64>,
    /// Number of the account's next transaction.
    pub nonce: u64,
    /// The contract's newest anchor of the log.
    pub contract: Head,
    /// Receipts by the sequence number of the anchor: the one that succeeded, where there is one.
    pub receipts: BTreeMap<u64, Receipt>,
    /// Anchors whose newest transaction the node knows, in a block or waiting.
    pub known: BTreeSet<u64>,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An anchor came further.
    Reached {
        /// Which.
        seq: u64,
        /// How far.
        stage: Stage,
        /// Its block.
        block: Block,
        /// Height of the chain.
        head: u64,
    },
    /// A re-organisation put an anchor into another block.
    Moved {
        /// Which.
        seq: u64,
        /// Where it was.
        from: Block,
        /// Where it is.
        to: Block,
    },
    /// A re-organisation took an anchor out of the chain.
    Undone {
        /// Which.
        seq: u64,
        /// Where it was.
        from: Block,
        /// How far it had come.
        stage: Stage,
    },
    /// The contract refused a transaction that was in a block; it cost gas and anchored nothing.
    Reverted {
        /// Which anchor.
        seq: u64,
        /// Which transaction.
        tx: [u8; 32],
    },
}

/// The chain holds what none of ours put there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Another anchor has the place of one of ours, or follows the newest of ours.
    #[error(
        "ALARM: anchor {seq} of this log on the chain (link {found}, {size} entries, block {block}) is not the one in \
         the journal ({expected}): somebody else uses the key, or another copy of the journal. Nothing more is sent: \
         find out who holds the key, then anchor with a new key and a new contract"
    )]
    Foreign {
        /// Its number.
        seq: u64,
        /// Its link.
        found: String,
        /// Entries that it claims to cover.
        size: u64,
        /// Height of its block.
        block: u64,
        /// The journal's link of this number.
        expected: String,
    },
    /// An anchor that the chain called finalized is gone.
    #[error(
        "ALARM: anchor {seq} was finalized in block {block} and is not on this chain any more: the node follows \
         another chain, or lies. Ask another node"
    )]
    Unfinalized {
        /// Its number.
        seq: u64,
        /// Height of the block it was in.
        block: u64,
    },
}

/// What should be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Wait.
    Nothing,
    /// Send the newest transaction of this anchor again, as it is: the node does not know it.
    Send(u64),
    /// Replace the newest transaction of this anchor by one that pays more: it waits too long.
    Replace(u64),
    /// Make a new transaction for this anchor: the number of the old one is taken, or leaves a gap.
    Renew(u64),
}

/// Brings anchors (all of a journal, oldest first) to what the chain says.
///
/// # Errors
/// [`Alarm`]: the chain holds what is not ours. What is ours has been brought up to date all the same.
pub fn observe(anchors: &mut [Anchor], view: &View, confirmations: u64) -> Result<Vec<News>, (Vec<News>, Alarm)> {
    let mut news = Vec::new();
    for anchor in anchors.iter_mut().filter(|anchor| anchor.seen.finalized.is_none()) {
        follow(anchor, view, confirmations, &mut news);
    }
    match alarm(anchors, view) {
        Some(alarm) => Err((news, alarm)),
        None => Ok(news),
    }
}

fn follow(anchor: &mut Anchor, view: &View, confirmations: u64, news: &mut Vec<News>) {
    let seq = anchor.claim.seq;
    let receipt = view.receipts.get(&seq);
    let before = anchor.stage();
    if let Some(receipt) = receipt.filter(|receipt| !receipt.succeeded)
        && anchor.tx != Some(receipt.tx)
    {
        news.push(News::Reverted { seq, tx: receipt.tx });
        anchor.tx = Some(receipt.tx);
    }
    let Some(receipt) = receipt.filter(|receipt| receipt.succeeded) else {
        if let Some(from) = anchor.block.take() {
            news.push(News::Undone { seq, from, stage: before });
            anchor.undone += 1;
            (anchor.seen, anchor.tx, anchor.gas_used) = (Seen::default(), None, None);
            // It paid enough once: it waits anew before it is replaced.
            anchor.attempts.iter_mut().for_each(|attempt| attempt.sent_at = view.head.number);
        }
        return;
    };
    let block = receipt.block;
    if let Some(from) = anchor.block.filter(|from| *from != block) {
        news.push(News::Moved { seq, from, to: block });
        anchor.undone += 1;
        anchor.seen = Seen::default();
    }
    (anchor.block, anchor.tx, anchor.gas_used) = (Some(block), Some(receipt.tx), Some(receipt.gas_used));
    let head = view.head.number;
    let deep = (head + 1).saturating_sub(block.number) >= confirmations;
    let within = |height: Option<u64>| height.is_some_and(|height| height >= block.number);
    let seen = &mut anchor.seen;
    let stages = [
        (Stage::Included, &mut seen.included, true),
        (Stage::Confirmed, &mut seen.confirmed, deep),
        (Stage::Safe, &mut seen.safe, within(view.safe)),
        (Stage::Finalized, &mut seen.finalized, within(view.finalized)),
    ];
    for (stage, at, reached) in stages {
        if reached && at.is_none() {
            *at = Some(head);
            news.push(News::Reached { seq, stage, block, head });
        }
    }
}

/// Whether the contract's newest anchor is one that the journal knows.
fn alarm(anchors: &[Anchor], view: &View) -> Option<Alarm> {
    let head = &view.contract;
    let ours = anchors.iter().find(|anchor| anchor.claim.seq == head.seq);
    if head.seq > 0 && ours.is_none_or(|ours| ours.claim.link != head.link) {
        let expected = ours.map_or_else(|| "none".into(), |ours| hexed::text(ours.claim.link));
        let found = hexed::text(head.link);
        return Some(Alarm::Foreign { seq: head.seq, found, size: head.size, block: head.block, expected });
    }
    let last = anchors.iter().rev().find(|anchor| anchor.seen.finalized.is_some())?;
    let block = last.block.map_or(0, |block| block.number);
    (head.seq < last.claim.seq).then_some(Alarm::Unfinalized { seq: last.claim.seq, block })
}

/// What should be done next for anchors that were brought up to date with this view. A transaction that waits for
/// `patience` blocks is replaced.
pub fn need(anchors: &[Anchor], view: &View, patience: u64) -> Need {
    // The oldest first: the contract takes them in order only.
    let Some(anchor) = anchors.iter().find(|anchor| anchor.block.is_none()) else { return Need::Nothing };
    let seq = anchor.claim.seq;
    if anchor.claim.previous != view.contract.link {
        return Need::Nothing;
    }
    match anchor.attempts.last() {
        None => Need::Renew(seq),
        Some(newest) if newest.nonce != view.nonce => Need::Renew(seq),
        Some(newest) if view.head.number.saturating_sub(newest.sent_at) >= patience => Need::Replace(seq),
        Some(_) if !view.known.contains(&seq) => Need::Send(seq),
        Some(_) => Need::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Attempt, Claim};

    const K: u64 = 3;

    fn block(number: u64, fork: u8) -> Block {
        Block { number, hash: [number as u8 ^ fork; 32] }
    }

    /// Anchors whose links are their numbers, each sent once with its number as the account's.
    fn anchors(count: u64) -> Vec<Anchor> {
        let link = |seq: u64| [seq as u8; 32];
        let anchor = |seq: u64| {
            let (previous, link) = (link(seq - 1), link(seq));
            let claim = Claim { log: [9; 32], seq, size: 10 * seq, root: [5; 32], previous, link };
            let (tx, sent_at) = ([100 + seq as u8; 32], 10);
            let (max_fee, max_priority_fee, gas_limit) = (8, 1, 90_000);
            let sent = Attempt { tx, nonce: seq, max_fee, max_priority_fee, gas_limit, sent_at, raw: vec![] };
            Anchor { attempts: vec![sent], ..Anchor::new(claim, sent_at) }
        };
        (1..=count).map(anchor).collect()
    }

    /// A look at height `head` when the contract has taken the anchors in the first blocks of `at`.
    fn view(head: u64, at: &[Block]) -> View {
        let receipt =
            |seq: u64, block: Block| Receipt { tx: [100 + seq as u8; 32], block, succeeded: true, gas_used: 7 };
        let receipts: BTreeMap<_, _> = (1..).zip(at).map(|(seq, block)| (seq, receipt(seq, *block))).collect();
        let seq = at.len() as u64;
        let number = at.last().map_or(0, |block| block.number);
        let contract = Head { link: [seq as u8; 32], size: 10 * seq, seq, block: number };
        let (safe, finalized) = (head.checked_sub(6), head.checked_sub(12));
        View { head: block(head, 0), safe, finalized, nonce: seq + 1, contract, receipts, known: BTreeSet::new() }
    }

    #[test]
    fn stages_come_one_by_one_and_say_when() {
        let mut anchors = anchors(1);
        let mut reached = Vec::new();
        for head in 10..26 {
            let at = block(12, 0);
            let view = view(head, if head < 12 { &[] } else { core::slice::from_ref(&at) });
            for news in observe(&mut anchors, &view, K).expect("ours") {
                let News::Reached { stage, head, .. } = news else { panic!("{news:?}") };
                reached.push((stage, head));
            }
        }
        use Stage::{Confirmed, Finalized, Included, Safe};
        assert_eq!(reached, [(Included, 12), (Confirmed, 14), (Safe, 18), (Finalized, 24)]);
        assert_eq!((anchors[0].waited(), anchors[0].stage(), anchors[0].gas_used), (Some(4), Finalized, Some(7)));
    }

    #[test]
    fn what_a_re_organisation_takes_is_submitted_again() {
        let mut anchors = anchors(2);
        let (one, two) = (block(11, 0), block(12, 0));
        observe(&mut anchors, &view(14, &[one, two]), K).expect("ours");
        assert_eq!(anchors.iter().map(Anchor::stage).collect::<Vec<_>>(), [Stage::Confirmed; 2]);
        // The second moves into another block, then both vanish: that the contract is back where it was is no alarm.
        let news = observe(&mut anchors, &view(14, &[one, block(13, 64)]), K).expect("ours");
        assert_eq!(news[0], News::Moved { seq: 2, from: two, to: block(13, 64) });
        assert_eq!((anchors[1].stage(), anchors[1].undone), (Stage::Included, 1));
        let mut gone = view(15, &[]);
        let news = observe(&mut anchors, &gone, K).expect("ours");
        assert_eq!(news[0], News::Undone { seq: 1, from: one, stage: Stage::Confirmed });
        assert_eq!(anchors.iter().map(Anchor::stage).collect::<Vec<_>>(), [Stage::Submitted; 2]);
        // The first goes first, as it was, and waits anew; the second waits for it.
        assert_eq!(need(&anchors, &gone, 4), Need::Send(1));
        gone.known.insert(1);
        assert_eq!(need(&anchors, &gone, 100), Need::Nothing);
        let back = view(16, &[block(16, 64)]);
        observe(&mut anchors, &back, K).expect("ours");
        assert_eq!(need(&anchors, &back, 100), Need::Send(2));
    }

    #[test]
    fn a_transaction_that_waits_is_replaced_and_one_whose_number_is_wrong_is_made_anew() {
        let anchors = anchors(1);
        let mut view = view(13, &[]);
        view.known.insert(1);
        assert_eq!(need(&anchors, &view, 4), Need::Nothing);
        view.head.number = 14;
        assert_eq!(need(&anchors, &view, 4), Need::Replace(1));
        for taken_or_gap in [2, 0] {
            view.nonce = taken_or_gap;
            assert_eq!(need(&anchors, &view, 4), Need::Renew(1));
        }
        view.contract.link = [77; 32];
        assert_eq!(need(&anchors, &view, 4), Need::Nothing, "it does not follow from what the contract has");
    }

    #[test]
    fn what_the_contract_refused_cost_gas_and_is_told_once() {
        let mut anchors = anchors(1);
        let mut refused = view(12, &[]);
        let receipt = Receipt { tx: [101; 32], block: block(12, 0), succeeded: false, gas_used: 9 };
        refused.receipts.insert(1, receipt);
        refused.nonce = 2;
        assert_eq!(observe(&mut anchors, &refused, K), Ok(vec![News::Reverted { seq: 1, tx: [101; 32] }]));
        assert_eq!(observe(&mut anchors, &refused, K), Ok(vec![]));
        assert_eq!((anchors[0].stage(), need(&anchors, &refused, 100)), (Stage::Submitted, Need::Renew(1)));
    }

    #[test]
    fn what_is_not_ours_is_an_alarm() {
        let foreign = |view: &View, anchors: &mut [Anchor]| match observe(anchors, view, K) {
            Err((_, Alarm::Foreign { seq, .. })) => seq == view.contract.seq,
            _ => false,
        };
        // In place of ours; behind ours; before any of ours.
        let mut instead = view(12, &[]);
        instead.contract = Head { link: [77; 32], size: 10, seq: 1, block: 12 };
        assert!(foreign(&instead, &mut anchors(1)));
        let mut behind = view(13, &[block(12, 0)]);
        behind.contract = Head { link: [77; 32], size: 11, seq: 2, block: 13 };
        let mut ours = anchors(1);
        assert!(foreign(&behind, &mut ours));
        assert_eq!(ours[0].stage(), Stage::Included, "ours are brought up to date all the same");
        assert!(foreign(&instead, &mut []));
        // A finalized anchor cannot vanish on an honest node.
        let mut anchors = anchors(1);
        observe(&mut anchors, &view(30, &[block(12, 0)]), K).expect("ours");
        assert_eq!(anchors[0].stage(), Stage::Finalized);
        let gone = observe(&mut anchors, &view(31, &[]), K).map_err(|(_, alarm)| alarm);
        assert_eq!(gone, Err(Alarm::Unfinalized { seq: 1, block: 12 }));
    }
}
