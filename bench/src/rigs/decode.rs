//! Frame bytes to fixed-point records: our decoder against JSON libraries.

use std::hint::black_box;
use std::time::Duration;

use tidegate_feed::venues::binance::Decoder;
use tidegate_feed::venues::{Body, Decode, Message};
use tidegate_wire::{InstrumentId, Venue};

use crate::corpus::{self, DepthMaker, Frames};
use crate::peers::json::{self, Pod, SimdTyped, TapeWalk, TradePod};
use crate::recorded::Recorded;
use crate::report::{Options, Report, Table};
use crate::timing::{Case, FrameTimes, Stopwatch, Suite, paired};

/// Bar on depth frames, of simd-json's tape and walk.
const DEPTH_BAR: f64 = 0.33;
/// Bar on trade frames, of simd-json's typed reading.
const TRADE_BAR: f64 = 0.3;

const OURS: &str = "ours";
const OURS_TAPE: &str = "ours, simd-json path";
const TAPE: &str = "simd-json tape and walk";
const TAPE_FLOAT: &str = "simd-json tape and walk, f64";
const SIMD_TYPED: &str = "simd-json typed";
const SONIC: &str = "sonic-rs typed";
const SERDE: &str = "serde_json typed";
const COPY: &str = "copy the bytes (base case)";

/// Our decoder for the corpus's instrument.
pub fn decoder() -> (Decoder, InstrumentId) {
    let (registry, id) = corpus::registry();
    (Decoder::new(&registry, Venue::BinanceUsdm), id)
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("decode", options, watch);
    let count = if options.quick { 16 } else { 128 };
    for levels in [79, 20, 396] {
        depth(&mut report, options, &corpus::depth(count, levels), levels);
    }
    small(&mut report, options, "trade", &corpus::small(count, |maker| maker.trade(false)));
    small(&mut report, options, "aggTrade", &corpus::small(count, |maker| maker.trade(true)));
    quotes(&mut report, options, &corpus::small(count, DepthMaker::quote));
    match Recorded::load(&options.data, if options.quick { 200 } else { usize::MAX }) {
        Ok(recorded) => on_recording(&mut report, options, watch, &recorded.depth),
        Err(reason) => report.note(reason),
    }
    report
}

/// One of the candidates for depth frames: reads frame `i` into the record.
type Reader<'a> = Box<dyn FnMut(&mut Frames, usize, &mut Pod) -> Option<()> + 'a>;

fn depth_peers<'a>() -> Vec<(&'static str, Reader<'a>)> {
    let (mut tape, mut float, mut typed) = (TapeWalk::default(), TapeWalk::default(), SimdTyped::default());
    vec![
        (TAPE, Box::new(move |f, i, pod| tape.depth(f, i, pod))),
        (TAPE_FLOAT, Box::new(move |f, i, pod| float.depth_float(f, i, pod))),
        (SIMD_TYPED, Box::new(move |f, i, pod| typed.depth(f, i, pod))),
        (SONIC, Box::new(|f, i, pod| json::sonic_depth(f.get(i), pod))),
        (SERDE, Box::new(|f, i, pod| json::serde_depth(f.get(i), pod))),
    ]
}

/// What our decoder read, in the peers' form.
fn pod_of(message: Option<Message>, decoder: &Decoder) -> Option<Pod> {
    let message = message?;
    let Body::Delta(ids) = message.body else { return None };
    let levels = decoder.levels();
    let (bids, asks) = (levels.bids().to_vec(), levels.asks().to_vec());
    Some(Pod { stamp: message.venue_ns as u64 / 1_000_000, ids, bids, asks })
}

/// Every candidate must read every frame alike, and reading must leave the bytes as they were.
fn depth_agrees(report: &mut Report, frames: &Frames) {
    let (mut ours, id) = decoder();
    let (mut copy, mut pod) = (frames.clone(), Pod::default());
    let mut peers = depth_peers();
    for i in 0..frames.len() {
        let scanned = ours.scan(&copy.frame(i), true);
        let wanted = pod_of(scanned, &ours);
        report.check(wanted.is_some(), format!("the scanner reads depth frame {i}"));
        let parsed = ours.parse(&mut copy.frame(i), id).ok();
        report.check(pod_of(parsed, &ours) == wanted, format!("our two readers agree on depth frame {i}"));
        for (name, read) in &mut peers {
            let got = read(&mut copy, i, &mut pod).map(|()| &pod);
            report.check(got == wanted.as_ref(), format!("{name} agrees on depth frame {i}"));
        }
        report.check(copy.get(i) == frames.get(i), format!("depth frame {i} is unchanged"));
    }
}

/// Our two readers: the scanner, and the one over simd-json's tape.
fn add_ours(suite: &mut Suite<'_>, frames: &Frames) {
    let count = frames.len();
    let ((mut ours, id), mut own) = (decoder(), frames.clone());
    suite.add(OURS, move || {
        for i in 0..count {
            black_box(ours.decode(&mut own.frame(i), id).ok());
            black_box(ours.levels());
        }
    });
    let ((mut ours, id), mut own) = (decoder(), frames.clone());
    suite.add(OURS_TAPE, move || {
        for i in 0..count {
            black_box(ours.parse(&mut own.frame(i), id).ok());
            black_box(ours.levels());
        }
    });
}

fn depth(report: &mut Report, options: &Options, frames: &Frames, levels: usize) {
    depth_agrees(report, frames);
    let count = frames.len();
    let mut suite = Suite::new(count);
    add_ours(&mut suite, frames);
    for (name, mut read) in depth_peers() {
        let (mut own, mut pod) = (frames.clone(), Pod::with_room());
        suite.add(name, move || {
            for i in 0..count {
                black_box(read(&mut own, i, &mut pod));
                black_box(&pod);
            }
        });
    }
    add_copy(&mut suite, frames);
    let cases = run_suite(suite, options);
    let title = format!("depth frame, {levels} levels, {:.0} bytes", frames.mean_bytes());
    tabulate(report, &title, &cases, frames.mean_bytes());
    let ratio = paired(&case(&cases, OURS).rounds, &case(&cases, TAPE).rounds);
    report.ratio(format!("decode_depth_{levels}"), ratio, DEPTH_BAR, "x");
    if levels == 79 {
        report.ratio("decode_depth_allocs", case(&cases, OURS).allocs, 0.0, "allocs");
    }
}

/// What our decoder read of a trade, in the peers' form.
fn trade_of(message: Option<Message>) -> Option<TradePod> {
    let message = message?;
    let Body::Trade { trade, sell, .. } = message.body else { return None };
    Some(TradePod {
        stamp: message.venue_ns as u64 / 1_000_000,
        transact: trade.transact_ns as u64 / 1_000_000,
        id: trade.trade_id,
        price: trade.price.raw(),
        qty: trade.qty.raw(),
        sell,
    })
}

type TradeReader<'a> = Box<dyn FnMut(&mut Frames, usize) -> Option<TradePod> + 'a>;

fn trade_peers<'a>() -> Vec<(&'static str, TradeReader<'a>)> {
    let (mut typed, mut tape) = (SimdTyped::default(), TapeWalk::default());
    vec![
        (SIMD_TYPED, Box::new(move |f, i| typed.trade(f, i))),
        (TAPE, Box::new(move |f, i| tape.trade(f, i))),
        (SONIC, Box::new(|f, i| json::sonic_trade(f.get(i)))),
        (SERDE, Box::new(|f, i| json::serde_trade(f.get(i)))),
    ]
}

/// Trades and aggregates: small frames, where set-up costs dominate.
fn small(report: &mut Report, options: &Options, kind: &str, frames: &Frames) {
    let (mut ours, id) = decoder();
    let (mut copy, mut peers) = (frames.clone(), trade_peers());
    for i in 0..frames.len() {
        let wanted = trade_of(ours.decode(&mut copy.frame(i), id).ok());
        report.check(wanted.is_some(), format!("we read {kind} frame {i}"));
        let parsed = trade_of(ours.parse(&mut copy.frame(i), id).ok());
        report.check(parsed == wanted, format!("our two readers agree on {kind} frame {i}"));
        for (name, read) in &mut peers {
            report.check(read(&mut copy, i) == wanted, format!("{name} agrees on {kind} frame {i}"));
        }
    }
    let count = frames.len();
    let mut suite = Suite::new(count);
    add_ours(&mut suite, frames);
    for (name, mut read) in trade_peers() {
        let mut own = frames.clone();
        suite.add(name, move || {
            for i in 0..count {
                black_box(read(&mut own, i));
            }
        });
    }
    add_copy(&mut suite, frames);
    let cases = run_suite(suite, options);
    tabulate(report, &format!("{kind} frame, {:.0} bytes", frames.mean_bytes()), &cases, frames.mean_bytes());
    let ratio = paired(&case(&cases, OURS).rounds, &case(&cases, SIMD_TYPED).rounds);
    report.ratio(format!("decode_{kind}"), ratio, TRADE_BAR, "x");
    report.ratio(format!("decode_{kind}_allocs"), case(&cases, OURS).allocs, 0.0, "allocs");
}

/// Best bid and ask: our two readers only; peers differ from the trade's in nothing but names.
fn quotes(report: &mut Report, options: &Options, frames: &Frames) {
    let ((mut ours, id), mut copy) = (decoder(), frames.clone());
    for i in 0..frames.len() {
        let (scanned, parsed) = (ours.scan(&copy.frame(i), true), ours.parse(&mut copy.frame(i), id).ok());
        report.check(scanned.is_some() && scanned == parsed, format!("our two readers agree on bookTicker frame {i}"));
    }
    let count = frames.len();
    let mut suite = Suite::new(count);
    add_ours(&mut suite, frames);
    let cases = run_suite(suite, options);
    tabulate(report, &format!("bookTicker frame, {:.0} bytes", frames.mean_bytes()), &cases, frames.mean_bytes());
}

/// Recorded depth frames: every frame timed by itself, its fastest pass counts.
fn on_recording(report: &mut Report, options: &Options, watch: &Stopwatch, frames: &Frames) {
    depth_agrees(report, frames);
    let passes = if options.quick { 2 } else { options.reps.max(7) };
    let ((mut ours, id), mut peers) = (decoder(), depth_peers());
    let (mut own, mut pod) = (frames.clone(), Pod::with_room());
    let mut times: Vec<FrameTimes> = (0..peers.len() + 2).map(|_| FrameTimes::new(frames.len())).collect();
    for _ in 0..passes {
        times[0].pass(watch, |i| {
            black_box(ours.decode(&mut own.frame(i), id).is_ok());
            black_box(ours.levels());
        });
        times[1].pass(watch, |i| {
            black_box(ours.parse(&mut own.frame(i), id).is_ok());
            black_box(ours.levels());
        });
        for ((_, read), times) in peers.iter_mut().zip(&mut times[2..]) {
            times.pass(watch, |i| {
                black_box(read(&mut own, i, &mut pod));
                black_box(&pod);
            });
        }
    }
    report.check(ours.fallbacks() == 0, "the scanner reads every recorded depth frame itself");
    let title = format!(
        "recorded depth frames: {} of {:.0} bytes, each frame's fastest of {passes} passes, ns",
        frames.len(),
        frames.mean_bytes()
    );
    let mut table = Table::new(title, &["mean", "p50", "p99", "ratio", "allocs"]);
    let names = [OURS, OURS_TAPE].into_iter().chain(peers.iter().map(|(name, _)| *name));
    for (name, t) in names.zip(&times) {
        let [mean, p50, p99] = t.summary(watch);
        table.row(name, &[mean, p50, p99, paired(&t.passes, &times[2].passes), t.allocs_per_frame()]);
    }
    report.table(table);
    report.ratio("decode_recorded", paired(&times[0].passes, &times[2].passes), DEPTH_BAR, "x");
    report.ratio("decode_recorded_allocs", times[0].allocs_per_frame(), 0.0, "allocs");
}

fn add_copy(suite: &mut Suite<'_>, frames: &Frames) {
    let own = frames.clone();
    let mut scratch = vec![0; 1 << 16];
    suite.add(COPY, move || {
        for i in 0..own.len() {
            let frame = own.get(i);
            scratch[..frame.len()].copy_from_slice(frame);
            black_box(&scratch);
        }
    });
}

fn run_suite(suite: Suite<'_>, options: &Options) -> Vec<Case> {
    suite.run(options.reps, Duration::from_millis(if options.quick { 1 } else { 25 }))
}

fn case<'c>(cases: &'c [Case], name: &str) -> &'c Case {
    cases.iter().find(|case| case.name == name).expect("every table has this candidate")
}

/// Ratios are to ours: how many times as long a peer takes.
fn tabulate(report: &mut Report, title: &str, cases: &[Case], bytes: f64) {
    let mut table =
        Table::new(format!("{title}; ns a frame"), &["median", "best", "x ours", "GB/s", "allocs", "alloc bytes"]);
    for case in cases {
        let times = paired(&case.rounds, &cases[0].rounds);
        table.row(&case.name, &[case.median(), case.best, times, bytes / case.best, case.allocs, case.alloc_bytes]);
    }
    report.table(table);
}
