//! Does the core run at one speed, always awake?

use super::Check;
use super::view::{Reason, Verdict, View, core_path, format_cpu_list};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "power.governor",
        title: "frequency governor",
        why: "other governors lower the clock between bursts, and the next frame pays 10 to 100 us of ramp-up",
        source: "/sys/devices/system/cpu/cpuN/cpufreq/scaling_governor",
        run: governor,
    },
    Check {
        id: "power.boost",
        title: "steady frequency",
        why: "boost moves the clock with temperature and with what the neighbours do: the same code gives other figures",
        source: "/sys/devices/system/cpu/cpufreq/boost, /sys/devices/system/cpu/intel_pstate/no_turbo, \
                 cpuN/cpufreq/scaling_{min,max}_freq",
        run: boost,
    },
    Check {
        id: "power.cstates",
        title: "shallow sleep states only",
        why: "a core that went to sleep needs the state's exit latency before it runs the next instruction",
        source: "/sys/devices/system/cpu/cpuN/cpuidle/state*/{latency,disable}",
        run: cstates,
    },
    Check {
        id: "power.dma_latency",
        title: "may hold cores awake",
        why: "a program that keeps this device open with 0 in it forbids deep sleep on all cores while it runs, \
              without root; the engine itself does not",
        source: "/dev/cpu_dma_latency",
        run: dma_latency,
    },
];

const CPU: &str = "sys/devices/system/cpu";

/// Exit latency up to which a state is as good as awake, in us.
const EXIT_US_MAX: i64 = 1;

fn governor(view: &View<'_>) -> Result<Verdict, Reason> {
    let governors = view.per_core(&format!("{CPU}/cpuN/cpufreq/scaling_governor"))?;
    let Some((core, other)) = governors.iter().find(|(_, name)| name != "performance") else {
        return Ok(Verdict::Pass(String::from("performance")));
    };
    let path = core_path("/sys/devices/system/cpu/cpuN/cpufreq/scaling_governor", *core);
    Ok(Verdict::warn(
        format!("{other} on core {core}"),
        format!("cpupower -c {} frequency-set -g performance   # or: echo performance > {path}", view.hot_list()),
    ))
}

fn boost(view: &View<'_>) -> Result<Verdict, Reason> {
    let boost = view.number(&format!("{CPU}/cpufreq/boost"));
    let no_turbo = view.number(&format!("{CPU}/intel_pstate/no_turbo"));
    let (on, fix) = match (boost, no_turbo) {
        (Ok(boost), _) => (boost != 0, "echo 0 > /sys/devices/system/cpu/cpufreq/boost"),
        (_, Ok(no_turbo)) => (no_turbo == 0, "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"),
        (Err(reason), Err(_)) => return Err(reason),
    };
    if !on {
        return Ok(Verdict::Pass(String::from("boost off")));
    }
    let low = view.per_core(&format!("{CPU}/cpuN/cpufreq/scaling_min_freq"));
    let high = view.per_core(&format!("{CPU}/cpuN/cpufreq/scaling_max_freq"));
    match (low, high) {
        (Ok(low), Ok(high)) if low == high => Ok(Verdict::Pass(String::from("boost on, frequency fixed"))),
        _ => Ok(Verdict::warn("boost on, frequency free to move", fix)),
    }
}

fn cstates(view: &View<'_>) -> Result<Verdict, Reason> {
    let (mut deepest, mut sleepy) = ((0, String::from("none")), Vec::new());
    for &core in view.hot()? {
        let (exit_us, name) = deepest_state(view, core)?;
        if exit_us > EXIT_US_MAX && !held_awake(view, core) {
            sleepy.push(core);
        }
        if exit_us >= deepest.0 {
            deepest = (exit_us, name);
        }
    }
    let found = format!("deepest enabled: {} ({} us)", deepest.1, deepest.0);
    if sleepy.is_empty() {
        return Ok(Verdict::Pass(found));
    }
    let first = core_path("/sys/devices/system/cpu/cpuN/power/pm_qos_resume_latency_us", sleepy[0]);
    Ok(Verdict::warn(
        format!("{found} on {}", format_cpu_list(&sleepy)),
        format!("echo n/a > {first}   # each hot core"),
    ))
}

/// The enabled sleep state of a core with the longest exit latency: that latency in us and the state's name.
fn deepest_state(view: &View<'_>, core: usize) -> Result<(i64, String), Reason> {
    let directory = core_path(&format!("{CPU}/cpuN/cpuidle"), core);
    let mut deepest = (0, String::from("none"));
    for state in view.list(&directory)?.iter().filter(|name| name.starts_with("state")) {
        let path = format!("{directory}/{state}");
        let disabled = view.number(&format!("{path}/disable"))? != 0;
        let exit_us = view.number(&format!("{path}/latency"))?;
        if !disabled && exit_us >= deepest.0 {
            deepest = (exit_us, view.read(&format!("{path}/name")).unwrap_or_else(|_| state.clone()));
        }
    }
    Ok(deepest)
}

/// Whether a per-core request forbids sleep: `n/a` means no latency is tolerated, `0` that nobody asked.
fn held_awake(view: &View<'_>, core: usize) -> bool {
    let path = core_path(&format!("{CPU}/cpuN/power/pm_qos_resume_latency_us"), core);
    view.read(&path).is_ok_and(|text| text == "n/a")
}

fn dma_latency(view: &View<'_>) -> Result<Verdict, Reason> {
    const DEVICE: &str = "dev/cpu_dma_latency";
    let writable = view.may_write(DEVICE)?;
    Ok(if writable {
        Verdict::Pass(String::from("writable"))
    } else {
        Verdict::warn(
            "this user may not write it",
            "echo 'KERNEL==\"cpu_dma_latency\", GROUP=\"tidegate\", MODE=\"0660\"' \
             > /etc/udev/rules.d/80-tidegate.rules",
        )
    })
}
