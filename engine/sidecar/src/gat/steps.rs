//! The steps of a run, each over the whole graph: a loop whose turns do not wait for each other keeps a core busy;
//! node by node, each would wait for its own scores, exponentials and sums.
//!
//! Loops over `core::array::from_fn` where something is computed: a closure that is not inlined is built without the
//! vector instructions of the function around it.

use super::lanes::{LANES, Lanes};
use super::{Gat, HEADS, Row};

/// Slope of the leaky rectifier.
const SLOPE: f32 = 0.2;

impl Gat {
    /// `W_l x + b_l` and `W_r x + b_r` of every node.
    #[inline(always)]
    pub(super) fn project<V: Lanes>(&mut self, index: usize, inputs: &[f32], nodes: usize) {
        let Self { layers, from, to, hidden, .. } = self;
        let layer = &layers[index];
        let inputs = if index == 0 { inputs } else { hidden.as_flattened().as_flattened() };
        let count = layer.source.len();
        for (weights, bias, out) in [(&layer.source, &layer.source_bias, from), (&layer.target, &layer.target_bias, to)]
        {
            let bias: [V; HEADS] = core::array::from_fn(|k| V::load(&bias[k]));
            let (pairs, rest) = out[..nodes].as_chunks_mut::<2>();
            let (values, last) = inputs[..nodes * count].split_at(pairs.len() * 2 * count);
            for (values, [one, other]) in values.chunks_exact(2 * count).zip(pairs) {
                let (mut first, mut second) = (bias, bias);
                let (own, others) = values.split_at(count);
                for ((x, y), weights) in own.iter().zip(others).zip(weights) {
                    let (x, y) = (V::splat(*x), V::splat(*y));
                    for k in 0..HEADS {
                        let weights = V::load(&weights[k]);
                        first[k] = weights.mul_add(x, first[k]);
                        second[k] = weights.mul_add(y, second[k]);
                    }
                }
                for k in 0..HEADS {
                    first[k].store(&mut one[k]);
                    second[k].store(&mut other[k]);
                }
            }
            for row in rest {
                let mut sum = bias;
                for (x, weights) in last.iter().zip(weights) {
                    for k in 0..HEADS {
                        sum[k] = V::load(&weights[k]).mul_add(V::splat(*x), sum[k]);
                    }
                }
                for k in 0..HEADS {
                    sum[k].store(&mut row[k]);
                }
            }
        }
    }

    /// Scores of all edges: two at a time share the loads of weights, and no edge waits for another.
    #[inline(always)]
    pub(super) fn score<V: Lanes>(&mut self, index: usize, nodes: usize) {
        let Self { layers, from, to, begins, sources, targets, features, scores, .. } = self;
        let layer = &layers[index];
        let attention: [V; HEADS] = core::array::from_fn(|k| V::load(&layer.attention[k]));
        let width = layer.edge.len();
        let both = sources.as_chunks::<2>().0.iter().zip(targets.as_chunks::<2>().0);
        let pairs = both.zip(features.chunks_exact(2 * width)).zip(scores);
        for (((sources, targets), features), scores) in pairs.take(begins[nodes] as usize) {
            let mut first: [V; HEADS] = ends(from, to, sources[0], targets[0]);
            let mut second: [V; HEADS] = ends(from, to, sources[1], targets[1]);
            let (own, others) = features.split_at(width);
            for ((one, other), weights) in own.iter().zip(others).zip(&layer.edge) {
                let (one, other) = (V::splat(*one), V::splat(*other));
                for k in 0..HEADS {
                    let weights = V::load(&weights[k]);
                    first[k] = weights.mul_add(one, first[k]);
                    second[k] = weights.mul_add(other, second[k]);
                }
            }
            let mut products = [V::splat(0.0); LANES];
            for k in 0..HEADS {
                products[k] = leaky(first[k]).mul(attention[k]);
                products[HEADS + k] = leaky(second[k]).mul(attention[k]);
            }
            V::sums(products).store(scores);
        }
    }

    /// Scores into weights: `e^(score - highest)`, over the same node's edges.
    #[inline(always)]
    pub(super) fn weigh<V: Lanes>(&mut self, nodes: usize) {
        let Self { begins, places, targets, scores, highest, .. } = self;
        for node in 0..nodes {
            let own = &mut scores[begins[node] as usize..begins[node + 1] as usize];
            // Where the place after the last edge is the second of its pair, that one stands for no edge.
            if places[node] % 2 == 1
                && let Some(last) = own.last_mut()
            {
                last[HEADS..].fill(f32::MIN);
            }
            let mut most = V::splat(f32::MIN);
            for pair in own {
                most = most.max(V::load(pair));
            }
            most.max(most.swap_halves()).store(&mut highest[node]);
        }
        // One after the other, whoever's they are: none waits for another.
        for (pair, targets) in scores[..begins[nodes] as usize].iter_mut().zip(targets.as_chunks::<2>().0) {
            V::load(pair).sub(V::load(&highest[targets[0] as usize])).exp().store(pair);
        }
    }

    /// Every node's channels after attention: the weighted mean over its edges, bias and ELU.
    #[inline(always)]
    pub(super) fn gather<V: Lanes>(&mut self, index: usize, nodes: usize) {
        let Self { layers, from, hidden, begins, sources, scores, .. } = self;
        let bias: [V; HEADS] = core::array::from_fn(|k| V::load(&layers[index].bias[k]));
        for node in 0..nodes {
            let own = begins[node] as usize..begins[node + 1] as usize;
            let (mut out, mut sum) = ([V::splat(0.0); HEADS], V::splat(0.0));
            for (weights, sources) in scores[own.clone()].iter().zip(&sources.as_chunks::<2>().0[own.clone()]) {
                // The highest one of a head weighs 1: what stands for no edge, e^-87 at most, changes no sum.
                sum = sum.add(V::load(weights));
                for (half, source) in sources.iter().enumerate() {
                    let row = &from[*source as usize];
                    for k in 0..HEADS {
                        out[k] = V::load(&row[k]).mul_add(V::splat(weights[half * HEADS + k]), out[k]);
                    }
                }
            }
            // Without edges there is nothing to divide by.
            let mut inverse = [0.0; LANES];
            if !own.is_empty() {
                V::splat(1.0).div(sum.add(sum.swap_halves())).store(&mut inverse);
            }
            for k in 0..HEADS {
                let value = out[k].mul_add(V::splat(inverse[k]), bias[k]);
                value.positive_or(value.min(V::splat(0.0)).exp().sub(V::splat(1.0))).store(&mut hidden[node][k]);
            }
        }
    }

    /// The outputs of every node.
    #[inline(always)]
    pub(super) fn predict<V: Lanes>(&mut self, nodes: usize, out: &mut [f32]) {
        let Self { head, head_bias, hidden, raw, quantiles, outputs, .. } = self;
        let outputs = *outputs;
        for (node, hidden) in hidden[..nodes].iter().enumerate() {
            let hidden: [V; HEADS] = core::array::from_fn(|k| V::load(&hidden[k]));
            for (group, (weights, bias)) in
                head.as_chunks::<LANES>().0.iter().zip(head_bias.as_chunks::<LANES>().0).enumerate()
            {
                let mut products = [V::splat(0.0); LANES];
                for (sum, weights) in products.iter_mut().zip(weights) {
                    *sum = V::load(&weights[0]).mul(hidden[0]);
                    for k in 1..HEADS {
                        *sum = V::load(&weights[k]).mul_add(hidden[k], *sum);
                    }
                }
                // Lanes beyond the last output are overwritten by the next node.
                if let Some(lanes) = raw[node * outputs + group * LANES..].first_chunk_mut() {
                    V::sums(products).add(V::load(bias)).store(lanes);
                }
            }
        }
        let used = (nodes * outputs).next_multiple_of(LANES);
        for lanes in raw[..used].as_chunks_mut::<LANES>().0 {
            softplus(V::load(lanes)).store(lanes);
        }
        for (values, sums) in raw.chunks_exact(*quantiles).zip(out.chunks_exact_mut(*quantiles)) {
            let mut sum = 0.0;
            for (value, to) in values.iter().zip(sums) {
                sum += value;
                *to = sum;
            }
        }
    }
}

/// What an edge's ends add to its scores.
#[inline(always)]
fn ends<V: Lanes>(from: &[Row], to: &[Row], source: u32, target: u32) -> [V; HEADS] {
    let (from, to) = (&from[source as usize], &to[target as usize]);
    let mut sum = [V::splat(0.0); HEADS];
    for k in 0..HEADS {
        sum[k] = V::load(&from[k]).add(V::load(&to[k]));
    }
    sum
}

#[inline(always)]
fn leaky<V: Lanes>(x: V) -> V {
    x.max(x.mul(V::splat(SLOPE)))
}

/// `ln(1 + e^x)`.
#[inline(always)]
fn softplus<V: Lanes>(x: V) -> V {
    let zero = V::splat(0.0);
    // ln(1 + e^x) = max(x, 0) + ln(1 + u) with u = e^-|x| in (0, 1], and ln(1 + u) = 2 artanh(u / (2 + u)).
    let u = zero.sub(x.max(zero.sub(x))).exp();
    let t = u.div(u.add(V::splat(2.0)));
    let square = t.mul(t);
    let mut sum = V::splat(1.0 / 13.0);
    for odd in [11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum.mul_add(square, V::splat(1.0 / odd));
    }
    x.max(zero).add(t.add(t).mul(sum))
}
