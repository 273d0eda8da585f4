//! What the real market does to resting orders.

use tidegate_wire::InstrumentId;
use tidegate_wire::event::Trade;
use tidegate_wire::order::Side;

use super::book::{BookTop, is_better, reaches};
use super::exchange::PaperExchange;
use super::orders::NONE;
use super::queue::Stamps;

/// Both sides, in the order in which their orders are looked at.
const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

impl PaperExchange {
    /// Shows a book after it changed, at event time `now_ns`. What was due before happens first. Levels beyond
    /// [`PaperConfig::depth`](super::PaperConfig::depth) are not looked at; other venues' books are none of this one's.
    pub fn book(&mut self, instrument: InstrumentId, now_ns: i64, top: BookTop<'_>) {
        self.advance(now_ns);
        if self.listing(instrument).is_none() {
            return;
        }
        let (now_ns, depth) = (self.now_ns, self.rules.depth);
        let market = &mut self.markets[instrument.index()];
        market.show(now_ns, &top, depth);
        let is_good = market.is_good;
        for side in SIDES {
            self.see_levels(instrument, side, is_good);
        }
        if is_good {
            SIDES.into_iter().for_each(|side| self.cross(instrument, side));
        }
    }

    /// Tells of a trade at event time `now_ns`; `sell` where the aggressor sold. What was due before happens first.
    ///
    /// Its quantity executes orders on the side it took from, those with a better price first and entirely, then those
    /// at its price as far as it exceeds what is ahead of them, and then orders of the other side that it went through.
    /// All of them together never execute more than was traded.
    pub fn trade(&mut self, instrument: InstrumentId, now_ns: i64, trade: &Trade, sell: bool) {
        self.advance(now_ns);
        if self.listing(instrument).is_none() || trade.qty.raw() <= 0 {
            return;
        }
        let at = Stamps { event_ns: self.now_ns, venue_ns: trade.transact_ns };
        let (price, qty) = (trade.price.raw(), trade.qty.raw());
        let hit = if sell { Side::Buy } else { Side::Sell };
        let market = &mut self.markets[instrument.index()];
        if !market.is_good {
            let missed = SIDES.map(|side| self.reached(instrument, side, price));
            self.counters.missed_trades += missed.iter().sum::<u64>();
            return;
        }
        market.remember(price, qty, at);
        let used = self.hit(instrument, hit, price, qty, at);
        self.pass(instrument, hit.opposite(), price, qty - used);
    }

    /// Orders of a side that a trade at a price reaches.
    fn reached(&self, instrument: InstrumentId, side: Side, price: i64) -> u64 {
        let (mut count, mut place) = (0, self.orders.first(instrument, side));
        while place != NONE && reaches(side, self.orders.get(place).price, price) {
            (count, place) = (count + 1, self.orders.next(place));
        }
        count
    }

    /// Resting orders see their levels.
    fn see_levels(&mut self, instrument: InstrumentId, side: Side, is_good: bool) {
        let Some(rules) = self.listings[instrument.index()].as_ref().map(|listing| listing.queue) else { return };
        let market = &self.markets[instrument.index()];
        let mut place = self.orders.first(instrument, side);
        while place != NONE {
            let next = self.orders.next(place);
            let order = self.orders.get_mut(place);
            if !is_good {
                order.queue.blind();
                self.counters.missed_books += 1;
            } else if let Some(qty) = market.side(side).qty_at(order.price) {
                order.queue.see(&rules, market.at, qty);
            }
            place = next;
        }
    }

    /// Whoever offers at an order's price or better would have met the order: it executes, at its own price, as much as
    /// is offered and not taken.
    fn cross(&mut self, instrument: InstrumentId, side: Side) {
        let mut place = self.orders.first(instrument, side);
        let mut index = 0;
        while place != NONE {
            let next = self.orders.next(place);
            let price = self.orders.get(place).price;
            let mut left = self.orders.get(place).left();
            while left > 0 {
                let opposite = self.markets[instrument.index()].side(side.opposite());
                let Some(level) = opposite.levels().get(index).filter(|l| reaches(side, price, l.price.raw())) else {
                    return;
                };
                let offered = level.qty.raw() - opposite.taken(index);
                if offered <= 0 {
                    index += 1;
                    continue;
                }
                let done = self.execute_resting(place, offered.min(left));
                if self.rules.consume {
                    self.markets[instrument.index()].side_mut(side.opposite()).take(index, done);
                }
                left -= done;
                // What did not execute although it was offered cannot now; without memory a level is offered once.
                index += usize::from(!self.rules.consume);
                if done == 0 {
                    break;
                }
            }
            place = next;
        }
    }

    /// A trade takes from a side. Gives what of it paper orders executed.
    fn hit(&mut self, instrument: InstrumentId, side: Side, price: i64, qty: i64, at: Stamps) -> i64 {
        let mut used = self.pass(instrument, side, price, qty);
        let Some(rules) = self.listings[instrument.index()].as_ref().map(|listing| listing.queue) else { return used };
        let mut place = self.orders.first(instrument, side);
        while place != NONE && reaches(side, self.orders.get(place).price, price) {
            let next = self.orders.next(place);
            let order = self.orders.get_mut(place);
            if order.price == price {
                // Each is told of the whole trade: its place is counted in real quantity.
                let reached = order.queue.trade(&rules, at, qty);
                let left = order.left();
                let share = (reached - used).min(left);
                if share > 0 {
                    used += self.execute_resting(place, share);
                }
            }
            place = next;
        }
        used
    }

    /// A trade went through the orders of a side that have a better price. Gives what of it they executed.
    fn pass(&mut self, instrument: InstrumentId, side: Side, price: i64, qty: i64) -> i64 {
        let mut used = 0;
        let mut place = self.orders.first(instrument, side);
        while place != NONE && is_better(side, self.orders.get(place).price, price) {
            let next = self.orders.next(place);
            let order = self.orders.get_mut(place);
            order.queue.passed();
            let share = (qty - used).min(order.left());
            if share > 0 {
                used += self.execute_resting(place, share);
            }
            place = next;
        }
        used
    }
}
