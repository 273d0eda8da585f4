//! The model repository: which versions there are, and the files of one.
//!
//! A version is a folder that appears whole (the exporter renames it into place) and never changes. Nothing here
//! writes but [`Repository::set_current`], which replaces the pointer file in one step.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::refusal::Refusal;

/// Largest model, bytes.
pub const MODEL_BYTES_MAX: u64 = 16 << 20;
/// Largest pointer file, bytes.
const POINTER_BYTES_MAX: u64 = 64;
/// Largest contract and golden file, bytes.
pub const JSON_BYTES_MAX: u64 = 16 << 20;

/// A repository's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    root: PathBuf,
}

/// The files of a version, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionFiles {
    /// Name of the folder above.
    pub name: String,
    /// Number of the folder.
    pub version: u32,
    /// `contract.json`.
    pub contract: Vec<u8>,
    /// `contract.json.sig`, if there is one.
    pub signature: Option<Vec<u8>>,
    /// `golden.json`.
    pub golden: Vec<u8>,
    /// `model.onnx`.
    pub model: Vec<u8>,
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    let file = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    Refusal::Unreadable { file, reason: error.to_string() }
}

/// Reads a file that must not be larger than `limit`.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Refusal> {
    let failed = |error: std::io::Error| unreadable(path, &error);
    // Neither a link that leads elsewhere nor a pipe that nobody writes to.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a large file from a fitting one, whatever its metadata says meanwhile.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let size = std::fs::metadata(path).map_or(bytes.len() as u64, |metadata| metadata.len());
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(Refusal::Oversize { file, bytes: size, limit });
    }
    Ok(bytes)
}

impl VersionFiles {
    /// Reads a version's folder.
    ///
    /// # Errors
    /// A file is missing, unreadable or too large, or the folder's name is no version.
    pub fn read(folder: &Path) -> Result<Self, Refusal> {
        let name_of = |path: Option<&Path>| path.and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        let folder = &std::path::absolute(folder).map_err(|error| unreadable(folder, &error))?;
        let name = name_of(folder.parent()).unwrap_or_default();
        let number = name_of(Some(folder)).unwrap_or_default();
        let version = version_of(&number).ok_or_else(|| Refusal::Unreadable {
            file: number.clone(),
            reason: "a version's folder is named by a whole number from 1".into(),
        })?;
        let signature = match read(&folder.join("contract.json.sig"), 1_024) {
            Ok(signature) => Some(signature),
            Err(Refusal::Unreadable { .. }) => None,
            Err(refusal) => return Err(refusal),
        };
        Ok(Self {
            name,
            version,
            contract: read(&folder.join("contract.json"), JSON_BYTES_MAX)?,
            signature,
            golden: read(&folder.join("golden.json"), JSON_BYTES_MAX)?,
            model: read(&folder.join("model.onnx"), MODEL_BYTES_MAX)?,
        })
    }
}

impl Repository {
    /// A repository in a folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of its models, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = entries(&self.root)
            .into_iter()
            .filter(|(name, path)| is_name(name) && path.is_dir())
            .map(|(name, _)| name)
            .filter(|name| !self.versions(name).is_empty())
            .collect();
        names.sort();
        names
    }

    /// Versions of a model, rising. Folders that are still being written have other names.
    pub fn versions(&self, name: &str) -> Vec<u32> {
        let folders = entries(&self.root.join(name)).into_iter().filter(|(_, path)| path.is_dir());
        let mut versions: Vec<u32> = folders.filter_map(|(name, _)| version_of(&name)).collect();
        versions.sort_unstable();
        versions
    }

    /// Folder of a version.
    pub fn folder(&self, name: &str, version: u32) -> PathBuf {
        self.root.join(name).join(version.to_string())
    }

    /// The version that the pointer file names, if it is there.
    pub fn pointer(&self, name: &str) -> Option<u32> {
        let text = read(&self.root.join(name).join("CURRENT"), POINTER_BYTES_MAX).ok()?;
        let version = version_of(std::str::from_utf8(&text).ok()?.trim())?;
        self.versions(name).contains(&version).then_some(version)
    }

    /// The version in force by the pointer file, else the highest; `None` for a model without versions.
    pub fn current(&self, name: &str) -> Option<u32> {
        self.pointer(name).or(self.versions(name).last().copied())
    }

    /// Points to another version, in one step that survives a crash.
    ///
    /// # Errors
    /// The file system's refusal; the old pointer stays.
    pub fn set_current(&self, name: &str, version: u32) -> std::io::Result<()> {
        let folder = self.root.join(name);
        let temporary = folder.join(format!(".CURRENT.{}", std::process::id()));
        let mut file = File::create(&temporary)?;
        file.write_all(format!("{version}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, folder.join("CURRENT"))?;
        File::open(&folder)?.sync_all()
    }
}

/// The version that a folder's name stands for.
fn version_of(name: &str) -> Option<u32> {
    let version: u32 = name.parse().ok().filter(|version| *version > 0)?;
    // `02` and `+2` are other folders.
    (version.to_string() == name).then_some(version)
}

/// Whether a model may be called so: a name that stays inside the repository.
pub fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.len() <= tidegate_wire::advice::MODEL_NAME_MAX && name.bytes().all(legal)
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_the_pointer() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Repository::new(folder.path());
        assert_eq!((repository.names(), repository.current("tuner")), (Vec::<String>::new(), None));
        for name in ["tuner/2", "tuner/10", "tuner/.11.tmp", "tuner/zero", "tuner/0", "tuner/02", "empty", ".git/1"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("made");
        }
        assert_eq!((repository.names(), repository.versions("tuner")), (vec!["tuner".to_owned()], vec![2, 10]));
        assert_eq!(repository.current("tuner"), Some(10), "the highest");
        repository.set_current("tuner", 2).expect("written");
        assert_eq!(repository.current("tuner"), Some(2));
        repository.set_current("tuner", 7).expect("written");
        assert_eq!(repository.current("tuner"), Some(10), "a version that is not there is not in force");
    }

    #[test]
    fn missing_and_oversize_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let version = folder.path().join("tuner/1");
        std::fs::create_dir_all(&version).expect("made");
        let error = VersionFiles::read(&version).expect_err("empty").to_string();
        assert!(error.contains("contract.json"), "{error}");
        for file in ["contract.json", "golden.json"] {
            std::fs::write(version.join(file), "{}").expect("written");
        }
        let file = File::create(version.join("model.onnx")).expect("made");
        file.set_len(MODEL_BYTES_MAX + 1).expect("room");
        let error = VersionFiles::read(&version).expect_err("too large");
        assert!(matches!(error, Refusal::Oversize { bytes, .. } if bytes == MODEL_BYTES_MAX + 1), "{error}");
        let error = VersionFiles::read(folder.path()).expect_err("no version");
        assert!(error.to_string().contains("whole number"), "{error}");
    }
}
