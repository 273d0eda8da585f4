//! The whole path of a frame on one core: bytes to a checked book with best prices, against the way it is usually done.
//!
//! Ours is the engine's own [`Feed`] (decode, sequence rule, quality) with a sink that applies to the book, reads best
//! prices and tests for a crossed book. Features and publication join the path when their stage exists; until then the
//! rig says so.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::mpsc;

use serde::Deserialize;
use tidegate_feed::{Feed, FrameMeta};
use tidegate_market::book::Book;
use tidegate_wire::event::{BookQuality, Depth, EventSink, Header, Mark, Quote, Status, Trade};
use tidegate_wire::{InstrumentId, Price, Venue};

use crate::corpus::{self, Frames};
use crate::recorded::Recorded;
use crate::report::{Options, Report, Table};
use crate::rigs::book::generated;
use crate::timing::{FrameTimes, Stopwatch, paired};

/// Bar on the mean over the recorded day, us.
const MEAN_BAR_US: f64 = 1.8;
/// Bar on the median frame, of the naive path.
const NAIVE_BAR: f64 = 0.2;

/// The market stage of this rig.
#[derive(Debug)]
struct BookSink {
    book: Book,
    /// Best prices after every frame, folded into one number.
    sum: u64,
    crossed: u64,
    off_grid: u64,
    gaps: u64,
    /// Frames that came while the book was good.
    good: bool,
    applied: u64,
}

impl EventSink for BookSink {
    #[inline]
    fn delta(&mut self, _: &Header, depth: Depth<'_>) {
        self.off_grid += u64::from(self.book.apply(&depth).is_err());
        let (bid, ask) = (self.book.best_bid(), self.book.best_ask());
        self.crossed += u64::from(self.book.is_crossed());
        self.applied += 1;
        if let (Some(bid), Some(ask)) = (bid, ask) {
            self.sum = fold(self.sum, bid.price.raw(), ask.price.raw());
        }
    }

    fn snapshot(&mut self, _: &Header, depth: Depth<'_>) {
        self.off_grid += u64::from(self.book.load(&depth).is_err());
    }

    fn status(&mut self, _: &Header, status: &Status) {
        self.good = status.quality == BookQuality::Good as u64;
        self.gaps += u64::from(status.quality == BookQuality::Gapped as u64);
    }

    fn quote(&mut self, _: &Header, _: &Quote) {}
    fn trade(&mut self, _: &Header, _: &Trade) {}
    fn mark(&mut self, _: &Header, _: &Mark) {}
    fn heartbeat(&mut self, _: &Header) {}
}

#[inline(always)]
fn fold(sum: u64, bid: i64, ask: i64) -> u64 {
    sum.rotate_left(1) ^ (bid as u64) << 20 ^ ask as u64
}

/// A price as most programs order it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Float(f64);

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Deserialize)]
struct NaiveWrapped {
    #[expect(dead_code, reason = "the naive program keeps the name like every other field")]
    stream: String,
    data: NaiveDepth,
}

#[derive(Deserialize)]
struct NaiveDepth {
    #[serde(rename = "u")]
    last: u64,
    pu: u64,
    b: Vec<(String, String)>,
    a: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct NaiveSnapshot {
    #[serde(rename = "lastUpdateId")]
    last: u64,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

/// What the naive path publishes.
#[derive(Debug)]
struct NaiveTop {
    bid: f64,
    ask: f64,
}

/// Owned strings, floats, ordered maps, a box through a channel.
struct Naive {
    bids: BTreeMap<Float, f64>,
    asks: BTreeMap<Float, f64>,
    snapshot: u64,
    last: u64,
    gaps: u64,
    out: mpsc::Sender<Box<NaiveTop>>,
}

impl Naive {
    fn new(snapshot: &[u8], out: mpsc::Sender<Box<NaiveTop>>) -> Result<Self, serde_json::Error> {
        let text: NaiveSnapshot = serde_json::from_slice(snapshot)?;
        let mut naive =
            Self { bids: BTreeMap::new(), asks: BTreeMap::new(), snapshot: text.last, last: 0, gaps: 0, out };
        naive.apply(&text.bids, &text.asks);
        Ok(naive)
    }

    fn apply(&mut self, bids: &[(String, String)], asks: &[(String, String)]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for (price, qty) in levels {
                let (Ok(price), Ok(qty)) = (price.parse(), qty.parse::<f64>()) else { continue };
                if qty == 0.0 {
                    side.remove(&Float(price));
                } else {
                    side.insert(Float(price), qty);
                }
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        let Ok(NaiveWrapped { data, .. }) = serde_json::from_slice(bytes) else { return };
        if data.last < self.snapshot {
            return;
        }
        self.gaps += u64::from(self.last != 0 && data.pu != self.last);
        self.last = data.last;
        self.apply(&data.b, &data.a);
        if let (Some((bid, _)), Some((ask, _))) = (self.bids.last_key_value(), self.asks.first_key_value()) {
            let _ = self.out.send(Box::new(NaiveTop { bid: bid.0, ask: ask.0 }));
        }
    }
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("path", options, watch);
    report.note("path: frame bytes, decode, sequence rule, book, best prices, crossed test (features: not yet)");
    let (snapshot, depth) = generated(if options.quick { 50 } else { 1_000 });
    let recv: Vec<i64> = (0..depth.len() as i64).map(|i| 1_723_161_255_000_000_000 + i * 1_000_000).collect();
    // The generated session follows its own snapshot without one frame in common.
    measure(&mut report, options, watch, "generated_79", &snapshot, &depth, &recv);
    match Recorded::load(&options.data, if options.quick { 200 } else { usize::MAX }) {
        Ok(all) => measure(&mut report, options, watch, "recorded", &all.snapshot, &all.depth, &all.recv_ns),
        Err(reason) => report.note(reason),
    }
    report
}

/// Our path with everything it keeps between frames.
struct Ours {
    feed: Feed,
    sink: BookSink,
    id: InstrumentId,
    meta: FrameMeta,
}

impl Ours {
    fn new(watch: &Stopwatch) -> Self {
        let (registry, id) = corpus::registry();
        let feed = Feed::new(&registry, *watch.clock()).expect("one instrument is registered");
        let book = Book::new(&corpus::instrument(), Some(Price::from_raw(corpus::MID)));
        let sink = BookSink { book, sum: 0, crossed: 0, off_grid: 0, gaps: 0, good: false, applied: 0 };
        let meta = FrameMeta { recv_ns: 0, arrive_ticks: 0, venue: Venue::BinanceUsdm, source: 0, hint: id };
        Self { feed, sink, id, meta }
    }

    /// A new session: the book anew from the snapshot.
    fn restart(&mut self, snapshot: &mut Frames) {
        self.feed.resync(self.id, &mut self.sink);
        self.feed.frame(&self.meta, snapshot.frame(0), &mut self.sink);
        (self.sink.sum, self.sink.applied) = (0, 0);
    }
}

fn measure(
    report: &mut Report,
    options: &Options,
    watch: &Stopwatch,
    name: &str,
    snapshot: &Frames,
    frames: &Frames,
    recv_ns: &[i64],
) {
    let (mut snapshot, mut frames) = (snapshot.clone(), frames.clone());
    let passes = if options.quick { 2 } else { options.reps.max(21) };
    let mut ours = Ours::new(watch);
    let (mut our_times, mut naive_times) = (FrameTimes::new(frames.len()), FrameTimes::new(frames.len()));
    for _ in 0..passes {
        ours.restart(&mut snapshot);
        our_times.pass(watch, |i| {
            ours.meta.recv_ns = recv_ns[i];
            ours.meta.arrive_ticks = watch.clock().ticks();
            ours.feed.frame(&ours.meta, frames.frame(i), &mut ours.sink);
            black_box(&ours.sink);
        });
        let (out, received) = mpsc::channel();
        let Ok(mut naive) = Naive::new(snapshot.get(0), out) else {
            report.check(false, format!("{name}: serde_json reads the snapshot"));
            return;
        };
        naive_times.pass(watch, |i| naive.frame(frames.get(i)));
        let naive_sum = received.try_iter().fold((0, 0u64), |(sum, count), top| {
            let tick = |price: f64| (price * 10.0).round() as i64;
            (fold(sum, tick(top.bid), tick(top.ask)), count + 1)
        });
        let sink = &ours.sink;
        let same = naive_sum == (sink.sum, sink.applied);
        report.check(same, format!("{name}: both paths see the same best prices after every frame"));
        report.check(sink.gaps + naive.gaps == 0 && sink.good, format!("{name}: no gap"));
        report.check(sink.crossed + sink.off_grid == 0, format!("{name}: the book is never crossed nor off its grid"));
    }
    report.check(ours.feed.counters().scanner_fallbacks == 0, format!("{name}: no frame needed the other reader"));
    let ours_ns = our_times.summary(watch);
    let naive_ns = naive_times.summary(watch);
    let title = format!(
        "{name}: {} frames of {:.0} bytes, {} applied; ns a frame, each frame's fastest of {passes} passes",
        frames.len(),
        frames.mean_bytes(),
        ours.sink.applied
    );
    let mut table = Table::new(title, &["mean", "p50", "p99", "x ours", "allocs"]);
    for (row, ns, times) in [("ours", ours_ns, &our_times), ("naive", naive_ns, &naive_times)] {
        let ratio = paired(&times.passes, &our_times.passes);
        table.row(row, &[ns[0], ns[1], ns[2], ratio, times.allocs_per_frame()]);
    }
    report.table(table);
    if name == "recorded" {
        report.ratio("path_recorded_mean", ours_ns[0] / 1e3, MEAN_BAR_US, "us");
    }
    report.ratio(format!("path_{name}_p50_to_naive"), ours_ns[1] / naive_ns[1], NAIVE_BAR, "x");
    report.ratio(format!("path_{name}_allocs"), our_times.allocs_per_frame(), 0.0, "allocs");
}
