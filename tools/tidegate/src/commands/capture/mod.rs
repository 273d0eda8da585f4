//! `tidegate capture`: raw frames of live venues on disk: written, described, checked, cut, and handed to other tools.

mod cut;
mod frames;
mod info;
mod record;
mod to_parquet;
mod verify;

use std::path::Path;

use anyhow::Result;
use tidegate_feed::capture::{Block, CaptureError, CaptureFile, Entries, Entry};

use crate::exit::{Exit, failed};

/// Keeps raw frames of live venues, and reads what was kept.
///
/// A capture holds every frame as it came, with its receive time; `tidegate replay --input FILE` runs it through the
/// engine again, with the decisions of the run that wrote it.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture record --config tidegate.toml --out captures --for 1h
  tidegate capture info captures/*.tgcap
  tidegate capture verify captures/*.tgcap
  tidegate capture cut --from +30s --to +60s --venue okx --out part.tgcap captures/*.tgcap
  tidegate capture to-parquet --out tables captures/*.tgcap
  tidegate replay --input captures/*.tgcap")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Read the configured venues and keep their frames
    Record(record::Args),
    /// What captures hold: spans, venues, connections, losses
    Info(info::Args),
    /// Read every block and entry; exit 1 when something is damaged
    Verify(verify::Args),
    /// A new capture with the entries of a span of time
    Cut(cut::Args),
    /// Events as Parquet, a file for each kind
    ToParquet(to_parquet::Args),
    /// Print frames as they came
    Frames(frames::Args),
}

impl Args {
    /// Whether it keeps running: such commands say more in their log.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.action, Action::Record(_))
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    match &args.action {
        Action::Record(args) => record::run(args),
        Action::Info(args) => info::run(args),
        Action::Verify(args) => verify::run(args),
        Action::Cut(args) => cut::run(args),
        Action::ToParquet(args) => to_parquet::run(args),
        Action::Frames(args) => frames::run(args),
    }
}

fn unusable(error: CaptureError) -> anyhow::Error {
    failed(Exit::BadInput, error.to_string())
}

fn open(path: &Path) -> Result<CaptureFile> {
    CaptureFile::open(path).map_err(unusable)
}

/// Shows every entry of a block; false when it holds what is no entry.
fn entries(block: &Block, mut see: impl FnMut(&Entry<'_>) -> Result<()>) -> Result<bool> {
    let mut entries = Entries::new(&block.bytes);
    for entry in entries.by_ref() {
        see(&entry)?;
    }
    Ok(entries.unread() == 0)
}

/// Shows every entry of a file up to its first damage, which is given in words.
fn every_entry(
    path: &Path,
    file: &mut CaptureFile,
    mut see: impl FnMut(&Entry<'_>) -> Result<()>,
) -> Result<Option<String>> {
    let mut block = Block::default();
    loop {
        let at = file.at();
        match file.next(&mut block) {
            Ok(false) => return Ok(None),
            Ok(true) if entries(&block, &mut see)? => {}
            Ok(true) => return Ok(Some(format!("{}: the block at byte {at} holds what is no entry", path.display()))),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

/// The end of a command that read captures up to their first damage.
fn conclude(damaged: &[String]) -> Result<Exit> {
    if damaged.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(failed(Exit::BadInput, format!("{}; what came before was read", damaged.join("; "))))
}

/// A time since the Unix epoch as RFC 3339.
fn rfc3339(ns: i64) -> String {
    let since = std::time::Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}
