//! Redis: the newest of what a stream shows, under keys that other programs have always read.
//!
//! # The model
//!
//! Whoever has something to show puts it into a slot of the mirror ([`MirrorHandle::set`]): a slot a key, the newest
//! value counts, and nobody waits. A thread writes what is new in one transaction. When Redis is away, hangs or
//! refuses, the mirror says so ([`MirrorState::Degraded`] with the reason and since when), tries again, and then writes
//! the newest of everything: nothing else was kept, so nothing can overflow. `position_history` is a list, newest
//! first, of bounded length; what a run before left in it stays behind what this one adds.
//!
//! Redis is a screen here, never a source: the engine works the same without it.

mod slots;
mod wire;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::redis::{ConnectionInfo, IntoConnectionInfo};
use serde::Serialize;
use tidegate_wire::clock::realtime_ns;
use zeroize::Zeroizing;

use slots::Slots;
use wire::Wire;

/// A key of the stream; its name in Redis follows the configured prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// State of the stream: `{"state": "connected", ...}`.
    WsStatus,
    /// When the stream was last heard of.
    WsLastUpdate,
    /// Probability of a trap, 0 to 1, with what it stands on.
    MmTrapProbability,
    /// The open position.
    CurrentPosition,
    /// Where it is to be closed.
    PositionTargets,
    /// Positions before it: a list, newest first.
    PositionHistory,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WsStatus,
        Self::WsLastUpdate,
        Self::MmTrapProbability,
        Self::CurrentPosition,
        Self::PositionTargets,
        Self::PositionHistory,
    ];

    /// Its name without a prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WsStatus => "ws_status",
            Self::WsLastUpdate => "ws_last_update",
            Self::MmTrapProbability => "mm_trap_probability",
            Self::CurrentPosition => "current_position",
            Self::PositionTargets => "position_targets",
            Self::PositionHistory => "position_history",
        }
    }
}

/// How Redis is reached. Its `Debug` form has no password.
#[derive(Clone)]
pub struct Settings {
    place: String,
    connection: ConnectionInfo,
    /// Before every key.
    pub prefix: String,
    /// Positions kept in `position_history`, at least 1.
    pub history: usize,
    /// How long connecting, an answer or a write may take.
    pub patience: Duration,
    /// How often it is looked at while nothing is new.
    pub every: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({}, prefix {:?})", self.place, self.prefix)
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let plain = |s: &Self| (s.place.clone(), s.prefix.clone(), s.history, s.patience, s.every);
        plain(self) == plain(other)
    }
}

impl Settings {
    /// Redis at `redis://[USER@]HOST[:PORT][/DATABASE]` or `unix:///SOCKET`.
    ///
    /// # Errors
    /// What the URL is not; it is not repeated, because it may hold a secret.
    pub fn new(url: &str, password: Option<&Zeroizing<String>>) -> Result<Self, String> {
        let expected = "expected redis://[USER@]HOST[:PORT][/DATABASE] or unix:///SOCKET";
        let Some(rest) = url.strip_prefix("redis://").or_else(|| url.strip_prefix("unix://")) else {
            return Err(expected.into());
        };
        let (authority, query) = (rest.split(['/', '?']).next().unwrap_or_default(), rest.split_once('?'));
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || query.is_some_and(|(_, query)| query.split('&').any(|q| q.starts_with("pass="))) {
            return Err("holds a password; expected it in a file or the environment, where nobody else reads it".into());
        }
        let connection = url.into_connection_info().map_err(|_| expected.to_owned())?;
        // Older servers do not know what the client would say of itself.
        let mut own = connection.redis_settings().clone().set_skip_set_lib_name();
        if let Some(password) = password {
            own = own.set_password(password.as_str());
        }
        Ok(Self {
            place: url.to_owned(),
            connection: connection.set_redis_settings(own),
            prefix: String::new(),
            history: 1_000,
            patience: Duration::from_secs(2),
            every: Duration::from_secs(1),
        })
    }
}

/// Where a mirror stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// There is none.
    #[default]
    Off,
    /// The first connection is being made.
    Connecting,
    /// Redis has the newest of everything.
    Connected,
    /// Redis is away, hangs or refuses; it is tried again.
    Degraded,
}

/// A mirror, to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MirrorStatus {
    /// Where it stands.
    pub state: MirrorState,
    /// Since when, ns since the Unix epoch.
    pub since_ns: i64,
    /// Where Redis is, without a password.
    pub place: String,
    /// Why it is degraded; the last reason while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Transactions written.
    pub writes: u64,
    /// Connections made.
    pub connections: u64,
    /// How often connecting or writing failed.
    pub failures: u64,
}

/// What a mirror shows that nobody puts into it: asked before each look at Redis.
pub type Source = Box<dyn FnMut() -> Vec<(Key, String)> + Send>;

#[derive(Debug)]
struct State {
    slots: Slots,
    status: MirrorStatus,
    /// Resets that were asked for, and those that were done.
    resets: (u64, u64),
    over: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that keeps Redis up to date.
#[derive(Debug)]
pub struct Mirror {
    handle: MirrorHandle,
    thread: Option<JoinHandle<()>>,
}

/// A handle on it; clones share it.
#[derive(Clone, Debug)]
pub struct MirrorHandle(Arc<Shared>);

impl MirrorHandle {
    /// Shows a value, JSON, under a key; in place of the one before, or at the head of a list. Never waits for Redis.
    pub fn set(&self, key: Key, json: String) {
        self.0.lock().slots.set(key, json);
        self.0.changed.notify_all();
    }

    /// Where it stands.
    pub fn status(&self) -> MirrorStatus {
        self.0.lock().status.clone()
    }

    /// Removes exactly the stream's keys, the history with them, and writes the newest values of the others again.
    ///
    /// # Errors
    /// Redis did not answer in time; it is done as soon as Redis is back.
    pub fn reset(&self) -> Result<(), String> {
        let mut state = self.0.lock();
        state.resets.0 += 1;
        state.slots.forget_history();
        let wanted = state.resets.0;
        self.0.changed.notify_all();
        // Connecting, and then writing.
        let until = Instant::now() + self.0.patience * 2 + Duration::from_millis(500);
        while state.resets.1 < wanted && !state.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.resets.1 >= wanted {
            return Ok(());
        }
        let reason = state.status.reason.clone().unwrap_or_else(|| "it does not answer".into());
        Err(format!("Redis at {}: {reason}; its keys are cleared when it is back", state.status.place))
    }
}

impl Mirror {
    /// Starts the thread. Redis need not be there yet.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(settings: Settings, source: Source) -> std::io::Result<Self> {
        let status = MirrorStatus {
            state: MirrorState::Connecting,
            since_ns: realtime_ns(),
            place: settings.place.clone(),
            ..MirrorStatus::default()
        };
        let slots = Slots::new(settings.history.max(1));
        let state = Mutex::new(State { slots, status, resets: (0, 0), over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), patience: settings.patience });
        let writer = Writer { shared: shared.clone(), wire: Wire::new(settings), source, retry_at: None, pause: PAUSE };
        let thread = std::thread::Builder::new().name("tide-redis".into()).spawn(|| writer.run())?;
        Ok(Self { handle: MirrorHandle(shared), thread: Some(thread) })
    }

    /// A handle.
    pub fn handle(&self) -> MirrorHandle {
        self.handle.clone()
    }

    /// Shows last values and ends; within the patience for connecting and writing, whether Redis is there or not.
    pub fn finish(mut self, last: Vec<(Key, String)>) -> MirrorStatus {
        self.end(last);
        self.handle.status()
    }

    fn end(&mut self, last: Vec<(Key, String)>) {
        // In one step: what the thread shows by itself must not take the place of the last values.
        let mut state = self.handle.0.lock();
        last.into_iter().for_each(|(key, json)| state.slots.set(key, json));
        state.over = true;
        drop(state);
        self.handle.0.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.end(Vec::new());
    }
}

/// Time before the next attempt after the first failure, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);

struct Writer {
    shared: Arc<Shared>,
    wire: Wire,
    source: Source,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (over, due) = self.wait();
            // Asked without the lock: it may take locks of its own.
            let shown = if over { Vec::new() } else { (self.source)() };
            let mut state = self.shared.lock();
            if !state.over {
                shown.into_iter().for_each(|(key, json)| state.slots.set_if_other(key, json));
            }
            drop(state);
            if due || over {
                self.write();
            }
            if over {
                return;
            }
        }
    }

    /// Waits until something is new or it is time to look; whether this is the end, and whether Redis may be asked.
    fn wait(&self) -> (bool, bool) {
        let mut state = self.shared.lock();
        let every = Instant::now() + self.wire.settings().every;
        loop {
            let now = Instant::now();
            let retry = self.retry_at.filter(|at| *at > now);
            let news = state.slots.is_new() || state.resets.0 > state.resets.1;
            let until = retry.map_or(every, |at| at.min(every));
            if state.over || now >= every || retry.is_none() && (news || self.retry_at.is_some()) {
                return (state.over, retry.is_none());
            }
            let waited = self.shared.changed.wait_timeout(state, until.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&mut self) {
        let done = self.try_write();
        let mut state = self.shared.lock();
        let status = &mut state.status;
        let before = status.state;
        match done {
            Ok(()) => {
                (self.retry_at, self.pause) = (None, PAUSE);
                status.state = MirrorState::Connected;
            }
            Err(reason) => {
                self.wire.drop_connection();
                self.retry_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                status.state = MirrorState::Degraded;
                status.failures += 1;
                status.reason = Some(reason);
            }
        }
        if status.state != before {
            status.since_ns = realtime_ns();
            let (place, reason) = (&status.place, status.reason.as_deref().unwrap_or_default());
            match status.state {
                MirrorState::Degraded => tracing::error!(%place, reason, "redis: degraded; it is tried again"),
                _ if before == MirrorState::Degraded => tracing::warn!(%place, "redis: caught up"),
                _ => {}
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    fn try_write(&mut self) -> Result<(), String> {
        let made = self.wire.connect()?;
        let (reset, wanted) = {
            let mut state = self.shared.lock();
            state.status.connections += u64::from(made);
            if made {
                state.slots.write_all_again();
            }
            (state.resets.0, state.resets.0 > state.resets.1)
        };
        // What another run left in the history stays, once, unless it is to be removed.
        if made && !wanted && !self.shared.lock().slots.knows_history() {
            let found = self.wire.history()?;
            self.shared.lock().slots.adopt(found);
        }
        let news = {
            let mut state = self.shared.lock();
            if wanted {
                state.slots.write_all_again();
            }
            state.slots.news()
        };
        self.wire.write(&news, wanted)?;
        let mut state = self.shared.lock();
        state.slots.written(&news);
        state.resets.1 = state.resets.1.max(reset);
        state.status.writes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_without_passwords_are_taken_and_secrets_are_never_shown() {
        for url in ["redis://localhost", "redis://app@cache:6380/2", "unix:///run/redis.sock"] {
            let settings = Settings::new(url, Some(&Zeroizing::new("canary".into()))).expect("a place");
            assert!(format!("{settings:?}").contains(url) && !format!("{settings:?}").contains("canary"));
        }
        for url in ["", "rediss://cache", "canary", "redis://:canary@cache", "unix:///s?pass=canary", "redis://h:port"]
        {
            let error = Settings::new(url, None).expect_err("no place");
            assert!(error.contains("expected") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn without_redis_it_is_degraded_and_nobody_waits() {
        // Nobody listens on port 1.
        let mut settings = Settings::new("redis://127.0.0.1:1", None).expect("a place");
        settings.patience = Duration::from_millis(50);
        let mirror = Mirror::start(settings, Box::new(Vec::new)).expect("a thread");
        let (handle, begun) = (mirror.handle(), Instant::now());
        (0..10_000).for_each(|n| handle.set(Key::PositionHistory, n.to_string()));
        assert!(begun.elapsed() < Duration::from_secs(1));
        while handle.status().state != MirrorState::Degraded {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", handle.status());
            std::thread::sleep(Duration::from_millis(5));
        }
        let error = handle.reset().expect_err("nobody there");
        assert!(error.contains("when it is back"), "{error}");
        assert!(handle.status().reason.is_some_and(|reason| reason.contains("refused")));
        mirror.finish(Vec::new());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
