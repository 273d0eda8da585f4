//! A graph-attention network as a kernel: GATv2, of Brody, Alon, Yahav, How attentive are graph attention networks?
//! (2022).
//!
//! Layers of four heads with eight channels each, concatenated, ELU between; a linear head with softplus, and a running
//! sum over the quantiles of each target, so that they never cross. For node `i` with incoming edges from `j`, in each
//! head:
//!
//! ```text
//! score(j)  = att . leaky_relu(W_l x_j + W_r x_i + W_e e_ij)        leaky slope 0.2
//! out_i     = sum_j softmax_j(score) (W_l x_j) + bias
//! ```
//!
//! That is what PyTorch Geometric's `GATv2Conv(heads=4, add_self_loops=False)` computes; self loops are edges like any
//! other and belong into the graph. A node without incoming edges gets the bias. Nothing allocates after construction.

mod lanes;
pub(crate) mod op;
mod steps;

use lanes::{LANES, Lanes, Portable};

/// Attention heads of a layer.
pub const HEADS: usize = 4;
/// Channels a node has between layers.
pub const WIDTH: usize = HEADS * LANES;

/// The channels of a node, a vector a head.
type Row = [[f32; LANES]; HEADS];

/// A value a head for two edges.
type Pair = [f32; LANES];
const _: () = assert!(2 * HEADS == LANES);

const ZERO: Row = [[0.0; LANES]; HEADS];

/// One attention layer; weights by input, so that a node's row is a sum of rows.
#[derive(Clone, Debug)]
pub struct Layer {
    source: Vec<Row>,
    source_bias: Row,
    target: Vec<Row>,
    target_bias: Row,
    edge: Vec<Row>,
    attention: Row,
    bias: Row,
}

/// The tensors of a layer as PyTorch keeps them: row-major, outputs first.
#[derive(Clone, Copy, Debug)]
pub struct LayerTensors<'a> {
    /// `att`, `[1, HEADS, LANES]`.
    pub attention: &'a [f32],
    /// `bias`, `[WIDTH]`.
    pub bias: &'a [f32],
    /// `lin_l.weight`, `[WIDTH, inputs]`.
    pub source: &'a [f32],
    /// `lin_l.bias`, `[WIDTH]`.
    pub source_bias: &'a [f32],
    /// `lin_r.weight`, `[WIDTH, inputs]`.
    pub target: &'a [f32],
    /// `lin_r.bias`, `[WIDTH]`.
    pub target_bias: &'a [f32],
    /// `lin_edge.weight`, `[WIDTH, edge inputs]`.
    pub edge: &'a [f32],
}

impl<'a> LayerTensors<'a> {
    fn all(&self) -> [(&'static str, &'a [f32]); 7] {
        [
            ("att", self.attention),
            ("bias", self.bias),
            ("lin_l.weight", self.source),
            ("lin_l.bias", self.source_bias),
            ("lin_r.weight", self.target),
            ("lin_r.bias", self.target_bias),
            ("lin_edge.weight", self.edge),
        ]
    }
}

/// Tensors that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

/// A row of [`WIDTH`] values.
fn row(values: &[f32], name: &str) -> Result<Row, ShapeError> {
    if values.len() != WIDTH {
        return Err(ShapeError(format!("{name} has {} values, expected {WIDTH}", values.len())));
    }
    Ok(core::array::from_fn(|head| core::array::from_fn(|lane| values[head * LANES + lane])))
}

/// A matrix `[WIDTH, inputs]`, transposed into a row an input.
fn columns(values: &[f32], name: &str) -> Result<Vec<Row>, ShapeError> {
    if values.is_empty() || !values.len().is_multiple_of(WIDTH) {
        return Err(ShapeError(format!("{name} has {} values, expected a multiple of {WIDTH}", values.len())));
    }
    let inputs = values.len() / WIDTH;
    let column = |input: usize| {
        core::array::from_fn(|head| core::array::from_fn(|lane| values[(head * LANES + lane) * inputs + input]))
    };
    Ok((0..inputs).map(column).collect())
}

impl Layer {
    fn of(tensors: &LayerTensors<'_>) -> Result<Self, ShapeError> {
        Ok(Self {
            source: columns(tensors.source, "lin_l.weight")?,
            source_bias: row(tensors.source_bias, "lin_l.bias")?,
            target: columns(tensors.target, "lin_r.weight")?,
            target_bias: row(tensors.target_bias, "lin_r.bias")?,
            edge: columns(tensors.edge, "lin_edge.weight")?,
            attention: row(tensors.attention, "att")?,
            bias: row(tensors.bias, "bias")?,
        })
    }
}

/// A graph to run a network on. Edges go from `sources[e]` to `targets[e]`.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a> {
    /// Node features, `[nodes, inputs]`.
    pub nodes: &'a [f32],
    /// Where edges begin.
    pub sources: &'a [i64],
    /// Where they end.
    pub targets: &'a [i64],
    /// Edge features, `[edges, edge inputs]`.
    pub edges: &'a [f32],
}

/// A graph that a network cannot run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// More nodes or edges than there is room for.
    #[error("more nodes or edges than there is room for")]
    TooLarge,
    /// Array lengths that do not fit each other.
    #[error("array lengths that do not fit each other")]
    Shape,
    /// An edge begins or ends at a node that is not there.
    #[error("an edge begins or ends at a node that is not there")]
    Index,
    /// A feature is not finite, or absurdly large: a network would answer plausible numbers all the same.
    #[error("a value is not finite or beyond 1e9")]
    NotFinite,
}

/// A network with room for graphs up to a size.
#[derive(Clone, Debug)]
pub struct Gat {
    layers: Vec<Layer>,
    /// Weights of the outputs, a row each, with rows of zeros up to a multiple of [`LANES`].
    head: Vec<Row>,
    head_bias: Vec<f32>,
    outputs: usize,
    /// Outputs that are summed up together.
    quantiles: usize,
    /// `W_l x` and `W_r x` of every node, and the nodes themselves between layers.
    from: Vec<Row>,
    to: Vec<Row>,
    hidden: Vec<Row>,
    /// Edges by target, in pairs: how many pairs come before a node's, where the next edge goes, and for every edge its
    /// source, its target, its features and its scores. A node with an odd number has one that counts for nothing.
    begins: Vec<u32>,
    places: Vec<u32>,
    sources: Vec<u32>,
    targets: Vec<u32>,
    features: Vec<f32>,
    scores: Vec<Pair>,
    /// The highest scores of every node's edges, by head, twice.
    highest: Vec<Pair>,
    raw: Vec<f32>,
    /// Edges that there is room for.
    edges: usize,
}

/// Tensors of a layer.
pub(crate) const LAYER_TENSORS: usize = 7;

impl Gat {
    /// A network of its tensors in the order of its node's inputs: those of every layer as [`LayerTensors`] names them,
    /// then the head's two.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_inputs(tensors: &[Vec<f32>], quantiles: usize, room: (usize, usize)) -> Result<Self, ShapeError> {
        let [layers @ .., head, head_bias] = tensors else { return Err(ShapeError("there is no head".into())) };
        let (layers, rest) = layers.as_chunks::<LAYER_TENSORS>();
        if !rest.is_empty() {
            return Err(ShapeError(format!("{} tensors, expected {LAYER_TENSORS} a layer and two", tensors.len())));
        }
        let layers: Vec<LayerTensors<'_>> = layers
            .iter()
            .map(|[attention, bias, source, source_bias, target, target_bias, edge]| LayerTensors {
                attention,
                bias,
                source,
                source_bias,
                target,
                target_bias,
                edge,
            })
            .collect();
        Self::new(&layers, head, head_bias, quantiles, room)
    }

    /// A network of its tensors, with room for so many nodes and edges. `head` is `[outputs, WIDTH]`; every `quantiles`
    /// outputs are a target's.
    ///
    /// # Errors
    /// [`ShapeError`] names the tensor.
    pub fn new(
        layers: &[LayerTensors<'_>],
        head: &[f32],
        head_bias: &[f32],
        quantiles: usize,
        (nodes, edges): (usize, usize),
    ) -> Result<Self, ShapeError> {
        let weights =
            layers.iter().flat_map(LayerTensors::all).chain([("head.weight", head), ("head.bias", head_bias)]);
        for (name, values) in weights {
            if !all_within(values, WEIGHT_MAX) {
                return Err(ShapeError(format!("{name} has a value that is not finite or beyond {WEIGHT_MAX}")));
            }
        }
        let layers: Vec<Layer> = layers.iter().map(Layer::of).collect::<Result<_, _>>()?;
        let Some(first) = layers.first() else { return Err(ShapeError("there is no layer".into())) };
        let edge_inputs = first.edge.len();
        for (index, layer) in layers.iter().enumerate() {
            let inputs = if index == 0 { first.source.len() } else { WIDTH };
            if layer.source.len() != inputs || layer.target.len() != inputs || layer.edge.len() != edge_inputs {
                return Err(ShapeError(format!("layer {index} does not fit the one before")));
            }
        }
        let head: Vec<Row> = head.chunks(WIDTH).map(|values| row(values, "head.weight")).collect::<Result<_, _>>()?;
        if head.is_empty() || head.len() != head_bias.len() {
            return Err(ShapeError(format!("head.bias has {} values, expected {}", head_bias.len(), head.len())));
        }
        let padded = head.len().next_multiple_of(LANES);
        // An edge more for every node that has an odd number.
        let pairs = (edges + nodes).div_ceil(2);
        let outputs = head.len();
        if quantiles == 0 || !outputs.is_multiple_of(quantiles) {
            return Err(ShapeError(format!("{outputs} outputs are no multiple of {quantiles} quantiles")));
        }
        Ok(Self {
            head: head.into_iter().chain(core::iter::repeat(ZERO)).take(padded).collect(),
            head_bias: head_bias.iter().copied().chain(core::iter::repeat(0.0)).take(padded).collect(),
            outputs,
            quantiles,
            from: vec![ZERO; nodes],
            to: vec![ZERO; nodes],
            hidden: vec![ZERO; nodes],
            begins: vec![0; nodes + 1],
            places: vec![0; nodes],
            sources: vec![0; 2 * pairs],
            targets: vec![0; 2 * pairs],
            features: vec![0.0; 2 * pairs * edge_inputs],
            scores: vec![[0.0; LANES]; pairs],
            highest: vec![[0.0; LANES]; nodes],
            raw: vec![0.0; (nodes * outputs).next_multiple_of(LANES) + padded],
            edges,
            layers,
        })
    }

    /// Numbers a node gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Which instructions [`Self::run`] takes on this machine.
    pub fn kernel() -> &'static str {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "avx2+fma";
        }
        "portable"
    }

    /// Runs the network; `out` is `[nodes, outputs]`.
    ///
    /// # Errors
    /// [`GraphError`]; `out` is unchanged.
    pub fn run(&mut self, graph: &Graph<'_>, out: &mut [f32]) -> Result<(), GraphError> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has what the function is built for.
            return unsafe { self.run_avx2(graph, out) };
        }
        self.run_with::<Portable>(graph, out)
    }

    /// The same without vector instructions of a CPU: what every machine can do, and what vectors are checked against.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_portable(&mut self, graph: &Graph<'_>, out: &mut [f32]) -> Result<(), GraphError> {
        self.run_with::<Portable>(graph, out)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2(&mut self, graph: &Graph<'_>, out: &mut [f32]) -> Result<(), GraphError> {
        self.run_with::<lanes::Avx2>(graph, out)
    }

    #[inline(always)]
    fn run_with<V: Lanes>(&mut self, graph: &Graph<'_>, out: &mut [f32]) -> Result<(), GraphError> {
        let nodes = self.sort_edges(graph, out.len())?;
        for index in 0..self.layers.len() {
            self.project::<V>(index, graph.nodes, nodes);
            self.score::<V>(index, nodes);
            self.weigh::<V>(nodes);
            self.gather::<V>(index, nodes);
        }
        self.predict::<V>(nodes, out);
        Ok(())
    }

    /// Checks the graph and puts its edges in order of their targets; gives the number of nodes.
    #[inline(always)]
    fn sort_edges(&mut self, graph: &Graph<'_>, out: usize) -> Result<usize, GraphError> {
        let (inputs, edge_inputs) = (self.layers[0].source.len(), self.layers[0].edge.len());
        let (nodes, edges) = (graph.nodes.len() / inputs, graph.sources.len());
        if nodes > self.from.len() || edges > self.edges {
            return Err(GraphError::TooLarge);
        }
        let fits = graph.nodes.len() == nodes * inputs && graph.targets.len() == edges;
        if !fits || graph.edges.len() != edges * edge_inputs || out != nodes * self.outputs {
            return Err(GraphError::Shape);
        }
        if !(all_within(graph.nodes, INPUT_MAX) && all_within(graph.edges, INPUT_MAX)) {
            return Err(GraphError::NotFinite);
        }
        let begins = &mut self.begins[..=nodes];
        begins.fill(0);
        for (source, target) in graph.sources.iter().zip(graph.targets) {
            // A negative index is a large one here.
            if *source as u64 >= nodes as u64 || *target as u64 >= nodes as u64 {
                return Err(GraphError::Index);
            }
            begins[*target as usize + 1] += 1;
        }
        for node in 0..nodes {
            begins[node + 1] = begins[node] + begins[node + 1].div_ceil(2);
            self.places[node] = 2 * begins[node];
        }
        for (edge, (source, target)) in graph.sources.iter().zip(graph.targets).enumerate() {
            let place = &mut self.places[*target as usize];
            let at = *place as usize;
            *place += 1;
            (self.sources[at], self.targets[at]) = (*source as u32, *target as u32);
            self.features[at * edge_inputs..(at + 1) * edge_inputs]
                .copy_from_slice(&graph.edges[edge * edge_inputs..(edge + 1) * edge_inputs]);
        }
        for place in self.places[..nodes].iter().filter(|place| **place % 2 == 1) {
            // Any edge will do, as long as it is one.
            let at = *place as usize;
            (self.sources[at], self.targets[at]) = (self.sources[at - 1], self.targets[at - 1]);
            self.features[at * edge_inputs..(at + 1) * edge_inputs].fill(0.0);
        }
        Ok(nodes)
    }
}

/// Largest input and largest weight. Within them no sum overflows, so that no value on the way can be infinite or NaN:
/// minima and maxima would turn a NaN into a plausible number.
const INPUT_MAX: f32 = 1e9;
const WEIGHT_MAX: f32 = 1e4;

/// Whether every value is a number within `limit`, without a branch a value.
fn all_within(values: &[f32], limit: f32) -> bool {
    // A NaN is not at most anything.
    values.iter().fold(true, |all, value| all & (value.abs() <= limit))
}

#[cfg(test)]
mod tests;
