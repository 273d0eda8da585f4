//! Can time be read without leaving user space, and does the counter tick evenly?

use super::Check;
use super::view::{Reason, Verdict, View};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "clock.source",
        title: "kernel clock source",
        why: "any source but the time-stamp counter makes every clock read a system call or a device access, \
              0.2 to 2 us instead of 25 ns",
        source: "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        run: source,
    },
    Check {
        id: "clock.tsc",
        title: "even time-stamp counter",
        why: "a counter that changes speed with the clock or stops in sleep gives stamps that are wrong, not late",
        source: "/proc/cpuinfo flags",
        run: tsc,
    },
];

fn source(view: &View<'_>) -> Result<Verdict, Reason> {
    const DIRECTORY: &str = "sys/devices/system/clocksource/clocksource0";
    let current = view.read(&format!("{DIRECTORY}/current_clocksource"))?;
    if current == "tsc" || current == "arch_sys_counter" {
        return Ok(Verdict::Pass(current));
    }
    let available = view.read(&format!("{DIRECTORY}/available_clocksource")).unwrap_or_default();
    let fix = if available.split_ascii_whitespace().any(|name| name == "tsc") {
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource"
    } else {
        "kernel argument: tsc=reliable"
    };
    Ok(Verdict::warn(format!("{current} (available: {available})"), fix))
}

fn tsc(view: &View<'_>) -> Result<Verdict, Reason> {
    let absent: Vec<&str> = ["constant_tsc", "nonstop_tsc"]
        .into_iter()
        .filter_map(|flag| match view.cpu_flag(flag) {
            Ok(true) => None,
            Ok(false) => Some(Ok(flag)),
            Err(reason) => Some(Err(reason)),
        })
        .collect::<Result<_, _>>()?;
    if absent.is_empty() {
        return Ok(Verdict::Pass(String::from("constant_tsc, nonstop_tsc")));
    }
    // No setting adds the flag: the engine must be told not to trust the counter.
    Ok(Verdict::warn_no_fix(format!("no {}: stamps fall back to the kernel clock", absent.join(", "))))
}
