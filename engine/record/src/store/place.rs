//! Where a store is: a URL without its password, which comes from a file or the environment.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use zeroize::Zeroizing;

use super::StoreError;

/// How long SQLite waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// Where a store is. Neither its text nor its `Debug` form has a password.
#[derive(Clone)]
pub struct Place {
    kind: Kind,
    shown: String,
}

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres { url: String, password: Option<Zeroizing<String>> },
}

/// What opens a connection.
pub(super) enum Options {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Place {
    /// A SQLite file.
    pub fn sqlite(path: &Path) -> Self {
        Self { kind: Kind::Sqlite(path.to_owned()), shown: format!("sqlite:{}", path.display()) }
    }

    /// `sqlite:PATH` or `postgres://USER@HOST[:PORT]/DATABASE` (`?host=/FOLDER` for a Unix socket).
    ///
    /// # Errors
    /// [`StoreError::Place`]: what the text is not, or that it holds a password.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Place(reason.to_owned());
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') || path.contains(['?', '#']) {
                return Err(wrong("expected sqlite:PATH with the path of a file"));
            }
            return Ok(Self::sqlite(Path::new(path)));
        }
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let Some(rest) = rest else {
            // What it is instead is not repeated: it may hold a secret.
            return Err(wrong("expected sqlite:PATH or postgres://USER@HOST/DATABASE"));
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        if user.contains(':') || query.split('&').any(|pair| pair.starts_with("password=")) {
            return Err(wrong(
                "holds a password; expected it in a file or the environment, where nobody else reads it",
            ));
        }
        if PgConnectOptions::from_str(url).is_err() {
            return Err(wrong("expected postgres://USER@HOST[:PORT]/DATABASE"));
        }
        Ok(Self { kind: Kind::Postgres { url: url.to_owned(), password: None }, shown: url.to_owned() })
    }

    /// The same with a password; a SQLite file has none.
    #[must_use]
    pub fn with_password(mut self, secret: Option<Zeroizing<String>>) -> Self {
        if let Kind::Postgres { password, .. } = &mut self.kind {
            *password = secret;
        }
        self
    }

    /// Whether it is a SQLite file.
    pub const fn is_file(&self) -> bool {
        matches!(self.kind, Kind::Sqlite(_))
    }

    /// `write` false: nothing is made where there is nothing.
    pub(super) fn options(&self, write: bool) -> Result<Options, StoreError> {
        match &self.kind {
            Kind::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).create_if_missing(write).busy_timeout(BUSY);
                // What the last transactions before a power cut lost, the log has: their position is lost with them.
                let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
                Ok(Options::Sqlite(Box::new(options.disable_statement_logging())))
            }
            Kind::Postgres { url, password } => {
                let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Place("no URL".into()))?;
                let options = match password {
                    Some(password) => options.password(password),
                    None => options,
                };
                // A server must not keep locks for a client that is gone or waits for somebody who hangs.
                let options = options.application_name("tidegate").options([
                    ("statement_timeout", "60s"),
                    ("lock_timeout", "20s"),
                    ("idle_in_transaction_session_timeout", "60s"),
                    ("client_min_messages", "warning"),
                ]);
                Ok(Options::Postgres(Box::new(options.disable_statement_logging())))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.shown)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_urls_without_passwords() {
        for (url, shown) in [
            ("sqlite:run/store.sqlite", "sqlite:run/store.sqlite"),
            ("sqlite:///var/lib/s", "sqlite:/var/lib/s"),
            ("postgres://tide@db:5433/tide", "postgres://tide@db:5433/tide"),
            ("postgresql://tide@localhost/tide?host=/run/pg", "postgresql://tide@localhost/tide?host=/run/pg"),
        ] {
            assert_eq!(Place::parse(url).map(|place| place.to_string()).as_deref(), Ok(shown), "{url}");
        }
        for url in ["", "mysql://db/x", "sqlite:", "sqlite::memory:", "postgres://db:port/x"] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_are_refused_in_urls_and_never_shown() {
        for url in ["postgres://tide:canary@db/tide", "postgres://db/tide?user=t&password=canary", "canary://x"] {
            let error = Place::parse(url).expect_err("a password").to_string();
            assert!(!error.contains("canary"), "{error}");
        }
        let place = Place::parse("postgres://tide@db/tide").expect("a place");
        let place = place.with_password(Some(Zeroizing::new("canary".into())));
        assert!(!format!("{place} {place:?}").contains("canary"));
    }
}
