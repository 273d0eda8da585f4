//! Parquet files written a row group at a time: what files of vectors, bars and graphs share.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

/// Rows of a row group.
const GROUP_ROWS: usize = 64 * 1024;

/// A field whose metadata holds unit and definition.
pub(crate) fn field(name: &str, kind: DataType, nullable: bool, unit: &str, about: &str) -> Field {
    let metadata = [("unit", unit), ("about", about)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Field::new(name, kind, nullable).with_metadata(HashMap::from(metadata))
}

/// A file and the rows on their way to it. Columns are built by whoever owns it.
pub(crate) struct RowGroups {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    buffered: usize,
    rows: u64,
    /// The first failure; later rows are dropped and `finish` reports it.
    failed: Option<anyhow::Error>,
}

impl RowGroups {
    /// A file whose metadata binds it to a schema of features by key and hash.
    pub(crate) fn create(path: &Path, fields: Vec<Field>, bound: (&str, String)) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields));
        let open = || {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
                .set_key_value_metadata(Some(vec![KeyValue::new(bound.0.into(), bound.1)]))
                .build();
            Ok::<_, anyhow::Error>(ArrowWriter::try_new(File::create(path)?, schema.clone(), Some(properties))?)
        };
        let writer = open().with_context(|| path.display().to_string())?;
        Ok(Self { path: path.to_owned(), writer, schema, buffered: 0, rows: 0, failed: None })
    }

    /// Whether rows are still taken.
    pub(crate) const fn is_open(&self) -> bool {
        self.failed.is_none()
    }

    /// A row was appended to every column; `columns` empties them when a group is full.
    pub(crate) fn row(&mut self, columns: impl FnOnce() -> Vec<ArrayRef>) {
        self.buffered += 1;
        if self.buffered == GROUP_ROWS {
            self.failed = self.write(columns()).err();
        }
    }

    fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.writer.flush()?;
        self.rows += self.buffered as u64;
        self.buffered = 0;
        Ok(())
    }

    /// Writes what is left and the footer; gives the number of rows.
    pub(crate) fn finish(mut self, columns: Vec<ArrayRef>) -> Result<u64> {
        let path = self.path.display().to_string();
        if let Some(error) = self.failed {
            return Err(error.context(path));
        }
        self.write(columns).context(path.clone())?;
        self.writer.close().context(path)?;
        Ok(self.rows)
    }
}
