//! `tidegate feed`: the live connections of a running engine.

use anyhow::Result;
use serde_json::Value;
use tidegate_runtime::control::Ask;

use crate::commands::running::{Running, text};
use crate::exit::Exit;
use crate::output::{Format, number_table, print_json};

/// Shows the live connections of a running engine, or lets those that were given up try again.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate feed list --engine run
  tidegate feed list --engine run --format json
  tidegate feed clear --venue okx --engine run")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    running: Running,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Connections, clocks and accounts
    List,
    /// Let connections in the error state try again
    Clear {
        /// Only those of this market
        #[arg(long)]
        venue: Option<String>,
    },
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let ask = match &args.action {
        Action::List => Ask::Feeds,
        Action::Clear { venue } => Ask::FeedsClear { venue: venue.clone() },
    };
    let reply = args.running.ask(&ask)?;
    match (reply.feeds, args.running.format) {
        (Some(feeds), Format::Json) => {
            print_json(&serde_json::json!({ "schema": "tidegate.feeds.v1", "feeds": feeds }))?
        }
        (Some(feeds), Format::Table) => print_feeds(&feeds),
        (None, Format::Json) => print_json(&serde_json::json!({ "schema": "tidegate.feeds.v1", "done": "clear" }))?,
        (None, Format::Table) => anstream::println!("cleared"),
    }
    Ok(Exit::Ok)
}

/// Connections, clocks and accounts as tables.
pub(crate) fn print_feeds(feeds: &Value) {
    let keys = ["venue", "name", "state", "topics", "connections", "failed_attempts", "heard_ms", "frames", "bytes"];
    let head = ["venue", "connection", "state", "topics", "made", "failed", "heard ms ago", "frames", "bytes"];
    let rows = feeds["links"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let rows = rows.map(|row| keys.iter().map(|key| text(&row[*key])).collect());
    anstream::println!("{}", number_table(&head, rows));
    for (venue, clock) in feeds["clocks"].as_object().into_iter().flatten() {
        let ms = |key: &str| clock[key].as_f64().unwrap_or(0.0) / 1e6;
        let (offset, bound) = (ms("offset_ns"), ms("bound_ns"));
        anstream::println!("  clock of {venue}: {offset:+.3} ms against ours, known to {bound:.3} ms");
    }
    if let Some(host) = feeds["host"].as_object() {
        let us = |key: &str| host[key].as_f64().unwrap_or(0.0) / 1e3;
        let traceable = host["synchronised"] == true && us("maximum_error_ns") <= 100.0;
        let word = if traceable { "within" } else { "BEYOND" };
        let error = us("maximum_error_ns");
        anstream::println!("  our clock against UTC: error at most {error:.0} us, {word} the 100 us of RTS 25");
    }
    for (venue, channels) in feeds["accounts"].as_object().into_iter().flatten() {
        for (channel, status) in channels.as_object().into_iter().flatten() {
            let rows = status["rows"].as_array().map_or(0, Vec::len);
            let (age, pushes) = (&status["age_ms"], &status["pushes"]);
            anstream::println!("  {channel} of {venue}: {rows} rows, {age} ms old, {pushes} pushes");
        }
    }
}
