//! Stores: what a log tells, in tables that can be asked in SQL.
//!
//! The log is the truth, a store is its index: every row is made from entries, and can be made again. A store knows
//! which log it belongs to and how much of it is there ([`Position`]: the log's name, the next entry, the log's root at
//! that entry); rows and the new position are written in one transaction, so that whoever dies at whatever moment
//! leaves a store that holds exactly the entries before its position. Nothing is buffered for a store that is away:
//! the log itself is the buffer.
//!
//! One layer serves SQLite and Postgres: the same statements, the same types ([`cell`]), migrations in files.
//! Everything here blocks its thread, within a time: see [`Store::open`].

pub mod cell;
mod connection;
mod migrate;
mod place;
pub mod rows;

use std::time::Duration;

use cell::{Cell, CellType, Table};
use connection::{Connection, selection};
pub use migrate::VERSION;
pub use place::Place;
use rows::{MinuteMetric, Rows, TABLES};

/// A store that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A URL that is none; it is not repeated, because it may hold a secret.
    #[error("the store's URL {0}")]
    Place(String),
    /// The database refused, or is not there.
    #[error("{doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// It did not answer in time.
    #[error("{doing}: no answer within {seconds} s")]
    Silent {
        /// What was being done.
        doing: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Another program made it.
    #[error("its schema is version {found}, this program knows {known}; use the program that made it, or a new store")]
    Newer {
        /// Its version.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// A migration that is not the one that this program knows.
    #[error("migration {version} is not the one that this program knows; use a new store")]
    Migration {
        /// Which.
        version: i64,
    },
    /// Another process has written meanwhile.
    #[error("another process writes this store: it no longer stands at entry {expected}")]
    Moved {
        /// Where it was thought to stand.
        expected: i64,
    },
    /// A position that makes no sense.
    #[error("its position cannot be read: {0}")]
    Position(String),
    /// No thread, no memory.
    #[error("starting: {0}")]
    Start(String),
}

impl StoreError {
    fn failed(doing: &'static str, error: &sqlx::Error) -> Self {
        Self::Failed { doing, reason: error.to_string() }
    }

    /// Whether trying again may help.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Silent { .. } | Self::Moved { .. } | Self::Start(_))
    }
}

/// Which log, and how much of it is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Name of the log.
    pub origin: String,
    /// First entry that is here; 0 unless retention had removed some before.
    pub first: i64,
    /// First entry that is not here yet.
    pub next: i64,
    /// The log's root at `next`, as hex.
    pub root: String,
    /// Entry that began the session of the entry before `next`; -1 for none.
    pub session: i64,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    patience: Duration,
}

const POSITION: [CellType; 5] = [CellType::Text, CellType::Int, CellType::Int, CellType::Text, CellType::Int];

fn int(value: i64) -> Cell {
    Cell::Int(Some(value))
}

fn text(value: &str) -> Cell {
    Cell::Text(Some(value.to_owned()))
}

impl Store {
    /// Opens a store, which is made if it is not there, and brings its schema to this program's version. No call on it
    /// takes longer than `patience`. After an error it is of no more use: open it again.
    ///
    /// # Errors
    /// [`StoreError`]: it is not there, refuses, or was made by a newer program.
    pub fn open(place: &Place, patience: Duration) -> Result<Self, StoreError> {
        let mut store = Self::connect(place, patience, true)?;
        store.within("migrating", async |connection| migrate::migrate(connection).await)?;
        Ok(store)
    }

    /// Opens a store to look at it; none is made and nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`]: it is not there, or refuses.
    pub fn look(place: &Place, patience: Duration) -> Result<Self, StoreError> {
        Self::connect(place, patience, false)
    }

    fn connect(place: &Place, patience: Duration, write: bool) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Start(error.to_string()))?;
        let options = place.options(write)?;
        let opened = runtime.block_on(async { tokio::time::timeout(patience, Connection::open(&options)).await });
        let doing = "connecting";
        let opened = opened.map_err(|_| StoreError::Silent { doing, seconds: patience.as_secs() })?;
        let connection = opened.map_err(|error| StoreError::failed(doing, &error))?;
        Ok(Self { runtime, connection, patience })
    }

    fn within<T>(
        &mut self,
        doing: &'static str,
        act: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (connection, patience) = (&mut self.connection, self.patience);
        let done = self.runtime.block_on(async { tokio::time::timeout(patience, act(connection)).await });
        done.unwrap_or(Err(StoreError::Silent { doing, seconds: patience.as_secs() }))
    }

    /// All or nothing of what `act` does.
    fn transaction(
        &mut self,
        doing: &'static str,
        act: impl AsyncFnOnce(&mut Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.within(doing, async |connection| {
            let failed = |error| StoreError::failed(doing, &error);
            connection.begin().await.map_err(failed)?;
            match act(connection).await {
                Ok(()) => connection.commit().await.map_err(failed),
                Err(error) => {
                    // Others need not wait until this one is dropped. Where it is broken, dropping it does the same.
                    let _ = connection.run("ROLLBACK").await;
                    Err(error)
                }
            }
        })
    }

    /// Which log it belongs to; `None` while it holds nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn position(&mut self) -> Result<Option<Position>, StoreError> {
        let doing = "reading the position";
        self.within(doing, async |connection| {
            let question = "SELECT origin, first_entry, next_entry, root, session FROM position WHERE id = 1";
            let rows = connection.ask(question, &[], &POSITION).await;
            let rows = rows.map_err(|error| StoreError::failed(doing, &error))?;
            let Some(row) = rows.into_iter().next() else { return Ok(None) };
            match &row[..] {
                [
                    Cell::Text(Some(origin)),
                    Cell::Int(Some(first)),
                    Cell::Int(Some(next)),
                    Cell::Text(Some(root)),
                    Cell::Int(Some(session)),
                ] => {
                    let (origin, root) = (origin.clone(), root.clone());
                    Ok(Some(Position { origin, first: *first, next: *next, root, session: *session }))
                }
                other => Err(StoreError::Position(format!("{other:?}"))),
            }
        })
    }

    /// Writes rows together with the position that they lead to, from the one that the store has (`None`: it holds
    /// nothing yet). Durable as the database promises it when this returns.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was written, or, where the connection broke off, everything; the position tells which.
    pub fn write(&mut self, from: Option<&Position>, to: &Position, rows: &Rows) -> Result<(), StoreError> {
        self.transaction("writing rows", async |connection| {
            let failed = |error| StoreError::failed("writing rows", &error);
            // The position first: who comes second waits here, and sees that it has moved.
            if moved(connection, from, to).await.map_err(failed)? {
                return Err(StoreError::Moved { expected: from.map_or(0, |from| from.next) });
            }
            for (table, rows) in rows.tables() {
                let rows: Vec<&Vec<Cell>> = rows.values().collect();
                connection.insert(table, &rows).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Writes metrics; those of a minute that are there already are replaced.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was written, or everything.
    pub fn write_minutes(&mut self, minutes: &[MinuteMetric]) -> Result<(), StoreError> {
        let doing = "writing metrics";
        // Two rows of a key in one statement are an error, and the later one counts.
        let rows: std::collections::BTreeMap<(i64, i64, &str), Vec<Cell>> = minutes
            .iter()
            .filter(|metric| metric.value.is_finite())
            .map(|metric| {
                let MinuteMetric { session, minute_ns, name, value } = metric;
                let cells = vec![int(*session), int(*minute_ns), text(name), Cell::Real(Some(*value))];
                ((*session, *minute_ns, name.as_str()), cells)
            })
            .collect();
        let rows: Vec<&Vec<Cell>> = rows.values().collect();
        self.transaction(doing, async |connection| {
            let written = connection.insert(&MINUTES, &rows).await;
            written.map_err(|error| StoreError::failed(doing, &error))
        })
    }

    /// Rows of a table whose first key lies in `[from, to)`, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rows(&mut self, table: &Table, from: i64, to: i64) -> Result<Vec<Vec<Cell>>, StoreError> {
        let doing = "reading rows";
        self.within(doing, async |connection| {
            let types: Vec<CellType> = table.columns.iter().map(|(_, kind)| *kind).collect();
            let rows = connection.ask(&selection(table), &[int(from), int(to)], &types).await;
            rows.map_err(|error| StoreError::failed(doing, &error))
        })
    }

    /// Runs statements of one's own, without values: to remove what is too old, say. What they make of rows that the
    /// log tells, a comparison with it shows.
    ///
    /// # Errors
    /// [`StoreError`]; statements before the one that failed may have been carried out.
    pub fn execute(&mut self, statements: &str) -> Result<(), StoreError> {
        let doing = "carrying out statements";
        self.within(doing, async |connection| {
            connection.run(statements).await.map_err(|error| StoreError::failed(doing, &error))
        })
    }

    /// How many rows each table has, by name; metrics last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn counts(&mut self) -> Result<Vec<(&'static str, i64)>, StoreError> {
        let doing = "counting rows";
        let mut counts = Vec::with_capacity(TABLES.len() + 1);
        for table in TABLES.iter().chain([&MINUTES]) {
            let rows = self.within(doing, async |connection| {
                let question = format!("SELECT COUNT(*) FROM {}", table.name);
                let rows = connection.ask(&question, &[], &[CellType::Int]).await;
                rows.map_err(|error| StoreError::failed(doing, &error))
            })?;
            let count = match rows.first().map(Vec::as_slice) {
                Some([Cell::Int(Some(count))]) => *count,
                _ => 0,
            };
            counts.push((table.name, count));
        }
        Ok(counts)
    }
}

/// Metrics by the minute. Not among the log's tables: no entry tells of them.
pub static MINUTES: Table = Table {
    name: "metrics_minute",
    columns: &[
        ("session", CellType::Int),
        ("minute_ns", CellType::Int),
        ("name", CellType::Text),
        ("value", CellType::Real),
    ],
    keys: 3,
    replaced: true,
};

/// Moves the position; whether somebody else has done so before.
async fn moved(connection: &mut Connection, from: Option<&Position>, to: &Position) -> sqlx::Result<bool> {
    let Position { origin, first, next, root, session } = to;
    let mut values = vec![text(origin), int(*first), int(*next), text(root), int(*session)];
    let statement = match from {
        None => {
            "INSERT INTO position (id, origin, first_entry, next_entry, root, session) VALUES (1, $1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING"
        }
        Some(from) => {
            values.extend([int(from.next), text(&from.root)]);
            "UPDATE position SET origin = $1, first_entry = $2, next_entry = $3, root = $4, session = $5 \
             WHERE id = 1 AND next_entry = $6 AND root = $7"
        }
    };
    Ok(connection.change(statement, &values).await? != 1)
}

#[cfg(test)]
mod tests;
