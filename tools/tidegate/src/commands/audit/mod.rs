//! `tidegate audit`: what the log holds, and whether it is what it was.

mod anchor;
mod export;
mod keep;
mod prove;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_record::log::{Archive, LogError};
use tidegate_record::note::Verifier;

use crate::exit::{Exit, failed};
use crate::output::Format;

/// Checks, proves and exports audit logs.
///
/// A log vouches for itself only to those who hold its key or an earlier checkpoint: keep log.vkey and a checkpoint
/// where the log's keepers cannot reach them, and give them with --key and --old.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate audit verify run/audit --key log.vkey
  tidegate audit prove run/audit 1042 --out 1042.tlog-proof
  tidegate audit check-proof 1042.tlog-proof --entry 1042.entry --key log.vkey
  tidegate audit consistency run/audit --old yesterday.checkpoint --key log.vkey
  tidegate audit export run/audit --as csv --out audit.csv

EXIT CODES of verify: 0 whole, 1 changed, 3 not whole (a writer died, or something lies beyond the last checkpoint)")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Recompute every hash, tile and checkpoint
    Verify(verify::Args),
    /// Write the proof that an entry is in the log, and the entry
    Prove(prove::ProveArgs),
    /// Check such a proof, with nothing but the entry and the key
    CheckProof(prove::CheckArgs),
    /// Check that the log begins with what an older checkpoint covers
    Consistency(prove::ConsistencyArgs),
    /// Write entries as JSON lines or CSV
    Export(export::Args),
    /// Put the newest checkpoint on an Ethereum chain
    Anchor(anchor::Args),
    /// Compare a log with its anchors on the chain
    VerifyAnchor(anchor::VerifyArgs),
    /// Make a contract that takes anchors
    DeployAnchor(anchor::DeployArgs),
    /// Make a signing key
    Keygen(keep::KeygenArgs),
    /// Remove entries that need not be kept any longer; their hashes stay
    Prune(keep::PruneArgs),
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    match &args.action {
        Action::Verify(action) => verify::run(action, args.format),
        Action::Prove(action) => prove::prove(action, args.format),
        Action::CheckProof(action) => prove::check(action, args.format),
        Action::Consistency(action) => prove::consistency(action, args.format),
        Action::Export(action) => export::run(action),
        Action::Anchor(action) => anchor::anchor(action, args.format),
        Action::VerifyAnchor(action) => anchor::verify(action, args.format),
        Action::DeployAnchor(action) => anchor::deploy(action, args.format),
        Action::Keygen(action) => keep::keygen(action, args.format),
        Action::Prune(action) => keep::prune(action, args.format),
    }
}

/// Whose checkpoints are believed: keys as text or in files.
#[derive(clap::Args, Debug)]
pub(crate) struct Keys {
    /// Key that must have signed it: its text (`name+id+key`) or a file with it; the log's own without
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
}

impl Keys {
    pub(crate) fn read(&self) -> Result<Vec<Verifier>> {
        self.key.iter().map(|text| key(text)).collect()
    }
}

fn key(text: &str) -> Result<Verifier> {
    let content = if Path::new(text).is_file() {
        std::fs::read_to_string(text).map_err(|error| failed(Exit::BadInput, format!("--key {text}: {error}")))?
    } else {
        text.to_owned()
    };
    Verifier::of_text(content.trim()).map_err(|error| {
        failed(Exit::BadInput, format!("--key {text}: {error}; expected name+id+key, or a file with it (log.vkey)"))
    })
}

pub(crate) fn unusable(error: LogError) -> anyhow::Error {
    let exit = match &error {
        LogError::File(_) | LogError::Journal(_) | LogError::Locked { .. } => Exit::Io,
        _ => Exit::BadInput,
    };
    failed(exit, error.to_string())
}

fn archive(folder: &Path, keys: &Keys) -> Result<Archive> {
    Archive::open(folder, &keys.read()?).map_err(unusable)
}

fn written(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| failed(Exit::Io, format!("{}: {error}", path.display())))
}

fn text(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| failed(Exit::BadInput, format!("{}: {error}", path.display())))
}
