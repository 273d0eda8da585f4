//! Every feature against the obvious way to compute it: the whole history is kept and each figure is added up anew from
//! the definition in the schema. Slow and plain on purpose.

mod reference;

use reference::{Event, Reference};
use tidegate_market::features::schema::FEATURES;
use tidegate_market::{MarketConfig, MarketStage};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{BookQuality, Depth, DepthIds, EventSink, FLAG_SELL, Header, Quote, Status, Trade};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::{Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

/// Keeps the last vector.
struct Last(FeatureBody);

impl FeatureSink for Last {
    fn features(&mut self, _: &Header, body: &FeatureBody) {
        self.0 = *body;
    }
    fn heartbeat(&mut self, _: &Header) {}
}

/// A small generator of our own: the test must not depend on a library's idea of randomness.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: i64) -> i64 {
        (self.next() % n as u64) as i64
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    let instrument = Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3);
    registry.add(instrument).expect("a good instrument");
    registry
}

const START: i64 = 1_723_161_600_000_000_000;

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) }
}

/// A random market of some minutes: a wandering centre, books of some dozen levels, quotes between depth frames.
fn events(seed: u64, count: usize) -> Vec<(i64, Event)> {
    let mut random = Random(seed);
    let (mut now, mut centre, mut id) = (START + 123_456_789, 600_000i64, 1_000u64);
    let mut out = vec![(now, snapshot(&mut random, centre))];
    for _ in 0..count {
        now += match random.below(40) {
            0 => random.below(1_900) * 1_000_000,
            1..10 => random.below(150) * 1_000_000,
            _ => random.below(20) * 1_000_000,
        };
        id += 1 + random.below(5) as u64;
        let event = match random.below(10) {
            0..5 => {
                centre += random.below(5) - 2;
                delta(&mut random, centre, id)
            }
            5..8 => Event::Quote {
                id,
                bid: level(centre - 1 - random.below(2), 1 + random.below(900)),
                ask: level(centre + 1 + random.below(2), 1 + random.below(900)),
            },
            _ => Event::Trade {
                price: centre - 1 + random.below(3),
                qty: 1 + random.below(5_000),
                sell: random.below(2) == 0,
            },
        };
        out.push((now, event));
    }
    out
}

fn snapshot(random: &mut Random, centre: i64) -> Event {
    let mut side = |sign: i64| (1..40).map(|i| level(centre + sign * i * 3, 1 + random.below(900))).collect();
    Event::Snapshot { id: 999, bids: side(-1), asks: side(1) }
}

/// Changes on both sides; whatever would cross the centre is deleted, so that the book is never crossed.
fn delta(random: &mut Random, centre: i64, id: u64) -> Event {
    let clear = |sign: i64| (0..12).map(move |i| level(centre - sign * i, 0));
    let mut side = |sign: i64| -> Vec<Level> {
        let quantity = |random: &mut Random| (random.below(5) > 1) as i64 * (1 + random.below(900));
        let levels = (0..random.below(12)).map(|_| level(centre + sign * (1 + random.below(60)), quantity(random)));
        let mut levels: Vec<Level> = levels.collect();
        levels.push(level(centre + sign, 1 + random.below(500)));
        clear(sign).chain(levels).collect()
    };
    Event::Delta { id, bids: side(-1), asks: side(1) }
}

fn feed(stage: &mut MarketStage<Last>, now: i64, event: &Event) {
    let mut header = Header {
        event_ns: now,
        venue_ns: now - 2_000_000 - now % 777_777,
        ..Header::new(RecordKind::Delta, InstrumentId(0))
    };
    match event {
        Event::Snapshot { id, bids, asks } => {
            let ids = DepthIds { first: *id, last: *id, prev: 0 };
            stage.snapshot(&header, Depth { ids, bids, asks });
            stage.status(&header, &Status { quality: BookQuality::Good as u64, expected: 0, received: 0 });
        }
        Event::Delta { id, bids, asks } => {
            stage.delta(&header, Depth { ids: DepthIds { first: *id, last: *id, prev: 0 }, bids, asks });
        }
        Event::Quote { id, bid, ask } => {
            stage.quote(&header, &Quote { update_id: *id, bid: *bid, ask: *ask });
        }
        Event::Trade { price, qty, sell } => {
            header.flags = if *sell { FLAG_SELL } else { 0 };
            let (price, qty) = (Price::from_raw(*price), Qty::from_raw(*qty));
            stage.trade(&header, &Trade { price, qty, trade_id: 0, transact_ns: now });
        }
    }
}

#[test]
fn every_feature_agrees_with_its_definition() {
    // Books of this test may pause for two seconds: staleness has tests of its own.
    let config = MarketConfig { stale_after_ns: [i64::MAX / 2; Venue::ALL.len()], check_bbo: false };
    let mut compared = [0u32; 64];
    for seed in [1, 2] {
        let mut stage = MarketStage::new(&registry(), config, Clock::monotonic(), Last(FeatureBody::EMPTY));
        let mut reference = Reference::default();
        for (index, (now, event)) in events(seed, 9_000).iter().enumerate() {
            feed(&mut stage, *now, event);
            reference.push(*now, event);
            // Adding everything up is slow: look at every seventeenth vector.
            if index % 17 != 0 {
                continue;
            }
            let body = stage.sink().0;
            for (feature, expected) in reference.features(*now) {
                let found = body.get(feature);
                let name = FEATURES[feature].name;
                match (found, expected) {
                    (Some(a), Some(b)) => {
                        // Prices of 60,000 lose nine digits where their differences cancel.
                        let tolerance = 1e-9 * a.abs().max(b.abs()).max(1.0);
                        assert!((a - b).abs() <= tolerance, "{name} at event {index} of seed {seed}: {a} is not {b}");
                        compared[feature] += 1;
                    }
                    (None, None) => {}
                    _ => panic!("{name} at event {index} of seed {seed}: {found:?} is not {expected:?}"),
                }
            }
        }
    }
    // The single instrument has nothing to correlate with, no mark price and no five minutes... but nearly.
    let silent: Vec<&str> = FEATURES.iter().zip(compared).filter(|(_, n)| *n < 20).map(|(f, _)| f.name).collect();
    assert_eq!(silent, reference::NOT_COVERED, "these were hardly compared");
}
