//! `tidegate audit prove`, `check-proof`, `consistency`.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use tidegate_record::checkpoint::Checkpoint;
use tidegate_record::log::Archive;
use tidegate_record::proof::check_consistency;
use tidegate_record::proof_file::ProofFile;
use tidegate_runtime::audit::reading::Reading;

use super::{Keys, archive, text, unusable, written};
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

#[derive(clap::Args, Debug)]
pub(super) struct ProveArgs {
    /// Folder of the log
    log: PathBuf,
    /// Number of the entry, from 0
    index: u64,
    #[command(flatten)]
    keys: Keys,
    /// Where the proof goes (C2SP tlog-proof); INDEX.tlog-proof without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the entry's bytes go; beside the proof, as .entry, without
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub(super) struct CheckArgs {
    /// The proof
    proof: PathBuf,
    /// The entry's bytes
    #[arg(long, value_name = "FILE")]
    entry: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

#[derive(clap::Args, Debug)]
pub(super) struct ConsistencyArgs {
    /// Folder of the log
    log: PathBuf,
    /// The older checkpoint, as the log signed it
    #[arg(long, value_name = "FILE")]
    old: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn prove(args: &ProveArgs, format: Format) -> Result<Exit> {
    let archive = archive(&args.log, &args.keys)?;
    let proof = archive.prove(args.index).map_err(unusable)?;
    let entry = archive.entry(args.index).map_err(unusable)?;
    let out = args.out.clone().unwrap_or_else(|| format!("{}.tlog-proof", args.index).into());
    let beside = args.entry.clone().unwrap_or_else(|| out.with_extension("entry"));
    written(&out, proof.text().as_bytes())?;
    written(&beside, &entry)?;
    let (size, hashes) = (archive.size(), proof.hashes.len());
    match format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.audit-prove.v1",
            "index": args.index,
            "size": size,
            "hashes": hashes,
            "proof": out,
            "entry": beside,
        }))?,
        Format::Table => {
            anstream::println!(
                "{}: entry {} of {size}, {hashes} hashes; the entry: {}",
                out.display(),
                args.index,
                beside.display()
            );
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn check(args: &CheckArgs, format: Format) -> Result<Exit> {
    let keys = args.keys.read()?;
    if keys.is_empty() {
        return Err(failed(Exit::BadInput, "--key is needed: a proof proves nothing without knowing whose log it is"));
    }
    let proof = ProofFile::of_text(&text(&args.proof)?);
    let proof = proof.map_err(|error| failed(Exit::BadInput, format!("{}: {error}", args.proof.display())))?;
    let entry = std::fs::read(&args.entry);
    let entry = entry.map_err(|error| failed(Exit::BadInput, format!("{}: {error}", args.entry.display())))?;
    let checkpoint = proof.check(&entry, &keys);
    let checkpoint = checkpoint.map_err(|error| failed(Exit::Failure, format!("{}: {error}", args.proof.display())))?;
    let Checkpoint { origin, size, root } = &checkpoint;
    // Without the log the numbers in records have no names, and what no longer reads is shown as its kind only.
    let row = Reading::default().row(proof.index, &entry).ok();
    match format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.audit-check-proof.v1",
            "proven": true,
            "origin": origin,
            "index": proof.index,
            "size": size,
            "root": root.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "entry": row,
        }))?,
        Format::Table => {
            anstream::println!("proven: entry {} of {size} of {origin}", proof.index);
            if let Some(row) = row {
                anstream::println!("  {} {} {}", row.time.unwrap_or_default(), row.kind, row.body);
            }
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn consistency(args: &ConsistencyArgs, format: Format) -> Result<Exit> {
    let mut keys = args.keys.read()?;
    if keys.is_empty() {
        keys.push(Archive::own_key(&args.log).map_err(unusable)?);
    }
    let old = Checkpoint::open(&text(&args.old)?, &keys);
    let old = old.map_err(|error| failed(Exit::BadInput, format!("{}: {error}", args.old.display())))?;
    let archive = Archive::open(&args.log, &keys).map_err(unusable)?;
    let new = archive.checkpoint();
    let differs = |reason: String| failed(Exit::Failure, format!("{}: {reason}", args.log.display()));
    if old.origin != new.origin {
        return Err(differs(format!("this is the log {}, the older checkpoint is of {}", new.origin, old.origin)));
    }
    if old.size > new.size {
        return Err(differs(format!("it was cut back: {} entries, and {} were signed before", new.size, old.size)));
    }
    if old.size == 0 {
        return Err(failed(
            Exit::BadInput,
            format!("{}: covers no entry: every log begins with it", args.old.display()),
        ));
    }
    let proof = archive.consistency(old.size).map_err(unusable)?;
    check_consistency(old.size, new.size, &proof, &old.root, &new.root)
        .map_err(|error| differs(format!("it does not begin with the {} entries signed before: {error}", old.size)))?;
    match format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.audit-consistency.v1",
            "consistent": true,
            "old": old.size,
            "new": new.size,
            "hashes": proof.len(),
        }))?,
        Format::Table => {
            anstream::println!("consistent: its {} entries begin with the {} signed before", new.size, old.size);
        }
    }
    Ok(Exit::Ok)
}
