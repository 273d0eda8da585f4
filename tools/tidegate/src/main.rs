//! The one binary: arguments, wiring, exit codes.
//!
//! stdout carries data (tables or JSON), stderr messages. Exit codes are in [`exit`].

mod commands;
mod exit;
mod output;
mod plot;
mod signals;
mod summary;

use std::process::ExitCode;

use clap::Parser;
use tidegate_runtime::alloc::{CountingAllocator, declare_installed};

use exit::{Exit, Failed};

/// Counts what hot loops allocate; everything else passes through.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Tidegate: market protection and microstructure engine.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = "EXIT CODES:
  0 done   1 failure, or findings with --strict   2 wrong arguments   65 unusable input   74 a file cannot be written
  78 wrong configuration   99 a gate was not met   130 ended by SIGINT after a clean shutdown")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run recorded captures through the engine
    Replay(commands::replay::Args),
    /// Read, compare and plot latency histogram logs
    Hist(commands::hist::Args),
    /// Check the host: what costs latency here, and the line that fixes it
    Doctor(commands::doctor::Args),
}

fn main() -> ExitCode {
    declare_installed();
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Replay(args) => commands::replay::run(args),
        Command::Hist(args) => commands::hist::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            error.downcast_ref::<Failed>().map_or(Exit::Failure, |failed| failed.exit).into()
        }
    }
}
