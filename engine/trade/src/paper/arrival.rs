//! What the exchange does with a request that has arrived.

use tidegate_wire::decimal::MANTISSA_MAX;
use tidegate_wire::order::{FLAG_REDUCE_ONLY, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce};

use super::exchange::PaperExchange;
use super::orders::Order;
use super::queue::Queue;
use crate::gateway::{ExecType, Reason};

/// Whether a condition holds, or why not.
fn ensure(holds: bool, reason: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(reason) }
}

/// Whether a number of a request is above zero and fits.
fn amount(value: i64) -> Result<(), Reason> {
    ensure(value > 0, Reason::Amount)?;
    ensure(value <= MANTISSA_MAX, Reason::Overflow)
}

impl PaperExchange {
    /// Carries a request out.
    ///
    /// # Errors
    /// Why it is refused, with nothing changed.
    pub(super) fn arrive(&mut self, request: &OrderRequest) -> Result<(), Reason> {
        let kind = RequestKind::from_repr(request.kind).ok_or(Reason::Malformed)?;
        ensure(request.venue == self.rules.venue as u8, Reason::UnknownInstrument)?;
        ensure(self.listing(request.instrument).is_some(), Reason::UnknownInstrument)?;
        ensure(request.account < self.rules.accounts, Reason::UnknownAccount)?;
        match kind {
            RequestKind::New => self.arrive_new(request),
            RequestKind::Replace => self.arrive_replace(request),
            RequestKind::Cancel => self.arrive_cancel(request),
        }
    }

    fn arrive_cancel(&mut self, request: &OrderRequest) -> Result<(), Reason> {
        let place = self.orders.find(request.account, request.client_id).ok_or(Reason::UnknownOrder)?;
        self.orders.get_mut(place).request_id = request.request_id;
        self.end(place, ExecType::Canceled, Reason::None);
        Ok(())
    }

    fn arrive_new(&mut self, request: &OrderRequest) -> Result<(), Reason> {
        let (mut order, in_force) = self.decode(request)?;
        ensure(self.orders.find(order.account, order.client_id).is_none(), Reason::DuplicateClientId)?;
        ensure(!order.rests || !self.orders.is_full(), Reason::TooManyOrders)?;
        self.check_market(&order)?;
        ensure(self.permitted(&order) > 0, Reason::ReduceOnly)?;
        let market = &self.markets[order.instrument.index()];
        let is_market = order.order_type == OrderType::Market;
        ensure(!is_market || market.side(order.side.opposite()).best().is_some(), Reason::NoLiquidity)?;
        ensure(in_force != TimeInForce::FillOrKill || self.fills_whole(&order), Reason::FillOrKill)?;
        self.numbered_orders += 1;
        order.order_id = self.numbered_orders;
        self.tell(&order, ExecType::New, Reason::None);
        self.place(order);
        Ok(())
    }

    fn arrive_replace(&mut self, request: &OrderRequest) -> Result<(), Reason> {
        let place = self.orders.find(request.account, request.client_id).ok_or(Reason::UnknownOrder)?;
        let old = *self.orders.get(place);
        ensure(request.instrument == old.instrument && request.side == old.side as u8, Reason::Malformed)?;
        let (price, total) = (request.price.raw(), request.qty.raw());
        self.check_terms(&old, price, total)?;
        ensure(total > old.executed, Reason::BelowExecuted)?;
        let order = Order { request_id: request.request_id, price, total, ..old };
        if price == old.price && total <= old.total {
            // Less at the same price keeps its place, on every venue that has price-time priority.
            *self.orders.get_mut(place) = order;
            self.tell(&order, ExecType::Replaced, Reason::None);
            return Ok(());
        }
        self.check_market(&order)?;
        self.orders.remove(place);
        self.tell(&order, ExecType::Replaced, Reason::None);
        self.place(order);
        Ok(())
    }

    /// Reads what a new order says, as far as it does not depend on anything else.
    fn decode(&self, request: &OrderRequest) -> Result<(Order, TimeInForce), Reason> {
        let side = Side::from_repr(request.side).ok_or(Reason::Malformed)?;
        let order_type = OrderType::from_repr(request.order_type).ok_or(Reason::Malformed)?;
        let in_force = TimeInForce::from_repr(request.time_in_force).ok_or(Reason::Malformed)?;
        let self_trade = SelfTradeMode::from_repr(request.self_trade).ok_or(Reason::Malformed)?;
        ensure(request.flags & !FLAG_REDUCE_ONLY == 0 && request.reserved == [0; 3], Reason::Malformed)?;
        ensure(self_trade != SelfTradeMode::Transfer, Reason::SelfTradeMode)?;
        let at_once = matches!(in_force, TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill);
        ensure(!(order_type == OrderType::PostOnly && at_once), Reason::Malformed)?;
        let is_dated = in_force == TimeInForce::GoodTillDate;
        ensure(is_dated || request.expires_ns == 0, Reason::Malformed)?;
        ensure(!is_dated || request.expires_ns > self.now_ns, Reason::GoodTillDate)?;
        let order = Order {
            request_id: request.request_id,
            expires_ns: if is_dated { request.expires_ns } else { i64::MAX },
            price: request.price.raw(),
            total: request.qty.raw(),
            side,
            order_type,
            self_trade,
            reduce_only: request.flags & FLAG_REDUCE_ONLY != 0,
            // A market order never waits, whatever it says of its time.
            rests: order_type != OrderType::Market && !at_once,
            ..Order::new(request.account, request.strategy, request.instrument, request.client_id)
        };
        self.check_terms(&order, order.price, order.total)?;
        Ok((order, in_force))
    }

    /// Whether price and quantity are the instrument's.
    fn check_terms(&self, order: &Order, price: i64, total: i64) -> Result<(), Reason> {
        let listing = self.listing(order.instrument).ok_or(Reason::UnknownInstrument)?;
        amount(total)?;
        ensure(total % listing.lot == 0, Reason::OffLot)?;
        if order.order_type == OrderType::Market {
            return ensure(price == 0, Reason::Amount);
        }
        amount(price)?;
        ensure(price % listing.tick == 0, Reason::OffTick)
    }

    /// Whether the market is there, and what the order would be in it.
    fn check_market(&self, order: &Order) -> Result<(), Reason> {
        let listing = self.listing(order.instrument).ok_or(Reason::UnknownInstrument)?;
        let market = &self.markets[order.instrument.index()];
        ensure(market.is_known, Reason::NoBook)?;
        ensure(market.is_good, Reason::BookNotGood)?;
        // A market order is worth what it would pay at the last level that is known.
        let levels = market.side(order.side.opposite()).levels();
        let worst = levels.iter().map(|level| level.price.raw()).max().unwrap_or(0);
        let price = if order.order_type == OrderType::Market { worst } else { order.price };
        let value = listing.fees.value(price, order.left()).ok_or(Reason::Overflow)?;
        let position = self.fits(order.account, order.instrument, order.side, order.left());
        position.ok_or(Reason::Overflow)?;
        let is_enough = order.reduce_only || price == 0 || value >= self.rules.min_notional;
        ensure(is_enough, Reason::MinNotional)?;
        ensure(order.order_type != OrderType::PostOnly || !self.crosses(order), Reason::PostOnlyWouldCross)
    }

    /// Executes what an order can at once, and lets the rest wait or end.
    fn place(&mut self, mut order: Order) {
        let reason = self.take(&mut order);
        if order.left() == 0 {
            return;
        }
        let reason = match reason {
            Reason::None if order.rests => return self.rest(order),
            Reason::None if order.order_type == OrderType::Market => Reason::NoLiquidity,
            Reason::None => Reason::ImmediateOrCancel,
            reason => reason,
        };
        self.end_of(&order, ExecType::Expired, reason);
    }

    /// Puts an order at the end of its queue.
    fn rest(&mut self, mut order: Order) {
        let market = &self.markets[order.instrument.index()];
        let level = market.side(order.side).qty_at(order.price);
        let (traded, traded_at) = market.traded_at(order.price);
        order.queue = Queue::join(level, market.at, traded, traded_at);
        if !self.orders.insert(order) {
            // There was room when it arrived, and nothing came in between.
            self.end_of(&order, ExecType::Expired, Reason::TooManyOrders);
        }
    }
}
