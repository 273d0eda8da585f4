//! What the checks see: files below the root, the hot cores, and counters read twice.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

/// Why a check could not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason(pub(super) String);

impl Reason {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a check concluded when it could tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass(String),
    Info(String),
    Warn { found: String, fix: Option<String> },
}

impl Verdict {
    /// A warning that one line fixes.
    pub(super) fn warn(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Warn { found: found.into(), fix: Some(fix.into()) }
    }

    /// A warning no setting of this host fixes.
    pub(super) fn warn_no_fix(found: impl Into<String>) -> Self {
        Self::Warn { found: found.into(), fix: None }
    }
}

/// Counters of `/proc` at one moment, or why they could not be read.
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) interrupts: Result<String, Reason>,
    pub(super) stat: Result<String, Reason>,
}

impl Sample {
    pub(super) fn take(root: &Path) -> Self {
        Self { at: Instant::now(), interrupts: read(root, "proc/interrupts"), stat: read(root, "proc/stat") }
    }
}

/// The state all checks of one run share.
pub(super) struct View<'a> {
    pub(super) root: &'a Path,
    pub(super) hot: &'a [usize],
    pub(super) before: Sample,
    pub(super) after: Sample,
}

impl View<'_> {
    /// A file's text without its final newline; the path is relative to the root.
    pub(super) fn read(&self, path: &str) -> Result<String, Reason> {
        read(self.root, path)
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: &str) -> Result<i64, Reason> {
        let text = self.read(path)?;
        text.trim().parse().map_err(|_| Reason::new(format!("/{path} is not a number: `{}`", text.trim())))
    }

    /// Hot cores, or the reason there are none to check.
    pub(super) fn hot(&self) -> Result<&[usize], Reason> {
        match self.hot {
            [] => Err(Reason::new("no hot core is known")),
            hot => Ok(hot),
        }
    }

    /// The hot cores as the kernel writes them: `2-3,5`.
    pub(super) fn hot_list(&self) -> String {
        format_cpu_list(self.hot)
    }

    /// A core mask in a file that must leave the hot cores out; `fix` makes the fixing line from the mask of the rest.
    pub(super) fn mask_spares_hot(&self, path: &str, fix: impl FnOnce(&str) -> String) -> Result<Verdict, Reason> {
        let mask = self.read(path)?;
        let cores = cpu_mask(&mask).ok_or_else(|| Reason::new(format!("not a core mask: `{mask}`")))?;
        let hot = self.hot()?;
        if !hot.iter().any(|core| cores.contains(core)) {
            return Ok(Verdict::Pass(format!("mask {mask}")));
        }
        let rest = mask_without(&View::online(self.root).unwrap_or(cores), hot);
        Ok(Verdict::warn(format!("mask {mask} includes a hot core"), fix(&rest)))
    }

    /// One file a hot core (`N` in `pattern` is the core): the cores with what their file says.
    pub(super) fn per_core(&self, pattern: &str) -> Result<Vec<(usize, String)>, Reason> {
        self.hot()?.iter().map(|&core| Ok((core, self.read(&core_path(pattern, core))?))).collect()
    }

    /// Names in a directory, sorted; the path is relative to the root.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Reason> {
        let entries = std::fs::read_dir(self.root.join(path)).map_err(|error| why(path, &error))?;
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Seconds between the two samples; `None` when the counters were read at one moment only.
    pub(super) fn seconds(&self) -> Option<f64> {
        let seconds = (self.after.at - self.before.at).as_secs_f64();
        (seconds >= 0.01).then_some(seconds)
    }

    /// A boot argument's value: the text after `name=` in `/proc/cmdline`, of its last occurrence.
    pub(super) fn boot_argument(&self, name: &str) -> Result<Option<String>, Reason> {
        let line = self.read("proc/cmdline")?;
        let value = line.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(value.map(str::to_owned))
    }

    /// The value of a `Name:\tvalue` line of `/proc/self/status`.
    pub(super) fn own_status(&self, name: &str) -> Result<String, Reason> {
        let status = self.read("proc/self/status")?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| Reason::new(format!("/proc/self/status has no {name} line")))
    }

    /// Whether this process holds a capability, by its bit in `linux/capability.h`.
    pub(super) fn has_capability(&self, bit: u32) -> Result<bool, Reason> {
        let mask = self.own_status("CapEff")?;
        u64::from_str_radix(&mask, 16)
            .map(|mask| mask >> bit & 1 == 1)
            .map_err(|_| Reason::new(format!("CapEff is not a mask: `{mask}`")))
    }

    /// The soft limit of this process on a row of `/proc/self/limits`; `None` is unlimited.
    pub(super) fn soft_limit(&self, row: &str) -> Result<Option<u64>, Reason> {
        let limits = self.read("proc/self/limits")?;
        let value = limits
            .lines()
            .find_map(|line| line.strip_prefix(row)?.split_ascii_whitespace().next())
            .ok_or_else(|| Reason::new(format!("/proc/self/limits has no row `{row}`")))?;
        if value == "unlimited" {
            return Ok(None);
        }
        value.parse().map(Some).map_err(|_| Reason::new(format!("`{row}` is not a number: `{value}`")))
    }

    /// Whether the first processor of `/proc/cpuinfo` has a feature flag.
    pub(super) fn cpu_flag(&self, flag: &str) -> Result<bool, Reason> {
        let info = self.read("proc/cpuinfo")?;
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags")?.split_once(':'))
            .ok_or_else(|| Reason::new("/proc/cpuinfo has no flags line (not an x86 processor)"))?;
        Ok(flags.1.split_ascii_whitespace().any(|have| have == flag))
    }

    /// Whether this process may write a file, from its owner and mode: opening a device could change something.
    pub(super) fn may_write(&self, path: &str) -> Result<bool, Reason> {
        let file = std::fs::metadata(self.root.join(path)).map_err(|error| why(path, &error))?;
        // The second of the four ids is the effective one.
        let effective = |ids: String| ids.split_ascii_whitespace().nth(1).and_then(|id| id.parse::<u32>().ok());
        let user = effective(self.own_status("Uid")?);
        let group = effective(self.own_status("Gid")?);
        let others = self.own_status("Groups").unwrap_or_default();
        let in_group =
            group == Some(file.gid()) || others.split_ascii_whitespace().any(|id| id.parse() == Ok(file.gid()));
        let bit = match user {
            Some(0) => return Ok(true),
            Some(user) if user == file.uid() => 0o200,
            _ if in_group => 0o020,
            _ => 0o002,
        };
        Ok(file.mode() & bit != 0)
    }

    /// Cores the kernel runs on.
    pub(super) fn online(root: &Path) -> Result<Vec<usize>, Reason> {
        let text = read(root, "sys/devices/system/cpu/online")?;
        cpu_list(&text).ok_or_else(|| Reason::new(format!("not a core list: `{text}`")))
    }
}

/// `pattern` for one core: `cpu/cpuN/online` becomes `cpu/cpu3/online`.
pub(super) fn core_path(pattern: &str, core: usize) -> String {
    pattern.replace("cpuN", &format!("cpu{core}"))
}

fn read(root: &Path, path: &str) -> Result<String, Reason> {
    let mut text = std::fs::read_to_string(root.join(path)).map_err(|error| why(path, &error))?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

fn why(path: &str, error: &std::io::Error) -> Reason {
    Reason(match error.kind() {
        ErrorKind::NotFound => format!("/{path} is absent (old kernel, build option, or a VM)"),
        ErrorKind::PermissionDenied => format!("/{path}: permission denied"),
        _ => format!("/{path}: {error}"),
    })
}

/// Parses the kernel's core list, `0-3,8`; empty and `(null)` are no cores. `None` when it is something else.
pub fn cpu_list(text: &str) -> Option<Vec<usize>> {
    /// Above any core number of a real host; keeps `0-99999999999` from filling memory.
    const CORE_MAX: usize = 65_535;
    let text = text.trim();
    if text.is_empty() || text == "(null)" {
        return Some(Vec::new());
    }
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > CORE_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

/// Writes cores as the kernel does: sorted, ranges joined, `0-3,8`.
pub fn format_cpu_list(cores: &[usize]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::new();
    for run in sorted.chunk_by(|a, b| a + 1 == *b) {
        let comma = if text.is_empty() { "" } else { "," };
        let written = match run {
            [one] => write!(text, "{comma}{one}"),
            [first, .., last] => write!(text, "{comma}{first}-{last}"),
            [] => Ok(()),
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    text
}

/// Parses the kernel's hexadecimal core mask, `ff` or `00000001,ffffffff`, lowest core in the last digit.
pub(super) fn cpu_mask(text: &str) -> Option<Vec<usize>> {
    let digits: Vec<u32> = text.trim().chars().filter(|&c| c != ',').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let mut cores = Vec::new();
    for (place, digit) in digits.iter().rev().enumerate() {
        cores.extend((0..4).filter(|bit| digit >> bit & 1 == 1).map(|bit| place * 4 + bit));
    }
    (!digits.is_empty()).then_some(cores)
}

/// The mask of all `online` cores but the hot ones, as the kernel writes it; for a fixing line.
pub(super) fn mask_without(online: &[usize], hot: &[usize]) -> String {
    let words = online.iter().max().map_or(1, |&last| last / 32 + 1);
    let mut mask = vec![0_u32; words];
    for &core in online.iter().filter(|core| !hot.contains(core)) {
        mask[core / 32] |= 1 << (core % 32);
    }
    let parts: Vec<String> = mask.iter().rev().map(|word| format!("{word:x}")).collect();
    match parts.split_first() {
        Some((first, rest)) => rest.iter().fold(first.clone(), |text, part| format!("{text},{part:0>8}")),
        None => String::from("1"),
    }
}

/// The hot cores that are not among `cores`, as a list; `None` when all are.
pub(super) fn missing(hot: &[usize], cores: &[usize]) -> Option<String> {
    let absent: Vec<usize> = hot.iter().copied().filter(|core| !cores.contains(core)).collect();
    (!absent.is_empty()).then(|| format_cpu_list(&absent))
}
