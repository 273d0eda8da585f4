//! The cold end of a capture: blocks to files, rotated, and what is lost when a disk is full.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crossbeam::channel::RecvTimeoutError;
use tidegate_wire::Registry;
use tidegate_wire::clock::realtime_ns;

use super::block::Block;
use super::entry::{Entries, EntryKind};
use super::layout::CaptureError;
use super::tap::TapEnds;
use super::writer::CaptureWriter;

/// How a capture is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSettings {
    /// Directory of the files.
    pub directory: PathBuf,
    /// A file of this size is closed and the next one begun, bytes.
    pub rotate_bytes: u64,
    /// A file of this age too.
    pub rotate_after: Duration,
    /// What was captured is on the disk at the latest after this.
    pub sync_every: Duration,
}

impl SeriesSettings {
    /// Settings with everything but the directory by default: 1 GiB or an hour a file, synced each second.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            rotate_bytes: 1 << 30,
            rotate_after: Duration::from_secs(3600),
            sync_every: Duration::from_secs(1),
        }
    }

    /// How long a block that is not full may wait in the loop: with what the disk is given besides, `sync_every` holds.
    pub fn flush_after(&self) -> Duration {
        self.sync_every / 2
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SeriesReport {
    /// Files, in order.
    pub files: Vec<PathBuf>,
    /// Entries and bytes in them.
    pub entries: u64,
    /// See `entries`.
    pub bytes: u64,
    /// Frames that could not be kept because the disk was behind, or after it refused.
    pub lost: u64,
    /// Why writing stopped for the first time, if it did.
    pub error: Option<String>,
}

/// A series being written.
#[derive(Debug)]
pub struct Series {
    thread: JoinHandle<SeriesReport>,
    lost: Arc<AtomicU64>,
}

impl Series {
    /// Begins the first file and the thread that writes. `tell` hears of an error when it happens, and when a new file
    /// could be begun after one.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn start(
        settings: SeriesSettings,
        registry: &Registry,
        ends: TapEnds,
        tell: impl Fn(Result<(), &CaptureError>) + Send + 'static,
    ) -> Result<Self, CaptureError> {
        std::fs::create_dir_all(&settings.directory).map_err(|source| CaptureError::io(&settings.directory, source))?;
        let mut writing = Writing {
            registry: registry.clone(),
            writer: None,
            part: 0,
            begun: Instant::now(),
            synced: Instant::now(),
            report: SeriesReport::default(),
            tell: Box::new(tell),
            settings,
        };
        writing.begin()?;
        let lost = ends.lost.clone();
        let directory = writing.settings.directory.clone();
        let thread = std::thread::Builder::new().name("tide-capture".into()).spawn(move || writing.run(&ends));
        Ok(Self { thread: thread.map_err(|source| CaptureError::io(&directory, source))?, lost })
    }

    /// Frames lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for the end, which comes when the tap is dropped.
    pub fn finish(self) -> SeriesReport {
        let lost = self.lost();
        let report = self.thread.join().unwrap_or_else(|_| SeriesReport {
            error: Some("the capture thread ended by a panic".into()),
            ..SeriesReport::default()
        });
        SeriesReport { lost: lost + report.lost, ..report }
    }
}

struct Writing {
    settings: SeriesSettings,
    registry: Registry,
    writer: Option<CaptureWriter>,
    part: u32,
    begun: Instant,
    synced: Instant,
    report: SeriesReport,
    tell: Box<Tell>,
}

/// Hears of an error, and of a new file after one.
type Tell = dyn Fn(Result<(), &CaptureError>) + Send;

/// After an error a new file is tried this often.
const RETRY: Duration = Duration::from_secs(10);

impl Writing {
    fn begin(&mut self) -> Result<(), CaptureError> {
        self.part += 1;
        let now_ns = realtime_ns();
        let path = file_name(&self.settings.directory, now_ns, self.part);
        self.writer = Some(CaptureWriter::create(&path, &self.registry, self.part, now_ns)?);
        self.begun = Instant::now();
        self.report.files.push(path);
        Ok(())
    }

    fn run(mut self, ends: &TapEnds) -> SeriesReport {
        let every = self.settings.sync_every / 2;
        loop {
            self.retry();
            match ends.full.recv_timeout(every) {
                Ok(mut block) => {
                    self.keep(|writing| writing.write(&block));
                    if self.writer.is_none() {
                        self.report.lost += frames(&block);
                    }
                    // What one fat frame needed is not kept for ever, in as many blocks as there are.
                    block.clear();
                    block.bytes.shrink_to(Block::SIZE);
                    // Back to the loop, or freed when there are enough.
                    let _ = ends.empty.try_send(block);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.synced.elapsed() >= every {
                self.synced = Instant::now();
                self.keep(|writing| writing.writer.as_ref().map_or(Ok(()), CaptureWriter::sync));
            }
        }
        self.keep(Self::end);
        self.report
    }

    fn write(&mut self, block: &Block) -> Result<(), CaptureError> {
        let full = self.writer.as_ref().is_some_and(|writer| writer.size() >= self.settings.rotate_bytes);
        if full || self.begun.elapsed() >= self.settings.rotate_after {
            self.end()?;
            self.begin()?;
        }
        if let Some(writer) = &mut self.writer {
            writer.write(block)?;
            self.report.entries += u64::from(block.entries);
            self.report.bytes += block.bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), CaptureError> {
        self.writer.take().map_or(Ok(()), |writer| writer.close().map(|_| ()))
    }

    /// After an error the file stays as it is, readable up to its last whole block. What comes is counted as lost until
    /// a new one can be begun, and the report says why.
    fn keep(&mut self, act: impl FnOnce(&mut Self) -> Result<(), CaptureError>) {
        if self.writer.is_some()
            && let Err(error) = act(self)
        {
            (self.tell)(Err(&error));
            self.report.error.get_or_insert(error.to_string());
            (self.writer, self.begun) = (None, Instant::now());
        }
    }

    fn retry(&mut self) {
        if self.writer.is_none() && self.begun.elapsed() >= RETRY {
            self.begun = Instant::now();
            if self.begin().is_ok() {
                (self.tell)(Ok(()));
            }
        }
    }
}

fn frames(block: &Block) -> u64 {
    Entries::new(&block.bytes).filter(|entry| entry.kind == EntryKind::Frame).count() as u64
}

/// `capture-20261121T214500.123Z-0001.tgcap`: names sort by time.
fn file_name(directory: &Path, now_ns: i64, part: u32) -> PathBuf {
    let time = UNIX_EPOCH + Duration::from_nanos(u64::try_from(now_ns).unwrap_or(0));
    let stamp = humantime::format_rfc3339_millis(time).to_string().replace(['-', ':'], "");
    directory.join(format!("capture-{stamp}-{part:04}.tgcap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_time() {
        let name = |ns| file_name(Path::new(""), ns, 7).display().to_string();
        assert_eq!(name(1_700_000_000_123_000_000), "capture-20231114T221320.123Z-0007.tgcap");
        assert_eq!(name(951_782_400_000_000_000), "capture-20000229T000000.000Z-0007.tgcap");
        assert_eq!(name(0), "capture-19700101T000000.000Z-0007.tgcap");
    }
}
