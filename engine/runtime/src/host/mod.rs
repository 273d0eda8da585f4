//! The host check: is this machine set up for a loop that must never wait?
//!
//! Every check reads a file of `/proc` or `/sys`, says what it found, why that matters to a pinned busy-poll loop
//! and, when something is wrong, the line that fixes it. **Nothing is ever changed**: the check only reads, and it
//! opens no device.
//!
//! A check has one of four outcomes:
//!
//! - [`Status::Pass`]: the file says what a tuned host says;
//! - [`Status::Warn`]: it says something else, and the finding carries the remedy where there is one;
//! - [`Status::Unknown`]: the file is absent or unreadable, as in most virtual machines. Absence is never taken for
//!   a pass: a governor that cannot be seen is not a governor that is right;
//! - [`Status::Info`]: worth knowing beside a latency figure, with no right or wrong.
//!
//! All paths are taken below [`Host::root`], so tests run the checks on a made-up tree. Checks live in one file a
//! topic; each is an entry of that file's `CHECKS` table, and adding one touches nothing else.

mod clock;
mod cores;
mod irq;
mod memory;
mod net;
mod platform;
mod power;
mod sched;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use view::{Reason, Sample, Verdict, View};
pub use view::{cpu_list, format_cpu_list};

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As a tuned host has it.
    Pass,
    /// Costs latency; the finding says why and how to fix it.
    Warn,
    /// Could not be read; the finding says why.
    Unknown,
    /// For the record: neither right nor wrong.
    Info,
}

impl Status {
    /// The word shown to people; the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Info => "info",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, `topic.check`.
    pub id: &'static str,
    /// What is checked, in a few words.
    pub title: &'static str,
    /// How it ended.
    pub status: Status,
    /// What the host says, or why it says nothing.
    pub found: String,
    /// Why it matters to a busy-poll loop.
    pub why: &'static str,
    /// The line that fixes it: a command, a sysctl or a kernel argument. Only with [`Status::Warn`], and absent
    /// where no setting helps.
    pub fix: Option<String>,
    /// The files read; `N` stands for each hot core.
    pub source: String,
}

/// One row of a topic's table.
struct Check {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    source: &'static str,
    run: fn(&View<'_>) -> Result<Verdict, Reason>,
}

impl Check {
    fn finding(&self, view: &View<'_>) -> Finding {
        let (status, found, fix) = match (self.run)(view) {
            Ok(Verdict::Pass(found)) => (Status::Pass, found, None),
            Ok(Verdict::Info(found)) => (Status::Info, found, None),
            Ok(Verdict::Warn { found, fix }) => (Status::Warn, found, fix),
            Err(Reason(reason)) => (Status::Unknown, reason, None),
        };
        Finding { id: self.id, title: self.title, status, found, why: self.why, fix, source: self.source.to_owned() }
    }
}

/// Which host to check, and for which cores.
#[derive(Clone, Debug)]
pub struct Host {
    /// Below it lie `proc`, `sys` and `dev`; `/` on a live host.
    pub root: PathBuf,
    /// Cores the hot loops are pinned to, one loop a core.
    pub hot_cores: Vec<usize>,
    /// How long counters (interrupts, stolen time) are watched. Zero reads them once: rates are then unknown.
    pub watch: Duration,
}

impl Host {
    /// The host this process runs on, with counters watched for half a second.
    pub fn live(hot_cores: Vec<usize>) -> Self {
        Self { root: PathBuf::from("/"), hot_cores, watch: Duration::from_millis(500) }
    }

    /// A tree of files laid out like a host's `/`; its counters do not move.
    pub fn at(root: impl Into<PathBuf>, hot_cores: Vec<usize>) -> Self {
        Self { root: root.into(), hot_cores, watch: Duration::ZERO }
    }

    /// The cores to assume hot when nobody named any: the last two online, or only the last when that would leave
    /// fewer than two for everything else. Empty when the online cores cannot be read.
    pub fn default_hot_cores(&self) -> Vec<usize> {
        let online = View::online(&self.root).unwrap_or_default();
        let take = if online.len() >= 4 { 2 } else { 1 };
        online[online.len().saturating_sub(take)..].to_vec()
    }

    /// Runs every check, in a fixed order. Takes [`Host::watch`] and changes nothing.
    pub fn check(&self) -> Vec<Finding> {
        let before = Sample::take(&self.root);
        if !self.watch.is_zero() {
            std::thread::sleep(self.watch);
        }
        let view = View { root: &self.root, hot: &self.hot_cores, after: Sample::take(&self.root), before };
        let topics = [
            cores::CHECKS,
            irq::CHECKS,
            power::CHECKS,
            clock::CHECKS,
            memory::CHECKS,
            sched::CHECKS,
            net::CHECKS,
            platform::CHECKS,
        ];
        topics.into_iter().flatten().map(|check| check.finding(&view)).collect()
    }
}

#[cfg(test)]
mod tests;
