//! A proof in a file of its own (C2SP `tlog-proof`): checked by somebody who has it, the entry and the log's key, and
//! nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{self, Hash};
use crate::note::Verifier;
use crate::proof::{ProofError, check_inclusion};

/// The first line.
const TITLE: &str = "c2sp.org/tlog-proof@v1";

/// That an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Number of the entry, from 0.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, as text.
    pub checkpoint: String,
}

/// A proof that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// The text is none.
    #[error("no proof: {0}")]
    Malformed(&'static str),
    /// Its checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof itself.
    #[error("the entry is not proven: {0}")]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// As text.
    pub fn text(&self) -> String {
        let mut text = format!("{TITLE}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// From its text.
    ///
    /// # Errors
    /// [`ProofFileError::Malformed`].
    pub fn of_text(text: &str) -> Result<Self, ProofFileError> {
        let wrong = ProofFileError::Malformed;
        let rest = text.strip_prefix(TITLE).and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.ok_or(wrong("its first line is not c2sp.org/tlog-proof@v1"))?;
        let (proof, checkpoint) = rest.split_once("\n\n").ok_or(wrong("no empty line before the checkpoint"))?;
        let mut lines = proof.lines().peekable();
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(wrong("no line with an index"))?;
        let plain = index.bytes().all(|byte| byte.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
        let index = index.parse().ok().filter(|_| plain).ok_or(wrong("its index is no number"))?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|bytes| bytes.try_into().ok());
        let hashes: Option<Vec<Hash>> = lines.map(hash).collect();
        Ok(Self { index, hashes: hashes.ok_or(wrong("a line that is no hash"))?, checkpoint: checkpoint.to_owned() })
    }

    /// Checks it for an entry's bytes; gives the checkpoint that covers it.
    ///
    /// # Errors
    /// [`ProofFileError`]: the entry is not in a log that one of the keys signed.
    pub fn check(&self, entry: &[u8], keys: &[Verifier]) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, keys)?;
        check_inclusion(self.index, checkpoint.size, &hash::leaf(entry), &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}
