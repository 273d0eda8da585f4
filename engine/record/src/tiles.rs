//! Where tiles and entry bundles lie (C2SP `tlog-tiles`), and how they are written.

use std::io;
use std::path::{Path, PathBuf};

use crate::hash::Hash;
use crate::journal::Frames;
use crate::tree::TILE;

/// What a file of the tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Hashes of a level.
    Hashes(u8),
    /// Entries, each with its length before it.
    Entries,
}

/// One file of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub kind: Kind,
    /// Its number.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256.
    pub width: u16,
}

impl Tile {
    /// A full one.
    pub const fn full(kind: Kind, index: u64) -> Self {
        Self { kind, index, width: TILE as u16 }
    }

    /// Its path below the log's folder: `tile/0/x001/234`, `tile/entries/000.p/12`.
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("tile");
        match self.kind {
            Kind::Hashes(level) => path.push(level.to_string()),
            Kind::Entries => path.push("entries"),
        }
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        path.extend(groups.iter().rev());
        if usize::from(self.width) < TILE {
            path.as_mut_os_string().push(".p");
            path.push(self.width.to_string());
        }
        path
    }

    /// From such a path; `None` when it is none.
    pub fn of_path(path: &Path) -> Option<Self> {
        let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        let parts = parts?;
        let ["tile", kind, groups @ ..] = &parts[..] else { return None };
        let kind = match *kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(level.parse().ok()?),
        };
        let (groups, width) = match groups {
            [above @ .., last, width] if last.ends_with(".p") => {
                let mut groups = above.to_vec();
                groups.push(last.strip_suffix(".p")?);
                (groups, width.parse().ok()?)
            }
            groups => (groups.to_vec(), TILE as u16),
        };
        let digits = |group: &str| group.parse::<u64>().ok().filter(|_| group.len() == 3);
        let (last, above) = groups.split_last()?;
        let above = above
            .iter()
            .try_fold(0_u64, |index, group| index.checked_mul(1000)?.checked_add(digits(group.strip_prefix('x')?)?))?;
        let tile = Self { kind, index: above.checked_mul(1000)?.checked_add(digits(last)?)?, width };
        // Only one way of writing each is right.
        (tile.path() == path).then_some(tile)
    }
}

/// Hashes as a tile's bytes.
pub fn hash_bytes(hashes: &[Hash]) -> &[u8] {
    hashes.as_flattened()
}

/// A tile's bytes as hashes; `None` when they are no whole hashes.
pub fn hashes_of(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Entries of a bundle; `None` when its bytes are no such entries.
pub fn entries_of(bytes: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let mut frames = Frames::new(bytes);
    let entries: Vec<&[u8]> = frames.by_ref().take(usize::from(width)).collect();
    (entries.len() == usize::from(width) && frames.rest().is_empty()).then_some(entries)
}

/// Name of the file that becomes another one when it is whole; whoever dies leaves no more than it.
pub(crate) const FRESH: &str = "fresh";

/// Writes a file below a log's folder as a whole: under another name first, so that nobody ever reads half of it.
pub(crate) fn write_whole(folder: &Path, name: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    use std::io::Write;
    let (fresh, path) = (folder.join(FRESH), folder.join(name));
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_data()?;
    }
    match std::fs::rename(&fresh, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::rename(&fresh, &path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_round() {
        let cases = [
            (Tile::full(Kind::Hashes(0), 1_234_067), "tile/0/x001/x234/067"),
            (Tile::full(Kind::Entries, 0), "tile/entries/000"),
            (Tile { kind: Kind::Hashes(3), index: 999, width: 7 }, "tile/3/999.p/7"),
            (Tile { kind: Kind::Entries, index: 1000, width: 255 }, "tile/entries/x001/000.p/255"),
        ];
        for (tile, path) in cases {
            assert_eq!(tile.path(), Path::new(path));
            assert_eq!(Tile::of_path(Path::new(path)), Some(tile));
        }
        for wrong in
            ["tile/0/1", "tile/0/x000/001", "tile/0/001.p/0256", "tile/x/001", "tile/0/001.p/07", "tile/00/001"]
        {
            assert_eq!(Tile::of_path(Path::new(wrong)), None, "{wrong}");
        }
        assert_eq!(Tile::of_path(Path::new("tile/0/001.p/256")), None);
    }
}
