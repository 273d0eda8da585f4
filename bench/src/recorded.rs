//! Recorded frames: the USD-M BTCUSDT session of 8 August 2024 that ships with hftbacktest.

use std::path::Path;

use tidegate_feed::replay::{CaptureReader, Captured, SourceSpec};
use tidegate_wire::Venue;

use crate::corpus::Frames;

/// Where the capture lies under the data directory.
pub const CAPTURE: &str = "hftbacktest/usdm_btcusdt_20240808.gz";

/// Depth frames in the capture.
pub const DEPTH_FRAMES: usize = 6_551;

/// The recorded session, less what the rigs do not use.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The REST snapshot, alone.
    pub snapshot: Frames,
    /// Every depth frame in the order received.
    pub depth: Frames,
    /// When each depth frame was received, ns since the Unix epoch.
    pub recv_ns: Vec<i64>,
}

impl Recorded {
    /// Reads the capture; at most `limit` depth frames.
    ///
    /// # Errors
    /// A sentence that says which file is missing or wrong and what to do.
    pub fn load(data: &Path, limit: usize) -> Result<Self, String> {
        let path = data.join(CAPTURE);
        if !path.exists() {
            return Err(format!(
                "RECORDED DATA ABSENT: {} not found; set TIDEGATE_DATA or --data to the directory that holds \
                 {CAPTURE}. Rows on recorded frames are left out",
                path.display()
            ));
        }
        let spec = SourceSpec { path, venue: Some(Venue::BinanceUsdm) };
        let mut reader = CaptureReader::open(&spec).map_err(|error| error.to_string())?;
        let mut captured = Captured::default();
        let mut all = Self { snapshot: Frames::default(), depth: Frames::default(), recv_ns: Vec::new() };
        while all.depth.len() < limit || all.snapshot.is_empty() {
            if !reader.next(&mut captured).map_err(|error| error.to_string())? {
                break;
            }
            if captured.bytes.starts_with(b"{\"stream\":\"btcusdt@depth") {
                all.depth.push(&captured.bytes);
                all.recv_ns.push(captured.recv_ns);
            } else if captured.bytes.starts_with(b"{\"lastUpdateId\"") && all.snapshot.is_empty() {
                all.snapshot.push(&captured.bytes);
            }
        }
        if limit >= DEPTH_FRAMES && all.depth.len() != DEPTH_FRAMES || all.snapshot.len() != 1 {
            let (depth, snapshots) = (all.depth.len(), all.snapshot.len());
            return Err(format!(
                "{CAPTURE}: {depth} depth frames and {snapshots} snapshots, expected {DEPTH_FRAMES} and 1"
            ));
        }
        Ok(all)
    }
}

/// Every frame of a capture in the order received.
///
/// # Errors
/// What is wrong with the file.
pub fn every_frame(path: &Path) -> Result<Frames, String> {
    let spec = SourceSpec { path: path.to_owned(), venue: None };
    let mut reader = CaptureReader::open(&spec).map_err(|error| error.to_string())?;
    let (mut captured, mut frames) = (Captured::default(), Frames::default());
    while reader.next(&mut captured).map_err(|error| error.to_string())? {
        frames.push(&captured.bytes);
    }
    Ok(frames)
}
