//! `tidegate capture record`: the live path of `run` without models and decision files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidegate_runtime::models::ModelsPlan;
use tidegate_runtime::replay::Outputs;

use crate::commands::config::{Layering, config_error};
use crate::commands::run::{in_directory, session};
use crate::exit::{Exit, failed};
use crate::output::Format;

/// Reads the configured venues and keeps every frame as it comes.
///
/// Files are rotated, and synced each second, as the section `capture` of the configuration says. Beside them
/// sessions.jsonl tells what became of connections. Accounts are left alone: no login is made. The first SIGINT or
/// SIGTERM ends it cleanly.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture record --config tidegate.toml --out captures
  tidegate capture record --config tidegate.toml --set capture.rotate_mib=256 --out captures --for 10m")]
pub(super) struct Args {
    #[command(flatten)]
    layering: Layering,
    /// Directory of the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// End after this long, such as 30s or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    limit: Option<Duration>,
    /// How to print the summary
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let layers = args.layering.gather()?;
    let config = layers.config().map_err(config_error)?;
    let mut plan = config.plan(|key| layers.origin(key)).map_err(config_error)?;
    let none = || failed(Exit::Config, "no [[venues]] in the configuration: there is nothing to be captured");
    let live = plan.live.as_mut().ok_or_else(none)?;
    for market in &mut live.markets {
        market.credentials = None;
    }
    live.markets.retain(|market| !market.symbols.is_empty());
    if live.markets.is_empty() {
        return Err(failed(Exit::Config, "no [[venues]] with symbols: there is nothing to be captured"));
    }
    (live.events, live.accounts) = (Some(args.out.join("sessions.jsonl")), None);
    live.capture = Some(config.capture.settings_in(args.out.clone()));
    (plan.models, plan.outputs) = (ModelsPlan::Off, Outputs::default());
    // Nobody trades here.
    (plan.risk, plan.vmsp) = (None, None);
    in_directory(&args.out, args.limit, &mut plan, |plan, stop| session(plan, stop, args.format))
}
