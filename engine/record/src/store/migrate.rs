//! Migrations: the schema as a sequence of changes, none of which is ever edited once it was released.

use sha2::{Digest, Sha256};
use tidegate_wire::clock::realtime_ns;

use super::StoreError;
use super::cell::{Cell, CellType};
use super::connection::Connection;

/// Every change, in order; the number of one is its place from 1 on.
const MIGRATIONS: [(&str, &str); 1] = [("log", include_str!("migrations/0001_log.sql"))];

/// The version that this program knows.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                     sha256 TEXT NOT NULL, applied_ns BIGINT NOT NULL)";

/// What was done, by version.
async fn applied(connection: &mut Connection) -> sqlx::Result<Vec<(i64, String)>> {
    let question = "SELECT version, sha256 FROM schema_migrations ORDER BY version";
    let rows = connection.ask(question, &[], &[CellType::Int, CellType::Text]).await?;
    let read = |row: Vec<Cell>| match &row[..] {
        [Cell::Int(version), Cell::Text(hash)] => (version.unwrap_or(0), hash.clone().unwrap_or_default()),
        _ => (0, String::new()),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Brings a database to the version of this program, in one transaction.
///
/// # Errors
/// The database refuses; a newer program made it; a change that was made is not the one that this program knows.
pub(super) async fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |error| StoreError::failed("migrating", &error);
    connection.begin().await.map_err(failed)?;
    connection.lock_migrations().await.map_err(failed)?;
    connection.run(TABLE).await.map_err(failed)?;
    let done = applied(connection).await.map_err(failed)?;
    check(&done)?;
    for (version, (name, text)) in (1_i64..).zip(MIGRATIONS).skip(done.len()) {
        let text_here = connection.dialect(text);
        connection.run(&text_here).await.map_err(failed)?;
        let record = "INSERT INTO schema_migrations (version, name, sha256, applied_ns) VALUES ($1, $2, $3, $4)";
        let values = [
            Cell::Int(Some(version)),
            Cell::Text(Some(name.into())),
            Cell::Text(Some(hash(text))),
            Cell::Int(Some(realtime_ns())),
        ];
        connection.change(record, &values).await.map_err(failed)?;
    }
    connection.commit().await.map_err(failed)
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn check(done: &[(i64, String)]) -> Result<(), StoreError> {
    if done.len() > MIGRATIONS.len() {
        return Err(StoreError::Newer { found: done.len() as i64, known: VERSION });
    }
    let wrong = (1..).zip(done).find(|(place, (version, found))| {
        let known = MIGRATIONS.get(*place as usize - 1).map(|(_, text)| hash(text));
        place != version || known.as_ref() != Some(found)
    });
    wrong.map_or(Ok(()), |(place, _)| Err(StoreError::Migration { version: place }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_beginning_of_the_known_changes_is_gone_on_from() {
        let known: Vec<(i64, String)> = (1..).zip(MIGRATIONS.map(|(_, text)| hash(text))).collect();
        assert!(check(&[]).is_ok() && check(&known).is_ok());
        let mut more = known.clone();
        more.push((VERSION + 1, "00".into()));
        assert!(matches!(check(&more), Err(StoreError::Newer { found, .. }) if found == VERSION + 1));
        assert!(matches!(check(&[(1, "00".into())]), Err(StoreError::Migration { version: 1 })));
    }
}
