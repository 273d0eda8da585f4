//! `tidegate audit keygen` and `prune`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::json;
use tidegate_record::log::{self, Log, Settings};
use tidegate_runtime::audit::{ORIGIN, key};

use super::unusable;
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

#[derive(clap::Args, Debug)]
pub(super) struct KeygenArgs {
    /// Where the secret goes; nothing is ever replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the log: who keeps it and what of, as a URL without a scheme
    #[arg(long, default_value = ORIGIN, value_name = "NAME")]
    name: String,
}

#[derive(clap::Args, Debug)]
pub(super) struct PruneArgs {
    /// Folder of the log; no engine may be writing it
    log: PathBuf,
    /// The signing key
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// Only entries older than this; six years are what 17 CFR 240.17a-4(a) asks for
    #[arg(long, default_value = "2192days", value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Only entries below this number
    #[arg(long, default_value_t = u64::MAX, value_name = "INDEX")]
    below: u64,
    /// Who removes them
    #[arg(long, value_name = "NAME")]
    who: String,
    /// Why they need not be kept
    #[arg(long, value_name = "TEXT")]
    why: String,
}

pub(super) fn keygen(args: &KeygenArgs, format: Format) -> Result<Exit> {
    let signer = key::make(&args.out, &args.name).map_err(|error| failed(Exit::Io, error.to_string()))?;
    let public = signer.verifier().text();
    match format {
        Format::Json => print_json(&json!({ "schema": "tidegate.audit-keygen.v1", "file": args.out, "key": public }))?,
        Format::Table => anstream::println!("{}: made; who checks its logs needs\n{public}", args.out.display()),
    }
    Ok(Exit::Ok)
}

pub(super) fn prune(args: &PruneArgs, format: Format) -> Result<Exit> {
    let signer = key::read(&args.signing_key).map_err(|error| failed(Exit::BadInput, error.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before_ns = now.saturating_sub(args.older_than).as_nanos() as i64;
    if !args.log.join("checkpoint").is_file() {
        return Err(failed(Exit::BadInput, format!("{}: no log", args.log.display())));
    }
    let (mut log, _) = Log::open(&args.log, signer, Settings::default()).map_err(unusable)?;
    let pruned = log::prune(&mut log, &args.log, args.below, before_ns, &args.who, &args.why).map_err(unusable)?;
    log.close().map_err(unusable)?;
    match format {
        Format::Json => print_json(&json!({ "schema": "tidegate.audit-prune.v1", "pruned": pruned }))?,
        Format::Table => anstream::println!("removed entries {} to {}", pruned.from, pruned.to),
    }
    Ok(Exit::Ok)
}
