//! Whose cores are they? Isolation from the scheduler, the tick, kernel callbacks and noisy neighbours on the chip.

use super::Check;
use super::view::{Reason, Verdict, View, core_path, cpu_list, missing};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cores.count",
        title: "cores for the loops and the rest",
        why: "two busy loops on one core take turns of milliseconds, and a loop on the only core starves interrupts \
              and the cold threads",
        source: "/sys/devices/system/cpu/online",
        run: count,
    },
    Check {
        id: "cores.allowed",
        title: "hot cores open to this process",
        why: "a cpuset or container that leaves a core out makes pinning fail",
        source: "/proc/self/status Cpus_allowed_list",
        run: allowed,
    },
    Check {
        id: "cores.isolated",
        title: "isolated from the scheduler",
        why: "on a core that is not isolated the scheduler may run any task in the middle of a frame",
        source: "/sys/devices/system/cpu/isolated, /sys/fs/cgroup/cpuset.cpus.isolated",
        run: isolated,
    },
    Check {
        id: "cores.nohz_full",
        title: "tick-less mode",
        why: "the scheduler tick interrupts a loop 100 to 1000 times a second, 2 to 5 us each",
        source: "/sys/devices/system/cpu/nohz_full",
        run: nohz_full,
    },
    Check {
        id: "cores.rcu_nocbs",
        title: "RCU callbacks elsewhere",
        why: "deferred kernel clean-up otherwise runs on the hot core, after interrupts, in bursts",
        source: "/proc/cmdline rcu_nocbs, nohz_full",
        run: rcu_nocbs,
    },
    Check {
        id: "cores.workqueue",
        title: "kernel work queues elsewhere",
        why: "unbound kernel workers (writeback, drivers) otherwise choose the hot core too",
        source: "/sys/devices/virtual/workqueue/cpumask",
        run: workqueue,
    },
    Check {
        id: "cores.smt",
        title: "no busy sibling thread",
        why: "a hardware thread shares execution units and both private caches with its sibling",
        source: "/sys/devices/system/cpu/cpuN/topology/thread_siblings_list",
        run: smt,
    },
    Check {
        id: "cores.l3",
        title: "hot cores share one L3",
        why: "a ring between cores of different L3 caches costs about three times as much a message",
        source: "/sys/devices/system/cpu/cpuN/cache/index3/shared_cpu_list",
        run: shared_l3,
    },
];

const CPU: &str = "sys/devices/system/cpu";

fn count(view: &View<'_>) -> Result<Verdict, Reason> {
    let online = View::online(view.root)?;
    let hot = view.hot()?;
    let found = format!("{} online, {} for hot loops", online.len(), hot.len());
    if let Some(absent) = missing(hot, &online) {
        return Ok(Verdict::warn(
            format!("{found}; core {absent} is not online"),
            format!("tidegate doctor --cores {}", online.last().unwrap_or(&0)),
        ));
    }
    if online.len() > hot.len() {
        return Ok(Verdict::Pass(found));
    }
    let fewer = online.len().saturating_sub(1).max(1);
    let advice = format!("use at most {fewer} pinned loop(s) here: choose the fused topology");
    Ok(Verdict::warn(format!("{found}, none left for the rest"), advice))
}

fn allowed(view: &View<'_>) -> Result<Verdict, Reason> {
    let list = view.own_status("Cpus_allowed_list")?;
    let cores = cpu_list(&list).ok_or_else(|| Reason::new(format!("not a core list: `{list}`")))?;
    Ok(match missing(view.hot()?, &cores) {
        None => Verdict::Pass(format!("allowed on {list}")),
        Some(absent) => Verdict::warn(
            format!("allowed on {list}, not on {absent}"),
            format!("taskset -c {list},{absent} tidegate ..."),
        ),
    })
}

fn isolated(view: &View<'_>) -> Result<Verdict, Reason> {
    let boot = view.read(&format!("{CPU}/isolated"));
    let cpuset = view.read("sys/fs/cgroup/cpuset.cpus.isolated");
    let (boot, cpuset) = match (boot, cpuset) {
        (Err(reason), Err(_)) => return Err(reason),
        (boot, cpuset) => (boot.unwrap_or_default(), cpuset.unwrap_or_default()),
    };
    let mut cores = cpu_list(&boot).unwrap_or_default();
    cores.extend(cpu_list(&cpuset).unwrap_or_default());
    let hot = view.hot_list();
    Ok(match missing(view.hot()?, &cores) {
        None => Verdict::Pass(format!("{hot} isolated")),
        Some(absent) => Verdict::warn(
            format!("{absent} not isolated"),
            format!("kernel argument: isolcpus=managed_irq,domain,{hot}"),
        ),
    })
}

fn nohz_full(view: &View<'_>) -> Result<Verdict, Reason> {
    let list = view.read(&format!("{CPU}/nohz_full"))?;
    let cores = cpu_list(&list).ok_or_else(|| Reason::new(format!("not a core list: `{list}`")))?;
    let hot = view.hot_list();
    Ok(match missing(view.hot()?, &cores) {
        None => Verdict::Pass(format!("{hot} tick-less")),
        Some(absent) => Verdict::warn(format!("{absent} ticks"), format!("kernel argument: nohz_full={hot}")),
    })
}

fn rcu_nocbs(view: &View<'_>) -> Result<Verdict, Reason> {
    let mut cores = Vec::new();
    // A tick-less core has its callbacks offloaded whether or not rcu_nocbs names it.
    for name in ["rcu_nocbs", "nohz_full"] {
        match view.boot_argument(name)?.as_deref() {
            Some("all") => return Ok(Verdict::Pass(format!("{name}=all"))),
            Some(list) => cores.extend(cpu_list(list).unwrap_or_default()),
            None => {}
        }
    }
    let hot = view.hot_list();
    Ok(match missing(view.hot()?, &cores) {
        None => Verdict::Pass(format!("{hot} offloaded")),
        Some(absent) => {
            Verdict::warn(format!("{absent} runs its own callbacks"), format!("kernel argument: rcu_nocbs={hot}"))
        }
    })
}

fn workqueue(view: &View<'_>) -> Result<Verdict, Reason> {
    view.mask_spares_hot("sys/devices/virtual/workqueue/cpumask", |rest| {
        format!("echo {rest} > /sys/devices/virtual/workqueue/cpumask")
    })
}

fn smt(view: &View<'_>) -> Result<Verdict, Reason> {
    let mut busy = Vec::new();
    for (core, list) in view.per_core(&format!("{CPU}/cpuN/topology/thread_siblings_list"))? {
        let siblings = cpu_list(&list).ok_or_else(|| Reason::new(format!("not a core list: `{list}`")))?;
        busy.extend(siblings.into_iter().filter(|&other| other != core).map(|other| (core, other)));
    }
    let Some(&(_, other)) = busy.first() else {
        return Ok(Verdict::Pass(String::from("no sibling online")));
    };
    let pairs: Vec<String> = busy.iter().map(|(core, other)| format!("{core} with {other}")).collect();
    let path = core_path("/sys/devices/system/cpu/cpuN/online", other);
    Ok(Verdict::warn(
        format!("shared: {}", pairs.join(", ")),
        format!("echo 0 > {path}   # or for all: echo off > /sys/devices/system/cpu/smt/control"),
    ))
}

fn shared_l3(view: &View<'_>) -> Result<Verdict, Reason> {
    let groups = view.per_core(&format!("{CPU}/cpuN/cache/index3/shared_cpu_list"))?;
    let Some((_, first)) = groups.first() else {
        return Err(Reason::new("no hot core is known"));
    };
    if groups.len() == 1 {
        return Ok(Verdict::Pass(String::from("one hot core")));
    }
    if groups.iter().any(|(_, list)| list != first) {
        let lists: Vec<String> = groups.iter().map(|(core, list)| format!("{core} in {list}")).collect();
        return Ok(Verdict::warn(
            format!("different L3: {}", lists.join("; ")),
            format!("choose hot cores among {first}"),
        ));
    }
    // What a guest reads here is what the hypervisor chose to show; its virtual cores move between real ones.
    if view.cpu_flag("hypervisor").unwrap_or(false) {
        return Err(Reason::new("a hypervisor may show caches that are not there: time a ring instead"));
    }
    Ok(Verdict::Pass(format!("all in {first}")))
}
