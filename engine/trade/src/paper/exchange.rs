//! The exchange itself: its time, its accounts, and what every part of it does to orders.

use std::collections::VecDeque;

use tidegate_wire::order::{OrderRequest, RequestKind, Side};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use super::book::Market;
use super::config::{PaperConfig, PaperError, REPORTS_A_REQUEST};
use super::fees::Fees;
use super::latency::Line;
use super::orders::{Order, Orders};
use super::outbox::Outbox;
use super::queue::QueueRules;
use crate::gateway::{ExecType, Gateway, Liquidity, Reason, Report, SubmitError};

/// What the exchange counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PaperCounters {
    /// Requests that arrived.
    pub requests: u64,
    /// Of these, refused.
    pub rejections: u64,
    /// Executions of orders that rested.
    pub maker_executions: u64,
    /// Executions of orders that arrived.
    pub taker_executions: u64,
    /// Resting orders that a trade may have filled while the book was not good.
    pub missed_trades: u64,
    /// Resting orders that were shown a book that was not good.
    pub missed_books: u64,
    /// Executions that did not happen because nobody had read the reports before.
    pub missed_room: u64,
}

/// An open order as the exchange knows it; nobody but tests and screens should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its account.
    pub account: u16,
    /// Its client id.
    pub client_id: u64,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// What may still execute.
    pub leaves_qty: Qty,
    /// Estimate of what must trade at its price before it does; `None` while its level has not been seen.
    pub ahead: Option<Qty>,
}

/// What is fixed of an instrument.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) tick: i64,
    pub(super) lot: i64,
    pub(super) fees: Fees,
    pub(super) queue: QueueRules,
}

/// What is fixed of the exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) venue: Venue,
    pub(super) accounts: u16,
    pub(super) depth: usize,
    pub(super) consume: bool,
    /// Millionths of the quote currency.
    pub(super) min_notional: i64,
}

/// A paper exchange: one venue.
#[derive(Clone, Debug)]
pub struct PaperExchange {
    pub(super) rules: Rules,
    /// By instrument; `None` where it is another venue's.
    pub(super) listings: Box<[Option<Listing>]>,
    pub(super) markets: Box<[Market]>,
    pub(super) orders: Orders,
    /// Net positions, by account and instrument.
    positions: Box<[i64]>,
    /// Requests on their way and when they arrive.
    inbox: VecDeque<(i64, OrderRequest)>,
    requests: usize,
    entry: Line,
    outbox: Outbox,
    pub(super) now_ns: i64,
    pub(super) numbered_orders: u64,
    numbered_trades: u64,
    pub(super) counters: PaperCounters,
}

impl PaperExchange {
    /// An exchange for a venue's instruments.
    ///
    /// # Errors
    /// A value of the configuration that makes no sense, or an instrument whose values do not fit 64 bits.
    pub fn new(registry: &Registry, venue: Venue, config: &PaperConfig) -> Result<Self, PaperError> {
        config.check()?;
        let listing = |instrument: &Instrument| -> Result<Option<Listing>, PaperError> {
            if instrument.venue != venue {
                return Ok(None);
            }
            let (tick, lot) = (instrument.tick.raw(), instrument.lot.raw());
            let queue = QueueRules {
                model: config.queue,
                lot,
                pairing_ns: i64::from(config.pairing_ms) * 1_000_000,
                slack_ns: i64::from(config.slack_ms) * 1_000_000,
            };
            Ok(Some(Listing { tick, lot, fees: Fees::new(instrument, &config.fees)?, queue }))
        };
        let listings: Box<[_]> = registry.iter().map(|(_, i)| listing(i)).collect::<Result<_, _>>()?;
        let instruments = listings.len();
        Ok(Self {
            rules: Rules {
                venue,
                accounts: config.accounts,
                depth: config.depth as usize,
                consume: config.consume,
                min_notional: config.min_notional.money().map_err(PaperError::Value)?,
            },
            listings,
            markets: vec![Market::new(); instruments].into(),
            orders: Orders::new(config.open_orders as usize, instruments),
            positions: vec![0; instruments * usize::from(config.accounts)].into(),
            inbox: VecDeque::with_capacity(config.requests as usize),
            requests: config.requests as usize,
            entry: Line::entry(&config.latency),
            outbox: Outbox::new(config.reports as usize, Line::response(&config.latency)),
            now_ns: 0,
            numbered_orders: 0,
            numbered_trades: 0,
            counters: PaperCounters::default(),
        })
    }

    /// Event time is `now_ns`: what was due until then happens, earliest first, each at its own time. At one time
    /// orders expire first, then requests arrive in the order they were sent. Time never goes back.
    pub fn advance(&mut self, now_ns: i64) {
        loop {
            let (expiry, arrival) = (self.orders.next_expiry_ns(), self.arrival_ns());
            let due = expiry.min(arrival);
            if due > now_ns || due == i64::MAX {
                break;
            }
            self.now_ns = self.now_ns.max(due);
            if expiry > arrival {
                self.receive();
            } else if let Some(place) = self.orders.expired(due) {
                self.end(place, ExecType::Expired, Reason::GoodTillDate);
            }
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// When something happens by itself next, at the exchange or to a report; `i64::MAX` when nothing will. Whoever
    /// simulates time may jump there.
    pub fn next_ns(&self) -> i64 {
        self.orders.next_expiry_ns().min(self.arrival_ns()).min(self.outbox.due_ns())
    }

    /// Net position of an account, a mantissa; `None` where there is no such account or instrument.
    pub fn position(&self, account: u16, instrument: InstrumentId) -> Option<Qty> {
        self.listing(instrument)?;
        (account < self.rules.accounts).then(|| Qty::from_raw(self.positions[self.holding(account, instrument)]))
    }

    /// All open orders, by account and client id.
    pub fn open_orders(&self) -> impl Iterator<Item = OpenOrder> + '_ {
        self.orders.iter().map(|order| OpenOrder {
            account: order.account,
            client_id: order.client_id,
            instrument: order.instrument,
            side: order.side,
            price: Price::from_raw(order.price),
            leaves_qty: Qty::from_raw(order.left()),
            ahead: Some(order.queue.ahead()).filter(|ahead| *ahead < i64::MAX).map(Qty::from_raw),
        })
    }

    /// What was counted.
    pub const fn counters(&self) -> PaperCounters {
        self.counters
    }

    /// XXH3 over every report so far, read or not: equal for equal input.
    pub const fn digest(&self) -> u64 {
        self.outbox.digest()
    }

    fn arrival_ns(&self) -> i64 {
        self.inbox.front().map_or(i64::MAX, |(arrives_ns, _)| *arrives_ns)
    }

    /// The next request arrives.
    fn receive(&mut self) {
        if let Some((_, request)) = self.inbox.pop_front() {
            self.counters.requests += 1;
            if let Err(reason) = self.arrive(&request) {
                self.counters.rejections += 1;
                self.reject(&request, reason);
            }
        }
    }

    pub(super) fn listing(&self, instrument: InstrumentId) -> Option<&Listing> {
        self.listings.get(instrument.index())?.as_ref()
    }

    fn holding(&self, account: u16, instrument: InstrumentId) -> usize {
        usize::from(account) * self.listings.len() + instrument.index()
    }

    /// Reports for which there is room beyond those that orders and requests will need.
    fn room(&self) -> usize {
        let needed = self.orders.len() + (self.inbox.len() + 1) * REPORTS_A_REQUEST as usize;
        self.outbox.room().saturating_sub(needed)
    }

    /// Whether there is room for so many executions.
    pub(super) fn has_room(&self, executions: usize) -> bool {
        self.room() >= executions
    }

    /// What an order may execute now: all that is left, of a reduce-only order what makes the position smaller.
    pub(super) fn permitted(&self, order: &Order) -> i64 {
        if !order.reduce_only {
            return order.left();
        }
        let position = self.positions[self.holding(order.account, order.instrument)];
        let reducible = match order.side {
            Side::Buy => position.saturating_neg(),
            Side::Sell => position,
        };
        order.left().min(reducible.max(0))
    }

    /// Whether an account's position fits after so much more on a side.
    pub(super) fn fits(&self, account: u16, instrument: InstrumentId, side: Side, qty: i64) -> Option<i64> {
        let position = self.positions[self.holding(account, instrument)];
        match side {
            Side::Buy => position.checked_add(qty),
            Side::Sell => position.checked_sub(qty),
        }
    }

    /// Executes up to `qty` of an order at a price and reports it.
    ///
    /// # Errors
    /// Why nothing executed, with nothing changed.
    pub(super) fn execute(
        &mut self,
        order: &mut Order,
        price: i64,
        qty: i64,
        liquidity: Liquidity,
    ) -> Result<i64, Reason> {
        let qty = qty.min(self.permitted(order));
        if qty <= 0 {
            return Err(Reason::ReduceOnly);
        }
        if !self.has_room(1) {
            self.counters.missed_room += 1;
            return Err(Reason::NoRoom);
        }
        let (account, instrument) = (order.account, order.instrument);
        let fee = self.listing(instrument).and_then(|listing| listing.fees.fee(price, qty, liquidity));
        let position = self.fits(account, instrument, order.side, qty);
        let (Some(fee), Some(position)) = (fee, position) else { return Err(Reason::Overflow) };
        let holding = self.holding(account, instrument);
        self.positions[holding] = position;
        order.executed += qty;
        self.numbered_trades += 1;
        let counter = match liquidity {
            Liquidity::Maker => &mut self.counters.maker_executions,
            Liquidity::Taker | Liquidity::None => &mut self.counters.taker_executions,
        };
        *counter += 1;
        let report = self.report(order, ExecType::Trade, Reason::None);
        self.outbox.send(Report {
            trade_id: self.numbered_trades,
            price: Price::from_raw(price),
            last_qty: Qty::from_raw(qty),
            fee,
            liquidity: liquidity as u8,
            ..report
        });
        Ok(qty)
    }

    /// Executes a resting order and takes it out of the book when nothing is left of it, or nothing may execute.
    ///
    /// Gives what executed.
    pub(super) fn execute_resting(&mut self, place: u32, qty: i64) -> i64 {
        let mut order = *self.orders.get(place);
        let price = order.price;
        let done = self.execute(&mut order, price, qty, Liquidity::Maker);
        *self.orders.get_mut(place) = order;
        match done {
            Ok(_) if order.left() == 0 => {
                self.orders.remove(place);
            }
            Err(reason @ (Reason::ReduceOnly | Reason::Overflow)) => self.end(place, ExecType::Expired, reason),
            // Without room it waits for another chance.
            Ok(_) | Err(_) => {}
        }
        done.unwrap_or(0)
    }

    /// Ends a resting order.
    pub(super) fn end(&mut self, place: u32, exec_type: ExecType, reason: Reason) {
        let order = self.orders.remove(place);
        self.end_of(&order, exec_type, reason);
    }

    /// Reports that an order has ended with what it has executed.
    pub(super) fn end_of(&mut self, order: &Order, exec_type: ExecType, reason: Reason) {
        let report = self.report(order, exec_type, reason);
        self.outbox.send(Report { leaves_qty: Qty::ZERO, ..report });
    }

    /// Reports how an order is now.
    pub(super) fn tell(&mut self, order: &Order, exec_type: ExecType, reason: Reason) {
        let report = self.report(order, exec_type, reason);
        self.outbox.send(report);
    }

    fn report(&self, order: &Order, exec_type: ExecType, reason: Reason) -> Report {
        Report {
            venue_ns: self.now_ns,
            request_id: order.request_id,
            client_id: order.client_id,
            order_id: order.order_id,
            price: Price::from_raw(order.price),
            order_qty: Qty::from_raw(order.total),
            cum_qty: Qty::from_raw(order.executed),
            leaves_qty: Qty::from_raw(order.left()),
            account: order.account,
            strategy: order.strategy,
            instrument: order.instrument,
            exec_type: exec_type as u8,
            reason: reason as u8,
            side: order.side as u8,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// Reports that a request was refused.
    fn reject(&mut self, request: &OrderRequest, reason: Reason) {
        let is_new = request.kind == RequestKind::New as u8;
        let exec_type = if is_new { ExecType::Rejected } else { ExecType::CancelRejected };
        let known = self.orders.find(request.account, request.client_id).filter(|_| !is_new);
        let order = known.map(|place| *self.orders.get(place));
        let report = order.map_or_else(
            || Report {
                venue_ns: self.now_ns,
                client_id: request.client_id,
                price: request.price,
                order_qty: request.qty,
                account: request.account,
                strategy: request.strategy,
                instrument: request.instrument,
                exec_type: exec_type as u8,
                reason: reason as u8,
                side: request.side,
                ..bytemuck::Zeroable::zeroed()
            },
            |order| self.report(&order, exec_type, reason),
        );
        self.outbox.send(Report { request_id: request.request_id, ..report });
    }
}

impl Gateway for PaperExchange {
    fn submit(&mut self, now_ns: i64, request: &OrderRequest) -> Result<(), SubmitError> {
        self.advance(now_ns);
        if self.inbox.len() == self.requests || !self.has_room(REPORTS_A_REQUEST as usize) {
            return Err(SubmitError::Busy);
        }
        let arrives_ns = self.entry.arrives(self.now_ns, request.request_id, 0);
        self.inbox.push_back((arrives_ns, *request));
        Ok(())
    }

    fn poll(&mut self) -> Option<Report> {
        self.outbox.next(self.now_ns)
    }
}
