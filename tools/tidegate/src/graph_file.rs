//! The market graph at regular moments as Parquet: a file of nodes and one of edges.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::builder::{Float32Builder, Int64Builder, StringBuilder, UInt16Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use tidegate_market::bars::Finished;
use tidegate_market::graph::schema::{EDGE_SLOTS, EDGE_VALUES, NODE_SLOTS, node_slots, schema_hash_hex};
use tidegate_market::graph::{MarketGraph, Schedule};
use tidegate_wire::Registry;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, FeatureSink, MinuteBody};

use crate::bar_file::BarFile;
use crate::parquet_file::{GROUP_ROWS, VectorFile, field, writer};

/// A file of rows of 32-bit values with a few columns before them.
struct ValueFile {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    event_ns: Int64Builder,
    numbers: [UInt16Builder; 2],
    texts: [StringBuilder; 2],
    values: Vec<Float32Builder>,
    buffered: usize,
    rows: u64,
}

impl ValueFile {
    fn create(path: &Path, numbers: [&str; 2], texts: [&str; 2], values: &[(String, String)]) -> Result<Self> {
        let mut fields = vec![field("event_ns", DataType::Int64, false, "ns", "moment, since the Unix epoch")];
        fields.extend(numbers.map(|name| field(name, DataType::UInt16, false, "", "number of a node")));
        fields.extend(texts.map(|name| field(name, DataType::Utf8, false, "", "")));
        fields.extend(values.iter().map(|(name, about)| field(name, DataType::Float32, false, "", about)));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            path: path.to_owned(),
            writer: writer(path, &schema, ("tidegate.graph_schema", schema_hash_hex()))?,
            schema,
            event_ns: Int64Builder::new(),
            numbers: Default::default(),
            texts: Default::default(),
            values: values.iter().map(|_| Float32Builder::new()).collect(),
            buffered: 0,
            rows: 0,
        })
    }

    fn row(&mut self, event_ns: i64, numbers: [usize; 2], texts: [&str; 2], values: &[f32]) -> Result<()> {
        self.event_ns.append_value(event_ns);
        // Ids of instruments are 16 bits; the other nodes are fewer.
        self.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.append_value(number as u16));
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.append_value(text));
        self.values.iter_mut().zip(values).for_each(|(column, value)| column.append_value(*value));
        self.buffered += 1;
        if self.buffered == GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.event_ns.finish())];
        columns.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.values.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&batch).with_context(|| self.path.display().to_string())?;
        self.rows += self.buffered as u64;
        self.buffered = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.close().with_context(|| self.path.display().to_string())?;
        Ok(self.rows)
    }
}

/// The graph's two files.
pub(crate) struct GraphFiles {
    nodes: ValueFile,
    edges: ValueFile,
    graph: MarketGraph,
    schedule: Schedule,
    moments: u64,
    failed: Option<anyhow::Error>,
}

impl GraphFiles {
    pub(crate) fn create(nodes: &Path, edges: &Path, every_ns: i64) -> Result<Self> {
        let about = |slot: &tidegate_market::graph::schema::Slot| {
            slot.feature.map_or(String::new(), |feature| format!("from {feature}"))
        };
        let node_columns: Vec<_> = node_slots().iter().map(|slot| (slot.name.clone(), about(slot))).collect();
        let edge_columns: Vec<_> = EDGE_VALUES.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        Ok(Self {
            nodes: ValueFile::create(nodes, ["node", "nodes"], ["kind", "name"], &node_columns)?,
            edges: ValueFile::create(edges, ["source", "target"], ["kind", "direction"], &edge_columns)?,
            graph: MarketGraph::new(&Registry::new()),
            schedule: Schedule::new(every_ns),
            moments: 0,
            failed: None,
        })
    }

    fn advance(&mut self, now: i64) {
        if let Some(moment) = self.schedule.due(now)
            && self.failed.is_none()
        {
            self.failed = self.write(moment).err();
        }
    }

    fn write(&mut self, moment: i64) -> Result<()> {
        let (x, attributes) = {
            let view = self.graph.snapshot(moment);
            (view.nodes.to_vec(), view.edges.to_vec())
        };
        let nodes = self.graph.nodes();
        for (number, (node, values)) in nodes.iter().zip(x.chunks_exact(NODE_SLOTS)).enumerate() {
            self.nodes.row(moment, [number, nodes.len()], [node.kind.into(), &node.name], values)?;
        }
        for (edge, values) in self.graph.edges().iter().zip(attributes.chunks_exact(EDGE_SLOTS)) {
            let kind = edge.kind.map_or("self", <&str>::from);
            let direction = if edge.reverse { "reverse" } else { "forward" };
            self.edges.row(moment, [edge.source, edge.target], [kind, direction], values)?;
        }
        self.moments += 1;
        Ok(())
    }

    /// Writes what is left; gives the number of moments.
    fn finish(self) -> Result<u64> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.nodes.finish()?;
        self.edges.finish()?;
        Ok(self.moments)
    }
}

/// Whatever feature vectors are written to.
pub(crate) struct FeatureFiles {
    pub(crate) vectors: Option<VectorFile>,
    pub(crate) graph: Option<GraphFiles>,
    pub(crate) minutes: Option<BarFile>,
}

impl FeatureFiles {
    /// Names the instruments by their ids.
    pub(crate) fn name_instruments(&mut self, registry: &Registry) {
        if let Some(vectors) = &mut self.vectors {
            vectors.name_instruments(registry);
        }
        if let Some(files) = &mut self.graph {
            files.graph = MarketGraph::new(registry);
        }
        if let Some(minutes) = &mut self.minutes {
            minutes.name_instruments(registry);
        }
    }

    /// Ends the files; gives the rows of vectors, the moments of the graph and the minutes.
    pub(crate) fn finish(self) -> Result<(u64, u64, u64)> {
        let rows = self.vectors.map_or(Ok(0), VectorFile::finish)?;
        let moments = self.graph.map_or(Ok(0), GraphFiles::finish)?;
        let minutes = self.minutes.map_or(Ok(0), BarFile::finish)?;
        Ok((rows, moments, minutes))
    }
}

impl FeatureSink for FeatureFiles {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        if let Some(files) = &mut self.graph {
            files.advance(header.event_ns);
            files.graph.see(header, body);
        }
        if let Some(vectors) = &mut self.vectors {
            vectors.features(header, body);
        }
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        if let Some(minutes) = &mut self.minutes {
            minutes.push(header.instrument, &Finished::of_body(body));
        }
    }

    fn heartbeat(&mut self, header: &Header) {
        if let Some(files) = &mut self.graph {
            files.advance(header.event_ns);
        }
    }
}
