//! The hub: what is known now, and what has happened, for any number of clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use strum::EnumCount;
use tidegate_wire::clock::realtime_ns;
use tokio::sync::watch;

use crate::topic::Topic;

/// Entries of a log that clients may still ask for.
pub const LOG_KEPT: usize = 8_192;
/// Keys a topic may have: instruments of a run, and more than a screen shows.
const KEYS_MAX: usize = 4_096;

/// Wall time, ns since the Unix epoch.
pub fn wall_ns() -> u64 {
    u64::try_from(realtime_ns()).unwrap_or(0)
}

/// A value or an entry as it goes over the wire.
#[derive(Serialize)]
struct Envelope<'a, T> {
    topic: Topic,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// Number within the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// When the hub was told, ns of wall time.
    wall_ns: u64,
    /// Event time, ns; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_ns: Option<i64>,
    data: &'a T,
}

/// A newest value.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    /// Moves with every change of anything.
    pub(crate) version: u64,
    pub(crate) text: Utf8Bytes,
}

#[derive(Debug, Default)]
struct Log {
    /// Number of the entry that comes next; the first is 1.
    next: u64,
    kept: VecDeque<Utf8Bytes>,
}

/// Entries of a log behind a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The entries, oldest first.
    pub entries: Vec<Utf8Bytes>,
    /// Number of the first of them; of the next one to come where there are none.
    pub first: u64,
    /// Entries that are gone between what was asked for and the first.
    pub missed: u64,
}

#[derive(Debug)]
struct Inner {
    /// Tells this hub from one before it, whose numbers were others.
    epoch: u64,
    latest: RwLock<BTreeMap<(Topic, Arc<str>), Latest>>,
    version: AtomicU64,
    logs: [Mutex<Log>; Topic::COUNT],
    /// Clients by topic.
    watchers: [AtomicUsize; Topic::COUNT],
    /// Rings when a log has grown.
    bell: watch::Sender<u64>,
    refused_keys: AtomicU64,
}

/// A handle on the hub; clones share it.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// An empty hub.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            // 53 bits, which JavaScript keeps.
            epoch: wall_ns() >> 10 & ((1 << 53) - 1),
            latest: RwLock::default(),
            version: AtomicU64::new(0),
            logs: std::array::from_fn(|_| Mutex::default()),
            watchers: std::array::from_fn(|_| AtomicUsize::new(0)),
            bell: watch::Sender::new(0),
            refused_keys: AtomicU64::new(0),
        }))
    }

    /// Puts the newest value of a topic of state; `key` is empty where the topic has none. `event_ns` is the moment of
    /// event time that it shows.
    pub fn put(&self, topic: Topic, key: &str, event_ns: Option<i64>, data: &impl Serialize) {
        let shown = (!key.is_empty()).then_some(key);
        let envelope = Envelope { topic, key: shown, number: None, wall_ns: wall_ns(), event_ns, data };
        let Ok(text) = serde_json::to_string(&envelope) else { return };
        let text = text.into();
        let mut all = self.0.latest.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever has seen a version has seen all below it.
        let latest = Latest { version: self.0.version.fetch_add(1, Ordering::Relaxed) + 1, text };
        if let Some(place) = all.get_mut(&(topic, key) as &dyn Key) {
            *place = latest;
        } else if all.len() < KEYS_MAX {
            all.insert((topic, key.into()), latest);
        } else {
            self.0.refused_keys.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What tells this hub's numbers from those of one before it.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Appends an entry to a log and gives its number.
    pub fn tell(&self, topic: Topic, event_ns: Option<i64>, data: &impl Serialize) -> u64 {
        // Written before the lock is taken; under it only the number is put in.
        let Ok(data) = serde_json::value::to_raw_value(data) else { return self.newest(topic) };
        let mut log = self.log(topic);
        let number = log.next + 1;
        let envelope = Envelope { topic, key: None, number: Some(number), wall_ns: wall_ns(), event_ns, data: &data };
        let Ok(text) = serde_json::to_string(&envelope) else { return log.next };
        self.append(&mut log, text);
        number
    }

    /// Appends a text to a log as it is: what clients tell each other.
    pub(crate) fn relay(&self, topic: Topic, text: String) {
        self.append(&mut self.log(topic), text);
    }

    fn append(&self, log: &mut Log, text: String) {
        log.next += 1;
        if log.kept.len() == LOG_KEPT {
            log.kept.pop_front();
        }
        log.kept.push_back(text.into());
        self.0.bell.send_modify(|rung| *rung += 1);
    }

    fn log(&self, topic: Topic) -> std::sync::MutexGuard<'_, Log> {
        // Nobody panics while holding it.
        self.0.logs[topic as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries of a log with numbers above `after`, at most `most`.
    pub fn entries(&self, topic: Topic, after: u64, most: usize) -> Entries {
        let log = self.log(topic);
        let oldest = log.next + 1 - log.kept.len() as u64;
        let first = (after + 1).max(oldest).min(log.next + 1);
        let entries = log.kept.iter().skip((first - oldest) as usize).take(most).cloned().collect();
        Entries { entries, first, missed: first.saturating_sub(after + 1) }
    }

    /// Number of a log's newest entry; 0 before the first.
    pub fn newest(&self, topic: Topic) -> u64 {
        self.log(topic).next
    }

    /// Values of state that are newer than `seen` and wanted, and the version up to which that is all.
    pub(crate) fn changes(&self, seen: u64, wanted: impl Fn(Topic, &str) -> bool) -> (u64, Vec<Utf8Bytes>) {
        let all = self.0.latest.read().unwrap_or_else(PoisonError::into_inner);
        let mut newest = seen;
        let mut found = Vec::new();
        for ((topic, key), latest) in all.iter() {
            newest = newest.max(latest.version);
            if latest.version > seen && wanted(*topic, key) {
                found.push(latest.text.clone());
            }
        }
        (newest, found)
    }

    /// All values of a topic.
    pub fn state(&self, topic: Topic) -> Vec<Utf8Bytes> {
        self.changes(0, |other, _| other == topic).1
    }

    /// The value of a topic and key.
    pub fn value(&self, topic: Topic, key: &str) -> Option<Utf8Bytes> {
        let all = self.0.latest.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(topic, key) as &dyn Key).map(|latest| latest.text.clone())
    }

    /// Forgets all values of a topic: what they told of is no more.
    pub fn forget(&self, topic: Topic) {
        let mut all = self.0.latest.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _), _| *other != topic);
    }

    /// Whether any client is subscribed to a topic.
    pub fn is_watched(&self, topic: Topic) -> bool {
        self.0.watchers[topic as usize].load(Ordering::Relaxed) > 0
    }

    pub(crate) fn watch(&self, topic: Topic, watched: bool) {
        let watchers = &self.0.watchers[topic as usize];
        if watched {
            watchers.fetch_add(1, Ordering::Relaxed);
        } else {
            watchers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.0.bell.subscribe()
    }

    /// Values that found no place because there are too many keys.
    pub fn refused_keys(&self) -> u64 {
        self.0.refused_keys.load(Ordering::Relaxed)
    }
}

/// A key that can be looked up without being owned.
trait Key {
    fn parts(&self) -> (Topic, &str);
}

impl Key for (Topic, Arc<str>) {
    fn parts(&self) -> (Topic, &str) {
        (self.0, &self.1)
    }
}

impl Key for (Topic, &str) {
    fn parts(&self) -> (Topic, &str) {
        *self
    }
}

impl<'a> std::borrow::Borrow<dyn Key + 'a> for (Topic, Arc<str>) {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Key + '_ {}

impl PartialOrd for dyn Key + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Key + '_ {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn json(text: &Utf8Bytes) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn state_is_the_newest_only() {
        let hub = Hub::new();
        hub.put(Topic::Price, "A", Some(5), &json!({ "mid": 1 }));
        hub.put(Topic::Price, "B", None, &json!({ "mid": 2 }));
        let (seen, first) = hub.changes(0, |topic, _| topic == Topic::Price);
        assert_eq!(first.len(), 2);
        assert_eq!((json(&first[0])["key"].clone(), json(&first[0])["event_ns"].clone()), (json!("A"), json!(5)));
        hub.put(Topic::Price, "A", Some(6), &json!({ "mid": 3 }));
        hub.put(Topic::Price, "A", Some(7), &json!({ "mid": 4 }));
        let (_, second) = hub.changes(seen, |_, _| true);
        assert_eq!(second.iter().map(|text| json(text)["data"]["mid"].clone()).collect::<Vec<_>>(), [json!(4)]);
        assert_eq!(hub.value(Topic::Price, "A").map(|text| json(&text)["data"]["mid"].clone()), Some(json!(4)));
        hub.forget(Topic::Price);
        assert!(hub.state(Topic::Price).is_empty());
    }

    #[test]
    fn logs_are_numbered_and_say_what_is_gone() {
        let hub = Hub::new();
        assert_eq!(hub.entries(Topic::Breaker, 0, 10), Entries { entries: vec![], first: 1, missed: 0 });
        for n in 0..LOG_KEPT as u64 + 10 {
            assert_eq!(hub.tell(Topic::Breaker, None, &n), n + 1);
        }
        let newest = hub.newest(Topic::Breaker);
        let all = hub.entries(Topic::Breaker, 0, usize::MAX);
        assert_eq!((all.first, all.missed, all.entries.len()), (11, 10, LOG_KEPT));
        let last = hub.entries(Topic::Breaker, newest - 2, 100);
        assert_eq!((last.missed, last.entries.len()), (0, 2));
        assert_eq!(json(&last.entries[1])["number"], newest);
        assert_eq!(hub.entries(Topic::Breaker, newest + 5, 100).entries.len(), 0);
        assert_eq!(hub.newest(Topic::Threshold), 0, "logs do not know each other");
    }
}
