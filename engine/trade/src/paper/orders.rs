//! Open orders: found by account and client id, and lined up by instrument and side as their exchange would.

use tidegate_wire::InstrumentId;
use tidegate_wire::order::{OrderType, SelfTradeMode, Side};

use super::book::is_better;
use super::queue::Queue;

/// No order.
pub(super) const NONE: u32 = u32::MAX;

/// One order, open or arriving. Prices and quantities are mantissas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The last request that changed it.
    pub(super) request_id: u64,
    pub(super) client_id: u64,
    /// The exchange's number of it.
    pub(super) order_id: u64,
    /// When it expires, ns since the Unix epoch; `i64::MAX` for never.
    pub(super) expires_ns: i64,
    /// Its limit, > 0; 0 for market orders.
    pub(super) price: i64,
    /// Total quantity, executions included.
    pub(super) total: i64,
    /// Of that, what has executed.
    pub(super) executed: i64,
    pub(super) account: u16,
    pub(super) strategy: u16,
    pub(super) instrument: InstrumentId,
    pub(super) side: Side,
    pub(super) order_type: OrderType,
    pub(super) self_trade: SelfTradeMode,
    pub(super) reduce_only: bool,
    /// Whether what does not execute at once waits.
    pub(super) rests: bool,
    /// Its place while it rests.
    pub(super) queue: Queue,
}

impl Order {
    /// An order as it arrives; its number, terms and codes are the caller's to fill in.
    pub(super) fn new(account: u16, strategy: u16, instrument: InstrumentId, client_id: u64) -> Self {
        let nowhere = Default::default();
        Self {
            request_id: 0,
            client_id,
            order_id: 0,
            expires_ns: i64::MAX,
            price: 0,
            total: 0,
            executed: 0,
            account,
            strategy,
            instrument,
            side: Side::Buy,
            order_type: OrderType::Limit,
            self_trade: SelfTradeMode::None,
            reduce_only: false,
            rests: false,
            queue: Queue::join(None, nowhere, 0, nowhere),
        }
    }

    /// What may still execute.
    pub(super) const fn left(&self) -> i64 {
        self.total - self.executed
    }

    /// The worst price it executes at.
    pub(super) const fn limit(&self) -> i64 {
        match (self.order_type, self.side) {
            (OrderType::Market, Side::Buy) => i64::MAX,
            (OrderType::Market, Side::Sell) => 0,
            _ => self.price,
        }
    }
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    orders: Box<[Order]>,
    /// By place, the one behind it in line.
    behind: Box<[u32]>,
    /// Free places, a stack.
    free: Vec<u32>,
    /// Account, client id and place of every open order, sorted: few are open, and shifting a few lines of memory is
    /// cheaper than being clever.
    index: Vec<(u16, u64, u32)>,
    /// The first order in line, by instrument and side.
    lines: Box<[u32]>,
    /// The earliest expiry of any.
    next_expiry_ns: i64,
}

impl Orders {
    pub(super) fn new(capacity: usize, instruments: usize) -> Self {
        Self {
            orders: vec![Order::new(0, 0, InstrumentId::NONE, 0); capacity].into(),
            behind: vec![NONE; capacity].into(),
            free: (0..capacity as u32).rev().collect(),
            index: Vec::with_capacity(capacity),
            lines: vec![NONE; instruments * 2].into(),
            next_expiry_ns: i64::MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Where an order is.
    pub(super) fn find(&self, account: u16, client_id: u64) -> Option<u32> {
        let at = self.search(account, client_id).ok()?;
        Some(self.index[at].2)
    }

    pub(super) fn get(&self, place: u32) -> &Order {
        &self.orders[place as usize]
    }

    /// For everything but what the table finds and lines it up by: account, client id, instrument, side, price.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut Order {
        &mut self.orders[place as usize]
    }

    /// Adds an order behind those of its price; `false` when the table is full.
    pub(super) fn insert(&mut self, order: Order) -> bool {
        let Some(place) = self.free.pop() else { return false };
        let at = self.search(order.account, order.client_id).unwrap_or_else(|at| at);
        self.index.insert(at, (order.account, order.client_id, place));
        let line = line_of(order.instrument, order.side);
        let (mut before, mut here) = (NONE, self.lines[line]);
        while here != NONE && !is_better(order.side, order.price, self.get(here).price) {
            (before, here) = (here, self.next(here));
        }
        self.orders[place as usize] = order;
        self.behind[place as usize] = here;
        self.link(line, before, place);
        self.next_expiry_ns = self.next_expiry_ns.min(order.expires_ns);
        true
    }

    /// Takes an order out.
    pub(super) fn remove(&mut self, place: u32) -> Order {
        let order = self.orders[place as usize];
        if let Ok(at) = self.search(order.account, order.client_id) {
            self.index.remove(at);
            self.free.push(place);
        }
        let line = line_of(order.instrument, order.side);
        let (mut before, mut here) = (NONE, self.lines[line]);
        while here != NONE && here != place {
            (before, here) = (here, self.next(here));
        }
        if here == place {
            self.link(line, before, self.next(place));
        }
        if order.expires_ns == self.next_expiry_ns {
            self.next_expiry_ns = self.iter().map(|order| order.expires_ns).min().unwrap_or(i64::MAX);
        }
        order
    }

    /// The first order in line, or [`NONE`].
    pub(super) fn first(&self, instrument: InstrumentId, side: Side) -> u32 {
        self.lines[line_of(instrument, side)]
    }

    /// The one behind it, or [`NONE`].
    pub(super) fn next(&self, place: u32) -> u32 {
        self.behind[place as usize]
    }

    /// The earliest expiry; `i64::MAX` when there is none.
    pub(super) const fn next_expiry_ns(&self) -> i64 {
        self.next_expiry_ns
    }

    /// The oldest order whose time has come.
    pub(super) fn expired(&self, now_ns: i64) -> Option<u32> {
        let due = self.index.iter().map(|(.., place)| *place).filter(|place| self.get(*place).expires_ns <= now_ns);
        due.min_by_key(|place| (self.get(*place).expires_ns, self.get(*place).order_id))
    }

    /// All of them, by account and client id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.index.iter().map(|(.., place)| self.get(*place))
    }

    fn search(&self, account: u16, client_id: u64) -> Result<usize, usize> {
        self.index.binary_search_by_key(&(account, client_id), |(account, client_id, _)| (*account, *client_id))
    }

    fn link(&mut self, line: usize, before: u32, place: u32) {
        if before == NONE {
            self.lines[line] = place;
        } else {
            self.behind[before as usize] = place;
        }
    }
}

/// Position of a line.
const fn line_of(instrument: InstrumentId, side: Side) -> usize {
    instrument.index() * 2 + side as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map, and lines sorted by price and time.
        #[test]
        fn the_table_agrees_with_a_map(
            steps in prop::collection::vec((any::<bool>(), 0u16..2, 1u64..16, 1i64..5, any::<bool>(), 0i64..9), 1..200)
        ) {
            let (mut orders, mut map, mut number) = (Orders::new(6, 1), BTreeMap::new(), 0);
            for (adds, account, client_id, price, sells, expires_ns) in steps {
                let key = (account, client_id);
                match (adds, orders.find(account, client_id)) {
                    (true, None) => {
                        number += 1;
                        let side = if sells { Side::Sell } else { Side::Buy };
                        let bare = Order::new(account, 0, InstrumentId(0), client_id);
                        let order = Order { side, price, order_id: number, expires_ns, ..bare };
                        let fits = orders.insert(order);
                        prop_assert_eq!(fits, map.len() < 6);
                        if fits {
                            map.insert(key, (side, price, number, expires_ns));
                        }
                    }
                    (false, Some(place)) => {
                        prop_assert_eq!(orders.remove(place).order_id, map[&key].2);
                        map.remove(&key);
                    }
                    (_, found) => prop_assert_eq!(found.is_some(), map.contains_key(&key)),
                }
                prop_assert_eq!((orders.len(), orders.is_full()), (map.len(), map.len() == 6));
                let expiry = map.values().map(|known| known.3).min();
                prop_assert_eq!(orders.next_expiry_ns(), expiry.unwrap_or(i64::MAX));
                for side in [Side::Buy, Side::Sell] {
                    let mut expected: Vec<_> = map.values().filter(|known| known.0 == side).collect();
                    expected.sort_by_key(|known| (if side == Side::Buy { -known.1 } else { known.1 }, known.2));
                    let (mut line, mut place) = (Vec::new(), orders.first(InstrumentId(0), side));
                    while place != NONE {
                        line.push(orders.get(place).order_id);
                        place = orders.next(place);
                    }
                    prop_assert_eq!(line, expected.iter().map(|known| known.2).collect::<Vec<_>>());
                }
            }
        }
    }
}
