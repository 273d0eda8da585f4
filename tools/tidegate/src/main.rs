//! The one binary: arguments, wiring, exit codes.
//!
//! stdout carries data (tables or JSON), stderr messages. Exit codes are in [`exit`].

mod audited;
mod bar_file;
mod commands;
mod event_files;
mod exit;
mod graph_file;
mod logging;
mod output;
mod parquet_file;
mod percentiles;
mod plot;
mod row_groups;
mod screens;
mod signal_table;
mod signals;
mod summary;
mod thresholds;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tidegate_runtime::alloc::{CountingAllocator, declare_installed};

use exit::{Exit, Failed};
use logging::{LogFormat, Logs};

/// Counts what hot loops allocate; everything else passes through.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Tidegate: market protection and microstructure engine.
#[derive(Parser, Debug)]
#[command(version, about = "Market protection and microstructure for crypto", max_term_width = 100)]
#[command(after_help = "EXIT CODES:
    0  done                      74  a file cannot be written
    1  failure, or findings      78  wrong configuration
    2  wrong arguments          130  ended by SIGINT or SIGTERM
    3  not whole (audit)
   65  unusable input")]
struct Cli {
    /// Log lines on stderr: text on a terminal, else JSON. `TIDEGATE_LOG` filters them (default: warn; live runs: info)
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run recorded captures through the engine
    Replay(commands::replay::Args),
    /// Run the engine on the sources of a configuration
    Run(commands::run::Args),
    /// Keep raw frames of live venues; describe, check, cut and convert what was kept
    Capture(commands::capture::Args),
    /// Write feature vectors and bars to Parquet, or list the feature schema
    Features(commands::features::Args),
    /// Print microstructure signals of captures, and how good they were
    Signals(commands::signals::Args),
    /// Describe, check and show configurations
    Config(commands::config::Args),
    /// List, check, load, promote and roll back models
    Model(commands::model::Args),
    /// Show the live connections of a running engine, or let those that were given up try again
    Feed(commands::feed::Args),
    /// Trip and reset breakers of a running engine, or tell it of news
    Operate(commands::operate::Args),
    /// Check orders against limits, stop the trading of a running engine, let it go on
    Risk(commands::risk::Args),
    /// Run models beside an engine (engines start this themselves)
    #[command(hide = true)]
    Sidecar(commands::sidecar::Args),
    /// Lock, unlock and trade balances, host their ledger, make the keys of its channel
    Vmsp(commands::vmsp::Args),
    /// Check, prove and export audit logs
    Audit(commands::audit::Args),
    /// Make tables of an audit log in SQLite or Postgres, and compare them with it
    Store(commands::store::Args),
    /// Show where the store and Redis of a running engine stand, clear Redis and realign
    Stream(commands::stream::Args),
    /// Explain an incident: cause, impact, other thresholds, what follows
    Postmortem(commands::postmortem::Args),
    /// Show a running engine in a terminal
    Top(commands::top::Args),
    /// Write captures of a simulated market
    Simulate(commands::simulate::Args),
    /// Read, compare and plot latency histogram logs
    Hist(commands::hist::Args),
    /// Ask a running engine's server whether it lives, or whether it is ready
    Health(commands::health::Args),
    /// Check the host: what costs latency here, and the line that fixes it
    Doctor(commands::doctor::Args),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    // SAFETY: the first line of the program; there is no other thread.
    unsafe { tidegate_sidecar::native::disable_telemetry() };
    signals::broken_pipes_end(true);
    signals::large_files_are_errors();
    declare_installed();
    let cli = Cli::parse();
    let live = match &cli.command {
        Command::Run(_) => true,
        Command::Capture(args) => args.is_live(),
        Command::Vmsp(args) => args.is_host(),
        _ => false,
    };
    let level = if live { "info" } else { "warn" };
    let _logs = match Logs::begin(cli.log_format, level) {
        Ok(logs) => logs,
        Err(message) => {
            anstream::eprintln!("error: {message}");
            return Exit::Config.into();
        }
    };
    let result = match &cli.command {
        Command::Replay(args) => commands::replay::run(args),
        Command::Run(args) => commands::run::run(args),
        Command::Capture(args) => commands::capture::run(args),
        Command::Features(args) => commands::features::run(args),
        Command::Signals(args) => commands::signals::run(args),
        Command::Model(args) => commands::model::run(args),
        Command::Feed(args) => commands::feed::run(args),
        Command::Operate(args) => commands::operate::run(args),
        Command::Risk(args) => commands::risk::run(args),
        Command::Sidecar(args) => commands::sidecar::run(args),
        Command::Config(args) => commands::config::run(args),
        Command::Vmsp(args) => commands::vmsp::run(args),
        Command::Audit(args) => commands::audit::run(args),
        Command::Postmortem(args) => commands::postmortem::run(args),
        Command::Store(args) => commands::store::run(args),
        Command::Stream(args) => commands::stream::run(args),
        Command::Top(args) => commands::top::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "tidegate", &mut std::io::stdout());
            Ok(Exit::Ok)
        }
        Command::Hist(args) => commands::hist::run(args),
        Command::Health(args) => commands::health::run(args),
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
