//! `tidegate operate`: an operator's word to a running engine.

use std::path::PathBuf;

use anyhow::Result;
use tidegate_runtime::control::{self, Ask, SOCKET};
use tidegate_runtime::orders::Instruction;

use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Trips and resets breakers of a running engine by hand, or tells it whether there is news.
///
/// What was ordered is on record with the event from which it holds, and `--reenact` repeats it.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate operate trip:engine --engine run
  tidegate operate reset:instrument:BTCUSDT.binance-usdm --engine run
  tidegate operate news:on --engine run")]
pub(crate) struct Args {
    /// `trip|reset:instrument|venue|strategy|engine[:NAME]` or `news:on|off`
    instruction: Instruction,
    /// Output directory of the running engine
    #[arg(long, default_value = "run", value_name = "DIR")]
    engine: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let ask = Ask::Operate { instruction: args.instruction.to_string() };
    let reply = control::ask(&args.engine.join(SOCKET), &ask).map_err(|error| {
        failed(Exit::Failure, format!("no engine answers: {error}; --engine names its output directory"))
    })?;
    if let Some(error) = reply.error {
        return Err(failed(Exit::Failure, error));
    }
    match args.format {
        Format::Json => {
            print_json(&serde_json::json!({ "schema": "tidegate.operate.v1", "done": args.instruction.to_string() }))?
        }
        Format::Table => anstream::println!("{}: done", args.instruction),
    }
    Ok(Exit::Ok)
}
