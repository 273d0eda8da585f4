//! The checks on made-up hosts: one tuned, one as it comes out of the box, one that shows nothing.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use super::irq::{Delta, deltas};
use super::view::{cpu_mask, mask_without};
use super::*;

const CPUINFO_METAL: &str = "processor\t: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc avx2\n";
const CPUINFO_GUEST: &str = "processor\t: 0\nflags\t\t: fpu tsc hypervisor avx2\n";
const INTERRUPTS: &str = "\
           CPU0       CPU1       CPU2       CPU3
 24:          9          1          0          0  IO-APIC   5-edge      nvme0
LOC:      21840      19598          5          6   Local timer interrupts
ERR:          0
";

fn limits(locked: &str, priority: &str, files: &str) -> String {
    format!(
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            {files:<20} 1048576              files     \n\
         Max locked memory         {locked:<20} unlimited            bytes     \n\
         Max realtime priority     {priority:<20} 99                             \n"
    )
}

/// A four-core host tuned for hot cores 2 and 3.
fn tuned() -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = [
        ("proc/cmdline", "quiet isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3\n"),
        ("proc/cpuinfo", CPUINFO_METAL),
        ("proc/interrupts", INTERRUPTS),
        ("proc/irq/24/effective_affinity_list", "0\n"),
        ("proc/irq/24/smp_affinity_list", "0-3\n"),
        ("proc/irq/24/nvme0/spurious", ""),
        ("proc/irq/default_smp_affinity", "3\n"),
        ("proc/pressure/cpu", "some avg10=0.00 avg60=0.02 avg300=0.10 total=3335692\n"),
        ("proc/self/cgroup", "0::/tidegate.slice\n"),
        (
            "proc/self/status",
            "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3\n",
        ),
        ("proc/stat", "cpu  1 0 1 9 0 0 0 0 0 0\ncpu2 333 0 536 99594 4 0 14 0 0 0\ncpu3 1 0 1 99 0 0 0 0 0 0\n"),
        ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
        ("proc/sys/kernel/numa_balancing", "0\n"),
        ("proc/sys/kernel/sched_rt_runtime_us", "-1\n"),
        ("proc/sys/kernel/watchdog", "0\n"),
        ("proc/sys/net/core/busy_poll", "50\n"),
        ("proc/sys/net/core/busy_read", "50\n"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
        ("dev/cpu_dma_latency", ""),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm \n"),
        ("sys/devices/system/cpu/cpufreq/boost", "0\n"),
        ("sys/devices/system/cpu/isolated", "2-3\n"),
        ("sys/devices/system/cpu/nohz_full", "2-3\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: Retpolines\n"),
        ("sys/devices/system/cpu/vulnerabilities/mds", "Not affected\n"),
        ("sys/devices/virtual/workqueue/cpumask", "3\n"),
        ("sys/fs/cgroup/tidegate.slice/cpu.max", "max 100000\n"),
        ("sys/kernel/mm/ksm/run", "0\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
    files.insert("proc/self/limits".into(), limits("unlimited", "99", "65536"));
    for core in [2, 3] {
        let cpu = format!("sys/devices/system/cpu/cpu{core}");
        for (path, text) in [
            ("topology/thread_siblings_list", core.to_string()),
            ("cache/index3/shared_cpu_list", "0-3".into()),
            ("cpufreq/scaling_governor", "performance".into()),
            ("cpuidle/state0/name", "POLL".into()),
            ("cpuidle/state0/latency", "0".into()),
            ("cpuidle/state0/disable", "0".into()),
            ("cpuidle/state1/name", "C6".into()),
            ("cpuidle/state1/latency", "133".into()),
            ("cpuidle/state1/disable", "1".into()),
        ] {
            files.insert(format!("{cpu}/{path}"), text);
        }
    }
    files
}

/// The same host as its distribution installs it, in a guest.
fn untuned() -> BTreeMap<String, String> {
    let mut files = tuned();
    for (path, text) in [
        ("proc/cmdline", "quiet"),
        ("proc/cpuinfo", CPUINFO_GUEST),
        ("proc/irq/24/effective_affinity_list", "2"),
        ("proc/irq/default_smp_affinity", "f"),
        ("proc/pressure/cpu", "some avg10=12.50 avg60=0.02 avg300=0.10 total=3335692"),
        (
            "proc/self/status",
            "Uid:\t64007\t64007\t64007\t64007\nGid:\t64007\t64007\t64007\t64007\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-2",
        ),
        ("proc/stat", "cpu2 333 0 536 99594 4 0 14 500 0 0\ncpu3 1 0 1 99 0 0 0 0 0 0"),
        ("proc/swaps", "Filename\tType\tSize\n/dev/sda2\tpartition\t4194300\t0\t-2"),
        ("proc/sys/kernel/numa_balancing", "1"),
        ("proc/sys/kernel/sched_rt_runtime_us", "950000"),
        ("proc/sys/kernel/watchdog", "1"),
        ("proc/sys/net/core/busy_poll", "0"),
        ("proc/sys/net/core/busy_read", "0"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
        ("sys/devices/system/cpu/cpufreq/boost", "1"),
        ("sys/devices/system/cpu/isolated", ""),
        ("sys/devices/system/cpu/nohz_full", "(null)"),
        ("sys/devices/system/cpu/online", "2-3"),
        ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2-3"),
        ("sys/devices/system/cpu/cpu3/cache/index3/shared_cpu_list", "3"),
        ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave"),
        ("sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "0"),
        ("sys/devices/virtual/workqueue/cpumask", "f"),
        ("sys/fs/cgroup/tidegate.slice/cpu.max", "50000 100000"),
        ("sys/kernel/mm/ksm/run", "1"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
    ] {
        files.insert(path.into(), text.into());
    }
    files.insert("proc/self/limits".into(), limits("8388608", "0", "1024"));
    files
}

fn plant(files: &BTreeMap<String, String>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

/// Watches long enough for rates, although nothing on a made-up host moves.
fn check(root: &Path) -> Vec<Finding> {
    let mut host = Host::at(root, vec![2, 3]);
    host.watch = Duration::from_millis(20);
    host.check()
}

#[test]
fn a_tuned_host_passes_everything() {
    let root = plant(&tuned());
    for finding in check(root.path()) {
        let expected = if finding.id == "platform.mitigations" { Status::Info } else { Status::Pass };
        assert_eq!(finding.status, expected, "{finding:?}");
        assert!(finding.fix.is_none(), "{finding:?}");
    }
}

#[test]
fn an_untuned_host_warns_about_everything_it_shows() {
    let root = plant(&untuned());
    // What no setting of the host changes.
    let no_fix = ["clock.tsc", "sched.steal", "platform.hypervisor"];
    // Made-up counters do not move, and mitigations are only reported.
    let quiet = ["irq.activity", "platform.mitigations"];
    // A planted device file has the mode the test's umask gives it: its own test sets it.
    let elsewhere = ["power.dma_latency"];
    for finding in check(root.path()) {
        if quiet.contains(&finding.id) || elsewhere.contains(&finding.id) {
            continue;
        }
        assert_eq!(finding.status, Status::Warn, "{finding:?}");
        assert_eq!(finding.fix.is_none(), no_fix.contains(&finding.id), "{finding:?}");
        assert!(!finding.why.is_empty() && !finding.found.is_empty(), "{finding:?}");
    }
}

#[test]
fn an_empty_root_is_unknown_everywhere() {
    let root = tempfile::tempdir().unwrap();
    for hot in [vec![], vec![0], vec![2, 900]] {
        for finding in Host::at(root.path(), hot).check() {
            assert_eq!(finding.status, Status::Unknown, "{finding:?}");
            assert!(!finding.found.is_empty(), "{finding:?}");
        }
    }
    assert!(Host::at(root.path(), vec![]).default_hot_cores().is_empty());
}

#[test]
fn garbage_in_every_file_never_panics_and_passes_no_number_check() {
    for garbage in ["", "\n", "-", "4-2", "0-99999999999", "\u{fffd}=,,;[", "18446744073709551616"] {
        let mut files = tuned();
        files.values_mut().for_each(|text| *text = garbage.to_owned());
        let root = plant(&files);
        let findings = check(root.path());
        let ksm = findings.iter().find(|finding| finding.id == "memory.ksm").unwrap();
        assert_eq!(ksm.status, Status::Unknown, "{garbage:?}");
    }
}

#[test]
fn the_live_host_is_read_without_a_panic() {
    let host = Host { watch: Duration::from_millis(20), ..Host::live(vec![0]) };
    let findings = host.check();
    assert!(findings.len() >= 30);
    let mut ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), findings.len(), "ids are unique");
}

#[test]
fn a_device_of_another_user_is_not_writable() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = plant(&untuned());
    let device = root.path().join("dev/cpu_dma_latency");
    std::fs::set_permissions(&device, std::fs::Permissions::from_mode(0o600)).unwrap();
    // The made-up process is user 64007; the file belongs to whoever runs the test.
    let findings = check(root.path());
    let finding = findings.iter().find(|finding| finding.id == "power.dma_latency").unwrap();
    assert_eq!(finding.status, Status::Warn, "{finding:?}");
}

#[test]
fn merging_that_was_taken_apart_is_off_as_the_advice_leaves_it() {
    for (run, expected) in [("0\n", Status::Pass), ("1\n", Status::Warn), ("2\n", Status::Pass)] {
        let mut files = tuned();
        files.insert("sys/kernel/mm/ksm/run".into(), run.into());
        let root = plant(&files);
        let findings = check(root.path());
        let finding = findings.iter().find(|finding| finding.id == "memory.ksm").unwrap();
        assert_eq!(finding.status, expected, "{finding:?}");
        assert!(finding.fix.iter().all(|fix| fix.starts_with("echo 2 >")), "{finding:?}");
    }
}

#[test]
fn a_missing_file_is_unknown_with_its_path() {
    let mut files = tuned();
    files.remove("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor");
    let root = plant(&files);
    let findings = check(root.path());
    let finding = findings.iter().find(|finding| finding.id == "power.governor").unwrap();
    assert_eq!(finding.status, Status::Unknown);
    assert!(finding.found.contains("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor"));
}

#[test]
fn hot_cores_default_to_the_last_ones() {
    for (online, expected) in [("0", vec![0]), ("0-1", vec![1]), ("0-3", vec![2, 3]), ("0-2,8-15", vec![14, 15])] {
        let files = BTreeMap::from([("sys/devices/system/cpu/online".to_owned(), online.to_owned())]);
        let root = plant(&files);
        assert_eq!(Host::at(root.path(), vec![]).default_hot_cores(), expected);
    }
}

#[test]
fn interrupts_are_counted_on_the_hot_cores_only() {
    let after = INTERRUPTS
        .replace("          9          1          0          0", "        900          1          7          0")
        .replace("          5          6", "        255          6");
    let counted = deltas(INTERRUPTS, &after, &[2, 3]).unwrap();
    let expected = [
        Delta { name: "LOC".into(), device: String::new(), is_device: false, count: 250 },
        Delta { name: "24".into(), device: "nvme0".into(), is_device: true, count: 7 },
    ];
    assert_eq!(counted, expected);
    assert_eq!(deltas(INTERRUPTS, &after, &[4]), None);
    assert_eq!(deltas("", "", &[0]), None);
}

#[test]
fn core_lists_and_masks_read_and_write() {
    assert_eq!(cpu_list("0-2,8"), Some(vec![0, 1, 2, 8]));
    assert_eq!(cpu_list("(null)"), Some(vec![]));
    assert_eq!(cpu_list("x"), None);
    assert_eq!(format_cpu_list(&[8, 1, 0, 2, 2]), "0-2,8");
    assert_eq!(format_cpu_list(&[]), "");
    assert_eq!(cpu_mask("00000001,80000003"), Some(vec![0, 1, 31, 32]));
    assert_eq!(cpu_mask(""), None);
    let online: Vec<usize> = (0..36).collect();
    assert_eq!(mask_without(&online, &[2, 3]), "f,fffffff3");
    assert_eq!(mask_without(&[], &[1]), "0");
}

#[test]
fn findings_serialise_with_lower_case_status() {
    let root = tempfile::tempdir().unwrap();
    let json = serde_json::to_value(Host::at(root.path(), vec![1]).check()).unwrap();
    assert_eq!(json[0]["status"], "unknown");
    assert_eq!(json[0]["id"], "cores.count");
}
