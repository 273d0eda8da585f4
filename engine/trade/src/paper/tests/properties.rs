//! What holds for any stream of orders and markets.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happens {
    /// Quality, best bid, spread, and quantities.
    Book(bool, i64, i64, Vec<i64>),
    /// Price, quantity, whether the aggressor sold.
    Trade(i64, i64, bool),
    /// A request.
    Request(Box<OrderRequest>),
    /// Time passes.
    Time,
}

fn book() -> impl Strategy<Value = Happens> {
    let quantities = prop::collection::vec(1i64..40, 6);
    (prop::bool::weighted(0.95), 95i64..103, 1i64..4, quantities)
        .prop_map(|(good, bid, spread, quantities)| Happens::Book(good, bid, spread, quantities))
}

fn request() -> impl Strategy<Value = Happens> {
    let codes = (0u8..6, 0u8..2, 0u8..3, 0u8..4, 0u8..5, prop::bool::weighted(0.1));
    (0u16..2, 1u64..12, 94i64..106, 1i64..60, codes).prop_map(|(account, client_id, price, qty, codes)| {
        let (kind, side, order_type, in_force, mode, reduces) = codes;
        let kind =
            if kind < 4 { RequestKind::New } else { [RequestKind::Replace, RequestKind::Cancel][kind as usize - 4] };
        Happens::Request(Box::new(OrderRequest {
            client_id,
            price: Price::from_raw(if order_type == OrderType::Market as u8 { 0 } else { price }),
            qty: Qty::from_raw(qty),
            account,
            instrument: ETH,
            venue: VENUE as u8,
            kind: kind as u8,
            side,
            order_type,
            time_in_force: in_force,
            self_trade: mode,
            flags: u8::from(reduces),
            ..bytemuck::Zeroable::zeroed()
        }))
    })
}

/// Things with the time between them, ns.
fn stream() -> impl Strategy<Value = Vec<(i64, Happens)>> {
    let trade = (94i64..106, 1i64..60, any::<bool>()).prop_map(|(price, qty, sell)| Happens::Trade(price, qty, sell));
    let happens = prop_oneof![3 => book(), 3 => trade, 4 => request(), 1 => Just(Happens::Time)];
    prop::collection::vec((0i64..3 * MS, happens), 1..120)
}

fn model() -> impl Strategy<Value = QueueModel> {
    prop::sample::select(vec![
        QueueModel::RiskAverse,
        QueueModel::Proportional,
        QueueModel::Power(3.0),
        QueueModel::Logarithmic,
        QueueModel::Optimistic,
    ])
}

fn exchange(queue: QueueModel) -> PaperExchange {
    let latency = LatencyConfig { entry_us: 700, response_us: 300, jitter_us: 400, jitter_key: 5 };
    PaperExchange::new(&registry(), VENUE, &PaperConfig { queue, latency, reports: 4_096, ..config() }).expect("good")
}

/// Plays a stream; `steps` says into how many advances each wait is cut. Gives every report.
fn play(exchange: &mut PaperExchange, stream: &[(i64, Happens)], steps: i64) -> Vec<Report> {
    let (mut now, mut reports) = (MS, Vec::new());
    for (number, (wait, happens)) in stream.iter().enumerate() {
        (1..steps).for_each(|step| exchange.advance(now + wait * step / steps));
        now += wait;
        match happens {
            Happens::Book(good, bid, spread, quantities) => {
                let side = |best: i64, step: i64, quantities: &[i64]| {
                    levels(&quantities.iter().zip(0..).map(|(qty, i)| (best + step * i, *qty)).collect::<Vec<_>>())
                };
                let (bids, asks) = (side(*bid, -1, &quantities[..3]), side(bid + spread, 1, &quantities[3..]));
                let quality = if *good { BookQuality::Good } else { BookQuality::Gapped };
                exchange.book(ETH, now, BookTop { quality, venue_ns: 0, bids: &bids, asks: &asks });
            }
            Happens::Trade(price, qty, sell) => {
                let trade = Trade { price: Price::from_raw(*price), qty: Qty::from_raw(*qty), ..Trade::default() };
                exchange.trade(ETH, now, &trade, *sell);
            }
            Happens::Request(request) => {
                let dated = request.time_in_force == TimeInForce::GoodTillDate as u8;
                let expires_ns = if dated { now + 5 * MS } else { 0 };
                let request = OrderRequest { request_id: number as u64 + 1, expires_ns, ..**request };
                let _ = exchange.submit(now, &request);
            }
            Happens::Time => exchange.advance(now),
        }
        reports.extend(std::iter::from_fn(|| exchange.poll()));
    }
    exchange.advance(now + 100 * MS);
    reports.extend(std::iter::from_fn(|| exchange.poll()));
    reports
}

/// An order as its reports tell it.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    side: u8,
    limit: i64,
    ordered: i64,
    executed: i64,
    leaves: i64,
    ended: bool,
}

/// Follows reports as an owner would, and complains about what cannot be.
fn follow(reports: &[Report]) -> Result<(BTreeMap<u64, Told>, [i64; 2]), TestCaseError> {
    let (mut orders, mut positions) = (BTreeMap::<u64, Told>::new(), [0; 2]);
    for (number, report) in (1..).zip(reports) {
        prop_assert_eq!(report.sequence, number);
        prop_assert!(report.event_ns >= report.venue_ns);
        let exec_type = report.exec_type().expect("a type");
        if report.order_id == 0 {
            prop_assert!(matches!(exec_type, ExecType::Rejected | ExecType::CancelRejected));
            prop_assert!(report.reason() != Some(Reason::None));
            continue;
        }
        let told = orders.entry(report.order_id).or_default();
        prop_assert!(!told.ended, "nothing comes after the end: {:?}", report);
        prop_assert_eq!(told.ordered == 0, exec_type == ExecType::New);
        let before = *told;
        if exec_type == ExecType::Trade {
            let (price, qty) = (report.price.raw(), report.last_qty.raw());
            prop_assert!(qty > 0 && price > 0 && report.execution().is_some());
            let market = told.limit == 0;
            let within = if report.side == Side::Buy as u8 { price <= told.limit } else { price >= told.limit };
            prop_assert!(market || within, "worse than its limit: {:?}", report);
            told.executed += qty;
            positions[usize::from(report.account)] += if report.side == Side::Buy as u8 { qty } else { -qty };
        } else {
            (told.side, told.limit, told.ordered) = (report.side, report.price.raw(), report.order_qty.raw());
        }
        told.leaves = report.leaves_qty.raw();
        told.ended = report.is_last();
        prop_assert_eq!(report.cum_qty.raw(), told.executed);
        prop_assert!(told.executed <= report.order_qty.raw());
        let whole = report.leaves_qty.raw() + told.executed == report.order_qty.raw();
        prop_assert!(whole || told.ended, "open and executed are the order");
        if exec_type == ExecType::Restated {
            prop_assert!(told.ordered < before.ordered && told.limit == before.limit);
        }
    }
    Ok((orders, positions))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Everything ordered is executed, open or ended; nothing executes beyond its limit; positions are the sum of
    /// executions; nobody is told anything after the end.
    #[test]
    fn nothing_is_lost_and_nothing_made_up(stream in stream(), model in model()) {
        let mut exchange = exchange(model);
        let reports = play(&mut exchange, &stream, 1);
        let (orders, positions) = follow(&reports)?;
        for account in 0..2u16 {
            let position = exchange.position(account, ETH).expect("an account").raw();
            prop_assert_eq!(position, positions[usize::from(account)]);
        }
        let open: i64 = exchange.open_orders().map(|order| order.leaves_qty.raw()).sum();
        let told: i64 = orders.values().filter(|told| !told.ended).map(|told| told.leaves).sum();
        prop_assert_eq!((open, exchange.open_orders().count()), (told, orders.values().filter(|t| !t.ended).count()));
        let counters = exchange.counters();
        let refusals = [Some(ExecType::Rejected), Some(ExecType::CancelRejected)];
        let rejected = reports.iter().filter(|report| refusals.contains(&report.exec_type()));
        prop_assert_eq!((counters.rejections, counters.missed_room), (rejected.count() as u64, 0));
        for order in exchange.open_orders() {
            prop_assert!(order.ahead.is_none_or(|ahead| ahead.raw() >= 0) && order.leaves_qty.raw() > 0);
        }
    }

    /// The same input gives the same reports, however time is cut.
    #[test]
    fn equal_input_gives_equal_reports(stream in stream(), model in model(), steps in 2i64..9) {
        let (mut once, mut again, mut cut) = (exchange(model), exchange(model), exchange(model));
        let reports = play(&mut once, &stream, 1);
        prop_assert_eq!(&play(&mut again, &stream, 1), &reports);
        prop_assert_eq!(&play(&mut cut, &stream, steps), &reports);
        prop_assert_eq!((once.digest(), once.digest()), (again.digest(), cut.digest()));
        prop_assert_eq!(reports.is_empty(), once.digest() == 0);
    }

    /// Whatever levels and trades do, in whatever order they are told: no model is behind the risk-averse one and none
    /// ahead of the optimistic one, and what reaches an order is in the same order.
    #[test]
    fn models_keep_their_order(
        start in 0i64..50,
        steps in prop::collection::vec((any::<bool>(), 0i64..50, 0i64..400, 0i64..4), 1..60),
        n in 0.1f64..8.0
    ) {
        let models = [
            QueueModel::RiskAverse,
            QueueModel::Proportional,
            QueueModel::Power(n),
            QueueModel::Logarithmic,
            QueueModel::Optimistic,
        ];
        let mut queues = models.map(|_| Queue::join(Some(start), Stamps::default(), 0, Stamps::default()));
        let (mut now, mut venue) = (0, 1);
        let mut reached = [0; 5];
        for (is_trade, qty, wait, lag) in steps {
            now += wait;
            venue += wait;
            // Stamps of the venue, of which some are missing and some equal.
            let at = Stamps { event_ns: now, venue_ns: if lag == 0 { 0 } else { venue - lag } };
            for ((queue, model), reached) in queues.iter_mut().zip(models).zip(&mut reached) {
                let rules = QueueRules { model, lot: 1, pairing_ns: 1_000, slack_ns: 0 };
                if is_trade {
                    *reached += queue.trade(&rules, at, qty + 1);
                } else {
                    queue.see(&rules, at, qty);
                    prop_assert!(queue.ahead() <= qty);
                }
            }
            let ahead = queues.map(|queue| queue.ahead());
            prop_assert!(ahead[1..].iter().all(|ahead_of| *ahead_of <= ahead[0] && *ahead_of >= ahead[4]), "{:?}", ahead);
            prop_assert!(reached[1..].iter().all(|reached_by| *reached_by >= reached[0] && *reached_by <= reached[4]));
        }
    }

    /// One order on a market of its own: no model fills it before the optimistic one or after the risk-averse one.
    #[test]
    fn fills_keep_the_order_of_models(stream in stream(), price in 96i64..104) {
        let fills = |model| {
            let mut exchange = exchange(model);
            let request = OrderRequest {
                price: Price::from_raw(price),
                qty: Qty::from_raw(30),
                instrument: ETH,
                venue: VENUE as u8,
                order_type: OrderType::PostOnly as u8,
                ..bytemuck::Zeroable::zeroed()
            };
            let market: Vec<_> = stream.iter().filter(|(_, h)| !matches!(h, Happens::Request(_))).cloned().collect();
            let mut alone = vec![(0, Happens::Book(true, 99, 2, vec![30; 6]))];
            alone.push((MS, Happens::Request(Box::new(request))));
            alone.extend(market);
            let reports = play(&mut exchange, &alone, 1);
            let trades = reports.iter().filter(|r| r.last_qty.raw() > 0);
            trades.map(|r| (r.venue_ns, r.cum_qty.raw())).collect::<Vec<_>>()
        };
        // Filled by then: the quantity at any time.
        let by = |fills: &[(i64, i64)], at: i64| fills.iter().rfind(|fill| fill.0 <= at).map_or(0, |fill| fill.1);
        let (first, last) = (QueueModel::RiskAverse, QueueModel::Optimistic);
        let models = [first, QueueModel::Proportional, QueueModel::Logarithmic, last];
        let all = models.map(fills);
        for (at, _) in all.iter().flatten() {
            let filled = [0, 1, 2, 3].map(|model| by(&all[model], *at));
            prop_assert!(filled[0] <= filled[1] && filled[1] <= filled[3], "{:?}", all);
            prop_assert!(filled[0] <= filled[2] && filled[2] <= filled[3], "{:?}", all);
        }
    }
}
