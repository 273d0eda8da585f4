//! What the engine said last, and how old that is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Without a new word for so long nothing is called live.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Newest values by topic and key.
    state: BTreeMap<(String, String), Value>,
    /// The server's wall time when it answered, ns.
    wall_ns: u64,
    /// When that was here.
    at: Option<Instant>,
    /// Breakers' changes of state, oldest first.
    pub(super) trips: Vec<Value>,
    /// Why there is no answer.
    pub(super) error: Option<String>,
}

/// How much what is seen is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The engine answers, and its market moves.
    Live,
    /// It answers, and its market stands still, or the run has ended.
    Stale,
    /// It does not answer.
    Disconnected,
}

impl Seen {
    /// Takes an answer.
    pub(super) fn take(&mut self, mut answer: Value) {
        (self.error, self.at) = (None, Some(Instant::now()));
        self.wall_ns = answer["wall_ns"].as_u64().unwrap_or(0);
        self.trips = answer["trips"].as_array_mut().map(std::mem::take).unwrap_or_default();
        self.state.clear();
        for entry in answer["state"].as_array_mut().into_iter().flatten() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            self.state.insert((text("topic"), text("key")), entry.take());
        }
    }

    /// There was no answer.
    pub(super) fn lost(&mut self, error: String) {
        self.error = Some(error);
    }

    /// The value of a topic without keys.
    pub(super) fn one(&self, topic: &str) -> &Value {
        self.of(topic, "").map_or(&Value::Null, |entry| &entry["data"])
    }

    /// What was told of a topic and key, with its times.
    pub(super) fn of(&self, topic: &str, key: &str) -> Option<&Value> {
        self.state.get(&(topic.to_owned(), key.to_owned()))
    }

    /// Keys and values of a topic.
    pub(super) fn all<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.state.iter().filter(move |((other, _), _)| other == topic).map(|((_, key), entry)| (key.as_str(), entry))
    }

    /// How old a value is.
    pub(super) fn age(&self, entry: &Value) -> Option<Duration> {
        let told = entry["wall_ns"].as_u64()?;
        Some(Duration::from_nanos(self.wall_ns.saturating_sub(told)) + self.at?.elapsed())
    }

    /// How much it is worth, by this program's own clock.
    pub(super) fn condition(&self) -> (Condition, Option<Duration>) {
        let silent = self.at.map(|at| at.elapsed());
        if self.error.is_some() || silent.is_none_or(|silent| silent > PATIENCE) {
            return (Condition::Disconnected, silent);
        }
        let newest = self.all("price").filter_map(|(_, entry)| self.age(entry)).min();
        let ended = self.one("engine")["state"] == "ended";
        match newest {
            Some(age) if age <= PATIENCE && !ended => (Condition::Live, Some(age)),
            newest => (Condition::Stale, newest),
        }
    }
}
