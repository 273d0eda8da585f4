//! The state machine against simulated chains that re-organise, forget and reorder, from many seeds.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_anchor::claim::{Anchor, Attempt, Block, Claim, Head, Stage};
use tidegate_anchor::tracker::{Need, Receipt, View, need, observe};

const K: u64 = 4;
/// Deepest re-organisation; what lies deeper is finalized.
const DEEPEST: u64 = 8;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// A transaction: its name, its number among the account's, its claim.
type Sent = (u64, u64, Claim);

fn bytes(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A chain whose contract takes what follows. Block 0 is the first.
#[derive(Default)]
struct World {
    blocks: Vec<(Block, Vec<(Sent, bool)>)>,
    waiting: Vec<Sent>,
    made: u64,
    transactions: u64,
}

impl World {
    fn contract(&self) -> Head {
        let taken = |(block, sent): &(Block, Vec<(Sent, bool)>)| {
            let last = sent.iter().rev().find(|(_, took)| *took)?;
            let Claim { link, size, seq, .. } = last.0.2;
            Some(Head { link, size, seq, block: block.number })
        };
        self.blocks.iter().rev().find_map(taken).unwrap_or_default()
    }

    fn nonce(&self) -> u64 {
        self.blocks.iter().map(|(_, sent)| sent.len() as u64).sum()
    }

    /// A block with the waiting transaction whose turn it is, if `full`.
    fn mine(&mut self, full: bool) {
        self.made += 1;
        let block = Block { number: self.blocks.len() as u64, hash: bytes(self.made) };
        self.blocks.push((block, Vec::new()));
        let turn = self.waiting.iter().position(|(_, nonce, _)| *nonce == self.nonce());
        if let Some(turn) = turn.filter(|_| full) {
            let sent = self.waiting.remove(turn);
            let took = self.contract().link == sent.2.previous;
            if let Some((_, last)) = self.blocks.last_mut() {
                last.push((sent, took));
            }
        }
    }

    /// Other blocks instead of the newest; their transactions wait again, or are forgotten.
    fn reorganise(&mut self, depth: u64, random: &mut Random) {
        let depth = depth.min(self.blocks.len() as u64 - 1);
        for _ in 0..depth {
            let (_, sent) = self.blocks.pop().expect("deep enough");
            let kept = sent.into_iter().map(|(sent, _)| sent).filter(|_| random.below(2) == 0);
            self.waiting.extend(kept.collect::<Vec<_>>());
        }
        for _ in 0..=depth {
            self.mine(random.below(2) == 0);
        }
    }

    fn look(&self, anchors: &[Anchor]) -> View {
        let head = self.blocks.last().expect("a first block").0;
        let (mut receipts, mut known) = (BTreeMap::new(), BTreeSet::new());
        for anchor in anchors {
            let ours = |tx: u64| anchor.attempts.iter().any(|attempt| attempt.tx == bytes(tx));
            let mined = self.blocks.iter().flat_map(|(block, sent)| sent.iter().map(move |sent| (block, sent)));
            for (block, ((tx, ..), succeeded)) in mined.filter(|(_, ((tx, ..), _))| ours(*tx)) {
                let receipt = Receipt { tx: bytes(*tx), block: *block, succeeded: *succeeded, gas_used: 1 };
                let better = |old: &Receipt| !old.succeeded;
                if receipts.get(&anchor.claim.seq).is_none_or(better) {
                    receipts.insert(anchor.claim.seq, receipt);
                }
            }
            let newest = anchor.attempts.last().map(|attempt| attempt.tx);
            if self.waiting.iter().any(|(tx, ..)| Some(bytes(*tx)) == newest) {
                known.insert(anchor.claim.seq);
            }
        }
        let (safe, finalized) = (head.number.checked_sub(K + 2), head.number.checked_sub(DEEPEST + 1));
        View { head, safe, finalized, nonce: self.nonce(), contract: self.contract(), receipts, known }
    }

    /// Signs and sends; what has the same number waits no longer.
    fn send(&mut self, anchor: &mut Anchor, again: bool) {
        if !again {
            self.transactions += 1;
            let (tx, nonce, sent_at) = (bytes(self.transactions), self.nonce(), self.blocks.len() as u64 - 1);
            let raw = self.transactions.to_le_bytes().to_vec();
            let (max_fee, max_priority_fee, gas_limit) = (1, 1, 1);
            anchor.attempts.push(Attempt { tx, nonce, max_fee, max_priority_fee, gas_limit, sent_at, raw });
        }
        let newest = anchor.attempts.last().expect("one");
        let name = u64::from_le_bytes(newest.raw[..].try_into().expect("8 bytes"));
        self.waiting.retain(|(_, nonce, _)| *nonce != newest.nonce);
        self.waiting.push((name, newest.nonce, anchor.claim.clone()));
    }
}

/// One look, and what it calls for.
fn step(world: &mut World, anchors: &mut [Anchor], seed: u64) {
    let view = world.look(anchors);
    observe(anchors, &view, K).unwrap_or_else(|(_, alarm)| panic!("seed {seed}: {alarm}"));
    for anchor in anchors.iter() {
        let block = anchor.block.and_then(|block| world.blocks.get(block.number as usize).map(|(at, _)| (block, *at)));
        assert!(block.is_none_or(|(block, at)| block == at), "seed {seed}: a block that is no part of the chain");
        let depth = anchor.block.map_or(0, |block| view.head.number + 1 - block.number);
        assert!(anchor.stage() != Stage::Confirmed || depth > 0, "seed {seed}: confirmed and in no block");
    }
    match need(anchors, &view, 3) {
        Need::Nothing => {}
        why @ (Need::Send(seq) | Need::Replace(seq) | Need::Renew(seq)) => {
            let anchor = anchors.iter_mut().find(|anchor| anchor.claim.seq == seq).expect("one of ours");
            world.send(anchor, matches!(why, Need::Send(_)));
        }
    }
}

fn next(world: &mut World, anchors: &mut Vec<Anchor>) {
    let (seq, previous) = anchors.last().map_or((0, [0; 32]), |last| (last.claim.seq, last.claim.link));
    let claim =
        Claim { log: [1; 32], seq: seq + 1, size: 10 * (seq + 1), root: [2; 32], previous, link: bytes(seq + 1) };
    let mut anchor = Anchor::new(claim, world.blocks.len() as u64 - 1);
    world.send(&mut anchor, false);
    anchors.push(anchor);
}

#[test]
fn whatever_a_chain_does_each_anchor_enters_once_and_in_order() {
    let (mut undone, mut renewed) = (0, 0);
    for seed in 0..200 {
        let (mut random, mut world, mut anchors) = (Random(seed), World::default(), Vec::new());
        (0..=DEEPEST).for_each(|_| world.mine(false));
        for _ in 0..150 {
            match random.below(20) {
                0 | 1 => {
                    let depth = 1 + random.below(DEEPEST);
                    world.reorganise(depth, &mut random);
                }
                2 => world.waiting.clear(),
                3..6 => world.mine(false),
                _ => world.mine(true),
            }
            if random.below(3) > 0 {
                step(&mut world, &mut anchors, seed);
            }
            if anchors.last().is_none_or(Anchor::is_confirmed) {
                next(&mut world, &mut anchors);
            }
        }
        // The storm is over: everything comes to its end.
        for _ in 0..60 + 4 * anchors.len() {
            world.mine(true);
            step(&mut world, &mut anchors, seed);
        }
        assert!(anchors.iter().all(|anchor| anchor.stage() == Stage::Finalized), "seed {seed}");
        let taken = world.blocks.iter().flat_map(|(_, sent)| sent).filter(|(_, took)| *took);
        let entered: Vec<u64> = taken.map(|((_, _, claim), _)| claim.seq).collect();
        assert_eq!(entered, (1..=anchors.len() as u64).collect::<Vec<_>>(), "seed {seed}: once each, in order");
        undone += anchors.iter().map(|anchor| anchor.undone).sum::<u32>();
        renewed += anchors.iter().map(|anchor| anchor.attempts.len() - 1).sum::<usize>();
    }
    println!("200 chains: {undone} anchors undone by re-organisations, {renewed} transactions made anew");
    assert!(undone > 400 && renewed > 100, "the storm was one: {undone}, {renewed}");
}
