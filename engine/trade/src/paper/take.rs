//! What an arriving order does: it walks what is known of the other side, best price first, and meets paper orders on
//! its way where they would stand.

use tidegate_wire::order::{SelfTradeMode, Side};

use super::book::{SideView, is_better, reaches};
use super::exchange::PaperExchange;
use super::orders::{NONE, Order, Orders};
use crate::gateway::{ExecType, Liquidity, Reason};

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Real quantity of a level.
    Level { index: usize, price: i64, qty: i64 },
    /// A paper order.
    Order(u32),
}

/// A walk along one side.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// Side of who walks.
    side: Side,
    /// The worst price it goes to.
    limit: i64,
    /// The level it is at.
    index: usize,
    /// Of that level, what is gone from its front.
    used: i64,
    /// The paper order it comes to next.
    place: u32,
}

impl Walk {
    fn new(order: &Order, opposite: &SideView, orders: &Orders) -> Self {
        let place = orders.first(order.instrument, order.side.opposite());
        Self { side: order.side, limit: order.limit(), index: 0, used: opposite.taken(0), place }
    }

    /// The next step; the walker takes all of it or ends.
    fn step(&mut self, opposite: &SideView, orders: &Orders) -> Option<Step> {
        let levels = opposite.levels();
        while levels.get(self.index).is_some_and(|level| level.qty.raw() <= self.used) {
            self.index += 1;
            self.used = levels.get(self.index).map_or(0, |_| opposite.taken(self.index));
        }
        let level = levels.get(self.index).map(|level| (level.price.raw(), level.qty.raw() - self.used));
        let level = level.filter(|(price, _)| reaches(self.side, self.limit, *price));
        let order = (self.place != NONE).then(|| orders.get(self.place));
        let order = order.filter(|order| reaches(self.side, self.limit, order.price));
        let real = match (level, order) {
            (None, None) => return None,
            (None, Some(_)) => 0,
            (Some((_, qty)), None) => qty,
            (Some((price, qty)), Some(order)) if order.price == price => {
                // What came before the paper order goes first; the rest of the level comes after it.
                qty.min((order.queue.ahead() - self.used).max(0))
            }
            (Some((price, qty)), Some(order)) => {
                if is_better(self.side.opposite(), price, order.price) {
                    qty
                } else {
                    0
                }
            }
        };
        match level.filter(|_| real > 0) {
            Some((price, _)) => {
                self.used += real;
                Some(Step::Level { index: self.index, price, qty: real })
            }
            None => {
                let next = orders.next(self.place);
                Some(Step::Order(core::mem::replace(&mut self.place, next)))
            }
        }
    }
}

/// Whether an order and a resting one may not trade with each other.
const fn is_prevented(taker: &Order, maker: &Order) -> bool {
    taker.account == maker.account && !matches!(taker.self_trade, SelfTradeMode::None)
}

impl PaperExchange {
    /// Whether anything is there that an order would trade with at once.
    pub(super) fn crosses(&self, order: &Order) -> bool {
        let opposite = self.markets[order.instrument.index()].side(order.side.opposite());
        let real = opposite.best().is_some_and(|best| reaches(order.side, order.limit(), best));
        real || Walk::new(order, opposite, &self.orders).step(opposite, &self.orders).is_some()
    }

    /// Whether all that is left of an order can execute at once. An order that would meet one of its owner's before is
    /// taken to fail, except where that one gives way.
    pub(super) fn fills_whole(&self, order: &Order) -> bool {
        let opposite = self.markets[order.instrument.index()].side(order.side.opposite());
        let mut walk = Walk::new(order, opposite, &self.orders);
        let (mut left, mut steps) = (order.left(), 0);
        while left > 0 {
            match walk.step(opposite, &self.orders) {
                None => return false,
                Some(Step::Level { qty, .. }) => (left, steps) = (left.saturating_sub(qty), steps + 1),
                Some(Step::Order(place)) => {
                    let maker = self.orders.get(place);
                    if !is_prevented(order, maker) {
                        (left, steps) = (left.saturating_sub(self.permitted(maker)), steps + 2);
                    } else if order.self_trade != SelfTradeMode::ExpireMaker {
                        return false;
                    }
                }
            }
        }
        self.permitted(order) == order.left() && self.has_room(steps)
    }

    /// Executes what an arriving order can, and says why it must end with what is left, [`Reason::None`] if it need
    /// not.
    pub(super) fn take(&mut self, order: &mut Order) -> Reason {
        let (instrument, side) = (order.instrument.index(), order.side.opposite());
        let mut walk = Walk::new(order, self.markets[instrument].side(side), &self.orders);
        let before = order.total;
        let mut reason = Reason::None;
        while order.left() > 0 && reason == Reason::None {
            match walk.step(self.markets[instrument].side(side), &self.orders) {
                None => break,
                Some(Step::Level { index, price, qty }) => {
                    let wanted = qty.min(order.left());
                    match self.execute(order, price, wanted, Liquidity::Taker) {
                        Ok(done) => {
                            if self.rules.consume {
                                self.markets[instrument].side_mut(side).take(index, done);
                            }
                            // Less than was there and wanted: a reduce-only order has done its work.
                            reason = if done < wanted { Reason::ReduceOnly } else { Reason::None };
                        }
                        Err(why) => reason = why,
                    }
                }
                Some(Step::Order(place)) => reason = self.meet(order, place),
            }
        }
        if order.total < before && order.left() > 0 && reason == Reason::None {
            self.tell(order, ExecType::Restated, Reason::SelfTrade);
        }
        reason
    }

    /// An arriving order meets a resting paper order. Gives why it must end, [`Reason::None`] if it need not.
    fn meet(&mut self, order: &mut Order, place: u32) -> Reason {
        let maker = *self.orders.get(place);
        if !is_prevented(order, &maker) {
            return self.match_with(order, place);
        }
        match order.self_trade {
            SelfTradeMode::ExpireMaker => {
                self.end(place, ExecType::Expired, Reason::SelfTrade);
                Reason::None
            }
            SelfTradeMode::ExpireBoth => {
                self.end(place, ExecType::Expired, Reason::SelfTrade);
                Reason::SelfTrade
            }
            SelfTradeMode::Decrement => {
                let (mine, other) = (order.left(), maker.left());
                if mine < other {
                    self.orders.get_mut(place).total -= mine;
                    let maker = *self.orders.get(place);
                    self.tell(&maker, ExecType::Restated, Reason::SelfTrade);
                } else {
                    self.end(place, ExecType::Expired, Reason::SelfTrade);
                }
                // Whoever has nothing left after this expires with all that it had.
                if mine <= other {
                    return Reason::SelfTrade;
                }
                order.total -= other;
                Reason::None
            }
            // `NONE` trades above, and `TRANSFER` was refused when the order came.
            SelfTradeMode::ExpireTaker | SelfTradeMode::None | SelfTradeMode::Transfer => Reason::SelfTrade,
        }
    }

    /// Two paper orders trade at the resting one's price.
    fn match_with(&mut self, order: &mut Order, place: u32) -> Reason {
        let maker = *self.orders.get(place);
        let (mine, other) = (self.permitted(order), self.permitted(&maker));
        if other == 0 {
            self.end(place, ExecType::Expired, Reason::ReduceOnly);
            return Reason::None;
        }
        if mine == 0 {
            return Reason::ReduceOnly;
        }
        if !self.has_room(2) {
            self.counters.missed_room += 1;
            return Reason::NoRoom;
        }
        let qty = mine.min(other);
        if self.fits(maker.account, maker.instrument, maker.side, qty).is_none() {
            self.end(place, ExecType::Expired, Reason::Overflow);
            return Reason::None;
        }
        match self.execute(order, maker.price, qty, Liquidity::Taker) {
            Ok(done) => {
                self.execute_resting(place, done);
                Reason::None
            }
            Err(why) => why,
        }
    }
}
