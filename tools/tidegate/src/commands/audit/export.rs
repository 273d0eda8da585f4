//! `tidegate audit export`: entries for people, spreadsheets and other programs.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_record::entry::Kind;
use tidegate_runtime::audit::orders::{Keeper, OrderRecords};
use tidegate_runtime::audit::reading::{Reading, Row};

use super::{Keys, archive, unusable};
use crate::exit::{Exit, failed};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Folder of the log
    log: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// How
    #[arg(long = "as", value_enum, default_value = "jsonl", value_name = "FORM")]
    form: Form,
    /// First entry
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    from: u64,
    /// First entry that is left out
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// Only the last so many
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    last: Option<u64>,
    /// Only entries of these kinds, such as decision,request; a wrong one lists them all
    #[arg(long, value_delimiter = ',', value_name = "KINDS", value_parser = kind)]
    kinds: Vec<&'static str>,
    /// Legal entity identifier (ISO 17442) of who keeps the records; needed by mica-json
    #[arg(long, value_name = "LEI", required_if_eq("form", "mica-json"))]
    lei: Option<String>,
    /// Digital token identifier (ISO 24165) of an instrument, such as BTCUSDT.okx=4H95J0R2X; for mica-json
    #[arg(long, value_name = "NAME=DTI", value_parser = dti)]
    dti: Vec<(String, String)>,
    /// Where to; stdout without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values, RFC 4180
    Csv,
    /// Order records with the fields of Delegated Regulation (EU) 2025/416, a JSON object a line
    MicaJson,
}

fn kind(text: &str) -> Result<&'static str, String> {
    let known = || Kind::names().collect::<Vec<_>>().join(", ");
    Kind::names().find(|name| *name == text).ok_or_else(|| format!("no kind of entry; kinds are {}", known()))
}

fn dti(text: &str) -> Result<(String, String), String> {
    let (name, code) = text.split_once('=').ok_or_else(|| format!("{text:?}: expected NAME=DTI"))?;
    Ok((name.to_owned(), code.to_owned()))
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let archive = archive(&args.log, &args.keys)?;
    let from = args.last.map_or(args.from, |last| archive.size().saturating_sub(last));
    let to = args.to.unwrap_or(u64::MAX);
    let io = |path: &Path, error: std::io::Error| failed(Exit::Io, format!("{}: {error}", path.display()));
    let place = args.out.as_deref().unwrap_or(Path::new("stdout"));
    let mut out: Box<dyn Write> = match &args.out {
        Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(|error| io(path, error))?)),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    if args.form == Form::Csv {
        writeln!(out, "index,time,kind,actor,follows,leaf_sha256,body").map_err(|error| io(place, error))?;
    }
    let keeper = Keeper { lei: args.lei.clone().unwrap_or_default(), dti: args.dti.iter().cloned().collect() };
    if args.form == Form::MicaJson {
        keeper.check().map_err(|reason| failed(Exit::BadInput, reason))?;
    }
    let (mut reading, mut records) = (Reading::default(), OrderRecords::new(keeper));
    archive.each(to, unusable, |index, entry| {
        if args.form == Form::MicaJson {
            // From the first entry on: an order that is filled was sent before.
            let record = reading.order_record(index, entry, &mut records);
            let record = record.map_err(|error| failed(Exit::BadInput, format!("entry {index}: {error}")))?;
            let wanted = record.filter(|_| index >= from);
            return wanted.map_or(Ok(()), |line| writeln!(out, "{line}").map_err(|error| io(place, error)));
        }
        if index < from {
            return reading.pass(entry).or(Ok(()));
        }
        let row =
            reading.row(index, entry).map_err(|error| failed(Exit::BadInput, format!("entry {index}: {error}")))?;
        if !args.kinds.is_empty() && !args.kinds.contains(&row.kind) {
            return Ok(());
        }
        let line = match args.form {
            Form::Jsonl => serde_json::to_string(&row)?,
            Form::Csv => csv(&row),
            Form::MicaJson => unreachable!("written above"),
        };
        writeln!(out, "{line}").map_err(|error| io(place, error))
    })?;
    out.flush().map_err(|error| io(place, error))?;
    Ok(Exit::Ok)
}

/// Text that spreadsheets take for text, whatever it holds.
fn csv(row: &Row) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let follows = row.follows.map_or(String::new(), |follows| follows.to_string());
    let (time, actor) = (row.time.as_deref().unwrap_or(""), row.actor.as_deref().unwrap_or(""));
    let (actor, body) = (quote(actor), quote(&row.body.to_string()));
    format!("{},{time},{},{actor},{follows},{},{body}", row.index, row.kind, row.leaf)
}
