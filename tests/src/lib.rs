//! What crosses rooms: end-to-end runs, recorded data, house rules. This library holds what the tests share.

pub mod incidents;
pub mod live;
pub mod services;

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
        // `cargo test --workspace` has built it along with its own tests, with the features of the whole tree; asked
        // for by itself it has others, and much would be compiled again.
        if std::env::var_os("TIDEGATE_BUILT").is_some() && profile.join("tidegate").is_file() {
            return profile.join("tidegate");
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", "tidegate"]).current_dir(root());
        build.arg("--target-dir").arg(profile.parent().expect("target"));
        // What cargo tells this test of its package would look like another environment to build scripts that read the
        // same names (ring's does), and half the tree would be compiled again.
        let ours = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|p| name.starts_with(p));
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| ours(name)) {
            build.env_remove(name);
        }
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
pub fn skipped(reason: &str) {
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

/// Changes a byte of the last entry in the first bundle of an audit log.
///
/// # Panics
/// When there is none.
pub fn tamper(log: &Path) {
    let bundle = ["tile/entries/000", "tile/entries/000.p"].map(|name| log.join(name));
    let file = if bundle[0].is_file() {
        bundle[0].clone()
    } else {
        let mut parts: Vec<_> = std::fs::read_dir(&bundle[1]).expect("parts").flatten().map(|e| e.path()).collect();
        parts.sort_by_key(|path| std::fs::metadata(path).map_or(0, |data| data.len()));
        parts.pop().expect("one")
    };
    let mut bytes = std::fs::read(&file).expect("entries");
    // The last byte of the last entry: of its body, not of a length.
    if let Some(last) = bytes.last_mut() {
        *last ^= 0x20;
    }
    std::fs::write(&file, &bytes).expect("written");
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
