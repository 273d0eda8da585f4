//! One client of the stream.
//!
//! A client costs a task and a few numbers: versions it has seen, its place in each log. Nothing is queued for it. It
//! is sent what is new whenever it has taken what it was sent before; if that takes longer than the server's
//! patience, it is dropped; where its place in a log is overwritten meanwhile, it is told what it has missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

use crate::access::Level;
use crate::hub::wall_ns;
use crate::protocol::{self, Command, EVERY_MIN_MS, Interest, Message, TOPICS_MAX};
use crate::server::{Counts, Peer, Shared};
use crate::topic::Topic;

/// Close codes (RFC 6455, 7.4.1, and the register of it).
pub(crate) mod code {
    /// The server ends.
    pub(crate) const AWAY: u16 = 1001;
    /// A frame that is no text.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// The client sends too much, too much nonsense, or has no token.
    pub(crate) const POLICY: u16 = 1008;
    /// A message that is too long.
    pub(crate) const TOO_BIG: u16 = 1009;
    /// The client does not take what it is sent.
    pub(crate) const TRY_LATER: u16 = 1013;
}

/// Wrong messages after which a client is dropped.
const WRONG_MAX: u32 = 16;
/// Values of state come at most so often, unless a client wants otherwise.
const EVERY: Duration = Duration::from_millis(100);
/// How often a client is told the server's clock.
const CLOCK: Duration = Duration::from_secs(1);
/// Entries of a log that are sent at once.
const BATCH: usize = 256;
/// How long a close frame may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a stream ends.
struct End {
    code: u16,
    reason: &'static str,
}

impl End {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// Messages a client may still send.
struct Bucket {
    left: f64,
    filled: Instant,
}

struct Client {
    shared: Arc<Shared>,
    level: Level,
    interests: Vec<Interest>,
    every: Duration,
    seen: u64,
    /// Its place in each log it follows.
    places: BTreeMap<Topic, u64>,
    bucket: Bucket,
    wrong: u32,
    heard: Instant,
}

/// Serves a client until it goes or has to.
pub(crate) async fn serve(socket: WebSocket, peer: Peer, level: Level) {
    let shared = peer.0.shared.clone();
    shared.counts.streams.fetch_add(1, Ordering::Relaxed);
    let mut client = Client::new(shared.clone(), level);
    let (mut sender, mut receiver) = socket.split();
    let end = client.run(&mut sender, &mut receiver).await;
    client.interests.iter().for_each(|interest| shared.hub.watch(interest.topic, false));
    if let Some(End { code, reason }) = end {
        let counter = match code {
            code::TRY_LATER if reason == SILENT => Some(&shared.counts.dropped_silent),
            code::TRY_LATER => Some(&shared.counts.dropped_slow),
            code::POLICY | code::TOO_BIG | code::UNSUPPORTED => Some(&shared.counts.dropped_abusive),
            _ => None,
        };
        if let Some(counter) = counter {
            Counts::add(counter);
        }
        let frame = Frame::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
        // Whoever takes nothing does not take this either.
        let _ = tokio::time::timeout(FAREWELL, sender.send(frame)).await;
    }
    shared.counts.streams.fetch_sub(1, Ordering::Relaxed);
}

const SILENT: &str = "silent";

impl Client {
    fn new(shared: Arc<Shared>, level: Level) -> Self {
        let now = Instant::now();
        // Whoever says nothing hears the prices that others tell.
        let places = BTreeMap::from([(Topic::Told, shared.hub.newest(Topic::Told))]);
        shared.hub.watch(Topic::Told, true);
        let interests = vec![Interest { topic: Topic::Told, key: None }];
        let bucket = Bucket { left: shared.limits.burst, filled: now };
        Self { shared, level, interests, every: EVERY, seen: 0, places, bucket, wrong: 0, heard: now }
    }

    async fn run<S, R>(&mut self, sender: &mut S, receiver: &mut R) -> Option<End>
    where
        S: SinkExt<Frame> + Unpin,
        R: StreamExt<Item = Result<Frame, axum::Error>> + Unpin,
    {
        let (mut bell, mut over) = (self.shared.hub.bell(), self.shared.over.clone());
        let begun = Instant::now();
        let mut tick = tokio::time::interval(self.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut clock = tokio::time::interval(CLOCK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let hello = self.hello();
        if let Err(end) = self.send(sender, [hello]).await {
            return Some(end);
        }
        let mut pinged = Instant::now();
        loop {
            let outcome = tokio::select! {
                _ = over.changed() => Err(Some(End::new(code::AWAY, "the engine ends"))),
                frame = receiver.next() => match frame {
                    None => return None,
                    Some(frame) => match self.take(sender, frame, &mut tick).await {
                        // What it asks for may have happened already: no bell rings for that.
                        Ok(()) => self.follow(sender).await.map_err(Some),
                        end => end,
                    },
                },
                _ = bell.changed() => self.follow(sender).await.map_err(Some),
                _ = tick.tick() => self.show(sender).await.map_err(Some),
                _ = clock.tick() => {
                    if self.level == Level::Nobody && begun.elapsed() > self.shared.limits.handshake {
                        Err(Some(End::new(code::POLICY, "no token")))
                    } else {
                        self.keep(sender, &mut pinged).await.map_err(Some)
                    }
                }
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn hello(&self) -> Value {
        let topics: Vec<&str> = <Topic as strum::IntoEnumIterator>::iter().map(Topic::name).collect();
        let limits = &self.shared.limits;
        json!({ "hello": {
            "version": env!("CARGO_PKG_VERSION"),
            "wall_ns": wall_ns(),
            "epoch": self.shared.hub.epoch(),
            "topics": topics,
            "may": match self.level { Level::Nobody => "nothing", Level::View => "view", Level::Control => "control" },
            "messages_per_s": limits.messages_per_s,
            "message_max": protocol::MESSAGE_MAX,
            "schema": "/api/schema",
        } })
    }

    /// Sends texts, within the server's patience.
    async fn send<S: SinkExt<Frame> + Unpin>(
        &self,
        sender: &mut S,
        texts: impl IntoIterator<Item = impl ToText>,
    ) -> Result<(), End> {
        let mut sent = 0;
        let all = async {
            for text in texts {
                sender.feed(Frame::Text(text.to_text())).await.map_err(|_| ())?;
                sent += 1;
            }
            sender.flush().await.map_err(|_| ())
        };
        let outcome = tokio::time::timeout(self.shared.limits.patience, all).await;
        self.shared.counts.sent.fetch_add(sent, Ordering::Relaxed);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => Err(End::new(code::AWAY, "gone")),
            Err(_) => Err(End::new(code::TRY_LATER, "too slow")),
        }
    }

    /// Sends what is new in the logs.
    async fn follow<S: SinkExt<Frame> + Unpin>(&mut self, sender: &mut S) -> Result<(), End> {
        if self.level == Level::Nobody {
            return Ok(());
        }
        for topic in self.places.keys().copied().collect::<Vec<_>>() {
            loop {
                let after = self.places[&topic];
                let found = self.shared.hub.entries(topic, after, BATCH);
                if found.missed > 0 {
                    // Somebody asked for what is no more, or the ring went round while it was sent something.
                    let hole = json!({ "missed": { "topic": topic, "from": after + 1, "to": found.first - 1 } });
                    self.send(sender, [hole]).await?;
                }
                let count = found.entries.len();
                self.places.insert(topic, found.first - 1 + count as u64);
                if count == 0 {
                    break;
                }
                self.send(sender, found.entries).await?;
            }
        }
        Ok(())
    }

    /// Sends newest values.
    async fn show<S: SinkExt<Frame> + Unpin>(&mut self, sender: &mut S) -> Result<(), End> {
        if self.level == Level::Nobody || self.interests.iter().all(|interest| interest.topic.is_log()) {
            return Ok(());
        }
        let (seen, texts) = self.shared.hub.changes(self.seen, |topic, key| self.wants(topic, key));
        self.seen = seen;
        if texts.is_empty() { Ok(()) } else { self.send(sender, texts).await }
    }

    fn wants(&self, topic: Topic, key: &str) -> bool {
        self.interests.iter().any(|one| one.topic == topic && one.key.as_deref().is_none_or(|own| own == key))
    }

    /// Tells the clock, and pings a client that is silent.
    async fn keep<S: SinkExt<Frame> + Unpin>(&mut self, sender: &mut S, pinged: &mut Instant) -> Result<(), End> {
        let (silent, ping) = (self.heard.elapsed(), self.shared.limits.ping);
        if silent > ping * 3 {
            return Err(End::new(code::TRY_LATER, SILENT));
        }
        if silent > ping && pinged.elapsed() > ping {
            *pinged = Instant::now();
            let sending = sender.send(Frame::Ping(Vec::new().into()));
            match tokio::time::timeout(self.shared.limits.patience, sending).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::new(code::AWAY, "gone")),
                Err(_) => return Err(End::new(code::TRY_LATER, "too slow")),
            }
        }
        // A plain client that only tells and hears prices is told nothing else.
        if self.interests.iter().all(|interest| interest.topic == Topic::Told) {
            return Ok(());
        }
        self.send(sender, [json!({ "clock": { "wall_ns": wall_ns() } })]).await
    }

    /// Takes a frame of the client's.
    async fn take<S: SinkExt<Frame> + Unpin>(
        &mut self,
        sender: &mut S,
        frame: Result<Frame, axum::Error>,
        tick: &mut tokio::time::Interval,
    ) -> Result<(), Option<End>> {
        self.heard = Instant::now();
        let text = match frame {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Binary(_)) => return Err(Some(End::new(code::UNSUPPORTED, "text frames only"))),
            // The library answers pings and closing.
            Ok(Frame::Ping(_) | Frame::Pong(_)) => return self.pay().map_err(Some),
            Ok(Frame::Close(_)) => return Err(None),
            Err(error) if error.to_string().contains("too long") => {
                return Err(Some(End::new(code::TOO_BIG, "message too long")));
            }
            Err(_) => return Err(None),
        };
        Counts::add(&self.shared.counts.received);
        self.pay().map_err(Some)?;
        let answer = match protocol::read(&text) {
            Ok(Message::Command(command)) => self.obey(command, tick),
            _ if self.level == Level::Nobody => return Err(Some(End::new(code::POLICY, "no token"))),
            Ok(Message::Prices(prices)) => {
                self.shared.hub.relay(Topic::Told, prices);
                return Ok(());
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => self.send(sender, [answer]).await.map_err(Some),
            Err(_) if self.level == Level::Nobody => Err(Some(End::new(code::POLICY, "no token"))),
            Err(error) => {
                self.wrong += 1;
                Counts::add(&self.shared.counts.wrong);
                if self.wrong > WRONG_MAX {
                    return Err(Some(End::new(code::POLICY, "too many wrong messages")));
                }
                self.send(sender, [json!({ "error": error })]).await.map_err(Some)
            }
        }
    }

    /// Takes a message's price out of the bucket.
    fn pay(&mut self) -> Result<(), End> {
        let (limits, now) = (&self.shared.limits, Instant::now());
        let earned = now.duration_since(self.bucket.filled).as_secs_f64() * limits.messages_per_s;
        self.bucket = Bucket { left: (self.bucket.left + earned).min(limits.burst) - 1.0, filled: now };
        if self.bucket.left < 0.0 { Err(End::new(code::POLICY, "too many messages")) } else { Ok(()) }
    }

    fn obey(&mut self, command: Command, tick: &mut tokio::time::Interval) -> Result<Option<Value>, String> {
        if self.level == Level::Nobody && !matches!(command, Command::Auth { .. }) {
            return Err("a token must come first: {\"op\": \"auth\", \"token\": \"...\"}".into());
        }
        match command {
            Command::Auth { token } => {
                self.level = self.shared.access.level(Some(&token));
                if self.level == Level::Nobody {
                    return Err("that is no token of this server".into());
                }
                Ok(Some(self.hello()))
            }
            Command::Ping { id } => Ok(Some(json!({ "pong": id }))),
            Command::Subscribe { topics, every_ms, mut after, epoch } => {
                if epoch.is_some_and(|epoch| epoch != self.shared.hub.epoch()) {
                    after.values_mut().for_each(|number| *number = 0);
                }
                self.subscribe(&topics, every_ms, &after, tick).map(Some)
            }
            Command::Unsubscribe { topics } => {
                for topic in &topics {
                    let interest: Interest = topic.parse()?;
                    if let Some(at) = self.interests.iter().position(|one| *one == interest) {
                        self.interests.swap_remove(at);
                        self.shared.hub.watch(interest.topic, false);
                    }
                }
                let interests = &self.interests;
                self.places.retain(|topic, _| interests.iter().any(|one| one.topic == *topic));
                Ok(Some(self.subscribed()))
            }
        }
    }

    fn subscribe(
        &mut self,
        topics: &[String],
        every_ms: Option<u64>,
        after: &BTreeMap<Topic, u64>,
        tick: &mut tokio::time::Interval,
    ) -> Result<Value, String> {
        let wanted: Vec<Interest> = topics.iter().map(|topic| topic.parse()).collect::<Result<_, _>>()?;
        if self.interests.len() + wanted.len() > TOPICS_MAX {
            return Err(format!("{} topics, expected at most {TOPICS_MAX}", self.interests.len() + wanted.len()));
        }
        if every_ms.is_some_and(|every| !(EVERY_MIN_MS..=3_600_000).contains(&every)) {
            return Err(format!("every_ms: expected {EVERY_MIN_MS} to 3600000"));
        }
        for interest in wanted {
            if interest.topic.is_log() {
                let newest = self.shared.hub.newest(interest.topic);
                let from = after.get(&interest.topic).map_or(newest, |after| newest.min(*after));
                self.places.entry(interest.topic).or_insert(from);
            }
            if !self.interests.contains(&interest) {
                self.shared.hub.watch(interest.topic, true);
                self.interests.push(interest);
                // Everything of a new topic is new, and so is some of the others once more.
                self.seen = 0;
            }
        }
        if let Some(every) = every_ms.map(Duration::from_millis)
            && every != self.every
        {
            self.every = every;
            *tick = tokio::time::interval(every);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        Ok(self.subscribed())
    }

    fn subscribed(&self) -> Value {
        let name = |one: &Interest| match &one.key {
            Some(key) => format!("{}:{key}", one.topic.name()),
            None => one.topic.name().to_owned(),
        };
        json!({ "subscribed": self.interests.iter().map(name).collect::<Vec<_>>() })
    }
}

/// What is sent as a text frame.
trait ToText {
    fn to_text(self) -> Utf8Bytes;
}

impl ToText for Utf8Bytes {
    fn to_text(self) -> Utf8Bytes {
        self
    }
}

impl ToText for Value {
    fn to_text(self) -> Utf8Bytes {
        self.to_string().into()
    }
}
