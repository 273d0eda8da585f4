//! Streams that go on but say nothing of use: time must pass, and a venue that counts anew must be noticed.

use tidegate_feed::sync::{Rule, SnapshotVerdict, State, Synchroniser, Verdict};
use tidegate_feed::{Feed, FrameMeta, FrameMut, PADDING};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{Bar, Depth, DepthIds, EventSink, Header, Mark, OptionMark, Quote, Status, Trade};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Scale, Venue};

#[derive(Default)]
struct Beats(Vec<i64>);

impl EventSink for Beats {
    fn delta(&mut self, _: &Header, _: Depth<'_>) {}
    fn snapshot(&mut self, _: &Header, _: Depth<'_>) {}
    fn quote(&mut self, _: &Header, _: &Quote) {}
    fn trade(&mut self, _: &Header, _: &Trade) {}
    fn mark(&mut self, _: &Header, _: &Mark) {}
    fn option(&mut self, _: &Header, _: &OptionMark) {}
    fn bar(&mut self, _: &Header, _: &Bar) {}
    fn status(&mut self, _: &Header, _: &Status) {}
    fn heartbeat(&mut self, header: &Header) {
        self.0.push(header.event_ns / 1_000_000);
    }
}

#[test]
fn frames_that_cannot_be_read_still_move_time() {
    let mut registry = Registry::new();
    let scale = Scale::saturating(1);
    let (tick, lot) = (Price::from_raw(1), Qty::from_raw(1));
    let (venue, symbol, contract) = (Venue::BinanceUsdm, "BTCUSDT".into(), Contract::Linear);
    let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
    registry.add(instrument).expect("a good instrument");
    let mut feed = Feed::new(&registry, Clock::monotonic()).expect("an instrument");
    let mut beats = Beats::default();
    for step in 1..=20i64 {
        let recv_ns = step * 30_000_000;
        let meta = FrameMeta { recv_ns, arrive_ticks: 1, venue, source: 0, hint: InstrumentId::NONE };
        let mut buffer = b"{\"e\":\"depthUpdate\",\"new\":".to_vec();
        let length = buffer.len();
        buffer.resize(length + PADDING, 0);
        feed.frame(&meta, FrameMut::new(&mut buffer, length).expect("padding"), &mut beats);
    }
    assert_eq!(beats.0, [30, 150, 270, 390, 510], "at most one heartbeat in 100 ms");
    assert_eq!((feed.counters().events, feed.counters().decode_errors()), (0, 20));
}

#[test]
fn ids_that_start_anew_are_a_gap_and_not_an_endless_repetition() {
    for rule in [Rule::Contiguous, Rule::Chained] {
        let mut book = Synchroniser::new(rule);
        let ids = |n: u64| DepthIds { first: n, last: n, prev: n - 1 };
        assert_eq!(book.snapshot(1_000_000), SnapshotVerdict::Load);
        assert_eq!(book.release(|_, _, _| {}), None);
        assert_eq!(book.delta(&ids(1_000_001)), Verdict::Join);
        // A few repeated frames are a re-delivery.
        for n in 0..50 {
            assert_eq!(book.delta(&ids(999_000 + n)), Verdict::Outdated);
        }
        assert_eq!(book.delta(&ids(1_000_002)), Verdict::Apply);
        // The exchange restarted and counts from one.
        let verdicts: Vec<Verdict> = (2..100).map(|n| book.delta(&ids(n))).collect();
        let gap = verdicts.iter().position(|v| matches!(v, Verdict::Gap { .. }));
        assert_eq!((gap, book.state()), (Some(64), State::Waiting), "{rule:?}");
        assert_eq!(book.snapshot(200), SnapshotVerdict::Load, "and any snapshot heals it");
    }
}
