//! `tidegate capture verify`: every block and every entry.

use std::path::{Path, PathBuf};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidegate_feed::capture::{Block, BlockPlace, CaptureError, CaptureFile};

use super::{entries, open, unusable};
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Reads every block and entry of captures, and holds their indices against them.
///
/// Damage is named with its byte offset; reading goes on at the next whole block. A file that was not closed (a crash)
/// is good when all of its blocks are. Ends with 0 when all is good, 1 with damage, 65 with a file that is no capture.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture verify captures/*.tgcap
  tidegate capture verify x.tgcap --format json | jq .files[].damages")]
pub(super) struct Args {
    /// Captures
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Files below this are read before a bar would be seen, bytes.
const LARGE: u64 = 64 << 20;

/// What cannot be used of a file.
#[derive(Debug, Serialize)]
struct Damage {
    /// Its first byte, and how many until the next whole block or the end.
    at: u64,
    bytes: u64,
    reason: String,
}

/// Whole blocks and their entries.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Whole {
    blocks: u64,
    entries: u64,
}

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Check {
    path: PathBuf,
    good: bool,
    closed: bool,
    /// Before the first damage, and behind it.
    before: Whole,
    after: Whole,
    damages: Vec<Damage>,
    /// Why the index does not fit the blocks, if it does not.
    index: Option<String>,
}

impl Check {
    fn whole(&mut self, block: &Block) {
        let whole = if self.damages.is_empty() { &mut self.before } else { &mut self.after };
        whole.blocks += 1;
        whole.entries += u64::from(block.entries);
    }

    fn print(&self) {
        let Whole { blocks, entries } = self.before;
        let state = if self.closed { "closed" } else { "not closed" };
        let verdict = if self.good { "good" } else { "DAMAGED" };
        anstream::println!("{}: {verdict}: {blocks} blocks, {entries} entries, {state}", self.path.display());
        for damage in &self.damages {
            anstream::println!("  byte {}: {} bytes cannot be used: {}", damage.at, damage.bytes, damage.reason);
        }
        if !self.damages.is_empty() {
            let Whole { blocks, entries } = self.after;
            anstream::println!("  behind the first damage: {blocks} whole blocks, {entries} entries");
        }
        self.index.iter().for_each(|reason| anstream::println!("  index: {reason}"));
    }
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let (mut checks, mut refused) = (Vec::new(), Vec::new());
    for path in &args.files {
        match open(path) {
            Ok(file) => checks.push(check(path, file)?),
            Err(error) => refused.push(error.to_string()),
        }
    }
    match args.format {
        Format::Json => print_json(&serde_json::json!({ "schema": "tidegate.capture-verify.v1", "files": checks }))?,
        Format::Table => checks.iter().for_each(Check::print),
    }
    if !refused.is_empty() {
        return Err(failed(Exit::BadInput, refused.join("; ")));
    }
    Ok(if checks.iter().all(|check| check.good) { Exit::Ok } else { Exit::Failure })
}

fn check(path: &Path, mut file: CaptureFile) -> Result<Check> {
    let bar = progress(&file);
    let mut check = Check { path: path.to_owned(), closed: file.is_closed(), ..Check::default() };
    let (mut block, mut found) = (Block::default(), Vec::new());
    loop {
        let at = file.at();
        bar.set_position(at);
        match file.next(&mut block) {
            Ok(false) => break,
            Ok(true) => {
                let sizes = (u32::try_from(file.at() - at).unwrap_or(u32::MAX), block.bytes.len() as u32);
                found.push(BlockPlace { at, span_ns: block.span_ns, entries: block.entries, sizes });
                match contents(&block)? {
                    None => check.whole(&block),
                    Some(reason) => check.damages.push(Damage { at, bytes: file.at() - at, reason }),
                }
            }
            Err(CaptureError::Damaged { reason, .. }) => {
                let (_, bytes) = file.recover().map_err(unusable)?;
                check.damages.push(Damage { at, bytes, reason });
            }
            Err(error) => return Err(unusable(error)),
        }
    }
    bar.finish_and_clear();
    check.index = file.index().and_then(|index| compare(index, &found, check.damages.is_empty()));
    check.good = check.damages.is_empty() && check.index.is_none();
    Ok(check)
}

fn progress(file: &CaptureFile) -> ProgressBar {
    if file.size() < LARGE {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bytes} of {total_bytes} [{wide_bar}] {binary_bytes_per_sec} {eta}");
    ProgressBar::new(file.size()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What is wrong with a block whose checksum holds.
fn contents(block: &Block) -> Result<Option<String>> {
    let (mut count, mut earliest, mut latest) = (0, i64::MAX, i64::MIN);
    let whole = entries(block, |entry| {
        count += 1;
        (earliest, latest) = (earliest.min(entry.recv_ns), latest.max(entry.recv_ns));
        Ok(())
    })?;
    let (said, span) = (block.entries, block.span_ns);
    Ok(if !whole {
        Some(format!("it holds what is no entry, after {count} entries"))
    } else if said != count {
        Some(format!("it says {said} entries and holds {count}"))
    } else if count > 0 && span != (earliest, latest) {
        Some("the times of its entries are not what it says".into())
    } else {
        None
    })
}

/// Why an index does not fit the blocks that were found, which are all of them unless there was damage.
fn compare(index: &[BlockPlace], found: &[BlockPlace], all: bool) -> Option<String> {
    if all && index.len() != found.len() {
        return Some(format!("it names {} blocks of {}", index.len(), found.len()));
    }
    let known = |place: &&BlockPlace| {
        let same = |other: &BlockPlace| {
            // Before damage the index tells a size up to the next block that it names.
            (other.at, other.span_ns, other.entries, other.sizes.1)
                == (place.at, place.span_ns, place.entries, place.sizes.1)
        };
        index.binary_search_by_key(&place.at, |other| other.at).is_ok_and(|at| same(&index[at]))
    };
    let odd = found.iter().find(|place| !known(place))?;
    Some(format!("it does not name the block at byte {} as it is", odd.at))
}
