//! `tidegate capture cut`: a new capture with the entries of a span.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use tidegate_feed::capture::{Block, CaptureError, CaptureFile, CaptureWriter, Entry, EntryKind};
use tidegate_wire::{InstrumentId, Registry, Venue};

use super::{conclude, entries, open, unusable};
use crate::exit::{Exit, failed};

/// Writes a new capture with the entries of a span of time; frames are byte for byte the same.
///
/// FILES are parts of one series, or captures that came one after the other. A file that exists is never written to.
/// A book of a venue whose streams begin with a snapshot (OKX, Bybit, Bitget, Deribit) is good from its next snapshot
/// in the span on; Binance's books from the next answer over REST.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture cut --from +30s --to +60s --out minute.tgcap captures/*.tgcap
  tidegate capture cut --from 2026-11-21T21:45:00Z --to 2026-11-21T21:46:00Z --venue okx --out okx.tgcap x.tgcap")]
pub(super) struct Args {
    /// First moment: RFC 3339, or +TIME after the beginning of the first file, such as +30s
    #[arg(long, value_name = "TIME")]
    from: Moment,
    /// Last moment, exclusive
    #[arg(long, value_name = "TIME")]
    to: Moment,
    /// Only this market; repeat for more
    #[arg(long = "venue", value_name = "VENUE", value_parser = venue)]
    venues: Vec<Venue>,
    /// The new capture
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Captures
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn venue(text: &str) -> Result<Venue, String> {
    let known = || format!("expected one of {}", Venue::ALL.map(Venue::name).join(", "));
    Venue::from_name(text).ok_or_else(known)
}

/// A moment as users say it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Since the Unix epoch.
    Absolute(Duration),
    /// Since the capture was begun.
    After(Duration),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(after) = text.strip_prefix('+') {
            return humantime::parse_duration(after).map(Self::After).map_err(|error| error.to_string());
        }
        let since = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.map(Self::Absolute).ok_or("expected RFC 3339 such as 2026-11-21T21:45:00Z, or +30s".into())
    }
}

impl Moment {
    fn ns(self, begun_ns: i64) -> i64 {
        let (base, time) = match self {
            Self::Absolute(time) => (0, time),
            Self::After(time) => (begun_ns, time),
        };
        i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).saturating_add(base)
    }
}

/// The new file on its way.
struct Cutting<'a> {
    args: &'a Args,
    registry: Registry,
    span_ns: std::ops::Range<i64>,
    writer: CaptureWriter,
    block: Block,
    kept: u64,
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let mut files = args.files.iter().map(|path| Ok((path, open(path)?))).collect::<Result<Vec<_>>>()?;
    files.sort_by_key(|(_, file)| (file.header().begun_ns, file.header().part));
    let begun_ns = files.first().map_or(0, |(_, file)| file.header().begun_ns);
    let span_ns = args.from.ns(begun_ns)..args.to.ns(begun_ns);
    if span_ns.is_empty() {
        return Err(failed(Exit::BadInput, "--to is not after --from"));
    }
    let (registry, numbers) = joined(&files)?;
    let unwritten = |error: CaptureError| failed(Exit::Io, error.to_string());
    let writer = CaptureWriter::create(&args.out, &registry, 1, span_ns.start).map_err(unwritten)?;
    let mut cutting = Cutting { args, registry, span_ns, writer, block: Block::default(), kept: 0 };
    let mut damaged = Vec::new();
    for ((path, file), numbers) in files.iter_mut().zip(&numbers) {
        damaged.extend(cutting.take(path, file, numbers)?);
    }
    let kept = cutting.finish().map_err(unwritten)?;
    anstream::println!("{kept} entries to {}", args.out.display());
    conclude(&damaged)
}

/// One registry for all files, and for each file the numbers that its instruments have there.
fn joined(files: &[(&PathBuf, CaptureFile)]) -> Result<(Registry, Vec<Vec<InstrumentId>>)> {
    let mut registry = Registry::new();
    let mut all = Vec::new();
    for (path, file) in files {
        let wrong = |reason: String| failed(Exit::BadInput, format!("{}: {reason}", path.display()));
        let mut numbers = Vec::new();
        for instrument in &file.header().instruments {
            let known = registry.find(instrument.venue, &instrument.symbol);
            if known.is_some_and(|id| registry.get(id) != Some(instrument)) {
                let name = instrument.name();
                return Err(wrong(format!("{name} is defined otherwise than in an earlier file: cut each by itself")));
            }
            let id = known.map_or_else(|| registry.add(instrument.clone()), Ok);
            numbers.push(id.map_err(|error| wrong(error.to_string()))?);
        }
        all.push(numbers);
    }
    Ok((registry, all))
}

impl Cutting<'_> {
    /// Takes what is wanted of a file; gives its first damage.
    fn take(&mut self, path: &Path, file: &mut CaptureFile, numbers: &[InstrumentId]) -> Result<Option<String>> {
        let places: Option<Vec<_>> = file.index().map(<[_]>::to_vec);
        let mut block = Block::default();
        let mut number = 0;
        loop {
            if let Some(places) = &places {
                // Blocks outside of the span are not even unpacked.
                let outside = |span: (i64, i64)| span.1 < self.span_ns.start || span.0 >= self.span_ns.end;
                let skipped = places.iter().skip(number).take_while(|place| outside(place.span_ns)).count();
                number += skipped;
                let Some(place) = places.get(number) else { return Ok(None) };
                if skipped > 0 {
                    file.seek(number, place).map_err(unusable)?;
                }
            }
            match file.next(&mut block) {
                Ok(true) => number += 1,
                Ok(false) => return Ok(None),
                Err(error) => return Ok(Some(error.to_string())),
            }
            if !entries(&block, |entry| self.keep(entry, numbers))? {
                return Ok(Some(format!("{}: block {} holds what is no entry", path.display(), number - 1)));
            }
        }
    }

    fn keep(&mut self, entry: &Entry<'_>, numbers: &[InstrumentId]) -> Result<()> {
        let hint = numbers.get(entry.hint.index()).copied().unwrap_or(InstrumentId::NONE);
        let wanted = |venue| self.args.venues.is_empty() || self.args.venues.contains(&venue);
        let keep = match entry.kind {
            EntryKind::Frame => wanted(entry.venue),
            EntryKind::Resync => self.registry.get(hint).is_some_and(|instrument| wanted(instrument.venue)),
            EntryKind::Beat | EntryKind::Lost => true,
        };
        if !keep || !self.span_ns.contains(&entry.recv_ns) {
            return Ok(());
        }
        let entry = Entry { hint, ..*entry };
        if self.block.is_full_for(&entry) {
            self.write().map_err(|error| failed(Exit::Io, error.to_string()))?;
        }
        self.block.push(&entry);
        self.kept += 1;
        Ok(())
    }

    fn write(&mut self) -> Result<(), CaptureError> {
        if self.block.entries > 0 {
            self.writer.write(&self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, CaptureError> {
        self.write()?;
        self.writer.close()?;
        Ok(self.kept)
    }
}
