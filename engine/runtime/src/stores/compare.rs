//! Whether a store holds what the log tells: every row is made again and compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tidegate_record::log::{LogError, Tail};
use tidegate_record::note::Verifier;
use tidegate_record::store::cell::{Cell, Table, key};
use tidegate_record::store::rows::{Rows, TABLES};
use tidegate_record::store::{Place, Store};

use super::derive::Deriver;
use super::follow::{FollowError, check_identity, failed};

/// Entries compared at once.
const CHUNK: u64 = 8_192;
/// Differences that are told in words.
const TOLD: usize = 20;
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it begins anew when somebody writes the store meanwhile.
const ATTEMPTS: u32 = 3;

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableComparison {
    /// Its name.
    pub table: &'static str,
    /// Rows that the log tells.
    pub expected: u64,
    /// Rows that the store has of the same entries.
    pub found: u64,
    /// Rows that are missing, others, or too many.
    pub different: u64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Name of the log.
    pub origin: String,
    /// Entries of the log.
    pub entries: u64,
    /// Entries that the store holds: those below this were compared.
    pub next: u64,
    /// Entries below this were removed from the log by retention: their rows cannot be compared.
    pub minimum: u64,
    /// The log's tables.
    pub tables: Vec<TableComparison>,
    /// The first differences in words.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Entries that are not in the store yet.
    pub const fn behind(&self) -> u64 {
        self.entries.saturating_sub(self.next)
    }

    /// Whether every row that was compared is as the log tells it.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.different == 0)
    }
}

type Keyed = BTreeMap<[i64; 2], Vec<Cell>>;

/// Makes every row of the log in a folder anew and compares it with the store's.
///
/// # Errors
/// [`FollowError`]: either cannot be read, or they do not belong together.
pub fn compare(log: &Path, keys: &[Verifier], place: &Place) -> Result<Comparison, FollowError> {
    let no_log = || LogError::Damaged { path: log.to_owned(), reason: "no checkpoint: this is no log".into() };
    let tail = Tail::open(log, keys)?.ok_or_else(no_log)?;
    let mut store = Store::look(place, PATIENCE).map_err(failed(place))?;
    let mut attempt = 1;
    loop {
        let position = store.position().map_err(failed(place))?;
        if let Some(position) = &position {
            check_identity(place, &tail, position)?;
        }
        let next = position.as_ref().map_or(0, |position| position.next.max(0) as u64);
        let comparison = Comparing::new(&tail, &mut store, place, next).run()?;
        // Sessions and incidents change while somebody follows the log.
        let moved = store.position().map_err(failed(place))? != position;
        if comparison.is_equal() || !moved || attempt == ATTEMPTS {
            return Ok(comparison);
        }
        attempt += 1;
    }
}

struct Comparing<'a> {
    tail: &'a Tail,
    store: &'a mut Store,
    place: &'a Place,
    done: Comparison,
}

impl<'a> Comparing<'a> {
    fn new(tail: &'a Tail, store: &'a mut Store, place: &'a Place, next: u64) -> Self {
        let tables =
            TABLES.iter().map(|table| TableComparison { table: table.name, expected: 0, found: 0, different: 0 });
        let done = Comparison {
            origin: tail.origin().to_owned(),
            entries: tail.size(),
            next,
            minimum: tail.minimum(),
            tables: tables.collect(),
            differences: Vec::new(),
        };
        Self { tail, store, place, done }
    }

    fn run(mut self) -> Result<Comparison, FollowError> {
        let (minimum, next) = (self.tail.minimum(), self.done.next);
        let mut deriver = Deriver::default();
        // Sessions and incidents are written more than once: how they end is what counts.
        let mut replaced = Rows::default();
        // Where retention has cut into a session, rows begin with the next one.
        let mut first = if minimum == 0 { Some(i64::MIN) } else { None };
        let mut from = minimum;
        while from < next {
            let to = next.min(from + CHUNK);
            let mut rows = Rows::default();
            self.tail.each(from, to, FollowError::Log, |index, bytes| {
                let taken = deriver.take(index, bytes, &mut rows);
                taken.map_err(|source| FollowError::Entry { index, source })?;
                if first.is_none() && deriver.session() >= 0 {
                    first = Some(index as i64);
                }
                Ok::<(), FollowError>(())
            })?;
            deriver.close(&mut rows);
            if let Some(first) = first {
                let begin = if from == 0 { i64::MIN } else { first.max(from as i64) };
                self.once(&rows, begin, to as i64)?;
            }
            replaced.extend(&rows, |table| table.replaced);
            from = to;
        }
        let first = first.unwrap_or(i64::MAX);
        self.all(&replaced, |table| table.replaced, first, i64::MAX)?;
        // What the store has of entries that are not in it.
        self.all(&Rows::default(), |table| !table.replaced, (next as i64).max(minimum as i64), i64::MAX)?;
        Ok(self.done)
    }

    fn once(&mut self, rows: &Rows, from: i64, to: i64) -> Result<(), FollowError> {
        self.all(rows, |table| !table.replaced, from, to)
    }

    fn all(&mut self, rows: &Rows, wanted: impl Fn(&Table) -> bool, from: i64, to: i64) -> Result<(), FollowError> {
        for (place, (table, expected)) in rows.tables().enumerate().filter(|(_, (table, _))| wanted(table)) {
            let found = self.store.rows(table, from, to).map_err(failed(self.place))?;
            let found: Keyed = found.into_iter().map(|row| (key(table, &row), row)).collect();
            self.table(place, table, expected, &found);
        }
        Ok(())
    }

    fn table(&mut self, place: usize, table: &Table, expected: &Keyed, found: &Keyed) {
        let mut tell = |text: String| {
            if self.done.differences.len() < TOLD {
                self.done.differences.push(text);
            }
        };
        let mut different = 0;
        for (key, row) in expected {
            let name = || named(table, key);
            match found.get(key) {
                None => tell(format!("{}: is missing", name())),
                Some(other) => {
                    let Some(column) = (0..row.len()).find(|at| other.get(*at) != row.get(*at)) else { continue };
                    let (column_name, _) = table.columns[column];
                    tell(format!("{}: {column_name} is {}, the log says {}", name(), other[column], row[column]));
                }
            }
            different += 1;
        }
        for key in found.keys().filter(|key| !expected.contains_key(*key)) {
            tell(format!("{}: the log tells no such row", named(table, key)));
            different += 1;
        }
        let line = &mut self.done.tables[place];
        line.expected += expected.len() as u64;
        line.found += found.len() as u64;
        line.different += different;
    }
}

fn named(table: &Table, key: &[i64; 2]) -> String {
    match table.keys {
        1 => format!("{} of entry {}", table.name, key[0]),
        _ => format!("{} {} of the session of entry {}", table.name, key[1], key[0]),
    }
}
