//! What of a gate outlives its process: what is held, at which prices, and what losses are counted from.

use tidegate_wire::order::{Execution, LimitScope};
use tidegate_wire::{InstrumentId, Price, Qty};

use super::book::Change;
use super::events::{EventError, booked};
use super::gate::RiskGate;

/// What a strategy holds on an account in one instrument, and what that has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Account.
    pub account: u16,
    /// Strategy.
    pub strategy: u16,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Signed quantity at the instrument's scale.
    pub position: Qty,
    /// Received less paid, fees included, millionths of the reporting currency.
    pub cash: i64,
    /// Inverse contracts: coins that the executions stand for, times 10^9.
    pub coins: i64,
    /// Price it was valued at last, at the instrument's scale; above zero.
    pub mark: Price,
}

/// What a scope's losses are counted from: profits, millionths of the reporting currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What kind of scope.
    pub scope: LimitScope,
    /// Which one.
    pub id: u16,
    /// Profit now.
    pub profit: i64,
    /// Profit when the day (UTC) began.
    pub day_start: i64,
    /// Highest profit so far, or since it was forgiven.
    pub peak: i64,
}

impl RiskGate {
    /// Everything that was ever held and not only asked for, always in the same order.
    pub fn stakes(&self) -> impl Iterator<Item = Stake> {
        self.state.owners().filter_map(|who| {
            let cell = self.state.book.strategy_cell(who);
            let (cash, coins, mark) = cell.stake();
            (cell.position != 0 || cash != 0 || coins != 0).then(|| Stake {
                account: who.account,
                strategy: who.strategy,
                instrument: InstrumentId(who.instrument),
                position: Qty::from_raw(cell.position),
                cash,
                coins,
                mark: Price::from_raw(mark),
            })
        })
    }

    /// What the losses of every scope are counted from, where it ever had a profit or loss.
    pub fn allowances(&self) -> impl Iterator<Item = Allowance> {
        let all = self.state.book.totals().map(|(scope, id, total)| {
            let (profit, day_start, peak) = (total.equity, total.day_start, total.peak);
            Allowance { scope, id, profit, day_start, peak }
        });
        all.filter(|of| (of.profit, of.day_start, of.peak) != (0, 0, 0))
    }

    /// Gives a fresh gate what an earlier one held at some event time. Nothing is counted and no switch is thrown: they
    /// are as they were left. Losses are those at the prices that were known last.
    ///
    /// # Errors
    /// [`EventError::Stake`]: an owner or instrument that is not configured, a price that is not above zero, an amount
    /// that does not fit. That one was not booked.
    pub fn restore_stake(&mut self, stake: &Stake, event_ns: i64) -> Result<(), EventError> {
        let Stake { account, strategy, instrument, position, cash, coins, mark } = *stake;
        let senseless = EventError::Stake { account, strategy, instrument };
        let who = self.state.who(account, strategy, instrument).filter(|_| mark.raw() > 0).ok_or(senseless)?;
        self.advance(event_ns);
        let change = Change { position: position.raw(), cash, coins, ..Change::default() };
        let valuer = self.state.listed[instrument.index()].valuer;
        if self.state.book.apply(who, &change, &valuer, mark.raw()) { Ok(()) } else { Err(senseless) }
    }

    /// Gives a gate whose stakes were restored what losses are counted from. A scope that has another profit now than
    /// it had then, because somebody's stake is not there any more, has lost or won nothing by that. Scopes that are
    /// not named begin with what they have.
    pub fn restore_allowances(&mut self, allowances: &[Allowance]) {
        let above = |of: &Allowance, profit: i64| profit.saturating_sub(of.profit);
        let all = allowances.iter().map(|of| (of.scope, of.id, above(of, of.day_start), above(of, of.peak)));
        self.state.book.allow(all);
    }

    /// Price at which an owner's position in an instrument is valued; `None` where it never was, or nobody is that.
    pub fn mark(&self, account: u16, strategy: u16, instrument: InstrumentId) -> Option<Price> {
        let who = self.state.who(account, strategy, instrument)?;
        Some(self.state.book.mark_or(who, 0)).filter(|mark| *mark > 0).map(Price::from_raw)
    }

    /// Books an execution that came after the stakes that were restored, valued at `mark` as it was then; without one
    /// at what the instrument is valued at already. Nothing is counted and no switch is thrown.
    ///
    /// # Errors
    /// As [`on_fill`](Self::on_fill), and [`EventError::Execution`] for what does not fit; nothing was booked.
    pub fn restore_fill(&mut self, execution: &Execution, mark: Option<Price>) -> Result<(), EventError> {
        let (who, side) = self.sensible(execution)?;
        self.advance(execution.event_ns);
        let Execution { price, qty, fee, trade_id, client_id, .. } = *execution;
        let state = &mut self.state;
        let valuer = state.listed[usize::from(who.instrument)].valuer;
        let mark = mark.map_or_else(|| state.book.mark_or(who, price.raw()), Price::raw);
        let change = booked(&valuer, side, price.raw(), qty.raw(), fee);
        let fits = change.is_some_and(|change| {
            state.book.remark_all(who.instrument, who.venue, &valuer, mark)
                && state.book.apply(who, &change, &valuer, mark)
        });
        if fits { Ok(()) } else { Err(EventError::Execution { trade_id, client_id }) }
    }
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    const DAY: i64 = 86_400_000_000_000;
    const LOSSES: &str = "[strategies.carry]\nmax_drawdown = 15\nmax_daily_loss = 100\n[firm]\ncapital = 1000\n";

    /// What a process leaves, and a fresh one with it.
    fn again(desk: &Desk, extra: &str) -> Desk {
        let mut later = Desk::new(extra);
        let (stakes, allowances): (Vec<_>, Vec<_>) = (desk.gate.stakes().collect(), desk.gate.allowances().collect());
        stakes.iter().for_each(|stake| later.gate.restore_stake(stake, desk.now).expect("configured"));
        later.gate.restore_allowances(&allowances);
        later.now = desk.now;
        later
    }

    fn standings(desk: &Desk) -> Vec<super::super::Standing> {
        let all = [(LimitScope::Firm, 0), (LimitScope::Account, 0), (LimitScope::Strategy, 0), (LimitScope::Venue, 1)];
        all.iter().filter_map(|(scope, id)| desk.gate.totals(*scope, *id)).collect()
    }

    /// Without exposures: what is open counts in one of them only.
    fn profits(desk: &Desk) -> Vec<super::super::Standing> {
        standings(desk).into_iter().map(|standing| super::super::Standing { exposure: 0, ..standing }).collect()
    }

    #[test]
    fn a_restored_gate_stands_where_the_other_stood() {
        let mut desk = Desk::new(LOSSES);
        for (price, sells) in [(PRICE, false), (PRICE + 40 * TICK, true), (PRICE + 90 * TICK, false)] {
            let order = if sells { desk.sell(price, LOT) } else { desk.buy(price, LOT) };
            desk.accepts(&order);
            desk.fill(&order, price, LOT);
            desk.mark(price);
        }
        desk.mark(PRICE + 60 * TICK);
        let later = again(&desk, LOSSES);
        assert_eq!(standings(&later), standings(&desk));
        assert!(standings(&desk)[0].drawdown > 0 && standings(&desk)[0].exposure > 0);
        assert_eq!(
            later.gate.drawdown_millionths(LimitScope::Firm, 0),
            desk.gate.drawdown_millionths(LimitScope::Firm, 0)
        );
        assert_eq!(later.gate.stakes().collect::<Vec<_>>(), desk.gate.stakes().collect::<Vec<_>>());
        assert_eq!(later.gate.kill_switch().iter().count(), 0, "nothing was watched");
    }

    #[test]
    fn a_fill_away_from_the_price_makes_no_peak() {
        let mut desk = Desk::new(LOSSES);
        let order = desk.buy(PRICE, 10 * LOT);
        desk.accepts(&order);
        desk.fill(&order, PRICE, 10 * LOT);
        let mut later = again(&desk, LOSSES);
        let order = desk.buy(PRICE + 60 * TICK, LOT);
        desk.accepts(&order);
        desk.fill(&order, PRICE + 60 * TICK, LOT);
        let fill = execution(&order, desk.now, PRICE + 60 * TICK, LOT);
        later.gate.restore_fill(&fill, desk.gate.mark(MAIN, 0, InstrumentId(0))).expect("configured");
        assert_eq!(profits(&later), profits(&desk));
        let huge = Execution { qty: Qty::from_raw(i64::MAX), ..fill };
        assert!(later.gate.restore_fill(&huge, None).is_err(), "it is nobody's then");
        assert_eq!(profits(&later), profits(&desk));
    }

    #[test]
    fn a_stake_that_is_gone_is_neither_a_loss_nor_a_win() {
        for price in [PRICE + 10 * TICK, PRICE - 10 * TICK] {
            let mut desk = Desk::new(LOSSES);
            for strategy in [0, 1] {
                let order = OrderRequest { strategy, ..desk.buy(PRICE, LOT) };
                desk.accepts(&order);
                desk.fill(&order, PRICE, LOT);
            }
            desk.mark(price);
            let mut later = Desk::new(LOSSES);
            let stake = desk.gate.stakes().next().expect("the first one's");
            later.gate.restore_stake(&stake, desk.now).expect("configured");
            later.gate.restore_allowances(&desk.gate.allowances().collect::<Vec<_>>());
            let firm = |desk: &Desk| desk.gate.totals(LimitScope::Firm, 0).expect("there");
            assert_eq!(firm(&later).drawdown, firm(&desk).drawdown);
            assert_eq!(firm(&later).daily_loss, firm(&desk).daily_loss);
        }
    }

    #[test]
    fn old_prices_and_days_invent_no_loss() {
        // Long ago: bought and sold at one price; now one is sold far above.
        let (mut desk, mut executed) = (Desk::new(LOSSES), Vec::new());
        for (at, price, sells) in [(0, PRICE, false), (0, PRICE, true), (3, 2 * PRICE, true)] {
            desk.now += at * DAY;
            desk.move_to(price);
            let order = if sells { desk.sell(price, LOT) } else { desk.buy(price, LOT) };
            desk.accepts(&order);
            desk.fill(&order, price, LOT);
            executed.push(execution(&order, desk.now, price, LOT));
        }
        let mut later = Desk::new(LOSSES);
        later.now = desk.now;
        // Without a snapshot: from the executions alone.
        for execution in &executed {
            later.gate.restore_fill(execution, Some(execution.price)).expect("configured");
        }
        assert_eq!(standings(&later), standings(&desk));
        assert_eq!(later.gate.drawdown_millionths(LimitScope::Firm, 0), Some(0));
        later.mark(2 * PRICE);
        assert_eq!(later.gate.kill_switch().iter().count(), 0);
    }

    #[test]
    fn what_was_forgiven_stays_forgiven_and_nobodys_stake_is_refused() {
        let mut desk = Desk::new(LOSSES);
        let order = desk.buy(PRICE, LOT);
        desk.accepts(&order);
        desk.fill(&order, PRICE, LOT);
        desk.mark(PRICE / 2);
        assert!(desk.gate.drawdown_millionths(LimitScope::Firm, 0).is_some_and(|drawdown| drawdown > 0));
        let keys = desk.keys();
        desk.gate.reset(LimitScope::Firm, 0, keys, "tested").expect("may");
        let mut later = again(&desk, LOSSES);
        assert_eq!(later.gate.drawdown_millionths(LimitScope::Firm, 0), Some(0));
        assert_eq!(later.gate.drawdown_millionths(LimitScope::Account, 0), None, "no capital of its own");
        let stake = desk.gate.stakes().next().expect("held");
        for wrong in [super::Stake { strategy: 99, ..stake }, super::Stake { mark: Price::ZERO, ..stake }] {
            assert!(later.gate.restore_stake(&wrong, later.now).is_err());
        }
    }
}
