//! What lies under the kernel, and what the kernel does against it.

use super::Check;
use super::view::{Reason, Verdict, View};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "platform.hypervisor",
        title: "bare metal",
        why: "a hypervisor takes cores away for 10 us to milliseconds, and no guest setting prevents it",
        source: "/proc/cpuinfo flags, /sys/hypervisor/type",
        run: hypervisor,
    },
    Check {
        id: "platform.mitigations",
        title: "processor mitigations",
        why: "each system call and interrupt costs 0.1 to 1 us more with them; keep them unless the host runs only \
              code you trust",
        source: "/sys/devices/system/cpu/vulnerabilities/*, /proc/cmdline mitigations",
        run: mitigations,
    },
];

fn hypervisor(view: &View<'_>) -> Result<Verdict, Reason> {
    let named = view.read("sys/hypervisor/type").ok();
    let flagged = view.cpu_flag("hypervisor");
    match (named, flagged) {
        (Some(name), _) => Ok(Verdict::warn_no_fix(format!("virtual machine ({name})"))),
        (None, Ok(true)) => Ok(Verdict::warn_no_fix("virtual machine")),
        (None, Ok(false)) => Ok(Verdict::Pass(String::from("no hypervisor seen"))),
        (None, Err(reason)) => Err(reason),
    }
}

fn mitigations(view: &View<'_>) -> Result<Verdict, Reason> {
    const DIRECTORY: &str = "sys/devices/system/cpu/vulnerabilities";
    let names = view.list(DIRECTORY)?;
    let (mut active, mut open) = (Vec::new(), Vec::new());
    for name in &names {
        let text = view.read(&format!("{DIRECTORY}/{name}")).unwrap_or_default();
        if text.starts_with("Mitigation") {
            active.push(name.as_str());
        } else if text.starts_with("Vulnerable") {
            open.push(name.as_str());
        }
    }
    let boot = view.boot_argument("mitigations").ok().flatten().unwrap_or_else(|| String::from("default"));
    let list = |names: &[&str]| match names {
        [] => String::from("none"),
        names => names.join(", "),
    };
    Ok(Verdict::Info(format!("mitigations={boot}; active: {}; open: {}", list(&active), list(&open))))
}
