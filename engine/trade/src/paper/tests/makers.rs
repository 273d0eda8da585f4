//! Resting orders: when they execute, and how far they have come.

use super::*;

const TRADE: ExecType = ExecType::Trade;
const NONE: Reason = Reason::None;

/// An order of 20 behind 50 at the best bid.
fn resting(queue: QueueModel) -> (Desk, OrderRequest) {
    let mut desk = Desk::with(queue);
    let order = desk.order(Side::Buy, 1000, 20);
    desk.send(&order);
    (desk, order)
}

#[test]
fn trades_at_the_price_come_to_the_order_after_what_is_ahead() {
    let (mut desk, order) = resting(QueueModel::RiskAverse);
    assert_eq!(desk.sold(1000, 50), [], "all of it was ahead");
    assert_eq!(desk.ahead(order.client_id), Some(0));
    let reports = desk.sold(1000, 15);
    assert_eq!(said(&reports), [(TRADE, NONE, 1000, 15, 5)]);
    // 100.0 x 0.015 at 0.02 %.
    assert_eq!((reports[0].fee, reports[0].liquidity), (300, Liquidity::Maker as u8));
    assert_eq!(said(&desk.sold(1000, 15)), [(TRADE, NONE, 1000, 5, 0)]);
    assert_eq!((desk.position(0), desk.exchange.open_orders().count()), (20, 0));
}

#[test]
fn one_trade_reaches_past_what_is_ahead() {
    let (mut desk, _) = resting(QueueModel::RiskAverse);
    assert_eq!(said(&desk.sold(1000, 60)), [(TRADE, NONE, 1000, 10, 10)]);
}

#[test]
fn buyers_do_not_execute_bids() {
    let (mut desk, order) = resting(QueueModel::RiskAverse);
    assert_eq!(desk.trade(1000, 500, false), []);
    assert_eq!(desk.trade(1004, 500, false), []);
    assert_eq!(desk.ahead(order.client_id), Some(50));
}

#[test]
fn a_trade_through_the_price_executes_as_much_as_was_traded() {
    for sell in [true, false] {
        let (mut desk, _) = resting(QueueModel::RiskAverse);
        assert_eq!(said(&desk.trade(998, 15, sell)), [(TRADE, NONE, 1000, 15, 5)], "at its own price");
        assert_eq!(said(&desk.sold(1000, 1)), [(TRADE, NONE, 1000, 1, 4)], "nobody is ahead any more");
    }
}

#[test]
fn a_book_that_crosses_executes_as_much_as_it_offers_once() {
    let (mut desk, _) = resting(QueueModel::RiskAverse);
    desk.show(&[(996, 50)], &[(1000, 10), (1002, 50)]);
    assert_eq!(said(&desk.reports()), [(TRADE, NONE, 1000, 10, 10)]);
    desk.show(&[(996, 50)], &[(1000, 10), (1002, 50)]);
    assert_eq!(desk.reports(), [], "the same offer");
    desk.show(&[(996, 50)], &[(998, 5), (1000, 14), (1002, 50)]);
    assert_eq!(said(&desk.reports()), [(TRADE, NONE, 1000, 5, 5), (TRADE, NONE, 1000, 4, 1)], "what came anew");
}

#[test]
fn without_memory_an_offer_counts_once_a_book() {
    let mut desk = Desk::ready(&PaperConfig { consume: false, ..config() });
    let order = desk.order(Side::Buy, 1000, 30);
    desk.send(&order);
    for left in [20, 10] {
        desk.show(&[(996, 50)], &[(1000, 10), (1002, 50)]);
        assert_eq!(said(&desk.reports()), [(TRADE, NONE, 1000, 10, left)]);
    }
}

#[test]
fn orders_execute_by_price_and_time_and_share_one_trade() {
    let mut desk = Desk::with(QueueModel::RiskAverse);
    let behind = desk.order(Side::Buy, 1000, 20);
    let better = desk.order(Side::Buy, 1002, 20);
    let last = desk.order(Side::Buy, 1000, 20);
    for order in [&behind, &better, &last] {
        desk.send(order);
    }
    let ids = |reports: &[Report]| reports.iter().map(|r| (r.client_id, r.last_qty.raw())).collect::<Vec<_>>();
    assert_eq!(ids(&desk.sold(1000, 15)), [(better.client_id, 15)]);
    assert_eq!([desk.ahead(behind.client_id), desk.ahead(last.client_id)], [Some(35); 2]);
    let reports = desk.sold(1000, 65);
    assert_eq!(ids(&reports), [(better.client_id, 5), (behind.client_id, 20), (last.client_id, 5)]);
}

#[test]
fn a_bad_book_fills_nobody_and_what_was_missed_is_counted() {
    for quality in [BookQuality::Building, BookQuality::Gapped, BookQuality::Stale, BookQuality::Crossed] {
        let (mut desk, order) = resting(QueueModel::Optimistic);
        desk.show_as(quality, &[(996, 50)], &[(998, 50)]);
        assert_eq!(desk.sold(1000, 500), []);
        assert_eq!(desk.sold(990, 500), []);
        assert_eq!(desk.reports(), []);
        let counters = desk.exchange.counters();
        assert_eq!((counters.missed_books, counters.missed_trades), (1, 2));
        // Back: it has its place, but no more than rests there.
        desk.show(&[(1000, 60)], &[(1004, 50)]);
        assert_eq!(desk.ahead(order.client_id), Some(50));
        desk.show_as(quality, &[], &[]);
        desk.show(&[(1000, 30)], &[(1004, 50)]);
        assert_eq!(desk.ahead(order.client_id), Some(30));
    }
}

#[test]
fn a_crossed_book_is_bad_although_it_says_good() {
    let (mut desk, _) = resting(QueueModel::RiskAverse);
    desk.show(&[(1000, 50)], &[(1000, 50)]);
    assert_eq!((desk.reports(), desk.exchange.counters().missed_books), (vec![], 1));
}

#[test]
fn beyond_the_known_levels_the_place_is_not_known_until_they_show() {
    let mut desk = Desk::new(&PaperConfig { depth: 2, ..config() });
    desk.show(&[(1000, 50), (998, 100)], &[(1004, 50), (1006, 100)]);
    let order = desk.order(Side::Buy, 990, 20);
    desk.send(&order);
    assert_eq!(desk.ahead(order.client_id), None);
    assert_eq!(desk.sold(990, 1_000), [], "who knows what is ahead");
    desk.show(&[(992, 10), (990, 70)], &[(1004, 50), (1006, 100)]);
    assert_eq!(desk.ahead(order.client_id), Some(70));
}

#[test]
fn cancellations_move_the_order_as_its_model_says() {
    for (model, expected) in [
        (QueueModel::RiskAverse, 50),
        (QueueModel::Proportional, 35),
        (QueueModel::Power(1.0), 35),
        // 2500 of 2500 + 2500 at first.
        (QueueModel::Power(2.0), 35),
        (QueueModel::Logarithmic, 35),
        (QueueModel::Optimistic, 20),
    ] {
        let (mut desk, order) = resting(model);
        desk.show(&[(1000, 100)], &[(1004, 50)]);
        assert_eq!(desk.ahead(order.client_id), Some(50), "who comes is behind");
        desk.show(&[(1000, 70)], &[(1004, 50)]);
        assert_eq!(desk.ahead(order.client_id), Some(expected), "{model:?}: half is ahead");
    }
    let (mut desk, order) = resting(QueueModel::RiskAverse);
    desk.show(&[(1000, 100)], &[(1004, 50)]);
    desk.show(&[(1000, 30)], &[(1004, 50)]);
    assert_eq!(desk.ahead(order.client_id), Some(30), "nobody is ahead who is not there");
    desk.show(&[(998, 30)], &[(1004, 50)]);
    assert_eq!(desk.ahead(order.client_id), Some(0));
}

#[test]
fn models_share_a_cancellation_as_they_are_defined() {
    let ahead = |model: QueueModel, front, back, cancelled| model.ahead(front, back, cancelled, 5);
    // ln(1 + 20) / (ln(1 + 20) + ln(1 + 4)) = 0.654; 400 / (400 + 16) = 0.9615.
    assert_eq!(ahead(QueueModel::Logarithmic, 100, 20, 10), 6);
    assert_eq!(ahead(QueueModel::Power(2.0), 100, 20, 10), 9);
    assert_eq!(ahead(QueueModel::Proportional, 100, 20, 12), 10);
    for model in [QueueModel::RiskAverse, QueueModel::Proportional, QueueModel::Power(0.5), QueueModel::Logarithmic] {
        assert_eq!(ahead(model, 0, 20, 10), 0, "{model:?}: nobody is ahead");
        assert_eq!(ahead(model, 20, 0, 10), 10, "{model:?}: nobody is behind");
        assert_eq!(ahead(model, 20, 4, 24), 20, "{model:?}: everybody left");
        assert!((6..=10).contains(&ahead(model, 20, 4, 10)), "{model:?}: six of ten must have been ahead");
    }
    let large = tidegate_wire::decimal::MANTISSA_MAX;
    for model in [QueueModel::Power(16.0), QueueModel::Power(0.01), QueueModel::Logarithmic, QueueModel::Proportional] {
        assert!((0..=large).contains(&ahead(model, large, 1, large)), "{model:?}");
        assert!((0..=1).contains(&ahead(model, 1, large, large)), "{model:?}");
    }
}

const RULES: QueueRules = QueueRules { model: QueueModel::Proportional, lot: 1, pairing_ns: 1_000, slack_ns: 0 };

fn at(event_ns: i64, venue_ns: i64) -> Stamps {
    Stamps { event_ns, venue_ns }
}

/// Behind 60, with 40 come behind since; seen at 1, stamped 100.
fn queue() -> Queue {
    let mut queue = Queue::join(Some(60), at(0, 90), 0, Stamps::default());
    queue.see(&RULES, at(1, 100), 100);
    queue
}

#[test]
fn a_trade_and_the_change_that_reports_it_count_once_in_either_order() {
    for (stamp, before) in [(0, 0), (150, 100)] {
        let mut trade_first = queue();
        assert_eq!(trade_first.trade(&RULES, at(2, stamp), 30), 0);
        trade_first.see(&RULES, at(3, if stamp > 0 { stamp } else { 0 }), 70);
        assert_eq!(trade_first.ahead(), 30, "30 of 60 traded, nobody cancelled");

        let mut change_first = queue();
        change_first.see(&RULES, at(2, stamp), 70);
        assert_eq!(change_first.ahead(), 42, "18 of 30 cancelled, as far as anybody knows");
        assert_eq!(change_first.trade(&RULES, at(3, stamp), 30), 0);
        assert_eq!(change_first.ahead(), 30, "stamp {stamp}, {before} before");
    }
}

#[test]
fn a_trade_that_explains_a_part_takes_back_that_part() {
    let mut queue = queue();
    queue.see(&RULES, at(2, 0), 70);
    // 18 places were for 30; 10 of these traded: 6 places back, 10 on.
    assert_eq!((queue.trade(&RULES, at(3, 0), 10), queue.ahead()), (0, 38));
    assert_eq!((queue.trade(&RULES, at(4, 0), 30), queue.ahead()), (0, 20), "20 explained, 10 to be seen");
    queue.see(&RULES, at(5, 0), 60);
    assert_eq!(queue.ahead(), 20, "they are seen");
}

#[test]
fn stamps_tell_what_is_in_a_level() {
    let mut later = queue();
    later.see(&RULES, at(2, 110), 70);
    assert_eq!(later.trade(&RULES, at(3, 111), 20), 0);
    assert_eq!(later.ahead(), 22, "18 cancelled and 20 traded after that");
    later.see(&RULES, at(4, 112), 50);
    assert_eq!(later.ahead(), 22);
    let mut earlier = queue();
    assert_eq!((earlier.trade(&RULES, at(2, 99), 20), earlier.ahead()), (0, 40));
    earlier.see(&RULES, at(3, 113), 60);
    assert!(earlier.ahead() < 40, "it was in the level before: the change is of something else");
    let mut masked = queue();
    assert_eq!((masked.trade(&RULES, at(2, 105), 20), masked.ahead()), (0, 40));
    masked.see(&RULES, at(3, 106), 100);
    masked.see(&RULES, at(4, 107), 80);
    assert!(masked.ahead() < 40, "others came in its place, and this is a cancellation");
}

#[test]
fn what_is_never_told_is_forgotten() {
    let mut queue = queue();
    queue.see(&RULES, at(2, 0), 70);
    assert_eq!((queue.trade(&RULES, at(2_000, 0), 10), queue.ahead()), (0, 32), "too late to explain anything");
    queue.see(&RULES, at(4_000, 0), 60);
    assert!(queue.ahead() < 32, "too late to be the trade");
}

#[test]
fn a_trade_that_was_printed_before_the_order_came_is_not_counted_for_it() {
    let mut desk = Desk::with(QueueModel::Optimistic);
    desk.sold(1000, 20);
    let order = desk.order(Side::Buy, 1000, 20);
    desk.send(&order);
    assert_eq!(desk.ahead(order.client_id), Some(30), "20 of the 50 are gone");
    desk.show(&[(1000, 30)], &[(1004, 50)]);
    assert_eq!(desk.ahead(order.client_id), Some(30), "and this says so");
}
