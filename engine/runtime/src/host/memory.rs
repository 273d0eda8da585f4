//! Does memory stay where it is? Anything that moves, merges or swaps pages stops the thread that touches them.

use super::Check;
use super::view::{Reason, Verdict, View};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "memory.thp",
        title: "transparent huge pages",
        why: "with `always` a page fault may first compact memory, milliseconds in the middle of a frame",
        source: "/sys/kernel/mm/transparent_hugepage/enabled",
        run: huge_pages,
    },
    Check {
        id: "memory.numa",
        title: "automatic NUMA balancing",
        why: "it unmaps pages to see who touches them: a page fault for each, and a migration after",
        source: "/proc/sys/kernel/numa_balancing",
        run: numa_balancing,
    },
    Check {
        id: "memory.ksm",
        title: "page merging (KSM)",
        why: "merged pages are copied again on the first write, and the scanner takes memory bandwidth",
        source: "/sys/kernel/mm/ksm/run",
        run: ksm,
    },
    Check {
        id: "memory.lock",
        title: "may lock its memory",
        why: "pages that are not locked may be reclaimed, and the next touch waits for the disk",
        source: "/proc/self/limits Max locked memory, /proc/self/status CapEff",
        run: lock,
    },
    Check {
        id: "memory.swap",
        title: "no swap",
        why: "under pressure the kernel writes idle pages out; the cold path that needs them then blocks on a disk",
        source: "/proc/swaps",
        run: swap,
    },
];

/// Bit of `CAP_IPC_LOCK`: no limit on locked memory.
const CAP_IPC_LOCK: u32 = 14;

/// What the engine locks at most (rings, books, stacks), in bytes.
const LOCKED_BYTES_MIN: u64 = 1 << 30;

fn huge_pages(view: &View<'_>) -> Result<Verdict, Reason> {
    let text = view.read("sys/kernel/mm/transparent_hugepage/enabled")?;
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    Ok(match chosen.as_str() {
        "madvise" | "never" => Verdict::Pass(chosen),
        _ => Verdict::warn(chosen, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
    })
}

fn numa_balancing(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.number("proc/sys/kernel/numa_balancing")? {
        0 => Verdict::Pass(String::from("off")),
        mode => Verdict::warn(format!("on ({mode})"), "sysctl -w kernel.numa_balancing=0"),
    })
}

fn ksm(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.number("sys/kernel/mm/ksm/run")? {
        // 2 stays there after what was merged has been taken apart; the scanner stands still as with 0.
        0 | 2 => Verdict::Pass(String::from("off")),
        mode => Verdict::warn(
            format!("on ({mode})"),
            "echo 2 > /sys/kernel/mm/ksm/run   # stops the scanner and takes apart what it merged; 0 only stops it",
        ),
    })
}

fn lock(view: &View<'_>) -> Result<Verdict, Reason> {
    let limit = view.soft_limit("Max locked memory")?;
    if view.has_capability(CAP_IPC_LOCK).unwrap_or(false) {
        return Ok(Verdict::Pass(String::from("CAP_IPC_LOCK")));
    }
    Ok(match limit {
        None => Verdict::Pass(String::from("unlimited")),
        Some(bytes) if bytes >= LOCKED_BYTES_MIN => Verdict::Pass(format!("{} MiB", bytes >> 20)),
        Some(bytes) => Verdict::warn(
            format!("at most {} KiB", bytes >> 10),
            "ulimit -l unlimited   # systemd: LimitMEMLOCK=infinity; or: setcap cap_ipc_lock+ep tidegate",
        ),
    })
}

fn swap(view: &View<'_>) -> Result<Verdict, Reason> {
    let swaps = view.read("proc/swaps")?;
    let devices: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    Ok(if devices.is_empty() {
        Verdict::Pass(String::from("none"))
    } else {
        Verdict::warn(devices.join(", "), "swapoff -a   # and remove it from /etc/fstab")
    })
}
