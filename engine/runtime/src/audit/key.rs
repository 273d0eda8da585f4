//! Keys in files that nobody else can read: the one that signs checkpoints, and others of a run.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::SecureRandom;
use tidegate_record::note::Signer;
use zeroize::Zeroizing;

/// A signing key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could have read it.
    #[error("{path}: mode {mode:03o}, others may read it: chmod 600 it, or make a new key", path = .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{path}: belongs to uid {owner}, not to uid {me}", path = .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this.
        me: u32,
    },
    /// It holds no key.
    #[error("{path}: {reason}", path = .path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The text of a file that must be its owner's alone.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let data = std::fs::metadata(path).map_err(io)?;
    // SAFETY: a plain call without arguments.
    let me = unsafe { libc::geteuid() };
    if data.uid() != me {
        return Err(KeyError::Foreign { path: path.to_owned(), owner: data.uid(), me });
    }
    if data.mode() & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode: data.mode() & 0o777 });
    }
    Ok(Zeroizing::new(std::fs::read_to_string(path).map_err(io)?))
}

/// Writes a file that is its owner's alone and is not there yet.
///
/// # Errors
/// [`KeyError`]; an existing file is never replaced.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// 32 secret bytes in a file that must be its owner's alone, as hex.
///
/// # Errors
/// [`KeyError`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = read_private(path)?;
    let text = text.trim();
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut *key)
        .map_err(|_| KeyError::Wrong { path: path.to_owned(), reason: "no key: expected 64 hex digits".into() })?;
    Ok(key)
}

/// 32 secret bytes in a file, as hex; fresh ones where there is no file.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    match read_secret(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let mut key = Zeroizing::new([0; 32]);
            let wrong =
                |_| KeyError::Wrong { path: path.to_owned(), reason: "the system gives no random numbers".into() };
            ring::rand::SystemRandom::new().fill(&mut *key).map_err(wrong)?;
            write_private(path, &Zeroizing::new(format!("{}\n", &*Zeroizing::new(hex::encode(*key)))))?;
            Ok(key)
        }
        read => read,
    }
}

/// The key in a file, which must be its owner's alone.
///
/// # Errors
/// [`KeyError`].
pub fn read(path: &Path) -> Result<Signer, KeyError> {
    let text = read_private(path)?;
    Signer::of_text(&text).map_err(|error| KeyError::Wrong { path: path.to_owned(), reason: error.to_string() })
}

/// Makes a key of this name in a file that is not there yet.
///
/// # Errors
/// [`KeyError`]; an existing file is never replaced.
pub fn make(path: &Path, name: &str) -> Result<Signer, KeyError> {
    let signer =
        Signer::generate(name).map_err(|error| KeyError::Wrong { path: path.to_owned(), reason: error.to_string() })?;
    write_private(path, &Zeroizing::new(format!("{}\n", &*signer.secret())))?;
    Ok(signer)
}

/// The key in a file; a new one where there is none. The second part says whether it is new.
///
/// # Errors
/// [`KeyError`].
pub fn read_or_make(path: &Path, name: &str) -> Result<(Signer, bool), KeyError> {
    match read(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            make(path, name).map(|signer| (signer, true))
        }
        other => other.map(|signer| (signer, false)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/log.key");
        let (made, fresh) = read_or_make(&path, "desk.example/audit").expect("made");
        assert!(fresh);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let (again, fresh) = read_or_make(&path, "desk.example/other").expect("read");
        assert_eq!((again.verifier(), fresh), (made.verifier(), false));
        assert!(matches!(make(&path, "desk.example/audit"), Err(KeyError::Io { .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("set");
        assert!(matches!(read(&path), Err(KeyError::Open { mode: 0o640, .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        std::fs::write(&path, "PRIVATE+KEY+nonsense").expect("written");
        let error = read(&path).expect_err("no key").to_string();
        assert!(error.contains("log.key") && !error.contains("nonsense"), "{error}");
    }
}
