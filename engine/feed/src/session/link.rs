//! One connection's life as a state machine without I/O: what happens goes in, what to do comes out.
//!
//! ```text
//!                    dialled            logged in            acknowledged, books good
//!  Disconnected ─▶ (connecting) ─▶ Authenticating ─▶ Realigning ─────────────────────▶ Connected
//!       ▲               │                │               ▲  │                              │
//!       └── back-off ◀──┴────────────────┴───────────────┼──┴──────────────────────────────┘ ended
//!                       │                                └── a book has to start anew ◀─────┘
//!                     Error  after the last attempt, or what no attempt can mend, until cleared
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use super::acts::{Act, LinkSettings, LinkState, Note};
use super::backoff::Backoff;
use super::budget::Budget;
use super::dialect::{Acked, Dialect, Heartbeat, Probe, Remedy, Reply, Topic};

/// What became of a topic on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// To be subscribed.
    Wanted,
    /// Asked for, at this time and in this request.
    Asked(Duration, u64),
    /// Works, since this time.
    Works(Duration),
    /// Must be ended, then subscribed anew.
    Stale,
    /// The venue does not have it.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the time of the next attempt.
    Waiting(Duration),
    /// Being made since.
    Dialling,
    /// Connected; the login was sent at.
    LoggingIn(Duration),
    /// Connected and subscribed to, since.
    Up(Duration),
    /// Given up.
    Error,
}

/// A connection's state machine. Times are since any fixed instant.
#[derive(Debug)]
pub struct Link {
    dialect: &'static dyn Dialect,
    settings: LinkSettings,
    topics: Vec<Topic>,
    standing: Vec<Standing>,
    /// Subscriptions of each that were not acknowledged, in a row.
    misses: Vec<u8>,
    /// Whether the connection needs a login; its text is asked for when needed.
    private: bool,
    phase: Phase,
    state: LinkState,
    backoff: Backoff,
    messages: Budget,
    subscriptions: Budget,
    /// Nothing is sent before this time.
    quiet_until: Duration,
    /// Texts that have no budget yet: answers and logins first.
    queue: VecDeque<String>,
    next_id: u64,
    last_probe: Duration,
    /// When topics may be asked for anew, and how long the pause before the next time is.
    resync_pause: BTreeMap<usize, (Duration, Duration)>,
    /// When the venue cuts the connection.
    leaving: Option<Duration>,
    rotating: bool,
    books_good: bool,
    acts: VecDeque<Act>,
}

/// First pause between two resubscriptions of one topic; it doubles up to [`RESYNC_PAUSE_MAX`].
const RESYNC_PAUSE: Duration = Duration::from_secs(2);
const RESYNC_PAUSE_MAX: Duration = Duration::from_secs(60);

impl Link {
    /// A link that will dial at its first tick.
    pub fn new(dialect: &'static dyn Dialect, settings: LinkSettings, topics: Vec<Topic>, seed: u64) -> Self {
        let private = topics.iter().any(|topic| topic.channel.is_none());
        Self {
            dialect,
            settings,
            standing: vec![Standing::Wanted; topics.len()],
            misses: vec![0; topics.len()],
            topics,
            private,
            phase: Phase::Waiting(Duration::ZERO),
            state: LinkState::Disconnected,
            backoff: Backoff::new(settings.backoff, seed),
            messages: Budget::new(settings.limits.messages),
            subscriptions: Budget::new(settings.limits.subscriptions),
            quiet_until: Duration::ZERO,
            queue: VecDeque::new(),
            next_id: 0,
            last_probe: Duration::ZERO,
            resync_pause: BTreeMap::new(),
            leaving: None,
            rotating: false,
            books_good: false,
            acts: VecDeque::new(),
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> LinkState {
        self.state
    }

    /// Its topics.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Whether it carries an account's channels.
    pub const fn is_private(&self) -> bool {
        self.private
    }

    /// Attempts that failed in a row.
    pub const fn failed_attempts(&self) -> u32 {
        self.backoff.failed()
    }

    /// The next thing to do.
    pub fn next_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// A connection was made. `login` is the login's text where one is needed.
    pub fn opened(&mut self, now: Duration, login: Option<String>) {
        // What the venue refused it may have by now, or was too slow to acknowledge.
        self.standing.fill(Standing::Wanted);
        self.misses.fill(0);
        self.next_id &= !ALONE;
        self.messages = Budget::new(self.settings.limits.messages);
        self.subscriptions = Budget::new(self.settings.limits.subscriptions);
        self.queue.clear();
        self.resync_pause.clear();
        (self.leaving, self.rotating, self.books_good) = (None, false, false);
        self.last_probe = now;
        self.queue.extend(self.dialect.greeting());
        match login {
            Some(login) => {
                self.queue.push_back(login);
                self.phase = Phase::LoggingIn(now);
                self.enter(LinkState::Authenticating);
            }
            None => {
                self.phase = Phase::Up(now);
                self.enter(LinkState::Realigning);
            }
        }
        self.tick(now, None);
    }

    /// The connection ended, or could not be made. `penalty`: the venue said to stay away for so long.
    pub fn lost(&mut self, now: Duration, reason: String, penalty: Option<Duration>) {
        if self.phase == Phase::Error {
            return;
        }
        if let Phase::Up(since) = self.phase
            && now.saturating_sub(since) >= self.settings.stable_after
        {
            self.backoff.reset();
        }
        let Some(wait) = self.backoff.next_wait() else {
            self.tell(Note::Lost { reason, retry_in: None });
            return self.give_up();
        };
        let wait = wait.max(penalty.unwrap_or_default());
        self.phase = Phase::Waiting(now + wait);
        self.tell(Note::Lost { reason, retry_in: Some(wait) });
        self.enter(LinkState::Disconnected);
    }

    /// An operator clears the error state: attempts begin anew.
    pub fn clear(&mut self, now: Duration) {
        if self.phase == Phase::Error {
            self.backoff.reset();
            self.standing.fill(Standing::Wanted);
            self.phase = Phase::Waiting(now);
            self.enter(LinkState::Disconnected);
        }
    }

    /// The connection that should have replaced this one could not be made: another is tried.
    pub fn not_replaced(&mut self) {
        self.rotating = false;
    }

    /// A text came that is no market data. `login` makes a new login where the venue asks for one.
    pub fn text(&mut self, now: Duration, text: &[u8], login: impl FnOnce() -> Option<String>) {
        match self.dialect.read(text) {
            Reply::Acked(acked) => self.acked(now, &acked),
            Reply::LoggedIn => {
                if matches!(self.phase, Phase::LoggingIn(_)) {
                    self.phase = Phase::Up(now);
                    self.enter(LinkState::Realigning);
                    self.tick(now, None);
                }
            }
            Reply::Answer(answer) => self.queue.push_front(answer),
            Reply::Leaving(within) => self.leaving = Some(now + within),
            Reply::Account(data) => self.acts.push_back(Act::Account(data)),
            Reply::Refused { code, text, about, remedy } => {
                self.tell(Note::Refused { code, text });
                self.refused(now, about, remedy, login);
            }
            Reply::Pong | Reply::Ended | Reply::Other => {}
        }
        self.send_queued(now);
    }

    fn refused(&mut self, now: Duration, about: Option<Acked>, remedy: Remedy, login: impl FnOnce() -> Option<String>) {
        match remedy {
            Remedy::Ignore => {}
            Remedy::Reconnect => self.close(1000, "reconnecting"),
            Remedy::Stop => {
                self.close(1000, "refused");
                self.give_up();
            }
            Remedy::SlowDown => {
                self.quiet_until = now + Duration::from_secs(1).max(self.settings.patience / 10);
                self.unask(&about);
            }
            Remedy::Authenticate => match login() {
                // A login that is refused over and over is one that fails: the attempts count.
                Some(login) if !matches!(self.phase, Phase::LoggingIn(_)) => {
                    self.queue.push_back(login);
                    self.phase = Phase::LoggingIn(now);
                    self.standing.iter_mut().for_each(|standing| *standing = Standing::Wanted);
                    self.enter(LinkState::Authenticating);
                }
                _ => self.close(1000, "login refused"),
            },
            Remedy::Drop => self.drop_topics(&about),
        }
    }

    /// Asks again later for what `about` names.
    fn unask(&mut self, about: &Option<Acked>) {
        for (index, topic) in self.topics.iter().enumerate() {
            if concerns(about, self.standing[index], &topic.key) {
                self.standing[index] = Standing::Wanted;
            }
        }
    }

    /// Leaves out what the venue does not have. A request of several topics is taken apart first: one bad name must not
    /// cost the others.
    fn drop_topics(&mut self, about: &Option<Acked>) {
        let named: Vec<_> = (0..self.topics.len())
            .filter(|index| concerns(about, self.standing[*index], &self.topics[*index].key))
            .collect();
        if let [only] = named[..] {
            self.standing[only] = Standing::Refused;
            self.tell(Note::Dropped(self.topics[only].key.clone()));
        }
        if named.len() > 1 {
            for index in named {
                self.standing[index] = Standing::Wanted;
            }
            self.next_id |= ALONE;
        }
    }

    fn acked(&mut self, now: Duration, acked: &Acked) {
        for index in 0..self.topics.len() {
            let Standing::Asked(_, request) = self.standing[index] else { continue };
            let key = &self.topics[index].key;
            let works = match acked {
                Acked::Request(id) => *id == request,
                Acked::Topic(topic) => topic == key,
                Acked::Topics(id, topics) if *id == request => {
                    if !topics.contains(key) {
                        self.standing[index] = Standing::Refused;
                        let note = Note::Dropped(key.clone());
                        self.tell(note);
                    }
                    topics.contains(&self.topics[index].key)
                }
                Acked::Topics(..) => false,
            };
            if works {
                (self.standing[index], self.misses[index]) = (Standing::Works(now), 0);
            }
        }
    }

    /// A book of this link must start anew: its topic is ended and subscribed again, not more often than the pause
    /// allows.
    pub fn resync(&mut self, now: Duration, topic: usize) {
        if !matches!(self.standing.get(topic), Some(Standing::Works(_))) || !matches!(self.phase, Phase::Up(_)) {
            return;
        }
        let (not_before, pause) = self.resync_pause.get(&topic).copied().unwrap_or((Duration::ZERO, RESYNC_PAUSE));
        if now < not_before {
            return;
        }
        // Quiet for a long time: begin with the short pause again.
        let pause = if now > not_before + 4 * pause { RESYNC_PAUSE } else { pause };
        self.resync_pause.insert(topic, (now + pause, (pause * 2).min(RESYNC_PAUSE_MAX)));
        self.standing[topic] = Standing::Stale;
        self.tell(Note::Resubscribed(self.topics[topic].key.clone()));
        self.align();
        self.send_queued(now);
    }

    /// Time passes. `heard`: when bytes last came on this connection. `books_good` is set with [`Self::set_books`].
    pub fn tick(&mut self, now: Duration, heard: Option<Duration>) {
        match self.phase {
            Phase::Error | Phase::Dialling => {}
            Phase::Waiting(until) => {
                if now >= until {
                    self.phase = Phase::Dialling;
                    self.acts.push_back(Act::Dial);
                }
            }
            Phase::LoggingIn(since) => {
                self.keep_alive(now, heard);
                if now.saturating_sub(since) > self.settings.patience {
                    self.close(1000, "login not answered");
                }
                self.send_queued(now);
            }
            Phase::Up(since) => {
                self.keep_alive(now, heard);
                self.rotate(now, since);
                self.check_acknowledged(now);
                self.send_queued(now);
                self.align();
            }
        }
    }

    /// Tells whether every book of this link is good.
    pub fn set_books(&mut self, good: bool) {
        self.books_good = good;
        self.align();
    }

    /// Whether it has this topic, or is about to.
    pub fn carries(&self, key: &str) -> bool {
        let mut topics = self.topics.iter().zip(&self.standing);
        matches!(self.phase, Phase::Up(_)) && topics.any(|(topic, s)| topic.key == key && *s != Standing::Refused)
    }

    /// When each of its books was subscribed, by topic, for those that are.
    pub fn subscribed(&self) -> impl Iterator<Item = (usize, &Topic, Duration)> + '_ {
        self.topics.iter().enumerate().filter_map(|(index, topic)| match self.standing[index] {
            Standing::Works(since) => Some((index, topic, since)),
            _ => None,
        })
    }

    /// Connected and Realigning follow from what is acknowledged and which books are good.
    fn align(&mut self) {
        if matches!(self.phase, Phase::Up(_)) {
            let done = |standing: &Standing| matches!(standing, Standing::Works(_) | Standing::Refused);
            let whole = self.books_good && self.standing.iter().all(done);
            self.enter(if whole { LinkState::Connected } else { LinkState::Realigning });
        }
    }

    fn keep_alive(&mut self, now: Duration, heard: Option<Duration>) {
        let Heartbeat { probe, every, dead_after } = self.settings.heartbeat;
        if let Some(heard) = heard
            && now.saturating_sub(heard) > dead_after
        {
            self.tell(Note::Silent(now.saturating_sub(heard)));
            return self.close(1000, "silent");
        }
        if now.saturating_sub(self.last_probe) >= every && self.messages.take(now).is_ok() {
            self.last_probe = now;
            let act = match probe {
                Probe::Text(text) => Act::Send(text.to_owned()),
                Probe::Request => Act::Send(self.dialect.ping(self.request_id())),
                Probe::Ping => Act::Ping,
            };
            self.acts.push_back(act);
        }
    }

    fn rotate(&mut self, now: Duration, since: Duration) {
        let planned = self.settings.limits.lifetime.map(|lifetime| {
            since + lifetime.saturating_sub(self.settings.rotate_before).max(self.settings.stable_after)
        });
        let due = planned.into_iter().chain(self.leaving.map(|_| Duration::ZERO)).min();
        if !self.rotating && due.is_some_and(|due| now >= due) {
            self.rotating = true;
            self.acts.push_back(Act::Rotate);
        }
    }

    fn check_acknowledged(&mut self, now: Duration) {
        for index in 0..self.topics.len() {
            if let Standing::Asked(at, _) = self.standing[index]
                && now.saturating_sub(at) > self.settings.patience
            {
                let key = self.topics[index].key.clone();
                self.misses[index] += 1;
                // Some venues name no topic in their errors: who never answers for one does not have it.
                let given_up = self.misses[index] >= MISSES;
                self.standing[index] = if given_up { Standing::Refused } else { Standing::Wanted };
                self.tell(if given_up { Note::Dropped(key) } else { Note::Unacknowledged(key) });
            }
        }
    }

    /// Sends what waits as far as budgets allow: answers and logins first, then ends of stale topics, subscriptions
    /// in batches.
    fn send_queued(&mut self, now: Duration) {
        if now < self.quiet_until {
            return;
        }
        while !self.queue.is_empty() && self.messages.take(now).is_ok() {
            self.acts.extend(self.queue.pop_front().map(Act::Send));
        }
        while matches!(self.phase, Phase::Up(_)) && self.queue.is_empty() {
            let Some((standing, batch)) = self.next_batch() else { return };
            if self.subscriptions.take(now).is_err() || self.messages.take(now).is_err() {
                return;
            }
            let id = self.request_id();
            let topics: Vec<_> = batch.iter().map(|index| &self.topics[*index]).collect();
            let (text, then) = match standing {
                Standing::Stale => (self.dialect.unsubscribe(id, &topics), Standing::Wanted),
                _ => (self.dialect.subscribe(id, &topics), Standing::Asked(now, id)),
            };
            batch.iter().for_each(|index| self.standing[*index] = then);
            self.acts.push_back(Act::Send(text));
        }
    }

    /// Topics of the next request, and what they are.
    fn next_batch(&self) -> Option<(Standing, Vec<usize>)> {
        let most = if self.next_id & ALONE != 0 { 1 } else { self.settings.limits.batch.max(1) };
        let of = |wanted: Standing| -> Vec<usize> {
            (0..self.topics.len()).filter(|index| self.standing[*index] == wanted).take(most).collect()
        };
        [Standing::Stale, Standing::Wanted].into_iter().map(|wanted| (wanted, of(wanted))).find(|(_, b)| !b.is_empty())
    }

    fn request_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id & !ALONE
    }

    fn close(&mut self, code: u16, reason: &'static str) {
        self.acts.push_back(Act::Close(code, reason));
    }

    fn give_up(&mut self) {
        self.phase = Phase::Error;
        self.enter(LinkState::Error);
    }

    fn enter(&mut self, state: LinkState) {
        if self.state != state {
            self.state = state;
            self.acts.push_back(Act::State(state));
        }
    }

    fn tell(&mut self, note: Note) {
        self.acts.push_back(Act::Tell(note));
    }
}

/// Subscriptions of a topic that may go unanswered, in a row.
const MISSES: u8 = 3;

/// Marks in the request counter that topics are asked for one by one.
const ALONE: u64 = 1 << 32;

/// Whether an answer is about a topic that stands so.
fn concerns(about: &Option<Acked>, standing: Standing, key: &str) -> bool {
    match (about, standing) {
        (Some(Acked::Request(id) | Acked::Topics(id, _)), Standing::Asked(_, request)) => *id == request,
        (Some(Acked::Topic(topic)), _) => topic == key,
        _ => false,
    }
}
