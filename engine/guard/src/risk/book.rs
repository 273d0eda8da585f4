//! Who holds what: positions, open orders and profits by account, strategy and instrument, and their totals.
//!
//! A **cell** belongs to one account, or to one strategy on one account, in one instrument. Its **exposure** is what it
//! could come to whichever of its open orders execute: with a position worth `v`, buys worth `b` and sells worth `s` it
//! is the largest of `|v|`, `|v + b|` and `|v - s|`. Open orders count at the worse of their limit and the reference
//! price, so that no execution raises an exposure while the reference stands still. Totals are sums of cells: nothing
//! is netted between instruments or accounts.
//!
//! Every change is computed first and written afterwards: what does not fit 64 bits changes nothing.

use tidegate_wire::Venue;
use tidegate_wire::order::{LimitScope, Side};

use super::amount::{Rounding, Valuer};

/// Whose change it is: positions in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) account: u16,
    pub(crate) strategy: u16,
    pub(crate) instrument: u16,
    pub(crate) venue: u8,
}

/// Number of kinds of scope: totals are indexed by [`LimitScope`].
pub(crate) const SCOPES: usize = 5;

/// What changes in a cell; quantities are mantissas, values millionths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) buys: i64,
    pub(crate) sells: i64,
    pub(crate) buy_value: i64,
    pub(crate) sell_value: i64,
    pub(crate) position: i64,
    pub(crate) cash: i64,
    pub(crate) coins: i64,
}

/// One account's or strategy's standing in one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Signed quantity held.
    pub(crate) position: i64,
    /// Quantity of open buys, >= 0.
    pub(crate) buys: i64,
    /// Quantity of open sells, >= 0.
    pub(crate) sells: i64,
    buy_value: i64,
    sell_value: i64,
    /// Value of the position at `mark`, signed.
    position_value: i64,
    /// What was received less what was paid, fees included.
    cash: i64,
    /// Inverse contracts: coins that the executions so far stand for.
    coins: i64,
    /// Profit since the start: `cash` and what the position is worth at `mark`.
    equity: i64,
    /// Price it was valued at last; 0 before the first.
    mark: i64,
}

impl Cell {
    /// Worst-case value, >= 0.
    #[inline(always)]
    pub(crate) fn exposure(&self) -> Option<i64> {
        let long = self.position_value.checked_add(self.buy_value)?.checked_abs()?;
        let short = self.position_value.checked_sub(self.sell_value)?.checked_abs()?;
        Some(long.max(short).max(self.position_value.checked_abs()?))
    }

    /// Value of the position at the price it was valued at last, signed.
    pub(crate) const fn position_value(&self) -> i64 {
        self.position_value
    }

    /// Cash, coins and the price it was valued at last: with the position all that it is made of.
    pub(crate) const fn stake(&self) -> (i64, i64, i64) {
        (self.cash, self.coins, self.mark)
    }

    /// Longest (for buys) or shortest (for sells) position that open orders can lead to, in that direction.
    #[inline(always)]
    pub(crate) const fn worst(&self, side: Side) -> i64 {
        worst(self.position, self.buys, self.sells, side)
    }

    #[inline(always)]
    fn changed(&self, change: &Change, valuer: &Valuer, mark: i64) -> Option<Self> {
        let mut cell = Self {
            position: self.position.checked_add(change.position)?,
            buys: self.buys.checked_add(change.buys)?,
            sells: self.sells.checked_add(change.sells)?,
            buy_value: self.buy_value.checked_add(change.buy_value)?,
            sell_value: self.sell_value.checked_add(change.sell_value)?,
            cash: self.cash.checked_add(change.cash)?,
            coins: self.coins.checked_add(change.coins)?,
            ..*self
        };
        if mark != self.mark || change.position != 0 || change.cash != 0 {
            cell.mark = mark;
            cell.position_value = valuer.value(mark, cell.position, Rounding::Up)?;
            let worth = if valuer.is_inverse() { valuer.of_coins(cell.coins, mark)? } else { cell.position_value };
            cell.equity = cell.cash.checked_add(worth)?;
        }
        Some(cell)
    }
}

/// Everybody's standing in one instrument, netted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) position: i64,
    pub(crate) buys: i64,
    pub(crate) sells: i64,
}

impl Net {
    /// As [`Cell::worst`].
    #[inline(always)]
    pub(crate) const fn worst(&self, side: Side) -> i64 {
        worst(self.position, self.buys, self.sells, side)
    }
}

/// Saturating: what does not fit is beyond every limit.
#[inline(always)]
const fn worst(position: i64, buys: i64, sells: i64, side: Side) -> i64 {
    match side {
        Side::Buy => position.saturating_add(buys),
        Side::Sell => sells.saturating_sub(position),
    }
}

/// A sum over cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Sum of the cells' exposures, millionths.
    pub(crate) exposure: i64,
    /// Sum of the cells' profits, millionths.
    pub(crate) equity: i64,
    /// Profit when the day (UTC) began.
    pub(crate) day_start: i64,
    /// Highest profit so far, or since an allowance was given anew.
    pub(crate) peak: i64,
}

/// What a change would lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    pub(crate) account: Cell,
    pub(crate) strategy: Cell,
    pub(crate) net: Net,
    /// By [`LimitScope`].
    pub(crate) totals: [Total; SCOPES],
    /// By how much the account's and the strategy's exposure grow; negative when they shrink.
    pub(crate) account_raise: i64,
    pub(crate) strategy_raise: i64,
}

impl After {
    /// Whether the change makes a scope's exposure larger.
    #[inline(always)]
    pub(crate) const fn raises(&self, scope: LimitScope) -> bool {
        match scope {
            LimitScope::Strategy => self.strategy_raise > 0,
            _ => self.account_raise > 0,
        }
    }
}

/// All cells and totals.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// By instrument, then account.
    accounts: Box<[Cell]>,
    /// By instrument, then account, then strategy.
    strategies: Box<[Cell]>,
    nets: Box<[Net]>,
    firm: Total,
    by_venue: Box<[Total]>,
    by_instrument: Box<[Total]>,
    by_account: Box<[Total]>,
    by_strategy: Box<[Total]>,
    day: i64,
}

const DAY_NS: i64 = 86_400_000_000_000;

impl Book {
    pub(crate) fn new(accounts: usize, strategies: usize, instruments: usize) -> Self {
        let totals = |count: usize| vec![Total::default(); count].into_boxed_slice();
        Self {
            accounts: vec![Cell::default(); accounts * instruments].into(),
            strategies: vec![Cell::default(); strategies * accounts * instruments].into(),
            nets: vec![Net::default(); instruments].into(),
            firm: Total::default(),
            by_venue: totals(Venue::ALL.len()),
            by_instrument: totals(instruments),
            by_account: totals(accounts),
            by_strategy: totals(strategies),
            day: i64::MIN,
        }
    }

    #[inline(always)]
    pub(crate) fn account_cell(&self, who: Who) -> &Cell {
        &self.accounts[self.account_index(who)]
    }

    #[inline(always)]
    fn account_index(&self, who: Who) -> usize {
        usize::from(who.instrument) * self.by_account.len() + usize::from(who.account)
    }

    #[inline(always)]
    fn strategy_index(&self, who: Who) -> usize {
        self.account_index(who) * self.by_strategy.len() + usize::from(who.strategy)
    }

    #[inline(always)]
    pub(crate) fn strategy_cell(&self, who: Who) -> &Cell {
        &self.strategies[self.strategy_index(who)]
    }

    /// A total; `None` when the scope has no such member.
    #[inline(always)]
    pub(crate) fn total(&self, scope: LimitScope, id: u16) -> Option<&Total> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => (id == 0).then_some(&self.firm),
            LimitScope::Venue => self.by_venue.get(index),
            LimitScope::Instrument => self.by_instrument.get(index),
            LimitScope::Account => self.by_account.get(index),
            LimitScope::Strategy => self.by_strategy.get(index),
        }
    }

    fn total_mut(&mut self, scope: LimitScope, id: u16) -> Option<&mut Total> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => (id == 0).then_some(&mut self.firm),
            LimitScope::Venue => self.by_venue.get_mut(index),
            LimitScope::Instrument => self.by_instrument.get_mut(index),
            LimitScope::Account => self.by_account.get_mut(index),
            LimitScope::Strategy => self.by_strategy.get_mut(index),
        }
    }

    /// All totals with their scopes.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (LimitScope, u16, &Total)> {
        let all = [
            (LimitScope::Firm, core::slice::from_ref(&self.firm)),
            (LimitScope::Venue, &self.by_venue),
            (LimitScope::Instrument, &self.by_instrument),
            (LimitScope::Account, &self.by_account),
            (LimitScope::Strategy, &self.by_strategy),
        ];
        all.into_iter().flat_map(|(scope, of)| of.iter().zip(0..).map(move |(total, id)| (scope, id, total)))
    }

    /// What a change would lead to, valued at `mark`; `None` when a number does not fit.
    #[inline(always)]
    pub(crate) fn preview(&self, who: Who, change: &Change, valuer: &Valuer, mark: i64) -> Option<After> {
        let (account_before, strategy_before) = (self.account_cell(who), self.strategy_cell(who));
        let account = account_before.changed(change, valuer, mark)?;
        let strategy = strategy_before.changed(change, valuer, mark)?;
        let net = &self.nets[usize::from(who.instrument)];
        let net = Net {
            position: net.position.checked_add(change.position)?,
            buys: net.buys.checked_add(change.buys)?,
            sells: net.sells.checked_add(change.sells)?,
        };
        // A cell was written by a preview that fitted, so its own exposure fits too.
        let account_raise = account.exposure()?.checked_sub(account_before.exposure()?)?;
        let strategy_raise = strategy.exposure()?.checked_sub(strategy_before.exposure()?)?;
        let gain = account.equity.checked_sub(account_before.equity)?;
        let strategy_gain = strategy.equity.checked_sub(strategy_before.equity)?;
        let grown = |total: &Total, raise: i64, gain: i64| {
            let equity = total.equity.checked_add(gain)?;
            let (exposure, peak) = (total.exposure.checked_add(raise)?, total.peak.max(equity));
            Some(Total { exposure, equity, peak, ..*total })
        };
        let totals = [
            grown(&self.firm, account_raise, gain)?,
            grown(&self.by_venue[usize::from(who.venue)], account_raise, gain)?,
            grown(&self.by_instrument[usize::from(who.instrument)], account_raise, gain)?,
            grown(&self.by_account[usize::from(who.account)], account_raise, gain)?,
            grown(&self.by_strategy[usize::from(who.strategy)], strategy_raise, strategy_gain)?,
        ];
        Some(After { account, strategy, net, totals, account_raise, strategy_raise })
    }

    /// Writes what [`Self::preview`] said, before anything else changed.
    #[inline(always)]
    pub(crate) fn commit(&mut self, who: Who, after: &After) {
        let (account, strategy) = (self.account_index(who), self.strategy_index(who));
        (self.accounts[account], self.strategies[strategy]) = (after.account, after.strategy);
        self.nets[usize::from(who.instrument)] = after.net;
        self.firm = after.totals[LimitScope::Firm as usize];
        self.by_venue[usize::from(who.venue)] = after.totals[LimitScope::Venue as usize];
        self.by_instrument[usize::from(who.instrument)] = after.totals[LimitScope::Instrument as usize];
        self.by_account[usize::from(who.account)] = after.totals[LimitScope::Account as usize];
        self.by_strategy[usize::from(who.strategy)] = after.totals[LimitScope::Strategy as usize];
    }

    /// Previews and writes; whether it fitted.
    #[must_use]
    pub(crate) fn apply(&mut self, who: Who, change: &Change, valuer: &Valuer, mark: i64) -> bool {
        let after = self.preview(who, change, valuer, mark);
        after.inspect(|after| self.commit(who, after)).is_some()
    }

    /// Values one account's and one strategy's cell anew, if the price is another; whether it fitted.
    #[inline(always)]
    #[must_use]
    pub(crate) fn remark(&mut self, who: Who, valuer: &Valuer, mark: i64) -> bool {
        if self.account_cell(who).mark == mark && self.strategy_cell(who).mark == mark {
            return true;
        }
        self.apply(who, &Change::default(), valuer, mark)
    }

    /// Values every cell of an instrument anew; whether everything fitted.
    #[must_use]
    pub(crate) fn remark_all(&mut self, instrument: u16, venue: u8, valuer: &Valuer, mark: i64) -> bool {
        let (accounts, strategies) = (self.by_account.len() as u16, self.by_strategy.len() as u16);
        (0..accounts).all(|account| {
            let who = |strategy| Who { account, strategy, instrument, venue };
            (0..strategies).all(|strategy| self.remark(who(strategy), valuer, mark))
        })
    }

    /// The price a cell was valued at last, or another where it never was.
    #[inline(always)]
    pub(crate) fn mark_or(&self, who: Who, otherwise: i64) -> i64 {
        let mark = self.account_cell(who).mark;
        if mark > 0 { mark } else { otherwise }
    }

    /// A new day (UTC) begins: daily losses count anew.
    #[inline(always)]
    pub(crate) fn begin_day(&mut self, now: i64) {
        let day = now.div_euclid(DAY_NS);
        if day > self.day {
            self.turn_day(day);
        }
    }

    #[cold]
    fn turn_day(&mut self, day: i64) {
        self.day = day;
        self.totals_mut().for_each(|total| total.day_start = total.equity);
    }

    fn totals_mut(&mut self) -> impl Iterator<Item = &mut Total> {
        let all = self.by_venue.iter_mut().chain(&mut self.by_instrument);
        all.chain(&mut self.by_account).chain(&mut self.by_strategy).chain(Some(&mut self.firm))
    }

    /// What losses are counted from, by scope: profit when the day began, and the highest, both as so much more than
    /// the profit now. Others begin with what they have.
    pub(crate) fn allow(&mut self, allowances: impl Iterator<Item = (LimitScope, u16, i64, i64)>) {
        self.totals_mut().for_each(|total| (total.day_start, total.peak) = (total.equity, total.equity));
        for (scope, id, day_start, peak) in allowances {
            if let Some(total) = self.total_mut(scope, id) {
                total.day_start = total.equity.saturating_add(day_start);
                total.peak = total.equity.saturating_add(peak.max(0));
            }
        }
    }

    /// A designated person gave a scope its loss allowance anew.
    pub(crate) fn forgive(&mut self, scope: LimitScope, id: u16) {
        if let Some(total) = self.total_mut(scope, id) {
            (total.day_start, total.peak) = (total.equity, total.equity);
        }
    }
}

impl Total {
    /// Loss since the day began, >= 0.
    #[inline(always)]
    pub(crate) fn daily_loss(&self) -> i64 {
        self.day_start.saturating_sub(self.equity).max(0)
    }

    /// Loss since the peak, >= 0.
    #[inline(always)]
    pub(crate) fn drawdown(&self) -> i64 {
        self.peak.saturating_sub(self.equity).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::amount::Decimal;
    use tidegate_wire::Instrument;

    const WHO: Who = Who { account: 1, strategy: 0, instrument: 1, venue: 1 };

    fn valuer() -> Valuer {
        Valuer::new(&Instrument::linear(Venue::BinanceUsdm, "A", 0, 0), Decimal::whole(1)).expect("fits")
    }

    fn exposure(book: &Book) -> i64 {
        book.account_cell(WHO).exposure().expect("fits") / 1_000_000
    }

    #[test]
    fn exposure_is_the_worst_that_open_orders_can_lead_to() {
        let (mut book, valuer) = (Book::new(2, 1, 2), valuer());
        let apply = |book: &mut Book, change: Change| assert!(book.apply(WHO, &change, &valuer, 100));
        apply(&mut book, Change { position: 3, cash: -300_000_000, ..Change::default() });
        assert_eq!(exposure(&book), 300);
        apply(&mut book, Change { sells: 5, sell_value: 500_000_000, ..Change::default() });
        assert_eq!(exposure(&book), 300, "two short at worst");
        apply(&mut book, Change { sells: 5, sell_value: 500_000_000, ..Change::default() });
        assert_eq!(exposure(&book), 700);
        apply(&mut book, Change { buys: 9, buy_value: 900_000_000, ..Change::default() });
        assert_eq!(exposure(&book), 1_200);
        for scope in [LimitScope::Firm, LimitScope::Venue, LimitScope::Instrument, LimitScope::Account] {
            let id = u16::from(scope != LimitScope::Firm);
            assert_eq!(book.total(scope, id).expect("there is one").exposure, 1_200_000_000, "{scope:?}");
        }
    }

    #[test]
    fn losses_count_from_the_day_and_from_the_peak() {
        let (mut book, valuer) = (Book::new(2, 1, 2), valuer());
        book.begin_day(0);
        let bought = Change { position: 2, cash: -200_000_000, ..Change::default() };
        assert!(book.apply(WHO, &bought, &valuer, 100));
        let losses = |book: &Book| {
            let total = book.total(LimitScope::Strategy, 0).expect("there is one");
            (total.daily_loss() / 1_000_000, total.drawdown() / 1_000_000)
        };
        assert!(book.remark_all(1, 1, &valuer, 120));
        assert!(book.remark_all(1, 1, &valuer, 95));
        assert_eq!(losses(&book), (10, 50));
        book.begin_day(DAY_NS);
        assert_eq!(losses(&book), (0, 50));
        book.forgive(LimitScope::Strategy, 0);
        assert_eq!(losses(&book), (0, 0));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let (mut book, valuer) = (Book::new(2, 1, 2), valuer());
        let huge = Change { buys: i64::MAX, buy_value: i64::MAX, ..Change::default() };
        assert!(book.apply(WHO, &huge, &valuer, 1));
        let before = *book.account_cell(WHO);
        assert!(!book.apply(WHO, &Change { buys: 1, ..Change::default() }, &valuer, 1));
        assert!(!book.apply(WHO, &Change { position: 1, ..Change::default() }, &valuer, 1));
        assert_eq!(*book.account_cell(WHO), before);
    }
}
