//! One record of one cache line from core to core: our rings against the usual ones.
//!
//! Latency is paced (a record every 1.5 us, so that the ring is empty when it comes); throughput is flat out. The host
//! may move the two cores nearer to or farther from each other while we measure, which changes every ring's figures
//! threefold; a bare exchange of one cache line before and after each measurement tells which it was.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};

use crossbeam::utils::CachePadded;

use crate::machine;
use crate::peers::ring::{self, Record, Rx, Tx};
use crate::report::{Options, Report, Table};
use crate::rigs::ring_process;
use crate::timing::{Stopwatch, grouped_quantile, median, paired, pin, quantile};

/// Slots of every ring; ours calls them lines.
pub(super) const CAPACITY: usize = 1024;
/// Slots of the overwrite ring when flat out: it never waits, so it must hold everything.
const FLAT_OUT_LINES: u64 = 1 << 20;
/// Slots of the overwrite ring when paced: 25 ms of records.
const OVERWRITE_LINES: usize = 1 << 14;
/// Pace of the latency measurement.
pub(super) const PACE_NS: u64 = 1_500;
/// Up to this half round trip of one line, in ns, the two cores count as near.
const NEAR_NS: f64 = 110.0;

/// How the error of a lapped reader ends.
const UNREAD: &str = "records were overwritten unread";

/// Names of our rings in the table.
const OURS: &str = "ours, lossless";
const OURS_OVERWRITE: &str = "ours, overwrite";

/// What one repetition of one ring came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Half a round trip of a bare line, the worse of before and after, ns.
    pub(super) line: f64,
    /// One way, ns.
    pub(super) p50: f64,
    /// One way, ns.
    pub(super) p90: f64,
    /// One way, ns.
    pub(super) p99: f64,
    /// One way until the reader has copied the whole record, ns.
    pub(super) p50_whole: f64,
    /// Flat out, ns a record.
    pub(super) each: f64,
    /// Whether the cores stayed where they were meanwhile.
    steady: bool,
}

/// How many records each part sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Paced.
    pub(super) paced: usize,
    /// Flat out.
    pub(super) flat_out: usize,
}

impl Sizes {
    pub(super) const fn new(quick: bool) -> Self {
        if quick { Self { paced: 2_000, flat_out: 20_000 } } else { Self { paced: 20_000, flat_out: 500_000 } }
    }
}

type Measure = dyn Fn(&Bed<'_>) -> Result<Sample, String>;

/// A ring to measure: makes both ends, measures, and gives the sample without its line time.
struct Candidate {
    name: &'static str,
    measure: Box<Measure>,
    samples: Vec<Sample>,
}

/// What every measurement needs.
pub(super) struct Bed<'a> {
    pub(super) watch: &'a Stopwatch,
    pub(super) cores: (usize, usize),
    pub(super) sizes: Sizes,
}

fn candidate<T: Tx, R: Rx + 'static>(name: &'static str, make: impl Fn(usize) -> (T, R) + 'static) -> Candidate {
    let measure = move |bed: &Bed<'_>| {
        let (tx, rx) = make(CAPACITY);
        ring::works(tx, rx, 600).map_err(|error| format!("{name}: {error}"))?;
        let (tx, rx) = make(CAPACITY);
        let [p50, p90, p99] = one_way::<false>(bed, tx, rx)?;
        let (tx, rx) = make(CAPACITY);
        let [p50_whole, ..] = one_way::<true>(bed, tx, rx)?;
        let (tx, rx) = make(FLAT_OUT_LINES as usize);
        let each = flat_out(bed, tx, rx)?;
        Ok(Sample { p50, p90, p99, p50_whole, each, ..Sample::default() })
    };
    Candidate { name, measure: Box::new(measure), samples: Vec::new() }
}

fn candidates() -> Vec<Candidate> {
    let bounded = |wanted: usize| wanted.min(CAPACITY);
    vec![
        candidate(OURS, move |n| ring::ours_lossless(bounded(n) as u64)),
        // The only one with more room: a reader that the host stops for 2 ms would be lapped, it has nothing to wait
        // on.
        candidate(OURS_OVERWRITE, |n| ring::ours_overwrite(n.max(OVERWRITE_LINES) as u64)),
        candidate("rtrb", move |n| ring::rtrb(bounded(n))),
        candidate("rtrb, chunked reads", move |n| ring::rtrb_chunks(bounded(n))),
        candidate("disruptor, poller", move |n| ring::disruptor(bounded(n))),
        candidate("crossbeam ArrayQueue", move |n| ring::array_queue(bounded(n))),
        candidate("crossbeam channel", move |n| crossbeam::channel::bounded::<Record>(bounded(n))),
        candidate("std sync_channel", move |n| sync_channel::<Record>(bounded(n))),
    ]
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("ring", options, watch);
    if machine::cores() < 2 {
        report.note("one core only: nothing to send between; this rig is skipped");
        return report;
    }
    let bed = Bed { watch, cores: options.cores, sizes: Sizes::new(options.quick) };
    let mut candidates = candidates();
    for rep in 0..options.reps {
        // Nobody is always first after the same neighbour.
        for at in 0..candidates.len() {
            let slot = (at + rep) % candidates.len();
            let before = line_ns(&bed);
            let sample = patiently(|| (candidates[slot].measure)(&bed));
            let after = line_ns(&bed);
            let (line, steady) = (before.max(after), (before - after).abs() < 0.35 * before);
            match sample {
                Ok(sample) => candidates[slot].samples.push(Sample { line, steady, ..sample }),
                // A lapped reader is no fault of the ring, but there is no figure either.
                Err(error) if error.ends_with(UNREAD) => report.note(format!("{}: {error}", candidates[slot].name)),
                Err(error) => report.check(false, error),
            }
        }
    }
    if !report.failures.is_empty() || candidates.iter().any(|candidate| candidate.samples.is_empty()) {
        report.note("not every ring could be measured");
        return report;
    }
    let line = median(&candidates.iter().flat_map(|c| c.samples.iter().map(|s| s.line)).collect::<Vec<_>>());
    report.note(format!("one cache line there and back: {:.0} ns (median of all repetitions)", 2.0 * line));
    report.note("one-way times include the two clock readings at their ends");
    tabulate(&mut report, &candidates, "all repetitions", |_| true);
    tabulate(&mut report, &candidates, "cores near (half a round trip < 110 ns)", |s| s.steady && s.line < NEAR_NS);
    tabulate(&mut report, &candidates, "cores far", |s| s.steady && s.line >= NEAR_NS);
    judge(&mut report, &candidates);
    ring_process::measure(&mut report, &bed, options.reps);
    report
}

/// Tries again when the host stopped a reader for so long that an overwrite ring went round: that ring may lose then.
fn patiently(measure: impl Fn() -> Result<Sample, String>) -> Result<Sample, String> {
    let mut tries = (0..20).map(|_| measure());
    let done = tries.find(|sample| !sample.as_ref().is_err_and(|error| error.ends_with(UNREAD)));
    done.unwrap_or_else(|| Err(format!("twenty times in a row: {UNREAD}")))
}

fn tabulate(report: &mut Report, candidates: &[Candidate], which: &str, keep: impl Fn(&Sample) -> bool) {
    let title = format!("records of one cache line, {CAPACITY} slots, {which}: medians over repetitions, ns");
    let mut table = Table::new(
        title,
        &["reps", "line rt/2", "p50", "p90", "p99", "p50 whole", "flat out", "best p50", "best flat"],
    );
    let mut any = false;
    for candidate in candidates {
        let kept: Vec<&Sample> = candidate.samples.iter().filter(|s| keep(s)).collect();
        let column = |field: fn(&Sample) -> f64| kept.iter().map(|s| field(s)).collect::<Vec<_>>();
        if kept.is_empty() {
            continue;
        }
        any = true;
        let fields: [fn(&Sample) -> f64; 6] =
            [|s| s.line, |s| s.p50, |s| s.p90, |s| s.p99, |s| s.p50_whole, |s| s.each];
        let [line, p50, p90, p99, whole, each] = fields.map(|field| median(&column(field)));
        let best = |field| column(field).into_iter().fold(f64::MAX, f64::min);
        let figures = [kept.len() as f64, line, p50, p90, p99, whole, each, best(|s| s.p50), best(|s| s.each)];
        table.row(candidate.name, &figures);
    }
    if any {
        report.table(table);
    }
}

/// Ours against the peer that comes closest, by paired repetitions in which the cores were equally far apart.
fn judge(report: &mut Report, candidates: &[Candidate]) {
    for (name, ours, field) in [
        ("ring_p50", OURS, (|s: &Sample| s.p50) as fn(&Sample) -> f64),
        ("ring_p50_whole_record", OURS, |s| s.p50_whole),
        ("ring_flat_out", OURS, |s| s.each),
        ("ring_overwrite_p50", OURS_OVERWRITE, |s| s.p50),
    ] {
        let us = candidates.iter().find(|c| c.name == ours).expect("our rings are candidates");
        let peers = candidates.iter().filter(|c| !c.name.starts_with("ours"));
        let ratios = peers.map(|peer| {
            let alike = |(a, b): &(&Sample, &Sample)| (a.line < NEAR_NS) == (b.line < NEAR_NS);
            let mut pairs: Vec<_> = us.samples.iter().zip(&peer.samples).filter(alike).collect();
            if pairs.is_empty() {
                pairs = us.samples.iter().zip(&peer.samples).collect();
            }
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|(a, b)| (field(a), field(b))).unzip();
            (paired(&a, &b), peer.name)
        });
        let (ratio, closest) = ratios.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are peers");
        report.note(format!("{name}: the closest peer is {closest}"));
        report.ratio(name, ratio, 1.0, "x");
    }
}

/// Runs `receive` on the partner core and `send` here; both start together.
fn on_two_cores<T: Send>(bed: &Bed<'_>, receive: impl FnOnce() -> T + Send, send: impl FnOnce()) -> Result<T, String> {
    let (ready, core) = (Barrier::new(2), bed.cores.1);
    std::thread::scope(|scope| {
        let partner = scope.spawn(|| {
            pin(core);
            ready.wait();
            receive()
        });
        ready.wait();
        send();
        partner.join().map_err(|_| "the receiving thread panicked".to_owned())
    })
}

/// Counts records and remembers whether any came out of order.
struct Order {
    next: u64,
    broken: bool,
}

impl Order {
    #[inline(always)]
    fn see(&mut self, record: &Record) {
        self.broken |= record[2] != self.next || record[6] != self.next;
        self.next += 1;
    }

    fn verdict(&self, lost: u64) -> Result<(), String> {
        match () {
            () if lost > 0 => Err(format!("{lost} {UNREAD}")),
            () if self.broken => Err("records came out of order".to_owned()),
            () => Ok(()),
        }
    }
}

/// Percentiles of the paced way from core to core, ns; the first tenth warms up.
fn one_way<const WHOLE: bool>(bed: &Bed<'_>, mut tx: impl Tx, rx: impl Rx) -> Result<[f64; 3], String> {
    let (count, watch) = (bed.sizes.paced, *bed.watch);
    let receive = move || receive_paced::<WHOLE>(&watch, rx, count);
    let (times, verdict) = on_two_cores(bed, receive, || send_paced(&watch, count, |record| tx.send(record)))?;
    verdict?;
    Ok(percentiles(&watch, times))
}

/// Receives `count` records and notes when each came: when one word of it could be used, or all of it had been copied.
pub(super) fn receive_paced<const WHOLE: bool>(
    watch: &Stopwatch,
    mut rx: impl Rx,
    count: usize,
) -> (Vec<u64>, Result<(), String>) {
    let (mut times, mut order) = (Vec::with_capacity(count), Order { next: 0, broken: false });
    while times.len() < count && rx.lost() == 0 {
        let took = rx.drain(&mut |record| {
            // The record's line must be here before the clock is read, also where the ring hands out a reference to it.
            if WHOLE {
                black_box(*record);
            } else {
                black_box(record[1]);
            }
            times.push(watch.now().saturating_sub(record[1]));
            order.see(record);
        });
        if took == 0 {
            spin_loop();
        }
    }
    let verdict = order.verdict(rx.lost());
    (times, verdict)
}

/// Sends `count` records, one every [`PACE_NS`] as long as the receiver keeps up.
pub(super) fn send_paced(watch: &Stopwatch, count: usize, mut send: impl FnMut(&mut Record) -> bool) {
    let gap = watch.clock().ticks_of(PACE_NS);
    let mut due = watch.clock().ticks() + 100 * gap;
    for n in 0..count as u64 {
        while watch.clock().ticks() < due {
            spin_loop();
        }
        let mut record = [0, watch.clock().ticks(), n, n, n, n, n];
        while !send(&mut record) {
            spin_loop();
        }
        due = watch.clock().ticks().max(due) + gap;
    }
}

/// Median, 90th and 99th percentile, ns, without the first tenth.
pub(super) fn percentiles(watch: &Stopwatch, times: Vec<u64>) -> [f64; 3] {
    let mut ns: Vec<f64> = times[times.len() / 10..].iter().map(|ticks| watch.ns_raw(*ticks)).collect();
    [0.5, 0.9, 0.99].map(|q| grouped_quantile(&mut ns, q))
}

/// Time a record with both sides flat out, ns.
fn flat_out(bed: &Bed<'_>, mut tx: impl Tx, rx: impl Rx) -> Result<f64, String> {
    let (count, watch) = (bed.sizes.flat_out, *bed.watch);
    let begin = AtomicU64::new(0);
    let receive = move || receive_flat_out(&watch, rx, count);
    let send = || {
        begin.store(watch.now(), Ordering::Relaxed);
        send_flat_out(count, |record| tx.send(record));
    };
    let (end, verdict) = on_two_cores(bed, receive, send)?;
    verdict?;
    Ok(watch.ns_raw(end.saturating_sub(begin.into_inner())) / count as f64)
}

/// Receives `count` records as fast as they come; gives the time of the last.
pub(super) fn receive_flat_out(watch: &Stopwatch, mut rx: impl Rx, count: usize) -> (u64, Result<(), String>) {
    let mut order = Order { next: 0, broken: false };
    while order.next < count as u64 && rx.lost() == 0 {
        if rx.drain(&mut |record| order.see(record)) == 0 {
            spin_loop();
        }
    }
    let end = watch.now();
    let verdict = order.verdict(rx.lost());
    (end, verdict)
}

/// Sends `count` records as fast as there is room.
pub(super) fn send_flat_out(count: usize, mut send: impl FnMut(&mut Record) -> bool) {
    for n in 0..count as u64 {
        let mut record = [0, n, n, n, n, n, n];
        while !send(&mut record) {
            spin_loop();
        }
    }
}

/// Half a round trip of one bare cache line between the two cores, ns.
pub(super) fn line_ns(bed: &Bed<'_>) -> f64 {
    const TURNS: u64 = 4_000;
    let (there, back) = (Arc::new(CachePadded::new(AtomicU64::new(0))), Arc::new(CachePadded::new(AtomicU64::new(0))));
    let (ping, pong) = (there.clone(), back.clone());
    let answer = move || {
        for turn in 1..=TURNS {
            while ping.load(Ordering::Acquire) != turn {
                spin_loop();
            }
            pong.store(turn, Ordering::Release);
        }
    };
    let mut times = Vec::with_capacity(TURNS as usize);
    let ask = || {
        for turn in 1..=TURNS {
            let start = bed.watch.start();
            there.store(turn, Ordering::Release);
            while back.load(Ordering::Acquire) != turn {
                spin_loop();
            }
            times.push(bed.watch.ns_raw(bed.watch.since(start)));
        }
    };
    if on_two_cores(bed, answer, ask).is_err() {
        return f64::NAN;
    }
    quantile(&mut times, 0.5) / 2.0
}
