//! What a loop does while it has nothing to do, where it runs, and what memory it may lose.

use std::time::Duration;

use crossbeam::utils::Backoff;

/// How a loop waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitStrategy {
    /// Spin where every loop can have a core of its own, else yield.
    #[default]
    Auto,
    /// Never give up the core: lowest latency, one core a loop.
    Spin,
    /// Spin briefly, then let others run.
    Yield,
    /// Spin briefly, then sleep 50 us at a time: for loops that may be late.
    Park,
}

impl WaitStrategy {
    /// What `auto` means when `loops` hot loops share `cores` with the cold threads.
    pub const fn resolve(self, loops: usize, cores: usize) -> Self {
        match self {
            Self::Auto if loops < cores => Self::Spin,
            Self::Auto => Self::Yield,
            other => other,
        }
    }
}

/// Longest sleep of a parked loop.
const PARK: Duration = Duration::from_micros(50);

/// A loop's waiting state.
#[derive(Debug)]
pub struct Wait {
    strategy: WaitStrategy,
    backoff: Backoff,
}

impl Wait {
    /// A loop that waits by `strategy`, already resolved.
    pub fn new(strategy: WaitStrategy) -> Self {
        Self { strategy, backoff: Backoff::new() }
    }

    /// There was work.
    #[inline(always)]
    pub fn busy(&self) {
        if self.strategy != WaitStrategy::Spin {
            self.backoff.reset();
        }
    }

    /// There was none.
    #[inline(always)]
    pub fn idle(&self) {
        match self.strategy {
            WaitStrategy::Spin => std::hint::spin_loop(),
            WaitStrategy::Park if self.backoff.is_completed() => std::thread::sleep(PARK),
            WaitStrategy::Auto | WaitStrategy::Yield | WaitStrategy::Park => self.backoff.snooze(),
        }
    }
}

/// Number of cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The cores this process may use, by number: its affinity mask, which need not begin at 0.
pub fn core_ids() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Cores that fit into the system's set of cores.
const CORES_IN_SET: usize = 1_024;

/// Pins the calling thread to a core.
///
/// # Errors
/// Says which core, when the system refuses (no such core, or not in this process's set).
pub fn pin(core: usize) -> Result<(), String> {
    // Numbers beyond the set are refused here, because `core_affinity` panics on them.
    if core < CORES_IN_SET && core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(format!("core {core}: cannot pin a thread to it (not among this process's cores)"))
}

/// Keeps all present memory of the process from being paged out.
///
/// # Errors
/// The system's refusal with the way out of it.
pub fn lock_memory() -> Result<(), String> {
    // SAFETY: a plain system call without pointers.
    if unsafe { libc::mlockall(libc::MCL_CURRENT) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(format!("memory cannot be locked: {error}; raise `ulimit -l` or grant CAP_IPC_LOCK"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_cannot_exist_is_an_error_and_no_panic() {
        for core in [CORES_IN_SET, 2_000, 4_096, usize::MAX] {
            let error = pin(core).expect_err("no such core");
            assert!(error.contains(&format!("core {core}")), "{error}");
        }
        // A core of this process's own set can be had; on a thread of its own, for the pin stays.
        if let Some(&core) = core_ids().last() {
            let pinned = std::thread::spawn(move || pin(core)).join().expect("no panic");
            assert_eq!(pinned, Ok(()));
        }
    }
}
