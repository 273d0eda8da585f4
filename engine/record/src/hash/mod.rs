//! SHA-256 as RFC 6962 uses it: a leaf is `H(0x00 ‖ data)`, an inner node `H(0x01 ‖ left ‖ right)`, and the empty tree
//! `H("")`. The prefixes keep a leaf from being taken for a node.
//!
//! One stream of SHA instructions waits for itself most of the time, so [`leaves`] and [`parents`] hash four messages
//! side by side where the CPU has them.

mod lanes;

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hash of an entry.
pub fn leaf(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// Hash of an inner node.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of a tree without leaves.
pub fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// Appends the leaf hashes of `entries` to `hashes`.
pub fn leaves(entries: &[&[u8]], hashes: &mut Vec<Hash>) {
    let start = hashes.len();
    hashes.resize(start + entries.len(), [0; 32]);
    let out = &mut hashes[start..];
    let Some(lanes) = lanes::Lanes::of_this_cpu() else {
        entries.iter().zip(out).for_each(|(entry, hash)| *hash = leaf(entry));
        return;
    };
    // Messages of as many blocks go side by side; each queue holds those that wait for companions.
    let mut waiting: [([u32; lanes::LANES], usize); lanes::BLOCKS_MAX + 1] = Default::default();
    for (index, entry) in entries.iter().enumerate() {
        let blocks = lanes::blocks(entry.len() + 1);
        if blocks > lanes::BLOCKS_MAX {
            out[index] = leaf(entry);
            continue;
        }
        let (queue, length) = &mut waiting[blocks];
        queue[*length] = index as u32;
        *length += 1;
        if *length == lanes::LANES {
            *length = 0;
            let hashed = lanes.messages(queue.map(|at| entries[at as usize]), blocks);
            queue.iter().zip(hashed).for_each(|(at, hash)| out[*at as usize] = hash);
        }
    }
    for (queue, length) in waiting {
        queue[..length].iter().for_each(|at| out[*at as usize] = leaf(entries[*at as usize]));
    }
}

/// Replaces hashes by the parents of each pair of them; a last one without a partner is dropped.
pub fn parents(hashes: &mut Vec<Hash>) {
    let pairs = hashes.len() / 2;
    let mut done = 0;
    if let Some(lanes) = lanes::Lanes::of_this_cpu() {
        while done + lanes::LANES <= pairs {
            let pair = |lane: usize| [hashes[2 * (done + lane)], hashes[2 * (done + lane) + 1]];
            let hashed = lanes.nodes(core::array::from_fn(pair));
            hashes[done..done + lanes::LANES].copy_from_slice(&hashed);
            done += lanes::LANES;
        }
    }
    for pair in done..pairs {
        hashes[pair] = node(&hashes[2 * pair], &hashes[2 * pair + 1]);
    }
    hashes.truncate(pairs);
}

/// Root of a perfect subtree over so many hashes, a power of two of them; `scratch` is overwritten.
pub fn perfect(hashes: &[Hash], scratch: &mut Vec<Hash>) -> Hash {
    debug_assert!(hashes.len().is_power_of_two(), "a perfect subtree");
    scratch.clear();
    scratch.extend_from_slice(hashes);
    while scratch.len() > 1 {
        parents(scratch);
    }
    scratch[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_hash_as_one_at_a_time_does() {
        // Every length around the borders of blocks, mixed, and more than any lane takes.
        let data: Vec<u8> = (0..4096_u32).map(|i| (i * 31 % 251) as u8).collect();
        let lengths = (0..300).chain([440, 503, 504, 2000]).chain((0..50).rev());
        let entries: Vec<&[u8]> = lengths.map(|length| &data[length % 7..][..length]).collect();
        let mut hashes = vec![[9; 32]];
        leaves(&entries, &mut hashes);
        assert_eq!(hashes.remove(0), [9; 32]);
        assert_eq!(hashes, entries.iter().map(|entry| leaf(entry)).collect::<Vec<_>>());
        for count in [0, 1, 2, 7, 8, 9, 64, 255, 256] {
            let mut level = hashes[..count].to_vec();
            let expected: Vec<Hash> = level.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
            parents(&mut level);
            assert_eq!(level, expected, "{count}");
        }
    }
}
