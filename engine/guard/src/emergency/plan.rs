//! Plans: the requests that an emergency sends, worked out from what is open and held.
//!
//! Reductions are immediate-or-cancel limit orders at the reference price with the protocol's slippage, flagged
//! reduce-only, and attributed to the strategies that hold the position. What open orders of the same side may still
//! execute is left out, so that a plan never takes a position past zero even before its own cancels are confirmed; the
//! next plan of the level takes care of the rest.

use bytemuck::Zeroable;
use tidegate_wire::order::{
    FLAG_REDUCE_ONLY, LimitScope, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce,
};
use tidegate_wire::{InstrumentId, Price, Qty};

use crate::risk::{MarketView, RiskGate};

/// Shares are in millionths.
pub(crate) const WHOLE: i64 = 1_000_000;

/// Marks client order ids of emergencies: nobody else sets their highest bit, so no plan meets an id that is taken.
pub const EMERGENCY_ID: u64 = 1 << 63;

/// Numbers orders of emergencies: from event time, so that a restart does not repeat them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    fn next(&mut self, now: i64) -> u64 {
        self.0 = (self.0 + 1).max(now.unsigned_abs());
        self.0 | EMERGENCY_ID
    }
}

/// What a plan is made with.
pub(crate) struct Maker<'a, V> {
    pub(crate) gate: &'a RiskGate,
    pub(crate) views: V,
    pub(crate) now: i64,
    /// Millionths of the reference.
    pub(crate) slippage: i64,
    pub(crate) numbers: &'a mut Numbers,
    /// The plan, in the order of sending.
    pub(crate) requests: &'a mut Vec<OrderRequest>,
}

impl<V: Fn(InstrumentId) -> MarketView> Maker<'_, V> {
    /// Cancels of everything open in a scope.
    pub(crate) fn cancel_all(&mut self, scope: LimitScope, id: u16) {
        for open in self.gate.open_orders(scope, id) {
            let request_id = self.numbers.next(self.now);
            self.requests.push(OrderRequest { request_id, event_ns: self.now, ..open.cancel });
        }
    }

    /// Makes every position of a scope smaller until it is `kept` millionths of what it was in `before` (by the order
    /// of [`RiskGate::holdings`]); where `before` is empty, of what it is.
    pub(crate) fn reduce(&mut self, scope: LimitScope, id: u16, kept: i64, before: &[i64]) {
        let gate = self.gate;
        for (index, holding) in gate.holdings().enumerate() {
            let concerned = match scope {
                LimitScope::Account => holding.account == id,
                LimitScope::Strategy => holding.strategy == id,
                LimitScope::Instrument => holding.instrument.0 == id,
                LimitScope::Venue => u16::from(holding.venue) == id,
                LimitScope::Firm => true,
            };
            let held = holding.position.raw();
            if !concerned || held == 0 {
                continue;
            }
            let start = before.get(index).copied().unwrap_or(held);
            // A position that has changed its side since is reduced from where it is now.
            let start = if start.signum() == held.signum() { start } else { held };
            let target = i128::from(start.unsigned_abs()) * i128::from(kept) / i128::from(WHOLE);
            let wanted = i128::from(held.unsigned_abs()) - target;
            let side = if held > 0 { Side::Sell } else { Side::Buy };
            // The venue nets the account: what others of the account hold against it, and what is open, is not free.
            let planned: i64 = self.planned(holding.account, holding.instrument, side);
            let free = gate.reducible(holding.account, holding.instrument, side).raw().saturating_sub(planned);
            let qty = i64::try_from(wanted).unwrap_or(i64::MAX).min(free);
            let owner = Owner { account: holding.account, strategy: holding.strategy, instrument: holding.instrument };
            self.order(owner, side, qty, FLAG_REDUCE_ONLY);
        }
    }

    /// Trades against a net value on the hedge instrument.
    pub(crate) fn hedge(&mut self, owner: Owner, net_value: i64) {
        let view = (self.views)(owner.instrument);
        let Some(unit) = self.gate.lot_value(owner.instrument, view.reference.price) else { return };
        let lots = i64::try_from(net_value.unsigned_abs() / unit.max(1).unsigned_abs()).unwrap_or(0);
        let side = if net_value > 0 { Side::Sell } else { Side::Buy };
        let qty = lots.saturating_mul(self.gate.lot_size(owner.instrument).map_or(0, Qty::raw));
        self.order(owner, side, qty, 0);
    }

    /// What the plan already sells or buys of an account's position.
    fn planned(&self, account: u16, instrument: InstrumentId, side: Side) -> i64 {
        let same = |request: &&OrderRequest| {
            request.kind == RequestKind::New as u8
                && (request.account, request.instrument, request.side) == (account, instrument, side as u8)
        };
        self.requests.iter().filter(same).map(|request| request.qty.raw()).sum()
    }

    fn order(&mut self, owner: Owner, side: Side, qty: i64, flags: u8) {
        let Owner { account, strategy, instrument } = owner;
        let (Some(lot), Some(tick), Some(venue)) =
            (self.gate.lot_size(instrument), self.gate.tick_size(instrument), self.gate.venue(instrument))
        else {
            return;
        };
        let qty = qty - qty.rem_euclid(lot.raw());
        let reference = (self.views)(instrument).reference.price.raw();
        let price = limit_price(reference, self.slippage, tick.raw(), side);
        if qty <= 0 || price <= 0 {
            // Nothing to do, or no price to do it at: the gate would refuse it, and the next plan tries again.
            return;
        }
        let number = self.numbers.next(self.now);
        self.requests.push(OrderRequest {
            request_id: number,
            client_id: number,
            event_ns: self.now,
            price: Price::from_raw(price),
            qty: Qty::from_raw(qty),
            account,
            strategy,
            instrument,
            venue,
            kind: RequestKind::New as u8,
            side: side as u8,
            order_type: OrderType::Limit as u8,
            time_in_force: TimeInForce::ImmediateOrCancel as u8,
            // An emergency that meets the desk's own order cancels that one.
            self_trade: SelfTradeMode::ExpireMaker as u8,
            flags,
            ..OrderRequest::zeroed()
        });
    }
}

/// Who an order of a plan belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) account: u16,
    pub(crate) strategy: u16,
    pub(crate) instrument: InstrumentId,
}

/// The worst price on the tick that is not further from the reference than the slippage; 0 without a reference.
fn limit_price(reference: i64, slippage: i64, tick: i64, side: Side) -> i64 {
    let away = i128::from(reference) * i128::from(slippage) / i128::from(WHOLE);
    let exact = match side {
        Side::Buy => i128::from(reference) + away,
        Side::Sell => i128::from(reference) - away,
    };
    let (exact, tick) = (i64::try_from(exact).unwrap_or(0), tick.max(1));
    match side {
        Side::Buy => exact - exact.rem_euclid(tick),
        Side::Sell => exact + (tick - exact.rem_euclid(tick)) % tick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_stay_within_the_slippage_and_on_the_tick() {
        for (side, expected) in [(Side::Buy, 1_005), (Side::Sell, 995)] {
            assert_eq!(limit_price(1_000, 5_000, 5, side), expected);
        }
        assert_eq!(limit_price(1_001, 5_000, 5, Side::Buy), 1_005, "1,006.005, and down to the tick");
        assert_eq!(limit_price(1_001, 5_000, 5, Side::Sell), 1_000, "995.995 rounds towards zero to 996, and up");
        assert_eq!(limit_price(0, 5_000, 5, Side::Buy), 0);
    }
}
