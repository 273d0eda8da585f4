//! The control socket of a running engine: a Unix socket that only its owner can open.
//!
//! One request a connection, a JSON line each way: `{"do": "model-list"}` is answered by `{"ok": true, "models": [...]}`
//! or `{"ok": false, "error": "..."}`. Served by a cold thread; what it changes on the hot side travels as records.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_feed::session::desk::DeskCommands;
use tidegate_feed::session::status::SessionStatus;
use tidegate_guard::Strategy;
use tidegate_sidecar::messages::{Listed, Request};
use tidegate_wire::{Registry, Venue};

use crate::audit::Trail;
use crate::models::{Desk, Inbox};
use crate::orders::Instruction;
use crate::scribe::Healer;

/// Name of the socket in an engine's output directory.
pub const SOCKET: &str = "control.sock";
/// Longest request, bytes.
const REQUEST_MAX: usize = 64 << 10;
/// How long a client may take to send its line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the socket is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a client waits for an answer: loading a large model takes a while.
const ANSWER: Duration = Duration::from_secs(40);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Ask {
    /// What is loaded.
    ModelList,
    /// Load a version and put it in shadow.
    ModelLoad {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
    },
    /// Put the version in shadow in force.
    ModelPromote {
        /// Name of the model.
        name: String,
    },
    /// Put the version before in force.
    ModelRollback {
        /// Name of the model.
        name: String,
    },
    /// What happened to models.
    ModelHistory,
    /// Where live connections, clocks and accounts stand.
    Feeds,
    /// Let connections in the error state try again.
    FeedsClear {
        /// Those of this market; of all without.
        venue: Option<String>,
    },
    /// Trip or reset breakers, or say whether there is news.
    Operate {
        /// What is wanted, such as `trip:engine`.
        instruction: String,
    },
}

/// What the socket speaks for.
#[derive(Debug)]
pub(crate) struct Operator {
    desk: Option<Desk>,
    inbox: Arc<Inbox>,
    registry: Registry,
    strategies: Vec<Strategy>,
    feeds: Option<Feeds>,
    trail: Option<Trail>,
}

/// The live connections, for operators.
#[derive(Clone, Debug)]
pub(crate) struct Feeds {
    pub(crate) commands: DeskCommands,
    pub(crate) status: Arc<Mutex<SessionStatus>>,
}

impl Feeds {
    /// Starts corrupt books anew.
    pub(crate) fn healer(self) -> Healer {
        Box::new(move |instrument| self.commands.realign(instrument))
    }

    fn carry_out(&self, ask: &Ask) -> Result<Reply, String> {
        if let Ask::FeedsClear { venue } = ask {
            let named = |name: &String| Venue::from_name(name).ok_or_else(|| format!("unknown venue {name:?}"));
            self.commands.clear(venue.as_ref().map(named).transpose()?);
            return Ok(Reply { ok: true, ..Reply::default() });
        }
        let status = self.status.lock().map(|status| status.clone()).unwrap_or_default();
        let feeds = serde_json::to_value(status).map_err(|error| error.to_string())?;
        Ok(Reply { ok: true, feeds: Some(feeds), ..Reply::default() })
    }
}

impl Operator {
    pub(crate) fn new(desk: Option<Desk>, inbox: Arc<Inbox>, registry: &Registry, strategies: &[Strategy]) -> Self {
        Self { desk, inbox, registry: registry.clone(), strategies: strategies.to_vec(), feeds: None, trail: None }
    }

    /// Speaks for live connections too.
    pub(crate) fn with_feeds(self, feeds: Option<Feeds>) -> Self {
        Self { feeds, ..self }
    }

    /// Records what is asked for before it is done.
    pub(crate) fn audited_by(self, trail: Option<Trail>) -> Self {
        Self { trail, ..self }
    }

    /// Records a request that changes something; refuses it when that cannot be.
    fn record(&self, ask: &Ask, who: &str) -> Result<(), String> {
        let changes = !matches!(ask, Ask::ModelList | Ask::ModelHistory | Ask::Feeds);
        let Some(trail) = self.trail.as_ref().filter(|_| changes) else { return Ok(()) };
        let what = serde_json::to_value(ask).map_err(|error| error.to_string())?;
        // What stops the trading is done even when nothing can be recorded any more.
        let stops = matches!(ask, Ask::Operate { instruction } if instruction.starts_with("trip"));
        match trail.request(who, &what) {
            Err(error) if !stops => Err(format!("not done, because it cannot be recorded: {error}")),
            _ => Ok(()),
        }
    }

    fn operate(&self, instruction: &str) -> Result<(), String> {
        let instruction: Instruction = instruction.parse()?;
        let command = instruction.resolve(&self.registry, &self.strategies).map_err(|error| error.to_string())?;
        let full = || "the engine has not carried out earlier instructions; is it running?".to_owned();
        self.inbox.put(command).then_some(()).ok_or_else(full)
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is loaded now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Listed>,
    /// What happened, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<serde_json::Value>,
    /// Where live connections, clocks and accounts stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeds: Option<serde_json::Value>,
}

/// A control socket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The file system or the other end said no.
    #[error("{path}: {source}")]
    Io {
        /// Which socket.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another engine listens there.
    #[error("{path}: another engine runs there; give this one an output directory of its own")]
    Taken {
        /// Which directory.
        path: String,
    },
    /// The answer is none.
    #[error("{path}: the engine's answer makes no sense: {reason}")]
    Answer {
        /// Which socket.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An output directory that is this engine's alone, from before it writes anything there until it ends.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    /// Locked while the engine lives, however it ends.
    _lock: File,
}

impl Claim {
    /// Claims an output directory, which must exist.
    ///
    /// # Errors
    /// Another engine has it, or the file system's refusal.
    pub fn of(directory: &Path) -> Result<Self, ControlError> {
        let path = directory.join("engine.lock");
        let io = |source| ControlError::Io { path: path.display().to_string(), source };
        let lock = File::options().write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { socket: directory.join(SOCKET), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ControlError::Taken { path: directory.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// A socket that is being served; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens in a claimed directory. What a crashed engine left there is replaced.
    pub(crate) fn open(claim: &Claim, operator: Operator) -> Result<Self, ControlError> {
        let path = claim.socket.as_path();
        let io = |source| ControlError::Io { path: path.display().to_string(), source };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let listener = bind(path).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let (over, operator) = (Arc::new(AtomicBool::new(false)), Arc::new(operator));
        let ended = over.clone();
        let serve = move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => converse(stream, &operator),
                    Err(_) => std::thread::sleep(POLL),
                }
            }
        };
        let thread = std::thread::Builder::new().name("tide-control".into()).spawn(serve).map_err(io)?;
        Ok(Self { path: path.to_owned(), over, thread: Some(thread) })
    }
}

/// Listens at a path that only the owner can connect to, from the first instant on: the socket is made in a folder that
/// only the owner can enter, and moved.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let private = path.with_extension("new");
    match std::fs::remove_dir_all(&private) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    std::fs::remove_dir(&private)?;
    Ok(listener)
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Most conversations at once; more are hung up on.
const CONVERSATIONS_MAX: usize = 32;

/// Answers one client on a thread of its own: an operator's word must not wait behind a request to a sidecar that
/// hangs. Nobody waits for these threads; each ends by its own deadlines.
fn converse(stream: UnixStream, operator: &Arc<Operator>) {
    let operator = operator.clone();
    if Arc::strong_count(&operator) > CONVERSATIONS_MAX {
        return;
    }
    // A client that misbehaves is its own misfortune, and so is one that gets no thread.
    let talk = move || drop(answer(stream, &operator));
    let _ = std::thread::Builder::new().name("tide-converse".into()).spawn(talk);
}

fn answer(mut stream: UnixStream, operator: &Operator) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = read_line(&mut stream)?;
    let reply = match serde_json::from_slice(&line) {
        Ok(ask) => match operator.record(&ask, &peer(&stream)) {
            Ok(()) => carry_out(ask, operator),
            Err(error) => refusal(error),
        },
        Err(error) => refusal(format!("no request of ours: {error}")),
    };
    let mut line = serde_json::to_string(&reply)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

/// Who is at the other end, as the kernel says.
fn peer(stream: &UnixStream) -> String {
    use std::os::fd::AsRawFd;
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let to = std::ptr::from_mut(&mut found).cast();
    // SAFETY: an open socket; the kernel writes no more than the length that it is given.
    let code =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &raw mut length) };
    if code == 0 { format!("uid {}", found.uid) } else { "unknown".into() }
}

/// A line, within a length and within a time in all.
fn read_line(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let (until, mut line, mut buffer) = (Instant::now() + PATIENCE, Vec::new(), [0; 1_024]);
    while !line.contains(&b'\n') && line.len() < REQUEST_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(line)
}

fn refusal(error: String) -> Reply {
    Reply { error: Some(error), ..Reply::default() }
}

fn carry_out(ask: Ask, operator: &Operator) -> Reply {
    if let Ask::Operate { instruction } = &ask {
        return match operator.operate(instruction) {
            Ok(()) => Reply { ok: true, ..Reply::default() },
            Err(error) => refusal(error),
        };
    }
    if matches!(ask, Ask::Feeds | Ask::FeedsClear { .. }) {
        let none = || "this engine replays captures: it has no connections".to_owned();
        let done = operator.feeds.as_ref().ok_or_else(none).and_then(|feeds| feeds.carry_out(&ask));
        return done.unwrap_or_else(refusal);
    }
    let Some(desk) = &operator.desk else {
        return refusal("this engine runs without models (models.mode is off)".into());
    };
    let request: Box<dyn FnOnce(u64) -> Request> = match ask {
        Ask::Operate { .. } | Ask::Feeds | Ask::FeedsClear { .. } => unreachable!("carried out above"),
        Ask::ModelHistory => return Reply { ok: true, history: desk.history(), ..Reply::default() },
        Ask::ModelList => Box::new(|id| Request::List { id }),
        Ask::ModelLoad { name, version } => Box::new(move |id| Request::Load { id, name, version }),
        Ask::ModelPromote { name } => Box::new(move |id| Request::Promote { id, name }),
        Ask::ModelRollback { name } => Box::new(move |id| Request::Rollback { id, name }),
    };
    match desk.ask(request) {
        Ok(models) => Reply { ok: true, models, ..Reply::default() },
        Err(error) => refusal(error),
    }
}

/// Asks the engine that listens at `path`.
///
/// # Errors
/// Nobody listens there, or the answer makes no sense. A request that was refused is an answer.
pub fn ask(path: &Path, ask: &Ask) -> Result<Reply, ControlError> {
    let io = |source| ControlError::Io { path: path.display().to_string(), source };
    let wrong = |reason: String| ControlError::Answer { path: path.display().to_string(), reason };
    let mut stream = UnixStream::connect(path).map_err(io)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(io)?;
    let mut line = serde_json::to_string(ask).map_err(|error| wrong(error.to_string()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(io)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(io)?;
    serde_json::from_str(&answer).map_err(|error| wrong(error.to_string()))
}
