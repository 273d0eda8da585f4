//! Which interrupts reach the hot cores: where they are routed, and how many came while we watched.

use super::Check;
use super::view::{Reason, Verdict, View, cpu_list};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "irq.affinity",
        title: "device interrupts elsewhere",
        why: "each interrupt takes the core from the loop for 1 to 20 us and evicts its cache lines",
        source: "/proc/irq/*/effective_affinity_list",
        run: affinity,
    },
    Check {
        id: "irq.default",
        title: "new interrupts go elsewhere",
        why: "a device that appears later gets the default mask, and with it the hot cores",
        source: "/proc/irq/default_smp_affinity",
        run: default_mask,
    },
    Check {
        id: "irq.activity",
        title: "interrupts while watched",
        why: "counted, not configured: what actually took the core from a loop just now",
        source: "/proc/interrupts, twice",
        run: activity,
    },
];

/// Local timer interrupts a second from which the tick is on: the slowest configuration has 100, an idle or
/// tick-less core a few.
const TICKS_PER_SECOND_MAX: f64 = 20.0;

/// How many interrupts a finding names before it says how many more there are.
const NAMED_MAX: usize = 4;

fn affinity(view: &View<'_>) -> Result<Verdict, Reason> {
    let hot = view.hot()?;
    let (mut seen, mut routed, mut first) = (0_usize, Vec::new(), None);
    for number in view.list("proc/irq")? {
        let Some(cores) = routed_to(view, &number) else {
            continue;
        };
        seen += 1;
        if hot.iter().any(|core| cores.contains(core)) {
            first.get_or_insert_with(|| number.clone());
            routed.push(format!("{number} {}", device(view, &number)));
        }
    }
    if seen == 0 {
        return Err(Reason::new("/proc/irq lists no interrupt whose routing can be read"));
    }
    let Some(first) = first else {
        return Ok(Verdict::Pass(format!("0 of {seen} on a hot core")));
    };
    let rest = other_cores(view);
    Ok(Verdict::warn(
        format!("{} of {seen}: {}", routed.len(), abridged(&routed)),
        format!("echo {rest} > /proc/irq/{first}/smp_affinity_list   # each; keep irqbalance off these cores"),
    ))
}

/// The cores an interrupt is delivered to: the effective list where the kernel has one, else the allowed list.
fn routed_to(view: &View<'_>, number: &str) -> Option<Vec<usize>> {
    number.parse::<u32>().ok()?;
    let effective = view.read(&format!("proc/irq/{number}/effective_affinity_list"));
    let list = match effective {
        Ok(list) if !list.is_empty() => list,
        _ => view.read(&format!("proc/irq/{number}/smp_affinity_list")).ok()?,
    };
    cpu_list(&list)
}

/// The handler's name: the one directory below the interrupt's own.
fn device(view: &View<'_>, number: &str) -> String {
    let path = format!("proc/irq/{number}");
    let names = view.list(&path).unwrap_or_default();
    names
        .into_iter()
        .find(|name| view.root.join(&path).join(name).is_dir())
        .unwrap_or_else(|| String::from("(unnamed)"))
}

fn other_cores(view: &View<'_>) -> String {
    let online = View::online(view.root).unwrap_or_default();
    let rest: Vec<usize> = online.into_iter().filter(|core| !view.hot.contains(core)).collect();
    if rest.is_empty() { String::from("0") } else { super::format_cpu_list(&rest) }
}

fn abridged(names: &[String]) -> String {
    let shown = names.len().min(NAMED_MAX);
    let more = match names.len() - shown {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names[..shown].join(", "))
}

fn default_mask(view: &View<'_>) -> Result<Verdict, Reason> {
    view.mask_spares_hot("proc/irq/default_smp_affinity", |rest| {
        format!("echo {rest} > /proc/irq/default_smp_affinity   # at boot: irqaffinity={}", other_cores(view))
    })
}

fn activity(view: &View<'_>) -> Result<Verdict, Reason> {
    let (before, after) = match (&view.before.interrupts, &view.after.interrupts) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(reason), _) | (_, Err(reason)) => return Err(reason.clone()),
    };
    let seconds = view.seconds().ok_or_else(|| Reason::new("counters were read only once"))?;
    let counted = deltas(before, after, view.hot()?)
        .ok_or_else(|| Reason::new("/proc/interrupts has no column for a hot core"))?;
    let busy: Vec<&Delta> = counted.iter().filter(|delta| delta.count > 0).collect();
    let text: Vec<String> =
        busy.iter().map(|delta| format!("{} {:.0}/s", delta.label(), delta.count as f64 / seconds)).collect();
    let device = busy.iter().find(|delta| delta.is_device);
    let ticks = busy.iter().any(|delta| delta.name == "LOC" && delta.count as f64 / seconds > TICKS_PER_SECOND_MAX);
    let found = if text.is_empty() { String::from("none") } else { abridged(&text) };
    Ok(match (device, ticks) {
        (None, false) => Verdict::Pass(found),
        (Some(device), _) => {
            let rest = other_cores(view);
            Verdict::warn(found, format!("echo {rest} > /proc/irq/{}/smp_affinity_list   # each", device.name))
        }
        (None, true) => Verdict::warn(found, format!("kernel argument: nohz_full={}", view.hot_list())),
    })
}

/// How often one interrupt came on the hot cores.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delta {
    /// Its number, or the kernel's short name such as `LOC`.
    pub(super) name: String,
    /// Who handles it; empty for the kernel's own.
    pub(super) device: String,
    pub(super) is_device: bool,
    pub(super) count: u64,
}

impl Delta {
    fn label(&self) -> String {
        if self.is_device { format!("{} {}", self.name, self.device) } else { self.name.clone() }
    }
}

/// Differences of two readings of `/proc/interrupts`, summed over `cores`; most frequent first. `None` when a core
/// has no column.
pub(super) fn deltas(before: &str, after: &str, cores: &[usize]) -> Option<Vec<Delta>> {
    let header: Vec<&str> = after.lines().next()?.split_ascii_whitespace().collect();
    let columns: Vec<usize> =
        cores.iter().map(|core| header.iter().position(|name| *name == format!("CPU{core}"))).collect::<Option<_>>()?;
    let mut counted = Vec::new();
    for line in after.lines().skip(1) {
        let Some((name, now)) = counts(line, &columns) else {
            continue;
        };
        let then = before.lines().skip(1).filter_map(|line| counts(line, &columns)).find(|row| row.0 == name);
        let count = now.saturating_sub(then.map_or(0, |row| row.1));
        let is_device = name.bytes().all(|byte| byte.is_ascii_digit());
        // The handler's name ends the row; a few rows end with their last count, which names nothing.
        let device = line.split_ascii_whitespace().next_back().filter(|_| is_device).unwrap_or_default().to_owned();
        counted.push(Delta { name: name.to_owned(), device, is_device, count });
    }
    counted.sort_by_key(|delta| std::cmp::Reverse(delta.count));
    Some(counted)
}

/// A row's name and its sum over `columns`; rows without a count a core (`ERR`, `MIS`) are `None`.
fn counts<'a>(line: &'a str, columns: &[usize]) -> Option<(&'a str, u64)> {
    let (name, rest) = line.split_once(':')?;
    let values: Vec<&str> = rest.split_ascii_whitespace().collect();
    let sum = columns.iter().map(|&column| values.get(column)?.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((name.trim(), sum))
}
