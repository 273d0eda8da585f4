//! What a crash must not hide: that something was open or held.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_record::saved::Saved;

/// How long nothing must be open or held before the mark is removed: not at every order.
const CALM: Duration = Duration::from_secs(10);

/// A mark on the disk while orders are open or positions held. Where it is found at a start, the last run did not end
/// flat, and nobody knows what became of it.
#[derive(Debug)]
pub(crate) struct Exposed {
    path: PathBuf,
    marked: bool,
    flat_since: Option<Instant>,
}

impl Exposed {
    /// The mark beside the saved switches.
    pub(crate) fn beside(switches: &Path) -> Self {
        let path = switches.with_extension("exposed");
        let marked = path.exists();
        Self { path, marked, flat_since: None }
    }

    /// Whether the last run left it.
    pub(crate) const fn was_left(&self) -> bool {
        self.marked
    }

    /// Whether nothing is open or held now. The mark is on the disk before an order that opens something is answered.
    pub(crate) fn note(&mut self, flat: bool) {
        if !flat {
            self.flat_since = None;
            if !self.marked {
                match Saved::at(&self.path).write(b"open orders or positions\n") {
                    Ok(()) => self.marked = true,
                    Err(error) => tracing::error!(path = %self.path.display(), %error, "risk: a mark cannot be made"),
                }
            }
            return;
        }
        let since = *self.flat_since.get_or_insert_with(Instant::now);
        if self.marked && since.elapsed() >= CALM && std::fs::remove_file(&self.path).is_ok() {
            self.marked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_there_while_something_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let switches = folder.path().join("kill.state");
        let mut exposed = Exposed::beside(&switches);
        assert!(!exposed.was_left());
        exposed.note(true);
        assert!(!Exposed::beside(&switches).was_left());
        exposed.note(false);
        assert!(Exposed::beside(&switches).was_left());
        // It stays for a while after the last one, so that it is not written with every order.
        exposed.note(true);
        assert!(Exposed::beside(&switches).was_left());
    }
}
