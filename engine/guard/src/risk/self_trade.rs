//! What self-trade prevention does to resting orders of the same owner.
//!
//! The gate stands before the venue, so its prevention does not depend on the venue's: an order that could meet one of
//! its owner's is not sent before the resting order has been dealt with. The taker's mode governs:
//!
//! | mode | taker | resting orders |
//! |---|---|---|
//! | `NONE` | sent | stay |
//! | `EXPIRE_TAKER` | refused | stay |
//! | `EXPIRE_MAKER` | sent afterwards | expire |
//! | `EXPIRE_BOTH` | refused | expire |
//! | `DECREMENT` | sent with what is left, afterwards; refused when nothing is | lose the same quantity, in order of price and time |
//! | `TRANSFER` | as `DECREMENT` on one account; between two of a trade group the quantity moves from one to the other | the same |
//!
//! Whoever gets a verdict with [`self_trade_actions`](tidegate_wire::order::Verdict::self_trade_actions) above zero
//! carries out [`RiskGate::self_trade_actions`](super::RiskGate::self_trade_actions) first and reports each, then sends
//! the allowed quantity. Until they are reported, resting orders count with their whole quantity against every limit:
//! they may still execute against others.

use tidegate_wire::order::{SelfTradeMode, Side};
use tidegate_wire::{InstrumentId, Price, Qty};

use super::candidate::Candidate;
use super::orders::{Open, crosses};
use super::state::State;

/// Resting orders that one order may meet.
pub const ACTIONS_MAX: usize = 32;

/// What happens to a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTradeKind {
    /// It is cancelled.
    Expire,
    /// It loses a quantity.
    Decrement,
    /// It loses a quantity, which moves between the two accounts at the resting order's price.
    Transfer,
}

/// One resting order to be dealt with before the taker is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTradeAction {
    /// What happens.
    pub kind: SelfTradeKind,
    /// Account of the resting order.
    pub account: u16,
    /// Its client order id.
    pub client_id: u64,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// Quantity it loses; for [`SelfTradeKind::Expire`] all that is left of it.
    pub qty: Qty,
    /// Account of the taker.
    pub taker_account: u16,
    /// Client order id of the taker.
    pub taker_client_id: u64,
}

/// Actions of the last verdict.
#[derive(Debug)]
pub(crate) struct Actions {
    /// Room for [`ACTIONS_MAX`]; never more.
    list: Vec<SelfTradeAction>,
}

impl Clone for Actions {
    /// With the same room: the copy of a list alone would have as much as it holds.
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        copy.list.extend_from_slice(&self.list);
        copy
    }
}

impl Actions {
    pub(crate) fn new() -> Self {
        Self { list: Vec::with_capacity(ACTIONS_MAX) }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn as_slice(&self) -> &[SelfTradeAction] {
        &self.list
    }

    /// Works out what an order's prevention does, marks the resting orders, and gives the quantity that the taker
    /// loses to decrements and the part of it that moves between accounts.
    #[cold]
    #[inline(never)]
    pub(crate) fn plan(&mut self, state: &mut State, c: &Candidate<'_>) -> Prevented {
        let (instrument, other) = (c.decoded.who.instrument, c.decoded.side.opposite());
        let group = state.groups[usize::from(c.decoded.who.account)];
        let reach = c.reach();
        let mut prevented = Prevented::default();
        loop {
            // The list is short and walked once for each action: price first, then time, as the venue would.
            let mine = |order: &Open| {
                order.is_of_owner(c.decoded.who.account, group)
                    && order.available() > 0
                    && crosses(c.decoded.side, reach, order.price)
            };
            let priority = |order: &Open| match other {
                Side::Sell => (order.price, order.number),
                Side::Buy => (-order.price, order.number),
            };
            let resting = state.open.resting(instrument, other).filter(|(_, order)| mine(order));
            let Some((place, _)) = resting.min_by_key(|(_, order)| priority(order)) else { break };
            let left = c.qty - prevented.taken;
            if left <= 0 || self.list.len() == ACTIONS_MAX {
                break;
            }
            let order = state.open.get_mut(place);
            let (kind, qty) = match c.decoded.self_trade {
                SelfTradeMode::Decrement | SelfTradeMode::Transfer => {
                    let moves =
                        c.decoded.self_trade == SelfTradeMode::Transfer && order.who.account != c.decoded.who.account;
                    let qty = order.available().min(left);
                    prevented.taken += qty;
                    prevented.moved += if moves { qty } else { 0 };
                    (if moves { SelfTradeKind::Transfer } else { SelfTradeKind::Decrement }, qty)
                }
                _ => (SelfTradeKind::Expire, order.available()),
            };
            order.prevented += qty;
            self.list.push(SelfTradeAction {
                kind,
                account: order.who.account,
                client_id: order.client_id,
                instrument: InstrumentId(instrument),
                side: other,
                price: Price::from_raw(order.terms.price),
                qty: Qty::from_raw(qty),
                taker_account: c.decoded.who.account,
                taker_client_id: c.request.client_id,
            });
        }
        prevented
    }
}

/// What a taker loses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prevented {
    /// Quantity it may not send.
    pub(crate) taken: i64,
    /// Of this, quantity that moves between accounts.
    pub(crate) moved: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::testing::*;

    const MODES: [SelfTradeMode; 6] = [
        SelfTradeMode::None,
        SelfTradeMode::ExpireTaker,
        SelfTradeMode::ExpireMaker,
        SelfTradeMode::ExpireBoth,
        SelfTradeMode::Decrement,
        SelfTradeMode::Transfer,
    ];

    fn with_mode(order: OrderRequest, mode: SelfTradeMode) -> OrderRequest {
        OrderRequest { self_trade: mode as u8, ..order }
    }

    /// Two resting sells of 30 and 50 lots, one by each account of the group; the nearer one is the other account's.
    fn desk() -> (Desk, OrderRequest, OrderRequest) {
        let mut desk = Desk::new("");
        let far = desk.sell(PRICE + 2 * TICK, 50 * LOT);
        let near = OrderRequest { account: 1, ..desk.sell(PRICE + TICK, 30 * LOT) };
        desk.accepts(&far);
        desk.accepts(&near);
        (desk, near, far)
    }

    #[test]
    fn every_mode_does_what_its_name_says() {
        for mode in MODES {
            let (mut desk, near, far) = desk();
            let taker = with_mode(desk.buy(PRICE + 2 * TICK, 60 * LOT), mode);
            let verdict = desk.send(&taker);
            let kinds: Vec<_> =
                desk.gate.self_trade_actions().iter().map(|a| (a.kind, a.client_id, a.qty.raw() / LOT)).collect();
            let allowed = verdict.allowed_qty.raw() / LOT;
            let both = |kind| vec![(kind, near.client_id, 30), (kind, far.client_id, 50)];
            let (accepted, sent, actions) = match mode {
                SelfTradeMode::None => (true, 60, vec![]),
                SelfTradeMode::ExpireTaker => (false, 0, vec![]),
                SelfTradeMode::ExpireMaker => (true, 60, both(SelfTradeKind::Expire)),
                SelfTradeMode::ExpireBoth => (false, 0, both(SelfTradeKind::Expire)),
                SelfTradeMode::Decrement => (
                    false,
                    0,
                    vec![(SelfTradeKind::Decrement, near.client_id, 30), (SelfTradeKind::Decrement, far.client_id, 30)],
                ),
                SelfTradeMode::Transfer => (
                    true,
                    0,
                    vec![(SelfTradeKind::Transfer, near.client_id, 30), (SelfTradeKind::Decrement, far.client_id, 30)],
                ),
            };
            assert_eq!((verdict.is_accepted(), allowed, &kinds), (accepted, sent, &actions), "{mode:?}");
            assert_eq!(usize::from(verdict.self_trade_actions), actions.len());
            if !accepted {
                assert_eq!((rule_of(&verdict), verdict.measured), ("self_trade", 80 * LOT));
            }
        }
    }

    #[test]
    fn nobody_else_and_no_price_that_does_not_cross() {
        let (mut desk, ..) = desk();
        let below = with_mode(desk.buy(PRICE, LOT), SelfTradeMode::ExpireTaker);
        desk.accepts(&below);
        let near_only = with_mode(desk.buy(PRICE + TICK, LOT), SelfTradeMode::ExpireTaker);
        desk.refuses(&near_only, "self_trade", 30 * LOT, 0);
        let market = OrderRequest { order_type: OrderType::Market as u8, price: Price::ZERO, ..near_only };
        desk.refuses(&market, "self_trade", 80 * LOT, 0);
        // The stranger's account has no group: only its own orders count.
        let eth = |order: OrderRequest, account| OrderRequest {
            account,
            strategy: 1,
            instrument: InstrumentId(1),
            ..with_mode(order, SelfTradeMode::ExpireTaker)
        };
        let theirs = eth(desk.sell(PRICE, LOT), 2);
        desk.accepts(&theirs);
        let ours = eth(desk.buy(PRICE, LOT), 0);
        desk.accepts(&ours);
        let own = eth(desk.buy(PRICE, LOT), 2);
        desk.refuses(&own, "self_trade", LOT, 0);
    }

    #[test]
    fn a_transfer_moves_positions_without_an_execution() {
        let (mut desk, near, far) = desk();
        let taker = with_mode(desk.buy(PRICE + TICK, 40 * LOT), SelfTradeMode::Transfer);
        let verdict = desk.accepts(&taker);
        assert_eq!(verdict.allowed_qty.raw(), 10 * LOT);
        let open = |desk: &Desk, client_id| {
            let orders = desk.gate.open_orders(LimitScope::Firm, 0);
            orders.filter(|o| o.cancel.client_id == client_id).map(|o| o.remaining.raw() / LOT).sum::<i64>()
        };
        assert_eq!((open(&desk, taker.client_id), open(&desk, near.client_id)), (40, 30), "counted until it has moved");
        let actions = desk.gate.self_trade_actions().to_vec();
        actions.iter().for_each(|action| desk.gate.on_prevented(action));
        assert_eq!(
            (open(&desk, taker.client_id), open(&desk, near.client_id), open(&desk, far.client_id)),
            (10, 0, 50)
        );
        let position = |desk: &Desk, account| desk.gate.position(account, InstrumentId(0)).expect("known").raw() / LOT;
        assert_eq!((position(&desk, 0), position(&desk, 1)), (30, -30));
        assert_eq!(desk.gate.counters().executions, 0);
    }

    #[test]
    fn more_than_can_be_dealt_with_stays_at_home() {
        let mut desk = Desk::new("");
        for _ in 0..=ACTIONS_MAX {
            let sell = desk.sell(PRICE + TICK, LOT);
            desk.accepts(&sell);
        }
        let taker = with_mode(desk.buy(PRICE + TICK, LOT), SelfTradeMode::ExpireMaker);
        desk.refuses(&taker, "self_trade", (ACTIONS_MAX as i64 + 1) * LOT, 0);
        assert!(desk.gate.self_trade_actions().is_empty());
    }

    #[test]
    fn a_replacement_that_stays_at_home_changes_nobody() {
        for mode in [SelfTradeMode::ExpireBoth, SelfTradeMode::Decrement] {
            let (mut desk, ..) = desk();
            let order = with_mode(desk.buy(PRICE, 10 * LOT), mode);
            desk.accepts(&order);
            desk.refuses(&replace(&order, PRICE + TICK, 10 * LOT), "self_trade", 30 * LOT, 0);
            assert!(desk.gate.self_trade_actions().is_empty());
            desk.accepts(&replace(&order, PRICE - TICK, 10 * LOT));
        }
    }

    #[test]
    fn a_transfer_to_a_taker_that_has_ended_moves_nothing() {
        let (mut desk, near, _) = desk();
        let taker = with_mode(desk.buy(PRICE + TICK, 10 * LOT), SelfTradeMode::Transfer);
        desk.accepts(&taker);
        let action = desk.gate.self_trade_actions()[0];
        desk.gate.on_cancelled(taker.account, taker.client_id);
        desk.gate.on_prevented(&action);
        let position = |account| desk.gate.position(account, InstrumentId(0)).map(Qty::raw);
        assert_eq!((position(0), position(1)), (Some(0), Some(0)));
        let left = desk.gate.open_orders(LimitScope::Account, near.account).map(|order| order.remaining.raw());
        assert_eq!(left.sum::<i64>(), 20 * LOT);
    }
}
