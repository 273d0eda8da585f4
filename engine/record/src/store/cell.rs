//! Values and columns, as every database keeps them.

/// A value as a database keeps it; absent values know their type.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// `BIGINT`.
    Int(Option<i64>),
    /// `DOUBLE PRECISION`; always finite.
    Real(Option<f64>),
    /// `TEXT`.
    Text(Option<String>),
    /// `BOOLEAN`.
    Bool(Option<bool>),
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(Some(value)) => write!(f, "{value}"),
            Self::Real(Some(value)) => write!(f, "{value}"),
            Self::Text(Some(value)) => write!(f, "{value:?}"),
            Self::Bool(Some(value)) => write!(f, "{value}"),
            _ => f.write_str("NULL"),
        }
    }
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellType {
    /// `BIGINT`.
    Int,
    /// `DOUBLE PRECISION`.
    Real,
    /// `TEXT`.
    Text,
    /// `BOOLEAN`.
    Bool,
}

/// A Rust type that a column can hold.
pub(super) trait Field {
    const TYPE: CellType;
    fn cell(&self) -> Cell;
}

impl Field for i64 {
    const TYPE: CellType = CellType::Int;
    fn cell(&self) -> Cell {
        Cell::Int(Some(*self))
    }
}

impl Field for Option<i64> {
    const TYPE: CellType = CellType::Int;
    fn cell(&self) -> Cell {
        Cell::Int(*self)
    }
}

impl Field for Option<f64> {
    const TYPE: CellType = CellType::Real;
    /// Numbers that are none are absent: SQLite knows no others, and comparisons with them mean nothing.
    fn cell(&self) -> Cell {
        Cell::Real(self.filter(|value| value.is_finite()))
    }
}

impl Field for String {
    const TYPE: CellType = CellType::Text;
    fn cell(&self) -> Cell {
        Cell::Text(Some(storable(self)))
    }
}

impl Field for Option<String> {
    const TYPE: CellType = CellType::Text;
    fn cell(&self) -> Cell {
        Cell::Text(self.as_deref().map(storable))
    }
}

impl Field for bool {
    const TYPE: CellType = CellType::Bool;
    fn cell(&self) -> Cell {
        Cell::Bool(Some(*self))
    }
}

impl Field for Option<bool> {
    const TYPE: CellType = CellType::Bool;
    fn cell(&self) -> Cell {
        Cell::Bool(*self)
    }
}

/// Postgres keeps no NUL in a text; a text with one would stop the store at its entry for ever.
fn storable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Names and types of its columns.
    pub columns: &'static [(&'static str, CellType)],
    /// How many columns from the first on are its key: 1 or 2, integers.
    pub keys: usize,
    /// Whether a row may be written again with other contents.
    pub replaced: bool,
}

/// A row of one of the log's tables.
pub trait Record {
    /// Which table, by its place among [`TABLES`](super::rows::TABLES).
    const TABLE: usize;
    /// Its values, in the order of the table's columns.
    fn cells(&self) -> Vec<Cell>;
}

/// The key of a row: its first columns.
pub fn key(table: &Table, cells: &[Cell]) -> [i64; 2] {
    let mut key = [0; 2];
    for (part, cell) in key.iter_mut().zip(&cells[..table.keys.min(cells.len())]) {
        if let Cell::Int(Some(value)) = cell {
            *part = *value;
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_database_keeps_is_made_storable() {
        assert_eq!(Some(f64::NAN).cell(), Cell::Real(None));
        assert_eq!(Some(f64::INFINITY).cell(), Cell::Real(None));
        assert_eq!("a\0b".to_owned().cell(), Cell::Text(Some("a\u{fffd}b".into())));
    }
}
