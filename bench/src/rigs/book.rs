//! Depth diffs into a book, and the best twenty levels of both sides out of it: ours against two ordered maps.

use std::hint::black_box;

use tidegate_feed::venues::{Body, Decode};
use tidegate_market::book::Book;
use tidegate_wire::event::{Depth, DepthIds};
use tidegate_wire::{Level, Price};

use crate::corpus::{self, DepthMaker, Frames};
use crate::peers::book::{TreeBook, read_top};
use crate::recorded::Recorded;
use crate::report::{Options, Report, Table};
use crate::rigs::decode::decoder;
use crate::timing::{FrameTimes, Stopwatch, paired};

/// Bar, of the ordered maps.
const BAR: f64 = 0.25;

/// A decoded depth frame that owns its levels.
#[derive(Clone, Debug)]
pub struct OwnedDepth {
    ids: DepthIds,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl OwnedDepth {
    /// As a book takes it.
    #[inline(always)]
    pub fn view(&self) -> Depth<'_> {
        Depth { ids: self.ids, bids: &self.bids, asks: &self.asks }
    }
}

/// Decodes frames beforehand; `None` where one is no depth message.
pub fn decode_all(frames: &Frames) -> Option<Vec<OwnedDepth>> {
    let ((mut decoder, id), mut frames) = (decoder(), frames.clone());
    (0..frames.len())
        .map(|i| {
            let message = decoder.decode(&mut frames.frame(i), id).ok()?;
            let (Body::Delta(ids) | Body::Snapshot(ids)) = message.body else { return None };
            let levels = decoder.levels();
            Some(OwnedDepth { ids, bids: levels.bids().to_vec(), asks: levels.asks().to_vec() })
        })
        .collect()
}

/// A snapshot of 1,000 levels a side and `count` frames of 79 changes behind it.
pub fn generated(count: usize) -> (Frames, Frames) {
    let (mut snapshot, mut maker) = (Frames::default(), DepthMaker::new(1));
    snapshot.push(maker.snapshot(1_000).as_bytes());
    (snapshot, corpus::depth(count, 79))
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("book", options, watch);
    let (snapshot, frames) = generated(if options.quick { 100 } else { 2_000 });
    measure(&mut report, options, watch, "generated_79", &snapshot, &frames);
    match Recorded::load(&options.data, if options.quick { 200 } else { usize::MAX }) {
        Ok(recorded) => measure(&mut report, options, watch, "recorded", &recorded.snapshot, &recorded.depth),
        Err(reason) => report.note(reason),
    }
    report
}

fn measure(report: &mut Report, options: &Options, watch: &Stopwatch, name: &str, snapshot: &Frames, frames: &Frames) {
    let (Some(snapshot), Some(all)) = (decode_all(snapshot), decode_all(frames)) else {
        report.check(false, format!("{name}: every frame is a depth message"));
        return;
    };
    let snapshot = &snapshot[0];
    // Frames that the snapshot already contains would put deleted levels back.
    let frames: Vec<OwnedDepth> =
        all.into_iter().filter(|f| name != "recorded" || f.ids.last >= snapshot.ids.last).collect();
    let near = snapshot.bids.iter().map(|level| level.price).max().unwrap_or(Price::ZERO);
    let (mut book, mut tree) = (Book::new(&corpus::instrument(), Some(near)), TreeBook::default());
    let (mut ours, mut theirs) = (FrameTimes::new(frames.len()), FrameTimes::new(frames.len()));
    let mut our_sum = 0u64;
    for _ in 0..options.reps.max(2) {
        let loaded = book.load(&snapshot.view()).is_ok();
        report.check(loaded, format!("{name}: the snapshot fits the grid"));
        our_sum = 0;
        ours.pass(watch, |i| {
            black_box(book.apply(&frames[i].view()).is_ok());
            our_sum = our_sum.rotate_left(1) ^ read_top(&book);
        });
        tree = TreeBook::default();
        tree.apply(&snapshot.view());
        let mut their_sum = 0u64;
        theirs.pass(watch, |i| {
            tree.apply(&frames[i].view());
            their_sum = their_sum.rotate_left(1) ^ tree.read_top();
        });
        report.check(our_sum == their_sum, format!("{name}: both books show the same twenty levels after every frame"));
    }
    let whole =
        |levels: &mut dyn Iterator<Item = Level>| levels.map(|l| (l.price.raw(), l.qty.raw())).collect::<Vec<_>>();
    let same_bids = whole(&mut book.iter_bids()) == tree.bids.iter().rev().map(|(p, q)| (*p, *q)).collect::<Vec<_>>();
    let same_asks = whole(&mut book.iter_asks()) == tree.asks.iter().map(|(p, q)| (*p, *q)).collect::<Vec<_>>();
    report.check(same_bids && same_asks, format!("{name}: both books hold the same levels at the end"));
    let changes = frames.iter().map(|f| (f.bids.len() + f.asks.len()) as f64).sum::<f64>() / frames.len() as f64;
    let title = format!(
        "{name}: {} frames of {changes:.1} changes into {} + {} levels ({} + {} far, {} + {} moves of the window); \
         ns a frame, each frame's fastest of {} passes, checksum {our_sum:016x}",
        frames.len(),
        book.bids().len(),
        book.asks().len(),
        book.bids().far_len(),
        book.asks().far_len(),
        book.bids().recentres(),
        book.asks().recentres(),
        options.reps.max(2)
    );
    let mut table = Table::new(title, &["mean", "p50", "p99", "ns/change", "ratio", "allocs"]);
    for (row, times) in [("ours", &ours), ("two BTreeMaps", &theirs)] {
        let [mean, p50, p99] = times.summary(watch);
        let ratio = paired(&times.passes, &theirs.passes);
        table.row(row, &[mean, p50, p99, mean / changes, ratio, times.allocs_per_frame()]);
    }
    report.table(table);
    report.ratio(format!("book_{name}"), paired(&ours.passes, &theirs.passes), BAR, "x");
    report.ratio(format!("book_{name}_allocs"), ours.allocs_per_frame(), 0.0, "allocs");
}
