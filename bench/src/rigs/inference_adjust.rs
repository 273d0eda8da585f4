//! One adjustment, from the newest feature vector to thresholds published, over the instruments of a usual engine.

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_market::features::schema as f;
use tidegate_market::graph::MarketGraph;
use tidegate_sidecar::probe::{AdjustProbe, On, SessionProbe};
use tidegate_sidecar::serve::AdviceCells;
use tidegate_wire::advice::Advice;
use tidegate_wire::event::{BookQuality, Header};
use tidegate_wire::feature::{FEATURE_SLOTS, FeatureBody};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, RecordKind, Registry, Scale, Venue};

use crate::corpus;
use crate::report::{Options, Report, Table};
use crate::rigs::inference::{Tuner, repetitions, runs};
use crate::tails::{COLUMNS, Control, Tails};
use crate::timing::{Stopwatch, keep};

/// Bar on the 99.9th percentile, us: a twentieth of the 5 ms that an adjusted threshold may take in all.
const BAR_US: f64 = 250.0;
/// Event time between two adjustments, ns: the engine's default. Every one standardises a new second of returns.
const EVERY_NS: i64 = 1_000_000_000;
/// Event time of the first vectors, ns since the Unix epoch.
const BEGIN_NS: i64 = 1_723_161_600_000_000_000;

/// What an engine watches: two assets on three markets.
fn registry() -> Registry {
    let mut registry = Registry::new();
    let scale = Scale::saturating(2);
    for (venue, symbols) in [
        (Venue::BinanceSpot, ["BTCUSDT", "ETHUSDT"]),
        (Venue::BinanceUsdm, ["BTCUSDT", "ETHUSDT"]),
        (Venue::BinanceCoinm, ["BTCUSD_PERP", "ETHUSD_PERP"]),
    ] {
        for symbol in symbols {
            let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Default::default());
            let symbol = symbol.to_owned();
            let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
            registry.add(instrument).expect("a legal instrument");
        }
    }
    registry
}

/// Feature vectors of all books, other ones at every moment.
struct Vectors {
    random: ChaCha8Rng,
    moment: i64,
    bodies: Vec<FeatureBody>,
}

impl Vectors {
    fn new(books: usize) -> Self {
        let mut body = FeatureBody { quality: BookQuality::Good as u64, ..FeatureBody::EMPTY };
        body.set(f::MID, Some(60_000.0));
        Self { random: ChaCha8Rng::seed_from_u64(corpus::SEED), moment: BEGIN_NS, bodies: vec![body; books] }
    }

    /// The next moment: every value of every book is another one.
    fn step(&mut self) {
        self.moment += EVERY_NS;
        for body in &mut self.bodies {
            let mid = body.values[f::MID] * (1.0 + self.random.random_range(-1e-4..1e-4));
            for feature in 0..FEATURE_SLOTS {
                body.set(feature, Some(self.random.random_range(0.0..2.0)));
            }
            body.set(f::MID, Some(mid));
        }
    }

    fn each(&self, books: core::ops::Range<usize>, mut see: impl FnMut(&Header, &FeatureBody)) {
        for book in books {
            let header = Header::new(RecordKind::Features, InstrumentId(book as u16));
            see(&Header { event_ns: self.moment, ..header }, &self.bodies[book]);
        }
    }
}

/// An adjustment and the graph it looks at, on the same vectors.
struct Bench {
    probe: AdjustProbe,
    vectors: Vectors,
    graph: MarketGraph,
    graph_vectors: Vectors,
    session: SessionProbe,
    cells: Arc<AdviceCells>,
}

impl Bench {
    fn new(tuner: &Tuner, watch: &Stopwatch) -> Result<Self, String> {
        let registry = registry();
        let cells = AdviceCells::anonymous(registry.len()).map_err(|error| error.to_string())?;
        let cells = Arc::new(cells);
        let Tuner { files, environment } = tuner;
        let probe = AdjustProbe::new(files, environment, &registry, *watch.clock(), cells.clone());
        let probe = probe.map_err(|refusal| refusal.to_string())?;
        let graph = MarketGraph::new(&registry);
        let size = (graph.nodes().len(), graph.edges().len());
        let mut session = SessionProbe::open(files, environment, On::Kernel, size).map_err(|r| r.to_string())?;
        session.join(graph.index());
        let vectors = || Vectors::new(registry.len());
        Ok(Self { probe, vectors: vectors(), graph, graph_vectors: vectors(), session, cells })
    }

    /// Every book but the last has its newest vector.
    fn before(&mut self) {
        self.vectors.step();
        let last = self.vectors.bodies.len() - 1;
        self.vectors.each(0..last, |header, body| self.probe.see(header, body));
    }

    /// The last vector comes and makes an adjustment due.
    fn adjust(&mut self) {
        let books = self.vectors.bodies.len();
        self.vectors.each(books - 1..books, |header, body| self.probe.see(header, body));
        self.probe.adjust(self.vectors.moment);
    }

    fn graph_before(&mut self) {
        self.graph_vectors.step();
        let books = self.graph_vectors.bodies.len();
        self.graph_vectors.each(0..books, |header, body| self.graph.see(header, body));
    }

    /// Whether advice for every book cites the graph that was built beside it.
    fn check(&mut self, report: &mut Report) {
        let digest = self.graph.snapshot(self.graph_vectors.moment).digest();
        let advice = (0..self.cells.len()).filter_map(|book| self.cells.cell(book)?.load());
        let cited = advice.filter(|(_, words)| {
            let advice = Advice::of_words(words);
            (advice.event_ns, advice.input_digest) == (self.graph_vectors.moment, digest)
        });
        let (cited, books) = (cited.count(), self.cells.len());
        report.check(cited == books, format!("{cited} of {books} books were advised on the graph built beside"));
        let faults = self.probe.faults();
        report.check(faults.is_empty(), format!("no adjustment failed: {faults:?}"));
    }
}

/// Candidates in the order of the table.
const ROWS: [&str; 5] = [
    "adjustment",
    "of it: market graph",
    "of it: digest of the graph",
    "of it: run, kernel in its session",
    "CONTROL, registers only",
];

/// Measures adjustments.
///
/// # Errors
/// The tuner is refused.
pub(super) fn measure(report: &mut Report, options: &Options, watch: &Stopwatch, tuner: &Tuner) -> Result<(), String> {
    let mut bench = Bench::new(tuner, watch)?;
    let mut tails = ROWS.map(Tails::new);
    let (quick, _) = runs(options);
    let mut control = None;
    for _ in 0..repetitions(options) {
        let [adjust, graph, digest, run, idle] = &mut tails;
        adjust.repeat(watch, quick, &mut bench, |bench, _| bench.before(), Bench::adjust);
        let control = control.get_or_insert_with(|| Control::lasting(watch, adjust.at(0.5)));
        idle.repeat(watch, quick, &mut (), |(), _| (), |()| control.run());
        graph.repeat(
            watch,
            quick,
            &mut bench,
            |bench, _| bench.graph_before(),
            |bench| {
                keep(bench.graph.snapshot(bench.graph_vectors.moment));
            },
        );
        bench.check(report);
        let view = bench.graph.snapshot(bench.graph_vectors.moment);
        let idle_before = |(): &mut (), _| ();
        digest.repeat(watch, quick, &mut (), idle_before, |()| {
            keep(keep(view).digest());
        });
        let session = &mut bench.session;
        run.repeat(watch, quick, &mut (), idle_before, |()| {
            keep(session.run(view.nodes, view.edges).is_ok());
        });
    }
    let (nodes, edges) = (bench.graph.nodes().len(), bench.graph.edges().len());
    let books = bench.vectors.bodies.len();
    let title = format!(
        "one adjustment, warm: last vector of {books} books to advice in its cells, {nodes} nodes, {edges} edges; \
         medians over repetitions, max over all"
    );
    let mut table = Table::new(title, &COLUMNS);
    tails.iter().for_each(|row| table.row(&row.name, &row.figures(&tails[0])));
    report.table(table);
    report.ratio("inference_adjust_p999", tails[0].at(0.999), BAR_US, "us");
    Ok(())
}
