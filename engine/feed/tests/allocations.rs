//! In steady state a frame allocates nothing: not in the scanner, not in simd-json, not while a book waits.

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::frames::registry;
use common::meta;
use tidegate_feed::{Feed, FrameMeta, FrameMut, PADDING};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{Bar, Depth, EventSink, Header, Mark, OptionMark, Quote, Status, Trade};
use tidegate_wire::{InstrumentId, Venue};

/// Looks at every level and keeps nothing.
#[derive(Default)]
struct Sum(i64, u64);

impl EventSink for Sum {
    fn delta(&mut self, _: &Header, depth: Depth<'_>) {
        self.0 += depth.bids.iter().chain(depth.asks).map(|level| level.qty.raw()).sum::<i64>();
        self.1 += 1;
    }
    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.delta(header, depth);
    }
    fn quote(&mut self, _: &Header, quote: &Quote) {
        self.0 += quote.bid.qty.raw();
        self.1 += 1;
    }
    fn trade(&mut self, _: &Header, trade: &Trade) {
        self.0 += trade.qty.raw();
        self.1 += 1;
    }
    fn mark(&mut self, _: &Header, mark: &Mark) {
        self.0 += mark.mark;
        self.1 += 1;
    }
    fn option(&mut self, _: &Header, option: &OptionMark) {
        self.0 += option.mark_iv;
        self.1 += 1;
    }
    fn bar(&mut self, _: &Header, bar: &Bar) {
        self.0 += bar.close.raw();
        self.1 += 1;
    }
    fn status(&mut self, _: &Header, status: &Status) {
        self.1 += status.quality;
    }
    fn heartbeat(&mut self, _: &Header) {}
}

/// A frame with what the transport knows of it, in a buffer that may be read past its end.
type Prepared = (FrameMeta, Vec<u8>, usize);

fn prepared(venue: Venue, text: &str) -> Prepared {
    let hint = InstrumentId([0, 2, 4][venue as usize]);
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + PADDING, 0);
    (meta(venue, 0, hint), bytes, text.len())
}

/// `count` levels around a price, as JSON.
fn levels(count: usize, from: u64) -> String {
    let level = |n| format!(r#"["{}.2","{}"]"#, from + n as u64, 1 + n % 7);
    (0..count).map(level).collect::<Vec<_>>().join(",")
}

/// Everything that may come: every golden frame, depth of all sizes, a gap, held frames, a snapshot of 1,000 levels,
/// frames that are refused. Ids go on from `base`, so that each pass continues the one before.
fn mix(base: u64) -> Vec<Prepared> {
    // A book of its own, which the ids of the golden frames do not disturb.
    let (venue, own) = (Venue::BinanceUsdm, InstrumentId(3));
    let mut frames = Vec::new();
    let depth = |first: u64, last: u64, prev: u64, size: usize| {
        let (bids, asks) = (levels(size, 100), levels(size, 900));
        let ids = format!(r#""U":{first},"u":{last},"pu":{prev}"#);
        format!(r#"{{"e":"depthUpdate","E":1,"s":"ABCUSDT_270625",{ids},"b":[{bids}],"a":[{asks}]}}"#)
    };
    for n in 0..400 {
        // Every hundredth frame names a predecessor that never came; a snapshot follows after nine held frames.
        let lost = u64::from(n % 100 == 50);
        let (prev, last) = (base + n * 10, base + n * 10 + 10);
        frames.push(prepared(venue, &depth(prev + 1 + lost, last, prev + lost, (n % 60) as usize)));
        if n % 100 == 59 {
            let (bids, asks) = (levels(1000, 100), levels(1000, 5000));
            let text = format!(r#"{{"lastUpdateId":{last},"bids":[{bids}],"asks":[{asks}]}}"#);
            let (_, bytes, length) = prepared(venue, &text);
            frames.push((meta(venue, 0, own), bytes, length));
        }
        for golden in common::frames::golden() {
            golden.forms().iter().for_each(|form| frames.push(prepared(golden.venue, form)));
        }
        for odd in ["{", "[]", r#"{"e":"kline","s":"ABCUSDT"}"#, r#"{"e":"trade","s":"\u0041","p":"\n"}"#] {
            frames.push(prepared(venue, odd));
        }
    }
    frames
}

fn pass(feed: &mut Feed, frames: &mut [Prepared], sink: &mut Sum) -> u64 {
    let before = counting::calls();
    for (meta, bytes, length) in frames {
        let frame = FrameMut::new(bytes, *length).expect("padding");
        feed.frame(meta, frame, sink);
    }
    feed.heartbeat(2, 0, sink);
    counting::calls() - before
}

#[test]
fn the_second_pass_allocates_nothing() {
    let (mut first, mut second) = (mix(1_000_000), mix(1_000_000 + 400 * 10));
    let mut feed = Feed::new(&registry(), Clock::monotonic()).expect("instruments");
    let mut sink = Sum::default();
    let warm = pass(&mut feed, &mut first, &mut sink);
    let calls = pass(&mut feed, &mut second, &mut sink);
    assert_eq!(calls, 0, "calls of the allocator in the second pass ({warm} in the first)");
    // What was measured is the whole feed: gaps, held frames, snapshots, marks and refusals were all there.
    let counters = feed.counters();
    assert!(counters.gaps >= 7 && counters.resyncs >= 7 && counters.held_back >= 70, "{counters:?}");
    assert!(counters.marks >= 2400 && counters.trades >= 4000 && counters.decode_errors() >= 2400, "{counters:?}");
    assert!(sink.0 != 0 && sink.1 > 10_000);
}

#[test]
fn the_first_pass_allocates_nothing_either() {
    // Decoders are warmed when they are made; the room's promise is from the first frame on.
    let mut frames = mix(1_000_000);
    let mut feed = Feed::new(&registry(), Clock::monotonic()).expect("instruments");
    assert_eq!(pass(&mut feed, &mut frames, &mut Sum::default()), 0);
}

/// `count` levels around a price, as Deribit writes them.
fn actions(count: usize, from: u64) -> String {
    let level = |n| format!(r#"["new",{}.5,{}.0]"#, from + n as u64, 1 + n % 7);
    (0..count).map(level).collect::<Vec<_>>().join(",")
}

/// Every golden frame of the venues whose streams bring snapshots, and books in all their states: good, gapped, with a
/// wrong checksum, with levels beyond the window. Ids go on from `base`.
fn streams(base: u64) -> Vec<Prepared> {
    let mut frames = Vec::new();
    let mut add = |venue: Venue, text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(text.len() + PADDING, 0);
        frames.push((meta(venue, 0, InstrumentId::NONE), bytes, text.len()));
    };
    for n in 0..300u64 {
        let (prev, last) = (base + n, base + n + 1);
        let (whole, lost, size) = (n % 50 == 0, n % 50 == 40, (n % 60) as usize);
        let kind = |whole_name: &'static str, name: &'static str| if whole { whole_name } else { name };
        let (bids, asks) = (levels(size, 100), levels(size, 900 + n));
        let seq = prev - u64::from(lost);
        add(
            Venue::Okx,
            &format!(
                r#"{{"arg":{{"channel":"books","instId":"ABC-USDT"}},"action":"{}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1","checksum":0,"seqId":{last},"prevSeqId":{seq}}}]}}"#,
                kind("snapshot", "update")
            ),
        );
        add(
            Venue::Bybit,
            &format!(
                r#"{{"topic":"orderbook.50.ABCUSDT","type":"{}","ts":1,"data":{{"s":"ABCUSDT","b":[{bids}],"a":[{asks}],"u":{}}}}}"#,
                kind("snapshot", "delta"),
                last + u64::from(lost)
            ),
        );
        // A checksum that is never right.
        let checksum = i32::from(n % 50 == 30);
        add(
            Venue::BitgetUsdt,
            &format!(
                r#"{{"action":"{}","arg":{{"instType":"USDT-FUTURES","channel":"books","instId":"ABCUSDT"}},"data":[{{"asks":[{asks}],"bids":[{bids}],"checksum":{checksum},"seq":{last},"pseq":{prev}}}],"ts":1}}"#,
                kind("snapshot", "update")
            ),
        );
        let (bids, asks) = (actions(size, 100), actions(size, 900 + n));
        add(
            Venue::Deribit,
            &format!(
                r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.ABC-PERPETUAL.100ms","data":{{"type":"{}","instrument_name":"ABC-PERPETUAL","timestamp":1,"change_id":{last},"prev_change_id":{seq},"bids":[{}],"asks":[{}]}}}}}}"#,
                kind("snapshot", "change"),
                bids,
                asks
            ),
        );
        for stream in common::streams::streams() {
            // Books of their own, which golden frames do not disturb.
            if n % 10 == 0 && !stream.says.contains(" rank=") {
                add(stream.venue, stream.frame);
            }
        }
        add(Venue::Okx, "pong");
        add(Venue::Deribit, "{");
    }
    frames
}

#[test]
fn streams_with_snapshots_allocate_nothing_from_the_first_frame_on() {
    let mut frames = streams(1_000_000);
    let mut feed = Feed::new(&common::streams::registry(), Clock::monotonic()).expect("instruments");
    let mut sink = Sum::default();
    assert_eq!(pass(&mut feed, &mut frames, &mut sink), 0, "calls of the allocator");
    let counters = feed.counters();
    assert!(counters.gaps >= 15 && counters.resyncs >= 20 && counters.checksum_failures >= 5, "{counters:?}");
    assert!(counters.snapshots >= 24 && counters.deltas >= 800 && counters.trimmed > 0, "{counters:?}");
    assert!(counters.options >= 90 && counters.marks >= 180 && counters.trades >= 180, "{counters:?}");
    assert_eq!(counters.decode_errors(), 300, "{counters:?}");
}

/// OKX without snapshots of the stream: frames that wait, too many of them, and answers of REST.
#[test]
fn streams_without_snapshots_allocate_nothing_either() {
    let mut frames = Vec::new();
    let mut add = |text: &str, hint| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(text.len() + PADDING, 0);
        frames.push((meta(Venue::Okx, 0, hint), bytes, text.len()));
    };
    for n in 0..6000u64 {
        let lost = u64::from(n % 3000 == 1200 || n % 100 == 80);
        let (bids, asks) = (levels((n % 60) as usize, 100), levels((n % 50) as usize, 900 + n));
        let text = format!(
            r#"{{"arg":{{"channel":"books","instId":"ABC-USDT"}},"action":"update","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1","checksum":0,"seqId":{},"prevSeqId":{}}}]}}"#,
            n + 1,
            n - lost.min(n)
        );
        add(&text, InstrumentId::NONE);
        if n % 100 == 90 && !(1200..2500).contains(&(n % 3000)) {
            let (bids, asks) = (levels(400, 100), levels(400, 7000));
            let data = format!(r#"{{"asks":[{asks}],"bids":[{bids}],"ts":"1","seqId":{}}}"#, n - 5);
            add(&format!(r#"{{"code":"0","msg":"","data":[{data}]}}"#), InstrumentId(0));
        }
    }
    let mut feed = Feed::new(&common::streams::registry(), Clock::monotonic()).expect("instruments");
    assert_eq!(pass(&mut feed, &mut frames, &mut Sum::default()), 0, "calls of the allocator");
    let counters = feed.counters();
    assert!(counters.held_back > 2000 && counters.held_back_overflow > 0 && counters.snapshots > 20, "{counters:?}");
    assert_eq!((counters.decode_errors(), counters.scanner_fallbacks), (0, 0), "{counters:?}");
}

#[test]
fn the_counter_counts() {
    let before = counting::calls();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(counting::calls() - before, 2);
}

/// What a capture costs the loop: copies into blocks that come back, and nothing of the allocator.
#[test]
fn the_tap_of_a_capture_allocates_nothing() {
    let (mut tap, ends) = tidegate_feed::capture::tap(std::time::Duration::from_secs(1));
    let frames: Vec<Vec<u8>> = (0..500).map(|n| vec![b'x'; n * 37 % 9000]).collect();
    let (mut blocks, mut calls) = (0, 0);
    for pass in 0..100 {
        let before = counting::calls();
        for (at, frame) in frames.iter().enumerate() {
            let mut meta = meta(Venue::BinanceUsdm, 0, InstrumentId::NONE);
            meta.recv_ns = pass * 1_000_000 + at as i64;
            tap.frame(&meta, frame);
        }
        tap.beat(pass * 1_000_000 + 600);
        tap.resync(pass * 1_000_000 + 700, InstrumentId(1));
        calls += counting::calls() - before;
        while let Ok(block) = ends.full.try_recv() {
            blocks += 1;
            ends.empty.try_send(block).expect("room for every block");
        }
    }
    assert_eq!(calls, 0, "calls of the allocator");
    assert!(blocks > 150, "each block came round more than once: {blocks}");
    assert_eq!(ends.lost.load(std::sync::atomic::Ordering::Relaxed), 0);
}
