//! What is held, for whoever makes positions smaller.

use tidegate_wire::order::{LimitScope, Side};
use tidegate_wire::{InstrumentId, Price, Qty};

use super::amount::Rounding;
use super::book::Who;
use super::control::concerns;
use super::gate::RiskGate;
use super::state::State;

/// A strategy's position on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Account.
    pub account: u16,
    /// Strategy.
    pub strategy: u16,
    /// Instrument.
    pub instrument: InstrumentId,
    /// A [`tidegate_wire::Venue`].
    pub venue: u8,
    /// Signed quantity.
    pub position: Qty,
}

impl State {
    /// Every owner there can be, by instrument, then account, then strategy.
    pub(super) fn owners(&self) -> impl Iterator<Item = Who> {
        let (accounts, strategies) = (self.accounts.len() as u16, self.strategies.len() as u16);
        let listed = self.listed.iter().enumerate();
        listed.flat_map(move |(instrument, listed)| {
            let each = (0..accounts).flat_map(move |account| (0..strategies).map(move |strategy| (account, strategy)));
            let (instrument, venue) = (instrument as u16, listed.venue);
            each.map(move |(account, strategy)| Who { account, strategy, instrument, venue })
        })
    }
}

impl RiskGate {
    /// Every strategy's position on every account, zeros included, always in the same order.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.state.owners().map(|who| Holding {
            account: who.account,
            strategy: who.strategy,
            instrument: InstrumentId(who.instrument),
            venue: who.venue,
            position: Qty::from_raw(self.state.book.strategy_cell(who).position),
        })
    }

    /// Quantity that an account may still sell (or buy) without passing zero, whatever of its open orders executes.
    pub fn reducible(&self, account: u16, instrument: InstrumentId, side: Side) -> Qty {
        let Some(who) = self.state.who(account, 0, instrument) else { return Qty::ZERO };
        let cell = self.state.book.account_cell(who);
        let free = match side {
            Side::Sell => cell.position.saturating_sub(cell.sells),
            Side::Buy => cell.position.saturating_neg().saturating_sub(cell.buys),
        };
        Qty::from_raw(free.max(0))
    }

    /// Net value of a scope's positions at the prices they were valued at last, millionths, saturating; of those
    /// instruments only that `counts` says.
    pub fn net_value(&self, scope: LimitScope, id: u16, counts: impl Fn(InstrumentId) -> bool) -> i64 {
        let mine = self.state.owners().filter(|who| concerns(*who, scope, id) && counts(InstrumentId(who.instrument)));
        mine.fold(0i64, |sum, who| sum.saturating_add(self.state.book.strategy_cell(who).position_value()))
    }

    /// Value of one lot at a price, millionths; `None` when there is no such instrument or price.
    pub fn lot_value(&self, instrument: InstrumentId, price: Price) -> Option<i64> {
        let listed = self.state.listed.get(instrument.index()).filter(|_| price.raw() > 0)?;
        listed.valuer.value(price.raw(), listed.lot, Rounding::Up)
    }

    /// Open orders that the gate has room for.
    pub fn capacity(&self) -> usize {
        self.state.open.capacity()
    }

    /// Smallest quantity step of an instrument.
    pub fn lot_size(&self, instrument: InstrumentId) -> Option<Qty> {
        self.state.listed.get(instrument.index()).map(|listed| Qty::from_raw(listed.lot))
    }

    /// Smallest price step of an instrument.
    pub fn tick_size(&self, instrument: InstrumentId) -> Option<Price> {
        self.state.listed.get(instrument.index()).map(|listed| Price::from_raw(listed.tick))
    }

    /// Where an instrument trades, as a number of [`tidegate_wire::Venue`].
    pub fn venue(&self, instrument: InstrumentId) -> Option<u8> {
        self.state.listed.get(instrument.index()).map(|listed| listed.venue)
    }

    /// Number of an account by its name.
    pub fn account(&self, name: &str) -> Option<u16> {
        position(&self.state.names.accounts, name)
    }

    /// Number of a strategy by its name.
    pub fn strategy(&self, name: &str) -> Option<u16> {
        position(&self.state.names.strategies, name)
    }

    /// Number of an instrument by its name.
    pub fn instrument(&self, name: &str) -> Option<InstrumentId> {
        position(&self.state.names.instruments, name).map(InstrumentId)
    }
}

fn position(names: &[String], name: &str) -> Option<u16> {
    names.iter().position(|known| known == name).map(|index| index as u16)
}
