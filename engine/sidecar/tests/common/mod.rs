//! What tests of the sidecar share: the library, the committed tuner, and copies of it that are wrong in one way.
#![allow(dead_code)]

pub(crate) mod service;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use ort::environment::Environment;
use sha2::{Digest, Sha256};
use tidegate_sidecar::native;

/// The committed model repository.
pub(crate) fn repository() -> PathBuf {
    // At run time: two checkouts that share a build directory share test binaries too.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../../onnx")
}

/// ONNX Runtime, or a loud skip where it was not fetched. In CI its absence is a failure.
pub(crate) fn environment() -> Option<Environment> {
    static TELEMETRY: Once = Once::new();
    // SAFETY: every test of a process asks here first; nothing else of these tests reads or writes variables.
    TELEMETRY.call_once(|| unsafe { native::disable_telemetry() });
    match native::find(None).and_then(|path| native::environment(&path)) {
        Ok(environment) => Some(environment),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            // On the stream itself: what tests print is shown only when they fail.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
            None
        }
    }
}

/// A copy of the committed tuner, version 1, that can be changed.
pub(crate) struct Forge {
    pub(crate) root: tempfile::TempDir,
    pub(crate) folder: PathBuf,
}

impl Forge {
    pub(crate) fn new() -> Self {
        Self::version(1)
    }

    /// A copy of another committed model, version 1.
    pub(crate) fn of(name: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Self::copy(root.path(), name, 1);
        Self { root, folder }
    }

    /// The same under another number.
    pub(crate) fn version(version: u32) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Self::copy(root.path(), "breaker-tuner", version);
        let forge = Self { root, folder };
        forge.contract(|contract| contract["version"] = version.into());
        forge
    }

    /// Copies a committed model into a repository.
    pub(crate) fn copy(root: &Path, name: &str, version: u32) -> PathBuf {
        let folder = root.join(name).join(version.to_string());
        std::fs::create_dir_all(&folder).expect("made");
        for file in ["model.onnx", "contract.json", "golden.json"] {
            std::fs::copy(repository().join(name).join("1").join(file), folder.join(file)).expect("copied");
        }
        folder
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).expect("read")
    }

    pub(crate) fn write(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(file), bytes).expect("written");
    }

    /// Changes the contract.
    pub(crate) fn contract(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut contract = serde_json::from_slice(&self.read("contract.json")).expect("JSON");
        change(&mut contract);
        self.write("contract.json", contract.to_string().as_bytes());
    }

    /// Replaces a file and makes the contract vouch for it.
    pub(crate) fn replace(&self, file: &str, bytes: &[u8]) {
        self.write(file, bytes);
        let hash = hex::encode(Sha256::digest(bytes));
        self.contract(|contract| {
            contract["files"][file] = serde_json::json!({ "bytes": bytes.len(), "sha256": hash });
        });
    }

    /// Changes the model's bytes and makes the contract vouch for them.
    pub(crate) fn model(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read("model.onnx");
        change(&mut bytes);
        self.replace("model.onnx", &bytes);
    }

    /// Changes the floats of a tensor, whose data follow its name as field 9.
    pub(crate) fn tensor(&self, name: &str, change: impl Fn(f32) -> f32) {
        self.model(|bytes| {
            let (name, start) = (name.as_bytes(), |at: usize, bytes: &[u8]| bytes.get(at) == Some(&0x4a));
            let found = |at: &usize| bytes[*at..].starts_with(name) && start(*at + name.len(), bytes);
            let at = (0..bytes.len() - name.len()).find(found).expect("a tensor") + name.len() + 1;
            let length = usize::from(bytes[at]);
            assert!(length < 128, "a short tensor");
            for float in bytes[at + 1..][..length].chunks_exact_mut(4) {
                let value = change(f32::from_le_bytes(float.try_into().expect("four bytes")));
                float.copy_from_slice(&value.to_le_bytes());
            }
        });
    }

    /// Replaces a text of the model by another one of equal length, everywhere.
    pub(crate) fn swap(&self, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        self.model(|bytes| {
            let places: Vec<usize> =
                (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
            assert!(!places.is_empty(), "{from} is in the model");
            places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
        });
    }
}
