//! The market as a graph: exchanges, assets, order books and the regime, for models that look at all of them at once.
//!
//! Nodes and edges follow from the registry and stay as they are for a run; their values move with the feature vectors.
//! Books come first, in registry order, so that row `i` of a model's output is instrument `i`. Edges are sorted by
//! target. Nothing allocates after construction.

mod returns;
pub mod schema;

use returns::Returns;
use schema::{BOOK_VALUES, CLOCK, EDGE_SLOTS, EdgeKind, FIRST_VALUE, NODE_SLOTS, NodeKind, PRESENT};
use tidegate_wire::event::{BookQuality, FLAG_SESSION, Header};
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::instrument::FUNDING_PERIOD_NS;
use tidegate_wire::{InstrumentId, Registry};
use xxhash_rust::xxh3::Xxh3;

use crate::features::schema as f;

/// Neighbours on its exchange that a book is compared with, besides the books of its asset.
const NEIGHBOURS: usize = 4;
/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
/// Seconds between two fundings.
const FUNDING_S: i64 = FUNDING_PERIOD_NS / SECOND_NS;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it stands for.
    pub kind: NodeKind,
    /// Its name: `binance-usdm`, `BTC`, `BTCUSDT.binance-usdm`, `regime`.
    pub name: String,
    /// Books whose mean it holds; a book's own number for a book.
    books: Vec<usize>,
}

/// An edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Node it begins at.
    pub source: usize,
    /// Node it ends at.
    pub target: usize,
    /// Why; `None` joins a node with itself.
    pub kind: Option<EdgeKind>,
    /// Against the kind's direction.
    pub reverse: bool,
}

/// The market graph of a run.
#[derive(Debug)]
pub struct MarketGraph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    latest: Vec<Option<FeatureBody>>,
    returns: Returns,
    /// The running second of event time; 0 before the first vector.
    second: i64,
    x: Vec<f32>,
    /// Sources, then targets.
    index: Vec<i64>,
    attributes: Vec<f32>,
}

/// A graph with its values, as a network takes it.
#[derive(Clone, Copy, Debug)]
pub struct GraphView<'a> {
    /// Values of nodes, row-major `[nodes, NODE_SLOTS]`.
    pub nodes: &'a [f32],
    /// Sources, then targets, `[2, edges]`.
    pub index: &'a [i64],
    /// Values of edges, row-major `[edges, EDGE_SLOTS]`.
    pub edges: &'a [f32],
}

impl GraphView<'_> {
    /// XXH3 over all of it: what a decision cites as its input.
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(bytemuck::cast_slice(self.nodes));
        hasher.update(bytemuck::cast_slice(self.index));
        hasher.update(bytemuck::cast_slice(self.edges));
        hasher.digest()
    }
}

/// Moments of event time at which a graph is looked at: every so many nanoseconds since the Unix epoch.
///
/// A moment is due when the first event at or after it comes, and what came before it is what is looked at. Moments
/// that passed without an event are left out but for the newest.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    every_ns: i64,
    next: i64,
}

impl Schedule {
    /// A schedule; `every_ns` > 0.
    pub fn new(every_ns: i64) -> Self {
        Self { every_ns: every_ns.max(1), next: i64::MIN }
    }

    /// The moment that an event at `now` makes due, if it does. Nothing is due at the first event of all.
    #[inline(always)]
    pub fn due(&mut self, now: i64) -> Option<i64> {
        if now < self.next {
            return None;
        }
        let moment = now.div_euclid(self.every_ns) * self.every_ns;
        let first = self.next == i64::MIN;
        self.next = moment + self.every_ns;
        (!first).then_some(moment)
    }
}

/// Members by name, in the order in which the names first come.
fn groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (book, name) in names.enumerate() {
        match groups.iter_mut().find(|(known, _)| known == name) {
            Some((_, books)) => books.push(book),
            None => groups.push((name.to_owned(), vec![book])),
        }
    }
    groups
}

impl MarketGraph {
    /// The graph of all instruments of a registry.
    pub fn new(registry: &Registry) -> Self {
        let books = registry.len();
        let node = |kind| move |(name, books): (String, Vec<usize>)| Node { kind, name, books };
        let exchanges = groups(registry.iter().map(|(_, i)| i.venue.name()));
        let assets = groups(registry.iter().map(|(_, i)| i.base()));
        let mut nodes: Vec<Node> = registry
            .iter()
            .map(|(id, i)| Node { kind: NodeKind::Book, name: i.name(), books: vec![id.index()] })
            .collect();
        nodes.extend(exchanges.iter().cloned().map(node(NodeKind::Exchange)));
        nodes.extend(assets.iter().cloned().map(node(NodeKind::Asset)));
        nodes.push(Node { kind: NodeKind::Regime, name: "regime".into(), books: (0..books).collect() });
        let edges = edges(&nodes, &exchanges, &assets);
        let index = edges.iter().map(|e| e.source as i64).chain(edges.iter().map(|e| e.target as i64)).collect();
        let mut graph = Self {
            x: vec![0.0; nodes.len() * NODE_SLOTS],
            attributes: vec![0.0; edges.len() * EDGE_SLOTS],
            latest: vec![None; books],
            returns: Returns::new(books),
            second: 0,
            nodes,
            edges,
            index,
        };
        for (node, x) in graph.nodes.iter().zip(graph.x.chunks_exact_mut(NODE_SLOTS)) {
            x[node.kind as usize] = 1.0;
        }
        for (edge, values) in graph.edges.iter().zip(graph.attributes.chunks_exact_mut(EDGE_SLOTS)) {
            if let Some(kind) = edge.kind {
                values[kind as usize] = 1.0;
            }
            values[4] = f32::from(u8::from(edge.reverse));
        }
        graph
    }

    /// The nodes, books first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Sources, then targets, `[2, edges]`: the same for the whole run.
    pub fn index(&self) -> &[i64] {
        &self.index
    }

    /// The edges, by target.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Takes an instrument's newest vector.
    pub fn see(&mut self, header: &Header, body: &FeatureBody) {
        self.advance(header.event_ns);
        let book = header.instrument.index();
        if header.flags & FLAG_SESSION != 0 {
            self.returns.forget(book);
        }
        if let Some(latest) = self.latest.get_mut(book) {
            *latest = Some(*body);
        }
    }

    /// The newest vector of an instrument.
    pub fn latest(&self, instrument: InstrumentId) -> Option<&FeatureBody> {
        self.latest.get(instrument.index())?.as_ref()
    }

    /// Moves event time: samples every mid at the end of each second that has passed.
    fn advance(&mut self, now: i64) {
        let second = now.div_euclid(SECOND_NS);
        if second <= self.second {
            return;
        }
        let begun = core::mem::replace(&mut self.second, second);
        if begun == 0 {
            return;
        }
        // After a long silence only the last minute can matter.
        for _ in begun.max(second - returns::SECONDS as i64)..second {
            for (book, body) in self.latest.iter().enumerate() {
                self.returns.sample(book, body.as_ref().filter(|b| is_good(b)).and_then(|b| b.get(f::MID)));
            }
            self.returns.end_second();
        }
    }

    /// The graph as of `now`, ns of event time.
    pub fn snapshot(&mut self, now: i64) -> GraphView<'_> {
        self.advance(now);
        self.fill_nodes(now);
        self.fill_edges();
        GraphView { nodes: &self.x, index: &self.index, edges: &self.attributes }
    }

    fn fill_nodes(&mut self, now: i64) {
        let books = self.latest.len();
        let (own, others) = self.x.split_at_mut(books * NODE_SLOTS);
        for (body, x) in self.latest.iter().zip(own.chunks_exact_mut(NODE_SLOTS)) {
            let body = body.as_ref().filter(|body| is_good(body));
            x[PRESENT] = f32::from(u8::from(body.is_some()));
            for (slot, value) in x[FIRST_VALUE..].iter_mut().zip(&BOOK_VALUES) {
                let known = body.and_then(|body| body.get(value.feature));
                *slot = known.map_or(0.0, |known| value.transform.apply(known) as f32);
            }
        }
        for (node, x) in self.nodes[books..].iter().zip(others.chunks_exact_mut(NODE_SLOTS)) {
            x[PRESENT..].fill(0.0);
            for book in &node.books {
                let values = &own[book * NODE_SLOTS..][..NODE_SLOTS];
                if values[PRESENT] == 1.0 {
                    x[PRESENT..].iter_mut().zip(&values[PRESENT..]).for_each(|(sum, value)| *sum += value);
                }
            }
            let present = x[PRESENT];
            if present > 0.0 {
                x[FIRST_VALUE..].iter_mut().for_each(|sum| *sum /= present);
                x[PRESENT] /= node.books.len() as f32;
            }
            if node.kind == NodeKind::Regime {
                x[CLOCK..].copy_from_slice(&clock(now));
            }
        }
    }

    fn fill_edges(&mut self) {
        self.returns.standardise();
        let mid = |book: usize| self.latest[book].as_ref().filter(|b| is_good(b)).and_then(|b| b.get(f::MID));
        for (edge, values) in self.edges.iter().zip(self.attributes.chunks_exact_mut(EDGE_SLOTS)) {
            match edge.kind {
                Some(EdgeKind::Correlates) => {
                    values[5] = self.returns.correlation(edge.source, edge.target) as f32;
                }
                Some(EdgeKind::Leads) => {
                    values[6] = self.returns.lead(edge.source, edge.target) as f32;
                    // Books of one asset: a tenth of a per cent between their mids is 1.
                    let basis = mid(edge.source).zip(mid(edge.target)).map(|(a, b)| libm::log(a / b) * 1e3);
                    values[7] = basis.map_or(0.0, |basis| basis.clamp(-8.0, 8.0) as f32);
                }
                _ => {}
            }
        }
    }
}

fn is_good(body: &FeatureBody) -> bool {
    body.book_quality() == BookQuality::Good
}

/// Time of day on a circle, whether it is Saturday or Sunday, and the time to the next funding over its period; UTC.
fn clock(now: i64) -> [f32; schema::CLOCK_VALUES.len()] {
    let seconds = now.div_euclid(SECOND_NS);
    let angle = seconds.rem_euclid(86_400) as f64 / 86_400.0 * core::f64::consts::TAU;
    // The Unix epoch was a Thursday.
    let weekday = (seconds.div_euclid(86_400) + 3).rem_euclid(7);
    let to_funding = (FUNDING_S - seconds.rem_euclid(FUNDING_S)) as f64 / FUNDING_S as f64;
    let weekend = f32::from(u8::from(weekday >= 5));
    [libm::sin(angle) as f32, libm::cos(angle) as f32, weekend, to_funding as f32]
}

fn edges(nodes: &[Node], exchanges: &[(String, Vec<usize>)], assets: &[(String, Vec<usize>)]) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut join = |source: usize, target: usize, kind: Option<EdgeKind>, reverse: bool| {
        edges.push(Edge { source, target, kind, reverse });
    };
    for (number, node) in nodes.iter().enumerate() {
        join(number, number, None, false);
        let kind = match node.kind {
            NodeKind::Book => continue,
            NodeKind::Exchange | NodeKind::Asset => EdgeKind::ListsOn,
            NodeKind::Regime => EdgeKind::SharesRegime,
        };
        for &book in &node.books {
            join(number, book, Some(kind), false);
            join(book, number, Some(kind), true);
        }
    }
    for (_, books) in assets {
        for (a, b) in pairs(books) {
            for (a, b) in [(a, b), (b, a)] {
                join(a, b, Some(EdgeKind::Correlates), false);
                join(a, b, Some(EdgeKind::Leads), false);
            }
        }
    }
    for (_, books) in exchanges {
        for (at, &a) in books.iter().enumerate() {
            for &b in books[at + 1..].iter().take(NEIGHBOURS) {
                join(a, b, Some(EdgeKind::Correlates), false);
                join(b, a, Some(EdgeKind::Correlates), false);
            }
        }
    }
    edges.sort_by_key(|edge| (edge.target, edge.source, edge.kind));
    // Two books of one asset on one exchange are neighbours for both reasons: once is enough.
    edges.dedup();
    edges
}

fn pairs(books: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    books.iter().enumerate().flat_map(|(at, &a)| books[at + 1..].iter().map(move |&b| (a, b)))
}

#[cfg(test)]
mod tests;
