//! Logs that are written, read, proven, and opened again.

mod common;

use std::path::Path;

use common::{ORIGIN, append, body, copy, files, findings, keys, open, recompute, signer};
use tidegate_record::Checkpoint;
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Archive, Log, LogError, Settings, Severity, prune};
use tidegate_record::note::Signer;
use tidegate_record::proof::check_consistency;
use tidegate_record::proof_file::ProofFile;

#[test]
fn entries_are_read_back_and_proven_to_somebody_who_has_only_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, opened) = open(folder.path());
    assert_eq!(opened, Default::default());
    for step in [1, 2, 252, 1, 1, 300, 66_000] {
        append(&mut log, step);
        log.checkpoint().expect("signed");
    }
    let size = log.next();
    let last = log.close().expect("closed");
    assert_eq!((last.size, last.origin.as_str()), (size, ORIGIN));
    let report = recompute(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!((report.size, report.checkpoints, report.kinds["session"]), (size, 8, size));
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    for index in [0, 1, 254, 255, 256, 557, 65_536, size - 1] {
        let entry = archive.entry(index).expect("there");
        assert_eq!(Entry::read(&entry).expect("an entry").body, body(index).as_bytes(), "{index}");
        let text = archive.prove(index).expect("there").text();
        let proof = ProofFile::of_text(&text).expect("its own text");
        assert_eq!(proof.check(&entry, &keys()).map(|checkpoint| checkpoint.size), Ok(size));
        let other = archive.entry((index + 1) % size).expect("there");
        assert!(proof.check(&other, &keys()).is_err(), "{index}");
        assert!(proof.check(&entry, &[Signer::of_seed(ORIGIN, &[8; 32]).expect("a name").verifier().clone()]).is_err());
    }
    for old in [1, 3, 255, 256, 257, 60_000, size] {
        let (proof, root) = (archive.consistency(old).expect("there"), archive.root(old).expect("there"));
        assert_eq!(check_consistency(old, size, &proof, &root, &last.root), Ok(()), "{old}");
    }
    assert!(matches!(archive.entry(size), Err(LogError::Absent { .. })));
    assert!(matches!(archive.consistency(size + 1), Err(LogError::Absent { .. })));
}

/// Tiles read by another implementation, which checks each against the root.
#[test]
fn another_implementation_reads_the_tiles() {
    use tlog_tiles::{Error, Hash as TheirHash, HashReader, Tile, TileHashReader, TileReader};
    struct Folder<'a>(&'a Path);
    impl TileReader for Folder<'_> {
        fn height(&self) -> u8 {
            8
        }
        fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
            // Theirs say the height in the path, which the specification has fixed since.
            let read = |tile: &Tile| std::fs::read(self.0.join(tile.path().replacen("tile/8/", "tile/", 1)));
            tiles.iter().map(|tile| read(tile).map_err(|_| Error::InvalidInput("no such tile".into()))).collect()
        }
        fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(folder.path());
    append(&mut log, 70_000);
    let last = log.close().expect("closed");
    let reader = Folder(folder.path());
    let hashes = TileHashReader::new(last.size, TheirHash(last.root), &reader);
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    for index in [0, 255, 256, 65_535, 65_536, 69_999] {
        let proof = tlog_tiles::prove_record(last.size, index, &hashes).expect("a proof of theirs");
        let ours = archive.prove(index).expect("a proof of ours");
        assert_eq!(proof.iter().map(|hash| hash.0).collect::<Vec<_>>(), ours.hashes, "{index}");
        let leaf = hashes.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]).expect("a hash")[0];
        let checked = tlog_tiles::check_record(&proof, last.size, TheirHash(last.root), index, leaf);
        assert!(checked.is_ok(), "{index}");
    }
}

#[test]
fn a_log_goes_on_where_it_ended_and_only_one_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..5 {
        let (mut log, opened) = open(folder.path());
        assert_eq!((opened.covered, opened.recovered, opened.torn_bytes), (round * 203, 0, 0));
        assert!(matches!(Log::open(folder.path(), signer(), Settings::default()), Err(LogError::Locked { .. })));
        append(&mut log, 203);
        assert_eq!(log.close().expect("closed").size, (round + 1) * 203);
    }
    assert_eq!(recompute(folder.path()).findings, []);
    let other = Signer::of_seed("desk.example/other", &[7; 32]).expect("a name");
    assert!(Log::open(folder.path(), other, Settings::default()).is_err(), "another log's key");
    let forged = Signer::of_seed(ORIGIN, &[9; 32]).expect("a name");
    assert!(Log::open(folder.path(), forged, Settings::default()).is_err(), "another key of that name");
}

/// Flips every byte, one at a time, of every file of a small log, and every eleventh of one with full tiles.
#[test]
fn no_byte_can_be_changed() {
    for (steps, every, least) in [([3, 9, 25], 1, 5_000), ([3, 40, 230], 11, 2_000)] {
        let flipped = flip_all(&steps, every);
        assert!(flipped > least, "{flipped}");
    }
}

fn flip_all(steps: &[u64], every: usize) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(folder.path());
    for step in steps {
        append(&mut log, *step);
        log.checkpoint().expect("signed");
    }
    log.close().expect("closed");
    let mut flipped = 0;
    for path in files(folder.path()).into_iter().filter(|path| !path.ends_with("lock")) {
        let good = std::fs::read(&path).expect("a file");
        for at in (0..good.len()).step_by(every) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).expect("written");
            // A key that was changed is noticed by those who have their own; here it must not match what lies there.
            let found = if path.ends_with("log.vkey") {
                Archive::own_key(folder.path()).map(|key| key == keys()[0]).map_err(|error| error.to_string())
            } else {
                findings(folder.path()).map(|findings| findings.is_empty())
            };
            assert_ne!(found, Ok(true), "byte {at} of {}", path.display());
            flipped += 1;
        }
        std::fs::write(&path, &good).expect("written");
    }
    assert_eq!(findings(folder.path()), Ok(Vec::new()));
    flipped
}

/// What somebody would do who wants another history.
#[test]
fn no_entry_can_be_replaced_moved_or_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(folder.path());
    for step in [3, 40, 300] {
        append(&mut log, step);
        log.checkpoint().expect("signed");
    }
    log.close().expect("closed");
    let forge = tempfile::tempdir().expect("a folder");
    let mut case = 0;
    let mut forged = |change: &dyn Fn(&Path)| {
        case += 1;
        let place = forge.path().join(case.to_string());
        copy(folder.path(), &place);
        change(&place);
        let found = findings(&place);
        assert_ne!(found, Ok(Vec::new()), "case {case}");
    };
    let bundle = |place: &Path| place.join("tile/entries/000");
    // Entries swapped, left out, repeated.
    for (kind, make) in [
        ("swapped", (|e| e.swap(3, 4)) as fn(&mut Vec<Vec<u8>>)),
        ("left out", |e| drop(e.remove(7))),
        ("twice", |e| e.insert(7, e[7].clone())),
    ] {
        forged(&|place| {
            let bytes = std::fs::read(bundle(place)).expect(kind);
            let frames = tidegate_record::journal::Frames::new(&bytes);
            let mut entries: Vec<Vec<u8>> = frames.map(<[u8]>::to_vec).collect();
            make(&mut entries);
            let mut bytes = Vec::new();
            entries.iter().for_each(|e| tidegate_record::journal::push_frame(&mut bytes, e).expect("short"));
            std::fs::write(bundle(place), bytes).expect("written");
        });
    }
    // Every file removed, or emptied.
    for path in files(folder.path()).into_iter().filter(|path| !path.ends_with("lock") && !path.ends_with("log.vkey")) {
        let relative = path.strip_prefix(folder.path()).expect("below").to_owned();
        // Partial tiles that a fuller one replaces may be missing.
        if !relative.to_string_lossy().contains(".p/") {
            forged(&|place| std::fs::remove_file(place.join(&relative)).expect("removed"));
        }
        forged(&|place| std::fs::write(place.join(&relative), []).expect("written"));
    }
    // Cut back to an older checkpoint, tiles and all; a checkpoint signed by another key; a whole other history.
    forged(&|place| {
        let text = std::fs::read_to_string(place.join("checkpoints")).expect("text");
        let first = tidegate_record::checkpoint::notes(&text)[1].clone();
        std::fs::write(place.join("checkpoints"), &text[..first.end]).expect("written");
        std::fs::write(place.join("checkpoint"), &text[first]).expect("written");
    });
    forged(&|place| {
        let archive = Archive::open(place, &keys()).expect("a log");
        let other = Signer::of_seed(ORIGIN, &[9; 32]).expect("a name");
        std::fs::write(place.join("checkpoint"), archive.checkpoint().sign(&other)).expect("written");
    });
    forged(&|place| {
        let wrong = Checkpoint { origin: ORIGIN.into(), size: 343, root: [1; 32] }.sign(&signer());
        std::fs::write(place.join("checkpoint"), &wrong).expect("written");
        let mut text = std::fs::read_to_string(place.join("checkpoints")).expect("text");
        text.push_str(&wrong);
        std::fs::write(place.join("checkpoints"), text).expect("written");
    });
}

#[test]
fn retention_removes_entries_and_leaves_proofs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(folder.path());
    append(&mut log, 2_000);
    // Entries carry their number as time: those below 1,500 are old enough.
    let pruned = prune(&mut log, folder.path(), u64::MAX, 1_500, "uid 0", "test").expect("pruned");
    assert_eq!((pruned.from, pruned.to), (0, 1_280));
    append(&mut log, 10);
    log.close().expect("closed");
    let report = recompute(folder.path());
    assert_eq!((report.findings.len(), report.minimum, report.kinds["pruned"]), (0, 1_280, 1));
    let archive = Archive::open(folder.path(), &keys()).expect("a log");
    assert!(matches!(archive.entry(1_279), Err(LogError::Absent { .. })));
    assert!(archive.entry(1_280).is_ok());
    let proof = archive.prove(5).expect("hashes stay");
    let mut kept = Vec::new();
    Entry::new(Kind::Session, 5, body(5).as_bytes()).write(&mut kept);
    assert!(proof.check(&kept, &keys()).is_ok(), "who kept a copy can still prove it");
    // Removing more than was recorded is damage.
    std::fs::remove_file(folder.path().join("tile/entries/006")).expect("removed");
    assert_eq!(recompute(folder.path()).severity(), Some(Severity::Tampered));
}
