//! A request as rules see it: decoded, its owner found, and what it would lead to worked out once for all of them.

use tidegate_wire::order::{FLAG_REDUCE_ONLY, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce};

use super::amount::Rounding;
use super::book::{After, Change, Who};
use super::market::MarketView;
use super::orders::{Open, Terms, crosses};
use super::rules::Breach;
use super::state::{Listed, State};

/// What is wrong with a request that makes no sense, as the figure in its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Malformed {
    /// An unknown kind, side, type, time in force, self-trade mode or flag, or a reserved byte that is not zero.
    Code = 1,
    /// No such account, strategy or instrument.
    Owner = 2,
    /// The venue is not the instrument's.
    Venue = 3,
    /// A quantity that is not above zero, or a price that is (or is not) where it must not be (or must be).
    Amount = 4,
    /// A time to end that is not after the request, or is given where there is none.
    Expiry = 5,
    /// A value, position or exposure that does not fit 64 bits.
    Overflow = 6,
}

impl From<Malformed> for Breach {
    fn from(what: Malformed) -> Self {
        Self::of_firm(what as i64, 0)
    }
}

/// A request's codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoded {
    pub(crate) kind: RequestKind,
    pub(crate) side: Side,
    pub(crate) order_type: OrderType,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) self_trade: SelfTradeMode,
    pub(crate) reduce_only: bool,
    pub(crate) who: Who,
}

impl Decoded {
    /// Reads a request's codes and finds its owner.
    #[inline(always)]
    pub(crate) fn of(state: &State, request: &OrderRequest) -> Result<Self, Malformed> {
        let kind = RequestKind::from_repr(request.kind).ok_or(Malformed::Code)?;
        if kind == RequestKind::Cancel {
            return Self::cancel(state, request);
        }
        if request.flags & !FLAG_REDUCE_ONLY != 0 || request.reserved != [0; 3] {
            return Err(Malformed::Code);
        }
        let who = state.who(request.account, request.strategy, request.instrument).ok_or(Malformed::Owner)?;
        if request.venue != who.venue {
            return Err(Malformed::Venue);
        }
        Ok(Self {
            kind,
            side: Side::from_repr(request.side).ok_or(Malformed::Code)?,
            order_type: OrderType::from_repr(request.order_type).ok_or(Malformed::Code)?,
            time_in_force: TimeInForce::from_repr(request.time_in_force).ok_or(Malformed::Code)?,
            self_trade: SelfTradeMode::from_repr(request.self_trade).ok_or(Malformed::Code)?,
            reduce_only: request.flags & FLAG_REDUCE_ONLY != 0,
            who,
        })
    }

    /// A cancel needs nothing but an owner: it is not refused for what only new orders need.
    #[inline(always)]
    fn cancel(state: &State, request: &OrderRequest) -> Result<Self, Malformed> {
        let who = state.who(request.account, request.strategy, request.instrument).ok_or(Malformed::Owner)?;
        Ok(Self {
            kind: RequestKind::Cancel,
            side: Side::Buy,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancel,
            self_trade: SelfTradeMode::None,
            reduce_only: false,
            who,
        })
    }
}

/// Own resting orders that an order would trade with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) orders: u32,
    /// Sum of their quantities, saturating.
    pub(crate) qty: i64,
}

/// A new order or a replacement with everything that rules ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) request: &'a OrderRequest,
    pub(crate) view: &'a MarketView,
    pub(crate) decoded: Decoded,
    /// Reference price, > 0 and fresh enough; 0 when there is none.
    pub(crate) reference: i64,
    /// Age of whatever reference came, ns.
    pub(crate) age_ns: i64,
    /// Limit price; for market orders the worst that the collar admits.
    pub(crate) price: i64,
    /// Price a unit counts at.
    pub(crate) unit: i64,
    /// Quantity that the request asks for and that has not executed.
    pub(crate) qty: i64,
    /// Worst-case value of that quantity.
    pub(crate) value: i64,
    /// The order that is replaced.
    pub(crate) replaces: Option<u32>,
    /// Everything afterwards.
    pub(crate) after: After,
    pub(crate) crossing: Crossing,
}

impl<'a> Candidate<'a> {
    /// Works everything out; changes nothing.
    #[inline(always)]
    pub(crate) fn build(
        state: &State,
        request: &'a OrderRequest,
        view: &'a MarketView,
        decoded: Decoded,
    ) -> Result<Self, Malformed> {
        amounts(request, &decoded)?;
        let (who, listed) = (decoded.who, &state.listed[usize::from(decoded.who.instrument)]);
        let (reference, age_ns) = usable(listed, view, state.now);
        let price = match decoded.order_type {
            OrderType::Market => worst_market(listed, decoded.side, reference).ok_or(Malformed::Overflow)?,
            OrderType::Limit | OrderType::PostOnly => request.price.raw(),
        };
        let unit = price.max(reference);
        let place = state.open.find(request.account, request.client_id);
        let replaces = place.filter(|_| decoded.kind == RequestKind::Replace);
        let old = replaces.map(|place| state.open.get(place));
        let total = request.qty.raw();
        let qty = total - old.map_or(0, |old| old.filled);
        let value = listed.valuer.value(unit, qty.max(0), Rounding::Up).ok_or(Malformed::Overflow)?;
        let terms = Terms { price, unit, total };
        let change = counted(listed, decoded.side, old, terms, value).ok_or(Malformed::Overflow)?;
        let mark = if reference > 0 { reference } else { state.book.mark_or(who, price) };
        let after = state.book.preview(who, &change, &listed.valuer, mark).ok_or(Malformed::Overflow)?;
        let crossing = crossing(state, &decoded, reach(&decoded, price));
        Ok(Self { request, view, decoded, reference, age_ns, price, unit, qty, value, replaces, after, crossing })
    }

    /// What a quantity less than asked for leads to: self-trade prevention took the rest.
    pub(crate) fn lessened(&self, state: &State, total: i64) -> Option<(Terms, i64, After)> {
        let listed = &state.listed[usize::from(self.decoded.who.instrument)];
        let old = self.replaces.map(|place| state.open.get(place));
        let value = listed.valuer.value(self.unit, total - old.map_or(0, |old| old.filled), Rounding::Up)?;
        let terms = Terms { price: self.price, unit: self.unit, total };
        let change = counted(listed, self.decoded.side, old, terms, value)?;
        let mark = if self.reference > 0 { self.reference } else { state.book.mark_or(self.decoded.who, self.price) };
        Some((terms, value, state.book.preview(self.decoded.who, &change, &listed.valuer, mark)?))
    }

    /// Price up to which it takes.
    pub(crate) const fn reach(&self) -> i64 {
        reach(&self.decoded, self.price)
    }

    /// Whether it, together with other open orders of its side, leaves the strategy's own position between zero and
    /// what it is: another strategy's on the account is not its to reduce.
    #[inline(always)]
    pub(crate) fn reduces_its_own(&self) -> bool {
        let own = &self.after.strategy;
        match self.decoded.side {
            Side::Sell => own.sells <= own.position.max(0),
            Side::Buy => own.buys <= own.position.saturating_neg().max(0),
        }
    }

    /// Whether it can only make the account's position smaller (what the rule `reduce_only` enforces).
    #[inline(always)]
    pub(crate) const fn reduces(&self) -> bool {
        self.decoded.reduce_only
    }
}

/// Price up to which an order takes: a market order takes whatever there is.
const fn reach(decoded: &Decoded, price: i64) -> i64 {
    match (decoded.order_type, decoded.side) {
        (OrderType::Market, Side::Buy) => i64::MAX,
        (OrderType::Market, Side::Sell) => i64::MIN,
        _ => price,
    }
}

/// Whether price, quantity and expiry are where they belong.
#[inline(always)]
fn amounts(request: &OrderRequest, decoded: &Decoded) -> Result<(), Malformed> {
    let priced = decoded.order_type != OrderType::Market;
    if request.qty.raw() <= 0 || (request.price.raw() > 0) != priced || !priced && request.price.raw() != 0 {
        return Err(Malformed::Amount);
    }
    let dated = decoded.time_in_force == TimeInForce::GoodTillDate;
    if dated && request.expires_ns <= request.event_ns || !dated && request.expires_ns != 0 {
        return Err(Malformed::Expiry);
    }
    Ok(())
}

/// The reference price if it may be used, and its age.
#[inline(always)]
pub(crate) fn usable(listed: &Listed, view: &MarketView, now: i64) -> (i64, i64) {
    // A price that came after the strategy had decided is of age zero.
    let age = now.saturating_sub(view.reference.at_ns).max(0);
    let price = view.reference.price.raw();
    if price > 0 && age <= listed.max_age_ns { (price, age) } else { (0, age) }
}

/// The worst price the collar admits; 0 without a reference.
#[inline(always)]
fn worst_market(listed: &Listed, side: Side, reference: i64) -> Option<i64> {
    let away = i128::from(reference) * i128::from(listed.collar);
    match side {
        Side::Buy => i64::try_from(i128::from(reference) + away / 1_000_000).ok(),
        Side::Sell => i64::try_from(i128::from(reference) - away / 1_000_000).ok(),
    }
}

/// What an order adds to what counts. A replacement counts as the worse of old and new until the venue has confirmed
/// it: either may execute.
#[inline(always)]
fn counted(listed: &Listed, side: Side, old: Option<&Open>, terms: Terms, value: i64) -> Option<Change> {
    let (qty, value) = match old {
        None => (terms.total, value),
        Some(old) => {
            let qty = terms.total.max(old.total) - old.filled;
            let worst = listed.valuer.value(terms.unit.max(old.unit), qty, Rounding::Up)?;
            (qty - old.remaining(), worst.checked_sub(old.value)?)
        }
    };
    Some(match side {
        Side::Buy => Change { buys: qty, buy_value: value, ..Change::default() },
        Side::Sell => Change { sells: qty, sell_value: value, ..Change::default() },
    })
}

/// Own resting orders on the other side that the order would meet. Nearly always one comparison tells that there are
/// none.
#[inline(always)]
fn crossing(state: &State, decoded: &Decoded, price: i64) -> Crossing {
    let (instrument, other) = (decoded.who.instrument, decoded.side.opposite());
    if decoded.self_trade == SelfTradeMode::None || !crosses(decoded.side, price, state.open.best(instrument, other)) {
        return Crossing::default();
    }
    let group = state.groups[usize::from(decoded.who.account)];
    let mine = |order: &&Open| {
        order.is_of_owner(decoded.who.account, group)
            && order.available() > 0
            && crosses(decoded.side, price, order.price)
    };
    let orders = state.open.resting(instrument, other).map(|(_, order)| order).filter(mine);
    orders.fold(Crossing::default(), |sum, order| Crossing {
        orders: sum.orders + 1,
        qty: sum.qty.saturating_add(order.available()),
    })
}
