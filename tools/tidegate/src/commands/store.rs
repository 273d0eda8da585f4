//! `tidegate store`: the audit log as tables.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tidegate_feed::session::credentials::SecretSource;
use tidegate_record::log::Tail;
use tidegate_record::store::{Place, Store, StoreError};
use tidegate_runtime::stores::{Comparison, FollowError, Follower, Step, compare};

use crate::commands::audit::{Keys, unusable};
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};
use crate::signals;

/// Makes tables of an audit log, follows one that is being written, or compares both.
///
/// The log is the truth and a store its index: it can be made again at any time. Rows and the entry that they lead to
/// are written together, so that whoever dies at whatever moment leaves a store that the next one goes on with.
/// Passwords come from --password-file or PGPASSWORD, never from a URL.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate store sync run/audit --url sqlite:store.sqlite
  tidegate store follow run/audit --url postgres://tide@db/tide --password-file pg.password
  tidegate store compare run/audit --url sqlite:store.sqlite
  tidegate store status --url sqlite:store.sqlite --format json

EXIT CODES of compare: 0 equal, 1 different, 3 equal as far as it goes, but behind the log")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Which store: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TIDEGATE_STORE_URL",
        default_value = "sqlite:run/store.sqlite"
    )]
    url: String,
    /// File that holds the password
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
}

#[derive(clap::Args, Debug)]
struct LogArgs {
    /// Folder of the log
    log: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Take what the log has up to its newest checkpoint
    Sync(LogArgs),
    /// The same, and go on until a signal
    Follow(LogArgs),
    /// Make every row again and compare it with the store's
    Compare(LogArgs),
    /// Which log it belongs to, how much of it is there, how many rows
    Status,
}

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a log is looked at that is followed.
const POLL: Duration = Duration::from_millis(100);
/// Time before another attempt, where the store is away.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let place = place(args)?;
    match &args.action {
        Action::Sync(log) => follow(args, log, place, false),
        Action::Follow(log) => follow(args, log, place, true),
        Action::Compare(log) => {
            let comparison = compare(&log.log, &log.keys.read()?, &place).map_err(exit_of)?;
            print_comparison(&comparison, &place, args.format)
        }
        Action::Status => status(&place, args.format),
    }
}

fn place(args: &Args) -> Result<Place> {
    let place = Place::parse(&args.url).map_err(|error| failed(Exit::BadInput, format!("--url: {error}")))?;
    let Some(file) = args.password_file.clone() else { return Ok(place) };
    let secret = SecretSource { file: Some(file), env: None }.read();
    let secret = secret.map_err(|reason| failed(Exit::BadInput, format!("--password-file: {reason}")))?;
    Ok(place.with_password(Some(secret.expose().to_owned().into())))
}

fn exit_of(error: FollowError) -> anyhow::Error {
    match error {
        FollowError::Log(error) => unusable(error),
        FollowError::Store { source: StoreError::Failed { .. } | StoreError::Silent { .. }, .. } => {
            failed(Exit::Io, error.to_string())
        }
        other => failed(Exit::BadInput, other.to_string()),
    }
}

fn follow(args: &Args, log: &LogArgs, place: Place, on: bool) -> Result<Exit> {
    let keys = log.keys.read()?;
    if !on && Tail::open(&log.log, &keys).map_err(unusable)?.is_none() {
        return Err(failed(Exit::BadInput, format!("{}: no checkpoint: this is no log", log.log.display())));
    }
    let shown = place.to_string();
    let mut follower = Follower::new(&log.log, keys, place);
    let (stop, start) = (signals::stop_flag()?, Instant::now());
    let (mut entries, mut rows) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match follower.step() {
            Ok(Step::Wrote { entries: some, rows: theirs }) => (entries, rows) = (entries + some, rows + theirs),
            Ok(Step::Idle) if on => std::thread::sleep(POLL),
            Ok(Step::Idle) => break,
            // Whoever else writes it has come further: from there it goes on.
            Err(FollowError::Store { source: StoreError::Moved { .. }, .. }) => {}
            Err(error) if on && error.may_pass() => {
                anstream::eprintln!("warning: {error}; it is tried again");
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(exit_of(error)),
        }
    }
    let (next, behind, seconds) = (follower.next(), follower.behind(), start.elapsed().as_secs_f64());
    match args.format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.store-sync.v1",
            "store": shown,
            "next": next,
            "behind": behind,
            "entries": entries,
            "rows": rows,
            "seconds": seconds,
        }))?,
        Format::Table => {
            let rate = entries as f64 / seconds.max(1e-9);
            anstream::println!("{shown}: {next} entries, {behind} behind the log");
            anstream::println!("  {entries} taken now as {rows} rows, {seconds:.3} s, {rate:.0} entries/s");
        }
    }
    Ok(if stop.load(Ordering::Relaxed) { Exit::Interrupted } else { Exit::Ok })
}

fn print_comparison(comparison: &Comparison, place: &Place, format: Format) -> Result<Exit> {
    let (equal, behind) = (comparison.is_equal(), comparison.behind());
    match format {
        Format::Json => {
            let mut document = serde_json::to_value(comparison)?;
            document["schema"] = "tidegate.store-compare.v1".into();
            document["store"] = place.to_string().into();
            document["equal"] = equal.into();
            document["behind"] = behind.into();
            print_json(&document)?;
        }
        Format::Table => {
            let verdict = if equal { "equal" } else { "DIFFERENT" };
            let (next, entries) = (comparison.next, comparison.entries);
            anstream::println!("{place}: {verdict}: {next} of {entries} entries of {}", comparison.origin);
            if comparison.minimum > 0 {
                let minimum = comparison.minimum;
                anstream::println!("  entries below {minimum} were removed from the log by retention: not compared");
            }
            let rows = comparison.tables.iter().map(|table| {
                let numbers = [table.expected, table.found, table.different];
                std::iter::once(table.table.to_owned()).chain(numbers.map(|number| number.to_string())).collect()
            });
            anstream::println!("{}", number_table(&["table", "log", "store", "different"], rows));
            for difference in &comparison.differences {
                anstream::println!("  {difference}");
            }
            if behind > 0 {
                anstream::println!("  {behind} entries are not there yet: `tidegate store sync` takes them");
            }
        }
    }
    Ok(match (equal, behind) {
        (false, _) => Exit::Failure,
        (true, 0) => Exit::Ok,
        (true, _) => Exit::Incomplete,
    })
}

fn status(place: &Place, format: Format) -> Result<Exit> {
    let unusable = |error: StoreError| failed(Exit::Io, format!("{place}: {error}"));
    let mut store = Store::look(place, PATIENCE).map_err(unusable)?;
    let (position, counts) = (store.position().map_err(unusable)?, store.counts().map_err(unusable)?);
    match format {
        Format::Json => {
            let tables: serde_json::Map<String, serde_json::Value> =
                counts.iter().map(|(table, count)| ((*table).to_owned(), (*count).into())).collect();
            let position = position.map(|position| {
                json!({
                    "origin": position.origin,
                    "first": position.first,
                    "next": position.next,
                    "root": position.root,
                    "session": position.session,
                })
            });
            let place = place.to_string();
            print_json(&json!({
                "schema": "tidegate.store-status.v1",
                "store": place,
                "position": position,
                "rows": tables,
            }))?;
        }
        Format::Table => {
            match position {
                Some(position) => {
                    anstream::println!(
                        "{place}: entries {} to {} of {}",
                        position.first,
                        position.next,
                        position.origin
                    );
                    anstream::println!("  root {}", position.root);
                }
                None => anstream::println!("{place}: empty"),
            }
            let rows = counts.iter().map(|(table, count)| vec![(*table).to_owned(), count.to_string()]);
            anstream::println!("{}", number_table(&["table", "rows"], rows));
        }
    }
    Ok(Exit::Ok)
}
