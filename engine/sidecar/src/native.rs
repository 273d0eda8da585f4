//! ONNX Runtime's shared library: where it is, and the one environment of the process.
//!
//! `make runtime` fetches it from PyPI (pinned, hash-checked) to `onnxruntime/` beside the build output; an installed
//! engine has it in `lib/` beside its `bin/`. Later releases send usage data unless they are told not to; this engine
//! tells every one of them ([`disable_telemetry`]) and refuses to load any if it could not.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use ort::environment::Environment;

/// The release that is fetched, tested and shipped.
pub const VERSION: &str = "1.28.0";
/// File name of the library.
#[cfg(not(target_os = "macos"))]
pub const FILE: &str = "libonnxruntime.so.1.28.0";
/// File name of the library.
#[cfg(target_os = "macos")]
pub const FILE: &str = "libonnxruntime.1.28.0.dylib";

/// Switches usage data off in every release of ONNX Runtime that has it.
const TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// Why ONNX Runtime cannot be used. The engine runs on without models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// It is nowhere.
    #[error("{FILE} was not found in {looked}; `make runtime` fetches it, `models.library` names another place")]
    Missing {
        /// Where it was looked for.
        looked: String,
    },
    /// It cannot be loaded.
    #[error("{path}: {reason}")]
    Unusable {
        /// Which file.
        path: String,
        /// What the loader said.
        reason: String,
    },
    /// [`disable_telemetry`] was not called.
    #[error("telemetry of ONNX Runtime is not switched off: {TELEMETRY}=1 must be set before it is loaded")]
    Telemetry,
}

/// Tells ONNX Runtime to send no usage data. Call it first thing in `main`.
///
/// # Safety
/// No other thread may run yet: the environment of a process is shared without a lock.
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller's promise.
    unsafe { std::env::set_var(TELEMETRY, "1") };
}

/// Folders in which an engine at `executable` looks for the library.
fn folders(executable: &Path) -> Vec<PathBuf> {
    let up = executable.ancestors().skip(1).take(4);
    up.flat_map(|folder| [folder.join("onnxruntime"), folder.join("lib"), folder.join("lib/tidegate")]).collect()
}

/// Finds the library: the configured file, else beside the executable (see the module).
///
/// # Errors
/// [`NativeError::Missing`] with the places it was looked for.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, NativeError> {
    if let Some(path) = configured {
        let missing = || NativeError::Missing { looked: path.display().to_string() };
        return if path.is_file() { Ok(path.to_owned()) } else { Err(missing()) };
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let folders = folders(&executable);
    let found = folders.iter().map(|folder| folder.join(FILE)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
        NativeError::Missing { looked }
    })
}

/// The environment of the process; made at the first call, the library loaded from `path`.
///
/// # Errors
/// The library cannot be loaded. A later call may try again with another path.
pub fn environment(path: &Path) -> Result<Environment, NativeError> {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    // One environment a process, ever: two threads must not both find none.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment.clone());
    }
    if std::env::var_os(TELEMETRY).is_none_or(|value| value != "1") {
        return Err(NativeError::Telemetry);
    }
    let unusable = |reason: String| NativeError::Unusable { path: path.display().to_string(), reason };
    let builder = ort::init_from(path).map_err(|error| unusable(error.to_string()))?;
    let environment =
        builder.with_name("tidegate").with_telemetry(false).build().map_err(|error| unusable(error.to_string()))?;
    Ok(ENVIRONMENT.get_or_init(|| environment).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_says_where_it_was_looked_for() {
        let error = find(Some(Path::new("/nowhere/lib.so"))).expect_err("not there");
        assert!(error.to_string().contains("/nowhere/lib.so") && error.to_string().contains("make runtime"));
        let folders = folders(Path::new("/opt/tidegate/bin/tidegate"));
        assert!(folders.contains(&PathBuf::from("/opt/tidegate/lib")), "installed");
        let folders = super::folders(Path::new("/src/target/debug/deps/test"));
        assert!(folders.contains(&PathBuf::from("/src/target/onnxruntime")), "checked out");
    }
}
