//! What a figure was measured on: the line that stands above every table.

use std::fs;
use std::path::{Path, PathBuf};

/// Root of the workspace, as it was when the benches were built.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").components().collect()
}

/// Where recorded captures are: `TIDEGATE_DATA`, else `shared/data` beside the workspace, from any working directory.
///
/// A relative `TIDEGATE_DATA` counts from the working directory or, failing that, from the workspace. A program that
/// was moved away from where it was built looks upwards from the working directory.
pub fn data() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_DATA").map(PathBuf::from) {
        let beside = workspace().join(&path);
        return if !path.exists() && beside.exists() { beside } else { path };
    }
    let usual = workspace().join("../shared/data");
    if usual.exists() {
        return usual;
    }
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors().map(|dir| dir.join("shared/data")).find(|dir| dir.exists()).unwrap_or(usual)
}

/// CPU, cores, kernel, governor, compiler and commit in one line.
pub fn line() -> String {
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let governor = if governor.is_empty() { "unknown".to_owned() } else { governor };
    format!(
        "{}, {} cores, Linux {}, governor {governor}, {}, commit {}",
        cpu(),
        cores(),
        read("/proc/sys/kernel/osrelease"),
        compiler(),
        commit(),
    )
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Cores of the host, however few this thread is pinned to.
pub fn cores() -> usize {
    read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// Name, family and model: hosts call different generations by one name.
fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let value = |key: &str| {
        let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    };
    let Some(name) = value("model name") else { return "unknown CPU".to_owned() };
    match value("cpu family").zip(value("model")) {
        Some((family, model)) => format!("{name} (family {family} model {model})"),
        None => name.to_owned(),
    }
}

/// `rustc` as it is found now, which is the one that built this unless somebody changed it in between.
fn compiler() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output().ok();
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok());
    version.as_deref().and_then(|v| v.split(" (").next()).unwrap_or("rustc unknown").trim().to_owned()
}

/// `TIDEGATE_COMMIT`, or what the repository's HEAD says; 12 digits.
pub fn commit() -> String {
    let full = std::env::var("TIDEGATE_COMMIT").ok().or_else(|| head(&workspace())).unwrap_or_else(|| "unknown".into());
    full.chars().take(12).collect()
}

/// Follows `HEAD` by hand: a detached head, a loose reference or a packed one, in a checkout or a linked work tree.
fn head(root: &Path) -> Option<String> {
    let dot = root.join(".git");
    let git = match fs::read_to_string(&dot) {
        Ok(link) => root.join(link.trim().strip_prefix("gitdir: ")?),
        Err(_) => dot,
    };
    let head = read(git.join("HEAD"));
    let Some(reference) = head.strip_prefix("ref: ") else { return (!head.is_empty()).then_some(head) };
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git.clone(),
    };
    let loose = [&git, &common].map(|dir| read(dir.join(reference))).into_iter().find(|hash| !hash.is_empty());
    loose.or_else(|| {
        let packed = read(common.join("packed-refs"));
        packed.lines().find_map(|line| Some(line.strip_suffix(reference)?.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_line_names_everything() {
        let line = super::line();
        for part in ["cores", "Linux", "governor", "rustc", "commit"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
