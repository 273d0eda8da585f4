//! Quotes over two connections: each comes once, the newest stays, and a venue that counts anew is not muted.

mod common;

use common::Rig;
use common::random::Random;
use tidegate_feed::FrameMeta;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};

const MS: i64 = 1_000_000;
const VENUES: [Venue; 5] = [Venue::BinanceUsdm, Venue::Okx, Venue::Bybit, Venue::BitgetUsdt, Venue::Deribit];

/// A quote with its place among the others of its venue, and a bid that tells it from them.
fn quote(venue: Venue, order: u64, bid: u64) -> String {
    match venue {
        Venue::BinanceUsdm => format!(
            r#"{{"e":"bookTicker","u":{order},"E":1,"T":1,"s":"ABC","b":"{bid}","B":"1","a":"9999999","A":"1"}}"#
        ),
        Venue::Okx => format!(
            r#"{{"arg":{{"channel":"bbo-tbt","instId":"ABC"}},"data":[{{"asks":[["9999999","1","0","1"]],"bids":[["{bid}","1","0","1"]],"ts":"1","seqId":{order}}}]}}"#
        ),
        // `u` begins again with 1 when the service restarts; what orders the quotes is `seq`.
        Venue::Bybit => format!(
            r#"{{"topic":"orderbook.1.ABC","type":"snapshot","ts":1,"data":{{"s":"ABC","b":[["{bid}","1"]],"a":[["9999999","1"]],"u":{},"seq":{order}}},"cts":1}}"#,
            1 + order % 7
        ),
        Venue::BitgetUsdt => format!(
            r#"{{"action":"snapshot","arg":{{"instType":"USDT-FUTURES","channel":"books1","instId":"ABC"}},"data":[{{"asks":[["9999999","1"]],"bids":[["{bid}","1"]],"checksum":0,"seq":{order},"ts":"1"}}],"ts":1}}"#
        ),
        _ => format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"quote.ABC","data":{{"timestamp":{order},"instrument_name":"ABC","best_ask_price":9999999.0,"best_bid_price":{bid}.0,"best_ask_amount":1.0,"best_bid_amount":1.0}}}}}}"#
        ),
    }
}

/// Two connections of one venue.
struct Wire {
    rig: Rig,
    venue: Venue,
    now_ns: i64,
}

impl Wire {
    fn new(venue: Venue) -> Self {
        let mut registry = Registry::new();
        registry.add(Instrument::linear(venue, "ABC", 0, 0)).expect("a good instrument");
        Self { rig: Rig::new(&registry), venue, now_ns: 1_000_000 * MS }
    }

    fn quote(&mut self, source: u16, order: u64, bid: u64) {
        self.now_ns += MS;
        let meta =
            FrameMeta { recv_ns: self.now_ns, arrive_ticks: 0, venue: self.venue, source, hint: InstrumentId(0) };
        self.rig.frame(&meta, quote(self.venue, order, bid).as_bytes());
    }

    /// Bids of the quotes that came through.
    fn bids(&self) -> Vec<i64> {
        self.rig.sink.quotes.iter().map(|quote| quote.bid.price.raw()).collect()
    }
}

#[test]
fn two_connections_that_lag_give_each_quote_once_and_in_order() {
    for venue in VENUES {
        for seed in 0..20 {
            let (mut wire, mut random) = (Wire::new(venue), Random(seed));
            let mut queues: [Vec<u64>; 2] = Default::default();
            for n in 1..=500u64 {
                queues.iter_mut().for_each(|queue| queue.push(n));
                for source in [1, 2] {
                    let queue = &mut queues[usize::from(source) - 1];
                    for n in queue.drain(..queue.len().min(random.below(4))) {
                        wire.quote(source, 1000 + 3 * n, n);
                    }
                }
            }
            for source in [1, 2] {
                queues[usize::from(source) - 1].drain(..).for_each(|n| wire.quote(source, 1000 + 3 * n, n));
            }
            assert_eq!(wire.bids(), (1..=500).collect::<Vec<_>>(), "{venue}, seed {seed}");
            let counters = wire.rig.counters();
            assert_eq!((counters.quotes, counters.copies, counters.decode_errors()), (500, 500, 0), "{venue}");
            assert!(wire.rig.sink.quotes.iter().all(|q| (q.update_id != 0) == (venue == Venue::BinanceUsdm)));
        }
    }
}

#[test]
fn a_restart_of_the_venue_mutes_nobody_for_long() {
    for venue in VENUES {
        // One connection goes on, the other is gone: nothing is missing.
        let mut wire = Wire::new(venue);
        (1..=10).for_each(|n| wire.quote(1, 5000 + n, n));
        (11..=20).for_each(|n| wire.quote(1, n, n));
        assert_eq!(wire.bids(), (1..=20).collect::<Vec<_>>(), "{venue}");
        // Both go on, one behind the other.
        (21..=30).for_each(|n| wire.quote(1, 5000 + n, n));
        for n in 31..=40 {
            wire.quote(1, n, n);
            wire.quote(2, if n < 35 { 5000 + n - 10 } else { n - 4 }, if n < 35 { n - 10 } else { n - 4 });
        }
        assert_eq!(wire.bids(), (1..=40).collect::<Vec<_>>(), "{venue}: nothing old and nothing twice");
        // The one that led is gone with the old numbers, and others bring new ones.
        (41..=50).for_each(|n| wire.quote(1, 9000 + n, n));
        wire.now_ns += 2_500 * MS;
        for n in 51..=60 {
            wire.quote(3, n, n);
            wire.quote(4, n, n);
        }
        assert_eq!(wire.bids(), (1..=60).collect::<Vec<_>>(), "{venue}");
    }
}

/// Nothing but its time orders them, and several come within a millisecond.
#[test]
fn quotes_of_one_millisecond_come_through() {
    let mut wire = Wire::new(Venue::Deribit);
    for n in 0..40 {
        wire.quote(1, 1000 + n / 3, 1 + n);
        if n % 2 == 1 {
            wire.quote(2, 1000 + (n - 1) / 3, n);
            wire.quote(2, 1000 + n / 3, 1 + n);
        }
    }
    assert_eq!((wire.bids(), wire.rig.counters().copies), ((1..=40).collect(), 40));
}
