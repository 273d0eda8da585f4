//! `tidegate stream`: what a running engine shows other programs, in its store and in Redis.

use anyhow::Result;
use serde_json::Value;
use tidegate_runtime::control::Ask;

use crate::commands::running::{Running, text};
use crate::exit::Exit;
use crate::output::{Format, print_json};

/// Shows where the store and Redis of a running engine stand, or clears the keys in Redis and realigns.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate stream status --engine run
  tidegate stream reset --engine run
  tidegate stream reset --engine run --format json")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    running: Running,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Where the store and Redis stand
    Status,
    /// Remove the stream's keys from Redis, write the newest values again, and ask the venues for every book anew
    Reset,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let (ask, schema) = match &args.action {
        Action::Status => (Ask::Stream, "tidegate.stream-status.v1"),
        Action::Reset => (Ask::StreamReset, "tidegate.stream-reset.v1"),
    };
    let mut answer = args.running.ask(&ask)?.stream.unwrap_or_default();
    match (args.running.format, &args.action) {
        (Format::Json, _) => {
            answer["schema"] = schema.into();
            print_json(&answer)?;
        }
        (Format::Table, Action::Status) => ["store", "redis"].iter().for_each(|name| print_part(name, &answer[*name])),
        (Format::Table, Action::Reset) => {
            let cleared =
                if answer["cleared"] == true { "keys cleared and written again" } else { "no Redis to clear" };
            anstream::println!("{cleared}; {} books asked for anew", answer["realigned"]);
        }
    }
    Ok(Exit::Ok)
}

fn print_part(name: &str, status: &Value) {
    anstream::println!("{name}: {} {}", text(&status["state"]), text(&status["place"]));
    for (key, value) in status.as_object().into_iter().flatten() {
        if !["state", "place", "since_ns"].contains(&key.as_str()) {
            anstream::println!("  {key} {}", text(value));
        }
    }
}
