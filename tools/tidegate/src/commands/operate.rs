//! `tidegate operate`: an operator's word to a running engine.

use anyhow::Result;
use tidegate_runtime::control::Ask;
use tidegate_runtime::orders::Instruction;

use crate::commands::running::Running;
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Trips and resets breakers of a running engine by hand, or tells it of news and drawdowns.
///
/// What was ordered is on record with the event from which it holds, and `--reenact` repeats it.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate operate trip:engine --engine run
  tidegate operate reset:instrument:BTCUSDT.binance-usdm --engine run
  tidegate operate news:on --engine run
  tidegate operate drawdown:strategy:carry:0.031 --engine run")]
pub(crate) struct Args {
    /// `trip|reset:instrument|venue|strategy|engine[:NAME]`, `news:on|off`, `drawdown:strategy|engine[:NAME]:FRACTION`
    instruction: Instruction,
    #[command(flatten)]
    running: Running,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    if matches!(args.instruction, Instruction::Drawdown { millionths: 1_000_001.., .. }) {
        return Err(failed(Exit::BadInput, "a drawdown is a fraction: 0.03 is 3 %, and 1 is everything"));
    }
    let ask = Ask::Operate { instruction: args.instruction.to_string() };
    args.running.ask(&ask)?;
    match args.running.format {
        Format::Json => {
            print_json(&serde_json::json!({ "schema": "tidegate.operate.v1", "done": args.instruction.to_string() }))?
        }
        Format::Table => anstream::println!("{}: done", args.instruction),
    }
    Ok(Exit::Ok)
}
