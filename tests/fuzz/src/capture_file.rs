//! Fuzz target: arbitrary bytes as a capture of our own. What is read are whole blocks, the replay's reader finds the
//! same entries, and no block asks for more memory than the format allows.
//!
//! The first byte says whether checksums are put right first: else no input would get past them.

#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::{Corpus, fuzz_target};
use tidegate_feed::capture::{Block, CaptureFile, Entries, EntryKind, FRAME_MAX};
use tidegate_feed::replay::{CaptureReader, Captured, SourceSpec};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

fn path() -> PathBuf {
    std::env::temp_dir().join(format!("file-{}", std::process::id()))
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// Writes the checksums that the bytes should have: of the header, of every block, of the index.
fn mend(bytes: &mut [u8]) -> Option<()> {
    let mut at = 12 + length(bytes, 8)?;
    let sum = xxh3_64(bytes.get(12..at)?);
    bytes.get_mut(at..at + 8)?.copy_from_slice(&sum.to_le_bytes());
    at += 8;
    while bytes.get(at..at + 4)? == b"BLK1" {
        let end = at + 40 + length(bytes, at + 4)?;
        let mut sum = Xxh3::new();
        sum.update(bytes.get(at..at + 32)?);
        sum.update(bytes.get(at + 40..end)?);
        bytes[at + 32..at + 40].copy_from_slice(&sum.digest().to_le_bytes());
        at = end;
    }
    let end = bytes.len().checked_sub(24)?;
    let sum = xxh3_64(bytes.get(at..end)?);
    bytes[end..end + 8].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

/// Entries but those of lost frames, and whether there was damage.
fn read(file: &mut CaptureFile) -> (usize, bool) {
    let (mut block, mut found) = (Block::default(), 0);
    loop {
        match file.next(&mut block) {
            Ok(true) => {
                assert!(block.bytes.len() <= FRAME_MAX + 4096, "blocks are bounded");
                let mut entries = Entries::new(&block.bytes);
                found += entries.by_ref().filter(|entry| entry.kind != EntryKind::Lost).count();
                if entries.unread() > 0 {
                    return (found, true);
                }
            }
            Ok(false) => return (found, false),
            Err(_) => return (found, true),
        }
    }
}

/// Steps over all damage: it ends, and what was counted as lost is not more than there is.
fn recover(path: &Path) {
    let mut file = CaptureFile::open(path).expect("opened before");
    let (mut block, mut lost) = (Block::default(), 0);
    loop {
        match file.next(&mut block) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => lost += file.recover().expect("a file in memory").1,
        }
    }
    assert!(lost <= file.size());
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [first, rest @ ..] = input else { return Corpus::Reject };
    let mut bytes = rest.to_vec();
    if first & 1 == 1 {
        // Up to where the bytes are no capture any more.
        let _ = mend(&mut bytes);
    }
    let path = path();
    std::fs::write(&path, &bytes).expect("a file in memory");
    let opened = CaptureFile::open(&path);
    let spec = SourceSpec { path: path.clone(), venue: None };
    let reader = CaptureReader::open(&spec);
    let Ok(mut file) = opened else { return Corpus::Keep };
    let mut reader = reader.expect("the same file");
    let (found, damaged) = read(&mut file);
    let (mut captured, mut entries) = (Captured::default(), 0);
    let ended = loop {
        match reader.next(&mut captured) {
            Ok(true) => entries += 1,
            Ok(false) => break false,
            Err(_) => break true,
        }
    };
    assert_eq!((entries, ended), (found, damaged), "the replay reads the same");
    for (number, place) in file.index().map(<[_]>::to_vec).into_iter().flatten().enumerate().take(8) {
        // An index may say anything; going where it says must only not panic.
        if file.seek(number, &place).is_ok() {
            let _ = file.next(&mut Block::default());
        }
    }
    recover(&path);
    Corpus::Keep
});
