//! `[store]` and `[redis]`: where other programs find what a run does.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_feed::session::credentials::SecretSource;
use tidegate_record::store::Place;
use tidegate_serve::redis::Settings;
use zeroize::Zeroizing;

use super::{ConfigError, SecretConfig};
use crate::stores::StorePlan;

/// The audit log as tables: SQLite, or Postgres. It follows the log and holds nobody up; what it misses while it is
/// away it takes up later, by itself or by `tidegate store sync`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Whether there is one; it needs the audit log.
    pub enabled: bool,
    /// `sqlite:PATH` or `postgres://USER@HOST[:PORT]/DATABASE`, without a password; `store.sqlite` in the output
    /// directory without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretConfig>,
}

/// The newest of what the stream shows, in Redis, for programs that read it there: `ws_status`, `ws_last_update`,
/// `mm_trap_probability`, `current_position`, `position_targets`, `position_history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Whether it is written.
    pub enabled: bool,
    /// `redis://[USER@]HOST[:PORT][/DATABASE]` or `unix:///SOCKET`, without a password. There is no TLS: over a network
    /// that others use, put a tunnel before it.
    pub url: String,
    /// Before every key.
    pub prefix: String,
    /// Where the password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretConfig>,
    /// Positions kept in `position_history`, 1 to 100,000.
    pub history: usize,
}

impl Default for RedisConfig {
    fn default() -> Self {
        let url = "redis://127.0.0.1:6379".to_owned();
        Self { enabled: false, url, prefix: String::new(), password: None, history: 1_000 }
    }
}

type Wrong<'a> = &'a dyn Fn(&str, String) -> ConfigError;

fn password(
    config: Option<&SecretConfig>,
    key: &str,
    wrong: Wrong<'_>,
) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let Some(SecretConfig { file, env }) = config.cloned() else { return Ok(None) };
    let secret = SecretSource { file, env }.read().map_err(|reason| wrong(key, reason))?;
    Ok(Some(Zeroizing::new(secret.expose().to_owned())))
}

impl StoreConfig {
    /// The store that this describes; `None` when it is not enabled.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub(super) fn plan(
        &self,
        output: &Path,
        audited: bool,
        wrong: Wrong<'_>,
    ) -> Result<Option<StorePlan>, ConfigError> {
        if !self.enabled {
            return Ok(None);
        }
        if !audited {
            let reason = "true without an audit log, which is what a store is made from; expected audit.enabled = true";
            return Err(wrong("store.enabled", reason.into()));
        }
        let place = match &self.url {
            None => Place::sqlite(&output.join("store.sqlite")),
            Some(url) => Place::parse(url).map_err(|error| wrong("store.url", error.to_string()))?,
        };
        let password = password(self.password.as_ref(), "store.password", wrong)?;
        if place.is_file() && password.is_some() {
            return Err(wrong("store.password", format!("given for {place}; a SQLite file has none")));
        }
        Ok(Some(StorePlan { place: place.with_password(password) }))
    }
}

impl RedisConfig {
    /// How Redis is reached; `None` when it is not enabled.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub(super) fn plan(&self, wrong: Wrong<'_>) -> Result<Option<Settings>, ConfigError> {
        if !self.enabled {
            return Ok(None);
        }
        if !(1..=100_000).contains(&self.history) {
            return Err(wrong("redis.history", format!("{}, expected 1 to 100,000", self.history)));
        }
        let password = password(self.password.as_ref(), "redis.password", wrong)?;
        let settings = Settings::new(&self.url, password.as_ref());
        let mut settings = settings.map_err(|reason| wrong("redis.url", format!("Redis's URL: {reason}")))?;
        (settings.prefix, settings.history) = (self.prefix.clone(), self.history);
        Ok(Some(settings))
    }
}
