//! `tidegate capture info`: what captures hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use tidegate_feed::capture::{CaptureFile, Entry, EntryKind};
use tidegate_feed::session::hub::REST_SOURCE;

use super::{every_entry, open, rfc3339};
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

/// Tells what captures hold: their span, frames of each venue and connection, what was lost, whether they were closed.
///
/// Every entry is read. With damage it tells what lies before it and ends with 1; `verify` looks behind it too.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture info captures/*.tgcap
  tidegate capture info x.tgcap --format json | jq .files[0].venues")]
pub(super) struct Args {
    /// Captures
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count {
    frames: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, entry: &Entry<'_>) {
        self.frames += 1;
        self.bytes += entry.bytes.len() as u64;
    }
}

/// One file.
#[derive(Debug, Serialize)]
struct FileInfo {
    path: PathBuf,
    writer: String,
    part: u32,
    begun_ns: i64,
    size_bytes: u64,
    closed: bool,
    instruments: Vec<String>,
    /// Earliest and latest receive time; null without entries.
    first_ns: Option<i64>,
    last_ns: Option<i64>,
    #[serde(flatten)]
    total: Count,
    beats: u64,
    resyncs: u64,
    lost_frames: u64,
    venues: BTreeMap<&'static str, Count>,
    /// By `venue/number`; `venue/rest` are answers over REST.
    connections: BTreeMap<String, Count>,
    /// Frames that do not say whose they are, by the instrument that the entry names.
    named: BTreeMap<String, Count>,
    damaged: Option<String>,
}

impl FileInfo {
    fn of(path: &Path, file: &CaptureFile) -> Self {
        let header = file.header();
        Self {
            path: path.to_owned(),
            writer: header.writer.clone(),
            part: header.part,
            begun_ns: header.begun_ns,
            size_bytes: file.size(),
            closed: file.is_closed(),
            instruments: header.instruments.iter().map(|instrument| instrument.name()).collect(),
            first_ns: None,
            last_ns: None,
            total: Count::default(),
            beats: 0,
            resyncs: 0,
            lost_frames: 0,
            venues: BTreeMap::new(),
            connections: BTreeMap::new(),
            named: BTreeMap::new(),
            damaged: None,
        }
    }

    fn see(&mut self, entry: &Entry<'_>) {
        self.first_ns = Some(self.first_ns.unwrap_or(i64::MAX).min(entry.recv_ns));
        self.last_ns = Some(self.last_ns.unwrap_or(0).max(entry.recv_ns));
        match entry.kind {
            EntryKind::Beat => self.beats += 1,
            EntryKind::Resync => self.resyncs += 1,
            EntryKind::Lost => self.lost_frames += entry.lost(),
            EntryKind::Frame => {
                self.total.add(entry);
                self.venues.entry(entry.venue.name()).or_default().add(entry);
                let source = if entry.source == REST_SOURCE { "rest".into() } else { entry.source.to_string() };
                self.connections.entry(format!("{}/{source}", entry.venue)).or_default().add(entry);
                if let Some(name) = self.instruments.get(entry.hint.index()) {
                    self.named.entry(name.clone()).or_default().add(entry);
                }
            }
        }
    }

    fn print(&self) {
        let (size, state) = (self.size_bytes, if self.closed { "closed" } else { "NOT closed" });
        anstream::println!("{}  part {}, {size} bytes, {state}, by {}", self.path.display(), self.part, self.writer);
        if let (Some(first), Some(last)) = (self.first_ns, self.last_ns) {
            let seconds = (last - first) as f64 / 1e9;
            anstream::println!("  {} to {}: {seconds:.3} s", rfc3339(first), rfc3339(last));
        }
        let (resyncs, lost) = (self.resyncs, self.lost_frames);
        anstream::println!("  {} frames, {resyncs} books taken out of service, {lost} frames lost", self.total.frames);
        anstream::println!("  instruments: {}", self.instruments.join(", "));
        let row = |(name, count): (&str, &Count)| {
            vec![format!("  {name}"), count.frames.to_string(), count.bytes.to_string()]
        };
        let tables = [
            ("  venue", self.venues.iter().map(|(name, count)| row((name, count))).collect::<Vec<_>>()),
            ("  connection", self.connections.iter().map(|(name, count)| row((name, count))).collect()),
            ("  frames for", self.named.iter().map(|(name, count)| row((name, count))).collect()),
        ];
        for (what, rows) in tables.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            anstream::println!("{}", number_table(&[what, "frames", "bytes"], rows));
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let mut files = Vec::new();
    for path in &args.files {
        let mut file = open(path)?;
        let mut info = FileInfo::of(path, &file);
        info.damaged = every_entry(path, &mut file, |entry| {
            info.see(entry);
            Ok(())
        })?;
        files.push(info);
    }
    match args.format {
        Format::Json => print_json(&serde_json::json!({ "schema": "tidegate.capture-info.v1", "files": files }))?,
        Format::Table => files.iter().for_each(FileInfo::print),
    }
    let damaged: Vec<&str> = files.iter().filter_map(|file| file.damaged.as_deref()).collect();
    if damaged.is_empty() { Ok(Exit::Ok) } else { Err(failed(Exit::Failure, damaged.join("; "))) }
}
