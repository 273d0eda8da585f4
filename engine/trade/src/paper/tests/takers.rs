//! Arriving orders: what is refused, what executes at once, and what becomes of the rest.

use super::*;

const NEW: ExecType = ExecType::New;
const TRADE: ExecType = ExecType::Trade;
const EXPIRED: ExecType = ExecType::Expired;
const NONE: Reason = Reason::None;

#[test]
fn whatever_makes_no_sense_is_refused_with_its_reason() {
    let mut desk = Desk::ready(&PaperConfig { min_notional: tidegate_guard::risk::Decimal::whole(5), ..config() });
    let good = desk.order(Side::Buy, 1000, 100);
    let with = |change: &dyn Fn(&mut OrderRequest)| {
        let mut request = good;
        change(&mut request);
        request
    };
    for (request, reason) in [
        (with(&|r| r.kind = 9), Reason::Malformed),
        (with(&|r| r.side = 2), Reason::Malformed),
        (with(&|r| r.order_type = 3), Reason::Malformed),
        (with(&|r| r.time_in_force = 4), Reason::Malformed),
        (with(&|r| r.self_trade = 6), Reason::Malformed),
        (with(&|r| r.flags = 2), Reason::Malformed),
        (with(&|r| r.reserved = [0, 1, 0]), Reason::Malformed),
        (with(&|r| r.expires_ns = 1), Reason::Malformed),
        (with(&|r| r.self_trade = 5), Reason::SelfTradeMode),
        (with(&|r| r.venue = 0), Reason::UnknownInstrument),
        (with(&|r| r.instrument = SPOT), Reason::UnknownInstrument),
        (with(&|r| r.instrument = InstrumentId::NONE), Reason::UnknownInstrument),
        (with(&|r| r.account = 2), Reason::UnknownAccount),
        (with(&|r| r.qty = Qty::ZERO), Reason::Amount),
        (with(&|r| r.qty = Qty::from_raw(-5)), Reason::Amount),
        (with(&|r| r.price = Price::ZERO), Reason::Amount),
        (with(&|r| r.order_type = OrderType::Market as u8), Reason::Amount),
        (with(&|r| r.price = Price::from_raw(1001)), Reason::OffTick),
        (with(&|r| r.qty = Qty::from_raw(99)), Reason::OffLot),
        (with(&|r| r.qty = Qty::from_raw(i64::MAX)), Reason::Overflow),
        (with(&|r| r.price = Price::from_raw(i64::MAX - 1)), Reason::Overflow),
        (with(&|r| (r.price, r.qty) = (Price::from_raw(1 << 48), Qty::from_raw(5 << 45))), Reason::Overflow),
        (with(&|r| r.qty = Qty::from_raw(45)), Reason::MinNotional),
        (reduce_only(good), Reason::ReduceOnly),
        (with(&|r| (r.time_in_force, r.expires_ns) = (3, 5)), Reason::GoodTillDate),
        (of_type(with(&|r| r.price = Price::from_raw(1004)), OrderType::PostOnly), Reason::PostOnlyWouldCross),
        (in_force(of_type(good, OrderType::PostOnly), TimeInForce::ImmediateOrCancel), Reason::Malformed),
        (in_force(good, TimeInForce::FillOrKill), Reason::FillOrKill),
        (about(&good, RequestKind::Cancel, 0, 0), Reason::UnknownOrder),
        (about(&good, RequestKind::Replace, 1000, 100), Reason::UnknownOrder),
    ] {
        assert_eq!(desk.refused(&request), reason, "{request:?}");
    }
    assert_eq!(said(&desk.send(&good)), [(NEW, NONE, 0, 0, 100)]);
    assert_eq!(desk.refused(&good), Reason::DuplicateClientId);
}

#[test]
fn without_a_good_book_nothing_new_is_taken_and_cancels_are() {
    let mut desk = Desk::new(&config());
    let order = desk.order(Side::Buy, 1000, 100);
    assert_eq!(desk.refused(&order), Reason::NoBook);
    desk.show(&[(1000, 50)], &[(1004, 50)]);
    assert_eq!(said(&desk.send(&order)), [(NEW, NONE, 0, 0, 100)]);
    desk.show_as(BookQuality::Gapped, &[(1000, 50)], &[(1004, 50)]);
    let other = desk.order(Side::Buy, 1000, 100);
    assert_eq!(desk.refused(&other), Reason::BookNotGood);
    assert_eq!(desk.refused(&about(&order, RequestKind::Replace, 998, 100)), Reason::BookNotGood);
    let cancelled = desk.send(&about(&order, RequestKind::Cancel, 0, 0));
    assert_eq!(said(&cancelled), [(ExecType::Canceled, NONE, 0, 0, 0)]);
    assert_eq!(cancelled[0].request_id, order.request_id + 1_000);
}

#[test]
fn one_side_alone_gives_market_orders_nothing() {
    let mut desk = Desk::new(&config());
    desk.show(&[(1000, 50)], &[]);
    let order = desk.order(Side::Buy, 1000, 100);
    assert_eq!(desk.refused(&of_type(order, OrderType::Market)), Reason::NoLiquidity);
}

#[test]
fn the_table_of_open_orders_is_finite() {
    let mut desk = Desk::ready(&config());
    for _ in 0..8 {
        let order = desk.order(Side::Buy, 990, 5);
        assert_eq!(said(&desk.send(&order)), [(NEW, NONE, 0, 0, 5)]);
    }
    let ninth = desk.order(Side::Buy, 990, 5);
    assert_eq!(desk.refused(&ninth), Reason::TooManyOrders);
    let at_once = in_force(desk.order(Side::Buy, 1004, 5), TimeInForce::ImmediateOrCancel);
    assert_eq!(said(&desk.send(&at_once)), [(NEW, NONE, 0, 0, 5), (TRADE, NONE, 1004, 5, 0)], "it needs no place");
}

#[test]
fn takers_walk_the_levels_and_the_rest_does_what_it_says() {
    let market = |desk: &mut Desk, qty| of_type(desk.order(Side::Buy, 0, qty), OrderType::Market);
    let mut desk = Desk::ready(&config());
    let order = market(&mut desk, 200);
    let walked = [(NEW, NONE, 0, 0, 200), (TRADE, NONE, 1004, 50, 150), (TRADE, NONE, 1006, 100, 50)];
    let reports = desk.send(&order);
    assert_eq!(said(&reports)[..3], walked);
    assert_eq!(said(&reports)[3], (EXPIRED, Reason::NoLiquidity, 0, 0, 0), "beyond the levels nothing is known");
    assert_eq!((desk.position(0), desk.exchange.open_orders().count()), (150, 0));
    // 100.4 x 0.050 at 0.05 %, then 100.6 x 0.100.
    assert_eq!([reports[1].fee, reports[2].fee], [2_510, 5_030]);
    assert!(reports[1..3].iter().all(|r| r.liquidity == Liquidity::Taker as u8 && r.execution().is_some()));

    let mut desk = Desk::ready(&config());
    let order = in_force(desk.order(Side::Buy, 1004, 60), TimeInForce::ImmediateOrCancel);
    let rest = (EXPIRED, Reason::ImmediateOrCancel, 0, 0, 0);
    assert_eq!(said(&desk.send(&order)), [(NEW, NONE, 0, 0, 60), (TRADE, NONE, 1004, 50, 10), rest]);

    let mut desk = Desk::ready(&config());
    let order = in_force(desk.order(Side::Sell, 998, 155), TimeInForce::FillOrKill);
    assert_eq!(desk.refused(&order), Reason::FillOrKill);
    let order = in_force(desk.order(Side::Sell, 998, 150), TimeInForce::FillOrKill);
    let both = [(NEW, NONE, 0, 0, 150), (TRADE, NONE, 1000, 50, 100), (TRADE, NONE, 998, 100, 0)];
    assert_eq!(said(&desk.send(&order)), both);

    let mut desk = Desk::ready(&config());
    let order = desk.order(Side::Buy, 1004, 60);
    assert_eq!(said(&desk.send(&order))[1..], [(TRADE, NONE, 1004, 50, 10)]);
    assert_eq!(desk.ahead(order.client_id), Some(0), "alone at a better price than all bids");
}

#[test]
fn what_was_taken_is_not_offered_again_until_the_level_traded() {
    let mut desk = Desk::ready(&config());
    let buy = |desk: &mut Desk| {
        let order = in_force(desk.order(Side::Buy, 1004, 50), TimeInForce::ImmediateOrCancel);
        let reports = desk.send(&order);
        reports.iter().map(|report| report.last_qty.raw()).sum::<i64>()
    };
    assert_eq!((buy(&mut desk), buy(&mut desk)), (50, 0));
    desk.show(&[(1000, 50)], &[(1004, 50)]);
    assert_eq!(buy(&mut desk), 0, "the same level");
    desk.show(&[(1000, 50)], &[(1004, 30)]);
    desk.show(&[(1000, 50)], &[(1004, 60)]);
    assert_eq!(buy(&mut desk), 30, "30 came anew; of the first 50 it still counts 30");
    desk.show(&[(1000, 50)], &[(1006, 60)]);
    desk.show(&[(1000, 50)], &[(1004, 60)]);
    assert_eq!(buy(&mut desk), 50, "a level that was gone is another one");
    let mut desk = Desk::ready(&PaperConfig { consume: false, ..config() });
    assert_eq!((buy(&mut desk), buy(&mut desk)), (50, 50));
}

#[test]
fn only_known_levels_are_walked() {
    let mut desk = Desk::new(&PaperConfig { depth: 2, ..config() });
    desk.show(&[(1000, 5), (998, 5), (996, 500)], &[(1004, 5), (1006, 5), (1008, 500)]);
    let order = of_type(desk.order(Side::Sell, 0, 50), OrderType::Market);
    let sold: i64 = desk.send(&order).iter().map(|report| report.last_qty.raw()).sum();
    assert_eq!(sold, 10);
}

#[test]
fn requests_and_reports_take_their_time_and_keep_their_order() {
    let latency = LatencyConfig { entry_us: 1_000, response_us: 3_000, ..LatencyConfig::default() };
    let mut desk = Desk::ready(&PaperConfig { latency, ..config() });
    let start = desk.now;
    let order = desk.order(Side::Buy, 1004, 50);
    assert_eq!(desk.send(&order), []);
    assert_eq!(desk.exchange.next_ns(), start + MS);
    desk.exchange.advance(start + MS - 1);
    assert_eq!(desk.exchange.counters().requests, 0);
    // The level is gone before the order is there.
    let (bids, asks) = (levels(&[(1000, 50)]), levels(&[(1006, 50)]));
    let top = BookTop { quality: BookQuality::Good, venue_ns: 0, bids: &bids, asks: &asks };
    desk.exchange.book(BTC, start + MS - 1, top);
    desk.exchange.advance(start + 4 * MS - 1);
    assert_eq!(desk.reports(), []);
    desk.exchange.advance(start + 4 * MS);
    let reports = desk.reports();
    assert_eq!(said(&reports), [(NEW, NONE, 0, 0, 50)]);
    assert_eq!((reports[0].venue_ns, reports[0].event_ns), (start + MS, start + 4 * MS));
}

#[test]
fn orders_expire_at_their_time_and_not_later() {
    let mut desk = Desk::ready(&config());
    let until =
        |order: OrderRequest, expires_ns| in_force(OrderRequest { expires_ns, ..order }, TimeInForce::GoodTillDate);
    let (late, early) = (desk.now + 9 * MS, desk.now + 5 * MS);
    for expires_ns in [late, early] {
        let order = until(desk.order(Side::Buy, 1000, 50), expires_ns);
        desk.send(&order);
    }
    desk.exchange.advance(early - 1);
    assert_eq!(desk.exchange.open_orders().count(), 2);
    desk.now = late + MS;
    desk.exchange.advance(desk.now);
    let reports = desk.reports();
    assert_eq!(said(&reports), [(EXPIRED, Reason::GoodTillDate, 0, 0, 0); 2]);
    assert_eq!([reports[0].venue_ns, reports[1].venue_ns], [early, late]);
}

#[test]
fn at_one_time_orders_expire_before_requests_arrive() {
    let latency = LatencyConfig { entry_us: 1_000, response_us: 0, ..LatencyConfig::default() };
    let mut desk = Desk::ready(&PaperConfig { latency, ..config() });
    let order = in_force(desk.order(Side::Buy, 1000, 50), TimeInForce::GoodTillDate);
    let order = OrderRequest { expires_ns: desk.now + 2 * MS, ..order };
    desk.exchange.submit(desk.now, &order).expect("room");
    desk.exchange.submit(desk.now + MS, &about(&order, RequestKind::Cancel, 0, 0)).expect("room");
    desk.exchange.advance(desk.now + 2 * MS);
    let expected =
        [(EXPIRED, Reason::GoodTillDate, 0, 0, 0), (ExecType::CancelRejected, Reason::UnknownOrder, 0, 0, 0)];
    assert_eq!(said(&desk.reports())[1..], expected);
}

#[test]
fn replacements_keep_or_lose_their_place() {
    let mut desk = Desk::with(QueueModel::RiskAverse);
    let order = desk.order(Side::Buy, 1000, 50);
    desk.send(&order);
    desk.sold(1000, 20);
    let ahead = |desk: &Desk| desk.ahead(order.client_id);
    assert_eq!(ahead(&desk), Some(30));
    let replace = |price, qty| about(&order, RequestKind::Replace, price, qty);
    assert_eq!(said(&desk.send(&replace(1000, 40))), [(ExecType::Replaced, NONE, 0, 0, 40)]);
    assert_eq!(ahead(&desk), Some(30), "less at the same price");
    desk.send(&replace(1000, 45));
    assert_eq!(ahead(&desk), Some(30), "20 of the 50 that are shown have traded already");
    desk.show(&[(1000, 80)], &[(1004, 50)]);
    desk.send(&replace(1000, 50));
    assert_eq!(ahead(&desk), Some(80), "more at the same price is at the end");
    desk.send(&replace(998, 50));
    assert_eq!(ahead(&desk), Some(0), "nobody bids there now");
    assert_eq!(desk.refused(&replace(1001, 50)), Reason::OffTick);
    assert_eq!(desk.refused(&replace(1000, 0)), Reason::Amount);
    let reports = desk.send(&replace(1004, 55));
    assert_eq!(said(&reports), [(ExecType::Replaced, NONE, 0, 0, 55), (TRADE, NONE, 1004, 50, 5)]);
    assert_eq!(desk.refused(&replace(1004, 50)), Reason::BelowExecuted);
    let mut sold = replace(1000, 60);
    sold.side = Side::Sell as u8;
    assert_eq!(desk.refused(&sold), Reason::Malformed);
}

#[test]
fn a_post_only_order_that_is_moved_into_the_market_stays_where_it_was() {
    let mut desk = Desk::ready(&config());
    let order = of_type(desk.order(Side::Buy, 1000, 50), OrderType::PostOnly);
    assert_eq!(said(&desk.send(&order)), [(NEW, NONE, 0, 0, 50)]);
    let moved = about(&order, RequestKind::Replace, 1004, 50);
    assert_eq!(desk.refused(&moved), Reason::PostOnlyWouldCross);
    assert_eq!(
        said(&desk.send(&about(&order, RequestKind::Replace, 1002, 50))),
        [(ExecType::Replaced, NONE, 0, 0, 50)]
    );
}

#[test]
fn who_reads_no_reports_gets_no_more_executions_and_loses_none() {
    let small = PaperConfig { open_orders: 2, requests: 1, reports: 2 + 4 + 64, ..config() };
    let mut desk = Desk::ready(&small);
    let resting = desk.order(Side::Buy, 990, 5);
    desk.exchange.submit(desk.now, &resting).expect("room");
    let mut sent = 1;
    loop {
        let taker = in_force(desk.order(Side::Buy, 1006, 5), TimeInForce::ImmediateOrCancel);
        if desk.exchange.submit(desk.now, &taker).is_err() {
            break;
        }
        sent += 1;
        desk.exchange.advance(desk.now);
        assert!(sent < 100, "it must end");
    }
    let counters = desk.exchange.counters();
    assert_eq!(counters.requests, sent);
    let expired = about(&resting, RequestKind::Cancel, 0, 0);
    assert_eq!(desk.exchange.submit(desk.now, &expired), Err(crate::gateway::SubmitError::Busy));
    let reports = desk.reports();
    let executed: i64 = reports.iter().map(|report| report.last_qty.raw()).sum();
    assert_eq!((executed, desk.position(0)), (counters.taker_executions as i64 * 5, executed));
    assert!(reports.iter().map(|report| report.sequence).eq(1..=reports.len() as u64), "all are there, in order");
    assert_eq!(said(&desk.send(&expired)), [(ExecType::Canceled, NONE, 0, 0, 0)]);
}
