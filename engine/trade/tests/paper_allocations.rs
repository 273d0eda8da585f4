//! After it is made, a paper exchange allocates nothing, whatever is asked of it.

#[path = "../../feed/tests/common/counting.rs"]
mod counting;

use tidegate_trade::gateway::Gateway;
use tidegate_trade::paper::{BookTop, PaperConfig, PaperExchange, QueueModel};
use tidegate_wire::event::{BookQuality, Level, Trade};
use tidegate_wire::order::{OrderRequest, RequestKind, Side};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

const VENUE: Venue = Venue::BinanceUsdm;
const BTC: InstrumentId = InstrumentId(0);
const MS: i64 = 1_000_000;

fn levels(best: i64, step: i64, round: i64) -> [Level; 20] {
    std::array::from_fn(|index| Level {
        price: Price::from_raw(best + step * index as i64),
        qty: Qty::from_raw(5 + (round + index as i64 * 7) % 40),
    })
}

/// A round of everything: a book, trades, orders on both sides that rest and take, a replacement and a cancel.
fn round(exchange: &mut PaperExchange, number: i64) -> u64 {
    let now = number * 10 * MS;
    let mid = 1_000 + number % 7;
    let (bids, asks) = (levels(mid, -1, number), levels(mid + 2, 1, number * 3));
    let quality = if number % 50 == 0 { BookQuality::Gapped } else { BookQuality::Good };
    exchange.book(BTC, now, BookTop { quality, venue_ns: now, bids: &bids, asks: &asks });
    let trade =
        |price: i64| Trade { price: Price::from_raw(price), qty: Qty::from_raw(9), trade_id: 0, transact_ns: now };
    exchange.trade(BTC, now + MS, &trade(mid), true);
    exchange.trade(BTC, now + MS, &trade(mid + 2), false);
    let request = |part: i64, kind: RequestKind, side: Side, price: i64| OrderRequest {
        request_id: (number * 10 + part) as u64,
        client_id: (number * 10 + if kind == RequestKind::New { part } else { 0 }) as u64,
        price: Price::from_raw(price),
        qty: Qty::from_raw(12 + part),
        instrument: BTC,
        venue: VENUE as u8,
        kind: kind as u8,
        side: side as u8,
        self_trade: (number % 5) as u8,
        ..bytemuck::Zeroable::zeroed()
    };
    for sent in [
        request(0, RequestKind::New, Side::Buy, mid - 1),
        request(1, RequestKind::New, Side::Sell, mid + 2),
        request(2, RequestKind::New, Side::Buy, mid + 4),
        request(0, RequestKind::Replace, Side::Buy, mid),
        request(0, RequestKind::Cancel, Side::Buy, 0),
    ] {
        let _ = exchange.submit(now + 2 * MS, &sent);
    }
    exchange.advance(now + 9 * MS);
    std::iter::from_fn(|| exchange.poll()).count() as u64
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut registry = Registry::new();
    registry.add(Instrument::linear(VENUE, "BTCUSDT", 1, 3)).expect("an instrument");
    let config = PaperConfig { queue: QueueModel::Power(2.0), open_orders: 64, ..PaperConfig::default() };
    let mut exchange = PaperExchange::new(&registry, VENUE, &config).expect("a good configuration");
    let before = counting::calls();
    let reports: u64 = (1..2_000).map(|number| round(&mut exchange, number)).sum();
    assert_eq!(counting::calls() - before, 0);
    let counters = exchange.counters();
    assert!(reports > 5_000 && counters.maker_executions > 100 && counters.taker_executions > 100, "{counters:?}");
    assert!(counters.rejections > 100, "the table was full too: {counters:?}");
}
