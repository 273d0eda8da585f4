//! The connection: opened, written, dropped.

use std::time::Duration;

use ::redis::{Client, Connection, ErrorKind, RedisError};

use super::slots::News;
use super::{Key, Settings};

/// Redis, connected or not.
pub(super) struct Wire {
    settings: Settings,
    connection: Option<Connection>,
}

/// What went wrong, in words; a time that ran out by what it means.
fn reason(error: &RedisError, patience: Duration) -> String {
    if error.is_timeout() || error.kind() == ErrorKind::Io && error.to_string().contains("temporarily unavailable") {
        return format!("no answer within {} ms", patience.as_millis());
    }
    error.to_string()
}

impl Wire {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, connection: None }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn drop_connection(&mut self) {
        self.connection = None;
    }

    /// Connects where it is not; whether it did.
    pub(super) fn connect(&mut self) -> Result<bool, String> {
        if self.connection.is_some() {
            return Ok(false);
        }
        let patience = self.settings.patience;
        let open = || {
            let client = Client::open(self.settings.connection.clone())?;
            let connection = client.get_connection_with_timeout(patience)?;
            connection.set_read_timeout(Some(patience))?;
            connection.set_write_timeout(Some(patience))?;
            Ok(connection)
        };
        self.connection = Some(open().map_err(|error| reason(&error, patience))?);
        Ok(true)
    }

    fn key(&self, key: Key) -> String {
        format!("{}{}", self.settings.prefix, key.name())
    }

    fn asked<T>(&mut self, ask: impl FnOnce(&mut Connection) -> Result<T, RedisError>) -> Result<T, String> {
        let patience = self.settings.patience;
        let connection = self.connection.as_mut().ok_or("it is not connected")?;
        ask(connection).map_err(|error| reason(&error, patience))
    }

    /// The history that lies there, newest first.
    pub(super) fn history(&mut self) -> Result<Vec<String>, String> {
        let (key, last) = (self.key(Key::PositionHistory), self.settings.history.saturating_sub(1));
        self.asked(|connection| ::redis::cmd("LRANGE").arg(key).arg(0).arg(last).query(connection))
    }

    /// Writes in one transaction; with `reset` it begins by removing every key. Without anything to write it asks
    /// whether Redis is there.
    pub(super) fn write(&mut self, news: &News, reset: bool) -> Result<(), String> {
        let mut pipe = ::redis::pipe();
        pipe.atomic();
        if reset {
            let keys: Vec<String> = Key::ALL.iter().map(|key| self.key(*key)).collect();
            pipe.cmd("DEL").arg(&keys).ignore();
        }
        for (key, json) in &news.values {
            pipe.cmd("SET").arg(self.key(*key)).arg(json).ignore();
        }
        let list = self.key(Key::PositionHistory);
        if news.anew && !reset {
            pipe.cmd("DEL").arg(&list).ignore();
        }
        if !news.history.is_empty() {
            // From the oldest on, each at the head.
            let oldest_first: Vec<&String> = news.history.iter().rev().collect();
            pipe.cmd("LPUSH").arg(&list).arg(&oldest_first).ignore();
            pipe.cmd("LTRIM").arg(&list).arg(0).arg(news.bound - 1).ignore();
        }
        if pipe.is_empty() {
            return self.asked(|connection| ::redis::cmd("PING").query::<String>(connection).map(drop));
        }
        self.asked(|connection| pipe.query::<()>(connection))
    }
}
