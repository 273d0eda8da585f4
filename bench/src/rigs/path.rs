//! The whole path of a frame on one core, against the way it is usually done.
//!
//! ```text
//! receive buffer ─▶ header ─▶ decode, sequence ─▶ book ─▶ features ─▶ (breakers ─▶) ring
//! ```
//!
//! The frame is put into the buffer right before, as a read from a socket does; that is not timed, in no candidate.
//! Each cut of the path has its own feed, book and rings and runs once a pass; a stage's cost is the difference of two
//! cuts.

use std::hint::black_box;

use crossbeam::channel::{Receiver, unbounded};
use tidegate_market::MarketStage;
use tidegate_runtime::latency::Tail;
use tidegate_wire::event::EventSink;
use tidegate_wire::relay::{RecordReader, Told};

use crate::peers::naive::{Naive, Vector};
use crate::recorded::Recorded;
use crate::report::{Options, Report, Table};
use crate::rigs::path_stages::{Booked, Decoded, Dropped, Guarded, Observer, Path, Published, fold, market, tail};
use crate::session::{Inbox, Session};
use crate::timing::{FrameTimes, NoiseFloor, Stopwatch, paired};
use crate::websocket;

/// Bar on the median frame from buffer to published features, us.
const P50_BAR_US: f64 = 2.0;
/// Bar on the mean frame from buffer to best prices over the recorded day, us.
const MEAN_BAR_US: f64 = 1.8;
/// Bar on the median frame, of the naive path.
const NAIVE_BAR: f64 = 0.2;

/// Candidates in the order of the tables.
const ROWS: [&str; 8] = [
    "header",
    "+ decode, sequence",
    "+ book, best prices",
    "+ 64 features",
    "+ publication (the path)",
    "+ breakers, publication",
    "the engine's own tail",
    "naive path",
];
const HEADER: usize = 0;
const DECODE: usize = 1;
const BOOK: usize = 2;
const FEATURES: usize = 3;
const PATH: usize = 4;
const GUARD: usize = 5;
const TAIL: usize = 6;
const NAIVE: usize = 7;

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("path", options, watch);
    report.note("path: WebSocket header in place, decode, sequence rule, book, 64 features, 616-byte record in a ring");
    let session = Session::generated(if options.quick { 50 } else { 1_000 }, 54);
    Rig::new(&session, watch, options).measure(&mut report, options, "generated_54");
    match Recorded::load(&options.data, if options.quick { 200 } else { usize::MAX }) {
        Ok(all) => Rig::new(&Session::recorded(all), watch, options).measure(&mut report, options, "recorded"),
        Err(reason) => report.note(reason),
    }
    report
}

/// Every candidate with its times.
struct Rig<'a> {
    session: &'a Session,
    watch: &'a Stopwatch,
    passes: usize,
    inbox: Inbox,
    decode: Path<Decoded>,
    book: Path<Booked>,
    features: Path<MarketStage<Dropped>>,
    path: Path<MarketStage<Published>>,
    observer: Observer,
    guard: Path<MarketStage<Guarded>>,
    tail: Path<MarketStage<Tail>>,
    decisions: [RecordReader; 2],
    decided: [u64; 2],
    times: Vec<FrameTimes>,
}

impl<'a> Rig<'a> {
    fn new(session: &'a Session, watch: &'a Stopwatch, options: &Options) -> Self {
        let passes = if options.quick { 2 } else { options.reps.max(21) };
        let (publish, region) = Published::new();
        let (guarded, decisions) = Guarded::new();
        // Nobody collects the histograms: the recorder notices and goes on.
        let (tail, more_decisions, _) = tail(watch);
        Self {
            session,
            watch,
            passes,
            inbox: Inbox::new(session),
            decode: Path::new(watch, Decoded::default()),
            book: Path::new(watch, Booked::new()),
            features: Path::new(watch, market(watch, Dropped)),
            path: Path::new(watch, market(watch, publish)),
            observer: Observer::new(region),
            guard: Path::new(watch, market(watch, guarded)),
            tail: Path::new(watch, market(watch, tail)),
            decisions: [decisions, more_decisions],
            decided: [0; 2],
            times: ROWS.iter().map(|_| FrameTimes::keeping_all(session.len(), passes)).collect(),
        }
    }

    fn measure(mut self, report: &mut Report, options: &Options, name: &str) {
        for pass in 0..self.passes {
            self.header(pass);
            let (session, watch, inbox) = (self.session, self.watch, &mut self.inbox);
            let times = &mut self.times;
            one(&mut self.decode, &mut times[DECODE], inbox, (session, pass), watch, || ());
            (self.book.sink.sum, self.book.sink.applied) = (0, 0);
            one(&mut self.book, &mut times[BOOK], inbox, (session, pass), watch, || ());
            one(&mut self.features, &mut times[FEATURES], inbox, (session, pass), watch, || ());
            let observer = &mut self.observer;
            one(&mut self.path, &mut times[PATH], inbox, (session, pass), watch, || observer.look());
            one(&mut self.guard, &mut times[GUARD], inbox, (session, pass), watch, || ());
            one(&mut self.tail, &mut times[TAIL], inbox, (session, pass), watch, || ());
            for (decisions, count) in self.decisions.iter_mut().zip(&mut self.decided) {
                let told = std::iter::from_fn(|| decisions.poll_told());
                *count += told.filter(|told| matches!(told, Told::Decision(_))).count() as u64;
            }
            let Some(naive) = self.naive(report, name, pass) else { return };
            self.check(report, name, naive);
        }
        self.print(report, options, name);
    }

    fn header(&mut self, pass: usize) {
        let session = self.session;
        let prepare = |inbox: &mut Inbox, index| inbox.fill(session, index, pass);
        self.times[HEADER].pass_with(self.watch, &mut self.inbox, prepare, |inbox, _| {
            black_box(websocket::text(black_box(inbox).bytes()));
        });
    }

    /// The naive path; gives its best prices folded into a number, and how many there were.
    fn naive(&mut self, report: &mut Report, name: &str, pass: usize) -> Option<(u64, u64)> {
        let (out, received) = unbounded();
        let naive = Naive::new(self.session.snapshot(pass).get(0), out);
        report.check(naive.is_ok(), format!("{name}: serde_json reads the snapshot"));
        let session = self.session;
        let mut state = (naive.ok()?, &mut self.inbox, (0, 0));
        let tick = |price: f64| (price * 10.0).round() as i64;
        let take = |received: &Receiver<Box<Vector>>, seen: &mut (u64, u64)| {
            for vector in received.try_iter() {
                *seen = (fold(seen.0, tick(vector.best.0), tick(vector.best.1)), seen.1 + 1);
            }
        };
        self.times[NAIVE].pass_with(
            self.watch,
            &mut state,
            // Its reader takes and frees the last vector; that is not timed either.
            |(_, inbox, seen), index| {
                take(&received, seen);
                inbox.fill(session, index, pass);
            },
            |(naive, inbox, _), index| {
                if let Some((start, length)) = websocket::text(inbox.bytes()) {
                    naive.payload(&inbox.bytes()[start..start + length], session.recv_ns(index, pass));
                }
            },
        );
        take(&received, &mut state.2);
        report.check(state.0.gaps == 0, format!("{name}: no gap in the naive path"));
        Some(state.2)
    }

    fn check(&mut self, report: &mut Report, name: &str, naive: (u64, u64)) {
        let booked = &self.book.sink;
        let same = naive == (booked.sum, booked.applied);
        report.check(same, format!("{name}: both paths see the same best prices after every frame"));
        report
            .check(booked.troubles == 0 && booked.good, format!("{name}: no gap, no crossed book, no price off grid"));
        let troubles = self.decode.troubles() + self.book.troubles() + self.features.troubles();
        let troubles = troubles + self.path.troubles() + self.guard.troubles() + self.tail.troubles();
        report.check(troubles == 0, format!("{name}: every frame is read by the scanner"));
        let digest = self.features.sink.digest();
        let digests = [self.path.sink.digest(), self.guard.sink.digest(), self.tail.sink.digest()];
        report.check(digests == [digest; 3], format!("{name}: every cut computes the same vectors"));
        let (last, seen) = (self.path.sink.features(self.path.id), self.observer.last());
        let same = last.zip(seen).is_some_and(|(last, seen)| last.values == seen.body.values);
        report.check(same, format!("{name}: an observer of the ring reads the last vector"));
        let counters = self.path.sink.counters();
        report
            .check(counters.crossed + counters.off_grid + counters.stale == 0, format!("{name}: the book stays good"));
        report.check(self.decided[0] == self.decided[1], format!("{name}: both guards decide alike"));
    }

    fn print(&self, report: &mut Report, options: &Options, name: &str) {
        let watch = self.watch;
        let floor = NoiseFloor::measure(watch, std::time::Duration::from_millis(if options.quick { 20 } else { 500 }));
        let title = format!(
            "{name}: {} frames of {:.0} bytes into {} levels, {} passes; ns a frame: each frame's fastest pass, then \
             every single time\n  noise floor now: {}",
            self.session.len(),
            self.session.mean_bytes(),
            self.path.sink.book(self.path.id).map_or(0, |book| book.bids().len() + book.asks().len()),
            self.passes,
            floor.line()
        );
        let mut table = Table::new(title, &["best mean", "best p50", "best p99", "p50", "p99", "p99.9", "allocs"]);
        for (row, times) in ROWS.iter().zip(&self.times) {
            let ([mean, best, best99], [p50, p99, p999]) = (times.summary(watch), times.every(watch));
            table.row(*row, &[mean, best, best99, p50, p99, p999, times.allocs_per_frame()]);
        }
        report.table(table);
        self.stages(report, name);
        report.note(format!("{name}: {} decisions in the whole run", self.decided[0]));
        let path = &self.times[PATH];
        let p50 = |row: usize| self.times[row].every(watch)[0];
        report.ratio(format!("path_{name}_p50"), p50(PATH) / 1e3, P50_BAR_US, "us");
        report.ratio(format!("path_{name}_p50_to_naive"), p50(PATH) / p50(NAIVE), NAIVE_BAR, "x");
        report.ratio(
            format!("path_{name}_mean_to_naive"),
            paired(&path.passes, &self.times[NAIVE].passes),
            NAIVE_BAR,
            "x",
        );
        report.ratio(format!("path_{name}_guarded_p50"), p50(GUARD) / 1e3, P50_BAR_US, "us");
        report.ratio(format!("path_{name}_allocs"), self.times[GUARD].allocs_per_frame(), 0.0, "allocs");
        if name == "recorded" {
            report.ratio("path_recorded_book_mean", self.times[BOOK].summary(watch)[0] / 1e3, MEAN_BAR_US, "us");
        }
    }

    /// What each stage costs: the difference of two cuts, by means and by medians of each frame's fastest pass.
    fn stages(&self, report: &mut Report, name: &str) {
        let mut table = Table::new(format!("{name}: stages by difference, ns a frame"), &["mean", "p50", "share"]);
        let at = |row: usize| self.times[row].summary(self.watch);
        let whole = at(TAIL)[0];
        let steps = [
            ("header", None, HEADER),
            ("decode, sequence", Some(HEADER), DECODE),
            ("book, best prices", Some(DECODE), BOOK),
            ("features", Some(BOOK), FEATURES),
            ("publication", Some(FEATURES), PATH),
            ("breakers", Some(PATH), GUARD),
            ("stage histograms", Some(GUARD), TAIL),
        ];
        for (stage, before, row) in steps {
            let ([mean, p50, _], [less, less50, _]) = (at(row), before.map_or([0.0; 3], at));
            table.row(stage, &[mean - less, p50 - less50, (mean - less) / whole]);
        }
        report.table(table);
    }
}

/// One pass of one cut; `last` is called before the last frame.
fn one<S: EventSink>(
    path: &mut Path<S>,
    times: &mut FrameTimes,
    inbox: &mut Inbox,
    (session, pass): (&Session, usize),
    watch: &Stopwatch,
    mut last: impl FnMut(),
) {
    path.restart(session, pass);
    let prepare = |(_, inbox): &mut (&mut Path<S>, &mut Inbox), index| {
        if index + 1 == session.len() {
            last();
        }
        inbox.fill(session, index, pass);
    };
    times.pass_with(watch, &mut (path, inbox), prepare, |(path, inbox), index| {
        path.frame(inbox, session.recv_ns(index, pass), watch);
        black_box(&path.sink);
    });
}
