//! The graph of a small market.

use tidegate_wire::{Instrument, RecordKind, Venue};

use super::*;

fn registry() -> Registry {
    let mut registry = Registry::new();
    for (venue, symbol) in [
        (Venue::BinanceSpot, "BTCUSDT"),
        (Venue::BinanceSpot, "ETHUSDT"),
        (Venue::BinanceUsdm, "BTCUSDT"),
        (Venue::BinanceUsdm, "ETHUSDT"),
    ] {
        let instrument = Instrument::linear(venue, symbol, 2, 2);
        registry.add(instrument).expect("a legal instrument");
    }
    registry
}

fn vector(book: u16, second: i64, mid: f64) -> (Header, FeatureBody) {
    let mut body = FeatureBody { quality: BookQuality::Good as u64, ..FeatureBody::EMPTY };
    body.set(f::MID, Some(mid));
    body.set(f::SPREAD_BP, Some(1.0));
    let header = Header { event_ns: second * SECOND_NS, ..Header::new(RecordKind::Features, InstrumentId(book)) };
    (header, body)
}

#[test]
fn nodes_and_edges_follow_from_the_registry() {
    let graph = MarketGraph::new(&registry());
    let names: Vec<_> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names[..2], ["BTCUSDT.binance-spot", "ETHUSDT.binance-spot"]);
    assert_eq!(names[4..], ["binance-spot", "binance-usdm", "BTC", "ETH", "regime"]);
    let count = |kind| graph.edges().iter().filter(|edge| edge.kind == kind).count();
    assert_eq!(count(None), 9, "every node with itself");
    assert_eq!(count(Some(EdgeKind::ListsOn)), 2 * (4 + 4));
    assert_eq!(count(Some(EdgeKind::Correlates)), 2 * (2 + 2), "assets, exchanges");
    assert_eq!(count(Some(EdgeKind::Leads)), 2 * 2);
    assert_eq!(count(Some(EdgeKind::SharesRegime)), 2 * 4);
    assert!(graph.edges().is_sorted_by_key(|edge| edge.target));
}

#[test]
fn values_are_those_of_the_newest_vectors() {
    let mut graph = MarketGraph::new(&registry());
    for second in 1..=60 {
        // Both BTC books move alike, the ETH books stand still; the second ETH book is never good.
        let mid = 100.0 + (second % 7) as f64 * 0.01;
        for (book, mid) in [(0, mid), (1, 10.0), (2, mid * 1.001)] {
            let (header, body) = vector(book, second, mid);
            graph.see(&header, &body);
        }
    }
    let view = graph.snapshot(61 * SECOND_NS);
    let node = |number: usize| &view.nodes[number * NODE_SLOTS..][..NODE_SLOTS];
    let spread = FIRST_VALUE + 4;
    assert_eq!((node(0)[NodeKind::Book as usize], node(0)[PRESENT]), (1.0, 1.0));
    assert!((node(0)[spread] - core::f32::consts::LN_2).abs() < 1e-6, "ln(1 + 1 bp)");
    assert_eq!((node(3)[PRESENT], node(3)[spread]), (0.0, 0.0), "never seen");
    assert_eq!(node(5)[PRESENT], 0.5, "one of the exchange's two books");
    assert!((node(5)[spread] - core::f32::consts::LN_2).abs() < 1e-6, "mean over those that are there");
    assert_eq!(node(8)[NodeKind::Regime as usize], 1.0);
    assert!((node(8)[CLOCK + 1] - 1.0).abs() < 1e-4, "just after midnight");
    assert_eq!(node(8)[CLOCK + 2], 0.0, "a Thursday");
    let digest = view.digest();
    let edge = |source, target, kind| {
        graph
            .edges()
            .iter()
            .position(|e| (e.source, e.target, e.kind) == (source, target, Some(kind)))
            .expect("an edge")
    };
    let value = |edge: usize, slot: usize| graph.attributes[edge * EDGE_SLOTS + slot];
    let alike = edge(0, 2, EdgeKind::Correlates);
    assert!(value(alike, 5) > 0.99, "correlation");
    let basis = value(edge(0, 2, EdgeKind::Leads), 7);
    assert!((basis + 1.0).abs() < 0.01, "basis {basis}");
    assert_eq!(value(edge(0, 1, EdgeKind::Correlates), 5), 0.0, "one of them did not move");
    assert_ne!(graph.snapshot(62 * SECOND_NS).digest(), digest);
}

#[test]
fn moments_are_due_once_and_only_the_newest() {
    let mut schedule = Schedule::new(100);
    let due: Vec<_> = [250, 299, 300, 310, 745, 799, 800].map(|now| schedule.due(now)).into();
    assert_eq!(due, [None, None, Some(300), None, Some(700), None, Some(800)]);
}
