//! `tidegate audit anchor`, `verify-anchor`, `deploy-anchor`: what they ask for. What they do is behind the feature
//! `anchor`, because it brings 146 crates.

#![cfg_attr(
    not(feature = "anchor"),
    allow(dead_code, reason = "only commands that are built in read what they were asked")
)]

#[cfg(not(feature = "anchor"))]
mod absent;
#[cfg(feature = "anchor")]
mod chain;

use std::path::PathBuf;
use std::time::Duration;

use super::Keys;

/// Where the contract is.
#[derive(clap::Args, Debug)]
struct Place {
    #[command(flatten)]
    node: Node,
    /// Address of the contract, as `deploy-anchor` printed it
    #[arg(long, value_name = "ADDR")]
    contract: String,
    /// Blocks that must lie on an anchor, its own included, before it is called confirmed
    #[arg(long, default_value_t = 9, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    confirmations: u64,
}

/// Whom to ask.
#[derive(clap::Args, Debug)]
struct Node {
    /// JSON-RPC of a node of the chain, http or https; the environment keeps what is secret of it out of `ps`
    #[arg(long, value_name = "URL", env = "TIDEGATE_ANCHOR_RPC", hide_env_values = true)]
    rpc: String,
}

/// Who pays.
#[derive(clap::Args, Debug)]
struct Purse {
    /// File with the account's secret key, 64 hex digits, mode 0600
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Most to pay for a unit of gas
    #[arg(long, default_value_t = 100, value_name = "GWEI")]
    max_fee_gwei: u32,
    /// How long to wait for the chain
    #[arg(long, default_value = "30m", value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Puts the newest checkpoint of a log on an Ethereum chain, and follows what was put there before.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate audit deploy-anchor --rpc http://127.0.0.1:8545 --key eth.key
  tidegate audit anchor run/audit --rpc http://127.0.0.1:8545 --contract 0x5fbd... --key eth.key --wait

One anchor is under way at a time; anchors are kept in run/audit.anchors. A confirmed one becomes an entry of the log
when no engine has the log and its signing key is there.

EXIT CODES: 0 anchored (with --wait: confirmed) or nothing new, 1 somebody else uses the key, 3 not confirmed in time")]
pub(super) struct Args {
    /// Folder of the log; an engine may be writing it
    log: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    purse: Purse,
    /// Wait until it is confirmed
    #[arg(long)]
    wait: bool,
    /// Blocks after which a transaction that is in none is replaced by one that pays an eighth more
    #[arg(long, default_value_t = 4, value_name = "BLOCKS")]
    patience: u64,
    /// Time between two looks at the chain
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = humantime::parse_duration)]
    poll: Duration,
    /// The log's signing key, for the entry about a confirmed anchor; beside the log (LOG.key) without
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

/// Reads all anchors of a log back from the chain and compares them with the log.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate audit verify-anchor run/audit --rpc http://127.0.0.1:8545 --contract 0x5fbd... --key log.vkey

EXIT CODES: 0 the log bears out every anchor, 1 it does not, 3 no anchor is confirmed")]
pub(super) struct VerifyArgs {
    /// Folder of the log
    log: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keys: Keys,
}

/// Makes a contract that takes anchors of one account.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate audit deploy-anchor --rpc http://127.0.0.1:8545 --key eth.key

The contract has no owner, takes no ether and cannot be changed. Use an account for it that does nothing else.")]
pub(super) struct DeployArgs {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    purse: Purse,
}

#[cfg(not(feature = "anchor"))]
pub(super) use absent::{anchor, deploy, verify};
#[cfg(feature = "anchor")]
pub(super) use chain::{anchor, deploy, verify};
