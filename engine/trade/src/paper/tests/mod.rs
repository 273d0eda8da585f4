//! The exchange at its borders. What the tests share is here.

mod makers;
mod owners;
mod properties;
mod takers;

use tidegate_wire::event::{BookQuality, Level, Trade};
use tidegate_wire::order::{FLAG_REDUCE_ONLY, OrderRequest, OrderType, RequestKind, Side, TimeInForce};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use super::*;
use crate::gateway::{ExecType, Gateway, Liquidity, Reason, Report};

pub(super) const VENUE: Venue = Venue::BinanceUsdm;
/// Tick 2, lot 5: prices in tenths, quantities in thousandths.
pub(super) const BTC: InstrumentId = InstrumentId(0);
/// Tick 1, lot 1.
pub(super) const ETH: InstrumentId = InstrumentId(1);
/// Another venue's.
pub(super) const SPOT: InstrumentId = InstrumentId(2);
pub(super) const MS: i64 = 1_000_000;

pub(super) fn registry() -> Registry {
    let mut registry = Registry::new();
    let btc = Instrument::linear(VENUE, "BTCUSDT", 1, 3);
    let btc = Instrument { tick: Price::from_raw(2), lot: Qty::from_raw(5), ..btc };
    for instrument in
        [btc, Instrument::linear(VENUE, "ETHUSDT", 2, 3), Instrument::linear(Venue::BinanceSpot, "BTCUSDT", 1, 3)]
    {
        registry.add(instrument).expect("a good instrument");
    }
    registry
}

/// Without latency.
pub(super) fn config() -> PaperConfig {
    let latency = LatencyConfig { entry_us: 0, response_us: 0, ..LatencyConfig::default() };
    PaperConfig { accounts: 2, open_orders: 8, requests: 8, reports: 256, latency, ..PaperConfig::default() }
}

pub(super) fn levels(rows: &[(i64, i64)]) -> Vec<Level> {
    rows.iter().map(|(price, qty)| Level { price: Price::from_raw(*price), qty: Qty::from_raw(*qty) }).collect()
}

/// An exchange, and the time.
pub(super) struct Desk {
    pub(super) exchange: PaperExchange,
    pub(super) now: i64,
    numbered: u64,
}

impl Desk {
    pub(super) fn new(config: &PaperConfig) -> Self {
        Self {
            exchange: PaperExchange::new(&registry(), VENUE, config).expect("a good configuration"),
            now: MS,
            numbered: 0,
        }
    }

    /// With a book of BTC: bids 1000 x 50 and 998 x 100, asks 1004 x 50 and 1006 x 100.
    pub(super) fn ready(config: &PaperConfig) -> Self {
        let mut desk = Self::new(config);
        desk.show(&[(1000, 50), (998, 100)], &[(1004, 50), (1006, 100)]);
        desk
    }

    pub(super) fn with(queue: QueueModel) -> Self {
        Self::ready(&PaperConfig { queue, ..config() })
    }

    pub(super) fn show(&mut self, bids: &[(i64, i64)], asks: &[(i64, i64)]) {
        self.show_as(BookQuality::Good, bids, asks);
    }

    pub(super) fn show_as(&mut self, quality: BookQuality, bids: &[(i64, i64)], asks: &[(i64, i64)]) {
        let (bids, asks) = (levels(bids), levels(asks));
        self.now += MS;
        self.exchange.book(BTC, self.now, BookTop { quality, venue_ns: 0, bids: &bids, asks: &asks });
    }

    /// A trade whose aggressor sold.
    pub(super) fn sold(&mut self, price: i64, qty: i64) -> Vec<Report> {
        self.trade(price, qty, true)
    }

    pub(super) fn trade(&mut self, price: i64, qty: i64, sell: bool) -> Vec<Report> {
        self.now += MS;
        let trade = Trade { price: Price::from_raw(price), qty: Qty::from_raw(qty), ..Trade::default() };
        self.exchange.trade(BTC, self.now, &trade, sell);
        self.reports()
    }

    pub(super) fn reports(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.exchange.poll()).collect()
    }

    /// A limit order of BTC on account 0.
    pub(super) fn order(&mut self, side: Side, price: i64, qty: i64) -> OrderRequest {
        self.numbered += 1;
        OrderRequest {
            request_id: self.numbered,
            client_id: 100 + self.numbered,
            price: Price::from_raw(price),
            qty: Qty::from_raw(qty),
            instrument: BTC,
            venue: VENUE as u8,
            kind: RequestKind::New as u8,
            side: side as u8,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    pub(super) fn send(&mut self, request: &OrderRequest) -> Vec<Report> {
        self.exchange.submit(self.now, request).expect("room");
        self.exchange.advance(self.now);
        self.reports()
    }

    /// Sends what must be refused.
    pub(super) fn refused(&mut self, request: &OrderRequest) -> Reason {
        let (open, before) = (self.exchange.open_orders().collect::<Vec<_>>(), self.exchange.counters().rejections);
        let reports = self.send(request);
        assert_eq!(reports.len(), 1, "{reports:?}");
        let is_new = request.kind == RequestKind::New as u8;
        let expected = if is_new { ExecType::Rejected } else { ExecType::CancelRejected };
        assert_eq!((reports[0].exec_type(), reports[0].request_id), (Some(expected), request.request_id));
        assert_eq!(self.exchange.open_orders().collect::<Vec<_>>(), open, "nothing changed");
        assert_eq!(self.exchange.counters().rejections, before + 1);
        reports[0].reason().expect("a reason")
    }

    pub(super) fn position(&self, account: u16) -> i64 {
        self.exchange.position(account, BTC).expect("an account").raw()
    }

    /// What is ahead of the order of a client id.
    pub(super) fn ahead(&self, client_id: u64) -> Option<i64> {
        let order = self.exchange.open_orders().find(|order| order.client_id == client_id).expect("open");
        order.ahead.map(Qty::raw)
    }
}

pub(super) fn of_type(request: OrderRequest, order_type: OrderType) -> OrderRequest {
    let price = if order_type == OrderType::Market { Price::ZERO } else { request.price };
    OrderRequest { order_type: order_type as u8, price, ..request }
}

pub(super) fn in_force(request: OrderRequest, time_in_force: TimeInForce) -> OrderRequest {
    OrderRequest { time_in_force: time_in_force as u8, ..request }
}

pub(super) fn reduce_only(request: OrderRequest) -> OrderRequest {
    OrderRequest { flags: FLAG_REDUCE_ONLY, ..request }
}

/// Another request about an order.
pub(super) fn about(order: &OrderRequest, kind: RequestKind, price: i64, qty: i64) -> OrderRequest {
    let (price, qty) = (Price::from_raw(price), Qty::from_raw(qty));
    OrderRequest { kind: kind as u8, request_id: order.request_id + 1_000, price, qty, ..*order }
}

/// What a report says: type, reason, price and quantity of a trade, what is left.
pub(super) type Said = (ExecType, Reason, i64, i64, i64);

/// What reports say.
pub(super) fn said(reports: &[Report]) -> Vec<Said> {
    let said = |r: &Report| {
        let price = if r.last_qty.raw() > 0 { r.price.raw() } else { 0 };
        let (exec_type, reason) = (r.exec_type().expect("a type"), r.reason().expect("a reason"));
        (exec_type, reason, price, r.last_qty.raw(), r.leaves_qty.raw())
    };
    reports.iter().map(said).collect()
}
