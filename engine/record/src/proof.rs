//! Inclusion and consistency proofs (RFC 6962, 2.1.1 and 2.1.2), of whole trees and of subtrees.
//!
//! Making one needs the hashes of perfect subtrees, which [`Hashes`] gives; checking one needs nothing but the proof.
//! Checks follow RFC 9162, 2.1.3.2 and 2.1.4.2; those of subtrees the draft on Merkle tree certificates, whose general
//! case the plain ones are special cases of.

use crate::hash::{self, Hash};

/// Where the hashes of perfect subtrees come from.
pub trait Hashes {
    /// Why there is none.
    type Error;
    /// Hash over the leaves `[index * 2^height, (index + 1) * 2^height)`, all of which are in the tree.
    ///
    /// # Errors
    /// The hash is not to be had.
    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// A proof that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Positions and sizes contradict each other.
    #[error("its positions make no sense: {0}")]
    Range(&'static str),
    /// Too few or too many hashes.
    #[error("it has {found} hashes, which is not what these sizes take")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// The hashes do not lead to the root.
    #[error("its hashes lead to another root")]
    Root,
}

/// Hash of the leaves `[from, to)`, where a tree has a node: `from` is a multiple of the power of two that covers them.
///
/// # Errors
/// A hash is not to be had.
pub fn range<H: Hashes>(hashes: &H, from: u64, to: u64) -> Result<Hash, H::Error> {
    let count = to - from;
    if count.is_power_of_two() {
        return hashes.subtree(count.trailing_zeros(), from / count);
    }
    let left = split(count);
    Ok(hash::node(&range(hashes, from, from + left)?, &range(hashes, from + left, to)?))
}

/// Root of the first `size` leaves.
///
/// # Errors
/// A hash is not to be had.
pub fn root<H: Hashes>(hashes: &H, size: u64) -> Result<Hash, H::Error> {
    if size == 0 { Ok(hash::empty()) } else { range(hashes, 0, size) }
}

/// Leaves left of the root's split: the largest power of two below `count`.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The proof that leaf `index` is in the tree of `size` leaves; `index < size`.
///
/// # Errors
/// A hash is not to be had.
pub fn inclusion<H: Hashes>(hashes: &H, index: u64, size: u64) -> Result<Vec<Hash>, H::Error> {
    let (mut from, mut to, mut proof) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            proof.push(range(hashes, from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves; `0 < old <= new`.
///
/// # Errors
/// A hash is not to be had.
pub fn consistency<H: Hashes>(hashes: &H, old: u64, new: u64) -> Result<Vec<Hash>, H::Error> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    let (mut from, mut to, mut proof) = (0, new, Vec::new());
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            proof.push(range(hashes, from, middle)?);
            from = middle;
        }
    }
    // Whoever checks has the old root; anything smaller they do not have.
    if from != 0 {
        proof.push(range(hashes, from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is number `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`]: it is not, or the proof is none.
pub fn check_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range("the leaf lies beyond the tree"));
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length { found: proof.len() });
        }
        if node & 1 == 1 || node == last {
            hash = hash::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = hash::node(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length { found: proof.len() }),
    }
}

/// Checks that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Errors
/// [`ProofError`]: it does not, or the proof is none.
pub fn check_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range("the old tree is larger"));
    }
    if old == 0 {
        return Err(ProofError::Range("every tree begins with an empty one: that proves nothing"));
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length { found: proof.len() }),
        };
    }
    check_subtree_consistency(0..old, new, proof, old_root, new_root)
}

/// Whether trees have a node over these leaves, or over a beginning of what such a node covers.
fn is_subtree(leaves: &core::ops::Range<u64>) -> bool {
    leaves.start < leaves.end
        && (leaves.end - leaves.start)
            .checked_next_power_of_two()
            .is_some_and(|cover| leaves.start.is_multiple_of(cover))
}

/// Checks that `leaf` is number `index` of a tree whose subtree over `leaves` has the hash `root`.
///
/// # Errors
/// [`ProofError`]: it is not, or the proof is none.
pub fn check_subtree_inclusion(
    index: u64,
    leaves: core::ops::Range<u64>,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if !is_subtree(&leaves) || !leaves.contains(&index) {
        return Err(ProofError::Range("no subtree, or the leaf is not in it"));
    }
    check_inclusion(index - leaves.start, leaves.end - leaves.start, leaf, proof, root)
}

/// Checks that a subtree over `leaves` with the hash `part` belongs to the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`]: it does not, or the proof is none.
pub fn check_subtree_consistency(
    leaves: core::ops::Range<u64>,
    size: u64,
    proof: &[Hash],
    part: &Hash,
    root: &Hash,
) -> Result<(), ProofError> {
    let length = ProofError::Length { found: proof.len() };
    if leaves.start == leaves.end && leaves.end <= size {
        // No leaves are a part of every tree.
        return match (proof.is_empty(), *part == hash::empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(length),
        };
    }
    if !is_subtree(&leaves) || leaves.end > size {
        return Err(ProofError::Range("no subtree of this tree"));
    }
    let (mut first, mut edge, mut last) = (leaves.start, leaves.end - 1, size - 1);
    let up = |first: &mut u64, edge: &mut u64, last: &mut u64| {
        (*first, *edge, *last) = (*first >> 1, *edge >> 1, *last >> 1);
    };
    // Up to the largest node that both trees have at the subtree's right edge.
    if edge == last {
        while first != edge {
            up(&mut first, &mut edge, &mut last);
        }
    } else {
        while first != edge && edge & 1 == 1 {
            up(&mut first, &mut edge, &mut last);
        }
    }
    let (mut of_part, mut of_tree, mut rest) = (*part, *part, proof);
    if first != edge {
        let (shared, others) = proof.split_first().ok_or(length)?;
        (of_part, of_tree, rest) = (*shared, *shared, others);
    }
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if edge & 1 == 1 || edge == last {
            if first < edge {
                of_part = hash::node(sibling, &of_part);
            }
            of_tree = hash::node(sibling, &of_tree);
            while edge & 1 == 0 && edge != 0 {
                up(&mut first, &mut edge, &mut last);
            }
        } else {
            of_tree = hash::node(&of_tree, sibling);
        }
        up(&mut first, &mut edge, &mut last);
    }
    match (last, of_part == *part && of_tree == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(length),
    }
}
