//! Opening a journal: what is there, and where it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Frames, HEADER, Header, Journal, JournalError, PAGE, Segment, reserve, sync_folder};

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whole batches.
    pub batches: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of a torn batch that were put aside.
    pub torn_bytes: u64,
    /// Where they are.
    pub torn: Option<PathBuf>,
}

impl Journal {
    /// Opens the journal `id` in a folder, which is made if it is not there, and hands every batch to `visit`: number of
    /// its first frame and its body. `next` is the number of the next frame should there be none.
    ///
    /// A torn batch at the end is put aside in a file beside the segment. Doing it again gives the same.
    ///
    /// # Errors
    /// [`JournalError`]: the system refuses, or something that was durable is damaged. `visit` may refuse as well.
    pub fn open(
        folder: &Path,
        id: u64,
        next: u64,
        segment_bytes: u64,
        visit: &mut impl FnMut(u64, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(Self, Recovered), JournalError> {
        std::fs::create_dir_all(folder).map_err(|source| JournalError::io(folder, "making the folder", source))?;
        let segments = list(folder)?;
        let mut journal = Self {
            folder: folder.to_owned(),
            id,
            segment_bytes,
            segment: None,
            next: segments.first().copied().unwrap_or(next),
            segments: Vec::with_capacity(segments.len() + 1),
            chain: 0,
            failed: None,
            page: Vec::new(),
        };
        let mut recovered = Recovered::default();
        for (place, first) in segments.iter().enumerate() {
            let is_last = place + 1 == segments.len();
            journal.read(*first, place == 0, is_last, &mut recovered, visit)?;
        }
        Ok((journal, recovered))
    }

    fn read(
        &mut self,
        first: u64,
        is_first: bool,
        is_last: bool,
        recovered: &mut Recovered,
        visit: &mut impl FnMut(u64, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let path = super::segment_path(&self.folder, first);
        let damaged = |at: u64, reason: String| JournalError::Damaged { path: path.clone(), at, reason };
        if first != self.next {
            return Err(damaged(0, format!("frames from {} on are missing before it", self.next)));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|source| JournalError::io(&path, "opening a segment", source))?;
        let bytes = contents(&file).map_err(|source| JournalError::io(&path, "reading a segment", source))?;
        // The chain of the oldest segment begins in one that was removed.
        let mut anchor = is_first;
        let mut at = 0;
        while let Some((header, body)) = self.batch(&bytes, at, anchor) {
            visit(header.first, body)?;
            anchor = false;
            recovered.batches += 1;
            recovered.frames += u64::from(header.count);
            (self.chain, self.next) = (header.link(), header.first + u64::from(header.count));
            at += ((HEADER + body.len()) as u64).next_multiple_of(PAGE) as usize;
        }
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.segments.push(first);
        if end > at {
            if let Some(later) = self.later(&bytes, at) {
                let reason = format!("frame {} should be here, and frame {} follows", self.next, later);
                return Err(damaged(at as u64, reason));
            }
            if !is_last {
                return Err(damaged(at as u64, format!("frame {} should be here, and segments follow", self.next)));
            }
            self.put_aside(&path, &file, &bytes[at..end], at as u64, recovered)?;
        }
        let room = (bytes.len() as u64).max(at as u64);
        self.segment = is_last.then_some(Segment { path, file, at: at as u64, room });
        Ok(())
    }

    /// The batch at this place, if it is the one that belongs there.
    fn batch<'a>(&self, bytes: &'a [u8], at: usize, anchor: bool) -> Option<(Header, &'a [u8])> {
        let rest = bytes.get(at..)?;
        let header = Header::read(rest, self.id)?;
        let body = rest.get(HEADER..)?.get(..header.bytes as usize)?;
        let fits = header.first == self.next && (anchor || header.chain == self.chain);
        // What fills the last page is nothing, and stays so: no byte of a journal can change unnoticed.
        let end = HEADER + body.len();
        let padding = rest.get(end..end.next_multiple_of(PAGE as usize)).unwrap_or_default();
        (fits && is_whole(&header, body) && padding.iter().all(|byte| *byte == 0)).then_some((header, body))
    }

    /// First frame of a whole batch behind a place that holds none: then it is no torn end.
    fn later(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let pages = (at..bytes.len()).step_by(PAGE as usize).skip(1);
        pages.into_iter().find_map(|page| {
            let rest = &bytes[page..];
            let header = Header::read(rest, self.id)?;
            let body = rest.get(HEADER..)?.get(..header.bytes as usize)?;
            is_whole(&header, body).then_some(header.first)
        })
    }

    fn put_aside(
        &self,
        path: &Path,
        file: &File,
        torn: &[u8],
        at: u64,
        recovered: &mut Recovered,
    ) -> Result<(), JournalError> {
        let aside = path.with_extension(format!("{at}.torn"));
        let keep = || {
            let kept = File::create(&aside)?;
            std::os::unix::fs::FileExt::write_all_at(&kept, torn, 0)?;
            kept.sync_all()
        };
        keep().map_err(|source| JournalError::io(&aside, "putting a torn batch aside", source))?;
        sync_folder(&self.folder)?;
        let room = file.metadata().map_or(at, |data| data.len());
        let cut = || {
            file.set_len(at)?;
            reserve(file, room)?;
            file.sync_all()
        };
        cut().map_err(|source| JournalError::io(path, "cutting off a torn batch", source))?;
        recovered.torn_bytes += torn.len() as u64;
        recovered.torn = Some(aside);
        Ok(())
    }
}

/// Whether a body is what its header says: checksum and number of frames.
fn is_whole(header: &Header, body: &[u8]) -> bool {
    let mut frames = Frames::new(body);
    xxhash_rust::xxh3::xxh3_64(body) == header.body
        && frames.by_ref().count() == header.count as usize
        && frames.rest().is_empty()
}

fn contents(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// First frames of the segments in a folder, in order.
fn list(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let failed = |source| JournalError::io(folder, "listing the folder", source);
    let mut firsts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            let first = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let reason = || "its name is no number of a frame".to_owned();
            firsts.push(first.ok_or_else(|| JournalError::Damaged { path: path.clone(), at: 0, reason: reason() })?);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}
