//! Signed notes (C2SP `signed-note`): a text of whole lines, an empty line, and signatures by name and key.
//!
//! Only Ed25519 signatures are made and checked here; those of other kinds and of unknown keys are ignored, as the
//! specification asks: that is how keys are changed and witnesses added.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The kind of an Ed25519 key in identifiers and encodings.
const ED25519: u8 = 1;
/// What a line with a signature begins with.
const MARK: &str = "— ";
/// Longest note that is read, bytes: room for many witnesses.
const LENGTH_MAX: usize = 64 << 10;
/// What the text of a signing key begins with; Go's tools use the same.
const PRIVATE: &str = "PRIVATE+KEY+";

/// A note or key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is none.
    #[error("no signed note: {0}")]
    Malformed(&'static str),
    /// The key is none.
    #[error("no key: {0}")]
    Key(&'static str),
    /// A known key did not sign this.
    #[error("the signature of {0} is wrong")]
    Signature(String),
    /// No known key signed this.
    #[error("none of the known keys signed it")]
    Unknown,
}

/// Checks the signatures of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// Signs as one key.
pub struct Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Names are words without a plus sign.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl Verifier {
    fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Key("its name is empty, or has spaces or a plus sign"));
        }
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes());
        let hash = hash.finalize();
        Ok(Self { name: name.to_owned(), id: [hash[0], hash[1], hash[2], hash[3]], key })
    }

    /// From its text, `<name>+<id>+<key>`.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn of_text(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("expected <name>+<id>+<key>"));
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key("its last part is no base64"))?;
        let key: &[u8; 32] = match key.split_first() {
            Some((&ED25519, key)) => key.try_into().map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?,
            _ => return Err(NoteError::Key("its kind is not Ed25519")),
        };
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key("no point of the curve"))?;
        let verifier = Self::new(name, key)?;
        if hex::encode(verifier.id) != id {
            return Err(NoteError::Key("its id does not belong to it"));
        }
        Ok(verifier)
    }

    /// As text, for whoever is to check signatures.
    pub fn text(&self) -> String {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        format!("{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Signer {
    /// A key out of 32 random bytes.
    ///
    /// # Errors
    /// [`NoteError::Key`]: the name cannot be one.
    pub fn of_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = Verifier::new(name, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    /// A new key.
    ///
    /// # Errors
    /// [`NoteError::Key`]: the name cannot be one, or the system has no random bytes.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = Zeroizing::new([0; 32]);
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut *seed)
            .map_err(|_| NoteError::Key("the system gives no random bytes"))?;
        Self::of_seed(name, &seed)
    }

    /// From its text, as [`secret`](Self::secret) gives it.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn of_text(text: &str) -> Result<Self, NoteError> {
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(NoteError::Key("expected PRIVATE+KEY+<name>+<id>+<key>"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("expected PRIVATE+KEY+<name>+<id>+<key>"));
        };
        let seed = STANDARD.decode(seed).map_err(|_| NoteError::Key("its last part is no base64"))?;
        let seed = Zeroizing::new(seed);
        let seed: &[u8; 32] = match seed.split_first() {
            Some((&ED25519, seed)) => seed.try_into().map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?,
            _ => return Err(NoteError::Key("its kind is not Ed25519")),
        };
        let signer = Self::of_seed(name, seed)?;
        if hex::encode(signer.verifier.id) != id {
            return Err(NoteError::Key("its id does not belong to it"));
        }
        Ok(signer)
    }

    /// The secret as text; wiped when dropped.
    pub fn secret(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new(vec![ED25519]);
        key.extend_from_slice(self.key.as_bytes());
        let encoded = Zeroizing::new(STANDARD.encode(&*key));
        Zeroizing::new(format!("{PRIVATE}{}+{}+{}", self.verifier.name, hex::encode(self.verifier.id), &*encoded))
    }

    /// Who checks its signatures.
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a text of whole lines: the note.
    pub fn sign(&self, text: &str) -> String {
        debug_assert!(text.ends_with('\n'), "whole lines");
        let mut signature = self.verifier.id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{MARK}{} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

/// The text of a note that at least one of the keys signed, and every one of them whose signature is there.
///
/// # Errors
/// [`NoteError`]: it is no note, a known key's signature is wrong, or no known key signed it.
pub fn open<'a>(note: &'a str, keys: &[Verifier]) -> Result<&'a str, NoteError> {
    if note.len() > LENGTH_MAX {
        return Err(NoteError::Malformed("too long"));
    }
    if note.contains(|c: char| c.is_control() && c != '\n') {
        return Err(NoteError::Malformed("control characters"));
    }
    // The last empty line: a text may have some of its own.
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
    let (text, signatures) = (&note[..=end], &note[end + 2..]);
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(NoteError::Malformed("no signature, or the last line is not whole"));
    }
    let mut signed = false;
    for line in signatures.lines() {
        let rest = line.strip_prefix(MARK).ok_or(NoteError::Malformed("a line that is no signature"))?;
        let (name, encoded) = rest.split_once(' ').ok_or(NoteError::Malformed("a signature without a key's name"))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Malformed("a signature that is no base64"))?;
        let Some((id, signature)) = bytes.split_at_checked(4).filter(|(_, rest)| !rest.is_empty() && is_name(name))
        else {
            return Err(NoteError::Malformed("a signature without a key's id"));
        };
        let Some(key) = keys.iter().find(|key| key.name == name && key.id == id) else { continue };
        let wrong = || NoteError::Signature(name.to_owned());
        let signature = Signature::from_slice(signature).map_err(|_| wrong())?;
        key.key.verify_strict(text.as_bytes(), &signature).map_err(|_| wrong())?;
        signed = true;
    }
    if signed { Ok(text) } else { Err(NoteError::Unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_holds() {
        let key =
            Verifier::of_text("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").expect("key");
        let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        assert_eq!(open(note, std::slice::from_ref(&key)), Ok("This is an example message.\n"));
        assert_eq!(
            open(&note.replace("example m", "Example m"), &[key]),
            Err(NoteError::Signature("example.com/foo".into()))
        );
        assert_eq!(open(note, &[]), Err(NoteError::Unknown));
    }

    #[test]
    fn keys_go_round_and_secrets_stay_out_of_debug_texts() {
        let signer = Signer::generate("desk.example/audit").expect("random bytes");
        let again = Signer::of_text(&signer.secret()).expect("its own text");
        assert_eq!(again.verifier(), signer.verifier());
        assert_eq!(Verifier::of_text(&signer.verifier().text()).as_ref(), Ok(signer.verifier()));
        let secret = signer.secret();
        let secret = secret.rsplit('+').next().expect("a last part");
        assert!(!format!("{signer:?}").contains(secret));
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(Signer::generate(name).is_err(), "{name:?}");
        }
        assert!(Verifier::of_text(&signer.verifier().text().replace("desk", "disk")).is_err(), "another id");
    }

    #[test]
    fn no_byte_of_a_note_can_be_changed() {
        let signer = Signer::of_seed("log.example/a", &[7; 32]).expect("a name");
        let note = signer.sign("log.example/a\n12\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=\n");
        let keys = [signer.verifier().clone()];
        assert!(open(&note, &keys).is_ok());
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(open(&text, &keys).is_err(), "byte {at}, bit {bit}: {text}");
            }
            assert!(note.is_char_boundary(at) && open(&note[..at], &keys).is_err() || !note.is_char_boundary(at));
        }
    }
}
