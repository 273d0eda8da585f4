//! The control socket of a running engine: a Unix socket that only its owner can open.
//!
//! One request a connection, a JSON line each way: `{"do": "model-list"}` is answered by `{"ok": true, "models": [...]}`
//! or `{"ok": false, "error": "..."}`. Served by a cold thread; what it changes on the hot side travels as records.

mod claim;
mod feeds;
mod line;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_guard::Strategy;
use tidegate_sidecar::messages::{Listed, Request};
use tidegate_wire::Registry;

pub use claim::Claim;
pub(crate) use feeds::Feeds;
use line::{peer, read_line};

use crate::audit::Trail;
use crate::models::{Desk, Inbox};
use crate::orders::Instruction;
use crate::risk::{RiskAsk, RiskDesk};
use crate::stream::StreamDesk;
use crate::vmsp;

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
        /// Only where this is the version in shadow; whichever it is without.
        #[serde(default)]
        version: Option<u32>,
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
    /// A question or a word to the risk desk.
    Risk {
        /// Which.
        ask: RiskAsk,
    },
    /// Where the store and Redis stand.
    Stream,
    /// Clear the keys in Redis and realign.
    StreamReset,
    /// Something of the balance ledger.
    Vmsp {
        /// What.
        request: vmsp::Request,
    },
}

impl Ask {
    /// Whether it changes something.
    const fn changes(&self) -> bool {
        match self {
            Self::ModelList | Self::ModelHistory | Self::Feeds | Self::Stream => false,
            Self::Vmsp { request } => request.changes(),
            Self::Risk { ask } => ask.changes() && !ask.has_own_record(),
            _ => true,
        }
    }

    /// Conversations among which it may still be one: what makes risk smaller has places of its own, and what stops the
    /// trading has more.
    fn places(&self) -> usize {
        match self {
            Self::Risk { ask: RiskAsk::Kill { .. } } | Self::Operate { .. } if self.stops() => CONVERSATIONS[2],
            ask if ask.stops() => CONVERSATIONS[1],
            _ => CONVERSATIONS[0],
        }
    }

    /// Whether it can only make risk smaller: it is done even when nothing can be recorded any more.
    pub(crate) fn stops(&self) -> bool {
        match self {
            Self::Operate { instruction } => instruction.starts_with("trip"),
            Self::Risk { ask } => ask.stops(),
            Self::Vmsp { request } => matches!(request, vmsp::Request::Stop),
            _ => false,
        }
    }
}

/// What the socket speaks for.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    desk: Option<Desk>,
    /// None where there is no engine.
    inbox: Option<Arc<Inbox>>,
    registry: Registry,
    strategies: Vec<Strategy>,
    feeds: Option<Feeds>,
    risk: Option<RiskDesk>,
    trail: Option<Trail>,
    ledger: Option<vmsp::Client>,
    stream: Option<StreamDesk>,
}

impl Operator {
    pub(crate) fn new(desk: Option<Desk>, inbox: Arc<Inbox>, registry: &Registry, strategies: &[Strategy]) -> Self {
        let (registry, strategies) = (registry.clone(), strategies.to_vec());
        let inbox = Some(inbox);
        Self { desk, inbox, registry, strategies, feeds: None, risk: None, trail: None, ledger: None, stream: None }
    }

    /// Speaks for a risk desk too.
    pub(crate) fn with_risk(self, risk: Option<RiskDesk>) -> Self {
        Self { risk, ..self }
    }

    /// Speaks for a balance ledger without an engine.
    pub(crate) fn of_ledger(ledger: vmsp::Client) -> Self {
        let (registry, strategies) = (Registry::new(), Vec::new());
        Self {
            desk: None,
            inbox: None,
            registry,
            strategies,
            feeds: None,
            risk: None,
            trail: None,
            ledger: Some(ledger),
            stream: None,
        }
    }

    /// Speaks for the store and Redis too.
    pub(crate) fn with_stream(self, stream: StreamDesk) -> Self {
        Self { stream: Some(stream), ..self }
    }

    /// Speaks for a balance ledger too.
    pub(crate) fn with_ledger(self, ledger: Option<vmsp::Client>) -> Self {
        Self { ledger, ..self }
    }

    /// Speaks for live connections too.
    pub(crate) fn with_feeds(self, feeds: Option<Feeds>) -> Self {
        Self { feeds, ..self }
    }

    /// Records what is asked for before it is done.
    pub(crate) fn audited_by(self, trail: Option<Trail>) -> Self {
        Self { trail, ..self }
    }

    /// Carries a request out, on record where it changes something.
    pub(crate) fn answer(&self, ask: Ask, who: &str) -> Reply {
        match self.record(&ask, who) {
            Ok(()) => carry_out(ask, self, who),
            Err(error) => refusal(error),
        }
    }

    /// What of feeds and models is not as it should be.
    pub(crate) fn unready(&self) -> Vec<String> {
        let feeds = self.feeds.iter().flat_map(|feeds| {
            let status = feeds.status.lock().map(|status| status.clone()).unwrap_or_default();
            status
                .links
                .into_iter()
                .filter(|link| !link.state.is_up())
                .map(|link| format!("{} {}: connection {}", link.venue, link.name, serde_json::json!(link.state)))
        });
        let models = self.desk.iter().flat_map(|desk| {
            let report = desk.report();
            let none = report.in_force.is_empty().then(|| "no model is in force".to_owned());
            report.unavailable.map(|reason| format!("models: {reason}")).or(none)
        });
        feeds.chain(models).collect()
    }

    /// Records a request that changes something; refuses it when that cannot be.
    fn record(&self, ask: &Ask, who: &str) -> Result<(), String> {
        record(self.trail.as_ref(), ask, who)
    }

    fn operate(&self, instruction: &str) -> Result<(), String> {
        let inbox = self.inbox.as_ref().ok_or("there is no engine here, only a balance ledger")?;
        let instruction: Instruction = instruction.parse()?;
        if let (Some(scope), Some(risk)) = (instruction.resets(), &self.risk)
            && risk.is_thrown(&scope)?
        {
            return Err(format!("the kill switch of {scope} is thrown: `tidegate risk reset {scope}` is what ends it"));
        }
        let command = instruction.resolve(&self.registry, &self.strategies).map_err(|error| error.to_string())?;
        let full = || "the engine has not carried out earlier instructions; is it running?".to_owned();
        inbox.put(command).then_some(()).ok_or_else(full)
    }
}

/// Records a request that changes something; refuses it when that cannot be.
pub(crate) fn record(trail: Option<&Trail>, ask: &Ask, who: &str) -> Result<(), String> {
    let Some(trail) = trail.filter(|_| ask.changes()) else { return Ok(()) };
    let what = serde_json::to_value(ask).map_err(|error| error.to_string())?;
    let stops = ask.stops();
    // What stops the trading does not wait for a disk that hangs.
    if stops && trail.is_pressed() {
        return Ok(());
    }
    match trail.request(who, &what) {
        Err(error) if !stops => Err(format!("not done, because it cannot be recorded: {error}")),
        _ => Ok(()),
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
    /// What the risk desk says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<serde_json::Value>,
    /// What the balance ledger did, or where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmsp: Option<serde_json::Value>,
    /// Where the store and Redis stand, or what was done about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<serde_json::Value>,
    /// Name of the limit or rule that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Reply {
    /// What a balance ledger answered.
    pub(crate) fn of_ledger(answer: Result<serde_json::Value, vmsp::Declined>) -> Self {
        match answer {
            Ok(done) => Self { ok: true, vmsp: Some(done), ..Self::default() },
            Err(declined) => Self { rule: Some(declined.rule), ..refusal(declined.reason) },
        }
    }
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

/// Most conversations at once: of any kind, of those that make risk smaller (cancels, reports, heartbeats), and of
/// those that stop the trading, which a flood of the others must not keep out. More are told to try again, or dropped.
const CONVERSATIONS: [usize; 3] = [32, 96, 128];
/// How long a client may take to send its line while there are more than of any kind.
const HURRY: Duration = Duration::from_millis(200);

/// Answers one client on a thread of its own: an operator's word must not wait behind a request to a sidecar that
/// hangs. Nobody waits for these threads; each ends by its own deadlines.
fn converse(stream: UnixStream, operator: &Arc<Operator>) {
    let operator = operator.clone();
    // One is the listener's.
    let count = Arc::strong_count(&operator) - 1;
    if count > CONVERSATIONS[2] {
        return;
    }
    // A client that misbehaves is its own misfortune, and so is one that gets no thread.
    let talk = move || drop(answer(stream, &operator, count));
    let _ = std::thread::Builder::new().name("tide-converse".into()).spawn(talk);
}

/// Answers one of `count` conversations.
fn answer(mut stream: UnixStream, operator: &Operator, count: usize) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = read_line(&mut stream, if count > CONVERSATIONS[0] { HURRY } else { PATIENCE })?;
    let reply = match serde_json::from_slice::<Ask>(&line) {
        Ok(ask) if count > ask.places() => refusal("too many conversations at once; try again".into()),
        Ok(ask) => {
            let who = peer(&stream);
            operator.answer(ask, &who)
        }
        Err(error) => refusal(format!("no request of ours: {error}")),
    };
    let mut line = serde_json::to_string(&reply)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

fn refusal(error: String) -> Reply {
    Reply { error: Some(error), ..Reply::default() }
}

fn carry_out(ask: Ask, operator: &Operator, who: &str) -> Reply {
    if let Ask::Operate { instruction } = &ask {
        return match operator.operate(instruction) {
            Ok(()) => Reply { ok: true, ..Reply::default() },
            Err(error) => refusal(error),
        };
    }
    if let Ask::Vmsp { request } = ask {
        let none = || vmsp::Declined::new("no-ledger", "this engine hosts no balance ledger (vmsp.enabled is false)");
        return Reply::of_ledger(operator.ledger.as_ref().ok_or_else(none).and_then(|ledger| ledger.ask(request)));
    }
    if matches!(ask, Ask::Feeds | Ask::FeedsClear { .. }) {
        let none = || "this engine replays captures: it has no connections".to_owned();
        let done = operator.feeds.as_ref().ok_or_else(none).and_then(|feeds| feeds.carry_out(&ask));
        return done.unwrap_or_else(refusal);
    }
    if matches!(ask, Ask::Stream | Ask::StreamReset) {
        let none = || "there is no engine here, only a balance ledger".to_owned();
        let reset = matches!(ask, Ask::StreamReset);
        let done = operator.stream.as_ref().ok_or_else(none);
        let done = done.and_then(|desk| if reset { desk.reset() } else { Ok(desk.status()) });
        return done.map_or_else(refusal, |done| Reply { ok: true, stream: Some(done), ..Reply::default() });
    }
    if let Ask::Risk { ask } = ask {
        // The breaker does not wait for the desk, which may wait for a disk. A scope without one is the desk's alone.
        let mut tripped = false;
        if let RiskAsk::Kill { scope, .. } = &ask {
            tripped = operator.operate(&format!("trip:{scope}")).is_ok();
        }
        let none = || "this engine has no risk desk: it is a replay".to_owned();
        return match operator.risk.as_ref().ok_or_else(none).and_then(|desk| desk.ask(ask, who)) {
            Ok(answer) => Reply { ok: true, risk: Some(answer), ..Reply::default() },
            Err(error) if tripped => refusal(format!("{error}; the breaker was tripped all the same")),
            Err(error) => refusal(error),
        };
    }
    let Some(desk) = &operator.desk else {
        return refusal("this engine runs without models (models.mode is off)".into());
    };
    let request: Box<dyn FnOnce(u64) -> Request> = match ask {
        Ask::Operate { .. } | Ask::Vmsp { .. } | Ask::Risk { .. } => unreachable!("carried out above"),
        Ask::Feeds | Ask::FeedsClear { .. } | Ask::Stream | Ask::StreamReset => unreachable!("carried out above"),
        Ask::ModelHistory => return Reply { ok: true, history: desk.history(), ..Reply::default() },
        Ask::ModelList => Box::new(|id| Request::List { id }),
        Ask::ModelLoad { name, version } => Box::new(move |id| Request::Load { id, name, version }),
        Ask::ModelPromote { name, version } => Box::new(move |id| Request::Promote { id, name, version }),
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
