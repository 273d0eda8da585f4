//! Servers that tests start for themselves: a Redis and a Postgres that nobody else knows, gone with the test.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the programs are: PostgreSQL's folder and redis-server; `None` after saying loudly that tests are skipped.
///
/// # Panics
/// In CI, where they must be there.
fn programs() -> Option<&'static (PathBuf, PathBuf)> {
    static FOUND: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let output = Command::new(super::root().join("tools/setup/services.sh")).output().expect("bash");
            let text = String::from_utf8_lossy(&output.stdout);
            let found = text.split_once('\n').map(|(postgres, redis)| (postgres.into(), redis.trim().into()));
            let found = found.filter(|_| output.status.success());
            let reason = String::from_utf8_lossy(&output.stderr);
            assert!(found.is_some() || std::env::var_os("CI").is_none(), "services.sh: {reason}");
            if found.is_none() {
                let _ = writeln!(std::io::stderr(), "{}", reason.trim());
            }
            found
        })
        .as_ref()
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits until something holds.
///
/// # Panics
/// When it does not in time.
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A signal to a process of ours.
pub fn signal(id: u32, signal: i32) {
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(id as i32, signal) };
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped one dies too; one that is gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis of one's own. What it holds is gone with its process.
pub struct Redis {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// One that is not started yet; `None` where there is no such program.
    ///
    /// # Panics
    /// In CI, when there is none.
    pub fn new() -> Option<Self> {
        let (_, program) = programs()?;
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { program: program.clone(), folder, port: free_port(), process: None })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, empty; with more arguments where there are some.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start(&mut self, more: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(more).current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process(command.spawn().expect("redis-server starts")));
        until("redis answers", PATIENCE, || self.ask(&["PING"]).is_some_and(|answer| !answer.is_empty()));
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it answers to a command, as it comes over the wire; `None` when it does not within a second.
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes()).ok()?;
        // All of it is there once the server has closed.
        stream.write_all(b"*1\r\n$4\r\nQUIT\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned())
    }
}

/// A Postgres of one's own, with `fsync` as it comes: on.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

/// Whom it belongs to where tests run as root, whom it refuses to serve: Debian's `postgres`, or nobody.
fn owner() -> Option<(u32, u32)> {
    // SAFETY: a plain call.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let passwords = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = passwords.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

impl Postgres {
    /// A new cluster, not started yet; `None` where there is no such program.
    ///
    /// # Panics
    /// In CI, when there is none; when it cannot be made.
    pub fn new() -> Option<Self> {
        let (programs, _) = programs()?;
        let folder = tempfile::tempdir().expect("a folder");
        if let Some((user, group)) = owner() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("a folder of its own");
        }
        let made = Self { programs: programs.clone(), folder, port: free_port(), process: None };
        let mut command = made.command("initdb");
        command
            .args(["--username=tide", "--auth=trust", "--encoding=UTF8", "--no-locale", "--pgdata"])
            .arg(made.data());
        let output = command.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Some(made)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = owner() {
            command.uid(user).gid(group);
        }
        command
    }

    /// Where it listens: a database of the superuser's own.
    pub fn url(&self) -> String {
        format!("postgres://tide@127.0.0.1:{}/postgres", self.port)
    }

    /// The same over a Unix socket.
    pub fn socket_url(&self) -> String {
        format!("postgres://tide@localhost:{}/postgres?host={}", self.port, self.folder.path().display())
    }

    /// Starts it on what is there, after a crash too.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn start(&mut self) {
        until("postgres answers", PATIENCE, || {
            // It does not start while a process of one that was killed is not gone yet.
            let ended = |process: &mut Process| !matches!(process.0.try_wait(), Ok(None));
            if self.process.as_mut().is_none_or(ended) {
                self.process = Some(self.spawn());
            }
            let mut ready = self.command("pg_isready");
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            ready.status().is_ok_and(|status| status.success())
        });
    }

    fn spawn(&self) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"]);
        command.stdout(Stdio::null()).stderr(log.expect("a file"));
        Process(command.spawn().expect("postgres starts"))
    }

    /// Its first process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// A signal to each of its processes.
    pub fn signal_all(&self, number: i32) {
        let of = self.id().to_string();
        // Each backend has a group of its own; all are children of the first.
        let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            signal(child, number);
        }
        signal(self.id(), number);
    }

    /// Ends all of it at once, as `kill -9` does to each process.
    pub fn kill(&mut self) {
        self.signal_all(libc::SIGKILL);
        self.process = None;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
