//! Checkpoints (C2SP `tlog-checkpoint`): a log's name, size and root, signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::note::{self, NoteError, Signer, Verifier};

/// What a log stands for at some size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// A checkpoint that cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// What is signed is no checkpoint.
    #[error("no checkpoint: {0}")]
    Malformed(&'static str),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Signs it.
    pub fn sign(&self, signer: &Signer) -> String {
        signer.sign(&self.text())
    }

    /// From its text; lines after the third are allowed and ignored.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn of_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed("expected three lines: origin, size, root"));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Malformed("its origin is empty"));
        }
        let plain = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| plain).ok_or(CheckpointError::Malformed("its size is no number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(CheckpointError::Malformed("its root is no hash"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// From a note that one of the keys signed.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(text: &str, keys: &[Verifier]) -> Result<Self, CheckpointError> {
        Self::of_text(note::open(text, keys)?)
    }
}

/// The notes in a file that has one after the other, each with where it begins and ends. What follows the last whole one
/// is left out.
pub fn notes(text: &str) -> Vec<core::ops::Range<usize>> {
    let (mut notes, mut start, mut at, mut signed) = (Vec::new(), 0, 0, false);
    for line in text.split_inclusive('\n') {
        let signature = line.starts_with('—');
        if signed && !signature {
            notes.push(start..at);
            (start, signed) = (at, false);
        }
        if !line.ends_with('\n') {
            return notes;
        }
        signed |= signature;
        at += line.len();
    }
    if signed {
        notes.push(start..at);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_round_and_histories_are_cut_where_notes_end() {
        let signer = Signer::of_seed("log.example/a", &[1; 32]).expect("a name");
        let keys = [signer.verifier().clone()];
        let one = Checkpoint { origin: "log.example/a".into(), size: 0, root: [3; 32] };
        let two = Checkpoint { size: 70_000, ..one.clone() };
        let file = format!("{}{}", one.sign(&signer), two.sign(&signer));
        let found: Vec<_> = notes(&file).into_iter().map(|note| Checkpoint::open(&file[note], &keys)).collect();
        assert_eq!(found, [Ok(one), Ok(two)]);
        let first = notes(&file)[0].end;
        for cut in first..file.len() {
            if file.is_char_boundary(cut) {
                let found = notes(&file[..cut]);
                assert_eq!((found.len(), found[0].clone()), (1, 0..first), "{cut}");
            }
        }
        for wrong in ["a\n1\n", "\n1\nAAAA\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n1\nAAAA\n"] {
            assert!(Checkpoint::of_text(wrong).is_err(), "{wrong:?}");
        }
    }
}
