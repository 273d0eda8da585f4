//! Orders that count: everything that was let through and is not known to have ended.
//!
//! A table of fixed capacity, found by account and client order id. Resting orders are also linked by instrument and
//! side, with the most aggressive price of each list at hand, so that "does it cross one of ours" is one comparison
//! nearly always.

use tidegate_wire::order::Side;

use super::book::Who;
use super::window::mixed;

/// No order.
pub(crate) const NONE: u32 = u32::MAX;

/// One order that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) client_id: u64,
    pub(crate) who: Who,
    pub(crate) side: Side,
    pub(crate) reduce_only: bool,
    /// Whether it can be a maker.
    pub(crate) rests: bool,
    /// Trade group of its account; 0 is none.
    pub(crate) group: u32,
    /// Most aggressive limit price it may have: while a replacement is on its way, of the old and the new one.
    pub(crate) price: i64,
    /// Price a unit counts at.
    pub(crate) unit: i64,
    /// Largest total quantity it may have, executions included.
    pub(crate) total: i64,
    pub(crate) filled: i64,
    /// Quantity that self-trade prevention took and the venue has not confirmed.
    pub(crate) prevented: i64,
    /// Value it counts with, millionths.
    pub(crate) value: i64,
    /// Quantity it counts with.
    pub(crate) counted: i64,
    /// Price, unit and total that a replacement on its way asks for, if one is.
    pub(crate) pending: Option<Terms>,
    /// The same as the venue knows them now.
    pub(crate) terms: Terms,
    /// Arrival, for priority among equal prices.
    pub(crate) number: u64,
    next: u32,
    previous: u32,
}

/// What a replacement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) price: i64,
    pub(crate) unit: i64,
    pub(crate) total: i64,
}

impl Open {
    /// An order as it is let through.
    pub(crate) const fn new(client_id: u64, who: Who, side: Side, terms: Terms, value: i64) -> Self {
        Self {
            client_id,
            who,
            side,
            reduce_only: false,
            rests: true,
            group: 0,
            price: terms.price,
            unit: terms.unit,
            total: terms.total,
            filled: 0,
            prevented: 0,
            value,
            counted: terms.total,
            pending: None,
            terms,
            number: 0,
            next: NONE,
            previous: NONE,
        }
    }

    /// Quantity that may still execute.
    #[inline(always)]
    pub(crate) const fn remaining(&self) -> i64 {
        self.total - self.filled
    }

    /// Quantity that may still execute once self-trade prevention is through.
    #[inline(always)]
    pub(crate) const fn available(&self) -> i64 {
        self.remaining() - self.prevented
    }

    /// Whether it belongs to the owner of an order of that account and group.
    #[inline(always)]
    pub(crate) const fn is_of_owner(&self, account: u16, group: u32) -> bool {
        self.who.account == account || group != 0 && self.group == group
    }
}

/// Whether an order on `side` at `price` would trade with one of the other side at `other`.
#[inline(always)]
pub(crate) const fn crosses(side: Side, price: i64, other: i64) -> bool {
    match side {
        Side::Buy => price >= other,
        Side::Sell => price <= other,
    }
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct OpenOrders {
    orders: Box<[Open]>,
    used: Box<[bool]>,
    /// Free places, a stack.
    free: Vec<u32>,
    /// Places by hash; [`NONE`] is empty.
    slots: Box<[u32]>,
    /// First resting order and most aggressive price, by instrument and side.
    lists: Box<[(u32, i64)]>,
    numbered: u64,
}

const VACANT: Open = Open::new(
    0,
    Who { account: 0, strategy: 0, instrument: 0, venue: 0 },
    Side::Buy,
    Terms { price: 0, unit: 0, total: 0 },
    0,
);

impl OpenOrders {
    pub(crate) fn new(capacity: usize, instruments: usize) -> Self {
        let lists = (0..instruments * 2).map(|list| (NONE, tamest(list))).collect();
        Self {
            orders: vec![VACANT; capacity].into(),
            used: vec![false; capacity].into(),
            free: (0..capacity as u32).rev().collect(),
            slots: vec![NONE; (capacity * 2).next_power_of_two()].into(),
            lists,
            numbered: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.orders.len() - self.free.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.orders.len()
    }

    /// Where an order is.
    #[inline(always)]
    pub(crate) fn find(&self, account: u16, client_id: u64) -> Option<u32> {
        let mut slot = self.home(account, client_id);
        loop {
            let place = self.slots[slot];
            if place == NONE {
                return None;
            }
            let order = &self.orders[place as usize];
            if order.client_id == client_id && order.who.account == account {
                return Some(place);
            }
            slot = self.next_slot(slot);
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, place: u32) -> &Open {
        &self.orders[place as usize]
    }

    /// For everything but price, account, client id, instrument and side: those keep the table's order.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut Open {
        &mut self.orders[place as usize]
    }

    /// Adds an order that is not there; `false` when the table is full.
    #[inline(always)]
    pub(crate) fn insert(&mut self, mut order: Open) -> bool {
        let Some(place) = self.free.pop() else { return false };
        self.numbered += 1;
        order.number = self.numbered;
        let mut slot = self.home(order.who.account, order.client_id);
        while self.slots[slot] != NONE {
            slot = self.next_slot(slot);
        }
        self.slots[slot] = place;
        self.used[place as usize] = true;
        self.orders[place as usize] = order;
        if order.rests {
            self.link(place);
        }
        true
    }

    /// Takes an order out.
    pub(crate) fn remove(&mut self, place: u32) {
        let order = self.orders[place as usize];
        let mut slot = self.home(order.who.account, order.client_id);
        while self.slots[slot] != place {
            if self.slots[slot] == NONE {
                return;
            }
            slot = self.next_slot(slot);
        }
        self.close_gap(slot);
        if order.rests {
            self.unlink(place);
        }
        self.used[place as usize] = false;
        self.free.push(place);
    }

    /// Another most aggressive price.
    pub(crate) fn reprice(&mut self, place: u32, price: i64) {
        if self.orders[place as usize].rests {
            self.unlink(place);
            self.orders[place as usize].price = price;
            self.link(place);
        } else {
            self.orders[place as usize].price = price;
        }
    }

    /// Most aggressive price among resting orders of a side; one that nothing crosses when there are none.
    #[inline(always)]
    pub(crate) fn best(&self, instrument: u16, side: Side) -> i64 {
        self.lists[list_of(instrument, side)].1
    }

    /// Resting orders of a side, newest first.
    pub(crate) fn resting(&self, instrument: u16, side: Side) -> impl Iterator<Item = (u32, &Open)> {
        let mut place = self.lists[list_of(instrument, side)].0;
        core::iter::from_fn(move || {
            let order = self.orders.get(place as usize)?;
            let here = core::mem::replace(&mut place, order.next);
            Some((here, order))
        })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.orders.iter().zip(&self.used).filter(|(_, used)| **used).map(|(order, _)| order)
    }

    fn link(&mut self, place: u32) {
        let Open { who, side, price, .. } = self.orders[place as usize];
        let (head, best) = self.lists[list_of(who.instrument, side)];
        (self.orders[place as usize].next, self.orders[place as usize].previous) = (head, NONE);
        if head != NONE {
            self.orders[head as usize].previous = place;
        }
        let better = if side == Side::Buy { best.max(price) } else { best.min(price) };
        self.lists[list_of(who.instrument, side)] = (place, better);
    }

    fn unlink(&mut self, place: u32) {
        let Open { who, side, price, next, previous, .. } = self.orders[place as usize];
        let list = list_of(who.instrument, side);
        if previous == NONE {
            self.lists[list].0 = next;
        } else {
            self.orders[previous as usize].next = next;
        }
        if next != NONE {
            self.orders[next as usize].previous = previous;
        }
        if price == self.lists[list].1 {
            let prices = self.resting(who.instrument, side).map(|(_, order)| order.price);
            let best = if side == Side::Buy { prices.max() } else { prices.min() };
            self.lists[list].1 = best.unwrap_or(tamest(list));
        }
    }

    #[inline(always)]
    fn home(&self, account: u16, client_id: u64) -> usize {
        mixed([u64::from(account), client_id, 0]) as usize & (self.slots.len() - 1)
    }

    #[inline(always)]
    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// Empties a slot and moves later ones of its run back where they may go (Knuth, vol. 3, 6.4, algorithm R).
    fn close_gap(&mut self, mut hole: usize) {
        let mut at = hole;
        loop {
            self.slots[hole] = NONE;
            loop {
                at = self.next_slot(at);
                let place = self.slots[at];
                if place == NONE {
                    return;
                }
                let order = &self.orders[place as usize];
                let home = self.home(order.who.account, order.client_id);
                let stays = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
                if !stays {
                    break;
                }
            }
            self.slots[hole] = self.slots[at];
            hole = at;
        }
    }
}

/// Position of a list.
#[inline(always)]
const fn list_of(instrument: u16, side: Side) -> usize {
    instrument as usize * 2 + side as usize
}

/// A price of a list that no order of the other side crosses.
const fn tamest(list: usize) -> i64 {
    if list.is_multiple_of(2) { i64::MIN } else { i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn order(account: u16, client_id: u64, side: Side, price: i64) -> Open {
        let who = Who { account, strategy: 0, instrument: client_id as u16 % 2, venue: 0 };
        Open::new(client_id, who, side, Terms { price, unit: price, total: 1 }, 1)
    }

    proptest! {
        /// Against a map and a search from end to end.
        #[test]
        fn table_and_lists_agree_with_a_map(
            steps in prop::collection::vec((0u8..4, 0u16..2, 1u64..20, 1i64..9, any::<bool>()), 1..300)
        ) {
            let (mut table, mut map) = (OpenOrders::new(8, 2), BTreeMap::new());
            for (what, account, client_id, price, sell) in steps {
                let side = if sell { Side::Sell } else { Side::Buy };
                let key = (account, client_id);
                match (what, table.find(account, client_id)) {
                    (0 | 1, None) => {
                        let fits = table.insert(order(account, client_id, side, price));
                        prop_assert_eq!(fits, map.len() < 8);
                        if fits {
                            map.insert(key, (side, price));
                        }
                    }
                    (2, Some(place)) => {
                        table.remove(place);
                        map.remove(&key);
                    }
                    (3, Some(place)) => {
                        table.reprice(place, price);
                        map.entry(key).and_modify(|known| known.1 = price);
                    }
                    (_, found) => prop_assert_eq!(found.is_some(), map.contains_key(&key)),
                }
                prop_assert_eq!((table.len(), table.iter().count()), (map.len(), map.len()));
                for (instrument, side) in [(0, Side::Buy), (0, Side::Sell), (1, Side::Buy), (1, Side::Sell)] {
                    let mine = |(key, known): &(&(u16, u64), &(Side, i64))| {
                        key.1 as u16 % 2 == instrument && known.0 == side
                    };
                    let prices = map.iter().filter(mine).map(|(_, known)| known.1);
                    let (best, none) =
                        if side == Side::Buy { (prices.max(), i64::MIN) } else { (prices.min(), i64::MAX) };
                    prop_assert_eq!(table.best(instrument, side), best.unwrap_or(none));
                    let linked = table.resting(instrument, side).count();
                    prop_assert_eq!(linked, map.iter().filter(mine).count());
                }
            }
        }
    }
}
