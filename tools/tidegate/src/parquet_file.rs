//! Feature vectors and bars as Parquet files, written a row group at a time.

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
use tidegate_market::MarketStage;
use tidegate_market::bars::{Bar as BuiltBar, BarBuilder, BarRule};
use tidegate_market::features::schema::{FEATURES, schema_hash_hex};
use tidegate_wire::Registry;
use tidegate_wire::event::{Bar, Depth, EventSink, FLAG_SELL, Header, Mark, Quote, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureSink};

/// Rows of a row group.
const GROUP_ROWS: usize = 64 * 1024;

fn writer(path: &Path, schema: &Arc<Schema>) -> Result<ArrowWriter<File>> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let metadata = vec![KeyValue::new("tidegate.features_schema".into(), schema_hash_hex())];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .set_key_value_metadata(Some(metadata))
        .build();
    ArrowWriter::try_new(file, schema.clone(), Some(properties)).with_context(|| path.display().to_string())
}

/// A field whose metadata holds unit and definition.
fn field(name: &str, kind: DataType, nullable: bool, unit: &str, about: &str) -> Field {
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
            writer: writer(path, &schema)?,
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

/// A file of bars.
pub(crate) struct BarFile {
    path: PathBuf,
    rule: BarRule,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    bars: Vec<(usize, BuiltBar)>,
    names: Vec<String>,
    rows: u64,
    failed: Option<anyhow::Error>,
}

impl BarFile {
    pub(crate) fn create(path: &Path, rule: BarRule) -> Result<Self> {
        let float = |name: &str, unit: &str, about: &str| field(name, DataType::Float64, false, unit, about);
        let schema = Arc::new(Schema::new(vec![
            field("start_ns", DataType::Int64, false, "ns", "first trade, or begin of the interval"),
            field("end_ns", DataType::Int64, false, "ns", "last trade, or end of the interval"),
            field("instrument", DataType::Utf8, false, "", "symbol.venue"),
            float("open", "quote", "first price"),
            float("high", "quote", "highest price"),
            float("low", "quote", "lowest price"),
            float("close", "quote", "last price"),
            float("volume", "qty", "quantity traded"),
            float("bought", "qty", "of that, bought by aggressors"),
            float("value", "quote", "value traded"),
            field("trades", DataType::UInt64, false, "", "number of trades"),
        ]));
        let writer = writer(path, &schema)?;
        let (bars, names) = (Vec::new(), Vec::new());
        Ok(Self { path: path.to_owned(), rule, writer, schema, bars, names, rows: 0, failed: None })
    }

    fn push(&mut self, instrument: usize, bar: BuiltBar) {
        self.bars.push((instrument, bar));
        if self.bars.len() == GROUP_ROWS && self.failed.is_none() {
            self.failed = self.flush().err();
        }
    }

    fn flush(&mut self) -> Result<()> {
        let bars = std::mem::take(&mut self.bars);
        let int = |get: fn(&BuiltBar) -> i64| {
            Arc::new(arrow_array::Int64Array::from_iter_values(bars.iter().map(|(_, b)| get(b)))) as ArrayRef
        };
        let float = |get: fn(&BuiltBar) -> f64| {
            Arc::new(arrow_array::Float64Array::from_iter_values(bars.iter().map(|(_, b)| get(b)))) as ArrayRef
        };
        let names = bars.iter().map(|(instrument, _)| self.names[*instrument].as_str());
        let columns = vec![
            int(|b| b.start_ns),
            int(|b| b.end_ns),
            Arc::new(arrow_array::StringArray::from_iter_values(names)) as ArrayRef,
            float(|b| b.open),
            float(|b| b.high),
            float(|b| b.low),
            float(|b| b.close),
            float(|b| b.volume),
            float(|b| b.bought),
            float(|b| b.value),
            Arc::new(arrow_array::UInt64Array::from_iter_values(bars.iter().map(|(_, b)| b.trades))) as ArrayRef,
        ];
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.rows += bars.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        let path = self.path.display().to_string();
        if let Some(error) = self.failed {
            return Err(error.context(path));
        }
        self.flush().context(path.clone())?;
        self.writer.close().context(path)?;
        Ok(self.rows)
    }
}

/// The market stage with a bar builder an instrument beside it.
pub(crate) struct BarTee {
    stage: MarketStage<VectorFile>,
    builders: Vec<BarBuilder>,
    file: Option<BarFile>,
}

impl BarTee {
    pub(crate) fn new(stage: MarketStage<VectorFile>, mut file: Option<BarFile>, registry: &Registry) -> Self {
        let builders = match &mut file {
            Some(file) => {
                file.names = registry.iter().map(|(_, instrument)| instrument.name()).collect();
                registry.iter().map(|(_, instrument)| BarBuilder::new(instrument, file.rule)).collect()
            }
            None => Vec::new(),
        };
        Self { stage, builders, file }
    }

    /// The stage, and the number of bars written. The last, unfinished bars are not written.
    pub(crate) fn finish(self) -> Result<(MarketStage<VectorFile>, u64)> {
        let bars = self.file.map_or(Ok(0), BarFile::finish)?;
        Ok((self.stage, bars))
    }

    fn advance(&mut self, header: &Header) {
        if let (Some(file), Some(builder)) = (&mut self.file, self.builders.get_mut(header.instrument.index()))
            && let Some(bar) = builder.advance(header.event_ns)
        {
            file.push(header.instrument.index(), bar);
        }
    }
}

impl EventSink for BarTee {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.advance(header);
        self.stage.delta(header, depth);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.stage.snapshot(header, depth);
    }

    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.advance(header);
        self.stage.quote(header, quote);
    }

    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.advance(header);
        if let (Some(file), Some(builder)) = (&mut self.file, self.builders.get_mut(header.instrument.index()))
            && let Some(bar) = builder.trade(header.event_ns, trade, header.flags & FLAG_SELL != 0)
        {
            file.push(header.instrument.index(), bar);
        }
        self.stage.trade(header, trade);
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.stage.mark(header, mark);
    }

    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.stage.bar(header, bar);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.stage.status(header, status);
    }

    fn heartbeat(&mut self, header: &Header) {
        EventSink::heartbeat(&mut self.stage, header);
    }
}
