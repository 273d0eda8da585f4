//! The published vectors, and implementations by others as oracles.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_record::hash::{self, Hash};
use tidegate_record::proof::{
    Hashes, check_consistency, check_inclusion, check_subtree_consistency, check_subtree_inclusion, consistency,
    inclusion,
};
use tidegate_record::tree::TileTree;

/// The folder of vectors; `None`, loudly, where there is none and nobody insists.
fn vectors() -> Option<PathBuf> {
    let data = std::env::var("TIDEGATE_DATA").unwrap_or_else(|_| "../../../shared/data".into());
    let folder = Path::new(&data).join("merkle_vectors");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
    eprintln!("SKIPPED: {} is missing (set TIDEGATE_DATA)", folder.display());
    None
}

fn files(folder: &Path, found: &mut Vec<serde_json::Value>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON"));
        }
    }
}

fn number(vector: &serde_json::Value, key: &str) -> u64 {
    vector[key].as_u64().unwrap_or_else(|| panic!("{key} in {vector}"))
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64")).unwrap_or_default()
}

/// A hash. Some vectors have texts in the place of hashes that nobody should look into: each stands for one hash.
/// Nothing at all is no hash.
fn hash_of(value: &serde_json::Value) -> Option<Hash> {
    let bytes = bytes(value);
    (!bytes.is_empty()).then(|| bytes.as_slice().try_into().unwrap_or_else(|_| hash::leaf(&bytes)))
}

fn proof_of(vector: &serde_json::Value) -> Option<Vec<Hash>> {
    vector["proof"].as_array().map_or(Some(Vec::new()), |hashes| hashes.iter().map(hash_of).collect())
}

type Check = fn(&serde_json::Value) -> Option<bool>;

#[test]
fn all_published_vectors() {
    let Some(folder) = vectors() else { return };
    let checks: [(&str, usize, Check); 4] = [
        ("inclusion", 98, |v| {
            let (leaf, root, proof) = (hash_of(&v["leafHash"])?, hash_of(&v["root"])?, proof_of(v)?);
            Some(check_inclusion(number(v, "leafIdx"), number(v, "treeSize"), &leaf, &proof, &root).is_ok())
        }),
        ("consistency", 98, |v| {
            let (one, two, proof) = (hash_of(&v["root1"])?, hash_of(&v["root2"])?, proof_of(v)?);
            Some(check_consistency(number(v, "size1"), number(v, "size2"), &proof, &one, &two).is_ok())
        }),
        ("subtreeinclusion", 204, |v| {
            let (leaf, root, proof) = (hash_of(&v["leafHash"])?, hash_of(&v["root"])?, proof_of(v)?);
            let leaves = number(v, "start")..number(v, "end");
            Some(check_subtree_inclusion(number(v, "leafIdx"), leaves, &leaf, &proof, &root).is_ok())
        }),
        ("subtreeconsistency", 118, |v| {
            let (one, two, proof) = (hash_of(&v["root1"])?, hash_of(&v["root2"])?, proof_of(v)?);
            let leaves = number(v, "start")..number(v, "end");
            Some(check_subtree_consistency(leaves, number(v, "size"), &proof, &one, &two).is_ok())
        }),
    ];
    for (name, count, check) in checks {
        let mut found = Vec::new();
        files(&folder.join(name), &mut found);
        assert_eq!(found.len(), count, "{name}");
        for vector in found {
            let expected = !vector["wantErr"].as_bool().unwrap_or(false);
            assert_eq!(check(&vector).unwrap_or(false), expected, "{name}: {vector}");
        }
    }
}

/// Leaf hashes in memory.
struct Leaves(Vec<Hash>);

impl Hashes for Leaves {
    type Error = std::convert::Infallible;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Self::Error> {
        let first = (index << height) as usize;
        Ok(hash::perfect(&self.0[first..first + (1 << height)], &mut Vec::new()))
    }
}

struct Text(Vec<u8>);

impl ct_merkle::HashableLeaf for Text {
    fn hash<H: ct_merkle::digest::Update>(&self, hasher: &mut H) {
        hasher.update(&self.0);
    }
}

/// Roots and proofs of every size against another implementation, and of every pair of sizes against our own check.
#[test]
fn another_implementation_agrees() {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    const SIZE: usize = 300;
    let texts: Vec<Vec<u8>> = (0..SIZE).map(|i| format!("entry {i}").repeat(i % 7).into_bytes()).collect();
    let leaves = Leaves(texts.iter().map(|text| hash::leaf(text)).collect());
    let (mut ours, mut roots) = (TileTree::default(), vec![hash::empty()]);
    let mut theirs = MemoryBackedTree::<sha2::Sha256, Text>::new();
    for (size, text) in (1..).zip(&texts) {
        theirs.push(Text(text.clone()));
        ours.extend(&[hash::leaf(text)], &mut |_| {});
        roots.push(ours.root());
        let root = theirs.root();
        assert_eq!(root.as_bytes()[..], ours.root(), "{size}");
        for index in [0, size / 3, size / 2, size - 1] {
            let Ok(proof) = inclusion(&leaves, index as u64, size as u64);
            assert_eq!(proof.as_flattened(), theirs.prove_inclusion(index).as_bytes(), "{index} of {size}");
            let checked = check_inclusion(index as u64, size as u64, &leaves.0[index], &proof, &roots[size]);
            assert_eq!(checked, Ok(()), "{index} of {size}");
            let other = leaves.0[(index + 1) % SIZE];
            assert!(check_inclusion(index as u64, size as u64, &other, &proof, &roots[size]).is_err());
        }
        for old in [1, size / 4, size / 2, size - 1].into_iter().filter(|old| (1..size).contains(old)) {
            let Ok(proof) = consistency(&leaves, old as u64, size as u64);
            let expected = theirs.prove_consistency(size - old);
            assert_eq!(proof.as_flattened(), expected.as_bytes(), "{old} of {size}");
        }
    }
    for new in 1..=SIZE {
        for old in 1..=new {
            let Ok(proof) = consistency(&leaves, old as u64, new as u64);
            let check = |old_root| check_consistency(old as u64, new as u64, &proof, old_root, &roots[new]);
            assert_eq!(check(&roots[old]), Ok(()), "{old} of {new}");
            assert!(check(&roots[old - 1]).is_err(), "{old} of {new}");
        }
    }
}

/// Notes of ours are read by another implementation and the other way round.
#[test]
fn notes_are_those_of_others() {
    use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
    use tidegate_record::note::{Signer, Verifier, open};
    let ours = Signer::of_seed("desk.example/audit", &[42; 32]).expect("a name");
    let text = "desk.example/audit\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let note = ours.sign(text);
    let verifier = StandardVerifier::new(&ours.verifier().text()).expect("our key is theirs");
    let theirs = Note::from_bytes(note.as_bytes()).expect("our note is theirs");
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (verified, unknown) = theirs.verify(&known).expect("our signature is theirs");
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    assert_eq!(theirs.text(), text.as_bytes());
    let signer = StandardSigner::new(&ours.secret()).expect("our secret is theirs");
    let mut written = Note::new(text.as_bytes(), &[]).expect("a note");
    written.add_sigs(&[&signer]).expect("signed");
    let written = String::from_utf8(written.to_bytes()).expect("text");
    assert_eq!(written, note);
    let key = Verifier::of_text(&ours.verifier().text()).expect("our own");
    assert_eq!(open(&written, &[key]), Ok(text));
}
