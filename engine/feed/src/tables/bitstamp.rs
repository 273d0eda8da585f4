//! Bitstamp's order-by-order stream of 2015 as a book by price: orders are added up, recorded books put it right.
//!
//! Rows are `<ms> <kind> <json>`. Orders that stood before the recording began are known only through the recorded
//! order books, which show the best levels of each side. Each of them is compared with the book kept here (that is the
//! check), then every level it shows, and every level between those, is set to what it says (that is the repair): what
//! lies behind its last level keeps what the orders add up to. A recorded book may be some milliseconds older than the
//! orders before it; what it undoes then comes back with the next one.
//!
//! A taker's order is published before its matches, so the book crosses for moments. Each recorded book is also emitted
//! as a snapshot of the whole book, which is what heals a crossed one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_wire::event::Trade;
use tidegate_wire::{Level, Price, Qty};

use crate::counters::Reason;
use crate::symbols::Entry;
use crate::tables::coinbase::Sides;
use crate::tables::fields::{mantissa, stamp_ns};

/// Kinds of rows.
const KINDS: [&str; 5] = ["order_created", "order_changed", "order_deleted", "trade", "order_book"];

/// Receive time and the rest of a row, where it is one: 13 digits, a kind, an object.
pub(crate) fn split(row: &[u8]) -> Option<(i64, &'static str, &[u8])> {
    let (stamp, rest) = row.split_at_checked(13)?;
    let rest = rest.strip_prefix(b" ")?;
    let kind = KINDS.into_iter().find(|kind| rest.starts_with(kind.as_bytes()))?;
    let json = rest[kind.len()..].strip_prefix(b" ").filter(|json| json.starts_with(b"{"))?;
    Some((stamp_ns(stamp, 13, 1_000_000)?, kind, json))
}

#[derive(Deserialize)]
struct OrderRow<'a> {
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    amount: Cow<'a, str>,
    id: u64,
    order_type: u8,
}

/// Trades come with numbers where orders have texts; taken as text, they are as exact.
#[derive(Deserialize)]
struct TradeRow<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    amount: &'a RawValue,
    id: u64,
}

#[derive(Deserialize)]
struct BookRow {
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    bid: bool,
    price: i64,
    qty: i64,
}

/// Part of an order that was matched; `qty` is unknown for an order from before the recording.
#[derive(Clone, Copy, Debug)]
struct Fill {
    id: u64,
    bid: bool,
    qty: Option<i64>,
}

/// Fills that wait for their trade, which comes a few rows later.
const FILLS: usize = 16;

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Levels changed (see the sides); none where nothing is known of the order.
    Levels,
    /// A trade, and whether the aggressor sold.
    Trade(Trade, bool),
    /// A recorded book: the levels it put right, and whether the book agreed with it before; `None` for the first.
    Book(Option<bool>),
}

/// The orders and levels of one instrument.
#[derive(Debug, Default)]
pub(super) struct Orders {
    orders: HashMap<u64, Order>,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    fills: VecDeque<Fill>,
    last_price: i64,
    last_sell: bool,
    /// A recorded book was seen.
    begun: bool,
}

impl Orders {
    /// Takes a row in; changed levels go to `sides` with their new quantities.
    pub(super) fn row(&mut self, row: &[u8], entry: &Entry, sides: &mut Sides) -> Result<Said, Reason> {
        sides.clear();
        let (at_ns, kind, json) = split(row).ok_or(Reason::BadField)?;
        if kind == "trade" {
            return self.trade(at_ns, json, entry);
        }
        if kind == "order_book" {
            return self.book(json, entry, sides);
        }
        let row: OrderRow<'_> = serde_json::from_slice(json).map_err(|_| Reason::BadField)?;
        let price = mantissa(row.price.as_bytes(), entry.price_scale)?;
        let qty = mantissa(row.amount.as_bytes(), entry.qty_scale)?;
        let order = Order { bid: bid(row.order_type)?, price, qty };
        match kind {
            "order_created" => self.created(row.id, order, sides),
            "order_changed" => self.changed(row.id, order, sides),
            _ => self.deleted(row.id, order, sides),
        }
        Ok(Said::Levels)
    }

    fn created(&mut self, id: u64, order: Order, sides: &mut Sides) {
        if let Some(before) = self.orders.insert(id, order) {
            self.add(before, -before.qty, sides);
        }
        self.add(order, order.qty, sides);
    }

    fn changed(&mut self, id: u64, order: Order, sides: &mut Sides) {
        // What an unknown order had before is unknown too: its level stays as the recorded books have it.
        let Some(before) = self.orders.insert(id, order) else {
            return self.filled(Fill { id, bid: order.bid, qty: None });
        };
        if before.price == order.price && before.bid == order.bid {
            self.add(order, order.qty - before.qty, sides);
            if order.qty < before.qty {
                self.filled(Fill { id, bid: order.bid, qty: Some(before.qty - order.qty) });
            }
        } else {
            self.add(before, -before.qty, sides);
            self.add(order, order.qty, sides);
        }
    }

    fn deleted(&mut self, id: u64, order: Order, sides: &mut Sides) {
        let before = self.orders.remove(&id);
        // A filled order is deleted with nothing left, a cancelled one with what it had.
        if order.qty == 0 {
            self.filled(Fill { id, bid: order.bid, qty: before.map(|before| before.qty) });
        }
        let gone = before.unwrap_or(order);
        self.add(gone, -gone.qty, sides);
    }

    fn filled(&mut self, fill: Fill) {
        if self.fills.len() == FILLS {
            self.fills.pop_front();
        }
        self.fills.push_back(fill);
    }

    /// Changes a level; below zero means that a recorded book had been older than the orders.
    fn add(&mut self, order: Order, change: i64, sides: &mut Sides) {
        if change == 0 {
            return;
        }
        let levels = if order.bid { &mut self.bids } else { &mut self.asks };
        let qty = levels.get(&order.price).copied().unwrap_or(0).saturating_add(change).max(0);
        if qty == 0 {
            levels.remove(&order.price);
        } else {
            levels.insert(order.price, qty);
        }
        sides.push(order.bid, level(order.price, qty));
    }

    /// Trades name neither side nor orders, but follow what became of both: [`Self::aggressor_sold`].
    fn trade(&mut self, at_ns: i64, json: &[u8], entry: &Entry) -> Result<Said, Reason> {
        let row: TradeRow<'_> = serde_json::from_slice(json).map_err(|_| Reason::BadField)?;
        let price = mantissa(row.price.get().as_bytes(), entry.price_scale)?;
        let qty = mantissa(row.amount.get().as_bytes(), entry.qty_scale)?;
        if qty == 0 || price == 0 {
            return Err(Reason::BadField);
        }
        let sell = self.aggressor_sold(price, qty);
        self.fills.retain(|fill| fill.qty.is_some_and(|filled| filled != qty));
        (self.last_price, self.last_sell) = (price, sell);
        let (price, qty) = (Price::from_raw(price), Qty::from_raw(qty));
        Ok(Said::Trade(Trade { price, qty, trade_id: row.id, transact_ns: at_ns }, sell))
    }

    /// Of the two orders that lost just what was traded, the newer one is the aggressor's. An order from before the
    /// recording is the older one; where one order alone lost that much, the other was never published, as happens to
    /// takers. Where none did, the tick rule decides: Lee, Ready, Inferring trade direction (1991).
    fn aggressor_sold(&self, price: i64, qty: i64) -> bool {
        let mut matched = self.fills.iter().filter(|fill| fill.qty == Some(qty));
        let Some(newest) = matched.clone().max_by_key(|fill| fill.id) else {
            let moved = self.last_price != 0 && price != self.last_price;
            return if moved { price < self.last_price } else { self.last_sell };
        };
        let old_maker = self.fills.iter().any(|fill| fill.qty.is_none() && fill.bid != newest.bid);
        let newest_is_maker = matched.nth(1).is_none() && !old_maker;
        newest.bid == newest_is_maker
    }

    fn book(&mut self, json: &[u8], entry: &Entry, sides: &mut Sides) -> Result<Said, Reason> {
        let row: BookRow = serde_json::from_slice(json).map_err(|_| Reason::BadField)?;
        let read = |levels: &[(String, String)]| -> Result<BTreeMap<i64, i64>, Reason> {
            let one = |(price, qty): &(String, String)| {
                Ok((mantissa(price.as_bytes(), entry.price_scale)?, mantissa(qty.as_bytes(), entry.qty_scale)?))
            };
            levels.iter().map(one).collect()
        };
        let (bids, asks) = (read(&row.bids)?, read(&row.asks)?);
        let agreed = same(self.bids.iter().rev(), bids.iter().rev()) && same(self.asks.iter(), asks.iter());
        // Behind the last level it shows, the book is what the orders say.
        let bids_from = bids.keys().next().copied().unwrap_or(0);
        let asks_to = asks.keys().next_back().copied().unwrap_or(i64::MAX);
        put_right(&mut self.bids, &bids, bids_from..=i64::MAX, &mut sides.bids);
        put_right(&mut self.asks, &asks, 0..=asks_to, &mut sides.asks);
        Ok(Said::Book(core::mem::replace(&mut self.begun, true).then_some(agreed)))
    }

    /// The whole book, best levels first.
    pub(super) fn whole(&self, sides: &mut Sides) {
        sides.clear();
        sides.bids.extend(self.bids.iter().rev().map(|(price, qty)| level(*price, *qty)));
        sides.asks.extend(self.asks.iter().map(|(price, qty)| level(*price, *qty)));
    }
}

/// Whether the best levels of a side are those that were recorded.
fn same<'a>(
    ours: impl Iterator<Item = (&'a i64, &'a i64)>,
    recorded: impl ExactSizeIterator<Item = (&'a i64, &'a i64)>,
) -> bool {
    ours.take(recorded.len()).eq(recorded)
}

/// Sets all levels of a range to what was recorded; the changed ones go to `changed`.
fn put_right(
    ours: &mut BTreeMap<i64, i64>,
    recorded: &BTreeMap<i64, i64>,
    range: core::ops::RangeInclusive<i64>,
    changed: &mut Vec<Level>,
) {
    let wrong = ours.range(range).filter(|(price, _)| !recorded.contains_key(price));
    let wrong: Vec<i64> = wrong.map(|(price, _)| *price).collect();
    for price in wrong {
        ours.remove(&price);
        changed.push(level(price, 0));
    }
    for (price, qty) in recorded {
        if *qty > 0 && ours.insert(*price, *qty) != Some(*qty) {
            changed.push(level(*price, *qty));
        }
    }
}

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) }
}

fn bid(order_type: u8) -> Result<bool, Reason> {
    match order_type {
        0 => Ok(true),
        1 => Ok(false),
        _ => Err(Reason::BadField),
    }
}

/// Prices and quantities of a row for whoever measures grids: `(price, quantity)` texts.
pub(crate) fn numbers(row: &[u8], mut see: impl FnMut(&[u8], &[u8])) {
    match split(row) {
        Some((_, "trade", json)) => {
            if let Ok(row) = serde_json::from_slice::<TradeRow<'_>>(json) {
                see(row.price.get().as_bytes(), row.amount.get().as_bytes());
            }
        }
        Some((_, "order_book", json)) => {
            if let Ok(row) = serde_json::from_slice::<BookRow>(json) {
                row.bids.iter().chain(&row.asks).for_each(|(price, qty)| see(price.as_bytes(), qty.as_bytes()));
            }
        }
        Some((_, _, json)) => {
            if let Ok(row) = serde_json::from_slice::<OrderRow<'_>>(json) {
                see(row.price.as_bytes(), row.amount.as_bytes());
            }
        }
        None => {}
    }
}
