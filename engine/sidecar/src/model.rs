//! A loaded version: its session with tensors for this run's market, and how its answers are read.

use tidegate_market::graph::schema::{EDGE_SLOTS, NODE_SLOTS};
use tidegate_market::graph::{GraphView, MarketGraph};
use tidegate_wire::advice::{ADVICE_UNITS, TARGETS, Target};
use tidegate_wire::feature::{FeatureBody, MinuteBody};
use xxhash_rust::xxh3::xxh3_64;

use crate::contract::{
    Contract, Encoding, RowEncoding, Source, TunerEncoding, bar_feature_index, feature_index, shapes,
    signal_column_index,
};
use crate::gate::{Admitted, GateReport};
use crate::refusal::Refusal;
use crate::session::Runner;

/// Quantile of the recovery time that cooling periods follow, where the model has it.
const RECOVERY_QUANTILE: f64 = 0.9;
/// Steps of a model's output: 1/8,192 is a hundredth of a per cent of a level, and thousands of times the difference
/// that the last bits of two CPUs make. Outputs within that difference of a border still fall on either side of it:
/// digests under models belong to a kernel and a CPU.
const OUTPUT_STEP: f64 = 8_192.0;
/// Steps of an advised level: six decimals.
const LEVEL_STEP: f64 = 1e6;
/// Largest level, in the target's unit: what nine decimals leave of a double's whole numbers, so that text keeps it.
const LEVEL_MAX: f64 = 9e6;

/// A version that can run.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) hash: [u8; 32],
    pub(crate) report: GateReport,
    pub(crate) budget_us: f64,
    pub(crate) reads: Reads,
    runner: Runner,
}

/// Features by index, wherever they lie.
pub(crate) trait Values {
    /// Feature `index`, or `None` when it is absent.
    fn value(&self, index: usize) -> Option<f64>;
}

impl Values for FeatureBody {
    fn value(&self, index: usize) -> Option<f64> {
        self.get(index)
    }
}

/// Values by column, as whoever asks knows them.
#[derive(Debug)]
pub(crate) struct Known<'a>(pub(crate) &'a [Option<f64>]);

impl Values for Known<'_> {
    fn value(&self, index: usize) -> Option<f64> {
        self.0.get(index).copied().flatten()
    }
}

impl Values for MinuteBody {
    fn value(&self, index: usize) -> Option<f64> {
        self.get(index)
    }
}

/// What a model takes and gives.
#[derive(Debug)]
pub(crate) enum Reads {
    /// The market graph.
    Graph(Levels),
    /// A row of an instrument's features.
    Row(Row),
}

/// Where a tuner's advised levels lie in its output.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    width: usize,
    /// Column and scale by target.
    columns: [(usize, f64); TARGETS],
}

/// How a row is made.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Index of the feature, if it is one, and what stands for an absent one.
    columns: Vec<(Option<usize>, f32)>,
    pub(crate) source: Source,
    /// Rows of a sequence; 1 for a single row.
    steps: usize,
}

impl Levels {
    fn new(encoding: &TunerEncoding) -> Self {
        let quantiles = &encoding.quantiles;
        let highest = quantiles.len() - 1;
        let recovery = quantiles.iter().position(|q| (q - RECOVERY_QUANTILE).abs() < 1e-9).unwrap_or(highest);
        let column = |target: usize| {
            let quantile = if target == Target::Recovery as usize { recovery } else { highest };
            (target * quantiles.len() + quantile, encoding.targets[target].scale)
        };
        Self { width: TARGETS * quantiles.len(), columns: core::array::from_fn(column) }
    }

    /// Advised levels of a book, in fixed point.
    pub(crate) fn of_book(&self, output: &[f32], book: usize) -> [i64; TARGETS] {
        let row = &output[book * self.width..][..self.width];
        self.columns.map(|(column, scale)| {
            let output = (f64::from(row[column]) * OUTPUT_STEP).round() / OUTPUT_STEP;
            let value = (scale * libm::expm1(output)).clamp(0.0, LEVEL_MAX);
            (value * LEVEL_STEP).round() as i64 * (ADVICE_UNITS / LEVEL_STEP) as i64
        })
    }
}

impl Row {
    fn new(encoding: &RowEncoding) -> Self {
        let column = |column: &crate::contract::Column| {
            let index = match encoding.source {
                _ if column.parameter => None,
                Source::Features => feature_index(&column.name),
                Source::Bars => bar_feature_index(&column.name),
                Source::Signals => signal_column_index(&column.name),
            };
            (index, column.fill as f32)
        };
        let columns = encoding.columns.iter().map(column).collect();
        Self { columns, source: encoding.source, steps: encoding.steps.unwrap_or(1) }
    }
}

impl Model {
    /// A model with tensors for a market's graph.
    pub(crate) fn new(admitted: Admitted, graph: &MarketGraph) -> Result<Self, Refusal> {
        let Admitted { contract, encoding, hash, report, session } = admitted;
        let (nodes, edges) = (graph.nodes().len(), graph.edges().len());
        let (inputs, outputs) = (shapes(&contract.inputs, nodes, edges), shapes(&contract.outputs, nodes, edges));
        let mut runner = Runner::new(session, &contract, &inputs, &outputs)?;
        let reads = match &encoding {
            Encoding::Tuner(tuner) => {
                // Edges stay as they are for a run.
                runner.integers(1).copy_from_slice(graph.index());
                Reads::Graph(Levels::new(tuner))
            }
            Encoding::Row(row) => Reads::Row(Row::new(row)),
        };
        let Contract { name, version, latency_budget_us, .. } = contract;
        Ok(Self { name, version, hash, report, budget_us: latency_budget_us, reads, runner })
    }

    /// Runs a tuner on a graph; gives its output.
    pub(crate) fn run_graph(&mut self, view: &GraphView<'_>) -> Result<&[f32], Refusal> {
        debug_assert_eq!((view.nodes.len() % NODE_SLOTS, view.edges.len() % EDGE_SLOTS), (0, 0));
        self.runner.floats(0).copy_from_slice(view.nodes);
        self.runner.floats(2).copy_from_slice(view.edges);
        self.runner.run()?;
        Ok(self.runner.output(0))
    }

    /// Runs a row model on an instrument's newest vectors or bars, oldest first; gives its first output and the input's
    /// digest, or `None` while there are too few.
    pub(crate) fn run_row<'a, V: Values + 'a>(
        &mut self,
        vectors: impl Iterator<Item = &'a V>,
    ) -> Result<Option<(&[f32], u64)>, Refusal> {
        let Reads::Row(row) = &self.reads else { return Ok(None) };
        let (width, mut rows) = (row.columns.len(), 0);
        let input = self.runner.floats(0);
        for (vector, values) in vectors.zip(input.chunks_exact_mut(width)) {
            for ((feature, fill), value) in row.columns.iter().zip(values) {
                *value = feature.and_then(|index| vector.value(index)).map_or(*fill, |known| known as f32);
            }
            rows += 1;
        }
        if rows < row.steps {
            return Ok(None);
        }
        let digest = xxh3_64(bytemuck::cast_slice(input));
        self.runner.run()?;
        Ok(Some((self.runner.output(0), digest)))
    }

    /// Whether it runs when a bar ends, and not with every adjustment.
    pub(crate) fn looks_at_bars(&self) -> bool {
        matches!(&self.reads, Reads::Row(row) if row.source == Source::Bars)
    }

    /// Whether it is asked for each signal.
    pub(crate) fn looks_at_signals(&self) -> bool {
        matches!(&self.reads, Reads::Row(row) if row.source == Source::Signals)
    }

    /// Whether it runs with every adjustment.
    pub(crate) fn looks_at_markets(&self) -> bool {
        !self.looks_at_bars() && !self.looks_at_signals()
    }

    /// Rows it takes; 1 unless it is a model of sequences.
    pub(crate) const fn steps(&self) -> usize {
        match &self.reads {
            Reads::Row(row) => row.steps,
            Reads::Graph(_) => 1,
        }
    }

    /// The hash of its file, in hexadecimal.
    pub(crate) fn hash_hex(&self) -> String {
        hex::encode(self.hash)
    }
}
