//! The market graph at regular moments as Parquet: a file of nodes and one of edges.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::ArrayRef;
use arrow_array::builder::{Float32Builder, Int64Builder, StringBuilder, UInt16Builder};
use arrow_schema::DataType;
use tidegate_market::bars::Finished;
use tidegate_market::graph::schema::{EDGE_SLOTS, EDGE_VALUES, NODE_SLOTS, node_slots, schema_hash_hex};
use tidegate_market::graph::{MarketGraph, Schedule};
use tidegate_wire::Registry;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, FeatureSink, MinuteBody};

use crate::bar_file::BarFile;
use crate::parquet_file::VectorFile;
use crate::row_groups::{RowGroups, field};

/// A file of rows of 32-bit values with a few columns before them.
struct ValueFile {
    groups: RowGroups,
    columns: Columns,
}

#[derive(Default)]
struct Columns {
    event_ns: Int64Builder,
    numbers: [UInt16Builder; 2],
    texts: [StringBuilder; 2],
    values: Vec<Float32Builder>,
}

impl Columns {
    /// Empties the columns.
    fn take(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.event_ns.finish())];
        columns.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.values.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns
    }
}

impl ValueFile {
    fn create(path: &Path, numbers: [&str; 2], texts: [&str; 2], values: &[(String, String)]) -> Result<Self> {
        let mut fields = vec![field("event_ns", DataType::Int64, false, "ns", "moment, since the Unix epoch")];
        fields.extend(numbers.map(|name| field(name, DataType::UInt16, false, "", "number of a node")));
        fields.extend(texts.map(|name| field(name, DataType::Utf8, false, "", "")));
        fields.extend(values.iter().map(|(name, about)| field(name, DataType::Float32, false, "", about)));
        let groups = RowGroups::create(path, fields, ("tidegate.graph_schema", schema_hash_hex()))?;
        let values = values.iter().map(|_| Float32Builder::new()).collect();
        Ok(Self { groups, columns: Columns { values, ..Columns::default() } })
    }

    fn row(&mut self, event_ns: i64, numbers: [usize; 2], texts: [&str; 2], values: &[f32]) {
        if !self.groups.is_open() {
            return;
        }
        let columns = &mut self.columns;
        columns.event_ns.append_value(event_ns);
        // Ids of instruments are 16 bits; the other nodes are fewer.
        columns.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.append_value(number as u16));
        columns.texts.iter_mut().zip(texts).for_each(|(column, text)| column.append_value(text));
        columns.values.iter_mut().zip(values).for_each(|(column, value)| column.append_value(*value));
        self.groups.row(|| columns.take());
    }

    fn finish(mut self) -> Result<u64> {
        self.groups.finish(self.columns.take())
    }
}

/// The graph's two files.
pub(crate) struct GraphFiles {
    nodes: ValueFile,
    edges: ValueFile,
    graph: MarketGraph,
    schedule: Schedule,
    moments: u64,
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
        })
    }

    fn advance(&mut self, now: i64) {
        if let Some(moment) = self.schedule.due(now) {
            self.write(moment);
        }
    }

    fn write(&mut self, moment: i64) {
        let (x, attributes) = {
            let view = self.graph.snapshot(moment);
            (view.nodes.to_vec(), view.edges.to_vec())
        };
        let nodes = self.graph.nodes();
        for (number, (node, values)) in nodes.iter().zip(x.chunks_exact(NODE_SLOTS)).enumerate() {
            self.nodes.row(moment, [number, nodes.len()], [node.kind.into(), &node.name], values);
        }
        for (edge, values) in self.graph.edges().iter().zip(attributes.chunks_exact(EDGE_SLOTS)) {
            let kind = edge.kind.map_or("self", <&str>::from);
            let direction = if edge.reverse { "reverse" } else { "forward" };
            self.edges.row(moment, [edge.source, edge.target], [kind, direction], values);
        }
        self.moments += 1;
    }

    /// Writes what is left; gives the number of moments.
    fn finish(self) -> Result<u64> {
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
