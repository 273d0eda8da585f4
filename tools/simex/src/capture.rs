//! Capture files, in the format of the recorded ones.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::{Frame, SimConfig, SimError, Simulator};

/// Name of the ground-truth file beside the captures.
pub const TRUTH_FILE: &str = "truth.json";

/// A written capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaptureFile {
    /// Where it is.
    pub path: PathBuf,
    /// Index of its instrument in the configuration.
    pub instrument: usize,
    /// Instrument label: product prefix and lower-case symbol.
    pub label: String,
    /// Lines in it.
    pub frames: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

/// A file under a temporary name until it is complete.
struct Pending {
    temporary: PathBuf,
    gzip: GzEncoder<BufWriter<File>>,
    capture: CaptureFile,
}

/// Runs the simulation and writes one gzip capture an instrument (`usdm_btcusdt_sim.gz`; lines of receive time in ns,
/// a space and the frame) and `truth.json` with the regimes. Files appear under their names only when they are
/// complete; the ground truth is the last one.
///
/// # Errors
/// The configuration is impossible, or a file cannot be written. Temporary files are removed in either case.
pub fn write_captures(config: &SimConfig, dir: &Path) -> Result<Vec<CaptureFile>, SimError> {
    let mut simulator = Simulator::new(config.clone())?;
    std::fs::create_dir_all(dir).map_err(|source| failed("create", dir, source))?;
    let mut temporary = Vec::new();
    let written = write_all(&mut simulator, dir, &mut temporary);
    if written.is_err() {
        for path in temporary {
            // The first error is the one to report; a leftover that cannot be removed is not more than that.
            let _ = std::fs::remove_file(path);
        }
    }
    written
}

fn write_all(
    simulator: &mut Simulator,
    dir: &Path,
    temporary: &mut Vec<PathBuf>,
) -> Result<Vec<CaptureFile>, SimError> {
    let mut files = Vec::new();
    for (instrument, spec) in simulator.instruments().iter().enumerate() {
        let label = spec.label();
        let path = dir.join(format!("{label}_sim.gz"));
        let hidden = dir.join(format!(".{label}_sim.gz.partial"));
        temporary.push(hidden.clone());
        let file = File::create(&hidden).map_err(|source| failed("create", &hidden, source))?;
        let gzip = GzEncoder::new(BufWriter::new(file), Compression::fast());
        files.push(Pending {
            temporary: hidden,
            gzip,
            capture: CaptureFile { path, instrument, label, frames: 0, bytes: 0 },
        });
    }
    let mut frame = Frame::default();
    let mut line = Vec::new();
    while simulator.next_frame(&mut frame) {
        let file = &mut files[frame.instrument];
        line.clear();
        crate::venue::decimal::write_integer(&mut line, frame.recv_ns);
        line.push(b' ');
        line.extend_from_slice(&frame.bytes);
        line.push(b'\n');
        file.gzip.write_all(&line).map_err(|source| failed("write", &file.temporary, source))?;
        file.capture.frames += 1;
        file.capture.bytes += line.len() as u64;
    }
    let truth_path = dir.join(TRUTH_FILE);
    let hidden = dir.join(format!(".{TRUTH_FILE}.partial"));
    temporary.push(hidden.clone());
    let truth =
        serde_json::to_vec_pretty(simulator.truth()).map_err(|source| failed("write", &hidden, source.into()))?;
    std::fs::write(&hidden, truth).map_err(|source| failed("write", &hidden, source))?;

    let captures = files.into_iter().map(complete).collect::<Result<Vec<_>, _>>()?;
    std::fs::rename(&hidden, &truth_path).map_err(|source| failed("rename", &hidden, source))?;
    Ok(captures)
}

/// Finishes the compression, makes the bytes durable and gives the file its name.
fn complete(file: Pending) -> Result<CaptureFile, SimError> {
    let Pending { temporary, gzip, capture } = file;
    let finish = || -> std::io::Result<()> {
        let file = gzip.finish()?.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &capture.path)
    };
    finish().map_err(|source| failed("complete", &temporary, source))?;
    Ok(capture)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> SimError {
    SimError::File { action, path: path.to_owned(), source }
}
