//! What a model repository says of its models, for screens: contracts, and how training went.
//!
//! `training.json` beside a contract is for people: no load gate reads it. It is bounded and checked here all the same,
//! and what is wrong with it is shown instead of it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Largest contract that is shown, bytes.
const CONTRACT_MAX: u64 = 1 << 20;
/// Largest account of a training, bytes.
const TRAINING_MAX: u64 = 256 << 10;
/// Format of `training.json`.
const TRAINING_FORMAT: &str = "tidegate.training.v1";
/// Curves of a model, and points of one, that are shown: a screen has no place for more.
const CURVES_MAX: usize = 16;
const POINTS_MAX: usize = 2_000;
/// Members of a contract that are shown.
const SHOWN: [&str; 7] = ["name", "version", "kind", "created", "metrics", "training", "latency_budget_us"];

/// `training.json`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Training {
    format: String,
    /// SHA-256 of the contract that it belongs to, hex.
    contract: String,
    /// What the losses are.
    loss: String,
    curves: Vec<Curve>,
}

/// Loss by epoch, or by trees where a model is made of them.
#[derive(Debug, Deserialize, serde::Serialize)]
struct Curve {
    name: String,
    points: Vec<Point>,
}

#[derive(Debug, Deserialize, serde::Serialize)]
struct Point {
    epoch: u32,
    loss: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<f64>,
}

/// Path, time and size of each file that was looked at.
type Stamps = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Looks at a repository and tells when there is something new.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    seen: Option<Stamps>,
}

impl Shelf {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root, seen: None }
    }

    /// The contracts with their curves, where any of the files has changed since they were told.
    pub(super) fn changed(&mut self) -> Option<Vec<Value>> {
        let folders = newest(&self.root);
        let files = folders.iter().flat_map(|folder| ["contract.json", "training.json"].map(|name| folder.join(name)));
        let stamp = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok();
            let (at, bytes) =
                (found.as_ref().and_then(|file| file.modified().ok()), found.map_or(0, |file| file.len()));
            (path, at, bytes)
        };
        let stamps: Stamps = files.map(stamp).collect();
        if self.seen.as_ref() == Some(&stamps) {
            return None;
        }
        self.seen = Some(stamps);
        Some(folders.iter().filter_map(|folder| shown(folder)).collect())
    }
}

/// Folders of the newest version of each model: what all of them say together would fill a screen's connection.
fn newest(root: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        all.sort();
        all
    };
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    folders(root).iter().filter_map(|model| folders(model).into_iter().max_by_key(number)).collect()
}

/// What is shown of a version; nothing without a contract.
fn shown(folder: &Path) -> Option<Value> {
    let bytes = read(&folder.join("contract.json"), CONTRACT_MAX).ok()??;
    let contract: Value = serde_json::from_slice(&bytes).ok()?;
    let mut shown: Map<String, Value> = SHOWN.iter().map(|key| ((*key).to_owned(), contract[*key].clone())).collect();
    match training(folder, &bytes) {
        Ok(None) => {}
        Ok(Some(training)) => {
            shown.insert("loss".into(), training.loss.into());
            shown.insert("curves".into(), json!(training.curves));
        }
        Err(problem) => {
            shown.insert("curves_problem".into(), format!("training.json: {problem}").into());
        }
    }
    Some(shown.into())
}

/// How a version was trained; none where its exporter did not say.
fn training(folder: &Path, contract: &[u8]) -> Result<Option<Training>, String> {
    let Some(bytes) = read(&folder.join("training.json"), TRAINING_MAX)? else { return Ok(None) };
    let training: Training = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if training.format != TRAINING_FORMAT {
        return Err(format!("format is {:?}, expected {TRAINING_FORMAT:?}", training.format));
    }
    if training.contract != hex::encode(digest::digest(&digest::SHA256, contract)) {
        return Err("it belongs to another contract".into());
    }
    if training.curves.len() > CURVES_MAX {
        return Err(format!("{} curves, expected at most {CURVES_MAX}", training.curves.len()));
    }
    if let Some(long) = training.curves.iter().find(|curve| curve.points.len() > POINTS_MAX) {
        return Err(format!("{:?} has {} points, expected at most {POINTS_MAX}", long.name, long.points.len()));
    }
    let unsorted = |curve: &&Curve| !curve.points.is_sorted_by(|one, next| one.epoch < next.epoch);
    if let Some(wrong) = training.curves.iter().find(unsorted) {
        return Err(format!("epochs of {:?} do not rise", wrong.name));
    }
    Ok(Some(training))
}

/// Reads a regular file that is no larger than `most`; `None` where there is none.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    // Neither a link that leads elsewhere nor a pipe that nobody writes to.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err("it is no regular file".into());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err(format!("more than {most} bytes")) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../onnx")
    }

    #[test]
    fn every_committed_model_shows_how_it_was_trained() {
        let mut shelf = Shelf::new(repository());
        let all = shelf.changed().expect("the first look");
        assert_eq!(all.len(), 7, "so many are committed");
        for one in &all {
            assert!(one["curves_problem"].is_null(), "{one}");
            let curves = one["curves"].as_array().expect("curves");
            assert!(!curves.is_empty() && one["loss"].is_string(), "{one}");
            for curve in curves {
                let points = curve["points"].as_array().expect("points");
                assert!(points.len() > 3 && points.iter().all(|point| point["validation"].is_f64()), "{curve}");
                assert_eq!(points[0]["epoch"], 1);
            }
        }
        assert!(shelf.changed().is_none(), "nothing has changed");
    }

    #[test]
    fn what_is_wrong_with_an_account_is_shown_instead_of_it() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("liquidity/1");
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::copy(repository().join("liquidity/1/contract.json"), folder.join("contract.json")).expect("copied");
        let mut shelf = Shelf::new(root.path().to_owned());
        let first = shelf.changed().expect("a look");
        assert!(first[0]["curves"].is_null() && first[0]["curves_problem"].is_null() && first[0]["kind"] == "row");
        let good = std::fs::read_to_string(repository().join("liquidity/1/training.json")).expect("a file");
        let path = folder.join("training.json");
        let mut written = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let all = shelf.changed().expect("it has changed");
            assert!(all[0]["name"] == "liquidity", "the contract is shown all the same");
            all[0]["curves_problem"].as_str().map(str::to_owned)
        };
        assert_eq!(written(&good), None);
        let huge = " ".repeat(TRAINING_MAX as usize + 1);
        for (text, reason) in [
            (huge.as_str(), "more than 262144 bytes"),
            ("", "EOF"),
            ("[1, 2]", "invalid"),
            (good.replacen("training.v1", "training.v9", 1).as_str(), "expected \"tidegate.training.v1\""),
            (good.replacen("\"contract\": \"", "\"contract\": \"0", 1).as_str(), "another contract"),
            (good.replacen("\"epoch\": 2", "\"epoch\": 1", 1).as_str(), "do not rise"),
            (good.replacen("\"loss\": 0.", "\"loss\": \"x\", \"was\": 0.", 1).as_str(), "invalid type"),
        ] {
            let problem = written(text).unwrap_or_default();
            assert!(problem.starts_with("training.json: ") && problem.contains(reason), "{reason}: {problem}");
        }
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/hostname", &path).expect("made");
        let linked = shelf.changed().expect("it has changed");
        assert!(linked[0]["curves_problem"].is_string(), "no links");
    }
}
