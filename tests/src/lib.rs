//! What crosses rooms: end-to-end runs, recorded data, house rules. This library holds what the tests share.

pub mod live;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The workspace: the one that runs the tests. Two checkouts that share a build directory share test binaries too, so
/// what was there when this was built counts only where cargo does not say.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The `tidegate` binary of the profile that the tests were built with; built once if it is not there yet.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test binary knows where it is");
        let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", "tidegate"]).current_dir(root());
        build.arg("--target-dir").arg(profile.parent().expect("target"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "tidegate does not build");
        profile.join("tidegate")
    })
}

/// Runs the binary without colours and with a clean environment of its own.
///
/// # Panics
/// When it cannot be started.
pub fn tidegate(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env("NO_COLOR", "1").current_dir(std::env::temp_dir());
    command.output().expect("tidegate starts")
}

/// Runs the binary, expects success and reads its stdout as JSON.
///
/// # Panics
/// When it fails or prints no JSON.
pub fn json(args: &[&str]) -> serde_json::Value {
    let output = tidegate(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} ended with {}: {errors}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// A folder of recorded material outside the repository, or `None` after saying loudly that tests are skipped.
///
/// # Panics
/// In CI, where it must be there.
pub fn recorded(variable: &str, default: &str, needed: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from);
    if path.join(needed).exists() {
        return Some(path);
    }
    let missing = format!("{variable}: {} is not there", path.join(needed).display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    skipped(&missing);
    None
}

/// Says loudly that a test is skipped: on the stream itself, because what tests print is shown only when they fail.
fn skipped(reason: &str) {
    // Whoever closed the stream does not want to know.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// Recorded market data.
pub fn data() -> Option<PathBuf> {
    recorded("TIDEGATE_DATA", "../shared/data", "hftbacktest/usdm_btcusdt_20240808.gz")
}

/// A simulated market as captures in a directory that lives as long as the value.
///
/// # Panics
/// When it cannot be written.
pub fn market(seed: u64, seconds: u64) -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = tidegate_simex::SimConfig::demo(seed, std::time::Duration::from_secs(seconds));
    let files = tidegate_simex::write_captures(&config, dir.path()).expect("captures");
    let names = files.iter().map(|file| file.path.display().to_string()).collect();
    (dir, names)
}

/// ONNX Runtime's library, as `make runtime` names it.
const LIBRARY: &str = "libonnxruntime.so.1.28.0";

/// Whether ONNX Runtime is there, after saying loudly that tests are skipped where it is not.
///
/// # Panics
/// In CI, where it must be there.
pub fn runtime() -> bool {
    let folder = binary().parent().and_then(Path::parent).expect("target/<profile>/tidegate").join("onnxruntime");
    let there = folder.join(LIBRARY).is_file();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "{}: no ONNX Runtime; `make runtime` fetches it",
        folder.display()
    );
    if !there {
        skipped(&format!("no ONNX Runtime in {}; `make runtime` fetches it", folder.display()));
    }
    there
}
