//! The paper exchange on a recorded market: how often, how soon and with what right each queue model fills passive
//! orders at the touch of Binance USD-M.

use std::collections::BTreeMap;

use tidegate_feed::replay::SourceSpec;
use tidegate_market::{MarketConfig, MarketStage};
use tidegate_runtime::extract::extract;
use tidegate_tests::data;
use tidegate_trade::gateway::{ExecType, Gateway, Liquidity};
use tidegate_trade::paper::{BookTop, LatencyConfig, PaperConfig, PaperExchange, QueueModel};
use tidegate_wire::event::{
    Bar, BookQuality, Depth, EventSink, FLAG_SELL, Header, Level, Mark, OptionMark, Quote, Status, Trade,
};
use tidegate_wire::feature::{FeatureBody, FeatureSink};
use tidegate_wire::order::{OrderRequest, OrderType, Side, TimeInForce};
use tidegate_wire::{InstrumentId, Price, Qty, Registry, Venue};

const BTC: InstrumentId = InstrumentId(0);
const SECOND: i64 = 1_000_000_000;
/// How long an order waits.
const LIFE_NS: i64 = 20 * SECOND;
/// Quantity of an order: 0.010 BTC.
const QTY: i64 = 10;

/// Feature vectors are of no interest here.
struct Nobody;

impl FeatureSink for Nobody {
    fn features(&mut self, _: &Header, _: &FeatureBody) {}
    fn heartbeat(&mut self, _: &Header) {}
}

/// What just happened in the real market.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    /// Best bid and best ask of a good book.
    Book(i64, i64),
    /// Price, quantity, whether the aggressor sold.
    Trade(i64, i64, bool),
}

impl Seen {
    /// Whether it justifies an execution of a resting order, whatever its place in the queue.
    fn justifies(self, side: Side, price: i64) -> bool {
        match (self, side) {
            (Self::Nothing, _) => false,
            (Self::Book(_, ask), Side::Buy) => ask <= price,
            (Self::Book(bid, _), Side::Sell) => bid >= price,
            (Self::Trade(at, _, sell), Side::Buy) => at < price || at == price && sell,
            (Self::Trade(at, _, sell), Side::Sell) => at > price || at == price && !sell,
        }
    }
}

/// An order and what became of it.
#[derive(Clone, Copy)]
struct Placed {
    side: Side,
    price: i64,
    accepted_ns: i64,
    executed: i64,
    /// When it was filled; 0 until then.
    filled_ns: i64,
    /// When something first justified a fill, without a queue; 0 until then.
    touched_ns: i64,
}

/// One model and its exchange.
struct Run {
    name: String,
    exchange: PaperExchange,
    orders: BTreeMap<u64, Placed>,
    /// Of those, which have not ended.
    open: Vec<u64>,
}

impl Run {
    /// Orders on their way see the market as well as the exchange does.
    fn look(&mut self, now: i64, seen: Seen) {
        for id in &self.open {
            let Some(order) = self.orders.get_mut(id) else { continue };
            if order.touched_ns == 0 && seen.justifies(order.side, order.price) {
                order.touched_ns = now;
            }
        }
        while let Some(report) = self.exchange.poll() {
            let (id, side) = (report.client_id, Side::from_repr(report.side).expect("a side"));
            match report.exec_type().expect("a type") {
                ExecType::New => {
                    let (price, accepted_ns) = (report.price.raw(), report.venue_ns);
                    let order = Placed { side, price, accepted_ns, executed: 0, filled_ns: 0, touched_ns: 0 };
                    self.orders.insert(id, order);
                    self.open.push(id);
                }
                ExecType::Trade => {
                    let order = self.orders.get_mut(&id).expect("accepted before");
                    assert_eq!((report.liquidity, report.price.raw()), (Liquidity::Maker as u8, order.price));
                    assert_eq!(report.venue_ns, now, "a resting order executes when something happens");
                    assert!(seen.justifies(side, order.price), "{}: nothing justifies {report:?}", self.name);
                    if let Seen::Trade(_, qty, _) = seen {
                        assert!(report.last_qty.raw() <= qty, "{}: more than was traded", self.name);
                    }
                    order.executed += report.last_qty.raw();
                    order.filled_ns = if order.executed == QTY { now } else { 0 };
                }
                ExecType::Rejected | ExecType::Expired => {}
                other => panic!("{other:?} was not asked for"),
            }
            if report.is_last() {
                self.open.retain(|open| *open != id);
            }
        }
    }
}

/// The market and everybody in it.
struct Floor {
    stage: MarketStage<Nobody>,
    runs: Vec<Run>,
    next_order_ns: i64,
    numbered: u64,
}

impl Floor {
    fn new(registry: &Registry, stage: MarketStage<Nobody>) -> Self {
        // Reports come at once, so that they can be held to what just happened.
        let latency = LatencyConfig { response_us: 0, ..LatencyConfig::default() };
        let models = [
            QueueModel::RiskAverse,
            QueueModel::Power(3.0),
            QueueModel::Power(2.0),
            QueueModel::Proportional,
            QueueModel::Logarithmic,
            QueueModel::Optimistic,
        ];
        let run = |queue: QueueModel| {
            let config = PaperConfig { queue, latency, ..PaperConfig::default() };
            let exchange = PaperExchange::new(registry, Venue::BinanceUsdm, &config).expect("a good configuration");
            Run { name: format!("{queue:?}"), exchange, orders: BTreeMap::new(), open: Vec::new() }
        };
        Self { stage, runs: models.map(run).into(), next_order_ns: 0, numbered: 0 }
    }

    /// Every exchange is shown the book.
    fn book(&mut self, header: &Header) {
        let (now, quality) = (header.event_ns, self.stage.quality(BTC));
        let Some(book) = self.stage.book(BTC) else { return };
        let bids: Vec<Level> = book.iter_bids().take(20).collect();
        let asks: Vec<Level> = book.iter_asks().take(20).collect();
        let top = BookTop { quality, venue_ns: header.venue_ns, bids: &bids, asks: &asks };
        let best = bids.first().zip(asks.first()).map(|(bid, ask)| (bid.price.raw(), ask.price.raw()));
        let seen = match best {
            Some((bid, ask)) if quality == BookQuality::Good => Seen::Book(bid, ask),
            _ => Seen::Nothing,
        };
        for run in &mut self.runs {
            run.exchange.advance(now);
            run.look(now, Seen::Nothing);
            run.exchange.book(BTC, now, top);
            run.look(now, seen);
        }
        if let (Seen::Book(bid, ask), true) = (seen, now >= self.next_order_ns) {
            self.next_order_ns = now + SECOND / 2;
            self.order(now, Side::Buy, bid);
            self.order(now, Side::Sell, ask);
        }
    }

    /// The same order to everybody.
    fn order(&mut self, now: i64, side: Side, price: i64) {
        self.numbered += 1;
        let request = OrderRequest {
            request_id: self.numbered,
            client_id: self.numbered,
            expires_ns: now + LIFE_NS,
            price: Price::from_raw(price),
            qty: Qty::from_raw(QTY),
            instrument: BTC,
            venue: Venue::BinanceUsdm as u8,
            side: side as u8,
            order_type: OrderType::PostOnly as u8,
            time_in_force: TimeInForce::GoodTillDate as u8,
            ..bytemuck::Zeroable::zeroed()
        };
        self.runs.iter_mut().for_each(|run| run.exchange.submit(now, &request).expect("room"));
    }
}

impl EventSink for Floor {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.stage.delta(header, depth);
        self.book(header);
    }
    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.stage.snapshot(header, depth);
        self.book(header);
    }
    fn status(&mut self, header: &Header, status: &Status) {
        EventSink::status(&mut self.stage, header, status);
        self.book(header);
    }
    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.stage.trade(header, trade);
        let (now, sell) = (header.event_ns, header.flags & FLAG_SELL != 0);
        for run in &mut self.runs {
            run.exchange.advance(now);
            run.look(now, Seen::Nothing);
            run.exchange.trade(BTC, now, trade, sell);
            run.look(now, Seen::Trade(trade.price.raw(), trade.qty.raw(), sell));
        }
    }
    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.stage.quote(header, quote);
    }
    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.stage.mark(header, mark);
    }
    fn option(&mut self, header: &Header, option: &OptionMark) {
        self.stage.option(header, option);
    }
    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.stage.bar(header, bar);
    }
    fn heartbeat(&mut self, header: &Header) {
        EventSink::heartbeat(&mut self.stage, header);
    }
}

fn replayed() -> Option<Floor> {
    let path = data()?.join("hftbacktest/usdm_btcusdt_20240808.gz");
    let sources = [SourceSpec { path, venue: None }];
    let make = |registry: &Registry, clock| {
        let stage = MarketStage::new(registry, MarketConfig::default(), clock, Nobody);
        Ok(Floor::new(registry, stage))
    };
    Some(extract(&sources, Registry::new(), make, |_| {}).expect("a capture").sink)
}

/// Orders filled in full, their mean waiting time in s, and the quantity that executed.
fn filled(run: &Run) -> (usize, f64, i64) {
    let waits = run.orders.values().filter(|order| order.filled_ns > 0);
    let waits: Vec<i64> = waits.map(|order| order.filled_ns - order.accepted_ns).collect();
    let mean = waits.iter().sum::<i64>() as f64 / waits.len().max(1) as f64 * 1e-9;
    (waits.len(), mean, run.orders.values().map(|order| order.executed).sum())
}

#[test]
fn recorded_trades_fill_passive_orders_as_each_model_says() {
    let (Some(floor), Some(again)) = (replayed(), replayed()) else { return };
    println!("passive orders of {QTY} lots at the touch, {} s each:", LIFE_NS / SECOND);
    println!("{:<14} {:>8} {:>8} {:>8} {:>10} {:>12}", "model", "accepted", "filled", "rate", "mean s", "executed");
    let (mut before, mut rows) = (0, Vec::new());
    for run in &floor.runs {
        let (fills, mean, executed) = filled(run);
        let accepted = run.orders.len();
        let rate = fills as f64 / accepted as f64;
        println!("{:<14} {accepted:>8} {fills:>8} {rate:>8.3} {mean:>10.3} {executed:>12}", run.name);
        rows.push((fills, executed));
        before = before.max(accepted);
    }
    // Without a queue: the first thing that could have filled an order did.
    let ignoring = floor.runs[0].orders.values().filter(|order| order.touched_ns > 0);
    let waits: Vec<i64> = ignoring.map(|order| order.touched_ns - order.accepted_ns).collect();
    let mean = waits.iter().sum::<i64>() as f64 / waits.len() as f64 * 1e-9;
    let rate = waits.len() as f64 / before as f64;
    println!("{:<14} {before:>8} {:>8} {rate:>8.3} {mean:>10.3} {:>12}", "(no queue)", waits.len(), "");

    let (first, last) = (rows[0], rows[rows.len() - 1]);
    assert!(before > 500 && first.0 > 50, "enough orders to say anything: {before} and {first:?}");
    for (run, row) in floor.runs.iter().zip(&rows) {
        assert!((first.0..=last.0).contains(&row.0), "{}: {row:?} between {first:?} and {last:?}", run.name);
        assert!((first.1..=last.1).contains(&row.1), "{}: {row:?} between {first:?} and {last:?}", run.name);
        assert!(row.0 <= waits.len(), "{}: no queue fills more", run.name);
        assert_eq!(run.orders.len(), before, "{}: all were sent the same", run.name);
    }
    assert!(first.0 < last.0 && last.0 < waits.len(), "queues matter: {first:?}, {last:?}, {}", waits.len());
    for (run, other) in floor.runs.iter().zip(&again.runs) {
        assert_eq!(run.exchange.digest(), other.exchange.digest(), "{}: the same again", run.name);
        let position = run.exchange.position(0, BTC).expect("an account").raw();
        let signed = |order: &Placed| if order.side == Side::Buy { order.executed } else { -order.executed };
        assert_eq!(position, run.orders.values().map(signed).sum::<i64>(), "{}", run.name);
        assert_eq!(run.exchange.counters().missed_room, 0, "{}", run.name);
    }
}
