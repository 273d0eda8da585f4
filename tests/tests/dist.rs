//! The archive is the same twice, and runs where nothing else is; what is shipped beside the engine passes its lints.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_tests::{binary, root, runtime, skipped};

/// Runs a command to its end, which must be a good one.
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    output
}

fn json_of(command: &mut Command) -> Value {
    let output = done(command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Packs the binary of these tests, quickly rather than small.
fn pack(out: &Path) {
    let runtime = binary().parent().and_then(Path::parent).expect("target/<profile>/tidegate").join("onnxruntime");
    let mut command = Command::new("python3");
    command.arg(root().join("tools/dist/dist.py")).arg("--binary").arg(binary()).arg("--onnxruntime").arg(runtime);
    done(command.arg("--out").arg(out).args(["--level", "1"]));
}

/// The one archive of a kind in a folder.
fn archive(folder: &Path, end: &str) -> PathBuf {
    let names = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut found: Vec<_> = names.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Every file below a folder, relative to it.
fn files(folder: &Path, under: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder.join(under)).expect("a folder").flatten() {
        let path = under.join(entry.file_name());
        if entry.path().is_dir() {
            files(folder, &path, found);
        } else {
            found.insert(path.display().to_string());
        }
    }
}

/// Checks `SHA256SUMS` of an unpacked archive: each file is in it, and is what it says.
fn verify(folder: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("checksums");
    let mut listed = BTreeSet::from(["SHA256SUMS".to_owned()]);
    for line in text.lines() {
        let (sum, name) = line.split_once("  ").expect("a sum and a name");
        let content = std::fs::read(folder.join(name)).expect("a listed file");
        assert_eq!(hex::encode(Sha256::digest(&content)), sum, "{name}");
        listed.insert(name.to_owned());
    }
    let mut there = BTreeSet::new();
    files(folder, Path::new(""), &mut there);
    assert_eq!(there, listed, "every file has its checksum");
    there
}

/// A root with nothing in it but an unpacked archive, and how programs are started there.
struct Bare {
    folder: tempfile::TempDir,
    /// Words before a program; none where this host lets nobody change roots.
    enter: Option<Vec<String>>,
}

/// What the binary and ONNX Runtime may ask of a host: the C library's family and GCC's two.
const FAMILY: [&str; 9] = [
    "linux-vdso.so",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libdl.so",
    "librt.so",
    "libpthread.so",
    "libgcc_s.so",
    "libstdc++.so",
];

impl Bare {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        for name in ["opt/tidegate", "proc", "tmp", "dev"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let mut bare = Self { folder, enter: None };
        // As root, and where namespaces are open to everybody.
        for user in [&[][..], &["--user", "--map-root-user"]] {
            let root = format!("--root={}", bare.folder.path().display());
            let words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
            let enter: Vec<String> = words.iter().chain(user).map(|&word| word.to_owned()).chain([root]).collect();
            let mut probe = Command::new(&enter[0]);
            // The kernel and this program may both say no; what it says is of no interest.
            probe.args(&enter[1..enter.len() - 1]).arg("true").stderr(Stdio::null());
            if probe.status().is_ok_and(|status| status.success()) {
                bare.enter = Some(enter);
                return bare;
            }
        }
        skipped("no empty root: this host lets nobody change roots; the archive runs in an empty environment only");
        bare
    }

    fn opt(&self) -> PathBuf {
        self.folder.path().join("opt/tidegate")
    }

    /// Brings the libraries that the host must have, and nothing else.
    fn furnish(&self) {
        let library = archive(&self.opt().join("lib"), "");
        for file in [self.opt().join("bin/tidegate"), library] {
            let listed = done(Command::new("ldd").arg(&file)).stdout;
            for line in String::from_utf8_lossy(&listed).lines() {
                assert!(FAMILY.iter().any(|name| line.contains(name)), "{}: needs {line}", file.display());
                let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
                let to = self.folder.path().join(&path[1..]);
                std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                std::fs::copy(path, to).expect("a library");
            }
        }
    }

    /// The engine in its folder of the bare root, without an environment.
    fn tidegate(&self, args: &[&str]) -> Command {
        let mut command = match &self.enter {
            Some(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg("--wd=/opt/tidegate").arg("/opt/tidegate/bin/tidegate");
                command
            }
            None => Command::new(self.opt().join("bin/tidegate")),
        };
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir(self.opt());
        command
    }
}

/// Refuses memory that is written and then executed, as the service's unit does (`MemoryDenyWriteExecute`).
fn deny_write_execute(command: &mut Command) {
    const PR_SET_MDWE: libc::c_int = 65;
    const REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // SAFETY: a plain system call without pointers, in the child between fork and exec. A kernel before 6.3 does not
    // know it, and then the child runs without.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0);
            Ok(())
        });
    }
}

/// Whether this kernel knows that refusal.
fn knows_write_execute() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(6), Some(3))
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a server");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn the_archive_is_the_same_twice_and_runs_in_an_empty_root() {
    if !runtime() {
        return;
    }
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    pack(first.path());
    pack(second.path());
    for end in [".tar.gz", ".zip", "SHA256SUMS"] {
        let same = std::fs::read(archive(first.path(), end)).ok() == std::fs::read(archive(second.path(), end)).ok();
        assert!(same, "{end} is another one the second time");
    }
    drop(second);
    let beside = std::fs::read_to_string(first.path().join("SHA256SUMS")).expect("checksums");
    for end in [".tar.gz", ".zip"] {
        let content = std::fs::read(archive(first.path(), end)).expect("an archive");
        assert!(beside.contains(&hex::encode(Sha256::digest(&content))), "{end}: {beside}");
    }
    let bare = Bare::new();
    let tar = archive(first.path(), ".tar.gz");
    done(Command::new("tar").arg("-xzf").arg(&tar).arg("-C").arg(bare.opt()).arg("--strip-components=1"));
    let there = verify(&bare.opt());
    let unzipped = tempfile::tempdir().expect("a folder");
    let zip = archive(first.path(), ".zip");
    done(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(zip).arg(unzipped.path()));
    assert_eq!(verify(&archive(unzipped.path(), "-linux")), there, "both archives hold the same");
    drop((first, unzipped));
    bare.furnish();
    configurations(&bare);
    models_and_audit(&bare);
    served(&bare);
    contained(&bare);
}

/// The shipped configurations are good ones.
fn configurations(bare: &Bare) {
    let check = |args: &[&str]| {
        let said = done(bare.tidegate(&[&["config", "check"], args].concat()).stdin(Stdio::null())).stdout;
        assert!(String::from_utf8_lossy(&said).starts_with("ok: "), "{args:?}");
    };
    check(&["--config", "etc/tidegate.toml"]);
    check(&["--config", "etc/demo.toml"]);
    // In the image these are in /etc/tidegate.
    let limits = ["--set", "risk.limits=etc/limits.toml", "--set", "risk.emergency=etc/emergency.toml"];
    let container = ["--config", "etc/tidegate.toml", "--config", "etc/container.toml"];
    check(&[&container[..], &limits].concat());
    let schema = json_of(&mut bare.tidegate(&["config", "schema"]));
    if schema["properties"].get("store").is_some() {
        let passwords = ["--set", "store.password.file=README.md", "--set", "redis.password.file=README.md"];
        check(&[&container[..], &["--config", "etc/stores.toml"], &limits, &passwords].concat());
    }
}

/// A simulated market is replayed under models, twice alike, and the log of it verifies.
fn models_and_audit(bare: &Bare) {
    done(&mut bare.tidegate(&["simulate", "--out", "market", "--seconds", "15"]));
    let captures = std::fs::read_dir(bare.opt().join("market")).expect("captures").flatten();
    let names = captures.filter_map(|entry| entry.file_name().into_string().ok());
    let inputs: Vec<String> = names.filter(|name| name.ends_with(".gz")).map(|name| format!("market/{name}")).collect();
    assert!(inputs.len() >= 4, "{inputs:?}");
    let mut args = vec!["replay", "--format", "json", "--models", "onnx", "--audit", "audit", "--input"];
    args.extend(inputs.iter().map(String::as_str));
    let summary = json_of(&mut bare.tidegate(&args));
    assert_eq!(summary["models_mode"], "lockstep");
    let loaded = summary["models"]["in_force"].as_object().expect("models");
    let shipped = std::fs::read_dir(root().join("onnx")).expect("models").flatten().filter(|e| e.path().is_dir());
    assert_eq!((loaded.len(), &summary["models"]["refusals"]), (shipped.count(), &serde_json::json!({})));
    let adjustments = summary["adjustments"].as_u64().expect("a number");
    assert!(adjustments > 0 && summary["gaps"].is_u64(), "{summary}");
    let verified = json_of(&mut bare.tidegate(&["audit", "verify", "audit", "--format", "json"]));
    assert_eq!(verified["root"], summary["audit"]["root"], "{verified}");
}

/// The demonstration of the guide, under the memory rule of the service's unit: the dashboard is there, health is told.
fn served(bare: &Bare) {
    let set = ["--set", "serve.listen=127.0.0.1:0", "--set", "engine.lock_memory=false"];
    let mut command = bare.tidegate(&[&["run", "--config", "etc/demo.toml", "--for", "12s"][..], &set].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    if knows_write_execute() {
        deny_write_execute(&mut command);
    } else {
        skipped("a kernel before 6.3: the models did not run under MemoryDenyWriteExecute");
    }
    let mut engine = command.spawn().expect("an engine");
    let mut lines = BufReader::new(engine.stderr.take().expect("a pipe")).lines();
    let mut said = Vec::new();
    let url = lines.by_ref().map_while(Result::ok).inspect(|line| said.push(line.clone())).find_map(|line| {
        Some(line.strip_prefix("dashboard: http://")?.split_whitespace().next()?.trim_end_matches('/').to_owned())
    });
    let address = url.unwrap_or_else(|| panic!("no dashboard: {}", said.join("\n")));
    // The rest is drained, so that nobody waits for us.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let health = get(&address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"ok\":true"), "{health}");
    assert!(get(&address, "/").contains("<title>"), "the dashboard's page");
    let asked = done(&mut bare.tidegate(&["health", "--url", &format!("http://{address}")])).stdout;
    assert!(String::from_utf8_lossy(&asked).starts_with("ok: "), "its own client says so too");
    let status = engine.wait().expect("an end");
    let rest = rest.join().expect("lines");
    assert!(status.success(), "{status}: {rest}");
    assert!(rest.contains("model: in force"), "the models' process found ONNX Runtime: {rest}");
    let nobody = bare.tidegate(&["health", "--url", &format!("http://{address}")]).output().expect("an answer");
    assert_eq!(nobody.status.code(), Some(1), "an engine that is gone is not healthy");
}

/// The configuration of the container: every address, TLS with the certificate that is made for it, which its health
/// check trusts.
fn contained(bare: &Bare) {
    if Command::new("openssl").arg("version").output().is_err() {
        return skipped("no openssl: the container's configuration was not run");
    }
    let script = bare.opt().join("make-secrets.sh");
    std::fs::copy(root().join("tools/dist/make-secrets.sh"), &script).expect("a copy");
    done(Command::new("bash").arg(&script));
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port").port();
    let listen = format!("serve.listen=0.0.0.0:{port}");
    let mut args = vec!["--config", "etc/demo.toml", "--config", "etc/container.toml", "--set", &listen];
    // In the image these have folders of their own.
    for set in [
        "output.directory=boxed",
        "serve.certificate=secrets/serve_certificate",
        "serve.key=secrets/serve_key",
        "serve.view_token=boxed/view.token",
        "models.directory=onnx",
        "risk.limits=etc/limits.toml",
        "risk.emergency=etc/emergency.toml",
    ] {
        args.extend(["--set", set]);
    }
    let mut command = bare.tidegate(&[&["run", "--for", "8s"], &args[..]].concat());
    let mut engine = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("an engine");
    let mut lines = BufReader::new(engine.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let over_tls =
        lines.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.starts_with("dashboard: https://"));
    assert!(over_tls, "{}", said.join("\n"));
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
    let health = |more: &[&str]| bare.tidegate(&[&["health"], more].concat()).output().expect("an answer");
    let said = health(&args);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let other = format!("https://127.0.0.2:{port}");
    let stranger = health(&["--url", &other, "--authorities", "secrets/serve_certificate"]);
    assert_eq!(stranger.status.code(), Some(1), "a name that the certificate has not");
    let token = std::fs::metadata(bare.opt().join("boxed/view.token")).expect("the token for seeing");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&token.permissions()) & 0o777, 0o600);
    let status = engine.wait().expect("an end");
    assert!(status.success(), "{status}: {}", rest.join().expect("lines"));
}

#[test]
fn what_is_shipped_passes_its_lints() {
    let output = Command::new("bash").arg(root().join("tools/dist/lint.sh")).arg(binary()).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(77) => said.lines().filter_map(|line| line.strip_prefix("SKIPPED: ")).for_each(skipped),
        code => assert_eq!(code, Some(0), "{}\n{said}", String::from_utf8_lossy(&output.stdout)),
    }
}

/// A host as its distribution installs it, as far as the script and `tidegate doctor` look at it.
fn untuned() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("proc/irq/24/effective_affinity_list", "2\n"),
        ("proc/irq/24/smp_affinity_list", "0-3\n"),
        ("proc/irq/25/effective_affinity_list", "0\n"),
        ("proc/irq/25/smp_affinity_list", "0-3\n"),
        ("proc/irq/default_smp_affinity", "f\n"),
        ("proc/swaps", "Filename\tType\tSize\n/dev/sda2\tpartition\t4194300\n"),
        ("proc/sys/kernel/numa_balancing", "1\n"),
        ("proc/sys/kernel/sched_rt_runtime_us", "950000\n"),
        ("proc/sys/kernel/watchdog", "1\n"),
        ("proc/sys/net/core/busy_poll", "0\n"),
        ("proc/sys/net/core/busy_read", "100\n"),
        ("proc/sys/net/core/rmem_max", "212992\n"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet \n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
        ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/cpu2/cpuidle/state0/disable", "0\n"),
        ("sys/devices/system/cpu/cpu2/cpuidle/state0/latency", "133\n"),
        ("sys/devices/system/cpu/cpu2/power/pm_qos_resume_latency_us", "0\n"),
        ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"),
        ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
        ("sys/devices/system/cpu/cpu3/cpuidle/state0/disable", "0\n"),
        ("sys/devices/system/cpu/cpu3/cpuidle/state0/latency", "133\n"),
        ("sys/devices/system/cpu/cpu3/power/pm_qos_resume_latency_us", "0\n"),
        ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
        ("sys/devices/system/cpu/cpufreq/boost", "1\n"),
        ("sys/devices/system/cpu/isolated", "\n"),
        ("sys/devices/system/cpu/nohz_full", "(null)\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/virtual/workqueue/cpumask", "f\n"),
        ("sys/kernel/mm/ksm/run", "1\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
    ])
}

/// What a file says, without what the kernel puts around it.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(['[', ']']).nth(1).map_or(text.clone(), str::to_owned)
}

fn held(host: &Path) -> BTreeMap<String, String> {
    let mut names = BTreeSet::new();
    files(host, Path::new(""), &mut names);
    let read = |name: String| (std::fs::read_to_string(host.join(&name)).expect("text"), name);
    names.into_iter().map(read).map(|(text, name)| (name, plain(&text))).collect()
}

/// Lines of the script's output that begin with a word, as path and value.
fn told(text: &str, word: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(word)?.trim().strip_prefix("echo '"));
    let pair = |line: &str| line.split_once("' > /").map(|(value, path)| (path.to_owned(), value.to_owned()));
    lines.filter_map(pair).collect()
}

#[test]
fn tuning_prints_before_it_changes_and_can_be_undone() {
    let host = tempfile::tempdir().expect("a folder");
    for (name, text) in untuned() {
        let path = host.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let script = root().join("tools/dist/sbin/tidegate-tune-host");
    let tune = |args: &[&str]| {
        let output = done(Command::new("bash").arg(&script).args(args).env("TUNE_ROOT", host.path()));
        String::from_utf8(output.stdout).expect("text")
    };
    let doctor = || tidegate_runtime::host::Host::at(host.path(), vec![2, 3]).check();
    let before = held(host.path());
    let warned: BTreeMap<_, _> = doctor().into_iter().map(|finding| (finding.id, finding)).collect();

    let printed = tune(&["--cores", "2-3", "--no-boost"]);
    assert_eq!(held(host.path()), before, "printing changes nothing");
    let (to, back) = (told(&printed, "do"), told(&printed, "undo"));
    assert!(to.len() >= 17 && to.keys().eq(back.keys()), "{printed}");
    assert!(
        printed.contains("isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 irqaffinity=0-1"),
        "{printed}"
    );
    for (path, value) in &back {
        assert_eq!(before[path], *value, "{path}");
    }
    // What both of them look at, they say alike.
    for line in printed.lines().filter(|line| line.starts_with("! ")) {
        let id = line.split_whitespace().nth(1).expect("a name");
        if let Some(finding) = warned.get(id) {
            assert!(printed.contains(finding.why), "{id}: {}", finding.why);
        }
    }

    tune(&["--cores", "2,3", "--no-boost", "--apply"]);
    let mut after = held(host.path());
    after.remove("run/tidegate-tune-host.undo").expect("a way back");
    let expected: BTreeMap<_, _> = before.clone().into_iter().chain(to).collect();
    assert_eq!(after, expected, "what was printed, and nothing else");
    assert_eq!(after["proc/sys/net/core/busy_read"], "100", "more than enough is left alone");
    // The kernel would route the interrupt by what was written.
    std::fs::write(host.path().join("proc/irq/24/effective_affinity_list"), "0\n").expect("written");
    let ids = ["irq.affinity", "irq.default", "cores.workqueue", "power.governor", "power.cstates", "power.boost"];
    let more = ["memory.thp", "memory.numa", "memory.ksm", "sched.rt_runtime", "sched.watchdog", "net.busy_poll"];
    let now: BTreeMap<_, _> = doctor().into_iter().map(|finding| (finding.id, finding.status)).collect();
    for id in ids.into_iter().chain(more).chain(["net.slow_start", "clock.source"]) {
        assert_eq!(warned[id].status.word(), "warn", "{id} before");
        assert_eq!(now[id].word(), "pass", "{id} after: {:?}", warned[id]);
    }
    let again = tune(&["--cores", "2-3", "--no-boost", "--apply"]);
    assert!(again.contains(" 0 to change, 0 changed"), "{again}");

    tune(&["--undo"]);
    std::fs::write(host.path().join("proc/irq/24/effective_affinity_list"), "2\n").expect("written");
    assert_eq!(held(host.path()), before, "all as it was");
}

#[test]
fn a_report_says_what_the_log_says_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        folder.path().join(name)
    };
    let log = put(
        "log",
        "\n== tests\nrunning 3 tests\n.F.\nfailures:\n\n---- mine::b stdout ----\nit broke\n\nfailures:\n    mine::b\n\n\
         test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s\n\
         running 1 test\n.\n\
         test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
         -- tests: FAILED (12 s)\n\n== models package\n41 passed in 3.10s\n-- models package: ok (5 s)\n\
         \n== miri\nSKIPPED: miri is not installed\n-- miri: SKIPPED (0 s)\n\n== FAILED: tests\nagain\n",
    );
    let running = "     Running unittests src/lib.rs (target/debug/deps/tidegate_guard-0123456789abcdef)\n";
    let second = "     Running tests/risk.rs (target/debug/deps/risk-0123456789abcdef)\n";
    // One that passed and is named by a control, one that failed, one that was ignored and is named too.
    let (passed, left) = ("figures_are_rounded_up", "what_is_not_named_is_refused");
    let list = format!("{running}mine::{passed}: test\nmine::b: test\nmine::{left}: test\n\n{second}c: test\n");
    let list = put("list", &list);
    let ignored = put("ignored", &format!("{running}mine::{left}: test\n\n{second}0 tests, 0 benchmarks\n"));
    let report = |list: &Path| {
        let mut command = Command::new("python3");
        command.arg(root().join("tools/dist/report.py")).arg("--out").arg(folder.path()).arg("--log").arg(&log);
        done(command.arg("--list").arg(list).arg("--ignored").arg(&ignored));
        std::fs::read_to_string(folder.path().join("VERIFICATION.md")).expect("a report")
    };
    let text = report(&list);
    for said in [
        "1 steps passed, 1 failed, 1 were skipped.",
        "| tests | FAILED | 12 |",
        "2 passed, 1 failed, 1 ignored in 2 programs.",
        "| tidegate-guard src/lib.rs | 1 | 1 | 1 |",
        "* 41 passed in 3.10s",
        "* miri: SKIPPED: miri is not installed",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let row = |name: &str| text.lines().find(|line| line.contains(&format!("`{name}`"))).expect("a control").to_owned();
    assert!(row(passed).contains("windows_are_exact") && !row(passed).contains(&format!("passed: {passed}")));
    assert!(row(left).contains(&format!("not passed: {left}")), "an ignored test shows nothing");
    let other = put("other", &format!("{running}mine::{passed}: test\n"));
    let text = report(&other);
    assert!(text.contains("no test is named here") && text.contains("not known: counts"), "{text}");
    let summary = std::fs::read_to_string(folder.path().join("SUMMARY.md")).expect("a summary");
    assert!(summary.contains("| `engine/wire` |") && summary.contains("breaker-tuner"), "{summary}");
}
