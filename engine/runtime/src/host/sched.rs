//! May the loops run whenever they can, and does anything take their time away?

use super::Check;
use super::view::{Reason, Verdict, View};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "sched.rtprio",
        title: "may use real-time priority",
        why: "on a core shared with anything else, only SCHED_FIFO keeps the loop from waiting for its turn",
        source: "/proc/self/limits Max realtime priority, /proc/self/status CapEff",
        run: rtprio,
    },
    Check {
        id: "sched.rt_runtime",
        title: "real-time throttling off",
        why: "the default stops a real-time loop for 50 ms in every second",
        source: "/proc/sys/kernel/sched_rt_runtime_us",
        run: rt_runtime,
    },
    Check {
        id: "sched.watchdog",
        title: "lock-up watchdog off",
        why: "it wakes a thread of the highest priority on every core, and its counter raises interrupts",
        source: "/proc/sys/kernel/watchdog",
        run: watchdog,
    },
    Check {
        id: "sched.quota",
        title: "no processor quota",
        why: "a control group with a quota stops the whole process for the rest of each 100 ms period",
        source: "/proc/self/cgroup, /sys/fs/cgroup/**/cpu.max",
        run: quota,
    },
    Check {
        id: "sched.steal",
        title: "no stolen time",
        why: "the hypervisor ran somebody else on our core: no guest setting brings it back",
        source: "/proc/stat steal column of cpuN",
        run: steal,
    },
    Check {
        id: "sched.pressure",
        title: "no processor pressure",
        why: "tasks are waiting for a core: whatever is not pinned and isolated waits too",
        source: "/proc/pressure/cpu",
        run: pressure,
    },
    Check {
        id: "limits.files",
        title: "open-file limit",
        why: "each venue connection, capture and log segment holds a descriptor; running out drops feeds",
        source: "/proc/self/limits Max open files",
        run: files,
    },
];

/// Bit of `CAP_SYS_NICE`: real-time priority without a limit.
const CAP_SYS_NICE: u32 = 23;
/// The highest priority the engine asks for.
const RTPRIO_MIN: u64 = 49;
/// Descriptors the engine may need at most.
const FILES_MIN: u64 = 4_096;
/// Share of time, in percent, that tasks may wait over ten seconds.
const PRESSURE_PERCENT_MAX: f64 = 1.0;
/// Stolen share of a hot core since boot, in percent, that is still rounding.
const STEAL_PERCENT_MAX: f64 = 0.1;

fn rtprio(view: &View<'_>) -> Result<Verdict, Reason> {
    let limit = view.soft_limit("Max realtime priority")?;
    if view.has_capability(CAP_SYS_NICE).unwrap_or(false) {
        return Ok(Verdict::Pass(String::from("CAP_SYS_NICE")));
    }
    Ok(match limit {
        None => Verdict::Pass(String::from("unlimited")),
        Some(limit) if limit >= RTPRIO_MIN => Verdict::Pass(format!("up to {limit}")),
        Some(limit) => Verdict::warn(
            format!("up to {limit}"),
            "ulimit -r 49   # systemd: LimitRTPRIO=49; or: setcap cap_sys_nice+ep tidegate",
        ),
    })
}

fn rt_runtime(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.number("proc/sys/kernel/sched_rt_runtime_us")? {
        -1 => Verdict::Pass(String::from("off")),
        us => Verdict::warn(format!("{us} us of each period"), "sysctl -w kernel.sched_rt_runtime_us=-1"),
    })
}

fn watchdog(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.number("proc/sys/kernel/watchdog")? {
        0 => Verdict::Pass(String::from("off")),
        _ => Verdict::warn("on", "sysctl -w kernel.watchdog=0"),
    })
}

fn quota(view: &View<'_>) -> Result<Verdict, Reason> {
    let groups = view.read("proc/self/cgroup")?;
    let group = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or_else(|| Reason::new("this process is in no unified (v2) control group"))?;
    let mut read_one = false;
    // A quota anywhere up the tree holds for everything below it.
    for ancestor in std::path::Path::new(group).ancestors() {
        let inner = ancestor.to_string_lossy();
        let path = format!("sys/fs/cgroup{}/cpu.max", inner.trim_end_matches('/'));
        let Ok(text) = view.read(&path) else {
            continue;
        };
        read_one = true;
        if !text.starts_with("max") {
            return Ok(Verdict::warn(
                format!("{text} (quota, period in us) in /{path}"),
                format!("echo max > /{path}"),
            ));
        }
    }
    if read_one {
        return Ok(Verdict::Pass(String::from("no limit")));
    }
    Err(Reason::new(format!("no cpu.max for the control group {group}")))
}

fn steal(view: &View<'_>) -> Result<Verdict, Reason> {
    let (before, after) = match (&view.before.stat, &view.after.stat) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(reason), _) | (_, Err(reason)) => return Err(reason.clone()),
    };
    let (mut worst_percent, mut now) = (0.0_f64, 0_u64);
    for &core in view.hot()? {
        let (then, later) = (core_times(before, core), core_times(after, core));
        let (Some(then), Some(later)) = (then, later) else {
            return Err(Reason::new(format!("/proc/stat has no row for core {core}")));
        };
        worst_percent = worst_percent.max(100.0 * later.stolen as f64 / later.total.max(1) as f64);
        now += later.stolen.saturating_sub(then.stolen);
    }
    let found = format!("{worst_percent:.2} % since boot, {now} ticks while watched");
    Ok(if now > 0 || worst_percent > STEAL_PERCENT_MAX { Verdict::warn_no_fix(found) } else { Verdict::Pass(found) })
}

/// Times of one core since boot, in the kernel's clock ticks.
struct CoreTimes {
    total: u64,
    stolen: u64,
}

fn core_times(stat: &str, core: usize) -> Option<CoreTimes> {
    let name = format!("cpu{core}");
    let row = stat.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '))?;
    // user nice system idle iowait irq softirq steal; guest time after them is part of user time already.
    let times: Vec<u64> = row.split_ascii_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    Some(CoreTimes { total: times.iter().sum(), stolen: *times.get(7)? })
}

fn pressure(view: &View<'_>) -> Result<Verdict, Reason> {
    let text = view.read("proc/pressure/cpu")?;
    let percent: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("some "))
        .and_then(|row| row.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10=")))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Reason::new("/proc/pressure/cpu has no `some avg10`"))?;
    let found = format!("{percent:.2} % of the last 10 s");
    Ok(if percent <= PRESSURE_PERCENT_MAX {
        Verdict::Pass(found)
    } else {
        Verdict::warn(found, "systemd-cgtop -c   # shows what runs: move it off this machine or these cores")
    })
}

fn files(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.soft_limit("Max open files")? {
        None => Verdict::Pass(String::from("unlimited")),
        Some(limit) if limit >= FILES_MIN => Verdict::Pass(limit.to_string()),
        Some(limit) => Verdict::warn(limit.to_string(), "ulimit -n 65536   # systemd: LimitNOFILE=65536"),
    })
}
