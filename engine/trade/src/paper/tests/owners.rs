//! Orders that meet orders: of the same owner and of others, and those that may only reduce.

use tidegate_wire::order::SelfTradeMode;

use super::*;

const NEW: ExecType = ExecType::New;
const TRADE: ExecType = ExecType::Trade;
const EXPIRED: ExecType = ExecType::Expired;
const RESTATED: ExecType = ExecType::Restated;
const NONE: Reason = Reason::None;
const SELF: Reason = Reason::SelfTrade;

fn with_mode(order: OrderRequest, mode: SelfTradeMode) -> OrderRequest {
    OrderRequest { self_trade: mode as u8, ..order }
}

/// A sell of 30 inside the spread at 1002, another of 40 at the best ask, and a buy of the same account that reaches
/// both.
fn meeting(mode: SelfTradeMode, qty: i64) -> (Desk, Vec<Said>) {
    let mut desk = Desk::ready(&config());
    for (price, qty) in [(1002, 30), (1004, 40)] {
        let sell = desk.order(Side::Sell, price, qty);
        desk.send(&sell);
    }
    let buy = with_mode(desk.order(Side::Buy, 1004, qty), mode);
    let reports = said(&desk.send(&buy));
    (desk, reports)
}

fn open(desk: &Desk) -> Vec<(Side, i64)> {
    desk.exchange.open_orders().map(|order| (order.side, order.leaves_qty.raw())).collect()
}

#[test]
fn every_mode_does_what_its_name_says() {
    let (desk, reports) = meeting(SelfTradeMode::ExpireTaker, 200);
    assert_eq!(reports, [(NEW, NONE, 0, 0, 200), (EXPIRED, SELF, 0, 0, 0)]);
    assert_eq!(open(&desk), [(Side::Sell, 30), (Side::Sell, 40)]);

    let (desk, reports) = meeting(SelfTradeMode::ExpireMaker, 200);
    let expired = (EXPIRED, SELF, 0, 0, 0);
    assert_eq!(reports, [(NEW, NONE, 0, 0, 200), expired, (TRADE, NONE, 1004, 50, 150), expired]);
    assert_eq!(open(&desk), [(Side::Buy, 150)]);

    let (desk, reports) = meeting(SelfTradeMode::ExpireBoth, 200);
    assert_eq!(reports, [(NEW, NONE, 0, 0, 200), expired, expired]);
    assert_eq!(open(&desk), [(Side::Sell, 40)]);

    let (desk, reports) = meeting(SelfTradeMode::Decrement, 20);
    assert_eq!(reports, [(NEW, NONE, 0, 0, 20), (RESTATED, SELF, 0, 0, 10), expired]);
    assert_eq!(open(&desk), [(Side::Sell, 10), (Side::Sell, 40)]);

    // 30 lost to the nearer one, 50 taken from the market ahead of the other, 40 lost to that.
    let (desk, reports) = meeting(SelfTradeMode::Decrement, 200);
    let taken = (TRADE, NONE, 1004, 50, 120);
    assert_eq!(reports, [(NEW, NONE, 0, 0, 200), expired, taken, expired, (RESTATED, SELF, 0, 0, 80)]);
    assert_eq!((open(&desk), desk.position(0)), (vec![(Side::Buy, 80)], 50));

    let (desk, reports) = meeting(SelfTradeMode::None, 200);
    let traded = |price, qty, left| (TRADE, NONE, price, qty, left);
    let own =
        [traded(1002, 30, 170), traded(1002, 30, 0), traded(1004, 50, 120), traded(1004, 40, 80), traded(1004, 40, 0)];
    assert_eq!((&reports[0], &reports[1..]), (&(NEW, NONE, 0, 0, 200), &own[..]));
    assert_eq!((open(&desk), desk.position(0)), (vec![(Side::Buy, 80)], 50), "with itself it gains nothing");
}

#[test]
fn other_accounts_trade_with_each_other() {
    let mut desk = Desk::ready(&config());
    let sell = OrderRequest { account: 1, ..desk.order(Side::Sell, 1002, 30) };
    desk.send(&sell);
    let post_only = of_type(desk.order(Side::Buy, 1002, 10), OrderType::PostOnly);
    assert_eq!(desk.refused(&post_only), Reason::PostOnlyWouldCross);
    let buy = with_mode(desk.order(Side::Buy, 1002, 10), SelfTradeMode::ExpireBoth);
    let reports = desk.send(&buy);
    assert_eq!(said(&reports)[1..], [(TRADE, NONE, 1002, 10, 0), (TRADE, NONE, 1002, 10, 20)]);
    assert_eq!([desk.position(0), desk.position(1)], [10, -10]);
    let sides = [Liquidity::Taker as u8, Liquidity::Maker as u8];
    assert_eq!([reports[1].liquidity, reports[2].liquidity], sides);
    let kill = in_force(desk.order(Side::Buy, 1002, 25), TimeInForce::FillOrKill);
    assert_eq!(desk.refused(&kill), Reason::FillOrKill);
    let fill = in_force(desk.order(Side::Buy, 1004, 25), TimeInForce::FillOrKill);
    assert_eq!(said(&desk.send(&fill)).len(), 4, "20 of the other account, 5 of the market");
}

#[test]
fn fill_or_kill_counts_its_own_orders_only_where_they_give_way() {
    for (mode, fills) in [
        (SelfTradeMode::None, true),
        (SelfTradeMode::ExpireTaker, false),
        (SelfTradeMode::ExpireMaker, true),
        (SelfTradeMode::ExpireBoth, false),
        (SelfTradeMode::Decrement, false),
    ] {
        let mut desk = Desk::ready(&config());
        let sell = desk.order(Side::Sell, 1002, 30);
        desk.send(&sell);
        let fill = with_mode(in_force(desk.order(Side::Buy, 1004, 50), TimeInForce::FillOrKill), mode);
        let reports = desk.send(&fill);
        let last = said(&reports).iter().map(|said| said.3).sum::<i64>() > 0;
        assert_eq!(last, fills, "{mode:?}");
    }
}

#[test]
fn the_quantity_ahead_of_an_own_order_goes_first() {
    let mut desk = Desk::ready(&config());
    let sell = OrderRequest { account: 1, ..desk.order(Side::Sell, 1004, 10) };
    desk.send(&sell);
    desk.show(&[(1000, 50)], &[(1004, 80)]);
    let buy = desk.order(Side::Buy, 1004, 70);
    let prices = said(&desk.send(&buy));
    let taken: Vec<_> = prices[1..].iter().map(|said| said.3).collect();
    assert_eq!(taken, [50, 10, 10, 10], "50 ahead, the order twice (once a side), and 10 behind it");
}

#[test]
fn reduce_only_orders_reduce_and_no_more() {
    let mut desk = Desk::ready(&config());
    let buy = in_force(desk.order(Side::Buy, 1004, 30), TimeInForce::ImmediateOrCancel);
    desk.send(&buy);
    let more = reduce_only(desk.order(Side::Buy, 1004, 30));
    assert_eq!(desk.refused(&more), Reason::ReduceOnly);
    let kill = in_force(reduce_only(desk.order(Side::Sell, 1000, 40)), TimeInForce::FillOrKill);
    assert_eq!(desk.refused(&kill), Reason::FillOrKill);
    let sell = reduce_only(desk.order(Side::Sell, 1000, 40));
    let reports = said(&desk.send(&sell));
    assert_eq!(reports[1..], [(TRADE, NONE, 1000, 30, 10), (EXPIRED, Reason::ReduceOnly, 0, 0, 0)]);
    assert_eq!(desk.position(0), 0);
}

#[test]
fn a_resting_reduce_only_order_ends_when_there_is_nothing_to_reduce() {
    let mut desk = Desk::ready(&config());
    let buy = in_force(desk.order(Side::Buy, 1004, 30), TimeInForce::ImmediateOrCancel);
    desk.send(&buy);
    let resting = reduce_only(desk.order(Side::Sell, 1006, 30));
    desk.send(&resting);
    let sell = in_force(desk.order(Side::Sell, 1000, 20), TimeInForce::ImmediateOrCancel);
    desk.send(&sell);
    assert_eq!(said(&desk.trade(1008, 500, false)), [(TRADE, NONE, 1006, 10, 20)]);
    assert_eq!(said(&desk.trade(1008, 500, false)), [(EXPIRED, Reason::ReduceOnly, 0, 0, 0)]);
    assert_eq!(desk.position(0), 0);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let error = |text: &str| {
        let config: Result<PaperConfig, _> = serde_json::from_str(text);
        config.map_err(|e| e.to_string()).and_then(|config| config.check().map_err(|e| e.to_string())).expect_err(text)
    };
    for (text, parts) in [
        (r#"{"accounts": 0}"#, &["accounts is 0", "1 to 1024"][..]),
        (r#"{"open_orders": 0}"#, &["open_orders is 0"]),
        (r#"{"requests": 2000000}"#, &["requests is 2000000", "1 to 1048576"]),
        (r#"{"reports": 100}"#, &["reports is 100", "expected 2112 to"]),
        (r#"{"depth": 21}"#, &["depth is 21", "1 to 20"]),
        (r#"{"pairing_ms": 60001}"#, &["pairing_ms is 60001", "0 to 60000"]),
        (r#"{"latency": {"entry_us": 60000001}}"#, &["latency.entry_us is 60000001", "0 to 60000000"]),
        (r#"{"fees": {"maker_ppm": -10001}}"#, &["fees.maker_ppm is -10001", "-10000 to 10000"]),
        (r#"{"min_notional": "-1"}"#, &["min_notional is -1", "at least 0"]),
        (r#"{"min_notional": "0.0000001"}"#, &["min_notional", "at most 6 decimals"]),
        (r#"{"queue": {"power": 0.0}}"#, &["queue.power is 0", "above 0 to 16"]),
        (r#"{"queue": "fifo"}"#, &["fifo", "risk-averse"]),
        (r#"{"latncy": {}}"#, &["latncy"]),
    ] {
        let message = error(text);
        assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
    }
    let good = PaperConfig { queue: QueueModel::Power(2.5), ..config() };
    let text = serde_json::to_string(&good).expect("JSON");
    assert_eq!(serde_json::from_str::<PaperConfig>(&text).expect("the same"), good);
    assert!(PaperConfig::default().check().is_ok());
    let schema = schemars::schema_for!(PaperConfig);
    assert!(schema.get("properties").is_some_and(|properties| properties.get("latency").is_some()), "{schema:?}");
    assert_eq!(Desk::ready(&config()).exchange.position(0, SPOT), None, "another venue's");
}
