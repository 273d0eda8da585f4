//! The tree of RFC 6962 as tiles: 256 hashes of one level side by side, 8,192 bytes when full (C2SP `tlog-tiles`).
//!
//! [`TileTree`] grows by leaf hashes and keeps only the right edge: the partial tile of each level. A tile that becomes
//! full is handed to whoever stores it, and its root is one more hash a level higher.

use crate::hash::{self, Hash};

/// Hashes of a full tile.
pub const TILE: usize = 256;
/// Binary levels of a tile.
pub const TILE_HEIGHT: u32 = 8;

/// The right edge of a growing tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileTree {
    size: u64,
    /// The partial tile of each level, lowest first; 0 to 255 hashes each.
    edge: Vec<Vec<Hash>>,
}

/// A tile that has become full.
#[derive(Clone, Copy, Debug)]
pub struct FullTile<'a> {
    /// Level, 0 for leaf hashes.
    pub level: u8,
    /// Number within the level.
    pub index: u64,
    /// Its 256 hashes.
    pub hashes: &'a [Hash],
}

impl TileTree {
    /// The tree of so many leaves whose right edge is known: the partial tile of each level, lowest first. `None` when
    /// the tiles are not as wide as that size asks for.
    pub fn resume(size: u64, edge: Vec<Vec<Hash>>) -> Option<Self> {
        let fits = edge.iter().enumerate().all(|(level, tile)| tile.len() == width(size, level as u8));
        let complete = level_size(size, edge.len() as u8) == 0;
        (fits && complete).then_some(Self { size, edge })
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The partial tiles, lowest level first; some may be empty.
    pub fn edge(&self) -> &[Vec<Hash>] {
        &self.edge
    }

    /// Appends leaf hashes; tiles that become full go to `full`, lower levels first.
    pub fn extend(&mut self, mut leaves: &[Hash], full: &mut impl FnMut(FullTile<'_>)) {
        if self.edge.is_empty() {
            self.edge.push(Vec::with_capacity(TILE));
        }
        while !leaves.is_empty() {
            let room = TILE - self.edge[0].len();
            let (now, later) = leaves.split_at(room.min(leaves.len()));
            self.edge[0].extend_from_slice(now);
            self.size += now.len() as u64;
            leaves = later;
            self.settle(full);
        }
    }

    /// Hands on tiles that are full, as far up as there are any.
    fn settle(&mut self, full: &mut impl FnMut(FullTile<'_>)) {
        let mut scratch = Vec::with_capacity(TILE);
        for level in 0.. {
            if self.edge[level].len() < TILE {
                return;
            }
            let index = level_size(self.size, level as u8) / TILE as u64 - 1;
            full(FullTile { level: level as u8, index, hashes: &self.edge[level] });
            let root = hash::perfect(&self.edge[level], &mut scratch);
            self.edge[level].clear();
            if self.edge.len() == level + 1 {
                self.edge.push(Vec::with_capacity(TILE));
            }
            self.edge[level + 1].push(root);
        }
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        let mut scratch = Vec::with_capacity(TILE);
        for tile in &self.edge {
            // The perfect subtrees of a tile, smallest and rightmost first.
            let mut end = tile.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let peak = hash::perfect(&tile[end - width..end], &mut scratch);
                root = Some(root.map_or(peak, |right| hash::node(&peak, &right)));
                end -= width;
            }
        }
        root.unwrap_or_else(hash::empty)
    }
}

/// Hashes of a level in a tree of so many leaves.
pub fn level_size(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

/// Hashes in the last tile of a level, 0 to 255: none when it is full or there is none.
pub fn width(size: u64, level: u8) -> usize {
    (level_size(size, level) % TILE as u64) as usize
}

/// Levels that have any hash.
pub fn levels(size: u64) -> u8 {
    let bits = u64::BITS - size.leading_zeros();
    bits.div_ceil(TILE_HEIGHT) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, 2.1, word by word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => hash::empty(),
            1 => leaves[0],
            count => {
                let (left, right) = leaves.split_at(count.next_power_of_two() / 2);
                hash::node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_the_definitions_and_the_edge_resumes() {
        let leaves: Vec<Hash> = (0..1_100_u32).map(|i| hash::leaf(&i.to_le_bytes())).collect();
        let mut tree = TileTree::default();
        let mut tiles = 0;
        for size in 0..=leaves.len() {
            assert_eq!((tree.size(), tree.root()), (size as u64, by_definition(&leaves[..size])), "{size}");
            let resumed = TileTree::resume(size as u64, tree.edge().to_vec()).expect("its own edge");
            assert_eq!(resumed.root(), tree.root());
            if size > 0 {
                assert_eq!(TileTree::resume(size as u64 + 1, tree.edge().to_vec()), None);
            }
            if let Some(leaf) = leaves.get(size) {
                tree.extend(&[*leaf], &mut |tile| {
                    tiles += 1;
                    assert_eq!(tile.hashes, &leaves[tile.index as usize * TILE..][..TILE]);
                });
            }
        }
        assert_eq!(tiles, 4);
        let mut at_once = TileTree::default();
        at_once.extend(&leaves, &mut |_| {});
        assert_eq!(at_once, tree);
    }

    #[test]
    fn levels_of_sizes() {
        assert_eq!([0, 1, 255, 256, 257, 65_536, 70_000].map(levels), [0, 1, 1, 2, 2, 3, 3]);
        // The example of the specification.
        assert_eq!((width(70_000, 0), width(70_000, 1), width(70_000, 2)), (112, 17, 1));
    }

    #[test]
    fn known_roots() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = TileTree::default();
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(hex::encode(tree.root()), *root, "{size}");
            if let Some(data) = leaves.get(size) {
                tree.extend(&[hash::leaf(data)], &mut |_| {});
            }
        }
    }
}
