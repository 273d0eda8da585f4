//! Who anchors: one account, one contract, one log, one anchor at a time.
//!
//! A transaction is in the journal before it is sent. What a re-organisation loses is sent again as it was; what waits
//! too long is replaced by one that pays more; and since the contract takes an anchor only after the one that it
//! follows, neither can ever anchor twice.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_record::checkpoint::Checkpoint;
use tidegate_record::hash::Hash;
use tidegate_record::log::{Archive, LogError};

use crate::claim::{Address, Anchor, Stage};
use crate::ethereum::{ChainError, Client, Operator, Order, Price, claim};
use crate::hexed;
use crate::history::{Verdict, compare};
use crate::journal::{Journal, JournalError, Place};
use crate::tracker::{Alarm, Need, News, need, observe};

/// How anchors are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Blocks that must lie on an anchor, its own included, before it is called confirmed.
    pub confirmations: u64,
    /// Blocks after which a transaction that is in none is replaced.
    pub patience: u64,
    /// Most that may be paid for a unit of gas, wei.
    pub max_fee: u64,
    /// Time between two looks at the chain.
    pub poll: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // Nine: with the block that includes it, that leaves two blocks of delay before twelve.
        Self { confirmations: 9, patience: 4, max_fee: 100_000_000_000, poll: Duration::from_secs(2) }
    }
}

/// What keeps a log from being anchored.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The chain holds what is not ours.
    #[error("{alarm}")]
    Alarm {
        /// What.
        alarm: Alarm,
        /// What changed for ours at the same look.
        news: Vec<News>,
    },
    /// The chain has an anchor that this log does not bear out.
    #[error(
        "ALARM: anchor {seq} on the chain says that the log's first {size} entries have the root {chain}; {log}: this \
         is another log, it was changed, or somebody else holds the key"
    )]
    Contradicted {
        /// Its number.
        seq: u64,
        /// Entries that it covers.
        size: u64,
        /// The root it names.
        chain: String,
        /// What the log has.
        log: String,
    },
    /// The one before is not confirmed.
    #[error("anchor {seq} ({size} entries) is only {stage}: one at a time; wait for it (--wait)")]
    Pending {
        /// Its number.
        seq: u64,
        /// Entries that it covers.
        size: u64,
        /// How far it is.
        stage: Stage,
    },
    /// The account is not the contract's operator.
    #[error("the contract takes anchors of {operator}, and the key is that of {address}: use the operator's key")]
    Operator {
        /// The contract's.
        operator: String,
        /// The key's.
        address: String,
    },
}

/// What whoever waits is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something changed.
    News(News),
    /// A transaction of this anchor was sent: a first one, the same one again, or one that pays more.
    Sent {
        /// Which anchor.
        seq: u64,
        /// The transaction.
        tx: [u8; 32],
        /// What for; [`Need::Nothing`] for a first one.
        why: Need,
    },
    /// The chain could not be asked, or did not take a transaction; it is asked again.
    Trouble(ChainError),
}

/// Anchors a log.
#[derive(Debug)]
pub struct Keeper<'a> {
    client: &'a Client,
    operator: Operator,
    journal: Journal,
    settings: Settings,
    /// Height of the chain at the last look.
    head: u64,
}

impl<'a> Keeper<'a> {
    /// Opens the journal of a log's anchors in a contract, which must be the one of this repository and take anchors of
    /// this account.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn open(
        client: &'a Client,
        operator: Operator,
        contract: Address,
        log: Hash,
        journal: &Path,
        settings: Settings,
    ) -> Result<Self, AnchorError> {
        let (expected, address) = (client.operator_of(contract)?, operator.address());
        if expected != address {
            let (operator, address) = (hexed::text(expected), hexed::text(address));
            return Err(AnchorError::Operator { operator, address });
        }
        let journal = Journal::open(journal, Place { chain: client.chain(), contract, log })?;
        Ok(Self { client, operator, journal, settings, head: 0 })
    }

    /// The anchors, oldest first, as they were last seen.
    pub fn anchors(&self) -> &[Anchor] {
        self.journal.anchors()
    }

    /// Height of the chain at the last look.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Where the journal lies.
    pub fn path(&self) -> &Path {
        self.journal.path()
    }

    /// Takes over the anchors of a log whose journal is empty: it was lost, or another host anchored before. Each must
    /// be one that the log bears out. Gives how many there are.
    ///
    /// # Errors
    /// [`AnchorError::Contradicted`]: one is not.
    pub fn adopt(&mut self, archive: &Archive) -> Result<usize, AnchorError> {
        if !self.anchors().is_empty() {
            return Ok(0);
        }
        let head = self.client.head()?;
        let found = self.client.anchors(&self.journal.place(), &head)?;
        for found in &found {
            let (seq, size, chain) = (found.claim.seq, found.claim.size, hexed::text(found.claim.root));
            if let Verdict::Differs { log } = compare(archive, &found.claim)? {
                return Err(AnchorError::Contradicted { seq, size, chain, log });
            }
        }
        let anchors = found.iter().map(|found| {
            let (tx, block) = (Some(found.tx), Some(found.block));
            Anchor { tx, block, ..Anchor::new(found.claim.clone(), found.block.number.saturating_sub(1)) }
        });
        self.journal.change(|journal| journal.extend(anchors))?;
        Ok(found.len())
    }

    /// Makes an anchor of a checkpoint and sends it; `None` when the newest anchor covers as much already. When it
    /// could not be sent, that is told, and the next [`Self::step`] sends it.
    ///
    /// # Errors
    /// [`AnchorError`]: the one before is not confirmed, gas is too dear, or the chain refuses. Then none was made.
    pub fn anchor(&mut self, checkpoint: &Checkpoint) -> Result<Option<Told>, AnchorError> {
        let last = self.anchors().last();
        if let Some(last) = last.filter(|last| !last.is_confirmed()) {
            let (seq, size, stage) = (last.claim.seq, last.claim.size, last.stage());
            return Err(AnchorError::Pending { seq, size, stage });
        }
        let (seq, size, previous) =
            last.map_or((0, 0, [0; 32]), |last| (last.claim.seq, last.claim.size, last.claim.link));
        if checkpoint.size <= size {
            return Ok(None);
        }
        let place = self.journal.place();
        let claim = claim(place.log, previous, seq + 1, checkpoint.size, checkpoint.root);
        let order = Order::Anchor(place.contract, &claim);
        let attempt = self.client.draft(&self.operator, &order, Price { cap: self.settings.max_fee, above: None })?;
        let anchor = Anchor { attempts: vec![attempt.clone()], ..Anchor::new(claim.clone(), attempt.sent_at) };
        self.journal.change(|anchors| anchors.push(anchor))?;
        let first = Told::Sent { seq: claim.seq, tx: attempt.tx, why: Need::Nothing };
        Ok(Some(self.client.send(&attempt).map_or_else(Told::Trouble, |()| first)))
    }

    /// Looks at the chain once, brings the anchors up to date, and does what is needed next.
    ///
    /// # Errors
    /// [`AnchorError::Alarm`]: nothing more is sent. What the chain says no to is told, not an error.
    pub fn step(&mut self) -> Result<Vec<Told>, AnchorError> {
        let place = self.journal.place();
        let view = match self.client.look(&place, self.operator.address(), self.anchors()) {
            Err(error) if error.is_passing() => return Ok(vec![Told::Trouble(error)]),
            view => view?,
        };
        self.head = view.head.number;
        let confirmations = self.settings.confirmations;
        let observed = self.journal.change(|anchors| observe(anchors, &view, confirmations))?;
        let news = observed.map_err(|(news, alarm)| AnchorError::Alarm { alarm, news })?;
        let mut told: Vec<Told> = news.into_iter().map(Told::News).collect();
        let why = need(self.anchors(), &view, self.settings.patience);
        match self.act(why) {
            Ok(sent) => told.extend(sent),
            Err(AnchorError::Chain(error)) => told.push(Told::Trouble(error)),
            Err(error) => return Err(error),
        }
        Ok(told)
    }

    fn act(&mut self, why: Need) -> Result<Option<Told>, AnchorError> {
        let (Need::Send(seq) | Need::Replace(seq) | Need::Renew(seq)) = why else { return Ok(None) };
        let Some(anchor) = self.anchors().iter().find(|anchor| anchor.claim.seq == seq) else { return Ok(None) };
        let newest = anchor.attempts.last();
        let attempt = match (why, newest) {
            (Need::Send(_), Some(newest)) => newest.clone(),
            _ => {
                let above = newest.filter(|_| matches!(why, Need::Replace(_)));
                let above = above.map(|newest| (newest.max_fee, newest.max_priority_fee));
                let order = Order::Anchor(self.journal.place().contract, &anchor.claim);
                let price = Price { cap: self.settings.max_fee, above };
                let attempt = self.client.draft(&self.operator, &order, price)?;
                let kept = attempt.clone();
                self.journal.change(|anchors| {
                    let anchor = anchors.iter_mut().find(|anchor| anchor.claim.seq == seq);
                    anchor.into_iter().for_each(|anchor| anchor.attempts.push(kept.clone()));
                })?;
                attempt
            }
        };
        self.client.send(&attempt)?;
        Ok(Some(Told::Sent { seq, tx: attempt.tx, why }))
    }

    /// Steps until the newest anchor has come as far as `stage`, or until the deadline; gives whether it has. A chain
    /// that cannot be asked is asked again.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn follow(
        &mut self,
        stage: Stage,
        deadline: Instant,
        told: &mut dyn FnMut(&Told),
    ) -> Result<bool, AnchorError> {
        let mut trouble = Vec::new();
        loop {
            let step = self.step();
            if let Err(AnchorError::Alarm { news, .. }) = &step {
                news.iter().for_each(|news| told(&Told::News(news.clone())));
            }
            // The same trouble again and again is told once.
            let step = step?;
            step.iter().filter(|told| !trouble.contains(*told)).for_each(&mut *told);
            trouble = step;
            trouble.retain(|told| matches!(told, Told::Trouble(_)));
            if self.anchors().last().is_none_or(|last| last.stage() >= stage) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(self.settings.poll);
        }
    }

    /// Remembers that an anchor is an entry of the log.
    ///
    /// # Errors
    /// [`AnchorError::Journal`].
    pub fn entered(&mut self, seq: u64, entry: u64) -> Result<(), AnchorError> {
        let enter = |anchors: &mut Vec<Anchor>| {
            let anchor = anchors.iter_mut().find(|anchor| anchor.claim.seq == seq);
            anchor.into_iter().for_each(|anchor| anchor.entry = Some(entry));
        };
        Ok(self.journal.change(enter)?)
    }
}
