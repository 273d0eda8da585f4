//! What becomes of orders, and what the gate makes of it: executions and ends release what was counted.
//!
//! Reports of orders that the gate does not know change nothing but their position: an execution is booked whatever
//! happened before, because the money has moved.

use tidegate_wire::order::{Alert, AlertKind, Execution, KillCause, LimitScope, Side, Verdict};
use tidegate_wire::{InstrumentId, Price, Qty};

use super::alerts::blank;
use super::amount::Rounding;
use super::book::{Change, Who};
use super::funds::Credit;
use super::gate::RiskGate;
use super::kill::Latch;
use super::orders::{Open, Terms};
use super::people::PersonId;
use super::rules::{Breach, DAILY_LOSS, DRAWDOWN, REPEATED_EXECUTION};
use super::self_trade::{SelfTradeAction, SelfTradeKind};

/// An account or an execution that the configuration does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No such account.
    #[error("no account with number {0}")]
    Account(u16),
    /// An execution without a known owner, or with an amount that is not above zero. Nothing was booked.
    #[error("execution {trade_id} of order {client_id} makes no sense")]
    Execution {
        /// The venue's id of the trade.
        trade_id: u64,
        /// Client order id.
        client_id: u64,
    },
    /// A stake of an earlier run without a known owner, or with a price or an amount that makes no sense. It was not
    /// booked.
    #[error("no account {account}, strategy {strategy} and {instrument:?} together, or the stake does not fit")]
    Stake {
        /// Account.
        account: u16,
        /// Strategy.
        strategy: u16,
        /// Instrument.
        instrument: InstrumentId,
    },
}

impl RiskGate {
    /// An order executed, wholly or in part.
    ///
    /// # Errors
    /// The report makes no sense; nothing was booked.
    pub fn on_fill(&mut self, execution: &Execution) -> Result<(), EventError> {
        let (who, side) = self.sensible(execution)?;
        let Execution { account, price, qty, client_id, .. } = *execution;
        self.event_at(execution.event_ns);
        self.counters.executions += 1;
        let place = self.state.open.find(account, client_id);
        let known = place.filter(|place| {
            let order = self.state.open.get(*place);
            order.who == who && order.side == side
        });
        let open = known.map_or(0, |place| self.state.open.get(place).remaining());
        self.book(who, side, price.raw(), qty.raw(), execution.fee);
        if let Some(place) = known {
            self.state.open.get_mut(place).filled += qty.raw().min(open);
            self.recount(place);
        }
        if qty.raw() > open {
            self.counters.unknown_executions += 1;
            let unknown = blank(AlertKind::UnknownExecution, self.state.now);
            self.state.alerts.push(Alert { client_id, account, measured: qty.raw(), limit: open, ..unknown });
        }
        self.executed(who);
        self.watch_losses(who);
        Ok(())
    }

    /// Whose an execution is.
    pub(super) fn sensible(&self, execution: &Execution) -> Result<(Who, Side), EventError> {
        let Execution { account, strategy, instrument, price, qty, trade_id, client_id, .. } = *execution;
        let senseless = EventError::Execution { trade_id, client_id };
        let who = self.state.who(account, strategy, instrument).ok_or(senseless)?;
        let side = Side::from_repr(execution.side).filter(|_| price.raw() > 0 && qty.raw() > 0);
        side.map(|side| (who, side)).ok_or(senseless)
    }

    /// An order ended without executing the rest: cancelled, expired, or the rest of an immediate order.
    pub fn on_cancelled(&mut self, account: u16, client_id: u64) {
        if let Some(place) = self.state.open.find(account, client_id) {
            self.end(place);
        }
    }

    /// A venue refused a new order.
    pub fn on_rejected(&mut self, account: u16, client_id: u64) {
        self.on_cancelled(account, client_id);
    }

    /// A venue confirmed a replacement: from now on only the new terms count.
    pub fn on_replaced(&mut self, account: u16, client_id: u64) {
        self.settle(account, client_id, true);
    }

    /// A venue refused a replacement: the old terms count as before.
    pub fn on_replace_rejected(&mut self, account: u16, client_id: u64) {
        self.settle(account, client_id, false);
    }

    /// What self-trade prevention asked for was done: the resting order expired, or lost its quantity, or quantity
    /// moved between two accounts.
    pub fn on_prevented(&mut self, action: &SelfTradeAction) {
        let qty = action.qty.raw();
        let Some(place) = self.state.open.find(action.account, action.client_id) else { return };
        let taker = self.state.open.find(action.taker_account, action.taker_client_id);
        if action.kind == SelfTradeKind::Expire {
            return self.end(place);
        }
        let resting = self.state.open.get_mut(place);
        let lost = qty.min(resting.remaining());
        resting.prevented = (resting.prevented - qty).max(0);
        let who = resting.who;
        resting.total -= lost;
        resting.terms.total -= lost;
        self.recount(place);
        // Both accounts or neither: a taker that has ended meanwhile receives nothing.
        if let Some(place) = taker.filter(|_| action.kind == SelfTradeKind::Transfer && lost > 0) {
            self.book(who, action.side, action.price.raw(), lost, 0);
            let taker = self.state.open.get_mut(place);
            taker.total -= lost;
            taker.terms.total -= lost;
            let (who, side) = (taker.who, taker.side);
            self.recount(place);
            self.book(who, side, action.price.raw(), lost, 0);
        }
    }

    /// An account's funds, as the venue or the balance ledger tells them.
    ///
    /// # Errors
    /// No such account.
    pub fn on_funds(&mut self, account: u16, funds: Credit) -> Result<(), EventError> {
        let bounds = self.state.accounts.get_mut(usize::from(account)).ok_or(EventError::Account(account))?;
        bounds.credit = Some(funds.millionths());
        Ok(())
    }

    /// The price of an instrument moved: everybody's position in it is worth something else, and who has lost too much
    /// is stopped. For prices that are not zero; call it as often as losses are to be seen.
    pub fn on_mark(&mut self, instrument: InstrumentId, price: Price, event_ns: i64) {
        let Some(listed) = self.state.listed.get_mut(instrument.index()).filter(|_| price.raw() > 0) else { return };
        let (valuer, venue) = (listed.valuer, listed.venue);
        self.event_at(event_ns);
        let now = self.state.now;
        self.state.listed[instrument.index()].period.note(now, price.raw());
        if !self.state.book.remark_all(instrument.0, venue, &valuer, price.raw()) {
            self.overflow();
        }
        let (accounts, strategies) = (self.state.accounts.len() as u16, self.state.strategies.len() as u16);
        let losers = [(LimitScope::Firm, 1), (LimitScope::Account, accounts), (LimitScope::Strategy, strategies)];
        for (scope, count) in losers {
            (0..count).for_each(|id| self.watch_loss(scope, id));
        }
        self.watch_loss(LimitScope::Venue, u16::from(venue));
    }

    /// Time passed: throws the dead man's switch when the operator's heartbeat is overdue. `now` is on whatever clock
    /// the heartbeats are: event time or wall time.
    pub fn tick(&mut self, now: i64) {
        let Some(away) = self.state.dead_man.tick(now) else { return };
        let latch = Latch { cause: KillCause::DeadMan, rule: Verdict::NO_RULE, person: PersonId::NONE, event_ns: now };
        let limit = self.state.switches.dead_man_ms as i64 * 1_000_000;
        let _ = self.throw(LimitScope::Firm, 0, latch, (away, limit));
    }

    /// Position of an account, signed.
    pub fn position(&self, account: u16, instrument: InstrumentId) -> Option<Qty> {
        let who = self.state.who(account, 0, instrument)?;
        Some(Qty::from_raw(self.state.book.account_cell(who).position))
    }

    /// Position of a strategy on an account, signed.
    pub fn strategy_position(&self, account: u16, strategy: u16, instrument: InstrumentId) -> Option<Qty> {
        let who = self.state.who(account, strategy, instrument)?;
        Some(Qty::from_raw(self.state.book.strategy_cell(who).position))
    }

    /// Worst-case exposure and profit since the start of a scope, millionths.
    pub fn totals(&self, scope: LimitScope, id: u16) -> Option<Standing> {
        let total = self.state.book.total(scope, id)?;
        Some(Standing {
            exposure: total.exposure,
            profit: total.equity,
            daily_loss: total.daily_loss(),
            drawdown: total.drawdown(),
        })
    }

    /// What a scope has lost since its highest equity, over that equity: its capital and the profit it had then.
    /// Millionths; `None` for a scope without capital of its own.
    pub fn drawdown_millionths(&self, scope: LimitScope, id: u16) -> Option<u32> {
        let capital = self.state.bounds(scope, id)?.capital?;
        let total = self.state.book.total(scope, id)?;
        let lost = i128::from(total.drawdown()) * 1_000_000;
        // A scope whose highest equity is nothing has lost everything as soon as it loses.
        let highest = (i128::from(total.drawdown()) + i128::from(total.equity) + i128::from(capital)).max(1);
        Some(u32::try_from(lost / highest).unwrap_or(u32::MAX))
    }

    /// The latest event time that the gate has seen, ns.
    pub const fn now(&self) -> i64 {
        self.state.now
    }

    /// Event time has come so far: what happens next happens then.
    pub fn advance(&mut self, now: i64) {
        self.event_at(now);
    }

    fn event_at(&mut self, event_ns: i64) {
        self.state.now = self.state.now.max(event_ns);
        let now = self.state.now;
        self.state.book.begin_day(now);
    }

    /// Books an execution: position, money, and for inverse contracts coins.
    fn book(&mut self, who: Who, side: Side, price: i64, qty: i64, fee: i64) {
        let state = &mut self.state;
        let valuer = state.listed[usize::from(who.instrument)].valuer;
        let mark = state.book.mark_or(who, price);
        let change = booked(&valuer, side, price, qty, fee);
        if !change.is_some_and(|change| state.book.apply(who, &change, &valuer, mark)) {
            self.overflow();
        }
    }

    /// Counts an order anew after its quantity, price or executions changed; takes it out when nothing is left.
    fn recount(&mut self, place: u32) {
        let state = &mut self.state;
        let order = *state.open.get(place);
        let Open { who, side, .. } = order;
        let valuer = state.listed[usize::from(who.instrument)].valuer;
        let value = valuer.value(order.unit, order.remaining().max(0), Rounding::Up).unwrap_or(order.value);
        let mark = state.book.mark_or(who, order.unit);
        let (qty, money) = (order.remaining().max(0) - order.counted, value - order.value);
        let change = match side {
            Side::Buy => Change { buys: qty, buy_value: money, ..Change::default() },
            Side::Sell => Change { sells: qty, sell_value: money, ..Change::default() },
        };
        if !state.book.apply(who, &change, &valuer, mark) {
            return self.overflow();
        }
        let open = state.open.get_mut(place);
        (open.value, open.counted) = (value, open.remaining().max(0));
        if open.remaining() <= 0 {
            self.take_out(place);
        }
    }

    /// Releases an order whole.
    fn end(&mut self, place: u32) {
        let order = self.state.open.get_mut(place);
        order.total = order.filled;
        self.recount(place);
    }

    fn take_out(&mut self, place: u32) {
        let who = self.state.open.get(place).who;
        self.state.open.remove(place);
        let scopes = self.state.scopes_mut(who);
        scopes.into_iter().for_each(|bounds| bounds.open_orders = bounds.open_orders.saturating_sub(1));
    }

    fn settle(&mut self, account: u16, client_id: u64, confirmed: bool) {
        let Some(place) = self.state.open.find(account, client_id) else { return };
        let order = self.state.open.get_mut(place);
        let Some(pending) = order.pending.take() else { return };
        let Terms { price, unit, total } = if confirmed { pending } else { order.terms };
        (order.terms, order.unit, order.total) = (Terms { price, unit, total }, unit, total);
        self.state.open.reprice(place, price);
        self.recount(place);
    }

    /// Counts an execution in every scope's window; a full one stops the scope (RTS 6 Art. 15(3)).
    fn executed(&mut self, who: Who) {
        let now = self.state.now;
        let mut full = [None; super::book::SCOPES];
        for (place, bounds) in full.iter_mut().zip(self.state.scopes_mut(who)) {
            let Some(window) = &mut bounds.executions else { continue };
            window.note(now);
            let limit = window.limit();
            *place = window.is_full(now).then_some(bounds.id).map(|id| Breach {
                scope: bounds.scope,
                scope_id: id,
                measured: limit,
                limit,
            });
        }
        full.into_iter().flatten().for_each(|breach| self.rule_kill(breach, REPEATED_EXECUTION));
    }

    fn watch_losses(&mut self, who: Who) {
        let scopes = self.state.scopes(who).map(|bounds| (bounds.scope, bounds.id));
        scopes.into_iter().for_each(|(scope, id)| self.watch_loss(scope, id));
    }

    fn watch_loss(&mut self, scope: LimitScope, id: u16) {
        let (Some(total), Some(bounds)) = (self.state.book.total(scope, id), self.state.bounds(scope, id)) else {
            return;
        };
        let losses = [
            (total.daily_loss(), bounds.max_daily_loss, DAILY_LOSS),
            (total.drawdown(), bounds.max_drawdown, DRAWDOWN),
        ];
        for (loss, limit, rule) in losses {
            if loss >= limit {
                self.rule_kill(Breach { scope, scope_id: id, measured: loss, limit }, rule);
            }
        }
    }

    /// A number left 64 bits although the event is a fact: nothing more is known, so everything stops.
    #[cold]
    fn overflow(&mut self) {
        let (cause, event_ns) = (KillCause::Overflow, self.state.now);
        let latch = Latch { cause, rule: Verdict::NO_RULE, person: PersonId::NONE, event_ns };
        let _ = self.throw(LimitScope::Firm, 0, latch, (0, 0));
    }
}

/// Where a scope stands, millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Worst-case exposure, open orders included, >= 0.
    pub exposure: i64,
    /// Profit since the start, open positions included.
    pub profit: i64,
    /// Loss since midnight UTC, >= 0.
    pub daily_loss: i64,
    /// Loss since the highest profit, >= 0.
    pub drawdown: i64,
}

/// What an execution changes: paid amounts are rounded up, received ones down.
pub(super) fn booked(valuer: &super::amount::Valuer, side: Side, price: i64, qty: i64, fee: i64) -> Option<Change> {
    let (sign, rounding) = match side {
        Side::Buy => (1, Rounding::Up),
        Side::Sell => (-1, Rounding::Down),
    };
    let value = valuer.value(price, qty, rounding)?;
    let coins = if valuer.is_inverse() { valuer.coins(value, price)? } else { 0 };
    Some(Change {
        position: sign * qty,
        cash: (-sign * value).checked_sub(fee)?,
        coins: sign * coins,
        ..Change::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::testing::*;
    use bytemuck::Zeroable;
    use tidegate_wire::instrument::Contract;

    #[test]
    fn executions_of_unknown_orders_are_booked_and_told() {
        let mut desk = Desk::new("");
        let order = desk.buy(PRICE, 3 * LOT);
        desk.fill(&order, PRICE, LOT);
        desk.accepts(&order);
        desk.fill(&order, PRICE, 4 * LOT);
        assert_eq!(desk.gate.position(MAIN, InstrumentId(0)).map(Qty::raw), Some(5 * LOT));
        assert_eq!(desk.gate.open_orders(LimitScope::Firm, 0).count(), 0);
        let told: Vec<Alert> = core::iter::from_fn(|| desk.gate.take_alert()).collect();
        let figures: Vec<_> = told.iter().map(|alert| (alert.kind, alert.measured, alert.limit)).collect();
        let kind = AlertKind::UnknownExecution as u8;
        assert_eq!(figures, [(kind, LOT, 0), (kind, 4 * LOT, 3 * LOT)]);
        let strange = execution(&OrderRequest { account: 9, ..order }, desk.now, PRICE, LOT);
        assert!(desk.gate.on_fill(&strange).is_err());
        assert!(desk.gate.on_fill(&execution(&order, desk.now, 0, LOT)).is_err());
    }

    #[test]
    fn a_replacement_counts_as_the_worse_until_it_is_settled() {
        let mut desk = Desk::new("");
        let order = desk.buy(PRICE, 10 * LOT);
        desk.accepts(&order);
        let exposure = |desk: &Desk| desk.gate.totals(LimitScope::Account, MAIN).expect("known").exposure / 50_000_000;
        assert_eq!(exposure(&desk), 10);
        desk.accepts(&replace(&order, PRICE, 4 * LOT));
        assert_eq!(exposure(&desk), 10, "the old one may still execute");
        desk.fill(&order, PRICE, 3 * LOT);
        desk.gate.on_replaced(MAIN, order.client_id);
        assert_eq!(exposure(&desk), 4, "three held, one open");
        desk.accepts(&replace(&order, PRICE, 8 * LOT));
        assert_eq!(exposure(&desk), 8);
        desk.gate.on_replace_rejected(MAIN, order.client_id);
        assert_eq!(exposure(&desk), 4);
        // Less than has executed meanwhile: nothing is left.
        desk.accepts(&replace(&order, PRICE, 3 * LOT + LOT));
        desk.fill(&order, PRICE, LOT);
        desk.gate.on_replaced(MAIN, order.client_id);
        assert_eq!((exposure(&desk), desk.gate.open_orders(LimitScope::Firm, 0).count()), (4, 0));
    }

    #[test]
    fn profits_of_linear_and_inverse_contracts() {
        let mut registry = Registry::new();
        let linear = Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3);
        let contract = Contract::Inverse { quote_per_contract: 100.0 };
        registry.add(linear).expect("good");
        registry.add(Instrument { contract, ..Instrument::linear(Venue::BinanceCoinm, "BTCUSD", 1, 0) }).expect("good");
        let firm = "[firm]\nmax_order_value = 1\nmax_gross_exposure = 1\n\
                    messages = { count = 1, window_ms = 1 }\n[accounts.a]\n";
        let limits = RiskLimits::from_toml(firm).expect("good");
        let mut gate = RiskGate::new(&registry, &["s"], &limits).expect("known");
        let fill = |gate: &mut RiskGate, instrument, side: Side, price: i64, qty: i64| {
            let report = Execution { price: Price::from_raw(price), qty: Qty::from_raw(qty), ..Execution::zeroed() };
            let instrument = InstrumentId(instrument);
            gate.on_fill(&Execution { instrument, side: side as u8, ..report }).expect("good");
        };
        let profit = |gate: &RiskGate| gate.totals(LimitScope::Firm, 0).expect("known").profit;
        // 0.1 at 10,000.0, marked at 10,500.0: 50.
        fill(&mut gate, 0, Side::Buy, 100_000, 100);
        gate.on_mark(InstrumentId(0), Price::from_raw(105_000), 1);
        assert_eq!(profit(&gate), 50_000_000);
        fill(&mut gate, 0, Side::Sell, 104_000, 100);
        assert_eq!(profit(&gate), 40_000_000, "realised at 10,400.0");
        // One inverse contract of 100 at 10,000.0 is 0.01 coins: at 12,500.0 they are worth 125.
        fill(&mut gate, 1, Side::Buy, 100_000, 1);
        gate.on_mark(InstrumentId(1), Price::from_raw(125_000), 2);
        assert_eq!(profit(&gate), 65_000_000);
        fill(&mut gate, 1, Side::Sell, 125_000, 1);
        gate.on_mark(InstrumentId(1), Price::from_raw(50_000), 3);
        // Closed: 0.002 coins were won, and coins they stay.
        assert_eq!(profit(&gate), 50_000_000);
    }

    #[test]
    fn verdicts_say_what_they_were_given_on() {
        let mut desk = Desk::new("");
        let order = desk.buy(PRICE + TICK, 2 * LOT);
        desk.now += 7 * MS;
        let late = OrderRequest { event_ns: desk.now, ..order };
        let verdict = desk.accepts(&late);
        assert_eq!((verdict.reference.raw(), verdict.reference_age_ns, verdict.event_ns), (PRICE, 7 * MS, desk.now));
        assert_eq!((verdict.value, verdict.allowed_qty.raw()), (100_005_000, 2 * LOT));
        assert_eq!(verdict.limits_digest, Desk::new("").accepts(&order).limits_digest);
        let other = Desk::new("[strategies.carry]\nmax_open_orders = 3\n").accepts(&order).limits_digest;
        assert_ne!(verdict.limits_digest, other);
        let counters = desk.gate.counters();
        assert_eq!((counters.requests, counters.accepted, counters.refused), (1, 1, 0));
    }
}
