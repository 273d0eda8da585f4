//! A connection to either database: the same statements, the same types.

use std::fmt::Write;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::cell::{Cell, CellType, Table};
use super::place::Options;

/// A connection.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// The same expression for both.
macro_rules! on {
    ($connection:expr, $own:ident => $act:expr) => {
        match $connection {
            Connection::Sqlite($own) => {
                let $own = &mut **$own;
                $act
            }
            Connection::Postgres($own) => {
                let $own = &mut **$own;
                $act
            }
        }
    };
}

/// A statement with its values.
macro_rules! bound {
    ($statement:expr, $values:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($statement));
        for cell in $values {
            query = match cell {
                Cell::Int(value) => query.bind(*value),
                Cell::Real(value) => query.bind(*value),
                Cell::Text(value) => query.bind(value.as_deref()),
                Cell::Bool(value) => query.bind(*value),
            };
        }
        query
    }};
}

/// A value as a column's type; what is none of it is shown as what it is not.
macro_rules! read {
    ($row:expr, $at:expr, $kind:expr) => {{
        let (row, at): (_, usize) = ($row, $at);
        let read = match $kind {
            CellType::Int => Row::try_get(row, at).map(Cell::Int),
            CellType::Real => Row::try_get(row, at).map(Cell::Real),
            CellType::Text => Row::try_get(row, at).map(Cell::Text),
            CellType::Bool => Row::try_get(row, at).map(Cell::Bool),
        };
        read.unwrap_or_else(|error| Cell::Text(Some(format!("unreadable: {error}"))))
    }};
}

/// Rows in one statement. Few sizes, so that each is prepared once; the largest has fewer values than either allows.
const CHUNKS: [usize; 3] = [256, 16, 1];

impl Connection {
    pub(super) async fn open(options: &Options) -> sqlx::Result<Self> {
        Ok(match options {
            Options::Sqlite(options) => Self::Sqlite(Box::new(options.connect().await?)),
            Options::Postgres(options) => Self::Postgres(Box::new(options.connect().await?)),
        })
    }

    /// Statements without values.
    pub(super) async fn run(&mut self, statements: &str) -> sqlx::Result<()> {
        on!(self, own => sqlx::raw_sql(AssertSqlSafe(statements)).execute(own).await.map(drop))
    }

    /// Begins a transaction that writes.
    pub(super) async fn begin(&mut self) -> sqlx::Result<()> {
        self.run(match self {
            // Whoever reads first and writes then could find that another has written in between.
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })
        .await
    }

    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        self.run("COMMIT").await
    }

    /// Keeps others from migrating at the same time, until the transaction ends.
    pub(super) async fn lock_migrations(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            // The number is this program's: `tidegate` as bytes.
            Self::Postgres(_) => self.run("SELECT pg_advisory_xact_lock(8388347103110787173)").await,
        }
    }

    /// A migration's text as this database wants it.
    pub(super) fn dialect(&self, text: &str) -> String {
        match self {
            // Only under this name is a key the row's own number, without an index of its own.
            Self::Sqlite(_) => text.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY"),
            Self::Postgres(_) => text.to_owned(),
        }
    }

    /// A statement that changes rows; gives how many.
    pub(super) async fn change(&mut self, statement: &str, values: &[Cell]) -> sqlx::Result<u64> {
        on!(self, own => bound!(statement, values).execute(own).await.map(|done| done.rows_affected()))
    }

    /// Rows of a question, with columns of these types.
    pub(super) async fn ask(
        &mut self,
        statement: &str,
        values: &[Cell],
        types: &[CellType],
    ) -> sqlx::Result<Vec<Vec<Cell>>> {
        on!(self, own => {
            let rows = bound!(statement, values).fetch_all(own).await?;
            let read = |row| (0..).zip(types).map(|(at, kind)| read!(row, at, *kind)).collect();
            Ok(rows.iter().map(read).collect())
        })
    }

    /// Writes rows of a table.
    pub(super) async fn insert(&mut self, table: &Table, mut rows: &[&Vec<Cell>]) -> sqlx::Result<()> {
        while !rows.is_empty() {
            let size = CHUNKS.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
            let (some, rest) = rows.split_at(size);
            let statement = insertion(table, size, matches!(self, Self::Postgres(_)));
            let values = some.iter().flat_map(|row| row.iter());
            on!(self, own => bound!(statement.as_str(), values).execute(own).await.map(drop))?;
            rows = rest;
        }
        Ok(())
    }
}

/// The statement that inserts so many rows. SQLite looks for the name of each value among all names, which for
/// thousands of them takes longer than everything else: there, values have none.
fn insertion(table: &Table, rows: usize, numbered: bool) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", "));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..names.len() {
            text.push_str(if column == 0 { "" } else { ", " });
            // Writing into a string does not fail.
            let _ = match numbered {
                true => write!(text, "${}", row * names.len() + column + 1),
                false => text.write_char('?'),
            };
        }
        text.push(')');
    }
    if table.replaced {
        let (keys, rest) = names.split_at(table.keys);
        let set: Vec<String> = rest.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let _ = write!(text, " ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), set.join(", "));
    }
    text
}

/// The statement that reads rows whose first key lies in a range, in order.
pub(super) fn selection(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let (names, keys, first) = (names.join(", "), names[..table.keys].join(", "), names[0]);
    format!("SELECT {names} FROM {} WHERE {first} >= $1 AND {first} < $2 ORDER BY {keys}", table.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::TABLES;

    #[test]
    fn statements_name_every_column_and_stay_within_what_databases_take() {
        let incidents = TABLES.iter().find(|table| table.name == "incidents").expect("a table");
        let text = insertion(incidents, 2, true);
        assert!(text.starts_with("INSERT INTO incidents (session, number, start_ns, "), "{text}");
        assert!(text.contains("$10), ($11, ") && text.contains("ON CONFLICT (session, number) DO UPDATE SET start_ns"));
        assert!(insertion(incidents, 1, false).contains("VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT"));
        assert!(selection(incidents).ends_with("session < $2 ORDER BY session, number"));
        let widest = TABLES.iter().map(|table| table.columns.len()).max().unwrap_or(0);
        assert!(widest * CHUNKS[0] <= 32_766, "SQLite takes no more values in a statement");
    }
}
