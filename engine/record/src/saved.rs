//! A small file that holds through a restart: replaced whole, never half written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
}

impl Saved {
    /// The one at this path, whether it is there or not.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved; `None` where nothing ever was.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self) -> std::io::Result<Option<Vec<u8>>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it whole, durable when this returns: after a power cut there is the old one or the new one.
    ///
    /// # Errors
    /// The system refused; what was there is there still.
    pub fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let next = self.path.with_extension("new");
        let mut file = File::create(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_a_file_that_cannot_be_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let saved = Saved::at(&folder.path().join("kill.state"));
        assert!(saved.read().is_ok_and(|bytes| bytes.is_none()));
        saved.write(b"one").expect("room");
        saved.write(b"two").expect("room");
        assert_eq!(saved.read().expect("there"), Some(b"two".to_vec()));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
        assert!(Saved::at(&folder.path().join("no/kill.state")).write(b"x").is_err());
        assert!(Saved::at(folder.path()).read().is_err(), "a folder is no file");
    }
}
