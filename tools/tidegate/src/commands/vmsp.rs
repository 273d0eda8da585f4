//! `tidegate vmsp`: the balance ledger.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_runtime::control::{self, Ask, Reply, SOCKET};
use tidegate_runtime::vmsp::channel::{ChannelClient, PACE, keys};
use tidegate_runtime::vmsp::{self, Request, VmspError};
use tidegate_wire::order::Side;

use crate::commands::config::{Layering, config_error};
use crate::commands::run::claimed;
use crate::commands::running::text;
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};
use crate::signals;

/// How long an answer over the channel is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Locks, unlocks and trades balances of a running host, over its control socket or its channel.
///
/// A lock sets an amount aside until it is unlocked, posted by a trade, or its time is over (30 s). What is answered is
/// on the disk. Trades are bookings against the ledger and the risk limits: no order is sent anywhere.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate vmsp serve --config tidegate.toml            # a ledger without an engine; `run` hosts one with vmsp.enabled
  tidegate vmsp deposit 100000 --key opening-balance
  tidegate vmsp lock 250.5 BTCUSDT --key order-17       # the same key again gives the same lock
  tidegate vmsp unlock vmsp_lock_1790000000000000000_BTCUSDT
  tidegate vmsp mark BTCUSDT.binance-usdm 60000.0
  tidegate vmsp trade BTCUSDT.binance-usdm buy 600 60000.0
  tidegate vmsp status --format json
  tidegate vmsp keys --out keys ledger desk
  tidegate vmsp status --channel 127.0.0.1:7443 --keys keys --as desk")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Output directory of the running engine or host
    #[arg(long, global = true, default_value = "run", value_name = "DIR")]
    engine: PathBuf,
    /// Ask over the channel that listens here, not over the control socket
    #[arg(long, global = true, value_name = "ADDRESS:PORT", requires = "keys")]
    channel: Option<SocketAddr>,
    /// Folder of the channel's certificates
    #[arg(long, global = true, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Who asks, by the name in its certificate
    #[arg(long = "as", global = true, default_value = "desk", value_name = "NAME")]
    name: String,
    /// Who must answer, by the name in its certificate
    #[arg(long, global = true, default_value = "ledger", value_name = "NAME")]
    host: String,
    /// Time from frame to frame, as the host has it
    #[arg(long, global = true, value_name = "MS", default_value_t = PACE.as_millis() as u64, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pace_ms: u64,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Set an amount aside
    Lock {
        /// How much
        amount: String,
        /// What for
        symbol: String,
        /// Makes it safe to ask again: the same key is locked once
        #[arg(long)]
        key: Option<String>,
    },
    /// Give a lock back; a position of an earlier run is closed without gain
    Unlock {
        /// `vmsp_lock_<ns>_<symbol>`
        id: String,
        /// Makes it safe to ask again
        #[arg(long)]
        key: Option<String>,
    },
    /// Balances, locks, trades and what operations took
    Status,
    /// Book a trade: entered after its drift, held for the protection window, closed after another drift
    Trade {
        /// Instrument, such as BTCUSDT.binance-usdm
        symbol: String,
        /// buy or sell
        side: Side,
        /// What it is worth at its price
        amount: String,
        /// Price
        price: String,
    },
    /// Tell at which price an instrument is now
    Mark {
        /// Instrument
        symbol: String,
        /// Price
        price: String,
    },
    /// Start protection: expiry is watched, locks are given
    Start,
    /// Stop protection: nothing new is locked
    Stop,
    /// Put money in
    Deposit {
        /// How much
        amount: String,
        /// Makes it safe to ask again
        #[arg(long)]
        key: Option<String>,
    },
    /// Take money out
    Withdraw {
        /// How much
        amount: String,
        /// Makes it safe to ask again
        #[arg(long)]
        key: Option<String>,
    },
    /// Host the ledger of a configuration without an engine, until a signal or `--for`
    Serve {
        #[command(flatten)]
        layering: Layering,
        /// End after this long, such as 30s or 2h
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        limit: Option<Duration>,
    },
    /// Make the channel's certificates: an authority's, and one with a key for each name
    Keys {
        /// Folder that has none yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Names of the processes
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl Args {
    /// Whether this is the host, which logs what happens.
    pub(crate) const fn is_host(&self) -> bool {
        matches!(self.action, Action::Serve { .. })
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let request = match &args.action {
        Action::Serve { layering, limit } => return serve(layering, *limit),
        Action::Keys { out, names } => return make_keys(out, names, args.format),
        Action::Lock { amount, symbol, key } => {
            Request::Lock { amount: amount.clone(), symbol: symbol.clone(), key: key.clone() }
        }
        Action::Unlock { id, key } => Request::Unlock { id: id.clone(), key: key.clone() },
        Action::Status => Request::Status,
        Action::Trade { symbol, side, amount, price } => {
            Request::Trade { symbol: symbol.clone(), side: *side, amount: amount.clone(), price: price.clone() }
        }
        Action::Mark { symbol, price } => Request::Mark { symbol: symbol.clone(), price: price.clone() },
        Action::Start => Request::Start,
        Action::Stop => Request::Stop,
        Action::Deposit { amount, key } => Request::Deposit { amount: amount.clone(), key: key.clone() },
        Action::Withdraw { amount, key } => Request::Withdraw { amount: amount.clone(), key: key.clone() },
    };
    let reply = ask(args, request)?;
    if let Some(error) = reply.error {
        return Err(failed(Exit::Failure, reply.rule.map_or(error.clone(), |rule| format!("{rule}: {error}"))));
    }
    let mut answer = reply.vmsp.unwrap_or_default();
    match (args.format, &args.action) {
        (Format::Json, _) => {
            answer["schema"] = "tidegate.vmsp.v1".into();
            print_json(&answer)?;
        }
        (Format::Table, Action::Status) => print_status(&answer),
        (Format::Table, Action::Trade { .. }) => print_fields(&answer["trade"]),
        (Format::Table, _) => print_fields(&answer),
    }
    let ended = |state: &str| ["voided", "expired", "closed", "gone"].contains(&state);
    match (&args.action, answer["state"].as_str()) {
        (Action::Lock { .. }, Some(state)) if ended(state) => {
            let text =
                format!("the lock of this key is {state}: it holds nothing any more; a new one needs another key");
            Err(failed(Exit::Failure, text))
        }
        _ => Ok(Exit::Ok),
    }
}

fn ask(args: &Args, request: Request) -> Result<Reply> {
    let Some(address) = args.channel else {
        return control::ask(&args.engine.join(SOCKET), &Ask::Vmsp { request }).map_err(|error| {
            failed(Exit::Failure, format!("no host answers: {error}; --engine names its output directory"))
        });
    };
    let no_answer = |error: &dyn std::fmt::Display| failed(Exit::Failure, format!("the channel to {address}: {error}"));
    let folder = args.keys.clone().unwrap_or_default();
    let pace = Duration::from_millis(args.pace_ms);
    let client = ChannelClient::connect(address, &folder, (&args.name, &args.host), pace);
    let mut client = client.map_err(|error| no_answer(&error))?;
    let message = client.ask(serde_json::to_vec(&request)?, PATIENCE).map_err(|error| no_answer(&error))?;
    serde_json::from_slice(message.bytes()).map_err(|error| no_answer(&error))
}

fn serve(layering: &Layering, limit: Option<Duration>) -> Result<Exit> {
    let layers = layering.gather()?;
    let config = layers.config().map_err(config_error)?;
    let (plan, audit) = config.ledger(|key| layers.origin(key)).map_err(config_error)?;
    claimed(&config.output.directory, limit, |claim, stop| {
        signals::broken_pipes_end(false);
        let served = vmsp::serve(&plan, audit.as_ref(), &claim, stop);
        signals::broken_pipes_end(true);
        served.map(|()| Exit::Interrupted).map_err(|error| failed(exit_of(&error), error.to_string()))
    })
}

/// The code that a ledger which cannot be hosted ends with.
pub(crate) const fn exit_of(error: &VmspError) -> Exit {
    match error {
        VmspError::Store(vmsp::store::StoreError::Record { .. } | vmsp::store::StoreError::Unbalanced { .. }) => {
            Exit::BadInput
        }
        VmspError::Store(_) | VmspError::Control(_) | VmspError::Audit(_) => Exit::Io,
        VmspError::Key(_) | VmspError::Risk(_) | VmspError::Channel(_) => Exit::Config,
        VmspError::Thread(_) => Exit::Failure,
    }
}

fn make_keys(out: &std::path::Path, names: &[String], format: Format) -> Result<Exit> {
    let made = keys::make(out, names).map_err(|error| failed(Exit::Io, error.to_string()))?;
    match format {
        Format::Json => print_json(&json!({ "schema": "tidegate.vmsp-keys.v1", "files": made }))?,
        Format::Table => {
            anstream::println!(
                "made; give each process authority.pem and its own two files, and nobody a key of others"
            );
            made.iter().for_each(|path| anstream::println!("  {}", path.display()));
        }
    }
    Ok(Exit::Ok)
}

fn print_fields(answer: &Value) {
    for (key, value) in answer.as_object().into_iter().flatten() {
        anstream::println!("{key}: {}", text(value));
    }
}

fn print_status(status: &Value) {
    let account = &status["account"];
    anstream::println!("{} of {}: {}", text(&account["asset"]), text(&account["owner"]), text(&status["state"]));
    if let Some(error) = status["error"].as_str() {
        anstream::println!("  the journal has failed: {error}");
    }
    let balance = &status["balance"];
    let keys = ["total", "locked", "available", "usable", "buffer", "virtual"];
    anstream::println!("{}", number_table(&keys, [keys.iter().map(|key| text(&balance[*key])).collect()]));
    let rows = |list: &Value, keys: &[&str]| -> Vec<Vec<String>> {
        let rows = list.as_array().map_or(&[][..], Vec::as_slice).iter();
        rows.map(|row| keys.iter().map(|key| text(&row[*key])).collect()).collect()
    };
    let positions = &status["positions"];
    anstream::println!("{} of {} places taken", text(&positions["locked_count"]), text(&positions["max_locked"]));
    let keys = ["id", "state", "amount", "expires_in_s"];
    anstream::println!(
        "{}",
        number_table(&["lock", "state", "amount", "expires in s"], rows(&positions["locks"], &keys))
    );
    let keys = ["id", "symbol", "side", "amount", "price", "stage", "gain", "note"];
    anstream::println!("{}", number_table(&keys, rows(&status["trades"], &keys)));
    let times = status["times"].as_object().into_iter().flatten();
    let times = times.map(|(name, row)| {
        let figures = ["count", "p50_ns", "p99_ns", "max_ns", "bound_ms", "over_bound"];
        std::iter::once(name.clone()).chain(figures.iter().map(|key| text(&row[*key]))).collect()
    });
    anstream::println!("{}", number_table(&["took", "count", "p50 ns", "p99 ns", "max ns", "bound ms", "over"], times));
}
