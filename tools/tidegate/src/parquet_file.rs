//! Feature vectors as Parquet files.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder, UInt64Builder};
use arrow_schema::DataType;
use tidegate_market::features::schema::{FEATURES, schema_hash_hex};
use tidegate_wire::Registry;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, FeatureSink};

use crate::row_groups::{RowGroups, field};

/// A file of feature vectors.
pub(crate) struct VectorFile {
    groups: RowGroups,
    columns: Columns,
    names: Vec<String>,
    /// Least event time between two rows of an instrument, ns.
    every_ns: i64,
    /// Earliest event time of the next row, by instrument.
    next_ns: Vec<i64>,
}

#[derive(Default)]
struct Columns {
    event_ns: Int64Builder,
    venue_ns: Int64Builder,
    instrument: StringBuilder,
    quality: StringBuilder,
    digest: UInt64Builder,
    features: Vec<Float64Builder>,
}

impl Columns {
    /// Empties the columns.
    fn take(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.event_ns.finish()),
            Arc::new(self.venue_ns.finish()),
            Arc::new(self.instrument.finish()),
            Arc::new(self.quality.finish()),
            Arc::new(self.digest.finish()),
        ];
        columns.extend(self.features.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns
    }
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
        let groups = RowGroups::create(path, fields, ("tidegate.features_schema", schema_hash_hex()))?;
        let features = FEATURES.iter().map(|_| Float64Builder::new()).collect();
        let columns = Columns { features, ..Columns::default() };
        Ok(Self { groups, columns, names: Vec::new(), every_ns, next_ns: Vec::new() })
    }

    /// Names the instruments by their ids.
    pub(crate) fn name_instruments(&mut self, registry: &Registry) {
        self.names = registry.iter().map(|(_, instrument)| instrument.name()).collect();
        self.next_ns = vec![i64::MIN; self.names.len()];
    }

    /// Writes what is left and the footer; gives the number of rows.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.groups.finish(self.columns.take())
    }
}

impl FeatureSink for VectorFile {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        let index = header.instrument.index();
        if header.event_ns < self.next_ns[index] || !self.groups.is_open() {
            return;
        }
        if self.every_ns > 0 {
            self.next_ns[index] = (header.event_ns.div_euclid(self.every_ns) + 1) * self.every_ns;
        }
        let columns = &mut self.columns;
        columns.event_ns.append_value(header.event_ns);
        columns.venue_ns.append_option((header.venue_ns != 0).then_some(header.venue_ns));
        columns.instrument.append_value(&self.names[index]);
        columns.quality.append_value(body.book_quality().name());
        columns.digest.append_value(body.digest);
        for (index, column) in columns.features.iter_mut().enumerate() {
            column.append_option(body.get(index));
        }
        self.groups.row(|| columns.take());
    }

    fn heartbeat(&mut self, _: &Header) {}
}
