//! Feature vectors as Parquet files, written a row group at a time; what bar files share with them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tidegate_market::features::schema::{FEATURES, schema_hash_hex};
use tidegate_wire::Registry;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, FeatureSink};

/// Rows of a row group.
pub(crate) const GROUP_ROWS: usize = 64 * 1024;

/// A file whose metadata binds it to a schema of features by key and hash.
pub(crate) fn writer(path: &Path, schema: &Arc<Schema>, bound: (&str, String)) -> Result<ArrowWriter<File>> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let metadata = vec![KeyValue::new(bound.0.into(), bound.1)];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .set_key_value_metadata(Some(metadata))
        .build();
    ArrowWriter::try_new(file, schema.clone(), Some(properties)).with_context(|| path.display().to_string())
}

/// A field whose metadata holds unit and definition.
pub(crate) fn field(name: &str, kind: DataType, nullable: bool, unit: &str, about: &str) -> Field {
    let metadata = [("unit", unit), ("about", about)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Field::new(name, kind, nullable).with_metadata(std::collections::HashMap::from(metadata))
}

/// A file of feature vectors.
pub(crate) struct VectorFile {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    names: Vec<String>,
    /// Least event time between two rows of an instrument, ns.
    every_ns: i64,
    /// Earliest event time of the next row, by instrument.
    next_ns: Vec<i64>,
    event_ns: Int64Builder,
    venue_ns: Int64Builder,
    instrument: StringBuilder,
    quality: StringBuilder,
    digest: UInt64Builder,
    features: Vec<Float64Builder>,
    buffered: usize,
    rows: u64,
    /// The first failure; later rows are dropped and `finish` reports it.
    failed: Option<anyhow::Error>,
}

impl VectorFile {
    pub(crate) fn create(path: &Path, every_ns: i64) -> Result<Self> {
        let mut fields = vec![
            field("event_ns", DataType::Int64, false, "ns", "receive time since the Unix epoch"),
            field("venue_ns", DataType::Int64, true, "ns", "the venue's own stamp; null where it sends none"),
            field("instrument", DataType::Utf8, false, "", "symbol.venue"),
            field("quality", DataType::Utf8, false, "", "quality of the book: only `good` has book features"),
            field("digest", DataType::UInt64, false, "", "XXH3 of the vector, as decisions cite it"),
        ];
        fields.extend(FEATURES.iter().map(|f| field(f.name, DataType::Float64, true, f.unit, f.about)));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            path: path.to_owned(),
            writer: writer(path, &schema, ("tidegate.features_schema", schema_hash_hex()))?,
            schema,
            names: Vec::new(),
            every_ns,
            next_ns: Vec::new(),
            event_ns: Int64Builder::new(),
            venue_ns: Int64Builder::new(),
            instrument: StringBuilder::new(),
            quality: StringBuilder::new(),
            digest: UInt64Builder::new(),
            features: FEATURES.iter().map(|_| Float64Builder::new()).collect(),
            buffered: 0,
            rows: 0,
            failed: None,
        })
    }

    /// Names the instruments by their ids.
    pub(crate) fn name_instruments(&mut self, registry: &Registry) {
        self.names = registry.iter().map(|(_, instrument)| instrument.name()).collect();
        self.next_ns = vec![i64::MIN; self.names.len()];
    }

    fn flush(&mut self) -> Result<()> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.event_ns.finish()),
            Arc::new(self.venue_ns.finish()),
            Arc::new(self.instrument.finish()),
            Arc::new(self.quality.finish()),
            Arc::new(self.digest.finish()),
        ];
        columns.extend(self.features.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&batch)?;
        self.writer.flush()?;
        self.rows += self.buffered as u64;
        self.buffered = 0;
        Ok(())
    }

    /// Writes what is left and the footer; gives the number of rows.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let path = self.path.display().to_string();
        if let Some(error) = self.failed {
            return Err(error.context(path));
        }
        self.flush().context(path.clone())?;
        self.writer.close().context(path)?;
        Ok(self.rows)
    }
}

impl FeatureSink for VectorFile {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        let index = header.instrument.index();
        if header.event_ns < self.next_ns[index] || self.failed.is_some() {
            return;
        }
        if self.every_ns > 0 {
            self.next_ns[index] = (header.event_ns.div_euclid(self.every_ns) + 1) * self.every_ns;
        }
        self.event_ns.append_value(header.event_ns);
        self.venue_ns.append_option((header.venue_ns != 0).then_some(header.venue_ns));
        self.instrument.append_value(&self.names[index]);
        self.quality.append_value(body.book_quality().name());
        self.digest.append_value(body.digest);
        for (index, column) in self.features.iter_mut().enumerate() {
            column.append_option(body.get(index));
        }
        self.buffered += 1;
        if self.buffered == GROUP_ROWS {
            self.failed = self.flush().err();
        }
    }

    fn heartbeat(&mut self, _: &Header) {}
}
