//! The kernel against the formulas in double precision, and what it refuses.

use super::*;

/// A small generator of numbers in [-1, 1].
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

const IN: usize = 24;
const EDGE: usize = 8;
const OUT: usize = 15;

struct Weights {
    layers: [[Vec<f32>; 7]; 2],
    head: Vec<f32>,
    head_bias: Vec<f32>,
}

fn weights(numbers: &mut Numbers) -> Weights {
    let mut layer = |inputs: usize| {
        [WIDTH, WIDTH, WIDTH * inputs, WIDTH, WIDTH * inputs, WIDTH, WIDTH * EDGE].map(|n| numbers.many(n, 0.4))
    };
    let layers = [layer(IN), layer(WIDTH)];
    Weights { layers, head: numbers.many(OUT * WIDTH, 0.4), head_bias: numbers.many(OUT, 0.4) }
}

fn tensors(layer: &[Vec<f32>; 7]) -> LayerTensors<'_> {
    let [attention, bias, source, source_bias, target, target_bias, edge] = layer;
    LayerTensors { attention, bias, source, source_bias, target, target_bias, edge }
}

fn network(weights: &Weights) -> Gat {
    let layers = weights.layers.each_ref().map(tensors);
    Gat::new(&layers, &weights.head, &weights.head_bias, 3, (64, 1_024)).expect("fitting tensors")
}

struct Sample {
    nodes: Vec<f32>,
    sources: Vec<i64>,
    targets: Vec<i64>,
    edges: Vec<f32>,
}

impl Sample {
    /// Nodes with random edges; the last one has none.
    fn new(numbers: &mut Numbers, nodes: usize, edges: usize) -> Self {
        let mut pick = |below: usize| ((numbers.next() * 0.5 + 0.5) * below as f32) as i64 % below.max(1) as i64;
        let (sources, targets) = (0..edges).map(|_| (pick(nodes), pick(nodes.max(2) - 1))).unzip();
        Self { nodes: numbers.many(nodes * IN, 2.0), sources, targets, edges: numbers.many(edges * EDGE, 2.0) }
    }

    fn graph(&self) -> Graph<'_> {
        Graph { nodes: &self.nodes, sources: &self.sources, targets: &self.targets, edges: &self.edges }
    }
}

fn linear(weights: &[f32], inputs: &[f64], bias: Option<&[f32]>) -> Vec<f64> {
    let rows = weights.chunks_exact(inputs.len());
    let products = rows.map(|row| row.iter().zip(inputs).map(|(w, x)| f64::from(*w) * x).sum::<f64>());
    products.enumerate().map(|(i, sum)| sum + bias.map_or(0.0, |b| f64::from(b[i]))).collect()
}

/// The formulas as they stand in the paper, a sum at a time.
fn reference(weights: &Weights, sample: &Sample) -> Vec<f64> {
    let count = sample.nodes.len() / IN;
    let mut hidden: Vec<Vec<f64>> =
        sample.nodes.chunks_exact(IN).map(|x| x.iter().map(|v| f64::from(*v)).collect()).collect();
    for [attention, bias, source, source_bias, target, target_bias, edge] in &weights.layers {
        let from: Vec<_> = hidden.iter().map(|x| linear(source, x, Some(source_bias))).collect();
        let to: Vec<_> = hidden.iter().map(|x| linear(target, x, Some(target_bias))).collect();
        let edge_inputs = sample.edges.chunks_exact(EDGE).map(|e| e.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let along: Vec<_> = edge_inputs.map(|e| linear(edge, &e, None)).collect();
        hidden = (0..count)
            .map(|node| {
                let incoming: Vec<usize> =
                    (0..sample.targets.len()).filter(|e| sample.targets[*e] as usize == node).collect();
                let mut out: Vec<f64> = bias.iter().map(|b| f64::from(*b)).collect();
                for head in 0..HEADS {
                    let channels = head * LANES..(head + 1) * LANES;
                    let score = |e: usize| -> f64 {
                        channels
                            .clone()
                            .map(|c| {
                                let sum = from[sample.sources[e] as usize][c] + to[node][c] + along[e][c];
                                f64::from(attention[c]) * if sum > 0.0 { sum } else { 0.2 * sum }
                            })
                            .sum()
                    };
                    let scores: Vec<f64> = incoming.iter().map(|e| score(*e).exp()).collect();
                    let total: f64 = scores.iter().sum();
                    for (e, score) in incoming.iter().zip(scores) {
                        for c in channels.clone() {
                            out[c] += score / total * from[sample.sources[*e] as usize][c];
                        }
                    }
                }
                out.into_iter().map(|v| if v > 0.0 { v } else { v.exp() - 1.0 }).collect()
            })
            .collect();
    }
    let outputs = hidden.iter().flat_map(|x| linear(&weights.head, x, Some(&weights.head_bias)));
    let softplus: Vec<f64> = outputs.map(|v| v.max(0.0) + (-v.abs()).exp().ln_1p()).collect();
    let sums = softplus.chunks_exact(3).flat_map(|q| [q[0], q[0] + q[1], q[0] + q[1] + q[2]]);
    sums.collect()
}

#[test]
fn both_kernels_agree_with_the_formulas() {
    let mut numbers = Numbers(1);
    let mut worst = 0.0f64;
    for round in 0..60 {
        let weights = weights(&mut numbers);
        let mut network = network(&weights);
        let (nodes, edges) = (1 + round % 20, round * 7 % 150);
        let sample = Sample::new(&mut numbers, nodes, edges);
        let expected = reference(&weights, &sample);
        let (mut fast, mut portable) = (vec![0.0; nodes * OUT], vec![0.0; nodes * OUT]);
        network.run(&sample.graph(), &mut fast).expect("a good graph");
        network.run_portable(&sample.graph(), &mut portable).expect("a good graph");
        for ((fast, portable), expected) in fast.iter().zip(&portable).zip(expected) {
            let scale = expected.abs().max(1.0);
            worst = worst.max((f64::from(*fast) - expected).abs() / scale);
            worst = worst.max((f64::from(*portable) - expected).abs() / scale);
        }
    }
    assert!(worst < 5e-6, "{worst}");
}

#[test]
fn bad_graphs_are_refused() {
    let mut numbers = Numbers(2);
    let mut network = network(&weights(&mut numbers));
    let good = Sample::new(&mut numbers, 5, 12);
    let mut out = vec![7.0; 5 * OUT];
    let mut error = |graph: Graph<'_>| network.run(&graph, &mut out).expect_err("a bad graph");
    let mut nodes = good.nodes.clone();
    nodes[3] = f32::NAN;
    assert_eq!(error(Graph { nodes: &nodes, ..good.graph() }), GraphError::NotFinite);
    let mut edges = good.edges.clone();
    edges[0] = f32::INFINITY;
    assert_eq!(error(Graph { edges: &edges, ..good.graph() }), GraphError::NotFinite);
    edges[0] = 2e9;
    assert_eq!(error(Graph { edges: &edges, ..good.graph() }), GraphError::NotFinite);
    for index in [-1, 5, i64::MIN, i64::MAX] {
        let mut sources = good.sources.clone();
        sources[7] = index;
        assert_eq!(error(Graph { sources: &sources, ..good.graph() }), GraphError::Index);
        assert_eq!(error(Graph { targets: &sources, ..good.graph() }), GraphError::Index);
    }
    assert_eq!(error(Graph { targets: &good.targets[1..], ..good.graph() }), GraphError::Shape);
    assert_eq!(error(Graph { edges: &good.edges[1..], ..good.graph() }), GraphError::Shape);
    assert_eq!(error(Graph { nodes: &good.nodes[1..], ..good.graph() }), GraphError::Shape);
    let large = Sample::new(&mut numbers, 65, 0);
    assert_eq!(network.run(&large.graph(), &mut vec![0.0; 65 * OUT]), Err(GraphError::TooLarge));
    assert!(out.iter().all(|v| *v == 7.0), "nothing was written");
    network.run(&good.graph(), &mut out).expect("a good graph");
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let weights = weights(&mut Numbers(3));
    let layers = weights.layers.each_ref().map(tensors);
    let error = |layers: &[LayerTensors<'_>], head: &[f32], quantiles| {
        Gat::new(layers, head, &weights.head_bias, quantiles, (8, 8)).expect_err("no fit").to_string()
    };
    let short = LayerTensors { attention: &weights.layers[0][0][1..], ..layers[0] };
    assert!(error(&[short, layers[1]], &weights.head, 3).contains("att has 31"));
    assert!(error(&[layers[1], layers[0]], &weights.head, 3).contains("layer 1"));
    assert!(error(&layers, &weights.head[WIDTH..], 3).contains("head.bias"));
    assert!(error(&layers, &weights.head, 4).contains("15 outputs"));
    assert!(error(&[], &weights.head, 3).contains("no layer"));
    for bad in [f32::NAN, f32::INFINITY, -1e5] {
        let mut head = weights.head.clone();
        head[17] = bad;
        assert!(error(&layers, &head, 3).contains("head.weight has a value"));
    }
}
