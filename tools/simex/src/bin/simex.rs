//! `simex serve`: the simulated exchange as a program.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidegate_simex::exchange::{Chaos, Exchange, ExchangeConfig, Fault};

/// The simulated exchange: five venues' protocols over TLS, with faults.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until the program is ended.
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    /// Configuration file (TOML); every venue with its usual settings if it is missing.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one line of JSON with all addresses when ready.
    #[arg(long)]
    print_addresses: bool,
    /// Where ca.pem is written; the configuration's directory, or else the present one.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// A fault, e.g. 5s:lost:venue=okx:count=2; may be given several times.
    #[arg(long, value_name = "TIME:KIND[:KEY=VALUE...]", value_parser = fault)]
    fault: Vec<Fault>,
    /// Random faults from this seed.
    #[arg(long, value_name = "SEED")]
    chaos: Option<u64>,
    /// Random faults a minute, as a number or N/min.
    #[arg(long, default_value = "6/min", value_parser = rate, requires = "chaos")]
    chaos_rate: f64,
    /// Market seconds for each second of wall time.
    #[arg(long)]
    speed: Option<f64>,
    /// Factor of all protocol time limits.
    #[arg(long)]
    time_scale: Option<f64>,
    /// End after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::parse(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    text.strip_suffix("/min").unwrap_or(text).parse().map_err(|_| "expected N or N/min".to_owned())
}

fn main() -> anyhow::Result<()> {
    let Command::Serve(arguments) = Arguments::parse().command;
    let mut config = match &arguments.config {
        Some(path) => ExchangeConfig::load(path)?,
        None => ExchangeConfig::default(),
    };
    config.speed = arguments.speed.unwrap_or(config.speed);
    config.time_scale = arguments.time_scale.unwrap_or(config.time_scale);
    config.directory = arguments.directory.or(config.directory).or_else(|| Some(PathBuf::from(".")));
    config.fault.extend(arguments.fault);
    if let Some(seed) = arguments.chaos {
        config.chaos = Some(Chaos::new(seed, arguments.chaos_rate));
    }
    let chaos = config.chaos.as_ref().map(|chaos| (chaos.seed, chaos.per_minute));
    let exchange = Exchange::start(config)?;
    if let Some((seed, per_minute)) = chaos {
        eprintln!("simex: chaos seed {seed}, {per_minute} faults a minute");
    }
    if arguments.print_addresses {
        let line = serde_json::to_string(exchange.addresses()).context("addresses")?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")?;
    } else {
        eprintln!("simex: admin interface at {}", exchange.addresses().admin);
    }
    match arguments.lasting {
        Some(time) => std::thread::sleep(time),
        // The server has threads of its own; this one has nothing to do until the program is ended.
        None => loop {
            std::thread::park();
        },
    }
    exchange.stop();
    Ok(())
}
