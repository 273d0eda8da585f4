//! Faults put into a recorded day: every 500th depth frame is lost, and a fresh snapshot follows twenty frames later.

mod common;

use common::{Book, Rig, Side, apply, each_frame, meta, spec};
use tidegate_feed::discover::discover;
use tidegate_feed::venues::binance::Decoder;
use tidegate_feed::venues::{Body, Decode};
use tidegate_feed::{FrameMeta, FrameMut, PADDING};
use tidegate_wire::event::BookQuality;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

const FILE: &str = "hftbacktest/usdm_btcusdt_20240808.gz";
/// One depth frame in so many is lost.
const LOSE_EVERY: usize = 500;
/// Depth frames until the answer to the request for a snapshot comes.
const ANSWER_AFTER: usize = 20;

/// What a frame of the recording is to this test.
enum Frame {
    Depth,
    Snapshot,
    Other,
}

/// The book of a connection that loses nothing, kept in the slow obvious way: snapshot, then each frame by `pu`.
struct Reference {
    decoder: Decoder,
    bids: Side,
    asks: Side,
    last: u64,
    /// Frames from before the snapshot, applied when it comes unless it is newer.
    early: Vec<Vec<u8>>,
}

impl Reference {
    fn new(registry: &Registry) -> Self {
        let decoder = Decoder::new(registry, Venue::BinanceUsdm);
        Self { decoder, bids: Side::new(), asks: Side::new(), last: 0, early: Vec::new() }
    }

    fn see(&mut self, bytes: &[u8]) -> Frame {
        let mut buffer = [bytes, &[0; PADDING]].concat();
        let mut frame = FrameMut::new(&mut buffer, bytes.len()).expect("padding");
        let message = self.decoder.parse(&mut frame, InstrumentId(0)).expect("a recorded frame");
        match message.body {
            Body::Snapshot(ids) => {
                self.last = ids.last;
                self.apply();
                for early in std::mem::take(&mut self.early) {
                    self.see(&early);
                }
                Frame::Snapshot
            }
            Body::Delta(_) if self.last == 0 => {
                self.early.push(bytes.to_vec());
                Frame::Depth
            }
            Body::Delta(ids) => {
                if ids.last >= self.last {
                    assert!(ids.prev == self.last || ids.first <= self.last, "the recording itself has no hole");
                    self.last = ids.last;
                    self.apply();
                }
                Frame::Depth
            }
            _ => Frame::Other,
        }
    }

    fn apply(&mut self) {
        apply(&mut self.bids, self.decoder.levels().bids());
        apply(&mut self.asks, self.decoder.levels().asks());
    }

    /// What the venue would answer to a request for a snapshot now.
    fn snapshot(&self, instrument: &Instrument) -> String {
        use tidegate_wire::{Price, Qty};
        let level = |(price, qty): (&i64, &i64)| {
            let price = Price::from_raw(*price).display(instrument.price_scale);
            format!(r#"["{price}","{}"]"#, Qty::from_raw(*qty).display(instrument.qty_scale))
        };
        let bids: Vec<_> = self.bids.iter().rev().map(level).collect();
        let asks: Vec<_> = self.asks.iter().map(level).collect();
        format!(r#"{{"lastUpdateId":{},"bids":[{}],"asks":[{}]}}"#, self.last, bids.join(","), asks.join(","))
    }

    fn assert_same(&self, book: &Book) {
        assert_eq!(book.last, self.last);
        assert_eq!((&book.bids, &book.asks), (&self.bids, &self.asks), "books differ at update {}", self.last);
    }
}

/// The run over the recording.
struct Injection<'a> {
    rig: Rig,
    reference: Reference,
    instrument: &'a Instrument,
    meta: FrameMeta,
    depth_frames: usize,
    lost: u64,
    /// Depth frames until the snapshot comes; 0 when none is asked for.
    answer_in: usize,
    compared: u64,
}

impl Injection<'_> {
    fn see(&mut self, bytes: &[u8]) {
        match self.reference.see(bytes) {
            Frame::Depth => self.depth(bytes),
            Frame::Snapshot | Frame::Other => self.rig.frame(&self.meta, bytes),
        }
    }

    fn depth(&mut self, bytes: &[u8]) {
        self.depth_frames += 1;
        if self.depth_frames.is_multiple_of(LOSE_EVERY) {
            assert_eq!(self.rig.book().quality, BookQuality::Good, "only a live book can lose a frame");
            self.lost += 1;
            self.answer_in = ANSWER_AFTER;
            return;
        }
        self.rig.frame(&self.meta, bytes);
        assert_eq!(self.rig.counters().gaps, self.lost, "noticed at the very next frame, and once");
        if self.answer_in > 0 {
            assert_eq!(self.rig.book().quality, BookQuality::Gapped, "out of service until a snapshot");
            self.answer_in -= 1;
            if self.answer_in == 0 {
                let snapshot = self.reference.snapshot(self.instrument);
                self.rig.frame(&self.meta, snapshot.as_bytes());
                assert_eq!(self.rig.book().quality, BookQuality::Good, "the held frames reach to the snapshot");
            }
        } else if self.rig.book().quality == BookQuality::Good && self.depth_frames.is_multiple_of(50) {
            self.reference.assert_same(self.rig.book());
            self.compared += 1;
        }
    }
}

#[test]
fn each_lost_frame_is_one_gap_and_each_snapshot_one_resync() {
    let Some(folder) = common::data() else { return };
    let path = folder.join(FILE);
    let mut registry = Registry::new();
    discover(&[spec(&path)], &mut registry).expect("a capture");
    let instrument = registry.get(InstrumentId(0)).expect("one").clone();
    let mut run = Injection {
        rig: Rig::new(&registry),
        reference: Reference::new(&registry),
        instrument: &instrument,
        meta: meta(Venue::BinanceUsdm, 0, InstrumentId(0)),
        depth_frames: 0,
        lost: 0,
        answer_in: 0,
        compared: 0,
    };
    each_frame(&path, |captured| run.see(&captured.bytes));
    let counters = run.rig.counters();
    assert_eq!(run.lost, 13, "6,551 depth frames");
    assert_eq!((counters.gaps, counters.resyncs, counters.snapshots), (13, 13, 14));
    assert_eq!((counters.decode_errors(), counters.trade_id_gaps, counters.sessions), (0, 0, 0));
    assert!(run.compared > 100, "{} comparisons", run.compared);
    run.reference.assert_same(run.rig.book());
}
